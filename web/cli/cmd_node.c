/* tulou node …  Layer web, program tulou. */
#include "base/json.h"
#include "base/own.h"
#include "base/parse.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"
#include "web/cli/commands.h"
#include "web/cli/out.h"

#include <string.h>

int cli_cmd_node(struct cli *c)
{
	OWN_ANSWER struct cli_answer a = {0};
	json_t *capacity, *pressure, *load, *instances, *throttle, *count;
	char x[24], y[24], z[24], ago[32], states[256] = "";
	const char *state;
	int code = cli_call(c, "GET", "/v1/node", NULL, &a);

	if (code)
		return code;
	if (c->json) {
		cli_json(a.json);
		return CLI_OK;
	}
	capacity = json_object_get(a.json, "capacity");
	pressure = json_object_get(a.json, "pressure");
	load = json_object_get(a.json, "load");
	instances = json_object_get(a.json, "instances");
	json_object_foreach(json_object_get(a.json, "apps_by_state"), state, count) if (json_integer_value(count) > 0)
		snprintf(states + strlen(states), sizeof states - strlen(states), "%s%lld %s", *states ? ", " : "",
			 (long long)json_integer_value(count), state);
	cli_pair("node", "%s, Tulou %s, started %s", cli_str(a.json, "name"), cli_str(a.json, "version"),
		 cli_since(ago, cli_str(a.json, "started_at")));
	cli_pair("eligible", "%s%s", json_is_true(json_object_get(a.json, "eligible")) ? "yes" : "no",
		 json_is_true(json_object_get(a.json, "draining")) ? ", draining" : "");
	cli_pair("cpu", "%.0f core%s, %s promised, load %.2f %.2f %.2f", cli_num(a.json, "cpus"),
		 cli_num(a.json, "cpus") == 1 ? "" : "s", cli_plain(x, cli_num(capacity, "cpu_committed")),
		 json_number_value(json_array_get(load, 0)), json_number_value(json_array_get(load, 1)),
		 json_number_value(json_array_get(load, 2)));
	cli_pair("memory", "%s used of the host's %s", cli_bytes(x, cli_num(a.json, "memory_used_bytes")),
		 cli_bytes(y, cli_num(a.json, "memory_bytes")));
	/* Limits are caps, not reservations: their sum says nothing of what is free. */
	cli_pair("limits", "%s of memory together, of %s that they may add up to",
		 cli_bytes(z, cli_num(capacity, "memory_committed_bytes")),
		 cli_bytes(x, cli_num(capacity, "memory_bytes")));
	cli_pair("disk", "%s used of %s", cli_bytes(x, cli_num(a.json, "disk_used_bytes")),
		 cli_bytes(y, cli_num(a.json, "disk_bytes")));
	cli_pair("pressure", "cpu %.1f %%, memory %.1f %%, io %.1f %%", cli_num(pressure, "cpu"),
		 cli_num(pressure, "memory"), cli_num(pressure, "io"));
	throttle = json_object_get(a.json, "throttle");
	if (throttle)
		cli_pair("throttle", "%s: %.0f slowed, %.0f boosted, %.0f s of contention%s", cli_str(throttle, "mode"),
			 cli_num(throttle, "slowed"), cli_num(throttle, "boosted"),
			 cli_num(throttle, "contended_seconds"),
			 json_is_true(json_object_get(throttle, "contended")) ? ", now too" : "");
	cli_pair("apps", "%.0f of %.0f tenants%s%s", cli_num(a.json, "apps"), cli_num(a.json, "tenants"),
		 *states ? ": " : "", states);
	cli_pair("instances", "%.0f running, %.0f starting, %.0f wanted", cli_num(instances, "running"),
		 cli_num(instances, "starting"), cli_num(instances, "wanted"));
	cli_pair("requests", "%.1f/s", cli_num(a.json, "requests_per_second"));
	return CLI_OK;
}

int cli_cmd_node_check(struct cli *c)
{
	OWN_ANSWER struct cli_answer a = {0};
	struct cli_request r = {.method = "GET", .path = "/readyz", .quiet = true, .idle_s = 10};
	int code = cli_request(c, &r, &a);

	if (c->json && a.json)
		cli_json(a.json);
	if (code == CLI_OK && !c->json)
		cli_say("%s is ready.\n", c->base);
	if (code == CLI_OK)
		return CLI_OK;
	if (a.json)
		return cli_fail(CLI_FAILED, "%s is up but not ready: %s", c->base,
				*cli_str(a.json, "detail") ? cli_str(a.json, "detail") : cli_str(a.json, "status"));
	return cli_fail(CLI_UNREACHABLE,
			"%s does not answer; on the node itself, `tuloud --check` says what the host lacks", c->base);
}

static int epoch_of(struct cli *c, json_t *body)
{
	const char *text = cli_value(c, "epoch");
	uint64_t epoch = 0;
	struct err e = {0};

	if (text && parse_u64(text, strlen(text), 0, INT64_MAX, "epoch", &epoch, &e))
		return cli_fail(CLI_USAGE, "%s", e.text);
	json_object_set_new(body, "epoch", json_integer((json_int_t)epoch));
	return CLI_OK;
}

int cli_cmd_node_drain(struct cli *c)
{
	OWN_JSON json_t *body = json_object();
	OWN_ANSWER struct cli_answer a = {0};
	int code = epoch_of(c, body);

	if (code)
		return code;
	code = cli_confirm(c, "drain", "stop every app of this node");
	if (!code)
		code = cli_call(c, "POST", "/v1/node/drain", body, &a);
	if (code)
		return code;
	if (c->json && a.json)
		cli_json(a.json);
	else
		printf("The node drains: it takes no new work, and every app stops. `tulou node eligible yes` takes "
		       "that back.\n");
	return CLI_OK;
}

int cli_cmd_node_eligible(struct cli *c)
{
	OWN_JSON json_t *body = json_object();
	OWN_ANSWER struct cli_answer a = {0};
	bool yes = strcmp(c->argv[0], "yes") == 0 || strcmp(c->argv[0], "true") == 0;
	int code;

	if (!yes && strcmp(c->argv[0], "no") != 0 && strcmp(c->argv[0], "false") != 0)
		return cli_fail(CLI_USAGE, "eligible: '%.40s' is neither yes nor no", c->argv[0]);
	json_object_set_new(body, "eligible", json_boolean(yes));
	code = epoch_of(c, body);
	if (!code)
		code = cli_call(c, "PUT", "/v1/node/eligibility", body, &a);
	if (code)
		return code;
	if (c->json && a.json)
		cli_json(a.json);
	else
		printf("The node %s new work.\n", yes ? "takes" : "takes no");
	return CLI_OK;
}
