/* The access log: a copy of what an app asked for goes into a log of its own.  Layer agent, logger process.
 *
 * A worker marks such a line by its first member, {"to":<app id>,…}; the rest is the line as the node has it.  It is
 * written to <app id>/access/current, rotated as the app's output is.  Only apps that have a folder get one: a number
 * alone makes nothing. */
#include "agent/roles/logger_private.h"

#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK "{\"to\":"
#define ACCESS_FILES 64 /* open at a time; the one that was not written to for longest makes room */

static void access_close(struct logger *lg, struct logger_file *f)
{
	TAILQ_REMOVE(&lg->accesses, f, recent);
	lg->access_count--;
	map_del(lg->access, &f->app, sizeof f->app);
	own_close(&f->fd);
	own_close(&f->dir);
	free(f);
}

void logger_access_drop(struct logger *lg, uint64_t app)
{
	struct logger_file *f = map_get(lg->access, &app, sizeof app);

	if (f)
		access_close(lg, f);
}

static struct logger_file *access_file(struct logger *lg, uint64_t app)
{
	struct logger_file *f = map_get(lg->access, &app, sizeof app);
	OWN_FD int dir = -1;
	char name[24];

	if (f) {
		TAILQ_REMOVE(&lg->accesses, f, recent);
		TAILQ_INSERT_HEAD(&lg->accesses, f, recent);
		return f;
	}
	snprintf(name, sizeof name, "%" PRIu64, app);
	dir = openat(lg->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0 || (mkdirat(dir, "access", 02750) < 0 && errno != EEXIST))
		return NULL;
	if (lg->access_count >= ACCESS_FILES)
		access_close(lg, TAILQ_LAST(&lg->accesses, logger_recent));
	f = malloc(sizeof *f);
	if (!f)
		return NULL;
	*f = (struct logger_file){.app = app, .dir = -1, .fd = -1};
	f->dir = openat(dir, "access", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (f->dir < 0 || map_put(lg->access, &f->app, sizeof f->app, f) < 0) {
		own_close(&f->dir);
		free(f);
		return NULL;
	}
	TAILQ_INSERT_HEAD(&lg->accesses, f, recent);
	lg->access_count++;
	return f;
}

/* One line with its newline. */
static void access_line(struct logger *lg, char *p, size_t n)
{
	char *end = p + sizeof MARK - 1;
	struct logger_file *f;
	struct iovec iov[2];
	uint64_t app = 0;

	if (n < sizeof MARK + 2 || memcmp(p, MARK, sizeof MARK - 1) != 0)
		return;
	for (unsigned i = 0; i < 19 && end < p + n && *end >= '0' && *end <= '9'; i++)
		app = app * 10 + (uint64_t)(*end++ - '0');
	if (app == 0 || end >= p + n || *end != ',' || !(f = access_file(lg, app)))
		return;
	*end = '{';
	iov[0] = (struct iovec){end, n - (size_t)(end - p)};
	logger_file_write(lg, f, iov, 1, iov[0].iov_len);
	*end = ',';
}

void logger_access_feed(struct logger_stream *st, char *p, size_t n)
{
	struct logger *lg = st->logger;
	char *nl;

	if (st->part_len) { /* a line that the last read cut */
		size_t take;
		nl = memchr(p, '\n', n);
		take = nl ? (size_t)(nl + 1 - p) : n;
		if (st->part_len + take > LIMIT_LOG_LINE)
			take = 0; /* none of ours is so long */
		memcpy(st->part + st->part_len, p, take);
		st->part_len += take;
		if (!nl && take)
			return;
		if (take)
			access_line(lg, st->part, st->part_len);
		st->part_len = 0;
		p += take;
		n -= take;
	}
	for (; n && (nl = memchr(p, '\n', n)); n -= (size_t)(nl + 1 - p), p = nl + 1)
		access_line(lg, p, (size_t)(nl + 1 - p));
	if (!n || n > LIMIT_LOG_LINE || (!st->part && !(st->part = malloc(LIMIT_LOG_LINE))))
		return;
	memcpy(st->part, p, n);
	st->part_len = n;
}
