/* Single decisions of the scheduler. */
#include "base/err.h"
#include "scheduler/instance.h"
#include "scheduler/plan.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const web_only[] = {"web", NULL};
static const char *const web_worker[] = {"web", "worker", NULL};

struct bench {
	struct model_app app;
	struct model_formation formation[3];
	struct plan_instance instances[8];
	struct plan_backoff backoffs[PLAN_BACKOFFS];
	struct plan_action actions[16];
	struct plan_input in;
	struct plan_output out;
};

static void bench_init(struct bench *b)
{
	memset(b, 0, sizeof *b);
	b->app.id = 1;
	b->app.release = 10;
	b->formation[0] = (struct model_formation){"web", 1};
	b->in = (struct plan_input){.app = &b->app,
				    .formation = b->formation,
				    .formation_count = 1,
				    .live_types = web_only,
				    .instances = b->instances,
				    .backoffs = b->backoffs,
				    .now_ms = 100000,
				    .candidate_since_ms = 100000,
				    .health_ms = 60000,
				    .drain_ms = 30000,
				    .start_budget = 8};
	b->out = (struct plan_output){.actions = b->actions, .cap = 16};
}

static struct plan_instance *bench_add(struct bench *b, int64_t release, enum model_instance_state state, bool healthy,
				       bool routed)
{
	struct plan_instance *p = &b->instances[b->in.instance_count++];

	*p = (struct plan_instance){.id = b->in.instance_count,
				    .release = release,
				    .type = "web",
				    .state = state,
				    .healthy = healthy,
				    .routed = routed,
				    .since_ms = b->in.now_ms - 1000};
	return p;
}

static const struct plan_action *bench_plan(struct bench *b)
{
	plan_app(&b->in, &b->out);
	return b->actions;
}

Test(scheduler, a_launch_that_waits_for_the_node_has_no_deadline)
{
	struct bench b;
	bench_init(&b);
	b.app.candidate = 20;
	b.in.candidate_types = b.in.live_types;
	b.formation[0].count = 2;
	b.in.candidate_since_ms = 1;
	b.in.now_ms = 1 + (int64_t)b.in.health_ms * 100;
	b.in.start_budget = 0; /* and the second one cannot be started for now */
	bench_add(&b, 10, MODEL_INSTANCE_RUNNING, true, true);
	bench_add(&b, 10, MODEL_INSTANCE_RUNNING, true, true);
	bench_add(&b, 20, MODEL_INSTANCE_STARTING, false, false);
	b.instances[2].since_ms = 1;
	b.instances[2].waiting = true;
	bench_plan(&b);
	cr_assert_eq(b.out.count, 0, "verb %d: %s", b.actions[0].verb, b.actions[0].reason);
	b.instances[2].waiting = false;
	bench_plan(&b);
	cr_assert_eq(b.actions[0].verb, PLAN_ABORT);
}

Test(scheduler, starts_what_is_missing)
{
	struct bench b;
	bench_init(&b);
	b.formation[0].count = 3;
	bench_add(&b, 10, MODEL_INSTANCE_RUNNING, true, true);
	const struct plan_action *a = bench_plan(&b);
	cr_assert_eq(b.out.count, 2);
	cr_assert_eq(a[0].verb, PLAN_START);
	cr_assert_eq(a[0].release, 10);
	cr_assert_str_eq(a[0].type, "web");
}

Test(scheduler, start_budget_and_node_draining)
{
	struct bench b;
	bench_init(&b);
	b.formation[0].count = 5;
	b.in.start_budget = 2;
	bench_plan(&b);
	cr_assert_eq(b.out.count, 2);
	cr_assert_neq(b.out.again_ms, INT64_MAX);
	b.in.node_draining = true;
	bench_plan(&b);
	cr_assert_eq(b.out.count, 0);
}

Test(scheduler, full_action_array_is_continued)
{
	struct bench b;
	bench_init(&b);
	b.formation[0].count = 6;
	b.out.cap = 2;
	bench_plan(&b);
	cr_assert_eq(b.out.count, 2);
	cr_assert_eq(b.out.again_ms, b.in.now_ms);
}

Test(scheduler, scale_down_takes_the_newest_but_keeps_the_ready)
{
	struct bench b;
	bench_init(&b);
	bench_add(&b, 10, MODEL_INSTANCE_STARTING, false, false);
	bench_add(&b, 10, MODEL_INSTANCE_RUNNING, true, true);
	bench_add(&b, 10, MODEL_INSTANCE_RUNNING, true, true);
	const struct plan_action *a = bench_plan(&b);
	cr_assert_eq(b.out.count, 2);
	cr_assert_eq(a[0].verb, PLAN_STOP);
	cr_assert_eq(a[0].instance, 1);
	cr_assert_eq(a[1].verb, PLAN_UNROUTE);
	cr_assert_eq(a[1].instance, 3);
	cr_assert_str_eq(a[1].reason, "scaled down");
}

Test(scheduler, formation_of_unknown_types_is_ignored)
{
	struct bench b;
	bench_init(&b);
	b.formation[0] = (struct model_formation){"clock", 3};
	bench_plan(&b);
	cr_assert_eq(b.out.count, 0);
}

Test(scheduler, promotes_when_all_types_are_healthy)
{
	struct bench b;
	bench_init(&b);
	b.app.candidate = 11;
	b.in.candidate_types = web_worker;
	b.formation[1] = (struct model_formation){"worker", 1};
	b.in.formation_count = 2;
	bench_add(&b, 10, MODEL_INSTANCE_RUNNING, true, true);
	bench_add(&b, 11, MODEL_INSTANCE_RUNNING, true, false);
	const struct plan_action *a = bench_plan(&b);
	cr_assert_eq(b.out.count, 1);
	cr_assert_eq(a[0].verb, PLAN_START);
	cr_assert_str_eq(a[0].type, "worker");
	snprintf(bench_add(&b, 11, MODEL_INSTANCE_RUNNING, false, false)->type, 8, "worker");
	bench_plan(&b);
	cr_assert_eq(b.out.count, 0, "waits for the worker");
	b.instances[2].healthy = true;
	a = bench_plan(&b);
	cr_assert_eq(b.out.count, 1);
	cr_assert_eq(a[0].verb, PLAN_PROMOTE);
	cr_assert_eq(a[0].release, 11);
}

Test(scheduler, promotes_at_once_when_nothing_is_wanted)
{
	struct bench b;
	bench_init(&b);
	b.app.candidate = 11;
	b.in.candidate_types = web_only;
	b.formation[0].count = 0;
	cr_assert_eq(bench_plan(&b)[0].verb, PLAN_PROMOTE);
	b.formation[0].count = 2;
	b.app.paused = true;
	cr_assert_eq(bench_plan(&b)[0].verb, PLAN_PROMOTE);
}

Test(scheduler, a_rollout_that_is_paused_ends_unseen)
{
	struct bench b;
	bench_init(&b);
	b.app.candidate = 11;
	b.app.paused = true;
	b.in.candidate_types = web_only;
	b.in.paused_meanwhile = true;
	cr_assert_eq(bench_plan(&b)[0].verb, PLAN_ABORT);
	cr_assert_str_eq(b.actions[0].reason, "the app was paused");
	b.formation[0].count = 0;
	cr_assert_eq(bench_plan(&b)[0].verb, PLAN_PROMOTE, "there was nothing to see");
}

Test(scheduler, old_release_leaves_after_the_new_one_serves)
{
	struct bench b;
	bench_init(&b);
	struct plan_instance *old = bench_add(&b, 9, MODEL_INSTANCE_RUNNING, true, true);
	struct plan_instance *fresh = bench_add(&b, 10, MODEL_INSTANCE_RUNNING, true, false);
	const struct plan_action *a = bench_plan(&b);
	cr_assert_eq(b.out.count, 1);
	cr_assert_eq(a[0].verb, PLAN_ROUTE);
	cr_assert_eq(a[0].instance, 2);
	fresh->routed = true;
	a = bench_plan(&b);
	cr_assert_eq(b.out.count, 1);
	cr_assert_eq(a[0].verb, PLAN_UNROUTE);
	old->routed = false;
	old->state = MODEL_INSTANCE_DRAINING;
	old->since_ms = b.in.now_ms;
	bench_plan(&b);
	cr_assert_eq(b.out.count, 0);
	cr_assert_eq(b.out.again_ms, b.in.now_ms + 30000);
	b.in.now_ms += 30000;
	a = bench_plan(&b);
	cr_assert_eq(a[0].verb, PLAN_STOP);
	cr_assert_eq(a[0].instance, 1);
}

Test(scheduler, abort_tells_the_owner_why)
{
	struct bench b;
	bench_init(&b);
	b.app.candidate = 11;
	b.in.candidate_types = web_only;
	bench_add(&b, 10, MODEL_INSTANCE_RUNNING, true, true);
	bench_add(&b, 11, MODEL_INSTANCE_STARTING, false, false)->since_ms = b.in.now_ms - 60000;
	const struct plan_action *a = bench_plan(&b);
	cr_assert_eq(b.out.count, 1);
	cr_assert_eq(a[0].verb, PLAN_ABORT);
	cr_assert(strstr(a[0].reason, "did not listen on $PORT within 60 s"), "%s", a[0].reason);
	cr_assert(strstr(a[0].reason, "127.0.0.1"), "%s", a[0].reason);
	/* One that only it can reach itself has no time left. */
	b.instances[1].since_ms = b.in.now_ms - 6000;
	a = bench_plan(&b);
	cr_assert(b.out.count == 0 || a[0].verb != PLAN_ABORT);
	b.instances[1].unreachable = true;
	a = bench_plan(&b);
	cr_assert_eq(a[0].verb, PLAN_ABORT);
	cr_assert(strstr(a[0].reason, "on 127.0.0.1 only"), "%s", a[0].reason);
	b.instances[1].unreachable = false;
	b.instances[1].since_ms = b.in.now_ms - 60000;
	snprintf(b.app.health_path, sizeof b.app.health_path, "/up");
	a = bench_plan(&b);
	cr_assert(strstr(a[0].reason, "GET /up"), "%s", a[0].reason);
	/* An exit is told by the back-off row, also when the instance is gone from the list. */
	b.in.instance_count = 1;
	plan_exited(b.backoffs, 11, "web", 0, b.in.now_ms);
	a = bench_plan(&b);
	cr_assert_eq(a[0].verb, PLAN_ABORT);
	cr_assert(strstr(a[0].reason, "exited"), "%s", a[0].reason);
	b.in.candidate_types = NULL;
	cr_assert_eq(bench_plan(&b)[0].verb, PLAN_ABORT);
}

Test(scheduler, rollout_without_room_ends)
{
	struct bench b;
	bench_init(&b);
	b.app.candidate = 11;
	b.in.candidate_types = web_only;
	b.in.start_budget = 0;
	bench_add(&b, 10, MODEL_INSTANCE_RUNNING, true, true);
	bench_plan(&b);
	cr_assert_eq(b.out.count, 0);
	b.in.now_ms += 5 * 60000;
	cr_assert_eq(bench_plan(&b)[0].verb, PLAN_ABORT);
}

Test(scheduler, sick_instance_is_replaced_first)
{
	struct bench b;
	bench_init(&b);
	bench_add(&b, 10, MODEL_INSTANCE_RUNNING, false, true);
	const struct plan_action *a = bench_plan(&b);
	cr_assert_eq(b.out.count, 1);
	cr_assert_eq(a[0].verb, PLAN_START);
	bench_add(&b, 10, MODEL_INSTANCE_RUNNING, true, true);
	a = bench_plan(&b);
	cr_assert_eq(b.out.count, 1);
	cr_assert_eq(a[0].verb, PLAN_UNROUTE);
	cr_assert_eq(a[0].instance, 1);
}

Test(scheduler, paused_stops_all)
{
	struct bench b;
	bench_init(&b);
	b.app.paused = true;
	bench_add(&b, 10, MODEL_INSTANCE_RUNNING, true, true);
	bench_add(&b, 10, MODEL_INSTANCE_STARTING, false, false);
	const struct plan_action *a = bench_plan(&b);
	cr_assert_eq(b.out.count, 2);
	cr_assert_eq(a[0].verb, PLAN_UNROUTE);
	cr_assert_eq(a[1].verb, PLAN_STOP);
}

Test(scheduler, backoff_doubles_and_loops)
{
	struct plan_backoff rows[PLAN_BACKOFFS] = {0};
	const struct plan_backoff *b;

	cr_assert_null(plan_backoff_find(rows, 5, "web"));
	cr_assert_null(plan_backoff_find(rows, 0, ""));
	for (unsigned i = 1; i < PLAN_LOOP_CRASHES; i++) {
		plan_exited(rows, 5, "web", 100, 1000);
		b = plan_backoff_find(rows, 5, "web");
		cr_assert_eq(b->crashes, i);
		cr_assert_eq(b->retry_ms, 1000 + (PLAN_RETRY_MS << (i - 1)));
		cr_assert_not(b->looping);
	}
	plan_exited(rows, 5, "web", 100, 1000);
	b = plan_backoff_find(rows, 5, "web");
	cr_assert(b->looping);
	cr_assert_eq(b->retry_ms, 1000 + PLAN_LOOP_MS);
	plan_exited(rows, 5, "web", PLAN_STABLE_MS, 9000);
	cr_assert_eq(b->crashes, 1);
	cr_assert_not(b->looping);
	/* A full table forgets the oldest crash, not the newest. */
	for (int64_t r = 100; r < 100 + PLAN_BACKOFFS; r++)
		plan_exited(rows, r, "web", 0, 10000 + r);
	cr_assert_null(plan_backoff_find(rows, 5, "web"));
	cr_assert_not_null(plan_backoff_find(rows, 100 + PLAN_BACKOFFS - 1, "web"));
}

Test(scheduler, backoff_holds_the_start)
{
	struct bench b;
	bench_init(&b);
	b.formation[0].count = 3;
	plan_exited(b.backoffs, 10, "web", 0, b.in.now_ms);
	bench_plan(&b);
	cr_assert_eq(b.out.count, 0);
	cr_assert_eq(b.out.again_ms, b.in.now_ms + PLAN_RETRY_MS);
	b.in.now_ms += PLAN_RETRY_MS;
	bench_plan(&b);
	cr_assert_eq(b.out.count, 3);
	for (unsigned i = 0; i < PLAN_LOOP_CRASHES; i++)
		plan_exited(b.backoffs, 10, "web", 0, b.in.now_ms);
	b.in.now_ms += PLAN_LOOP_MS;
	bench_plan(&b);
	cr_assert_eq(b.out.count, 1, "a looping type is probed by one");
}

Test(scheduler, instance_moves)
{
	static const char allowed[MODEL_INSTANCE_STATE_COUNT][MODEL_INSTANCE_STATE_COUNT + 1] = {
		".x.xx", "..xxx", "...xx", "....x", "....."};
	for (int f = 0; f < MODEL_INSTANCE_STATE_COUNT; f++)
		for (int t = 0; t < MODEL_INSTANCE_STATE_COUNT; t++) {
			struct model_instance i = {.id = 4, .state = (enum model_instance_state)f};
			struct err e = {0};
			int r = instance_state_move(&i, (enum model_instance_state)t, &e);
			cr_assert_eq(r, allowed[f][t] == 'x' ? 0 : -EPERM, "%d -> %d", f, t);
			cr_assert_eq((int)i.state, r ? f : t);
		}
	cr_assert_not(instance_may(MODEL_INSTANCE_STARTING, MODEL_INSTANCE_STATE_COUNT));
}

Test(scheduler, fits)
{
	struct quota_limits one = {.memory = 256ull << 20, .cpu = 1000, .pids = 256};
	struct quota quota = {.memory = 4ull << 30, .cpu = 4000, .pids = 4096, .instances = 100};
	struct plan_capacity used = {.memory = 3840ull << 20, .cpu = 64000, .pids = 3840, .instances = 99}, none = {0};
	struct plan_capacity total = {.memory = 1ull << 30, .pids = 1000, .instances = 5}, node = {0};
	struct err e = {0};

	cr_assert_eq(plan_fits(&one, &used, &quota, &none, &none, &e), 0, "%s", e.text);
	used.memory++;
	cr_assert_eq(plan_fits(&one, &used, &quota, &none, &none, &e), -EDQUOT);
	cr_assert_str_eq(e.field, "quota.memory");
	cr_assert_str_eq(e.text, "memory quota 4 GiB, 3.7 GiB committed, 255 MiB left, 256 MiB needed");
	used.memory = 5ull << 30; /* the quota was lowered since */
	cr_assert_eq(plan_fits(&one, &used, &quota, &none, &none, &e), -EDQUOT);
	used = none;
	used.pids = 4000;
	cr_assert_eq(plan_fits(&one, &used, &quota, &none, &none, &e), -EDQUOT);
	cr_assert_str_eq(e.field, "quota.pids");
	used = none;
	used.instances = 100;
	cr_assert_eq(plan_fits(&one, &used, &quota, &none, &none, &e), -EDQUOT);
	cr_assert_str_eq(e.field, "quota.instances");
	used = none;
	one.cpu = 4001;
	cr_assert_eq(plan_fits(&one, &used, &quota, &none, &none, &e), -EDQUOT);
	cr_assert_str_eq(e.field, "quota.cpu");
	cr_assert_str_eq(e.text, "CPU quota 4 cores, one instance may use 4.001 cores");
	one.cpu = 4000;
	cr_assert_eq(plan_fits(&one, &used, &quota, &node, &total, &e), 0);
	node.memory = 900ull << 20;
	cr_assert_eq(plan_fits(&one, &used, &quota, &node, &total, &e), -EDQUOT);
	cr_assert_str_eq(e.field, "node.memory");
	node = none;
	node.instances = 5;
	cr_assert_eq(plan_fits(&one, &used, &quota, &node, &total, &e), -EDQUOT);
	cr_assert_str_eq(e.field, "node.instances");
}

Test(scheduler, fits_disk_and_files)
{
	struct quota_limits one = {.disk = 128ull << 20, .inodes = 1000};
	struct quota quota = {.disk = 1ull << 30, .inodes = 2500, .instances = 100};
	struct plan_capacity used = {.disk = 896ull << 20, .inodes = 1500}, none = {0};
	struct err e = {0};

	cr_assert_eq(plan_fits(&one, &used, &quota, &none, &none, &e), 0, "%s", e.text);
	used.inodes++;
	cr_assert_eq(plan_fits(&one, &used, &quota, &none, &none, &e), -EDQUOT);
	cr_assert_str_eq(e.field, "quota.inodes");
	cr_assert_str_eq(e.text, "file quota 2500, 1501 committed, 999 left, 1000 needed");
	used.disk += 28ull << 20;
	cr_assert_eq(plan_fits(&one, &used, &quota, &none, &none, &e), -EDQUOT);
	cr_assert_str_eq(e.text, "disk quota 1 GiB, 924 MiB committed, 100 MiB left, 128 MiB needed");
}

/* Limits of what runs: only growth is looked at, for all instances together. */
Test(scheduler, fits_more)
{
	struct quota_limits was = {.memory = 256ull << 20, .pids = 100, .disk = 64ull << 20, .inodes = 100}, is = was;
	struct quota quota = {.memory = 1ull << 30, .pids = 300, .disk = 1ull << 30, .inodes = 1000, .instances = 3};
	struct plan_capacity used = {.memory = 768ull << 20, .pids = 300, .disk = 2ull << 30, .instances = 3},
			     none = {0};
	struct err e = {0};

	cr_assert_eq(plan_fits_more(&was, &is, 3, &used, &quota, &none, &none, &e), 0,
		     "over a lowered quota: may stay");
	is.memory = 341ull << 20;
	cr_assert_eq(plan_fits_more(&was, &is, 3, &used, &quota, &none, &none, &e), 0, "%s", e.text);
	is.memory = 342ull << 20;
	cr_assert_eq(plan_fits_more(&was, &is, 3, &used, &quota, &none, &none, &e), -EDQUOT);
	cr_assert_str_eq(e.text, "memory quota 1 GiB, 768 MiB committed, 256 MiB left, 258 MiB needed");
	is.memory = 1;
	is.pids = 1;
	cr_assert_eq(plan_fits_more(&was, &is, 3, &used, &quota, &none, &none, &e), 0, "less is always allowed");
	is.disk++;
	cr_assert_eq(plan_fits_more(&was, &is, 0, &used, &quota, &none, &none, &e), 0, "nothing runs");
	is.disk = was.disk + 1;
	cr_assert_eq(plan_fits_more(&was, &is, 3, &used, &quota, &none, &none, &e), -EDQUOT);
	cr_assert_str_eq(e.field, "quota.disk");
}

Test(scheduler, names)
{
	for (int v = 0; v < PLAN_VERB_COUNT; v++)
		cr_assert_str_neq(plan_verb_name((enum plan_verb)v), "unknown");
	cr_assert_str_eq(plan_verb_name(PLAN_VERB_COUNT), "unknown");
}

/* A canary's web instances run and are routed beside the live release's; other types, roll-outs and its end. */
Test(scheduler, a_canary_runs_beside_the_live_release)
{
	static const char *const web_and_more[] = {"web", "worker", NULL};
	struct bench b;
	const struct plan_action *a;

	bench_init(&b);
	b.app.canary = 20;
	b.in.canary_types = web_and_more;
	b.in.canary_count = 2;
	b.formation[1] = (struct model_formation){"worker", 3};
	b.in.formation_count = 2;
	bench_add(&b, 10, MODEL_INSTANCE_RUNNING, true, true);
	a = bench_plan(&b);
	cr_assert_eq(b.out.count, 2);
	for (unsigned i = 0; i < 2; i++)
		cr_assert(a[i].verb == PLAN_START && a[i].release == 20 && strcmp(a[i].type, "web") == 0);
	bench_add(&b, 20, MODEL_INSTANCE_RUNNING, true, false);
	bench_add(&b, 20, MODEL_INSTANCE_STARTING, false, false);
	a = bench_plan(&b);
	cr_assert_eq(b.out.count, 1);
	cr_assert(a[0].verb == PLAN_ROUTE && a[0].instance == 2);
	b.instances[1].routed = b.instances[2].routed = true;
	b.instances[2].state = MODEL_INSTANCE_RUNNING;
	b.instances[2].healthy = true;
	bench_plan(&b);
	cr_assert_eq(b.out.count, 0);
	/* Fewer of it. */
	b.in.canary_count = 1;
	a = bench_plan(&b);
	cr_assert(b.out.count == 1 && a[0].verb == PLAN_UNROUTE && a[0].instance == 3);
	b.in.canary_count = 2;
	/* Another release is rolled out meanwhile: the canary stays. */
	b.app.candidate = 30;
	b.in.candidate_types = web_only;
	a = bench_plan(&b);
	cr_assert(b.out.count == 1 && a[0].verb == PLAN_START && a[0].release == 30);
	/* It is rolled out itself: what runs of it counts. */
	b.app.candidate = 20;
	a = bench_plan(&b);
	cr_assert(b.out.count == 1 && a[0].verb == PLAN_PROMOTE && a[0].release == 20);
	b.app.candidate = 0;
	/* Paused, or given up: it leaves like any other. */
	b.app.paused = true;
	bench_plan(&b);
	cr_assert_eq(b.out.count, 3);
	b.app.paused = false;
	b.app.canary = 0;
	a = bench_plan(&b);
	cr_assert_eq(b.out.count, 2);
	cr_assert(a[0].verb == PLAN_UNROUTE && a[1].verb == PLAN_UNROUTE);
	/* "The next one" is no release. */
	b.app.canary = MODEL_CANARY_NEXT;
	b.in.instance_count = 1;
	bench_plan(&b);
	cr_assert_eq(b.out.count, 0);
}

Test(scheduler, a_held_roll_out_starts_no_canary)
{
	struct bench b;

	bench_init(&b);
	b.app.canary = 20;
	b.app.candidate = 30;
	b.in.hold = true;
	b.in.canary_types = web_only;
	b.in.canary_count = 1;
	bench_add(&b, 10, MODEL_INSTANCE_RUNNING, true, true);
	bench_plan(&b);
	for (unsigned i = 0; i < b.out.count; i++)
		cr_assert_neq(b.actions[i].verb, PLAN_START, "release %d", (int)b.actions[i].release);
}

Test(scheduler, a_canary_that_crashes_is_started_again_later)
{
	struct bench b;
	const struct plan_action *a;

	bench_init(&b);
	b.app.canary = 20;
	b.in.canary_types = web_only;
	b.in.canary_count = 1;
	bench_add(&b, 10, MODEL_INSTANCE_RUNNING, true, true);
	plan_exited(b.backoffs, 20, "web", 0, b.in.now_ms);
	bench_plan(&b);
	cr_assert_eq(b.out.count, 0);
	cr_assert_eq(b.out.again_ms, b.in.now_ms + PLAN_RETRY_MS);
	b.in.now_ms += PLAN_RETRY_MS;
	a = bench_plan(&b);
	cr_assert(b.out.count == 1 && a[0].verb == PLAN_START && a[0].release == 20);
}
