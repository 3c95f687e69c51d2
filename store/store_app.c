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
	"SELECT a.id, a.tenant, a.name, t.name, a.release, a.candidate, a.memory, a.disk, a.cpu, a.pids, a.nofile,"    \
	" a.health_path, a.paused, a.created_ms FROM app a JOIN tenant t ON t.id = a.tenant"

static void app_row(struct db_query *q, struct model_app *a)
{
	*a = (struct model_app){
		.id = db_int(q, 0),
		.tenant = db_int(q, 1),
		.release = db_int(q, 4),
		.candidate = db_int(q, 5),
		.limits = {.memory = (uint64_t)db_int(q, 6),
			   .disk = (uint64_t)db_int(q, 7),
			   .cpu = (uint32_t)db_int(q, 8),
			   .pids = (uint32_t)db_int(q, 9),
			   .nofile = (uint32_t)db_int(q, 10)},
		.paused = db_int(q, 12) != 0,
		.created_ms = db_int(q, 13),
	};
	db_text(q, 2, a->name, sizeof a->name);
	db_text(q, 3, a->tenant_name, sizeof a->tenant_name);
	db_text(q, 11, a->health_path, sizeof a->health_path);
}

static int app_limits_check(const struct model_limits *l, struct err *e)
{
	const struct {
		const char *field;
		uint64_t value, min, max;
	} rows[] = {
		{"limits.memory", l->memory, LIMIT_MEMORY_MIN, LIMIT_MEMORY_MAX},
		{"limits.disk", l->disk, LIMIT_DISK_MIN, LIMIT_DISK_MAX},
		{"limits.cpu", l->cpu, LIMIT_CPU_MIN, LIMIT_CPU_MAX},
		{"limits.pids", l->pids, LIMIT_PIDS_MIN, LIMIT_PIDS_MAX},
		{"limits.nofile", l->nofile, LIMIT_NOFILE_MIN, LIMIT_NOFILE_MAX},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].value < rows[i].min || rows[i].value > rows[i].max)
			return err_field(e, ERANGE, rows[i].field, "%s: %" PRIu64 " is outside %" PRIu64 "..%" PRIu64,
					 rows[i].field, rows[i].value, rows[i].min, rows[i].max);
	return 0;
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
		return err_field(e, EDQUOT, "quota.apps", "tenant %s: %u of %u apps in use", t->name, count,
				 t->quota.apps);
	r = db_number(s, 0, &all, "SELECT count(*) FROM app", DB_NONE, e);
	if (r < 0)
		return r;
	if (all >= LIMIT_APPS)
		return err_set(e, EDQUOT, "this node has the %d apps that it can hold", LIMIT_APPS);
	return 0;
}

int store_app_add(struct store *s, int64_t tenant, const char *name, const struct model_limits *limits,
		  struct model_app *ret, struct err *e)
{
	struct model_app a = {.tenant = tenant, .limits = *limits, .created_ms = clock_wall_ms()};
	struct model_tenant t;
	int r = parse_name(name, LIMIT_APP_NAME, "name", e);

	if (r == 0)
		r = app_limits_check(limits, e);
	if (r == 0)
		r = store_tenant_get(s, tenant, &t, e);
	if (r == 0)
		r = app_room(s, &t, e);
	if (r < 0)
		return r;
	snprintf(a.name, sizeof a.name, "%s", name);
	snprintf(a.tenant_name, sizeof a.tenant_name, "%s", t.name);
	r = db_run(s,
		   "INSERT INTO app (tenant, name, memory, disk, cpu, pids, nofile, created_ms) VALUES (?, ?, ?, ?, ?, "
		   "?, ?, ?)",
		   DB_ARGS(DB_I(tenant), DB_S(a.name), DB_I(limits->memory), DB_I(limits->disk), DB_I(limits->cpu),
			   DB_I(limits->pids), DB_I(limits->nofile), DB_I(a.created_ms)),
		   e);
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

static int app_one(struct store *s, const char *sql, struct db_arg arg, struct model_app *ret, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, sql, &arg, 1, e);

	if (r == 0)
		r = db_query_step(&q, e);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(e, ENOENT, "no such app");
	if (ret)
		app_row(&q, ret);
	return 0;
}

int store_app_get(struct store *s, int64_t id, struct model_app *ret, struct err *e)
{
	return app_one(s, APP_SELECT " WHERE a.id = ?", DB_I(id), ret, e);
}

int store_app_find(struct store *s, const char *name, struct model_app *ret, struct err *e)
{
	return app_one(s, APP_SELECT " WHERE a.name = ?", DB_S(name), ret, e);
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
	int r = app_limits_check(&a->limits, e);

	if (r == 0)
		r = app_health_check(a->health_path, e);
	if (r < 0)
		return r;
	r = db_run(s,
		   "UPDATE app SET release = ?, candidate = ?, memory = ?, disk = ?, cpu = ?, pids = ?, nofile = ?,"
		   " health_path = ?, paused = ? WHERE id = ?",
		   DB_ARGS(DB_I(a->release), DB_I(a->candidate), DB_I(a->limits.memory), DB_I(a->limits.disk),
			   DB_I(a->limits.cpu), DB_I(a->limits.pids), DB_I(a->limits.nofile), DB_S(a->health_path),
			   DB_I(a->paused), DB_I(a->id)),
		   e);
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
