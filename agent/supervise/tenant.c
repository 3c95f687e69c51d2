/* Tenants' totals: remembered, and in the kernel while the tenant has instances.  Layer agent, supervisor process. */
#include "agent/supervise/tenant.h"

#include "agent/supervise/change.h"
#include "agent/supervise/instance.h"

#include <errno.h>
#include <stdlib.h>

int tenant_init(struct supervise *s)
{
	TAILQ_INIT(&s->tenants_living);
	TAILQ_INIT(&s->tenants_looked);
	s->tenants = map_new();
	return s->tenants ? 0 : -ENOMEM;
}

void tenant_done(struct supervise *s)
{
	struct tenant *t = NULL;

	for (size_t pos = 0; s->tenants && (t = map_next(s->tenants, &pos));) {
		loop_timer_stop(&t->timer);
		cgroup_unwatch(&t->watch);
		free(t);
	}
	map_free(s->tenants);
	s->tenants = NULL;
}

struct tenant *tenant_get(const struct supervise *s, uint32_t slot)
{
	return map_get(s->tenants, &slot, sizeof slot);
}

static struct tenant *tenant_take(struct supervise *s, uint64_t tenant, uint32_t slot)
{
	struct tenant *t = tenant_get(s, slot);

	if (!t) {
		t = calloc(1, sizeof *t);
		if (!t)
			return NULL;
		t->s = s;
		t->slot = slot;
		t->watch.cpu = -1;
		t->quota = quota_default;
		if (map_put(s->tenants, &t->slot, sizeof t->slot, t) < 0) {
			free(t);
			return NULL;
		}
	}
	t->tenant = tenant;
	return t;
}

/* Forgets one that was never told: its totals would be those of whoever has the slot next. */
static void tenant_drop(struct tenant *t)
{
	if (t->told || t->living)
		return;
	map_del(t->s->tenants, &t->slot, sizeof t->slot);
	free(t);
}

int tenant_weight(struct tenant *t)
{
	uint32_t w = t->throttle_weight ? t->throttle_weight : t->quota.cpu_weight;

	return t->living == 0 ? 0
			      : cgroup_weight(t->s->cgroup, t->slot, CGROUP_TENANT,
					      t->throttle_weight == 1 && !t->confined_at ? CGROUP_WEIGHT_IDLE : w);
}

static bool is_job(const struct instance *in)
{
	return in->rec.m.kind == MSG_KIND_BUILD || in->rec.m.kind == MSG_KIND_STORE || in->rec.m.kind == MSG_KIND_GIT;
}

static void join(struct tenant *t, struct instance *in)
{
	if (t->living++ == 0) {
		TAILQ_INSERT_TAIL(&t->s->tenants_living, t, link);
		TAILQ_INSERT_TAIL(&t->s->tenants_looked, t, look);
		confine_start(t->s);
		t->s->tenants_count++;
	}
	in->in_tenant = true;
	if (is_job(in)) {
		in->lent = in->rec.limits.memory;
		in->lent_swap = in->rec.limits.swap;
		t->lent += in->lent;
		t->lent_swap += in->lent_swap;
	}
}

int tenant_enter(struct instance *in, struct err *e)
{
	struct supervise *s = in->s;
	struct tenant *t = tenant_take(s, in->rec.m.tenant, in->rec.m.slot);
	struct quota q;
	int r = 0;

	if (!t)
		return err_set(e, ENOMEM, "out of memory");
	if (t->living == 0) {
		q = t->quota;
		if (is_job(in)) {
			q.memory += in->rec.limits.memory;
			q.swap += in->rec.limits.swap;
		}
		t->found = false;
		r = cgroup_tenant(s->cgroup, t->slot, &q, e);
		if (r < 0) {
			tenant_drop(t);
			return r;
		}
		/* It may have been left behind by one who was confined. */
		confine_cpus(t, CGROUP_CPUS_ALL);
	}
	join(t, in);
	if (t->living == 1 && t->throttle_weight)
		tenant_weight(t);
	if (r == 1 || (t->living > 1 && is_job(in)))
		change_tenant_memory(t);
	return 0;
}

int tenant_adopt(struct instance *in)
{
	struct tenant *t = tenant_take(in->s, in->rec.m.tenant, in->rec.m.slot);

	if (!t)
		return -ENOMEM;
	/* One of before the tenant's level has none above it. */
	if (in->slot != CGROUP_FLAT && !t->told)
		t->found = true;
	join(t, in);
	/* An earlier supervisor may have lowered, confined or sheltered it; whoever sees cause does so again. */
	if (t->living == 1) {
		tenant_weight(t);
		confine_cpus(t, CGROUP_CPUS_ALL);
	}
	return 0;
}

void tenant_leave(struct instance *in)
{
	struct tenant *t = tenant_get(in->s, in->rec.m.slot);

	if (!in->in_tenant || !t)
		return;
	in->in_tenant = false;
	t->lent -= in->lent;
	t->lent_swap -= in->lent_swap;
	if (--t->living > 0) {
		if (in->lent)
			change_tenant_memory(t);
		return;
	}
	loop_timer_stop(&t->timer);
	TAILQ_REMOVE(&t->s->tenants_living, t, link);
	TAILQ_REMOVE(&t->s->tenants_looked, t, look);
	confine_gone(t);
	t->s->tenants_count--;
	t->oom_kills = t->pids_hits = 0;
	cgroup_unwatch(&t->watch);
	t->watch = (struct cgroup_watch){.cpu = -1};
	t->shrinking = t->found = false;
	/* Where an instance's group could not be removed this fails too: the next start sweeps both. */
	cgroup_tenant_remove(in->s->cgroup, t->slot);
	tenant_drop(t);
}

int tenant_tell(struct supervise *s, uint64_t tenant, uint32_t slot, const struct quota *q, struct err *e)
{
	struct tenant *t = tenant_take(s, tenant, slot);
	struct instance *in = NULL;
	int r;

	if (!t)
		return err_set(e, ENOMEM, "out of memory");
	t->told = true;
	t->found = false;
	t->quota = *q;
	if (t->living == 0)
		return 0;
	r = cgroup_tenant(s->cgroup, slot, q, e);
	if (r < 0)
		return r;
	if (t->throttle_weight)
		tenant_weight(t);
	/* v1 cuts an instance's CPU quota to its tenant's, so that it must be written again when that grows. */
	if (!cgroup_is_v2(s->cgroup)) {
		TAILQ_FOREACH(in, &s->living, link)
		{
			if (in->rec.m.slot == slot && in->in_tenant)
				change_cpu(in);
		}
	}
	change_tenant_memory(t);
	return 0;
}

/* The totals were reached: an instance killed below its limit may also have met the host's end of memory. */
static bool memory_reached(const struct tenant *t)
{
	struct cgroup_sample own;

	return cgroup_sample(t->s->cgroup, t->slot, CGROUP_TENANT, &own) == 0 && own.memory_hits > 0;
}

enum msg_oom tenant_oom(const struct instance *in, const struct cgroup_sample *now)
{
	const struct tenant *t = in->in_tenant && in->slot != CGROUP_FLAT ? tenant_get(in->s, in->rec.m.slot) : NULL;

	if (!now->oom_kills)
		return MSG_OOM_NONE;
	if (!now->above)
		return MSG_OOM_OWN;
	return t && memory_reached(t) ? MSG_OOM_TENANT : MSG_OOM_HOST;
}

void tenant_count(struct instance *in, const struct cgroup_sample *was, const struct cgroup_sample *now)
{
	struct tenant *t = in->in_tenant ? tenant_get(in->s, in->rec.m.slot) : NULL;

	if (now->oom_kills > was->oom_kills) {
		uint32_t kills = now->oom_kills - was->oom_kills;
		enum msg_oom whose = tenant_oom(in, now);

		if (whose == MSG_OOM_TENANT && t)
			t->oom_kills += kills;
		in->oom_tenant += whose == MSG_OOM_TENANT ? kills : 0;
		in->oom_host += whose == MSG_OOM_HOST ? kills : 0;
	}
	if (!t || in->slot == CGROUP_FLAT)
		return;
	if (now->pids_hits > was->pids_hits && !cgroup_pids_full(in->s->cgroup, in->slot, in->rec.m.instance) &&
	    cgroup_pids_full(in->s->cgroup, t->slot, CGROUP_TENANT))
		t->pids_hits += now->pids_hits - was->pids_hits;
}
