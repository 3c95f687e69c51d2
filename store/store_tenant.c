/* Tenants and their quotas.  Layer store, control process. */
#include "store/store.h"

#include "base/clock.h"
#include "base/own.h"
#include "base/parse.h"
#include "store/db.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TENANT_SELECT                                                                                                  \
	"SELECT t.id, t.name, t.slot, t.created_ms, t.plan, coalesce(p.name, ''), t.profile, t.private_layers, "       \
	"t.egress, t.own, " DB_QUOTA("t.") " FROM tenant t LEFT JOIN plan p ON p.id = t.plan"
#define TENANT_NUMBERS 10 /* column of the first number */

void store_quota_default(struct quota *ret)
{
	*ret = quota_default;
}

static void tenant_row(struct db_query *q, void *ret)
{
	struct model_tenant *t = ret;

	*t = (struct model_tenant){
		.id = db_int(q, 0),
		.slot = (uint32_t)db_int(q, 2),
		.created_ms = db_int(q, 3),
		.plan = db_int(q, 4),
		.profile = (uint32_t)db_int(q, 6),
		.private_layers = db_int(q, 7) != 0,
	};
	db_text(q, 1, t->name, sizeof t->name);
	db_text(q, 5, t->plan_name, sizeof t->plan_name);
	db_egress(q, 8, &t->egress);
	t->own = t->plan ? db_own_read(q, 9) : 0;
	db_numbers_read(q, TENANT_NUMBERS, QUOTA_OF_TENANT, &t->quota);
}

/* The next free slot, going round: a slot is reused as late as can be, so that files or processes which a deletion
 * may have left behind do not become another tenant's. */
static int tenant_slot(struct store *s, int64_t *ret, struct err *e)
{
	static const char first_free[] =
		/* ?1 itself, or the slot after a taken one whose successor is free */
		"SELECT min(slot) FROM (SELECT ?1 AS slot WHERE NOT EXISTS (SELECT 1 FROM tenant WHERE slot = ?1) "
		"UNION ALL"
		" SELECT slot + 1 FROM tenant t WHERE slot >= ?1 AND slot + 1 < ?2"
		" AND NOT EXISTS (SELECT 1 FROM tenant u WHERE u.slot = t.slot + 1))";
	int64_t next, found = -1;
	int r = db_number(s, 0, &next, "SELECT value FROM internal WHERE key = 'next_slot'", DB_NONE, e);

	if (r < 0)
		return r;
	for (int round = 0; round < 2 && found < 0; round++) {
		DB_QUERY q = {0};
		r = db_query_start(s, &q, first_free,
				   DB_ARGS(DB_I(round ? 0 : next % LIMIT_TENANTS), DB_I(LIMIT_TENANTS)), e);
		if (r == 0)
			r = db_query_step(&q, e);
		if (r < 0)
			return r;
		if (r && sqlite3_column_type(q.stmt, 0) == SQLITE_INTEGER)
			found = db_int(&q, 0);
	}
	if (found < 0)
		return err_set(e, EDQUOT, "this node has the %d tenants that it can hold", LIMIT_TENANTS);
	r = db_run(
		s,
		"INSERT INTO internal (key, value) VALUES ('next_slot', ?1) ON CONFLICT (key) DO UPDATE SET value = ?1",
		DB_ARGS(DB_I(found + 1)), e);
	if (r < 0)
		return r;
	*ret = found;
	return 0;
}

static int tenant_insert(struct store *s, struct model_tenant *t, struct err *e)
{
	struct db_arg args[DB_QUOTA_COUNT + 3];
	int64_t slot = 0;
	size_t n;
	int r = tenant_slot(s, &slot, e);

	if (r < 0)
		return r;
	t->slot = (uint32_t)slot;
	n = db_numbers_args(QUOTA_OF_TENANT, &t->quota, args);
	args[n++] = DB_S(t->name);
	args[n++] = DB_I(slot);
	args[n++] = DB_I(t->created_ms);
	r = db_run(s, "INSERT INTO tenant (" DB_QUOTA("") ", name, slot, created_ms) VALUES (" DB_MARKS_19 ", ?, ?, ?)",
		   args, n, e);
	if (r == -EEXIST)
		return err_field(e, EEXIST, "name", "name: a tenant \"%s\" exists already", t->name);
	t->id = sqlite3_last_insert_rowid(s->db);
	return r < 0 ? r : 0;
}

int store_tenant_add(struct store *s, const char *name, const struct quota *quota, struct model_tenant *ret,
		     struct err *e)
{
	struct model_tenant t = {.created_ms = clock_wall_ms(), .egress = {.mode = QUOTA_EGRESS_PUBLIC}};
	int r = parse_name(name, LIMIT_TENANT_NAME, "name", e);

	if (r < 0)
		return r;
	if (quota)
		t.quota = *quota;
	else
		store_quota_default(&t.quota);
	r = quota_check(QUOTA_OF_TENANT, &t.quota, "quota", e);
	if (r < 0)
		return r;
	snprintf(t.name, sizeof t.name, "%s", name);
	r = db_group_start(s, e);
	if (r == 0)
		r = db_group_end(s, tenant_insert(s, &t, e), e);
	if (r < 0)
		return r;
	db_touch(s);
	if (ret)
		*ret = t;
	return 0;
}

int store_tenant_get(struct store *s, int64_t id, struct model_tenant *ret, struct err *e)
{
	return db_one(s, TENANT_SELECT " WHERE t.id = ?", DB_I(id), "tenant", tenant_row, ret, e);
}

int store_tenant_find(struct store *s, const char *name, struct model_tenant *ret, struct err *e)
{
	return db_one(s, TENANT_SELECT " WHERE t.name = ?", DB_S(name), "tenant", tenant_row, ret, e);
}

int store_tenant_list(struct store *s, int64_t after, unsigned limit, store_tenant_fn *fn, void *arg, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, TENANT_SELECT " WHERE t.id > ? ORDER BY t.id LIMIT ?",
			       DB_ARGS(DB_I(after), DB_I(db_limit(limit))), e);

	while (r == 0 && (r = db_query_step(&q, e)) > 0) {
		struct model_tenant t;
		tenant_row(&q, &t);
		r = fn(arg, &t);
		if (r != 0)
			return r;
	}
	return r;
}

/* What its apps without limits of their own get. */
static int tenant_followers(struct store *s, const struct model_tenant *t, const struct quota_limits *follow,
			    struct err *e)
{
	struct db_arg args[DB_LIMITS_COUNT + 1];
	struct quota_limits limits = *follow;
	size_t n;
	int r;

	quota_clamp(&limits, &t->quota);
	n = db_numbers_args(QUOTA_OF_LIMITS, &limits, args);
	args[n++] = DB_I(t->id);
	r = db_run(s, "UPDATE app SET " DB_LIMITS_SET("") " WHERE limits_own = 0 AND tenant = ?", args, n, e);
	return r < 0 ? r : 0;
}

/* The plan's values, but for those that are the tenant's own.  asked: one that says the same as the plan is none; else
 * it is the plan that has come to say the same, and may say another thing tomorrow. */
static void tenant_overlay(struct model_tenant *t, const struct model_plan *p, bool asked)
{
	const struct model_tenant own = *t;
	const struct quota_key *k;

	for (unsigned i = 0; asked && (k = quota_key(i)); i++)
		if (quota_has(k, QUOTA_OF_TENANT) &&
		    quota_get(k, QUOTA_OF_TENANT, &own.quota) == quota_get(k, QUOTA_OF_TENANT, &p->quota))
			t->own &= ~(1u << i);
	if (asked && own.profile == p->profile)
		t->own &= ~MODEL_OWN_PROFILE;
	if (asked && own.private_layers == p->private_layers)
		t->own &= ~MODEL_OWN_LAYERS;
	if (asked && memcmp(&own.egress, &p->egress, sizeof own.egress) == 0)
		t->own &= ~MODEL_OWN_EGRESS;
	t->quota = p->quota;
	for (unsigned i = 0; (k = quota_key(i)); i++)
		if (quota_has(k, QUOTA_OF_TENANT) && t->own & 1u << i)
			quota_set(k, QUOTA_OF_TENANT, &t->quota, quota_get(k, QUOTA_OF_TENANT, &own.quota));
	t->profile = t->own & MODEL_OWN_PROFILE ? own.profile : p->profile;
	t->private_layers = t->own & MODEL_OWN_LAYERS ? own.private_layers : p->private_layers;
	t->egress = t->own & MODEL_OWN_EGRESS ? own.egress : p->egress;
}

static int tenant_set(struct store *s, struct model_tenant *t, const struct quota_limits *follow, bool asked,
		      struct err *e)
{
	struct db_arg args[DB_QUOTA_COUNT + 6];
	char egress[QUOTA_EGRESS_MAX], own[DB_OWN_TEXT];
	struct model_plan p;
	size_t n;
	int r;

	t->plan_name[0] = 0;
	if (t->plan) {
		if (store_plan_get(s, t->plan, &p, NULL) < 0)
			return err_field(e, ENOENT, "plan", "plan: there is no such plan");
		memcpy(t->plan_name, p.name, sizeof t->plan_name);
		tenant_overlay(t, &p, asked);
		follow = &p.limits;
	} else {
		t->own = 0;
	}
	db_own_text(t->own, own);
	quota_egress_text(&t->egress, egress);
	n = db_numbers_args(QUOTA_OF_TENANT, &t->quota, args);
	args[n++] = DB_I(t->plan);
	args[n++] = DB_I(t->profile);
	args[n++] = DB_I(t->private_layers);
	args[n++] = DB_S(egress);
	args[n++] = DB_S(own);
	args[n++] = DB_I(t->id);
	r = db_run(s,
		   "UPDATE tenant SET " DB_QUOTA_SET(
			   "") ", plan = ?, profile = ?, private_layers = ?, egress = ?, own = ? WHERE id = ?",
		   args, n, e);
	if (r == 0)
		return err_set(e, ENOENT, "no such tenant");
	return r < 0 ? r : follow ? tenant_followers(s, t, follow, e) : 0;
}

int db_tenant_follow(struct store *s, int64_t tenant, struct err *e)
{
	struct model_tenant t;
	int r = store_tenant_get(s, tenant, &t, e);

	return r < 0 ? r : tenant_set(s, &t, NULL, false, e);
}

int store_tenant_set(struct store *s, struct model_tenant *t, const struct quota_limits *follow, struct err *e)
{
	struct model_tenant set = *t;
	int r = quota_check(QUOTA_OF_TENANT, &t->quota, "quota", e);

	if (r == 0)
		r = db_policy_check(t->profile, &t->egress, e);
	if (r == 0)
		r = db_group_start(s, e);
	if (r == 0)
		r = db_group_end(s, tenant_set(s, &set, follow, true, e), e);
	if (r < 0)
		return r;
	*t = set;
	db_touch(s);
	return 0;
}

static int tenant_delete(struct store *s, int64_t id, struct err *e)
{
	int r = db_run(s, "DELETE FROM idem WHERE token IN (SELECT id FROM token WHERE tenant = ?)", DB_ARGS(DB_I(id)),
		       e);

	if (r >= 0) /* its tokens go with it by the foreign key */
		r = db_run(s, "DELETE FROM tenant WHERE id = ?", DB_ARGS(DB_I(id)), e);
	return r < 0 ? r : 0;
}

int store_tenant_del(struct store *s, int64_t id, struct err *e)
{
	struct model_tenant t;
	unsigned apps;
	int r = store_tenant_get(s, id, &t, e);

	if (r < 0)
		return r;
	apps = store_app_count(s, id);
	if (apps)
		return err_set(e, EBUSY, "tenant %s still has %u app%s", t.name, apps, apps == 1 ? "" : "s");
	r = db_group_start(s, e);
	if (r == 0)
		r = db_group_end(s, tenant_delete(s, id, e), e);
	if (r < 0)
		return r;
	db_touch(s);
	return 0;
}
