/* Builds: list, log, and a tarball's upload with the log as its answer.  Layer web, control process. */
#include "base/own.h"
#include "base/parse.h"
#include "web/api/apps.h"
#include "web/api/fields.h"
#include "web/api/lines.h"
#include "web/api/route.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static int builds_row(void *arg, const struct model_build *b)
{
	struct fields_page *p = arg;

	if (fields_page_full(p))
		return 1;
	return fields_page_add(p, b->id, fields_build(b));
}

void api_builds_list(struct exchange *x)
{
	struct fields_page p;
	struct err e = {0};
	int r;

	if (!fields_page_read(x, &p))
		return;
	r = store_build_list(x->api->config.store, x->app.id, p.after < 0 ? 0 : p.after, p.limit + 1, builds_row, &p,
			     &e);
	if (r < 0) {
		json_decref(p.items);
		api_answer_err(x, &e);
		return;
	}
	fields_page_answer(x, &p, r > 0);
}

/* The build of the path, which must be this app's. */
static bool build_find(struct exchange *x, struct model_build *b)
{
	char safe[FIELDS_UNKNOWN];
	uint64_t id;

	if (parse_u64(x->arg[0], strlen(x->arg[0]), 1, INT64_MAX, "id", &id, NULL) == 0 &&
	    store_build_get(x->api->config.store, (int64_t)id, b, NULL) == 0 && b->app == x->app.id)
		return true;
	fields_unknown(x->arg[0], safe);
	api_answer_problem(x, 404, NULL, "this app has no build \"%s\"", safe);
	return false;
}

void api_build_get(struct exchange *x)
{
	struct model_build b;

	if (build_find(x, &b))
		api_answer_json(x, 200, fields_build(&b));
}

/* A tarball on its way in, its log on its way out. */
struct upload {
	struct exchange *x; /* borrowed */
	int in;		    /* owned; -1 once closed */
	struct loop_io io;
	int64_t build;
	struct lines lines;
	bool complete, done; /* the body has come whole; the build has ended */
};

static void upload_on_log(void *arg, const char *p, size_t n)
{
	struct upload *u = arg;

	lines_text(&u->lines, p, n);
	if (u->complete)
		api_wake(u->x);
}

/* A release without a web process has no address, though its app has; nor has one of which none is wanted now. */
static bool upload_answers(struct exchange *x, uint32_t version)
{
	struct store *s = x->api->config.store;
	struct model_formation f[LIMIT_TYPES * 2];
	struct model_release r = {0};
	struct model_app app = {0};
	OWN_JSON json_t *types = NULL;
	int n = store_formation_get(s, x->app.id, f, ARRAY_LEN(f), NULL);

	if (store_app_get(s, x->app.id, &app, NULL) == 0 && app.paused)
		return false;
	for (int i = 0; i < n; i++)
		if (strcmp(f[i].type, "web") == 0 && f[i].count == 0)
			return false;
	if (store_release_find(s, x->app.id, version, &r, NULL) < 0)
		return true;
	types = fields_object(r.types_json);
	model_release_done(&r);
	return json_object_get(types, "web") != NULL;
}

static void upload_on_built(void *arg, const struct model_build *b, uint32_t version, const char *error)
{
	const char *limit = b && b->limit[0] ? b->limit : NULL;
	struct upload *u = arg;
	char url[LIMIT_HOST + 64];

	apps_url(u->x->api, u->x->app.name, url);
	if (error)
		lines_json(&u->lines, json_pack("{s:s, s:o, s:s*}", "result", "failed", "error", fields_safe(error),
						"limit", limit));
	else if (b && b->state == MODEL_BUILD_FAILED)
		lines_json(&u->lines, json_pack("{s:s, s:o, s:s*}", "result", "failed", "error", fields_safe(b->error),
						"limit", limit));
	else
		lines_json(&u->lines,
			   json_pack("{s:s, s:I, s:s?}", "result", "succeeded", "release", (json_int_t)version, "url",
				     upload_answers(u->x, version) ? url : NULL));
	u->done = true;
	if (u->complete)
		api_wake(u->x);
}

static void upload_close(struct upload *u)
{
	loop_io_stop(&u->io);
	own_close(&u->in);
}

static void upload_on_writable(void *arg, short what)
{
	struct upload *u = arg;

	(void)what;
	loop_io_stop(&u->io);
	api_wake(u->x);
}

static void upload_abort(struct exchange *x)
{
	struct upload *u = x->stream;
	const struct ops *ops = x->api->config.ops;

	if (!u->done)
		ops->log_cancel(ops->ctx, u->build, u);
	if (!u->complete && !u->done && ops->build_cancel)
		ops->build_cancel(ops->ctx, u->build);
	u->done = true;
	upload_close(u);
}

static size_t upload_on_body(struct exchange *x, const char *p, size_t n)
{
	struct upload *u = x->stream;
	size_t at = 0;

	if (x->body_seen > LIMIT_SOURCE_BYTES) {
		upload_abort(x);
		api_answer_problem(x, 413, NULL, "the tarball is over the limit of %llu bytes", LIMIT_SOURCE_BYTES);
		return n;
	}
	while (at < n && u->in >= 0) {
		ssize_t w = write(u->in, p + at, n - at);
		if (w > 0)
			at += (size_t)w;
		else if (w < 0 && errno == EINTR)
			continue;
		else if (w < 0 && errno == EAGAIN) {
			if (loop_io_start(x->api->loop, &u->io, u->in, EV_WRITE, upload_on_writable, u) == 0)
				return at;
			upload_close(u);
		} else
			upload_close(u); /* the build ended early; its log says why */
	}
	return n;
}

static void upload_on_end(struct exchange *x)
{
	struct upload *u = x->stream;

	u->complete = true;
	upload_close(u);
	api_answer_stream(x, "application/x-ndjson");
}

static ssize_t upload_read(struct exchange *x, char *p, size_t max)
{
	struct upload *u = x->stream;
	ssize_t n = lines_read(&u->lines, p, max);

	return n > 0 ? n : u->done ? -1 : 0;
}

static void upload_on_done(struct exchange *x, bool whole)
{
	struct upload *u = x->stream;

	(void)whole;
	upload_abort(x);
	lines_done(&u->lines);
	free(u);
}

static const struct exchange_stream upload_stream = {
	.on_body = upload_on_body,
	.on_end = upload_on_end,
	.read = upload_read,
	.on_done = upload_on_done,
};

void api_builds_post(struct exchange *x)
{
	const struct ops *ops = x->api->config.ops;
	const char *coding = api_header(x, "Content-Encoding");
	struct ops_log_fn fn = {.on_log = upload_on_log, .on_done = upload_on_built};
	struct upload *u;
	struct err e = {0};
	struct lines early;

	if (coding && strcasecmp(coding, "identity") != 0) {
		api_answer_problem(x, 415, NULL, "send the compressed tarball as it is, without Content-Encoding");
		return;
	}
	if (x->body_length == 0) {
		api_answer_problem(x, 400, NULL, "a tarball is needed as body");
		return;
	}
	if (x->body_length != UINT64_MAX && x->body_length > LIMIT_SOURCE_BYTES) {
		api_answer_problem(x, 413, NULL, "the tarball of %" PRIu64 " bytes is over the limit of %llu",
				   x->body_length, LIMIT_SOURCE_BYTES);
		return;
	}
	if (!api_stream_count(x) || !(u = calloc(1, sizeof *u)))
		return;
	u->x = x;
	u->in = -1;
	lines_init(&u->lines, "log");
	fn.arg = u;
	if (ops->build_tarball(ops->ctx, x->app.id, &fn, &u->in, &u->build, &e) < 0) {
		lines_done(&u->lines);
		free(u);
		api_answer_err(x, &e);
		return;
	}
	/* Its id is the first line, whatever the build said meanwhile. */
	early = u->lines;
	lines_init(&u->lines, "log");
	lines_json(&u->lines, json_pack("{s:I}", "build", (json_int_t)u->build));
	buf_add(&u->lines.queue, early.queue.data, early.queue.len);
	lines_done(&early);
	api_stream_set(x, &upload_stream, u);
}

/* A build's log: the file first, then what comes. */
struct build_log {
	struct exchange *x; /* borrowed */
	int fd;		    /* owned */
	uint64_t left;	    /* bytes of the file still to send */
	int64_t build;
	bool following;
	uint64_t dropped;
	struct buf queue;
};

static void build_log_on_log(void *arg, const char *p, size_t n)
{
	struct build_log *l = arg;

	if (buf_add(&l->queue, p, n) < 0) {
		l->dropped += n;
		l->queue.failed = 0;
	}
	api_wake(l->x);
}

static void build_log_on_built(void *arg, const struct model_build *b, uint32_t version, const char *error)
{
	struct build_log *l = arg;

	(void)b;
	(void)version;
	(void)error;
	l->following = false;
	api_wake(l->x);
}

static ssize_t build_log_read(struct exchange *x, char *p, size_t max)
{
	struct build_log *l = x->stream;
	size_t n = l->queue.len < max ? l->queue.len : max;

	if (l->left) {
		ssize_t r = read(l->fd, p, l->left < max ? l->left : max);
		if (r > 0) {
			l->left -= (uint64_t)r;
			return r;
		}
		l->left = 0;
	}
	if (n) {
		memcpy(p, l->queue.data, n);
		buf_consume(&l->queue, n);
		if (l->dropped && l->queue.len == 0) {
			buf_printf(&l->queue, "\n[%" PRIu64 " bytes dropped: they came faster than you read]\n",
				   l->dropped);
			l->dropped = 0;
		}
		return (ssize_t)n;
	}
	return l->following ? 0 : -1;
}

static void build_log_on_done(struct exchange *x, bool whole)
{
	struct build_log *l = x->stream;
	const struct ops *ops = x->api->config.ops;

	(void)whole;
	if (l->following)
		ops->log_cancel(ops->ctx, l->build, l);
	own_close(&l->fd);
	buf_done(&l->queue);
	free(l);
}

static const struct exchange_stream build_log_stream = {.read = build_log_read, .on_done = build_log_on_done};

void api_build_log(struct exchange *x)
{
	const struct ops *ops = x->api->config.ops;
	struct ops_log_fn fn = {.on_log = build_log_on_log, .on_done = build_log_on_built};
	struct model_build b;
	struct build_log *l;
	bool follow = false;
	struct stat st;
	char path[512];

	if (!api_query_flag(x, "follow", &follow) || !build_find(x, &b) || !api_stream_count(x) ||
	    !(l = calloc(1, sizeof *l)))
		return;
	l->x = x;
	l->build = b.id;
	buf_init(&l->queue, LIMIT_API_QUEUE);
	snprintf(path, sizeof path, "%s/builds/%" PRId64 ".log", x->api->config.control_dir, b.id);
	l->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (l->fd >= 0 && fstat(l->fd, &st) == 0 && S_ISREG(st.st_mode))
		l->left = (uint64_t)st.st_size;
	fn.arg = l;
	l->following = follow && ops->build_follow(ops->ctx, b.id, &fn, NULL) == 0;
	api_stream_set(x, &build_log_stream, l);
	api_answer_stream(x, "text/plain; charset=utf-8");
}
