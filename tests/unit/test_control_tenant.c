/* Totals, limits and egress on their way to the supervisor; what was hit on its way to the tenant. */
#include "tests/unit/control_fake.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MIB (1ull << 20)

static struct fake f;
static int64_t app;

struct seen {
	const char *kind;
	unsigned n;
	int64_t tenant, app;
	char text[384];
};

static int see(void *arg, const struct model_event *ev)
{
	struct seen *s = arg;

	if (strcmp(ev->kind, s->kind) != 0)
		return 0;
	s->n++;
	s->tenant = ev->tenant;
	s->app = ev->app;
	memcpy(s->text, ev->text, sizeof s->text);
	return 0;
}

static struct seen events(const char *kind)
{
	struct seen s = {.kind = kind};

	store_event_list(f.control->store, 0, 0, 0, 1000, see, &s, NULL);
	return s;
}

static struct model_tenant acme(void)
{
	struct model_tenant t;

	cr_assert_eq(store_tenant_find(f.control->store, "acme", &t, NULL), 0);
	return t;
}

static unsigned least;

static bool tenants_told(struct fake *x)
{
	return x->tenants >= least;
}

static bool limits_told(struct fake *x)
{
	return x->limit_count >= least;
}

/* Waits until so many messages were seen, and a little for one too many. */
static void told(bool (*count)(struct fake *x), unsigned n)
{
	least = n;
	cr_assert(fake_until(&f, count, 5000), "tenants %u limits %u of %u", f.tenants, f.limit_count, n);
	fake_run(&f, 10);
}

static void begin(void)
{
	fake_start(&f);
	app = fake_app_new(&f, "shop");
	cr_assert(fake_deploy(&f, app));
}

Test(control_tenant, totals_come_before_the_first_launch_and_when_they_change)
{
	struct model_tenant t;
	struct control *c;

	begin();
	c = f.control;
	t = acme();
	cr_assert_eq(f.tenants, 1, "told once for build, store and app");
	cr_assert_lt(f.tenant_order, f.launch_order);
	cr_assert_eq(f.tenant.tenant, (uint64_t)t.id);
	cr_assert_eq(f.tenant.quota.pids, t.quota.pids);
	t.quota.memory = 1024 * MIB;
	t.quota.pids = 77;
	cr_assert_eq(store_tenant_set(c->store, &t, NULL, NULL), 0);
	c->ops.tenant_changed(c, t.id);
	told(tenants_told, 2);
	cr_assert_eq(f.tenants, 2);
	cr_assert_eq(f.tenant.quota.pids, 77);
	cr_assert(strstr(events("tenant.quota").text, "memory 4 GiB → 1 GiB"), "%s", events("tenant.quota").text);
	cr_assert_eq(events("tenant.quota").tenant, t.id);
	fake_restart(&f);
	told(limits_told, 1);
	cr_assert_eq(f.tenants, 3, "a new control says it again for what runs");
	cr_assert_eq(f.limit_count, 1, "and the limits");
	fake_stop(&f);
}

/* Limits as the node has them from now on, for apps that follow it. */
static void follow(bool own, unsigned from, unsigned to, const int64_t *ids, uint32_t pids)
{
	struct control *c = f.control;
	struct model_tenant t = acme();
	struct model_app rec;

	for (unsigned i = from; i < to; i++) {
		cr_assert_eq(store_app_get(c->store, ids[i], &rec, NULL), 0);
		rec.limits_own = own;
		cr_assert_eq(store_app_update(c->store, &rec, NULL), 0);
		c->ops.app_changed(c, ids[i]);
	}
	c->settings.app.pids = pids;
	cr_assert_eq(store_tenant_set(c->store, &t, &c->settings.app, NULL), 0);
	c->ops.tenant_changed(c, t.id);
	fake_run(&f, 20);
}

/* Of many apps that follow one change there is one event, of few each has its own. */
Test(control_tenant, a_change_for_many_apps_is_told_once)
{
	int64_t ids[5];
	char name[24];

	fake_start(&f);
	for (unsigned i = 0; i < 5; i++) {
		snprintf(name, sizeof name, "app%u", i);
		ids[i] = fake_app_new(&f, name);
	}
	follow(false, 0, 4, ids, 90);
	cr_assert_eq(events("app.limits").n, 1);
	cr_assert_eq(events("app.limits").app, 0, "the tenant's");
	cr_assert_eq(events("app.limits").tenant, acme().id);
	cr_assert(strstr(events("app.limits").text, "of 4 apps changed: "), "%s", events("app.limits").text);
	cr_assert(strstr(events("app.limits").text, "(app0, app1, app2, app3)"), "%s", events("app.limits").text);
	follow(true, 0, 2, ids, 80);
	cr_assert_eq(events("app.limits").n, 3, "one for each of two");
	cr_assert_eq(events("app.limits").app, ids[3]);
	cr_assert(strstr(events("app.limits").text, "each instance changed: processes 90 → 80"), "%s",
		  events("app.limits").text);
	follow(true, 0, 2, ids, 80);
	cr_assert_eq(events("app.limits").n, 3, "no change, no event");
	fake_stop(&f);
}

Test(control_tenant, limits_reach_what_runs)
{
	struct fake_instance *i;
	struct model_app rec;
	struct control *c;
	struct quota used;
	struct ops_tenant_usage usage;

	begin();
	c = f.control;
	i = fake_newest(&f, app);
	cr_assert_eq(store_app_get(c->store, app, &rec, NULL), 0);
	rec.limits.memory = 96 * MIB;
	rec.egress = (struct quota_egress){.mode = QUOTA_EGRESS_NONE};
	cr_assert_eq(store_app_update(c->store, &rec, NULL), 0);
	c->ops.app_changed(c, app);
	told(limits_told, 1);
	cr_assert_eq(f.limit_count, 1);
	cr_assert_eq(f.limits[0].instance, i->launch.instance);
	cr_assert_eq(f.limits[0].limits.memory, 96 * MIB);
	cr_assert_eq(f.limits[0].egress.mode, QUOTA_EGRESS_NONE);
	cr_assert(i->alive, "without a restart");
	cr_assert_eq(f.launches, 1);
	c->ops.tenant_used(c, rec.tenant, &used, &usage);
	cr_assert_eq(used.memory, 96 * MIB, "charged anew");
	cr_assert_eq(used.instances, 1);
	cr_assert_eq(used.disk, 16 * MIB + 4096, "writable layer and stored tree");
	cr_assert_eq(used.inodes, 4096);
	cr_assert(strstr(events("app.limits").text, "memory 64 MiB → 96 MiB"), "%s", events("app.limits").text);
	c->ops.app_changed(c, app);
	fake_run(&f, 20);
	cr_assert_eq(f.limit_count, 1, "nothing new, nothing sent");
	fake_stop(&f);
}

Test(control_tenant, a_plan_and_a_policy_reach_what_runs)
{
	struct model_plan p = {.name = "small", .quota = quota_default, .limits = quota_app_default};
	struct model_app rec;
	struct model_tenant t;
	struct control *c;

	begin();
	c = f.control;
	t = acme();
	cr_assert_eq(store_app_get(c->store, app, &rec, NULL), 0);
	rec.limits_own = false;
	cr_assert_eq(store_app_update(c->store, &rec, NULL), 0);
	c->ops.app_changed(c, app);
	p.egress.mode = QUOTA_EGRESS_LIST;
	p.egress.count = 1;
	cr_assert_eq(quota_egress_rule_parse("203.0.113.0/24:443", "x", &p.egress.rules[0], NULL), 0);
	p.limits.memory = 80 * MIB;
	cr_assert_eq(store_plan_add(c->store, &p, &p, NULL), 0);
	t.plan = p.id;
	cr_assert_eq(store_tenant_set(c->store, &t, NULL, NULL), 0);
	c->ops.tenant_changed(c, t.id);
	told(limits_told, 1);
	cr_assert_eq(f.limit_count, 1);
	cr_assert_eq(f.limits[0].limits.memory, 80 * MIB);
	cr_assert_eq(f.limits[0].egress.mode, QUOTA_EGRESS_LIST, "an app that may all is bounded by its tenant");
	cr_assert_eq(f.limits[0].egress.rules[0].port_max, 443);
	cr_assert_str_eq(events("tenant.plan").text, "On plan small");
	/* Strict: no egress, whatever the policies say. */
	p.profile = QUOTA_PROFILE_STRICT;
	cr_assert_eq(store_plan_update(c->store, &p, NULL), 0);
	c->ops.tenant_changed(c, t.id);
	told(limits_told, 2);
	cr_assert_eq(f.limit_count, 2);
	cr_assert_eq(f.limits[1].egress.mode, QUOTA_EGRESS_NONE);
	fake_stop(&f);
}

static bool refused(struct fake *x)
{
	(void)x;
	return events("instance.refused").n > 0;
}

Test(control_tenant, refusals_say_which_whose_and_how_much)
{
	struct model_tenant t;
	struct model_app rec;
	struct quota_limits want;
	struct err e = {0};
	struct control *c;

	begin();
	c = f.control;
	t = acme();
	cr_assert_eq(store_app_get(c->store, app, &rec, NULL), 0);
	want = rec.limits;
	t.quota.memory = 100 * MIB;
	t.quota.inodes = 6000;
	cr_assert_eq(store_tenant_set(c->store, &t, NULL, NULL), 0);
	c->ops.tenant_changed(c, t.id);
	want.memory = 120 * MIB;
	cr_assert_eq(c->ops.limits_fit(c, app, &want, &e), -EDQUOT);
	cr_assert_str_eq(e.text, "tenant acme: memory quota 100 MiB, 64 MiB committed, 36 MiB left, 56 MiB needed");
	want.memory = 100 * MIB;
	cr_assert_eq(c->ops.limits_fit(c, app, &want, &e), 0);
	/* One more instance: its files do not fit. */
	t.quota.memory = 1024 * MIB;
	cr_assert_eq(store_tenant_set(c->store, &t, NULL, NULL), 0);
	c->ops.tenant_changed(c, t.id);
	cr_assert_eq(store_formation_set(c->store, app, "web", 2, NULL), 0);
	c->ops.app_changed(c, app);
	cr_assert(fake_until(&f, refused, 5000));
	cr_assert_eq(fake_alive(&f, app), 1);
	cr_assert(strstr(events("instance.refused").text,
			 "tenant acme: file quota 6000, 4096 committed, 1904 left, 4096 needed"),
		  "%s", events("instance.refused").text);
	fake_stop(&f);
}

/* What an app's "waiting" says now; "" = nothing waits. */
static const char *waiting(void)
{
	static char text[512];
	json_t *stats = f.control->ops.app_stats(f.control, app);
	const char *s = json_string_value(json_object_get(stats, "waiting"));

	snprintf(text, sizeof text, "%s", s ? s : "");
	json_decref(stats);
	return text;
}

static bool is_starting(struct fake *x)
{
	return fake_alive(x, app) == 3;
}

Test(control_tenant, what_does_not_fit_waits_and_says_so)
{
	struct model_tenant t;
	struct control *c;

	begin();
	c = f.control;
	cr_assert_str_eq(waiting(), "");
	t = acme();
	t.quota.memory = 200 * MIB;
	cr_assert_eq(store_tenant_set(c->store, &t, NULL, NULL), 0);
	c->ops.tenant_changed(c, t.id);
	cr_assert_eq(store_formation_set(c->store, app, "web", 50, NULL), 0);
	c->ops.app_changed(c, app);
	/* Before any of it was tried: the answer of the change itself tells. */
	cr_assert(strstr(waiting(), "3 of 50 instances fit, the others wait: tenant acme: memory quota 200 MiB"), "%s",
		  waiting());
	cr_assert_eq(c->used.instances, 1, "nothing stays charged");
	cr_assert(strstr(events("formation.changed").text, "web 1 → 50"), "%s", events("formation.changed").text);
	cr_assert(fake_until(&f, refused, 5000));
	cr_assert(fake_until(&f, is_starting, 5000));
	fake_run(&f, 2500); /* tried again meanwhile */
	cr_assert_eq(events("instance.refused").n, 1, "one limit is told once");
	cr_assert(strstr(waiting(), "3 of 50"), "%s", waiting());
	/* Another limit is another reason. */
	t.quota.memory = 1024 * MIB;
	t.quota.inodes = 3 * 4096;
	cr_assert_eq(store_tenant_set(c->store, &t, NULL, NULL), 0);
	c->ops.tenant_changed(c, t.id);
	fake_run(&f, 100);
	cr_assert_eq(events("instance.refused").n, 2);
	cr_assert(strstr(waiting(), "file quota"), "%s", waiting());
	cr_assert_eq(store_formation_set(c->store, app, "web", 3, NULL), 0);
	c->ops.app_changed(c, app);
	fake_run(&f, 100);
	cr_assert_str_eq(waiting(), "");
	fake_stop(&f);
}

Test(control_tenant, egress_and_profile_leave_events)
{
	struct model_app rec;

	begin();
	cr_assert_eq(store_app_get(f.control->store, app, &rec, NULL), 0);
	rec.egress = (struct quota_egress){.mode = QUOTA_EGRESS_NONE};
	rec.profile = QUOTA_PROFILE_STRICT;
	cr_assert_eq(store_app_update(f.control->store, &rec, NULL), 0);
	f.control->ops.app_changed(f.control, app);
	f.control->ops.app_changed(f.control, app);
	fake_run(&f, 10);
	cr_assert_eq(events("app.egress").n, 1);
	cr_assert(strstr(events("app.egress").text, "→ none"), "%s", events("app.egress").text);
	cr_assert_eq(events("app.profile").n, 1);
	cr_assert(strstr(events("app.profile").text, "default → strict"), "%s", events("app.profile").text);
	fake_stop(&f);
}

static const struct msg_usage *sampled;

static bool is_sampled(struct fake *x)
{
	int64_t id = (int64_t)sampled->instance;
	const struct control_instance *ci = map_get(x->control->instances, &id, sizeof id);

	return ci && memcmp(&ci->usage, sampled, sizeof *sampled) == 0;
}

static void sample(const struct msg_usage *u)
{
	sampled = u;
	cr_assert_eq(chan_send(f.super, MSG_USAGE, u, sizeof *u, NULL, 0), 0);
	cr_assert(fake_until(&f, is_sampled, 5000));
}

static const struct msg_tenant_usage *tenant_sampled;

static bool is_tenant_sampled(struct fake *x)
{
	int64_t id = (int64_t)tenant_sampled->tenant;
	const struct control_tenant *t = map_get(x->control->tenants, &id, sizeof id);

	return t && memcmp(&t->usage, tenant_sampled, sizeof *tenant_sampled) == 0;
}

static void sample_tenant(const struct msg_tenant_usage *u)
{
	tenant_sampled = u;
	cr_assert_eq(chan_send(f.super, MSG_TENANT_USAGE, u, sizeof *u, NULL, 0), 0);
	cr_assert(fake_until(&f, is_tenant_sampled, 5000));
}

Test(control_tenant, what_an_instance_hits_is_told_once_a_minute)
{
	struct msg_usage u = {.memory = 60 * MIB, .memory_peak = 64 * MIB, .pids = 64};
	struct control *c;
	struct buf text;
	char want[128];

	begin();
	c = f.control;
	u.instance = fake_newest(&f, app)->launch.instance;
	sample(&u);
	cr_assert_eq(events("instance.oom").n + events("instance.pids").n + events("instance.throttled").n +
			     events("instance.disk").n + events("instance.memory").n,
		     0);
	u.oom_kills = 1;
	u.pids_hits = 7;
	u.memory_hits = 150;
	u.periods = 100;
	u.throttled = 80;
	u.disk = 16 * MIB * 96 / 100;
	u.inodes = 10;
	u.net_in = 1234;
	sample(&u);
	cr_assert(strstr(events("instance.oom").text, "limit of 64 MiB (peak 64 MiB)"), "%s",
		  events("instance.oom").text);
	cr_assert(strstr(events("instance.pids").text, "(7 times): it has 64 of 64"), "%s",
		  events("instance.pids").text);
	cr_assert(strstr(events("instance.memory").text, "150 times"), "%s", events("instance.memory").text);
	cr_assert(strstr(events("instance.throttled").text, "80 % of its periods: its limit is 0.5 cores"), "%s",
		  events("instance.throttled").text);
	cr_assert(strstr(events("instance.disk").text, "of 16 MiB in use"), "%s", events("instance.disk").text);
	for (int k = 0; k < 5; k++) {
		u.oom_kills++;
		u.pids_hits += 100;
		u.memory_hits += 1000;
		u.periods += 100;
		u.throttled += 100;
		sample(&u);
	}
	cr_assert_eq(events("instance.oom").n, 1);
	cr_assert_eq(events("instance.pids").n, 1);
	cr_assert_eq(events("instance.memory").n, 1);
	cr_assert_eq(events("instance.throttled").n, 1);
	cr_assert_eq(events("instance.disk").n, 1);

	buf_init(&text, 1 << 20);
	c->ops.metrics(c, &text);
	snprintf(want, sizeof want, "instance=\"web.%llu\"}", (unsigned long long)u.instance);
	for (const char *const *m =
		     (const char *const[]){"container_cpu_cfs_periods_total", "container_fs_usage_bytes",
					   "container_network_receive_bytes_total", "container_memory_failcnt",
					   "container_threads_max", "container_cpu_cfs_throttled_periods_total", NULL};
	     *m; m++) {
		char line[200];
		snprintf(line, sizeof line, "\n%s{tenant=\"acme\",app=\"shop\",%s", *m, want);
		cr_assert(strstr(text.data, line), "%s", line);
	}
	cr_assert(strstr(text.data, "\ntulou_tenant_quota{tenant=\"acme\",resource=\"memory\"} 4294967296\n"));
	cr_assert(strstr(text.data, "\ntulou_tenant_committed{tenant=\"acme\",resource=\"cpu\"} 0.500\n"));
	buf_done(&text);
	fake_stop(&f);
}

static bool three_oom(struct fake *fake)
{
	(void)fake;
	return events("instance.oom").n == 3;
}

Test(control_tenant, an_oom_is_told_as_the_bound_that_was_reached)
{
	struct msg_usage u = {.memory = 40 * MIB, .memory_peak = 48 * MIB};
	struct buf text;

	begin();
	u.instance = fake_newest(&f, app)->launch.instance;
	sample(&u);
	u.oom_kills = u.oom_tenant = 2;
	sample(&u);
	cr_assert(strstr(events("instance.oom").text,
			 "the tenant's memory total of 4 GiB was reached, below the instance's own limit of 64 MiB"),
		  "%s", events("instance.oom").text);
	u.oom_kills = 3;
	u.oom_host = 1;
	sample(&u);
	cr_assert(strstr(events("instance.oom").text, "the host had no memory left"), "%s",
		  events("instance.oom").text);
	cr_assert_eq(events("instance.oom").n, 2, "its own limit is not blamed");
	fake_newest(&f, app)->state.oom = MSG_OOM_TENANT;
	fake_newest(&f, app)->state.memory_total = 4096 * MIB;
	fake_exit(&f, fake_newest(&f, app), MSG_EXIT_OOM, 137);
	cr_assert(fake_until(&f, three_oom, 5000));
	buf_init(&text, 1 << 20);
	f.control->ops.metrics(f.control, &text);
	cr_assert(strstr(text.data, "\ntulou_instance_oom_total{limit=\"instance\"} 0\n"
				    "tulou_instance_oom_total{limit=\"tenant\"} 1\n"));
	buf_done(&text);
	fake_stop(&f);
}

Test(control_tenant, an_adopted_instance_has_no_history)
{
	struct msg_usage u = {.oom_kills = 5, .pids_hits = 50, .periods = 1000, .throttled = 1000};

	begin();
	u.instance = fake_newest(&f, app)->launch.instance;
	fake_restart(&f);
	sample(&u);
	cr_assert_eq(events("instance.oom").n + events("instance.pids").n + events("instance.throttled").n, 0,
		     "what was counted before this control is not news");
	u.pids_hits++;
	sample(&u);
	cr_assert_eq(events("instance.pids").n, 1);
	fake_stop(&f);
}

static void say_disk(uint64_t used)
{
	struct msg_disk m = {.total = 1000 * MIB, .free = (1000 - used) * MIB};

	control_on_pool(f.control, &m);
}

Test(control_tenant, a_disk_that_fills_is_told_at_80_and_90_percent_and_when_it_is_over)
{
	struct msg_tenant_usage u = {.disk = 100 * MIB, .disk_bound = 120 * MIB};
	json_t *o;

	begin();
	say_disk(799);
	cr_assert_eq(events("node.disk").n, 0);
	say_disk(800);
	say_disk(850);
	say_disk(790);
	say_disk(805);
	cr_assert_eq(events("node.disk").n, 1, "no event at each turn around a mark");
	say_disk(950);
	cr_assert_eq(events("node.disk").n, 2);
	cr_assert(strstr(events("node.disk").text, "95 % full: 50 MiB of 1000 MiB"), "%s", events("node.disk").text);
	o = control_pool_json(f.control);
	cr_assert_str_eq(json_string_value(json_object_get(o, "state")), "full");
	json_decref(o);
	say_disk(700);
	cr_assert_eq(events("node.disk").n, 3);
	cr_assert(strstr(events("node.disk").text, "has room again"), "%s", events("node.disk").text);

	u.tenant = (uint64_t)acme().id;
	sample_tenant(&u);
	u.disk_hits = 2;
	fake_run(&f, 2);
	sample_tenant(&u);
	cr_assert(strstr(events("tenant.disk").text, "hold 100 MiB of the node's disk and may hold 120 MiB now"), "%s",
		  events("tenant.disk").text);
	fake_stop(&f);
}

Test(control_tenant, what_a_tenant_hits)
{
	struct msg_tenant_usage u = {.memory = 4096 * MIB, .memory_peak = 4096 * MIB, .pids = 4096, .pids_hits = 9};
	struct ops_tenant_usage usage;
	struct quota used;

	begin();
	u.tenant = (uint64_t)acme().id;
	sample_tenant(&u);
	cr_assert_eq(events("tenant.pids").n, 0, "the first sample only says where it starts");
	fake_run(&f, 10); /* a rate needs time to pass */
	u.pids_hits = 12;
	u.net_refused = 40000;
	u.oom_kills = 2;
	u.cpu_us = 1000;
	sample_tenant(&u);
	cr_assert(strstr(events("tenant.pids").text, "(3 times): all apps together have 4096, the quota is 4096"), "%s",
		  events("tenant.pids").text);
	cr_assert(strstr(events("tenant.memory").text, "2 processes were killed"), "%s", events("tenant.memory").text);
	cr_assert_eq(events("tenant.memory").tenant, acme().id);
	cr_assert(strstr(events("tenant.packets").text, "40000 packets were lost: all apps together may send 20000/s"),
		  "%s", events("tenant.packets").text);
	f.control->ops.tenant_used(f.control, acme().id, &used, &usage);
	cr_assert(usage.known);
	cr_assert_eq(usage.memory, 4096 * MIB);
	cr_assert_eq(usage.pids_hits, 3);
	cr_assert_eq(usage.net_refused, 40000);
	cr_assert_gt(usage.cpu_cores, 0);
	/* A new group counts from 0. */
	u.pids_hits = 1;
	u.net_refused = 7;
	sample_tenant(&u);
	f.control->ops.tenant_used(f.control, acme().id, &used, &usage);
	cr_assert_eq(usage.pids_hits, 4);
	cr_assert_eq(usage.net_refused, 40007);
	fake_stop(&f);
}

Test(control_tenant, followers_follow_the_settings_of_the_node)
{
	struct model_app rec;

	begin();
	cr_assert_eq(store_app_get(f.control->store, app, &rec, NULL), 0);
	rec.limits_own = false;
	cr_assert_eq(store_app_update(f.control->store, &rec, NULL), 0);
	f.control->ops.app_changed(f.control, app);
	fake_run(&f, 10);
	f.init.settings.app.memory = 72 * MIB;
	fake_restart(&f);
	told(limits_told, 1);
	cr_assert_eq(f.limits[f.limit_count - 1].limits.memory, 72 * MIB);
	cr_assert_eq(f.launches, 1);
	fake_stop(&f);
}

/* The instances as the API shows them. */
static json_t *shown(void)
{
	json_t *arr = json_array();

	f.control->ops.instances(f.control, app, arr);
	return arr;
}

static bool two(struct fake *x)
{
	return x->up == 2;
}

static bool three_launched(struct fake *x)
{
	return x->launches == 3 && x->up == 2;
}

Test(control_tenant, the_next_one_in_its_place_says_why)
{
	struct fake_instance *dead;
	unsigned with = 0;
	json_t *arr, *in;
	size_t k;

	begin();
	cr_assert_eq(store_formation_set(f.control->store, app, "web", 2, NULL), 0);
	f.control->ops.app_changed(f.control, app);
	cr_assert(fake_until(&f, two, 5000));
	dead = fake_newest(&f, app);
	fake_exit(&f, dead, MSG_EXIT_OOM, 137);
	cr_assert(fake_until(&f, three_launched, 5000));
	/* One more has nothing before it. */
	cr_assert_eq(store_formation_set(f.control->store, app, "web", 3, NULL), 0);
	f.control->ops.app_changed(f.control, app);
	cr_assert(fake_until(&f, is_starting, 5000));
	arr = shown();
	cr_assert_eq(json_array_size(arr), 3);
	json_array_foreach(arr, k, in)
	{
		const char *reason = json_string_value(json_object_get(in, "reason"));
		if (json_integer_value(json_object_get(in, "restarts")) == 0)
			continue;
		with++;
		cr_assert_eq(json_integer_value(json_object_get(in, "restarts")), 1);
		cr_assert(strstr(reason, "the one before was killed: it needed more memory than its limit of 64 MiB"),
			  "%s", reason);
	}
	cr_assert_eq(with, 1);
	json_decref(arr);
	fake_stop(&f);
}

static bool is_pending(struct fake *x)
{
	(void)x;
	return events("instance.pending").n == least;
}

Test(control_tenant, a_limit_that_does_not_hold_yet_says_so)
{
	struct fake_instance *i;
	struct msg_instance m;
	json_t *arr;

	begin();
	i = fake_newest(&f, app);
	m = i->state;
	m.memory_limit = 64 * MIB;
	snprintf(m.text, sizeof m.text, "its memory cannot be lowered to 32 MiB yet: 60 MiB are in use");
	cr_assert_eq(chan_send(f.super, MSG_INSTANCE, &m, sizeof m, NULL, 0), 0);
	least = 1;
	cr_assert(fake_until(&f, is_pending, 5000));
	cr_assert(strstr(events("instance.pending").text, "60 MiB are in use; the new limit holds as soon as"), "%s",
		  events("instance.pending").text);
	arr = shown();
	cr_assert_str_eq(json_string_value(json_object_get(json_array_get(arr, 0), "pending")), m.text);
	json_decref(arr);
	m.memory_limit = 32 * MIB;
	m.text[0] = 0;
	cr_assert_eq(chan_send(f.super, MSG_INSTANCE, &m, sizeof m, NULL, 0), 0);
	least = 2;
	cr_assert(fake_until(&f, is_pending, 5000));
	cr_assert(strstr(events("instance.pending").text, "32 MiB holds now"), "%s", events("instance.pending").text);
	arr = shown();
	cr_assert(json_is_null(json_object_get(json_array_get(arr, 0), "pending")));
	json_decref(arr);
	fake_stop(&f);
}

Test(control_tenant, a_quota_below_what_is_in_use_says_so)
{
	struct msg_tenant_usage u = {.memory = 900 * MIB, .memory_peak = 900 * MIB, .pids = 40};
	struct model_tenant t;
	struct ops_tenant_usage usage;
	struct quota used;
	struct control *c;

	begin();
	c = f.control;
	t = acme();
	u.tenant = (uint64_t)t.id;
	sample_tenant(&u);
	c->ops.tenant_used(c, t.id, &used, &usage);
	cr_assert_str_eq(usage.pending, "");
	t.quota.memory = 512 * MIB;
	cr_assert_eq(store_tenant_set(c->store, &t, NULL, NULL), 0);
	c->ops.tenant_changed(c, t.id);
	c->ops.tenant_used(c, t.id, &used, &usage);
	cr_assert(strstr(usage.pending, "900 MiB in use is more than the new 512 MiB"), "%s", usage.pending);
	cr_assert_eq(events("tenant.pending").n, 0, "the kernel may free enough of it at once");
	u.pending = 1;
	u.cpu_us = 1;
	sample_tenant(&u);
	u.cpu_us = 2;
	sample_tenant(&u);
	cr_assert_eq(events("tenant.pending").n, 1);
	cr_assert(
		strstr(events("tenant.pending").text, "900 MiB in use is more than the new 512 MiB; it holds as soon"),
		"%s", events("tenant.pending").text);
	u.pending = 0;
	u.memory = 500 * MIB;
	sample_tenant(&u);
	cr_assert_eq(events("tenant.pending").n, 2);
	c->ops.tenant_used(c, t.id, &used, &usage);
	cr_assert_str_eq(usage.pending, "");
	fake_stop(&f);
}
