/* Who must yield under contention.  Layer scheduler, control process.  Declared in throttle.h. */
#include "scheduler/throttle.h"

#include <string.h>

#define MATTERS 5 /* thousandths of a CPU: who uses less and serves nobody is no victim */
#define SLACK 1.3 /* a quota follows its share when it is further off */
#define HAND 4	  /* percent of the CPUs: how far off the headroom may be */
#define ROUNDS 24 /* of filling; what is left over then is divided by weight */

const char *throttle_step_name(enum throttle_step s)
{
	static const char *const names[THROTTLE_STEP_COUNT] = {"begin", "lower", "ease", "end", "quick"};

	return (unsigned)s < THROTTLE_STEP_COUNT ? names[s] : "unknown";
}

bool throttle_state_holds(const struct throttle_state *s)
{
	return s->weight || s->cpu || s->want >= 5;
}

static double smaller(double a, double b)
{
	return a < b ? a : b;
}

static double larger(double a, double b)
{
	return a > b ? a : b;
}

/* --- what each wants ---------------------------------------------------------------------------------------------- */

/* Held at a quota of ours and up against it: how much it would use is not to be seen. */
static bool is_hungry(const struct throttle_instance *i)
{
	return i->state->cpu && i->used * 10 >= i->state->cpu * 9;
}

static void envelope(struct throttle_state *s, double used)
{
	double want = s->want;

	want += used > want ? (used - want) / 2 : (used - want) / 8;
	s->want = (uint32_t)(used > 0 && want < 1 ? 1 : want);
	s->mean += ((float)used - s->mean) / 8;
}

/* A quarter more than it uses: room to grow, and one that uses all there is wants more than that.  One that is lowered
 * must be clearly below its share before it is taken for content, so that noise at the border changes nothing. */
static double margin(const struct throttle_state *s)
{
	return s->level ? 1.4 : 1.25;
}

static void want_all(const struct throttle_host *h, struct throttle_tenant *tenants, unsigned tenant_count,
		     struct throttle_instance *instances, unsigned instance_count)
{
	double most = h->cpus * 1000.0;

	for (unsigned t = 0; t < tenant_count; t++) {
		struct throttle_tenant *o = &tenants[t];

		o->used = o->want = o->share = o->left = o->weights = 0;
		o->active = o->content = 0;
		o->full = o->over = o->hungry = false;
	}
	for (unsigned n = 0; n < instance_count; n++) {
		struct throttle_instance *i = &instances[n];
		struct throttle_tenant *o = &tenants[i->tenant];

		envelope(i->state, i->used);
		i->want = is_hungry(i) ? most : i->state->want * margin(i->state);
		i->want = smaller(i->want, i->cpu ? i->cpu : most);
		i->share = 0;
		i->full = i->over = false;
		o->used += i->used;
		o->want += i->want;
		o->hungry = o->hungry || is_hungry(i);
		o->active += i->used > 0 || i->state->want > 0;
	}
	for (unsigned t = 0; t < tenant_count; t++) {
		struct throttle_tenant *o = &tenants[t];

		envelope(o->state, o->used);
		/* Instances that take turns have envelopes that add up to more than the tenant ever uses. */
		if (!o->hungry)
			o->want = smaller(o->want, larger(o->state->want, o->used) * margin(o->state));
		o->want = smaller(o->want, o->cpu ? o->cpu : most);
	}
}

/* --- fair shares: water rises over all at once, each by its weight, until each is full or nothing is left --------- */

/* Full is who wants no more than its part, with room to grow; what it really takes is its mean, and the rest of its
 * part goes to the others. */

static void fill_tenants(struct throttle_tenant *tenants, unsigned count, double water)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		double weights = 0, level;
		bool moved = false;

		for (unsigned t = 0; t < count; t++)
			weights += tenants[t].full || !tenants[t].active ? 0 : tenants[t].weight;
		if (weights <= 0)
			return;
		level = water / weights;
		for (unsigned t = 0; t < count; t++) {
			struct throttle_tenant *o = &tenants[t];

			if (o->full || !o->active)
				continue;
			o->share = level * o->weight;
			if (o->want > o->share)
				continue;
			o->share = o->want;
			o->full = moved = true;
			water -= smaller(o->state->mean, o->want);
		}
		if (!moved)
			return;
	}
}

static void fill_instances(struct throttle_tenant *tenants, unsigned tenant_count, struct throttle_instance *instances,
			   unsigned instance_count)
{
	for (unsigned t = 0; t < tenant_count; t++)
		tenants[t].left = tenants[t].share;
	/* Within a tenant that has all it wants nobody is short. */
	for (unsigned n = 0; n < instance_count; n++) {
		instances[n].full = tenants[instances[n].tenant].full;
		instances[n].share = instances[n].want;
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		bool moved = false;

		for (unsigned t = 0; t < tenant_count; t++)
			tenants[t].weights = 0;
		for (unsigned n = 0; n < instance_count; n++)
			if (!instances[n].full)
				tenants[instances[n].tenant].weights += instances[n].weight;
		for (unsigned t = 0; t < tenant_count; t++) /* from here on: CPU for one unit of weight */
			tenants[t].weights =
				tenants[t].weights > 0 ? larger(tenants[t].left, 0) / tenants[t].weights : 0;
		for (unsigned n = 0; n < instance_count; n++) {
			struct throttle_instance *i = &instances[n];
			struct throttle_tenant *o = &tenants[i->tenant];

			if (i->full)
				continue;
			i->share = o->weights * i->weight;
			if (i->want > i->share)
				continue;
			i->share = i->want;
			i->full = moved = true;
			o->left -= smaller(i->state->mean, i->want);
		}
		if (!moved)
			return;
	}
}

/* Where nobody is content with less, nobody is a victim: then the kernel's weights are all that is fair. */
static void judge(struct throttle_tenant *tenants, unsigned tenant_count, struct throttle_instance *instances,
		  unsigned instance_count)
{
	unsigned victims = 0;

	for (unsigned n = 0; n < instance_count; n++) {
		const struct throttle_instance *i = &instances[n];

		tenants[i->tenant].content += i->full && (i->used >= MATTERS || (i->serves && i->used));
	}
	for (unsigned t = 0; t < tenant_count; t++)
		victims += tenants[t].full && tenants[t].content > 0;
	for (unsigned t = 0; t < tenant_count; t++) {
		struct throttle_tenant *o = &tenants[t];

		o->over = !o->full && o->active && victims > 0;
	}
	for (unsigned n = 0; n < instance_count; n++) {
		struct throttle_instance *i = &instances[n];
		struct throttle_tenant *o = &tenants[i->tenant];

		i->over = !i->full && (o->over || o->content > 0);
	}
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

struct plan {
	uint32_t weight, cpu;
	uint8_t level;
	bool boosted;
};

static uint32_t lowered(uint32_t weight, unsigned level)
{
	uint32_t w = weight >> (THROTTLE_SHIFT * level);

	return level == 0 ? 0 : w ? w : 1;
}

static void count_ticks(struct throttle_state *s, bool over)
{
	if (over) {
		s->over += s->over < UINT8_MAX;
		s->calm = 0;
	} else {
		s->calm += s->calm < UINT8_MAX;
		s->over = 0;
	}
}

static bool may_ease(const struct throttle *t, const struct throttle_state *s)
{
	return s->calm >= (t->contended ? THROTTLE_CALM << s->hold : THROTTLE_CALM);
}

static void plan_weight(const struct throttle *t, const struct throttle_state *s, uint32_t weight, bool over,
			struct plan *p)
{
	if (over) {
		if (p->level < THROTTLE_LEVELS && lowered(weight, p->level) != 1)
			p->level++;
		p->boosted = false;
	} else if (p->level && !p->cpu && may_ease(t, s)) {
		p->level--;
	}
	p->weight = lowered(weight, p->level);
}

static void plan_quota(const struct throttle *t, const struct throttle_instance *i, struct plan *p)
{
	const struct throttle_state *s = i->state;
	double target = larger(s->share * t->give, LIMIT_CPU_MIN), have = p->cpu ? p->cpu : larger(i->used, target);

	if (i->over && s->over >= THROTTLE_PERSIST) {
		if (have > target * SLACK || (!p->cpu && have >= target))
			p->cpu = (uint32_t)larger(target, have * 3 / 4);
		else if (p->cpu && have * SLACK < target)
			p->cpu = (uint32_t)smaller(target, have + THROTTLE_RAISE);
	} else if (p->cpu && !i->over && may_ease(t, s)) {
		p->cpu += THROTTLE_RAISE + p->cpu / 4;
		if (p->cpu >= i->state->want * 2 && p->cpu >= i->used * 2)
			p->cpu = 0; /* it has not wanted half of it for some ticks */
	} else if (p->cpu && i->over && have * SLACK < target) {
		p->cpu = (uint32_t)smaller(target, have + THROTTLE_RAISE);
	}
	if (i->cpu && p->cpu >= i->cpu)
		p->cpu = 0; /* its own limit is as low */
}

static void plan_boost(const struct throttle *t, const struct throttle_tenant *o, const struct throttle_instance *i,
		       struct plan *p)
{
	if (p->level || p->cpu)
		return;
	if (t->contended && i->serves && i->full && !o->full)
		p->boosted = true;
	else if (!i->full || o->full || !t->ticks)
		p->boosted = false;
	if (p->boosted)
		p->weight =
			i->weight * THROTTLE_BOOST < LIMIT_WEIGHT_MAX ? i->weight * THROTTLE_BOOST : LIMIT_WEIGHT_MAX;
}

static enum throttle_step step_of(const struct throttle_state *s, const struct plan *p, uint32_t weight)
{
	uint32_t was = s->weight ? s->weight : weight, is = p->weight ? p->weight : weight;

	if (p->boosted)
		return THROTTLE_QUICK;
	if (!p->weight && !p->cpu)
		return THROTTLE_END;
	if (!s->level && !s->cpu)
		return THROTTLE_BEGIN;
	if (is < was || (p->cpu && (!s->cpu || p->cpu < s->cpu)))
		return THROTTLE_LOWER;
	return THROTTLE_EASE;
}

struct list {
	struct throttle_change *changes;
	unsigned count, cap;
};

/* Notes the change and moves the state, when there is room for it. */
static void commit(struct list *l, struct throttle_state *s, const struct plan *p, struct throttle_change c,
		   uint32_t weight, int64_t now_ms)
{
	bool down = p->level > s->level || (p->cpu && (!s->cpu || p->cpu < s->cpu));

	if ((p->weight == s->weight && p->cpu == s->cpu) || l->count == l->cap) {
		if (p->weight == s->weight && p->cpu == s->cpu) {
			s->level = p->level;
			s->boosted = p->boosted;
		}
		return;
	}
	c.step = step_of(s, p, weight);
	c.weight = p->weight;
	c.cpu = p->cpu;
	if (c.step == THROTTLE_BEGIN)
		s->since_ms = now_ms;
	if (down && s->eased_ms && now_ms - s->eased_ms < THROTTLE_AGAIN_MS)
		s->hold += s->hold < THROTTLE_HOLD_MAX;
	else if (down && s->eased_ms && now_ms - s->eased_ms > 2 * THROTTLE_AGAIN_MS)
		s->hold = 0;
	if (c.step == THROTTLE_EASE || c.step == THROTTLE_END)
		s->eased_ms = now_ms;
	if (c.step == THROTTLE_END)
		s->since_ms = 0;
	s->weight = p->weight;
	s->cpu = p->cpu;
	s->level = p->level;
	s->boosted = p->boosted;
	l->changes[l->count++] = c;
}

static void step_tenant(struct throttle *t, struct throttle_tenant *tenants, unsigned index, int64_t now_ms,
			struct list *l)
{
	struct throttle_tenant *o = &tenants[index];
	struct plan p = {o->state->weight, 0, o->state->level, false};
	struct throttle_change c = {
		.is_tenant = true, .index = index, .used = (uint32_t)o->used, .share = (uint32_t)o->share};

	plan_weight(t, o->state, o->weight, t->contended && o->over, &p);
	commit(l, o->state, &p, c, o->weight, now_ms);
}

static void step_instance(struct throttle *t, const struct throttle_tenant *tenants,
			  struct throttle_instance *instances, unsigned index, int64_t now_ms, struct list *l)
{
	struct throttle_instance *i = &instances[index];
	struct plan p = {i->state->weight, i->state->cpu, i->state->level, i->state->boosted};
	struct throttle_change c = {.index = index, .used = i->used, .share = (uint32_t)i->share};

	i->over = i->over && t->contended;
	plan_quota(t, i, &p);
	plan_weight(t, i->state, i->weight, i->over, &p);
	plan_boost(t, &tenants[i->tenant], i, &p);
	commit(l, i->state, &p, c, i->weight, now_ms);
}

static void smooth_share(struct throttle_state *s, double share)
{
	if (!s->share)
		s->share = (uint32_t)share;
	s->share = (uint32_t)(s->share + (share - s->share) / 4 + 0.5);
}

/* --- the tick ----------------------------------------------------------------------------------------------------- */

static void contention(struct throttle *t, const struct throttle_host *h, const struct throttle_tenant *tenants,
		       unsigned tenant_count, const struct throttle_instance *instances, unsigned instance_count,
		       int64_t now_ms)
{
	bool squeezed = h->psi_memory >= THROTTLE_MEMORY_PRESSURE || h->psi_io >= THROTTLE_IO_PRESSURE;
	double busy = h->cpus * (squeezed ? THROTTLE_BUSY_SQUEEZED : THROTTLE_BUSY) / 100.0;
	bool pressure = h->psi_cpu >= THROTTLE_PRESSURE;
	unsigned victims = 0;
	bool is = false;

	t->runnable += (h->runnable - t->runnable) / 2;
	if (h->psi_cpu < 0)
		pressure = t->runnable > h->cpus + 0.5;
	is = pressure && h->busy >= busy;
	/* What our own quotas hold back is not busy: while the held would take more and others work, it goes on. */
	for (unsigned n = 0; n < tenant_count; n++)
		victims += tenants[n].content > 0;
	for (unsigned n = 0; n < instance_count && victims && !is; n++)
		is = is_hungry(&instances[n]) && !instances[n].full;
	if (t->contended && t->last_ms && now_ms > t->last_ms)
		t->contended_ms += (uint64_t)(now_ms - t->last_ms);
	t->last_ms = now_ms;
	t->contended = is;
	/* A pause of a few ticks does not end it. */
	if (is)
		t->ticks = t->ticks < THROTTLE_CALM ? THROTTLE_CALM : t->ticks + (t->ticks < UINT32_MAX);
	else if (t->ticks > THROTTLE_CALM)
		t->ticks = THROTTLE_CALM;
	else if (t->ticks)
		t->ticks--;
}

/* Who works in bursts does not take all of its share: what it leaves is handed to those who are held, bit by bit, until
 * no more than the headroom is idle. */
static void hand_out(struct throttle *t, const struct throttle_host *h, const struct throttle_instance *instances,
		     unsigned instance_count)
{
	double idle = 100 - h->busy * 100 / h->cpus;
	bool held = false;

	for (unsigned n = 0; n < instance_count && !held; n++)
		held = is_hungry(&instances[n]);
	if (!held)
		t->give = 1;
	else if (idle > THROTTLE_HEADROOM + HAND)
		t->give = smaller(t->give * 1.05, 4);
	else if (idle < THROTTLE_HEADROOM - HAND)
		t->give = larger(t->give * 0.95, 1);
}

/* What all of them may share: what else runs on the host is taken off, and the headroom. */
static double capacity(const struct throttle_host *h, const struct throttle_tenant *tenants, unsigned tenant_count)
{
	double all = h->cpus * 1000.0, used = 0;

	for (unsigned t = 0; t < tenant_count; t++)
		used += tenants[t].used;
	return larger(all - larger(h->busy * 1000 - used, 0), all / 4) * (100 - THROTTLE_HEADROOM) / 100;
}

unsigned throttle_tick(struct throttle *t, const struct throttle_host *host, struct throttle_tenant *tenants,
		       unsigned tenant_count, struct throttle_instance *instances, unsigned instance_count,
		       int64_t now_ms, struct throttle_change *changes, unsigned cap)
{
	struct list l = {changes, 0, cap < THROTTLE_CHANGES ? cap : THROTTLE_CHANGES};

	want_all(host, tenants, tenant_count, instances, instance_count);
	fill_tenants(tenants, tenant_count, capacity(host, tenants, tenant_count));
	fill_instances(tenants, tenant_count, instances, instance_count);
	judge(tenants, tenant_count, instances, instance_count);
	contention(t, host, tenants, tenant_count, instances, instance_count, now_ms);
	hand_out(t, host, instances, instance_count);
	for (unsigned n = 0; n < tenant_count; n++) {
		smooth_share(tenants[n].state, tenants[n].share);
		count_ticks(tenants[n].state, t->contended && tenants[n].over);
	}
	for (unsigned n = 0; n < instance_count; n++) {
		instances[n].over = instances[n].over && t->contended;
		smooth_share(instances[n].state, instances[n].share);
		count_ticks(instances[n].state, instances[n].over);
	}
	/* Those that yield come first, then the others: a tick's changes are counted. */
	for (unsigned n = 0; n < tenant_count; n++)
		step_tenant(t, tenants, n, now_ms, &l);
	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned n = 0; n < instance_count; n++)
			if (instances[n].over == (pass == 0))
				step_instance(t, tenants, instances, n, now_ms, &l);
	return l.count;
}

unsigned throttle_release(struct throttle_tenant *tenants, unsigned tenant_count, struct throttle_instance *instances,
			  unsigned instance_count, struct throttle_change *changes, unsigned cap)
{
	static const struct plan none = {0};
	struct list l = {changes, 0, cap < THROTTLE_CHANGES ? cap : THROTTLE_CHANGES};

	for (unsigned n = 0; n < tenant_count; n++)
		commit(&l, tenants[n].state, &none, (struct throttle_change){.is_tenant = true, .index = n},
		       tenants[n].weight, 0);
	for (unsigned n = 0; n < instance_count; n++)
		commit(&l, instances[n].state, &none, (struct throttle_change){.index = n}, instances[n].weight, 0);
	return l.count;
}
