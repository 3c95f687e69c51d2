/* Instances: a record outlives its process, so that owners can read why it ended.  Layer store, control process. */
#include "store/store.h"

#include "base/clock.h"
#include "store/db.h"

#include <errno.h>
#include <stdlib.h>

#define INSTANCE_COLUMNS "id, app, release, type, state, created_ms, exited_ms, exit_code, reason"

int store_instance_add(struct store *s, struct model_instance *i, struct err *e)
{
	int64_t now = clock_wall_ms();
	int r = db_run(s,
		       "INSERT INTO instance (app, release, type, state, created_ms, exited_ms, exit_code, reason)"
		       " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		       DB_ARGS(DB_I(i->app), DB_I(i->release), DB_S(i->type), DB_I(i->state), DB_I(now),
			       DB_I(i->exited_ms), DB_I(i->exit_code), DB_S(i->reason)),
		       e);

	if (r == -ENOENT)
		return err_set(e, ENOENT, "no such app");
	if (r < 0)
		return r;
	i->id = sqlite3_last_insert_rowid(s->db);
	i->created_ms = now;
	db_touch(s);
	return 0;
}

int store_instance_update(struct store *s, const struct model_instance *i, struct err *e)
{
	int r = db_run(s, "UPDATE instance SET state = ?, exited_ms = ?, exit_code = ?, reason = ? WHERE id = ?",
		       DB_ARGS(DB_I(i->state), DB_I(i->exited_ms), DB_I(i->exit_code), DB_S(i->reason), DB_I(i->id)),
		       e);

	if (r == 0)
		return err_set(e, ENOENT, "no such instance");
	if (r < 0)
		return r;
	db_touch(s);
	return 0;
}

int store_instance_list(struct store *s, int64_t app, bool alive_only, store_instance_fn *fn, void *arg, struct err *e)
{
	/* 4 = MODEL_INSTANCE_EXITED, written out so that the partial index serves. */
	DB_QUERY q = {0};
	int r;

	if (app && alive_only)
		r = db_query_start(s, &q,
				   "SELECT " INSTANCE_COLUMNS " FROM instance WHERE app = ? AND state <> 4 ORDER BY id",
				   DB_ARGS(DB_I(app)), e);
	else if (app)
		r = db_query_start(s, &q, "SELECT " INSTANCE_COLUMNS " FROM instance WHERE app = ? ORDER BY id",
				   DB_ARGS(DB_I(app)), e);
	else if (alive_only)
		r = db_query_start(s, &q, "SELECT " INSTANCE_COLUMNS " FROM instance WHERE state <> 4 ORDER BY id",
				   DB_NONE, e);
	else
		r = db_query_start(s, &q, "SELECT " INSTANCE_COLUMNS " FROM instance ORDER BY id", DB_NONE, e);
	while (r == 0 && (r = db_query_step(&q, e)) > 0) {
		struct model_instance i = {
			.id = db_int(&q, 0),
			.app = db_int(&q, 1),
			.release = db_int(&q, 2),
			.state = (enum model_instance_state)db_int(&q, 4),
			.created_ms = db_int(&q, 5),
			.exited_ms = db_int(&q, 6),
			.exit_code = (int32_t)db_int(&q, 7),
		};
		db_text(&q, 3, i.type, sizeof i.type);
		db_text(&q, 8, i.reason, sizeof i.reason);
		r = fn(arg, &i);
		if (r != 0)
			return r;
	}
	return r;
}

int store_instance_prune(struct store *s, unsigned keep_per_app, struct err *e)
{
	/* First the few apps that have too many, from the index alone; then those apps. */
	int r = db_run(
		s,
		"DELETE FROM instance WHERE id IN ("
		" SELECT i.id FROM (SELECT app FROM instance WHERE state = 4 GROUP BY app HAVING count(*) > ?1) o"
		" JOIN instance i ON i.app = o.app AND i.state = 4"
		" WHERE i.id <= (SELECT k.id FROM instance k WHERE k.app = o.app AND k.state = 4"
		"  ORDER BY k.id DESC LIMIT 1 OFFSET ?1))",
		DB_ARGS(DB_I(keep_per_app)), e);

	if (r < 0)
		return r;
	if (r > 0)
		db_touch(s);
	return 0;
}
