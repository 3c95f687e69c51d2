/* tulou logs, events: past and live.  Layer web, program tulou. */
#include "base/json.h"
#include "base/own.h"
#include "base/parse.h"
#include "web/cli/account.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"
#include "web/cli/commands.h"
#include "web/cli/out.h"

#include <string.h>
#include <unistd.h>

/* The API sends a heartbeat every 15 s: twice that without a byte, and the connection is dead. */
#define FOLLOW_IDLE_S 40
#define LINES_MAX 10000

/* A follower that outlives its connections: the node may be upgraded underneath. */
struct follow {
	struct cli *c;
	struct cli_sse sse;
	char last[40]; /* logs: time of the last line; events: id of the last event */
	bool again;    /* a later connection: what was shown is not shown again */
	bool got;      /* this connection gave something */
};

static int lines_of(struct cli *c, unsigned otherwise, unsigned *ret)
{
	const char *n = cli_value(c, "lines");
	struct err e = {0};
	uint64_t v;

	*ret = otherwise;
	if (!n)
		return CLI_OK;
	if (parse_u64(n, strlen(n), 1, LINES_MAX, "lines", &v, &e))
		return cli_fail(CLI_USAGE, "%s", e.text);
	*ret = (unsigned)v;
	return CLI_OK;
}

/* Waits before another try: 0.2, 0.4, … 5 s. */
static void pause_before(unsigned tries)
{
	useconds_t us = 200000u << (tries < 5 ? tries : 5);

	usleep(us > 5000000 ? 5000000 : us);
}

static int follow_data(void *arg, const char *p, size_t n)
{
	struct follow *f = arg;

	f->got = true;
	return cli_sse_feed(&f->sse, p, n);
}

/* A line of the access log is JSON: shown as it is, or for a person. */
static void print_access_line(struct cli *c, const char *line, size_t n)
{
	OWN_JSON json_t *j = c->json ? NULL : json_read(line, n, CLI_LINE_MAX, NULL);

	if (!j) {
		cli_text(stdout, line, n);
		putchar('\n');
		return;
	}
	cli_say("%s  %-15s  %s %s%s  %lld  %lld B  %.1f ms  %s\n", cli_str(j, "time"), cli_str(j, "client"),
		cli_str(j, "method"), cli_str(j, "host"), cli_str(j, "path"),
		(long long)json_integer_value(json_object_get(j, "status")),
		(long long)json_integer_value(json_object_get(j, "bytes")),
		(double)json_integer_value(json_object_get(j, "duration_us")) / 1000, cli_str(j, "request_id"));
}

static void print_log_line(struct cli *c, const char *line, size_t n)
{
	size_t time = strcspn(line, " "), source = time < n ? strcspn(line + time + 1, " ") : 0;

	if (cli_value(c, "access")) {
		print_access_line(c, line, n);
		return;
	}
	if (c->json) {
		OWN_JSON json_t *j =
			json_pack("{s:s%, s:s%, s:s%}", "time", line, time, "source", line + (time < n ? time + 1 : n),
				  source, "text", line + (time + 1 + source < n ? time + 2 + source : n),
				  time + 1 + source < n ? n - (time + 2 + source) : (size_t)0);

		if (j)
			json_dumpf(j, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
		putchar('\n');
		return;
	}
	if (c->colour && time < n) {
		printf("\033[2m");
		cli_text(stdout, line, time);
		printf("\033[0m \033[36m");
		cli_text(stdout, line + time + 1, source);
		printf("\033[0m");
		cli_text(stdout, line + time + 1 + source, n - (time + 1 + source));
	} else {
		cli_text(stdout, line, n);
	}
	putchar('\n');
}

static int log_event(void *arg, const char *id, const char *kind, const char *data, size_t n)
{
	struct follow *f = arg;
	const char *line = data;
	size_t time = strcspn(data, " ");
	bool access = cli_value(f->c, "access");

	if (access && n > 33 && memcmp(data, "{\"time\":\"", 9) == 0) {
		data += 9;
		time = strcspn(data, "\"");
	}

	(void)id;
	(void)kind;
	if (time > 0 && time < sizeof f->last) {
		if (f->again && f->last[0] && strncmp(data, f->last, time) <= 0 && strlen(f->last) == time)
			return 0;
		f->again = false;
		snprintf(f->last, sizeof f->last, "%.*s", (int)time, data);
	}
	print_log_line(f->c, line, n);
	fflush(stdout);
	return 0;
}

static int log_plain_line(void *arg, char *line, size_t n)
{
	print_log_line(arg, line, n);
	return 0;
}

static int log_plain(void *arg, const char *p, size_t n)
{
	return cli_lines_feed(arg, p, n);
}

/* Follows until the node refuses; a broken connection is made again. make_path writes the path of the next one. */
static int follow_on(struct follow *f, void (*make_path)(struct follow *f, const char *base, char *out, size_t cap),
		     const char *base)
{
	char path[400];
	struct cli_request r = {.method = "GET",
				.path = path,
				.accept = "text/event-stream, application/problem+json",
				.idle_s = FOLLOW_IDLE_S,
				.on_data = follow_data,
				.arg = f};

	for (unsigned tries = 0;; tries++) {
		OWN_ANSWER struct cli_answer a = {0};
		int code;

		make_path(f, base, path, sizeof path);
		f->got = false;
		r.quiet = tries > 0 || f->again;
		code = cli_request(f->c, &r, &a);
		cli_sse_done(&f->sse);
		f->sse.kind[0] = 0;
		if (code != CLI_OK && code != CLI_UNREACHABLE) {
			if (r.quiet)
				cli_fail(code, "the node refuses to go on (status %ld)", a.status);
			return code;
		}
		if (code == CLI_UNREACHABLE && !f->again && !f->got && tries == 0)
			return code; /* never reached: that was said */
		if (f->got)
			tries = 0;
		if (tries == 1 && f->c->colour_err)
			fprintf(stderr, "(connection lost, trying again)\n");
		f->again = true;
		pause_before(tries);
	}
}

static void logs_path(struct follow *f, const char *base, char *out, size_t cap)
{
	unsigned n = 100;

	if (f->again)
		n = 1000; /* what was written meanwhile, and older lines that are left out by their time */
	else
		lines_of(f->c, 100, &n);
	snprintf(out, cap, "%s/logs?lines=%u&follow=1%s", base, n, cli_value(f->c, "access") ? "&source=access" : "");
}

/* An app that keeps no access log has nothing to show, now or ever: say so, to people only. */
static void access_is_off(struct cli *c, const char *base)
{
	OWN_ANSWER struct cli_answer a = {0};
	struct cli_request r = {.method = "GET", .path = base, .quiet = true};

	if (cli_request(c, &r, &a) == CLI_OK &&
	    strcmp(cli_str(json_object_get(a.json, "serving"), "access_log"), "off") == 0)
		fprintf(stderr,
			"tulou: %s keeps no access log; what is shown was written before it was turned off. Turn it on "
			"with: tulou apps serving access_log=all\n",
			c->app_name);
}

int cli_cmd_logs(struct cli *c)
{
	struct cli_lines lines = {.on_line = log_plain_line, .arg = c};
	struct follow f = {.c = c};
	OWN_ANSWER struct cli_answer a = {0};
	char base[128], path[200];
	struct cli_request r = {.method = "GET",
				.path = path,
				.accept = "text/plain, application/problem+json",
				.on_data = log_plain,
				.arg = &lines};
	unsigned n;
	int code = lines_of(c, 100, &n);

	if (!code)
		code = cli_app_path(c, base, sizeof base, "");
	if (code)
		return code;
	if (cli_value(c, "access"))
		access_is_off(c, base);
	if (cli_value(c, "follow")) {
		cli_sse_init(&f.sse, log_event, &f);
		return follow_on(&f, logs_path, base);
	}
	snprintf(path, sizeof path, "%s/logs?lines=%u%s", base, n, cli_value(c, "access") ? "&source=access" : "");
	code = cli_request(c, &r, &a);
	if (!code && lines.len > 0)
		cli_lines_feed(&lines, "\n", 1); /* the last line, should it be without its end */
	cli_lines_done(&lines);
	return code;
}

static void print_event(struct cli *c, json_t *j)
{
	char time[32];

	if (c->json) {
		json_dumpf(j, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
		putchar('\n');
		return;
	}
	snprintf(time, sizeof time, "%.19s", cli_str(j, "time"));
	if (strlen(time) == 19)
		time[10] = ' ';
	cli_say("%s  %-20s  %-16s  %s\n", time, cli_str(j, "kind"),
		*cli_str(j, "app") ? cli_str(j, "app") : cli_str(j, "tenant"), cli_str(j, "text"));
}

static int live_event(void *arg, const char *id, const char *kind, const char *data, size_t n)
{
	struct follow *f = arg;
	OWN_JSON json_t *j = json_read(data, n, CLI_LINE_MAX, NULL);

	(void)kind;
	if (*id)
		snprintf(f->last, sizeof f->last, "%.39s", id);
	if (j)
		print_event(f->c, j);
	fflush(stdout);
	return 0;
}

static void events_path(struct follow *f, const char *base, char *out, size_t cap)
{
	char after[128];

	cli_path(after, sizeof after, "%s", f->last);
	snprintf(out, cap, "%s?follow=1%s%s", base, f->last[0] ? "&after=" : "", after);
}

int cli_cmd_events(struct cli *c)
{
	struct follow f = {.c = c};
	OWN_ANSWER struct cli_answer a = {0};
	struct err e = {0};
	char base[128] = "/v1/events", path[200];
	json_t *items, *j, *id;
	unsigned n;
	size_t i;
	int code = lines_of(c, 50, &n);

	if (code)
		return code;
	/* With no app at hand the events of all are meant; an app that was named must be right. */
	if (!cli_value(c, "all") && (cli_account_app(c, &e) == 0 || c->app)) {
		code = cli_app_path(c, base, sizeof base, "/events");
		if (code)
			return code;
	}
	snprintf(path, sizeof path, "%s?limit=%u", base, n > 200 ? 200 : n);
	code = cli_call(c, "GET", path, NULL, &a);
	if (code)
		return code;
	items = json_object_get(a.json, "items");
	if (c->json && !cli_value(c, "follow")) {
		cli_json(a.json);
		return CLI_OK;
	}
	json_array_foreach(items, i, j) print_event(c, j);
	if (!cli_value(c, "follow")) {
		if (json_array_size(items) == 0)
			printf("Nothing has happened yet.\n");
		return CLI_OK;
	}
	fflush(stdout);
	j = json_array_get(items, json_array_size(items) > 0 ? json_array_size(items) - 1 : 0);
	id = json_object_get(j, "id");
	if (json_is_integer(id))
		snprintf(f.last, sizeof f.last, "%lld", (long long)json_integer_value(id));
	else if (json_is_string(id))
		snprintf(f.last, sizeof f.last, "%.39s", json_string_value(id));
	cli_sse_init(&f.sse, live_event, &f);
	return follow_on(&f, events_path, base);
}
