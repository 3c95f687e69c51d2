/* A host with CPUs shared by weight at two levels, the idle class and quotas, for the tests of scheduler/throttle.h.
 * Fluid: every 10 ms each takes its part.  Deterministic, seeded. */
#ifndef TULOU_TESTS_THROTTLE_SIM_H
#define TULOU_TESTS_THROTTLE_SIM_H

#include "scheduler/throttle.h"

#define SIM_INSTANCES 600
#define SIM_TENANTS 300
#define SIM_LATENCIES 400000

enum sim_kind { SIM_IDLE, SIM_SPIN, SIM_SERVER };

struct sim_instance {
	enum sim_kind kind;
	unsigned tenant;
	uint32_t weight, limit; /* limit 0 = none */
	unsigned threads;	/* SPIN: CPUs it can fill */
	double rate, cost_ms;	/* SERVER: requests a second, CPU time of one */
	/* SPIN works while (ms + phase) % every < on; every 0 = always */
	unsigned on_ms, every_ms, phase_ms;
	int64_t from_ms, until_ms; /* lives; until 0 = for ever */
	/* state */
	double backlog_us, spent_us; /* waiting work; of the quota's period */
	double tick_us, total_us;    /* used in this tick, in all */
	double got_us;		     /* in this quantum */
	uint64_t served;
	struct throttle_state state;
	unsigned changes;
};

struct sim {
	uint64_t seed;
	unsigned cpus;
	bool throttled; /* the throttle is on */
	bool psi;	/* the kernel tells pressure */
	struct throttle t;
	uint32_t tenant_weight[SIM_TENANTS];
	struct throttle_state tenant_state[SIM_TENANTS];
	struct sim_instance in[SIM_INSTANCES];
	unsigned count, tenants;
	int64_t now_ms;
	float latency[SIM_LATENCIES]; /* ms, of the servers' requests since throttle_throttle_sim_mark() */
	unsigned latencies;
	unsigned changes, tick_changes_max; /* since throttle_throttle_sim_mark() */
	unsigned looked_at;		    /* instances in the last tick */
	double waited_ms;
	double busy_us;
};

struct sim *throttle_sim_new(unsigned cpus, uint64_t seed, bool throttled); /* free() */
/* Adds one of the next tenant number `tenant`; returns it for changes. */
struct sim_instance *throttle_sim_spin(struct sim *s, unsigned tenant, unsigned threads);
struct sim_instance *throttle_sim_server(struct sim *s, unsigned tenant, double rate, double cost_ms);
void throttle_sim_run(struct sim *s, unsigned seconds);
void throttle_sim_mark(struct sim *s); /* forgets latencies, totals and changes */
double throttle_sim_p99(struct sim *s);
/* CPUs used since throttle_throttle_sim_mark() by a tenant; SIM_TENANTS = all. */
double throttle_sim_cpus(const struct sim *s, unsigned tenant, double seconds);

#endif
