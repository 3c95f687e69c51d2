/* Whose kernel time keeps others waiting.  Layer scheduler; runs in the supervisor process, which samples often.
 * Pure: no I/O, no clock, no memory of its own.
 *
 * A kernel that does not preempt itself (PREEMPT_NONE, as most servers have it; in part also PREEMPT_VOLUNTARY) lets
 * whoever wakes wait for the end of another's system call or soft interrupt, whatever their weights are: a fork, a
 * packet, an unlink is a millisecond when hundreds contend.  So a tenant that lives in the kernel is kept off a few
 * CPUs, where everybody else then finds room at once.  It loses the time that it would have had on those only: one in
 * eight, at least one. */
#ifndef TULOU_SCHEDULER_CONFINE_H
#define TULOU_SCHEDULER_CONFINE_H

#include <stdbool.h>
#include <stdint.h>

#define CONFINE_HOST 300 /* thousandths of a CPU of kernel time that all tenants take together: look closer */
#define CONFINE_NOW 600	 /* of one tenant within one look: confined at once */
#define CONFINE_LONG 300 /* the same as a mean over CONFINE_MEAN_MS */
#define CONFINE_CALM 150 /* a mean below it is calm */
#define CONFINE_MEAN_MS 200
#define CONFINE_HOLD_MS 2000   /* calm for so long: free again */
#define CONFINE_AGAIN_MS 60000 /* confined again within it: calm must last twice as long, */
#define CONFINE_HOLD_MAX 4     /* at most so many doublings */
#define CONFINE_FRESH_MS 60    /* a look further back than this says nothing about now */
#define CONFINE_CLEAR_PART 8   /* one CPU in so many stays clear */

/* Of one tenant; the caller keeps it, zeroed at first. */
struct confine_state {
	uint64_t system_us; /* of the last look */
	int64_t at_us;	    /* of it; 0 = none yet */
	int64_t since_us;   /* confined since; 0 = it is not */
	int64_t calm_us;    /* calm since; 0 = it is not */
	int64_t freed_us;   /* last time */
	float mean;	    /* thousandths of a CPU */
	uint8_t hold;	    /* doublings of CONFINE_HOLD_MS */
};

enum confine_step { CONFINE_STAY, CONFINE_BEGIN, CONFINE_END };

/* A look at a tenant's kernel time so far, in microseconds; now_us is monotonic.  A BEGIN or END has happened to the
 * state: the caller carries it out. */
enum confine_step confine_look(struct confine_state *s, uint64_t system_us, int64_t now_us);

/* How many of the host's CPUs the confined are kept off; 0 where there is only one. */
unsigned confine_clear(unsigned cpus);

#endif
