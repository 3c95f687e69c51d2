/* Control groups of tenants and instances: totals, limits, samples, the last kill, removal.  Layer agent, supervisor
 * process.
 *
 * Hierarchy: <root name>/t<slot>/<instance id> in every hierarchy used.  The tenant's level holds its totals; a level
 * per app would limit nothing and one v1 memory cgroup costs 141 KiB of kernel memory, so it is left out.  Versions
 * before the tenant's level made <root name>/<instance id>: such groups are still found, as those of CGROUP_FLAT.
 *
 * Two backends behind one table: cgroup v1 (memory, cpu, pids and, when there, cpuacct, blkio and cpuset, wherever
 * each is mounted) and v2 (memory, cpu, pids and, when there, io and cpuset in one tree).  v2 is taken when that tree
 * has the first three. Groups are made at the root of the hierarchy, not below our own: a service manager refuses to
 * restart a service into a group that has children with controllers, and our instances must outlive us (cgroups(7), "no
 * internal processes").
 *
 * blkio of v1 is not hierarchical: a tenant's instances join the tenant's group itself, so there is a total, but no
 * limit and no count of one instance.  Those of cpuset do so too, because nothing but the tenant is confined. */
#ifndef TULOU_AGENT_SUPERVISE_CGROUP_H
#define TULOU_AGENT_SUPERVISE_CGROUP_H

#include "base/err.h"
#include "config/quota.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cgroup;

/* In place of a slot: an instance's group directly below our root. */
#define CGROUP_FLAT UINT32_MAX
/* In place of an instance: the tenant's own group. */
#define CGROUP_TENANT 0

struct cgroup_sample {
	uint64_t memory, memory_peak; /* bytes */
	uint64_t cpu_us, throttled_us;
	uint64_t io_read, io_write;  /* bytes; 0 for an instance on v1 */
	uint32_t pids, oom_kills;    /* of a tenant: at its own total; 0 on v1 */
	uint32_t pids_hits;	     /* forks refused; of a tenant: at its own total; 0 on v1 and before 6.11 */
	uint32_t memory_hits;	     /* times its memory limit was reached */
	uint32_t throttled, periods; /* of the CPU quota */
	bool above;		     /* oom_kills > 0, but it never reached its own limit: the tenant's total did it */
};

/* Finds the hierarchies in the text of /proc/self/mountinfo (mounts under another root path than "/" are skipped) and
 * makes <name> in each.  create_files lets a test run on plain directories, where control files do not appear by
 * themselves.  0, -ENOENT naming the controller that is missing, or negative errno. */
int cgroup_new(const char *mountinfo, const char *name, bool create_files, struct cgroup **ret, struct err *e);
/* The directory of <name> where memory is accounted, to lock it: one for all who see this cgroup mount.  make: makes it
 * when it is missing; nothing else is changed.  A descriptor, the caller's, or as cgroup_new(). */
int cgroup_open_root(const char *mountinfo, const char *name, bool make, struct err *e);
/* Takes back what it made, while it is empty. */
void cgroup_unmake_root(const char *mountinfo, const char *name);
/* Frees memory and descriptors; the groups stay.  NULL is allowed. */
void cgroup_free(struct cgroup *c);

/* "v1" or "v2". */
const char *cgroup_version(const struct cgroup *c);
bool cgroup_is_v2(const struct cgroup *c);
/* The io (v2) or blkio (v1) controller is there. */
bool cgroup_has_io(const struct cgroup *c);
/* v1: the release agent of one of the hierarchies that we use, which would run as root for a group that is told to
 * notify; "" when there is none (always on v2).  Ours never notify. */
void cgroup_release_agent(const struct cgroup *c, char *out, size_t cap);

/* Rates of reading and writing hold on the disks below this path's file system from now on (its own, and with a loop
 * device that of the backing file): whole disks, at most CGROUP_DISKS.  Their number, 0 when it lies on none. */
int cgroup_io_path(struct cgroup *c, const char *path);

/* v1: at most rate bytes a second are written to a block device by what belongs to no group of ours: the kernel's own
 * threads, which is who writes back what was buffered.  0 takes the bound away.  The rule is the host's root group's
 * and stays with the device's number: rules of loop devices that hold nothing (any more) are taken away too.
 * -EOPNOTSUPP on v2 (there writes are charged to who made them) and without blkio, else negative errno. */
int cgroup_write_rate(const struct cgroup *c, unsigned major, unsigned minor, uint64_t rate);

/* Makes the tenant's group with these totals, or changes one that is there: all but the memory of one that is there,
 * for which see cgroup_memory().  0 (made), 1 (was there), or negative errno. */
int cgroup_tenant(struct cgroup *c, uint32_t slot, const struct quota *q, struct err *e);
bool cgroup_tenant_there(const struct cgroup *c, uint32_t slot);
/* 0 also when it is gone already, -EBUSY while it has instances or members. */
int cgroup_tenant_remove(struct cgroup *c, uint32_t slot);

/* Makes the group of instance id in its tenant's, which must be there, with its limits.  fds[0..*nfds) are what
 * tulou-sandbox joins by: v1 `tasks` files open for writing, or the v2 directory; owned by the caller.  fds has room
 * for LAUNCH_CGROUPS_MAX.  A group left over from before is reused with fresh limits.  0, or negative errno with
 * nothing left behind. */
int cgroup_make(struct cgroup *c, uint32_t slot, uint64_t id, const struct quota_limits *l, int *fds, size_t *nfds,
		struct err *e);

/* New limits for a group that is there: all but memory. */
int cgroup_change(struct cgroup *c, uint32_t slot, uint64_t id, const struct quota_limits *l, struct err *e);
/* One step towards these bytes of memory and, beside it, swap: what is in use above them is pushed out first, at most
 * CGROUP_RECLAIM_STEP at a time, so that the caller is not held up.  0 done, -EAGAIN call again, -EBUSY nothing could
 * be freed now (the old limit, or one in between, holds). */
int cgroup_memory(struct cgroup *c, uint32_t slot, uint64_t id, uint64_t memory, uint64_t swap);
#define CGROUP_RECLAIM_STEP (16ull << 20) /* bytes: 5 to 20 ms */
/* CPU alone: thousandths of one CPU, the same saved up, weight.  More than the tenant's total is the tenant's total. */
int cgroup_cpu(struct cgroup *c, uint32_t slot, uint64_t id, uint32_t cpu, uint32_t burst, uint32_t weight);
/* The weight alone, among its siblings.  CGROUP_WEIGHT_IDLE, here and for cgroup_cpu() and in cpu_weight of limits: the
 * idle class, which uses what no sibling wants and is preempted by each that wakes; before Linux 5.15 the smallest
 * weight. */
#define CGROUP_WEIGHT_IDLE UINT32_MAX
int cgroup_weight(struct cgroup *c, uint32_t slot, uint64_t id, uint32_t weight);

/* Which CPUs a tenant's instances may run on: all, those of the confined (all but the first few, scheduler/confine.h),
 * or the clear ones (those few, scheduler/shelter.h).  In force at once for all its threads.  0, -EOPNOTSUPP where
 * there is no cpuset controller of ours or only one CPU, or negative errno. */
enum cgroup_cpus { CGROUP_CPUS_ALL, CGROUP_CPUS_CONFINED, CGROUP_CPUS_CLEAR, CGROUP_CPUS_COUNT };
int cgroup_cpus(struct cgroup *c, uint32_t slot, enum cgroup_cpus which);
bool cgroup_can_confine(const struct cgroup *c);
/* A list that could not be written, and is to be tried again. */
struct cgroup_cpus_late {
	enum cgroup_cpus which; /* what shall be in force */
	bool late;		/* and is not */
	bool told;		/* the caller's */
};
/* As cgroup_cpus(), which is also the answer; l remembers it when it failed.  CLEAR is a favour, and never late: what
 * was to be in force before still is. */
int cgroup_cpus_set(struct cgroup *c, uint32_t slot, enum cgroup_cpus which, struct cgroup_cpus_late *l);
/* Tries again what l remembers: 0 when it is in force, or negative errno. */
int cgroup_cpus_again(struct cgroup *c, uint32_t slot, struct cgroup_cpus_late *l);
/* The numbers of the clear CPUs, n of them; valid as long as c. */
const unsigned short *cgroup_clear(const struct cgroup *c, unsigned *n);
/* Microseconds of CPU time in the kernel so far: of a tenant, and of all of them together. */
uint64_t cgroup_system_us(const struct cgroup *c, uint32_t slot);
uint64_t cgroup_system_us_all(const struct cgroup *c);

/* Reads what there is; values that cannot be read are 0.  0, -ENOENT when the group is gone. */
int cgroup_sample(const struct cgroup *c, uint32_t slot, uint64_t id, struct cgroup_sample *ret);
/* A group that is sampled again and again. */
struct cgroup_watch {
	int cpu;       /* owned: its CPU time, read without opening it each time; -1 = not yet */
	unsigned turn; /* what changes seldom is read every second or fourth time */
	struct cgroup_sample last;
};
/* Brings w->last up to date.  0, 1 when the group has not run since, -ENOENT when it is gone.  Of a group that has not
 * run only the memory can have changed, and only downwards; of one that has, the peak and what was hit are read in
 * turns.
 */
int cgroup_watch(const struct cgroup *c, uint32_t slot, uint64_t id, struct cgroup_watch *w);
void cgroup_unwatch(struct cgroup_watch *w);

/* True when the group has had as many processes and threads as its limit allows; where the kernel keeps no peak (before
 * 6.1), when it has nearly as many now. */
bool cgroup_pids_full(const struct cgroup *c, uint32_t slot, uint64_t id);

/* Compares memory, swap, CPU quota and pids of a group with these: 0 the same, 1 the first that differs is in text,
 * -ENOENT the group is gone. */
int cgroup_compare(const struct cgroup *c, uint32_t slot, uint64_t id, const struct quota_limits *l, char *text,
		   size_t cap);

/* Where instance id has its group: slot, or CGROUP_FLAT when it is there only. */
uint32_t cgroup_find(const struct cgroup *c, uint32_t slot, uint64_t id);
/* True when process pid is a member. */
bool cgroup_holds(const struct cgroup *c, uint32_t slot, uint64_t id, pid_t pid);
/* Calls fn for each member seen now.  Their number, or negative errno. */
int cgroup_members(const struct cgroup *c, uint32_t slot, uint64_t id, void (*fn)(void *arg, pid_t pid), void *arg);

/* SIGKILL for every member that is seen now.  Members killed, or negative errno. */
int cgroup_kill(const struct cgroup *c, uint32_t slot, uint64_t id);

/* Removes the group in every hierarchy.  0 also when it is gone already, -EBUSY while it has members. */
int cgroup_remove(struct cgroup *c, uint32_t slot, uint64_t id);

/* Calls fn for each instance that has a group in any hierarchy, with the slot of its tenant or CGROUP_FLAT, and after
 * a tenant's instances for the tenant itself (id CGROUP_TENANT).  fn may remove what it is called for. */
int cgroup_each(const struct cgroup *c, void (*fn)(void *arg, uint32_t slot, uint64_t id), void *arg);

/* Removes our root in every hierarchy; 0, or the first failure (-EBUSY while groups are left). */
int cgroup_destroy(struct cgroup *c);

#endif
