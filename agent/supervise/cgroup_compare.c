/* What the kernel holds against what it was told.  Layer agent, supervisor process, for fsck. */
#include "agent/supervise/cgroup_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One number of one file; the first one of a file that has several. */
static int compare(const struct cgroup *c, enum cgroup_controller k, const char *name, const char *file, uint64_t want,
		   char *text, size_t cap)
{
	char have[64];

	if (cgroup_read(c, k, name, file, have, sizeof have) == 0)
		return 0; /* a kernel without it */
	have[strcspn(have, " \n")] = 0;
	/* Memory is counted in whole pages. */
	if (have[0] >= '0' && have[0] <= '9' &&
	    (k == CGROUP_MEMORY ? strtoull(have, NULL, 10) / 4096 == want / 4096 : strtoull(have, NULL, 10) == want))
		return 0;
	snprintf(text, cap, "%s is %s, not %" PRIu64, file, have, want);
	return 1;
}

int cgroup_compare(const struct cgroup *c, uint32_t slot, uint64_t id, const struct quota_limits *l, char *text,
		   size_t cap)
{
	uint64_t us = (uint64_t)l->cpu * CGROUP_CPU_PERIOD_US / 1000;
	char name[CGROUP_NAME_MAX];
	int r;

	cgroup_name(slot, id, name);
	r = cgroup_open(c, CGROUP_MEMORY, name, "", O_PATH | O_DIRECTORY);
	if (r < 0)
		return r;
	close(r);
	if (cgroup_is_v2(c)) {
		r = compare(c, CGROUP_MEMORY, name, "memory.max", l->memory, text, cap);
		if (!r)
			r = compare(c, CGROUP_MEMORY, name, "memory.swap.max", l->swap, text, cap);
		if (!r)
			r = compare(c, CGROUP_CPU, name, "cpu.max", us, text, cap);
	} else {
		uint64_t have = cgroup_read_u64(c, CGROUP_CPU, name, "cpu.cfs_quota_us");
		r = compare(c, CGROUP_MEMORY, name, "memory.limit_in_bytes", l->memory, text, cap);
		if (!r)
			r = compare(c, CGROUP_MEMORY, name, "memory.memsw.limit_in_bytes",
				    l->memory + l->swap + CGROUP_V1_SPARE, text, cap);
		/* An instance's is cut to its tenant's here: lower is right. */
		if (!r && have > us)
			r = compare(c, CGROUP_CPU, name, "cpu.cfs_quota_us", us, text, cap);
	}
	return r ? r : compare(c, CGROUP_PIDS, name, "pids.max", l->pids, text, cap);
}
