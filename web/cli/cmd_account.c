/* tulou login, logout, whoami, version, help.  Layer web, program tulou. */
#include "base/own.h"
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
