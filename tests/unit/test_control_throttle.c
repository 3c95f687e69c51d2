/* control_throttle.c: samples become rates, decisions become messages, owners and operators see them. */
#include "control_fake.h"

#include "agent/roles/control_core.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

static struct fake f;
static int64_t app;

static struct control_instance *one(struct control *c)
{
	int64_t id = (int64_t)fake_newest(&f, app)->launch.instance;

	return map_get(c->instances, &id, sizeof id);
}

static void start(void)
{
	fake_start(&f);
	app = fake_app_new(&f, "shop");
	cr_assert(fake_deploy(&f, app));
}

Test(control_throttle, samples_become_rates)
{
	struct control *c;
	struct control_instance *ci;

	start();
	c = f.control;
	ci = one(c);
	control_throttle_usage(c, &ci->use, 1000000);
	cr_assert_eq(ci->use.used, 0, "one sample is no rate");
	cr_assert_not(ci->use.listed);
	ci->use.at_ms -= 1000;
	control_throttle_usage(c, &ci->use, 1500000);
	cr_assert(ci->use.used >= 450 && ci->use.used <= 500, "%u", ci->use.used);
	cr_assert(ci->use.listed);
	control_throttle_usage(c, &ci->use, 9500000);
	cr_assert_leq(ci->use.used, 500, "two samples of one moment");
	/* Idle for long: it leaves the list. */
	ci->use.at_ms -= 60000;
	control_throttle_tick(c);
	cr_assert_not(ci->use.listed);
	fake_stop(&f);
}

static void lower(struct control *c, struct control_instance *ci)
{
	struct control_tenant *t = ci->app->tenant;

	ci->use.at_ms = control_now_ms();
	ci->use.used = 900;
	ci->use.state = (struct throttle_state){
		.weight = 1, .cpu = 700, .want = 900, .share = 500, .level = 2, .since_ms = control_now_ms() - 60000};
	ci->use.listed = true;
	TAILQ_INSERT_TAIL(&c->throttle.busy, &ci->use, link);
	t->throttle = (struct throttle_state){.weight = 1, .level = 2, .since_ms = 1};
	t->is_held = true;
	TAILQ_INSERT_TAIL(&c->throttle.held, t, held);
}

static const char *counted;

static int count_event(void *arg, const struct model_event *ev)
{
	*(unsigned *)arg += strcmp(ev->kind, counted) == 0;
	return 0;
}

static unsigned events(struct control *c, const char *kind)
{
	unsigned n = 0;

	counted = kind;
	cr_assert_geq(store_event_list(c->store, 0, app, 0, 1000, count_event, &n, NULL), 0);
	return n;
}

Test(control_throttle, who_yields_is_seen_and_told)
{
	struct control *c;
	struct control_instance *ci;
	json_t *arr = json_array(), *node, *o;
	struct buf text;

	start();
	c = f.control;
	ci = one(c);
	c->ops.instances(c, app, arr);
	cr_assert(json_is_null(json_object_get(json_array_get(arr, 0), "throttle")));
	json_array_clear(arr);
	lower(c, ci);
	control_throttle_tick(c);
	cr_assert_eq(events(c, "instance.slowed"), 1);
	control_throttle_tick(c);
	cr_assert_eq(events(c, "instance.slowed"), 1, "once");

	c->ops.instances(c, app, arr);
	o = json_object_get(json_array_get(arr, 0), "throttle");
	cr_assert_str_eq(json_string_value(json_object_get(o, "state")), "slowed");
	cr_assert_eq(json_integer_value(json_object_get(o, "weight")), 1);
	cr_assert_not_null(strstr(json_string_value(json_object_get(o, "reason")), "fair share"));
	node = c->ops.node(c);
	o = json_object_get(node, "throttle");
	cr_assert_str_eq(json_string_value(json_object_get(o, "mode")), "auto");
	cr_assert_eq(json_integer_value(json_object_get(o, "slowed")), 1);
	cr_assert_eq(json_array_size(json_object_get(o, "items")), 1);
	buf_init(&text, 1 << 20);
	c->ops.metrics(c, &text);
	cr_assert(
		strstr(text.data, "tulou_instance_throttle_weight_ratio{tenant=\"acme\",app=\"shop\",instance=\"web."));
	cr_assert(strstr(text.data, "tulou_node_instances_slowed 1\n"));
	buf_done(&text);
	json_decref(arr);
	json_decref(node);
	fake_stop(&f);
}

Test(control_throttle, off_gives_all_back_and_tells)
{
	struct control *c;
	struct control_instance *ci;

	start();
	c = f.control;
	ci = one(c);
	lower(c, ci);
	ci->use.told = true;
	c->settings.throttle = false;
	control_throttle_tick(c);
	cr_assert_eq(ci->use.state.weight, 0);
	cr_assert_eq(ci->use.state.cpu, 0);
	cr_assert_eq(ci->app->tenant->throttle.weight, 0);
	cr_assert_not(ci->app->tenant->is_held);
	cr_assert_eq(events(c, "instance.unslowed"), 1);
	cr_assert_eq(c->throttle.changes_total, 2);
	fake_run(&f, 50);
	cr_assert_eq(f.throttles, 2, "a message for the tenant and one for the instance");
	fake_stop(&f);
}

Test(control_throttle, an_instance_that_ends_is_forgotten)
{
	struct control *c;

	start();
	c = f.control;
	lower(c, one(c));
	fake_exit(&f, fake_newest(&f, app), MSG_EXIT_CODE, 1);
	fake_run(&f, 50);
	cr_assert(TAILQ_EMPTY(&c->throttle.busy));
	control_throttle_tick(c);
	fake_stop(&f);
}
