/* Statements, transactions and errors of SQLite.  Layer store, control process. */
#include "store/db.h"

#include "base/own.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Turns the connection's error into ours.  A failure such as a full disk may have rolled the transaction back. */
static int db_fail(struct store *s, struct err *e)
{
	int rc = sqlite3_extended_errcode(s->db);

	if (s->open && sqlite3_get_autocommit(s->db))
		s->lost = true;
	if (rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_PRIMARYKEY)
		return err_set(e, EEXIST, "exists already");
	if (rc == SQLITE_CONSTRAINT_FOREIGNKEY)
		return err_set(e, ENOENT, "what it belongs to does not exist");
	return err_set(e, EIO, "database: %s (%d)", sqlite3_errmsg(s->db), rc);
}

int db_query_start(struct store *s, struct db_query *q, const char *sql, const struct db_arg *args, size_t n,
		   struct err *e)
{
	int rc = SQLITE_OK;

	*q = (struct db_query){.s = s, .stmt = map_get_str(s->stmts, sql)};
	if (!q->stmt || sqlite3_stmt_busy(q->stmt)) {
		bool again = q->stmt != NULL;
		q->stmt = NULL;
		if (sqlite3_prepare_v3(s->db, sql, -1, again ? 0 : SQLITE_PREPARE_PERSISTENT, &q->stmt, NULL) !=
		    SQLITE_OK)
			return db_fail(s, e);
		q->temporary = again || map_put_str(s->stmts, sql, q->stmt) < 0;
	}
	for (size_t i = 0; i < n && rc == SQLITE_OK; i++) {
		int at = (int)i + 1;
		switch (args[i].kind) {
		case DB_INT:
			rc = sqlite3_bind_int64(q->stmt, at, args[i].i);
			break;
		case DB_TEXT:
			rc = sqlite3_bind_text(q->stmt, at, args[i].p, -1, SQLITE_STATIC);
			break;
		case DB_BLOB:
			rc = sqlite3_bind_blob64(q->stmt, at, args[i].p, (sqlite3_uint64)args[i].i, SQLITE_STATIC);
			break;
		}
	}
	if (rc != SQLITE_OK) {
		int r = db_fail(s, e);
		db_query_done(q);
		return r;
	}
	return 0;
}

int db_query_step(struct db_query *q, struct err *e)
{
	int rc = sqlite3_step(q->stmt);

	if (rc == SQLITE_ROW)
		return 1;
	return rc == SQLITE_DONE ? 0 : db_fail(q->s, e);
}

void db_query_done(struct db_query *q)
{
	if (q->stmt && q->temporary) {
		sqlite3_finalize(q->stmt);
	} else if (q->stmt) {
		sqlite3_reset(q->stmt);
		sqlite3_clear_bindings(q->stmt);
	}
	q->stmt = NULL;
}

int64_t db_int(struct db_query *q, int column)
{
	return sqlite3_column_int64(q->stmt, column);
}

void db_text(struct db_query *q, int column, char *out, size_t cap)
{
	const unsigned char *text = sqlite3_column_text(q->stmt, column);

	snprintf(out, cap, "%s", text ? (const char *)text : "");
}

char *db_dup(struct db_query *q, int column)
{
	const unsigned char *text = sqlite3_column_text(q->stmt, column);

	return strdup(text ? (const char *)text : "");
}

static int db_begin(struct store *s, struct err *e)
{
	if (s->lost)
		return err_set(e, EIO, "database: an earlier write failed and took the transaction with it");
	if (s->open)
		return 0;
	if (sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		return db_fail(s, e);
	s->open = true;
	return 0;
}

int db_run(struct store *s, const char *sql, const struct db_arg *args, size_t n, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_begin(s, e);

	if (r == 0)
		r = db_query_start(s, &q, sql, args, n, e);
	if (r == 0)
		r = db_query_step(&q, e);
	return r < 0 ? r : sqlite3_changes(s->db);
}

int db_number(struct store *s, int64_t none, int64_t *ret, const char *sql, const struct db_arg *args, size_t n,
	      struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, sql, args, n, e);

	if (r == 0)
		r = db_query_step(&q, e);
	if (r >= 0)
		*ret = r ? db_int(&q, 0) : none;
	return r < 0 ? r : 0;
}

int db_one(struct store *s, const char *sql, struct db_arg arg, const char *what,
	   void (*read)(struct db_query *q, void *ret), void *ret, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, sql, &arg, 1, e);

	if (r == 0)
		r = db_query_step(&q, e);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(e, ENOENT, "no such %s", what);
	if (ret)
		read(&q, ret);
	return 0;
}

int db_group_start(struct store *s, struct err *e)
{
	int r = db_begin(s, e);

	return r < 0 ? r : sqlite3_exec(s->db, "SAVEPOINT verb", NULL, NULL, NULL) != SQLITE_OK ? db_fail(s, e) : 0;
}

int db_group_end(struct store *s, int r, struct err *e)
{
	if (s->lost)
		return r < 0 ? r : err_set(e, EIO, "database: the transaction was lost");
	/* Undoing cannot be done without: when it fails, the whole transaction goes. */
	if (r < 0 && sqlite3_exec(s->db, "ROLLBACK TO verb", NULL, NULL, NULL) != SQLITE_OK)
		s->lost = true;
	if (sqlite3_exec(s->db, "RELEASE verb", NULL, NULL, NULL) != SQLITE_OK) {
		s->lost = true;
		r = r < 0 ? r : db_fail(s, e);
	}
	return r;
}

void db_touch(struct store *s)
{
	s->generation++;
}
