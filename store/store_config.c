/* What hangs on an app: config vars, formation.  Layer store, control process. */
#include "store/store.h"

#include "base/json.h"
#include "base/own.h"
#include "base/parse.h"
#include "base/utf8.h"
#include "store/db.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int config_check(const char *key, const char *value, struct err *e)
{
	size_t n = strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");

	/* POSIX names of environment variables. */
	if (n == 0 || key[n] || n > LIMIT_CONFIG_KEY || (key[0] >= '0' && key[0] <= '9'))
		return err_field(e, EINVAL, "key",
				 "key: must be 1 to %d of A-Z, a-z, 0-9 and '_', not beginning with a digit",
				 LIMIT_CONFIG_KEY);
	if (!value)
		return 0;
	n = strlen(value);
	if (n > LIMIT_CONFIG_VALUE)
		return err_field(e, ERANGE, key, "%s: %zu bytes are over the limit of %d", key, n, LIMIT_CONFIG_VALUE);
	if (!utf8_valid(value, n))
		return err_field(e, EINVAL, key, "%s: must be UTF-8 text without NUL", key);
	return 0;
}

/* Room for key=value beside the app's other vars. */
static int config_room(struct store *s, int64_t app, const char *key, const char *value, struct err *e)
{
	DB_QUERY q = {0};
	int64_t count, bytes;
	int r = db_query_start(
		s, &q,
		"SELECT count(*), coalesce(sum(length(CAST(key AS BLOB)) + length(CAST(value AS BLOB)) + 2), 0)"
		" FROM config WHERE app = ? AND key <> ?",
		DB_ARGS(DB_I(app), DB_S(key)), e);

	if (r == 0)
		r = db_query_step(&q, e);
	if (r < 0)
		return r;
	count = db_int(&q, 0);
	bytes = db_int(&q, 1) + (int64_t)(strlen(key) + strlen(value) + 2);
	if (count >= LIMIT_CONFIG_VARS)
		return err_field(e, EDQUOT, key, "%s: an app has at most %d config vars", key, LIMIT_CONFIG_VARS);
	if (bytes > LIMIT_CONFIG_TOTAL)
		return err_field(e, EDQUOT, key, "%s: the config vars of an app together have at most %d bytes", key,
				 LIMIT_CONFIG_TOTAL);
	return 0;
}

int store_config_set(struct store *s, int64_t app, const char *key, const char *value, struct err *e)
{
	int r = config_check(key, value, e);

	if (r == 0)
		r = store_app_get(s, app, NULL, e);
	if (r == 0 && value)
		r = config_room(s, app, key, value, e);
	if (r < 0)
		return r;
	if (value) {
		r = db_run(s,
			   "INSERT INTO config (app, key, value) VALUES (?1, ?2, ?3)"
			   " ON CONFLICT (app, key) DO UPDATE SET value = ?3",
			   DB_ARGS(DB_I(app), DB_S(key), DB_S(value)), e);
	} else {
		r = db_run(s, "DELETE FROM config WHERE app = ? AND key = ?", DB_ARGS(DB_I(app), DB_S(key)), e);
		if (r == 0)
			return err_field(e, ENOENT, key, "%s: is not set", key);
	}
	if (r < 0)
		return r;
	db_touch(s);
	return 0;
}

static int config_pairs(struct store *s, const char *sql, int64_t app, store_pair_fn *fn, void *arg, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, sql, DB_ARGS(DB_I(app)), e);

	while (r == 0 && (r = db_query_step(&q, e)) > 0) {
		OWN_FREE char *key = db_dup(&q, 0);
		OWN_FREE char *value = db_dup(&q, 1);
		if (!key || !value)
			return err_set(e, ENOMEM, "out of memory");
		r = fn(arg, key, value);
		if (r != 0)
			return r;
	}
	return r;
}

int store_config_list(struct store *s, int64_t app, store_pair_fn *fn, void *arg, struct err *e)
{
	return config_pairs(s, "SELECT key, value FROM config WHERE app = ? ORDER BY key", app, fn, arg, e);
}

static int config_put(void *arg, const char *key, const char *value)
{
	return json_object_set_new(arg, key, json_string(value)) < 0 ? -ENOMEM : 0;
}

int store_config_json(struct store *s, int64_t app, char **ret, struct err *e)
{
	OWN_JSON json_t *o = json_object();
	struct err inner = {0};
	char *text = NULL;
	int r = o ? store_config_list(s, app, config_put, o, &inner) : -ENOMEM;

	if (r == 0) {
		text = json_dumps(o, JSON_COMPACT);
		r = text ? 0 : -ENOMEM;
	}
	if (r < 0)
		return inner.code ? err_set(e, inner.code, "%s", inner.text) : err_set(e, -r, "out of memory");
	*ret = text;
	return 0;
}

int store_config_release(struct store *s, int64_t app, const char *defaults, char **ret, struct err *e)
{
	OWN_FREE char *own_text = NULL;
	OWN_JSON json_t *all = NULL, *own = NULL;
	char *text;
	int r = store_config_json(s, app, &own_text, e);

	if (r < 0)
		return r;
	all = defaults ? json_read(defaults, strlen(defaults), 4u * LIMIT_CONFIG_TOTAL, NULL) : NULL;
	if (!json_is_object(all)) {
		json_decref(all);
		all = json_object();
	}
	own = json_read(own_text, strlen(own_text), 4u * LIMIT_CONFIG_TOTAL, NULL);
	text = own && json_object_update(all, own) == 0 ? json_dumps(all, JSON_COMPACT) : NULL;
	if (!text)
		return err_set(e, ENOMEM, "out of memory");
	*ret = text;
	return 0;
}

int store_formation_set(struct store *s, int64_t app, const char *type, uint32_t count, struct err *e)
{
	struct model_tenant t = {0};
	struct model_app a;
	int64_t types = 0, others = 0, before = 0;
	int r = parse_name(type, LIMIT_TYPE_NAME, "type", e);

	if (r == 0 && count > LIMIT_INSTANCES_PER_TYPE)
		r = err_field(e, ERANGE, type, "%s: %u is outside 0..%d", type, count, LIMIT_INSTANCES_PER_TYPE);
	if (r == 0)
		r = store_app_get(s, app, &a, e);
	if (r == 0)
		r = store_tenant_get(s, a.tenant, &t, e);
	if (r == 0)
		r = db_number(s, 0, &types, "SELECT count(*) FROM formation WHERE app = ? AND type <> ?",
			      DB_ARGS(DB_I(app), DB_S(type)), e);
	if (r == 0)
		r = db_number(s, 0, &before, "SELECT count FROM formation WHERE app = ? AND type = ?",
			      DB_ARGS(DB_I(app), DB_S(type)), e);
	if (r == 0)
		r = db_number(s, 0, &others,
			      "SELECT coalesce(sum(f.count), 0) FROM app a JOIN formation f ON f.app = a.id WHERE "
			      "a.tenant = ?",
			      DB_ARGS(DB_I(a.tenant)), e);
	if (r < 0)
		return r;
	others -= before;
	if (types >= LIMIT_TYPES)
		return err_field(e, EDQUOT, type, "%s: an app has at most %d process types", type, LIMIT_TYPES);
	/* Going down is always allowed, also by a tenant whose quota was lowered below what it has. */
	if (count > before && others + count > t.quota.instances)
		return err_field(e, EDQUOT, type,
				 "%s: tenant %s may have %u instances, its other formations ask for %lld", type, t.name,
				 t.quota.instances, (long long)others);
	r = db_run(s,
		   "INSERT INTO formation (app, type, count) VALUES (?1, ?2, ?3) ON CONFLICT (app, type) DO UPDATE SET "
		   "count = ?3",
		   DB_ARGS(DB_I(app), DB_S(type), DB_I(count)), e);
	if (r < 0)
		return r;
	db_touch(s);
	return 0;
}

int store_formation_get(struct store *s, int64_t app, struct model_formation *ret, unsigned cap, struct err *e)
{
	DB_QUERY q = {0};
	unsigned n = 0;
	int r = db_query_start(s, &q, "SELECT type, count FROM formation WHERE app = ? ORDER BY type LIMIT ?",
			       DB_ARGS(DB_I(app), DB_I(cap)), e);

	while (r == 0 && (r = db_query_step(&q, e)) > 0) {
		db_text(&q, 0, ret[n].type, sizeof ret[n].type);
		ret[n++].count = (uint32_t)db_int(&q, 1);
		r = 0;
	}
	return r < 0 ? r : (int)n;
}
