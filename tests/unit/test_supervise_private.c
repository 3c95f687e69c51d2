/* Private layers with a small folder in place of /usr: root and loop devices are needed, else skipped. */
#include "agent/supervise/private.h"
#include "base/fd.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BYTES (256u << 10)

static char dir[64];
static struct loop *loop;
static unsigned told;

static void on_changed(void *arg)
{
	(void)arg;
	told++;
	loop_stop(loop);
}

static void make_folders(void)
{
	char path[128], fill[4096];

	memset(fill, 'x', sizeof fill);
	snprintf(dir, sizeof dir, "/var/tmp/tulou-private-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/data/stacks/s1/etc", dir);
	cr_assert_eq(fd_mkdirs(path, 0755), 0);
	snprintf(path, sizeof path, "%s/usr/share/doc/long", dir);
	cr_assert_eq(fd_mkdirs(path, 0755), 0);
	snprintf(path, sizeof path, "%s/usr/big", dir);
	FILE *f = fopen(path, "w");
	cr_assert_not_null(f);
	for (unsigned n = 0; n < BYTES; n += sizeof fill)
		cr_assert_eq(fwrite(fill, sizeof fill, 1, f), 1);
	fclose(f);
}

static struct private_layers *begin(void)
{
	char data[96], usr[96];
	struct private_layers *p = NULL;
	struct err e = {0};

	snprintf(data, sizeof data, "%s/data", dir);
	snprintf(usr, sizeof usr, "%s/usr", dir);
	cr_assert_eq(private_new(loop, data, usr, "s1", on_changed, NULL, &p, &e), 0, "%s", e.text);
	return p;
}

static void end(struct private_layers *p)
{
	private_close_all(p);
	private_free(p);
	loop_free(loop);
	cr_assert_eq(fd_remove_tree(AT_FDCWD, dir), 0);
}

static unsigned count_images(void)
{
	char path[96];
	unsigned n = 0;

	snprintf(path, sizeof path, "%s/data/private", dir);
	DIR *d = opendir(path);
	for (struct dirent *de; d && (de = readdir(d));)
		n += strstr(de->d_name, ".img") != NULL;
	closedir(d);
	return n;
}

/* Pages of the file big in that folder that are in memory, without touching any. */
static unsigned resident(int usr)
{
	unsigned char pages[BYTES / 4096];
	unsigned n = 0;
	int fd = openat(usr, "big", O_RDONLY | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	void *m = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, fd, 0);
	cr_assert_neq(m, MAP_FAILED);
	cr_assert_eq(mincore(m, BYTES, pages), 0);
	for (unsigned i = 0; i < BYTES / 4096; i++)
		n += pages[i] & 1;
	munmap(m, BYTES);
	close(fd);
	return n;
}

Test(supervise_private, tenants_share_no_page)
{
	struct err e = {0};
	struct stat a, b;
	int usr[2], stack[2];
	char buf[4096];

	if (geteuid() != 0 || access("/dev/loop-control", R_OK | W_OK) < 0 || access("/usr/sbin/mke2fs", X_OK) < 0)
		cr_skip("needs root, loop devices and mke2fs");
	loop = loop_new();
	make_folders();
	struct private_layers *p = begin();
	cr_assert_eq(private_ask(p), PRIVATE_MAKING);
	cr_assert_eq(private_ask(p), PRIVATE_MAKING, "asked twice, made once");
	cr_assert_eq(private_open(p, 1, &usr[0], &stack[0], &e), -EAGAIN, "not before it is made");
	loop_run(loop);
	cr_assert_eq(told, 1);
	cr_assert_eq(private_ask(p), PRIVATE_READY);
	cr_assert_eq(count_images(), 1);

	for (uint32_t i = 0; i < 2; i++)
		cr_assert_eq(private_open(p, i + 1, &usr[i], &stack[i], &e), 0, "%s", e.text);
	cr_assert_eq(fstatat(usr[0], "big", &a, 0), 0);
	cr_assert_eq(fstatat(usr[1], "big", &b, 0), 0);
	cr_assert_neq(a.st_dev, b.st_dev, "one device for two tenants");
	cr_assert_eq(a.st_size, BYTES);
	cr_assert_eq(fstatat(stack[0], "etc", &a, 0), 0, "the stack is there");
	cr_assert_eq(fstatat(usr[0], "share/doc/long", &a, 0), -1, "documentation was copied");
	cr_assert_lt(openat(usr[0], "big", O_WRONLY), 0, "it can be written");

	/* What one tenant reads is not in the other's memory. */
	cr_assert_eq(resident(usr[0]), 0);
	int fd = openat(usr[0], "big", O_RDONLY | O_CLOEXEC);
	while (read(fd, buf, sizeof buf) > 0)
		;
	close(fd);
	cr_assert_eq(resident(usr[0]), BYTES / 4096);
	cr_assert_eq(resident(usr[1]), 0, "the other tenant sees what this one has read");

	/* The same tenant again: the same mount. */
	int again, k;
	cr_assert_eq(private_open(p, 1, &again, &k, &e), 0);
	cr_assert_eq(resident(again), BYTES / 4096);
	close(again);
	close(k);

	private_close(p, 1);
	cr_assert_eq(fstatat(usr[0], "big", &a, 0), 0, "who has it keeps it");
	for (unsigned i = 0; i < 2; i++) {
		close(usr[i]);
		close(stack[i]);
	}

	/* A later supervisor finds the image, and not the mounts. */
	private_free(p);
	p = begin();
	char path[128];
	snprintf(path, sizeof path, "%s/data/private/mounts/2", dir);
	cr_assert_eq(access(path, F_OK), -1, "the earlier one's mount is still there");
	cr_assert_eq(private_ask(p), PRIVATE_READY);
	private_free(p);

	/* A package comes: another version, and the old image goes. */
	snprintf(path, sizeof path, "%s/usr/bin", dir);
	cr_assert_eq(mkdir(path, 0755), 0);
	p = begin();
	loop_run(loop); /* made without being asked for, since there was one */
	cr_assert_eq(told, 2);
	cr_assert_eq(count_images(), 1);
	cr_assert_eq(private_ask(p), PRIVATE_READY);
	end(p);
}

Test(supervise_private, failure_is_told_and_leaves_nothing)
{
	struct err e = {0};
	char path[128];
	int usr, stack;

	if (geteuid() != 0)
		cr_skip("needs root");
	loop = loop_new();
	make_folders();
	struct private_layers *p = begin();
	snprintf(path, sizeof path, "%s/data/stacks", dir); /* what it would copy is not there */
	cr_assert_eq(fd_remove_tree(AT_FDCWD, path), 0);
	cr_assert_eq(private_ask(p), PRIVATE_MAKING);
	loop_run(loop);
	cr_assert_eq(private_ask(p), PRIVATE_FAILED, "tried again at once");
	cr_assert_eq(private_open(p, 1, &usr, &stack, &e), -EAGAIN);
	cr_assert_not_null(strstr(e.text, "No such file"), "%s", e.text);
	cr_assert_eq(count_images(), 0);
	end(p);
}
