/* What is shown of instances: the sick told from the well, whose place one takes, what is told once. */
#include "tests/unit/control_fake.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define MIB (1ull << 20)

static struct fake f;
static int64_t app;

struct seen {
	const char *kind;
	unsigned n;
	char text[384];
};

static int see(void *arg, const struct model_event *ev)
{
	struct seen *s = arg;

	if (strcmp(ev->kind, s->kind) == 0 && s->n++ == 0)
		memcpy(s->text, ev->text, sizeof s->text); /* the newest comes first */
	return 0;
}

static struct seen events(const char *kind)
{
	struct seen s = {.kind = kind};

	store_event_list(f.control->store, 0, 0, 0, 1000, see, &s, NULL);
	return s;
}

static bool two_up(struct fake *x)
{
	return x->up == 2;
}

static void set_web(unsigned n)
{
	cr_assert_eq(store_formation_set(f.control->store, app, "web", n, NULL), 0);
	f.control->ops.app_changed(f.control, app);
}

static void set_memory(uint64_t bytes)
{
	struct model_tenant t;

	cr_assert_eq(store_tenant_find(f.control->store, "acme", &t, NULL), 0);
	t.quota.memory = bytes;
	cr_assert_eq(store_tenant_set(f.control->store, &t, NULL, NULL), 0);
	f.control->ops.tenant_changed(f.control, t.id);
}

/* Two web instances of the first release run. */
static void begin(void)
{
	fake_start(&f);
	app = fake_app_new(&f, "shop");
	cr_assert(fake_deploy(&f, app));
	set_web(2);
	cr_assert(fake_until(&f, two_up, 5000));
	fake_run(&f, 50);
}

static struct control_instance *newest(void)
{
	struct fake_instance *i = fake_newest(&f, app);
	int64_t id = i ? (int64_t)i->launch.instance : 0;

	return map_get(f.control->instances, &id, sizeof id);
}

static const char *stat_text(const char *key)
{
	static char text[512];
	json_t *stats = f.control->ops.app_stats(f.control, app), *v = json_object_get(stats, key);

	if (json_is_integer(v))
		snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
	else
		snprintf(text, sizeof text, "%s", json_is_string(v) ? json_string_value(v) : "null");
	json_decref(stats);
	return text;
}

Test(control_shown, a_sick_one_that_cannot_be_replaced_is_not_called_well)
{
	begin();
	cr_assert_str_eq(stat_text("state"), "running");
	cr_assert_str_eq(stat_text("instances_healthy"), "2");
	set_memory(128 * MIB);
	control_instance_healthy(newest(), false, "nothing accepts connections on port 8080");
	fake_run(&f, 100);
	cr_assert_str_eq(stat_text("state"), "degraded");
	cr_assert_str_eq(stat_text("instances_running"), "2");
	cr_assert_str_eq(stat_text("instances_healthy"), "1");
	cr_assert(strstr(stat_text("waiting"),
			 "1 unhealthy instance cannot be replaced: tenant acme: memory quota 128 MiB"),
		  "%s", stat_text("waiting"));
	/* With room it is replaced. */
	set_memory(512 * MIB);
	cr_assert_str_eq(stat_text("waiting"), "null");
	fake_run(&f, 3000);
	cr_assert_str_eq(stat_text("state"), "running");
	cr_assert_str_eq(stat_text("instances_healthy"), "2");
	fake_stop(&f);
}

Test(control_shown, a_refusal_that_goes_on_is_told_once)
{
	begin();
	set_memory(128 * MIB);
	control_instance_healthy(newest(), false, "nothing accepts connections on port 8080");
	fake_run(&f, 5000); /* tried again every 2 s */
	cr_assert_eq(events("instance.refused").n, 1, "%u", events("instance.refused").n);
	cr_assert(strstr(events("instance.refused").text, "memory quota 128 MiB"), "%s",
		  events("instance.refused").text);
	fake_stop(&f);
}

static bool three_up(struct fake *x)
{
	return x->up == 3;
}

Test(control_shown, a_canary_that_is_refused_is_told_once)
{
	struct model_app row;

	begin();
	cr_assert_eq(store_app_get(f.control->store, app, &row, NULL), 0);
	row.canary = MODEL_CANARY_NEXT;
	cr_assert_eq(store_app_update(f.control->store, &row, NULL), 0);
	f.control->ops.app_changed(f.control, app);
	cr_assert(fake_deploy(&f, app));
	cr_assert(fake_until(&f, three_up, 5000));
	set_memory(128 * MIB);
	fake_exit(&f, fake_newest(&f, app), MSG_EXIT_CODE, 1);
	fake_run(&f, 6000);
	cr_assert_eq(events("instance.refused").n, 1, "%u", events("instance.refused").n);
	fake_stop(&f);
}
