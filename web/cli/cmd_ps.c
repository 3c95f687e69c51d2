/* tulou ps, scale, run.  Layer web, program tulou. */
#include "base/json.h"
#include "base/own.h"
#include "base/utf8.h"
#include "scheduler/plan.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"
#include "web/cli/commands.h"
#include "web/cli/fields.h"
#include "web/cli/list.h"
#include "web/cli/out.h"

#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
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

/* Something below the app; an answer without JSON when it cannot be had: what it is for is said without it. */
static void ps_ask(struct cli *c, const char *rest, struct cli_answer *a)
{
	char path[160];
	struct cli_request r = {.method = "GET", .path = path, .quiet = true};

	if (cli_app_path(c, path, sizeof path, rest) || cli_request(c, &r, a)) {
		json_decref(a->json);
		a->json = NULL;
	}
}

/* The newest event of a kind that begins so; "" when there is none.  Borrowed from the answer. */
static const char *ps_event(json_t *events, const char *kind)
{
	const char *text = "";
	json_t *ev;
	size_t i;

	json_array_foreach(json_object_get(events, "items"), i, ev)
	{
		if (strncmp(cli_str(ev, "kind"), kind, strlen(kind)) == 0)
			text = cli_str(ev, "text");
	}
	return text;
}

static bool ps_building(json_t *builds)
{
	json_t *b;
	size_t i;

	json_array_foreach(json_object_get(builds, "items"), i, b)
	{
		if (strcmp(cli_str(b, "state"), "running") == 0)
			return true;
	}
	return false;
}

/* "web=0 worker=0" */
static const char *ps_formation(json_t *app, char *out, size_t cap)
{
	const char *type;
	json_t *count;
	size_t n = 0;

	*out = 0;
	json_object_foreach(json_object_get(app, "formation"), type, count)
	{
		if (n < cap)
			n += (size_t)snprintf(out + n, cap - n, "%s%s=%lld", n ? " " : "", type,
					      (long long)json_integer_value(count));
	}
	return out;
}

/* Never deployed, or not with success. */
static void ps_empty(struct cli *c, json_t *builds, json_t *events)
{
	json_t *last = json_array_get(json_object_get(builds, "items"), 0);

	if (strcmp(cli_str(last, "state"), "failed") == 0)
		cli_say("Nothing runs: %s has no release, as its last build failed: %s\nSee: tulou builds log -a %s\n",
			c->app_name, cli_str(last, "error"), c->app_name);
	else if (*ps_event(events, "deploy.failed"))
		cli_say("Nothing runs: %s has no live release: %s\nSee: tulou logs -a %s\n", c->app_name,
			ps_event(events, "deploy.failed"), c->app_name);
	else
		cli_say("Nothing runs: %s was never deployed.  Deploy it with: tulou deploy -a %s\n", c->app_name,
			c->app_name);
}

/* Why there is no instance, and what to do. */
static void ps_none(struct cli *c)
{
	OWN_ANSWER struct cli_answer app = {0}, builds = {0}, events = {0};
	const char *state, *why;
	char text[512];

	ps_ask(c, "", &app);
	ps_ask(c, "/builds?limit=1", &builds);
	ps_ask(c, "/events?limit=50", &events);
	state = cli_str(app.json, "state");
	why = ps_event(events.json, "instance.");
	if (strcmp(state, "paused") == 0) {
		cli_say("Nothing runs: %s is paused.  Start it again with: tulou apps resume %s\n", c->app_name,
			c->app_name);
	} else if (strcmp(state, "stopped") == 0) {
		cli_say("Nothing runs: %s is scaled to zero (%s).  Start an instance with: tulou scale TYPE=1 -a %s\n",
			c->app_name, ps_formation(app.json, text, sizeof text), c->app_name);
	} else if (strcmp(state, "deploying") == 0) {
		cli_say("Nothing runs yet: v%.0f is being rolled out.  See: tulou events -f -a %s\n",
			cli_num(json_object_get(app.json, "candidate"), "version"), c->app_name);
	} else if (ps_building(builds.json)) {
		cli_say("Nothing runs yet: a build is under way.  See: tulou builds log -f -a %s\n", c->app_name);
	} else if (strcmp(state, "empty") == 0) {
		ps_empty(c, builds.json, events.json);
	} else if (strcmp(state, "crashed") == 0) {
		cli_say("Nothing runs: what was started ended again, or could not be started%s%s\n"
			"It is tried again every %d minutes, or as soon as there is room; see: tulou logs -a %s\n",
			*why ? ": " : "", why, PLAN_LOOP_MS / 60000, c->app_name);
	} else {
		cli_say("Nothing runs at this moment, %.0f are wanted.%s%s\nSee: tulou events -a %s\n",
			cli_num(json_object_get(app.json, "stats"), "instances_wanted"), *why ? "  Last: " : "", why,
			c->app_name);
	}
}

static void ps_after(struct cli *c, json_t *answer)
{
	if (json_array_size(json_object_get(answer, "items")) == 0)
		ps_none(c);
	if (*cli_str(answer, "waiting"))
		cli_say("Waiting: %s\n", cli_str(answer, "waiting"));
	if (json_is_true(json_object_get(answer, "held")))
		cli_say("Held: requests wait, up to 2 minutes each.  Let them in with: tulou apps resume %s\n",
			c->app_name);
}

int cli_cmd_ps(struct cli *c)
{
	static const char *const heads[] = {"ID",     "TYPE",  "RELEASE", "STATE",     ">MEMORY",
					    ">CPU S", ">PIDS", "STARTED", ">RESTARTS", "REASON"};
	static const struct cli_list list = {heads, ARRAY_LEN(heads), ps_row, NULL, /* ps_after says why */
					     NULL,  ps_after};

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

/* True when the standard input holds something that nobody will read: the API takes a command and gives its output. */
static bool run_has_input(void)
{
	struct stat st;
	int n = 0;

	if (fstat(STDIN_FILENO, &st) < 0)
		return false;
	if (S_ISREG(st.st_mode))
		return lseek(STDIN_FILENO, 0, SEEK_CUR) < st.st_size;
	return (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) && ioctl(STDIN_FILENO, FIONREAD, &n) == 0 && n > 0;
}

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
		snprintf(r->text, sizeof r->text, "%s", cli_str(j, "reason"));
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
	/* At the end: whoever writes into a pipe may begin after us. */
	if (run_has_input())
		cli_fail(0, "the standard input was not passed on: `tulou run` gives the command none");
	if (code)
		return code;
	if (r.code < 0)
		return cli_fail(CLI_UNREACHABLE, "the answer ended before the command did");
	if (r.text[0])
		cli_fail(r.code, "%s", r.text);
	return r.code;
}
