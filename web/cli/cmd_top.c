/* tulou top: who makes the load, as it comes.  Layer web, program tulou. */
#include "base/json.h"
#include "base/own.h"
#include "base/parse.h"
#include "config/limits.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"
#include "web/cli/commands.h"
#include "web/cli/out.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *top_share(char out[16], double part)
{
	snprintf(out, 16, part > 0 && part < 0.001 ? "<0.1 %%" : "%.1f %%", part * 100);
	return out;
}

/* One list of an answer; "of" is its heading. */
static void top_list(struct cli *c, json_t *doc, const char *key, const char *of)
{
	const char *heads[] = {of, ">SHARE", ">REQ/S", ">BYTES/S", ">BUSY", ">ERRORS"};
	double seconds = cli_num(doc, "seconds");
	json_t *list = json_object_get(doc, key), *row;
	struct cli_table *t;
	size_t i;

	if (!json_array_size(list) || seconds <= 0)
		return;
	t = cli_table_new(ARRAY_LEN(heads), heads);
	json_array_foreach(list, i, row)
	{
		const char *tenant = cli_str(row, "tenant");
		double requests = cli_num(row, "requests");
		char share[16], rate[24], bytes[16], busy[24], errors[16], name[200];

		snprintf(name, sizeof name, "%.100s%s%.80s%s", cli_str(row, "name"), *tenant ? " (" : "", tenant,
			 *tenant ? ")" : "");
		snprintf(rate, sizeof rate, "%.1f", requests / seconds);
		snprintf(busy, sizeof busy, "%.2f", cli_num(row, "seconds") / seconds);
		cli_table_add(t, name, top_share(share, cli_num(row, "share")), rate,
			      cli_bytes(bytes, cli_num(row, "bytes") / seconds), busy,
			      top_share(errors, requests > 0 ? cli_num(row, "errors") / requests : 0));
	}
	cli_table_print(c, t, "");
	printf("\n");
}

static void top_print(struct cli *c, json_t *doc, bool node)
{
	static const char *const lists[][2] = {{"tenants", "TENANT"},	{"apps", "APP"},   {"clients", "CLIENT"},
					       {"paths", "PATH"},	{"hosts", "HOST"}, {"statuses", "STATUS"},
					       {"agents", "USER AGENT"}};
	double seconds = cli_num(doc, "seconds"), requests = cli_num(doc, "requests");
	char bytes[16], errors[16];

	cli_say("%s by %s, %.0f s: %.0f requests (%.1f/s), %s/s, %.2f at a time, %s errors",
		node ? "node" : c->app_name, cli_str(doc, "by"), seconds, requests, requests / seconds,
		cli_bytes(bytes, cli_num(doc, "bytes") / seconds), cli_num(doc, "request_seconds") / seconds,
		top_share(errors, requests > 0 ? cli_num(doc, "errors") / requests : 0));
	if (cli_num(doc, "sampled") < requests)
		cli_say("; %.0f were looked at", cli_num(doc, "sampled"));
	if (cli_num(doc, "workers_missing") > 0)
		cli_say("; %.0f workers did not answer", cli_num(doc, "workers_missing"));
	printf("\n\n");
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		top_list(c, doc, lists[i][0], lists[i][1]);
	if (requests == 0)
		cli_say("No request ended in this time. Open WebSockets and downloads count when they end.\n");
}

int cli_cmd_top(struct cli *c)
{
	bool node = cli_value(c, "node") != NULL, live = !c->json && !cli_value(c, "once") && isatty(STDOUT_FILENO);
	const char *by = cli_value(c, "by"), *span = cli_value(c, "for"), *limit = cli_value(c, "limit");
	char path[300], rest[150];
	uint64_t ms = live ? 2000 : 5000, n = 10;
	struct err e = {0};
	int code = CLI_OK;

	if (by && strcmp(by, "requests") != 0 && strcmp(by, "bytes") != 0 && strcmp(by, "time") != 0)
		return cli_fail(CLI_USAGE, "--by: requests, bytes or time");
	if (node && c->argc > 0)
		return cli_fail(CLI_USAGE, "name an app, or say --node");
	if ((span && parse_duration_ms(span, 1000, LIMIT_TALK_S * 1000, "--for", &ms, &e) < 0) ||
	    (limit && parse_u64(limit, strlen(limit), 1, LIMIT_TALK_ROWS, "--limit", &n, &e) < 0))
		return cli_fail(CLI_USAGE, "%s", e.text);
	if (c->argc > 0)
		c->app = c->argv[0];
	snprintf(rest, sizeof rest, "/talkers?by=%s&for=%llums&limit=%llu", by ? by : "requests",
		 (unsigned long long)ms, (unsigned long long)n);
	if (node)
		snprintf(path, sizeof path, "/v1/node%s", rest);
	else
		code = cli_app_path(c, path, sizeof path, rest);
	while (!code) {
		OWN_ANSWER struct cli_answer a = {0};

		code = cli_call(c, "GET", path, NULL, &a);
		if (code)
			break;
		if (c->json) {
			cli_json(a.json);
			break;
		}
		if (live)
			printf("\033[H\033[2J");
		top_print(c, a.json, node);
		fflush(stdout);
		if (!live)
			break;
	}
	return code;
}
