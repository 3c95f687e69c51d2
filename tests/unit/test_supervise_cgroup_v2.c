/* cgroup v2 on a plain directory. */
#include "agent/sandbox/launch.h"
#include "base/fd.h"
#include "tests/unit/cgtree.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

Test(supervise, cgroup_v2_sets_limits_and_samples)
{
	const struct quota_limits l = {
		.memory = 100 << 20, .cpu = 1500, .cpu_burst = 500, .cpu_weight = 200, .io_weight = 10, .pids = 64};
	int fds[LAUNCH_CGROUPS_MAX];
	struct cgroup_sample s;
	struct cgroup *c = NULL;
	struct stat st;
	struct cgtree f;
	size_t n = 0;

	cgtree_v2(&f);
	cr_assert_eq(cgroup_new(f.mountinfo, "tulou", true, &c, NULL), 0);
	cr_assert(cgroup_is_v2(c));
	cgtree_expect(&f, "cgroup/cgroup.subtree_control", "+memory +cpu +pids +io +cpuset");
	cgtree_expect(&f, "cgroup/tulou/cgroup.subtree_control", "+memory +cpu +pids +io");
	cgtree_expect(&f, "cgroup/tulou/cpu.weight", "50");
	cgtree_tenant(c, &quota_default);
	cr_assert_eq(cgroup_make(c, 5, 3, &l, fds, &n, NULL), 0);
	cr_assert_eq(n, 1);
	cr_assert(fstat(fds[0], &st) == 0 && S_ISDIR(st.st_mode));
	cgtree_close(fds, n);
	cgtree_expect(&f, "cgroup/tulou/t5/3/memory.max", "104857600");
	cgtree_expect(&f, "cgroup/tulou/t5/3/memory.oom.group", "1");
	cgtree_expect(&f, "cgroup/tulou/t5/3/memory.swap.max", "0");
	cgtree_expect(&f, "cgroup/tulou/t5/3/cpu.max", "150000 100000");
	cgtree_expect(&f, "cgroup/tulou/t5/3/cpu.max.burst", "50000");
	cgtree_expect(&f, "cgroup/tulou/t5/3/cpu.weight", "200");
	cgtree_expect(&f, "cgroup/tulou/t5/3/io.weight", "10");
	cgtree_expect(&f, "cgroup/tulou/t5/3/pids.max", "64");
	cgtree_expect(&f, "cgroup/tulou/t5/cgroup.subtree_control", "+memory +cpu +pids +io");
	cgtree_expect(&f, "cgroup/tulou/t5/memory.max", "4294967296");
	cgtree_expect(&f, "cgroup/tulou/t5/cpu.max", "400000 100000");
	cgtree_expect(&f, "cgroup/tulou/t5/pids.max", "4096");
	cr_assert_not(cgtree_exists(&f, "cgroup/tulou/t5/memory.oom.group"), "one instance dies, not all of them");
	cgtree_put(&f, "cgroup/tulou/t5/3/memory.current", "5000\n");
	cgtree_put(&f, "cgroup/tulou/t5/3/memory.events",
		   "low 0\nhigh 0\nmax 4\noom 1\noom_kill 2\noom_group_kill 1\n");
	cgtree_put(&f, "cgroup/tulou/t5/3/cpu.stat",
		   "usage_usec 99\nuser_usec 1\nnr_periods 9\nnr_throttled 3\nthrottled_usec 44\n");
	cgtree_put(&f, "cgroup/tulou/t5/3/pids.current", "2\n");
	cgtree_put(&f, "cgroup/tulou/t5/3/pids.events", "max 6\n");
	cgtree_put(&f, "cgroup/tulou/t5/3/io.stat",
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
	cgtree_put(&f, "cgroup/tulou/t5/3/memory.events", "max 0\noom 0\noom_kill 2\n");
	cr_assert_eq(cgroup_sample(c, 5, 3, &s), 0);
	cr_assert(s.above);
	/* The tenant's level counts what is below it too: only the local counts are its own. */
	cgtree_put(&f, "cgroup/tulou/t5/memory.events", "max 9\noom 3\noom_kill 3\n");
	cgtree_put(&f, "cgroup/tulou/t5/memory.events.local", "max 0\noom 0\noom_kill 0\n");
	cgtree_put(&f, "cgroup/tulou/t5/pids.events", "max 7\n");
	cgtree_put(&f, "cgroup/tulou/t5/pids.events.local", "max 0\n");
	cr_assert_eq(cgroup_sample(c, 5, CGROUP_TENANT, &s), 0);
	cr_assert_eq(s.oom_kills + s.pids_hits + s.memory_hits, 0, "instances at their own limits");
	cgtree_put(&f, "cgroup/tulou/t5/memory.events.local", "max 4\noom 1\noom_kill 0\n");
	cgtree_put(&f, "cgroup/tulou/t5/pids.events.local", "max 2\n");
	cr_assert_eq(cgroup_sample(c, 5, CGROUP_TENANT, &s), 0);
	cr_assert_eq(s.oom_kills, 1);
	cr_assert_eq(s.pids_hits, 2);
	cgtree_put(&f, "cgroup/tulou/t5/3/cgroup.procs", "999999999\n");
	cr_assert_eq(cgroup_kill(c, 5, 3), 1);
	cgtree_expect(&f, "cgroup/tulou/t5/3/cgroup.kill", "1");
	cgroup_free(c);
	cgtree_done(&f);
}

Test(supervise, cgroup_v2_changes_live)
{
	struct quota_limits l = quota_app_default;
	struct cgtree f;
	struct cgroup *c = cgtree_instance(&f, true);

	l.cpu = 500;
	l.pids = 99;
	l.memory = 32 << 20;
	l.swap = 1 << 20;
	cr_assert_eq(cgroup_change(c, 5, 8, &l, NULL), 0);
	cgtree_expect(&f, "cgroup/tulou/t5/8/cpu.max", "50000 100000");
	cgtree_expect(&f, "cgroup/tulou/t5/8/cpu.max.burst", "50000");
	cgtree_expect(&f, "cgroup/tulou/t5/8/pids.max", "99");
	cgtree_expect(&f, "cgroup/tulou/t5/8/memory.max", "268435456");
	/* memory.max is not lowered below what is in use, which would kill: it is asked back first. */
	cgtree_put(&f, "cgroup/tulou/t5/8/memory.current", "67108864\n");
	cr_assert_eq(cgroup_memory(c, 5, 8, l.memory, l.swap), -EBUSY, "nothing moves in a plain directory");
	cgtree_expect(&f, "cgroup/tulou/t5/8/memory.reclaim", "16777216");
	cgtree_expect(&f, "cgroup/tulou/t5/8/memory.max", "268435456");
	cgtree_put(&f, "cgroup/tulou/t5/8/memory.current", "4096\n");
	cr_assert_eq(cgroup_memory(c, 5, 8, l.memory, l.swap), 0);
	cgtree_expect(&f, "cgroup/tulou/t5/8/memory.max", "33554432");
	cgtree_expect(&f, "cgroup/tulou/t5/8/memory.swap.max", "1048576");
	cgroup_free(c);
	cgtree_done(&f);
}

Test(supervise, cgroup_of_the_flat_layout_is_found_and_removed)
{
	struct cgtree f;
	struct cgroup *c = cgtree_instance(&f, true);
	char path[128];

	snprintf(path, sizeof path, "%s/cgroup/tulou/77", f.root);
	cr_assert_eq(mkdir(path, 0755), 0);
	cgtree_put(&f, "cgroup/tulou/77/cgroup.procs", "12\n");
	cr_assert_eq(cgroup_find(c, 5, 8), 5);
	cr_assert_eq(cgroup_find(c, 5, 99), 5, "neither: where it would be");
	cr_assert_eq(cgroup_find(c, 5, 77), CGROUP_FLAT);
	cr_assert(cgroup_holds(c, CGROUP_FLAT, 77, 12));
	cr_assert_not(cgroup_holds(c, 5, 77, 12));
	cr_assert_eq(cgroup_remove(c, CGROUP_FLAT, 77), -EBUSY);
	cr_assert_eq(fd_remove_tree(AT_FDCWD, path), 0);
	cr_assert_eq(mkdir(path, 0755), 0);
	cr_assert_eq(cgroup_remove(c, CGROUP_FLAT, 77), 0);
	cr_assert_not(cgtree_exists(&f, "cgroup/tulou/77"));
	cgroup_free(c);
	cgtree_done(&f);
}
