/* What responders said of certificates (OCSP).  Layer store, control process. */
#include "store/store.h"

#include "store/db.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int store_staple_get(struct store *s, const char *sha256, struct model_staple *ret, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q,
			       "SELECT state, this_ms, next_ms, until_ms, revoked_ms, due_ms, failures, error"
			       " FROM staple WHERE sha256 = ?",
			       DB_ARGS(DB_S(sha256)), e);

	if (r == 0)
		r = db_query_step(&q, e);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(e, ENOENT, "nothing was asked of it");
	*ret = (struct model_staple){.state = (enum model_staple_state)db_int(&q, 0),
				     .this_ms = db_int(&q, 1),
				     .next_ms = db_int(&q, 2),
				     .until_ms = db_int(&q, 3),
				     .revoked_ms = db_int(&q, 4),
				     .due_ms = db_int(&q, 5),
				     .failures = (uint32_t)db_int(&q, 6)};
	db_text(&q, 7, ret->error, sizeof ret->error);
	if ((unsigned)ret->state >= MODEL_STAPLE_STATE_COUNT)
		ret->state = MODEL_STAPLE_NONE;
	return 0;
}

int store_staple_set(struct store *s, const char *sha256, const struct model_staple *r, const void *response, size_t n,
		     struct err *e)
{
	int k = db_run(s,
		       "INSERT INTO staple (sha256, state, this_ms, next_ms, until_ms, revoked_ms, due_ms, failures,"
		       " error, response) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
		       " ON CONFLICT (sha256) DO UPDATE SET state = ?2, this_ms = ?3, next_ms = ?4, until_ms = ?5,"
		       " revoked_ms = ?6, due_ms = ?7, failures = ?8, error = ?9,"
		       " response = CASE WHEN ?5 = 0 THEN NULL ELSE coalesce(?10, response) END",
		       DB_ARGS(DB_S(sha256), DB_I(r->state), DB_I(r->this_ms), DB_I(r->next_ms), DB_I(r->until_ms),
			       DB_I(r->revoked_ms), DB_I(r->due_ms), DB_I(r->failures), DB_S(r->error),
			       response ? DB_B(response, n) : DB_S(NULL)),
		       e);

	return k < 0 ? k : 0;
}

int store_staple_response(struct store *s, const char *sha256, void **ret, size_t *n, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, "SELECT response FROM staple WHERE sha256 = ? AND response IS NOT NULL",
			       DB_ARGS(DB_S(sha256)), e);
	const void *p;

	if (r == 0)
		r = db_query_step(&q, e);
	if (r < 0)
		return r;
	p = r > 0 ? sqlite3_column_blob(q.stmt, 0) : NULL;
	if (!p)
		return err_set(e, ENOENT, "there is no response");
	*n = (size_t)sqlite3_column_bytes(q.stmt, 0);
	if (!(*ret = malloc(*n)))
		return err_set(e, ENOMEM, "out of memory");
	memcpy(*ret, p, *n);
	return 0;
}

int store_staple_del(struct store *s, const char *sha256, struct err *e)
{
	int r = db_run(s, "DELETE FROM staple WHERE sha256 = ?", DB_ARGS(DB_S(sha256)), e);

	return r < 0 ? r : 0;
}

int store_staple_sweep(struct store *s, int64_t due_before_ms, struct err *e)
{
	int r = db_run(s, "DELETE FROM staple WHERE due_ms < ?", DB_ARGS(DB_I(due_before_ms)), e);

	return r < 0 ? r : 0;
}
