/* Usage per app and hour, and remembered answers (Idempotency-Key).  Layer store, control process. */
#include "store/store.h"

#include "base/clock.h"
#include "store/db.h"

#include <errno.h>
#include <string.h>

#define USAGE_HOUR_MS 3600000ll
#define IDEM_KEY_MAX 255

static int usage_add(struct store *s, int64_t app, const struct store_usage *u, int64_t hour, struct err *e)
{
	int r = db_run(s,
		       "UPDATE usage SET cpu_us = cpu_us + ?, memory_byte_seconds = memory_byte_seconds + ?, requests "
		       "= requests + ?,"
		       " bytes_in = bytes_in + ?, bytes_out = bytes_out + ? WHERE app = ? AND hour_ms = ?",
		       DB_ARGS(DB_I(u->cpu_us), DB_I(u->memory_byte_seconds), DB_I(u->requests), DB_I(u->bytes_in),
			       DB_I(u->bytes_out), DB_I(app), DB_I(hour)),
		       e);

	if (r != 0)
		return r < 0 ? r : 0;
	r = db_run(s,
		   "INSERT INTO usage (app, hour_ms, cpu_us, memory_byte_seconds, requests, bytes_in, bytes_out)"
		   " VALUES (?, ?, ?, ?, ?, ?, ?)",
		   DB_ARGS(DB_I(app), DB_I(hour), DB_I(u->cpu_us), DB_I(u->memory_byte_seconds), DB_I(u->requests),
			   DB_I(u->bytes_in), DB_I(u->bytes_out)),
		   e);
	if (r == -ENOENT)
		return err_set(e, ENOENT, "no such app");
	/* A new hour is the time to let an old one go: no separate sweep is needed. */
	if (r >= 0)
		r = db_run(s, "DELETE FROM usage WHERE app = ? AND hour_ms < ?",
			   DB_ARGS(DB_I(app), DB_I(hour - LIMIT_USAGE_HOURS * USAGE_HOUR_MS)), e);
	return r < 0 ? r : 0;
}

int store_usage_add(struct store *s, int64_t app, const struct store_usage *u, struct err *e)
{
	int64_t hour = u->hour_ms - u->hour_ms % USAGE_HOUR_MS;
	int r = db_group_start(s, e);

	return r < 0 ? r : db_group_end(s, usage_add(s, app, u, hour, e), e);
}

int store_usage_list(struct store *s, int64_t tenant, int64_t since_ms, store_usage_fn *fn, void *arg, struct err *e)
{
	DB_QUERY q = {0};
	int r = tenant ? db_query_start(s, &q,
					"SELECT u.app, u.hour_ms, u.cpu_us, u.memory_byte_seconds, u.requests, "
					"u.bytes_in, u.bytes_out"
					" FROM app a JOIN usage u ON u.app = a.id WHERE a.tenant = ? AND u.hour_ms >= ?"
					" ORDER BY u.app, u.hour_ms",
					DB_ARGS(DB_I(tenant), DB_I(since_ms)), e)
		       : db_query_start(s, &q,
					"SELECT app, hour_ms, cpu_us, memory_byte_seconds, requests, bytes_in, "
					"bytes_out FROM usage"
					" WHERE hour_ms >= ? ORDER BY app, hour_ms",
					DB_ARGS(DB_I(since_ms)), e);

	while (r == 0 && (r = db_query_step(&q, e)) > 0) {
		struct store_usage u = {
			.hour_ms = db_int(&q, 1),
			.cpu_us = (uint64_t)db_int(&q, 2),
			.memory_byte_seconds = (uint64_t)db_int(&q, 3),
			.requests = (uint64_t)db_int(&q, 4),
			.bytes_in = (uint64_t)db_int(&q, 5),
			.bytes_out = (uint64_t)db_int(&q, 6),
		};
		r = fn(arg, db_int(&q, 0), &u);
		if (r != 0)
			return r;
	}
	return r;
}

int store_idem_get(struct store *s, int64_t token, const char *key, const char *request_hash, int *status, char **body,
		   struct err *e)
{
	DB_QUERY q = {0};
	char hash[130];
	char *text;
	int r = db_query_start(
		s, &q, "SELECT hash, status, body FROM idem WHERE token = ? AND key = ? AND created_ms > ?",
		DB_ARGS(DB_I(token), DB_S(key), DB_I(clock_wall_ms() - LIMIT_IDEM_HOURS * USAGE_HOUR_MS)), e);

	if (r == 0)
		r = db_query_step(&q, e);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(e, ENOENT, "no answer is remembered for this Idempotency-Key");
	db_text(&q, 0, hash, sizeof hash);
	if (strcmp(hash, request_hash) != 0)
		return err_field(e, EEXIST, "Idempotency-Key", "Idempotency-Key: was used before for another request");
	text = db_dup(&q, 2);
	if (!text)
		return err_set(e, ENOMEM, "out of memory");
	*status = (int)db_int(&q, 1);
	*body = text;
	return 0;
}

static int idem_put(struct store *s, int64_t token, const char *key, const char *hash, int status, const char *body,
		    struct err *e)
{
	int64_t now = clock_wall_ms();
	int r = db_run(s, "DELETE FROM idem WHERE created_ms <= ?",
		       DB_ARGS(DB_I(now - LIMIT_IDEM_HOURS * USAGE_HOUR_MS)), e);

	if (r >= 0)
		r = db_run(
			s,
			"INSERT INTO idem (token, key, hash, status, body, created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
			" ON CONFLICT (token, key) DO UPDATE SET hash = ?3, status = ?4, body = ?5, created_ms = ?6",
			DB_ARGS(DB_I(token), DB_S(key), DB_S(hash), DB_I(status), DB_S(body), DB_I(now)), e);
	if (r >= 0)
		r = db_run(s,
			   "DELETE FROM idem WHERE token = ?1 AND created_ms < (SELECT created_ms FROM idem WHERE "
			   "token = ?1"
			   " ORDER BY created_ms DESC LIMIT 1 OFFSET ?2)",
			   DB_ARGS(DB_I(token), DB_I(LIMIT_IDEM_TOKEN - 1)), e);
	return r < 0 ? r : 0;
}

int store_idem_put(struct store *s, int64_t token, const char *key, const char *request_hash, int status,
		   const char *body, struct err *e)
{
	int r;

	if (!*key || strlen(key) > IDEM_KEY_MAX)
		return err_field(e, EINVAL, "Idempotency-Key", "Idempotency-Key: must have 1 to %d bytes",
				 IDEM_KEY_MAX);
	if (strlen(request_hash) > 128 || strlen(body) > LIMIT_JSON_BODY)
		return err_set(e, E2BIG, "an answer of %zu bytes is too large to be remembered", strlen(body));
	r = db_group_start(s, e);
	return r < 0 ? r : db_group_end(s, idem_put(s, token, key, request_hash, status, body, e), e);
}
