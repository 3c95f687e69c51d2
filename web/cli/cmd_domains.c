/* tulou domains.  Layer web, program tulou. */
#include "base/json.h"
#include "base/own.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"
#include "web/cli/commands.h"
#include "web/cli/list.h"
#include "web/cli/out.h"

#include <string.h>
#include <unistd.h>

#define DOMAINS_WAIT_S 12 /* for the answer to a check: the node's resolvers have 4 s, a web server 4 s */

static void domains_row(struct cli_table *t, json_t *d)
{
	cli_table_add(t, cli_str(d, "host"), cli_str(d, "state"), cli_str(d, "proof"), cli_str(d, "error"));
}

int cli_cmd_domains(struct cli *c)
{
	static const char *const heads[] = {"HOST", "STATE", "PROOF", "NOTE"};
	static const struct cli_list list = {
		heads,	     ARRAY_LEN(heads),
		domains_row, "It has no domains of its own. Add one with: tulou domains add HOST",
		NULL,	     NULL};

	return cli_list_show_app(c, "/domains", &list);
}

/* What is to be done about a domain that waits for proof. */
static void domains_how(json_t *d)
{
	json_t *record = json_object_get(d, "record");
	const char *value = cli_str(record, "value");

	cli_say("%s is pending: it serves nothing until it is proved to be yours, by this TXT record:\n\n",
		cli_str(d, "host"));
	cli_say("  %s. TXT \"%s\"\n\n", cli_str(record, "name"), value);
	if (*cli_str(d, "url"))
		cli_say("or by a file of the web server that it leads to today, with only this in it: %s\n",
			cli_str(d, "url"));
	cli_say("The node looks for it now and then. To make it look now: tulou domains verify %s\n",
		cli_str(d, "host"));
}

/* Which other apps have the host, and what comes of it. */
static void domains_also(struct cli *c, json_t *d)
{
	bool pending = strcmp(cli_str(d, "state"), "pending") == 0;
	const char *host = cli_str(d, "host");
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(d, "also"), i, o)
	{
		if (strcmp(cli_str(o, "state"), "pending") != 0)
			cli_say(pending ? "App %s of %s serves %s as long as it is not proved here.\n"
					: "App %s of %s served %s until now.\n",
				cli_str(o, "app"), cli_str(o, "tenant"), host);
		else if (pending)
			cli_say("App %s of %s has %s pending too: the one that is proved first serves it.\n",
				cli_str(o, "app"), cli_str(o, "tenant"), host);
		else
			cli_say("App %s of %s has %s pending too: %s serves it now, %s only once it is proved there.\n",
				cli_str(o, "app"), cli_str(o, "tenant"), host, c->app_name, cli_str(o, "app"));
	}
}

static void domains_state(struct cli *c, json_t *d)
{
	if (c->json) {
		cli_json(d);
		return;
	}
	if (strcmp(cli_str(d, "state"), "pending") == 0)
		domains_how(d);
	else
		cli_say("%s is served as %s. Let its DNS name point to this node.\n", c->app_name, cli_str(d, "host"));
	domains_also(c, d);
}

int cli_cmd_domains_add(struct cli *c)
{
	OWN_JSON json_t *body = json_pack("{s:s}", "host", c->argv[0]);
	OWN_ANSWER struct cli_answer a = {0};
	char path[128];
	int code = cli_app_path(c, path, sizeof path, "/domains");

	if (!body)
		return cli_fail(CLI_USAGE, "host: it is not UTF-8 text");
	if (!code)
		code = cli_call(c, "POST", path, body, &a);
	if (!code)
		domains_state(c, a.json);
	return code;
}

/* The domain as it is now; *ret is a new reference, NULL when it is gone. */
static int domains_get(struct cli *c, const char *host, json_t **ret)
{
	OWN_ANSWER struct cli_answer a = {0};
	char path[128];
	json_t *d;
	size_t i;
	int code = cli_app_path(c, path, sizeof path, "/domains");

	if (!code)
		code = cli_call(c, "GET", path, NULL, &a);
	*ret = NULL;
	json_array_foreach(json_object_get(a.json, "items"), i, d) if (strcmp(cli_str(d, "host"), host) == 0) *ret =
		json_incref(d);
	return code;
}

/* Waits until the node has looked: checked_at has moved. */
static int domains_wait(struct cli *c, json_t *before)
{
	int code = CLI_OK;

	for (unsigned i = 0; i < DOMAINS_WAIT_S * 4; i++) {
		OWN_JSON json_t *now = NULL;
		usleep(250000);
		code = domains_get(c, c->argv[0], &now);
		if (code)
			return code;
		if (!now)
			return cli_fail(CLI_FAILED, "%s is not a domain of %s any more", c->argv[0], c->app_name);
		if (strcmp(cli_str(now, "checked_at"), cli_str(before, "checked_at")) == 0 &&
		    strcmp(cli_str(now, "state"), "pending") == 0)
			continue;
		if (strcmp(cli_str(now, "state"), "pending") != 0) {
			domains_state(c, now);
			return CLI_OK;
		}
		if (c->json)
			cli_json(now);
		else
			domains_how(now);
		return cli_fail(CLI_FAILED, "no proof yet: %s", cli_str(now, "error"));
	}
	return cli_fail(CLI_FAILED, "the node has not answered within %d s; see later: tulou domains", DOMAINS_WAIT_S);
}

int cli_cmd_domains_verify(struct cli *c)
{
	OWN_JSON json_t *body = json_object();
	OWN_JSON json_t *before = NULL;
	OWN_ANSWER struct cli_answer a = {0};
	char path[512], rest[400];
	int code = domains_get(c, c->argv[0], &before);

	if (code)
		return code;
	if (cli_value(c, "accept"))
		json_object_set_new(body, "accept", json_true());
	cli_path(rest, sizeof rest, "/domains/%s/verify", c->argv[0]);
	code = cli_app_path(c, path, sizeof path, rest);
	if (!code)
		code = cli_call(c, "POST", path, body, &a);
	if (code)
		return code;
	if (strcmp(cli_str(a.json, "state"), "pending") == 0)
		return domains_wait(c, before);
	domains_state(c, a.json);
	return CLI_OK;
}

int cli_cmd_domains_remove(struct cli *c)
{
	int code = cli_list_remove(c, "domains");

	if (!code && !c->json)
		cli_say("%s is no longer served as %s.\n", c->app_name, c->argv[0]);
	return code;
}
