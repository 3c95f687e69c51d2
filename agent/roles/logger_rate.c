/* Token buckets of the logger.  Layer agent, logger process. */
#include "agent/roles/logger_rate.h"

void logger_rate_init(struct logger_rate *r, double rate, double burst, int64_t now_us)
{
	*r = (struct logger_rate){.tokens = burst, .rate = rate, .burst = burst, .filled_us = now_us};
}

void logger_rate_fill(struct logger_rate *r, int64_t now_us)
{
	if (now_us > r->filled_us)
		r->tokens += (double)(now_us - r->filled_us) * r->rate / 1e6;
	r->filled_us = now_us;
	if (r->tokens > r->burst)
		r->tokens = r->burst;
}

void logger_rate_change(struct logger_rate *r, double rate, double burst, int64_t now_us)
{
	logger_rate_fill(r, now_us);
	r->rate = rate;
	r->burst = burst;
	if (r->tokens > burst)
		r->tokens = burst;
}

bool logger_rate_has(const struct logger_rate *r, double cost)
{
	return r->rate <= 0 || r->tokens >= cost || r->tokens >= r->burst;
}

void logger_rate_take(struct logger_rate *r, double cost)
{
	if (r->rate > 0)
		r->tokens -= cost;
}

double logger_rate_cost(size_t n)
{
	return 1 + (double)(n >> 10);
}
