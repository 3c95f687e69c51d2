/* Releases against a fake supervisor: what pausing, restarts and canaries make of them. */
#include "tests/unit/control_fake.h"

#include "base/own.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static struct fake f;
static int64_t app;
static char event_text[384];

static int last_event(void *arg, const struct model_event *ev)
{
	if (strcmp(ev->kind, arg) == 0)
		memcpy(event_text, ev->text, sizeof event_text);
	return 0;
}

/* The text of the newest of a kind; "" when there is none. */
static const char *event(char *kind)
{
	event_text[0] = 0;
	store_event_list(f.control->store, 0, 0, 0, 1000, last_event, kind, NULL);
	return event_text;
}

static bool one_up(struct fake *x)
{
	return fake_alive(x, app) == 1 && x->up == 1;
}

static bool two_alive(struct fake *x)
{
	return fake_alive(x, app) == 2;
}

static bool none_alive(struct fake *x)
{
	return fake_alive(x, app) == 0;
}

static bool settled(struct fake *x)
{
	(void)x;
	return control_app_get(f.control, app)->rec.candidate == 0;
}

static enum model_release_state state_of(uint32_t version)
{
	struct model_release r = {0};
	enum model_release_state s;

	cr_assert_eq(store_release_find(f.control->store, app, version, &r, NULL), 0);
	s = r.state;
	model_release_done(&r);
	return s;
}

static int64_t origin_of(uint32_t version)
{
	struct model_release r = {0};
	int64_t origin;

	cr_assert_eq(store_release_find(f.control->store, app, version, &r, NULL), 0);
	origin = r.origin;
	model_release_done(&r);
	return origin;
}

static void change(void (*what)(struct model_app *a, int64_t value), int64_t value)
{
	struct model_app a;

	cr_assert_eq(store_app_get(f.control->store, app, &a, NULL), 0);
	what(&a, value);
	cr_assert_eq(store_app_update(f.control->store, &a, NULL), 0);
	f.control->ops.app_changed(f.control, app);
}

static void set_paused(struct model_app *a, int64_t value)
{
	a->paused = value;
}

static void begin(void)
{
	fake_start(&f);
	app = fake_app_new(&f, "shop");
	cr_assert(fake_deploy(&f, app), "%s", f.error);
}

static void release_new(int64_t from, bool its_config, const char *note)
{
	uint32_t version;
	struct err e = {0};

	cr_assert_eq(f.control->ops.release_new(f.control, app, from, its_config, note, &version, &e), 0, "%s", e.text);
}

Test(control, pausing_ends_a_rollout)
{
	begin();
	f.next_app = FAKE_APP_DEAF;
	release_new(0, false, "Restart");
	cr_assert(fake_until(&f, two_alive, 2000));
	change(set_paused, true);
	cr_assert(fake_until(&f, none_alive, 3000));
	cr_assert_str_eq(event("deploy.failed"), "v2 failed: the app was paused");
	cr_assert_eq(state_of(1), MODEL_RELEASE_LIVE);
	cr_assert_eq(state_of(2), MODEL_RELEASE_FAILED);
	f.next_app = FAKE_APP_LISTENS;
	change(set_paused, false);
	cr_assert(fake_until(&f, one_up, 3000), "the release before it serves again");
	cr_assert(strstr(fake_newest(&f, app)->env, "TULOU_RELEASE=v1\n"));

	/* Of an app that was paused before, nothing was to be seen: as it asks for. */
	change(set_paused, true);
	cr_assert(fake_until(&f, none_alive, 3000));
	release_new(0, false, "Restart");
	cr_assert(fake_until(&f, settled, 2000));
	cr_assert_eq(state_of(3), MODEL_RELEASE_LIVE);
	cr_assert(strstr(event("deploy.succeeded"), "nothing runs of it, as the app is paused"), "%s", event_text);
	fake_stop(&f);
}

/* What a failed roll-out was to bring comes with the next release, whatever makes it. */
Test(control, a_restart_has_the_config_as_it_is_set)
{
	begin();
	cr_assert_eq(store_config_set(f.control->store, app, "BOOM", "1", NULL), 0);
	f.next_app = FAKE_APP_EXITS;
	release_new(0, false, "Set config BOOM");
	cr_assert(fake_until(&f, settled, 3000));
	cr_assert_eq(state_of(2), MODEL_RELEASE_FAILED);
	f.next_app = FAKE_APP_LISTENS;
	release_new(0, false, "Restart");
	cr_assert(fake_until(&f, settled, 3000));
	cr_assert(fake_until(&f, one_up, 3000));
	cr_assert(strstr(fake_newest(&f, app)->env, "BOOM=1\n"));
	fake_stop(&f);
}

static void set_canary(struct model_app *a, int64_t value)
{
	a->canary = value;
}

static bool canary_aborted(struct fake *x)
{
	(void)x;
	return *event("canary.aborted") != 0;
}

/* A second try as the canary, or to promote that, takes nothing from a release that has served. */
Test(control, a_canary_that_ends_stays_a_release_that_served)
{
	struct err e = {0};

	begin();
	cr_assert(fake_deploy(&f, app), "%s", f.error);
	cr_assert(fake_until(&f, one_up, 2000));
	cr_assert_eq(state_of(1), MODEL_RELEASE_RETIRED);
	f.next_app = FAKE_APP_EXITS;
	change(set_canary, 1);
	cr_assert(fake_until(&f, canary_aborted, 5000));
	cr_assert(strstr(event("canary.aborted"), "v1 is the canary no more"), "%s", event_text);
	cr_assert_eq(state_of(1), MODEL_RELEASE_RETIRED);

	f.next_app = FAKE_APP_DEAF;
	change(set_canary, 1);
	cr_assert_eq(f.control->ops.canary_promote(f.control, app, &e), 0, "%s", e.text);
	cr_assert(fake_until(&f, settled, 3000));
	cr_assert(strstr(event("deploy.failed"), "v1 failed"), "%s", event_text);
	cr_assert_eq(state_of(1), MODEL_RELEASE_RETIRED);
	fake_stop(&f);
}

static void roll(int64_t from, bool its_config, int64_t origin)
{
	uint32_t version;
	struct err e = {0};

	cr_assert_eq(f.control->ops.release_new(f.control, app, from, its_config, "Roll", &version, &e), 0, "%s",
		     e.text);
	cr_assert(fake_until(&f, settled, 3000));
	cr_assert_eq(origin_of(version), origin, "v%u", version);
}

/* What a release repeats is the first one that was so. */
Test(control, a_release_knows_which_it_repeats)
{
	begin();
	cr_assert_eq(origin_of(1), 0);
	roll(0, false, 1);
	roll(0, false, 1);
	cr_assert_eq(store_config_set(f.control->store, app, "COLOUR", "blue", NULL), 0);
	roll(0, false, 0); /* v4 */
	roll(0, false, 4);
	roll(3, true, 1);
	fake_stop(&f);
}

/* One that is deployed while nothing may run is seen when the app is resumed, and must do well then. */
Test(control, a_canary_of_a_paused_app_does_not_serve)
{
	begin();
	change(set_canary, MODEL_CANARY_NEXT);
	change(set_paused, true);
	cr_assert(fake_until(&f, none_alive, 3000));
	cr_assert(fake_deploy(&f, app), "%s", f.error);
	cr_assert(strstr(f.log, "v2 is the canary; nothing runs of it, as the app is paused"), "%s", f.log);
	cr_assert_str_eq(event("canary.serving"), "");
	f.next_app = FAKE_APP_EXITS;
	change(set_paused, false);
	cr_assert(fake_until(&f, canary_aborted, 5000));
	cr_assert(strstr(event("canary.aborted"), "v2 is the canary no more"), "%s", event_text);
	cr_assert_eq(state_of(2), MODEL_RELEASE_FAILED);
	fake_stop(&f);
}
