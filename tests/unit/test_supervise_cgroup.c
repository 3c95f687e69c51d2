/* Both cgroup backends on plain directories.  Control files that the kernel would make are made by the backend itself
 * (create_files) or by the test. */
#include "agent/sandbox/launch.h"
#include "agent/supervise/cgroup.h"
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

struct fake {
	char root[64];
	char mountinfo[2048];
};

static void fake_init(struct fake *f)
{
	snprintf(f->root, sizeof f->root, "/tmp/tulou-test-XXXXXX");
	cr_assert(mkdtemp(f->root));
	f->mountinfo[0] = 0;
}

static void fake_done(struct fake *f)
{
	cr_assert_eq(fd_remove_tree(AT_FDCWD, f->root), 0);
}

/* A mount of this type at <root>/<name> with these super block options. */
static void fake_mount(struct fake *f, const char *name, const char *type, const char *options)
{
	size_t n = strlen(f->mountinfo);
	char path[128];

	snprintf(path, sizeof path, "%s/%s", f->root, name);
	cr_assert_eq(mkdir(path, 0755), 0);
	snprintf(f->mountinfo + n, sizeof f->mountinfo - n, "30 29 0:2%zu / %s rw,relatime shared:9 - %s %s rw,%s\n", n,
		 path, type, type, options);
}

static void put(const struct fake *f, const char *path, const char *text)
{
	char full[256];
	OWN_FILE FILE *out = NULL;

	snprintf(full, sizeof full, "%s/%s", f->root, path);
	out = fopen(full, "we");
	cr_assert(out, "%s", full);
	fputs(text, out);
}

static void expect(const struct fake *f, const char *path, const char *text)
{
	char full[256];
	OWN_FREE char *got = NULL;

	snprintf(full, sizeof full, "%s/%s", f->root, path);
	cr_assert_eq(fd_read_file(AT_FDCWD, full, 256, &got, NULL), 0, "%s", full);
	cr_assert_str_eq(got, text, "%s is %s", path, got);
}

static void fake_v1(struct fake *f)
{
	fake_init(f);
	snprintf(f->mountinfo, sizeof f->mountinfo,
		 "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
		 "31 29 0:99 /inner /elsewhere rw - cgroup cgroup rw,memory\n");
	fake_mount(f, "memory", "cgroup", "memory");
	fake_mount(f, "cpu,cpuacct", "cgroup", "cpu,cpuacct");
	fake_mount(f, "pids", "cgroup", "pids");
	fake_mount(f, "unified", "cgroup2", "nsdelegate");
	put(f, "unified/cgroup.controllers", "\n");
}

static void close_all(int *fds, size_t n)
{
	while (n > 0)
		close(fds[--n]);
}

Test(supervise, cgroup_v1_sets_limits_and_opens_tasks)
{
	const struct quota_limits l = {.memory = 64 << 20, .cpu = 250, .pids = 32};
	int fds[LAUNCH_CGROUPS_MAX];
	struct cgroup *c = NULL;
	struct fake f;
	size_t n = 0;

	fake_v1(&f);
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cr_assert_str_eq(cgroup_version(c), "v1");
	cr_assert_eq(cgroup_make(c, 42, &l, fds, &n, NULL), 0);
	cr_assert_eq(n, 3, "cpu and cpuacct are mounted together: %zu", n);
	expect(&f, "memory/tulou/42/memory.limit_in_bytes", "67108864");
	expect(&f, "cpu,cpuacct/tulou/42/cpu.cfs_quota_us", "25000");
	expect(&f, "pids/tulou/42/pids.max", "32");
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(write(fds[i], "0", 1), 1);
	expect(&f, "memory/tulou/42/tasks", "0");
	close_all(fds, n);
	cgroup_free(c);
	fake_done(&f);
}

Test(supervise, cgroup_v1_samples)
{
	const struct quota_limits l = {.memory = 64 << 20, .cpu = 1000, .pids = 32};
	int fds[LAUNCH_CGROUPS_MAX];
	struct cgroup_sample s;
	struct cgroup *c = NULL;
	struct fake f;
	size_t n = 0;

	fake_v1(&f);
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cr_assert_eq(cgroup_sample(c, 7, &s), -ENOENT);
	cr_assert_eq(cgroup_make(c, 7, &l, fds, &n, NULL), 0);
	close_all(fds, n);
	put(&f, "memory/tulou/7/memory.usage_in_bytes", "4096\n");
	put(&f, "memory/tulou/7/memory.max_usage_in_bytes", "8192\n");
	put(&f, "memory/tulou/7/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
	put(&f, "cpu,cpuacct/tulou/7/cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 7000000\n");
	put(&f, "cpu,cpuacct/tulou/7/cpuacct.usage", "1234567\n");
	put(&f, "pids/tulou/7/pids.current", "5\n");
	cr_assert_eq(cgroup_sample(c, 7, &s), 0);
	cr_assert_eq(s.memory, 4096);
	cr_assert_eq(s.memory_peak, 8192);
	cr_assert_eq(s.oom_kills, 3);
	cr_assert_eq(s.throttled_us, 7000);
	cr_assert_eq(s.cpu_us, 1234);
	cr_assert_eq(s.pids, 5);
	cgroup_free(c);
	fake_done(&f);
}

static void count_group(void *arg, uint64_t id)
{
	*(uint64_t *)arg += id;
}

Test(supervise, cgroup_members_removal_and_listing)
{
	const struct quota_limits l = {.memory = 64 << 20, .cpu = 1000, .pids = 32};
	int fds[LAUNCH_CGROUPS_MAX];
	struct cgroup *c = NULL;
	uint64_t sum = 0;
	char path[128];
	struct fake f;
	size_t n = 0;

	fake_v1(&f);
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cr_assert_eq(cgroup_make(c, 9, &l, fds, &n, NULL), 0);
	close_all(fds, n);
	put(&f, "pids/tulou/9/cgroup.procs", "12\n123\n");
	cr_assert(cgroup_holds(c, 9, 123));
	cr_assert(cgroup_holds(c, 9, 12));
	cr_assert_not(cgroup_holds(c, 9, 1));
	cr_assert_not(cgroup_holds(c, 9, 23));
	cr_assert_not(cgroup_holds(c, 8, 12));
	cgroup_each(c, count_group, &sum);
	cr_assert_eq(sum, 27, "once per hierarchy: %lu", sum);
	/* Files in a plain directory stand for members. */
	cr_assert_eq(cgroup_remove(c, 9), -EBUSY);
	cr_assert_eq(cgroup_destroy(c), -ENOTEMPTY);
	static const char *const dirs[] = {"memory", "cpu,cpuacct", "pids"};
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		snprintf(path, sizeof path, "%s/%s/tulou/9", f.root, dirs[i]);
		cr_assert_eq(fd_remove_tree(AT_FDCWD, path), 0);
		cr_assert_eq(mkdir(path, 0755), 0);
	}
	cr_assert_eq(cgroup_remove(c, 9), 0);
	cr_assert_eq(cgroup_remove(c, 9), 0, "gone already");
	cr_assert_eq(cgroup_kill(c, 9), 0);
	cr_assert_eq(cgroup_destroy(c), 0);
	cgroup_free(c);
	fake_done(&f);
}

Test(supervise, cgroup_v1_missing_controller_is_named)
{
	struct cgroup *c = NULL;
	struct err e = {0};
	struct fake f;

	fake_init(&f);
	fake_mount(&f, "memory", "cgroup", "memory");
	fake_mount(&f, "cpu", "cgroup", "cpu");
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, &e), -ENOENT);
	cr_assert(strstr(e.text, "`pids`"), "%s", e.text);
	cr_assert_null(c);
	cr_assert_lt(cgroup_new("", "tulou", true, &c, &e), 0);
	cr_assert_lt(cgroup_new("rubbish\n1 2 3\n - - -\n", "tulou", true, &c, &e), 0);
	fake_done(&f);
}

static void fake_v2(struct fake *f)
{
	fake_init(f);
	fake_mount(f, "cgroup", "cgroup2", "nsdelegate,memory_recursiveprot");
	put(f, "cgroup/cgroup.controllers", "cpuset cpu io memory hugetlb pids rdma misc\n");
}

Test(supervise, cgroup_v2_sets_limits_and_samples)
{
	const struct quota_limits l = {.memory = 100 << 20, .cpu = 1500, .pids = 64};
	int fds[LAUNCH_CGROUPS_MAX];
	struct cgroup_sample s;
	struct cgroup *c = NULL;
	struct stat st;
	struct fake f;
	size_t n = 0;

	fake_v2(&f);
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cr_assert(cgroup_is_v2(c));
	expect(&f, "cgroup/cgroup.subtree_control", "+memory +cpu +pids");
	expect(&f, "cgroup/tulou/cgroup.subtree_control", "+memory +cpu +pids");
	cr_assert_eq(cgroup_make(c, 3, &l, fds, &n, NULL), 0);
	cr_assert_eq(n, 1);
	cr_assert(fstat(fds[0], &st) == 0 && S_ISDIR(st.st_mode));
	close_all(fds, n);
	expect(&f, "cgroup/tulou/3/memory.max", "104857600");
	expect(&f, "cgroup/tulou/3/memory.oom.group", "1");
	expect(&f, "cgroup/tulou/3/memory.swap.max", "0");
	expect(&f, "cgroup/tulou/3/cpu.max", "150000 100000");
	expect(&f, "cgroup/tulou/3/pids.max", "64");
	put(&f, "cgroup/tulou/3/memory.current", "5000\n");
	put(&f, "cgroup/tulou/3/memory.events", "low 0\nhigh 0\nmax 4\noom 1\noom_kill 2\noom_group_kill 1\n");
	put(&f, "cgroup/tulou/3/cpu.stat", "usage_usec 99\nuser_usec 1\nthrottled_usec 44\n");
	put(&f, "cgroup/tulou/3/pids.current", "2\n");
	cr_assert_eq(cgroup_sample(c, 3, &s), 0);
	cr_assert_eq(s.memory, 5000);
	cr_assert_eq(s.memory_peak, 5000, "a kernel without memory.peak");
	cr_assert_eq(s.oom_kills, 2);
	cr_assert_eq(s.cpu_us, 99);
	cr_assert_eq(s.throttled_us, 44);
	cr_assert_eq(s.pids, 2);
	put(&f, "cgroup/tulou/3/cgroup.procs", "999999999\n");
	cr_assert_eq(cgroup_kill(c, 3), 1);
	expect(&f, "cgroup/tulou/3/cgroup.kill", "1");
	cgroup_free(c);
	fake_done(&f);
}
