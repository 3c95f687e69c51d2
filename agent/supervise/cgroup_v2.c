/* cgroup v2: memory, cpu, pids and io in one tree.  Layer agent, supervisor process.
 * Documentation/admin-guide/cgroup-v2 of the kernel; memory.reclaim since 5.19, memory.peak 5.19, cgroup.kill 5.14,
 * cpu.max.burst 5.14. */
#include "agent/sandbox/launch.h"
#include "agent/supervise/cgroup_backend.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define V2_CONTROLLERS "+memory +cpu +pids"

static int v2_fail(int r, const char *what, const char *name, struct err *e)
{
	return err_set(e, -r, "cannot set %s of cgroup %s: %s", what, name, strerror(-r));
}

/* Optional files: kernels without swap, without burst, a disk scheduler without weights. */
static int v2_optional(int r)
{
	return r == -ENOENT || r == -EOPNOTSUPP ? 0 : r;
}

int cgroup_v2_delegate(struct cgroup *c, struct err *e)
{
	OWN_FD int fd = openat(c->mount[0], "cgroup.subtree_control",
			       O_WRONLY | O_CLOEXEC | O_NOFOLLOW | (c->create ? O_CREAT | O_APPEND : 0), 0600);
	static const char text[] = V2_CONTROLLERS;

	if (fd < 0)
		return err_errno(e, "cannot open cgroup.subtree_control");
	if (write(fd, text, sizeof text - 1) < 0)
		return errno == EBUSY ? err_set(e, EBUSY,
						"cannot enable the cgroup controllers: the root of the cgroup tree "
						"holds processes "
						"(inside a container its manager must move them into a group of their "
						"own first)")
				      : err_errno(e, "cannot enable the cgroup controllers");
	if (c->of[CGROUP_IO] >= 0 && write(fd, " +io", 4) < 0)
		c->of[CGROUP_IO] = -1;
	if (c->of[CGROUP_CPUSET] >= 0 && write(fd, " +cpuset", 8) < 0)
		c->of[CGROUP_CPUSET] = -1;
	return 0;
}

/* Makes the controllers available below a group of ours. */
static int v2_pass_on(struct cgroup *c, const char *name)
{
	return cgroup_write(c, CGROUP_MEMORY, name, "cgroup.subtree_control",
			    c->of[CGROUP_IO] >= 0 ? V2_CONTROLLERS " +io" : V2_CONTROLLERS);
}

int cgroup_v2_root(struct cgroup *c, struct err *e)
{
	int r;

	/* The tenants' level has it, the instances' does not need it. */
	if (c->of[CGROUP_CPUSET] >= 0 && cgroup_write(c, CGROUP_CPUSET, ".", "cgroup.subtree_control", "+cpuset") < 0)
		c->of[CGROUP_CPUSET] = -1;
	r = v2_pass_on(c, ".");
	if (r < 0)
		return err_set(e, -r, "cannot enable the controllers of cgroup %s: %s", c->name, strerror(-r));
	r = cgroup_write_u64(c, CGROUP_CPU, ".", "cpu.weight", CGROUP_ROOT_WEIGHT);
	return r < 0 ? v2_fail(r, "cpu.weight", c->name, e) : 0;
}

static int v2_set_memory(struct cgroup *c, const char *name, uint64_t memory, uint64_t swap)
{
	int r = cgroup_write_u64(c, CGROUP_MEMORY, name, "memory.max", memory);

	return r < 0 ? r : v2_optional(cgroup_write_u64(c, CGROUP_MEMORY, name, "memory.swap.max", swap));
}

static int v2_memory(struct cgroup *c, const char *name, uint64_t memory, uint64_t swap)
{
	uint64_t used = cgroup_read_u64(c, CGROUP_MEMORY, name, "memory.current"), left, step;
	int r;

	/* memory.max below what is in use kills when it cannot push enough out; memory.reclaim only tries. */
	if (used <= memory)
		return v2_set_memory(c, name, memory, swap);
	step = used - memory < CGROUP_RECLAIM_STEP ? used - memory : CGROUP_RECLAIM_STEP;
	r = cgroup_write_u64(c, CGROUP_MEMORY, name, "memory.reclaim", step);
	if (r < 0 && r != -EAGAIN)
		return -EBUSY;
	left = cgroup_read_u64(c, CGROUP_MEMORY, name, "memory.current");
	if (left <= memory)
		return v2_set_memory(c, name, memory, swap);
	return left < used ? -EAGAIN : -EBUSY;
}

static int v2_weight(struct cgroup *c, const char *name, uint32_t weight)
{
	int r;

	/* A group of the idle class takes no weight (-EINVAL). */
	if (weight == CGROUP_WEIGHT_IDLE) {
		r = cgroup_write(c, CGROUP_CPU, name, "cpu.idle", "1");
		return r == -ENOENT || r == -EPERM ? cgroup_write_u64(c, CGROUP_CPU, name, "cpu.weight", 1) : r;
	}
	r = v2_optional(cgroup_write(c, CGROUP_CPU, name, "cpu.idle", "0"));
	return r < 0 ? r : cgroup_write_u64(c, CGROUP_CPU, name, "cpu.weight", weight);
}

static int v2_cpu(struct cgroup *c, const char *name, const struct cgroup_numbers *n, bool fresh)
{
	uint64_t us = (uint64_t)n->cpu * CGROUP_CPU_PERIOD_US / 1000;
	uint64_t burst = (uint64_t)n->cpu_burst * CGROUP_CPU_PERIOD_US / 1000;
	char max[48];
	int r = 0;

	/* What is saved up may never be above the quota: away with it while the quota changes. */
	if (!fresh)
		r = v2_optional(cgroup_write(c, CGROUP_CPU, name, "cpu.max.burst", "0"));
	snprintf(max, sizeof max, "%" PRIu64 " %u", us, CGROUP_CPU_PERIOD_US);
	if (r == 0)
		r = cgroup_write(c, CGROUP_CPU, name, "cpu.max", max);
	if (burst > us)
		burst = us;
	if (r == 0 && burst)
		r = v2_optional(cgroup_write_u64(c, CGROUP_CPU, name, "cpu.max.burst", burst));
	if (r == 0 && n->cpu_weight && (!fresh || n->cpu_weight != CGROUP_WEIGHT))
		r = v2_weight(c, name, n->cpu_weight);
	return r;
}

static int v2_io(struct cgroup *c, const char *name, const struct cgroup_numbers *n, bool fresh)
{
	char max[80], rate[2][24] = {"max", "max"};
	int r = 0;

	if (n->io_read)
		snprintf(rate[0], sizeof rate[0], "%" PRIu64, n->io_read);
	if (n->io_write)
		snprintf(rate[1], sizeof rate[1], "%" PRIu64, n->io_write);
	snprintf(max, sizeof max, "rbps=%s wbps=%s", rate[0], rate[1]);
	if (n->io_read || n->io_write || !fresh)
		r = v2_optional(cgroup_write_disks(c, name, "io.max", max)); /* no CONFIG_BLK_DEV_THROTTLING */
	/* io.weight is iocost's, io.bfq.weight is bfq's and ends at 1000. */
	if (r == 0 && (n->io_weight != CGROUP_WEIGHT || !fresh) &&
	    cgroup_write_u64(c, CGROUP_IO, name, "io.weight", n->io_weight) < 0 && !c->create)
		cgroup_write_u64(c, CGROUP_IO, name, "io.bfq.weight", n->io_weight < 1000 ? n->io_weight : 1000);
	return r;
}

static int v2_set(struct cgroup *c, const char *name, const struct cgroup_numbers *n, bool fresh, struct err *e)
{
	int r;

	if (n->tenant && (r = v2_pass_on(c, name)) < 0)
		return v2_fail(r, "cgroup.subtree_control", name, e);
	if (fresh && (r = v2_set_memory(c, name, n->memory, n->swap)) < 0)
		return v2_fail(r, "memory.max", name, e);
	/* An instance dies as a whole; at the tenant's total only one of its instances does. */
	if (!n->tenant && (r = cgroup_write(c, CGROUP_MEMORY, name, "memory.oom.group", "1")) < 0)
		return v2_fail(r, "memory.oom.group", name, e);
	if ((r = v2_cpu(c, name, n, fresh)) < 0)
		return v2_fail(r, "cpu.max", name, e);
	if ((r = cgroup_write_u64(c, CGROUP_PIDS, name, "pids.max", n->pids)) < 0)
		return v2_fail(r, "pids.max", name, e);
	if (c->of[CGROUP_IO] >= 0 && (r = v2_io(c, name, n, fresh)) < 0)
		return v2_fail(r, "io.max", name, e);
	return 0;
}

static int v2_join(struct cgroup *c, const char *tenant, const char *name, int *fds, size_t *nfds, struct err *e)
{
	int fd = cgroup_open(c, CGROUP_MEMORY, name, "", O_RDONLY | O_DIRECTORY);

	(void)tenant;
	if (fd < 0)
		return err_set(e, -fd, "cannot open the cgroup %s: %s", name, strerror(-fd));
	fds[(*nfds)++] = fd;
	return 0;
}

/* Lines of "<major>:<minor> rbytes=1 wbytes=2 …". */
static void v2_sample_io(const struct cgroup *c, const char *name, struct cgroup_sample *ret)
{
	char text[CGROUP_FILE_MAX], *save = NULL;

	ret->io_read = ret->io_write = 0;
	cgroup_read(c, CGROUP_IO, name, "io.stat", text, sizeof text);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		uint64_t r, w;
		if (sscanf(line, "%*u:%*u rbytes=%" SCNu64 " wbytes=%" SCNu64, &r, &w) != 2)
			continue;
		ret->io_read += r;
		ret->io_write += w;
	}
}

static uint64_t v2_memory_used(const struct cgroup *c, const char *name)
{
	return cgroup_read_u64(c, CGROUP_MEMORY, name, "memory.current");
}

static uint64_t v2_cpu_us(const char *text)
{
	return cgroup_key(text, "usage_usec");
}

static uint64_t v2_system_us(const struct cgroup *c, const char *name)
{
	char text[1024];

	cgroup_read(c, CGROUP_CPU, name, "cpu.stat", text, sizeof text);
	return cgroup_key(text, "system_usec");
}

static void v2_sample(const struct cgroup *c, const char *name, bool tenant, unsigned parts, struct cgroup_sample *ret)
{
	char text[1024];

	cgroup_read(c, CGROUP_CPU, name, "cpu.stat", text, sizeof text);
	ret->cpu_us = v2_cpu_us(text);
	ret->periods = (uint32_t)cgroup_key(text, "nr_periods");
	ret->throttled = (uint32_t)cgroup_key(text, "nr_throttled");
	ret->throttled_us = cgroup_key(text, "throttled_usec");
	ret->memory = v2_memory_used(c, name);
	ret->pids = (uint32_t)cgroup_read_u64(c, CGROUP_PIDS, name, "pids.current");
	if (parts & CGROUP_PART_PEAK)
		ret->memory_peak = cgroup_read_u64(c, CGROUP_MEMORY, name, "memory.peak");
	if (ret->memory_peak < ret->memory)
		ret->memory_peak = ret->memory;
	if (parts & CGROUP_PART_HITS) {
		/* The counts of memory.events include what is below; a tenant's own are in the .local file (5.2). */
		cgroup_read(c, CGROUP_MEMORY, name, "memory.events", text, sizeof text);
		ret->oom_kills = (uint32_t)cgroup_key(text, "oom_kill");
		if (tenant) {
			uint32_t own;
			cgroup_read(c, CGROUP_MEMORY, name, "memory.events.local", text, sizeof text);
			own = (uint32_t)cgroup_key(text, "oom");
			if (own < ret->oom_kills)
				ret->oom_kills = own; /* the rest were instances at their own limits */
		}
		ret->memory_hits = (uint32_t)cgroup_key(text, "max");
		ret->above = !tenant && ret->oom_kills && !cgroup_key(text, "oom");
		/* The same of pids, with the .local file of 6.11; before, the group that forked counts. */
		if (!tenant || cgroup_read(c, CGROUP_PIDS, name, "pids.events.local", text, sizeof text) == 0)
			cgroup_read(c, CGROUP_PIDS, name, "pids.events", text, sizeof text);
		ret->pids_hits = (uint32_t)cgroup_key(text, "max");
	}
	if (c->of[CGROUP_IO] >= 0)
		v2_sample_io(c, name, ret);
}

static int v2_kill(const struct cgroup *c, const char *name)
{
	int r = cgroup_write(c, CGROUP_PIDS, name, "cgroup.kill", "1");

	return r == -ENOENT ? -ENOSYS : r;
}

const struct cgroup_ops cgroup_v2_ops = {
	.version = "v2",
	.set = v2_set,
	.weight = v2_weight,
	.cpu = v2_cpu,
	.memory = v2_memory,
	.join = v2_join,
	.sample = v2_sample,
	.memory_used = v2_memory_used,
	.cpu_controller = CGROUP_CPU,
	.cpu_file = "cpu.stat",
	.cpu_us = v2_cpu_us,
	.system_us = v2_system_us,
	.kill = v2_kill,
};
