/* tulou apps serving.  Layer web, program tulou. */
#include "base/json.h"
#include "base/own.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"
#include "web/cli/commands.h"
#include "web/cli/out.h"

#include <stdlib.h>
#include <string.h>

/* KEY=VALUE as the API wants it: numbers, yes/no, words. */
static int serving_word(json_t *serving, char *word)
{
	static const char *const keys[] = {"concurrency", "drain_seconds", "rollout", "access_log", "hold"};
	char *value = strchr(word, '='), *end = NULL;
	bool known = false;
	unsigned long n;

	for (size_t i = 0; value && i < ARRAY_LEN(keys); i++)
		known = known ||
			(strlen(keys[i]) == (size_t)(value - word) && strncmp(word, keys[i], strlen(keys[i])) == 0);
	if (!known)
		return cli_fail(CLI_USAGE,
				"%.64s: write concurrency=, drain_seconds=, rollout=, access_log= or hold=", word);
	*value++ = 0;
	n = strtoul(value, &end, 10);
	if (strcmp(word, "hold") == 0) {
		bool on = strcmp(value, "on") == 0;

		if (!on && strcmp(value, "off") != 0)
			return cli_fail(CLI_USAGE, "hold: on or off");
		json_object_set_new(serving, word, json_boolean(on));
	} else if (*value >= '0' && *value <= '9' && *end == 0) {
		json_object_set_new(serving, word, json_integer((json_int_t)n));
	} else {
		json_object_set_new(serving, word, json_string(value));
	}
	return CLI_OK;
}

int cli_cmd_apps_serving(struct cli *c)
{
	OWN_JSON json_t *set = json_object();
	OWN_JSON json_t *body = json_pack("{s:O}", "serving", set);
	OWN_ANSWER struct cli_answer a = {0};
	json_t *serving; /* borrowed */
	char path[128];
	int code = cli_app_path(c, path, sizeof path, "");

	for (int i = 0; !code && i < c->argc; i++)
		code = serving_word(set, c->argv[i]);
	if (!code)
		code = cli_call(c, c->argc > 0 ? "PATCH" : "GET", path, c->argc > 0 ? body : NULL, &a);
	if (code)
		return code;
	serving = json_object_get(a.json, "serving");
	if (c->json) {
		cli_json(serving);
		return CLI_OK;
	}
	cli_pair("concurrency", "%lld%s", (long long)json_integer_value(json_object_get(serving, "concurrency")),
		 json_integer_value(json_object_get(serving, "concurrency")) ? " requests of one instance"
									     : " (not limited)");
	cli_pair("drain_seconds", "%lld%s", (long long)json_integer_value(json_object_get(serving, "drain_seconds")),
		 json_integer_value(json_object_get(serving, "drain_seconds")) ? "" : " (the node's)");
	cli_pair("rollout", "%s", cli_str(serving, "rollout"));
	cli_pair("access_log", "%s", cli_str(serving, "access_log"));
	cli_pair("hold", "%s", json_is_true(json_object_get(serving, "hold")) ? "on" : "off");
	return CLI_OK;
}
