/* tulou canary.  Layer web, program tulou. */
#include "base/json.h"
#include "base/own.h"
#include "base/parse.h"
#include "config/limits.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"
#include "web/cli/commands.h"
#include "web/cli/out.h"

#include <string.h>

static const char *const canary_words[][2] = {{"version", "RELEASE"},
					      {"weight", "--weight"},
					      {"header", "--header"},
					      {"instances", "--instances"},
					      {NULL, NULL}};

/* "120 requests, 3 errors (2.5 %)" */
static const char *canary_side(json_t *stats, const char *requests, const char *errors, char out[100])
{
	double n = cli_num(stats, requests), bad = cli_num(stats, errors);

	snprintf(out, 100, "%.0f requests, %.0f errors (%.1f %%)", n, bad, n > 0 ? bad / n * 100 : 0);
	return out;
}

static int canary_call(struct cli *c, const char *method, const char *rest, json_t *body)
{
	OWN_ANSWER struct cli_answer a = {0};
	char path[128];
	json_t *v, *stats;
	int code = cli_app_path(c, path, sizeof path, rest);

	c->words = canary_words;
	if (!code)
		code = cli_call(c, method, path, body, &a);
	if (code)
		return code;
	if (c->json) {
		if (a.json)
			cli_json(a.json);
		return CLI_OK;
	}
	if (!json_object_get(a.json, "weight"))
		return CLI_OK;
	v = json_object_get(a.json, "version");
	if (json_is_null(v))
		cli_say("%s has no canary. Start one with: tulou canary start next --weight 10\n", c->app_name);
	if (json_is_null(v))
		return CLI_OK;
	if (json_is_integer(v))
		cli_pair("canary", "v%lld", (long long)json_integer_value(v));
	else
		cli_pair("canary", "%s", "the next release that is deployed");
	stats = json_object_get(a.json, "stats");
	if (json_is_object(stats))
		cli_pair("state", "%s, %.0f of %.0f instances answer", cli_str(a.json, "state"),
			 cli_num(stats, "running"), cli_num(a.json, "instances"));
	else
		cli_pair("state", "%s", cli_str(a.json, "state"));
	cli_pair("weight", "%lld %%", (long long)cli_num(a.json, "weight"));
	cli_pair("header", "%s", *cli_str(a.json, "header") ? cli_str(a.json, "header") : "-");
	cli_pair("instances", "%lld", (long long)cli_num(a.json, "instances"));
	if (cli_num(a.json, "weight") <= 0 && !*cli_str(a.json, "header"))
		cli_say("It gets no requests. Give it some with: tulou canary start --weight 10, or --header "
			"X-Canary=1\n");
	if (json_is_object(stats)) {
		char side[100], ago[32];

		cli_pair("since", "%s", cli_since(ago, cli_str(stats, "since")));
		cli_pair("  canary", "%s", canary_side(stats, "requests", "errors", side));
		cli_pair("  live", "%s", canary_side(stats, "live_requests", "live_errors", side));
	}
	return CLI_OK;
}

int cli_cmd_canary(struct cli *c)
{
	return canary_call(c, "GET", "/canary", NULL);
}

static int canary_number(json_t *body, const char *key, const char *value, uint64_t min, uint64_t max, struct err *e)
{
	uint64_t n = 0;
	int r = value ? parse_u64(value, strlen(value), min, max, key, &n, e) : 0;

	if (r == 0 && value)
		json_object_set_new(body, key, json_integer((json_int_t)n));
	return r;
}

int cli_cmd_canary_start(struct cli *c)
{
	OWN_JSON json_t *body = json_object();
	const char *version = c->argc > 0 ? c->argv[0] : NULL, *header = cli_value(c, "header");
	struct err e = {0};
	int r = 0;

	if (version && strcmp(version, "next") == 0)
		json_object_set_new(body, "version", json_string("next"));
	else if (version)
		r = canary_number(body, "version", version + (version[0] == 'v'), 1, UINT32_MAX, &e);
	if (r == 0)
		r = canary_number(body, "weight", cli_value(c, "weight"), 0, 100, &e);
	if (r == 0)
		r = canary_number(body, "instances", cli_value(c, "instances"), 1, LIMIT_CANARY_INSTANCES, &e);
	if (r < 0)
		return cli_fail(CLI_USAGE, "%s", e.text);
	if (header && json_object_set_new(body, "header", json_string(header)) < 0)
		return cli_fail(CLI_USAGE, "header: it is not UTF-8 text");
	return canary_call(c, "PUT", "/canary", body);
}

int cli_cmd_canary_promote(struct cli *c)
{
	int code = canary_call(c, "POST", "/canary/promote", NULL);

	if (!code && !c->json)
		cli_say("The canary of %s is being rolled out.\n", c->app_name);
	return code;
}

int cli_cmd_canary_abort(struct cli *c)
{
	int code = canary_call(c, "DELETE", "/canary", NULL);

	if (!code && !c->json)
		cli_say("The live release of %s serves alone.\n", c->app_name);
	return code;
}
