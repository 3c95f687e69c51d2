/* The log of one build: a bounded file.  Layer agent, control process.
 *
 * The first three quarters of LIMIT_BUILD_LOG go to the file as they come; of what follows the newest quarter is kept
 * in memory and written at the end, with a line that says how much was left out between. */
#ifndef TULOU_AGENT_BUILD_LOG_H
#define TULOU_AGENT_BUILD_LOG_H

#include "base/err.h"
#include "config/limits.h"

#include <stddef.h>
#include <stdint.h>

#define BUILD_LOG_HEAD (LIMIT_BUILD_LOG / 4 * 3)
#define BUILD_LOG_TAIL (LIMIT_BUILD_LOG / 4)

struct build_log {
	int fd;		/* owned; -1 = nothing is written */
	uint64_t total; /* bytes given */
	char *ring;	/* owned: BUILD_LOG_TAIL bytes, NULL until the head is full */
	char last[256]; /* the newest line that is not empty, without its end */
	char line[256]; /* the line that is coming in */
	size_t line_len;
};

/* Makes dir/builds/ID.log.  0 or negative errno. */
int build_log_open(struct build_log *l, const char *dir, int64_t build, struct err *e);
void build_log_write(struct build_log *l, const char *p, size_t n);
/* Writes what was held back, and closes. Harmless twice. */
void build_log_close(struct build_log *l);
/* Adds a last line to dir/builds/ID.log of a build that ended with the control that ran it; nothing when it is gone. */
void build_log_last(const char *dir, int64_t build, const char *text);

#endif
