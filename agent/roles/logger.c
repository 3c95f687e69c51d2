/* The logger: reads the output pipes of all instances and writes bounded files.  Layer agent, logger process.
 *
 * One stream per pipe (logger_stream.c); one file pair (current, previous) per app, shared by its streams.  When the
 * supervisor goes away the logger reads on: the apps must not notice.  The next supervisor ends it. */
#include "agent/roles/logger_private.h"
#include "agent/roles/role.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct logger_file *logger_file_get(struct logger *lg, uint64_t app)
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

void logger_file_release(struct logger *lg, struct logger_file *f)
{
	if (--f->streams > 0)
		return;
	map_del(lg->files, &f->app, sizeof f->app);
	own_close(&f->fd);
	own_close(&f->dir);
	free(f);
}

void logger_file_write(struct logger *lg, struct logger_file *f, struct iovec *iov, int n, size_t bytes)
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

static void logger_on_msg(void *arg, uint16_t type, const void *body, size_t len, int *fds, size_t nfds)
{
	struct logger *lg = arg;
	char name[24];

	(void)len;
	(void)nfds;
	if (type == MSG_LOG_OPEN) {
		logger_open(lg, body, &fds[0]);
	} else if (type == MSG_LOG_RATE) {
		logger_change(lg, body);
	} else if (type == MSG_LOG_DROP) {
		const struct msg_log_drop *m = body;
		if (m->app == 0 || map_get(lg->files, &m->app, sizeof m->app))
			return; /* still written to: its instances are stopped first */
		logger_access_drop(lg, m->app);
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
	struct logger lg = {.dir = -1};
	struct loop_signal term = {0};
	struct err e = {0};
	int fds[FD_PASS_MAX];
	size_t nfds = 0;
	const void *init = role_begin(MSG_INIT_LOGGER, msg_rules_logger, msg_rules_logger_count, fds, &nfds);

	if (!init)
		return 1;
	memcpy(&lg.limits, init, sizeof lg.limits);
	lg.dir = fds[0];
	if (role_confine(ROLE_LOGGER, lg.limits.user, NULL, &e) < 0) {
		LOG_ERROR("start failed", "reason=\"%s\"", e.text);
		return 1;
	}
	lg.loop = loop_new();
	lg.files = map_new();
	lg.tenants = map_new();
	lg.streams = map_new();
	lg.access = map_new();
	TAILQ_INIT(&lg.paused);
	TAILQ_INIT(&lg.accesses);
	lg.chan = lg.loop && lg.files && lg.tenants && lg.streams && lg.access
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
