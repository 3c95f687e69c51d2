/* What the two cgroup backends share.  Layer agent, supervisor process; included by cgroup*.c only. */
#ifndef TULOU_AGENT_SUPERVISE_CGROUP_BACKEND_H
#define TULOU_AGENT_SUPERVISE_CGROUP_BACKEND_H

#include "agent/supervise/cgroup.h"

#define CGROUP_HIERARCHIES 4
#define CGROUP_CPU_PERIOD_US 100000u

enum cgroup_controller { CGROUP_MEMORY, CGROUP_CPU, CGROUP_PIDS, CGROUP_CPUACCT, CGROUP_CONTROLLER_COUNT };

/* Groups are named by the decimal instance id. */
#define CGROUP_NAME_MAX 24

struct cgroup_ops {
	const char *version;
	/* Sets the limits of a fresh group and opens what the sandbox joins by. */
	int (*set)(struct cgroup *c, const char *name, const struct quota_limits *l, int *fds, size_t *nfds,
		   struct err *e);
	void (*sample)(const struct cgroup *c, const char *name, struct cgroup_sample *ret);
	/* Kills all at once; -ENOSYS when the kernel cannot, then the members are killed one by one. */
	int (*kill)(const struct cgroup *c, const char *name);
};

struct cgroup {
	const struct cgroup_ops *ops;
	int mount[CGROUP_HIERARCHIES];	 /* owned O_PATH: where each hierarchy is mounted */
	int root[CGROUP_HIERARCHIES];	 /* owned O_PATH: our root in it */
	unsigned count;			 /* hierarchies */
	int of[CGROUP_CONTROLLER_COUNT]; /* index into root by controller, -1 when there is none */
	char name[64];
	int create; /* O_CREAT on a test's plain directories, else 0 */
};

extern const struct cgroup_ops cgroup_v1_ops, cgroup_v2_ops;

/* The group's own directory, O_PATH; a descriptor or negative errno. */
int cgroup_open(const struct cgroup *c, enum cgroup_controller k, const char *name);
/* One write(2) of a number or text into a control file of dir. */
int cgroup_write(const struct cgroup *c, int dir, const char *file, const char *text);
int cgroup_write_u64(const struct cgroup *c, int dir, const char *file, uint64_t value);
/* The file's only number, 0 when it cannot be read. */
uint64_t cgroup_read_u64(int dir, const char *file);
/* The number after `key ` at the start of a line, 0 when it cannot be read. */
uint64_t cgroup_read_key(int dir, const char *file, const char *key);

/* Makes controllers available below the mount (v2 only). */
int cgroup_v2_delegate(struct cgroup *c, struct err *e);

#endif
