/* The command line of tulou, and the table behind it. */
#include "base/own.h"
#include "config/settings.h"
#include "web/cli/account.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"
#include "web/cli/commands.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

/* Splits a line at blanks; words live in `space`. */
static int parse(struct cli *c, const char *line, char space[256], char *argv[16], struct err *e)
{
	int argc = 0;
	char *save = NULL;

	memset(c, 0, sizeof *c);
	snprintf(space, 256, "%s", line);
	for (char *w = strtok_r(space, " ", &save); w && argc < 16; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	return cli_parse(c, argc, argv, e);
}

static char space[256], *words[16];
static struct cli c;
static struct err e;

Test(cli, words_and_options_in_any_order)
{
	cr_assert_eq(parse(&c, "-a shop scale web=2 --json worker=1", space, words, &e), 0);
	cr_assert_eq(c.command->run, cli_cmd_scale);
	cr_assert_str_eq(c.app, "shop");
	cr_assert(c.json);
	cr_assert_eq(c.argc, 2);
	cr_assert_str_eq(c.argv[0], "web=2");
	cr_assert_str_eq(c.argv[1], "worker=1");
}

Test(cli, second_words)
{
	cr_assert_eq(parse(&c, "apps", space, words, &e), 0);
	cr_assert_eq(c.command->run, cli_cmd_apps);
	cr_assert_eq(parse(&c, "apps create shop --memory=64MiB -t acme", space, words, &e), 0);
	cr_assert_eq(c.command->run, cli_cmd_apps_create);
	cr_assert_str_eq(cli_value(&c, "memory"), "64MiB");
	cr_assert_str_eq(cli_value(&c, "tenant"), "acme");
	cr_assert_null(cli_value(&c, "cpu"));
}

Test(cli, values_in_every_form)
{
	static const char *const lines[] = {"logs -n 5", "logs -n5", "logs --lines 5", "logs --lines=5"};

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		cr_assert_eq(parse(&c, lines[i], space, words, &e), 0);
		cr_assert_str_eq(cli_value(&c, "lines"), "5");
	}
}

Test(cli, a_command_to_run_keeps_its_own_options)
{
	cr_assert_eq(parse(&c, "run -a shop ls -la --json /app", space, words, &e), 0);
	cr_assert_eq(c.argc, 4);
	cr_assert_str_eq(c.argv[1], "-la");
	cr_assert_str_eq(c.argv[2], "--json");
	cr_assert_not(c.json);
}

Test(cli, two_dashes_end_the_options)
{
	cr_assert_eq(parse(&c, "config set -- --X=1", space, words, &e), 0);
	cr_assert_eq(c.argc, 1);
	cr_assert_str_eq(c.argv[0], "--X=1");
}

Test(cli, errors_name_what_was_meant)
{
	static const struct {
		const char *line, *text;
	} cases[] = {
		{"deplyo", "did you mean 'deploy'"},	 {"apps creat shop", "did you mean 'apps create'"},
		{"xyzzyxyzzy", "see `tulou help`"},	 {"apps --nope", "no option '--nope'"},
		{"--version", "commands have no dash"},	 {"logs -n", "needs a value"},
		{"logs --follow=yes", "takes no value"}, {"rollback v1 v2", "too many words"},
		{"domains add", "a word is missing"},	 {"node fsck extra", "`tulou node fsck`"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		memset(&e, 0, sizeof e);
		cr_assert_eq(parse(&c, cases[i].line, space, words, &e), -EINVAL, "%s", cases[i].line);
		cr_assert(strstr(e.text, cases[i].text), "%s: %s", cases[i].line, e.text);
	}
}

Test(cli, the_table_is_sound)
{
	for (const struct cli_command *r = cli_commands; r->name; r++) {
		size_t n = 0;
		bool has_group = !r->sub;

		cr_assert(r->run && r->help && r->help[0] && r->min <= r->max, "%s", r->name);
		cr_assert_neq(r->help[strlen(r->help) - 1], '.', "%s: no full stop", r->name);
		for (const struct cli_option *o = r->options; o && o->name; o++, n++)
			for (const struct cli_option *g = cli_globals; g->name; g++) {
				/* tokens' --token would hide the global one */
				cr_assert_str_neq(o->name, g->name, "%s", r->name);
				cr_assert(!o->letter || o->letter != g->letter, "%s -%c", r->name, o->letter);
			}
		cr_assert_leq(n, CLI_OPTIONS_MAX);
		for (const struct cli_command *g = cli_commands; g->name; g++)
			has_group = has_group || (!g->sub && strcmp(g->name, r->name) == 0);
		cr_assert(has_group, "%s stands alone too", r->name);
	}
}

Test(cli, status_codes)
{
	cr_assert_eq(cli_status_code(200), CLI_OK);
	cr_assert_eq(cli_status_code(204), CLI_OK);
	cr_assert_eq(cli_status_code(400), CLI_USAGE, "what was typed is wrong, whoever says so");
	cr_assert_eq(cli_status_code(404), CLI_FAILED);
	cr_assert_eq(cli_status_code(403), CLI_REFUSED);
	cr_assert_eq(cli_status_code(401), CLI_REFUSED);
	cr_assert_eq(cli_status_code(429), CLI_REFUSED);
	cr_assert_eq(cli_status_code(409), CLI_FAILED);
	cr_assert_eq(cli_status_code(413), CLI_FAILED);
	cr_assert_eq(cli_status_code(0), CLI_UNREACHABLE);
	cr_assert_eq(cli_status_code(503), CLI_UNREACHABLE);
}

Test(cli, paths_are_encoded)
{
	char out[64];

	cli_path(out, sizeof out, "/v1/apps/%s%r", "a/../b c?", "/logs?x=1");
	cr_assert_str_eq(out, "/v1/apps/a%2F..%2Fb%20c%3F/logs?x=1");
	cli_path(out, 16, "/v1/apps/%s", "0123456789");
	cr_assert_lt(strlen(out), 16);
}

Test(cli, urls)
{
	static const struct {
		const char *in, *out;
	} good[] = {
		{"https://tulou.example.com/", "https://tulou.example.com"},
		{"tulou.example.com", "http://tulou.example.com"},
		{"http://127.0.0.1:8080", "http://127.0.0.1:8080"},
	};
	static const char *const bad[] = {"ftp://x", "http://", "http://u:p@host", "http://host/?q", "http://host/#f"};

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		OWN_FREE char *url = NULL;

		cr_assert_eq(cli_account_url(good[i].in, &url, &e), 0, "%s", good[i].in);
		cr_assert_str_eq(url, good[i].out);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char *url = NULL;

		cr_assert_eq(cli_account_url(bad[i], &url, &e), -EINVAL, "%s", bad[i]);
	}
}

Test(cli, remotes)
{
	char name[41];

	cr_assert(cli_account_remote("http://x:tul_1@tulou.example.com/git/shop.git", name, sizeof name));
	cr_assert_str_eq(name, "shop");
	cr_assert(cli_account_remote("https://tulou.example.com/git/my-shop\n", name, sizeof name));
	cr_assert_str_eq(name, "my-shop");
	cr_assert_not(cli_account_remote("https://github.com/a/b.git", name, sizeof name));
	cr_assert_not(cli_account_remote("http://h/git/BAD_NAME.git", name, sizeof name));
	cr_assert_not(cli_account_remote("http://h/git/.git", name, sizeof name));
}
