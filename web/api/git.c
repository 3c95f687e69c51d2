/* Smart HTTP of git (gitprotocol-http(5)): the request's body into the service, its output back.  Layer web, control
 * process.  The service itself runs in a sandbox of the tenant; here only bytes are moved, and a gzipped body (clients
 * send long fetch negotiations so) is unpacked within bounds. */
#include "base/own.h"
#include "web/api/route.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

struct git {
	struct exchange *x;  /* borrowed */
	const char *service; /* "git-upload-pack" or "git-receive-pack", static */
	struct ops_git fd;   /* owned */
	struct loop_io in_io, out_io;
	struct buf in;	 /* unpacked, not yet taken by the service */
	struct buf head; /* goes before the service's own first byte */
	struct buf out;	 /* came while the body was still on its way */
	bool gzip, gzip_end, ended, eof;
	uint64_t bytes; /* of the unpacked body */
	z_stream z;
};

static void git_in_close(struct git *g)
{
	loop_io_stop(&g->in_io);
	own_close(&g->fd.in);
	buf_done(&g->in);
}

static void git_on_writable(void *arg, short what);
static void git_on_readable(void *arg, short what);

/* Writes p[0..n); returns what was taken.  Less than n: in_io waits for room. */
static size_t git_write(struct git *g, const char *p, size_t n)
{
	size_t at = 0;

	while (at < n && g->fd.in >= 0) {
		ssize_t w = write(g->fd.in, p + at, n - at);
		if (w > 0)
			at += (size_t)w;
		else if (w < 0 && errno == EAGAIN) {
			if (loop_io_start(g->x->api->loop, &g->in_io, g->fd.in, EV_WRITE, git_on_writable, g) == 0)
				return at;
			git_in_close(g);
		} else if (w >= 0 || errno != EINTR)
			git_in_close(g); /* the service ended early; what it says comes from `out` */
	}
	return n;
}

/* True when nothing waits any more. */
static bool git_flush(struct git *g)
{
	size_t n = git_write(g, g->in.data, g->in.len);

	buf_consume(&g->in, n);
	return g->in.len == 0;
}

static void git_on_writable(void *arg, short what)
{
	struct git *g = arg;

	(void)what;
	loop_io_stop(&g->in_io);
	if (!git_flush(g))
		return;
	if (g->ended)
		git_in_close(g);
	else
		api_wake(g->x);
}

/* Before the answer has begun: output is kept, so that a service that speaks before it has heard all is not stuck. */
static void git_on_readable(void *arg, short what)
{
	struct git *g = arg;
	char *to;
	ssize_t n;

	(void)what;
	if (g->x->response) {
		loop_io_stop(&g->out_io);
		api_wake(g->x);
		return;
	}
	to = buf_reserve(&g->out, 16384);
	if (!to) {
		g->out.failed = 0;
		loop_io_stop(&g->out_io);
		return;
	}
	n = read(g->fd.out, to, 16384);
	if (n > 0)
		g->out.len += (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		g->eof = true;
		loop_io_stop(&g->out_io);
	}
	if (g->ended && (g->eof || g->out.len))
		api_wake(g->x);
}

static void git_fail(struct git *g, unsigned status, const char *text)
{
	git_in_close(g);
	api_answer_problem(g->x, status, NULL, "%s", text);
}

/* Unpacks some of p[0..n) into g->in; how much of p was used, or -1. */
static ssize_t git_inflate(struct git *g, const char *p, size_t n)
{
	char *to = buf_reserve(&g->in, 65536);
	int r;

	if (!to || g->gzip_end)
		return -1;
	g->z.next_in = (Bytef *)(uintptr_t)p;
	g->z.avail_in = (uInt)n;
	g->z.next_out = (Bytef *)to;
	g->z.avail_out = 65536;
	r = inflate(&g->z, Z_NO_FLUSH);
	if (g->z.avail_in == n && g->z.avail_out == 65536 && r != Z_STREAM_END)
		return -1;
	g->in.len += 65536 - g->z.avail_out;
	g->bytes += 65536 - g->z.avail_out;
	if (r == Z_STREAM_END)
		g->gzip_end = true;
	else if (r != Z_OK && r != Z_BUF_ERROR)
		return -1;
	return (ssize_t)(n - g->z.avail_in);
}

static size_t git_on_body(struct exchange *x, const char *p, size_t n)
{
	struct git *g = x->stream;
	size_t at = 0;

	if (g->fd.in < 0)
		return n;
	if (!g->gzip) {
		at = git_write(g, p, n);
		g->bytes += at;
	} else {
		while (at < n && g->fd.in >= 0) {
			ssize_t used;
			if (g->in.len && !git_flush(g))
				break;
			used = git_inflate(g, p + at, n - at);
			if (used < 0) {
				git_fail(g, 400, "the gzipped body is damaged");
				return n;
			}
			at += (size_t)used;
			if (g->bytes > LIMIT_SOURCE_BYTES)
				break;
		}
		if (g->fd.in < 0)
			return n;
		git_flush(g);
	}
	if (g->bytes > LIMIT_SOURCE_BYTES) {
		git_fail(g, 413, "the pushed pack is over the node's limit for sources");
		return n;
	}
	return at;
}

static void git_answer(struct exchange *x)
{
	struct git *g = x->stream;
	char type[64];

	loop_io_stop(&g->out_io);
	/* A service that is asked for nothing (git's own probe before a long push) says nothing; an advertisement
	 * always says something. */
	if (g->out.len == 0 && g->eof && x->method[0] == 'G') {
		api_answer_problem(x, 502, NULL, "git ended without an answer; the node's log says why");
		return;
	}
	if (buf_add(&g->head, g->out.data, g->out.len) == 0) {
		buf_done(&g->out);
		g->out = g->head;
		buf_init(&g->head, 0);
	}
	snprintf(type, sizeof type, "application/x-%s-%s", g->service,
		 x->method[0] == 'P' ? "result" : "advertisement");
	api_answer_stream(x, type);
}

static void git_on_wake(struct exchange *x)
{
	struct git *g = x->stream;

	if (g->eof || g->out.len)
		git_answer(x);
}

static void git_on_end(struct exchange *x)
{
	struct git *g = x->stream;

	g->ended = true;
	if (g->gzip && !g->gzip_end && g->fd.in >= 0) {
		git_fail(g, 400, "the gzipped body is cut off");
		return;
	}
	if (g->in.len == 0)
		git_in_close(g);
	git_on_wake(x);
}

static ssize_t git_read(struct exchange *x, char *p, size_t max)
{
	struct git *g = x->stream;
	size_t n = g->out.len < max ? g->out.len : max;
	ssize_t r;

	if (n) {
		memcpy(p, g->out.data, n);
		buf_consume(&g->out, n);
		return (ssize_t)n;
	}
	if (g->eof)
		return -1;
	do
		r = read(g->fd.out, p, max);
	while (r < 0 && errno == EINTR);
	if (r > 0)
		return r;
	if (r < 0 && errno == EAGAIN &&
	    loop_io_start(x->api->loop, &g->out_io, g->fd.out, EV_READ, git_on_readable, g) == 0)
		return 0;
	g->eof = true;
	return -1;
}

static void git_on_done(struct exchange *x, bool whole)
{
	struct git *g = x->stream;

	(void)whole;
	git_in_close(g);
	loop_io_stop(&g->out_io);
	own_close(&g->fd.out);
	buf_done(&g->out);
	buf_done(&g->head);
	if (g->gzip)
		inflateEnd(&g->z);
	free(g);
}

static const struct exchange_stream git_stream = {
	.on_body = git_on_body,
	.on_end = git_on_end,
	.on_wake = git_on_wake,
	.read = git_read,
	.on_done = git_on_done,
};

static struct git *git_start(struct exchange *x, const char *service, bool advertise)
{
	const struct ops *ops = x->api->config.ops;
	const char *protocol = api_header(x, "Git-Protocol"), *coding = api_header(x, "Content-Encoding");
	struct git *g;
	struct err e = {0};

	if (!protocol || (strcmp(protocol, "version=1") != 0 && strcmp(protocol, "version=2") != 0))
		protocol = "";
	if (coding && strcasecmp(coding, "gzip") != 0 && strcasecmp(coding, "x-gzip") != 0 &&
	    strcasecmp(coding, "identity") != 0) {
		api_answer_problem(x, 415, NULL, "Content-Encoding must be gzip or identity");
		return NULL;
	}
	if (!api_stream_count(x) || !(g = calloc(1, sizeof *g)))
		return NULL;
	*g = (struct git){.x = x, .service = service, .fd = {.in = -1, .out = -1}};
	buf_init(&g->in, 65536);
	buf_init(&g->out, LIMIT_API_QUEUE);
	buf_init(&g->head, LIMIT_API_QUEUE + 64);
	g->gzip = coding && strcasecmp(coding, "identity") != 0;
	if (g->gzip && inflateInit2(&g->z, 15 + 16) != Z_OK) {
		free(g);
		return NULL;
	}
	if (ops->git(ops->ctx, x->app.id, service, advertise, protocol, false, &g->fd, &e) < 0) {
		if (g->gzip)
			inflateEnd(&g->z);
		free(g);
		api_answer_err(x, &e);
		return NULL;
	}
	/* Version 2 has no head (git-http-backend leaves it out too); a push is never of version 2. */
	if (advertise && (strcmp(protocol, "version=2") != 0 || strcmp(service, "git-receive-pack") == 0))
		buf_printf(&g->head, "%04zx# service=%s\n0000", strlen(service) + 15, service);
	api_stream_set(x, &git_stream, g);
	if (loop_io_start(x->api->loop, &g->out_io, g->fd.out, EV_READ, git_on_readable, g) < 0)
		g->eof = true;
	return g;
}

void api_git_refs(struct exchange *x)
{
	const char *service = api_query(x, "service");

	if (service && strcmp(service, "git-upload-pack") == 0)
		service = "git-upload-pack";
	else if (service && strcmp(service, "git-receive-pack") == 0)
		service = "git-receive-pack";
	else {
		api_answer_problem(x, 403, "service",
				   "only smart HTTP is served: git-upload-pack and git-receive-pack");
		return;
	}
	if (service[4] == 'r' && !(API_ROLE(x->who.role) & API_DEPLOYER)) {
		api_answer_problem(x, 403, NULL, "the role %s may not push", model_role_name(x->who.role));
		return;
	}
	git_start(x, service, true);
}

void api_git_service(struct exchange *x)
{
	const char *service = strrchr(x->route->pattern, '/') + 1, *type = api_header(x, "Content-Type");
	char wanted[64];

	snprintf(wanted, sizeof wanted, "application/x-%s-request", service);
	if (!type || strcasecmp(type, wanted) != 0) {
		api_answer_problem(x, 415, NULL, "Content-Type must be %s", wanted);
		return;
	}
	if (x->body_length != UINT64_MAX && x->body_length > LIMIT_SOURCE_BYTES) {
		api_answer_problem(x, 413, NULL, "the pushed pack is over the limit of %llu bytes", LIMIT_SOURCE_BYTES);
		return;
	}
	git_start(x, service, false);
}
