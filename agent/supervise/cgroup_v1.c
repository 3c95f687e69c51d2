/* cgroup v1: memory, cpu, cpuacct, pids and blkio, each in its own hierarchy or (all but blkio) mounted together. Layer
 * agent, supervisor process.  Documentation/admin-guide/cgroup-v1 of the kernel.
 *
 * Unlike v2, a group's CPU quota may not be above its parent's (EINVAL from either side: __cfs_schedulable() of the
 * kernel's sched/core.c), so an instance's is cut to its tenant's.  cpu.cfs_burst_us since 5.14. */
#include "agent/sandbox/launch.h"
#include "agent/supervise/cgroup_backend.h"
#include "base/fd.h"
#include "base/own.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define V1_SOCKETS_PART 8	    /* of the memory limit, beside it */
#define V1_SOCKETS_MIN (4ull << 20) /* 60 busy connections of 64 KiB */

static int v1_fail(int r, const char *what, const char *name, struct err *e)
{
	return err_set(e, -r, "cannot set %s of cgroup %s: %s", what, name, strerror(-r));
}

/* Kernels without swap accounting have no such file. */
static int v1_set_memsw(struct cgroup *c, const char *name, uint64_t bytes)
{
	int r = cgroup_write_u64(c, CGROUP_MEMORY, name, "memory.memsw.limit_in_bytes", bytes);

	return r == -ENOENT || r == -EOPNOTSUPP ? 0 : r;
}

static int v1_set_memory(struct cgroup *c, const char *name, uint64_t memory, uint64_t both)
{
	int r = cgroup_write_u64(c, CGROUP_MEMORY, name, "memory.limit_in_bytes", memory);

	/* Memory may not be above memory and swap together, so a limit that is raised wants them the other way round.
	 */
	if (r == -EINVAL) {
		r = v1_set_memsw(c, name, both);
		if (r == 0)
			r = cgroup_write_u64(c, CGROUP_MEMORY, name, "memory.limit_in_bytes", memory);
	}
	return r < 0 ? r : v1_set_memsw(c, name, both);
}

static int v1_memory(struct cgroup *c, const char *name, uint64_t memory, uint64_t swap)
{
	uint64_t used = cgroup_read_u64(c, CGROUP_MEMORY, name, "memory.usage_in_bytes");
	int r;

	/* The write itself pushes out what is above it, and returns when that is done. */
	if (used > memory && used - memory > CGROUP_RECLAIM_STEP) {
		r = cgroup_write_u64(c, CGROUP_MEMORY, name, "memory.limit_in_bytes", used - CGROUP_RECLAIM_STEP);
		return r < 0 ? r : -EAGAIN;
	}
	return v1_set_memory(c, name, memory, memory + swap + CGROUP_V1_SPARE);
}

static int v1_quota(struct cgroup *c, const char *name, uint64_t us)
{
	return cgroup_write_u64(c, CGROUP_CPU, name, "cpu.cfs_quota_us", us);
}

static int v1_burst(struct cgroup *c, const char *name, uint64_t us)
{
	int r = cgroup_write_u64(c, CGROUP_CPU, name, "cpu.cfs_burst_us", us);

	return r == -ENOENT ? 0 : r;
}

/* Lowers the CPU quota of the groups below to us. */
static void v1_cut_below(struct cgroup *c, const char *name, uint64_t us)
{
	int fd = cgroup_open(c, CGROUP_CPU, name, "", O_RDONLY | O_DIRECTORY);
	OWN_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!d) {
		own_close(&fd);
		return;
	}
	while ((de = readdir(d))) {
		char below[CGROUP_NAME_MAX + 2 * NAME_MAX], text[32];
		uint64_t burst;
		if (de->d_type != DT_DIR || de->d_name[0] == '.')
			continue;
		if (snprintf(below, sizeof below, "%s/%s", name, de->d_name) >= CGROUP_NAME_MAX)
			continue; /* none of ours */
		cgroup_read(c, CGROUP_CPU, below, "cpu.cfs_quota_us", text, sizeof text);
		if (text[0] == '-' || strtoull(text, NULL, 10) <= us)
			continue;
		burst = cgroup_read_u64(c, CGROUP_CPU, below, "cpu.cfs_burst_us");
		v1_burst(c, below, 0);
		v1_quota(c, below, us);
		v1_burst(c, below, burst < us ? burst : us);
	}
}

/* The quota of the group above, 0 when it has none. */
static uint64_t v1_quota_above(const struct cgroup *c, const char *name)
{
	char above[CGROUP_NAME_MAX], text[32];
	const char *slash = strchr(name, '/');

	if (!slash)
		return 0;
	snprintf(above, sizeof above, "%.*s", (int)(slash - name), name);
	cgroup_read(c, CGROUP_CPU, above, "cpu.cfs_quota_us", text, sizeof text);
	return text[0] == '-' ? 0 : strtoull(text, NULL, 10);
}

static int v1_weight(struct cgroup *c, const char *name, uint32_t weight)
{
	uint64_t shares = (uint64_t)weight * 1024 / CGROUP_WEIGHT;
	int r;

	/* A group of the idle class takes no shares (-EINVAL). */
	if (weight == CGROUP_WEIGHT_IDLE) {
		r = cgroup_write(c, CGROUP_CPU, name, "cpu.idle", "1");
		return r == -ENOENT || r == -EPERM ? cgroup_write_u64(c, CGROUP_CPU, name, "cpu.shares", 2) : r;
	}
	r = cgroup_write(c, CGROUP_CPU, name, "cpu.idle", "0");
	if (r < 0 && r != -ENOENT && r != -EPERM)
		return r;
	return cgroup_write_u64(c, CGROUP_CPU, name, "cpu.shares", shares < 2 ? 2 : shares > 262144 ? 262144 : shares);
}

static int v1_cpu(struct cgroup *c, const char *name, const struct cgroup_numbers *n, bool fresh)
{
	/* The period is the kernel's default, CGROUP_CPU_PERIOD_US. */
	uint64_t us = (uint64_t)n->cpu * CGROUP_CPU_PERIOD_US / 1000;
	uint64_t burst = (uint64_t)n->cpu_burst * CGROUP_CPU_PERIOD_US / 1000;
	int r = 0;

	/* What is saved up may never be above the quota: away with it while the quota changes. */
	if (!fresh)
		r = v1_burst(c, name, 0);
	if (r == 0)
		r = v1_quota(c, name, us);
	if (r == -EINVAL && n->tenant) {
		v1_cut_below(c, name, us);
		r = v1_quota(c, name, us);
	} else if (r == -EINVAL) {
		uint64_t above = v1_quota_above(c, name);
		if (above && above < us) {
			us = above;
			r = v1_quota(c, name, us);
		}
	}
	if (burst > us)
		burst = us;
	if (r == 0 && burst)
		r = v1_burst(c, name, burst);
	if (r == 0 && n->cpu_weight && (!fresh || n->cpu_weight != CGROUP_WEIGHT))
		r = v1_weight(c, name, n->cpu_weight);
	return r;
}

/* Only a tenant has a group of blkio.  bfq's weight counts where that is the disk's scheduler, and ends at 1000. */
static int v1_io(struct cgroup *c, const char *name, const struct cgroup_numbers *n, bool fresh)
{
	char rate[24];
	int r = 0;

	if (n->io_read || !fresh) {
		snprintf(rate, sizeof rate, "%" PRIu64, n->io_read);
		r = cgroup_write_disks(c, name, "blkio.throttle.read_bps_device", rate);
	}
	if (r == 0 && (n->io_write || !fresh)) {
		snprintf(rate, sizeof rate, "%" PRIu64, n->io_write);
		r = cgroup_write_disks(c, name, "blkio.throttle.write_bps_device", rate);
	}
	if (r == 0 && (n->io_weight != CGROUP_WEIGHT || !fresh))
		cgroup_write_u64(c, CGROUP_IO, name, "blkio.bfq.weight", n->io_weight < 1000 ? n->io_weight : 1000);
	return r;
}

/* Buffers of TCP and UDP sockets are not in memory.usage_in_bytes here: they have a counter of their own, which counts
 * from the first limit on (Documentation/admin-guide/cgroup-v1/memory.rst, 2.7).  Without one a few hundred connections
 * hold gigabytes of the host's, and bring everybody's TCP under pressure. */
static int v1_sockets(struct cgroup *c, const char *name, uint64_t memory)
{
	uint64_t bytes = memory / V1_SOCKETS_PART > V1_SOCKETS_MIN ? memory / V1_SOCKETS_PART : V1_SOCKETS_MIN;
	int r = cgroup_write_u64(c, CGROUP_MEMORY, name, "memory.kmem.tcp.limit_in_bytes", bytes);

	/* EBUSY: more is in use; what comes on top is refused all the same by the old limit. */
	return r == -ENOENT || r == -EOPNOTSUPP || r == -EBUSY ? 0 : r;
}

static int v1_set(struct cgroup *c, const char *name, const struct cgroup_numbers *n, bool fresh, struct err *e)
{
	int r;

	if ((r = v1_sockets(c, name, n->memory)) < 0)
		return v1_fail(r, "memory.kmem.tcp", name, e);
	if (fresh && (r = v1_set_memory(c, name, n->memory, n->memory + n->swap + CGROUP_V1_SPARE)) < 0)
		return v1_fail(r, "memory", name, e);
	if ((r = v1_cpu(c, name, n, fresh)) < 0)
		return v1_fail(r, "cpu", name, e);
	if ((r = cgroup_write_u64(c, CGROUP_PIDS, name, "pids.max", n->pids)) < 0)
		return v1_fail(r, "pids.max", name, e);
	if (n->tenant && c->of[CGROUP_IO] >= 0 && (r = v1_io(c, name, n, fresh)) < 0)
		return v1_fail(r, "blkio.throttle", name, e);
	return 0;
}

static int v1_join(struct cgroup *c, const char *tenant, const char *name, int *fds, size_t *nfds, struct err *e)
{
	/* The sandbox writes "0" into its own tasks files: another process's pid written from here waits 9-17 ms for an
	 * RCU grace period after an idle moment. */
	for (unsigned i = 0; i < c->count; i++) {
		char tasks[CGROUP_NAME_MAX + 8];
		int fd;
		snprintf(tasks, sizeof tasks, "%s/tasks", cgroup_of_tenant_only(c, i) ? tenant : name);
		fd = openat(c->root[i], tasks, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | c->create, 0600);
		if (fd < 0)
			return err_errno(e, "cannot open tasks of cgroup %s", name);
		fds[(*nfds)++] = fd;
	}
	return 0;
}

/* Lines of "<major>:<minor> Read <bytes>" and the same with Write. */
static void v1_sample_io(const struct cgroup *c, const char *name, struct cgroup_sample *ret)
{
	char text[CGROUP_FILE_MAX], *save = NULL, kind[16];
	uint64_t n;

	ret->io_read = ret->io_write = 0;
	cgroup_read(c, CGROUP_IO, name, "blkio.throttle.io_service_bytes", text, sizeof text);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "%*u:%*u %15s %" SCNu64, kind, &n) != 2)
			continue;
		if (strcmp(kind, "Read") == 0)
			ret->io_read += n;
		else if (strcmp(kind, "Write") == 0)
			ret->io_write += n;
	}
}

static uint64_t v1_memory_used(const struct cgroup *c, const char *name)
{
	return cgroup_read_u64(c, CGROUP_MEMORY, name, "memory.usage_in_bytes");
}

static uint64_t v1_cpu_us(const char *text)
{
	return strtoull(text, NULL, 10) / 1000;
}

/* The kernel counts a stretch of time as what its end was in (cpuacct_charge() of kernel/sched/cpuacct.c), so this is
 * too much for one that sleeps often. */
static uint64_t v1_system_us(const struct cgroup *c, const char *name)
{
	return cgroup_read_u64(c, CGROUP_CPUACCT, name, "cpuacct.usage_sys") / 1000;
}

/* A group without swap meets the limit of memory and swap together first, which has a counter of its own. */
static uint32_t v1_memory_hits(const struct cgroup *c, const char *name)
{
	return (uint32_t)(cgroup_read_u64(c, CGROUP_MEMORY, name, "memory.failcnt") +
			  cgroup_read_u64(c, CGROUP_MEMORY, name, "memory.memsw.failcnt"));
}

static void v1_sample(const struct cgroup *c, const char *name, bool tenant, unsigned parts, struct cgroup_sample *ret)
{
	char text[512];

	ret->cpu_us = cgroup_read_u64(c, CGROUP_CPUACCT, name, "cpuacct.usage") / 1000;
	ret->memory = v1_memory_used(c, name);
	cgroup_read(c, CGROUP_CPU, name, "cpu.stat", text, sizeof text);
	ret->periods = (uint32_t)cgroup_key(text, "nr_periods");
	ret->throttled = (uint32_t)cgroup_key(text, "nr_throttled");
	ret->throttled_us = cgroup_key(text, "throttled_time") / 1000;
	ret->pids = (uint32_t)cgroup_read_u64(c, CGROUP_PIDS, name, "pids.current");
	if (parts & CGROUP_PART_PEAK) {
		ret->memory_peak = cgroup_read_u64(c, CGROUP_MEMORY, name, "memory.max_usage_in_bytes");
		ret->memory_hits = v1_memory_hits(c, name);
	}
	if (parts & CGROUP_PART_HITS) {
		/* Counts at the group that forked, at whatever level the limit was. */
		cgroup_read(c, CGROUP_PIDS, name, "pids.events", text, sizeof text);
		ret->pids_hits = (uint32_t)cgroup_key(text, "max");
	}
	if (tenant) {
		v1_sample_io(c, name, ret);
	} else if (parts & CGROUP_PART_HITS) {
		uint32_t kills;
		cgroup_read(c, CGROUP_MEMORY, name, "memory.oom_control", text, sizeof text);
		kills = (uint32_t)cgroup_key(text, "oom_kill");
		/* Read in another turn it could be from before the kill, which would then look like another level's. */
		if (kills != ret->oom_kills)
			ret->memory_hits = v1_memory_hits(c, name);
		ret->oom_kills = kills;
	}
	ret->above = ret->oom_kills && !ret->memory_hits;
}

static int v1_kill(const struct cgroup *c, const char *name)
{
	(void)c;
	(void)name;
	return -ENOSYS;
}

int cgroup_v1_root(struct cgroup *c, struct err *e)
{
	int r;

	/* New groups inherit it.  A release agent runs as root for a group that becomes empty. */
	for (unsigned i = 0; i < c->count && !c->create; i++)
		if ((r = fd_write_file(c->root[i], "notify_on_release", "0")) < 0)
			return v1_fail(r, "notify_on_release", c->name, e);
	r = cgroup_write_u64(c, CGROUP_CPU, ".", "cpu.shares", CGROUP_ROOT_WEIGHT * 1024 / CGROUP_WEIGHT);
	return r < 0 ? v1_fail(r, "cpu.shares", c->name, e) : 0;
}

const struct cgroup_ops cgroup_v1_ops = {
	.version = "v1",
	.set = v1_set,
	.weight = v1_weight,
	.cpu = v1_cpu,
	.memory = v1_memory,
	.join = v1_join,
	.sample = v1_sample,
	.memory_used = v1_memory_used,
	.cpu_controller = CGROUP_CPUACCT,
	.cpu_file = "cpuacct.usage",
	.cpu_us = v1_cpu_us,
	.system_us = v1_system_us,
	.kill = v1_kill,
};
