/* What the instances use: each sampled every LIMIT_USAGE_MS, a bounded number per turn.  Layer agent, supervisor
 * process. */
#include "agent/supervise/instance.h"

#include <assert.h>

static void usage_turn(void *arg)
{
	struct supervise *s = arg;
	static struct msg_usage list[MSG_USAGE_MAX];
	size_t n = 0, budget = LIMIT_USAGE_TURN;
	int64_t pause_us = (int64_t)LIMIT_USAGE_MS * 1000;

	static_assert(LIMIT_USAGE_TURN <= MSG_USAGE_MAX, "one message per turn");
	if (budget > s->living_count)
		budget = s->living_count;
	for (; budget > 0; budget--) {
		/* The head goes to the tail: round-robin without a cursor that could dangle. */
		struct instance *in = TAILQ_FIRST(&s->living);
		struct cgroup_sample sample;
		TAILQ_REMOVE(&s->living, in, link);
		TAILQ_INSERT_TAIL(&s->living, in, link);
		if ((in->state != INSTANCE_RUNNING && in->state != INSTANCE_STOPPING) ||
		    cgroup_sample(s->cgroup, in->rec.m.instance, &sample) < 0)
			continue;
		list[n++] = (struct msg_usage){
			.instance = in->rec.m.instance,
			.memory = sample.memory,
			.memory_peak = sample.memory_peak,
			.cpu_us = sample.cpu_us,
			.throttled_us = sample.throttled_us,
			.pids = sample.pids,
			.oom_kills = sample.oom_kills,
		};
		if (in->rec.link[0])
			net_link_bytes(in->rec.link, &list[n - 1].net_in, &list[n - 1].net_out);
	}
	if (s->living_count > LIMIT_USAGE_TURN)
		pause_us = pause_us * LIMIT_USAGE_TURN / (int64_t)s->living_count;
	loop_timer_start(s->loop, &s->usage_timer, pause_us, usage_turn, s);
	if (n)
		s->ops.on_usage(s->ops.arg, list, n);
}

int usage_start(struct supervise *s)
{
	return loop_timer_start(s->loop, &s->usage_timer, (int64_t)LIMIT_USAGE_MS * 1000, usage_turn, s);
}

void usage_stop(struct supervise *s)
{
	loop_timer_stop(&s->usage_timer);
}
