/* The level above the instances: a tenant's totals in the kernel.  Layer agent, supervisor process.
 *
 *   unknown --told (MSG_TENANT)--> known         remembered for as long as we run
 *      |                             |
 *   first instance                first instance
 *      v                             v
 *   group as found, or with       group with its totals; told again: changed at once
 *   the embedded default
 *      '------ last instance gone ---'  group removed: a tenant that sleeps costs the kernel nothing
 *
 * A job (build, store, git) is not among what the tenant's memory is admitted for: its limit is lent to the tenant's
 * total while it lives. */
#ifndef TULOU_AGENT_SUPERVISE_TENANT_H
#define TULOU_AGENT_SUPERVISE_TENANT_H

#include "agent/supervise/cgroup.h"
#include "agent/supervise/disk.h"
#include "base/loop.h"
#include "scheduler/confine.h"

#include <sys/queue.h>

struct supervise;
struct instance;

struct tenant {
	struct supervise *s; /* borrowed */
	uint32_t slot;
	uint64_t tenant;	  /* its number, as control knows it */
	struct quota quota;	  /* told, or the embedded default */
	bool told;		  /* by MSG_TENANT */
	bool found;		  /* its group was there when we came, with totals that we do not know */
	unsigned living;	  /* instances that have a group, or had one a moment ago */
	uint64_t lent, lent_swap; /* bytes, to jobs */
	/* Of its instances since its first one, dead ones included: only what its own totals did, not their limits. */
	uint32_t oom_kills, pids_hits;
	uint64_t net_refused; /* packets, at its total */
	struct cgroup_watch watch;
	struct disk_share share; /* of the disk's pool */
	bool shrinking;		 /* its memory is not down to the total yet */
	unsigned tries;
	uint32_t throttle_weight; /* of supervise_throttle_tenant(); 0 = none */
	struct loop_timer timer;
	struct confine_state confine;
	int64_t confined_at;  /* monotonic, microseconds: it is kept off some CPUs since; 0 = it is not */
	uint64_t confined_us; /* before, since its first instance */
	uint32_t confines;    /* times */
	bool sheltered;	      /* it is kept on the clear CPUs */
	struct cgroup_cpus_late cpus;
	bool used;		  /* its use is known */
	uint32_t use;		  /* thousandths of a CPU, at the last sample */
	int64_t used_at;	  /* that sample, monotonic, microseconds; 0 = none */
	TAILQ_ENTRY(tenant) link; /* in s->tenants_living */
	TAILQ_ENTRY(tenant) look; /* in s->tenants_looked */
};
TAILQ_HEAD(tenant_list, tenant);

int tenant_init(struct supervise *s);
void tenant_done(struct supervise *s);

/* NULL when it was never told and has no instances. */
struct tenant *tenant_get(const struct supervise *s, uint32_t slot);
/* Makes the group of in's tenant if it is the first, or lends; paired with tenant_leave().  0 or negative errno. */
int tenant_enter(struct instance *in, struct err *e);
/* The same for one that lives already. */
int tenant_adopt(struct instance *in);
void tenant_leave(struct instance *in);
/* New totals; the living ones' take effect at once. */
int tenant_tell(struct supervise *s, uint64_t tenant, uint32_t slot, const struct quota *q, struct err *e);
/* Writes the weight that holds now: that of the throttle, else of the totals. */
int tenant_weight(struct tenant *t);
/* At whose memory bound the processes that now counts were killed; asked before tenant_leave(). */
enum msg_oom tenant_oom(const struct instance *in, const struct cgroup_sample *now);
/* Adds what an instance's new sample has more than the one before and what the tenant's totals did. */
void tenant_count(struct instance *in, const struct cgroup_sample *was, const struct cgroup_sample *now);

#endif
