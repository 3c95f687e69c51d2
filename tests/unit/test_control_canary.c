/* A canary: its deploy waits for it, it is given up when it fails, and both sides are counted. */
#include "tests/unit/control_fake.h"

#include "base/own.h"

#include <criterion/criterion.h>
#include <string.h>

static struct fake f;
static int64_t app;
static char event_text[384];

static int count_event(void *arg, const struct model_event *ev)
{
	struct {
		const char *kind;
		unsigned n;
	} *c = arg;

	if (strcmp(ev->kind, c->kind) == 0) {
		c->n++;
		memcpy(event_text, ev->text, sizeof event_text);
	}
	return 0;
}

static unsigned events(const char *kind)
{
	struct {
		const char *kind;
		unsigned n;
	} c = {.kind = kind};

	event_text[0] = 0;
	store_event_list(f.control->store, 0, 0, 0, 1000, count_event, &c, NULL);
	return c.n;
}

static struct model_app row(void)
{
	struct model_app a;

	cr_assert_eq(store_app_get(f.control->store, app, &a, NULL), 0);
	return a;
}

static void canary_set(int64_t release)
{
	struct model_app a = row();

	a.canary = release;
	cr_assert_eq(store_app_update(f.control->store, &a, NULL), 0);
	f.control->ops.app_changed(f.control, app);
}

static bool two_up(struct fake *x)
{
	return fake_alive(x, app) == 2 && x->up == 2;
}

static bool one_up(struct fake *x)
{
	return fake_alive(x, app) == 1 && x->up == 1;
}

static void begin(void)
{
	fake_start(&f);
	app = fake_app_new(&f, "shop");
	cr_assert(fake_deploy(&f, app), "%s", f.error);
	canary_set(MODEL_CANARY_NEXT);
}

Test(control, canary_deploy_waits_until_it_serves)
{
	json_t *j;

	begin();
	cr_assert(fake_deploy(&f, app), "%s", f.error);
	cr_assert(two_up(&f), "%u of it serve when the deploy is over", f.up);
	cr_assert(strstr(f.log, "v2 is started as the canary") && strstr(f.log, "v2 is the canary and serves its part"),
		  "%s", f.log);
	cr_assert_eq(events("canary.started"), 1u);
	cr_assert_eq(events("canary.serving"), 1u);
	j = f.control->ops.canary(f.control, app);
	cr_assert_str_eq(json_string_value(json_object_get(j, "state")), "serving");
	cr_assert_eq(json_integer_value(json_object_get(j, "running")), 1);
	json_decref(j);
	fake_stop(&f);
}

Test(control, canary_that_exits_fails_its_deploy)
{
	begin();
	f.next_app = FAKE_APP_EXITS;
	f.watch = true;
	f.up_min = 100;
	cr_assert(!fake_deploy(&f, app), "%s", f.log);
	cr_assert(strstr(f.error, "web exited with code 3"), "%s", f.error);
	cr_assert_eq(row().canary, 0);
	cr_assert_eq(events("canary.aborted"), 1u);
	cr_assert(strstr(event_text, "v2") && strstr(event_text, "exited with code 3"), "%s", event_text);
	cr_assert(fake_until(&f, one_up, 2000));
	cr_assert_geq(f.up_min, 1u, "the live release serves on");
	cr_assert_null(f.control->ops.canary(f.control, app));
	fake_stop(&f);
}

Test(control, canary_that_never_listens_fails_its_deploy)
{
	begin();
	f.next_app = FAKE_APP_DEAF;
	cr_assert(!fake_deploy(&f, app), "%s", f.log);
	cr_assert(strstr(f.error, "$PORT"), "%s", f.error);
	cr_assert_eq(row().canary, 0);
	cr_assert(fake_until(&f, one_up, 2000));
	fake_stop(&f);
}

/* One that has served may come back twice. */
Test(control, canary_that_keeps_crashing_is_given_up)
{
	begin();
	cr_assert(fake_deploy(&f, app), "%s", f.error);
	for (unsigned n = 1; n <= 3; n++) {
		struct fake_instance *i = fake_newest(&f, app);

		fake_exit(&f, i, MSG_EXIT_CODE, 1);
		if (n < 3) {
			cr_assert(fake_until(&f, two_up, 6000), "crash %u: it is started again", n);
			cr_assert_eq(events("canary.aborted"), 0u, "crash %u: %s", n, event_text);
		}
	}
	fake_run(&f, 200);
	cr_assert_eq(events("canary.aborted"), 1u);
	cr_assert(strstr(event_text, "3 times in a row"), "%s", event_text);
	cr_assert_eq(row().canary, 0);
	cr_assert(one_up(&f));
	fake_stop(&f);
}

Test(control, canary_ended_by_its_owner_ends_the_wait)
{
	begin();
	f.next_app = FAKE_APP_WAITS; /* its launch is late, so the deploy still waits */
	f.ignore_barrier = false;
	cr_assert(fake_deploy(&f, app), "%s", f.error);
	canary_set(0);
	cr_assert(fake_until(&f, one_up, 3000));
	cr_assert_eq(events("canary.aborted"), 0u, "what its owner ends is no failure");
	fake_stop(&f);
}

/* A control that is killed goes on with the canary as it was. */
Test(control, canary_outlives_control)
{
	begin();
	cr_assert(fake_deploy(&f, app), "%s", f.error);
	fake_restart(&f);
	fake_run(&f, 300);
	cr_assert(two_up(&f));
	cr_assert_gt(row().canary, 0);
	cr_assert_eq(events("canary.aborted"), 0u);
	fake_stop(&f);
}

Test(control, formation_of_an_unknown_type_is_told)
{
	json_t *j;

	fake_start(&f);
	app = fake_app_new(&f, "shop");
	f.extra = "formation: { web: 1, wroker: 2 }\n";
	cr_assert(fake_deploy(&f, app), "%s", f.error);
	cr_assert(strstr(f.log, "there is no process type \"wroker\"") && strstr(f.log, "the release has: web"), "%s",
		  f.log);
	cr_assert_null(strstr(f.log, "type \"web\""));
	/* Nothing was asked yet: no quantiles, all counters there. */
	j = f.control->ops.latency(f.control, app);
	cr_assert(json_is_null(json_object_get(json_object_get(j, "recent"), "duration")));
	cr_assert_eq(json_integer_value(json_object_get(json_object_get(j, "refused"), "auth-required")), 0);
	json_decref(j);
	fake_stop(&f);
}
