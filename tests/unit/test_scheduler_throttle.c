/* The throttle against a simulated host: who yields, who does not, how soon, how often, and what a greedy tenant can
 * gain by being clever. */
#include "throttle_sim.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void ten_servers(struct sim *s, unsigned first_tenant)
{
	for (unsigned n = 0; n < 10; n++)
		throttle_sim_server(s, first_tenant + n, 20, 1); /* 2 % of a CPU each */
}

static double baseline(uint64_t seed)
{
	struct sim *s = throttle_sim_new(2, seed, false);
	double p99;

	ten_servers(s, 1);
	throttle_sim_run(s, 60);
	p99 = throttle_sim_p99(s);
	free(s);
	return p99;
}

Test(scheduler_throttle, does_nothing_without_contention)
{
	struct sim *s = throttle_sim_new(2, 1, true);

	ten_servers(s, 1);
	throttle_sim_spin(s, 0, 1); /* one of the two CPUs */
	throttle_sim_run(s, 60);
	cr_assert_eq(s->changes, 0, "%u changes", s->changes);
	cr_assert_not(s->t.contended);
	cr_assert_eq(s->t.contended_ms, 0);
	free(s);
}

Test(scheduler_throttle, one_spinner_costs_ten_servers_their_latency_without_and_not_with_it)
{
	double quiet = baseline(2), p99[2], spinner[2];

	for (unsigned on = 0; on < 2; on++) {
		struct sim *s = throttle_sim_new(2, 2, on);

		ten_servers(s, 1);
		throttle_sim_spin(s, 0, 4);
		throttle_sim_run(s, 15);
		throttle_sim_mark(s);
		throttle_sim_run(s, 60);
		p99[on] = throttle_sim_p99(s);
		spinner[on] = throttle_sim_cpus(s, 0, 60);
		free(s);
	}
	cr_assert_gt(p99[0], quiet * 1.4, "the neighbour must hurt: %.2f ms, alone %.2f ms", p99[0], quiet);
	cr_assert_leq(p99[1], quiet * 1.1, "%.2f ms, alone %.2f ms", p99[1], quiet);
	/* It keeps what nobody else wants, but for the headroom. */
	cr_assert_gt(spinner[1], 1.5, "spinner got %.2f of 2 CPUs", spinner[1]);
	cr_assert_geq(spinner[0], 1.7);
}

Test(scheduler_throttle, many_spinners_of_one_tenant_get_no_more_than_one)
{
	double p99[2], got[2];

	for (unsigned many = 0; many < 2; many++) {
		struct sim *s = throttle_sim_new(2, 3, true);

		ten_servers(s, 1);
		throttle_sim_spin(s, 20, 2); /* another greedy tenant */
		for (unsigned n = 0; n < (many ? 40 : 1); n++)
			throttle_sim_spin(s, 0, many ? 1 : 2);
		throttle_sim_run(s, 30);
		throttle_sim_mark(s);
		throttle_sim_run(s, 60);
		p99[many] = throttle_sim_p99(s);
		got[many] = throttle_sim_cpus(s, 0, 60);
		free(s);
	}
	cr_assert_leq(got[1], got[0] * 1.05 + 0.02, "forty got %.3f, one got %.3f", got[1], got[0]);
	cr_assert_leq(p99[1], baseline(3) * 1.1, "p99 %.2f ms", p99[1]);
}

Test(scheduler_throttle, all_greedy_are_left_to_the_kernel)
{
	struct sim *s = throttle_sim_new(4, 4, true);

	for (unsigned t = 0; t < 8; t++)
		throttle_sim_spin(s, t, 4);
	throttle_sim_run(s, 60);
	cr_assert(s->t.contended);
	cr_assert_eq(s->changes, 0, "%u changes: nobody is content with less, so nobody is a victim", s->changes);
	for (unsigned t = 0; t < 8; t++)
		cr_assert_float_eq(throttle_sim_cpus(s, t, 60), 0.5, 0.02);
	free(s);
}

Test(scheduler_throttle, shares_follow_the_weights_of_tenants_first)
{
	struct sim *s = throttle_sim_new(4, 5, true);

	throttle_sim_server(s, 2, 50, 1);
	s->tenant_weight[0] = 300;
	for (unsigned n = 0; n < 3; n++)
		throttle_sim_spin(s, 0, 4);
	for (unsigned n = 0; n < 12; n++)
		throttle_sim_spin(s, 1, 4);
	throttle_sim_run(s, 60);
	/* 4 CPUs less the headroom of 10 % and the server: 3 to 1. */
	cr_assert_float_eq((double)s->tenant_state[0].share, 3.0 * s->tenant_state[1].share, 30, "%u and %u",
			   s->tenant_state[0].share, s->tenant_state[1].share);
	cr_assert_geq(s->tenant_state[0].share, 2500);
	for (unsigned n = 1; n < 4; n++)
		cr_assert_float_eq((double)s->in[n].state.share, s->tenant_state[0].share / 3.0, 15);
	/* Nobody is held below its share or the floor. */
	for (unsigned n = 1; n < s->count; n++)
		cr_assert(!s->in[n].state.cpu || (s->in[n].state.cpu + 1 >= s->in[n].state.share * 0.9 &&
						  s->in[n].state.cpu >= THROTTLE_FLOOR),
			  "%u held at %u, share %u", n, s->in[n].state.cpu, s->in[n].state.share);
	free(s);
}

Test(scheduler_throttle, what_some_leave_goes_to_those_who_want)
{
	struct sim *s = throttle_sim_new(4, 6, true);

	throttle_sim_spin(s, 0, 4);
	throttle_sim_spin(s, 1, 4);
	throttle_sim_spin(s, 2, 1)->limit = 200; /* content with its own limit */
	throttle_sim_server(s, 3, 100, 1);
	throttle_sim_run(s, 60);
	cr_assert_gt(s->tenant_state[0].share, 1450, "%u", s->tenant_state[0].share);
	cr_assert_eq(s->in[2].state.weight, 0, "one at its own limit is not over");
	cr_assert_eq(s->in[3].state.level, 0);
	free(s);
}

Test(scheduler_throttle, falls_a_step_a_tick_and_recovers)
{
	struct sim *s = throttle_sim_new(2, 7, true);
	struct sim_instance *spin;
	uint32_t before;
	unsigned ticks = 0;

	ten_servers(s, 1);
	spin = throttle_sim_spin(s, 0, 4);
	spin->from_ms = 11000;
	throttle_sim_run(s, 10);
	for (unsigned n = 0; n < 30; n++) {
		struct throttle_state was = spin->state;

		throttle_sim_run(s, 1);
		cr_assert_leq(spin->state.level, was.level + 1);
		if (was.cpu && spin->state.cpu)
			cr_assert_geq(spin->state.cpu + 1, was.cpu * 3 / 4);
	}
	cr_assert_eq(s->tenant_state[0].weight, 1);
	cr_assert_neq(spin->state.cpu, 0, "the quota falls when it lasts");
	before = spin->state.cpu;
	cr_assert_lt(before, 2000);
	/* The servers end: the spinner is alone and gets all back. */
	for (unsigned n = 0; n < 10; n++)
		s->in[n].until_ms = s->now_ms;
	while ((spin->state.weight || spin->state.cpu || s->tenant_state[0].weight) && ticks < 60) {
		throttle_sim_run(s, 1);
		ticks++;
	}
	cr_assert_leq(ticks, 25, "%u ticks until all is back", ticks);
	throttle_sim_mark(s);
	throttle_sim_run(s, 20);
	cr_assert_float_eq(throttle_sim_cpus(s, 0, 20), 2.0, 0.01);
	free(s);
}

Test(scheduler_throttle, recovers_when_the_greedy_one_calms_down)
{
	struct sim *s = throttle_sim_new(2, 8, true);
	struct sim_instance *spin;

	ten_servers(s, 1);
	spin = throttle_sim_spin(s, 0, 4);
	spin->until_ms = 31000;
	throttle_sim_run(s, 30);
	cr_assert_eq(s->tenant_state[0].weight, 1);
	throttle_sim_run(s, 30);
	cr_assert_eq(s->tenant_state[0].weight, 0);
	cr_assert_eq(spin->state.weight, 0);
	cr_assert_eq(spin->state.cpu, 0);
	cr_assert_eq(spin->state.since_ms, 0);
	cr_assert_not(s->t.contended);
	free(s);
}

Test(scheduler_throttle, a_constant_load_settles)
{
	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct sim *s = throttle_sim_new(2, seed, true);

		ten_servers(s, 1);
		for (unsigned n = 0; n < 3; n++)
			throttle_sim_spin(s, 0, 1);
		throttle_sim_spin(s, 11, 2);
		throttle_sim_run(s, 40);
		throttle_sim_mark(s);
		throttle_sim_run(s, 300);
		/* 4 spinners, 2 greedy tenants: a few corrections in five minutes. */
		cr_assert_leq(s->changes, 60, "seed %lu: %u changes in 300 ticks", (unsigned long)seed, s->changes);
		for (unsigned n = 0; n < 10; n++)
			cr_assert_leq(s->in[n].changes, 2, "a server was touched %u times", s->in[n].changes);
		free(s);
	}
}

Test(scheduler_throttle, a_quiet_sibling_is_boosted_at_once_when_it_wakes)
{
	struct sim *s = throttle_sim_new(2, 9, true);
	struct sim_instance *server;

	throttle_sim_spin(s, 0, 4);
	throttle_sim_spin(s, 1, 4);
	server = throttle_sim_server(s, 0, 50, 2); /* with the spinner in one tenant */
	server->from_ms = 21000;
	throttle_sim_run(s, 20);
	cr_assert_eq(server->state.weight, 0);
	throttle_sim_run(s, 1);
	cr_assert_eq(server->state.weight, 400, "%u", server->state.weight);
	throttle_sim_run(s, 10);
	cr_assert_eq(s->in[0].state.weight, 1, "its greedy sibling yields");
	cr_assert_eq(server->state.weight, 400);
	for (unsigned n = 0; n < 2; n++)
		s->in[n].until_ms = s->now_ms;
	throttle_sim_run(s, 20);
	cr_assert_eq(server->state.weight, 0, "the boost ends with the contention");
	free(s);
}

Test(scheduler_throttle, bursts_just_off_the_tick_gain_nothing)
{
	/* on, every, phase: whole ticks in turn, half ticks, off by half a tick, long pauses */
	static const unsigned patterns[][3] = {{1000, 2000, 0}, {1000, 2000, 500}, {500, 1000, 0}, {900, 1000, 950},
					       {3000, 6000, 0}, {2000, 3000, 300}, {100, 300, 0}};
	double steady, p99_alone = baseline(10);

	for (int p = -1; p < (int)(sizeof patterns / sizeof *patterns); p++) {
		struct sim *s = throttle_sim_new(2, 10, true);
		struct sim_instance *spin;
		double got;

		ten_servers(s, 2);
		throttle_sim_spin(s, 1, 2); /* an honest greedy one */
		spin = throttle_sim_spin(s, 0, 4);
		if (p >= 0) {
			spin->on_ms = patterns[p][0];
			spin->every_ms = patterns[p][1];
			spin->phase_ms = patterns[p][2];
		}
		throttle_sim_run(s, 60);
		throttle_sim_mark(s);
		throttle_sim_run(s, 240);
		got = throttle_sim_cpus(s, 0, 240);
		if (p < 0)
			steady = got;
		cr_assert_leq(got, steady * 1.05, "pattern %d got %.3f, a steady one %.3f", p, got, steady);
		cr_assert_leq(throttle_sim_p99(s), p99_alone * 2.2, "pattern %d: the servers' p99 %.2f ms, alone %.2f",
			      p, throttle_sim_p99(s), p99_alone);
		free(s);
	}
}

Test(scheduler_throttle, fakes_of_service_gain_nothing)
{
	double plain, fake;

	for (unsigned f = 0; f < 2; f++) {
		struct sim *s = throttle_sim_new(2, 11, true);

		ten_servers(s, 2);
		throttle_sim_spin(s, 1, 2);
		if (f) /* a spinner that has requests sent to itself */
			throttle_sim_server(s, 0, 1000, 10)->threads = 4;
		else
			throttle_sim_spin(s, 0, 4);
		throttle_sim_run(s, 30);
		throttle_sim_mark(s);
		throttle_sim_run(s, 60);
		*(f ? &fake : &plain) = throttle_sim_cpus(s, 0, 60);
		free(s);
	}
	cr_assert_leq(fake, plain * 1.05, "%.3f against %.3f", fake, plain);
}

Test(scheduler_throttle, nobody_starves)
{
	struct sim *s = throttle_sim_new(2, 12, true);

	for (unsigned t = 0; t < 20; t++)
		throttle_sim_spin(s, t, 1 + t % 4);
	for (unsigned t = 20; t < 60; t++)
		throttle_sim_server(s, t, 10, 2);
	s->tenant_weight[0] = 1000;
	throttle_sim_run(s, 30);
	throttle_sim_mark(s);
	throttle_sim_run(s, 60);
	for (unsigned t = 0; t < 60; t++) {
		double got = throttle_sim_cpus(s, t, 60);

		cr_assert_geq(got, t < 20 ? s->tenant_state[t].share * 0.0009 : 0.018, "tenant %u got %.3f CPUs", t,
			      got);
	}
	free(s);
}

Test(scheduler_throttle, five_hundred_mixed)
{
	double p99[2], used[2];

	for (unsigned on = 0; on < 2; on++) {
		struct sim *s = throttle_sim_new(16, 13, on);

		for (unsigned n = 0; n < 450; n++) /* 250 tenants; 9 CPUs' worth of requests in all */
			throttle_sim_server(s, n % 250, 10 + n % 7, 1 + n % 3 * 0.5);
		for (unsigned n = 0; n < 30; n++)
			throttle_sim_spin(s, 250 + n % 10, 1 + n % 4);
		for (unsigned n = 0; n < 20; n++) {
			struct sim_instance *i = throttle_sim_spin(s, 260 + n, 2);

			i->on_ms = 700;
			i->every_ms = 5000;
			i->phase_ms = n * 251;
		}
		throttle_sim_run(s, 30);
		throttle_sim_mark(s);
		throttle_sim_run(s, 60);
		p99[on] = throttle_sim_p99(s);
		used[on] = throttle_sim_cpus(s, SIM_TENANTS, 60);
		cr_assert_leq(s->tick_changes_max, THROTTLE_CHANGES);
		if (on)
			cr_assert_leq(s->changes, 700, "%u changes in 60 ticks", s->changes);
		for (unsigned n = 0; n < 450; n++)
			cr_assert_eq(s->in[n].state.cpu, 0, "server %u is held", n);
		free(s);
	}
	cr_assert_lt(p99[1], p99[0] * 0.8, "%.2f ms with, %.2f ms without", p99[1], p99[0]);
	cr_assert_gt(used[1], used[0] * 0.85, "%.1f CPUs with, %.1f without", used[1], used[0]);
}

Test(scheduler_throttle, the_idle_cost_nothing_and_a_tick_is_bounded)
{
	struct sim *s = throttle_sim_new(2, 14, true);

	for (unsigned n = 0; n < 500; n++)
		throttle_sim_spin(s, n % 200, 1)->kind = SIM_IDLE;
	ten_servers(s, 201);
	for (unsigned n = 0; n < 40; n++)
		throttle_sim_spin(s, 211 + n, 1);
	for (unsigned n = 0; n < 20; n++) {
		throttle_sim_run(s, 1);
		cr_assert_leq(s->looked_at, 50, "%u looked at", s->looked_at);
	}
	cr_assert_leq(s->tick_changes_max, THROTTLE_CHANGES);
	/* More wanted to change than a tick allows; all of them got there. */
	for (unsigned n = 510; n < 550; n++)
		cr_assert_eq(s->tenant_state[s->in[n].tenant].weight, 1, "spinner %u", n);
	for (unsigned n = 0; n < 500; n++)
		cr_assert(!throttle_state_holds(&s->in[n].state));
	free(s);
}

Test(scheduler_throttle, works_from_the_run_queue_where_the_kernel_tells_no_pressure)
{
	struct sim *s = throttle_sim_new(2, 15, true);

	s->psi = false;
	ten_servers(s, 1);
	throttle_sim_spin(s, 0, 4);
	throttle_sim_run(s, 20);
	cr_assert_eq(s->tenant_state[0].weight, 1);
	free(s);
}

Test(scheduler_throttle, release_gives_all_back)
{
	struct sim *s = throttle_sim_new(2, 16, true);
	struct throttle_tenant tenants[1];
	struct throttle_instance list[1];
	struct throttle_change changes[THROTTLE_CHANGES];

	ten_servers(s, 1);
	throttle_sim_spin(s, 0, 4);
	throttle_sim_run(s, 20);
	tenants[0] = (struct throttle_tenant){.weight = 100, .state = &s->tenant_state[0]};
	list[0] = (struct throttle_instance){.weight = 100, .state = &s->in[10].state};
	cr_assert_eq(throttle_release(tenants, 1, list, 1, changes, THROTTLE_CHANGES), 2);
	for (unsigned n = 0; n < 2; n++) {
		cr_assert_eq(changes[n].weight, 0);
		cr_assert_eq(changes[n].cpu, 0);
		cr_assert_eq(changes[n].step, THROTTLE_END);
	}
	cr_assert_eq(throttle_release(tenants, 1, list, 1, changes, THROTTLE_CHANGES), 0);
	free(s);
}
