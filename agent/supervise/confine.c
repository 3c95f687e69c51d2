/* Keeps tenants that live in the kernel off some CPUs (scheduler/confine.h): looks every LIMIT_CONFINE_MS, closer when
 * all of them together take kernel time.  Layer agent, supervisor process. */
#include "agent/supervise/change.h"
#include "agent/supervise/instance.h"
#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>

#define CONFINE_SLOW 10 /* looks from one at the confined to the next while nothing else is to be seen */

static void confine_turn(void *arg);

static bool confine_wanted(const struct supervise *s)
{
	return s->settings.confine && cgroup_can_confine(s->cgroup);
}

static int confine_wait(struct supervise *s)
{
	return loop_timer_start(s->loop, &s->confine_timer, (int64_t)LIMIT_CONFINE_MS * 1000, confine_turn, s);
}

/* Gives the tenant's instances the class that fits: a CPU that runs nothing but the idle class is taken for a free one
 * by the kernel (sched_idle_cpu() of kernel/sched/fair.c), which sends those who wake to where the confined are. */
static void confine_classes(struct supervise *s, struct tenant *t)
{
	struct instance *in = NULL;

	if (t->throttle_weight)
		tenant_weight(t);
	TAILQ_FOREACH(in, &s->living, link)
	{
		if (in->in_tenant && in->rec.m.slot == t->slot && in->throttle_weight)
			change_cpu(in);
	}
}

int confine_cpus(struct tenant *t, enum cgroup_cpus which)
{
	int r = cgroup_cpus_set(t->s->cgroup, t->slot, which, &t->cpus);

	t->s->cpus_late = t->s->cpus_late || t->cpus.late;
	if (r < 0 && r != -EOPNOTSUPP && !t->cpus.told) {
		LOG_WARN("CPUs of a tenant not set", "tenant=%" PRIu64 " errno=%d again=%d", t->tenant, -r,
			 t->cpus.late);
		t->cpus.told = true;
	}
	if (r == 0)
		t->cpus.told = false;
	if (t->cpus.late && !loop_timer_pending(&t->s->confine_timer))
		confine_wait(t->s);
	return r;
}

/* Lists that were refused; a tenant without a group is not among these. */
static void confine_again(struct supervise *s)
{
	unsigned n = LIMIT_CONFINE_LOOKS;
	struct tenant *t = NULL;
	bool late = false;

	if (!s->cpus_late)
		return;
	TAILQ_FOREACH(t, &s->tenants_living, link)
	{
		if (!t->cpus.late)
			continue;
		late = n == 0 || cgroup_cpus_again(s->cgroup, t->slot, &t->cpus) < 0 || late;
		if (n == 0)
			break;
		n--;
	}
	s->cpus_late = late;
}

static void confine_apply(struct supervise *s, struct tenant *t, bool on, int64_t now)
{
	int r = confine_cpus(t, on ? CGROUP_CPUS_CONFINED : CGROUP_CPUS_ALL);

	t->sheltered = false;
	s->confined += on ? 1 : -1;
	if (on)
		t->confines++;
	else
		t->confined_us += (uint64_t)(now - t->confined_at);
	t->confined_at = on ? now : 0;
	confine_classes(s, t);
	if (r == 0)
		LOG_DEBUG(on ? "tenant confined" : "tenant free", "tenant=%" PRIu64 " mean=%.0f", t->tenant,
			  (double)t->confine.mean);
}

void confine_gone(struct tenant *t)
{
	if (t->confined_at)
		t->s->confined--;
	t->confined_at = 0;
	t->confined_us = 0;
	t->confines = 0;
	t->confine = (struct confine_state){0};
	t->sheltered = t->used = false;
	t->used_at = 0;
	t->cpus = (struct cgroup_cpus_late){0};
}

uint64_t confine_time_us(const struct tenant *t)
{
	return t->confined_us + (t->confined_at ? (uint64_t)(clock_mono_us() - t->confined_at) : 0);
}

static void confine_look_at(struct supervise *s, struct tenant *t, int64_t now)
{
	enum confine_step step = confine_look(&t->confine, cgroup_system_us(s->cgroup, t->slot), now);

	if (step != CONFINE_STAY)
		confine_apply(s, t, step == CONFINE_BEGIN, now);
}

/* True when all together take enough to look at each. */
static bool confine_busy(struct supervise *s, int64_t now)
{
	uint64_t all = cgroup_system_us_all(s->cgroup), was = s->confine_all;
	int64_t span = now - s->confine_us;

	s->confine_all = all;
	s->confine_us = now;
	return all > was && span > 0 && (all - was) * 1000 >= (uint64_t)span * CONFINE_HOST;
}

static void confine_look_around(struct supervise *s, int64_t now)
{
	bool busy = confine_busy(s, now);
	unsigned n = LIMIT_CONFINE_LOOKS;

	if (!busy && (s->confined == 0 || ++s->confine_turns < CONFINE_SLOW))
		return;
	s->confine_turns = 0;
	for (struct tenant *t = TAILQ_FIRST(&s->tenants_looked), *next,
			   *end = TAILQ_LAST(&s->tenants_looked, tenant_list);
	     t && n > 0; t = next) {
		next = t == end ? NULL : TAILQ_NEXT(t, look);
		if (!busy && !t->confined_at)
			continue;
		n--;
		TAILQ_REMOVE(&s->tenants_looked, t, look);
		TAILQ_INSERT_TAIL(&s->tenants_looked, t, look);
		confine_look_at(s, t, now);
	}
}

static void confine_turn(void *arg)
{
	struct supervise *s = arg;
	int64_t now = clock_mono_us();

	confine_again(s);
	if (s->cpus_late || (confine_wanted(s) && !TAILQ_EMPTY(&s->tenants_looked)))
		confine_wait(s); /* else the next tenant begins it again */
	if (!confine_wanted(s))
		return; /* lists that an earlier supervisor has left are all there is to do */
	if (!TAILQ_EMPTY(&s->tenants_looked))
		confine_look_around(s, now);
	shelter_turn(s, now);
}

int confine_start(struct supervise *s)
{
	if (!confine_wanted(s) || loop_timer_pending(&s->confine_timer))
		return 0;
	return confine_wait(s);
}

void confine_stop(struct supervise *s)
{
	loop_timer_stop(&s->confine_timer);
	shelter_stop(s);
}
