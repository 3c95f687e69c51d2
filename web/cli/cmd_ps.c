/* tulou ps, scale, run.  Layer web, program tulou. */
#include "base/json.h"
#include "base/own.h"
#include "base/utf8.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"
#include "web/cli/commands.h"
#include "web/cli/fields.h"
#include "web/cli/list.h"
#include "web/cli/out.h"

#include <string.h>
#include <unistd.h>

static void ps_row(struct cli_table *t, json_t *in)
{
	json_t *throttle = json_object_get(in, "throttle");
	char state[48], release[24], memory[16], limit[16], both[48], cpu[24], pids[24], ago[32], restarts[24];
	json_t *rel = json_object_get(in, "release");

	if (json_is_string(rel))
		snprintf(release, sizeof release, "%.20s", json_string_value(rel));
	else
		snprintf(release, sizeof release, "v%.0f", json_number_value(rel));
	snprintf(both, sizeof both, "%s of %s", cli_bytes(memory, cli_num(in, "memory_bytes")),
		 cli_bytes(limit, cli_num(in, "memory_limit_bytes")));
	/* "running, slowed": it yields to others, and the reason says why. */
	snprintf(state, sizeof state, "%.20s%s%.20s", cli_str(in, "state"), json_is_object(throttle) ? ", " : "",
		 cli_str(throttle, "state"));
	snprintf(cpu, sizeof cpu, "%.1f", cli_num(in, "cpu_seconds"));
	snprintf(pids, sizeof pids, "%.0f", cli_num(in, "pids"));
	snprintf(restarts, sizeof restarts, "%.0f", cli_num(in, "restarts"));
	cli_table_add(t, cli_str(in, "id"), cli_str(in, "type"), release, state, both, cpu, pids,
		      cli_since(ago, cli_str(in, "started_at")), restarts,
		      *cli_str(in, "pending")  ? cli_str(in, "pending")
		      : *cli_str(in, "reason") ? cli_str(in, "reason")
					       : cli_str(throttle, "reason"));
}

static void ps_after(struct cli *c, json_t *answer)
{
	(void)c;
	if (*cli_str(answer, "waiting"))
		cli_say("Waiting: %s\n", cli_str(answer, "waiting"));
}

int cli_cmd_ps(struct cli *c)
{
	static const char *const heads[] = {"ID",     "TYPE",  "RELEASE", "STATE",     ">MEMORY",
					    ">CPU S", ">PIDS", "STARTED", ">RESTARTS", "REASON"};
	static const struct cli_list list = {
		heads,
		ARRAY_LEN(heads),
		ps_row,
		"Nothing runs. `tulou scale web=1` starts an instance, `tulou apps info` says why there is none.",
		NULL,
		ps_after};

	return cli_list_show_app(c, "/instances", &list);
}

int cli_cmd_ps_stop(struct cli *c)
{
	int code = cli_list_remove(c, "instances");

	if (!code && !c->json)
		printf("Instance %s stops; another takes its place.\n", c->argv[0]);
	return code;
}

/* What is wanted and does not fit: the numbers alone would look as if it ran. */
static void scale_waiting(struct cli *c)
{
	OWN_ANSWER struct cli_answer app = {0};
	const char *waiting;
	char path[128];

	if (cli_app_path(c, path, sizeof path, "") || cli_call(c, "GET", path, NULL, &app))
		return;
	waiting = cli_str(json_object_get(app.json, "stats"), "waiting");
	if (*waiting)
		cli_say("Waiting: %s\n", waiting);
}

int cli_cmd_scale(struct cli *c)
{
	static const char *const heads[] = {"TYPE", ">INSTANCES"};
	OWN_ANSWER struct cli_answer a = {0}, put = {0};
	json_t *count, *shown;
	struct cli_table *t;
	struct err e = {0};
	const char *type;
	char path[128];
	int code = cli_app_path(c, path, sizeof path, "/formation");

	if (!code)
		code = cli_call(c, "GET", path, NULL, &a);
	if (code)
		return code;
	shown = a.json;
	if (c->argc > 0) {
		/* PUT replaces all: what is not named stays as it is. */
		OWN_JSON json_t *body = json_deep_copy(a.json);

		if (cli_fields_formation(body, c->argv, c->argc, &e))
			return cli_fail(CLI_USAGE, "%s", e.text);
		code = cli_call(c, "PUT", path, body, &put);
		if (code)
			return code;
		shown = put.json ? put.json : body;
		json_incref(shown);
		cli_answer_done(&put);
	} else {
		json_incref(shown);
	}
	if (c->json) {
		cli_json(shown);
	} else {
		t = cli_table_new(ARRAY_LEN(heads), heads);
		json_object_foreach(shown, type, count)
		{
			char n[24];

			snprintf(n, sizeof n, "%lld", (long long)json_integer_value(count));
			cli_table_add(t, type, n);
		}
		cli_table_print(c, t, "No formation yet: the first deploy starts one web instance.");
		scale_waiting(c);
	}
	json_decref(shown);
	return CLI_OK;
}

struct run {
	struct cli *c;
	struct cli_lines lines;
	int code; /* -1 until the command ended */
	char text[256];
};

static int run_line(void *arg, char *line, size_t n)
{
	struct run *r = arg;
	OWN_JSON json_t *j = json_read(line, n, CLI_LINE_MAX, NULL);
	json_t *output = json_object_get(j, "output"), *code = json_object_get(j, "exit_code");

	if (!j)
		return 0;
	if (r->c->json) {
		json_dumpf(j, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
		putchar('\n');
	} else if (json_is_string(output)) {
		/* A terminal gets it escaped, a file or pipe gets what the command wrote. */
		if (isatty(STDOUT_FILENO))
			cli_text(stdout, json_string_value(output), json_string_length(output));
		else
			fwrite(json_string_value(output), 1, json_string_length(output), stdout);
	}
	fflush(stdout);
	if (json_is_integer(code)) {
		r->code = (int)json_integer_value(code) & 255;
		snprintf(r->text, sizeof r->text, "%s",
			 *cli_str(j, "error") ? cli_str(j, "error") : cli_str(j, "text"));
	}
	return 0;
}

static int run_data(void *arg, const char *p, size_t n)
{
	struct run *r = arg;

	return cli_lines_feed(&r->lines, p, n);
}

/* The words as one shell command.  A single word is taken as it is, so that `tulou run 'a | b'` works as it does with
 * ssh. */
static char *join(char **words, int n)
{
	size_t size = 1, len = 0;
	char *s;

	for (int i = 0; i < n; i++)
		size += 4 * strlen(words[i]) + 3;
	s = malloc(size);
	if (!s)
		return NULL;
	s[0] = 0;
	if (n == 1) {
		memcpy(s, words[0], strlen(words[0]) + 1);
		return s;
	}
	for (int i = 0; i < n; i++) {
		bool plain = words[i][0] != 0;

		for (const char *p = words[i]; *p && plain; p++)
			plain = strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./:=,@%+",
				       *p) != NULL;
		if (i > 0)
			s[len++] = ' ';
		if (!plain)
			s[len++] = '\'';
		for (const char *p = words[i]; *p; p++) {
			if (*p == '\'') {
				memcpy(s + len, "'\\'", 3);
				len += 3;
			}
			s[len++] = *p;
		}
		if (!plain)
			s[len++] = '\'';
	}
	s[len] = 0;
	return s;
}

int cli_cmd_run(struct cli *c)
{
	struct run r = {.c = c, .code = -1};
	OWN_FREE char *command = join(c->argv, c->argc);
	OWN_JSON json_t *body = command ? json_pack("{s:s}", "command", command) : NULL;
	OWN_ANSWER struct cli_answer a = {0};
	char path[128];
	struct cli_request q = {.method = "POST",
				.path = path,
				.body = body,
				.accept = "application/x-ndjson, application/problem+json",
				.idle_s = 24 * 3600L,
				.on_data = run_data,
				.arg = &r};
	int code;

	if (!body)
		return cli_fail(CLI_USAGE, "command: it is not UTF-8 text");
	code = cli_app_path(c, path, sizeof path, "/runs");
	r.lines = (struct cli_lines){.on_line = run_line, .arg = &r};
	if (!code)
		code = cli_request(c, &q, &a);
	cli_lines_done(&r.lines);
	if (code)
		return code;
	if (r.code < 0)
		return cli_fail(CLI_UNREACHABLE, "the answer ended before the command did");
	if (r.text[0])
		cli_fail(r.code, "%s", r.text);
	return r.code;
}
