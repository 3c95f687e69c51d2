/* Command line, help, exit codes.  Layer web, program tulou. */
#include "web/cli/cli.h"
#include "base/json.h"
#include "base/own.h"
#include "base/utf8.h"
#include "web/cli/account.h"
#include "web/cli/call.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

static bool fails_as_json;

void cli_fail_json(json_t *problem)
{
	fflush(stdout);
	json_dumpf(problem, stderr, JSON_COMPACT | JSON_ENSURE_ASCII);
	fputc('\n', stderr);
}

int cli_fail(int code, const char *fmt, ...)
{
	static const char *const titles[] = {"Done", "Failed", "Wrong usage", "Refused", "Unreachable"};
	char raw[1024], text[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof raw, fmt, ap);
	va_end(ap);
	fflush(stdout);
	if (fails_as_json) {
		const char *title = (unsigned)code < ARRAY_LEN(titles) ? titles[code] : titles[CLI_FAILED];
		OWN_JSON json_t *problem = NULL;

		if (!utf8_valid(raw, strlen(raw)))
			utf8_escape(text, sizeof text, raw, strlen(raw));
		problem = json_pack("{s:s, s:s, s:s}", "type", "about:blank", "title", title, "detail",
				    utf8_valid(raw, strlen(raw)) ? raw : text);
		cli_fail_json(problem);
		return code;
	}
	/* Line by line: a sentence may have its next step on a line of its own, all else is escaped. */
	for (char *line = raw; line;) {
		char *end = strchr(line, '\n');

		utf8_escape(text, sizeof text, line, end ? (size_t)(end - line) : strlen(line));
		fprintf(stderr, "%s%s\n", line == raw ? "tulou: " : "       ", text);
		line = end ? end + 1 : NULL;
	}
	return code;
}

static unsigned distance(const char *a, const char *b)
{
	unsigned row[33];
	size_t la = strlen(a), lb = strlen(b);

	if (la > 32 || lb > 32)
		return 99;
	for (size_t j = 0; j <= lb; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned corner = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned best = corner + (a[i - 1] != b[j - 1]);

			corner = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[lb];
}

const char *cli_nearest(const char *word, const char *const *list, size_t n)
{
	const char *best = NULL;
	unsigned least = strlen(word) < 4 ? 2 : 3; /* differences that still look like a slip */

	for (size_t i = 0; i < n; i++) {
		unsigned d = distance(word, list[i]);

		if (d < least) {
			least = d;
			best = list[i];
		}
	}
	return best;
}

/* The row of name and sub; sub NULL: the row without a second word. */
static const struct cli_command *find(const char *name, const char *sub)
{
	for (const struct cli_command *r = cli_commands; r->name; r++)
		if (strcmp(r->name, name) == 0 && (sub ? r->sub && strcmp(r->sub, sub) == 0 : !r->sub))
			return r;
	return NULL;
}

/* The names of all commands, or the second words of one, for cli_nearest. */
static size_t words_of(const char *name, const char **list, size_t cap)
{
	size_t n = 0;

	for (const struct cli_command *r = cli_commands; r->name && n < cap; r++) {
		const char *word = name ? (strcmp(r->name, name) == 0 ? r->sub : NULL) : r->name;

		if (word && (n == 0 || strcmp(list[n - 1], word) != 0))
			list[n++] = word;
	}
	return n;
}

static int unknown(const char *kind, const char *word, const char *name, struct err *e)
{
	const char *list[64];
	const char *near = cli_nearest(word, list, words_of(name, list, ARRAY_LEN(list)));

	if (near)
		return err_set(e, EINVAL, "there is no %s '%s'; did you mean '%s%s%s'?", kind, word, name ? name : "",
			       name ? " " : "", near);
	return err_set(e, EINVAL, "there is no %s '%s'; see `tulou help%s%s`", kind, word, name ? " " : "",
		       name ? name : "");
}

static const struct cli_option *option_find(const struct cli_option *list, const char *name, size_t n, char letter)
{
	for (; list && list->name; list++)
		if (name ? strlen(list->name) == n && strncmp(list->name, name, n) == 0 : list->letter == letter)
			return list;
	return NULL;
}

static void option_put(struct cli *c, const struct cli_option *o, const char *value)
{
	if (o >= cli_globals && o < cli_globals + CLI_OPTIONS_MAX) {
		switch (o->name[0]) {
		case 'a':
			c->app = value;
			break;
		case 'j':
			c->json = true;
			break;
		case 'u':
			c->url = value;
			break;
		case 't':
			c->token = value;
			break;
		default:
			c->help = true;
			break;
		}
		return;
	}
	if (c->command) /* whose option it is, when it is none of all commands */
		c->value[o - c->command->options] = value;
}

/* One argument that begins with '-'.  Returns how many arguments it took, or -EINVAL. */
static int option_read(struct cli *c, char **argv, int left, struct err *e)
{
	const char *arg = argv[0], *name = arg[1] == '-' ? arg + 2 : NULL;
	const char *equals = name ? strchr(name, '=') : NULL;
	size_t n = name ? (equals ? (size_t)(equals - name) : strlen(name)) : 0;
	const struct cli_option *own = c->command ? c->command->options : NULL;
	const struct cli_option *o = option_find(own, name, n, arg[1]);

	if (!o)
		o = option_find(cli_globals, name, n, arg[1]);
	if (!o && !c->command && find(arg[1] == '-' ? arg + 2 : arg + 1, NULL))
		return err_set(e, EINVAL, "commands have no dash: `tulou %s`", arg[1] == '-' ? arg + 2 : arg + 1);
	if (!o)
		return err_set(e, EINVAL, "there is no option '%.40s'%s%s%s%s; see `tulou help%s%s%s%s`", arg,
			       c->command ? " of " : "", c->command ? c->command->name : "",
			       c->command && c->command->sub ? " " : "",
			       c->command && c->command->sub ? c->command->sub : "", c->command ? " " : "",
			       c->command ? c->command->name : "", c->command && c->command->sub ? " " : "",
			       c->command && c->command->sub ? c->command->sub : "");
	if (!o->arg) {
		if (equals || (!name && arg[2]))
			return err_set(e, EINVAL, "option --%s takes no value", o->name);
		option_put(c, o, "");
		return 1;
	}
	if (equals || (!name && arg[2])) {
		option_put(c, o, equals ? equals + 1 : arg + 2);
		return 1;
	}
	if (left < 2)
		return err_set(e, EINVAL, "option --%s needs a value: --%s %s", o->name, o->name, o->arg);
	option_put(c, o, argv[1]);
	return 2;
}

int cli_parse(struct cli *c, int argc, char **argv, struct err *e)
{
	int words = 0;
	bool dashes = false; /* "--" was seen */

	c->argv = argv;
	for (int i = 0; i < argc;) {
		char *arg = argv[i];

		if (!dashes && strcmp(arg, "--") == 0) {
			dashes = true;
			i++;
		} else if (!dashes && arg[0] == '-' && arg[1] && !(c->command && c->command->rest && words > 0)) {
			int took = option_read(c, argv + i, argc - i, e);

			if (took < 0)
				return took;
			i += took;
		} else if (!c->command) {
			const char *list[64];

			c->command = find(arg, NULL);
			if (!c->command)
				return unknown("command", arg, NULL, e);
			i++;
			if (i < argc && find(arg, argv[i]))
				c->command = find(arg, argv[i++]);
			else if (i < argc && argv[i][0] != '-' && c->command->max == 0 &&
				 words_of(arg, list, ARRAY_LEN(list)) > 0)
				return unknown("command", argv[i], arg, e);
		} else {
			argv[words++] = arg; /* words <= i always: the word moves to the front */
			i++;
		}
	}
	c->argc = words;
	if (!c->command || c->help)
		return 0;
	if ((unsigned)words < c->command->min || (unsigned)words > c->command->max)
		return err_set(e, EINVAL, "%s: write it as `tulou %s%s%s%s%s`",
			       (unsigned)words < c->command->min ? "a word is missing" : "too many words",
			       c->command->name, c->command->sub ? " " : "", c->command->sub ? c->command->sub : "",
			       c->command->args[0] ? " " : "", c->command->args);
	return 0;
}

const char *cli_value(const struct cli *c, const char *name)
{
	for (size_t i = 0; c->command->options && c->command->options[i].name; i++)
		if (strcmp(c->command->options[i].name, name) == 0)
			return c->value[i];
	return NULL;
}

static void option_line(FILE *f, const struct cli_option *o)
{
	char left[40];

	snprintf(left, sizeof left, "%c%c%c --%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
		 o->letter ? ',' : ' ', o->name, o->arg ? " " : "", o->arg ? o->arg : "");
	fprintf(f, "  %-24s %s\n", left, o->help);
}

void cli_help(FILE *f, const struct cli_command *command)
{
	if (!command) {
		fprintf(f, "tulou runs apps on a node.  usage: tulou COMMAND [OPTIONS]\n\n");
		for (const struct cli_command *r = cli_commands; r->name; r++)
			if (!r->sub)
				fprintf(f, "  %-12s %s\n", r->name, r->help);
		fprintf(f, "\nOptions of every command:\n");
		for (const struct cli_option *o = cli_globals; o->name; o++)
			option_line(f, o);
		fprintf(f, "\nExit codes: 0 done, 1 failed (also: not there, there already), 2 wrong usage (also when "
			   "the node says\n"
			   "so), 3 refused (permission, quota), 4 unreachable.\n"
			   "`tulou help COMMAND` explains one; the manual is tulou(1).\n");
		return;
	}
	fprintf(f, "tulou %s%s%s%s%s: %s\n", command->name, command->sub ? " " : "", command->sub ? command->sub : "",
		command->args[0] ? " " : "", command->args, command->help);
	for (const struct cli_option *o = command->options; o && o->name; o++)
		option_line(f, o);
	if (!command->sub)
		for (const struct cli_command *r = cli_commands; r->name; r++)
			if (r->sub && strcmp(r->name, command->name) == 0)
				fprintf(f, "tulou %s %s%s%s: %s\n", r->name, r->sub, r->args[0] ? " " : "", r->args,
					r->help);
}

int cli_confirm(struct cli *c, const char *word, const char *fmt, ...)
{
	char line[256], what[400];
	va_list ap;

	if (cli_value(c, "yes"))
		return CLI_OK;
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	if (!isatty(STDIN_FILENO))
		return cli_fail(CLI_USAGE, "this would %s, and nobody can be asked here: say so with --yes", what);
	fprintf(stderr, "This will %s. Type %s to go on: ", what, word);
	if (!fgets(line, sizeof line, stdin)) {
		fputc('\n', stderr);
		return CLI_FAILED;
	}
	line[strcspn(line, "\r\n")] = 0;
	return strcmp(line, word) == 0 ? CLI_OK : cli_fail(CLI_FAILED, "nothing was done");
}

int cli_main(int argc, char **argv)
{
	struct cli c = {0};
	struct err e = {0};
	const char *term = getenv("TERM");
	bool colours = !getenv("NO_COLOR") && !(term && strcmp(term, "dumb") == 0);
	int code;

	/* Width of characters in tables; words and numbers stay as the C locale has them. */
	if (!setlocale(LC_CTYPE, ""))
		setlocale(LC_CTYPE, "C.UTF-8");
	/* `tulou logs | head` ends quietly, as filters do. */
	signal(SIGPIPE, SIG_DFL);
	c.colour = colours && isatty(STDOUT_FILENO);
	c.colour_err = colours && isatty(STDERR_FILENO);
	/* Also what is wrong before the option is read; after "--" it is a word. */
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		fails_as_json = fails_as_json || strcmp(argv[i], "--json") == 0;
	if (cli_parse(&c, argc - 1, argv + 1, &e))
		return cli_fail(CLI_USAGE, "%s", e.text);
	fails_as_json = c.json;
	if (c.help || !c.command) {
		cli_help(c.help ? stdout : stderr, c.command);
		return c.help ? CLI_OK : CLI_USAGE;
	}
	code = c.command->run(&c);
	if (fflush(stdout) || ferror(stdout))
		code = cli_fail(CLI_FAILED, "the output could not be written: %s", strerror(errno));
	cli_call_done();
	cli_account_done(&c);
	return code;
}
