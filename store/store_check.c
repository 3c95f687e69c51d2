/* Is the database whole?  Layer store, control process. */
#include "store/store.h"

#include "store/db.h"

#include <string.h>

int store_check(struct store *s, int (*fn)(void *arg, const char *text), void *arg, struct err *e)
{
	/* quick_check looks at every page but does not compare each index entry: seconds for a database of gigabytes,
	 * milliseconds for ours. */
	static const char *const questions[] = {
		"PRAGMA quick_check(100)",
		"SELECT 'a row of ' || \"table\" || ' belongs to a missing row of ' || parent FROM "
		"pragma_foreign_key_check LIMIT 100",
		"SELECT 'app ' || name || ' names release ' || release || ', which does not exist' FROM app"
		" WHERE release <> 0 AND NOT EXISTS (SELECT 1 FROM release r WHERE r.id = app.release) LIMIT 100",
		"SELECT 'release ' || r.id || ' names build ' || r.build || ', which does not exist' FROM release r"
		" WHERE NOT EXISTS (SELECT 1 FROM build b WHERE b.id = r.build) LIMIT 100",
	};
	int r = 0, found = 0;

	for (size_t i = 0; r == 0 && i < sizeof questions / sizeof questions[0]; i++) {
		DB_QUERY q = {0};
		r = db_query_start(s, &q, questions[i], DB_NONE, e);
		while (r == 0 && (r = db_query_step(&q, e)) > 0) {
			char text[200];
			db_text(&q, 0, text, sizeof text);
			r = 0;
			if (strcmp(text, "ok") == 0)
				continue;
			found++;
			r = fn(arg, text);
		}
	}
	return r < 0 ? r : found;
}
