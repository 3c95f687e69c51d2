/* Records of instances, stored trees and the root skeleton on disk. */
#include "agent/supervise/record.h"
#include "agent/supervise/stack.h"
#include "agent/supervise/tree.h"
#include "base/fd.h"
#include "base/own.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];
static int dir = -1;

static void up(void)
{
	snprintf(root, sizeof root, "/tmp/tulou-test-XXXXXX");
	cr_assert(mkdtemp(root));
	dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void down(void)
{
	close(dir);
	cr_assert_eq(fd_remove_tree(AT_FDCWD, root), 0);
}

static void count(void *arg, uint64_t id)
{
	*(uint64_t *)arg += id;
}

Test(supervise, record_round_trip, .init = up, .fini = down)
{
	struct record r = {.magic = RECORD_MAGIC, .size = sizeof r, .phase = RECORD_RUNNING, .start_time = 77}, got;
	struct launch_status st = {.magic = LAUNCH_STATUS_MAGIC, .code = 143, .signal = 15}, got_st;
	uint64_t sum = 0;
	int fd = -1;

	r.m.instance = 5;
	r.m.kind = MSG_KIND_APP;
	snprintf(r.link, sizeof r.link, "tlp2");
	cr_assert_eq(record_read(dir, 5, &got), -ENOENT);
	cr_assert_eq(record_make(dir, 5, &fd), 0);
	cr_assert_eq(record_write(dir, &r), 0);
	cr_assert_eq(record_read(dir, 5, &got), 0);
	cr_assert_eq(memcmp(&r, &got, sizeof r), 0);
	cr_assert_eq(record_status(dir, 5, &got_st), -ENOENT, "empty until PID 1 ends");
	cr_assert_eq(write(fd, &st, sizeof st), (ssize_t)sizeof st);
	cr_assert_eq(record_status(dir, 5, &got_st), 0);
	cr_assert_eq(got_st.code, 143);
	close(fd);
	cr_assert_eq(mkdirat(dir, "other", 0700), 0);
	cr_assert_eq(record_each(dir, count, &sum), 0);
	cr_assert_eq(sum, 5);
	cr_assert_eq(record_remove(dir, 5), 0);
	cr_assert_eq(record_remove(dir, 5), 0);
	cr_assert_eq(record_read(dir, 5, &got), -ENOENT);
}

/* As a supervisor without limits of packets wrote it. */
Test(supervise, record_of_the_version_before, .init = up, .fini = down)
{
	const size_t at = offsetof(struct record, limits.net_packets), less = sizeof(uint64_t);
	struct record r = {.magic = RECORD_MAGIC, .size = sizeof r - less, .phase = RECORD_RUNNING}, got;
	char old[sizeof r];
	int fd = -1;

	r.limits = quota_app_default;
	r.limits.inodes = 77;
	r.m.instance = 5;
	r.m.pid = 4711;
	snprintf(r.m.text, sizeof r.m.text, "the end");
	memcpy(old, &r, at);
	memcpy(old + at, (const char *)&r + at + less, sizeof r - less - at);
	cr_assert_eq(record_make(dir, 5, &fd), 0);
	close(fd);
	for (int cut = 0; cut < 2; cut++) {
		fd = openat(dir, "5/record", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		cr_assert_eq(write(fd, old, sizeof r - less - (size_t)cut), (ssize_t)(sizeof r - less) - cut);
		close(fd);
		cr_assert_eq(record_read(dir, 5, &got), cut ? -EBADMSG : 0);
	}
	r.size = sizeof r;
	cr_assert_eq(got.limits.net_packets, LIMIT_NET_PACKETS);
	cr_assert_eq(memcmp(&r, &got, sizeof r), 0, "the rest is where it was");
}

Test(supervise, record_refuses_what_is_not_whole, .init = up, .fini = down)
{
	struct record r = {.magic = RECORD_MAGIC, .size = sizeof r, .phase = RECORD_RUNNING}, got, bad;
	struct launch_status st = {.magic = LAUNCH_STATUS_MAGIC, .code = 256}, got_st;
	int fd = -1;

	r.m.instance = 5;
	cr_assert_eq(record_make(dir, 5, &fd), 0);
#define REFUSED(change)                                                                                                \
	do {                                                                                                           \
		bad = r;                                                                                               \
		change;                                                                                                \
		cr_assert_eq(record_write(dir, &bad), 0);                                                              \
		cr_assert_eq(record_read(dir, 5, &got), -EBADMSG, #change);                                            \
	} while (0)
	REFUSED(bad.magic++);
	REFUSED(bad.size--);
	REFUSED(bad.phase = RECORD_PHASE_COUNT);
	REFUSED(bad.m.kind = MSG_KIND_COUNT);
	REFUSED(bad.m.slot = LIMIT_TENANTS);
	cr_assert_eq(record_write(dir, &r), 0);
	cr_assert_eq(record_read(dir, 5, &got), 0);
	cr_assert_eq(renameat(dir, "5", dir, "6"), 0);
	cr_assert_eq(record_read(dir, 6, &got), -EBADMSG, "another instance's");
	cr_assert_eq(renameat(dir, "6", dir, "5"), 0);
	cr_assert_eq(write(fd, &st, sizeof st), (ssize_t)sizeof st);
	cr_assert_eq(record_status(dir, 5, &got_st), -ENOENT, "no such exit code");
	close(fd);
	char path[96];
	snprintf(path, sizeof path, "%s/5/record", root);
	cr_assert_eq(truncate(path, sizeof r - 1), 0);
	cr_assert_eq(record_read(dir, 5, &got), -EBADMSG);
	cr_assert_eq(truncate(path, sizeof r + 1), 0);
	cr_assert_eq(record_read(dir, 5, &got), -EBADMSG);
}

Test(supervise, the_boot_has_an_id)
{
	char boot[RECORD_BOOT];

	cr_assert_eq(record_boot(boot), 0);
	cr_assert_eq(strlen(boot), 36);
}

static bool exists(const char *path)
{
	return faccessat(dir, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool busy(void *arg, uint64_t object)
{
	return object == *(uint64_t *)arg;
}

static unsigned leftovers;
static void leftover(void *arg, enum msg_remove_kind kind, uint64_t id)
{
	(void)arg;
	(void)kind;
	leftovers += (unsigned)id;
}

Test(supervise, trees_are_stored_retired_and_swept, .init = up, .fini = down)
{
	struct tree t;
	struct stat st;
	uint64_t at_work = 8;
	int fd = -1;

	if (geteuid() != 0)
		cr_skip("needs root: trees belong to tenants");
	cr_assert_eq(tree_init(&t, root, NULL), 0);
	cr_assert_eq(fstatat(dir, "releases", &st, 0), 0);
	cr_assert_eq(st.st_mode & 07777, 0700);
	cr_assert_eq(tree_open(&t, MSG_KIND_APP, 1, 7, 1 << 30, &fd, NULL), -ENOENT);
	cr_assert_eq(tree_open(&t, MSG_KIND_BUILD, 1, 7, 1 << 30, &fd, NULL), 0);
	cr_assert_eq(fd, -1);
	cr_assert_eq(tree_open(&t, MSG_KIND_STORE, 1, 7, 1 << 30, &fd, NULL), 0);
	close(fd);
	cr_assert_eq(fstatat(dir, "releases/7.new/app", &st, 0), 0);
	cr_assert_eq(st.st_uid, (1u << 30) + TREE_UID);
	cr_assert_lt(tree_open(&t, MSG_KIND_STORE, 1, 7, 1 << 30, &fd, NULL), 0, "while it is written");
	cr_assert_eq(tree_finish(&t, 7, true), 0);
	cr_assert(exists("releases/7/app"));
	cr_assert_eq(tree_open(&t, MSG_KIND_STORE, 1, 7, 1 << 30, &fd, NULL), -EEXIST, "releases are immutable");
	cr_assert_eq(tree_open(&t, MSG_KIND_APP, 1, 7, 1 << 30, &fd, NULL), 0);
	close(fd);
	for (uint64_t i = 8; i < 10; i++) {
		cr_assert_eq(tree_open(&t, MSG_KIND_STORE, 1, i, 1 << 30, &fd, NULL), 0);
		close(fd);
	}
	cr_assert_eq(tree_finish(&t, 9, false), 0);
	cr_assert(exists("releases/9.gone") && !exists("releases/9"));
	cr_assert_eq(tree_retire(&t, MSG_REMOVE_RELEASE, 7), 0);
	cr_assert_eq(tree_retire(&t, MSG_REMOVE_RELEASE, 77), 0, "there was none");
	cr_assert_eq(tree_leftovers(&t, busy, leftover, &at_work), 0);
	cr_assert_eq(leftovers, 7 + 9);
	cr_assert_eq(tree_remove_gone(&t, MSG_REMOVE_RELEASE, 7), 0);
	cr_assert(!exists("releases/7.gone") && exists("releases/8.new"));
	cr_assert_eq(tree_open(&t, MSG_KIND_GIT, 3, 0, 1 << 30, &fd, NULL), 0);
	close(fd);
	cr_assert(exists("repos/3"));
	tree_done(&t);
}

static bool keep_none(void *arg, const char *name)
{
	return strcmp(arg, name) == 0;
}

Test(supervise, stack_is_versioned, .init = up, .fini = down)
{
	const uint32_t one[] = {0x0a000035}, two[] = {0x0a000035, 0x09090909};
	char a[STACK_NAME], b[STACK_NAME], c[STACK_NAME], path[128];
	OWN_FREE char *text = NULL;
	int fd;

	fd = stack_build(root, "/does/not/exist", one, 1, a, NULL);
	cr_assert_geq(fd, 0);
	cr_assert_eq(fd_read_file(dir, "stack/etc/resolv.conf", 256, &text, NULL), 0);
	cr_assert_str_eq(text, "options timeout:2 attempts:3\nnameserver 10.0.0.53\n");
	cr_assert(exists("stack/usr") && exists("stack/etc/passwd") && exists("stack/buildpacks") &&
		  exists("stack/bin"));
	cr_assert(!exists("stack/etc/shadow"));
	close(fd);
	fd = stack_build(root, "/does/not/exist", one, 1, b, NULL);
	cr_assert_str_eq(a, b, "the same inputs, the same version");
	close(fd);
	fd = stack_build(root, "/does/not/exist", two, 2, c, NULL);
	cr_assert_str_neq(a, c);
	close(fd);
	snprintf(path, sizeof path, "stacks/%s", a);
	cr_assert(exists(path), "a running instance may look through it");
	stack_sweep(root, keep_none, c);
	cr_assert(!exists(path));
	snprintf(path, sizeof path, "stacks/%s", c);
	cr_assert(exists(path));
}

/* A tenant who knows how trees are removed puts the names that the removal uses into his tree. */
Test(supervise, hostile_names_do_not_stop_a_removal, .init = up, .fini = down)
{
	static const char *const dirs[] = {"t",	       "t/a",	     "t/a/b",  "t/a/b/c",  "t/.rm0",
					   "t/.rm0/x", "t/.rm0/x/y", "t/.rm1", "t/a/.rm2", "t/a/.rm2/z"};
	static const char *const files[] = {"t/.rm1/f", "t/.rm2", "t/a/b/c/f"};

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		cr_assert_eq(mkdirat(dir, dirs[i], 0755), 0);
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		close(openat(dir, files[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	cr_assert_eq(fd_remove_tree(dir, "t"), 0);
	cr_assert(!exists("t"));
}
