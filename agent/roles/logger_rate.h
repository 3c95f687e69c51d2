/* Token buckets of the logger.  Layer agent, logger process.  Pure: the caller gives the time. */
#ifndef TULOU_AGENT_ROLES_LOGGER_RATE_H
#define TULOU_AGENT_ROLES_LOGGER_RATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Grows by `rate` a second up to `burst`.  A rate of 0 does not limit. */
struct logger_rate {
	double tokens, rate, burst;
	int64_t filled_us; /* monotonic, when tokens were last added */
};

/* A full bucket. */
void logger_rate_init(struct logger_rate *r, double rate, double burst, int64_t now_us);
/* Another rate from now on; what was saved up stays, up to the new burst. */
void logger_rate_change(struct logger_rate *r, double rate, double burst, int64_t now_us);
/* Adds what has come since. */
void logger_rate_fill(struct logger_rate *r, int64_t now_us);
/* True when there is as much as `cost`, or when the bucket is full: a cost above the burst is not refused for ever. */
bool logger_rate_has(const struct logger_rate *r, double cost);
/* Takes it; may go below zero. */
void logger_rate_take(struct logger_rate *r, double cost);

/* Lines that a line of n bytes counts as: one, and one more for each KiB, so that long lines cost what they are. */
double logger_rate_cost(size_t n);

#endif
