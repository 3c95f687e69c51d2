/* Who is kept off some CPUs: soon for one that lives in the kernel, never for one that starts, works or waits. */
#include "scheduler/confine.h"

#include <criterion/criterion.h>

#define LOOK_US 20000

struct world {
	struct confine_state s;
	int64_t now;
	uint64_t system;
	unsigned begins, ends;
};

/* So many thousandths of a CPU for so long. */
static void live(struct world *w, unsigned rate, unsigned ms)
{
	for (int64_t end = w->now + ms * 1000ll; w->now < end;) {
		w->now += LOOK_US;
		w->system += (uint64_t)rate * LOOK_US / 1000;
		switch (confine_look(&w->s, w->system, w->now)) {
		case CONFINE_BEGIN:
			w->begins++;
			break;
		case CONFINE_END:
			w->ends++;
			break;
		case CONFINE_STAY:
			break;
		}
	}
}

static struct world fresh(void)
{
	return (struct world){.now = 1000000, .system = 123456};
}

Test(scheduler_confine, a_fork_bomb_is_confined_at_the_second_look)
{
	struct world w = fresh();

	live(&w, 2000, 40);
	cr_assert_eq(w.begins, 1);
	live(&w, 2000, 10000);
	cr_assert_eq(w.begins, 1);
	cr_assert_eq(w.ends, 0, "for as long as it goes on");
}

Test(scheduler_confine, what_it_did_before_says_nothing)
{
	struct world w = fresh();

	live(&w, 10, 1000);
	w.now += 60000000; /* nobody looked for a minute */
	w.system += 50000000;
	live(&w, 10, 1000);
	cr_assert_eq(w.begins, 0);
}

Test(scheduler_confine, a_busy_server_is_left_alone)
{
	struct world w = fresh();

	live(&w, 250, 60000);
	cr_assert_eq(w.begins, 0);
	for (unsigned k = 0; k < 100; k++) { /* bursts: 11 ms of a look's 20 */
		live(&w, 550, 20);
		live(&w, 50, 180);
	}
	cr_assert_eq(w.begins, 0);
}

Test(scheduler_confine, a_steady_half_is_too_much)
{
	struct world w = fresh();

	live(&w, 450, 400);
	cr_assert_eq(w.begins, 1);
}

Test(scheduler_confine, calm_frees_and_pauses_gain_nothing)
{
	struct world w = fresh();
	int64_t confined = 0;

	live(&w, 2000, 1000);
	live(&w, 0, 3000);
	cr_assert_eq(w.ends, 1);
	/* Half of the time at work, half of it calm for just long enough: it is confined for longer and longer. */
	for (unsigned k = 0; k < 20; k++) {
		live(&w, 2000, 1000);
		for (unsigned n = 0; n < 60 && w.s.since_us; n++)
			live(&w, 0, 1000), confined++;
	}
	cr_assert_geq(confined, 20 * 16, "%lld", (long long)confined);
	/* After a minute of peace it begins as before. */
	live(&w, 0, 120000);
	live(&w, 2000, 100);
	live(&w, 0, 3000);
	cr_assert_eq(w.s.since_us, 0);
}

Test(scheduler_confine, one_cpu_in_eight_stays_clear)
{
	static const unsigned want[][2] = {{0, 0}, {1, 0}, {2, 1}, {4, 1}, {15, 1}, {16, 2}, {64, 8}, {100, 12}};

	for (unsigned i = 0; i < sizeof want / sizeof *want; i++)
		cr_assert_eq(confine_clear(want[i][0]), want[i][1], "%u", want[i][0]);
}
