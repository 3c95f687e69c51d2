/* cgroups on plain directories: v1's hierarchies, and what both versions share.  v2 and CPU sets have files of their
 * own. */
#include "agent/sandbox/launch.h"
#include "base/fd.h"
#include "base/own.h"
#include "tests/unit/cgtree.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

Test(supervise, cgroup_v1_sets_limits_and_opens_tasks)
{
	const struct quota_limits l = {
		.memory = 64 << 20, .swap = 8 << 20, .cpu = 250, .cpu_burst = 1000, .cpu_weight = 50, .pids = 32};
	int fds[LAUNCH_CGROUPS_MAX];
	struct cgroup *c = NULL;
	struct cgtree f;
	size_t n = 0;

	cgtree_v1(&f);
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cr_assert_str_eq(cgroup_version(c), "v1");
	cgtree_tenant(c, &quota_default);
	cr_assert_eq(cgroup_make(c, 5, 42, &l, fds, &n, NULL), 0);
	cr_assert_eq(n, 4, "cpu and cpuacct are mounted together: %zu", n);
	cgtree_expect(&f, "memory/tulou/t5/42/memory.limit_in_bytes", "67108864");
	cgtree_expect(&f, "memory/tulou/t5/42/memory.memsw.limit_in_bytes", "75759616");
	cgtree_expect(&f, "cpu,cpuacct/tulou/t5/42/cpu.cfs_burst_us", "25000"); /* never above the quota */
	cgtree_expect(&f, "cpu,cpuacct/tulou/t5/42/cpu.shares", "512");
	cgtree_expect(&f, "cpu,cpuacct/tulou/cpu.shares", "512");
	cgtree_expect(&f, "cpu,cpuacct/tulou/t5/42/cpu.cfs_quota_us", "25000");
	cgtree_expect(&f, "pids/tulou/t5/42/pids.max", "32");
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(write(fds[i], "0", 1), 1);
	cgtree_expect(&f, "memory/tulou/t5/42/tasks", "0");
	cgtree_expect(&f, "blkio/tulou/t5/tasks", "0"); /* not hierarchical: the tenant's own */
	cgtree_expect(&f, "memory/tulou/t5/memory.limit_in_bytes", "4294967296");
	cgtree_expect(&f, "cpu,cpuacct/tulou/t5/cpu.cfs_quota_us", "400000");
	cgtree_expect(&f, "pids/tulou/t5/pids.max", "4096");
	cgtree_close(fds, n);
	cgroup_free(c);
	cgtree_done(&f);
}

Test(supervise, cgroup_v1_samples)
{
	const struct quota_limits l = {.memory = 64 << 20, .cpu = 1000, .pids = 32};
	int fds[LAUNCH_CGROUPS_MAX];
	struct cgroup_watch w = {.cpu = -1};
	struct cgroup_sample s;
	struct cgroup *c = NULL;
	struct cgtree f;
	size_t n = 0;

	cgtree_v1(&f);
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cr_assert_eq(cgroup_sample(c, 5, 7, &s), -ENOENT);
	cgtree_tenant(c, &quota_default);
	cr_assert_eq(cgroup_make(c, 5, 7, &l, fds, &n, NULL), 0);
	cgtree_close(fds, n);
	cgtree_put(&f, "memory/tulou/t5/7/memory.usage_in_bytes", "4096\n");
	cgtree_put(&f, "memory/tulou/t5/7/memory.max_usage_in_bytes", "8192\n");
	cgtree_put(&f, "memory/tulou/t5/7/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
	cgtree_put(&f, "cpu,cpuacct/tulou/t5/7/cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 7000000\n");
	cgtree_put(&f, "cpu,cpuacct/tulou/t5/7/cpuacct.usage", "1234567\n");
	cgtree_put(&f, "pids/tulou/t5/7/pids.current", "5\n");
	cgtree_put(&f, "pids/tulou/t5/7/pids.events", "max 11\n");
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
	cgtree_put(&f, "memory/tulou/t5/7/memory.failcnt", "4\n");
	cgtree_put(&f, "pids/tulou/t5/7/pids.events", "max 12\n");
	cgtree_put(&f, "memory/tulou/t5/7/memory.usage_in_bytes", "5000\n");
	/* It has not run: only its memory is read, now and then. */
	for (int i = 0; i < 4; i++)
		cr_assert_eq(cgroup_watch(c, 5, 7, &w), 1);
	cr_assert_eq(w.last.memory, 5000);
	cr_assert_eq(w.last.memory_hits, 0);
	/* It has: the rest in turns. */
	cgtree_put(&f, "cpu,cpuacct/tulou/t5/7/cpuacct.usage", "2234567\n");
	cr_assert_eq(cgroup_watch(c, 5, 7, &w), 0);
	cgtree_put(&f, "cpu,cpuacct/tulou/t5/7/cpuacct.usage", "3234567\n");
	cr_assert_eq(cgroup_watch(c, 5, 7, &w), 0);
	cr_assert_eq(w.last.cpu_us, 3234);
	cr_assert_eq(w.last.memory_hits, 4);
	cr_assert_eq(w.last.pids_hits, 12);
	cr_assert_not(w.last.above);
	cgroup_unwatch(&w);
	/* Without swap the limit of both together is met first. */
	cgtree_put(&f, "memory/tulou/t5/7/memory.failcnt", "0\n");
	cgtree_put(&f, "memory/tulou/t5/7/memory.memsw.failcnt", "2\n");
	cr_assert_eq(cgroup_sample(c, 5, 7, &s), 0);
	cr_assert_eq(s.memory_hits, 2);
	cr_assert_not(s.above, "its own limit, not its tenant's");
	/* A refused fork counts where it was asked for: the peaks say which level was full. */
	cgtree_put(&f, "pids/tulou/t5/7/pids.peak", "32\n");
	cgtree_put(&f, "pids/tulou/t5/pids.peak", "61\n");
	cr_assert(cgroup_pids_full(c, 5, 7));
	cr_assert_not(cgroup_pids_full(c, 5, CGROUP_TENANT));
	cgtree_put(&f, "pids/tulou/t5/pids.peak", "4096\n");
	cr_assert(cgroup_pids_full(c, 5, CGROUP_TENANT));
	cgtree_put(&f, "pids/tulou/t5/7/pids.peak", "");
	cr_assert_not(cgroup_pids_full(c, 5, 7), "5 of 32 now, and no peak is kept");
	cgtree_put(&f, "pids/tulou/t5/7/pids.current", "31\n");
	cr_assert(cgroup_pids_full(c, 5, 7));
	cgtree_put(&f, "blkio/tulou/t5/blkio.throttle.io_service_bytes",
		   "7:0 Read 10\n7:0 Write 20\n7:0 Sync 20\n7:0 Total 30\n8:0 Read 1\n8:0 Write 2\nTotal 33\n");
	cr_assert_eq(cgroup_sample(c, 5, CGROUP_TENANT, &s), 0);
	cr_assert_eq(s.io_read, 11);
	cr_assert_eq(s.io_write, 22);
	cgroup_free(c);
	cgtree_done(&f);
}

/* Removes the control files of the tenant's groups, which stand for members in a plain directory. */
static void tenant_rmdir(const struct cgtree *f)
{
	static const char *const dirs[] = {"memory", "cpu,cpuacct", "pids", "blkio"};
	char path[128];

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		snprintf(path, sizeof path, "%s/%s/tulou/t5", f->root, dirs[i]);
		cr_assert_eq(fd_remove_tree(AT_FDCWD, path), 0);
		cr_assert_eq(mkdir(path, 0755), 0);
	}
}

static void root_rmdir(const struct cgtree *f)
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
	struct cgtree f;
	size_t n = 0;

	cgtree_v1(&f);
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cgtree_tenant(c, &quota_default);
	cr_assert_eq(cgroup_make(c, 5, 9, &l, fds, &n, NULL), 0);
	cgtree_close(fds, n);
	cgtree_put(&f, "pids/tulou/t5/9/cgroup.procs", "12\n123\n");
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
	cgtree_done(&f);
}

Test(supervise, cgroup_v1_missing_controller_is_named)
{
	struct cgroup *c = NULL;
	struct err e = {0};
	struct cgtree f;

	cgtree_init(&f);
	cgtree_mount(&f, "memory", "cgroup", "memory");
	cgtree_mount(&f, "cpu", "cgroup", "cpu");
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, &e), -ENOENT);
	cr_assert(strstr(e.text, "`pids`"), "%s", e.text);
	cr_assert_null(c);
	cr_assert_lt(cgroup_new("", "tulou", true, &c, &e), 0);
	cr_assert_lt(cgroup_new("rubbish\n1 2 3\n - - -\n", "tulou", true, &c, &e), 0);
	cgtree_done(&f);
}

Test(supervise, cgroup_v1_changes_live)
{
	struct quota_limits l = quota_app_default;
	struct quota q = quota_default;
	struct cgtree f;
	struct cgroup *c = cgtree_instance(&f, false);

	l.cpu = 500;
	l.cpu_burst = 100;
	l.cpu_weight = 1;
	l.pids = 99;
	l.memory = 32 << 20;
	cr_assert_eq(cgroup_change(c, 5, 8, &l, NULL), 0);
	cgtree_expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.cfs_quota_us", "50000");
	cgtree_expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.cfs_burst_us", "10000");
	cgtree_expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.shares", "10");
	cgtree_expect(&f, "pids/tulou/t5/8/pids.max", "99");
	cgtree_expect(&f, "memory/tulou/t5/8/memory.limit_in_bytes", "268435456"); /* only cgroup_memory() touches it */
	/* In steps while more is in use. */
	cgtree_put(&f, "memory/tulou/t5/8/memory.usage_in_bytes", "67108864\n");
	cr_assert_eq(cgroup_memory(c, 5, 8, l.memory, l.swap), -EAGAIN);
	cgtree_expect(&f, "memory/tulou/t5/8/memory.limit_in_bytes", "50331648");
	cgtree_put(&f, "memory/tulou/t5/8/memory.usage_in_bytes", "33554432\n");
	cr_assert_eq(cgroup_memory(c, 5, 8, l.memory, l.swap), 0);
	cgtree_expect(&f, "memory/tulou/t5/8/memory.limit_in_bytes", "33554432");
	cgtree_expect(&f, "memory/tulou/t5/8/memory.memsw.limit_in_bytes", "33816576");
	cr_assert_eq(cgroup_weight(c, 5, 8, CGROUP_WEIGHT_IDLE), 0);
	cgtree_expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.idle", "1");
	cgtree_expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.shares", "10"); /* the kernel refuses shares there */
	cr_assert_eq(cgroup_weight(c, 5, 8, 300), 0);
	cgtree_expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.idle", "0");
	cgtree_expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.shares", "3072");
	cr_assert_eq(cgroup_cpu(c, 5, 8, 250, 0, 10000), 0);
	cgtree_expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.cfs_quota_us", "25000");
	cgtree_expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.cfs_burst_us", "0");
	cgtree_expect(&f, "cpu,cpuacct/tulou/t5/8/cpu.shares", "102400");
	q.cpu = 100;
	q.pids = 77;
	cr_assert_eq(cgroup_tenant(c, 5, &q, NULL), 1, "it was there");
	cgtree_expect(&f, "cpu,cpuacct/tulou/t5/cpu.cfs_quota_us", "10000");
	cgtree_expect(&f, "cpu,cpuacct/tulou/t5/cpu.cfs_burst_us", "10000");
	cgtree_expect(&f, "pids/tulou/t5/pids.max", "77");
	cgroup_free(c);
	cgtree_done(&f);
}

Test(supervise, cgroup_io_rates_on_the_disk_below)
{
	char expected[64];
	struct stat st;
	struct quota q = quota_default;
	struct cgtree f;
	struct cgroup *c = NULL;
	int n;

	cgtree_v2(&f);
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cr_assert(cgroup_has_io(c));
	n = cgroup_io_path(c, "/var");
	if (n == 0) {
		cgroup_free(c);
		cgtree_done(&f);
		cr_skip_test("/var lies on no disk here");
	}
	cr_assert_eq(cgroup_io_path(c, "/var"), n, "once each");
	q.io_read = 1000;
	q.io_write = 0;
	cgtree_tenant(c, &q);
	/* The last disk's line stays in a plain file; "none" is max. */
	if (n == 1 && stat("/var", &st) == 0 && major(st.st_dev) && minor(st.st_dev) == 0) {
		snprintf(expected, sizeof expected, "%u:%u rbps=1000 wbps=max", major(st.st_dev), minor(st.st_dev));
		cgtree_expect(&f, "cgroup/tulou/t5/io.max", expected);
	}
	cgroup_free(c);
	cgtree_done(&f);
	/* v1: the tenant's alone. */
	c = cgtree_instance(&f, false);
	cgroup_io_path(c, "/var");
	q.io_read = 5000;
	cgtree_tenant(c, &q);
	cr_assert(cgtree_exists(&f, "blkio/tulou/t5/blkio.throttle.read_bps_device"));
	cr_assert_not(cgtree_exists(&f, "blkio/tulou/t5/8"));
	cgroup_free(c);
	cgtree_done(&f);
}

Test(supervise, cgroup_write_rate_is_the_root_groups_on_v1)
{
	struct cgtree f;
	struct cgroup *c = cgtree_instance(&f, false);

	cgtree_put(&f, "blkio/blkio.throttle.write_bps_device", "");
	cr_assert_eq(cgroup_write_rate(c, 8, 16, 67108864), 0);
	cgtree_expect(&f, "blkio/blkio.throttle.write_bps_device", "8:16 67108864");
	/* What a node that was killed left on a loop device that holds nothing: each rule is one write, so in this
	 * plain file they lie over each other. */
	cgtree_put(&f, "blkio/blkio.throttle.write_bps_device", "7:1048575 1000\n");
	cr_assert_eq(cgroup_write_rate(c, 8, 16, 0), 0);
	cgtree_expect(&f, "blkio/blkio.throttle.write_bps_device", "8:16 0575 0000\n");
	cgroup_free(c);
	cgtree_done(&f);
	c = cgtree_instance(&f, true);
	cr_assert_eq(cgroup_write_rate(c, 8, 16, 1), -EOPNOTSUPP);
	cgroup_free(c);
	cgtree_done(&f);
}

Test(supervise, cgroup_without_io_goes_on)
{
	struct cgroup *c = NULL;
	struct cgtree f;

	cgtree_init(&f);
	cgtree_mount(&f, "all", "cgroup", "memory,cpu,cpuacct,pids,blkio");
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cr_assert_not(cgroup_has_io(c), "instances cannot join the tenant's blkio group alone");
	cr_assert_eq(cgroup_io_path(c, "/var"), 0);
	cgtree_tenant(c, &quota_default);
	cgroup_free(c);
	cgtree_done(&f);
}
