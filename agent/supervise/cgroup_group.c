/* Control groups of tenants and instances: made, changed, looked at, emptied, removed; all that both versions do alike.
 * Layer agent, supervisor process. */
#include "agent/supervise/cgroup.h"

#include "agent/sandbox/launch.h"
#include "agent/supervise/cgroup_backend.h"
#include "base/fd.h"
#include "base/own.h"
#include "base/parse.h"
#include "base/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CGROUP_IDLE_TURNS 4u /* samples from one reading of an idle group's memory to the next */
#define CGROUP_KILL_CHUNK 64 /* pidfds open at a time */
#define CGROUP_REUSE_STEPS 4 /* of memory, for a group left over: nothing runs in it */

void cgroup_name(uint32_t slot, uint64_t id, char name[CGROUP_NAME_MAX])
{
	if (slot == CGROUP_FLAT)
		snprintf(name, CGROUP_NAME_MAX, "%" PRIu64, id);
	else if (id == CGROUP_TENANT)
		snprintf(name, CGROUP_NAME_MAX, "t%" PRIu32, slot);
	else
		snprintf(name, CGROUP_NAME_MAX, "t%" PRIu32 "/%" PRIu64, slot, id);
}

static struct cgroup_numbers of_tenant(const struct quota *q)
{
	return (struct cgroup_numbers){
		.memory = q->memory,
		.swap = q->swap,
		.io_read = q->io_read,
		.io_write = q->io_write,
		.cpu = q->cpu,
		.cpu_burst = q->cpu_burst,
		.cpu_weight = q->cpu_weight,
		.io_weight = q->io_weight,
		.pids = q->pids,
		.tenant = true,
	};
}

static struct cgroup_numbers of_instance(const struct quota_limits *l)
{
	return (struct cgroup_numbers){
		.memory = l->memory,
		.swap = l->swap,
		.io_read = l->io_read,
		.io_write = l->io_write,
		.cpu = l->cpu,
		.cpu_burst = l->cpu_burst,
		.cpu_weight = l->cpu_weight,
		.io_weight = l->io_weight,
		.pids = l->pids,
	};
}

/* blkio and cpuset of v1 have no groups below the tenant's. */
bool cgroup_of_tenant_only(const struct cgroup *c, unsigned hierarchy)
{
	return !cgroup_is_v2(c) && ((int)hierarchy == c->of[CGROUP_IO] || (int)hierarchy == c->of[CGROUP_CPUSET]);
}

static bool has_level(const struct cgroup *c, unsigned i, uint64_t id)
{
	return id == CGROUP_TENANT || !cgroup_of_tenant_only(c, i);
}

/* Makes the group in each hierarchy: 0 when any was new, 1 when all were there, negative errno. */
static int make_dirs(struct cgroup *c, const char *name, uint64_t id, struct err *e)
{
	int r = 1;

	for (unsigned i = 0; i < c->count; i++) {
		if (!has_level(c, i, id))
			continue;
		if (mkdirat(c->root[i], name, 0755) == 0)
			r = 0;
		else if (errno != EEXIST)
			return err_errno(e, "cannot make the cgroup %s/%s", c->name, name);
	}
	return r;
}

int cgroup_tenant(struct cgroup *c, uint32_t slot, const struct quota *q, struct err *e)
{
	struct cgroup_numbers n = of_tenant(q);
	char name[CGROUP_NAME_MAX];
	int there, r;

	cgroup_name(slot, CGROUP_TENANT, name);
	there = make_dirs(c, name, CGROUP_TENANT, e);
	if (there < 0)
		return there;
	r = cgroup_cpuset_tenant(c, name);
	r = r < 0 ? err_set(e, -r, "cannot set cpuset of cgroup %s: %s", name, strerror(-r))
		  : c->ops->set(c, name, &n, there == 0, e);
	if (r < 0 && there == 0)
		cgroup_tenant_remove(c, slot);
	return r < 0 ? r : there;
}

bool cgroup_tenant_there(const struct cgroup *c, uint32_t slot)
{
	char name[CGROUP_NAME_MAX];

	cgroup_name(slot, CGROUP_TENANT, name);
	for (unsigned i = 0; i < c->count; i++)
		if (faccessat(c->root[i], name, F_OK, 0) < 0)
			return false;
	return true;
}

int cgroup_tenant_remove(struct cgroup *c, uint32_t slot)
{
	return cgroup_remove(c, slot, CGROUP_TENANT);
}

int cgroup_make(struct cgroup *c, uint32_t slot, uint64_t id, const struct quota_limits *l, int *fds, size_t *nfds,
		struct err *e)
{
	struct cgroup_numbers n = of_instance(l);
	char tenant[CGROUP_NAME_MAX], name[CGROUP_NAME_MAX];
	int r;

	cgroup_name(slot, CGROUP_TENANT, tenant);
	cgroup_name(slot, id, name);
	*nfds = 0;
	r = make_dirs(c, name, id, e);
	if (r == 1)
		for (int i = 0; i < CGROUP_REUSE_STEPS && c->ops->memory(c, name, n.memory, n.swap) == -EAGAIN; i++)
			;
	if (r >= 0)
		r = c->ops->set(c, name, &n, r == 0, e);
	if (r == 0)
		r = c->ops->join(c, tenant, name, fds, nfds, e);
	if (r < 0) {
		while (*nfds > 0)
			close(fds[--*nfds]);
		cgroup_remove(c, slot, id);
	}
	return r;
}

int cgroup_change(struct cgroup *c, uint32_t slot, uint64_t id, const struct quota_limits *l, struct err *e)
{
	struct cgroup_numbers n = of_instance(l);
	char name[CGROUP_NAME_MAX];

	cgroup_name(slot, id, name);
	return c->ops->set(c, name, &n, false, e);
}

int cgroup_memory(struct cgroup *c, uint32_t slot, uint64_t id, uint64_t memory, uint64_t swap)
{
	char name[CGROUP_NAME_MAX];

	cgroup_name(slot, id, name);
	return c->ops->memory(c, name, memory, swap);
}

int cgroup_cpu(struct cgroup *c, uint32_t slot, uint64_t id, uint32_t cpu, uint32_t burst, uint32_t weight)
{
	struct cgroup_numbers n = {.cpu = cpu, .cpu_burst = burst, .cpu_weight = weight, .tenant = id == CGROUP_TENANT};
	char name[CGROUP_NAME_MAX];

	cgroup_name(slot, id, name);
	return c->ops->cpu(c, name, &n, false);
}

int cgroup_weight(struct cgroup *c, uint32_t slot, uint64_t id, uint32_t weight)
{
	char name[CGROUP_NAME_MAX];

	cgroup_name(slot, id, name);
	return c->ops->weight(c, name, weight);
}

static bool there(const struct cgroup *c, enum cgroup_controller k, const char *name)
{
	return faccessat(c->root[c->of[k]], name, F_OK, 0) == 0;
}

int cgroup_sample(const struct cgroup *c, uint32_t slot, uint64_t id, struct cgroup_sample *ret)
{
	char name[CGROUP_NAME_MAX];

	cgroup_name(slot, id, name);
	*ret = (struct cgroup_sample){0};
	if (!there(c, CGROUP_MEMORY, name))
		return -ENOENT;
	c->ops->sample(c, name, id == CGROUP_TENANT, CGROUP_PART_ALL, ret);
	return 0;
}

bool cgroup_pids_full(const struct cgroup *c, uint32_t slot, uint64_t id)
{
	char name[CGROUP_NAME_MAX];
	uint64_t most, limit;

	cgroup_name(slot, id, name);
	limit = cgroup_read_u64(c, CGROUP_PIDS, name, "pids.max"); /* 0 for "max" too */
	most = cgroup_read_u64(c, CGROUP_PIDS, name, "pids.peak");
	if (!most)
		most = cgroup_read_u64(c, CGROUP_PIDS, name, "pids.current") + limit / 16;
	return limit && most >= limit;
}

int cgroup_watch(const struct cgroup *c, uint32_t slot, uint64_t id, struct cgroup_watch *w)
{
	static const unsigned parts[] = {CGROUP_PART_PEAK, CGROUP_PART_HITS};
	char name[CGROUP_NAME_MAX], text[1024];
	bool first = w->cpu < 0;
	ssize_t n;
	uint64_t us;

	cgroup_name(slot, id, name);
	if (first)
		w->cpu = cgroup_open(c, c->ops->cpu_controller, name, c->ops->cpu_file, O_RDONLY);
	n = w->cpu < 0 ? -1 : pread(w->cpu, text, sizeof text - 1, 0);
	if (n < 0)
		return cgroup_sample(c, slot, id, &w->last); /* gone, or v1 without cpuacct */
	text[n] = 0;
	us = c->ops->cpu_us(text);
	w->turn++;
	if (first) {
		c->ops->sample(c, name, id == CGROUP_TENANT, CGROUP_PART_ALL, &w->last);
	} else if (us != w->last.cpu_us) {
		c->ops->sample(c, name, id == CGROUP_TENANT, parts[w->turn % ARRAY_LEN(parts)], &w->last);
	} else {
		if (w->turn % CGROUP_IDLE_TURNS == 0)
			w->last.memory = c->ops->memory_used(c, name);
		return 1;
	}
	w->last.cpu_us = us;
	return 0;
}

void cgroup_unwatch(struct cgroup_watch *w)
{
	own_close(&w->cpu);
}

uint32_t cgroup_find(const struct cgroup *c, uint32_t slot, uint64_t id)
{
	char nested[CGROUP_NAME_MAX], flat[CGROUP_NAME_MAX];

	cgroup_name(slot, id, nested);
	cgroup_name(CGROUP_FLAT, id, flat);
	return !there(c, CGROUP_PIDS, nested) && there(c, CGROUP_PIDS, flat) ? CGROUP_FLAT : slot;
}

/* The members of a group as text, one pid a line; owned by the caller.  0 or negative errno. */
static int members(const struct cgroup *c, const char *name, char **ret)
{
	OWN_FD int dir = cgroup_open(c, CGROUP_PIDS, name, "", O_PATH | O_DIRECTORY);

	return dir < 0 ? dir : fd_read_file(dir, "cgroup.procs", CGROUP_LIST_MAX, ret, NULL);
}

static bool members_have(const char *list, pid_t pid)
{
	char word[16];

	snprintf(word, sizeof word, "%d", (int)pid);
	return cgroup_list_has(list, "\n", word);
}

/* The next pid of the list; 0 at its end.  Those outside our pid namespace, which are listed as 0, are passed over. */
static pid_t members_next(const char **list)
{
	while (**list) {
		char *end;
		long pid = strtol(*list, &end, 10);
		if (end == *list)
			return 0;
		*list = *end ? end + 1 : end;
		if (pid > 1)
			return (pid_t)pid;
	}
	return 0;
}

bool cgroup_holds(const struct cgroup *c, uint32_t slot, uint64_t id, pid_t pid)
{
	char name[CGROUP_NAME_MAX];
	OWN_FREE char *list = NULL;

	cgroup_name(slot, id, name);
	return members(c, name, &list) == 0 && members_have(list, pid);
}

int cgroup_members(const struct cgroup *c, uint32_t slot, uint64_t id, void (*fn)(void *arg, pid_t pid), void *arg)
{
	char name[CGROUP_NAME_MAX];
	OWN_FREE char *list = NULL;
	const char *p;
	pid_t pid;
	int r, n = 0;

	cgroup_name(slot, id, name);
	r = members(c, name, &list);
	if (r < 0)
		return r;
	for (p = list; (pid = members_next(&p)); n++)
		fn(arg, pid);
	return n;
}

/* Kills pids[0..n) that are members still after their pidfd was opened: a number that meanwhile went to another process
 * cannot be hit. */
static int kill_chunk(const struct cgroup *c, const char *name, const pid_t *pids, size_t n)
{
	int pidfds[CGROUP_KILL_CHUNK], killed = 0;
	OWN_FREE char *list = NULL;

	for (size_t i = 0; i < n; i++)
		pidfds[i] = sys_pidfd_open(pids[i]);
	if (members(c, name, &list) == 0)
		for (size_t i = 0; i < n; i++)
			if (pidfds[i] >= 0 && members_have(list, pids[i]) && sys_pidfd_kill(pidfds[i], SIGKILL) == 0)
				killed++;
	for (size_t i = 0; i < n; i++)
		own_close(&pidfds[i]);
	return killed;
}

int cgroup_kill(const struct cgroup *c, uint32_t slot, uint64_t id)
{
	char name[CGROUP_NAME_MAX];
	OWN_FREE char *list = NULL;
	pid_t pids[CGROUP_KILL_CHUNK];
	const char *p;
	size_t n = 0;
	int r, killed = 0;

	cgroup_name(slot, id, name);
	r = members(c, name, &list);
	if (r < 0 || !*list)
		return r == -ENOENT ? 0 : r;
	if (c->ops->kill(c, name) == 0)
		return 1;
	for (p = list; (pids[n] = members_next(&p));) {
		if (++n < ARRAY_LEN(pids))
			continue;
		killed += kill_chunk(c, name, pids, n);
		n = 0;
	}
	return killed + (n ? kill_chunk(c, name, pids, n) : 0);
}

int cgroup_remove(struct cgroup *c, uint32_t slot, uint64_t id)
{
	char name[CGROUP_NAME_MAX];
	int r = 0;

	cgroup_name(slot, id, name);
	for (unsigned i = 0; i < c->count; i++)
		if (has_level(c, i, id) && unlinkat(c->root[i], name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			r = errno == ENOTEMPTY ? -EBUSY : -errno;
	return r;
}

/* Calls fn for the groups in one directory: instances named by their number, and tenants ("t" and the slot) when slot
 * is CGROUP_FLAT, each behind its instances. */
static int each_in(int root, const char *name, uint32_t slot, void (*fn)(void *arg, uint32_t slot, uint64_t id),
		   void *arg)
{
	int fd = openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	OWN_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!d) {
		int r = -errno;
		own_close(&fd);
		return r;
	}
	while ((de = readdir(d))) {
		uint64_t n;
		if (de->d_type != DT_DIR)
			continue;
		if (parse_u64(de->d_name, strlen(de->d_name), 1, UINT64_MAX, "", &n, NULL) == 0) {
			fn(arg, slot, n);
		} else if (slot == CGROUP_FLAT && de->d_name[0] == 't' &&
			   parse_u64(de->d_name + 1, strlen(de->d_name + 1), 0, LIMIT_TENANTS - 1, "", &n, NULL) == 0) {
			each_in(fd, de->d_name, (uint32_t)n, fn, arg);
			fn(arg, (uint32_t)n, CGROUP_TENANT);
		}
	}
	return 0;
}

int cgroup_each(const struct cgroup *c, void (*fn)(void *arg, uint32_t slot, uint64_t id), void *arg)
{
	for (unsigned i = 0; i < c->count; i++) {
		int r = each_in(c->root[i], ".", CGROUP_FLAT, fn, arg);
		if (r < 0)
			return r;
	}
	return 0;
}
