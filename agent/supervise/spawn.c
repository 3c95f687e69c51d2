/* One instance from control's message to the builder's last report, and from a record back to life.  Layer agent,
 * supervisor process. */
#include "agent/supervise/change.h"
#include "agent/supervise/instance.h"
#include "agent/supervise/layer.h"
#include "agent/supervise/private.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/own.h"
#include "base/proc.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* /dev/shm of an instance: half of its memory at most, and no more than this. */
#define SPAWN_SHM_MAX (64ull << 20)

uint32_t instance_uid_base(const struct supervise *s, uint32_t slot)
{
	return s->settings.uid_base + slot * LIMIT_UID_RANGE;
}

static struct instance *instance_alloc(struct supervise *s, const struct record *rec)
{
	struct instance *in = calloc(1, sizeof *in);

	if (!in)
		return NULL;
	in->s = s;
	in->rec = *rec;
	in->slot = rec->m.slot;
	in->pidfd = in->watch.cpu = in->builder_fd = in->report = in->wait_status = -1;
	if (map_put(s->by_id, &in->rec.m.instance, sizeof in->rec.m.instance, in) < 0) {
		free(in);
		return NULL;
	}
	return in;
}

struct instance *instance_new(struct supervise *s, const struct msg_launch *m, int blob, const int *stdio,
			      struct err *e)
{
	struct record rec = {.magic = RECORD_MAGIC, .size = sizeof rec, .phase = RECORD_BUILDING};
	struct instance_order *o = calloc(1, sizeof *o);
	struct instance *in;
	int error = 0;

	rec.m = (struct msg_instance){
		.instance = m->instance,
		.tenant = m->tenant,
		.app = m->app,
		.object = m->object,
		.kind = m->kind,
		.state = MSG_STATE_STARTING,
		.slot = m->slot,
		.memory_limit = m->limits.memory,
	};
	rec.limits = m->limits;
	rec.egress = m->egress;
	rec.profile = m->profile;
	rec.private_layers = m->private_layers;
	rec.socket = m->listen_unix;
	memcpy(rec.m.type, m->type, sizeof rec.m.type);
	memcpy(rec.boot, s->boot, sizeof rec.boot);
	memcpy(rec.stack, s->stack_name, sizeof rec.stack);
	in = o ? instance_alloc(s, &rec) : NULL;
	if (!in) {
		free(o);
		err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	in->order = o;
	in->received_us = clock_mono_us();
	in->deadline_ms = m->deadline_ms;
	o->m = *m;
	o->blob = fcntl(blob, F_DUPFD_CLOEXEC, 3);
	error = o->blob < 0 ? errno : 0;
	for (size_t i = 0; i < LAUNCH_STDIO_MAX; i++) {
		o->stdio[i] = i < m->stdio_count && !error ? fcntl(stdio[i], F_DUPFD_CLOEXEC, 3) : -1;
		if (i < m->stdio_count && !error && o->stdio[i] < 0)
			error = errno;
	}
	if (error) {
		map_del(s->by_id, &in->rec.m.instance, sizeof in->rec.m.instance);
		instance_drop(in);
		err_set(e, error, "cannot take the launch's descriptors: %s", strerror(error));
		return NULL;
	}
	return in;
}

/* What the logger is told of an instance's output. */
static void fill_log(const struct instance *in, struct msg_log_open *m)
{
	const struct tenant *t = tenant_get(in->s, in->rec.m.slot);

	*m = (struct msg_log_open){.app = in->rec.m.app,
				   .instance = in->rec.m.instance,
				   .slot = in->rec.m.slot,
				   .rate = in->rec.limits.log_rate,
				   .tenant_rate = t ? t->quota.log_rate : quota_default.log_rate};
	snprintf(m->source, sizeof m->source, "%s.%" PRIu64, in->rec.m.type, in->rec.m.instance);
}

void instance_log_open(const struct instance *in)
{
	struct msg_log_open m;
	OWN_FD int fd = -1;

	if (!in->rec.output || in->pidfd < 0 || in->gone)
		return;
	fd = sys_pidfd_getfd(in->pidfd, LAUNCH_FD_OUT_READ);
	if (fd < 0)
		return; /* it is ending */
	fill_log(in, &m);
	in->s->ops.on_log_open(in->s->ops.arg, &m, fd);
}

void instance_socket_open(const struct instance *in)
{
	struct msg_socket m = {in->rec.m.instance};
	OWN_FD int fd = -1;

	if (!in->rec.socket || !in->s->ops.on_socket || in->pidfd < 0 || in->gone)
		return;
	fd = sys_pidfd_getfd(in->pidfd, LAUNCH_FD_SOCKET);
	if (fd >= 0)
		in->s->ops.on_socket(in->s->ops.arg, &m, fd);
}

/* --- what the builder and PID 1 tell -------------------------------------------------------------------------------
 */

static void on_pid_gone(void *arg, short what)
{
	struct instance *in = arg;
	int status;

	(void)what;
	if (in->ours) {
		if (waitpid(in->rec.m.pid, &status, WNOHANG) == 0)
			return;
		in->wait_status = status;
	}
	loop_io_stop(&in->pid_io);
	in->gone = true;
	instance_event(in, INSTANCE_ON_GONE);
}

static int watch_pid(struct instance *in)
{
	return loop_io_start(in->s->loop, &in->pid_io, in->pidfd, EV_READ, on_pid_gone, in);
}

static void on_pid(struct instance *in, pid_t pid)
{
	siginfo_t info;

	/* Our child, not reaped yet: the number cannot be another process's. */
	if (in->pidfd >= 0 || pid <= 1 || waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
		return;
	in->pidfd = sys_pidfd_open(pid);
	if (in->pidfd < 0 || watch_pid(in) < 0) {
		own_close(&in->pidfd);
		snprintf(in->rec.m.text, sizeof in->rec.m.text, "cannot watch the sandbox: out of descriptors");
		instance_event(in, INSTANCE_ON_FAILED);
		return;
	}
	in->ours = true;
	in->rec.m.pid = pid;
	in->rec.start_time = proc_start_time(pid);
	record_write(in->s->instances_dir, &in->rec);
}

/* Takes the reports that have come. */
static void read_reports(struct instance *in)
{
	struct launch_report r;
	ssize_t n;

	while (in->report >= 0) {
		n = recv(in->report, &r, sizeof r, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n != sizeof r) { /* the end, after the builder and PID 1 have closed it */
			loop_io_stop(&in->report_io);
			own_close(&in->report);
			return;
		}
		r.step[sizeof r.step - 1] = 0;
		if (r.kind == LAUNCH_REPORT_PID) {
			on_pid(in, r.pid);
		} else if (r.kind == LAUNCH_REPORT_EXEC) {
			instance_event(in, INSTANCE_ON_EXEC);
		} else if (r.kind == LAUNCH_REPORT_FAILED && in->state == INSTANCE_BUILDING) {
			snprintf(in->rec.m.text, sizeof in->rec.m.text, "could not %s: %s", r.step, strerror(r.error));
			instance_event(in, INSTANCE_ON_FAILED);
		}
	}
}

static void on_report(void *arg, short what)
{
	(void)what;
	read_reports(arg);
}

static void on_builder_gone(void *arg, short what)
{
	struct instance *in = arg;

	(void)what;
	if (waitpid(in->builder, NULL, WNOHANG) == 0)
		return;
	loop_io_stop(&in->builder_io);
	own_close(&in->builder_fd);
	in->builder = 0;
	in->s->building--;
	read_reports(in); /* its last words come first */
	instance_event(in, INSTANCE_ON_BUILDER);
	supervise_turn(in->s);
}

/* --- a launch ------------------------------------------------------------------------------------------------------
 */

static bool has_network(uint32_t kind)
{
	return kind == MSG_KIND_APP || kind == MSG_KIND_BUILD || kind == MSG_KIND_RUN;
}

static void fill_spec(struct instance *in, struct launch *spec)
{
	const struct supervise *s = in->s;
	const struct msg_launch *m = &in->order->m;

	*spec = (struct launch){
		.instance = m->instance,
		.kind = m->kind,
		.uid_base = instance_uid_base(s, m->slot),
		.memory = m->limits.memory,
		.disk = m->limits.disk,
		.shm = m->limits.memory / 2 < SPAWN_SHM_MAX ? m->limits.memory / 2 : SPAWN_SHM_MAX,
		.inodes = m->limits.inodes,
		.nofile = m->limits.nofile,
		/* Builds, git and unpacking execute what they write: compilers would not work otherwise. */
		.profile = m->kind == MSG_KIND_APP || m->kind == MSG_KIND_RUN ? m->profile : QUOTA_PROFILE_DEFAULT,
		.cgroup_v2 = cgroup_is_v2(s->cgroup),
		.stdio_count = m->stdio_count,
		.socket = m->listen_unix,
		.network = has_network(m->kind),
		.address = in->rec.m.address,
		.resolver_count = 1,
		.link_group = net_group(m->slot),
		.port = has_network(m->kind) ? MSG_INSTANCE_PORT : 0,
		.host_address = net_host_address(&s->net),
		.net_in = m->limits.net_in,
		.net_out = m->limits.net_out,
		.net_packets = m->limits.net_packets,
		.segments = s->programs.segments >= 0,
	};
	memcpy(spec->link, in->rec.link, sizeof spec->link);
	snprintf(spec->hostname, sizeof spec->hostname, "%s", m->name);
	snprintf(spec->node, sizeof spec->node, "%.*s", (int)sizeof spec->node - 1, s->settings.node_name);
}

static int take_address(struct instance *in, struct err *e)
{
	struct supervise *s = in->s;
	const struct msg_launch *m = &in->order->m;
	int r;

	if (!has_network(m->kind))
		return 0;
	r = net_tenant(&s->net, m->slot, e);
	if (r < 0)
		return r;
	in->rec.m.address = pool_take(&s->net.pool, clock_mono_us());
	if (!in->rec.m.address)
		return err_set(e, EADDRNOTAVAIL, "all addresses of network.pool are in use: widen it");
	in->pooled = true;
	net_link_name(&s->net, in->rec.m.address, m->egress.mode == QUOTA_EGRESS_PUBLIC, in->rec.link);
	return net_policy_set(&s->net, in->rec.m.address, in->rec.link, &m->egress, e);
}

/* Everything that one builder gets; owned until it runs. */
struct parts {
	struct launch_fds fds;
	int stack; /* the tenant's own; -1 = that of all */
	size_t cgroups;
};

static void parts_done(struct parts *p)
{
	own_close(&p->fds.status);
	own_close(&p->fds.tree);
	own_close(&p->fds.layer);
	own_close(&p->fds.out);
	own_close(&p->fds.out_read);
	own_close(&p->fds.usr);
	own_close(&p->stack);
	while (p->cgroups > 0)
		own_close(&p->fds.cgroups[--p->cgroups]);
}

static int make_parts(struct instance *in, struct parts *p, struct err *e)
{
	struct supervise *s = in->s;
	const struct msg_launch *m = &in->order->m;
	int out[2], r;

	r = take_address(in, e);
	if (r == 0 && m->kind == MSG_KIND_STORE)
		r = layer_room(s, e);
	if (r == 0)
		r = m->kind == MSG_KIND_GIT ? layer_repo(s, m->app, instance_uid_base(s, m->slot), &p->fds.tree, e)
					    : tree_open(&s->tree, m->kind, m->app, m->object,
							instance_uid_base(s, m->slot), &p->fds.tree, e);
	if (r == 0)
		r = layer_make(in, &p->fds.layer, e);
	in->rec.layer = p->fds.layer >= 0;
	if (r == 0)
		r = tenant_enter(in, e);
	if (r == 0)
		r = cgroup_make(s->cgroup, in->slot, m->instance, &m->limits, p->fds.cgroups, &p->cgroups, e);
	if (r == 0 && m->private_layers)
		r = private_open(s->private, m->slot, &p->fds.usr, &p->stack, e);
	if (r < 0)
		return r;
	r = record_make(s->instances_dir, m->instance, &p->fds.status);
	if (r == 0)
		r = record_write(s->instances_dir, &in->rec);
	if (r < 0)
		return err_set(e, -r, "cannot write the record of the instance: %s", strerror(-r));
	if (m->kind == MSG_KIND_APP && m->stdio_count == 0) {
		if (pipe2(out, O_CLOEXEC) < 0)
			return err_errno(e, "cannot make the output pipe");
		p->fds.out_read = out[0];
		p->fds.out = out[1];
		in->rec.output = 1;
	}
	return 0;
}

static int start_builder(struct instance *in, struct parts *p, struct err *e)
{
	struct supervise *s = in->s;
	struct launch spec;

	fill_spec(in, &spec);
	spec.cgroup_count = (uint32_t)p->cgroups;
	spec.layer = p->fds.layer >= 0;
	p->fds.blob = in->order->blob;
	p->fds.stack = p->stack >= 0 ? p->stack : s->stack;
	memcpy(p->fds.stdio, in->order->stdio, sizeof p->fds.stdio);
	in->builder = launch_spawn(&s->programs, &spec, &p->fds, &in->report, &in->builder_fd, e);
	if (in->builder < 0) {
		int r = in->builder;
		in->builder = 0;
		return r;
	}
	s->building++;
	in->group = in->builder;
	in->rec.builder = in->builder;
	in->rec.builder_start = proc_start_time(in->builder);
	record_write(s->instances_dir, &in->rec);
	if (loop_io_start(s->loop, &in->report_io, in->report, EV_READ, on_report, in) < 0 ||
	    loop_io_start(s->loop, &in->builder_io, in->builder_fd, EV_READ, on_builder_gone, in) < 0) {
		/* Cannot be watched: end it here and now. */
		loop_io_stop(&in->report_io);
		sys_pidfd_kill(in->builder_fd, SIGKILL);
		waitpid(in->builder, NULL, 0);
		own_close(&in->builder_fd);
		own_close(&in->report);
		in->builder = 0;
		s->building--;
		return err_set(e, ENOMEM, "cannot watch the sandbox being built");
	}
	return 0;
}

void instance_spawn(struct instance *in)
{
	struct parts p = {.stack = -1,
			  .fds = {.status = -1,
				  .blob = -1,
				  .stack = -1,
				  .tree = -1,
				  .out = -1,
				  .out_read = -1,
				  .layer = -1,
				  .usr = -1}};
	struct err e = {0};
	int r;

	instance_move(in, INSTANCE_BUILDING);
	r = make_parts(in, &p, &e);
	if (r == 0)
		r = start_builder(in, &p, &e);
	if (r == 0 && in->rec.output) {
		struct msg_log_open m;
		fill_log(in, &m);
		in->s->ops.on_log_open(in->s->ops.arg, &m, p.fds.out_read);
	}
	parts_done(&p);
	own_close(&in->order->blob);
	for (size_t i = 0; i < LAUNCH_STDIO_MAX; i++)
		own_close(&in->order->stdio[i]);
	free(in->order);
	in->order = NULL;
	if (r == 0) {
		instance_arm(in, LIMIT_LAUNCH_MS * 1000);
		return;
	}
	snprintf(in->rec.m.text, sizeof in->rec.m.text, "%.*s", (int)sizeof in->rec.m.text - 1, e.text);
	instance_event(in, INSTANCE_ON_FAILED);
}

/* --- adoption ------------------------------------------------------------------------------------------------------
 */

/* True when pid is our child, dead or alive: after an exec in place (same process, new program) the instances are. */
static bool is_child(pid_t pid)
{
	siginfo_t info;

	return pid > 1 && waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/* The builder of an earlier supervisor, if it is still that process: one of a launch that was cut off is killed, and
 * one that is our child is watched until it can be reaped. */
static void adopt_builder(struct instance *in)
{
	const struct record *rec = &in->rec;
	OWN_FD int fd = -1;

	if (rec->builder <= 1 || !rec->builder_start || strcmp(rec->boot, in->s->boot) != 0)
		return;
	fd = sys_pidfd_open(rec->builder);
	if (fd < 0 || proc_start_time(rec->builder) != rec->builder_start)
		return;
	if (rec->phase == RECORD_BUILDING)
		sys_pidfd_kill(fd, SIGKILL);
	if (!is_child(rec->builder) ||
	    loop_io_start(in->s->loop, &in->builder_io, fd, EV_READ, on_builder_gone, in) < 0)
		return;
	in->builder = in->group = rec->builder;
	in->builder_fd = TAKE_FD(fd);
	in->s->building++;
}

/* Opens PID 1 when it lives and is what the record says. */
static bool find_pid(struct instance *in)
{
	const struct record *rec = &in->rec;

	if (rec->m.pid <= 1 || !rec->start_time || strcmp(rec->boot, in->s->boot) != 0)
		return false;
	in->pidfd = sys_pidfd_open(rec->m.pid);
	if (in->pidfd >= 0 && proc_start_time(rec->m.pid) == rec->start_time &&
	    cgroup_holds(in->s->cgroup, in->slot, rec->m.instance, rec->m.pid) && watch_pid(in) == 0) {
		in->ours = is_child(rec->m.pid);
		return true;
	}
	if (in->pidfd >= 0 && proc_start_time(rec->m.pid) == rec->start_time)
		waitpid(rec->m.pid, NULL, WNOHANG); /* ended, and perhaps ours to reap */
	own_close(&in->pidfd);
	return false;
}

struct instance *instance_adopt(struct supervise *s, const struct record *rec)
{
	struct instance *in = instance_alloc(s, rec);

	if (!in)
		return NULL;
	if (rec->phase == RECORD_EXITED) {
		in->state = INSTANCE_EXITED;
		TAILQ_INSERT_TAIL(&s->exited, in, link);
		s->exited_count++;
		return in;
	}
	TAILQ_INSERT_TAIL(&s->living, in, link);
	s->living_count++;
	in->slot = cgroup_find(s->cgroup, rec->m.slot, rec->m.instance);
	tenant_adopt(in);
	in->shrinking = rec->phase == RECORD_RUNNING && rec->m.memory_limit != rec->limits.memory;
	net_tenant_note(&s->net, rec->m.slot);
	if (rec->m.address)
		in->pooled = pool_reserve(&s->net.pool, rec->m.address, clock_mono_us());
	if (rec->m.address)
		net_policy_note(&s->net, rec->m.address, rec->link, &rec->egress);
	if (rec->phase == RECORD_RUNNING) {
		in->state = INSTANCE_RUNNING;
		in->rec.m.state = MSG_STATE_RUNNING;
		adopt_builder(in);
		if (find_pid(in)) {
			change_cpu(in); /* an earlier supervisor's throttle may be in force */
			instance_deadline(in);
		} else {
			in->gone = true;
			instance_event(in, INSTANCE_ON_GONE);
		}
		return in;
	}
	in->state = INSTANCE_BUILDING;
	adopt_builder(in);
	find_pid(in);
	snprintf(in->rec.m.text, sizeof in->rec.m.text, "the node was restarted while the sandbox was being built");
	instance_event(in, INSTANCE_ON_FAILED);
	return in;
}
