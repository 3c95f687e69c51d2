/* Who must yield when a node has more work than CPUs.  Layer scheduler, control process.
 * Pure: no I/O, no clock, no memory of its own; the caller samples, keeps the states and carries the changes out.
 *
 * The kernel already divides CPU time by weight (tenant, then instance).  That keeps rates fair and latency poor: one
 * who borrows what others leave is running whenever somebody wakes.  So, while there is contention:
 *
 *   fair share   what remains of the CPUs is filled like water: tenants by weight, then each tenant's instances by
 *                weight; who wants less than its part leaves the rest to the others
 *   over         wants more than its fair share, while another one is content with less (else nobody is a victim)
 *   lower        its weight falls by THROTTLE_SHIFT bits a tick until it is 1, which the supervisor runs in the idle
 *                class: it loses no CPU time that nobody wants, and everybody else preempts it at once
 *   hold         when contention lasts THROTTLE_PERSIST ticks, its CPU quota falls by a quarter a tick (multiplicative
 *                decrease) to its fair share, never below it nor below THROTTLE_FLOOR
 *   boost        an instance that serves requests and used less than its share, with siblings that work, gets
 *                THROTTLE_BOOST times its weight at once
 *   recover      not over for THROTTLE_CALM ticks: one step of weight or THROTTLE_RAISE of quota a tick (additive
 *                increase).  One that had to be lowered again soon waits twice as long each time.
 *
 * What an instance wants is judged by an envelope of its use that rises fast and falls slowly: pausing just before a
 * tick gains nothing.  Tenants are judged before instances: splitting work gains nothing.  */
#ifndef TULOU_SCHEDULER_THROTTLE_H
#define TULOU_SCHEDULER_THROTTLE_H

#include "config/limits.h"

#include <stdbool.h>
#include <stdint.h>

#define THROTTLE_PRESSURE 10	  /* percent of the time in which some task waited for a CPU: contention */
#define THROTTLE_BUSY 85	  /* and percent of the CPUs' time in use */
#define THROTTLE_BUSY_SQUEEZED 50 /* the same while memory or disk are short: reclaim burns CPU in bursts */
#define THROTTLE_MEMORY_PRESSURE 20
#define THROTTLE_IO_PRESSURE 40
#define THROTTLE_HEADROOM 10 /* percent of the CPUs kept clear for those who wake */
#define THROTTLE_FLOOR 50u   /* thousandths of a CPU that nobody is held below */
#define THROTTLE_SHIFT 3     /* bits of weight a step: 100 -> 12 -> 1 */
#define THROTTLE_LEVELS 5    /* steps from the largest weight to 1 */
#define THROTTLE_BOOST 4
#define THROTTLE_PERSIST 5	/* ticks of being over before the quota falls */
#define THROTTLE_CALM 3		/* ticks of not being over before a step back */
#define THROTTLE_HOLD_MAX 3	/* doublings of that */
#define THROTTLE_AGAIN_MS 60000 /* lowered again within this after a step back: wait longer next time */
#define THROTTLE_RAISE 100u	/* thousandths of a CPU a tick */
#define THROTTLE_CHANGES 64	/* of one tick: each is a message and a few writes into control files */

/* The host since the last tick. */
struct throttle_host {
	unsigned cpus;
	double busy;	/* CPUs in use by anything */
	double psi_cpu; /* percent of the time some task waited; < 0 = the kernel does not tell */
	double psi_memory, psi_io;
	double runnable; /* tasks running or waiting, looked at when psi_cpu < 0 */
};

/* Of one instance or tenant; the caller keeps it, zeroed at first. */
struct throttle_state {
	uint32_t weight, cpu; /* in force; 0 = those of its limits */
	uint32_t want;	      /* envelope of its use, thousandths of a CPU */
	float mean;	      /* of its use */
	uint32_t share;	      /* fair share of the last tick in which it was looked at */
	uint8_t level;	      /* steps of weight taken */
	uint8_t over;	      /* ticks in a row it was over, saturating */
	uint8_t calm;	      /* ticks in a row it was not */
	uint8_t hold;	      /* doublings of THROTTLE_CALM */
	bool boosted;
	int64_t since_ms, eased_ms; /* first step of this time; last step back */
};
/* Must it be passed again although it used nothing? */
bool throttle_state_holds(const struct throttle_state *s);

struct throttle_tenant {
	uint32_t weight, cpu;	      /* its totals; cpu 0 = not limited */
	struct throttle_state *state; /* borrowed */
	/* of this tick */
	double used, want, share;
	double left, weights; /* while the water rises */
	unsigned active, content;
	bool full, over, hungry;
};

struct throttle_instance {
	unsigned tenant;	      /* index */
	uint32_t used;		      /* thousandths of a CPU, since the last tick */
	uint32_t weight, cpu;	      /* its limits; cpu 0 = not limited */
	bool serves;		      /* has requests in flight, or had some since the last tick */
	struct throttle_state *state; /* borrowed */
	/* of this tick */
	double want, share;
	bool full, over;
};

enum throttle_step {
	THROTTLE_BEGIN, /* the first step down */
	THROTTLE_LOWER,
	THROTTLE_EASE,
	THROTTLE_END,	/* back to its limits */
	THROTTLE_QUICK, /* boosted */
	THROTTLE_STEP_COUNT
};
const char *throttle_step_name(enum throttle_step s);

struct throttle_change {
	bool is_tenant;
	unsigned index; /* of the tenant or instance */
	enum throttle_step step;
	uint32_t weight, cpu; /* to be in force; 0 = that of its limits */
	uint32_t used, share; /* thousandths of a CPU: why */
};

/* The node; zeroed at first. */
struct throttle {
	bool contended;
	unsigned ticks;	       /* of this contention */
	double runnable;       /* smoothed */
	double give;	       /* quotas are this many times the share: 1 and more */
	uint64_t contended_ms; /* in all */
	int64_t last_ms;
};

/* One tick.  Only those that used CPU since the last one are passed, and those whose state holds.  states and t are
 * moved on; what is returned (at most THROTTLE_CHANGES of cap) must be carried out.  What did not fit comes next tick.
 */
unsigned throttle_tick(struct throttle *t, const struct throttle_host *host, struct throttle_tenant *tenants,
		       unsigned tenant_count, struct throttle_instance *instances, unsigned instance_count,
		       int64_t now_ms, struct throttle_change *changes, unsigned cap);
/* Everything back to its limits, for "off": changes as above; call until it returns 0. */
unsigned throttle_release(struct throttle_tenant *tenants, unsigned tenant_count, struct throttle_instance *instances,
			  unsigned instance_count, struct throttle_change *changes, unsigned cap);

#endif
