/* tulou apps latency, node certs: how requests fare; which certificates end soon.  Layer web, program tulou. */
#include "base/json.h"
#include "base/own.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"
#include "web/cli/commands.h"
#include "web/cli/list.h"
#include "web/cli/out.h"

#include <stdio.h>
#include <string.h>

static const char *millis(char out[24], json_t *q, const char *key)
{
	if (!json_is_object(q))
		snprintf(out, 24, "-");
	else
		snprintf(out, 24, cli_num(q, key) < 10 ? "%.1f ms" : "%.0f ms", cli_num(q, key));
	return out;
}

static void latency_table(struct cli *c, json_t *of)
{
	static const char *const heads[] = {"TIME OF", ">MEDIAN", ">P95", ">P99", ">REQUESTS"};
	static const char *const rows[][2] = {
		{"duration", "whole request"}, {"upstream", "app's answer"}, {"queue", "waiting"}};
	struct cli_table *t = cli_table_new(ARRAY_LEN(heads), heads);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		json_t *q = json_object_get(of, rows[i][0]);
		char p50[24], p95[24], p99[24], count[24];

		snprintf(count, sizeof count, "%.0f", cli_num(q, "count"));
		cli_table_add(t, rows[i][1], millis(p50, q, "p50_ms"), millis(p95, q, "p95_ms"),
			      millis(p99, q, "p99_ms"), count);
	}
	cli_table_print(c, t, "");
}

/* "2xx 93.0 %  4xx 7.0 %": members of an object that are not 0, as parts of all (whole > 0) or as they are. */
static void latency_parts(const char *name, json_t *of, double whole)
{
	char text[600] = "";
	const char *key;
	size_t n = 0;
	json_t *v;

	json_object_foreach(of, key, v)
	{
		if (json_number_value(v) <= 0 || n + 80 > sizeof text)
			continue;
		if (whole > 0)
			n += (size_t)snprintf(text + n, sizeof text - n, "%s%.32s %.2f %%", n ? ", " : "", key,
					      json_number_value(v) / whole * 100);
		else
			n += (size_t)snprintf(text + n, sizeof text - n, "%s%.32s %.0f", n ? ", " : "", key,
					      json_number_value(v));
	}
	if (n)
		cli_pair(name, "%s", text);
}

static void latency_print(struct cli *c, json_t *answer)
{
	json_t *recent = json_object_get(answer, "recent"), *total = json_object_get(answer, "total");
	double all = cli_num(recent, "seconds");
	int seconds = all > 0 && all < 1e6 ? (int)all : 0;

	if (seconds < 60)
		cli_say("The last %d s: %.0f requests\n", seconds, cli_num(recent, "requests"));
	else
		cli_say("The last %d min %d s: %.0f requests\n", seconds / 60, seconds % 60,
			cli_num(recent, "requests"));
	latency_table(c, recent);
	latency_parts("answers", json_object_get(recent, "status"), cli_num(recent, "requests"));
	cli_say("\nSince the counters began: %.0f requests\n", cli_num(total, "requests"));
	latency_table(c, total);
	latency_parts("answers", json_object_get(total, "status"), cli_num(total, "requests"));
	latency_parts("refused", json_object_get(answer, "refused"), 0);
}

int cli_cmd_apps_latency(struct cli *c)
{
	cli_app_of_word(c);
	return cli_show_app(c, "/latency", latency_print);
}

int cli_cmd_node_certs(struct cli *c)
{
	static const char *const heads[] = {"NAMES", "APP", "TENANT", "ORIGIN", "ENDS"};
	OWN_ANSWER struct cli_answer a = {0};
	struct cli_table *t;
	char path[128];
	json_t *cert;
	size_t i;
	int code;

	if (cli_value(c, "renew"))
		return cli_certs_node_renew(c);
	cli_path(path, sizeof path, "/v1/node/certificates?within=%s", c->argc > 0 ? c->argv[0] : "30d");
	code = cli_call(c, "GET", path, NULL, &a);
	if (code)
		return code;
	if (c->json) {
		cli_json(a.json);
		return CLI_OK;
	}
	cli_certs_hosts(c, a.json);
	t = cli_table_new(ARRAY_LEN(heads), heads);
	json_array_foreach(json_object_get(a.json, "items"), i, cert)
	{
		json_t *names = json_object_get(cert, "names"), *name;
		char list[160] = "";
		size_t k, n = 0;

		json_array_foreach(names, k, name) if (n < sizeof list) n +=
			(size_t)snprintf(list + n, sizeof list - n, "%s%s", k ? ", " : "", json_string_value(name));
		cli_table_add(t, list, *cli_str(cert, "app") ? cli_str(cert, "app") : "(the node's own)",
			      cli_str(cert, "tenant"), cli_str(cert, "origin"), cli_str(cert, "not_after"));
	}
	cli_table_print(c, t, "No certificate ends within that time.");
	return CLI_OK;
}
