/* Opening, committing, node values.  Layer store, control process. */
#include "store/store.h"

#include "base/own.h"
#include "base/utf8.h"
#include "store/db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

/* Generations given out after the last commit may have been seen by a poller and then lost with a crash: a new start
 * begins beyond any of them. */
#define STORE_GENERATION_STEP (1u << 20)
#define STORE_OPEN_WAIT_MS 5000 /* for a predecessor that is being killed to let go of the file */
#define STORE_META_KEY 64
#define STORE_META_VALUE 65536

OWN_DEFINE(store, struct store *, store_close)

static int store_pragmas(struct store *s, struct err *e)
{
	/* locking_mode=EXCLUSIVE before the first access: no shared memory file, and a second control process cannot
	 * write behind the back of this one. */
	static const char sql[] =
		"PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
		"PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
		"PRAGMA cache_size = -8192; PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY;";
	DB_QUERY q = {0};
	char mode[16];
	int r;

	sqlite3_busy_timeout(s->db, STORE_OPEN_WAIT_MS);
	sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, 16 << 20);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return err_set(e, EIO, "database: %s", sqlite3_errmsg(s->db));
	r = db_query_start(s, &q, "PRAGMA journal_mode", DB_NONE, e);
	if (r == 0)
		r = db_query_step(&q, e);
	if (r < 0)
		return r;
	db_text(&q, 0, mode, sizeof mode);
	if (strcmp(mode, "wal") != 0)
		return err_set(e, EIO, "database: cannot keep a write-ahead log here (journal mode is %s)", mode);
	return 0;
}

/* Reads, or makes on the first start, the key of the token digests; then moves the generation on. */
static int store_internal(struct store *s, struct err *e)
{
	int64_t generation;
	int r, rows;

	{
		DB_QUERY q = {0};
		r = db_query_start(s, &q, "SELECT value FROM internal WHERE key = 'token_key'", DB_NONE, e);
		if (r == 0)
			r = db_query_step(&q, e);
		if (r < 0)
			return r;
		rows = r;
		if (rows && sqlite3_column_bytes(q.stmt, 0) != DB_KEY_BYTES)
			return err_set(e, EIO, "database: the key of the tokens is damaged");
		if (rows) {
			const void *blob = sqlite3_column_blob(q.stmt, 0);
			if (!blob)
				return err_set(e, ENOMEM, "database: out of memory");
			memcpy(s->token_key, blob, DB_KEY_BYTES);
		}
	}
	if (!rows) {
		if (getrandom(s->token_key, DB_KEY_BYTES, 0) != DB_KEY_BYTES)
			return err_errno(e, "getrandom");
		r = db_run(s, "INSERT INTO internal (key, value) VALUES ('token_key', ?)",
			   DB_ARGS(DB_B(s->token_key, DB_KEY_BYTES)), e);
		if (r < 0)
			return r;
	}
	r = db_number(s, 0, &generation, "SELECT value FROM internal WHERE key = 'generation'", DB_NONE, e);
	if (r < 0)
		return r;
	s->saved_generation = (uint64_t)generation;
	s->generation = s->saved_generation + STORE_GENERATION_STEP;
	r = db_run(s, "INSERT OR IGNORE INTO internal (key, value) VALUES ('generation', 0)", DB_NONE, e);
	return r < 0 ? r : store_commit(s, e);
}

int store_open(const char *dir, struct store **ret, struct err *e)
{
	OWN(store) struct store *s = NULL;
	char path[4096];
	int fd, r;

	if ((size_t)snprintf(path, sizeof path, "%s/tulou.db", dir) >= sizeof path)
		return err_set(e, ENAMETOOLONG, "%s: the path is too long", dir);
	/* Made here so that nobody else can read it from its first moment; SQLite gives the log the same mode. */
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_errno(e, "%s", path);
	close(fd);
	s = calloc(1, sizeof *s);
	if (!s)
		return err_set(e, ENOMEM, "database: out of memory");
	s->stmts = map_new();
	if (!s->stmts)
		return err_set(e, ENOMEM, "database: out of memory");
	if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return err_set(e, EIO, "%s: %s", path, s->db ? sqlite3_errmsg(s->db) : "out of memory");
	r = store_pragmas(s, e);
	if (r == 0)
		r = db_migrate(s, e);
	if (r == 0)
		r = store_internal(s, e);
	if (r < 0)
		return err_wrap(e, "%s", path), r;
	sqlite3_busy_timeout(s->db, 0); /* the file is ours: nothing to wait for, and a callback never blocks */
	*ret = TAKE_PTR(s);
	return 0;
}

void store_close(struct store *s)
{
	size_t pos = 0;
	sqlite3_stmt *stmt;

	if (!s)
		return;
	if (s->db)
		store_rollback(s);
	while (s->stmts && (stmt = map_next(s->stmts, &pos)))
		sqlite3_finalize(stmt);
	map_free(s->stmts);
	sqlite3_close(s->db);
	explicit_bzero(s->token_key, sizeof s->token_key);
	free(s);
}

int store_commit(struct store *s, struct err *e)
{
	int r = 0;

	if (!s->open)
		return 0;
	if (s->lost) {
		store_rollback(s);
		return err_set(e, EIO, "database: an earlier write failed, nothing since the last commit was kept");
	}
	if (s->generation != s->saved_generation)
		r = db_run(s, "UPDATE internal SET value = ? WHERE key = 'generation'", DB_ARGS(DB_I(s->generation)),
			   e);
	if (r >= 0 && sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
		r = err_set(e, EIO, "database: commit: %s", sqlite3_errmsg(s->db));
	if (r < 0) {
		store_rollback(s);
		return r;
	}
	s->open = false;
	s->saved_generation = s->generation;
	return 0;
}

void store_rollback(struct store *s)
{
	if (!s->open)
		return;
	if (!sqlite3_get_autocommit(s->db))
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	s->open = s->lost = false;
	s->generation++; /* what was read before is no longer so */
}

bool store_dirty(const struct store *s)
{
	return s->open;
}

uint64_t store_generation(const struct store *s)
{
	return s->generation;
}

int store_meta_get(struct store *s, const char *key, char **ret, struct err *e)
{
	DB_QUERY q = {0};
	char *value;
	int r = db_query_start(s, &q, "SELECT value FROM meta WHERE key = ?", DB_ARGS(DB_S(key)), e);

	if (r == 0)
		r = db_query_step(&q, e);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(e, ENOENT, "%s is not set", key);
	value = db_dup(&q, 0);
	if (!value)
		return err_set(e, ENOMEM, "out of memory");
	*ret = value;
	return 0;
}

int store_meta_set(struct store *s, const char *key, const char *value, struct err *e)
{
	int r;

	if (!*key || strlen(key) > STORE_META_KEY || !utf8_valid(key, strlen(key)))
		return err_field(e, EINVAL, "key", "key: must be 1 to %d bytes of text", STORE_META_KEY);
	if (value && (strlen(value) > STORE_META_VALUE || !utf8_valid(value, strlen(value))))
		return err_field(e, EINVAL, "value", "value: must be text of at most %d bytes", STORE_META_VALUE);
	r = value ? db_run(s,
			   "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
			   DB_ARGS(DB_S(key), DB_S(value)), e)
		  : db_run(s, "DELETE FROM meta WHERE key = ?", DB_ARGS(DB_S(key)), e);
	if (r < 0)
		return r;
	db_touch(s);
	return 0;
}
