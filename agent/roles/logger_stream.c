/* One stream of the logger: the output pipe of one instance, cut into lines.  Layer agent, logger process.
 *
 * A line is split at LIMIT_LOG_LINE bytes and carries time and source.  Lines are bounded by two token buckets, the
 * instance's and its tenant's; what is over is read, counted and dropped, and the owner sees how much.  Reading itself
 * is bounded too, by bytes: an app that prints without end is read no faster than LIMIT_LOG_READ, so that it costs the
 * node a little CPU and itself the time that its writes wait, and nobody else anything. */
#include "agent/roles/logger_private.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOGGER_READS 4	       /* reads per stream and turn, so that one loud app does not hold up the others */
#define LOGGER_RESUME_US 50000 /* paused streams are looked at again this often */
#define LOGGER_BURST 5.0       /* seconds of the rate that may be saved up */

static void logger_on_readable(void *arg, short what);

static double burst_of(const struct logger *lg, uint32_t rate)
{
	return rate == lg->limits.line_rate ? lg->limits.line_burst : rate * LOGGER_BURST;
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

/* True when the stream may write one more line of n bytes now. */
static bool logger_allow(struct logger_stream *st, size_t n)
{
	int64_t now = clock_mono_us();
	double cost = logger_rate_cost(n);

	logger_rate_fill(&st->lines, now);
	logger_rate_fill(&st->tenant->lines, now);
	if (!logger_rate_has(&st->lines, cost) || !logger_rate_has(&st->tenant->lines, cost))
		return false;
	logger_rate_take(&st->lines, cost);
	logger_rate_take(&st->tenant->lines, cost);
	return true;
}

static void logger_line(struct logger_stream *st, const char *text, size_t n)
{
	char note[120];

	if (!logger_allow(st, n)) {
		st->dropped++;
		return;
	}
	if (st->dropped) {
		bool all = st->lines.rate <= 0 || st->tenant->lines.tokens < st->lines.tokens;
		int k = snprintf(note, sizeof note,
				 "[tulou] dropped %" PRIu64 " lines: more than %.0f lines a second%s", st->dropped,
				 all ? st->tenant->lines.rate : st->lines.rate, all ? " from all apps together" : "");
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

/* --- tenants --------------------------------------------------------------------------------------------------------
 */

static struct logger_tenant *tenant_get(struct logger *lg, uint32_t slot, uint32_t rate)
{
	struct logger_tenant *t = map_get(lg->tenants, &slot, sizeof slot);
	int64_t now = clock_mono_us();

	if (t) {
		logger_rate_change(&t->lines, rate, burst_of(lg, rate), now);
		return t;
	}
	t = calloc(1, sizeof *t);
	if (!t)
		return NULL;
	t->slot = slot;
	logger_rate_init(&t->lines, rate, burst_of(lg, rate), now);
	logger_rate_init(&t->bytes, LIMIT_LOG_READ_TENANT, LIMIT_LOG_READ_TENANT, now);
	if (map_put(lg->tenants, &t->slot, sizeof t->slot, t) < 0) {
		free(t);
		return NULL;
	}
	return t;
}

static void tenant_release(struct logger *lg, struct logger_tenant *t)
{
	if (!t || --t->streams > 0)
		return;
	map_del(lg->tenants, &t->slot, sizeof t->slot);
	free(t);
}

/* --- streams --------------------------------------------------------------------------------------------------------
 */

static void logger_stream_free(void *arg)
{
	struct logger_stream *st = arg;

	close(st->fd);
	free(st->part);
	free(st);
}

static void logger_stream_close(struct logger_stream *st)
{
	struct logger *lg = st->logger;
	char note[80];

	if (!st->file)
		return;
	if (st->part_len && st->tenant)
		logger_line(st, st->part, st->part_len);
	if (st->dropped) {
		int k = snprintf(note, sizeof note, "[tulou] dropped %" PRIu64 " lines", st->dropped);
		logger_put(st, note, (size_t)k);
	}
	if (st->is_paused)
		TAILQ_REMOVE(&lg->paused, st, paused);
	st->is_paused = false;
	loop_io_stop(&st->io);
	if (st->instance && map_get(lg->streams, &st->instance, sizeof st->instance) == st)
		map_del(lg->streams, &st->instance, sizeof st->instance);
	tenant_release(lg, st->tenant);
	logger_file_release(lg, st->file);
	st->file = NULL;
	loop_defer(lg->loop, logger_stream_free, st);
}

static int stream_watch(struct logger_stream *st)
{
	return loop_io_start(st->logger->loop, &st->io, st->fd, EV_READ, logger_on_readable, st);
}

/* May the stream be read now?  Of what the app prints, this much costs the node at most. */
static bool stream_may_read(struct logger_stream *st)
{
	int64_t now = clock_mono_us();

	logger_rate_fill(&st->bytes, now);
	logger_rate_fill(&st->tenant->bytes, now);
	return st->bytes.tokens > 0 && st->tenant->bytes.tokens > 0;
}

static void logger_on_resume(void *arg)
{
	struct logger *lg = arg;
	struct logger_stream *st, *next;

	for (st = TAILQ_FIRST(&lg->paused); st; st = next) {
		next = TAILQ_NEXT(st, paused);
		if (!stream_may_read(st))
			continue;
		TAILQ_REMOVE(&lg->paused, st, paused);
		st->is_paused = false;
		if (stream_watch(st) < 0)
			logger_stream_close(st); /* out of memory: the app's writes must not wait for ever */
	}
	if (!TAILQ_EMPTY(&lg->paused))
		loop_timer_start(lg->loop, &lg->resume, LOGGER_RESUME_US, logger_on_resume, lg);
}

static void stream_pause(struct logger_stream *st)
{
	struct logger *lg = st->logger;

	if (TAILQ_EMPTY(&lg->paused))
		loop_timer_start(lg->loop, &lg->resume, LOGGER_RESUME_US, logger_on_resume, lg);
	loop_io_stop(&st->io);
	TAILQ_INSERT_TAIL(&lg->paused, st, paused);
	st->is_paused = true;
}

static void logger_on_readable(void *arg, short what)
{
	struct logger_stream *st = arg;
	static char buf[65536];

	(void)what;
	for (int i = 0; i < LOGGER_READS; i++) {
		ssize_t n;
		if (st->tenant && !stream_may_read(st)) {
			stream_pause(st);
			return;
		}
		n = read(st->fd, buf, sizeof buf);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			logger_stream_close(st);
			return;
		}
		if (!st->tenant) {
			struct iovec iov = {buf, (size_t)n};
			logger_file_write(st->logger, st->file, &iov, 1, (size_t)n);
			logger_access_feed(st, buf, (size_t)n);
		} else {
			logger_rate_take(&st->bytes, (double)n);
			logger_rate_take(&st->tenant->bytes, (double)n);
			logger_feed(st, buf, (size_t)n);
		}
	}
}

void logger_open(struct logger *lg, const struct msg_log_open *m, int *fd)
{
	struct logger_stream *st = calloc(1, sizeof *st);
	struct logger_file *f = st ? logger_file_get(lg, m->app) : NULL;
	struct logger_tenant *t = f && m->app ? tenant_get(lg, m->slot, m->tenant_rate) : NULL;
	int64_t now = clock_mono_us();

	if (f)
		f->streams++;
	if (t)
		t->streams++;
	if (!f || (m->app && !t) || memchr(m->source, 0, sizeof m->source) == NULL || fd_nonblock(*fd) < 0)
		goto refused;
	*st = (struct logger_stream){
		.logger = lg, .file = f, .tenant = t, .fd = *fd, .instance = m->app ? m->instance : 0};
	logger_rate_init(&st->lines, m->rate, burst_of(lg, m->rate), now);
	logger_rate_init(&st->bytes, LIMIT_LOG_READ, LIMIT_LOG_READ, now);
	memcpy(st->source, m->source, sizeof st->source);
	if (stream_watch(st) < 0)
		goto refused;
	/* Without its place in the map only later changes of its rate pass it by. */
	if (st->instance)
		map_put(lg->streams, &st->instance, sizeof st->instance, st);
	*fd = -1;
	return;
refused:
	LOG_WARN("log stream refused", "app=%" PRIu64 " instance=%" PRIu64, m->app, m->instance);
	tenant_release(lg, t);
	if (f)
		logger_file_release(lg, f);
	free(st);
}

void logger_change(struct logger *lg, const struct msg_log_rate *m)
{
	struct logger_stream *st = m->instance ? map_get(lg->streams, &m->instance, sizeof m->instance) : NULL;
	struct logger_tenant *t = map_get(lg->tenants, &m->slot, sizeof m->slot);
	int64_t now = clock_mono_us();

	if (t)
		logger_rate_change(&t->lines, m->tenant_rate, burst_of(lg, m->tenant_rate), now);
	if (st)
		logger_rate_change(&st->lines, m->rate, burst_of(lg, m->rate), now);
}
