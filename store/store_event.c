/* Events.  Layer store, control process. */
#include "store/store.h"

#include "base/clock.h"
#include "base/utf8.h"
#include "store/db.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define EVENT_COLUMNS "id, time_ms, tenant, app, instance, kind, text"
/* The newest n come from the end of the index and are turned round. */
#define EVENT_QUERY(where) "SELECT " EVENT_COLUMNS " FROM event WHERE " where " id > ? ORDER BY id LIMIT ?"
#define EVENT_NEWEST(where)                                                                                            \
	"SELECT * FROM (SELECT " EVENT_COLUMNS " FROM event WHERE " where                                              \
	" id > ? ORDER BY id DESC LIMIT ?) ORDER BY id"

int store_event_add(struct store *s, struct model_event *ev, struct err *e)
{
	struct model_event kept = *ev;
	size_t n = strnlen(ev->text, sizeof ev->text);
	int r;

	if (kept.time_ms == 0)
		kept.time_ms = clock_wall_ms();
	/* Whoever filled a fixed buffer may have cut in the middle of a character. */
	if (!utf8_valid(ev->text, n))
		utf8_escape(kept.text, sizeof kept.text, ev->text, n);
	r = db_run(s, "INSERT INTO event (time_ms, tenant, app, instance, kind, text) VALUES (?, ?, ?, ?, ?, ?)",
		   DB_ARGS(DB_I(kept.time_ms), DB_I(kept.tenant), DB_I(kept.app), DB_I(kept.instance), DB_S(kept.kind),
			   DB_S(kept.text)),
		   e);
	if (r < 0)
		return r;
	kept.id = sqlite3_last_insert_rowid(s->db);
	*ev = kept;
	return 0;
}

int store_event_list(struct store *s, int64_t tenant, int64_t app, int64_t after, unsigned limit, store_event_fn *fn,
		     void *arg, struct err *e)
{
	static const char *const forward[] = {EVENT_QUERY(""), EVENT_QUERY("tenant = ? AND"),
					      EVENT_QUERY("app = ? AND"), EVENT_QUERY("tenant = ? AND app = ? AND")};
	static const char *const newest[] = {EVENT_NEWEST(""), EVENT_NEWEST("tenant = ? AND"),
					     EVENT_NEWEST("app = ? AND"), EVENT_NEWEST("tenant = ? AND app = ? AND")};
	unsigned which = (tenant ? 1u : 0u) | (app ? 2u : 0u);
	struct db_arg args[4];
	size_t n = 0;
	DB_QUERY q = {0};
	int r;

	if (tenant)
		args[n++] = DB_I(tenant);
	if (app)
		args[n++] = DB_I(app);
	args[n++] = DB_I(after < 0 ? 0 : after);
	args[n++] = DB_I(db_limit(limit));
	r = db_query_start(s, &q, after < 0 ? newest[which] : forward[which], args, n, e);
	while (r == 0 && (r = db_query_step(&q, e)) > 0) {
		struct model_event ev = {
			.id = db_int(&q, 0),
			.time_ms = db_int(&q, 1),
			.tenant = db_int(&q, 2),
			.app = db_int(&q, 3),
			.instance = db_int(&q, 4),
		};
		db_text(&q, 5, ev.kind, sizeof ev.kind);
		db_text(&q, 6, ev.text, sizeof ev.text);
		r = fn(arg, &ev);
		if (r != 0)
			return r;
	}
	return r;
}

static int event_prune(struct store *s, struct err *e)
{
	int r = db_run(s, "DELETE FROM event WHERE id <= (SELECT id FROM event ORDER BY id DESC LIMIT 1 OFFSET ?)",
		       DB_ARGS(DB_I(LIMIT_EVENTS)), e);

	if (r >= 0)
		r = db_run(s,
			   "DELETE FROM event WHERE id IN ("
			   " SELECT v.id FROM (SELECT app FROM event WHERE app > 0 GROUP BY app HAVING count(*) > ?1) o"
			   " JOIN event v ON v.app = o.app"
			   " WHERE v.id <= (SELECT k.id FROM event k WHERE k.app = o.app ORDER BY k.id DESC LIMIT 1 "
			   "OFFSET ?1))",
			   DB_ARGS(DB_I(LIMIT_EVENTS_APP)), e);
	return r < 0 ? r : 0;
}

int store_event_prune(struct store *s, struct err *e)
{
	int r = db_group_start(s, e);

	return r < 0 ? r : db_group_end(s, event_prune(s, e), e);
}
