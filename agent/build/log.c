/* The log of one build: a bounded file.  Layer agent, control process. */
#include "agent/build/log.h"

#include "base/fd.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int build_log_open(struct build_log *l, const char *dir, int64_t build, struct err *e)
{
	char path[300];

	*l = (struct build_log){.fd = -1};
	snprintf(path, sizeof path, "%s/builds", dir);
	fd_mkdirs(path, 0750);
	snprintf(path, sizeof path, "%s/builds/%" PRId64 ".log", dir, build);
	l->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
	return l->fd < 0 ? err_errno(e, "cannot make the build's log") : 0;
}

/* Keeps the newest line that says something: it becomes the reason of a failed build. */
static void build_log_lines(struct build_log *l, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] != '\n' && p[i] != '\r') {
			if (l->line_len < sizeof l->line - 1)
				l->line[l->line_len++] = p[i];
			continue;
		}
		l->line[l->line_len] = 0;
		if (l->line[strspn(l->line, " \t!")])
			memcpy(l->last, l->line, sizeof l->last);
		l->line_len = 0;
	}
}

void build_log_write(struct build_log *l, const char *p, size_t n)
{
	size_t head = 0;

	build_log_lines(l, p, n);
	if (l->total < BUILD_LOG_HEAD) {
		head = BUILD_LOG_HEAD - l->total;
		head = head < n ? head : n;
		if (l->fd >= 0)
			fd_write_all(l->fd, p, head); /* a full disk costs the log, not the build */
	}
	l->total += head;
	for (p += head, n -= head; n;) {
		size_t at = (size_t)((l->total - BUILD_LOG_HEAD) % BUILD_LOG_TAIL), k = BUILD_LOG_TAIL - at;

		if (!l->ring)
			l->ring = malloc(BUILD_LOG_TAIL);
		k = k < n ? k : n;
		if (l->ring)
			memcpy(l->ring + at, p, k);
		l->total += k;
		p += k;
		n -= k;
	}
}

void build_log_close(struct build_log *l)
{
	uint64_t over = l->total > BUILD_LOG_HEAD ? l->total - BUILD_LOG_HEAD : 0;
	size_t at = (size_t)(over % BUILD_LOG_TAIL);
	char note[80];

	if (l->fd >= 0 && l->ring && over <= BUILD_LOG_TAIL) {
		fd_write_all(l->fd, l->ring, over);
	} else if (l->fd >= 0 && l->ring) {
		int k = snprintf(note, sizeof note, "\n[tulou] %" PRIu64 " bytes of the log left out here\n",
				 over - BUILD_LOG_TAIL);
		fd_write_all(l->fd, note, (size_t)k);
		fd_write_all(l->fd, l->ring + at, BUILD_LOG_TAIL - at);
		fd_write_all(l->fd, l->ring, at);
	}
	free(l->ring);
	l->ring = NULL;
	own_close(&l->fd);
}

void build_log_last(const char *dir, int64_t build, const char *text)
{
	char path[300], line[400];
	OWN_FD int fd = -1;
	int n;

	snprintf(path, sizeof path, "%s/builds/%" PRId64 ".log", dir, build);
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	n = snprintf(line, sizeof line, "\n !     %s\n", text);
	if (fd >= 0 && n > 0 && (size_t)n < sizeof line)
		fd_write_all(fd, line, (size_t)n);
}
