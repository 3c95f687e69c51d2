/* The logger: reads the output pipes of all instances and writes bounded files.  Layer agent, logger process.
 *
 * One stream per pipe; one file pair (current, previous) per app, shared by its streams.  A line is split at
 * LIMIT_LOG_LINE bytes and carries time and source.  Every stream has a token bucket of lines; what is over is read and
 * counted, so that an app that prints without end neither blocks nor fills the disk, and its owner sees how much was
 * dropped.  When the supervisor goes away the logger reads on: the apps must not notice.  The next supervisor ends it.
 */
#include "agent/roles/messages.h"
#include "agent/roles/role.h"
#include "base/chan.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/map.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <signal.h>
#include <unistd.h>

#define LOGGER_READS 4 /* reads per stream and turn, so that one loud app does not hold up the others */

struct logger_file {
	uint64_t app;	/* 0: access log */
	int dir, fd;	/* owned; fd -1 until the first line */
	uint64_t bytes; /* in `current` */
	unsigned streams;
};

struct logger_stream {
	struct logger *logger;	  /* borrowed */
	struct logger_file *file; /* borrowed from logger->files */
	struct loop_io io;
	int fd; /* owned pipe */
	char source[LIMIT_TYPE_NAME + 24];
	char *part; /* owned: a line without its end yet, NULL when none */
	size_t part_len;
	double tokens;
	int64_t filled_us; /* when tokens were last added */
	uint64_t dropped;
};

struct logger {
	struct loop *loop;
	struct chan *chan;
	struct msg_init_logger limits;
	int dir;	   /* owned: <data>/logs */
	struct map *files; /* app id -> logger_file */
};

static struct logger_file *logger_file_get(struct logger *lg, uint64_t app)
{
	struct logger_file *f = map_get(lg->files, &app, sizeof app);
	char name[24];

	if (f)
		return f;
	f = malloc(sizeof *f);
	if (!f)
		return NULL;
	*f = (struct logger_file){.app = app, .dir = -1, .fd = -1};
	if (app)
		snprintf(name, sizeof name, "%" PRIu64, app);
	else
		snprintf(name, sizeof name, "access");
	if (mkdirat(lg->dir, name, 02750) < 0 && errno != EEXIST)
		LOG_WARN("log directory", "app=%s error=\"%s\"", name, strerror(errno));
	f->dir = openat(lg->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (f->dir < 0 || map_put(lg->files, &f->app, sizeof f->app, f) < 0) {
		own_close(&f->dir);
		free(f);
		return NULL;
	}
	return f;
}

static void logger_file_release(struct logger *lg, struct logger_file *f)
{
	if (--f->streams > 0)
		return;
	map_del(lg->files, &f->app, sizeof f->app);
	own_close(&f->fd);
	own_close(&f->dir);
	free(f);
}

static void logger_file_write(struct logger *lg, struct logger_file *f, struct iovec *iov, int n, size_t bytes)
{
	if (f->fd >= 0 && f->bytes + bytes > lg->limits.file_bytes) {
		renameat(f->dir, "current", f->dir, "previous");
		own_close(&f->fd);
	}
	if (f->fd < 0) {
		struct stat st;
		f->fd = openat(f->dir, "current", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
		if (f->fd < 0)
			return; /* disk or descriptors are short: the line is lost, the app goes on */
		f->bytes = fstat(f->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	}
	if (writev(f->fd, iov, n) > 0)
		f->bytes += bytes;
}

/* True when the stream may write one more line now. */
static bool logger_allow(struct logger_stream *st)
{
	const struct msg_init_logger *lim = &st->logger->limits;
	int64_t now = clock_mono_us();

	st->tokens += (double)(now - st->filled_us) * lim->line_rate / 1e6;
	if (st->tokens > lim->line_burst)
		st->tokens = lim->line_burst;
	st->filled_us = now;
	if (st->tokens < 1)
		return false;
	st->tokens -= 1;
	return true;
}

static void logger_put(struct logger_stream *st, const char *text, size_t n)
{
	union {
		const char *in;
		void *out;
	} body = {.in = text}; /* writev(2) does not write through iov_base */
	char head[80], stamp[25];
	struct iovec iov[3];
	int h;

	clock_rfc3339(clock_wall_ms(), stamp);
	h = snprintf(head, sizeof head, "%s %s ", stamp, st->source);
	iov[0] = (struct iovec){head, (size_t)h};
	iov[1] = (struct iovec){body.out, n};
	head[sizeof head - 1] = '\n';
	iov[2] = (struct iovec){&head[sizeof head - 1], 1};
	logger_file_write(st->logger, st->file, iov, 3, (size_t)h + n + 1);
}

static void logger_line(struct logger_stream *st, const char *text, size_t n)
{
	char note[96];

	if (!logger_allow(st)) {
		st->dropped++;
		return;
	}
	if (st->dropped) {
		int k = snprintf(note, sizeof note, "[tulou] dropped %" PRIu64 " lines: more than %u lines a second",
				 st->dropped, st->logger->limits.line_rate);
		st->dropped = 0;
		logger_put(st, note, (size_t)k);
	}
	logger_put(st, text, n);
}

/* Cuts p[0..n) into lines; what has no end yet is kept in st->part. */
static void logger_feed(struct logger_stream *st, const char *p, size_t n)
{
	while (n) {
		const char *nl = memchr(p, '\n', n);
		size_t take = nl ? (size_t)(nl - p) : n;
		bool full = false;

		if (st->part_len + take >= LIMIT_LOG_LINE) {
			take = LIMIT_LOG_LINE - st->part_len;
			full = true;
		}
		if ((nl || full) && st->part_len == 0) {
			logger_line(st, p, take);
		} else {
			if (!st->part)
				st->part = malloc(LIMIT_LOG_LINE);
			if (st->part) {
				memcpy(st->part + st->part_len, p, take);
				st->part_len += take;
			}
			if (nl || full) {
				logger_line(st, st->part ? st->part : "", st->part_len);
				st->part_len = 0;
				free(st->part);
				st->part = NULL;
			}
		}
		p += take;
		n -= take;
		if (n && !full) { /* step over the newline */
			p++;
			n--;
		} else if (full && n && *p == '\n') {
			p++;
			n--;
		}
	}
}

static void logger_stream_free(void *arg)
{
	struct logger_stream *st = arg;

	close(st->fd);
	free(st->part);
	free(st);
}

static void logger_stream_close(struct logger_stream *st)
{
	char note[80];

	if (!st->file)
		return;
	if (st->part_len)
		logger_line(st, st->part, st->part_len);
	if (st->dropped) {
		int k = snprintf(note, sizeof note, "[tulou] dropped %" PRIu64 " lines", st->dropped);
		logger_put(st, note, (size_t)k);
	}
	loop_io_stop(&st->io);
	logger_file_release(st->logger, st->file);
	st->file = NULL;
	loop_defer(st->logger->loop, logger_stream_free, st);
}

static void logger_on_readable(void *arg, short what)
{
	struct logger_stream *st = arg;
	static char buf[65536];

	(void)what;
	for (int i = 0; i < LOGGER_READS; i++) {
		ssize_t n = read(st->fd, buf, sizeof buf);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			logger_stream_close(st);
			return;
		}
		if (st->file->app == 0) {
			struct iovec iov = {buf, (size_t)n};
			logger_file_write(st->logger, st->file, &iov, 1, (size_t)n);
		} else {
			logger_feed(st, buf, (size_t)n);
		}
	}
}

static void logger_open(struct logger *lg, const struct msg_log_open *m, int *fd)
{
	struct logger_stream *st = calloc(1, sizeof *st);
	struct logger_file *f = st ? logger_file_get(lg, m->app) : NULL;

	if (!f || memchr(m->source, 0, sizeof m->source) == NULL || fd_nonblock(*fd) < 0) {
		LOG_WARN("log stream refused", "app=%" PRIu64 " instance=%" PRIu64, m->app, m->instance);
		free(st);
		return;
	}
	*st = (struct logger_stream){
		.logger = lg, .file = f, .fd = *fd, .tokens = lg->limits.line_burst, .filled_us = clock_mono_us()};
	memcpy(st->source, m->source, sizeof st->source);
	f->streams++;
	if (loop_io_start(lg->loop, &st->io, st->fd, EV_READ, logger_on_readable, st) < 0) {
		logger_file_release(lg, f);
		free(st);
		return;
	}
	*fd = -1;
}

static void logger_on_msg(void *arg, uint16_t type, const void *body, size_t len, int *fds, size_t nfds)
{
	struct logger *lg = arg;
	char name[24];

	(void)len;
	(void)nfds;
	if (type == MSG_LOG_OPEN) {
		logger_open(lg, body, &fds[0]);
	} else if (type == MSG_LOG_DROP) {
		const struct msg_log_drop *m = body;
		if (m->app == 0 || map_get(lg->files, &m->app, sizeof m->app))
			return; /* still written to: its instances are stopped first */
		snprintf(name, sizeof name, "%" PRIu64, m->app);
		fd_remove_tree(lg->dir, name);
	}
}

static void logger_on_gone(void *arg, const char *reason)
{
	struct logger *lg = arg;

	LOG_INFO("supervisor gone, reading on", "reason=\"%s\"", reason);
	chan_close(lg->chan);
	lg->chan = NULL;
}

static void logger_on_signal(void *arg, int signo)
{
	(void)signo;
	loop_stop(((struct logger *)arg)->loop);
}

int role_logger_main(void)
{
	static const struct chan_ops ops = {logger_on_msg, logger_on_gone};
	static char body[CHAN_BODY_MAX];
	struct logger lg = {.dir = -1};
	struct loop_signal term = {0};
	int fds[FD_PASS_MAX];
	size_t len, nfds;
	uint16_t type;
	struct err e = {0};

	signal(SIGINT, SIG_IGN); /* a terminal's Ctrl-C is for the supervisor */
	if (chan_recv_first(ROLE_CHANNEL_FD, msg_rules_logger, msg_rules_logger_count, &type, body, &len, fds, &nfds) <
		    0 ||
	    type != MSG_INIT_LOGGER) {
		LOG_ERROR("start failed", "reason=\"no first message\"");
		return 1;
	}
	memcpy(&lg.limits, body, sizeof lg.limits);
	lg.dir = fds[0];
	if (role_confine(ROLE_LOGGER, lg.limits.user, NULL, &e) < 0) {
		LOG_ERROR("start failed", "reason=\"%s\"", e.text);
		return 1;
	}
	lg.loop = loop_new();
	lg.files = map_new();
	lg.chan = lg.loop && lg.files
			  ? chan_new(lg.loop, ROLE_CHANNEL_FD, msg_rules_logger, msg_rules_logger_count, &ops, &lg)
			  : NULL;
	if (!lg.chan || loop_signal_start(lg.loop, &term, SIGTERM, logger_on_signal, &lg) < 0) {
		LOG_ERROR("start failed", "reason=\"out of memory or descriptors\"");
		return 1;
	}
	chan_send(lg.chan, MSG_READY, NULL, 0, NULL, 0);
	loop_run(lg.loop);
	return 0;
}
