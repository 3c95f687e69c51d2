/* How the requests of an app are served, and its deploys carried out.  Layer store, control process. */
#include "store/store.h"

#include "store/db.h"

#include <errno.h>

int store_serving_get(struct store *s, int64_t app, struct model_serving *ret, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q,
			       "SELECT concurrency, drain_s, rollout, access_log, hold FROM serving WHERE app = ?",
			       DB_ARGS(DB_I(app)), e);

	*ret = (struct model_serving){0};
	if (r == 0)
		r = db_query_step(&q, e);
	if (r <= 0)
		return r;
	*ret = (struct model_serving){
		.concurrency = (uint32_t)db_int(&q, 0),
		.drain_s = (uint32_t)db_int(&q, 1),
		.rollout = (uint32_t)db_int(&q, 2),
		.access_log = (uint32_t)db_int(&q, 3),
		.hold = db_int(&q, 4) != 0,
	};
	return 0;
}

static int serving_check(const struct model_serving *f, struct err *e)
{
	if (f->concurrency > LIMIT_PROXY_CONCURRENCY)
		return err_field(e, ERANGE, "serving.concurrency", "serving.concurrency: %u is outside 0..%u",
				 f->concurrency, LIMIT_PROXY_CONCURRENCY);
	if (f->drain_s > LIMIT_DRAIN_S)
		return err_field(e, ERANGE, "serving.drain_seconds", "serving.drain_seconds: %u is outside 0..%u",
				 f->drain_s, LIMIT_DRAIN_S);
	if (f->rollout >= MODEL_ROLLOUT_COUNT)
		return err_field(e, EINVAL, "serving.rollout", "serving.rollout: must be auto, start-first or hold");
	if (f->access_log > LIMIT_ACCESS_PART)
		return err_field(e, ERANGE, "serving.access_log", "serving.access_log: 1/%u is thinner than 1/%u",
				 f->access_log, LIMIT_ACCESS_PART);
	return 0;
}

int store_serving_set(struct store *s, int64_t app, const struct model_serving *f, struct err *e)
{
	int r = serving_check(f, e);

	if (r == 0)
		r = store_app_get(s, app, NULL, e);
	if (r == 0)
		r = db_run(
			s,
			"INSERT INTO serving (app, concurrency, drain_s, rollout, access_log, hold)"
			" VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (app) DO UPDATE SET concurrency = excluded.concurrency,"
			" drain_s = excluded.drain_s, rollout = excluded.rollout, access_log = excluded.access_log,"
			" hold = excluded.hold",
			DB_ARGS(DB_I(app), DB_I(f->concurrency), DB_I(f->drain_s), DB_I(f->rollout),
				DB_I(f->access_log), DB_I(f->hold)),
			e);
	if (r < 0)
		return r;
	db_touch(s);
	return 0;
}
