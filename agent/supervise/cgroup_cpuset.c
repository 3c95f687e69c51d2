/* Which CPUs tenants may use: cpuset(7) of v1, "Cpuset" of Documentation/admin-guide/cgroup-v2 of the kernel.  Layer
 * agent, supervisor process. */
#include "agent/supervise/cgroup_backend.h"
#include "scheduler/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CPUSET_CPUS (CGROUP_CLEAR_MAX * CONFINE_CLEAR_PART) /* more than these have no confined */

/* The CPUs of a list as "0-3,8", in order; their number, or 0 when it is none that we understand. */
static unsigned cpus_parse(const char *text, unsigned short cpus[CPUSET_CPUS])
{
	unsigned n = 0;

	while (*text && *text != '\n') {
		char *end;
		unsigned long from = strtoul(text, &end, 10), to = from;
		if (end == text)
			return 0;
		if (*end == '-')
			to = strtoul(text = end + 1, &end, 10);
		if (end == text || to < from || to >= CPUSET_CPUS)
			return 0;
		for (unsigned long k = from; k <= to && n < CPUSET_CPUS; k++)
			cpus[n++] = (unsigned short)k;
		text = end + (*end == ',');
	}
	return n;
}

/* cpus[from..n) as a list; false when it does not fit. */
static bool cpus_print(const unsigned short *cpus, unsigned from, unsigned n, char out[CGROUP_CPUS_MAX])
{
	size_t at = 0;

	while (from < n) {
		unsigned last = from;
		int w;
		while (last + 1 < n && cpus[last + 1] == cpus[last] + 1)
			last++;
		w = last == from ? snprintf(out + at, CGROUP_CPUS_MAX - at, "%s%u", at ? "," : "", cpus[from])
				 : snprintf(out + at, CGROUP_CPUS_MAX - at, "%s%u-%u", at ? "," : "", cpus[from],
					    cpus[last]);
		if (w < 0 || (size_t)w >= CGROUP_CPUS_MAX - at)
			return false;
		at += (size_t)w;
		from = last + 1;
	}
	return at > 0;
}

/* Our root of v1 gets what the mount has: a group without CPUs takes no tasks. */
static bool cpuset_v1_root(struct cgroup *c, char *cpus, size_t cap)
{
	char *mems = c->mems;
	int k = c->of[CGROUP_CPUSET], fd[2];
	ssize_t n[2];

	fd[0] = openat(c->mount[k], "cpuset.cpus", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	fd[1] = openat(c->mount[k], "cpuset.mems", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	n[0] = fd[0] < 0 ? -1 : read(fd[0], cpus, cap - 1);
	n[1] = fd[1] < 0 ? -1 : read(fd[1], mems, sizeof c->mems - 1);
	for (unsigned i = 0; i < 2; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	if (n[0] <= 0 || n[1] <= 0)
		return false;
	cpus[n[0]] = mems[n[1]] = 0;
	return cgroup_write(c, CGROUP_CPUSET, ".", "cpuset.cpus", cpus) == 0 &&
	       cgroup_write(c, CGROUP_CPUSET, ".", "cpuset.mems", mems) == 0;
}

/* Takes a hierarchy of v1 that is of no use out of those that instances join. */
static void cpuset_leave(struct cgroup *c)
{
	int k = c->of[CGROUP_CPUSET], last = (int)c->count - 1;

	c->of[CGROUP_CPUSET] = -1;
	c->clear_count = 0;
	if (cgroup_is_v2(c))
		return;
	unlinkat(c->mount[k], c->name, AT_REMOVEDIR);
	close(c->mount[k]);
	close(c->root[k]);
	c->mount[k] = c->mount[last];
	c->root[k] = c->root[last];
	c->mount[last] = c->root[last] = -1;
	for (unsigned i = 0; i < CGROUP_CONTROLLER_COUNT; i++)
		if (c->of[i] == last)
			c->of[i] = k;
	c->count--;
}

void cgroup_cpuset_root(struct cgroup *c)
{
	unsigned short cpus[CPUSET_CPUS];
	char text[CGROUP_CPUS_MAX] = "";
	unsigned n, clear;

	if (c->of[CGROUP_CPUSET] < 0)
		return;
	if (cgroup_is_v2(c))
		cgroup_read(c, CGROUP_CPUSET, ".", "cpuset.cpus.effective", text, sizeof text);
	else if (!cpuset_v1_root(c, text, sizeof text))
		text[0] = 0;
	n = cpus_parse(text, cpus);
	clear = confine_clear(n);
	if (clear == 0 || !cpus_print(cpus, 0, n, c->cpus[CGROUP_CPUS_ALL]) ||
	    !cpus_print(cpus, clear, n, c->cpus[CGROUP_CPUS_CONFINED]) ||
	    !cpus_print(cpus, 0, clear, c->cpus[CGROUP_CPUS_CLEAR])) {
		cpuset_leave(c);
		return;
	}
	c->clear_count = clear;
	memcpy(c->clear, cpus, clear * sizeof *cpus);
}

int cgroup_cpuset_tenant(struct cgroup *c, const char *name)
{
	char text[CGROUP_CPUS_MAX];
	int r;

	/* One that has some is in use; without, we ended before it was filled. */
	if (!cgroup_can_confine(c) || cgroup_is_v2(c) ||
	    cgroup_read(c, CGROUP_CPUSET, name, "cpuset.cpus", text, sizeof text) > 1)
		return 0;
	/* While it has no CPUs: with the flag each change of them, and its end, has the host's scheduling domains built
	 * anew (rebuild_sched_domains() of kernel/cgroup/cpuset.c).  They are the root group's all the same. */
	if ((r = cgroup_write(c, CGROUP_CPUSET, name, "cpuset.sched_load_balance", "0")) < 0 ||
	    (r = cgroup_write(c, CGROUP_CPUSET, name, "cpuset.mems", c->mems)) < 0)
		return r;
	return cgroup_write(c, CGROUP_CPUSET, name, "cpuset.cpus", c->cpus[CGROUP_CPUS_ALL]);
}

bool cgroup_can_confine(const struct cgroup *c)
{
	return c->of[CGROUP_CPUSET] >= 0;
}

const unsigned short *cgroup_clear(const struct cgroup *c, unsigned *n)
{
	*n = c->clear_count;
	return c->clear;
}

int cgroup_cpus(struct cgroup *c, uint32_t slot, enum cgroup_cpus which)
{
	char name[CGROUP_NAME_MAX];

	if (!cgroup_can_confine(c))
		return -EOPNOTSUPP;
	cgroup_name(slot, CGROUP_TENANT, name);
	/* A tenant that an earlier version started has none of v1 yet; its later instances join it. */
	if (!cgroup_is_v2(c)) {
		if (mkdirat(c->root[c->of[CGROUP_CPUSET]], name, 0755) == 0)
			cgroup_cpuset_tenant(c, name);
		else if (errno != EEXIST)
			return -errno;
	}
	/* v2: an empty list is all of the group above, also when that gets more.  Of a group with processes only later
	 * kernels take it (ENOSPC before: validate_change() of Linux 6.1's kernel/cgroup/cpuset.c). */
	if (which == CGROUP_CPUS_ALL && cgroup_is_v2(c)) {
		int r = cgroup_write(c, CGROUP_CPUSET, name, "cpuset.cpus", "\n");
		if (r != -ENOSPC)
			return r;
	}
	return cgroup_write(c, CGROUP_CPUSET, name, "cpuset.cpus", c->cpus[which]);
}

int cgroup_cpus_set(struct cgroup *c, uint32_t slot, enum cgroup_cpus which, struct cgroup_cpus_late *l)
{
	int r = cgroup_cpus(c, slot, which);

	if (r == -EOPNOTSUPP || (r < 0 && which == CGROUP_CPUS_CLEAR))
		return r;
	l->which = which;
	l->late = r < 0;
	return r;
}

int cgroup_cpus_again(struct cgroup *c, uint32_t slot, struct cgroup_cpus_late *l)
{
	return !l->late ? 0 : cgroup_cpus_set(c, slot, l->which, l);
}

uint64_t cgroup_system_us(const struct cgroup *c, uint32_t slot)
{
	char name[CGROUP_NAME_MAX];

	cgroup_name(slot, CGROUP_TENANT, name);
	return c->ops->system_us(c, name);
}

uint64_t cgroup_system_us_all(const struct cgroup *c)
{
	return c->ops->system_us(c, ".");
}
