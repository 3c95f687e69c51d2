/* Declared in throttle_sim.h. */
#include "throttle_sim.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define QUANTUM_MS 10
#define SLICE_MS 3 /* who wakes beside an equal waits for the end of its slice */

static double sim_rand(struct sim *s)
{
	s->seed ^= s->seed << 13;
	s->seed ^= s->seed >> 7;
	s->seed ^= s->seed << 17;
	return (double)(s->seed >> 11) / (double)(1ull << 53);
}

struct sim *throttle_sim_new(unsigned cpus, uint64_t seed, bool throttled)
{
	struct sim *s = calloc(1, sizeof *s);

	assert(s);
	s->seed = seed * 0x9e3779b97f4a7c15ull + 1;
	s->cpus = cpus;
	s->throttled = throttled;
	s->psi = true;
	s->now_ms = 1000;
	for (unsigned t = 0; t < SIM_TENANTS; t++)
		s->tenant_weight[t] = 100;
	return s;
}

static struct sim_instance *sim_add(struct sim *s, unsigned tenant, enum sim_kind kind)
{
	struct sim_instance *i = &s->in[s->count++];

	assert(s->count <= SIM_INSTANCES && tenant < SIM_TENANTS);
	i->kind = kind;
	i->tenant = tenant;
	i->weight = 100;
	if (tenant >= s->tenants)
		s->tenants = tenant + 1;
	return i;
}

struct sim_instance *throttle_sim_spin(struct sim *s, unsigned tenant, unsigned threads)
{
	struct sim_instance *i = sim_add(s, tenant, SIM_SPIN);

	i->threads = threads;
	return i;
}

struct sim_instance *throttle_sim_server(struct sim *s, unsigned tenant, double rate, double cost_ms)
{
	struct sim_instance *i = sim_add(s, tenant, SIM_SERVER);

	i->threads = 1;
	i->rate = rate;
	i->cost_ms = cost_ms;
	return i;
}

static bool lives(const struct sim *s, const struct sim_instance *i)
{
	return i->kind != SIM_IDLE && s->now_ms >= i->from_ms && (!i->until_ms || s->now_ms < i->until_ms);
}

static uint32_t weight_of(const struct sim_instance *i)
{
	return i->state.weight ? i->state.weight : i->weight;
}

static uint32_t tenant_weight_of(const struct sim *s, unsigned t)
{
	return s->tenant_state[t].weight ? s->tenant_state[t].weight : s->tenant_weight[t];
}

/* What it could take in this quantum, us. */
static double demand(const struct sim *s, struct sim_instance *i)
{
	double most = (double)i->threads * QUANTUM_MS * 1000, quota;
	uint32_t cpu = i->state.cpu ? i->state.cpu : i->limit;

	if (!lives(s, i))
		return 0;
	if (most > s->cpus * QUANTUM_MS * 1000.0)
		most = s->cpus * QUANTUM_MS * 1000.0;
	if (i->kind == SIM_SERVER && most > i->backlog_us)
		most = i->backlog_us;
	if (i->kind == SIM_SPIN && i->every_ms &&
	    (uint64_t)(s->now_ms + i->phase_ms) % i->every_ms >= (uint64_t)i->on_ms)
		most = 0;
	quota = cpu ? cpu * 100.0 - i->spent_us : most;
	return quota < 0 ? 0 : quota < most ? quota : most;
}

/* Divides what is left among those of one class by weight. */
static double share_out(double left, const double *want, double *got, const double *weight, unsigned n)
{
	for (unsigned round = 0; round < 40 && left > 0.01; round++) {
		double sum = 0, given = 0;

		for (unsigned i = 0; i < n; i++)
			sum += want[i] - got[i] > 0.001 ? weight[i] : 0;
		if (sum <= 0)
			break;
		for (unsigned i = 0; i < n; i++) {
			double open = want[i] - got[i], part = left * weight[i] / sum;

			if (open <= 0.001)
				continue;
			got[i] += part < open ? part : open;
			given += part < open ? part : open;
		}
		left -= given;
	}
	return left;
}

static void quantum(struct sim *s)
{
	static double want[SIM_INSTANCES], got[SIM_INSTANCES], weight[SIM_INSTANCES], twant[SIM_TENANTS],
		tgot[SIM_TENANTS], tweight[SIM_TENANTS];
	static unsigned at[SIM_INSTANCES];
	double left = s->cpus * QUANTUM_MS * 1000.0, normal = 0, wanted = 0;

	memset(twant, 0, sizeof twant);
	memset(tgot, 0, sizeof tgot);
	for (unsigned n = 0; n < s->count; n++) {
		struct sim_instance *i = &s->in[n];

		if ((s->now_ms / QUANTUM_MS) % (100 / QUANTUM_MS) == 0)
			i->spent_us = 0;
		if (i->kind == SIM_SERVER && lives(s, i)) {
			double arrivals = i->rate * QUANTUM_MS / 1000;
			unsigned k = (unsigned)arrivals + (sim_rand(s) < arrivals - (unsigned)arrivals);

			i->served = k;
			i->backlog_us += k * i->cost_ms * 1000;
		}
		i->got_us = demand(s, i);
		twant[i->tenant] += i->got_us;
		wanted += i->got_us;
	}
	for (unsigned pass = 0; pass < 2; pass++) { /* normal, then the idle class */
		for (unsigned t = 0; t < s->tenants; t++)
			tweight[t] = (tenant_weight_of(s, t) > 1) == (pass == 0) ? tenant_weight_of(s, t) : 0;
		for (unsigned t = 0; t < s->tenants; t++)
			if (tweight[t] <= 0 && pass == 0)
				tgot[t] = twant[t]; /* full for this pass */
		left = share_out(left, twant, tgot, tweight, s->tenants);
		for (unsigned t = 0; t < s->tenants && pass == 0; t++) {
			if (tweight[t] <= 0)
				tgot[t] = 0;
			normal += tgot[t];
		}
	}
	for (unsigned t = 0; t < s->tenants; t++) {
		double own = tgot[t];

		if (twant[t] <= 0)
			continue;
		for (unsigned pass = 0; pass < 2; pass++) {
			unsigned n = 0;

			for (unsigned k = 0; k < s->count; k++)
				if (s->in[k].tenant == t && (weight_of(&s->in[k]) > 1) == (pass == 0)) {
					at[n] = k;
					want[n] = s->in[k].got_us;
					got[n] = 0;
					weight[n++] = weight_of(&s->in[k]);
				}
			own = share_out(own, want, got, weight, n);
			for (unsigned k = 0; k < n; k++)
				s->in[at[k]].got_us = got[k];
		}
	}
	for (unsigned n = 0; n < s->count; n++) {
		struct sim_instance *i = &s->in[n];
		double in_front = normal, delay = 0, backlog = i->backlog_us;

		i->spent_us += i->got_us;
		i->tick_us += i->got_us;
		i->total_us += i->got_us;
		s->busy_us += i->got_us;
		if (i->kind != SIM_SERVER)
			continue;
		/* Who is in the idle class itself waits behind everybody. */
		if (tenant_weight_of(s, i->tenant) == 1 || weight_of(i) == 1)
			in_front = s->cpus * QUANTUM_MS * 1000.0;
		in_front /= s->cpus * QUANTUM_MS * 1000.0;
		delay = sim_rand(s) < pow(in_front, s->cpus) ? SLICE_MS * sim_rand(s) : 0; /* all CPUs are taken */
		i->backlog_us -= i->got_us;
		for (uint64_t k = 0; k < i->served && s->latencies < SIM_LATENCIES; k++)
			s->latency[s->latencies++] = (float)(i->cost_ms + delay +
							     (i->got_us > 0 ? i->backlog_us / i->got_us * QUANTUM_MS
							      : backlog > 0 ? QUANTUM_MS
									    : 0));
	}
	if (wanted > s->cpus * QUANTUM_MS * 1000.0 * 0.99)
		s->waited_ms += QUANTUM_MS;
	s->now_ms += QUANTUM_MS;
}

static void tick(struct sim *s)
{
	static struct throttle_tenant tenants[SIM_TENANTS];
	static struct throttle_instance list[SIM_INSTANCES];
	static unsigned at[SIM_INSTANCES], row[SIM_TENANTS];
	struct throttle_change changes[THROTTLE_CHANGES];
	struct throttle_host host = {.cpus = s->cpus,
				     .busy = s->busy_us / 1e6,
				     .psi_cpu = s->psi ? s->waited_ms / 10 : -1,
				     .runnable = s->waited_ms / 1000 * 4 * s->cpus};
	unsigned n = 0, nt = 0, done;

	memset(row, 0xff, sizeof row);
	for (unsigned k = 0; k < s->count; k++) {
		struct sim_instance *i = &s->in[k];

		if (i->tick_us < 1 && !throttle_state_holds(&i->state))
			continue;
		if (row[i->tenant] == UINT32_MAX) {
			row[i->tenant] = nt;
			tenants[nt++] = (struct throttle_tenant){.weight = s->tenant_weight[i->tenant],
								 .state = &s->tenant_state[i->tenant]};
		}
		at[n] = k;
		list[n++] = (struct throttle_instance){.tenant = row[i->tenant],
						       .used = (uint32_t)(i->tick_us / 1000),
						       .weight = i->weight,
						       .cpu = i->limit,
						       .serves = i->kind == SIM_SERVER,
						       .state = &i->state};
		i->tick_us = 0;
	}
	s->looked_at = n;
	s->busy_us = s->waited_ms = 0;
	if (!s->throttled)
		return;
	done = throttle_tick(&s->t, &host, tenants, nt, list, n, s->now_ms, changes, THROTTLE_CHANGES);
	s->changes += done;
	if (done > s->tick_changes_max)
		s->tick_changes_max = done;
	for (unsigned k = 0; k < done; k++)
		if (!changes[k].is_tenant)
			s->in[at[changes[k].index]].changes++;
}

void throttle_sim_run(struct sim *s, unsigned seconds)
{
	for (unsigned n = 0; n < seconds; n++) {
		for (unsigned q = 0; q < 1000 / QUANTUM_MS; q++)
			quantum(s);
		tick(s);
	}
}

void throttle_sim_mark(struct sim *s)
{
	s->latencies = s->changes = s->tick_changes_max = 0;
	for (unsigned n = 0; n < s->count; n++) {
		s->in[n].total_us = 0;
		s->in[n].changes = 0;
	}
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

double throttle_sim_p99(struct sim *s)
{
	assert(s->latencies > 100);
	qsort(s->latency, s->latencies, sizeof *s->latency, by_value);
	return (double)s->latency[s->latencies * 99ull / 100];
}

double throttle_sim_cpus(const struct sim *s, unsigned tenant, double seconds)
{
	double us = 0;

	for (unsigned n = 0; n < s->count; n++)
		if (tenant == SIM_TENANTS || s->in[n].tenant == tenant)
			us += s->in[n].total_us;
	return us / 1e6 / seconds;
}
