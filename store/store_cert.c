/* Certificates and their keys.  Layer store, control process. */
#include "store/store.h"

#include "base/clock.h"
#include "base/own.h"
#include "store/db.h"

#include <errno.h>

int store_cert_add(struct store *s, struct model_cert *c, const char *chain, const char *key, struct err *e)
{
	const unsigned most = c->app ? LIMIT_CERTS_APP : LIMIT_CERTS_NODE;
	int64_t count = 0;
	int r = c->app ? store_app_get(s, c->app, NULL, e) : 0;

	if (r == 0)
		r = db_number(s, 0, &count, "SELECT count(*) FROM certificate WHERE app IS nullif(?, 0)",
			      DB_ARGS(DB_I(c->app)), e);
	if (r < 0)
		return r;
	if (count >= most)
		return err_field(e, EDQUOT, "certificate", "certificate: there may be %u, delete one first", most);
	c->created_ms = clock_wall_ms();
	r = db_run(s,
		   "INSERT INTO certificate (app, origin, names, issuer, kind, sha256, not_before_ms, not_after_ms,"
		   " created_ms, chain, key) VALUES (nullif(?, 0), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		   DB_ARGS(DB_I(c->app), DB_I(c->origin), DB_S(c->names), DB_S(c->issuer), DB_S(c->kind),
			   DB_S(c->sha256), DB_I(c->not_before_ms), DB_I(c->not_after_ms), DB_I(c->created_ms),
			   DB_S(chain), DB_S(key)),
		   e);
	if (r < 0)
		return r;
	c->id = sqlite3_last_insert_rowid(s->db);
	db_touch(s);
	return 0;
}

int store_cert_del(struct store *s, int64_t app, int64_t id, struct err *e)
{
	int r = db_run(s, "DELETE FROM certificate WHERE id = ? AND app IS nullif(?, 0)", DB_ARGS(DB_I(id), DB_I(app)),
		       e);

	if (r == 0)
		return err_set(e, ENOENT, "no such certificate");
	if (r < 0)
		return r;
	db_touch(s);
	return 0;
}

/* Rows of: id, origin, names, issuer, kind, sha256, not_before_ms, not_after_ms, created_ms, app. */
#define CERT_COLUMNS                                                                                                   \
	"SELECT id, origin, names, issuer, kind, sha256, not_before_ms, not_after_ms, created_ms, ifnull(app, 0)"      \
	" FROM certificate "

static int cert_rows(struct db_query *q, int r, store_cert_fn *fn, void *arg, struct err *e)
{
	while (r == 0 && (r = db_query_step(q, e)) > 0) {
		OWN_FREE char *names = db_dup(q, 2);
		struct model_cert c = {.id = db_int(q, 0),
				       .app = db_int(q, 9),
				       .origin = (enum model_cert_origin)db_int(q, 1),
				       .names = names,
				       .not_before_ms = db_int(q, 6),
				       .not_after_ms = db_int(q, 7),
				       .created_ms = db_int(q, 8)};
		if (!names)
			return err_set(e, ENOMEM, "out of memory");
		db_text(q, 3, c.issuer, sizeof c.issuer);
		db_text(q, 4, c.kind, sizeof c.kind);
		db_text(q, 5, c.sha256, sizeof c.sha256);
		r = fn(arg, &c);
		if (r != 0)
			return r;
	}
	return r;
}

int store_cert_list(struct store *s, int64_t app, store_cert_fn *fn, void *arg, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, CERT_COLUMNS "WHERE app IS nullif(?, 0) ORDER BY id", DB_ARGS(DB_I(app)), e);

	return cert_rows(&q, r, fn, arg, e);
}

int store_cert_expiring(struct store *s, int64_t before_ms, unsigned limit, store_cert_fn *fn, void *arg, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, CERT_COLUMNS "WHERE not_after_ms < ? ORDER BY not_after_ms, id LIMIT ?",
			       DB_ARGS(DB_I(before_ms), DB_I(limit)), e);

	return cert_rows(&q, r, fn, arg, e);
}

int store_cert_text(struct store *s, int64_t id, char **ret, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, "SELECT chain || char(10) || key FROM certificate WHERE id = ?",
			       DB_ARGS(DB_I(id)), e);

	if (r == 0)
		r = db_query_step(&q, e);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(e, ENOENT, "no such certificate");
	*ret = db_dup(&q, 0);
	return *ret ? 0 : err_set(e, ENOMEM, "out of memory");
}
