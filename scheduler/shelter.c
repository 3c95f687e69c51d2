/* Who may stay on the clear CPUs while somebody is confined.  Layer scheduler.  Declared in shelter.h. */
#include "scheduler/shelter.h"

static bool shelter_paused(const struct shelter *s, int64_t now_us)
{
	return s->full_us && now_us - s->full_us < (SHELTER_PAUSE_MS * 1000ll) << s->pause;
}

/* Only over a whole span: idle time is told in steps of 10 ms. */
static bool shelter_full(struct shelter *s, unsigned clear, uint64_t idle_us, int64_t now_us)
{
	int64_t span = now_us - s->at_us;
	uint64_t idle = idle_us - s->idle_us;

	if (s->at_us && span < SHELTER_LOOK_MS * 1000ll)
		return false;
	if (!s->at_us || idle_us < s->idle_us)
		span = 0;
	s->idle_us = idle_us;
	s->at_us = now_us;
	return span > 0 && idle * 1000 < (uint64_t)span * clear * (1000 - SHELTER_FULL);
}

enum shelter_step shelter_look(struct shelter *s, unsigned confined, unsigned clear, uint64_t idle_us, int64_t now_us)
{
	if (confined == 0) {
		bool was = s->open;
		*s = (struct shelter){0};
		return was ? SHELTER_CLOSE : SHELTER_STAY;
	}
	if (clear == 0 || shelter_paused(s, now_us))
		return SHELTER_STAY;
	if (!s->open) {
		s->open = true;
		s->idle_us = idle_us;
		s->at_us = now_us;
		return SHELTER_OPEN;
	}
	if (!shelter_full(s, clear, idle_us, now_us))
		return SHELTER_STAY;
	s->pause += s->full_us && s->pause < SHELTER_PAUSE_MAX;
	s->full_us = now_us;
	s->open = false;
	return SHELTER_CLOSE;
}

void shelter_round(struct shelter *s)
{
	s->taken = 0;
}

bool shelter_front(struct shelter *s, unsigned clear, uint32_t use)
{
	if (!s->open || (uint64_t)s->taken + use > (uint64_t)SHELTER_FILL * clear)
		return false;
	s->taken += use;
	return true;
}

bool shelter_tenant(struct shelter *s, unsigned clear, uint32_t use, bool in)
{
	return use <= (in ? SHELTER_LOUD : SHELTER_QUIET) && shelter_front(s, clear, use);
}
