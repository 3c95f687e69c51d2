/* An app's output: the logger's files, past lines and new ones.  Layer web, control process.
 *
 * The logger writes <log_dir>/<app id>/current and now and then renames it to `previous`; a follower reads its open
 * file to the end and then goes over to the new `current`, so it misses nothing of one rotation. */
#include "base/clock.h"
#include "base/own.h"
#include "base/parse.h"
#include "base/utf8.h"
#include "web/api/route.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define CHUNK 16384

struct logs {
	char path[512]; /* of `current` */
	int fd;		/* owned: being read; -1 while there is none */
	int next;	/* owned: `current`, while fd is `previous` */
	off_t at, next_at;
	bool follow, sse;
	struct buf raw, out; /* an unfinished line; events ready to go */
};

static int logs_open(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)))
		own_close(&fd);
	return fd;
}

/* Where the last `lines` lines of fd begin; *found is how many there are of them. */
static off_t logs_tail(int fd, unsigned lines, unsigned *found)
{
	char chunk[CHUNK];
	struct stat st;
	off_t end;

	*found = 0;
	if (fstat(fd, &st) < 0)
		return 0;
	if (lines == 0)
		return st.st_size;
	for (end = st.st_size; end > 0;) {
		off_t from = end > CHUNK ? end - CHUNK : 0;
		ssize_t n = pread(fd, chunk, (size_t)(end - from), from);
		if (n <= 0)
			return 0;
		for (ssize_t i = n - 1; i >= 0; i--)
			if (chunk[i] == '\n' && from + i + 1 < st.st_size && ++*found == lines)
				return from + i + 1;
		end = from;
	}
	if (st.st_size > 0)
		++*found; /* the first line has no newline before it */
	return 0;
}

/* Goes over to a newer `current`; true when there is one. */
static bool logs_rotate(struct logs *l)
{
	struct stat was, is;

	if (l->next >= 0) {
		own_close(&l->fd);
		l->fd = TAKE_FD(l->next);
		l->at = l->next_at;
		return true;
	}
	if (!l->follow || stat(l->path, &is) < 0)
		return false;
	if (l->fd >= 0 && fstat(l->fd, &was) == 0) {
		if (was.st_ino == is.st_ino && was.st_dev == is.st_dev) {
			if (was.st_size < l->at) /* cut off in place */
				l->at = 0;
			return was.st_size > l->at;
		}
		if (was.st_size > l->at)
			return true; /* its last lines came meanwhile */
	}
	own_close(&l->fd);
	l->at = 0;
	l->fd = logs_open(l->path);
	return l->fd >= 0;
}

/* Turns whole lines of l->raw into events; controls and bytes that are not UTF-8 are shown as \xNN. */
static void logs_events(struct logs *l, bool last)
{
	size_t used = 0;

	for (;;) {
		const char *p = l->raw.data + used, *nl;
		size_t left = l->raw.len - used, n;
		char *to;
		nl = left ? memchr(p, '\n', left) : NULL;
		if (!nl && left <= LIMIT_LOG_LINE + 256 && !(last && left))
			break;
		n = nl ? (size_t)(nl - p) : left;
		buf_adds(&l->out, "data: ");
		to = buf_reserve(&l->out, n * 4 + 1);
		if (to)
			l->out.len += utf8_escape(to, n * 4 + 1, p, n);
		buf_adds(&l->out, "\n\n");
		used += n + (nl != NULL);
	}
	buf_consume(&l->raw, used);
}

static ssize_t logs_read(struct exchange *x, char *p, size_t max)
{
	struct logs *l = x->stream;

	for (;;) {
		size_t n = l->out.len < max ? l->out.len : max;
		char chunk[CHUNK];
		ssize_t r = 0;
		if (n) {
			memcpy(p, l->out.data, n);
			buf_consume(&l->out, n);
			return (ssize_t)n;
		}
		if (l->fd >= 0)
			r = pread(l->fd, l->sse ? chunk : p, l->sse || max > CHUNK ? CHUNK : max, l->at);
		if (r > 0) {
			l->at += r;
			if (!l->sse)
				return r;
			buf_add(&l->raw, chunk, (size_t)r);
			logs_events(l, false);
			continue;
		}
		if (logs_rotate(l))
			continue;
		if (!l->follow) {
			logs_events(l, true);
			if (l->out.len)
				continue;
			return -1;
		}
		if (l->sse && clock_mono_us() - x->beat_us >= LIMIT_API_HEARTBEAT_MS * 1000ll && max >= 3) {
			memcpy(p, ":\n\n", 3);
			return 3;
		}
		return 0;
	}
}

static void logs_on_done(struct exchange *x, bool whole)
{
	struct logs *l = x->stream;

	(void)whole;
	own_close(&l->fd);
	own_close(&l->next);
	buf_done(&l->raw);
	buf_done(&l->out);
	free(l);
}

static const struct exchange_stream logs_stream = {.read = logs_read, .on_done = logs_on_done};

/* Followers whose file grew or was replaced are woken; two system calls each. */
static void logs_on_tick(void *arg)
{
	struct api *a = arg;
	struct exchange *x;
	bool any = false;

	for (x = a->all; x; x = x->next) {
		struct logs *l = x->stream;
		struct stat st, is;
		if (x->ops != &logs_stream || !l->follow)
			continue;
		any = true;
		if (!x->suspended)
			continue;
		if ((l->fd >= 0 && fstat(l->fd, &st) == 0 && st.st_size != l->at) ||
		    (stat(l->path, &is) == 0 && (l->fd < 0 || is.st_ino != st.st_ino)))
			api_wake(x);
	}
	if (any)
		loop_timer_start(a->loop, &a->log_tick, LIMIT_API_LOG_POLL_MS * 1000, logs_on_tick, a);
}

/* What the app printed, or the requests that it got. */
static bool logs_source(struct exchange *x, const char *source, const char **sub)
{
	struct err e = {0};

	if (source && strcmp(source, "access") == 0)
		*sub = "/access";
	else if (source && strcmp(source, "app") != 0) {
		parse_must_be(source, "app or access", "source", &e);
		api_answer_err(x, &e);
		return false;
	}
	return true;
}

void api_logs_get(struct exchange *x)
{
	const char *accept = api_header(x, "Accept");
	const char *source = api_query(x, "source"), *sub = "";
	uint64_t lines = 100;
	bool follow = false;
	unsigned found = 0, older;
	struct logs *l;
	char previous[520];

	if (!api_query_u64(x, "lines", 0, LIMIT_API_LOG_LINES, &lines) || !api_query_flag(x, "follow", &follow) ||
	    !logs_source(x, source, &sub) || !api_stream_count(x) || !(l = calloc(1, sizeof *l)))
		return;
	l->fd = l->next = -1;
	l->follow = follow;
	l->sse = accept && strstr(accept, "text/event-stream");
	buf_init(&l->raw, LIMIT_LOG_LINE + 256 + CHUNK);
	buf_init(&l->out, (LIMIT_LOG_LINE + 256 + CHUNK) * 8);
	snprintf(l->path, sizeof l->path, "%s/%" PRId64 "%s/current", x->api->config.log_dir, x->app.id, sub);
	l->fd = logs_open(l->path);
	if (l->fd >= 0)
		l->at = logs_tail(l->fd, (unsigned)lines, &found);
	if (found < lines) {
		int fd;
		snprintf(previous, sizeof previous, "%s/%" PRId64 "%s/previous", x->api->config.log_dir, x->app.id,
			 sub);
		fd = logs_open(previous);
		if (fd >= 0) {
			l->next = l->fd;
			l->next_at = l->at;
			l->fd = fd;
			l->at = logs_tail(fd, (unsigned)lines - found, &older);
		}
	}
	api_stream_set(x, &logs_stream, l);
	if (follow) {
		x->beat_us = l->sse ? clock_mono_us() : 0;
		if (!loop_timer_pending(&x->api->log_tick))
			loop_timer_start(x->api->loop, &x->api->log_tick, LIMIT_API_LOG_POLL_MS * 1000, logs_on_tick,
					 x->api);
	}
	api_answer_stream(x, l->sse ? "text/event-stream" : "text/plain; charset=utf-8");
}
