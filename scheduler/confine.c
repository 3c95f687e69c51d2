/* Who is kept off some CPUs, and for how long.  Layer scheduler.  Declared in confine.h. */
#include "scheduler/confine.h"

static enum confine_step confine_begin(struct confine_state *s, int64_t now_us)
{
	if (s->freed_us && now_us - s->freed_us < CONFINE_AGAIN_MS * 1000ll)
		s->hold += s->hold < CONFINE_HOLD_MAX;
	else
		s->hold = 0;
	s->since_us = now_us;
	s->calm_us = 0;
	return CONFINE_BEGIN;
}

static enum confine_step confine_hold(struct confine_state *s, int64_t now_us)
{
	if (s->mean >= CONFINE_CALM) {
		s->calm_us = 0;
		return CONFINE_STAY;
	}
	if (!s->calm_us)
		s->calm_us = now_us;
	if (now_us - s->calm_us < (CONFINE_HOLD_MS * 1000ll) << s->hold)
		return CONFINE_STAY;
	s->since_us = 0;
	s->freed_us = now_us;
	return CONFINE_END;
}

enum confine_step confine_look(struct confine_state *s, uint64_t system_us, int64_t now_us)
{
	int64_t span = now_us - s->at_us;
	float rate, part;
	bool fresh = s->at_us && span > 0 && span <= CONFINE_FRESH_MS * 1000ll && system_us >= s->system_us;

	if (s->at_us && span <= 0)
		return CONFINE_STAY;
	rate = s->at_us && system_us >= s->system_us ? (float)(system_us - s->system_us) * 1000 / (float)span : 0;
	part = (float)span / (CONFINE_MEAN_MS * 1000.0f);
	s->mean += (rate - s->mean) * (part < 1 ? part : 1);
	s->system_us = system_us;
	s->at_us = now_us;
	if (s->since_us)
		return confine_hold(s, now_us);
	/* What it did a while ago says nothing about now. */
	if (!fresh)
		s->mean = 0;
	else if (rate >= CONFINE_NOW || s->mean >= CONFINE_LONG)
		return confine_begin(s, now_us);
	return CONFINE_STAY;
}

unsigned confine_clear(unsigned cpus)
{
	return cpus < 2 ? 0 : cpus < 2 * CONFINE_CLEAR_PART ? 1 : cpus / CONFINE_CLEAR_PART;
}
