/* What outlives a supervisor: <runtime>/instances/<id>/{record,status}.  Layer agent, supervisor process.
 *
 * record is one struct, written by the supervisor in one write(2) of less than a page, which no signal can split;
 * status is written by the instance's PID 1 when it ends (agent/sandbox/launch.h). */
#ifndef TULOU_AGENT_SUPERVISE_RECORD_H
#define TULOU_AGENT_SUPERVISE_RECORD_H

#include "agent/roles/messages.h"
#include "agent/sandbox/launch.h"
#include "base/err.h"

#include <stdint.h>
#include <sys/types.h>

#define RECORD_MAGIC 0x746c7264u
#define RECORD_BOOT 40 /* a boot id as text */

enum record_phase { RECORD_BUILDING, RECORD_RUNNING, RECORD_EXITED, RECORD_PHASE_COUNT };

struct record {
	uint32_t magic,
		size;	/* size of this struct: another version's record is not adopted, but for record_read_before() */
	uint32_t phase; /* enum record_phase */
	uint32_t output;	/* 1: PID 1 keeps the read end of the output pipe */
	uint64_t start_time;	/* of PID 1, in clock ticks since boot (proc(5) stat, field 22): tells a reused pid */
	uint64_t builder_start; /* the same of the builder */
	int32_t builder;	/* its pid while BUILDING, 0 = not started */
	int32_t pad;
	int64_t deadline_us; /* monotonic, 0 = none */
	char boot[RECORD_BOOT];
	char link[16];		    /* host's end of the veth, "" = none */
	char stack[24];		    /* name of the root skeleton in use */
	struct quota_limits limits; /* as they are now */
	struct quota_egress egress;
	uint32_t profile;	 /* enum quota_profile */
	uint32_t layer;		 /* 1: has a layer on the disk */
	uint32_t private_layers; /* 1: runs on its tenant's own mount of /usr */
	uint32_t socket;	 /* 1: PID 1 keeps the folder of its unix socket */
	struct msg_instance m;
};

/* Fills this boot's id. */
int record_boot(char boot[RECORD_BOOT]);

/* All take dir, the open directory <runtime>/instances. */

/* Makes <id>/ and an empty status file, replacing what was there.  *status_fd is open for writing, owned by the caller.
 */
int record_make(int dir, uint64_t id, int *status_fd);
int record_write(int dir, const struct record *r);
/* 0, -ENOENT, or -EBADMSG when it is not a whole record of this version, or of the one before, about instance id. */
int record_read(int dir, uint64_t id, struct record *ret);
/* 0, -ENOENT when PID 1 left none. */
int record_status(int dir, uint64_t id, struct launch_status *ret);
/* Removes <id>/. */
int record_remove(int dir, uint64_t id);
/* Calls fn for each instance directory; other names are ignored.  fn may remove it. */
int record_each(int dir, void (*fn)(void *arg, uint64_t id), void *arg);

#endif
