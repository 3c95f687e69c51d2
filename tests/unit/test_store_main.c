/* The store's file, and its verbs of tenants and tokens. */
#include "base/fd.h"
#include "store/db.h"
#include "tests/unit/store_shop.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

IDS_FN(ids_tenant, struct model_tenant)
IDS_FN(ids_token, struct model_token)

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

Test(store, names_of_states)
{
	for (int r = 0; r < MODEL_ROLE_COUNT; r++)
		cr_assert_eq(model_role_parse(model_role_name((enum model_role)r)), (enum model_role)r);
	cr_assert_eq(model_role_parse("root"), MODEL_ROLE_COUNT);
	cr_assert_str_eq(model_instance_state_name(MODEL_INSTANCE_DRAINING), "draining");
	cr_assert_str_eq(model_build_state_name(MODEL_BUILD_STATE_COUNT), "unknown");
	cr_assert_str_eq(model_release_state_name(MODEL_RELEASE_RETIRED), "retired");
}
