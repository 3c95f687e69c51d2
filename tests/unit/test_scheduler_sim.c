/* The scheduler against a simulated node: instances that start, listen, fall ill, exit and drain at random, deploys,
 * scaling and pauses at random, and the invariants of scheduler/README.md after every step. */
#include "scheduler/instance.h"
#include "scheduler/plan.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SIM_INSTANCES 400
#define SIM_STEP_MS 250

struct sim {
	uint64_t seed;
	struct model_app app;
	struct model_formation formation[2];
	struct plan_instance instances[SIM_INSTANCES];
	int64_t healthy_since[SIM_INSTANCES]; /* 0 = not yet */
	bool asked[SIM_INSTANCES];	      /* to stop */
	unsigned count;
	struct plan_backoff backoffs[PLAN_BACKOFFS];
	int64_t now, candidate_since, next_id, next_release;
	bool broken[4096];     /* releases that never become healthy */
	bool crashing[4096];   /* releases whose instances exit by themselves */
	unsigned exit_percent; /* chance per step that a running instance exits or falls ill */
	unsigned promoted, aborted;
	bool node_draining, hold;
	unsigned budget;
};

static const char *const sim_types[] = {"web", "worker", NULL};

static unsigned sim_rand(struct sim *s, unsigned n)
{
	s->seed ^= s->seed << 13;
	s->seed ^= s->seed >> 7;
	s->seed ^= s->seed << 17;
	return (unsigned)(s->seed >> 11) % n;
}

static void sim_init(struct sim *s, uint64_t seed)
{
	memset(s, 0, sizeof *s);
	s->seed = seed * 0x9e3779b97f4a7c15ull + 1;
	s->now = 1000;
	s->app.id = 1;
	s->next_id = s->next_release = 1;
	s->formation[0] = (struct model_formation){"web", 2};
	s->formation[1] = (struct model_formation){"worker", 1};
	s->budget = 50;
}

static unsigned sim_routed(const struct sim *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->count; i++)
		n += s->instances[i].routed;
	return n;
}

static void sim_forget(struct sim *s, unsigned i)
{
	s->count--;
	s->instances[i] = s->instances[s->count];
	s->healthy_since[i] = s->healthy_since[s->count];
	s->asked[i] = s->asked[s->count];
}

static void sim_exit(struct sim *s, unsigned i)
{
	struct plan_instance *p = &s->instances[i];

	if (!s->asked[i])
		plan_exited(s->backoffs, p->release, p->type, s->healthy_since[i] ? s->now - s->healthy_since[i] : 0,
			    s->now);
	sim_forget(s, i);
}

/* What processes do by themselves in one step. */
static void sim_world(struct sim *s)
{
	for (unsigned i = 0; i < s->count;) {
		struct plan_instance *p = &s->instances[i];
		bool broken = s->broken[p->release % 4096];
		if (p->state == MODEL_INSTANCE_STOPPING) {
			if (sim_rand(s, 3) == 0) {
				sim_exit(s, i);
				continue;
			}
		} else if (p->state == MODEL_INSTANCE_DRAINING) {
			p->drained = p->drained || sim_rand(s, 4) == 0;
		} else if (s->crashing[p->release % 4096] && sim_rand(s, 2) == 0) {
			sim_exit(s, i);
			continue;
		} else if (p->state == MODEL_INSTANCE_STARTING && !broken && sim_rand(s, 3) == 0) {
			p->state = MODEL_INSTANCE_RUNNING;
			p->since_ms = s->now;
			p->healthy = true;
			s->healthy_since[i] = s->now;
		} else if (p->state == MODEL_INSTANCE_RUNNING && sim_rand(s, 100) < s->exit_percent) {
			if (sim_rand(s, 3)) {
				sim_exit(s, i);
				continue;
			}
			p->healthy = false;
		}
		i++;
	}
}

static struct plan_instance *sim_find(struct sim *s, int64_t id, unsigned *at)
{
	for (*at = 0; *at < s->count; ++*at)
		if (s->instances[*at].id == id)
			return &s->instances[*at];
	return NULL;
}

static void sim_enter(struct sim *s, struct plan_instance *p, enum model_instance_state to)
{
	cr_assert(instance_may(p->state, to), "%s -> %s", model_instance_state_name(p->state),
		  model_instance_state_name(to));
	p->state = to;
	p->since_ms = s->now;
}

static void sim_act(struct sim *s, const struct plan_action *a)
{
	unsigned at;
	struct plan_instance *p = sim_find(s, a->instance, &at);

	switch (a->verb) {
	case PLAN_START:
		cr_assert(a->release && (a->release == s->app.release || a->release == s->app.candidate));
		cr_assert(!s->node_draining && !s->app.paused);
		cr_assert_lt(s->count, SIM_INSTANCES, "instances without end");
		for (unsigned i = 0; s->hold && i < s->count; i++)
			cr_assert_eq(s->instances[i].release, a->release, "two releases beside each other");
		s->instances[s->count] = (struct plan_instance){.id = s->next_id++,
								.release = a->release,
								.state = MODEL_INSTANCE_STARTING,
								.since_ms = s->now};
		snprintf(s->instances[s->count].type, sizeof s->instances[0].type, "%s", a->type);
		s->healthy_since[s->count] = 0;
		s->asked[s->count++] = false;
		break;
	case PLAN_ROUTE:
		cr_assert(p && p->healthy && !p->routed && p->state == MODEL_INSTANCE_RUNNING &&
			  strcmp(p->type, "web") == 0);
		cr_assert_eq(p->release, s->app.release);
		p->routed = true;
		break;
	case PLAN_UNROUTE:
		cr_assert(p && p->routed && a->reason[0]);
		p->routed = false;
		sim_enter(s, p, MODEL_INSTANCE_DRAINING);
		break;
	case PLAN_STOP:
		cr_assert(p && !p->routed && a->reason[0]);
		sim_enter(s, p, MODEL_INSTANCE_STOPPING);
		s->asked[at] = true;
		break;
	case PLAN_PROMOTE:
		cr_assert_eq(a->release, s->app.candidate);
		s->app.release = s->app.candidate;
		s->app.candidate = 0;
		s->promoted++;
		break;
	case PLAN_ABORT:
		cr_assert_eq(a->release, s->app.candidate);
		cr_assert(a->reason[0]);
		s->app.candidate = 0;
		s->aborted++;
		break;
	case PLAN_VERB_COUNT:
		cr_assert_fail();
	}
}

static unsigned sim_wanted(const struct sim *s, const char *type)
{
	return s->app.paused ? 0 : s->formation[strcmp(type, "worker") == 0].count;
}

/* Never more than wanted per release and type, plus one for each that is ill or leaves. */
static void sim_check_counts(const struct sim *s, const struct plan_output *out)
{
	for (unsigned k = 0; k < out->count; k++) {
		unsigned fresh = 0;
		if (out->actions[k].verb != PLAN_START)
			continue;
		for (unsigned i = 0; i < s->count; i++) {
			const struct plan_instance *p = &s->instances[i];
			bool alive = p->state == MODEL_INSTANCE_STARTING ||
				     (p->state == MODEL_INSTANCE_RUNNING && p->healthy);
			fresh += alive && p->release == out->actions[k].release &&
				 strcmp(p->type, out->actions[k].type) == 0;
		}
		cr_assert_leq(fresh, sim_wanted(s, out->actions[k].type));
	}
}

static unsigned sim_plan(struct sim *s)
{
	struct plan_action first[64], second[64];
	struct plan_output out = {.actions = first, .cap = 64}, again = {.actions = second, .cap = 64};
	struct plan_input in = {
		.app = &s->app,
		.formation = s->formation,
		.formation_count = 2,
		.live_types = s->app.release ? sim_types : NULL,
		.candidate_types = s->app.candidate ? sim_types : NULL,
		.instances = s->instances,
		.instance_count = s->count,
		.backoffs = s->backoffs,
		.now_ms = s->now,
		.candidate_since_ms = s->candidate_since,
		.health_ms = 10000,
		.drain_ms = 5000,
		.start_budget = s->budget,
		.node_draining = s->node_draining,
		.hold = s->hold,
	};

	plan_app(&in, &out);
	plan_app(&in, &again);
	cr_assert_eq(out.count, again.count);
	cr_assert(memcmp(first, second, out.count * sizeof *first) == 0, "the same input gave other actions");
	cr_assert_eq(out.again_ms, again.again_ms);
	cr_assert_leq(out.count, out.cap);
	for (unsigned i = 0; i < out.count; i++)
		sim_act(s, &out.actions[i]);
	sim_check_counts(s, &out);
	return out.count;
}

static void sim_step(struct sim *s)
{
	s->now += SIM_STEP_MS;
	sim_world(s);
	sim_plan(s);
}

static void sim_deploy(struct sim *s)
{
	s->app.candidate = s->next_release++;
	s->candidate_since = s->now;
}

/* Lets everything come to rest without new faults; then exactly what is wanted runs and nothing is left to do. */
static void sim_settle(struct sim *s)
{
	s->exit_percent = 0;
	memset(s->backoffs, 0, sizeof s->backoffs);
	memset(s->crashing, 0, sizeof s->crashing);
	memset(s->broken, 0, sizeof s->broken);
	s->node_draining = false;
	s->budget = 50;
	for (int i = 0; i < 2000; i++)
		sim_step(s);
	cr_assert_eq(s->app.candidate, 0);
	cr_assert_eq(sim_plan(s), 0, "still something to do at rest");
	for (unsigned k = 0; k < 2; k++) {
		unsigned n = 0;
		for (unsigned i = 0; i < s->count; i++) {
			cr_assert_eq(s->instances[i].release, s->app.release);
			cr_assert_eq(s->instances[i].state, MODEL_INSTANCE_RUNNING);
			n += strcmp(s->instances[i].type, sim_types[k]) == 0;
		}
		cr_assert_eq(n, s->app.release ? sim_wanted(s, sim_types[k]) : 0, "%u of %s", n, sim_types[k]);
	}
	cr_assert_eq(sim_routed(s), s->app.release ? sim_wanted(s, "web") : 0);
}

Test(scheduler, sim_healthy_rollouts_never_lose_the_route)
{
	for (uint64_t seed = 1; seed <= 30; seed++) {
		struct sim s;
		bool served = false;
		sim_init(&s, seed);
		for (int step = 0; step < 1500; step++) {
			if (!s.app.candidate && sim_rand(&s, 20) == 0)
				sim_deploy(&s);
			if (sim_rand(&s, 60) == 0)
				s.formation[0].count = 1 + sim_rand(&s, 5);
			if (sim_rand(&s, 60) == 0)
				s.formation[1].count = sim_rand(&s, 3);
			s.budget = sim_rand(&s, 4) ? 50 : sim_rand(&s, 3);
			sim_step(&s);
			served = served || sim_routed(&s) > 0;
			cr_assert(!served || sim_routed(&s) > 0, "seed %" PRIu64 " step %d: no route", seed, step);
		}
		cr_assert_gt(s.promoted, 5);
		cr_assert_eq(s.aborted, 0);
		sim_settle(&s);
	}
}

Test(scheduler, sim_bad_releases_leave_the_old_one_serving)
{
	for (uint64_t seed = 1; seed <= 30; seed++) {
		struct sim s;
		sim_init(&s, seed);
		sim_deploy(&s);
		while (s.app.candidate)
			sim_step(&s);
		for (int i = 0; i < 20; i++)
			sim_step(&s);
		for (int step = 0; step < 1500; step++) {
			if (!s.app.candidate) {
				bool crash = sim_rand(&s, 2);
				sim_deploy(&s);
				s.crashing[s.app.candidate] = crash;
				s.broken[s.app.candidate] = true;
			}
			sim_step(&s);
			cr_assert_gt(sim_routed(&s), 0);
			cr_assert_eq(s.app.release, 1);
		}
		cr_assert_eq(s.promoted, 1);
		cr_assert_gt(s.aborted, 10);
		s.app.candidate = 0;
		sim_settle(&s);
	}
}

/* Never two releases, never more of one than wanted; a bad one goes and the old one comes back. */
Test(scheduler, sim_held_rollouts_run_one_release_at_a_time)
{
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct sim s;
		sim_init(&s, seed);
		s.hold = true;
		s.formation[0].count = 1;
		s.exit_percent = seed % 2;
		for (int step = 0; step < 1500; step++) {
			unsigned web = 0;
			if (!s.app.candidate && sim_rand(&s, 30) == 0) {
				sim_deploy(&s);
				s.broken[s.app.candidate] = sim_rand(&s, 3) == 0;
				s.crashing[s.app.candidate] = sim_rand(&s, 5) == 0;
			}
			s.budget = sim_rand(&s, 4) ? 50 : sim_rand(&s, 3);
			sim_step(&s);
			for (unsigned i = 0; i < s.count; i++)
				web += strcmp(s.instances[i].type, "web") == 0;
			cr_assert_leq(web, 1, "seed %" PRIu64 " step %d: %u at a time", seed, step, web);
		}
		cr_assert_gt(s.promoted, 5);
		cr_assert_gt(s.aborted, 2);
		s.app.candidate = 0;
		sim_settle(&s);
	}
}

Test(scheduler, sim_anything_converges)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct sim s;
		sim_init(&s, seed);
		s.exit_percent = 1 + (unsigned)seed % 8;
		for (int step = 0; step < 1500; step++) {
			if (sim_rand(&s, 25) == 0 && !s.app.candidate) {
				sim_deploy(&s);
				s.broken[s.app.candidate] = sim_rand(&s, 4) == 0;
				s.crashing[s.app.candidate] = sim_rand(&s, 4) == 0;
			}
			if (sim_rand(&s, 40) == 0)
				s.formation[0].count = sim_rand(&s, 6);
			if (sim_rand(&s, 40) == 0)
				s.formation[1].count = sim_rand(&s, 4);
			if (sim_rand(&s, 80) == 0)
				s.app.paused = !s.app.paused;
			if (sim_rand(&s, 100) == 0)
				s.node_draining = !s.node_draining;
			s.budget = sim_rand(&s, 4);
			sim_step(&s);
			cr_assert_leq(s.count, 150);
		}
		if (seed % 2)
			s.app.paused = false;
		sim_settle(&s);
	}
}

Test(scheduler, sim_again_is_enough)
{
	/* A caller that asks only when again_ms has come or something happened must not hang: no world events here but
	 * those that follow from actions. */
	struct sim s;
	struct plan_action actions[64];
	unsigned asked = 0;

	sim_init(&s, 7);
	sim_deploy(&s);
	s.broken[1] = true;
	for (; s.app.candidate && asked < 100; asked++) {
		struct plan_output out = {.actions = actions, .cap = 64};
		struct plan_input in = {.app = &s.app,
					.formation = s.formation,
					.formation_count = 2,
					.candidate_types = sim_types,
					.instances = s.instances,
					.instance_count = s.count,
					.backoffs = s.backoffs,
					.now_ms = s.now,
					.candidate_since_ms = s.candidate_since,
					.health_ms = 10000,
					.drain_ms = 5000,
					.start_budget = asked < 3 ? 0 : 9};
		plan_app(&in, &out);
		for (unsigned i = 0; i < out.count; i++)
			sim_act(&s, &out.actions[i]);
		if (out.count == 0) {
			cr_assert_neq(out.again_ms, INT64_MAX);
			cr_assert_gt(out.again_ms, s.now);
			s.now = out.again_ms;
		}
	}
	cr_assert_eq(s.aborted, 1);
	cr_assert_lt(asked, 20);
}
