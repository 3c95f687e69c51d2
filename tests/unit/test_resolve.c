/* The instances' names: queries read strictly, answers, replies that must fit, and whose names are found. */
#include "agent/resolve/dns.h"
#include "agent/resolve/names.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A query for name with labels separated by dots. */
static size_t make(uint8_t *p, const char *name, uint16_t type)
{
	size_t n = DNS_HEADER;

	memset(p, 0, DNS_HEADER);
	p[0] = 0x12;
	p[1] = 0x34;
	p[2] = 1; /* RD */
	p[5] = 1;
	while (*name) {
		size_t k = strcspn(name, ".");
		p[n++] = (uint8_t)k;
		memcpy(p + n, name, k);
		n += k;
		name += k + (name[k] == '.');
	}
	p[n++] = 0;
	p[n++] = (uint8_t)(type >> 8);
	p[n++] = (uint8_t)type;
	p[n++] = 0;
	p[n++] = 1;
	return n;
}

static size_t add_opt(uint8_t *p, size_t n, uint16_t size)
{
	const uint8_t opt[11] = {0, 0, 41, (uint8_t)(size >> 8), (uint8_t)size};

	p[11] = 1;
	memcpy(p + n, opt, sizeof opt);
	return n + sizeof opt;
}

Test(resolve, queries_are_read)
{
	struct dns_query q;
	uint8_t p[600];
	size_t n = make(p, "Redis.INTERNAL", DNS_A);

	cr_assert_eq(dns_parse(p, n, &q), DNS_OK);
	cr_assert_str_eq(q.name, "redis.internal");
	cr_assert(q.internal);
	cr_assert_eq(q.id, 0x1234);
	cr_assert_eq(q.question, n);
	cr_assert_eq(q.udp, DNS_UDP);
	n = add_opt(p, n, 1400);
	cr_assert_eq(dns_parse(p, n, &q), DNS_OK);
	cr_assert(q.edns);
	cr_assert_eq(q.udp, 1400);
	n = make(p, "internal.example.org", 28);
	cr_assert_eq(dns_parse(p, n, &q), DNS_OK);
	cr_assert_not(q.internal, "only the last label counts");
	n = make(p, "", 2);
	cr_assert_eq(dns_parse(p, n, &q), DNS_OK, "the root");
	n = make(p, "a b.internal", DNS_A);
	cr_assert_eq(dns_parse(p, n, &q), DNS_OK);
	cr_assert_str_eq(q.name, "", "a name with other bytes is nobody's");
	cr_assert(q.internal, "and still is not sent on");
}

Test(resolve, what_is_no_query_is_refused)
{
	struct dns_query q;
	uint8_t p[2000];
	size_t n = make(p, "redis.internal", DNS_A);

	for (size_t k = 0; k < n; k++)
		cr_assert_neq(dns_parse(p, k, &q), DNS_OK, "cut at %zu", k);
	p[n] = 0;
	cr_assert_eq(dns_parse(p, n + 1, &q), DNS_FORMERR, "a byte too many");
	p[2] = 0x81;
	cr_assert_eq(dns_parse(p, n, &q), -1, "an answer is not answered");
	p[2] = 0x29;
	cr_assert_eq(dns_parse(p, n, &q), DNS_NOTIMP, "UPDATE");
	p[2] = 1;
	p[5] = 2;
	cr_assert_eq(dns_parse(p, n, &q), DNS_FORMERR, "two questions");
	p[5] = 1;
	p[7] = 1;
	cr_assert_eq(dns_parse(p, n, &q), DNS_FORMERR, "an answer within");
	p[7] = 0;
	p[DNS_HEADER] = 0xc0;
	p[DNS_HEADER + 1] = DNS_HEADER;
	cr_assert_eq(dns_parse(p, n, &q), DNS_FORMERR, "a pointer");
	n = make(p, "redis.internal", DNS_AXFR);
	cr_assert_eq(dns_parse(p, n, &q), DNS_REFUSED);
	n = make(p, "redis.internal", DNS_A);
	p[n - 1] = 3;
	cr_assert_eq(dns_parse(p, n, &q), DNS_REFUSED, "CHAOS");
	/* 255 bytes with lengths and end are the longest name. */
	char name[300] = "";
	for (size_t i = 0; i < 127; i++)
		memcpy(name + (i ? 2 * i - 1 : 0), i ? ".a" : "a", i ? 3 : 2);
	n = make(p, name, DNS_A);
	cr_assert_eq(dns_parse(p, n, &q), DNS_OK);
	memcpy(name + strlen(name), ".a", 3);
	n = make(p, name, DNS_A);
	cr_assert_eq(dns_parse(p, n, &q), DNS_FORMERR);
	n = add_opt(p, make(p, "x", DNS_A), 4096);
	p[n - 1] = 1;
	cr_assert_eq(dns_parse(p, n, &q), DNS_FORMERR, "an option that is not there");
}

Test(resolve, answers_fit)
{
	uint32_t many[100];
	struct dns_query q;
	uint8_t p[600], out[DNS_UDP];
	size_t n = add_opt(p, make(p, "web.a-name-of-forty-characters-is-the-longest.internal", DNS_A), 4096);

	for (unsigned i = 0; i < 100; i++)
		many[i] = 0x0a5e0002 + i;
	cr_assert_eq(dns_parse(p, n, &q), DNS_OK);
	n = dns_answer(p, &q, DNS_OK, true, many, 24, 1, out, sizeof out);
	cr_assert_leq(n, sizeof out);
	cr_assert_eq(out[7], 24, "24 addresses fit");
	cr_assert_eq(out[0], 0x12);
	cr_assert_eq(out[2], 0x85, "QR, AA, RD");
	cr_assert_eq(out[11], 1, "EDNS");
	cr_assert_eq(memcmp(out + q.question + 12, "\x0a\x5e\x00\x02", 4), 0);
	n = dns_answer(p, &q, DNS_OK, true, many, 100, 1, out, sizeof out);
	cr_assert_leq(n, sizeof out);
	cr_assert_eq(dns_parse(p, 11, &q), -1);
	p[5] = 9;
	cr_assert_eq(dns_parse(p, 40, &q), DNS_FORMERR);
	cr_assert_eq(dns_answer(p, &q, DNS_FORMERR, false, NULL, 0, 0, out, sizeof out), DNS_HEADER);
	cr_assert_eq(out[3] & 15, DNS_FORMERR);
	cr_assert_eq(out[5], 0);
}

Test(resolve, only_the_reply_to_the_question_is_taken)
{
	struct dns_query q;
	uint8_t p[600], r[600];
	size_t n = make(p, "example.org", DNS_A);

	dns_parse(p, n, &q);
	memcpy(r, p, n);
	cr_assert_not(dns_match(r, n, p, q.question), "a query");
	r[2] |= 0x80;
	cr_assert(dns_match(r, n, p, q.question));
	cr_assert_not(dns_match(r, n - 1, p, q.question));
	r[1]++;
	cr_assert_not(dns_match(r, n, p, q.question), "another id");
	r[1]--;
	r[DNS_HEADER + 1] = 'E';
	cr_assert_not(dns_match(r, n, p, q.question), "another name");
	r[DNS_HEADER + 1] = 'e';
	r[n - 3] = 28;
	cr_assert_not(dns_match(r, n, p, q.question), "another type");
	r[7] = 3;
	cr_assert_eq(dns_truncate(r, q.question), q.question);
	cr_assert_eq(r[2] & 2, 2);
	cr_assert_eq(r[7], 0);
}

static void put(struct names *n, uint32_t address, uint32_t slot, const char *app, const char *type, uint32_t flags)
{
	struct resolve_entry e = {.address = address, .slot = slot, .flags = flags};

	snprintf(e.app, sizeof e.app, "%s", app);
	snprintf(e.type, sizeof e.type, "%s", type);
	cr_assert_eq(names_put(n, &e), 0);
}

Test(resolve, names_are_the_tenants_own)
{
	struct names *n = names_new();
	struct resolve_entry bad = {.address = 1, .slot = LIMIT_TENANTS};
	uint32_t a[8];

	put(n, 2, 5, "redis", "web", RESOLVE_NAMED);
	put(n, 3, 5, "shop", "web", RESOLVE_NAMED);
	put(n, 4, 5, "shop", "worker", RESOLVE_NAMED);
	put(n, 5, 5, "shop", "web", 0);
	put(n, 6, 6, "redis", "web", RESOLVE_NAMED);
	cr_assert_eq(names_find(n, 5, "redis.internal", a, 8), 1);
	cr_assert_eq(a[0], 2);
	cr_assert_eq(names_find(n, 6, "redis.internal", a, 8), 1);
	cr_assert_eq(a[0], 6);
	cr_assert_eq(names_find(n, 6, "shop.internal", a, 8), 0);
	cr_assert_eq(names_find(n, 7, "redis.internal", a, 8), 0);
	cr_assert_eq(names_find(n, 5, "shop.internal", a, 8), 2, "only those that are well");
	cr_assert_eq(names_find(n, 5, "worker.shop.internal", a, 8), 1);
	cr_assert_eq(a[0], 4);
	cr_assert_eq(names_find(n, 5, "clock.shop.internal", a, 8), 0);
	cr_assert_eq(names_find(n, 5, "a.worker.shop.internal", a, 8), 0);
	for (const char *const *s = (const char *const[]){"", ".internal", "internal", "redis", "redis.external",
							  "..internal", ".redis.internal", NULL};
	     *s; s++)
		cr_assert_eq(names_find(n, 5, *s, a, 8), 0, "%s", *s);
	cr_assert_eq(names_put(n, &bad), -EINVAL);
	/* The order turns. */
	names_find(n, 5, "shop.internal", a, 1);
	uint32_t first = a[0];
	names_find(n, 5, "shop.internal", a, 1);
	cr_assert_neq(a[0], first);
	/* An address passes on to another tenant. */
	put(n, 2, 6, "redis", "web", RESOLVE_NAMED);
	cr_assert_eq(names_find(n, 5, "redis.internal", a, 8), 0);
	cr_assert_eq(names_find(n, 6, "redis.internal", a, 8), 2);
	/* What a new control does not name is gone. */
	names_begin(n);
	put(n, 3, 5, "shop", "web", RESOLVE_NAMED);
	cr_assert_eq(names_find(n, 6, "redis.internal", a, 8), 2, "until it is done");
	names_end(n);
	cr_assert_eq(names_count(n), 1);
	cr_assert_eq(names_find(n, 6, "redis.internal", a, 8), 0);
	names_del(n, 3);
	names_del(n, 3);
	cr_assert_eq(names_count(n), 0);
	names_free(n);
}

/* A reply to the question for name: rcode and flags, then records as (type, strings). */
static size_t txt_reply(uint8_t *out, size_t *question, unsigned flags, unsigned count, const char *tail, size_t n)
{
	size_t len = dns_ask("_tulou.shop.example", DNS_TXT, out, question);

	cr_assert_gt(len, *question);
	out[2] = (uint8_t)(0x80 | flags >> 8);
	out[3] = (uint8_t)flags;
	out[7] = (uint8_t)count;
	memcpy(out + *question, tail, n);
	return *question + n;
}

Test(resolve, txt_records_are_compared)
{
#define RR(type, len) "\xc0\x0c\0" type "\0\1\0\0\0\1\0" len
	static const char one[] = RR("\x10", "\5") "\4good", split[] = RR("\x10", "\7") "\2go\0\2od\0",
			  cname[] = "\3abc\0\0\5\0\1\0\0\0\1\0\2\xc0\x0c" RR("\x10", "\5") "\4good",
			  other[] = RR("\x10", "\6") "\5goods" RR("\x10", "\4") "\3goo", a[] = RR("\1", "\4") "good",
			  cut[] = RR("\x10", "\x50") "\4good";
	uint8_t m[DNS_QUERY], q[DNS_QUERY];
	size_t n, question;
	bool tc;

	n = txt_reply(m, &question, 0x80, 1, one, sizeof one - 1);
	cr_assert_eq(dns_txt(m, n, question, "good", &tc), DNS_TXT_FOUND);
	for (size_t k = question; k < n; k++)
		cr_assert_eq(dns_txt(m, k, question, "good", &tc), DNS_TXT_FAILED, "%zu", k);
	n = txt_reply(m, &question, 0x80, 1, split, sizeof split - 1);
	cr_assert_eq(dns_txt(m, n, question, "good", &tc), DNS_TXT_FOUND, "strings are put together");
	n = txt_reply(m, &question, 0x80, 2, cname, sizeof cname - 1);
	cr_assert_eq(dns_txt(m, n, question, "good", &tc), DNS_TXT_FOUND, "behind an alias");
	n = txt_reply(m, &question, 0x80, 2, other, sizeof other - 1);
	cr_assert_eq(dns_txt(m, n, question, "good", &tc), DNS_TXT_OTHER);
	n = txt_reply(m, &question, 0x80, 1, a, sizeof a - 1);
	cr_assert_eq(dns_txt(m, n, question, "good", &tc), DNS_TXT_NONE);
	n = txt_reply(m, &question, 0x80, 0, "", 0);
	cr_assert_eq(dns_txt(m, n, question, "good", &tc), DNS_TXT_NONE);
	n = txt_reply(m, &question, 0x83, 0, "", 0);
	cr_assert_eq(dns_txt(m, n, question, "good", &tc), DNS_TXT_NONE, "no such name");
	n = txt_reply(m, &question, 0x82, 0, "", 0);
	cr_assert_eq(dns_txt(m, n, question, "good", &tc), DNS_TXT_FAILED);
	n = txt_reply(m, &question, 0x80, 1, cut, sizeof cut - 1);
	cr_assert_eq(dns_txt(m, n, question, "good", &tc), DNS_TXT_FAILED);
	n = txt_reply(m, &question, 0x280, 1, cut, sizeof cut - 1);
	cr_assert_eq(dns_txt(m, n, question, "good", &tc), DNS_TXT_NONE);
	cr_assert(tc);
	cr_assert_eq(dns_ask("a..b", DNS_TXT, q, &question), 0);
	cr_assert_eq(dns_ask("", DNS_TXT, q, &question), 0);
#undef RR
}
