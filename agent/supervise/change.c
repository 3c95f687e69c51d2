/* New limits of what runs already.  Layer agent, supervisor process.
 *
 * Memory is the only number that the kernel may refuse: when an instance holds more than its new limit and nothing of
 * it can be pushed out.  Its group then keeps a limit in between, which rec.m.memory_limit tells, and is tried again
 * with each sample; rec.limits is what control wants. */
#include "agent/supervise/change.h"

#include "agent/supervise/instance.h"
#include "agent/supervise/layer.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define CHANGE_STEP_US 2000   /* between two steps that got somewhere: others have their turn */
#define CHANGE_PAUSE_US 50000 /* between two that did not */
#define CHANGE_TRIES 20u      /* about a second; then with each sample */

/* --- memory --------------------------------------------------------------------------------------------------------
 */

static void on_memory(void *arg)
{
	change_memory(arg);
}

/* Tells control what holds, and keeps it for the next supervisor. */
static void memory_said(struct instance *in, uint64_t limit, const char *text)
{
	in->rec.m.memory_limit = limit;
	snprintf(in->rec.m.text, sizeof in->rec.m.text, "%s", text);
	record_write(in->s->instances_dir, &in->rec);
	instance_tell(in);
}

void change_memory(struct instance *in)
{
	const struct quota_limits *l = &in->rec.limits;
	struct cgroup_sample sample;
	char text[sizeof in->rec.m.text];
	int r = cgroup_memory(in->s->cgroup, in->slot, in->rec.m.instance, l->memory, l->swap);

	loop_timer_stop(&in->change);
	if (r == -EAGAIN || (r == -EBUSY && in->change_tries++ < CHANGE_TRIES)) {
		in->shrinking = true;
		loop_timer_start(in->s->loop, &in->change, r == -EAGAIN ? CHANGE_STEP_US : CHANGE_PAUSE_US, on_memory,
				 in);
		return;
	}
	if (r == 0) {
		in->shrinking = false;
		in->change_tries = 0;
		if (in->rec.m.memory_limit != l->memory)
			memory_said(in, l->memory, "");
		return;
	}
	if (!in->rec.m.text[0] && cgroup_sample(in->s->cgroup, in->slot, in->rec.m.instance, &sample) == 0) {
		snprintf(text, sizeof text,
			 "its memory cannot be lowered to %" PRIu64 " MiB yet: %" PRIu64 " MiB are in use",
			 l->memory >> 20, sample.memory >> 20);
		memory_said(in, in->rec.m.memory_limit, text);
	}
}

void change_again(struct instance *in)
{
	if (in->shrinking && !loop_timer_pending(&in->change))
		change_memory(in);
}

static void on_tenant_memory(void *arg)
{
	change_tenant_memory(arg);
}

void change_tenant_memory(struct tenant *t)
{
	int r;

	loop_timer_stop(&t->timer);
	if (t->found && !t->told)
		return; /* its total is not known, so neither is what it becomes with the loan */
	r = cgroup_memory(t->s->cgroup, t->slot, CGROUP_TENANT, t->quota.memory + t->lent,
			  t->quota.swap + t->lent_swap);
	t->shrinking = r == -EAGAIN || r == -EBUSY;
	if (r == 0)
		t->tries = 0;
	else if (r == -EAGAIN || (r == -EBUSY && t->tries++ < CHANGE_TRIES))
		loop_timer_start(t->s->loop, &t->timer, r == -EAGAIN ? CHANGE_STEP_US : CHANGE_PAUSE_US,
				 on_tenant_memory, t);
}

void change_tenant_again(struct tenant *t)
{
	if (t->shrinking && !loop_timer_pending(&t->timer))
		change_tenant_memory(t);
}

void change_stop(struct instance *in)
{
	loop_timer_stop(&in->change);
	in->shrinking = false;
}

/* --- the rest ------------------------------------------------------------------------------------------------------
 */

static bool is_confined(const struct instance *in)
{
	const struct tenant *t = in->in_tenant ? tenant_get(in->s, in->rec.m.slot) : NULL;

	return t && t->confined_at;
}

/* The limits with the throttle in them. */
struct quota_limits change_now(const struct instance *in)
{
	struct quota_limits l = in->rec.limits;

	if (in->throttle_cpu && in->throttle_cpu < l.cpu)
		l.cpu = in->throttle_cpu;
	if (in->throttle_weight)
		l.cpu_weight = in->throttle_weight == 1 && !is_confined(in) ? CGROUP_WEIGHT_IDLE : in->throttle_weight;
	return l;
}

int change_cpu(struct instance *in)
{
	struct quota_limits l = change_now(in);

	return cgroup_cpu(in->s->cgroup, in->slot, in->rec.m.instance, l.cpu, l.cpu_burst, l.cpu_weight);
}

struct nofile {
	pid_t init;
	uid_t owner; /* of the instance's user namespace */
	rlim_t value;
};

/* Another user's limits are for CAP_SYS_RESOURCE in that user's namespace (prlimit(2)).  The namespace's owner has it,
 * so where the host did not give it to us we ask as the owner: the tenant's own user 0. */
static int set_limit(uid_t owner, pid_t pid, const struct rlimit *set, struct rlimit *old)
{
	int r = prlimit(pid, RLIMIT_NOFILE, set, old) == 0 ? 0 : -errno;

	if (r != -EPERM || seteuid(owner) < 0)
		return r;
	r = prlimit(pid, RLIMIT_NOFILE, set, old) == 0 ? 0 : -errno;
	if (seteuid(0) < 0)
		abort(); /* a supervisor that is not root can do nothing right; the next one can */
	return r;
}

/* A member that ends here and now could only hand its number on after a whole round of the host's pids. */
static void set_nofile(void *arg, pid_t pid)
{
	const struct nofile *n = arg;
	struct rlimit rl = {n->value, n->value}, old;

	if (pid == n->init || set_limit(n->owner, pid, &rl, NULL) == 0)
		return;
	/* Without CAP_SYS_RESOURCE on the host a hard limit only falls: as far up as it allows. */
	if (set_limit(n->owner, pid, NULL, &old) == 0) {
		rl.rlim_max = old.rlim_max;
		if (rl.rlim_cur > rl.rlim_max)
			rl.rlim_cur = rl.rlim_max;
		set_limit(n->owner, pid, &rl, NULL);
	}
}

/* Rates of the network, and where it may connect to. */
static int network_change(struct instance *in, const struct quota_limits *from, const struct quota_egress *egress,
			  struct err *e)
{
	struct net_instance i = {.address = in->rec.m.address,
				 .link = in->rec.link,
				 .pidfd = in->pidfd,
				 .segments = in->s->programs.segments};
	struct quota_egress was = in->rec.egress;

	if (!in->rec.link[0])
		return 0;
	in->rec.egress = *egress;
	if (in->state == INSTANCE_BUILDING) { /* its link is not there, or has the rates of its order */
		in->rates_late = true;
		return net_policy_set(&in->s->net, i.address, i.link, egress, e);
	}
	return net_change(&in->s->net, &i, from, &in->rec.limits, &was, egress, e);
}

void change_network_late(struct instance *in)
{
	if (!in->rates_late)
		return;
	in->rates_late = false;
	if (net_link_rate(in->rec.link, in->rec.limits.net_in) < 0 ||
	    net_link_rate_inside(in->pidfd, in->rec.limits.net_out) < 0 ||
	    net_link_packets(in->pidfd, PACKETS_CHANGE, in->rec.limits.net_packets, in->s->programs.segments) < 0)
		LOG_WARN("network rates not changed", "instance=%" PRIu64, in->rec.m.instance);
}

/* The group's own numbers. */
static int limits_change(struct instance *in, const struct quota_limits *to, struct err *e)
{
	struct nofile nofile = {in->rec.m.pid, instance_uid_base(in->s, in->rec.m.slot), to->nofile};
	bool fewer = in->rec.limits.nofile != to->nofile;
	struct quota_limits now;
	int r;

	in->rec.limits = *to;
	now = change_now(in);
	r = cgroup_change(in->s->cgroup, in->slot, in->rec.m.instance, &now, e);
	if (r == 0 && (r = layer_change(in)) < 0)
		err_set(e, -r, "cannot change the bounds of its disk: %s", strerror(-r));
	in->change_tries = 0;
	in->rec.m.text[0] = 0;
	change_memory(in);
	if (fewer)
		cgroup_members(in->s->cgroup, in->slot, in->rec.m.instance, set_nofile, &nofile);
	return r;
}

int change_repair(struct instance *in, struct err *e)
{
	struct quota_limits l = in->rec.limits;

	return limits_change(in, &l, e);
}

/* in NULL: the tenant's alone. */
static void log_rate(struct supervise *s, const struct instance *in, uint32_t slot)
{
	const struct tenant *t = tenant_get(s, slot);
	struct msg_log_rate m = {.instance = in ? in->rec.m.instance : 0,
				 .slot = slot,
				 .rate = in ? in->rec.limits.log_rate : 0,
				 .tenant_rate = t ? t->quota.log_rate : quota_default.log_rate};

	if (s->ops.on_log_rate)
		s->ops.on_log_rate(s->ops.arg, &m);
}

int supervise_limits(struct supervise *s, const struct msg_limits *m, struct err *e)
{
	struct instance *in = map_get(s->by_id, &m->instance, sizeof m->instance);
	struct quota_limits from;
	int r, error;

	if (!in)
		return 0; /* it ended meanwhile */
	r = quota_check(QUOTA_OF_LIMITS, &m->limits, "", e);
	if (r == 0)
		r = supervise_check_egress(&m->egress, e);
	if (r < 0)
		return r;
	if (in->state == INSTANCE_QUEUED) { /* has nothing yet: it starts with them */
		in->rec.limits = in->order->m.limits = m->limits;
		in->rec.egress = in->order->m.egress = m->egress;
		in->rec.m.memory_limit = m->limits.memory;
		return 0;
	}
	if (in->state != INSTANCE_BUILDING && in->state != INSTANCE_RUNNING && in->state != INSTANCE_STOPPING)
		return 0;
	from = in->rec.limits;
	r = limits_change(in, &m->limits, e);
	error = network_change(in, &from, &m->egress, r < 0 ? NULL : e);
	if (r == 0)
		r = error;
	log_rate(s, in, in->rec.m.slot);
	record_write(s->instances_dir, &in->rec);
	return r;
}

int supervise_throttle(struct supervise *s, const struct msg_throttle *m, struct err *e)
{
	struct instance *in = map_get(s->by_id, &m->instance, sizeof m->instance);

	if (m->cpu_weight > LIMIT_WEIGHT_MAX)
		return err_field(e, ERANGE, "cpu_weight", "cpu_weight is %u, not 0 to %u", m->cpu_weight,
				 LIMIT_WEIGHT_MAX);
	if (m->cpu && (m->cpu < LIMIT_CPU_MIN || m->cpu > LIMIT_CPU_MAX))
		return err_field(e, ERANGE, "cpu", "cpu is %u, not 0 or %u to %u", m->cpu, LIMIT_CPU_MIN,
				 LIMIT_CPU_MAX);
	if (!in || (in->state != INSTANCE_RUNNING && in->state != INSTANCE_STOPPING))
		return 0;
	if (in->throttle_weight == m->cpu_weight && in->throttle_cpu == m->cpu)
		return 0;
	in->throttle_weight = m->cpu_weight;
	in->throttle_cpu = m->cpu;
	return change_cpu(in);
}

static void on_rates(void *arg)
{
	struct supervise *s = arg;
	struct err e = {0};

	if (net_rates_write(&s->net, &e) < 0)
		LOG_WARN("tenants' network rates not set", "error=\"%s\"", e.text);
}

int supervise_throttle_tenant(struct supervise *s, const struct msg_throttle_tenant *m, struct err *e)
{
	struct tenant *t = m->slot < LIMIT_TENANTS ? tenant_get(s, m->slot) : NULL;

	if (m->cpu_weight > LIMIT_WEIGHT_MAX)
		return err_field(e, ERANGE, "cpu_weight", "cpu_weight is %u, not 0 to %u", m->cpu_weight,
				 LIMIT_WEIGHT_MAX);
	if (!t || t->tenant != m->tenant || t->throttle_weight == m->cpu_weight)
		return 0;
	t->throttle_weight = m->cpu_weight;
	return tenant_weight(t);
}

void change_unthrottle(struct supervise *s)
{
	struct instance *in = NULL;
	struct tenant *t = NULL;

	TAILQ_FOREACH(in, &s->living, link)
	{
		if (!in->throttle_weight && !in->throttle_cpu)
			continue;
		in->throttle_weight = in->throttle_cpu = 0;
		if (in->state == INSTANCE_RUNNING || in->state == INSTANCE_STOPPING)
			change_cpu(in);
	}
	for (size_t pos = 0; (t = map_next(s->tenants, &pos));) {
		if (!t->throttle_weight)
			continue;
		t->throttle_weight = 0;
		tenant_weight(t);
	}
}

int supervise_tenant(struct supervise *s, const struct msg_tenant *m, struct err *e)
{
	int r;

	if (m->tenant == 0 || m->tenant > INT64_MAX)
		return err_field(e, ERANGE, "tenant", "tenant is %" PRIu64, m->tenant);
	if (m->slot >= LIMIT_TENANTS)
		return err_field(e, ERANGE, "slot", "slot is %u, not below %d", m->slot, LIMIT_TENANTS);
	r = quota_check(QUOTA_OF_TENANT, &m->quota, "", e);
	if (r < 0)
		return r;
	if (net_tenant_rates(&s->net, m->slot, &m->quota) < 0)
		return err_set(e, ENOMEM, "out of memory");
	/* Control tells many at a time when it starts: one transaction for all. */
	if (s->net.rates_changed)
		loop_timer_start(s->loop, &s->rates_timer, 0, on_rates, s);
	r = tenant_tell(s, m->tenant, m->slot, &m->quota, e);
	if (r == 0)
		log_rate(s, NULL, m->slot);
	return r;
}
