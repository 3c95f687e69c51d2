/* Compares what the supervisor knows with processes, kernel and disk.  Layer agent, supervisor process; private to
 * agent/supervise/.  Some instances a turn, so that the loop goes on. */
#ifndef TULOU_AGENT_SUPERVISE_FSCK_H
#define TULOU_AGENT_SUPERVISE_FSCK_H

#include "agent/roles/messages.h"

#include <stdbool.h>
#include <stdint.h>

struct supervise;
struct instance;

/* One check's view of the run: what it finds goes to fsck_tell(). */
struct fsck {
	struct supervise *s; /* borrowed */
	uint64_t run;
	bool repair;
	uint32_t found, repaired;
	uint64_t *ids; /* owned: instances still to be looked at */
	size_t count, at;
};

/* Tells control of one difference; id 0 = none.  The text is one sentence for a person. */
void fsck_tell(struct fsck *f, const char *area, uint64_t id, bool repaired, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* fsck_host.c: what belongs to no single instance. */
void fsck_host(struct fsck *f);

#endif
