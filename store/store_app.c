/* Apps.  Layer store, control process. */
#include "store/store.h"

#include "base/clock.h"
#include "base/own.h"
#include "base/parse.h"
#include "base/utf8.h"
#include "store/db.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define APP_SELECT                                                                                                     \
	"SELECT a.id, a.tenant, a.name, t.name, a.release, a.candidate, a.health_path, a.paused, a.created_ms,"        \
	" a.limits_own, a.profile, a.egress, a.https, a.hsts, a.canary, " DB_LIMITS(                                   \
		"a.") " FROM app a JOIN tenant t ON t.id = a.tenant"
#define APP_NUMBERS 15 /* column of the first number */

static void app_row(struct db_query *q, void *ret)
{
	struct model_app *a = ret;

	*a = (struct model_app){
		.id = db_int(q, 0),
		.tenant = db_int(q, 1),
		.release = db_int(q, 4),
		.candidate = db_int(q, 5),
		.paused = db_int(q, 7) != 0,
		.created_ms = db_int(q, 8),
		.limits_own = db_int(q, 9) != 0,
		.profile = (uint32_t)db_int(q, 10),
		.https = (uint32_t)db_int(q, 12),
		.hsts_s = (uint32_t)db_int(q, 13),
		.canary = db_int(q, 14),
	};
	db_text(q, 2, a->name, sizeof a->name);
	db_text(q, 3, a->tenant_name, sizeof a->tenant_name);
	db_text(q, 6, a->health_path, sizeof a->health_path);
	db_egress(q, 11, &a->egress);
	db_numbers_read(q, APP_NUMBERS, QUOTA_OF_LIMITS, &a->limits);
}

static int app_health_check(const char *path, struct err *e)
{
	if (*path == 0)
		return 0;
	if (*path != '/')
		return err_field(e, EINVAL, "health_path", "health_path: must begin with '/'");
	for (const char *p = path; *p; p++)
		if (*p <= 0x20 || *p == 0x7f || (unsigned char)*p >= 0x80)
			return err_field(e, EINVAL, "health_path",
					 "health_path: must be printable ASCII without spaces");
	return 0;
}

static int app_room(struct store *s, const struct model_tenant *t, struct err *e)
{
	unsigned count = store_app_count(s, t->id);
	int64_t all;
	int r;

	if (count >= t->quota.apps)
		return err_field(e, EDQUOT, "quota.apps", "tenant %s: app quota %u, %u committed, none left", t->name,
				 t->quota.apps, count);
	r = db_number(s, 0, &all, "SELECT count(*) FROM app", DB_NONE, e);
	if (r < 0)
		return r;
	if (all >= LIMIT_APPS)
		return err_set(e, EDQUOT, "this node has the %d apps that it can hold", LIMIT_APPS);
	return 0;
}

int store_app_add(struct store *s, int64_t tenant, const char *name, const struct quota_limits *limits, bool own,
		  struct model_app *ret, struct err *e)
{
	struct model_app a = {.tenant = tenant,
			      .limits = *limits,
			      .limits_own = own,
			      .egress = {.mode = QUOTA_EGRESS_PUBLIC},
			      .created_ms = clock_wall_ms()};
	struct db_arg args[DB_LIMITS_COUNT + 4];
	struct model_tenant t;
	size_t n;
	int r = parse_name(name, LIMIT_APP_NAME, "name", e);

	if (r == 0)
		r = quota_check(QUOTA_OF_LIMITS, limits, "limits", e);
	if (r == 0)
		r = store_tenant_get(s, tenant, &t, e);
	if (r == 0)
		r = app_room(s, &t, e);
	if (r < 0)
		return r;
	snprintf(a.name, sizeof a.name, "%s", name);
	snprintf(a.tenant_name, sizeof a.tenant_name, "%s", t.name);
	n = db_numbers_args(QUOTA_OF_LIMITS, limits, args);
	args[n++] = DB_I(tenant);
	args[n++] = DB_S(a.name);
	args[n++] = DB_I(own);
	args[n++] = DB_I(a.created_ms);
	r = db_run(s,
		   "INSERT INTO app (" DB_LIMITS("") ", tenant, name, limits_own, created_ms) VALUES (" DB_MARKS_16
						     ", ?, ?, ?, ?)",
		   args, n, e);
	if (r == -EEXIST)
		return err_field(e, EEXIST, "name", "name: \"%s\" is taken", a.name);
	if (r < 0)
		return r;
	a.id = sqlite3_last_insert_rowid(s->db);
	db_touch(s);
	if (ret)
		*ret = a;
	return 0;
}

int store_app_get(struct store *s, int64_t id, struct model_app *ret, struct err *e)
{
	return db_one(s, APP_SELECT " WHERE a.id = ?", DB_I(id), "app", app_row, ret, e);
}

int store_app_find(struct store *s, const char *name, struct model_app *ret, struct err *e)
{
	return db_one(s, APP_SELECT " WHERE a.name = ?", DB_S(name), "app", app_row, ret, e);
}

int store_app_list(struct store *s, int64_t tenant, int64_t after, unsigned limit, store_app_fn *fn, void *arg,
		   struct err *e)
{
	DB_QUERY q = {0};
	int r = tenant ? db_query_start(s, &q, APP_SELECT " WHERE a.tenant = ? AND a.id > ? ORDER BY a.id LIMIT ?",
					DB_ARGS(DB_I(tenant), DB_I(after), DB_I(db_limit(limit))), e)
		       : db_query_start(s, &q, APP_SELECT " WHERE a.id > ? ORDER BY a.id LIMIT ?",
					DB_ARGS(DB_I(after), DB_I(db_limit(limit))), e);

	while (r == 0 && (r = db_query_step(&q, e)) > 0) {
		struct model_app a;
		app_row(&q, &a);
		r = fn(arg, &a);
		if (r != 0)
			return r;
	}
	return r;
}

int store_app_update(struct store *s, const struct model_app *a, struct err *e)
{
	struct db_arg args[DB_LIMITS_COUNT + 11];
	char egress[QUOTA_EGRESS_MAX];
	size_t n;
	int r = quota_check(QUOTA_OF_LIMITS, &a->limits, "limits", e);

	if (r == 0)
		r = app_health_check(a->health_path, e);
	if (r == 0)
		r = db_policy_check(a->profile, &a->egress, e);
	if (r == 0 && (a->https >= MODEL_HTTPS_COUNT || a->hsts_s > LIMIT_HSTS_S))
		r = err_field(e, ERANGE, "hsts", "hsts: %u is outside 0..%u", a->hsts_s, LIMIT_HSTS_S);
	if (r < 0)
		return r;
	quota_egress_text(&a->egress, egress);
	n = db_numbers_args(QUOTA_OF_LIMITS, &a->limits, args);
	args[n++] = DB_I(a->release);
	args[n++] = DB_I(a->candidate);
	args[n++] = DB_S(a->health_path);
	args[n++] = DB_I(a->paused);
	args[n++] = DB_I(a->limits_own);
	args[n++] = DB_I(a->profile);
	args[n++] = DB_S(egress);
	args[n++] = DB_I(a->https);
	args[n++] = DB_I(a->hsts_s);
	args[n++] = DB_I(a->canary);
	args[n++] = DB_I(a->id);
	r = db_run(s,
		   "UPDATE app SET " DB_LIMITS_SET(
			   "") ", release = ?, candidate = ?, health_path = ?, paused = ?, "
			       "limits_own = ?, profile = ?, egress = ?, https = ?, hsts = ?, canary = ?"
			       " WHERE id = ?",
		   args, n, e);
	if (r == 0)
		return err_set(e, ENOENT, "no such app");
	if (r < 0)
		return r;
	db_touch(s);
	return 0;
}

static int app_delete(struct store *s, int64_t id, struct err *e)
{
	int r = db_run(s,
		       "UPDATE build SET state = ?, error = 'The app was deleted.', finished_ms = ? WHERE app = ? AND "
		       "state = ?",
		       DB_ARGS(DB_I(MODEL_BUILD_FAILED), DB_I(clock_wall_ms()), DB_I(id), DB_I(MODEL_BUILD_RUNNING)),
		       e);

	if (r < 0)
		return r;
	r = db_run(s, "DELETE FROM app WHERE id = ?", DB_ARGS(DB_I(id)), e);
	return r == 0 ? err_set(e, ENOENT, "no such app") : r < 0 ? r : 0;
}

int store_app_del(struct store *s, int64_t id, struct err *e)
{
	int r = db_group_start(s, e);

	if (r == 0)
		r = db_group_end(s, app_delete(s, id, e), e);
	if (r < 0)
		return r;
	db_touch(s);
	return 0;
}

unsigned store_app_count(struct store *s, int64_t tenant)
{
	int64_t n = 0;
	int r = tenant ? db_number(s, 0, &n, "SELECT count(*) FROM app WHERE tenant = ?", DB_ARGS(DB_I(tenant)), NULL)
		       : db_number(s, 0, &n, "SELECT count(*) FROM app", DB_NONE, NULL);

	/* When it cannot be read, "many": a quota or a deletion is then refused rather than waved through. */
	return r < 0 ? LIMIT_APPS : (unsigned)n;
}
