/* Builds.  Layer store, control process. */
#include "store/store.h"

#include "base/clock.h"
#include "store/db.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BUILD_COLUMNS                                                                                                  \
	"b.id, b.app, b.state, b.source, b.commit_id, b.buildpack, b.error, b.bytes, b.created_ms, b.finished_ms"

static void build_row(struct db_query *q, struct model_build *b)
{
	*b = (struct model_build){
		.id = db_int(q, 0),
		.app = db_int(q, 1),
		.state = (enum model_build_state)db_int(q, 2),
		.bytes = (uint64_t)db_int(q, 7),
		.created_ms = db_int(q, 8),
		.finished_ms = db_int(q, 9),
	};
	db_text(q, 3, b->source, sizeof b->source);
	db_text(q, 4, b->commit, sizeof b->commit);
	db_text(q, 5, b->buildpack, sizeof b->buildpack);
	db_text(q, 6, b->error, sizeof b->error);
}

int store_build_add(struct store *s, int64_t app, const char *source, const char *commit, struct model_build *ret,
		    struct err *e)
{
	struct model_build b = {.app = app, .state = MODEL_BUILD_RUNNING, .created_ms = clock_wall_ms()};
	int r = store_app_get(s, app, NULL, e);

	if (r < 0)
		return r;
	if (strcmp(source, "git") != 0 && strcmp(source, "tarball") != 0)
		return err_field(e, EINVAL, "source", "source: must be git or tarball");
	if (commit && (strlen(commit) >= sizeof b.commit || commit[strspn(commit, "0123456789abcdef")]))
		return err_field(e, EINVAL, "commit", "commit: must be at most 64 hexadecimal digits");
	snprintf(b.source, sizeof b.source, "%s", source);
	snprintf(b.commit, sizeof b.commit, "%s", commit ? commit : "");
	r = db_run(s,
		   "INSERT INTO build (app, state, source, commit_id, buildpack, error, bytes, created_ms, finished_ms)"
		   " VALUES (?, ?, ?, ?, '', '', 0, ?, 0)",
		   DB_ARGS(DB_I(app), DB_I(b.state), DB_S(b.source), DB_S(b.commit), DB_I(b.created_ms)), e);
	if (r < 0)
		return r;
	b.id = sqlite3_last_insert_rowid(s->db);
	db_touch(s);
	if (ret)
		*ret = b;
	return 0;
}

int store_build_update(struct store *s, const struct model_build *b, struct err *e)
{
	int r = db_run(s,
		       "UPDATE build SET state = ?, commit_id = ?, buildpack = ?, error = ?, bytes = ?, finished_ms = "
		       "? WHERE id = ?",
		       DB_ARGS(DB_I(b->state), DB_S(b->commit), DB_S(b->buildpack), DB_S(b->error), DB_I(b->bytes),
			       DB_I(b->finished_ms), DB_I(b->id)),
		       e);

	if (r == 0)
		return err_set(e, ENOENT, "no such build");
	if (r < 0)
		return r;
	db_touch(s);
	return 0;
}

int store_build_get(struct store *s, int64_t id, struct model_build *ret, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, "SELECT " BUILD_COLUMNS " FROM build b WHERE b.id = ?", DB_ARGS(DB_I(id)), e);

	if (r == 0)
		r = db_query_step(&q, e);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(e, ENOENT, "no such build");
	if (ret)
		build_row(&q, ret);
	return 0;
}

static int build_walk(struct db_query *q, int r, store_build_fn *fn, void *arg, struct err *e)
{
	while (r == 0 && (r = db_query_step(q, e)) > 0) {
		struct model_build b;
		build_row(q, &b);
		r = fn(arg, &b);
		if (r != 0)
			return r;
	}
	return r;
}

int store_build_list(struct store *s, int64_t app, int64_t before, unsigned limit, store_build_fn *fn, void *arg,
		     struct err *e)
{
	DB_QUERY q = {0};
	int64_t end = before > 0 ? before : INT64_MAX;
	int r = app ? db_query_start(s, &q,
				     "SELECT " BUILD_COLUMNS
				     " FROM build b WHERE b.app = ? AND b.id < ? ORDER BY b.id DESC LIMIT ?",
				     DB_ARGS(DB_I(app), DB_I(end), DB_I(db_limit(limit))), e)
		    : db_query_start(s, &q,
				     "SELECT " BUILD_COLUMNS " FROM build b WHERE b.id < ?"
				     " AND EXISTS (SELECT 1 FROM app a WHERE a.id = b.app) ORDER BY b.id DESC LIMIT ?",
				     DB_ARGS(DB_I(end), DB_I(db_limit(limit))), e);

	return build_walk(&q, r, fn, arg, e);
}

int store_build_unused(struct store *s, unsigned keep, store_build_fn *fn, void *arg, struct err *e)
{
	/* In use: running; one of the app's newest `keep` builds (their logs are still asked for); or the tree of the
	 * live or candidate release or of one of the newest `keep`.  Versions of an app are contiguous. */
	static const char sql[] =
		"SELECT " BUILD_COLUMNS
		" FROM build b LEFT JOIN app a ON a.id = b.app WHERE b.state <> ?2 AND (a.id IS NULL OR ("
		" b.id < coalesce((SELECT n.id FROM build n WHERE n.app = a.id ORDER BY n.id DESC LIMIT 1 OFFSET "
		"max(?1 - 1, 0)), 0)"
		" AND NOT EXISTS (SELECT 1 FROM release r WHERE r.build = b.id AND (r.id = a.release OR r.id = "
		"a.candidate OR r.id = a.canary"
		"  OR r.version > (SELECT max(m.version) FROM release m WHERE m.app = a.id) - ?1))))"
		" ORDER BY b.id";
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, sql, DB_ARGS(DB_I(keep), DB_I(MODEL_BUILD_RUNNING)), e);

	return build_walk(&q, r, fn, arg, e);
}

int store_build_del(struct store *s, int64_t id, struct err *e)
{
	int r = db_run(s, "DELETE FROM build WHERE id = ?", DB_ARGS(DB_I(id)), e);

	if (r == 0)
		return err_set(e, ENOENT, "no such build");
	if (r < 0)
		return r;
	db_touch(s);
	return 0;
}
