/* Releases: immutable but for their state.  Layer store, control process. */
#include "store/store.h"

#include "base/clock.h"
#include "base/utf8.h"
#include "store/db.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RELEASE_SELECT                                                                                                 \
	"SELECT id, app, version, build, state, note, created_ms, types, config, app_json, origin FROM release"
/* Every byte of a config or command may be escaped as \u00XX. */
#define RELEASE_JSON_MAX ((LIMIT_CONFIG_TOTAL + LIMIT_TYPES * (LIMIT_COMMAND + LIMIT_TYPE_NAME)) * 6)

static int release_row(struct db_query *q, struct model_release *r, struct err *e)
{
	*r = (struct model_release){
		.id = db_int(q, 0),
		.app = db_int(q, 1),
		.version = (uint32_t)db_int(q, 2),
		.build = db_int(q, 3),
		.state = (enum model_release_state)db_int(q, 4),
		.created_ms = db_int(q, 6),
		.types_json = db_dup(q, 7),
		.config_json = db_dup(q, 8),
		.app_json = db_dup(q, 9),
		.origin = db_int(q, 10),
	};
	db_text(q, 5, r->note, sizeof r->note);
	if (!r->types_json || !r->config_json || !r->app_json) {
		model_release_done(r);
		return err_set(e, ENOMEM, "out of memory");
	}
	return 0;
}

static int release_check(const struct model_release *r, struct err *e)
{
	const struct {
		const char *field, *text;
	} rows[] = {{"types", r->types_json}, {"config", r->config_json}, {"app_json", r->app_json}};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].text && strlen(rows[i].text) > RELEASE_JSON_MAX)
			return err_field(e, ERANGE, rows[i].field, "%s: %zu bytes are over the limit of %d",
					 rows[i].field, strlen(rows[i].text), RELEASE_JSON_MAX);
	return 0;
}

int store_release_add(struct store *s, struct model_release *r, struct err *e)
{
	int64_t version = 0, now = clock_wall_ms();
	int k = release_check(r, e);

	if (k == 0)
		k = store_app_get(s, r->app, NULL, e);
	if (k == 0)
		k = db_number(s, 0, &version, "SELECT coalesce(max(version), 0) + 1 FROM release WHERE app = ?",
			      DB_ARGS(DB_I(r->app)), e);
	if (k < 0)
		return k;
	k = db_run(s,
		   "INSERT INTO release (app, version, build, state, note, types, config, app_json, created_ms, "
		   "origin) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		   DB_ARGS(DB_I(r->app), DB_I(version), DB_I(r->build), DB_I(MODEL_RELEASE_PENDING), DB_S(r->note),
			   DB_S(r->types_json ? r->types_json : "{}"), DB_S(r->config_json ? r->config_json : "{}"),
			   DB_S(r->app_json ? r->app_json : "{}"), DB_I(now), DB_I(r->origin)),
		   e);
	if (k < 0)
		return k;
	r->id = sqlite3_last_insert_rowid(s->db);
	r->version = (uint32_t)version;
	r->state = MODEL_RELEASE_PENDING;
	r->created_ms = now;
	db_touch(s);
	return 0;
}

int store_release_state(struct store *s, int64_t id, enum model_release_state state, struct err *e)
{
	int r = db_run(s,
		       "UPDATE release SET state = CASE WHEN ?1 = ?2 AND state = ?3 THEN ?3 ELSE ?1 END WHERE id = ?4",
		       DB_ARGS(DB_I(state), DB_I(MODEL_RELEASE_FAILED), DB_I(MODEL_RELEASE_RETIRED), DB_I(id)), e);

	if (r == 0)
		return err_set(e, ENOENT, "no such release");
	if (r < 0)
		return r;
	db_touch(s);
	return 0;
}

static int release_one(struct db_query *q, int r, struct model_release *ret, struct err *e)
{
	if (r == 0)
		r = db_query_step(q, e);
	if (r < 0)
		return r;
	return r ? release_row(q, ret, e) : err_set(e, ENOENT, "no such release");
}

int store_release_get(struct store *s, int64_t id, struct model_release *ret, struct err *e)
{
	DB_QUERY q = {0};

	return release_one(&q, db_query_start(s, &q, RELEASE_SELECT " WHERE id = ?", DB_ARGS(DB_I(id)), e), ret, e);
}

int store_release_find(struct store *s, int64_t app, uint32_t version, struct model_release *ret, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, RELEASE_SELECT " WHERE app = ? AND version = ?",
			       DB_ARGS(DB_I(app), DB_I(version)), e);

	return release_one(&q, r, ret, e);
}

int store_release_list(struct store *s, int64_t app, int64_t before, unsigned limit, store_release_fn *fn, void *arg,
		       struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, RELEASE_SELECT " WHERE app = ? AND id < ? ORDER BY id DESC LIMIT ?",
			       DB_ARGS(DB_I(app), DB_I(before > 0 ? before : INT64_MAX), DB_I(db_limit(limit))), e);

	while (r == 0 && (r = db_query_step(&q, e)) > 0) {
		struct model_release m;
		r = release_row(&q, &m, e);
		if (r < 0)
			return r;
		r = fn(arg, &m);
		model_release_done(&m);
		if (r != 0)
			return r;
	}
	return r;
}
