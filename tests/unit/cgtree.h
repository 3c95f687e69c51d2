/* Mounts of cgroups on plain directories, for the tests of agent/supervise/cgroup.h.  Control files that the kernel
 * would make are made by the backend itself (create_files) or by the test.  What fails here fails the test. */
#ifndef TULOU_TESTS_CGTREE_H
#define TULOU_TESTS_CGTREE_H

#include "agent/supervise/cgroup.h"

struct cgtree {
	char root[64];
	char mountinfo[2048];
};

/* An empty folder without mounts; removed by cgtree_done(). */
void cgtree_init(struct cgtree *f);
void cgtree_done(struct cgtree *f);
/* A mount of this type at <root>/<name> with these super block options. */
void cgtree_mount(struct cgtree *f, const char *name, const char *type, const char *options);
/* As cgtree_init(), with the mounts of a host with v1's hierarchies, or v2's. */
void cgtree_v1(struct cgtree *f);
void cgtree_v2(struct cgtree *f);

/* Files below root. */
void cgtree_put(const struct cgtree *f, const char *path, const char *text);
void cgtree_expect(const struct cgtree *f, const char *path, const char *text);
bool cgtree_exists(const struct cgtree *f, const char *path);

/* The tests' tenant has slot 5. */
void cgtree_tenant(struct cgroup *c, const struct quota *q);
/* A tree of that version with the tenant and its instance 8; cgroup_free(), cgtree_done(). */
struct cgroup *cgtree_instance(struct cgtree *f, bool v2);
void cgtree_close(int *fds, size_t n);

#endif
