/* The store's verbs of apps: configuration, formation, domains. */
#include "base/clock.h"
#include "tests/unit/store_shop.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

IDS_FN(ids_app, struct model_app)

Test(store, apps)
{
	struct shop x;
	struct model_app a;
	struct quota_limits bad = shop_limits;
	struct quota q;
	struct ids ids = {0};

	shop_open(&x);
	cr_assert_eq(store_app_add(x.s, x.t.id, "shop", &shop_limits, true, &a, &x.e), -EEXIST);
	cr_assert_eq(store_app_add(x.s, x.t.id, "-bad", &shop_limits, true, &a, &x.e), -EINVAL);
	cr_assert_eq(store_app_add(x.s, 999, "ok", &shop_limits, true, &a, &x.e), -ENOENT);
	bad.pids = 1;
	cr_assert_eq(store_app_add(x.s, x.t.id, "ok", &bad, true, &a, &x.e), -ERANGE);
	cr_assert_str_eq(x.e.field, "limits.pids");
	store_quota_default(&q);
	q.apps = 2;
	x.t.quota = q;
	cr_assert_eq(store_tenant_set(x.s, &x.t, NULL, &x.e), 0);
	cr_assert_eq(store_app_add(x.s, x.t.id, "two", &shop_limits, true, &a, &x.e), 0);
	cr_assert_eq(store_app_add(x.s, x.t.id, "three", &shop_limits, true, NULL, &x.e), -EDQUOT);
	cr_assert_str_eq(x.e.field, "quota.apps");
	cr_assert(strstr(x.e.text, "app quota 2, 2 committed"), "%s", x.e.text);
	a.paused = true;
	a.candidate = 5;
	a.release = 4;
	snprintf(a.health_path, sizeof a.health_path, "/up");
	a.limits.memory = 128 << 20;
	cr_assert_eq(store_app_update(x.s, &a, &x.e), 0);
	struct model_app b;
	cr_assert_eq(store_app_get(x.s, a.id, &b, &x.e), 0);
	cr_assert(b.paused && b.candidate == 5 && b.release == 4 && b.limits.memory == 128 << 20);
	cr_assert_str_eq(b.health_path, "/up");
	snprintf(a.health_path, sizeof a.health_path, "up");
	cr_assert_eq(store_app_update(x.s, &a, &x.e), -EINVAL);
	snprintf(a.health_path, sizeof a.health_path, "/up HTTP/1.1\r\n");
	cr_assert_eq(store_app_update(x.s, &a, &x.e), -EINVAL);
	a.health_path[0] = 0;
	a.id = 999;
	cr_assert_eq(store_app_update(x.s, &a, &x.e), -ENOENT);
	cr_assert_eq(store_app_count(x.s, x.t.id), 2);
	cr_assert_eq(store_app_count(x.s, 0), 2);
	cr_assert_eq(store_app_list(x.s, x.t.id, x.a.id, 10, ids_app, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 1);
	cr_assert_eq(ids.id[0], b.id);
	ids = (struct ids){.stop_at = 1};
	cr_assert_eq(store_app_list(x.s, 0, 0, 0, ids_app, &ids, &x.e), 77, "the callback's value comes back");
	cr_assert_eq(store_app_del(x.s, 999, &x.e), -ENOENT);
	shop_close(&x);
}

static int pair_count(void *arg, const char *key, const char *value)
{
	(void)key;
	(void)value;
	++*(unsigned *)arg;
	return 0;
}

Test(store, config_vars)
{
	struct shop x;
	char *json, *big;
	unsigned n = 0;

	shop_open(&x);
	cr_assert_eq(store_config_set(x.s, x.a.id, "B", "two\n\"\\", &x.e), 0);
	cr_assert_eq(store_config_set(x.s, x.a.id, "A", "1", &x.e), 0);
	cr_assert_eq(store_config_set(x.s, x.a.id, "A", "\xf0\x9f\x8f\xa0", &x.e), 0);
	cr_assert_eq(store_config_json(x.s, x.a.id, &json, &x.e), 0);
	cr_assert_str_eq(json, "{\"A\":\"\xf0\x9f\x8f\xa0\",\"B\":\"two\\n\\\"\\\\\"}");
	free(json);
	cr_assert_eq(store_config_set(x.s, x.a.id, "A", NULL, &x.e), 0);
	cr_assert_eq(store_config_set(x.s, x.a.id, "A", NULL, &x.e), -ENOENT);
	cr_assert_eq(store_config_set(x.s, x.a.id, "1A", "x", &x.e), -EINVAL);
	cr_assert_eq(store_config_set(x.s, x.a.id, "A=B", "x", &x.e), -EINVAL);
	cr_assert_eq(store_config_set(x.s, x.a.id, "", "x", &x.e), -EINVAL);
	cr_assert_eq(store_config_set(x.s, x.a.id, "A", "\xff", &x.e), -EINVAL);
	cr_assert_eq(store_config_set(x.s, 999, "A", "x", &x.e), -ENOENT);
	big = malloc(LIMIT_CONFIG_VALUE + 2);
	memset(big, 'x', LIMIT_CONFIG_VALUE + 1);
	big[LIMIT_CONFIG_VALUE + 1] = 0;
	cr_assert_eq(store_config_set(x.s, x.a.id, "BIG", big, &x.e), -ERANGE);
	cr_assert_str_eq(x.e.field, "BIG");
	big[LIMIT_CONFIG_VALUE] = 0;
	cr_assert_eq(store_config_set(x.s, x.a.id, "BIG", big, &x.e), 0);
	cr_assert_eq(store_config_set(x.s, x.a.id, "BIG", big, &x.e), 0, "replacing it needs no second room");
	cr_assert_eq(store_config_set(x.s, x.a.id, "BIG2", big, &x.e), -EDQUOT);
	free(big);
	cr_assert_eq(store_config_set(x.s, x.a.id, "BIG", NULL, &x.e), 0);
	for (int i = 1; i < LIMIT_CONFIG_VARS; i++) {
		char key[16];
		snprintf(key, sizeof key, "K%d", i);
		cr_assert_eq(store_config_set(x.s, x.a.id, key, "v", &x.e), 0);
	}
	cr_assert_eq(store_config_set(x.s, x.a.id, "ONE_MORE", "v", &x.e), -EDQUOT);
	cr_assert_eq(store_config_set(x.s, x.a.id, "K1", "other", &x.e), 0);
	cr_assert_eq(store_config_list(x.s, x.a.id, pair_count, &n, &x.e), 0);
	cr_assert_eq(n, LIMIT_CONFIG_VARS);
	shop_close(&x);
}

Test(store, formation)
{
	struct shop x;
	struct model_formation f[LIMIT_TYPES];
	struct quota q;

	shop_open(&x);
	cr_assert_eq(store_formation_get(x.s, x.a.id, f, LIMIT_TYPES, &x.e), 0);
	cr_assert_eq(store_formation_set(x.s, x.a.id, "worker", 2, &x.e), 0);
	cr_assert_eq(store_formation_set(x.s, x.a.id, "web", 3, &x.e), 0);
	cr_assert_eq(store_formation_get(x.s, x.a.id, f, LIMIT_TYPES, &x.e), 2);
	cr_assert_str_eq(f[0].type, "web");
	cr_assert_eq(f[0].count, 3);
	cr_assert_eq(store_formation_get(x.s, x.a.id, f, 1, &x.e), 1);
	cr_assert_eq(store_formation_set(x.s, x.a.id, "web", LIMIT_INSTANCES_PER_TYPE + 1, &x.e), -ERANGE);
	cr_assert_str_eq(x.e.field, "web");
	cr_assert_eq(store_formation_set(x.s, x.a.id, "we b", 1, &x.e), -EINVAL);
	cr_assert_eq(store_formation_set(x.s, 999, "web", 1, &x.e), -ENOENT);
	store_quota_default(&q);
	q.instances = 4;
	x.t.quota = q;
	cr_assert_eq(store_tenant_set(x.s, &x.t, NULL, &x.e), 0);
	cr_assert_eq(store_formation_set(x.s, x.a.id, "web", 4, &x.e), -EDQUOT);
	cr_assert_eq(store_formation_set(x.s, x.a.id, "web", 3, &x.e), 0, "staying is allowed over a lowered quota");
	cr_assert_eq(store_formation_set(x.s, x.a.id, "web", 1, &x.e), 0);
	cr_assert_eq(store_formation_set(x.s, x.a.id, "web", 2, &x.e), 0);
	for (int i = 2; i < LIMIT_TYPES; i++) {
		char type[16];
		snprintf(type, sizeof type, "t%d", i);
		cr_assert_eq(store_formation_set(x.s, x.a.id, type, 0, &x.e), 0);
	}
	cr_assert_eq(store_formation_set(x.s, x.a.id, "extra", 0, &x.e), -EDQUOT);
	shop_close(&x);
}

Test(store, domains)
{
	struct shop x;
	struct model_app b;
	unsigned n = 0;

	shop_open(&x);
	cr_assert_eq(store_app_add(x.s, x.t.id, "b", &shop_limits, true, &b, &x.e), 0);
	cr_assert_eq(store_domain_add(x.s, x.a.id, "www.example.com", MODEL_PROOF_NONE, NULL, &x.e), 0);
	cr_assert_eq(store_domain_add(x.s, x.a.id, "*.example.com", MODEL_PROOF_NONE, NULL, &x.e), 0);
	cr_assert_eq(store_domain_add(x.s, b.id, "www.example.com", MODEL_PROOF_NONE, NULL, &x.e), -EEXIST);
	cr_assert_eq(store_domain_add(x.s, b.id, "WWW.example.com", MODEL_PROOF_NONE, NULL, &x.e), -EINVAL);
	cr_assert_eq(store_domain_add(x.s, b.id, "a..b", MODEL_PROOF_NONE, NULL, &x.e), -EINVAL);
	cr_assert_eq(store_domain_add(x.s, 999, "a.b", MODEL_PROOF_NONE, NULL, &x.e), -ENOENT);
	cr_assert_eq(store_domain_del(x.s, b.id, "www.example.com", &x.e), -ENOENT);
	cr_assert_eq(store_domain_list(x.s, x.a.id, pair_count, &n, &x.e), 0);
	cr_assert_eq(n, 2);
	cr_assert_eq(store_domain_del(x.s, x.a.id, "www.example.com", &x.e), 0);
	cr_assert_eq(store_domain_add(x.s, b.id, "www.example.com", MODEL_PROOF_NONE, NULL, &x.e), 0);
	for (int i = 1; i < LIMIT_DOMAINS; i++) {
		char host[32];
		snprintf(host, sizeof host, "h%d.example.com", i);
		cr_assert_eq(store_domain_add(x.s, b.id, host, MODEL_PROOF_NONE, NULL, &x.e), 0);
	}
	cr_assert_eq(store_domain_add(x.s, b.id, "more.example.com", MODEL_PROOF_NONE, NULL, &x.e), -EDQUOT);
	shop_close(&x);
}

static int proof_count(void *arg, const struct model_domain *d)
{
	cr_assert_eq(d->proof, MODEL_PROOF_WANTED);
	++*(unsigned *)arg;
	return 0;
}

/* Two tenants want one name: it is whose who proves it, and it moves to who proves it later. */
Test(store, domain_proof)
{
	struct shop x;
	struct model_tenant other;
	struct model_app b, c;
	struct model_domain d, f;
	unsigned n = 0, due = 0;
	int64_t app = 0;

	shop_open(&x);
	cr_assert_eq(store_tenant_add(x.s, "other", NULL, &other, &x.e), 0);
	cr_assert_eq(store_app_add(x.s, other.id, "b", &shop_limits, true, &b, &x.e), 0);
	cr_assert_eq(store_app_add(x.s, x.t.id, "c", &shop_limits, true, &c, &x.e), 0);
	cr_assert_eq(store_domain_add(x.s, x.a.id, "www.example.com", MODEL_PROOF_WANTED, &d, &x.e), 0);
	cr_assert_eq(store_domain_add(x.s, b.id, "www.example.com", MODEL_PROOF_WANTED, &f, &x.e), 0);
	cr_assert_eq(strlen(d.token), 38);
	cr_assert_neq(strcmp(d.token, f.token), 0);
	cr_assert_eq(store_domain_holder(x.s, "www.example.com", &app, &x.e), -ENOENT);
	cr_assert_eq(store_domain_list(x.s, x.a.id, pair_count, &n, &x.e), 0);
	cr_assert_eq(n, 0, "a pending domain serves nothing");
	cr_assert_eq(store_domain_due(x.s, d.created_ms + 1000, 10, proof_count, &due, &x.e), 0);
	cr_assert_eq(due, 2);
	f.proof = MODEL_PROOF_DNS;
	f.next_ms = 0;
	cr_assert_eq(store_domain_set(x.s, &f, &x.e), 0, "%s", x.e.text);
	cr_assert_eq(store_domain_holder(x.s, "www.example.com", &app, &x.e), 0);
	cr_assert_eq(app, b.id);
	cr_assert_eq(store_domain_add(x.s, c.id, "www.example.com", MODEL_PROOF_NONE, NULL, &x.e), -EEXIST);
	d.proof = MODEL_PROOF_DNS;
	d.next_ms = 0;
	cr_assert_eq(store_domain_set(x.s, &d, &x.e), 0);
	cr_assert_eq(store_domain_holder(x.s, "www.example.com", &app, &x.e), 0);
	cr_assert_eq(app, x.a.id);
	cr_assert_eq(store_domain_get(x.s, b.id, "www.example.com", &f, &x.e), 0);
	cr_assert_eq(f.proof, MODEL_PROOF_WANTED);
	cr_assert_neq(f.error[0], 0);
	/* Below a wildcard of the tenant's own nothing more is asked; below another's, and where another has it, it is.
	 */
	cr_assert_eq(store_domain_add(x.s, x.a.id, "*.own.example", MODEL_PROOF_OPERATOR, NULL, &x.e), 0);
	cr_assert_eq(store_domain_add(x.s, c.id, "a.b.own.example", MODEL_PROOF_WANTED, &d, &x.e), 0);
	cr_assert_eq(d.proof, MODEL_PROOF_PARENT);
	cr_assert_eq(store_domain_add(x.s, c.id, "*.b.own.example", MODEL_PROOF_WANTED, &d, &x.e), 0);
	cr_assert_eq(d.proof, MODEL_PROOF_PARENT);
	cr_assert_eq(store_domain_add(x.s, c.id, "own.example", MODEL_PROOF_WANTED, &d, &x.e), 0);
	cr_assert_eq(d.proof, MODEL_PROOF_WANTED, "the parent itself is not below it");
	cr_assert_eq(store_domain_add(x.s, b.id, "x.own.example", MODEL_PROOF_WANTED, &d, &x.e), 0);
	cr_assert_eq(d.proof, MODEL_PROOF_WANTED);
	d.proof = MODEL_PROOF_OPERATOR;
	cr_assert_eq(store_domain_set(x.s, &d, &x.e), 0);
	cr_assert_eq(store_domain_add(x.s, c.id, "x.own.example", MODEL_PROOF_WANTED, &d, &x.e), 0);
	cr_assert_eq(d.proof, MODEL_PROOF_WANTED, "another tenant has proved that very name");
	cr_assert_eq(store_domain_del(x.s, c.id, "x.own.example", &x.e), 0);
	cr_assert_eq(store_domain_holder(x.s, "x.own.example", &app, &x.e), 0);
	cr_assert_eq(app, b.id);
	shop_close(&x);
}

static int nested_app(void *arg, const struct model_app *a)
{
	struct shop *x = arg;
	struct model_app again;
	struct ids ids = {0};

	cr_assert_eq(store_app_get(x->s, a->id, &again, &x->e), 0);
	cr_assert_eq(store_app_list(x->s, 0, 0, 0, ids_app, &ids, &x->e), 0);
	cr_assert_eq(ids.n, 3);
	cr_assert_eq(store_config_set(x->s, a->id, "SEEN", "1", &x->e), 0);
	return 0;
}

Test(store, lists_within_lists)
{
	struct shop x;
	shop_open(&x);
	cr_assert_eq(store_app_add(x.s, x.t.id, "b", &shop_limits, true, NULL, &x.e), 0);
	cr_assert_eq(store_app_add(x.s, x.t.id, "c", &shop_limits, true, NULL, &x.e), 0);
	cr_assert_eq(store_app_list(x.s, 0, 0, 0, nested_app, &x, &x.e), 0);
	cr_assert_eq(store_commit(x.s, &x.e), 0);
	shop_close(&x);
}

/* Ten thousand apps: every verb that control calls in its loop stays far below a turn. */
Test(store, ten_thousand_apps)
{
	struct shop x;
	struct model_app a;
	struct model_tenant t;
	int64_t since;
	unsigned seen = 0;
	int64_t after = 0;

	shop_open(&x);
	for (int i = 0; i < 200; i++) {
		char name[32];
		snprintf(name, sizeof name, "t-%d", i);
		cr_assert_eq(store_tenant_add(x.s, name, NULL, &t, &x.e), 0);
		for (int k = 0; k < 50; k++) {
			struct model_instance in = {.type = "web",
						    .state = k % 2 ? MODEL_INSTANCE_EXITED : MODEL_INSTANCE_RUNNING};
			snprintf(name, sizeof name, "a-%d-%d", i, k);
			cr_assert_eq(store_app_add(x.s, t.id, name, &shop_limits, true, &a, &x.e), 0, "%s", x.e.text);
			in.app = a.id;
			cr_assert_eq(store_instance_add(x.s, &in, &x.e), 0);
		}
	}
	cr_assert_eq(store_commit(x.s, &x.e), 0);
	since = clock_mono_us();
	for (;;) {
		struct ids ids = {0};
		cr_assert_eq(store_app_list(x.s, 0, after, 500, ids_app, &ids, &x.e), 0);
		if (ids.n == 0)
			break;
		seen += ids.n;
		after = ids.id[ids.n - 1];
	}
	cr_assert_eq(seen, 10001);
	cr_assert_lt(clock_mono_us() - since, 1000000);
	since = clock_mono_us();
	cr_assert_eq(store_instance_prune(x.s, 10, &x.e), 0);
	cr_assert_eq(store_event_prune(x.s, &x.e), 0);
	cr_assert_lt(clock_mono_us() - since, 500000);
	since = clock_mono_us();
	for (int i = 0; i < 200; i++)
		cr_assert_eq(store_app_find(x.s, "a-150-25", &a, &x.e), 0);
	cr_assert_lt(clock_mono_us() - since, 200000);
	shop_close(&x);
}
