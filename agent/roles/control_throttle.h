/* Noisy neighbours: what the node knows of each one's CPU use, and who yields now.  Layer agent, control process;
 * included by control_core.h only.  The decisions are scheduler/throttle.h's.
 *
 *   MSG_USAGE -> control_throttle_usage()   rates of those that work; the others are not looked at
 *   every second, host's pressure + rates -> throttle_tick() -> MSG_THROTTLE, MSG_THROTTLE_TENANT
 *
 * A control that starts knows nothing of what an earlier one lowered: the supervisor puts all back when it is asked to
 * MSG_SYNC. */
#ifndef TULOU_AGENT_ROLES_CONTROL_THROTTLE_H
#define TULOU_AGENT_ROLES_CONTROL_THROTTLE_H

#include "base/buf.h"
#include "base/json.h"
#include "base/loop.h"
#include "scheduler/throttle.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define CONTROL_THROTTLE_US 1000000	      /* a tick */
#define CONTROL_THROTTLE_BUSY 4096	      /* instances looked at in one: about 1 ms; the list goes round */
#define CONTROL_THROTTLE_TELL_MS 5000	      /* an owner is told when it has lasted so long */
#define CONTROL_THROTTLE_TELL_AGAIN_MS 300000 /* and not again within this */
#define CONTROL_THROTTLE_LIST 20	      /* instances named by GET /v1/node */

struct control;
struct control_tenant;
struct quota_limits;

/* An instance or job as the throttle sees it; part of its struct. */
struct control_use {
	TAILQ_ENTRY(control_use) link; /* those that work, or whose state holds */
	bool listed;
	struct control_tenant *tenant;	   /* borrowed */
	const struct quota_limits *limits; /* borrowed from the same struct */
	uint64_t id;
	uint32_t slot;	   /* of its app in the statistics segment; UINT32_MAX = serves nobody */
	uint64_t cpu_us;   /* at the last sample */
	int64_t at_ms;	   /* of it; 0 = none yet */
	uint32_t used;	   /* thousandths of a CPU between the last two */
	uint64_t requests; /* of its app, at the last tick */
	struct throttle_state state;
	bool told;	 /* its owner knows */
	int64_t told_ms; /* when an owner was last told */
};

/* Counters of the host. */
struct control_pulse {
	int64_t at_us;
	uint64_t busy, all;    /* ticks of /proc/stat */
	uint64_t waited_us[3]; /* cpu, memory, io: pressure's total of "some" */
	bool pressure;	       /* the kernel tells */
	unsigned runnable;
};

struct control_throttle {
	struct throttle t;
	struct loop_timer timer;
	TAILQ_HEAD(control_use_list, control_use) busy;
	TAILQ_HEAD(control_held_list, control_tenant) held; /* tenants whose weight is lowered */
	struct control_pulse pulse;
	struct throttle_tenant *tenants;     /* owned */
	struct throttle_instance *instances; /* owned */
	struct control_use **uses;	     /* owned: of the rows of instances */
	struct control_tenant **owners;	     /* owned: of the rows of tenants */
	unsigned cap, run;
	uint64_t changes_total;
};

void control_throttle_stop(struct control *c);
void control_throttle_usage(struct control *c, struct control_use *u, uint64_t cpu_us);
void control_throttle_gone(struct control *c, struct control_use *u); /* harmless twice */
void control_throttle_tenant_gone(struct control *c, struct control_tenant *t);
void control_throttle_tick(void *arg); /* starts the timer, and is its callback */

/* {"state":"slowed"|"boosted","weight","tenant_weight","cpu","since","used_cpu","fair_cpu","reason"}; NULL when nothing
 * is changed. */
json_t *control_throttle_json(const struct control_use *u);
json_t *control_throttle_node_json(struct control *c);
void control_throttle_metrics(struct control *c, struct buf *out);

/* control_proc.c */
void control_proc_pulse(struct control_pulse *p);

#endif
