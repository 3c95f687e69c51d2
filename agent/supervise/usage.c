/* What instances and tenants use: each sampled every LIMIT_USAGE_MS, those that work every LIMIT_USAGE_BUSY_MS, a
 * bounded number per turn.  Layer agent, supervisor process. */
#include "agent/supervise/change.h"
#include "agent/supervise/instance.h"
#include "agent/supervise/layer.h"
#include "base/clock.h"

#include <assert.h>

static_assert(LIMIT_USAGE_TURN <= MSG_USAGE_MAX && LIMIT_USAGE_TURN <= MSG_TENANT_USAGE_MAX, "one message per turn");

static void usage_busy(struct instance *in, bool busy)
{
	if (busy && !in->busy)
		TAILQ_INSERT_TAIL(&in->s->busy, in, works);
	else if (!busy && in->busy)
		TAILQ_REMOVE(&in->s->busy, in, works);
	in->busy = busy;
}

void usage_gone(struct instance *in)
{
	usage_busy(in, false);
}

static bool usage_of(struct instance *in, struct msg_usage *ret)
{
	const struct cgroup_sample was = in->watch.last;
	struct cgroup_sample now;
	struct packets packets;
	int64_t now_us = clock_mono_us(), span_us = now_us - in->sampled_us;
	int idle = -1;

	if (in->state == INSTANCE_RUNNING || in->state == INSTANCE_STOPPING)
		idle = cgroup_watch(in->s->cgroup, in->slot, in->rec.m.instance, &in->watch);
	if (idle < 0)
		return false;
	now = in->watch.last;
	/* Whoever did not run has neither sent nor taken anything. */
	if (idle == 0 && in->rec.link[0]) {
		net_link_bytes(in->rec.link, &in->net_in, &in->net_out);
		if (net_link_packets_get(in->pidfd, &packets) == 0)
			in->net_refused = packets.refused;
	}
	/* CPU time in thousandths over the span; the first sample only notes where it starts. */
	if (in->sampled_us && now.cpu_us >= was.cpu_us)
		usage_busy(in, (now.cpu_us - was.cpu_us) * 1000 >= (uint64_t)span_us * LIMIT_USAGE_BUSY);
	in->sampled_us = now_us;
	tenant_count(in, &was, &now);
	change_again(in);
	*ret = (struct msg_usage){
		.instance = in->rec.m.instance,
		.memory = now.memory,
		.memory_peak = now.memory_peak,
		.cpu_us = now.cpu_us,
		.throttled_us = now.throttled_us,
		.io_read = now.io_read,
		.io_write = now.io_write,
		.net_in = in->net_in,
		.net_out = in->net_out,
		.net_refused = in->net_refused,
		.pids = now.pids,
		.oom_kills = now.oom_kills,
		.oom_tenant = in->oom_tenant,
		.oom_host = in->oom_host,
		.pids_hits = now.pids_hits,
		.memory_hits = now.memory_hits,
		.throttled = now.throttled,
		.periods = now.periods,
	};
	layer_sample(in, ret);
	return true;
}

static bool usage_of_tenant(struct tenant *t, struct msg_tenant_usage *ret)
{
	const struct cgroup_sample was = t->watch.last;
	struct cgroup_sample now;
	int idle = cgroup_watch(t->s->cgroup, t->slot, CGROUP_TENANT, &t->watch);

	if (idle < 0)
		return false;
	if (idle == 0)
		net_tenant_refused(&t->s->net, t->slot, &t->net_refused);
	now = t->watch.last;
	shelter_used(t, was.cpu_us, now.cpu_us, clock_mono_us());
	disk_share(t->s->disk, t->slot, t->s->tenants_count, &t->share);
	change_tenant_again(t);
	*ret = (struct msg_tenant_usage){
		.tenant = t->tenant,
		.memory = now.memory,
		.memory_peak = now.memory_peak,
		.cpu_us = now.cpu_us,
		.throttled_us = now.throttled_us,
		.io_read = now.io_read,
		.io_write = now.io_write,
		.slot = t->slot,
		.pids = now.pids,
		/* Its own counters where the kernel has them, else what its instances' tell. */
		.pids_hits = now.pids_hits > t->pids_hits ? now.pids_hits : t->pids_hits,
		.oom_kills = now.oom_kills > t->oom_kills ? now.oom_kills : t->oom_kills,
		.memory_hits = now.memory_hits,
		.pending = t->shrinking,
		.disk = t->share.used,
		.disk_bound = t->share.bound,
		.disk_hits = t->share.hits,
		.net_refused = t->net_refused,
		.confines = t->confines,
		.confined_us = confine_time_us(t),
	};
	return true;
}

/* The head goes to the tail: round-robin without a cursor that could dangle. */
static void usage_instances(struct supervise *s, size_t budget)
{
	static struct msg_usage list[MSG_USAGE_MAX];
	size_t n = 0;

	for (; budget > 0; budget--) {
		struct instance *in = TAILQ_FIRST(&s->living);
		TAILQ_REMOVE(&s->living, in, link);
		TAILQ_INSERT_TAIL(&s->living, in, link);
		n += usage_of(in, &list[n]);
	}
	if (n)
		s->ops.on_usage(s->ops.arg, list, n);
}

/* Those that work, when their last sample is not of this second: the scheduler's throttle needs to see them move. */
static void usage_working(struct supervise *s)
{
	static struct msg_usage list[MSG_USAGE_MAX];
	int64_t before = clock_mono_us() - (int64_t)LIMIT_USAGE_BUSY_MS * 900;
	struct instance *in = TAILQ_FIRST(&s->busy), *next = NULL, *first = NULL;
	size_t n = 0;

	for (unsigned i = 0; in && in != first && i < LIMIT_USAGE_TURN && n < LIMIT_USAGE_TURN; in = next, i++) {
		next = TAILQ_NEXT(in, works);
		if (in->sampled_us > before)
			continue;
		TAILQ_REMOVE(&s->busy, in, works);
		TAILQ_INSERT_TAIL(&s->busy, in, works);
		first = first ? first : in;
		n += usage_of(in, &list[n]);
	}
	if (n)
		s->ops.on_usage(s->ops.arg, list, n);
}

static void usage_tenants(struct supervise *s, size_t budget)
{
	static struct msg_tenant_usage list[MSG_TENANT_USAGE_MAX];
	size_t n = 0;

	for (; budget > 0; budget--) {
		struct tenant *t = TAILQ_FIRST(&s->tenants_living);
		TAILQ_REMOVE(&s->tenants_living, t, link);
		TAILQ_INSERT_TAIL(&s->tenants_living, t, link);
		n += usage_of_tenant(t, &list[n]);
	}
	if (n && s->ops.on_tenant_usage)
		s->ops.on_tenant_usage(s->ops.arg, list, n);
}

/* The disk that all share, when it moved or for a control that is new. */
static void usage_disk(struct supervise *s)
{
	struct msg_disk m = {0};

	if (s->ops.on_disk && clock_mono_us() - s->disk_us >= (int64_t)LIMIT_USAGE_MS * 1000 &&
	    disk_room(s->disk, &m.total, &m.free) == 0) {
		s->disk_us = clock_mono_us();
		s->ops.on_disk(s->ops.arg, &m);
	}
}

static size_t usage_budget(size_t count)
{
	return count < LIMIT_USAGE_TURN ? count : LIMIT_USAGE_TURN;
}

static void usage_turn(void *arg)
{
	struct supervise *s = arg;
	size_t most = s->living_count > s->tenants_count ? s->living_count : s->tenants_count;
	int64_t pause_us = (int64_t)LIMIT_USAGE_MS * 1000;

	if (most > LIMIT_USAGE_TURN)
		pause_us = pause_us * LIMIT_USAGE_TURN / (int64_t)most;
	if (pause_us > (int64_t)LIMIT_USAGE_BUSY_MS * 1000)
		pause_us = (int64_t)LIMIT_USAGE_BUSY_MS * 1000;
	loop_timer_start(s->loop, &s->usage_timer, pause_us, usage_turn, s);
	usage_instances(s, usage_budget(s->living_count));
	usage_working(s);
	/* As many turns as the instances take, so that a tenant's turn comes as often as that of its instances. */
	usage_tenants(s, most > LIMIT_USAGE_TURN && s->tenants_count
				 ? (s->tenants_count * LIMIT_USAGE_TURN + most - 1) / most
				 : s->tenants_count);
	usage_disk(s);
}

int usage_start(struct supervise *s)
{
	return loop_timer_start(s->loop, &s->usage_timer, (int64_t)LIMIT_USAGE_MS * 1000, usage_turn, s);
}

void usage_stop(struct supervise *s)
{
	loop_timer_stop(&s->usage_timer);
	loop_timer_stop(&s->disk_timer);
}
