/* tulou login, logout, whoami, version, help, completion.  Layer web, program tulou. */
#include "base/own.h"
#include "config/quota.h"
#include "web/cli/account.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"
#include "web/cli/commands.h"
#include "web/cli/out.h"

#include <string.h>
#include <termios.h>
#include <unistd.h>

/* Reads a token from the terminal without showing it, or a line from a pipe. */
static char *ask_token(void)
{
	struct termios old, quiet;
	bool tty = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &old) == 0;
	char line[1024];
	char *got;

	if (tty) {
		fputs("Token (it is not shown): ", stderr);
		quiet = old;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	got = fgets(line, sizeof line, stdin);
	if (tty) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
		fputc('\n', stderr);
	}
	if (!got)
		return NULL;
	line[strcspn(line, " \t\r\n")] = 0;
	return line[0] ? strdup(line) : NULL;
}

static void print_who(json_t *who, const char *base)
{
	const char *tenant = cli_str(who, "tenant");

	cli_pair("node", "%s", base);
	cli_pair("role", "%s", cli_str(who, "role"));
	cli_pair("tenant", "%s", *tenant ? tenant : "(all)");
}

int cli_cmd_login(struct cli *c)
{
	OWN_ANSWER struct cli_answer a = {0};
	OWN_FREE char *asked = NULL;
	const char *token = getenv("TULOU_TOKEN");
	struct err e = {0};
	int code;

	if (c->argc > 0)
		c->url = c->argv[0];
	if (!c->token && !(token && *token)) {
		asked = ask_token();
		if (!asked)
			return cli_fail(CLI_USAGE, "there is no token: say --token TOKEN, or type it when asked");
		c->token = asked;
	}
	if (cli_account(c, &e))
		return cli_fail(CLI_USAGE, "%s", e.text);
	code = cli_call(c, "GET", "/v1/whoami", NULL, &a);
	if (code)
		return code;
	if (cli_account_save(c->base, c->bearer, &e))
		return cli_fail(CLI_FAILED, "%s", e.text);
	if (c->json)
		cli_json(a.json);
	else
		print_who(a.json, c->base);
	return CLI_OK;
}

int cli_cmd_logout(struct cli *c)
{
	struct err e = {0};

	(void)c;
	return cli_account_forget(&e) ? cli_fail(CLI_FAILED, "%s", e.text) : CLI_OK;
}

int cli_cmd_whoami(struct cli *c)
{
	OWN_ANSWER struct cli_answer a = {0};
	int code = cli_call(c, "GET", "/v1/whoami", NULL, &a);

	if (code)
		return code;
	if (c->json)
		cli_json(a.json);
	else
		print_who(a.json, c->base);
	return CLI_OK;
}

int cli_cmd_version(struct cli *c)
{
	OWN_ANSWER struct cli_answer a = {0};
	struct cli_request r = {.method = "GET", .path = "/version", .quiet = true, .idle_s = 5};

	/* The node's version is a courtesy: without a node this command says its own. */
	if (cli_request(c, &r, &a))
		json_decref(TAKE_PTR(a.json));
	if (c->json) {
		OWN_ANSWER struct cli_answer both = {0};

		both.json =
			json_pack("{s:s, s:s, s:O*}", "version", TULOU_VERSION, "commit", TULOU_COMMIT, "node", a.json);
		cli_json(both.json);
		return CLI_OK;
	}
	printf("tulou %s (%s)\n", TULOU_VERSION, TULOU_COMMIT);
	if (a.json)
		cli_pair("node", "%s %s (%s) at %s", cli_str(a.json, "node"), cli_str(a.json, "version"),
			 cli_str(a.json, "commit"), c->base);
	return CLI_OK;
}

int cli_cmd_help(struct cli *c)
{
	const struct cli_command *found = NULL;

	if (c->argc == 0) {
		cli_help(stdout, NULL);
		return CLI_OK;
	}
	for (const struct cli_command *r = cli_commands; r->name; r++)
		if (strcmp(r->name, c->argv[0]) == 0 &&
		    (c->argc > 1 ? r->sub && strcmp(r->sub, c->argv[1]) == 0 : !r->sub))
			found = r;
	if (!found)
		return cli_fail(CLI_USAGE, "there is no command '%s%s%s'; `tulou help` lists them", c->argv[0],
				c->argc > 1 ? " " : "", c->argc > 1 ? c->argv[1] : "");
	cli_help(stdout, found);
	return CLI_OK;
}

static void options_words(const struct cli_option *o)
{
	for (; o && o->name; o++)
		printf(" --%s", o->name);
}

/* "memory=" … for commands that take the numbers of config/quota.h. */
static bool takes_numbers(const struct cli_command *r)
{
	return strstr(r->args, "KEY=VALUE") && strcmp(r->name, "config") != 0;
}

static void numbers_words(const struct cli_command *r)
{
	bool app = strcmp(r->name, "apps") == 0, plan = strcmp(r->name, "plans") == 0;
	const struct quota_key *k;

	for (unsigned i = 0; (k = quota_key(i)); i++) {
		if (quota_has(k, app ? QUOTA_OF_LIMITS : QUOTA_OF_TENANT))
			printf(" %s=", k->name);
		if (plan && quota_has(k, QUOTA_OF_LIMITS))
			printf(" app.%s=", k->name);
	}
	if (!app && strcmp(r->sub, "quota") != 0)
		printf(" profile= private-layers= egress=%s", plan ? "" : " plan=");
}

int cli_cmd_completion(struct cli *c)
{
	const char *last = "";

	if (strcmp(c->argv[0], "bash") != 0)
		return cli_fail(CLI_USAGE, "there is completion for bash only: tulou completion bash");
	printf("# bash completion for tulou; written by `tulou completion bash`\n"
	       "_tulou() {\n"
	       "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n"
	       "\tcase $prev in\n"
	       "\t-a | --app | info | delete | pause | resume | restart | open | top | latency)\n"
	       "\t\tmapfile -t COMPREPLY < <(compgen -W \"$(tulou apps --names 2>/dev/null)\" -- \"$cur\")\n"
	       "\t\treturn ;;\n"
	       "\t--by)\n"
	       "\t\tmapfile -t COMPREPLY < <(compgen -W 'requests bytes time' -- \"$cur\")\n"
	       "\t\treturn ;;\n"
	       "\tesac\n"
	       "\tcase \"${COMP_WORDS[1]-} ${COMP_WORDS[2]-}\" in\n");
	for (const struct cli_command *r = cli_commands; r->name; r++)
		if (r->sub && (r->options || takes_numbers(r))) {
			printf("\t'%s %s') words='", r->name, r->sub);
			options_words(r->options);
			if (takes_numbers(r))
				numbers_words(r);
			printf("' ;;\n");
		}
	for (const struct cli_command *r = cli_commands; r->name; r++) {
		if (r->sub)
			continue;
		printf("\t'%s '*) words='", r->name);
		for (const struct cli_command *s = cli_commands; s->name; s++)
			if (s->sub && strcmp(s->name, r->name) == 0)
				printf(" %s", s->sub);
		options_words(r->options);
		printf("' ;;\n");
	}
	printf("\tesac\n\tif [ \"$COMP_CWORD\" -eq 1 ]; then\n\t\twords='");
	for (const struct cli_command *r = cli_commands; r->name; r++) {
		if (strcmp(r->name, last) != 0)
			printf(" %s", r->name);
		last = r->name;
	}
	printf("'\n\telse\n\t\twords+='");
	options_words(cli_globals);
	printf("'\n\tfi\n"
	       "\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
	       "\tcase ${COMPREPLY[0]-} in *=) compopt -o nospace ;; esac\n"
	       "\tif [ \"${COMP_WORDS[1]-}\" = deploy ]; then mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f "
	       "-- \"$cur\"); fi\n"
	       "}\n"
	       "complete -F _tulou tulou\n");
	return CLI_OK;
}
