/* The logger's token buckets.  Pure. */
#include "agent/roles/logger_rate.h"

#include <criterion/criterion.h>

Test(logger, rate_holds_in_the_long_run)
{
	struct logger_rate r;
	unsigned kept = 0;

	logger_rate_init(&r, 1000, 5000, 0);
	/* 10 s of 100,000 lines a second: the burst, and what comes in that time. */
	for (int64_t us = 0; us < 10000000; us += 10) {
		logger_rate_fill(&r, us);
		if (logger_rate_has(&r, 1)) {
			logger_rate_take(&r, 1);
			kept++;
		}
	}
	cr_assert_geq(kept, 14900);
	cr_assert_leq(kept, 15100);
}

Test(logger, rate_of_nothing_limits_nothing)
{
	struct logger_rate r;

	logger_rate_init(&r, 0, 0, 0);
	for (int i = 0; i < 100000; i++) {
		logger_rate_fill(&r, 0);
		cr_assert(logger_rate_has(&r, 1));
		logger_rate_take(&r, 1);
	}
}

Test(logger, a_line_longer_than_the_burst_passes_once_it_is_full)
{
	struct logger_rate r;

	cr_assert_eq(logger_rate_cost(0), 1);
	cr_assert_eq(logger_rate_cost(1023), 1);
	cr_assert_eq(logger_rate_cost(16384), 17);
	logger_rate_init(&r, 1, 5, 0);
	cr_assert(logger_rate_has(&r, 17));
	logger_rate_take(&r, 17);
	logger_rate_fill(&r, 16000000);
	cr_assert_not(logger_rate_has(&r, 17), "it is paid for first");
	logger_rate_fill(&r, 17000000);
	cr_assert(logger_rate_has(&r, 17));
}

Test(logger, another_rate_keeps_what_was_saved)
{
	struct logger_rate r;

	logger_rate_init(&r, 10, 50, 0);
	logger_rate_change(&r, 1000, 5000, 0);
	cr_assert_eq((int)r.tokens, 50, "more is earned, not given");
	logger_rate_change(&r, 1, 5, 1000000);
	cr_assert_eq((int)r.tokens, 5);
	logger_rate_fill(&r, 500000);
	cr_assert_eq((int)r.tokens, 5, "a clock that stands still or goes back adds nothing");
}
