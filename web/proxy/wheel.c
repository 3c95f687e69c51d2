/* Deadlines.  Layer web, proxy process.
 * An entry hangs in the slot of some tick not after its deadline.  Most deadlines are moved away long before they come,
 * so moving stores the new time only; when the slot's turn comes, the entry is hung up again. */
#include "web/proxy/internal.h"

#include <string.h>

void wheel_init(struct wheel *w, int64_t now_us)
{
	memset(w, 0, sizeof *w);
	w->tick = now_us >> WHEEL_SHIFT;
}

static void wheel_hang(struct wheel *w, struct wheel_entry *e)
{
	/* Rounded up: a deadline never fires early. */
	int64_t tick = (e->deadline_us >> WHEEL_SHIFT) + 1;

	/* Never into the slot that may just be running. */
	if (tick <= w->tick)
		tick = w->tick + 1;
	if (tick >= w->tick + WHEEL_SLOTS)
		tick = w->tick + WHEEL_SLOTS - 1;
	e->tick = tick;
	LIST_INSERT_HEAD(&w->slot[tick % WHEEL_SLOTS], e, link);
	w->count++;
}

void wheel_set(struct wheel *w, struct wheel_entry *e, int64_t deadline_us)
{
	e->deadline_us = deadline_us;
	if (deadline_us == 0)
		return;
	if (e->tick && e->tick <= (deadline_us >> WHEEL_SHIFT) + 1)
		return;
	if (e->tick)
		wheel_del(w, e);
	e->deadline_us = deadline_us;
	wheel_hang(w, e);
}

void wheel_del(struct wheel *w, struct wheel_entry *e)
{
	if (e->tick) {
		LIST_REMOVE(e, link);
		w->count--;
	}
	e->tick = 0;
	e->deadline_us = 0;
}

void wheel_run(struct wheel *w, int64_t now_us)
{
	int64_t last = now_us >> WHEEL_SHIFT;

	/* After a long pause every slot is due once. */
	if (last - w->tick >= WHEEL_SLOTS)
		w->tick = last - WHEEL_SLOTS + 1;
	for (; w->tick <= last; w->tick++) {
		LIST_HEAD(, wheel_entry) due;
		struct wheel_entry *e;

		/* fn may remove any other entry, so the list is emptied from its head. */
		due.lh_first = LIST_FIRST(&w->slot[w->tick % WHEEL_SLOTS]);
		if (due.lh_first)
			due.lh_first->link.le_prev = &due.lh_first;
		LIST_INIT(&w->slot[w->tick % WHEEL_SLOTS]);
		while ((e = LIST_FIRST(&due))) {
			LIST_REMOVE(e, link);
			w->count--;
			e->tick = 0;
			if (e->deadline_us == 0)
				continue;
			if (e->deadline_us > now_us) {
				wheel_hang(w, e);
				continue;
			}
			e->deadline_us = 0;
			e->fn(e);
		}
	}
}
