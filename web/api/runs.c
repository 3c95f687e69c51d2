/* One-off commands: their output as lines of JSON.  Layer web, control process. */
#include "base/own.h"
#include "web/api/fields.h"
#include "web/api/lines.h"
#include "web/api/route.h"

#include <errno.h>
#include <string.h>

/* Lives until control reported the end, also when its client left before. */
struct run {
	struct exchange *x; /* borrowed; NULL once the exchange is over */
	int out;	    /* owned */
	struct loop_io io;
	struct lines lines;
	bool eof, done, told;
	int exit_code;
	char text[200];
};

static void run_on_readable(void *arg, short what)
{
	struct run *r = arg;

	(void)what;
	loop_io_stop(&r->io);
	api_wake(r->x);
}

static void run_on_exit(void *arg, int exit_code, const char *text)
{
	struct run *r = arg;

	r->done = true;
	if (!r->x) {
		free(r);
		return;
	}
	r->exit_code = exit_code;
	snprintf(r->text, sizeof r->text, "%s", text ? text : "");
	api_wake(r->x);
}

static ssize_t run_read(struct exchange *x, char *p, size_t max)
{
	struct run *r = x->stream;

	for (;;) {
		char chunk[4096];
		ssize_t n = lines_read(&r->lines, p, max);
		if (n > 0)
			return n;
		if (r->eof)
			break;
		n = read(r->out, chunk, sizeof chunk);
		if (n > 0)
			lines_text(&r->lines, chunk, (size_t)n);
		else if (n < 0 && errno == EAGAIN) {
			if (loop_io_start(x->api->loop, &r->io, r->out, EV_READ, run_on_readable, r) < 0)
				return -2;
			return 0;
		} else if (n == 0 || errno != EINTR)
			r->eof = true;
	}
	if (r->told)
		return -1;
	if (!r->done)
		return 0;
	lines_json(&r->lines,
		   *r->text ? json_pack("{s:i, s:o}", "exit_code", r->exit_code, "reason", fields_safe(r->text))
			    : json_pack("{s:i}", "exit_code", r->exit_code));
	r->told = true;
	return lines_read(&r->lines, p, max);
}

static void run_on_done(struct exchange *x, bool whole)
{
	struct run *r = x->stream;

	(void)whole;
	loop_io_stop(&r->io);
	own_close(&r->out); /* a command that still writes gets SIGPIPE */
	lines_done(&r->lines);
	r->x = NULL;
	if (r->done)
		free(r);
	else if (x->api->config.ops->run_stop)
		x->api->config.ops->run_stop(x->api->config.ops->ctx, r);
}

static const struct exchange_stream run_stream = {.read = run_read, .on_done = run_on_done};

void api_runs_post(struct exchange *x)
{
	static const char *const keys[] = {"command", NULL};
	const struct ops *ops = x->api->config.ops;
	struct ops_git fds = {.in = -1, .out = -1};
	const char *command = NULL;
	struct err e = {0};
	struct run *r;

	if (json_only(x->json, keys, &e) < 0 ||
	    json_get_str(x->json, "command", true, LIMIT_COMMAND, &command, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	if (strspn(command, " \t\r\n") == strlen(command)) {
		api_answer_problem(x, 400, "command", "command: must not be empty");
		return;
	}
	if (x->app.release == 0) {
		api_answer_problem(x, 409, NULL, "this app has no live release to run a command of");
		return;
	}
	if (!api_stream_count(x) || !(r = calloc(1, sizeof *r)))
		return;
	r->x = x;
	lines_init(&r->lines, "output");
	if (ops->run(ops->ctx, x->app.id, command, &fds, run_on_exit, r, &e) < 0) {
		lines_done(&r->lines);
		free(r);
		api_answer_err(x, &e);
		return;
	}
	own_close(&fds.in);
	r->out = fds.out;
	r->eof = r->out < 0;
	api_stream_set(x, &run_stream, r);
	api_answer_stream(x, "application/x-ndjson");
}
