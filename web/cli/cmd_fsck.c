/* tulou node fsck.  Layer web, program tulou. */
#include "base/json.h"
#include "base/own.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"
#include "web/cli/commands.h"
#include "web/cli/out.h"

#include <string.h>

struct fsck {
	struct cli *c;
	json_t *all; /* owned, with --json */
	int found, repaired;
	bool ended;
	char error[200];
};

static int fsck_line(void *arg, char *text, size_t n)
{
	struct fsck *f = arg;
	OWN_JSON json_t *line = json_read(text, n, CLI_LINE_MAX, NULL);
	json_t *found = json_object_get(line, "found");

	if (!line)
		return 0;
	if (found) {
		f->ended = true;
		f->found = (int)json_integer_value(found);
		f->repaired = (int)json_integer_value(json_object_get(line, "repaired"));
		snprintf(f->error, sizeof f->error, "%s", cli_str(line, "error"));
	} else if (f->all) {
		json_array_append(f->all, line);
	} else {
		cli_say("%-10s %s%s\n", cli_str(line, "area"), cli_str(line, "text"),
			json_is_true(json_object_get(line, "repaired")) ? " (mended)" : "");
	}
	return 0;
}

static int fsck_data(void *arg, const char *p, size_t n)
{
	return cli_lines_feed(arg, p, n);
}

int cli_cmd_node_fsck(struct cli *c)
{
	bool repair = cli_value(c, "repair") != NULL;
	struct fsck f = {.c = c, .all = c->json ? json_array() : NULL};
	struct cli_lines lines = {.on_line = fsck_line, .arg = &f};
	OWN_JSON json_t *body = json_pack("{s:b}", "repair", repair);
	OWN_ANSWER struct cli_answer a = {0};
	struct cli_request q = {.method = "POST",
				.path = "/v1/node/fsck",
				.body = body,
				.accept = "application/x-ndjson, application/problem+json",
				.idle_s = 300,
				.on_data = fsck_data,
				.arg = &lines};
	int code = cli_request(c, &q, &a);

	cli_lines_done(&lines);
	if (code == CLI_OK && c->json) {
		OWN_JSON json_t *o =
			json_pack("{s:O, s:i, s:i}", "items", f.all, "found", f.found, "repaired", f.repaired);
		cli_json(o);
	}
	json_decref(f.all);
	if (code)
		return code;
	if (!f.ended)
		return cli_fail(CLI_UNREACHABLE, "the answer ended before the check did");
	if (f.error[0])
		return cli_fail(CLI_FAILED, "%s", f.error);
	if (!c->json && f.found == 0)
		cli_say("Database, disk, processes and kernel agree.\n");
	else if (!c->json)
		cli_say("%d difference%s, %d mended.%s\n", f.found, f.found == 1 ? "" : "s", f.repaired,
			repair || f.repaired == f.found ? "" : " `tulou node fsck --repair` mends what can be mended.");
	return f.found == f.repaired ? CLI_OK : CLI_FAILED;
}
