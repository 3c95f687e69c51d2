#include "tests/unit/cgtree.h"

#include "agent/sandbox/launch.h"
#include "base/fd.h"
#include "base/own.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void cgtree_init(struct cgtree *f)
{
	snprintf(f->root, sizeof f->root, "/tmp/tulou-test-XXXXXX");
	cr_assert(mkdtemp(f->root));
	f->mountinfo[0] = 0;
}

void cgtree_done(struct cgtree *f)
{
	cr_assert_eq(fd_remove_tree(AT_FDCWD, f->root), 0);
}

void cgtree_mount(struct cgtree *f, const char *name, const char *type, const char *options)
{
	size_t n = strlen(f->mountinfo);
	char path[128];

	snprintf(path, sizeof path, "%s/%s", f->root, name);
	cr_assert_eq(mkdir(path, 0755), 0);
	snprintf(f->mountinfo + n, sizeof f->mountinfo - n, "30 29 0:2%zu / %s rw,relatime shared:9 - %s %s rw,%s\n", n,
		 path, type, type, options);
}

void cgtree_put(const struct cgtree *f, const char *path, const char *text)
{
	char full[256];
	OWN_FILE FILE *out = NULL;

	snprintf(full, sizeof full, "%s/%s", f->root, path);
	out = fopen(full, "we");
	cr_assert(out, "%s", full);
	fputs(text, out);
}

void cgtree_expect(const struct cgtree *f, const char *path, const char *text)
{
	char full[256];
	OWN_FREE char *got = NULL;

	snprintf(full, sizeof full, "%s/%s", f->root, path);
	cr_assert_eq(fd_read_file(AT_FDCWD, full, 256, &got, NULL), 0, "%s", full);
	cr_assert_str_eq(got, text, "%s is %s", path, got);
}

bool cgtree_exists(const struct cgtree *f, const char *path)
{
	char full[256];

	snprintf(full, sizeof full, "%s/%s", f->root, path);
	return access(full, F_OK) == 0;
}

void cgtree_v1(struct cgtree *f)
{
	cgtree_init(f);
	snprintf(f->mountinfo, sizeof f->mountinfo,
		 "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
		 "31 29 0:99 /inner /elsewhere rw - cgroup cgroup rw,memory\n");
	cgtree_mount(f, "memory", "cgroup", "memory");
	cgtree_mount(f, "cpu,cpuacct", "cgroup", "cpu,cpuacct");
	cgtree_mount(f, "pids", "cgroup", "pids");
	cgtree_mount(f, "blkio", "cgroup", "blkio");
	cgtree_mount(f, "unified", "cgroup2", "nsdelegate");
	cgtree_put(f, "unified/cgroup.controllers", "\n");
}

void cgtree_v2(struct cgtree *f)
{
	cgtree_init(f);
	cgtree_mount(f, "cgroup", "cgroup2", "nsdelegate,memory_recursiveprot");
	cgtree_put(f, "cgroup/cgroup.controllers", "cpuset cpu io memory hugetlb pids rdma misc\n");
}

void cgtree_tenant(struct cgroup *c, const struct quota *q)
{
	cr_assert_geq(cgroup_tenant(c, 5, q, NULL), 0);
}

void cgtree_close(int *fds, size_t n)
{
	while (n > 0)
		close(fds[--n]);
}

struct cgroup *cgtree_instance(struct cgtree *f, bool v2)
{
	int fds[LAUNCH_CGROUPS_MAX];
	struct cgroup *c = NULL;
	size_t n = 0;

	if (v2)
		cgtree_v2(f);
	else
		cgtree_v1(f);
	cr_assert_eq(cgroup_new(f->mountinfo, "tulou", true, &c, NULL), 0);
	cgtree_tenant(c, &quota_default);
	cr_assert_eq(cgroup_make(c, 5, 8, &quota_app_default, fds, &n, NULL), 0);
	cgtree_close(fds, n);
	return c;
}
