/* Settings of apps' front doors: JSON that this room does not look into.  Layer store, control process. */
#include "store/store.h"

#include "store/db.h"

#include <errno.h>

int store_front_get(struct store *s, int64_t app, char **ret, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, "SELECT json FROM front WHERE app = ?", DB_ARGS(DB_I(app)), e);

	if (r == 0)
		r = db_query_step(&q, e);
	if (r == 0)
		return err_set(e, ENOENT, "the app has no settings of its front door");
	if (r < 0)
		return r;
	*ret = db_dup(&q, 0);
	return *ret ? 0 : err_set(e, ENOMEM, "out of memory");
}

int store_front_set(struct store *s, int64_t app, const char *json, struct err *e)
{
	int r = db_run(s, "INSERT INTO front (app, json) VALUES (?1, ?2) ON CONFLICT (app) DO UPDATE SET json = ?2",
		       DB_ARGS(DB_I(app), DB_S(json)), e);

	if (r < 0)
		return r;
	db_touch(s);
	return 0;
}
