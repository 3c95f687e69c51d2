/* Does one more instance fit?  Layer scheduler, control process.  Declared in plan.h. */
#include "scheduler/plan.h"

#include "base/err.h"

#include <errno.h>
#include <stdio.h>

/* "256 MiB", "3.9 GiB": one decimal where it says something; rounded down, so that "in use" never looks over a limit.
 */
static void fits_bytes(uint64_t v, char out[32])
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	unsigned u = 0;
	uint64_t unit = 1, tenths;

	while (u < 4 && v / unit >= 1024) {
		unit <<= 10;
		u++;
	}
	tenths = v % unit * 10 / unit;
	if (tenths && v / unit < 100)
		snprintf(out, 32, "%llu.%llu %s", (unsigned long long)(v / unit), (unsigned long long)tenths, units[u]);
	else
		snprintf(out, 32, "%llu %s", (unsigned long long)(v / unit), units[u]);
}

static int fits_memory(uint64_t one, uint64_t used, uint64_t total, const char *field, const char *what, struct err *e)
{
	char t[32], u[32], n[32];

	if (used <= total && one <= total - used)
		return 0;
	fits_bytes(total, t);
	fits_bytes(used, u);
	fits_bytes(one, n);
	return err_field(e, EDQUOT, field, "%s %s, %s in use, %s needed", what, t, u, n);
}

static int fits_count(uint32_t one, uint32_t used, uint32_t total, const char *field, const char *what, struct err *e)
{
	if (used <= total && one <= total - used)
		return 0;
	return err_field(e, EDQUOT, field, "%s %u, %u in use, %u needed", what, total, used, one);
}

int plan_fits(const struct quota_limits *one, const struct plan_capacity *used, const struct quota *quota,
	      const struct plan_capacity *node_used, const struct plan_capacity *node_total, struct err *e)
{
	int r = fits_memory(one->memory, used->memory, quota->memory, "quota.memory", "memory quota", e);

	if (r == 0)
		r = fits_count(one->pids, used->pids, quota->pids, "quota.pids", "process quota", e);
	if (r == 0)
		r = fits_count(1, used->instances, quota->instances, "quota.instances", "instance quota", e);
	if (r == 0 && one->cpu > quota->cpu)
		r = err_field(e, EDQUOT, "quota.cpu", "CPU quota %u thousandths, one instance may use %u", quota->cpu,
			      one->cpu);
	if (r == 0 && node_total->memory)
		r = fits_memory(one->memory, node_used->memory, node_total->memory, "node.memory", "this node's memory",
				e);
	if (r == 0 && node_total->pids)
		r = fits_count(one->pids, node_used->pids, node_total->pids, "node.pids", "this node's processes", e);
	if (r == 0 && node_total->instances)
		r = fits_count(1, node_used->instances, node_total->instances, "node.instances",
			       "this node's instances", e);
	return r;
}
