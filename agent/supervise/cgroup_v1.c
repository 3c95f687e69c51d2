/* cgroup v1: memory, cpu, cpuacct and pids, each in its own hierarchy or mounted together.  Layer agent, supervisor
 * process.  Documentation/admin-guide/cgroup-v1 of the kernel. */
#include "agent/supervise/cgroup_backend.h"
#include "agent/sandbox/launch.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int v1_fail(int r, const char *what, const char *name, struct err *e)
{
	return err_set(e, -r, "cannot set %s of cgroup %s: %s", what, name, strerror(-r));
}

static int v1_set_memory(struct cgroup *c, const char *name, uint64_t bytes, struct err *e)
{
	OWN_FD int dir = cgroup_open(c, CGROUP_MEMORY, name);
	int r;

	if (dir < 0)
		return v1_fail(dir, "memory", name, e);
	r = cgroup_write_u64(c, dir, "memory.limit_in_bytes", bytes);
	/* memory plus swap may not be below memory, so a reused group that shrinks wants them the other way round. */
	if (r == -EBUSY || r == -EINVAL) {
		cgroup_write_u64(c, dir, "memory.memsw.limit_in_bytes", bytes);
		r = cgroup_write_u64(c, dir, "memory.limit_in_bytes", bytes);
	}
	if (r < 0)
		return v1_fail(r, "memory.limit_in_bytes", name, e);
	r = c->create ? 0 : cgroup_write_u64(c, dir, "memory.memsw.limit_in_bytes", bytes);
	/* Kernels without swap accounting have no such file. */
	return r < 0 && r != -ENOENT && r != -EOPNOTSUPP ? v1_fail(r, "memory.memsw.limit_in_bytes", name, e) : 0;
}

static int v1_set_one(struct cgroup *c, enum cgroup_controller k, const char *name, const char *file, uint64_t value,
		      struct err *e)
{
	OWN_FD int dir = cgroup_open(c, k, name);
	int r = dir < 0 ? dir : cgroup_write_u64(c, dir, file, value);

	return r < 0 ? v1_fail(r, file, name, e) : 0;
}

static int v1_set(struct cgroup *c, const char *name, const struct quota_limits *l, int *fds, size_t *nfds,
		  struct err *e)
{
	char tasks[CGROUP_NAME_MAX + 8];
	int r = v1_set_memory(c, name, l->memory, e);

	/* The period is the kernel's default, CGROUP_CPU_PERIOD_US. */
	if (r == 0)
		r = v1_set_one(c, CGROUP_CPU, name, "cpu.cfs_quota_us", (uint64_t)l->cpu * CGROUP_CPU_PERIOD_US / 1000,
			       e);
	if (r == 0)
		r = v1_set_one(c, CGROUP_PIDS, name, "pids.max", l->pids, e);
	/* The sandbox writes "0" into its own tasks files: another process's pid written from here waits 9-17 ms for an
	 * RCU grace period after an idle moment. */
	snprintf(tasks, sizeof tasks, "%s/tasks", name);
	for (unsigned i = 0; i < c->count && r == 0; i++) {
		int fd = openat(c->root[i], tasks, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | c->create, 0600);
		if (fd < 0)
			r = err_errno(e, "cannot open %s of cgroup %s", "tasks", name);
		else
			fds[(*nfds)++] = fd;
	}
	return r;
}

static void v1_sample(const struct cgroup *c, const char *name, struct cgroup_sample *ret)
{
	OWN_FD int memory = cgroup_open(c, CGROUP_MEMORY, name);
	OWN_FD int cpu = cgroup_open(c, CGROUP_CPU, name);
	OWN_FD int acct = cgroup_open(c, CGROUP_CPUACCT, name);
	OWN_FD int pids = cgroup_open(c, CGROUP_PIDS, name);

	ret->memory = cgroup_read_u64(memory, "memory.usage_in_bytes");
	ret->memory_peak = cgroup_read_u64(memory, "memory.max_usage_in_bytes");
	ret->oom_kills = (uint32_t)cgroup_read_key(memory, "memory.oom_control", "oom_kill");
	ret->throttled_us = cgroup_read_key(cpu, "cpu.stat", "throttled_time") / 1000;
	ret->cpu_us = cgroup_read_u64(acct, "cpuacct.usage") / 1000;
	ret->pids = (uint32_t)cgroup_read_u64(pids, "pids.current");
}

static int v1_kill(const struct cgroup *c, const char *name)
{
	(void)c;
	(void)name;
	return -ENOSYS;
}

const struct cgroup_ops cgroup_v1_ops = {"v1", v1_set, v1_sample, v1_kill};
