/* When a certificate is ordered: renewal, pauses after failures.  Layer agent, control process; pure.
 * Times are wall clock, milliseconds. */
#ifndef TULOU_AGENT_ACME_PACE_H
#define TULOU_AGENT_ACME_PACE_H

#include <stdint.h>

/* When a third of its time is left, less up to a tenth of that third, which `seed` chooses: certificates of one day are
 * not renewed in one hour. */
int64_t pace_renew(int64_t not_before_ms, int64_t not_after_ms, uint64_t seed);

/* Pause after the n-th failure in a row of one name (n >= 1): 5 minutes, doubled each time up to a day, less up to a
 * tenth.  Let's Encrypt allows five failed validations of a name in an hour. */
int64_t pace_refused(unsigned n, uint64_t seed);

/* After the n-th time in a row that the authority could not be had: 5 s, doubled up to an hour, less up to a tenth. */
int64_t pace_unavailable(unsigned n, uint64_t seed);

/* When an authority is asked again for renewal information: after what it asked for, between a minute and a day; after
 * six hours when it said nothing. */
int64_t pace_info(uint32_t retry_s, int64_t now_ms);

/* The moment in an authority's window that seed chooses; never later than a tenth of the lifetime before its
 * end, nor sooner than a day, at most a third of the lifetime, after it was signed. */
int64_t pace_window_choose(int64_t from_ms, int64_t to_ms, int64_t not_before_ms, int64_t not_after_ms, uint64_t seed);

/* When a responder is asked again about a certificate: when its answer has held for half of its time, or, when that is
 * over, at half of what is left; less up to a tenth; not before a minute and not after half a week.  next_ms 0: the
 * answer does not say; in an hour. */
int64_t pace_staple(int64_t this_ms, int64_t next_ms, int64_t now_ms, uint64_t seed);

/* Pause after the n-th time in a row that it did not answer: a minute, doubled up to an hour, less up to a tenth. */
int64_t pace_unstapled(unsigned n, uint64_t seed);

/* At most `most` in an hour.  What is counted lies with the caller; all zero = nothing yet. */
struct pace_window {
	int64_t since_ms;
	uint32_t count;
	uint32_t pad;
};
/* 0 when one more may be now, else when it may be. */
int64_t pace_window_next(const struct pace_window *w, uint32_t most, int64_t now_ms);
void pace_window_add(struct pace_window *w, int64_t now_ms);

#endif
