/* Control groups of the instances: limits, samples, the last kill, removal.  Layer agent, supervisor process.
 *
 * Hierarchy: <root name>/<instance id> in every hierarchy used.  Levels for tenant and app would limit nothing (control
 * admits by quota before it launches) and one v1 memory cgroup costs 141 KiB of kernel memory, so they are left out.
 *
 * Two backends behind one table: cgroup v1 (memory, cpu, pids and, when there, cpuacct, wherever each is mounted) and
 * v2 (memory, cpu, pids in one tree).  v2 is taken when that tree has all three controllers.  Groups are made at the
 * root of the hierarchy, not below our own: a service manager refuses to restart a service into a group that has
 * children with controllers, and our instances must outlive us (cgroups(7), "no internal processes"). */
#ifndef TULOU_AGENT_SUPERVISE_CGROUP_H
#define TULOU_AGENT_SUPERVISE_CGROUP_H

#include "base/err.h"
#include "config/quota.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cgroup;

struct cgroup_sample {
	uint64_t memory, memory_peak; /* bytes */
	uint64_t cpu_us, throttled_us;
	uint32_t pids, oom_kills;
};

/* Finds the hierarchies in the text of /proc/self/mountinfo (mounts under another root path than "/" are skipped) and
 * makes <name> in each.  create_files lets a test run on plain directories, where control files do not appear by
 * themselves.  0, -ENOENT naming the controller that is missing, or negative errno. */
int cgroup_new(const char *mountinfo, const char *name, bool create_files, struct cgroup **ret, struct err *e);
/* Frees memory and descriptors; the groups stay.  NULL is allowed. */
void cgroup_free(struct cgroup *c);

/* "v1" or "v2". */
const char *cgroup_version(const struct cgroup *c);
bool cgroup_is_v2(const struct cgroup *c);

/* Makes the group of instance id with its limits.  fds[0..*nfds) are what tulou-sandbox joins by: v1 `tasks` files open
 * for writing, or the v2 directory; owned by the caller.  fds has room for LAUNCH_CGROUPS_MAX.  A group left over from
 * before is reused with fresh limits.  0, or negative errno with nothing left behind. */
int cgroup_make(struct cgroup *c, uint64_t id, const struct quota_limits *l, int *fds, size_t *nfds, struct err *e);

/* Reads what there is; values that cannot be read are 0.  0, -ENOENT when the group is gone. */
int cgroup_sample(const struct cgroup *c, uint64_t id, struct cgroup_sample *ret);

/* True when process pid is a member. */
bool cgroup_holds(const struct cgroup *c, uint64_t id, pid_t pid);

/* SIGKILL for every member that is seen now.  Members killed, or negative errno. */
int cgroup_kill(const struct cgroup *c, uint64_t id);

/* Removes the group in every hierarchy.  0 also when it is gone already, -EBUSY while it has members. */
int cgroup_remove(struct cgroup *c, uint64_t id);

/* Calls fn for each instance id that has a group in any hierarchy.  fn may remove it. */
int cgroup_each(const struct cgroup *c, void (*fn)(void *arg, uint64_t id), void *arg);

/* Removes our root in every hierarchy; 0, or the first failure (-EBUSY while groups are left). */
int cgroup_destroy(struct cgroup *c);

#endif
