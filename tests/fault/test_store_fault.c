/* The store while its file system fails: no accepted write is lost, no half of one is seen. */
#include "base/fd.h"
#include "store/db.h"
#include "store/store.h"
#include "tests/fault/vfs.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static const struct quota_limits fault_limits = {.memory = 64 << 20,
						 .disk = 64 << 20,
						 .cpu = 100,
						 .pids = 16,
						 .nofile = 256,
						 .net_packets = 20000,
						 .inodes = 4096,
						 .cpu_weight = 100,
						 .io_weight = 100};

static void fault_dir(char dir[32])
{
	snprintf(dir, 32, "/tmp/tulou-fault-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
}

static void fault_remove(const char *dir)
{
	cr_assert_eq(fd_remove_tree(AT_FDCWD, dir), 0);
}

/* One turn of control: three writes that belong together, then the commit. */
static int fault_turn(struct store *s, int n, struct err *e)
{
	char name[32];
	struct model_app a;
	struct model_event ev = {.tenant = 1, .kind = "app.created", .text = "created"};
	int r;

	snprintf(name, sizeof name, "app-%d", n);
	r = store_app_add(s, 1, name, &fault_limits, true, &a, e);
	if (r == 0)
		r = store_config_set(s, a.id, "KEY", name, e);
	ev.app = a.id;
	if (r == 0)
		r = store_event_add(s, &ev, e);
	if (r < 0) {
		store_rollback(s);
		return r;
	}
	return store_commit(s, e);
}

struct fault_seen {
	struct store *s;
	bool app[64];
	unsigned apps, vars;
};

static int fault_on_var(void *arg, const char *key, const char *value)
{
	struct fault_seen *seen = arg;

	(void)key;
	(void)value;
	seen->vars++;
	return 0;
}

static int fault_on_app(void *arg, const struct model_app *a)
{
	struct fault_seen *seen = arg;

	seen->app[strtol(a->name + 4, NULL, 10)] = true;
	seen->apps++;
	return store_config_list(seen->s, a->id, fault_on_var, seen, NULL);
}

/* Everything accepted is there, whole. */
static void fault_check(struct store *s, const bool accepted[64], const char *what, long at)
{
	struct fault_seen seen = {.s = s};
	struct err e = {0};
	int64_t events = 0;

	cr_assert_eq(store_app_list(s, 0, 0, 0, fault_on_app, &seen, &e), 0, "%s", e.text);
	for (int i = 0; i < 64; i++)
		cr_assert(!accepted[i] || seen.app[i], "%s at %ld: accepted app-%d is lost", what, at, i);
	cr_assert_eq(seen.vars, seen.apps, "%s at %ld: a turn was kept in part", what, at);
	cr_assert_eq(db_number(s, 0, &events, "SELECT count(*) FROM event", DB_NONE, &e), 0);
	cr_assert_eq((unsigned)events, seen.apps, "%s at %ld: a turn was kept in part", what, at);
}

static struct store *fault_open(const char *dir)
{
	struct store *s = NULL;
	struct err e = {0};

	cr_assert_eq(store_open(dir, &s, &e), 0, "%s", e.text);
	return s;
}

static void fault_run(enum vfs_fault kind, bool on, const char *what)
{
	for (long at = 1; at < 200; at++) {
		bool accepted[64] = {false};
		struct err e = {0};
		struct store *s;
		long operations;
		int n = 0;
		char dir[32];

		fault_dir(dir);
		vfs_fail(VFS_FAULT_NONE, 0, false);
		s = fault_open(dir);
		cr_assert_eq(store_tenant_add(s, "acme", NULL, NULL, &e), 0);
		cr_assert_eq(store_commit(s, &e), 0);
		vfs_fail(kind, at, on);
		for (; n < 6; n++) {
			int r = fault_turn(s, n, &e);
			cr_assert(r == 0 || r == -EIO, "%d %s", r, e.text);
			accepted[n] = r == 0;
			cr_assert_not(store_dirty(s));
		}
		operations = vfs_operations();
		/* The same process goes on when the trouble is over ... */
		vfs_fail(VFS_FAULT_NONE, 0, false);
		if (kind != VFS_FAULT_TORN) {
			cr_assert_eq(fault_turn(s, n, &e), 0, "%s at %ld: %s", what, at, e.text);
			accepted[n++] = true;
			fault_check(s, accepted, what, at);
		} else {
			vfs_fail(VFS_FAULT_IO, 1, true); /* the power stays off while it closes */
		}
		store_close(s);
		/* ... and a new one finds all of it. */
		vfs_fail(VFS_FAULT_NONE, 0, false);
		s = fault_open(dir);
		fault_check(s, accepted, what, at);
		store_close(s);
		fault_remove(dir);
		if (at > operations)
			return;
	}
	cr_assert_fail("%s: more operations than expected", what);
}

/* A plan's change is the plan's, its tenants' and their apps', or nobody's. */
Test(store, fault_plan_changes_as_a_whole)
{
	vfs_install();
	for (long at = 1; at < 200; at++) {
		struct model_plan p = {.name = "p", .quota = quota_default, .limits = fault_limits};
		struct model_tenant t;
		struct model_app a;
		struct err e = {0};
		struct store *s;
		char dir[32];
		long operations;
		int r;

		fault_dir(dir);
		vfs_fail(VFS_FAULT_NONE, 0, false);
		s = fault_open(dir);
		cr_assert_eq(store_plan_add(s, &p, &p, &e), 0, "%s", e.text);
		cr_assert_eq(store_tenant_add(s, "acme", NULL, &t, &e), 0);
		cr_assert_eq(store_app_add(s, t.id, "app", &fault_limits, false, &a, &e), 0);
		t.plan = p.id;
		cr_assert_eq(store_tenant_set(s, &t, NULL, &e), 0);
		cr_assert_eq(store_commit(s, &e), 0);
		vfs_fail(VFS_FAULT_FULL, at, true);
		p.quota.pids = 99;
		p.limits.memory = 99 << 20;
		r = store_plan_update(s, &p, &e);
		r = r == 0 ? store_commit(s, &e) : r;
		if (r < 0)
			store_rollback(s);
		operations = vfs_operations();
		vfs_fail(VFS_FAULT_NONE, 0, false);
		store_close(s);
		s = fault_open(dir);
		cr_assert_eq(store_plan_find(s, "p", &p, &e), 0);
		cr_assert_eq(store_tenant_find(s, "acme", &t, &e), 0);
		cr_assert_eq(store_app_find(s, "app", &a, &e), 0);
		cr_assert(r < 0 || p.quota.pids == 99, "at %ld: an accepted change is lost", at);
		cr_assert_eq(t.quota.pids, p.quota.pids, "at %ld", at);
		cr_assert_eq(a.limits.memory, p.limits.memory, "at %ld", at);
		store_close(s);
		fault_remove(dir);
		if (at > operations)
			return;
	}
	cr_assert_fail("more operations than expected");
}

Test(store, fault_one_io_error)
{
	vfs_install();
	fault_run(VFS_FAULT_IO, false, "one I/O error");
}

Test(store, fault_io_errors_from_then_on)
{
	vfs_install();
	fault_run(VFS_FAULT_IO, true, "I/O errors");
}

Test(store, fault_disk_full)
{
	vfs_install();
	fault_run(VFS_FAULT_FULL, true, "full disk");
}

Test(store, fault_torn_write_and_power_loss)
{
	vfs_install();
	fault_run(VFS_FAULT_TORN, true, "torn write");
}

/* Opening a fresh database fails at each point, and works afterwards. */
Test(store, fault_first_open)
{
	vfs_install();
	for (long at = 1;; at++) {
		struct store *s = NULL;
		struct err e = {0};
		char dir[32];
		bool hit;
		int r;

		fault_dir(dir);
		vfs_fail(VFS_FAULT_IO, at, true);
		r = store_open(dir, &s, &e);
		hit = vfs_operations() >= at;
		cr_assert_eq(r == 0, !hit, "at %ld: %d %s", at, r, e.text);
		vfs_fail(VFS_FAULT_NONE, 0, false);
		if (r < 0) {
			cr_assert(strstr(e.text, "tulou.db"), "%s", e.text);
			s = fault_open(dir);
		}
		cr_assert_eq(store_tenant_add(s, "acme", NULL, NULL, &e), 0);
		cr_assert_eq(store_commit(s, &e), 0);
		store_close(s);
		fault_remove(dir);
		if (!hit)
			break;
		cr_assert_lt(at, 200);
	}
}

/* When SQLite gives a transaction up in the middle of a turn, the turn's commit must not look like a success. */
Test(store, fault_lost_transaction_fails_its_commit)
{
	struct err e = {0};
	struct store *s;
	uint64_t before;
	char dir[32];

	fault_dir(dir);
	s = fault_open(dir);
	cr_assert_eq(store_tenant_add(s, "acme", NULL, NULL, &e), 0);
	cr_assert_eq(sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL),
		     SQLITE_OK); /* as SQLITE_FULL may do by itself */
	s->lost = true;
	cr_assert_eq(store_tenant_add(s, "late", NULL, NULL, &e), -EIO);
	before = store_generation(s);
	cr_assert_eq(store_commit(s, &e), -EIO);
	cr_assert_gt(store_generation(s), before);
	cr_assert_not(store_dirty(s));
	cr_assert_eq(store_tenant_find(s, "acme", NULL, &e), -ENOENT);
	cr_assert_eq(store_tenant_add(s, "acme", NULL, NULL, &e), 0);
	cr_assert_eq(store_commit(s, &e), 0);
	store_close(s);
	fault_remove(dir);
}

/* kill -9 at any moment: what was committed is there. */
Test(store, fault_kill)
{
	for (int round = 0; round < 8; round++) {
		bool accepted[64] = {false};
		int pipes[2];
		char dir[32];
		unsigned char n;
		struct store *s;
		pid_t pid;

		fault_dir(dir);
		cr_assert_eq(pipe(pipes), 0);
		pid = fork();
		cr_assert_geq(pid, 0);
		if (pid == 0) {
			struct err e = {0};
			s = NULL;
			if (store_open(dir, &s, &e) < 0 || store_tenant_add(s, "acme", NULL, NULL, &e) < 0)
				_exit(1);
			for (n = 0; n < 49; n++)
				if (fault_turn(s, n, &e) < 0 || write(pipes[1], &n, 1) != 1)
					_exit(1);
			pause();
		}
		close(pipes[1]);
		for (int i = 0; i <= round * 5; i++) {
			cr_assert_eq(read(pipes[0], &n, 1), 1);
			accepted[n] = true;
		}
		kill(pid, SIGKILL);
		while (read(pipes[0], &n, 1) == 1)
			accepted[n] = true;
		cr_assert_eq(waitpid(pid, NULL, 0), pid);
		close(pipes[0]);
		s = fault_open(dir);
		fault_check(s, accepted, "kill", round);
		store_close(s);
		fault_remove(dir);
	}
}
