/* Does one more instance fit?  Layer scheduler, control process.  Declared in plan.h. */
#include "scheduler/plan.h"

#include "base/err.h"

#include <errno.h>

/* One number of a sum: what is needed, what is committed, what there is. */
struct fits_row {
	const char *key; /* of config/quota.h, for its unit; NULL = a plain count */
	const char *field, *what;
	uint64_t need, used, total;
};

static void fits_text(const struct fits_row *r, uint64_t v, char out[QUOTA_TEXT])
{
	static const struct quota_key count = {.unit = QUOTA_COUNT};
	const struct quota_key *k = r->key ? quota_key_find(r->key) : NULL;

	quota_text(k ? k : &count, v, out);
}

static int fits_row(const struct fits_row *r, struct err *e)
{
	char total[QUOTA_TEXT], used[QUOTA_TEXT], left[QUOTA_TEXT], need[QUOTA_TEXT];

	if (r->need == 0 || (r->used <= r->total && r->need <= r->total - r->used))
		return 0;
	fits_text(r, r->total, total);
	fits_text(r, r->used, used);
	fits_text(r, r->used < r->total ? r->total - r->used : 0, left);
	fits_text(r, r->need, need);
	return err_field(e, EDQUOT, r->field, "%s %s, %s committed, %s left, %s needed", r->what, total, used, left,
			 need);
}

static int fits_need(const struct plan_capacity *need, const struct plan_capacity *used, const struct quota *quota,
		     const struct plan_capacity *node_used, const struct plan_capacity *node_total, struct err *e)
{
	const struct fits_row tenant[] = {
		{"memory", "quota.memory", "memory quota", need->memory, used->memory, quota->memory},
		{"pids", "quota.pids", "process quota", need->pids, used->pids, quota->pids},
		{"disk", "quota.disk", "disk quota", need->disk, used->disk, quota->disk},
		{"inodes", "quota.inodes", "file quota", need->inodes, used->inodes, quota->inodes},
		{NULL, "quota.instances", "instance quota", need->instances, used->instances, quota->instances},
	};
	const struct fits_row node[] = {
		{"memory", "node.memory", "this node's memory", need->memory, node_used->memory, node_total->memory},
		{"pids", "node.pids", "this node's processes", need->pids, node_used->pids, node_total->pids},
		{"disk", "node.disk", "this node's disk", need->disk, node_used->disk, node_total->disk},
		{NULL, "node.instances", "this node's instances", need->instances, node_used->instances,
		 node_total->instances},
	};
	int r = 0;

	for (size_t i = 0; i < sizeof tenant / sizeof *tenant && r == 0; i++)
		r = fits_row(&tenant[i], e);
	for (size_t i = 0; i < sizeof node / sizeof *node && r == 0; i++)
		if (node[i].total)
			r = fits_row(&node[i], e);
	return r;
}

int plan_fits(const struct quota_limits *one, const struct plan_capacity *used, const struct quota *quota,
	      const struct plan_capacity *node_used, const struct plan_capacity *node_total, struct err *e)
{
	const struct plan_capacity need = {
		.memory = one->memory, .disk = one->disk, .inodes = one->inodes, .pids = one->pids, .instances = 1};
	int r = fits_need(&need, used, quota, node_used, node_total, e);

	if (r == 0 && one->cpu > quota->cpu) {
		const struct quota_key *k = quota_key_find("cpu");
		char all[QUOTA_TEXT], mine[QUOTA_TEXT];
		quota_text(k, quota->cpu, all);
		quota_text(k, one->cpu, mine);
		r = err_field(e, EDQUOT, "quota.cpu", "CPU quota %s, one instance may use %s", all, mine);
	}
	return r;
}

static uint64_t fits_more(uint64_t was, uint64_t is, unsigned count)
{
	return is > was ? (is - was) * count : 0;
}

int plan_fits_more(const struct quota_limits *was, const struct quota_limits *is, unsigned count,
		   const struct plan_capacity *used, const struct quota *quota, const struct plan_capacity *node_used,
		   const struct plan_capacity *node_total, struct err *e)
{
	const struct plan_capacity need = {.memory = fits_more(was->memory, is->memory, count),
					   .disk = fits_more(was->disk, is->disk, count),
					   .inodes = fits_more(was->inodes, is->inodes, count),
					   .pids = (uint32_t)fits_more(was->pids, is->pids, count)};

	return fits_need(&need, used, quota, node_used, node_total, e);
}
