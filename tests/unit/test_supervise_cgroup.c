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
#include <sys/sysmacros.h>
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

static bool exists(const struct fake *f, const char *path)
{
	char full[256];

	snprintf(full, sizeof full, "%s/%s", f->root, path);
	return access(full, F_OK) == 0;
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
	fake_mount(f, "blkio", "cgroup", "blkio");
	fake_mount(f, "unified", "cgroup2", "nsdelegate");
	put(f, "unified/cgroup.controllers", "\n");
}

/* The test's tenant has slot 5. */
static void tenant(struct cgroup *c, const struct quota *q)
{
	cr_assert_geq(cgroup_tenant(c, 5, q, NULL), 0);
}

static void close_all(int *fds, size_t n)
{
	while (n > 0)
		close(fds[--n]);
}

Test(supervise, cgroup_v1_sets_limits_and_opens_tasks)
{
	const struct quota_limits l = {
		.memory = 64 << 20, .swap = 8 << 20, .cpu = 250, .cpu_burst = 1000, .cpu_weight = 50, .pids = 32};
	int fds[LAUNCH_CGROUPS_MAX];
	struct cgroup *c = NULL;
	struct fake f;
	size_t n = 0;

	fake_v1(&f);
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cr_assert_str_eq(cgroup_version(c), "v1");
	tenant(c, &quota_default);
	cr_assert_eq(cgroup_make(c, 5, 42, &l, fds, &n, NULL), 0);
	cr_assert_eq(n, 4, "cpu and cpuacct are mounted together: %zu", n);
	expect(&f, "memory/tulou/t5/42/memory.limit_in_bytes", "67108864");
	expect(&f, "memory/tulou/t5/42/memory.memsw.limit_in_bytes", "75759616");
	expect(&f, "cpu,cpuacct/tulou/t5/42/cpu.cfs_burst_us", "25000"); /* never above the quota */
	expect(&f, "cpu,cpuacct/tulou/t5/42/cpu.shares", "512");
	expect(&f, "cpu,cpuacct/tulou/cpu.shares", "512");
	expect(&f, "cpu,cpuacct/tulou/t5/42/cpu.cfs_quota_us", "25000");
	expect(&f, "pids/tulou/t5/42/pids.max", "32");
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(write(fds[i], "0", 1), 1);
	expect(&f, "memory/tulou/t5/42/tasks", "0");
	expect(&f, "blkio/tulou/t5/tasks", "0"); /* not hierarchical: the tenant's own */
	expect(&f, "memory/tulou/t5/memory.limit_in_bytes", "4294967296");
	expect(&f, "cpu,cpuacct/tulou/t5/cpu.cfs_quota_us", "400000");
	expect(&f, "pids/tulou/t5/pids.max", "4096");
	close_all(fds, n);
	cgroup_free(c);
	fake_done(&f);
}

Test(supervise, cgroup_v1_confines_a_tenant_to_all_but_the_first_cpus)
{
	const struct quota_limits l = {.memory = 64 << 20, .cpu = 1000, .pids = 32};
	int fds[LAUNCH_CGROUPS_MAX];
	struct cgroup *c = NULL;
	struct fake f;
	size_t n = 0;

	fake_v1(&f);
	fake_mount(&f, "cpuset", "cgroup", "cpuset");
	put(&f, "cpuset/cpuset.cpus", "0-3,8-10,20\n");
	put(&f, "cpuset/cpuset.mems", "0-1\n");
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	expect(&f, "cpuset/tulou/cpuset.cpus", "0-3,8-10,20\n");
	expect(&f, "cpuset/tulou/cpuset.mems", "0-1\n");
	tenant(c, &quota_default);
	expect(&f, "cpuset/tulou/t5/cpuset.sched_load_balance", "0");
	expect(&f, "cpuset/tulou/t5/cpuset.mems", "0-1\n");
	expect(&f, "cpuset/tulou/t5/cpuset.cpus", "0-3,8-10,20");
	cr_assert_eq(cgroup_make(c, 5, 42, &l, fds, &n, NULL), 0);
	cr_assert_eq(n, 5);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(write(fds[i], "0", 1), 1);
	expect(&f, "cpuset/tulou/t5/tasks", "0");
	cr_assert_eq(cgroup_confine(c, 5, true), 0);
	expect(&f, "cpuset/tulou/t5/cpuset.cpus", "1-3,8-10,20");
	cr_assert_eq(cgroup_confine(c, 5, false), 0);
	expect(&f, "cpuset/tulou/t5/cpuset.cpus", "0-3,8-10,20");
	cr_assert_eq(cgroup_confine(c, 6, false), 0, "of an earlier version: it has no group yet");
	cr_assert(exists(&f, "cpuset/tulou/t6"));
	put(&f, "cpu,cpuacct/tulou/t5/cpuacct.usage_sys", "7000000\n");
	cr_assert_eq(cgroup_system_us(c, 5), 7000);
	close_all(fds, n);
	cgroup_free(c);
	fake_done(&f);
}

Test(supervise, cgroup_v1_does_without_a_cpuset_of_one_cpu)
{
	const struct quota_limits l = {.memory = 64 << 20, .cpu = 1000, .pids = 32};
	int fds[LAUNCH_CGROUPS_MAX];
	struct cgroup *c = NULL;
	struct fake f;
	size_t n = 0;

	fake_init(&f);
	fake_mount(&f, "cpuset", "cgroup", "cpuset"); /* found first: the last takes its place */
	fake_mount(&f, "memory", "cgroup", "memory");
	fake_mount(&f, "cpu", "cgroup", "cpu");
	fake_mount(&f, "pids", "cgroup", "pids");
	put(&f, "cpuset/cpuset.cpus", "3\n");
	put(&f, "cpuset/cpuset.mems", "0\n");
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cr_assert_not(cgroup_can_confine(c));
	cr_assert_eq(cgroup_confine(c, 5, true), -EOPNOTSUPP);
	tenant(c, &quota_default);
	cr_assert_eq(cgroup_make(c, 5, 42, &l, fds, &n, NULL), 0);
	cr_assert_eq(n, 3);
	expect(&f, "pids/tulou/t5/42/pids.max", "32");
	expect(&f, "memory/tulou/t5/42/memory.limit_in_bytes", "67108864");
	close_all(fds, n);
	cgroup_free(c);
	fake_done(&f);
}

Test(supervise, cgroup_v1_samples)
{
	const struct quota_limits l = {.memory = 64 << 20, .cpu = 1000, .pids = 32};
	int fds[LAUNCH_CGROUPS_MAX];
	struct cgroup_watch w = {.cpu = -1};
	struct cgroup_sample s;
	struct cgroup *c = NULL;
	struct fake f;
	size_t n = 0;

	fake_v1(&f);
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cr_assert_eq(cgroup_sample(c, 5, 7, &s), -ENOENT);
	tenant(c, &quota_default);
	cr_assert_eq(cgroup_make(c, 5, 7, &l, fds, &n, NULL), 0);
	close_all(fds, n);
	put(&f, "memory/tulou/t5/7/memory.usage_in_bytes", "4096\n");
	put(&f, "memory/tulou/t5/7/memory.max_usage_in_bytes", "8192\n");
	put(&f, "memory/tulou/t5/7/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
	put(&f, "cpu,cpuacct/tulou/t5/7/cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 7000000\n");
	put(&f, "cpu,cpuacct/tulou/t5/7/cpuacct.usage", "1234567\n");
	put(&f, "pids/tulou/t5/7/pids.current", "5\n");
	put(&f, "pids/tulou/t5/7/pids.events", "max 11\n");
	cr_assert_eq(cgroup_sample(c, 5, 7, &s), 0);
	cr_assert_eq(s.memory, 4096);
	cr_assert_eq(s.memory_peak, 8192);
	cr_assert_eq(s.oom_kills, 3);
	cr_assert_eq(s.throttled_us, 7000);
	cr_assert_eq(s.cpu_us, 1234);
	cr_assert_eq(s.pids, 5);
	cr_assert_eq(s.pids_hits, 11);
	cr_assert_eq(s.periods, 5);
	cr_assert_eq(s.throttled, 2);
	cr_assert(s.above, "killed, but never at its own limit");
	cr_assert_eq(cgroup_watch(c, 5, 7, &w), 0);
	cr_assert_eq(w.last.pids_hits, 11);
	put(&f, "memory/tulou/t5/7/memory.failcnt", "4\n");
	put(&f, "pids/tulou/t5/7/pids.events", "max 12\n");
	put(&f, "memory/tulou/t5/7/memory.usage_in_bytes", "5000\n");
	/* It has not run: only its memory is read, now and then. */
	for (int i = 0; i < 4; i++)
		cr_assert_eq(cgroup_watch(c, 5, 7, &w), 1);
	cr_assert_eq(w.last.memory, 5000);
	cr_assert_eq(w.last.memory_hits, 0);
	/* It has: the rest in turns. */
	put(&f, "cpu,cpuacct/tulou/t5/7/cpuacct.usage", "2234567\n");
	cr_assert_eq(cgroup_watch(c, 5, 7, &w), 0);
	put(&f, "cpu,cpuacct/tulou/t5/7/cpuacct.usage", "3234567\n");
	cr_assert_eq(cgroup_watch(c, 5, 7, &w), 0);
	cr_assert_eq(w.last.cpu_us, 3234);
	cr_assert_eq(w.last.memory_hits, 4);
	cr_assert_eq(w.last.pids_hits, 12);
	cr_assert_not(w.last.above);
	cgroup_unwatch(&w);
	/* Without swap the limit of both together is met first. */
	put(&f, "memory/tulou/t5/7/memory.failcnt", "0\n");
	put(&f, "memory/tulou/t5/7/memory.memsw.failcnt", "2\n");
	cr_assert_eq(cgroup_sample(c, 5, 7, &s), 0);
	cr_assert_eq(s.memory_hits, 2);
	cr_assert_not(s.above, "its own limit, not its tenant's");
	/* A refused fork counts where it was asked for: the peaks say which level was full. */
	put(&f, "pids/tulou/t5/7/pids.peak", "32\n");
	put(&f, "pids/tulou/t5/pids.peak", "61\n");
	cr_assert(cgroup_pids_full(c, 5, 7));
	cr_assert_not(cgroup_pids_full(c, 5, CGROUP_TENANT));
	put(&f, "pids/tulou/t5/pids.peak", "4096\n");
	cr_assert(cgroup_pids_full(c, 5, CGROUP_TENANT));
	put(&f, "pids/tulou/t5/7/pids.peak", "");
	cr_assert_not(cgroup_pids_full(c, 5, 7), "5 of 32 now, and no peak is kept");
	put(&f, "pids/tulou/t5/7/pids.current", "31\n");
	cr_assert(cgroup_pids_full(c, 5, 7));
	put(&f, "blkio/tulou/t5/blkio.throttle.io_service_bytes",
	    "7:0 Read 10\n7:0 Write 20\n7:0 Sync 20\n7:0 Total 30\n8:0 Read 1\n8:0 Write 2\nTotal 33\n");
	cr_assert_eq(cgroup_sample(c, 5, CGROUP_TENANT, &s), 0);
	cr_assert_eq(s.io_read, 11);
	cr_assert_eq(s.io_write, 22);
	cgroup_free(c);
	fake_done(&f);
}

/* Removes the control files of the tenant's groups, which stand for members in a plain directory. */
static void tenant_rmdir(const struct fake *f)
{
	static const char *const dirs[] = {"memory", "cpu,cpuacct", "pids", "blkio"};
	char path[128];

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		snprintf(path, sizeof path, "%s/%s/tulou/t5", f->root, dirs[i]);
		cr_assert_eq(fd_remove_tree(AT_FDCWD, path), 0);
		cr_assert_eq(mkdir(path, 0755), 0);
	}
}

static void root_rmdir(const struct fake *f)
{
	char path[128];

	snprintf(path, sizeof path, "%s/cpu,cpuacct/tulou/cpu.shares", f->root);
	cr_assert_eq(unlink(path), 0);
}

static void count_group(void *arg, uint32_t slot, uint64_t id)
{
	*(uint64_t *)arg += id;
	cr_assert_eq(slot, 5);
}

static void count_member(void *arg, pid_t pid)
{
	*(int *)arg += pid;
}

Test(supervise, cgroup_members_removal_and_listing)
{
	const struct quota_limits l = {.memory = 64 << 20, .cpu = 1000, .pids = 32};
	int fds[LAUNCH_CGROUPS_MAX];
	struct cgroup *c = NULL;
	uint64_t sum = 0;
	int members = 0;
	char path[128];
	struct fake f;
	size_t n = 0;

	fake_v1(&f);
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	tenant(c, &quota_default);
	cr_assert_eq(cgroup_make(c, 5, 9, &l, fds, &n, NULL), 0);
	close_all(fds, n);
	put(&f, "pids/tulou/t5/9/cgroup.procs", "12\n123\n");
	cr_assert(cgroup_holds(c, 5, 9, 123));
	cr_assert(cgroup_holds(c, 5, 9, 12));
	cr_assert_not(cgroup_holds(c, 5, 9, 1));
	cr_assert_not(cgroup_holds(c, 5, 9, 23));
	cr_assert_not(cgroup_holds(c, 5, 8, 12));
	cgroup_each(c, count_group, &sum);
	cr_assert_eq(sum, 27, "once per hierarchy: %lu", sum);
	/* Files in a plain directory stand for members. */
	cr_assert_eq(cgroup_members(c, 5, 9, count_member, &members), 2);
	cr_assert_eq(members, 135);
	cr_assert_eq(cgroup_remove(c, 5, 9), -EBUSY);
	cr_assert_eq(cgroup_tenant_remove(c, 5), -EBUSY);
	cr_assert_eq(cgroup_destroy(c), -ENOTEMPTY);
	static const char *const dirs[] = {"memory", "cpu,cpuacct", "pids"};
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		snprintf(path, sizeof path, "%s/%s/tulou/t5/9", f.root, dirs[i]);
		cr_assert_eq(fd_remove_tree(AT_FDCWD, path), 0);
		cr_assert_eq(mkdir(path, 0755), 0);
	}
	cr_assert_eq(cgroup_remove(c, 5, 9), 0);
	cr_assert_eq(cgroup_remove(c, 5, 9), 0, "gone already");
	cr_assert_eq(cgroup_kill(c, 5, 9), 0);
	tenant_rmdir(&f);
	cr_assert_eq(cgroup_tenant_remove(c, 5), 0);
	cr_assert_not(cgroup_tenant_there(c, 5));
	root_rmdir(&f);
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

Test(supervise, cgroup_v2_confines_a_tenant_to_all_but_the_first_cpus)
{
	struct cgroup *c = NULL;
	char path[128];
	struct fake f;

	fake_v2(&f);
	snprintf(path, sizeof path, "%s/cgroup/tulou", f.root);
	cr_assert_eq(mkdir(path, 0755), 0);
	put(&f, "cgroup/tulou/cpuset.cpus.effective", "0-15\n");
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cr_assert(cgroup_can_confine(c));
	tenant(c, &quota_default);
	cr_assert_eq(cgroup_confine(c, 5, true), 0);
	expect(&f, "cgroup/tulou/t5/cpuset.cpus", "2-15");
	cr_assert_eq(cgroup_confine(c, 5, false), 0);
	expect(&f, "cgroup/tulou/t5/cpuset.cpus", "\n");
	put(&f, "cgroup/tulou/t5/cpu.stat", "usage_usec 9\nuser_usec 2\nsystem_usec 7\n");
	cr_assert_eq(cgroup_system_us(c, 5), 7);
	cgroup_free(c);
	fake_done(&f);
}

Test(supervise, cgroup_v2_sets_limits_and_samples)
{
	const struct quota_limits l = {
		.memory = 100 << 20, .cpu = 1500, .cpu_burst = 500, .cpu_weight = 200, .io_weight = 10, .pids = 64};
	int fds[LAUNCH_CGROUPS_MAX];
	struct cgroup_sample s;
	struct cgroup *c = NULL;
	struct stat st;
	struct fake f;
	size_t n = 0;

	fake_v2(&f);
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cr_assert(cgroup_is_v2(c));
	expect(&f, "cgroup/cgroup.subtree_control", "+memory +cpu +pids +io +cpuset");
	expect(&f, "cgroup/tulou/cgroup.subtree_control", "+memory +cpu +pids +io");
	expect(&f, "cgroup/tulou/cpu.weight", "50");
	tenant(c, &quota_default);
	cr_assert_eq(cgroup_make(c, 5, 3, &l, fds, &n, NULL), 0);
	cr_assert_eq(n, 1);
	cr_assert(fstat(fds[0], &st) == 0 && S_ISDIR(st.st_mode));
	close_all(fds, n);
	expect(&f, "cgroup/tulou/t5/3/memory.max", "104857600");
	expect(&f, "cgroup/tulou/t5/3/memory.oom.group", "1");
	expect(&f, "cgroup/tulou/t5/3/memory.swap.max", "0");
	expect(&f, "cgroup/tulou/t5/3/cpu.max", "150000 100000");
	expect(&f, "cgroup/tulou/t5/3/cpu.max.burst", "50000");
	expect(&f, "cgroup/tulou/t5/3/cpu.weight", "200");
	expect(&f, "cgroup/tulou/t5/3/io.weight", "10");
	expect(&f, "cgroup/tulou/t5/3/pids.max", "64");
	expect(&f, "cgroup/tulou/t5/cgroup.subtree_control", "+memory +cpu +pids +io");
	expect(&f, "cgroup/tulou/t5/memory.max", "4294967296");
	expect(&f, "cgroup/tulou/t5/cpu.max", "400000 100000");
	expect(&f, "cgroup/tulou/t5/pids.max", "4096");
	cr_assert_not(exists(&f, "cgroup/tulou/t5/memory.oom.group"), "one instance dies, not all of them");
	put(&f, "cgroup/tulou/t5/3/memory.current", "5000\n");
	put(&f, "cgroup/tulou/t5/3/memory.events", "low 0\nhigh 0\nmax 4\noom 1\noom_kill 2\noom_group_kill 1\n");
	put(&f, "cgroup/tulou/t5/3/cpu.stat",
	    "usage_usec 99\nuser_usec 1\nnr_periods 9\nnr_throttled 3\nthrottled_usec 44\n");
	put(&f, "cgroup/tulou/t5/3/pids.current", "2\n");
	put(&f, "cgroup/tulou/t5/3/pids.events", "max 6\n");
	put(&f, "cgroup/tulou/t5/3/io.stat",
	    "8:0 rbytes=100 wbytes=200 rios=1 wios=2 dbytes=0 dios=0\n7:1 rbytes=1 wbytes=2\n");
	cr_assert_eq(cgroup_sample(c, 5, 3, &s), 0);
	cr_assert_eq(s.memory, 5000);
	cr_assert_eq(s.memory_peak, 5000, "a kernel without memory.peak");
	cr_assert_eq(s.oom_kills, 2);
	cr_assert_eq(s.cpu_us, 99);
	cr_assert_eq(s.throttled_us, 44);
	cr_assert_eq(s.pids, 2);
	cr_assert_eq(s.pids_hits, 6);
	cr_assert_eq(s.memory_hits, 4);
	cr_assert_eq(s.periods, 9);
	cr_assert_eq(s.throttled, 3);
	cr_assert_eq(s.io_read, 101);
	cr_assert_eq(s.io_write, 202);
	cr_assert_not(s.above);
	put(&f, "cgroup/tulou/t5/3/memory.events", "max 0\noom 0\noom_kill 2\n");
	cr_assert_eq(cgroup_sample(c, 5, 3, &s), 0);
	cr_assert(s.above);
	/* The tenant's level counts what is below it too: only the local counts are its own. */
	put(&f, "cgroup/tulou/t5/memory.events", "max 9\noom 3\noom_kill 3\n");
	put(&f, "cgroup/tulou/t5/memory.events.local", "max 0\noom 0\noom_kill 0\n");
	put(&f, "cgroup/tulou/t5/pids.events", "max 7\n");
	put(&f, "cgroup/tulou/t5/pids.events.local", "max 0\n");
	cr_assert_eq(cgroup_sample(c, 5, CGROUP_TENANT, &s), 0);
	cr_assert_eq(s.oom_kills + s.pids_hits + s.memory_hits, 0, "instances at their own limits");
	put(&f, "cgroup/tulou/t5/memory.events.local", "max 4\noom 1\noom_kill 0\n");
	put(&f, "cgroup/tulou/t5/pids.events.local", "max 2\n");
	cr_assert_eq(cgroup_sample(c, 5, CGROUP_TENANT, &s), 0);
	cr_assert_eq(s.oom_kills, 1);
	cr_assert_eq(s.pids_hits, 2);
	put(&f, "cgroup/tulou/t5/3/cgroup.procs", "999999999\n");
	cr_assert_eq(cgroup_kill(c, 5, 3), 1);
	expect(&f, "cgroup/tulou/t5/3/cgroup.kill", "1");
	cgroup_free(c);
	fake_done(&f);
}

static struct cgroup *with_instance(struct fake *f, bool v2)
{
	int fds[LAUNCH_CGROUPS_MAX];
	struct cgroup *c = NULL;
	size_t n = 0;

	if (v2)
		fake_v2(f);
	else
		fake_v1(f);
	cr_assert_eq(cgroup_new(f->mountinfo, "tulou", true, &c, NULL), 0);
	tenant(c, &quota_default);
	cr_assert_eq(cgroup_make(c, 5, 8, &quota_app_default, fds, &n, NULL), 0);
	close_all(fds, n);
	return c;
}

Test(supervise, cgroup_v1_changes_live)
{
	struct quota_limits l = quota_app_default;
	struct quota q = quota_default;
	struct fake f;
	struct cgroup *c = with_instance(&f, false);

	l.cpu = 500;
	l.cpu_burst = 100;
	l.cpu_weight = 1;
	l.pids = 99;
	l.memory = 32 << 20;
	cr_assert_eq(cgroup_change(c, 5, 8, &l, NULL), 0);
	expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.cfs_quota_us", "50000");
	expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.cfs_burst_us", "10000");
	expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.shares", "10");
	expect(&f, "pids/tulou/t5/8/pids.max", "99");
	expect(&f, "memory/tulou/t5/8/memory.limit_in_bytes", "268435456"); /* only cgroup_memory() touches it */
	/* In steps while more is in use. */
	put(&f, "memory/tulou/t5/8/memory.usage_in_bytes", "67108864\n");
	cr_assert_eq(cgroup_memory(c, 5, 8, l.memory, l.swap), -EAGAIN);
	expect(&f, "memory/tulou/t5/8/memory.limit_in_bytes", "50331648");
	put(&f, "memory/tulou/t5/8/memory.usage_in_bytes", "33554432\n");
	cr_assert_eq(cgroup_memory(c, 5, 8, l.memory, l.swap), 0);
	expect(&f, "memory/tulou/t5/8/memory.limit_in_bytes", "33554432");
	expect(&f, "memory/tulou/t5/8/memory.memsw.limit_in_bytes", "33816576");
	cr_assert_eq(cgroup_weight(c, 5, 8, CGROUP_WEIGHT_IDLE), 0);
	expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.idle", "1");
	expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.shares", "10"); /* the kernel refuses shares there */
	cr_assert_eq(cgroup_weight(c, 5, 8, 300), 0);
	expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.idle", "0");
	expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.shares", "3072");
	cr_assert_eq(cgroup_cpu(c, 5, 8, 250, 0, 10000), 0);
	expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.cfs_quota_us", "25000");
	expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.cfs_burst_us", "0");
	expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.shares", "102400");
	q.cpu = 100;
	q.pids = 77;
	cr_assert_eq(cgroup_tenant(c, 5, &q, NULL), 1, "it was there");
	expect(&f, "cpu,cpuacct/tulou/t5/cpu.cfs_quota_us", "10000");
	expect(&f, "cpu,cpuacct/tulou/t5/cpu.cfs_burst_us", "10000");
	expect(&f, "pids/tulou/t5/pids.max", "77");
	cgroup_free(c);
	fake_done(&f);
}

Test(supervise, cgroup_v2_changes_live)
{
	struct quota_limits l = quota_app_default;
	struct fake f;
	struct cgroup *c = with_instance(&f, true);

	l.cpu = 500;
	l.pids = 99;
	l.memory = 32 << 20;
	l.swap = 1 << 20;
	cr_assert_eq(cgroup_change(c, 5, 8, &l, NULL), 0);
	expect(&f, "cgroup/tulou/t5/8/cpu.max", "50000 100000");
	expect(&f, "cgroup/tulou/t5/8/cpu.max.burst", "50000");
	expect(&f, "cgroup/tulou/t5/8/pids.max", "99");
	expect(&f, "cgroup/tulou/t5/8/memory.max", "268435456");
	/* memory.max is not lowered below what is in use, which would kill: it is asked back first. */
	put(&f, "cgroup/tulou/t5/8/memory.current", "67108864\n");
	cr_assert_eq(cgroup_memory(c, 5, 8, l.memory, l.swap), -EBUSY, "nothing moves in a plain directory");
	expect(&f, "cgroup/tulou/t5/8/memory.reclaim", "16777216");
	expect(&f, "cgroup/tulou/t5/8/memory.max", "268435456");
	put(&f, "cgroup/tulou/t5/8/memory.current", "4096\n");
	cr_assert_eq(cgroup_memory(c, 5, 8, l.memory, l.swap), 0);
	expect(&f, "cgroup/tulou/t5/8/memory.max", "33554432");
	expect(&f, "cgroup/tulou/t5/8/memory.swap.max", "1048576");
	cgroup_free(c);
	fake_done(&f);
}

Test(supervise, cgroup_io_rates_on_the_disk_below)
{
	char expected[64];
	struct stat st;
	struct quota q = quota_default;
	struct fake f;
	struct cgroup *c = NULL;
	int n;

	fake_v2(&f);
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cr_assert(cgroup_has_io(c));
	n = cgroup_io_path(c, "/var");
	if (n == 0) {
		cgroup_free(c);
		fake_done(&f);
		cr_skip_test("/var lies on no disk here");
	}
	cr_assert_eq(cgroup_io_path(c, "/var"), n, "once each");
	q.io_read = 1000;
	q.io_write = 0;
	tenant(c, &q);
	/* The last disk's line stays in a plain file; "none" is max. */
	if (n == 1 && stat("/var", &st) == 0 && major(st.st_dev) && minor(st.st_dev) == 0) {
		snprintf(expected, sizeof expected, "%u:%u rbps=1000 wbps=max", major(st.st_dev), minor(st.st_dev));
		expect(&f, "cgroup/tulou/t5/io.max", expected);
	}
	cgroup_free(c);
	fake_done(&f);
	/* v1: the tenant's alone. */
	c = with_instance(&f, false);
	cgroup_io_path(c, "/var");
	q.io_read = 5000;
	tenant(c, &q);
	cr_assert(exists(&f, "blkio/tulou/t5/blkio.throttle.read_bps_device"));
	cr_assert_not(exists(&f, "blkio/tulou/t5/8"));
	cgroup_free(c);
	fake_done(&f);
}

Test(supervise, cgroup_write_rate_is_the_root_groups_on_v1)
{
	struct fake f;
	struct cgroup *c = with_instance(&f, false);

	put(&f, "blkio/blkio.throttle.write_bps_device", "");
	cr_assert_eq(cgroup_write_rate(c, 8, 16, 67108864), 0);
	expect(&f, "blkio/blkio.throttle.write_bps_device", "8:16 67108864");
	/* What a node that was killed left on a loop device that holds nothing: each rule is one write, so in this
	 * plain file they lie over each other. */
	put(&f, "blkio/blkio.throttle.write_bps_device", "7:1048575 1000\n");
	cr_assert_eq(cgroup_write_rate(c, 8, 16, 0), 0);
	expect(&f, "blkio/blkio.throttle.write_bps_device", "8:16 0575 0000\n");
	cgroup_free(c);
	fake_done(&f);
	c = with_instance(&f, true);
	cr_assert_eq(cgroup_write_rate(c, 8, 16, 1), -EOPNOTSUPP);
	cgroup_free(c);
	fake_done(&f);
}

Test(supervise, cgroup_of_the_flat_layout_is_found_and_removed)
{
	struct fake f;
	struct cgroup *c = with_instance(&f, true);
	char path[128];

	snprintf(path, sizeof path, "%s/cgroup/tulou/77", f.root);
	cr_assert_eq(mkdir(path, 0755), 0);
	put(&f, "cgroup/tulou/77/cgroup.procs", "12\n");
	cr_assert_eq(cgroup_find(c, 5, 8), 5);
	cr_assert_eq(cgroup_find(c, 5, 99), 5, "neither: where it would be");
	cr_assert_eq(cgroup_find(c, 5, 77), CGROUP_FLAT);
	cr_assert(cgroup_holds(c, CGROUP_FLAT, 77, 12));
	cr_assert_not(cgroup_holds(c, 5, 77, 12));
	cr_assert_eq(cgroup_remove(c, CGROUP_FLAT, 77), -EBUSY);
	cr_assert_eq(fd_remove_tree(AT_FDCWD, path), 0);
	cr_assert_eq(mkdir(path, 0755), 0);
	cr_assert_eq(cgroup_remove(c, CGROUP_FLAT, 77), 0);
	cr_assert_not(exists(&f, "cgroup/tulou/77"));
	cgroup_free(c);
	fake_done(&f);
}

Test(supervise, cgroup_without_io_goes_on)
{
	struct cgroup *c = NULL;
	struct fake f;

	fake_init(&f);
	fake_mount(&f, "all", "cgroup", "memory,cpu,cpuacct,pids,blkio");
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cr_assert_not(cgroup_has_io(c), "instances cannot join the tenant's blkio group alone");
	cr_assert_eq(cgroup_io_path(c, "/var"), 0);
	tenant(c, &quota_default);
	cgroup_free(c);
	fake_done(&f);
}
