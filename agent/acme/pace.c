/* When a certificate is ordered.  Layer agent, control process; pure. */
#include "agent/acme/pace.h"

#define PACE_HOUR_MS 3600000ll

static int64_t pace_less(int64_t ms, uint64_t seed)
{
	return ms - (int64_t)((uint64_t)ms / 10 * (seed % 1000) / 1000);
}

static int64_t pace_double(int64_t first, int64_t most, unsigned n, uint64_t seed)
{
	int64_t ms = first;

	for (unsigned i = 1; i < n && ms < most; i++)
		ms *= 2;
	return pace_less(ms < most ? ms : most, seed);
}

int64_t pace_renew(int64_t not_before_ms, int64_t not_after_ms, uint64_t seed)
{
	int64_t third = (not_after_ms - not_before_ms) / 3;

	return not_after_ms - third - (third - pace_less(third, seed));
}

int64_t pace_refused(unsigned n, uint64_t seed)
{
	return pace_double(300000, 24 * PACE_HOUR_MS, n, seed);
}

int64_t pace_unavailable(unsigned n, uint64_t seed)
{
	return pace_double(5000, PACE_HOUR_MS, n, seed);
}

int64_t pace_info(uint32_t retry_s, int64_t now_ms)
{
	int64_t s = retry_s ? retry_s : 21600;

	return now_ms + (s < 60 ? 60 : s > 86400 ? 86400 : s) * 1000;
}

int64_t pace_window_choose(int64_t from_ms, int64_t to_ms, int64_t not_before_ms, int64_t not_after_ms, uint64_t seed)
{
	int64_t at = from_ms + (to_ms - from_ms) / 1000 * (int64_t)(seed % 1000);
	int64_t life = not_after_ms - not_before_ms, last = not_after_ms - life / 10;
	int64_t first = not_before_ms + (life / 3 < 24 * PACE_HOUR_MS ? life / 3 : 24 * PACE_HOUR_MS);

	/* A past one means at once (a certificate that will be revoked); but an authority that says so of each new one
	 * would have another ordered for ever. */
	return at < first ? first : at < last ? at : last;
}

int64_t pace_staple(int64_t this_ms, int64_t next_ms, int64_t now_ms, uint64_t seed)
{
	int64_t pause = PACE_HOUR_MS;

	if (next_ms) {
		pause = this_ms + (next_ms - this_ms) / 2 - now_ms;
		if (pause <= 0)
			pause = (next_ms - now_ms) / 2;
		pause = pace_less(pause < 84 * PACE_HOUR_MS ? pause : 84 * PACE_HOUR_MS, seed);
	}
	return now_ms + (pause > 60000 ? pause : 60000);
}

int64_t pace_unstapled(unsigned n, uint64_t seed)
{
	return pace_double(60000, PACE_HOUR_MS, n, seed);
}

int64_t pace_window_next(const struct pace_window *w, uint32_t most, int64_t now_ms)
{
	/* A clock that went back begins anew. */
	if (w->count < most || now_ms - w->since_ms >= PACE_HOUR_MS || now_ms < w->since_ms)
		return 0;
	return w->since_ms + PACE_HOUR_MS;
}

void pace_window_add(struct pace_window *w, int64_t now_ms)
{
	if (w->count == 0 || now_ms - w->since_ms >= PACE_HOUR_MS || now_ms < w->since_ms) {
		w->since_ms = now_ms;
		w->count = 0;
	}
	w->count++;
}
