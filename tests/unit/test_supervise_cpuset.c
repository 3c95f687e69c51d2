/* A tenant that is confined to a part of the CPUs, with both versions of cgroups on plain directories. */
#include "agent/sandbox/launch.h"
#include "tests/unit/cgtree.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

Test(supervise, cgroup_v1_confines_a_tenant_to_all_but_the_first_cpus)
{
	const struct quota_limits l = {.memory = 64 << 20, .cpu = 1000, .pids = 32};
	int fds[LAUNCH_CGROUPS_MAX];
	struct cgroup *c = NULL;
	struct cgtree f;
	size_t n = 0;
	unsigned n_clear;

	cgtree_v1(&f);
	cgtree_mount(&f, "cpuset", "cgroup", "cpuset");
	cgtree_put(&f, "cpuset/cpuset.cpus", "0-3,8-10,20\n");
	cgtree_put(&f, "cpuset/cpuset.mems", "0-1\n");
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cgtree_expect(&f, "cpuset/tulou/cpuset.cpus", "0-3,8-10,20\n");
	cgtree_expect(&f, "cpuset/tulou/cpuset.mems", "0-1\n");
	cgtree_tenant(c, &quota_default);
	cgtree_expect(&f, "cpuset/tulou/t5/cpuset.sched_load_balance", "0");
	cgtree_expect(&f, "cpuset/tulou/t5/cpuset.mems", "0-1\n");
	cgtree_expect(&f, "cpuset/tulou/t5/cpuset.cpus", "0-3,8-10,20");
	cr_assert_eq(cgroup_make(c, 5, 42, &l, fds, &n, NULL), 0);
	cr_assert_eq(n, 5);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(write(fds[i], "0", 1), 1);
	cgtree_expect(&f, "cpuset/tulou/t5/tasks", "0");
	cr_assert_eq(cgroup_cpus(c, 5, CGROUP_CPUS_CONFINED), 0);
	cgtree_expect(&f, "cpuset/tulou/t5/cpuset.cpus", "1-3,8-10,20");
	cr_assert_eq(cgroup_cpus(c, 5, CGROUP_CPUS_ALL), 0);
	cgtree_expect(&f, "cpuset/tulou/t5/cpuset.cpus", "0-3,8-10,20");
	cr_assert_eq(cgroup_cpus(c, 5, CGROUP_CPUS_CLEAR), 0);
	cgtree_expect(&f, "cpuset/tulou/t5/cpuset.cpus", "0");
	cr_assert_eq(*cgroup_clear(c, &n_clear), 0);
	cr_assert_eq(n_clear, 1);
	cr_assert_eq(cgroup_cpus(c, 6, CGROUP_CPUS_ALL), 0, "of an earlier version: it has no group yet");
	cr_assert(cgtree_exists(&f, "cpuset/tulou/t6"));
	cgtree_put(&f, "cpu,cpuacct/tulou/t5/cpuacct.usage_sys", "7000000\n");
	cr_assert_eq(cgroup_system_us(c, 5), 7000);
	cgtree_close(fds, n);
	cgroup_free(c);
	cgtree_done(&f);
}

Test(supervise, cgroup_v1_does_without_a_cpuset_of_one_cpu)
{
	const struct quota_limits l = {.memory = 64 << 20, .cpu = 1000, .pids = 32};
	int fds[LAUNCH_CGROUPS_MAX];
	struct cgroup *c = NULL;
	struct cgtree f;
	size_t n = 0;

	cgtree_init(&f);
	cgtree_mount(&f, "cpuset", "cgroup", "cpuset"); /* found first: the last takes its place */
	cgtree_mount(&f, "memory", "cgroup", "memory");
	cgtree_mount(&f, "cpu", "cgroup", "cpu");
	cgtree_mount(&f, "pids", "cgroup", "pids");
	cgtree_put(&f, "cpuset/cpuset.cpus", "3\n");
	cgtree_put(&f, "cpuset/cpuset.mems", "0\n");
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cr_assert_not(cgroup_can_confine(c));
	cr_assert_eq(cgroup_cpus(c, 5, CGROUP_CPUS_CONFINED), -EOPNOTSUPP);
	cgtree_tenant(c, &quota_default);
	cr_assert_eq(cgroup_make(c, 5, 42, &l, fds, &n, NULL), 0);
	cr_assert_eq(n, 3);
	cgtree_expect(&f, "pids/tulou/t5/42/pids.max", "32");
	cgtree_expect(&f, "memory/tulou/t5/42/memory.limit_in_bytes", "67108864");
	cgtree_close(fds, n);
	cgroup_free(c);
	cgtree_done(&f);
}

Test(supervise, cgroup_v2_confines_a_tenant_to_all_but_the_first_cpus)
{
	struct cgroup *c = NULL;
	char path[128];
	struct cgtree f;

	cgtree_v2(&f);
	snprintf(path, sizeof path, "%s/cgroup/tulou", f.root);
	cr_assert_eq(mkdir(path, 0755), 0);
	cgtree_put(&f, "cgroup/tulou/cpuset.cpus.effective", "0-15\n");
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cr_assert(cgroup_can_confine(c));
	cgtree_tenant(c, &quota_default);
	cr_assert_eq(cgroup_cpus(c, 5, CGROUP_CPUS_CONFINED), 0);
	cgtree_expect(&f, "cgroup/tulou/t5/cpuset.cpus", "2-15");
	cr_assert_eq(cgroup_cpus(c, 5, CGROUP_CPUS_CLEAR), 0);
	cgtree_expect(&f, "cgroup/tulou/t5/cpuset.cpus", "0-1");
	cr_assert_eq(cgroup_cpus(c, 5, CGROUP_CPUS_ALL), 0);
	cgtree_expect(&f, "cgroup/tulou/t5/cpuset.cpus", "\n");
	cgtree_put(&f, "cgroup/tulou/t5/cpu.stat", "usage_usec 9\nuser_usec 2\nsystem_usec 7\n");
	cr_assert_eq(cgroup_system_us(c, 5), 7);
	cgroup_free(c);
	cgtree_done(&f);
}

/* What cannot be written is a folder in the file's place: so it is for root too. */
static void late(bool v2)
{
	struct cgroup_cpus_late l = {0};
	const char *file = v2 ? "cgroup/tulou/t5/cpuset.cpus" : "cpuset/tulou/t5/cpuset.cpus";
	const char *all = v2 ? "\n" : "0-3";
	struct cgroup *c = NULL;
	char path[160];
	struct cgtree f;

	if (v2) {
		cgtree_v2(&f);
		snprintf(path, sizeof path, "%s/cgroup/tulou", f.root);
		cr_assert_eq(mkdir(path, 0755), 0);
		cgtree_put(&f, "cgroup/tulou/cpuset.cpus.effective", "0-3\n");
	} else {
		cgtree_v1(&f);
		cgtree_mount(&f, "cpuset", "cgroup", "cpuset");
		cgtree_put(&f, "cpuset/cpuset.cpus", "0-3\n");
		cgtree_put(&f, "cpuset/cpuset.mems", "0\n");
	}
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cgtree_tenant(c, &quota_default);
	cr_assert_eq(cgroup_cpus_again(c, 5, &l), 0, "nothing is late");
	cr_assert_eq(cgroup_cpus_set(c, 5, CGROUP_CPUS_CONFINED, &l), 0);
	cgtree_expect(&f, file, "1-3");

	snprintf(path, sizeof path, "%s/%s", f.root, file);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(mkdir(path, 0755), 0);
	cr_assert_lt(cgroup_cpus_set(c, 5, CGROUP_CPUS_CLEAR, &l), 0);
	cr_assert_not(l.late, "it is not sheltered, no more");
	cr_assert_lt(cgroup_cpus_set(c, 5, CGROUP_CPUS_ALL, &l), 0);
	cr_assert(l.late);
	cr_assert_lt(cgroup_cpus_again(c, 5, &l), 0);
	cr_assert_lt(cgroup_cpus_set(c, 5, CGROUP_CPUS_CLEAR, &l), 0);
	cr_assert(l.late);
	cr_assert_eq(l.which, CGROUP_CPUS_ALL, "it would be kept confined");

	cr_assert_eq(rmdir(path), 0);
	cgtree_put(&f, file, "1-3");
	cr_assert_eq(cgroup_cpus_again(c, 5, &l), 0);
	cr_assert_not(l.late);
	cgtree_expect(&f, file, all);
	cgtree_put(&f, file, "1");
	cr_assert_eq(cgroup_cpus_again(c, 5, &l), 0);
	cgtree_expect(&f, file, "1"); /* nothing is late: nothing is written */
	cgroup_free(c);
	cgtree_done(&f);
}

Test(supervise, cpus_that_could_not_be_written_are_tried_again)
{
	late(false);
	late(true);
}
