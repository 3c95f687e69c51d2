/* What belongs to no single instance: groups, records, interfaces, mounts, stray processes, rules.  Layer agent,
 * supervisor process. */
#include "agent/supervise/fsck.h"

#include "agent/supervise/instance.h"
#include "base/fd.h"
#include "base/own.h"
#include "base/parse.h"
#include "base/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOUNTINFO_MAX (8u << 20)
#define STRAYS_MAX 100 /* told; more would say no more */
#define STRAY_AGE_S 10 /* a sandbox that is just being built joins its groups within milliseconds */

static const struct instance *find(const struct fsck *f, uint64_t id)
{
	return map_get(f->s->by_id, &id, sizeof id);
}

static void on_record(void *arg, uint64_t id)
{
	struct fsck *f = arg;

	if (!find(f, id))
		fsck_tell(f, "record", id, f->repair && record_remove(f->s->instances_dir, id) == 0,
			  "the runtime folder of instance %" PRIu64 " was left behind", id);
}

/* --- groups ---------------------------------------------------------------------------------------------------------
 */

static void on_group(void *arg, uint32_t slot, uint64_t id)
{
	struct fsck *f = arg;
	const struct instance *in = id == CGROUP_TENANT ? NULL : find(f, id);
	const struct tenant *t = id == CGROUP_TENANT ? tenant_get(f->s, slot) : NULL;

	if ((in && in->slot == slot) || (t && t->living))
		return;
	if (f->repair)
		cgroup_kill(f->s->cgroup, slot, id);
	if (id == CGROUP_TENANT)
		fsck_tell(f, "cgroup", 0, f->repair && cgroup_tenant_remove(f->s->cgroup, slot) == 0,
			  "the control group of tenant slot %u was left behind", slot);
	else /* what was just killed leaves its group a moment later: the next run finds it gone or still there */
		fsck_tell(f, "cgroup", id, f->repair && cgroup_remove(f->s->cgroup, slot, id) == 0,
			  "the control group %" PRIu64 " of tenant slot %u belongs to no instance", id, slot);
}

static void check_tenants(struct fsck *f)
{
	const struct tenant *t = NULL;

	TAILQ_FOREACH(t, &f->s->tenants_living, link)
	{
		const struct quota *q = &t->quota;
		struct quota_limits want = {
			.memory = q->memory + t->lent, .swap = q->swap + t->lent_swap, .cpu = q->cpu, .pids = q->pids};
		struct err e = {0};
		char text[120];
		if (!t->told || t->shrinking)
			continue;
		if (cgroup_compare(f->s->cgroup, t->slot, CGROUP_TENANT, &want, text, sizeof text) != 1)
			continue;
		fsck_tell(f, "cgroup", 0, f->repair && tenant_tell(f->s, t->tenant, t->slot, q, &e) == 0,
			  "the control group of tenant slot %u: %s", t->slot, text);
	}
}

/* --- interfaces -----------------------------------------------------------------------------------------------------
 */

struct link_walk {
	struct fsck *f;
	char names[64][IFNAMSIZ];
	unsigned count;
};

static bool on_link(void *arg, const char *name)
{
	struct link_walk *w = arg;
	const struct instance *in = NULL;

	TAILQ_FOREACH(in, &w->f->s->living, link)
	{
		if (strcmp(in->rec.link, name) == 0)
			return true;
	}
	/* Noted first and told later: a repair deletes what this refuses. */
	if (w->count < ARRAY_LEN(w->names))
		snprintf(w->names[w->count++], IFNAMSIZ, "%s", name);
	return !w->f->repair;
}

static void check_links(struct fsck *f)
{
	struct link_walk w = {.f = f};

	net_links_sweep(&f->s->net, on_link, &w);
	for (unsigned i = 0; i < w.count; i++)
		fsck_tell(f, "link", 0, f->repair && if_nametoindex(w.names[i]) == 0,
			  "the interface %s belongs to no instance", w.names[i]);
}

/* --- mounts ---------------------------------------------------------------------------------------------------------
 */

/* Instances' mounts are in their own namespaces: the host's table shows none of ours but the pool of the disk and
 * what private.c mounts for tenants. */
static void check_mounts(struct fsck *f)
{
	OWN_FREE char *text = NULL;
	const struct settings *s = &f->s->settings;
	char pool[240], private[240], *save = NULL;

	if (fd_read_file(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &text, NULL) < 0)
		return;
	snprintf(pool, sizeof pool, "%s/pool", s->data);
	snprintf(private, sizeof private, "%s/private/mounts/", s->data);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char path[512] = "";
		size_t d = strlen(s->data), r = strlen(s->runtime);
		if (sscanf(line, "%*d %*d %*s %*s %511s", path) != 1 || strcmp(path, pool) == 0)
			continue;
		if (strncmp(path, private, strlen(private)) == 0)
			continue;
		if ((strncmp(path, s->data, d) == 0 && path[d] == '/') ||
		    (strncmp(path, s->runtime, r) == 0 && path[r] == '/'))
			fsck_tell(f, "mount", 0, false, "%s is mounted, and not by this node: umount it", path);
	}
}

/* --- processes ------------------------------------------------------------------------------------------------------
 */

/* The first uid of a process, UINT32_MAX when it is gone. */
static uint32_t uid_of(int proc, const char *pid)
{
	OWN_FREE char *text = NULL;
	char path[32];
	const char *p;
	unsigned uid;

	snprintf(path, sizeof path, "%.10s/status", pid);
	if (fd_read_file(proc, path, 16384, &text, NULL) < 0)
		return UINT32_MAX;
	p = strstr(text, "\nUid:");
	return p && sscanf(p + 5, "%u", &uid) == 1 ? uid : UINT32_MAX;
}

static bool is_old(pid_t pid)
{
	uint64_t started = proc_start_time(pid), hz = (uint64_t)sysconf(_SC_CLK_TCK);
	struct timespec now = {0};

	clock_gettime(CLOCK_BOOTTIME, &now); /* what proc(5) counts starts from */
	return started && (uint64_t)now.tv_sec >= started / hz + STRAY_AGE_S;
}

/* Processes with a tenant's user id that are in no group of this node.  Other nodes of this host may use the same ids:
 * theirs are in groups of their own, and are left alone. */
static void check_strays(struct fsck *f)
{
	const struct settings *s = &f->s->settings;
	uint64_t end = (uint64_t)s->uid_base + (uint64_t)LIMIT_TENANTS * LIMIT_UID_RANGE;
	int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	OWN_DIR DIR *d = proc < 0 ? NULL : fdopendir(proc);
	unsigned told = 0;
	struct dirent *de;

	while (d && told < STRAYS_MAX && (de = readdir(d))) {
		OWN_FREE char *groups = NULL;
		char path[32];
		uint64_t pid;
		uint32_t uid;
		if (parse_u64(de->d_name, strlen(de->d_name), 1, INT32_MAX, "", &pid, NULL) < 0)
			continue;
		uid = uid_of(proc, de->d_name);
		if (uid < s->uid_base || uid >= end)
			continue;
		snprintf(path, sizeof path, "%.10s/cgroup", de->d_name);
		if (fd_read_file(proc, path, 16384, &groups, NULL) < 0)
			continue;
		/* "4:memory:/tulou/t3/17": in some hierarchy it is in a group, ours or another node's. */
		if (strstr(groups, ":memory:/\n") == NULL && strstr(groups, "0::/\n") == NULL)
			continue;
		if (strstr(groups, ":memory:/\n") == NULL && strstr(groups, ":memory:") != NULL)
			continue; /* v1: the empty v2 tree beside it says "0::/" for everybody */
		if (!is_old((pid_t)pid) || proc_exiting((pid_t)pid))
			continue;
		told++;
		fsck_tell(f, "process", 0, false,
			  "process %" PRIu64 " has a tenant's user id %u but is in no control group", pid, uid);
	}
	if (!d)
		own_close(&proc);
}

/* --- trees and skeletons --------------------------------------------------------------------------------------------
 */

static bool tree_busy(void *arg, uint64_t object)
{
	const struct fsck *f = arg;
	const struct instance *in = NULL;

	TAILQ_FOREACH(in, &f->s->living, link)
	{
		if (in->rec.m.kind == MSG_KIND_STORE && in->rec.m.object == object)
			return true;
	}
	return !f->repair; /* looking only: nothing is renamed */
}

static void on_leftover(void *arg, enum msg_remove_kind kind, uint64_t id)
{
	struct fsck *f = arg;

	if (!remove_idle(f->s))
		return; /* being removed just now */
	fsck_tell(f, "tree", id, f->repair && remove_queue(f->s, kind, id, false) == 0,
		  "a half-removed %s %" PRIu64 " was left behind", kind == MSG_REMOVE_REPO ? "repository" : "release",
		  id);
}

static void on_layer(void *arg, uint64_t id)
{
	struct fsck *f = arg;
	const struct instance *in = map_get(f->s->by_id, &id, sizeof id);

	if (in && in->state != INSTANCE_EXITED)
		return;
	if (f->repair && disk_retire(f->s->disk, DISK_LAYER, id) == 0) {
		remove_layers(f->s);
		fsck_tell(f, "disk", id, true, "the writable layer %" PRIu64 " belonged to no instance", id);
	} else {
		fsck_tell(f, "disk", id, false, "the writable layer %" PRIu64 " belongs to no instance", id);
	}
}

static void check_forwarding(struct fsck *f)
{
	OWN_FREE char *now = NULL;

	if (fd_read_file(AT_FDCWD, "/proc/sys/net/ipv4/ip_forward", 16, &now, NULL) < 0 || now[0] == '1')
		return;
	fsck_tell(f, "network", 0, f->repair && fd_write_file(AT_FDCWD, "/proc/sys/net/ipv4/ip_forward", "1") == 0,
		  "net.ipv4.ip_forward was switched off: instances reach nothing");
}

static void check_rules(struct fsck *f)
{
	struct err e = {0};
	char text[160] = "";
	int r = net_compare(&f->s->net, &f->s->settings, text, sizeof text);

	if (r == 1)
		fsck_tell(f, "nftables", 0, f->repair && net_setup(&f->s->net, &f->s->settings, &e) == 0, "%s", text);
	else if (r < 0)
		fsck_tell(f, "nftables", 0, false, "the rules cannot be compared: %s", text[0] ? text : strerror(-r));
}

void fsck_host(struct fsck *f)
{
	record_each(f->s->instances_dir, on_record, f);
	cgroup_each(f->s->cgroup, on_group, f);
	check_tenants(f);
	check_links(f);
	check_mounts(f);
	check_strays(f);
	tree_leftovers(&f->s->tree, tree_busy, on_leftover, f);
	disk_each(f->s->disk, DISK_LAYER, on_layer, f);
	check_forwarding(f);
	check_rules(f);
}
