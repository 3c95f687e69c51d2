/* Deadlines of the front door: never early, soon after, also when moved, removed or far away. */
#include "web/proxy/internal.h"

#include <criterion/criterion.h>

#define TICK (1ll << WHEEL_SHIFT)
#define START (1000 * TICK + 7)

struct probe {
	struct wheel_entry e;
	int fired;
};

static struct wheel wheel;

static void on_fire(struct wheel_entry *e)
{
	PROXY_OF(e, struct probe, e)->fired++;
}

static void advance(int64_t *now, int64_t to)
{
	while (*now < to) {
		*now += TICK / 3;
		wheel_run(&wheel, *now);
	}
}

Test(proxy, wheel_fires_after_and_soon)
{
	int64_t now = START;

	wheel_init(&wheel, now);
	for (int64_t wait = 1; wait < 3 * WHEEL_SLOTS * TICK; wait = wait * 3 + 1) {
		struct probe p = {.e.fn = on_fire};
		int64_t due = now + wait;
		wheel_set(&wheel, &p.e, due);
		while (!p.fired) {
			now += TICK / 3;
			wheel_run(&wheel, now);
			cr_assert_leq(now, due + 3 * TICK, "late by %lld us", (long long)(now - due));
		}
		cr_assert_geq(now, due);
		cr_assert_eq(wheel.count, 0u);
	}
}

Test(proxy, wheel_moves)
{
	struct probe p = {.e.fn = on_fire};
	int64_t now = START;

	wheel_init(&wheel, now);
	wheel_set(&wheel, &p.e, now + 10 * TICK);
	wheel_set(&wheel, &p.e, now + 50 * TICK);
	advance(&now, START + 49 * TICK);
	cr_assert_eq(p.fired, 0);
	wheel_set(&wheel, &p.e, now + 100 * TICK);
	wheel_set(&wheel, &p.e, now + 3 * TICK);
	advance(&now, now + 6 * TICK);
	cr_assert_eq(p.fired, 1);
	wheel_set(&wheel, &p.e, now + 5 * TICK);
	wheel_set(&wheel, &p.e, 0);
	advance(&now, now + 20 * TICK);
	cr_assert_eq(p.fired, 1);
	wheel_set(&wheel, &p.e, now + 5 * TICK);
	wheel_del(&wheel, &p.e);
	wheel_del(&wheel, &p.e);
	advance(&now, now + 20 * TICK);
	cr_assert(p.fired == 1 && wheel.count == 0);
}

static struct probe victim;

static void on_kill(struct wheel_entry *e)
{
	on_fire(e);
	wheel_del(&wheel, &victim.e);
}

static void on_again(struct wheel_entry *e)
{
	on_fire(e);
	wheel_set(&wheel, e, START);
}

Test(proxy, wheel_changes_while_it_runs)
{
	struct probe killer = {.e.fn = on_kill}, again = {.e.fn = on_again};
	int64_t now = START;

	wheel_init(&wheel, now);
	victim = (struct probe){.e.fn = on_fire};
	/* The newest runs first. */
	wheel_set(&wheel, &victim.e, now + 5 * TICK);
	wheel_set(&wheel, &killer.e, now + 5 * TICK);
	advance(&now, now + 10 * TICK);
	cr_assert(killer.fired == 1 && victim.fired == 0);
	/* A deadline in the past, set from within: each tick once, not for ever. */
	wheel_set(&wheel, &again.e, now);
	advance(&now, now + 30 * TICK);
	cr_assert(again.fired > 10 && again.fired <= 32, "%d", again.fired);
	wheel_del(&wheel, &again.e);
}

Test(proxy, wheel_after_a_long_sleep)
{
	struct probe p[3] = {{.e.fn = on_fire}, {.e.fn = on_fire}, {.e.fn = on_fire}};
	int64_t now = START;

	wheel_init(&wheel, now);
	wheel_set(&wheel, &p[0].e, now + TICK);
	wheel_set(&wheel, &p[1].e, now + 700 * TICK);
	wheel_set(&wheel, &p[2].e, now + 9000 * TICK);
	now += 5000 * TICK;
	wheel_run(&wheel, now);
	cr_assert(p[0].fired == 1 && p[1].fired == 1 && p[2].fired == 0);
	advance(&now, START + 9003 * TICK);
	cr_assert_eq(p[2].fired, 1);
}
