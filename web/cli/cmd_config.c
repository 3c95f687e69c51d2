/* tulou config.  Layer web, program tulou. */
#include "base/buf.h"
#include "base/json.h"
#include "base/own.h"
#include "web/cli/account.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"
#include "web/cli/commands.h"
#include "web/cli/fields.h"
#include "web/cli/follow.h"
#include "web/cli/out.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int config_get(struct cli *c, struct cli_answer *a)
{
	char path[128];
	int code = cli_app_path(c, path, sizeof path, "/config");

	return code ? code : cli_call(c, "GET", path, NULL, a);
}

int cli_cmd_config(struct cli *c)
{
	static const char *const heads[] = {"KEY", "VALUE"};
	OWN_ANSWER struct cli_answer a = {0};
	struct cli_table *t;
	const char *key;
	json_t *value;
	int code = config_get(c, &a);

	if (code)
		return code;
	if (c->json) {
		cli_json(a.json);
		return CLI_OK;
	}
	t = cli_table_new(ARRAY_LEN(heads), heads);
	json_object_foreach(a.json, key, value)
		cli_table_add(t, key, json_string_value(value) ? json_string_value(value) : "");
	cli_table_print(c, t, "There are no config vars. Set one with: tulou config set KEY=VALUE");
	return CLI_OK;
}

int cli_cmd_config_get(struct cli *c)
{
	OWN_ANSWER struct cli_answer a = {0};
	json_t *value;
	int code = config_get(c, &a);

	if (code)
		return code;
	value = json_object_get(a.json, c->argv[0]);
	if (!value)
		return cli_fail(CLI_FAILED, "there is no config var %s", c->argv[0]);
	if (c->json)
		cli_json(value);
	else if (isatty(STDOUT_FILENO))
		cli_say("%s\n", json_string_value(value));
	else
		printf("%s\n", json_string_value(value)); /* a script gets the bytes */
	return CLI_OK;
}

/* Follows the release that brings the change.  When it fails, the vars stay for the next one. */
static int config_follow(struct cli *c, long version, json_t *body)
{
	OWN_ANSWER struct cli_answer a = {0};
	OWN_BUF struct buf names = {0};
	char path[160], rest[48];
	const char *key;
	json_t *value;
	int code;

	snprintf(rest, sizeof rest, "/releases/%ld", version);
	code = cli_app_path(c, path, sizeof path, rest);
	if (!code)
		code = cli_call(c, "GET", path, NULL, &a);
	if (code)
		return code;
	code = c->json ? cli_follow_quiet(c, a.json) : cli_follow(c, a.json);
	if (code != CLI_FAILED || c->json)
		return code;
	buf_init(&names, 4096);
	json_object_foreach(body, key, value)
	{
		if (!json_is_null(value))
			buf_printf(&names, " %s", key);
	}
	return names.len > 0
		       ? cli_fail(code,
				  "The next release has the config as it is set now: set the earlier values again, or, "
				  "of vars that are new: tulou config unset%s -a %s",
				  names.data, c->app_name)
		       : cli_fail(code, "The next release has the config as it is set now.");
}

static int config_patch(struct cli *c, json_t *body)
{
	OWN_ANSWER struct cli_answer a = {0};
	char path[128];
	int code = cli_app_path(c, path, sizeof path, "/config");
	long changed;

	if (!code)
		code = cli_call(c, "PATCH", path, body, &a);
	if (code)
		return code;
	changed = a.changed < 0 ? (long)json_object_size(body) : a.changed; /* an older node does not say it */
	if (c->json)
		cli_json(a.json);
	else if (changed > 0)
		cli_say("Changed %ld config var%s of %s%s\n", changed, changed == 1 ? "" : "s", c->app_name,
			a.release < 0 ? ", for its first release" : "");
	else if (a.release < 0)
		cli_say("Nothing changed: the config of %s was so already\n", c->app_name);
	return a.release < 0 ? CLI_OK : config_follow(c, a.release, body);
}

int cli_cmd_config_set(struct cli *c)
{
	OWN_JSON json_t *body = json_object();
	struct err e = {0};

	if (cli_fields_config(body, c->argv, c->argc, false, &e))
		return cli_fail(CLI_USAGE, "%s", e.text);
	return config_patch(c, body);
}

int cli_cmd_config_unset(struct cli *c)
{
	OWN_JSON json_t *body = json_object();
	struct err e = {0};

	if (cli_fields_config(body, c->argv, c->argc, true, &e))
		return cli_fail(CLI_USAGE, "%s", e.text);
	return config_patch(c, body);
}
