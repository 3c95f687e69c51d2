/* Plans, and what they give to the tenants that are on them.  Layer store, control process. */
#include "store/store.h"

#include "base/clock.h"
#include "base/own.h"
#include "base/parse.h"
#include "store/db.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PLAN_SELECT                                                                                                    \
	"SELECT id, name, profile, private_layers, egress, created_ms, " DB_QUOTA("q_") ", " DB_LIMITS(                \
		"l_") " FROM plan"
#define PLAN_NUMBERS 6 /* column of the first number */
#define PLAN_ARGS (DB_QUOTA_COUNT + DB_LIMITS_COUNT + 6)

static void plan_row(struct db_query *q, void *ret)
{
	struct model_plan *p = ret;

	*p = (struct model_plan){
		.id = db_int(q, 0),
		.profile = (uint32_t)db_int(q, 2),
		.private_layers = db_int(q, 3) != 0,
		.created_ms = db_int(q, 5),
	};
	db_text(q, 1, p->name, sizeof p->name);
	db_egress(q, 4, &p->egress);
	db_numbers_read(q, PLAN_NUMBERS, QUOTA_OF_TENANT, &p->quota);
	db_numbers_read(q, PLAN_NUMBERS + DB_QUOTA_COUNT, QUOTA_OF_LIMITS, &p->limits);
}

static int plan_check(const struct model_plan *p, struct err *e)
{
	int r = parse_name(p->name, LIMIT_PLAN_NAME, "name", e);

	if (r == 0)
		r = quota_check(QUOTA_OF_TENANT, &p->quota, "quota", e);
	if (r == 0)
		r = quota_check(QUOTA_OF_LIMITS, &p->limits, "limits", e);
	if (r == 0)
		r = db_policy_check(p->profile, &p->egress, e);
	return r;
}

/* All columns but id and created_ms; egress is the text, which must outlive the statement. */
static size_t plan_args(const struct model_plan *p, char egress[QUOTA_EGRESS_MAX], struct db_arg *args)
{
	size_t n = db_numbers_args(QUOTA_OF_TENANT, &p->quota, args);

	quota_egress_text(&p->egress, egress);
	n += db_numbers_args(QUOTA_OF_LIMITS, &p->limits, args + n);
	args[n++] = DB_S(p->name);
	args[n++] = DB_I(p->profile);
	args[n++] = DB_I(p->private_layers);
	args[n++] = DB_S(egress);
	return n;
}

int store_plan_add(struct store *s, const struct model_plan *p, struct model_plan *ret, struct err *e)
{
	struct model_plan made = *p;
	char egress[QUOTA_EGRESS_MAX];
	struct db_arg args[PLAN_ARGS];
	int64_t count = 0;
	size_t n;
	int r = plan_check(p, e);

	if (r == 0)
		r = db_number(s, 0, &count, "SELECT count(*) FROM plan", DB_NONE, e);
	if (r < 0)
		return r;
	if (count >= LIMIT_PLANS)
		return err_set(e, EDQUOT, "this node has the %d plans that it can hold", LIMIT_PLANS);
	made.created_ms = clock_wall_ms();
	n = plan_args(&made, egress, args);
	args[n++] = DB_I(made.created_ms);
	r = db_run(s,
		   "INSERT INTO plan (" DB_QUOTA("q_") ", " DB_LIMITS(
			   "l_") ", name, profile, private_layers, egress, created_ms) VALUES (" DB_MARKS_19
				 ", " DB_MARKS_16 ", ?, ?, ?, ?, ?)",
		   args, n, e);
	if (r == -EEXIST)
		return err_field(e, EEXIST, "name", "name: a plan \"%s\" exists already", made.name);
	if (r < 0)
		return r;
	made.id = sqlite3_last_insert_rowid(s->db);
	db_touch(s);
	if (ret)
		*ret = made;
	return 0;
}

int store_plan_get(struct store *s, int64_t id, struct model_plan *ret, struct err *e)
{
	return db_one(s, PLAN_SELECT " WHERE id = ?", DB_I(id), "plan", plan_row, ret, e);
}

int store_plan_find(struct store *s, const char *name, struct model_plan *ret, struct err *e)
{
	return db_one(s, PLAN_SELECT " WHERE name = ?", DB_S(name), "plan", plan_row, ret, e);
}

int store_plan_list(struct store *s, int64_t after, unsigned limit, store_plan_fn *fn, void *arg, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, PLAN_SELECT " WHERE id > ? ORDER BY id LIMIT ?",
			       DB_ARGS(DB_I(after), DB_I(db_limit(limit))), e);

	while (r == 0 && (r = db_query_step(&q, e)) > 0) {
		struct model_plan p;
		plan_row(&q, &p);
		r = fn(arg, &p);
		if (r != 0)
			return r;
	}
	return r;
}

int store_plan_tenants(struct store *s, int64_t id, unsigned *ret, struct err *e)
{
	int64_t n = 0;
	int r = db_number(s, 0, &n, "SELECT count(*) FROM tenant WHERE plan = ?", DB_ARGS(DB_I(id)), e);

	*ret = (unsigned)n;
	return r;
}

/* Those that have some values of their own over the plan. */
static int plan_hand_out_own(struct store *s, int64_t plan, struct err *e)
{
	int64_t id = 0;
	int r;

	do {
		r = db_number(s, 0, &id, "SELECT min(id) FROM tenant WHERE plan = ? AND own <> '' AND id > ?",
			      DB_ARGS(DB_I(plan), DB_I(id)), e);
		if (r == 0 && id)
			r = db_tenant_follow(s, id, e);
	} while (r == 0 && id);
	return r;
}

/* The tenants on the plan get what it says, and those of their apps that follow it. */
static int plan_hand_out(struct store *s, const struct model_plan *p, struct err *e)
{
	struct quota_limits limits = p->limits;
	struct db_arg args[PLAN_ARGS];
	char egress[QUOTA_EGRESS_MAX];
	size_t n = db_numbers_args(QUOTA_OF_TENANT, &p->quota, args);
	int r;

	quota_egress_text(&p->egress, egress);
	args[n++] = DB_I(p->profile);
	args[n++] = DB_I(p->private_layers);
	args[n++] = DB_S(egress);
	args[n++] = DB_I(p->id);
	r = db_run(s,
		   "UPDATE tenant SET " DB_QUOTA_SET("") ", profile = ?, private_layers = ?, egress = ? "
							 "WHERE plan = ? AND own = ''",
		   args, n, e);
	if (r < 0)
		return r;
	quota_clamp(&limits, &p->quota);
	n = db_numbers_args(QUOTA_OF_LIMITS, &limits, args);
	args[n++] = DB_I(p->id);
	r = db_run(
		s,
		"UPDATE app SET " DB_LIMITS_SET(
			"") " WHERE limits_own = 0 AND tenant IN (SELECT id FROM tenant WHERE plan = ? AND own = '')",
		args, n, e);
	return r < 0 ? r : plan_hand_out_own(s, p->id, e);
}

static int plan_update(struct store *s, const struct model_plan *p, struct err *e)
{
	char egress[QUOTA_EGRESS_MAX];
	struct db_arg args[PLAN_ARGS];
	size_t n = plan_args(p, egress, args);
	int r;

	args[n++] = DB_I(p->id);
	r = db_run(s,
		   "UPDATE plan SET " DB_QUOTA_SET("q_") ", " DB_LIMITS_SET(
			   "l_") ", name = ?, profile = ?, private_layers = ?, egress = ? WHERE id = ?",
		   args, n, e);
	if (r == -EEXIST)
		return err_field(e, EEXIST, "name", "name: a plan \"%s\" exists already", p->name);
	if (r == 0)
		return err_set(e, ENOENT, "no such plan");
	return r < 0 ? r : plan_hand_out(s, p, e);
}

int store_plan_update(struct store *s, const struct model_plan *p, struct err *e)
{
	int r = plan_check(p, e);

	if (r == 0)
		r = db_group_start(s, e);
	if (r == 0)
		r = db_group_end(s, plan_update(s, p, e), e);
	if (r < 0)
		return r;
	db_touch(s);
	return 0;
}

/* Up to three tenants of a plan, for the sentence that says why it stays: "acme, globex, initech and others". */
static int plan_tenants_text(struct store *s, int64_t id, char out[4 * LIMIT_TENANT_NAME], struct err *e)
{
	const struct db_arg arg = DB_I(id);
	unsigned n = 0;
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, "SELECT name FROM tenant WHERE plan = ? ORDER BY name LIMIT 4", &arg, 1, e);

	out[0] = 0;
	while (r == 0 && (r = db_query_step(&q, e)) > 0) {
		char name[LIMIT_TENANT_NAME + 1];
		size_t at = strlen(out);

		db_text(&q, 0, name, sizeof name);
		if (n == 3)
			snprintf(out + at, 4 * LIMIT_TENANT_NAME - at, " and others");
		else
			snprintf(out + at, 4 * LIMIT_TENANT_NAME - at, "%s%s", n ? ", " : "", name);
		n++;
		r = 0;
	}
	return r;
}

int store_plan_del(struct store *s, int64_t id, struct err *e)
{
	char names[4 * LIMIT_TENANT_NAME];
	struct model_plan p;
	unsigned tenants = 0;
	int r = store_plan_get(s, id, &p, e);

	if (r == 0)
		r = store_plan_tenants(s, id, &tenants, e);
	if (r < 0)
		return r;
	if (tenants) {
		r = plan_tenants_text(s, id, names, e);
		return r < 0 ? r
			     : err_set(e, EBUSY, "plan %s still has %u tenant%s: %s", p.name, tenants,
				       tenants == 1 ? "" : "s", names);
	}
	r = db_run(s, "DELETE FROM plan WHERE id = ?", DB_ARGS(DB_I(id)), e);
	if (r < 0)
		return r;
	db_touch(s);
	return 0;
}
