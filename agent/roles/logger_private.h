/* What the logger's files share: its files, streams and rates.  Layer agent, logger process; private to
 * agent/roles/logger*.c. */
#ifndef TULOU_AGENT_ROLES_LOGGER_PRIVATE_H
#define TULOU_AGENT_ROLES_LOGGER_PRIVATE_H

#include "agent/roles/logger_rate.h"
#include "agent/roles/messages.h"
#include "base/chan.h"
#include "base/loop.h"
#include "base/map.h"

#include <sys/queue.h>
#include <sys/uio.h>

struct logger_file {
	uint64_t app;	/* 0: access log */
	int dir, fd;	/* owned; fd -1 until the first line */
	uint64_t bytes; /* in `current` */
	unsigned streams;
	TAILQ_ENTRY(logger_file) recent; /* of access logs */
};

/* What the streams of one tenant share. */
struct logger_tenant {
	uint32_t slot;
	unsigned streams;
	struct logger_rate lines, bytes;
};

struct logger_stream {
	struct logger *logger;	      /* borrowed */
	struct logger_file *file;     /* borrowed from logger->files; NULL once closed */
	struct logger_tenant *tenant; /* borrowed from logger->tenants; NULL for the access log */
	struct loop_io io;
	TAILQ_ENTRY(logger_stream) paused;
	bool is_paused;
	uint64_t instance;
	int fd; /* owned pipe */
	char source[LIMIT_TYPE_NAME + 24];
	char *part; /* owned: a line without its end yet, NULL when none */
	size_t part_len;
	struct logger_rate lines, bytes;
	uint64_t dropped;
};

struct logger {
	struct loop *loop;
	struct chan *chan;
	struct msg_init_logger limits;
	int dir;	     /* owned: <data>/logs */
	struct map *files;   /* app id -> logger_file */
	struct map *tenants; /* slot -> logger_tenant */
	struct map *access;  /* app id -> logger_file of its access log (logger_access.c) */
	TAILQ_HEAD(logger_recent, logger_file) accesses;
	unsigned access_count;
	struct map *streams; /* instance -> logger_stream; not the access log */
	TAILQ_HEAD(logger_paused, logger_stream) paused;
	struct loop_timer resume;
};

/* logger.c: the file of an app, made when it is not there; NULL when it cannot be. */
struct logger_file *logger_file_get(struct logger *lg, uint64_t app);
void logger_file_release(struct logger *lg, struct logger_file *f);
void logger_file_write(struct logger *lg, struct logger_file *f, struct iovec *iov, int n, size_t bytes);

/* logger_stream.c: takes *fd (then -1), or leaves it to the caller. */
void logger_open(struct logger *lg, const struct msg_log_open *m, int *fd);
/* logger_access.c: bytes of the access log, which go into those of apps where they are marked; p is scratched on. */
void logger_access_feed(struct logger_stream *st, char *p, size_t n);
void logger_access_drop(struct logger *lg, uint64_t app);
/* New rates of a stream, of its tenant, or both. */
void logger_change(struct logger *lg, const struct msg_log_rate *m);

#endif
