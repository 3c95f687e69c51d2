/* SQLite behind a few verbs, for the files of this room only.  Layer store, control process. */
#ifndef TULOU_STORE_DB_H
#define TULOU_STORE_DB_H

#include "base/err.h"
#include "base/map.h"
#include "store/store.h"

#include <sqlite3.h>

#define DB_KEY_BYTES 32 /* of the key of the token digests */

struct store {
	sqlite3 *db;	     /* owned */
	struct map *stmts;   /* owned: SQL text (static) -> sqlite3_stmt (owned) */
	bool open;	     /* a transaction is open */
	bool lost;	     /* SQLite rolled it back by itself after an error: the next commit must fail */
	uint64_t generation; /* in memory; written with each commit when it changed */
	uint64_t saved_generation;
	unsigned char token_key[DB_KEY_BYTES];
};

/* One bound value.  Text and blobs are borrowed until the statement is done. */
enum db_kind { DB_INT, DB_TEXT, DB_BLOB };
struct db_arg {
	enum db_kind kind;
	int64_t i; /* number, or length of a blob */
	const void *p;
};
#define DB_I(v) ((struct db_arg){.kind = DB_INT, .i = (int64_t)(v)})
#define DB_S(v) ((struct db_arg){.kind = DB_TEXT, .p = (v)}) /* NULL binds NULL */
#define DB_B(v, n) ((struct db_arg){.kind = DB_BLOB, .p = (v), .i = (int64_t)(n)})
/* Two arguments of the functions below: the values and how many. */
#define DB_ARGS(...)                                                                                                   \
	(const struct db_arg[]){__VA_ARGS__}, sizeof((const struct db_arg[]){__VA_ARGS__}) / sizeof(struct db_arg)
#define DB_NONE NULL, 0

/* A statement in use.  sql must be a string literal: prepared statements are cached by it. A statement that is
 * already in use further up the stack (a list within a list) is prepared a second time. */
struct db_query {
	struct store *s;
	sqlite3_stmt *stmt;
	bool temporary;
};
int db_query_start(struct store *s, struct db_query *q, const char *sql, const struct db_arg *args, size_t n,
		   struct err *e);
/* 1 = a row, 0 = the end, or -EIO. */
int db_query_step(struct db_query *q, struct err *e);
void db_query_done(struct db_query *q);
#define DB_QUERY __attribute__((cleanup(db_query_done))) struct db_query

/* Columns of the present row.  db_text copies and cuts; db_dup allocates, NULL when out of memory. */
int64_t db_int(struct db_query *q, int column);
void db_text(struct db_query *q, int column, char *out, size_t cap);
char *db_dup(struct db_query *q, int column);

/* One write, inside a transaction that is opened when there is none.  Rows changed, -EEXIST (unique), -ENOENT (foreign
 * key), -EIO. */
int db_run(struct store *s, const char *sql, const struct db_arg *args, size_t n, struct err *e);
/* One number; `none` when there is no row. */
int db_number(struct store *s, int64_t none, int64_t *ret, const char *sql, const struct db_arg *args, size_t n,
	      struct err *e);

/* The row that a condition on `arg` finds, through read() into ret (NULL: it is only looked for).  0, or -ENOENT, "no
 * such app" of what = "app". */
int db_one(struct store *s, const char *sql, struct db_arg arg, const char *what,
	   void (*read)(struct db_query *q, void *ret), void *ret, struct err *e);

/* A group of writes that happens as a whole: r = db_group_start(); ... r = db_group_end(s, r, e). */
int db_group_start(struct store *s, struct err *e);
int db_group_end(struct store *s, int r, struct err *e);

/* Notes that a fleet controller could see a difference. */
void db_touch(struct store *s);

/* The numbers of config/quota.h as columns, in the table's order, with a prefix of the columns' names ("" or "l_"). The
 * lists below are written out because statements are cached by their literal; a test compares them with the table. */
#define DB_LIMITS(p)                                                                                                   \
	p "memory, " p "swap, " p "cpu, " p "cpu_burst, " p "cpu_weight, " p "pids, " p "nofile, " p "disk, " p        \
	  "inodes, " p "io_weight, " p "io_read, " p "io_write, " p "net_in, " p "net_out, " p "net_packets, " p       \
	  "log_rate"
#define DB_LIMITS_COUNT 16
#define DB_LIMITS_SET(p)                                                                                               \
	p "memory = ?, " p "swap = ?, " p "cpu = ?, " p "cpu_burst = ?, " p "cpu_weight = ?, " p "pids = ?, " p        \
	  "nofile = ?, " p "disk = ?, " p "inodes = ?, " p "io_weight = ?, " p "io_read = ?, " p "io_write = ?, " p    \
	  "net_in = ?, " p "net_out = ?, " p "net_packets = ?, " p "log_rate = ?"
#define DB_QUOTA(p)                                                                                                    \
	p "memory, " p "swap, " p "cpu, " p "cpu_burst, " p "cpu_weight, " p "pids, " p "disk, " p "inodes, " p        \
	  "io_weight, " p "io_read, " p "io_write, " p "net_in, " p "net_out, " p "net_packets, " p "log_rate, " p     \
	  "apps, " p "instances, " p "requests, " p "concurrent"
#define DB_QUOTA_COUNT 19
#define DB_QUOTA_SET(p)                                                                                                \
	p "memory = ?, " p "swap = ?, " p "cpu = ?, " p "cpu_burst = ?, " p "cpu_weight = ?, " p "pids = ?, " p        \
	  "disk = ?, " p "inodes = ?, " p "io_weight = ?, " p "io_read = ?, " p "io_write = ?, " p "net_in = ?, " p    \
	  "net_out = ?, " p "net_packets = ?, " p "log_rate = ?, " p "apps = ?, " p "instances = ?, " p                \
	  "requests = ?, " p "concurrent = ?"
/* "?, ?, …" for either. */
#define DB_MARKS_16 "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
#define DB_MARKS_19 DB_MARKS_16 ", ?, ?, ?"
/* Reads them from a row's columns from `column` on; fills args and returns how many. */
void db_numbers_read(struct db_query *q, int column, enum quota_of of, void *ret);
size_t db_numbers_args(enum quota_of of, const void *p, struct db_arg *args);
/* A tenant's own values over its plan (MODEL_OWN_*) as text, "memory profile"; names that are not known (any more)
 * count for nothing. */
#define DB_OWN_TEXT 400
void db_own_text(uint32_t own, char out[DB_OWN_TEXT]);
uint32_t db_own_read(struct db_query *q, int column);
/* store_tenant.c: writes the tenant anew after its plan changed; within a group. */
int db_tenant_follow(struct store *s, int64_t tenant, struct err *e);
/* A column with a policy; what cannot be read is "none". */
void db_egress(struct db_query *q, int column, struct quota_egress *ret);
/* 0, or -EINVAL with the field: what the columns of profile and egress can hold. */
int db_policy_check(uint32_t profile, const struct quota_egress *egress, struct err *e);

/* Brings the schema up to date (schema.c). */
int db_migrate(struct store *s, struct err *e);
int db_schema_version(void);

/* LIMIT for SQL: 0 = no limit. */
static inline int64_t db_limit(unsigned limit)
{
	return limit ? (int64_t)limit : -1;
}

#endif
