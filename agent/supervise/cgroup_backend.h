/* What the cgroup files share.  Layer agent, supervisor process; included by cgroup*.c only.
 * A group's name below our root is "t<slot>" or "t<slot>/<instance>", in decimal. */
#ifndef TULOU_AGENT_SUPERVISE_CGROUP_BACKEND_H
#define TULOU_AGENT_SUPERVISE_CGROUP_BACKEND_H

#include "agent/supervise/cgroup.h"

#define CGROUP_HIERARCHIES 6
#define CGROUP_CPU_PERIOD_US 100000u
#define CGROUP_DISKS 4		     /* a loop device, its backing disk, and a file system of two disks more */
#define CGROUP_LIST_MAX (512u << 10) /* bytes of one cgroup.procs: 32,768 pids of up to 8 bytes with room to spare */
#define CGROUP_FILE_MAX 8192u	     /* bytes of any other control file */
#define CGROUP_WEIGHT 100u	     /* what a fresh group has */
/* Our root's weight against everything else on the host, where the default is 100: under contention the host and our
 * own processes get two thirds. */
#define CGROUP_ROOT_WEIGHT 50u

/* Memory and swap together may be a little more than their sum.  The kernel asks for both before it asks for memory, in
 * batches of 64 pages, and does not count what fails there (6.18: memory.memsw.failcnt stays 0): with equal limits
 * nobody would learn that the memory limit was met. */
#define CGROUP_V1_SPARE (64u * 4096)

/* The first CGROUP_NEEDED must be there.  The v1 and the v2 name of IO differ. */
enum cgroup_controller {
	CGROUP_MEMORY,
	CGROUP_CPU,
	CGROUP_PIDS,
	CGROUP_CPUACCT,
	CGROUP_IO,
	CGROUP_CPUSET,
	CGROUP_CONTROLLER_COUNT
};
#define CGROUP_NEEDED (CGROUP_PIDS + 1)

#define CGROUP_NAME_MAX 40
#define CGROUP_CPUS_MAX 512 /* bytes of a list of CPUs */
#define CGROUP_CLEAR_MAX 128

/* The numbers of either level. */
struct cgroup_numbers {
	uint64_t memory, swap, io_read, io_write;
	uint32_t cpu, cpu_burst, cpu_weight, io_weight, pids;
	bool tenant;
};

enum { CGROUP_PART_PEAK = 1, CGROUP_PART_HITS = 2, CGROUP_PART_ALL = 3 };

struct cgroup_ops {
	const char *version;
	/* Sets all the numbers of a fresh group, or all but memory of one that is there. */
	int (*set)(struct cgroup *c, const char *name, const struct cgroup_numbers *n, bool fresh, struct err *e);
	/* The CPU's weight alone. */
	int (*weight)(struct cgroup *c, const char *name, uint32_t weight);
	/* The CPU's alone. */
	int (*cpu)(struct cgroup *c, const char *name, const struct cgroup_numbers *n, bool fresh);
	/* One step, as cgroup_memory(). */
	int (*memory)(struct cgroup *c, const char *name, uint64_t memory, uint64_t swap);
	/* Opens what the sandbox joins by. */
	int (*join)(struct cgroup *c, const char *tenant, const char *name, int *fds, size_t *nfds, struct err *e);
	/* Reads the parts asked for besides what changes always, and leaves the others. */
	void (*sample)(const struct cgroup *c, const char *name, bool tenant, unsigned parts,
		       struct cgroup_sample *ret);
	uint64_t (*memory_used)(const struct cgroup *c, const char *name);
	/* The file with the CPU time, and the time in it. */
	enum cgroup_controller cpu_controller;
	const char *cpu_file;
	uint64_t (*cpu_us)(const char *text);
	/* The time of it in the kernel. */
	uint64_t (*system_us)(const struct cgroup *c, const char *name);
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
	dev_t disks[CGROUP_DISKS];
	unsigned disk_count;
	/* Lists for cpuset.cpus; for cpuset.mems (v1). */
	char cpus[CGROUP_CPUS_COUNT][CGROUP_CPUS_MAX], mems[CGROUP_CPUS_MAX];
	unsigned short clear[CGROUP_CLEAR_MAX];
	unsigned clear_count;
	int create; /* O_CREAT on a test's plain directories, else 0 */
};

extern const struct cgroup_ops cgroup_v1_ops, cgroup_v2_ops;

/* "t<slot>", "t<slot>/<instance>", or "<instance>" for CGROUP_FLAT. */
void cgroup_name(uint32_t slot, uint64_t id, char name[CGROUP_NAME_MAX]);

/* Files of a group in the hierarchy of controller k; -ENOENT when there is no such controller. */

/* One write(2) of a number or text. */
int cgroup_write(const struct cgroup *c, enum cgroup_controller k, const char *name, const char *file,
		 const char *text);
int cgroup_write_u64(const struct cgroup *c, enum cgroup_controller k, const char *name, const char *file,
		     uint64_t value);
/* The whole file, at most cap - 1 bytes, and its end; its length, 0 when it cannot be read. */
size_t cgroup_read(const struct cgroup *c, enum cgroup_controller k, const char *name, const char *file, char *text,
		   size_t cap);
/* The file's only number, 0 when it cannot be read. */
uint64_t cgroup_read_u64(const struct cgroup *c, enum cgroup_controller k, const char *name, const char *file);
/* The number after `key ` at the start of a line, 0 when there is none. */
uint64_t cgroup_key(const char *text, const char *key);
/* Opens the group's directory or a file in it. */
int cgroup_open(const struct cgroup *c, enum cgroup_controller k, const char *name, const char *file, int flags);

/* True when the word stands in the list, separated by any of sep. */
bool cgroup_list_has(const char *list, const char *sep, const char *word);

/* Writes "<major>:<minor> <value>" for each disk; the first failure. */
int cgroup_write_disks(const struct cgroup *c, const char *name, const char *file, const char *value);

/* Instances of v1 join the tenant's own group of this hierarchy. */
bool cgroup_of_tenant_only(const struct cgroup *c, unsigned hierarchy);
/* Prepares cpuset where it is there; it is done without where it cannot be used. */
void cgroup_cpuset_root(struct cgroup *c);
/* Fills a tenant's group of it that is empty.  0 or negative errno. */
int cgroup_cpuset_tenant(struct cgroup *c, const char *name);

/* Makes controllers available below the mount and below our root (v2 only). */
int cgroup_v2_delegate(struct cgroup *c, struct err *e);
int cgroup_v2_root(struct cgroup *c, struct err *e);
int cgroup_v1_root(struct cgroup *c, struct err *e);

#endif
