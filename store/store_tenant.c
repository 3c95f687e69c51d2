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

#define TENANT_COLUMNS "id, name, slot, memory, cpu, pids, apps, instances, disk, created_ms"

void store_quota_default(struct model_quota *ret)
{
	*ret = (struct model_quota){
		.memory = 4ull << 30, .cpu = 4000, .pids = 4096, .apps = 50, .instances = 100, .disk = 10ull << 30};
}

static void tenant_row(struct db_query *q, struct model_tenant *t)
{
	*t = (struct model_tenant){
		.id = db_int(q, 0),
		.slot = (uint32_t)db_int(q, 2),
		.quota = {.memory = (uint64_t)db_int(q, 3),
			  .cpu = (uint32_t)db_int(q, 4),
			  .pids = (uint32_t)db_int(q, 5),
			  .apps = (uint32_t)db_int(q, 6),
			  .instances = (uint32_t)db_int(q, 7),
			  .disk = (uint64_t)db_int(q, 8)},
		.created_ms = db_int(q, 9),
	};
	db_text(q, 1, t->name, sizeof t->name);
}

static int tenant_quota_check(const struct model_quota *q, struct err *e)
{
	const struct {
		const char *field;
		uint64_t value, min, max;
	} rows[] = {
		{"quota.memory", q->memory, LIMIT_MEMORY_MIN, LIMIT_MEMORY_MAX},
		{"quota.cpu", q->cpu, LIMIT_CPU_MIN, LIMIT_CPU_MAX},
		{"quota.pids", q->pids, LIMIT_PIDS_MIN, LIMIT_TENANT_PIDS_MAX},
		{"quota.apps", q->apps, 0, LIMIT_APPS},
		{"quota.instances", q->instances, 0, LIMIT_INSTANCES},
		{"quota.disk", q->disk, LIMIT_DISK_MIN, LIMIT_DISK_MAX},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].value < rows[i].min || rows[i].value > rows[i].max)
			return err_field(e, ERANGE, rows[i].field, "%s: %" PRIu64 " is outside %" PRIu64 "..%" PRIu64,
					 rows[i].field, rows[i].value, rows[i].min, rows[i].max);
	return 0;
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
	int64_t slot = 0;
	int r = tenant_slot(s, &slot, e);

	if (r < 0)
		return r;
	t->slot = (uint32_t)slot;
	r = db_run(s,
		   "INSERT INTO tenant (name, slot, memory, cpu, pids, apps, instances, disk, created_ms)"
		   " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		   DB_ARGS(DB_S(t->name), DB_I(slot), DB_I(t->quota.memory), DB_I(t->quota.cpu), DB_I(t->quota.pids),
			   DB_I(t->quota.apps), DB_I(t->quota.instances), DB_I(t->quota.disk), DB_I(t->created_ms)),
		   e);
	if (r == -EEXIST)
		return err_field(e, EEXIST, "name", "name: a tenant \"%s\" exists already", t->name);
	t->id = sqlite3_last_insert_rowid(s->db);
	return r < 0 ? r : 0;
}

int store_tenant_add(struct store *s, const char *name, const struct model_quota *quota, struct model_tenant *ret,
		     struct err *e)
{
	struct model_tenant t = {.created_ms = clock_wall_ms()};
	int r = parse_name(name, LIMIT_TENANT_NAME, "name", e);

	if (r < 0)
		return r;
	if (quota)
		t.quota = *quota;
	else
		store_quota_default(&t.quota);
	r = tenant_quota_check(&t.quota, e);
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

static int tenant_one(struct store *s, const char *sql, struct db_arg arg, struct model_tenant *ret, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, sql, &arg, 1, e);

	if (r == 0)
		r = db_query_step(&q, e);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(e, ENOENT, "no such tenant");
	if (ret)
		tenant_row(&q, ret);
	return 0;
}

int store_tenant_get(struct store *s, int64_t id, struct model_tenant *ret, struct err *e)
{
	return tenant_one(s, "SELECT " TENANT_COLUMNS " FROM tenant WHERE id = ?", DB_I(id), ret, e);
}

int store_tenant_find(struct store *s, const char *name, struct model_tenant *ret, struct err *e)
{
	return tenant_one(s, "SELECT " TENANT_COLUMNS " FROM tenant WHERE name = ?", DB_S(name), ret, e);
}

int store_tenant_list(struct store *s, int64_t after, unsigned limit, store_tenant_fn *fn, void *arg, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, "SELECT " TENANT_COLUMNS " FROM tenant WHERE id > ? ORDER BY id LIMIT ?",
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

int store_tenant_quota(struct store *s, int64_t id, const struct model_quota *quota, struct err *e)
{
	int r = tenant_quota_check(quota, e);

	if (r < 0)
		return r;
	r = db_run(s, "UPDATE tenant SET memory = ?, cpu = ?, pids = ?, apps = ?, instances = ?, disk = ? WHERE id = ?",
		   DB_ARGS(DB_I(quota->memory), DB_I(quota->cpu), DB_I(quota->pids), DB_I(quota->apps),
			   DB_I(quota->instances), DB_I(quota->disk), DB_I(id)),
		   e);
	if (r == 0)
		return err_set(e, ENOENT, "no such tenant");
	if (r < 0)
		return r;
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
