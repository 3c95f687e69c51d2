/* The store's verbs. */
#include "base/clock.h"
#include "base/fd.h"
#include "store/db.h"
#include "store/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct quota_limits limits = {.memory = 64 << 20,
					   .disk = 64 << 20,
					   .cpu = 100,
					   .pids = 16,
					   .nofile = 256,
					   .net_packets = 20000,
					   .inodes = 4096,
					   .cpu_weight = 100,
					   .io_weight = 100};

struct shop {
	char dir[32];
	struct store *s;
	struct model_tenant t;
	struct model_app a;
	struct err e;
};

static void shop_open(struct shop *x)
{
	memset(x, 0, sizeof *x);
	snprintf(x->dir, sizeof x->dir, "/tmp/tulou-store-XXXXXX");
	cr_assert_not_null(mkdtemp(x->dir));
	cr_assert_eq(store_open(x->dir, &x->s, &x->e), 0, "%s", x->e.text);
	cr_assert_eq(store_tenant_add(x->s, "acme", NULL, &x->t, &x->e), 0, "%s", x->e.text);
	cr_assert_eq(store_app_add(x->s, x->t.id, "shop", &limits, true, &x->a, &x->e), 0, "%s", x->e.text);
}

static void shop_reopen(struct shop *x)
{
	store_close(x->s);
	cr_assert_eq(store_open(x->dir, &x->s, &x->e), 0, "%s", x->e.text);
}

static void shop_close(struct shop *x)
{
	store_close(x->s);
	cr_assert_eq(fd_remove_tree(AT_FDCWD, x->dir), 0);
}

/* Ids of a walk. */
struct ids {
	int64_t id[512];
	unsigned n, stop_at;
};

#define IDS_FN(name, type)                                                                                             \
	static int name(void *arg, const type *row)                                                                    \
	{                                                                                                              \
		struct ids *ids = arg;                                                                                 \
		ids->id[ids->n++] = row->id;                                                                           \
		return ids->stop_at && ids->n == ids->stop_at ? 77 : 0;                                                \
	}
IDS_FN(ids_tenant, struct model_tenant)
IDS_FN(ids_token, struct model_token)
IDS_FN(ids_app, struct model_app)
IDS_FN(ids_release, struct model_release)
IDS_FN(ids_build, struct model_build)
IDS_FN(ids_instance, struct model_instance)
IDS_FN(ids_event, struct model_event)

Test(store, file_is_private_and_survives)
{
	struct shop x;
	struct stat st;
	char path[64];
	uint64_t generation;

	shop_open(&x);
	snprintf(path, sizeof path, "%s/tulou.db", x.dir);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	snprintf(path, sizeof path, "%s/tulou.db-wal", x.dir);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	cr_assert(store_dirty(x.s));
	cr_assert_eq(store_commit(x.s, &x.e), 0);
	cr_assert_not(store_dirty(x.s));
	generation = store_generation(x.s);
	shop_reopen(&x);
	cr_assert_gt(store_generation(x.s), generation);
	cr_assert_eq(store_app_find(x.s, "shop", &x.a, &x.e), 0);
	cr_assert_str_eq(x.a.tenant_name, "acme");
	cr_assert_eq(x.a.limits.nofile, 256);
	shop_close(&x);
}

Test(store, close_without_commit_forgets)
{
	struct shop x;
	shop_open(&x);
	shop_reopen(&x);
	cr_assert_eq(store_tenant_find(x.s, "acme", NULL, &x.e), -ENOENT);
	shop_close(&x);
}

Test(store, rollback)
{
	struct shop x;
	uint64_t g;
	shop_open(&x);
	cr_assert_eq(store_commit(x.s, &x.e), 0);
	cr_assert_eq(store_app_del(x.s, x.a.id, &x.e), 0);
	g = store_generation(x.s);
	store_rollback(x.s);
	cr_assert_gt(store_generation(x.s), g, "a poller saw the app gone");
	cr_assert_eq(store_app_get(x.s, x.a.id, NULL, &x.e), 0);
	cr_assert_not(store_dirty(x.s));
	store_rollback(x.s);
	shop_close(&x);
}

Test(store, a_second_process_is_kept_out)
{
	struct shop x;
	sqlite3 *other;
	shop_open(&x);
	char path[64];
	snprintf(path, sizeof path, "%s/tulou.db", x.dir);
	cr_assert_eq(sqlite3_open_v2(path, &other, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	cr_assert_neq(sqlite3_exec(other, "SELECT count(*) FROM app", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(other);
	shop_close(&x);
}

Test(store, refuses_what_is_not_ours)
{
	char dir[] = "/tmp/tulou-store-XXXXXX", path[64];
	struct store *s = NULL;
	struct err e = {0};
	sqlite3 *db;

	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/tulou.db", dir);
	cr_assert_eq(fd_replace_file(AT_FDCWD, path,
				     "this is not a database, but long enough to be looked at ........"
				     "....................................................",
				     110, 0600, false),
		     0);
	cr_assert_eq(store_open(dir, &s, &e), -EIO);
	cr_assert(strstr(e.text, path), "%s", e.text);
	unlink(path);
	cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
	cr_assert_eq(sqlite3_exec(db, "PRAGMA user_version = 999; CREATE TABLE x (y)", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	cr_assert_eq(store_open(dir, &s, &e), -EPROTO);
	cr_assert(strstr(e.text, "newer"), "%s", e.text);
	cr_assert_eq(store_open("/nonexistent/dir", &s, &e), -ENOENT);
	cr_assert_null(s);
	cr_assert_eq(fd_remove_tree(AT_FDCWD, dir), 0);
}

Test(store, tenants)
{
	struct shop x;
	struct model_tenant t, u;
	struct quota q;
	struct ids ids = {0};

	shop_open(&x);
	cr_assert_eq(x.t.slot, 0);
	cr_assert_eq(x.t.quota.apps, 50);
	cr_assert_eq(x.t.quota.memory, 4ull << 30);
	cr_assert_eq(store_tenant_add(x.s, "acme", NULL, &t, &x.e), -EEXIST);
	cr_assert_str_eq(x.e.field, "name");
	cr_assert_eq(store_tenant_add(x.s, "Acme", NULL, &t, &x.e), -EINVAL);
	cr_assert_eq(store_tenant_add(x.s, "", NULL, &t, &x.e), -EINVAL);
	cr_assert_eq(store_tenant_add(x.s, "a23456789012345678901234567890123", NULL, &t, &x.e), -EINVAL);
	store_quota_default(&q);
	q.memory = 1;
	cr_assert_eq(store_tenant_add(x.s, "small", &q, &t, &x.e), -ERANGE);
	cr_assert_str_eq(x.e.field, "quota.memory_bytes");
	cr_assert_eq(store_tenant_find(x.s, "small", NULL, &x.e), -ENOENT);
	store_quota_default(&q);
	q.disk = 5ull << 30;
	cr_assert_eq(store_tenant_add(x.s, "b", &q, &t, &x.e), 0);
	cr_assert_eq(t.slot, 1);
	cr_assert_eq(store_tenant_get(x.s, t.id, &u, &x.e), 0);
	cr_assert_eq(memcmp(&t.quota, &u.quota, sizeof t.quota), 0);
	/* A slot is not reused while there are others, and an id never. */
	cr_assert_eq(store_tenant_del(x.s, t.id, &x.e), 0);
	cr_assert_eq(store_tenant_add(x.s, "b", NULL, &u, &x.e), 0);
	cr_assert_eq(u.slot, 2);
	cr_assert_gt(u.id, t.id);
	cr_assert_eq(store_tenant_del(x.s, x.t.id, &x.e), -EBUSY);
	cr_assert(strstr(x.e.text, "1 app"), "%s", x.e.text);
	cr_assert_eq(store_tenant_del(x.s, 999, &x.e), -ENOENT);
	q.apps = 7;
	u.quota = q;
	cr_assert_eq(store_tenant_set(x.s, &u, NULL, &x.e), 0);
	cr_assert_eq(store_tenant_get(x.s, u.id, &u, &x.e), 0);
	cr_assert_eq(u.quota.apps, 7);
	t = u;
	t.id = 999;
	cr_assert_eq(store_tenant_set(x.s, &t, NULL, &x.e), -ENOENT);
	cr_assert_eq(store_tenant_list(x.s, 0, 0, ids_tenant, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 2);
	shop_close(&x);
}

Test(store, tenant_slots_go_round)
{
	struct shop x;
	struct model_tenant t;
	shop_open(&x);
	for (int i = 0; i < 3; i++) {
		char name[16];
		snprintf(name, sizeof name, "t%d", i);
		cr_assert_eq(store_tenant_add(x.s, name, NULL, &t, &x.e), 0);
	}
	cr_assert_geq(db_run(x.s, "UPDATE internal SET value = ? WHERE key = 'next_slot'",
			     DB_ARGS(DB_I(LIMIT_TENANTS - 1)), &x.e),
		      0);
	cr_assert_eq(store_tenant_add(x.s, "last", NULL, &t, &x.e), 0);
	cr_assert_eq(t.slot, LIMIT_TENANTS - 1);
	cr_assert_eq(store_tenant_add(x.s, "round", NULL, &t, &x.e), 0);
	cr_assert_eq(t.slot, 4);
	cr_assert_geq(db_run(x.s,
			     "WITH RECURSIVE n(i) AS (SELECT 5 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 2)"
			     " INSERT INTO tenant (name, slot, memory, cpu, pids, apps, instances, disk, created_ms)"
			     " SELECT 'f' || i, i, 1, 1, 1, 1, 1, 1, 1 FROM n",
			     DB_ARGS(DB_I(LIMIT_TENANTS)), &x.e),
		      0);
	cr_assert_eq(store_tenant_add(x.s, "full", NULL, &t, &x.e), -EDQUOT);
	cr_assert_eq(store_tenant_del(x.s, 3, &x.e), 0);
	cr_assert_eq(store_tenant_add(x.s, "full", NULL, &t, &x.e), 0);
	cr_assert_eq(t.slot, 2);
	shop_close(&x);
}

Test(store, tokens)
{
	struct shop x;
	struct model_token t, u;
	char secret[STORE_SECRET_MAX], other[STORE_SECRET_MAX], wrong[STORE_SECRET_MAX];
	struct ids ids = {0};
	int64_t hits;

	shop_open(&x);
	cr_assert_eq(store_token_count(x.s), 0);
	cr_assert_eq(store_token_add(x.s, x.t.id, MODEL_ROLE_DEPLOYER, "ci \xc3\xa9", secret, &t, &x.e), 0, "%s",
		     x.e.text);
	cr_assert_eq(store_token_add(x.s, 0, MODEL_ROLE_OPERATOR, "first", other, &u, &x.e), 0);
	cr_assert_eq(store_token_count(x.s), 2);
	cr_assert_eq(strlen(secret), 47);
	cr_assert_eq(strncmp(secret, "tul_", 4), 0);
	cr_assert_eq(strncmp(t.hint, secret, 8), 0);
	cr_assert_str_neq(secret, other);
	cr_assert_eq(store_commit(x.s, &x.e), 0);
	shop_reopen(&x);
	cr_assert_eq(store_token_check(x.s, secret, strlen(secret), &u, &x.e), 0);
	cr_assert_eq(u.id, t.id);
	cr_assert_eq(u.tenant, x.t.id);
	cr_assert_eq(u.role, MODEL_ROLE_DEPLOYER);
	cr_assert_gt(u.used_ms, 0);
	cr_assert(store_dirty(x.s));
	cr_assert_eq(store_commit(x.s, &x.e), 0);
	cr_assert_eq(store_token_check(x.s, secret, strlen(secret), &u, &x.e), 0);
	cr_assert_not(store_dirty(x.s), "the use is noted once a minute");
	for (size_t i = 0; i < strlen(secret); i++) {
		memcpy(wrong, secret, sizeof wrong);
		wrong[i] = wrong[i] == 'A' ? 'B' : 'A';
		cr_assert_eq(store_token_check(x.s, wrong, strlen(wrong), &u, &x.e), -ENOENT);
	}
	cr_assert_eq(store_token_check(x.s, secret, 46, &u, &x.e), -ENOENT);
	cr_assert_eq(store_token_check(x.s, "", 0, &u, &x.e), -ENOENT);
	/* Nothing in the file gives the secret away. */
	cr_assert_eq(db_number(x.s, 0, &hits,
			       "SELECT count(*) FROM token WHERE instr(mac, ?1) OR hint = ?1 OR name = ?1",
			       DB_ARGS(DB_S(secret)), &x.e),
		     0);
	cr_assert_eq(hits, 0);
	cr_assert_eq(store_token_add(x.s, 0, MODEL_ROLE_ADMIN, "x", secret, NULL, &x.e), -EINVAL);
	cr_assert_str_eq(x.e.field, "role");
	cr_assert_eq(store_token_add(x.s, x.t.id, MODEL_ROLE_OPERATOR, "x", secret, NULL, &x.e), -EINVAL);
	cr_assert_eq(store_token_add(x.s, x.t.id, MODEL_ROLE_NONE, "x", secret, NULL, &x.e), -EINVAL);
	cr_assert_eq(store_token_add(x.s, 999, MODEL_ROLE_ADMIN, "x", secret, NULL, &x.e), -ENOENT);
	cr_assert_eq(store_token_add(x.s, x.t.id, MODEL_ROLE_ADMIN, "a\nb", secret, NULL, &x.e), -EINVAL);
	cr_assert_eq(store_token_add(x.s, x.t.id, MODEL_ROLE_ADMIN, "", secret, NULL, &x.e), -EINVAL);
	cr_assert_eq(store_token_list(x.s, x.t.id, ids_token, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 1);
	cr_assert_eq(store_token_del(x.s, 0, t.id, &x.e), -ENOENT, "a tenant's token is not the node's");
	cr_assert_eq(store_token_del(x.s, x.t.id, t.id, &x.e), 0);
	cr_assert_eq(store_token_check(x.s, secret, 47, &u, &x.e), -ENOENT);
	while (store_token_add(x.s, x.t.id, MODEL_ROLE_READER, "many", secret, NULL, &x.e) == 0)
		;
	cr_assert_eq(x.e.code, EDQUOT);
	cr_assert_eq(store_token_count(x.s), LIMIT_TOKENS + 1);
	cr_assert_eq(store_app_del(x.s, x.a.id, &x.e), 0);
	cr_assert_eq(store_tenant_del(x.s, x.t.id, &x.e), 0);
	cr_assert_eq(store_token_count(x.s), 1);
	shop_close(&x);
}

Test(store, apps)
{
	struct shop x;
	struct model_app a;
	struct quota_limits bad = limits;
	struct quota q;
	struct ids ids = {0};

	shop_open(&x);
	cr_assert_eq(store_app_add(x.s, x.t.id, "shop", &limits, true, &a, &x.e), -EEXIST);
	cr_assert_eq(store_app_add(x.s, x.t.id, "-bad", &limits, true, &a, &x.e), -EINVAL);
	cr_assert_eq(store_app_add(x.s, 999, "ok", &limits, true, &a, &x.e), -ENOENT);
	bad.pids = 1;
	cr_assert_eq(store_app_add(x.s, x.t.id, "ok", &bad, true, &a, &x.e), -ERANGE);
	cr_assert_str_eq(x.e.field, "limits.pids");
	store_quota_default(&q);
	q.apps = 2;
	x.t.quota = q;
	cr_assert_eq(store_tenant_set(x.s, &x.t, NULL, &x.e), 0);
	cr_assert_eq(store_app_add(x.s, x.t.id, "two", &limits, true, &a, &x.e), 0);
	cr_assert_eq(store_app_add(x.s, x.t.id, "three", &limits, true, NULL, &x.e), -EDQUOT);
	cr_assert_str_eq(x.e.field, "quota.apps");
	cr_assert(strstr(x.e.text, "app quota 2, 2 committed"), "%s", x.e.text);
	a.paused = true;
	a.candidate = 5;
	a.release = 4;
	snprintf(a.health_path, sizeof a.health_path, "/up");
	a.limits.memory = 128 << 20;
	cr_assert_eq(store_app_update(x.s, &a, &x.e), 0);
	struct model_app b;
	cr_assert_eq(store_app_get(x.s, a.id, &b, &x.e), 0);
	cr_assert(b.paused && b.candidate == 5 && b.release == 4 && b.limits.memory == 128 << 20);
	cr_assert_str_eq(b.health_path, "/up");
	snprintf(a.health_path, sizeof a.health_path, "up");
	cr_assert_eq(store_app_update(x.s, &a, &x.e), -EINVAL);
	snprintf(a.health_path, sizeof a.health_path, "/up HTTP/1.1\r\n");
	cr_assert_eq(store_app_update(x.s, &a, &x.e), -EINVAL);
	a.health_path[0] = 0;
	a.id = 999;
	cr_assert_eq(store_app_update(x.s, &a, &x.e), -ENOENT);
	cr_assert_eq(store_app_count(x.s, x.t.id), 2);
	cr_assert_eq(store_app_count(x.s, 0), 2);
	cr_assert_eq(store_app_list(x.s, x.t.id, x.a.id, 10, ids_app, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 1);
	cr_assert_eq(ids.id[0], b.id);
	ids = (struct ids){.stop_at = 1};
	cr_assert_eq(store_app_list(x.s, 0, 0, 0, ids_app, &ids, &x.e), 77, "the callback's value comes back");
	cr_assert_eq(store_app_del(x.s, 999, &x.e), -ENOENT);
	shop_close(&x);
}

static int pair_count(void *arg, const char *key, const char *value)
{
	(void)key;
	(void)value;
	++*(unsigned *)arg;
	return 0;
}

Test(store, config_vars)
{
	struct shop x;
	char *json, *big;
	unsigned n = 0;

	shop_open(&x);
	cr_assert_eq(store_config_set(x.s, x.a.id, "B", "two\n\"\\", &x.e), 0);
	cr_assert_eq(store_config_set(x.s, x.a.id, "A", "1", &x.e), 0);
	cr_assert_eq(store_config_set(x.s, x.a.id, "A", "\xf0\x9f\x8f\xa0", &x.e), 0);
	cr_assert_eq(store_config_json(x.s, x.a.id, &json, &x.e), 0);
	cr_assert_str_eq(json, "{\"A\":\"\xf0\x9f\x8f\xa0\",\"B\":\"two\\n\\\"\\\\\"}");
	free(json);
	cr_assert_eq(store_config_set(x.s, x.a.id, "A", NULL, &x.e), 0);
	cr_assert_eq(store_config_set(x.s, x.a.id, "A", NULL, &x.e), -ENOENT);
	cr_assert_eq(store_config_set(x.s, x.a.id, "1A", "x", &x.e), -EINVAL);
	cr_assert_eq(store_config_set(x.s, x.a.id, "A=B", "x", &x.e), -EINVAL);
	cr_assert_eq(store_config_set(x.s, x.a.id, "", "x", &x.e), -EINVAL);
	cr_assert_eq(store_config_set(x.s, x.a.id, "A", "\xff", &x.e), -EINVAL);
	cr_assert_eq(store_config_set(x.s, 999, "A", "x", &x.e), -ENOENT);
	big = malloc(LIMIT_CONFIG_VALUE + 2);
	memset(big, 'x', LIMIT_CONFIG_VALUE + 1);
	big[LIMIT_CONFIG_VALUE + 1] = 0;
	cr_assert_eq(store_config_set(x.s, x.a.id, "BIG", big, &x.e), -ERANGE);
	cr_assert_str_eq(x.e.field, "BIG");
	big[LIMIT_CONFIG_VALUE] = 0;
	cr_assert_eq(store_config_set(x.s, x.a.id, "BIG", big, &x.e), 0);
	cr_assert_eq(store_config_set(x.s, x.a.id, "BIG", big, &x.e), 0, "replacing it needs no second room");
	cr_assert_eq(store_config_set(x.s, x.a.id, "BIG2", big, &x.e), -EDQUOT);
	free(big);
	cr_assert_eq(store_config_set(x.s, x.a.id, "BIG", NULL, &x.e), 0);
	for (int i = 1; i < LIMIT_CONFIG_VARS; i++) {
		char key[16];
		snprintf(key, sizeof key, "K%d", i);
		cr_assert_eq(store_config_set(x.s, x.a.id, key, "v", &x.e), 0);
	}
	cr_assert_eq(store_config_set(x.s, x.a.id, "ONE_MORE", "v", &x.e), -EDQUOT);
	cr_assert_eq(store_config_set(x.s, x.a.id, "K1", "other", &x.e), 0);
	cr_assert_eq(store_config_list(x.s, x.a.id, pair_count, &n, &x.e), 0);
	cr_assert_eq(n, LIMIT_CONFIG_VARS);
	shop_close(&x);
}

Test(store, formation)
{
	struct shop x;
	struct model_formation f[LIMIT_TYPES];
	struct quota q;

	shop_open(&x);
	cr_assert_eq(store_formation_get(x.s, x.a.id, f, LIMIT_TYPES, &x.e), 0);
	cr_assert_eq(store_formation_set(x.s, x.a.id, "worker", 2, &x.e), 0);
	cr_assert_eq(store_formation_set(x.s, x.a.id, "web", 3, &x.e), 0);
	cr_assert_eq(store_formation_get(x.s, x.a.id, f, LIMIT_TYPES, &x.e), 2);
	cr_assert_str_eq(f[0].type, "web");
	cr_assert_eq(f[0].count, 3);
	cr_assert_eq(store_formation_get(x.s, x.a.id, f, 1, &x.e), 1);
	cr_assert_eq(store_formation_set(x.s, x.a.id, "web", LIMIT_INSTANCES_PER_TYPE + 1, &x.e), -ERANGE);
	cr_assert_str_eq(x.e.field, "web");
	cr_assert_eq(store_formation_set(x.s, x.a.id, "we b", 1, &x.e), -EINVAL);
	cr_assert_eq(store_formation_set(x.s, 999, "web", 1, &x.e), -ENOENT);
	store_quota_default(&q);
	q.instances = 4;
	x.t.quota = q;
	cr_assert_eq(store_tenant_set(x.s, &x.t, NULL, &x.e), 0);
	cr_assert_eq(store_formation_set(x.s, x.a.id, "web", 4, &x.e), -EDQUOT);
	cr_assert_eq(store_formation_set(x.s, x.a.id, "web", 3, &x.e), 0, "staying is allowed over a lowered quota");
	cr_assert_eq(store_formation_set(x.s, x.a.id, "web", 1, &x.e), 0);
	cr_assert_eq(store_formation_set(x.s, x.a.id, "web", 2, &x.e), 0);
	for (int i = 2; i < LIMIT_TYPES; i++) {
		char type[16];
		snprintf(type, sizeof type, "t%d", i);
		cr_assert_eq(store_formation_set(x.s, x.a.id, type, 0, &x.e), 0);
	}
	cr_assert_eq(store_formation_set(x.s, x.a.id, "extra", 0, &x.e), -EDQUOT);
	shop_close(&x);
}

Test(store, domains)
{
	struct shop x;
	struct model_app b;
	unsigned n = 0;

	shop_open(&x);
	cr_assert_eq(store_app_add(x.s, x.t.id, "b", &limits, true, &b, &x.e), 0);
	cr_assert_eq(store_domain_add(x.s, x.a.id, "www.example.com", MODEL_PROOF_NONE, NULL, &x.e), 0);
	cr_assert_eq(store_domain_add(x.s, x.a.id, "*.example.com", MODEL_PROOF_NONE, NULL, &x.e), 0);
	cr_assert_eq(store_domain_add(x.s, b.id, "www.example.com", MODEL_PROOF_NONE, NULL, &x.e), -EEXIST);
	cr_assert_eq(store_domain_add(x.s, b.id, "WWW.example.com", MODEL_PROOF_NONE, NULL, &x.e), -EINVAL);
	cr_assert_eq(store_domain_add(x.s, b.id, "a..b", MODEL_PROOF_NONE, NULL, &x.e), -EINVAL);
	cr_assert_eq(store_domain_add(x.s, 999, "a.b", MODEL_PROOF_NONE, NULL, &x.e), -ENOENT);
	cr_assert_eq(store_domain_del(x.s, b.id, "www.example.com", &x.e), -ENOENT);
	cr_assert_eq(store_domain_list(x.s, x.a.id, pair_count, &n, &x.e), 0);
	cr_assert_eq(n, 2);
	cr_assert_eq(store_domain_del(x.s, x.a.id, "www.example.com", &x.e), 0);
	cr_assert_eq(store_domain_add(x.s, b.id, "www.example.com", MODEL_PROOF_NONE, NULL, &x.e), 0);
	for (int i = 1; i < LIMIT_DOMAINS; i++) {
		char host[32];
		snprintf(host, sizeof host, "h%d.example.com", i);
		cr_assert_eq(store_domain_add(x.s, b.id, host, MODEL_PROOF_NONE, NULL, &x.e), 0);
	}
	cr_assert_eq(store_domain_add(x.s, b.id, "more.example.com", MODEL_PROOF_NONE, NULL, &x.e), -EDQUOT);
	shop_close(&x);
}

static int proof_count(void *arg, const struct model_domain *d)
{
	cr_assert_eq(d->proof, MODEL_PROOF_WANTED);
	++*(unsigned *)arg;
	return 0;
}

/* Two tenants want one name: it is whose who proves it, and it moves to who proves it later. */
Test(store, domain_proof)
{
	struct shop x;
	struct model_tenant other;
	struct model_app b, c;
	struct model_domain d, f;
	unsigned n = 0, due = 0;
	int64_t app = 0;

	shop_open(&x);
	cr_assert_eq(store_tenant_add(x.s, "other", NULL, &other, &x.e), 0);
	cr_assert_eq(store_app_add(x.s, other.id, "b", &limits, true, &b, &x.e), 0);
	cr_assert_eq(store_app_add(x.s, x.t.id, "c", &limits, true, &c, &x.e), 0);
	cr_assert_eq(store_domain_add(x.s, x.a.id, "www.example.com", MODEL_PROOF_WANTED, &d, &x.e), 0);
	cr_assert_eq(store_domain_add(x.s, b.id, "www.example.com", MODEL_PROOF_WANTED, &f, &x.e), 0);
	cr_assert_eq(strlen(d.token), 38);
	cr_assert_neq(strcmp(d.token, f.token), 0);
	cr_assert_eq(store_domain_holder(x.s, "www.example.com", &app, &x.e), -ENOENT);
	cr_assert_eq(store_domain_list(x.s, x.a.id, pair_count, &n, &x.e), 0);
	cr_assert_eq(n, 0, "a pending domain serves nothing");
	cr_assert_eq(store_domain_due(x.s, d.created_ms + 1000, 10, proof_count, &due, &x.e), 0);
	cr_assert_eq(due, 2);
	f.proof = MODEL_PROOF_DNS;
	f.next_ms = 0;
	cr_assert_eq(store_domain_set(x.s, &f, &x.e), 0, "%s", x.e.text);
	cr_assert_eq(store_domain_holder(x.s, "www.example.com", &app, &x.e), 0);
	cr_assert_eq(app, b.id);
	cr_assert_eq(store_domain_add(x.s, c.id, "www.example.com", MODEL_PROOF_NONE, NULL, &x.e), -EEXIST);
	d.proof = MODEL_PROOF_DNS;
	d.next_ms = 0;
	cr_assert_eq(store_domain_set(x.s, &d, &x.e), 0);
	cr_assert_eq(store_domain_holder(x.s, "www.example.com", &app, &x.e), 0);
	cr_assert_eq(app, x.a.id);
	cr_assert_eq(store_domain_get(x.s, b.id, "www.example.com", &f, &x.e), 0);
	cr_assert_eq(f.proof, MODEL_PROOF_WANTED);
	cr_assert_neq(f.error[0], 0);
	/* Below a wildcard of the tenant's own nothing more is asked; below another's, and where another has it, it is.
	 */
	cr_assert_eq(store_domain_add(x.s, x.a.id, "*.own.example", MODEL_PROOF_OPERATOR, NULL, &x.e), 0);
	cr_assert_eq(store_domain_add(x.s, c.id, "a.b.own.example", MODEL_PROOF_WANTED, &d, &x.e), 0);
	cr_assert_eq(d.proof, MODEL_PROOF_PARENT);
	cr_assert_eq(store_domain_add(x.s, c.id, "*.b.own.example", MODEL_PROOF_WANTED, &d, &x.e), 0);
	cr_assert_eq(d.proof, MODEL_PROOF_PARENT);
	cr_assert_eq(store_domain_add(x.s, c.id, "own.example", MODEL_PROOF_WANTED, &d, &x.e), 0);
	cr_assert_eq(d.proof, MODEL_PROOF_WANTED, "the parent itself is not below it");
	cr_assert_eq(store_domain_add(x.s, b.id, "x.own.example", MODEL_PROOF_WANTED, &d, &x.e), 0);
	cr_assert_eq(d.proof, MODEL_PROOF_WANTED);
	d.proof = MODEL_PROOF_OPERATOR;
	cr_assert_eq(store_domain_set(x.s, &d, &x.e), 0);
	cr_assert_eq(store_domain_add(x.s, c.id, "x.own.example", MODEL_PROOF_WANTED, &d, &x.e), 0);
	cr_assert_eq(d.proof, MODEL_PROOF_WANTED, "another tenant has proved that very name");
	cr_assert_eq(store_domain_del(x.s, c.id, "x.own.example", &x.e), 0);
	cr_assert_eq(store_domain_holder(x.s, "x.own.example", &app, &x.e), 0);
	cr_assert_eq(app, b.id);
	shop_close(&x);
}

static struct model_release release_of(struct shop *x, int64_t build)
{
	struct model_release r = {.app = x->a.id, .build = build, .note = "Deploy 3f2a91c"};

	r.types_json = strdup("{\"web\":\"./server\"}");
	cr_assert_eq(store_release_add(x->s, &r, &x->e), 0, "%s", x->e.text);
	model_release_done(&r);
	return r;
}

Test(store, builds_and_releases)
{
	struct shop x;
	struct model_build b, c;
	struct model_release r;
	struct ids ids = {0};

	shop_open(&x);
	cr_assert_eq(store_build_add(x.s, x.a.id, "git", "3f2a91c", &b, &x.e), 0);
	cr_assert_eq(store_build_add(x.s, x.a.id, "ftp", "", &c, &x.e), -EINVAL);
	cr_assert_eq(store_build_add(x.s, x.a.id, "git", "../x", &c, &x.e), -EINVAL);
	cr_assert_eq(store_build_add(x.s, 999, "git", "", &c, &x.e), -ENOENT);
	b.state = MODEL_BUILD_SUCCEEDED;
	b.bytes = 12345;
	b.finished_ms = 99;
	snprintf(b.buildpack, sizeof b.buildpack, "python");
	cr_assert_eq(store_build_update(x.s, &b, &x.e), 0);
	cr_assert_eq(store_build_get(x.s, b.id, &c, &x.e), 0);
	cr_assert_eq(c.bytes, 12345);
	cr_assert_str_eq(c.buildpack, "python");
	cr_assert_str_eq(c.commit, "3f2a91c");
	cr_assert_eq(store_build_get(x.s, 999, &c, &x.e), -ENOENT);
	for (uint32_t v = 1; v <= 5; v++)
		cr_assert_eq(release_of(&x, b.id).version, v);
	cr_assert_eq(store_release_find(x.s, x.a.id, 3, &r, &x.e), 0);
	cr_assert_eq(r.state, MODEL_RELEASE_PENDING);
	cr_assert_str_eq(r.types_json, "{\"web\":\"./server\"}");
	cr_assert_str_eq(r.config_json, "{}");
	cr_assert_eq(store_release_state(x.s, r.id, MODEL_RELEASE_LIVE, &x.e), 0);
	model_release_done(&r);
	cr_assert_eq(store_release_get(x.s, ids.id[0] + 3, &r, &x.e), 0);
	cr_assert_eq(r.state, MODEL_RELEASE_LIVE);
	model_release_done(&r);
	cr_assert_eq(store_release_get(x.s, 999, &r, &x.e), -ENOENT);
	cr_assert_eq(store_release_state(x.s, 999, MODEL_RELEASE_LIVE, &x.e), -ENOENT);
	cr_assert_eq(store_release_find(x.s, x.a.id, 6, &r, &x.e), -ENOENT);
	cr_assert_eq(store_release_list(x.s, x.a.id, 0, 2, ids_release, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 2);
	cr_assert_gt(ids.id[0], ids.id[1]);
	cr_assert_eq(store_release_list(x.s, x.a.id, ids.id[1], 0, ids_release, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 5);
	ids.n = 0;
	cr_assert_eq(store_build_list(x.s, 0, 0, 0, ids_build, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 1);
	shop_close(&x);
}

Test(store, unused_builds)
{
	struct shop x;
	struct model_build b[8];
	struct ids ids = {0};

	shop_open(&x);
	for (int i = 0; i < 8; i++) {
		cr_assert_eq(store_build_add(x.s, x.a.id, "git", "", &b[i], &x.e), 0);
		b[i].state = i == 0 ? MODEL_BUILD_RUNNING : MODEL_BUILD_SUCCEEDED;
		cr_assert_eq(store_build_update(x.s, &b[i], &x.e), 0);
	}
	/* build 1 is live by an old release; 2 by one of the newest two; 3..5 by old ones; 6 and 7 are young */
	x.a.release = release_of(&x, b[1].id).id;
	release_of(&x, b[3].id);
	release_of(&x, b[4].id);
	release_of(&x, b[2].id);
	release_of(&x, b[2].id);
	cr_assert_eq(store_app_update(x.s, &x.a, &x.e), 0);
	cr_assert_eq(store_build_unused(x.s, 2, ids_build, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 3);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(ids.id[i], b[3 + i].id);
	cr_assert_eq(store_build_del(x.s, b[3].id, &x.e), 0);
	cr_assert_eq(store_build_del(x.s, b[3].id, &x.e), -ENOENT);
	/* The builds of a deleted app stay until their trees are collected, and are seen by nobody else. */
	cr_assert_eq(store_app_del(x.s, x.a.id, &x.e), 0);
	ids.n = 0;
	cr_assert_eq(store_build_unused(x.s, 2, ids_build, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 7);
	cr_assert_eq(store_build_get(x.s, b[0].id, &b[0], &x.e), 0);
	cr_assert_eq(b[0].state, MODEL_BUILD_FAILED);
	ids.n = 0;
	cr_assert_eq(store_build_list(x.s, 0, 0, 0, ids_build, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 0);
	shop_close(&x);
}

Test(store, app_delete_takes_all_but_events)
{
	static const char *const tables[] = {"config", "formation", "domain", "front", "release", "instance", "usage"};
	struct shop x;
	struct model_instance i;
	struct model_event ev;
	struct store_usage u = {.hour_ms = 3600000, .requests = 1};

	shop_open(&x);
	i = (struct model_instance){.app = x.a.id, .type = "web"};
	ev = (struct model_event){.app = x.a.id, .tenant = x.t.id, .kind = "app.created", .text = "hello"};
	cr_assert_eq(store_config_set(x.s, x.a.id, "A", "1", &x.e), 0);
	cr_assert_eq(store_formation_set(x.s, x.a.id, "web", 1, &x.e), 0);
	cr_assert_eq(store_domain_add(x.s, x.a.id, "a.b", MODEL_PROOF_NONE, NULL, &x.e), 0);
	release_of(&x, 1);
	cr_assert_eq(store_instance_add(x.s, &i, &x.e), 0);
	cr_assert_eq(store_event_add(x.s, &ev, &x.e), 0);
	cr_assert_eq(store_usage_add(x.s, x.a.id, &u, &x.e), 0);
	cr_assert_eq(store_app_del(x.s, x.a.id, &x.e), 0);
	for (size_t k = 0; k < sizeof tables / sizeof *tables; k++) {
		char sql[64];
		sqlite3_stmt *st;
		snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", tables[k]);
		cr_assert_eq(sqlite3_prepare_v2(x.s->db, sql, -1, &st, NULL), SQLITE_OK);
		cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
		cr_assert_eq(sqlite3_column_int(st, 0), 0, "%s", tables[k]);
		sqlite3_finalize(st);
	}
	struct ids ids = {0};
	cr_assert_eq(store_event_list(x.s, 0, x.a.id, 0, 0, ids_event, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 1);
	struct model_app again;
	cr_assert_eq(store_app_add(x.s, x.t.id, "shop", &limits, true, &again, &x.e), 0);
	cr_assert_gt(again.id, x.a.id);
	shop_close(&x);
}

Test(store, instances)
{
	struct shop x;
	struct model_app b;
	struct model_instance i;
	struct ids ids = {0};

	shop_open(&x);
	cr_assert_eq(store_app_add(x.s, x.t.id, "b", &limits, true, &b, &x.e), 0);
	for (int k = 0; k < 30; k++) {
		i = (struct model_instance){
			.app = k < 20 ? x.a.id : b.id, .release = 1, .type = "web", .state = MODEL_INSTANCE_STARTING};
		cr_assert_eq(store_instance_add(x.s, &i, &x.e), 0);
		if (k % 10 == 0)
			continue;
		i.state = MODEL_INSTANCE_EXITED;
		i.exit_code = 137;
		snprintf(i.reason, sizeof i.reason, "killed");
		cr_assert_eq(store_instance_update(x.s, &i, &x.e), 0);
	}
	i.id = 999;
	cr_assert_eq(store_instance_update(x.s, &i, &x.e), -ENOENT);
	i.app = 999;
	cr_assert_eq(store_instance_add(x.s, &i, &x.e), -ENOENT);
	cr_assert_eq(store_instance_list(x.s, 0, true, ids_instance, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 3);
	ids.n = 0;
	cr_assert_eq(store_instance_list(x.s, x.a.id, false, ids_instance, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 20);
	cr_assert_eq(store_instance_prune(x.s, 9, &x.e), 0);
	ids.n = 0;
	cr_assert_eq(store_instance_list(x.s, x.a.id, false, ids_instance, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 11);
	cr_assert_eq(ids.id[0], 1, "the living stay");
	cr_assert_eq(ids.id[10], 20, "the newest stay");
	ids.n = 0;
	cr_assert_eq(store_instance_list(x.s, b.id, false, ids_instance, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 10);
	ids.n = 0;
	cr_assert_eq(store_instance_list(x.s, x.a.id, true, ids_instance, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 2);
	shop_close(&x);
}

Test(store, events)
{
	struct shop x;
	struct ids ids = {0};

	shop_open(&x);
	for (int k = 1; k <= 40; k++) {
		struct model_event ev = {.tenant = k % 2 ? x.t.id : 7, .app = k % 4 == 1 ? x.a.id : 0, .kind = "k"};
		snprintf(ev.text, sizeof ev.text, "event %d", k);
		cr_assert_eq(store_event_add(x.s, &ev, &x.e), 0);
		cr_assert_eq(ev.id, k);
		cr_assert_gt(ev.time_ms, 0);
	}
	cr_assert_eq(store_event_list(x.s, 0, 0, 30, 5, ids_event, &ids, &x.e), 0);
	cr_assert(ids.n == 5 && ids.id[0] == 31 && ids.id[4] == 35);
	ids.n = 0;
	cr_assert_eq(store_event_list(x.s, 0, 0, -1, 3, ids_event, &ids, &x.e), 0);
	cr_assert(ids.n == 3 && ids.id[0] == 38 && ids.id[2] == 40);
	ids.n = 0;
	cr_assert_eq(store_event_list(x.s, x.t.id, 0, -1, 2, ids_event, &ids, &x.e), 0);
	cr_assert(ids.n == 2 && ids.id[0] == 37 && ids.id[1] == 39);
	ids.n = 0;
	cr_assert_eq(store_event_list(x.s, x.t.id, x.a.id, 0, 0, ids_event, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 10);
	ids.n = 0;
	cr_assert_eq(store_event_list(x.s, 7, x.a.id, 0, 0, ids_event, &ids, &x.e), 0);
	cr_assert_eq(ids.n, 0, "another tenant's app shows nothing");
	struct model_event cut = {.kind = "k", .text = "half a character: \xc3"};
	cr_assert_eq(store_event_add(x.s, &cut, &x.e), 0);
	cr_assert_str_eq(cut.text, "half a character: \\xc3");
	shop_close(&x);
}

Test(store, events_are_pruned)
{
	struct shop x;
	int64_t n;

	shop_open(&x);
	cr_assert_geq(db_run(x.s,
			     "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 + 500)"
			     " INSERT INTO event (time_ms, tenant, app, instance, kind, text)"
			     " SELECT i, 1, CASE WHEN i % 50 = 0 THEN 1 ELSE 0 END, 0, 'k', 't' FROM n",
			     DB_ARGS(DB_I(LIMIT_EVENTS)), &x.e),
		      0);
	cr_assert_eq(store_event_prune(x.s, &x.e), 0, "%s", x.e.text);
	cr_assert_eq(db_number(x.s, 0, &n, "SELECT min(id) FROM event", DB_NONE, &x.e), 0);
	cr_assert_eq(n, 501);
	cr_assert_eq(db_number(x.s, 0, &n, "SELECT count(*) FROM event WHERE app = 1", DB_NONE, &x.e), 0);
	cr_assert_eq(n, LIMIT_EVENTS_APP);
	cr_assert_eq(db_number(x.s, 0, &n, "SELECT max(id) FROM event WHERE app = 1", DB_NONE, &x.e), 0);
	cr_assert_eq(n, LIMIT_EVENTS + 500);
	shop_close(&x);
}

static int usage_sum(void *arg, int64_t app, const struct store_usage *u)
{
	struct store_usage *sum = arg;

	(void)app;
	sum->requests += u->requests;
	sum->cpu_us += u->cpu_us;
	sum->hour_ms++;
	return 0;
}

Test(store, usage)
{
	const int64_t hour = 3600000, start = 1700000000000 / 3600000 * 3600000;
	struct shop x;
	struct store_usage u = {.hour_ms = start + 5, .cpu_us = 10, .requests = 1}, sum = {0};

	shop_open(&x);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(store_usage_add(x.s, x.a.id, &u, &x.e), 0);
	u.hour_ms = start + hour;
	cr_assert_eq(store_usage_add(x.s, x.a.id, &u, &x.e), 0);
	cr_assert_eq(store_usage_add(x.s, 999, &u, &x.e), -ENOENT);
	cr_assert_eq(store_usage_list(x.s, x.t.id, start, usage_sum, &sum, &x.e), 0);
	cr_assert(sum.requests == 4 && sum.cpu_us == 40 && sum.hour_ms == 2);
	sum = (struct store_usage){0};
	cr_assert_eq(store_usage_list(x.s, 0, start + 1, usage_sum, &sum, &x.e), 0);
	cr_assert_eq(sum.requests, 1);
	sum = (struct store_usage){0};
	cr_assert_eq(store_usage_list(x.s, 999, 0, usage_sum, &sum, &x.e), 0);
	cr_assert_eq(sum.requests, 0);
	u.hour_ms = start + (LIMIT_USAGE_HOURS + 1) * hour;
	cr_assert_eq(store_usage_add(x.s, x.a.id, &u, &x.e), 0);
	sum = (struct store_usage){0};
	cr_assert_eq(store_usage_list(x.s, x.t.id, 0, usage_sum, &sum, &x.e), 0);
	cr_assert_eq(sum.hour_ms, 2, "old hours go");
	shop_close(&x);
}

Test(store, meta)
{
	struct shop x;
	char *v = NULL;

	shop_open(&x);
	cr_assert_eq(store_meta_get(x.s, "fleet.epoch", &v, &x.e), -ENOENT);
	cr_assert_eq(store_meta_get(x.s, "token_key", &v, &x.e), -ENOENT);
	cr_assert_eq(store_meta_set(x.s, "fleet.epoch", "7", &x.e), 0);
	cr_assert_eq(store_meta_set(x.s, "fleet.epoch", "8", &x.e), 0);
	cr_assert_eq(store_meta_get(x.s, "fleet.epoch", &v, &x.e), 0);
	cr_assert_str_eq(v, "8");
	free(v);
	cr_assert_eq(store_meta_set(x.s, "fleet.epoch", NULL, &x.e), 0);
	cr_assert_eq(store_meta_get(x.s, "fleet.epoch", &v, &x.e), -ENOENT);
	cr_assert_eq(store_meta_set(x.s, "", "8", &x.e), -EINVAL);
	shop_close(&x);
}

Test(store, idempotency)
{
	struct shop x;
	char *body = NULL, key[300];
	int status = 0;
	int64_t n;

	shop_open(&x);
	cr_assert_eq(store_idem_get(x.s, 1, "k", "h1", &status, &body, &x.e), -ENOENT);
	cr_assert_eq(store_idem_put(x.s, 1, "k", "h1", 201, "{}", &x.e), 0);
	cr_assert_eq(store_idem_get(x.s, 1, "k", "h1", &status, &body, &x.e), 0);
	cr_assert(status == 201 && strcmp(body, "{}") == 0);
	free(body);
	cr_assert_eq(store_idem_get(x.s, 1, "k", "h2", &status, &body, &x.e), -EEXIST);
	cr_assert_eq(store_idem_get(x.s, 2, "k", "h1", &status, &body, &x.e), -ENOENT);
	memset(key, 'k', sizeof key - 1);
	key[sizeof key - 1] = 0;
	cr_assert_eq(store_idem_put(x.s, 1, key, "h1", 201, "{}", &x.e), -EINVAL);
	cr_assert_geq(db_run(x.s, "UPDATE idem SET created_ms = created_ms - 86400001", DB_NONE, &x.e), 1);
	cr_assert_eq(store_idem_get(x.s, 1, "k", "h1", &status, &body, &x.e), -ENOENT);
	cr_assert_eq(store_idem_put(x.s, 1, "k2", "h1", 201, "{}", &x.e), 0);
	cr_assert_eq(db_number(x.s, 0, &n, "SELECT count(*) FROM idem", DB_NONE, &x.e), 0);
	cr_assert_eq(n, 1, "the expired one is gone");
	shop_close(&x);
}

static int nested_app(void *arg, const struct model_app *a)
{
	struct shop *x = arg;
	struct model_app again;
	struct ids ids = {0};

	cr_assert_eq(store_app_get(x->s, a->id, &again, &x->e), 0);
	cr_assert_eq(store_app_list(x->s, 0, 0, 0, ids_app, &ids, &x->e), 0);
	cr_assert_eq(ids.n, 3);
	cr_assert_eq(store_config_set(x->s, a->id, "SEEN", "1", &x->e), 0);
	return 0;
}

Test(store, lists_within_lists)
{
	struct shop x;
	shop_open(&x);
	cr_assert_eq(store_app_add(x.s, x.t.id, "b", &limits, true, NULL, &x.e), 0);
	cr_assert_eq(store_app_add(x.s, x.t.id, "c", &limits, true, NULL, &x.e), 0);
	cr_assert_eq(store_app_list(x.s, 0, 0, 0, nested_app, &x, &x.e), 0);
	cr_assert_eq(store_commit(x.s, &x.e), 0);
	shop_close(&x);
}

Test(store, names_of_states)
{
	for (int r = 0; r < MODEL_ROLE_COUNT; r++)
		cr_assert_eq(model_role_parse(model_role_name((enum model_role)r)), (enum model_role)r);
	cr_assert_eq(model_role_parse("root"), MODEL_ROLE_COUNT);
	cr_assert_str_eq(model_instance_state_name(MODEL_INSTANCE_DRAINING), "draining");
	cr_assert_str_eq(model_build_state_name(MODEL_BUILD_STATE_COUNT), "unknown");
	cr_assert_str_eq(model_release_state_name(MODEL_RELEASE_RETIRED), "retired");
}

/* Ten thousand apps: every verb that control calls in its loop stays far below a turn. */
Test(store, ten_thousand_apps)
{
	struct shop x;
	struct model_app a;
	struct model_tenant t;
	int64_t since;
	unsigned seen = 0;
	int64_t after = 0;

	shop_open(&x);
	for (int i = 0; i < 200; i++) {
		char name[32];
		snprintf(name, sizeof name, "t-%d", i);
		cr_assert_eq(store_tenant_add(x.s, name, NULL, &t, &x.e), 0);
		for (int k = 0; k < 50; k++) {
			struct model_instance in = {.type = "web",
						    .state = k % 2 ? MODEL_INSTANCE_EXITED : MODEL_INSTANCE_RUNNING};
			snprintf(name, sizeof name, "a-%d-%d", i, k);
			cr_assert_eq(store_app_add(x.s, t.id, name, &limits, true, &a, &x.e), 0, "%s", x.e.text);
			in.app = a.id;
			cr_assert_eq(store_instance_add(x.s, &in, &x.e), 0);
		}
	}
	cr_assert_eq(store_commit(x.s, &x.e), 0);
	since = clock_mono_us();
	for (;;) {
		struct ids ids = {0};
		cr_assert_eq(store_app_list(x.s, 0, after, 500, ids_app, &ids, &x.e), 0);
		if (ids.n == 0)
			break;
		seen += ids.n;
		after = ids.id[ids.n - 1];
	}
	cr_assert_eq(seen, 10001);
	cr_assert_lt(clock_mono_us() - since, 1000000);
	since = clock_mono_us();
	cr_assert_eq(store_instance_prune(x.s, 10, &x.e), 0);
	cr_assert_eq(store_event_prune(x.s, &x.e), 0);
	cr_assert_lt(clock_mono_us() - since, 500000);
	since = clock_mono_us();
	for (int i = 0; i < 200; i++)
		cr_assert_eq(store_app_find(x.s, "a-150-25", &a, &x.e), 0);
	cr_assert_lt(clock_mono_us() - since, 200000);
	shop_close(&x);
}
