/* What is handed out of tenants and host, and whether more of it fits.  Layer agent, control process. */
#include "agent/roles/control_core.h"

#include "base/own.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static void fit_add(struct plan_capacity *sum, const struct quota_limits *limits, int sign)
{
	sum->memory += (uint64_t)((int64_t)limits->memory * sign);
	sum->swap += (uint64_t)((int64_t)limits->swap * sign);
	sum->disk += (uint64_t)((int64_t)limits->disk * sign);
	sum->inodes += (uint64_t)((int64_t)limits->inodes * sign);
	sum->cpu += (uint32_t)((int32_t)limits->cpu * sign);
	sum->pids += (uint32_t)((int32_t)limits->pids * sign);
	sum->instances += (uint32_t)sign;
}

void control_charge(struct control *c, struct control_tenant *t, const struct quota_limits *limits, int sign)
{
	fit_add(&c->used, limits, sign);
	if (t)
		fit_add(&t->used, limits, sign);
}

/* freed: bytes of the host's memory that come back before they are needed. */
static int fit_one(struct control *c, struct control_tenant *t, const struct quota_limits *limits,
		   const struct plan_capacity *used, const struct plan_capacity *node_used, uint64_t freed,
		   struct err *e)
{
	struct plan_capacity total = {.memory = c->host.memory * CONTROL_OVERCOMMIT, .instances = LIMIT_INSTANCES};
	uint64_t spare = c->host.memory / CONTROL_SPARE;
	char have[32];

	if (plan_fits(limits, used, &t->rec.quota, node_used, &total, e) < 0)
		return err_wrap(e, "tenant %s", t->rec.name), -EDQUOT;
	if (c->host.memory_available + freed < spare) {
		control_text_bytes(c->host.memory_available, have);
		err_field(e, EDQUOT, "node.memory", "this node has only %s of memory left", have);
		return err_wrap(e, "tenant %s", t->rec.name), -EDQUOT;
	}
	return 0;
}

int control_fits(struct control *c, struct control_tenant *t, const struct quota_limits *limits,
		 const struct control_app *replaced, int64_t release, struct err *e)
{
	struct plan_capacity used = control_tenant_committed(t);
	const struct control_instance *ci;

	if (replaced)
		TAILQ_FOREACH(ci, &replaced->instances, link)
		{
			if (ci->rec.release != release)
				fit_add(&used, &ci->limits, -1);
		}
	return fit_one(c, t, limits, &used, &c->used, 0, e);
}

int control_fits_build(struct control *c, struct control_tenant *t, const struct quota_limits *limits, struct err *e)
{
	const struct plan_capacity none = {0};

	return fit_one(c, t, limits, &none, &c->used, 0, e);
}

static unsigned fit_wanted(const struct control_app *ca, const char *type)
{
	for (unsigned i = 0; i < ca->formation_count; i++)
		if (strcmp(ca->formation[i].type, type) == 0)
			return ca->rec.paused ? 0 : ca->formation[i].count;
	return 0;
}

int control_fits_instead(const struct control_app *ca, int64_t release, const struct control_types *types,
			 struct err *e)
{
	struct control *c = ca->control;
	struct plan_capacity used = control_tenant_committed(ca->tenant), node_used = c->used;
	const struct control_instance *ci;
	uint64_t freed = 0;

	TAILQ_FOREACH(ci, &ca->instances, link)
	{
		fit_add(&used, &ci->limits, -1);
		fit_add(&node_used, &ci->limits, -1);
		freed += ci->rec.release == release ? 0 : ci->usage.memory;
	}
	for (unsigned i = 0; i < types->count; i++) {
		for (unsigned n = fit_wanted(ca, types->name[i]); n > 0; n--) {
			if (fit_one(c, ca->tenant, &ca->rec.limits, &used, &node_used, freed, e) < 0)
				return -EDQUOT;
			fit_add(&used, &ca->rec.limits, 1);
			fit_add(&node_used, &ca->rec.limits, 1);
		}
	}
	return 0;
}
