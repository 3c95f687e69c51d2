/* cgroup v2: memory, cpu and pids in one tree.  Layer agent, supervisor process.
 * Documentation/admin-guide/cgroup-v2 of the kernel; memory.peak since 5.19, cgroup.kill since 5.14. */
#include "agent/supervise/cgroup_backend.h"
#include "agent/sandbox/launch.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int cgroup_v2_delegate(struct cgroup *c, struct err *e)
{
	int r = cgroup_write(c, c->mount[0], "cgroup.subtree_control", "+memory +cpu +pids");

	if (r == -EBUSY)
		return err_set(
			e, EBUSY,
			"cannot enable the cgroup controllers: the root of the cgroup tree holds processes (inside a "
			"container its manager must move them into a group of their own first)");
	return r < 0 ? err_set(e, -r, "cannot enable the cgroup controllers: %s", strerror(-r)) : 0;
}

static int v2_set(struct cgroup *c, const char *name, const struct quota_limits *l, int *fds, size_t *nfds,
		  struct err *e)
{
	OWN_FD int dir = openat(c->root[0], name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	char cpu[48];
	const char *what = "memory.max";
	int r;

	if (dir < 0)
		return err_errno(e, "cannot open the cgroup %s", name);
	r = cgroup_write_u64(c, dir, what, l->memory);
	if (r == 0) {
		what = "memory.oom.group";
		r = cgroup_write(c, dir, what, "1");
	}
	if (r == 0) {
		/* No swap of its own: quotas are sold as memory.  Kernels without swap have no such file. */
		what = "memory.swap.max";
		r = cgroup_write(c, dir, what, "0");
		if (r == -ENOENT)
			r = 0;
	}
	if (r == 0) {
		what = "cpu.max";
		snprintf(cpu, sizeof cpu, "%" PRIu64 " %u", (uint64_t)l->cpu * CGROUP_CPU_PERIOD_US / 1000,
			 CGROUP_CPU_PERIOD_US);
		r = cgroup_write(c, dir, what, cpu);
	}
	if (r == 0) {
		what = "pids.max";
		r = cgroup_write_u64(c, dir, what, l->pids);
	}
	if (r < 0)
		return err_set(e, -r, "cannot set %s of cgroup %s: %s", what, name, strerror(-r));
	fds[(*nfds)++] = TAKE_FD(dir);
	return 0;
}

static void v2_sample(const struct cgroup *c, const char *name, struct cgroup_sample *ret)
{
	OWN_FD int dir = cgroup_open(c, CGROUP_MEMORY, name);

	ret->memory = cgroup_read_u64(dir, "memory.current");
	ret->memory_peak = cgroup_read_u64(dir, "memory.peak");
	if (ret->memory_peak < ret->memory)
		ret->memory_peak = ret->memory;
	ret->oom_kills = (uint32_t)cgroup_read_key(dir, "memory.events", "oom_kill");
	ret->cpu_us = cgroup_read_key(dir, "cpu.stat", "usage_usec");
	ret->throttled_us = cgroup_read_key(dir, "cpu.stat", "throttled_usec");
	ret->pids = (uint32_t)cgroup_read_u64(dir, "pids.current");
}

static int v2_kill(const struct cgroup *c, const char *name)
{
	OWN_FD int dir = cgroup_open(c, CGROUP_PIDS, name);
	int r = dir < 0 ? dir : cgroup_write(c, dir, "cgroup.kill", "1");

	return r == -ENOENT ? -ENOSYS : r;
}

const struct cgroup_ops cgroup_v2_ops = {"v2", v2_set, v2_sample, v2_kill};
