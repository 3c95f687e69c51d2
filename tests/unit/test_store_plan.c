/* Plans in the store, and the columns of every number of config/quota.h. */
#include "base/fd.h"
#include "store/db.h"
#include "store/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fix {
	char dir[40];
	struct store *s;
	struct model_tenant t;
	struct model_app own, follows;
	struct model_plan p;
	struct err e;
};

static void fix_open(struct fix *x)
{
	*x = (struct fix){.dir = "/tmp/tulou-store-plan-XXXXXX"};
	cr_assert_not_null(mkdtemp(x->dir));
	cr_assert_eq(store_open(x->dir, &x->s, &x->e), 0, "%s", x->e.text);
	cr_assert_eq(store_tenant_add(x->s, "acme", NULL, &x->t, &x->e), 0, "%s", x->e.text);
	cr_assert_eq(store_app_add(x->s, x->t.id, "own", &quota_app_default, true, &x->own, &x->e), 0);
	cr_assert_eq(store_app_add(x->s, x->t.id, "follows", &quota_app_default, false, &x->follows, &x->e), 0);
	x->p = (struct model_plan){.name = "hobby",
				   .quota = quota_default,
				   .limits = quota_app_default,
				   .profile = QUOTA_PROFILE_STRICT,
				   .private_layers = true,
				   .egress = {.mode = QUOTA_EGRESS_LIST, .count = 1}};
	x->p.quota.memory = 512ull << 20;
	x->p.quota.pids = 128;
	x->p.limits.memory = 96ull << 20;
	x->p.egress.rules[0] =
		(struct quota_egress_rule){.net = 0xcb007100, .prefix = 24, .port_min = 443, .port_max = 443};
}

static void fix_close(struct fix *x)
{
	store_close(x->s);
	cr_assert_eq(fd_remove_tree(AT_FDCWD, x->dir), 0);
}

static void reread(struct fix *x)
{
	cr_assert_eq(store_tenant_get(x->s, x->t.id, &x->t, &x->e), 0);
	cr_assert_eq(store_app_get(x->s, x->own.id, &x->own, &x->e), 0);
	cr_assert_eq(store_app_get(x->s, x->follows.id, &x->follows, &x->e), 0);
}

/* A value of its own for each number, within its range. */
static uint64_t value_of(const struct quota_key *k, unsigned i, unsigned more)
{
	return k->min + 7 * i + more + 1;
}

static void fill(enum quota_of of, void *p, unsigned more)
{
	const struct quota_key *k;

	for (unsigned i = 0; (k = quota_key(i)); i++)
		if (quota_has(k, of))
			quota_set(k, of, p, value_of(k, i, more));
}

static void column_is(struct store *s, const char *table, const char *prefix, const struct quota_key *k, uint64_t want)
{
	sqlite3_stmt *stmt = NULL;
	char sql[128];

	snprintf(sql, sizeof sql, "SELECT %s%s FROM %s ORDER BY id LIMIT 1", prefix, k->name, table);
	cr_assert_eq(sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL), SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(s->db));
	cr_assert_eq(sqlite3_step(stmt), SQLITE_ROW, "%s", sql);
	cr_assert_eq((uint64_t)sqlite3_column_int64(stmt, 0), want, "%s: %lld", sql, sqlite3_column_int64(stmt, 0));
	sqlite3_finalize(stmt);
}

/* The lists DB_LIMITS and DB_QUOTA are written out: this proves that their order is the table's, in every statement. */
Test(store_plan, every_number_has_its_column)
{
	const struct quota_key *k;
	unsigned limits = 0, quotas = 0;
	struct model_plan back;
	struct quota q;
	struct fix x;

	memset(&q, 0, sizeof q);
	fix_open(&x);
	fill(QUOTA_OF_LIMITS, &x.p.limits, 1);
	fill(QUOTA_OF_TENANT, &x.p.quota, 2);
	fill(QUOTA_OF_LIMITS, &x.own.limits, 3);
	fill(QUOTA_OF_TENANT, &x.t.quota, 4);
	cr_assert_eq(store_plan_add(x.s, &x.p, &x.p, &x.e), 0, "%s", x.e.text);
	cr_assert_eq(store_app_update(x.s, &x.own, &x.e), 0, "%s", x.e.text);
	cr_assert_eq(store_tenant_set(x.s, &x.t, NULL, &x.e), 0, "%s", x.e.text);
	for (unsigned i = 0; (k = quota_key(i)); i++) {
		if (quota_has(k, QUOTA_OF_LIMITS)) {
			limits++;
			column_is(x.s, "app", "", k, value_of(k, i, 3));
			column_is(x.s, "plan", "l_", k, value_of(k, i, 1));
		}
		if (quota_has(k, QUOTA_OF_TENANT)) {
			quotas++;
			column_is(x.s, "tenant", "", k, value_of(k, i, 4));
			column_is(x.s, "plan", "q_", k, value_of(k, i, 2));
		}
	}
	cr_assert_eq(limits, DB_LIMITS_COUNT);
	cr_assert_eq(quotas, DB_QUOTA_COUNT);
	cr_assert_eq(store_plan_find(x.s, "hobby", &back, &x.e), 0);
	cr_assert_eq(memcmp(&back.quota, &x.p.quota, sizeof back.quota), 0);
	cr_assert_eq(memcmp(&back.limits, &x.p.limits, sizeof back.limits), 0);
	/* The other statements: insert of a tenant and of an app, update of a plan. */
	fill(QUOTA_OF_TENANT, &q, 5);
	cr_assert_eq(store_tenant_add(x.s, "b", &q, &x.t, &x.e), 0);
	cr_assert_eq(store_tenant_get(x.s, x.t.id, &x.t, &x.e), 0);
	cr_assert_eq(memcmp(&x.t.quota, &q, sizeof q), 0);
	cr_assert_eq(store_app_add(x.s, x.t.id, "b", &x.own.limits, true, &x.follows, &x.e), 0);
	cr_assert_eq(store_app_get(x.s, x.follows.id, &x.follows, &x.e), 0);
	cr_assert_eq(memcmp(&x.follows.limits, &x.own.limits, sizeof x.own.limits), 0);
	fill(QUOTA_OF_TENANT, &x.p.quota, 6);
	fill(QUOTA_OF_LIMITS, &x.p.limits, 0);
	cr_assert_eq(store_plan_update(x.s, &x.p, &x.e), 0);
	cr_assert_eq(store_plan_get(x.s, x.p.id, &back, &x.e), 0);
	cr_assert_eq(memcmp(&back.quota, &x.p.quota, sizeof back.quota), 0);
	cr_assert_eq(memcmp(&back.limits, &x.p.limits, sizeof back.limits), 0);
	fix_close(&x);
}

static int count_plan(void *arg, const struct model_plan *p)
{
	(void)p;
	++*(unsigned *)arg;
	return 0;
}

Test(store_plan, add_find_list_delete)
{
	struct model_plan bad;
	unsigned n = 0;
	struct fix x;

	fix_open(&x);
	cr_assert_eq(store_plan_add(x.s, &x.p, &x.p, &x.e), 0, "%s", x.e.text);
	cr_assert_gt(x.p.id, 0);
	cr_assert_eq(store_plan_add(x.s, &x.p, NULL, &x.e), -EEXIST);
	cr_assert_str_eq(x.e.field, "name");
	bad = x.p;
	snprintf(bad.name, sizeof bad.name, "Not good");
	cr_assert_eq(store_plan_add(x.s, &bad, NULL, &x.e), -EINVAL);
	bad = x.p;
	bad.limits.pids = 0;
	cr_assert_eq(store_plan_update(x.s, &bad, &x.e), -ERANGE);
	cr_assert_str_eq(x.e.field, "limits.pids");
	bad = x.p;
	bad.egress.mode = 77;
	cr_assert_eq(store_plan_update(x.s, &bad, &x.e), -EINVAL);
	bad = x.p;
	bad.id = 999;
	cr_assert_eq(store_plan_update(x.s, &bad, &x.e), -ENOENT);
	for (int i = 1; i < LIMIT_PLANS; i++) {
		snprintf(bad.name, sizeof bad.name, "p%d", i);
		cr_assert_eq(store_plan_add(x.s, &bad, NULL, &x.e), 0);
	}
	snprintf(bad.name, sizeof bad.name, "more");
	cr_assert_eq(store_plan_add(x.s, &bad, NULL, &x.e), -EDQUOT);
	cr_assert_eq(store_plan_list(x.s, 0, 0, count_plan, &n, &x.e), 0);
	cr_assert_eq(n, LIMIT_PLANS);
	cr_assert_eq(store_plan_del(x.s, x.p.id, &x.e), 0);
	cr_assert_eq(store_plan_find(x.s, "hobby", NULL, &x.e), -ENOENT);
	cr_assert_eq(store_plan_del(x.s, x.p.id, &x.e), -ENOENT);
	fix_close(&x);
}

Test(store_plan, a_tenant_on_a_plan_has_what_it_says)
{
	struct quota_limits node = quota_app_default;
	struct model_tenant other;
	struct fix x;

	fix_open(&x);
	cr_assert_eq(store_plan_add(x.s, &x.p, &x.p, &x.e), 0);
	cr_assert_eq(store_tenant_add(x.s, "other", NULL, &other, &x.e), 0);
	x.t.plan = x.p.id;
	cr_assert_eq(store_tenant_set(x.s, &x.t, &node, &x.e), 0, "%s", x.e.text);
	cr_assert_str_eq(x.t.plan_name, "hobby", "the caller's copy is filled");
	reread(&x);
	cr_assert_str_eq(x.t.plan_name, "hobby");
	cr_assert_eq(x.t.quota.memory, 512ull << 20);
	cr_assert_eq(x.t.profile, QUOTA_PROFILE_STRICT);
	cr_assert(x.t.private_layers);
	cr_assert_eq(x.t.egress.mode, QUOTA_EGRESS_LIST);
	cr_assert_eq(x.t.egress.rules[0].port_max, 443);
	cr_assert_eq(x.follows.limits.memory, 96ull << 20);
	cr_assert_eq(x.follows.limits.pids, 128, "lowered to the plan's quota");
	cr_assert_eq(x.own.limits.memory, 256ull << 20, "limits of its own stay");

	/* The plan changes: its tenants follow in the same transaction, others do not. */
	x.p.quota.memory = 768ull << 20;
	x.p.limits.memory = 80ull << 20;
	x.p.profile = QUOTA_PROFILE_DEFAULT;
	cr_assert_eq(store_plan_update(x.s, &x.p, &x.e), 0);
	reread(&x);
	cr_assert_eq(x.t.quota.memory, 768ull << 20);
	cr_assert_eq(x.t.profile, QUOTA_PROFILE_DEFAULT);
	cr_assert_eq(x.follows.limits.memory, 80ull << 20);
	cr_assert_eq(x.own.limits.memory, 256ull << 20);
	cr_assert_eq(store_tenant_get(x.s, other.id, &other, &x.e), 0);
	cr_assert_eq(other.quota.memory, quota_default.memory);
	cr_assert_eq(store_plan_del(x.s, x.p.id, &x.e), -EBUSY);
	cr_assert(strstr(x.e.text, "1 tenant: "), "%s", x.e.text);
	cr_assert(strstr(x.e.text, x.t.name), "%s", x.e.text);

	/* Something of its own: the plan's changes leave that alone, all else follows. */
	for (unsigned i = 0; quota_key(i); i++)
		x.t.own |= strcmp(quota_key(i)->name, "memory") == 0 ? 1u << i : 0;
	x.t.own |= MODEL_OWN_LAYERS;
	x.t.quota.memory = 96ull << 20;
	x.t.quota.pids = 1000; /* not named: the plan's holds */
	x.t.private_layers = true;
	cr_assert_eq(store_tenant_set(x.s, &x.t, &node, &x.e), 0);
	cr_assert_eq(x.t.quota.pids, x.p.quota.pids);
	cr_assert(!(x.t.own & MODEL_OWN_LAYERS), "as the plan has it: not its own");
	reread(&x);
	cr_assert_eq(x.t.quota.memory, 96ull << 20);
	cr_assert_eq(x.t.plan, x.p.id);
	cr_assert_eq(__builtin_popcount(x.t.own), 1);
	cr_assert_eq(x.follows.limits.memory, 80ull << 20);
	x.p.quota.memory = 96ull << 20; /* says the same for a while */
	x.p.quota.pids = 140;
	cr_assert_eq(store_plan_update(x.s, &x.p, &x.e), 0);
	x.p.quota.memory = 768ull << 20;
	x.p.limits.memory = 128ull << 20;
	cr_assert_eq(store_plan_update(x.s, &x.p, &x.e), 0);
	reread(&x);
	cr_assert_eq(x.t.quota.memory, 96ull << 20);
	cr_assert_eq(x.t.quota.pids, 140);
	cr_assert_eq(x.follows.limits.memory, 96ull << 20, "the plan's, lowered to the quota");

	/* Off the plan: the followers follow the node again. */
	x.t.plan = 0;
	x.t.quota.memory = 128ull << 20;
	cr_assert_eq(store_tenant_set(x.s, &x.t, &node, &x.e), 0);
	reread(&x);
	cr_assert_eq(x.t.plan, 0);
	cr_assert_str_eq(x.t.plan_name, "");
	cr_assert_eq(x.follows.limits.memory, 128ull << 20, "the node's, lowered to the quota");
	cr_assert_eq(store_plan_del(x.s, x.p.id, &x.e), 0);
	x.t.plan = x.p.id;
	cr_assert_eq(store_tenant_set(x.s, &x.t, &node, &x.e), -ENOENT);
	cr_assert_str_eq(x.e.field, "plan");
	reread(&x);
	cr_assert_eq(x.t.plan, 0, "nothing of a refused change stays");
	fix_close(&x);
}
