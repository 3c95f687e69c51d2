/* The store's verbs of what works: builds, releases, instances, events, usage. */
#include "store/db.h"
#include "tests/unit/store_shop.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

IDS_FN(ids_release, struct model_release)
IDS_FN(ids_build, struct model_build)
IDS_FN(ids_instance, struct model_instance)
IDS_FN(ids_event, struct model_event)

static struct model_release release_of(struct shop *x, int64_t build)
{
	struct model_release r = {.app = x->a.id, .build = build, .note = "Deploy 3f2a91c"};

	r.types_json = strdup("{\"web\":\"./server\"}");
	cr_assert_eq(store_release_add(x->s, &r, &x->e), 0, "%s", x->e.text);
	model_release_done(&r);
	return r;
}

Test(store, builds_and_releases)
{
	struct shop x;
	struct model_build b, c;
	struct model_release r;
	struct ids ids = {0};

	shop_open(&x);
	cr_assert_eq(store_build_add(x.s, x.a.id, "git", "3f2a91c", &b, &x.e), 0);
	cr_assert_eq(store_build_add(x.s, x.a.id, "ftp", "", &c, &x.e), -EINVAL);
	cr_assert_eq(store_build_add(x.s, x.a.id, "git", "../x", &c, &x.e), -EINVAL);
	cr_assert_eq(store_build_add(x.s, 999, "git", "", &c, &x.e), -ENOENT);
	b.state = MODEL_BUILD_SUCCEEDED;
	b.bytes = 12345;
	b.finished_ms = 99;
	snprintf(b.buildpack, sizeof b.buildpack, "python");
	cr_assert_eq(store_build_update(x.s, &b, &x.e), 0);
	cr_assert_eq(store_build_get(x.s, b.id, &c, &x.e), 0);
	cr_assert_eq(c.bytes, 12345);
	cr_assert_str_eq(c.buildpack, "python");
	cr_assert_str_eq(c.commit, "3f2a91c");
	cr_assert_eq(store_build_get(x.s, 999, &c, &x.e), -ENOENT);
	for (uint32_t v = 1; v <= 5; v++)
		cr_assert_eq(release_of(&x, b.id).version, v);
	cr_assert_eq(store_release_find(x.s, x.a.id, 3, &r, &x.e), 0);
	cr_assert_eq(r.state, MODEL_RELEASE_PENDING);
	cr_assert_str_eq(r.types_json, "{\"web\":\"./server\"}");
	cr_assert_str_eq(r.config_json, "{}");
	cr_assert_eq(store_release_state(x.s, r.id, MODEL_RELEASE_LIVE, &x.e), 0);
	model_release_done(&r);
	cr_assert_eq(store_release_get(x.s, ids.id[0] + 3, &r, &x.e), 0);
	cr_assert_eq(r.state, MODEL_RELEASE_LIVE);
	model_release_done(&r);
	cr_assert_eq(store_release_get(x.s, 999, &r, &x.e), -ENOENT);
	cr_assert_eq(store_release_state(x.s, 999, MODEL_RELEASE_LIVE, &x.e), -ENOENT);
	cr_assert_eq(store_release_find(x.s, x.a.id, 6, &r, &x.e), -ENOENT);
	cr_assert_eq(store_release_list(x.s, x.a.id, 0, 2, ids_release, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 2);
	cr_assert_gt(ids.id[0], ids.id[1]);
	cr_assert_eq(store_release_list(x.s, x.a.id, ids.id[1], 0, ids_release, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 5);
	ids.n = 0;
	cr_assert_eq(store_build_list(x.s, 0, 0, 0, ids_build, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 1);
	shop_close(&x);
}

Test(store, unused_builds)
{
	struct shop x;
	struct model_build b[8];
	struct ids ids = {0};

	shop_open(&x);
	for (int i = 0; i < 8; i++) {
		cr_assert_eq(store_build_add(x.s, x.a.id, "git", "", &b[i], &x.e), 0);
		b[i].state = i == 0 ? MODEL_BUILD_RUNNING : MODEL_BUILD_SUCCEEDED;
		cr_assert_eq(store_build_update(x.s, &b[i], &x.e), 0);
	}
	/* build 1 is live by an old release; 2 by one of the newest two; 3..5 by old ones; 6 and 7 are young */
	x.a.release = release_of(&x, b[1].id).id;
	release_of(&x, b[3].id);
	release_of(&x, b[4].id);
	release_of(&x, b[2].id);
	release_of(&x, b[2].id);
	cr_assert_eq(store_app_update(x.s, &x.a, &x.e), 0);
	cr_assert_eq(store_build_unused(x.s, 2, ids_build, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 3);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(ids.id[i], b[3 + i].id);
	cr_assert_eq(store_build_del(x.s, b[3].id, &x.e), 0);
	cr_assert_eq(store_build_del(x.s, b[3].id, &x.e), -ENOENT);
	/* The builds of a deleted app stay until their trees are collected, and are seen by nobody else. */
	cr_assert_eq(store_app_del(x.s, x.a.id, &x.e), 0);
	ids.n = 0;
	cr_assert_eq(store_build_unused(x.s, 2, ids_build, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 7);
	cr_assert_eq(store_build_get(x.s, b[0].id, &b[0], &x.e), 0);
	cr_assert_eq(b[0].state, MODEL_BUILD_FAILED);
	ids.n = 0;
	cr_assert_eq(store_build_list(x.s, 0, 0, 0, ids_build, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 0);
	shop_close(&x);
}

Test(store, app_delete_takes_all_but_events)
{
	static const char *const tables[] = {"config", "formation", "domain", "front", "release", "instance", "usage"};
	struct shop x;
	struct model_instance i;
	struct model_event ev;
	struct store_usage u = {.hour_ms = 3600000, .requests = 1};

	shop_open(&x);
	i = (struct model_instance){.app = x.a.id, .type = "web"};
	ev = (struct model_event){.app = x.a.id, .tenant = x.t.id, .kind = "app.created", .text = "hello"};
	cr_assert_eq(store_config_set(x.s, x.a.id, "A", "1", &x.e), 0);
	cr_assert_eq(store_formation_set(x.s, x.a.id, "web", 1, &x.e), 0);
	cr_assert_eq(store_domain_add(x.s, x.a.id, "a.b", MODEL_PROOF_NONE, NULL, &x.e), 0);
	release_of(&x, 1);
	cr_assert_eq(store_instance_add(x.s, &i, &x.e), 0);
	cr_assert_eq(store_event_add(x.s, &ev, &x.e), 0);
	cr_assert_eq(store_usage_add(x.s, x.a.id, &u, &x.e), 0);
	cr_assert_eq(store_app_del(x.s, x.a.id, &x.e), 0);
	for (size_t k = 0; k < sizeof tables / sizeof *tables; k++) {
		char sql[64];
		sqlite3_stmt *st;
		snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", tables[k]);
		cr_assert_eq(sqlite3_prepare_v2(x.s->db, sql, -1, &st, NULL), SQLITE_OK);
		cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
		cr_assert_eq(sqlite3_column_int(st, 0), 0, "%s", tables[k]);
		sqlite3_finalize(st);
	}
	struct ids ids = {0};
	cr_assert_eq(store_event_list(x.s, 0, x.a.id, 0, 0, ids_event, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 1);
	struct model_app again;
	cr_assert_eq(store_app_add(x.s, x.t.id, "shop", &shop_limits, true, &again, &x.e), 0);
	cr_assert_gt(again.id, x.a.id);
	shop_close(&x);
}

Test(store, instances)
{
	struct shop x;
	struct model_app b;
	struct model_instance i;
	struct ids ids = {0};

	shop_open(&x);
	cr_assert_eq(store_app_add(x.s, x.t.id, "b", &shop_limits, true, &b, &x.e), 0);
	for (int k = 0; k < 30; k++) {
		i = (struct model_instance){
			.app = k < 20 ? x.a.id : b.id, .release = 1, .type = "web", .state = MODEL_INSTANCE_STARTING};
		cr_assert_eq(store_instance_add(x.s, &i, &x.e), 0);
		if (k % 10 == 0)
			continue;
		i.state = MODEL_INSTANCE_EXITED;
		i.exit_code = 137;
		snprintf(i.reason, sizeof i.reason, "killed");
		cr_assert_eq(store_instance_update(x.s, &i, &x.e), 0);
	}
	i.id = 999;
	cr_assert_eq(store_instance_update(x.s, &i, &x.e), -ENOENT);
	i.app = 999;
	cr_assert_eq(store_instance_add(x.s, &i, &x.e), -ENOENT);
	cr_assert_eq(store_instance_list(x.s, 0, true, ids_instance, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 3);
	ids.n = 0;
	cr_assert_eq(store_instance_list(x.s, x.a.id, false, ids_instance, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 20);
	cr_assert_eq(store_instance_prune(x.s, 9, &x.e), 0);
	ids.n = 0;
	cr_assert_eq(store_instance_list(x.s, x.a.id, false, ids_instance, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 11);
	cr_assert_eq(ids.id[0], 1, "the living stay");
	cr_assert_eq(ids.id[10], 20, "the newest stay");
	ids.n = 0;
	cr_assert_eq(store_instance_list(x.s, b.id, false, ids_instance, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 10);
	ids.n = 0;
	cr_assert_eq(store_instance_list(x.s, x.a.id, true, ids_instance, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 2);
	shop_close(&x);
}

Test(store, events)
{
	struct shop x;
	struct ids ids = {0};

	shop_open(&x);
	for (int k = 1; k <= 40; k++) {
		struct model_event ev = {.tenant = k % 2 ? x.t.id : 7, .app = k % 4 == 1 ? x.a.id : 0, .kind = "k"};
		snprintf(ev.text, sizeof ev.text, "event %d", k);
		cr_assert_eq(store_event_add(x.s, &ev, &x.e), 0);
		cr_assert_eq(ev.id, k);
		cr_assert_gt(ev.time_ms, 0);
	}
	cr_assert_eq(store_event_list(x.s, 0, 0, 30, 5, ids_event, &ids, &x.e), 0);
	cr_assert(ids.n == 5 && ids.id[0] == 31 && ids.id[4] == 35);
	ids.n = 0;
	cr_assert_eq(store_event_list(x.s, 0, 0, -1, 3, ids_event, &ids, &x.e), 0);
	cr_assert(ids.n == 3 && ids.id[0] == 38 && ids.id[2] == 40);
	ids.n = 0;
	cr_assert_eq(store_event_list(x.s, x.t.id, 0, -1, 2, ids_event, &ids, &x.e), 0);
	cr_assert(ids.n == 2 && ids.id[0] == 37 && ids.id[1] == 39);
	ids.n = 0;
	cr_assert_eq(store_event_list(x.s, x.t.id, x.a.id, 0, 0, ids_event, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 10);
	ids.n = 0;
	cr_assert_eq(store_event_list(x.s, 7, x.a.id, 0, 0, ids_event, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 0, "another tenant's app shows nothing");
	struct model_event cut = {.kind = "k", .text = "half a character: \xc3"};
	cr_assert_eq(store_event_add(x.s, &cut, &x.e), 0);
	cr_assert_str_eq(cut.text, "half a character: \\xc3");
	shop_close(&x);
}

Test(store, events_are_pruned)
{
	struct shop x;
	int64_t n;

	shop_open(&x);
	cr_assert_geq(db_run(x.s,
			     "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 + 500)"
			     " INSERT INTO event (time_ms, tenant, app, instance, kind, text)"
			     " SELECT i, 1, CASE WHEN i % 50 = 0 THEN 1 ELSE 0 END, 0, 'k', 't' FROM n",
			     DB_ARGS(DB_I(LIMIT_EVENTS)), &x.e),
		      0);
	cr_assert_eq(store_event_prune(x.s, &x.e), 0, "%s", x.e.text);
	cr_assert_eq(db_number(x.s, 0, &n, "SELECT min(id) FROM event", DB_NONE, &x.e), 0);
	cr_assert_eq(n, 501);
	cr_assert_eq(db_number(x.s, 0, &n, "SELECT count(*) FROM event WHERE app = 1", DB_NONE, &x.e), 0);
	cr_assert_eq(n, LIMIT_EVENTS_APP);
	cr_assert_eq(db_number(x.s, 0, &n, "SELECT max(id) FROM event WHERE app = 1", DB_NONE, &x.e), 0);
	cr_assert_eq(n, LIMIT_EVENTS + 500);
	shop_close(&x);
}

static int usage_sum(void *arg, int64_t app, const struct store_usage *u)
{
	struct store_usage *sum = arg;

	(void)app;
	sum->requests += u->requests;
	sum->cpu_us += u->cpu_us;
	sum->hour_ms++;
	return 0;
}

Test(store, usage)
{
	const int64_t hour = 3600000, start = 1700000000000 / 3600000 * 3600000;
	struct shop x;
	struct store_usage u = {.hour_ms = start + 5, .cpu_us = 10, .requests = 1}, sum = {0};

	shop_open(&x);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(store_usage_add(x.s, x.a.id, &u, &x.e), 0);
	u.hour_ms = start + hour;
	cr_assert_eq(store_usage_add(x.s, x.a.id, &u, &x.e), 0);
	cr_assert_eq(store_usage_add(x.s, 999, &u, &x.e), -ENOENT);
	cr_assert_eq(store_usage_list(x.s, x.t.id, start, usage_sum, &sum, &x.e), 0);
	cr_assert(sum.requests == 4 && sum.cpu_us == 40 && sum.hour_ms == 2);
	sum = (struct store_usage){0};
	cr_assert_eq(store_usage_list(x.s, 0, start + 1, usage_sum, &sum, &x.e), 0);
	cr_assert_eq(sum.requests, 1);
	sum = (struct store_usage){0};
	cr_assert_eq(store_usage_list(x.s, 999, 0, usage_sum, &sum, &x.e), 0);
	cr_assert_eq(sum.requests, 0);
	u.hour_ms = start + (LIMIT_USAGE_HOURS + 1) * hour;
	cr_assert_eq(store_usage_add(x.s, x.a.id, &u, &x.e), 0);
	sum = (struct store_usage){0};
	cr_assert_eq(store_usage_list(x.s, x.t.id, 0, usage_sum, &sum, &x.e), 0);
	cr_assert_eq(sum.hour_ms, 2, "old hours go");
	shop_close(&x);
}
