/* Top talkers: the bounds that a sketch promises, alone and merged. */
#include "web/proxy/talkers.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES 5000

static void add(struct talk_sketch *s, enum talk_by by, unsigned name, uint64_t bytes)
{
	char text[32];
	struct talk_cost cost = {.requests = 1, .bytes = bytes, .us = 10, .errors = name % 2};

	talk_add(s, by, text, (size_t)snprintf(text, sizeof text, "n%u", name), &cost);
}

/* Skewed: a few names have most, thousands have one or two. */
static unsigned drawn(unsigned *seed)
{
	unsigned r = (*seed = *seed * 1103515245u + 12345u) >> 8;

	return r % 10 < 4 ? r / 10 % 5 : r / 10 % NAMES;
}

static void check(const struct talk_row *row, size_t count, const uint64_t *truth, uint64_t total, unsigned sketches)
{
	bool seen[NAMES] = {false};

	for (size_t i = 0; i < count; i++) {
		unsigned n = (unsigned)strtoul(row[i].name + 1, NULL, 10);
		uint64_t sure = row[i].weight - row[i].error;

		cr_assert(n < NAMES && !seen[n], "%s is there twice", row[i].name);
		seen[n] = true;
		cr_assert(sure <= truth[n] && truth[n] <= row[i].weight, "%s: %lu of %lu..%lu", row[i].name,
			  (unsigned long)truth[n], (unsigned long)sure, (unsigned long)row[i].weight);
		cr_assert_leq(row[i].error, total / LIMIT_TALK_ROWS + sketches);
	}
	for (unsigned n = 0; n < NAMES; n++)
		cr_assert(seen[n] || truth[n] <= total / LIMIT_TALK_ROWS, "n%u with %lu of %lu is not listed", n,
			  (unsigned long)truth[n], (unsigned long)total);
}

Test(proxy, talkers_keep_their_bounds)
{
	static struct talk_sketch s;
	uint64_t truth[NAMES] = {0}, total = 0;
	unsigned seed = 7;

	for (unsigned i = 0; i < 60000; i++) {
		unsigned n = drawn(&seed);

		add(&s, TALK_BY_REQUESTS, n, 0);
		truth[n]++;
		total++;
	}
	cr_assert_eq(s.count, (unsigned)LIMIT_TALK_ROWS);
	check(s.row, s.count, truth, total, 1);
	for (unsigned i = 0; i < s.count; i++) {
		cr_assert_eq(s.row[i].cost.requests, s.row[i].weight - s.row[i].error);
		cr_assert_geq(s.row[i].weight, talk_unseen(&s));
	}
}

Test(proxy, talkers_by_bytes)
{
	static struct talk_sketch s;
	uint64_t truth[NAMES] = {0}, total = 0;
	unsigned seed = 3;

	for (unsigned i = 0; i < 60000; i++) {
		unsigned n = drawn(&seed), bytes = n % 3 == 0 ? 0 : 100 + n % 1000;

		add(&s, TALK_BY_BYTES, n, bytes);
		truth[n] += bytes;
		total += bytes;
	}
	check(s.row, s.count, truth, total, 2000);
}

Test(proxy, talkers_merge_keeps_the_bounds)
{
	static struct talk_sketch s[4];
	struct talk_merge m = {0};
	uint64_t truth[NAMES] = {0}, total = 0;
	unsigned seed = 11;

	for (unsigned i = 0; i < 80000; i++) {
		unsigned n = drawn(&seed);

		/* Workers see different clients: the third has n4 alone. */
		add(&s[n == 4 ? 3 : i % 3], TALK_BY_REQUESTS, n, 0);
		truth[n]++;
		total++;
	}
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(talk_merge_add(&m, s[i].row, s[i].count, talk_unseen(&s[i])), 0);
	talk_merge_end(&m);
	check(m.row, m.count, truth, total, 4);
	for (size_t i = 1; i < m.count; i++)
		cr_assert_geq(m.row[i - 1].weight - m.row[i - 1].error, m.row[i].weight - m.row[i].error);
	for (unsigned i = 0; i < 5; i++)
		cr_assert_lt(strtoul(m.row[i].name + 1, NULL, 10), 5ul, "%s is among the five heaviest", m.row[i].name);
	talk_merge_done(&m);
	cr_assert_null(m.row);
}

Test(proxy, talkers_merge_is_bounded)
{
	static struct talk_row rows[LIMIT_TALK_ROWS];
	struct talk_merge m = {0};

	memset(rows[0].name, 'x', sizeof rows[0].name); /* no end */
	for (unsigned i = 0; i < LIMIT_WORKERS; i++)
		cr_assert_eq(talk_merge_add(&m, rows, LIMIT_TALK_ROWS, 0), 0);
	cr_assert_eq(talk_merge_add(&m, rows, 1, 0), -E2BIG);
	cr_assert_eq(talk_merge_add(&m, rows, LIMIT_TALK_ROWS + 1, 0), -E2BIG);
	talk_merge_end(&m);
	cr_assert_eq(m.count, 2u);
	talk_merge_done(&m);
	talk_merge_end(&m);
	cr_assert_eq(m.count, 0u);
}

Test(proxy, talkers_names)
{
	static struct talk_sketch s;
	char text[LIMIT_TALK_NAME + 1], longer[LIMIT_TALK_NAME + 20];
	struct talk_cost one = {.requests = 1};
#define PATH(t) (int)talk_path(t, strlen(t))

	cr_assert_eq(PATH("/"), 1);
	cr_assert_eq(PATH("/a/b"), 4);
	cr_assert_eq(PATH("/a/b/"), 5);
	cr_assert_eq(PATH("/a/b/c/d"), 5);
	cr_assert_eq(PATH("/a?token=/x/y/z"), 2);
	cr_assert_eq(PATH(""), 0);
	cr_assert_eq(PATH("*"), 1);
	talk_client("192.0.2.7", text);
	cr_assert_str_eq(text, "192.0.2.7");
	talk_client("2001:db8:1:2:3:4:5:6", text);
	cr_assert_str_eq(text, "2001:db8:1:2::/64");
	/* "ab" and "abc" differ, and what is too long is one with its beginning. */
	talk_add(&s, TALK_BY_REQUESTS, "abc", 3, &one);
	talk_add(&s, TALK_BY_REQUESTS, "abc", 2, &one);
	cr_assert_eq(s.count, 2u);
	memset(longer, 'y', sizeof longer);
	talk_add(&s, TALK_BY_REQUESTS, longer, sizeof longer, &one);
	talk_add(&s, TALK_BY_REQUESTS, longer, LIMIT_TALK_NAME, &one);
	cr_assert_eq(s.count, 3u);
	cr_assert_eq(s.row[2].weight, 2u);
	cr_assert_eq(strlen(s.row[2].name), (size_t)LIMIT_TALK_NAME);
}

Test(proxy, talkers_agents)
{
	char text[LIMIT_TALK_NAME + 1], longer[300];
#define AGENT(t) talk_agent(t, sizeof(t) - 1, text)

	AGENT("curl/8.5.0");
	cr_assert_str_eq(text, "curl/8.5.0");
	AGENT("");
	cr_assert_str_eq(text, "(none)");
	AGENT("a\tb\x1b[31m\0\xc3\xa9\x7f");
	cr_assert_str_eq(text, "a?b?[31m????");
	AGENT("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 "
	      "Safari/537.36");
	cr_assert_str_eq(text, "Mozilla/5.0 (Windows NT 10.0; ...Chrome/120.0.0.0 Safari/537.36");
	for (size_t n = 1; n < sizeof longer; n++) {
		memset(longer, 'y', n);
		longer[n - 1] = '\xff';
		talk_agent(longer, n, text);
		cr_assert_eq(strlen(text), n <= LIMIT_TALK_NAME ? n : (size_t)LIMIT_TALK_NAME);
		cr_assert_eq(text[strlen(text) - 1], '?');
	}
}
