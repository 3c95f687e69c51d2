/* Accounts at authorities, and names that certificates are ordered for.  Layer store, control process. */
#include "store/store.h"

#include "base/own.h"
#include "store/db.h"

#include <errno.h>

int store_acme_account_get(struct store *s, const char *directory, char **key, char **url, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, "SELECT key, url FROM acme_account WHERE directory = ?", DB_ARGS(DB_S(directory)),
			       e);

	if (r == 0)
		r = db_query_step(&q, e);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(e, ENOENT, "no such account");
	*key = db_dup(&q, 0);
	*url = db_dup(&q, 1);
	return *key && *url ? 0 : err_set(e, ENOMEM, "out of memory");
}

int store_acme_account_set(struct store *s, const char *directory, const char *key, const char *url, struct err *e)
{
	int r = db_run(s, "INSERT OR REPLACE INTO acme_account (directory, key, url) VALUES (?, ?, ?)",
		       DB_ARGS(DB_S(directory), DB_S(key), DB_S(url)), e);

	return r < 0 ? r : 0;
}

int store_acme_name_set(struct store *s, const struct model_acme *n, struct err *e)
{
	int r = db_run(s,
		       "INSERT OR REPLACE INTO acme_name (host, app, key, order_url, challenge, failures, next_ms,"
		       " window_ms, window_count, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		       DB_ARGS(DB_S(n->host), DB_I(n->app), DB_S(n->key), DB_S(n->order_url), DB_I(n->challenge),
			       DB_I(n->failures), DB_I(n->next_ms), DB_I(n->window_ms), DB_I(n->window_count),
			       DB_S(n->error)),
		       e);

	return r < 0 ? r : 0;
}

int store_acme_name_del(struct store *s, const char *host, struct err *e)
{
	int r = db_run(s, "DELETE FROM acme_name WHERE host = ?", DB_ARGS(DB_S(host)), e);

	return r < 0 ? r : 0;
}

int store_acme_name_list(struct store *s, store_acme_fn *fn, void *arg, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q,
			       "SELECT host, app, key, order_url, challenge, failures, next_ms, window_ms,"
			       " window_count, error FROM acme_name ORDER BY host",
			       DB_NONE, e);

	while (r == 0 && (r = db_query_step(&q, e)) > 0) {
		OWN_FREE char *host = db_dup(&q, 0), *key = db_dup(&q, 2), *url = db_dup(&q, 3), *error = db_dup(&q, 9);
		struct model_acme n = {.host = host,
				       .app = db_int(&q, 1),
				       .key = key,
				       .order_url = url,
				       .challenge = (uint32_t)db_int(&q, 4),
				       .failures = (uint32_t)db_int(&q, 5),
				       .next_ms = db_int(&q, 6),
				       .window_ms = db_int(&q, 7),
				       .window_count = (uint32_t)db_int(&q, 8),
				       .error = error};
		if (!host || !key || !url || !error)
			return err_set(e, ENOMEM, "out of memory");
		r = fn(arg, &n);
		if (r != 0)
			return r;
	}
	return r;
}
