/* Compares what the supervisor knows with processes, kernel and disk: the run, and one instance.  Layer agent,
 * supervisor process. */
#include "agent/supervise/fsck.h"

#include "agent/supervise/change.h"
#include "agent/supervise/instance.h"
#include "agent/supervise/layer.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/own.h"
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FSCK_TURN_US 20000 /* of one turn of the loop: launches and exits wait no longer */

void fsck_tell(struct fsck *f, const char *area, uint64_t id, bool repaired, const char *fmt, ...)
{
	struct msg_fsck_found m = {.run = f->run, .id = id, .repaired = repaired};
	va_list ap;

	snprintf(m.area, sizeof m.area, "%s", area);
	va_start(ap, fmt);
	vsnprintf(m.text, sizeof m.text, fmt, ap);
	va_end(ap);
	f->found++;
	f->repaired += repaired;
	f->s->ops.on_fsck_found(f->s->ops.arg, &m);
}

/* --- one instance ---------------------------------------------------------------------------------------------------
 */

static void check_record(struct fsck *f, const struct instance *in)
{
	const struct record *have = &in->rec;
	uint64_t id = have->m.instance;
	struct record rec;
	int r = record_read(f->s->instances_dir, id, &rec);

	if (r == 0 && rec.m.pid == have->m.pid && rec.start_time == have->start_time &&
	    rec.m.address == have->m.address && memcmp(rec.link, have->link, sizeof rec.link) == 0 &&
	    memcmp(&rec.limits, &have->limits, sizeof rec.limits) == 0)
		return;
	fsck_tell(f, "record", id, f->repair && record_write(f->s->instances_dir, have) == 0,
		  r == 0 ? "the record of instance %" PRIu64 " differs from what runs"
			 : "instance %" PRIu64 " runs without a record: a restart of the node would lose it",
		  id);
}

/* Inode of a namespace file, 0 when it cannot be read. */
static ino_t namespace_of(pid_t pid, const char *name)
{
	char path[48];
	struct stat st;

	snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, name);
	return stat(path, &st) < 0 ? 0 : st.st_ino;
}

/* The first namespace that the process shares with the host; NULL when none. */
static const char *shared_namespace(pid_t pid)
{
	static const char *const names[] = {"user", "pid", "mnt", "net", "ipc", "uts", "cgroup"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (namespace_of(pid, names[i]) == namespace_of(getpid(), names[i]))
			return names[i];
	return NULL;
}

static void check_process(struct fsck *f, const struct instance *in)
{
	uint64_t id = in->rec.m.instance, start;
	pid_t pid = in->rec.m.pid;
	const char *shared;
	bool held;

	if (in->gone)
		return;
	start = proc_start_time(pid);
	shared = shared_namespace(pid);
	held = cgroup_holds(f->s->cgroup, in->slot, id, pid);
	if (start && start != in->rec.start_time)
		fsck_tell(f, "process", id, false, "process %d of instance %" PRIu64 " is another one now", (int)pid,
			  id);
	else if (!proc_exiting(pid)) {
		if (shared)
			fsck_tell(f, "namespace", id, false, "instance %" PRIu64 " shares the host's %s namespace", id,
				  shared);
		if (!held)
			fsck_tell(f, "cgroup", id, false,
				  "PID 1 of instance %" PRIu64 " (%d) is not in its control group", id, (int)pid);
	}
}

static void check_limits(struct fsck *f, struct instance *in)
{
	struct quota_limits want = change_now(in);
	uint64_t id = in->rec.m.instance;
	struct err e = {0};
	char text[120];
	int r;

	/* What the kernel could not lower yet is tried again anyway. */
	if (in->gone || in->shrinking)
		return;
	r = cgroup_compare(f->s->cgroup, in->slot, id, &want, text, sizeof text);
	if (r == 1)
		fsck_tell(f, "cgroup", id, f->repair && change_repair(in, &e) == 0,
			  "the control group of instance %" PRIu64 ": %s", id, text);
	else if (r < 0)
		fsck_tell(f, "cgroup", id, false, "the control group of instance %" PRIu64 " is gone", id);
}

static void check_link(struct fsck *f, const struct instance *in)
{
	if (in->rec.m.address && in->rec.link[0] && if_nametoindex(in->rec.link) == 0)
		fsck_tell(f, "link", in->rec.m.instance, false,
			  "the interface %s of instance %" PRIu64 " is gone: stop the instance, it is replaced",
			  in->rec.link, in->rec.m.instance);
}

/* Nothing inside may change its bound, so it is missing only where an earlier version, or a hand, left it so. */
static void check_packets(struct fsck *f, const struct instance *in)
{
	uint64_t id = in->rec.m.instance, want = in->rec.limits.net_packets;
	int segments = in->s->programs.segments;
	struct packets have;
	int r;

	if (in->gone || !in->rec.link[0])
		return;
	r = net_link_packets_get(in->pidfd, &have);
	if (r == -ENOENT)
		fsck_tell(f, "network", id,
			  f->repair && net_link_packets(in->pidfd, PACKETS_REPLACE, want, segments) == 0,
			  "what instance %" PRIu64 " sends is not bound to %" PRIu64 " packets a second", id, want);
	else if (r < 0 && r != -ESRCH)
		fsck_tell(f, "network", id, false, "the bound of instance %" PRIu64 "'s packets cannot be read: %s", id,
			  strerror(-r));
	else if (r == 0 && have.rate != want)
		fsck_tell(f, "network", id,
			  f->repair && net_link_packets(in->pidfd, PACKETS_CHANGE, want, segments) == 0,
			  "instance %" PRIu64 " may send %" PRIu64 " packets a second, its limit is %" PRIu64, id,
			  have.rate, want);
	else if (r == 0 && segments >= 0 && !have.segments)
		fsck_tell(f, "network", id,
			  f->repair && net_link_packets(in->pidfd, PACKETS_CHANGE, want, segments) == 0,
			  "many datagrams in one packet of instance %" PRIu64 " count as one", id);
}

static void check_tree(struct fsck *f, const struct instance *in)
{
	OWN_FD int fd = -1;
	struct err e = {0};

	if (in->rec.m.kind != MSG_KIND_APP && in->rec.m.kind != MSG_KIND_RUN)
		return;
	if (tree_open(&f->s->tree, in->rec.m.kind, in->rec.m.app, in->rec.m.object, 0, &fd, &e) < 0)
		fsck_tell(f, "release", in->rec.m.instance, false,
			  "instance %" PRIu64 " runs the stored tree %" PRIu64 ", which is gone: %s",
			  in->rec.m.instance, in->rec.m.object, e.text);
}

static void check_layer(struct fsck *f, const struct instance *in)
{
	OWN_FD int fd = -1;

	/* One that was started on the memory backend has none, and keeps that for its life. */
	if (instance_has_layer(in->rec.m.kind) && in->rec.layer &&
	    disk_open(f->s->disk, DISK_LAYER, in->rec.m.instance, &fd) < 0)
		fsck_tell(f, "disk", in->rec.m.instance, false,
			  "the writable layer of instance %" PRIu64 " is gone: restart it", in->rec.m.instance);
}

static void check_instance(struct fsck *f, struct instance *in)
{
	if (in->state != INSTANCE_RUNNING && in->state != INSTANCE_STOPPING)
		return;
	check_record(f, in);
	check_process(f, in);
	check_limits(f, in);
	check_link(f, in);
	check_packets(f, in);
	check_tree(f, in);
	check_layer(f, in);
}

/* --- the run --------------------------------------------------------------------------------------------------------
 */

static void list_flush(struct fsck *f, struct msg_fsck_list *m)
{
	if (m->count)
		f->s->ops.on_fsck_list(f->s->ops.arg, m,
				       offsetof(struct msg_fsck_list, ids) + m->count * sizeof m->ids[0]);
	m->count = 0;
}

static void list_add(struct fsck *f, struct msg_fsck_list *m, uint64_t id)
{
	m->ids[m->count++] = id;
	if (m->count == MSG_FSCK_IDS_MAX)
		list_flush(f, m);
}

struct tree_walk {
	struct fsck *f;
	struct msg_fsck_list *m;
};

static void on_tree(void *arg, uint64_t id)
{
	struct tree_walk *w = arg;

	list_add(w->f, w->m, id);
}

/* What we have, for control to compare with the database. */
static void send_lists(struct fsck *f)
{
	static const enum msg_remove_kind kinds[] = {MSG_REMOVE_RELEASE, MSG_REMOVE_REPO};
	struct msg_fsck_list *m = calloc(1, sizeof *m);
	struct tree_walk walk = {f, m};
	const struct instance *in = NULL;

	if (!m)
		return;
	m->run = f->run;
	m->kind = MSG_FSCK_INSTANCES;
	TAILQ_FOREACH(in, &f->s->living, link)
	{
		list_add(f, m, in->rec.m.instance);
	}
	TAILQ_FOREACH(in, &f->s->exited, link)
	{
		list_add(f, m, in->rec.m.instance);
	}
	list_flush(f, m);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		m->kind = kinds[i] == MSG_REMOVE_RELEASE ? MSG_FSCK_RELEASES : MSG_FSCK_REPOS;
		if (kinds[i] == MSG_REMOVE_REPO)
			layer_repos(f->s, on_tree, &walk);
		else
			tree_each(&f->s->tree, kinds[i], on_tree, &walk);
		list_flush(f, m);
	}
	free(m);
}

static void fsck_free(struct supervise *s)
{
	if (!s->fsck)
		return;
	loop_timer_stop(&s->fsck_timer);
	free(s->fsck->ids);
	free(s->fsck);
	s->fsck = NULL;
}

static void fsck_turn(void *arg)
{
	struct supervise *s = arg;
	struct fsck *f = s->fsck;
	struct msg_fsck_done done;
	int64_t until = clock_mono_us() + FSCK_TURN_US;

	while (f->at < f->count && clock_mono_us() < until) {
		uint64_t id = f->ids[f->at++];
		struct instance *in = map_get(s->by_id, &id, sizeof id);
		if (in)
			check_instance(f, in);
	}
	if (f->at < f->count) {
		loop_timer_start(s->loop, &s->fsck_timer, 0, fsck_turn, s);
		return;
	}
	fsck_host(f);
	send_lists(f);
	done = (struct msg_fsck_done){.run = f->run, .found = f->found, .repaired = f->repaired};
	fsck_free(s);
	s->ops.on_fsck_done(s->ops.arg, &done);
}

void supervise_fsck(struct supervise *s, const struct msg_fsck *m)
{
	struct fsck *f = calloc(1, sizeof *f);
	const struct instance *in = NULL;

	fsck_free(s); /* of a control that is gone */
	if (f)
		f->ids = calloc(s->living_count + 1, sizeof *f->ids);
	if (!f || !f->ids) {
		struct msg_fsck_done done = {.run = m->run};
		free(f);
		s->ops.on_fsck_done(s->ops.arg, &done);
		return;
	}
	f->s = s;
	f->run = m->run;
	f->repair = m->repair == 1;
	TAILQ_FOREACH(in, &s->living, link)
	{
		f->ids[f->count++] = in->rec.m.instance;
	}
	s->fsck = f;
	loop_timer_start(s->loop, &s->fsck_timer, 0, fsck_turn, s);
}

void fsck_stop(struct supervise *s)
{
	fsck_free(s);
}
