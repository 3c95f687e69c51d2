/* Who stays on the clear CPUs while somebody is confined: the quiet, as long as they fit; nobody when these are full.
 */
#include "scheduler/shelter.h"

#include <criterion/criterion.h>

#define LOOK_US (SHELTER_LOOK_MS * 1000)

struct world {
	struct shelter s;
	int64_t now;
	uint64_t idle;
	unsigned opens, closes;
};

static struct world fresh(void)
{
	return (struct world){.now = 5000000, .idle = 777};
}

/* For so long, with clear CPUs that are busy for so many thousandths. */
static void live(struct world *w, unsigned confined, unsigned clear, unsigned busy, unsigned ms)
{
	for (int64_t end = w->now + ms * 1000ll; w->now < end; w->now += LOOK_US) {
		switch (shelter_look(&w->s, confined, clear, w->idle, w->now)) {
		case SHELTER_OPEN:
			w->opens++;
			break;
		case SHELTER_CLOSE:
			w->closes++;
			break;
		case SHELTER_STAY:
			break;
		}
		w->idle += (uint64_t)LOOK_US * clear * (1000 - busy) / 1000;
	}
}

Test(scheduler_shelter, opens_with_the_first_confined_and_closes_with_the_last)
{
	struct world w = fresh();

	live(&w, 0, 1, 100, 5000);
	cr_assert_eq(w.opens + w.closes, 0);
	live(&w, 1, 1, 100, LOOK_US / 1000);
	cr_assert(w.s.open, "at the first look");
	live(&w, 3, 1, 500, 60000);
	cr_assert_eq(w.opens, 1);
	cr_assert_eq(w.closes, 0);
	live(&w, 0, 1, 500, LOOK_US / 1000);
	cr_assert_not(w.s.open);
	cr_assert_eq(w.closes, 1);
}

Test(scheduler_shelter, closes_when_the_clear_cpus_are_full_and_waits_longer_each_time)
{
	struct world w = fresh();
	int64_t closed, wait = 0;

	live(&w, 1, 2, 900, 600);
	cr_assert_eq(w.closes, 1);
	cr_assert_not(w.s.open);
	for (unsigned i = 0; i < 4; i++) {
		closed = w.now;
		while (!w.s.open)
			live(&w, 1, 2, 900, SHELTER_LOOK_MS);
		cr_assert_gt(w.now - closed, wait + wait / 2, "time %u", i);
		wait = w.now - closed;
		while (w.s.open)
			live(&w, 1, 2, 900, SHELTER_LOOK_MS);
	}
	live(&w, 0, 2, 900, SHELTER_LOOK_MS);
	live(&w, 1, 2, 100, SHELTER_LOOK_MS);
	cr_assert(w.s.open, "of another time nothing is remembered");
}

Test(scheduler_shelter, two_looks_within_a_span_are_no_measure)
{
	struct shelter s = {0};

	cr_assert_eq(shelter_look(&s, 1, 1, 1000, 1000000), SHELTER_OPEN);
	cr_assert_eq(shelter_look(&s, 1, 1, 1000, 1000000 + LOOK_US / 2), SHELTER_STAY,
		     "no idle time yet: ticks are of 10 ms");
	cr_assert_eq(shelter_look(&s, 1, 1, 1000 + LOOK_US / 2, 1000000 + LOOK_US), SHELTER_STAY, "half of the span");
	cr_assert_eq(shelter_look(&s, 1, 1, 900, 1000000 + 2 * LOOK_US), SHELTER_STAY,
		     "a counter that went back says nothing");
}

Test(scheduler_shelter, without_clear_cpus_there_is_none)
{
	struct world w = fresh();

	live(&w, 1, 0, 0, 10000);
	cr_assert_eq(w.opens, 0);
	cr_assert_not(shelter_tenant(&w.s, 1, 0, false), "nobody comes in while it is closed");
}

Test(scheduler_shelter, who_is_quiet_comes_in_as_long_as_all_fit)
{
	struct shelter s = {.open = true};

	shelter_round(&s);
	cr_assert(shelter_front(&s, 1, 150), "the front door may use more than a tenant");
	cr_assert(shelter_tenant(&s, 1, SHELTER_QUIET, false));
	cr_assert_not(shelter_tenant(&s, 1, SHELTER_QUIET + 1, false), "not quiet");
	cr_assert(shelter_tenant(&s, 1, SHELTER_QUIET + 1, true), "but it may stay");
	cr_assert_not(shelter_tenant(&s, 1, SHELTER_QUIET, false), "that would be %u", SHELTER_FILL + 51);
	cr_assert(shelter_tenant(&s, 1, 0, false), "who sleeps always fits");
	cr_assert_not(shelter_tenant(&s, 1, SHELTER_LOUD + 1, true), "too loud to stay");
	shelter_round(&s);
	cr_assert_not(shelter_front(&s, 1, SHELTER_FILL + 1), "a busy front door stays everywhere");
	cr_assert(shelter_front(&s, 2, SHELTER_FILL + 1), "two CPUs have room for it");
	cr_assert_not(shelter_front(&s, 1, UINT32_MAX));
}
