/* DNS messages.  Layer agent, resolver process.  Pure. */
#include "agent/resolve/dns.h"

#include <string.h>

#define FLAG_QR 0x8000u
#define FLAG_OPCODE 0x7800u
#define FLAG_AA 0x0400u
#define FLAG_TC 0x0200u
#define FLAG_RD 0x0100u
#define FLAG_RA 0x0080u
#define FLAG_CD 0x0010u

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static bool plain(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool is_internal(const uint8_t *label, size_t n)
{
	static const char word[] = "internal";

	if (n != sizeof word - 1)
		return false;
	for (size_t i = 0; i < n; i++)
		if (lower(label[i]) != (uint8_t)word[i])
			return false;
	return true;
}

/* The name at p[at..n).  Offset behind it, 0 when it is none. */
static size_t parse_name(const uint8_t *p, size_t n, size_t at, struct dns_query *q)
{
	size_t start = at, k = 0;
	bool all_plain = true;

	q->internal = false;
	for (;;) {
		size_t len;
		if (at >= n)
			return 0;
		len = p[at++];
		if (len == 0)
			break;
		/* 63 at most: the two upper bits would make it a pointer, which a query needs not. */
		if (len > 63 || len > n - at || at + len - start >= DNS_NAME)
			return 0;
		if (k)
			q->name[k++] = '.';
		for (size_t i = 0; i < len; i++) {
			uint8_t c = lower(p[at + i]);
			all_plain = all_plain && plain(c);
			q->name[k++] = (char)c;
		}
		q->internal = is_internal(p + at, len);
		at += len;
	}
	q->name[all_plain ? k : 0] = 0;
	return at;
}

/* The one record that a query may have behind its question. */
static bool parse_opt(const uint8_t *p, size_t n, size_t at, struct dns_query *q)
{
	if (n - at < 11 || p[at] != 0 || get16(p + at + 1) != DNS_OPT || get16(p + at + 9) != n - at - 11)
		return false;
	q->edns = true;
	q->udp = get16(p + at + 3);
	if (q->udp < DNS_UDP)
		q->udp = DNS_UDP;
	if (q->udp > DNS_UDP_MAX)
		q->udp = DNS_UDP_MAX;
	return true;
}

int dns_parse(const uint8_t *p, size_t n, struct dns_query *q)
{
	unsigned flags;
	size_t at;

	*q = (struct dns_query){.udp = DNS_UDP};
	if (n < DNS_HEADER)
		return -1;
	flags = get16(p + 2);
	if (flags & FLAG_QR)
		return -1;
	q->id = get16(p);
	q->recursion = flags & FLAG_RD;
	if (flags & FLAG_OPCODE)
		return DNS_NOTIMP;
	if (n > DNS_QUERY || flags & (FLAG_AA | FLAG_TC) || get16(p + 4) != 1 || get16(p + 6) || get16(p + 8) ||
	    get16(p + 10) > 1)
		return DNS_FORMERR;
	at = parse_name(p, n, DNS_HEADER, q);
	if (at == 0 || n - at < 4)
		return DNS_FORMERR;
	q->type = get16(p + at);
	q->class = get16(p + at + 2);
	at += 4;
	q->question = at;
	if (get16(p + 10) ? !parse_opt(p, n, at, q) : at != n)
		return DNS_FORMERR;
	if (q->class != DNS_IN || q->type == DNS_AXFR || q->type == DNS_IXFR || q->type == DNS_OPT || q->type == 0)
		return DNS_REFUSED;
	return DNS_OK;
}

size_t dns_answer(const uint8_t *p, const struct dns_query *q, enum dns_rcode rcode, bool own,
		  const uint32_t *addresses, unsigned count, uint32_t ttl, uint8_t *out, size_t cap)
{
	unsigned flags = FLAG_QR | FLAG_RA | (own ? FLAG_AA : 0) | (unsigned)rcode;
	size_t n = q->question ? q->question : DNS_HEADER, tail = q->edns ? 11 : 0;
	unsigned k = 0;

	memset(out, 0, DNS_HEADER);
	dns_set_id(out, q->id);
	put16(out + 4, q->question ? 1 : 0);
	if (q->question)
		memcpy(out + DNS_HEADER, p + DNS_HEADER, q->question - DNS_HEADER);
	for (; k < count && n + 16 + tail <= cap; k++, n += 16) {
		put16(out + n, 0xc000 | DNS_HEADER); /* the question's name */
		put16(out + n + 2, DNS_A);
		put16(out + n + 4, DNS_IN);
		put16(out + n + 6, ttl >> 16);
		put16(out + n + 8, ttl & 0xffff);
		put16(out + n + 10, 4);
		put16(out + n + 12, addresses[k] >> 16);
		put16(out + n + 14, addresses[k] & 0xffff);
	}
	put16(out + 6, k);
	/* What does not fit is left out: any part of the instances is as good an answer as all. */
	put16(out + 2, flags | (q->recursion ? FLAG_RD : 0));
	if (tail) {
		memset(out + n, 0, tail);
		put16(out + n + 1, DNS_OPT);
		put16(out + n + 3, DNS_QUERY);
		put16(out + 10, 1);
		n += tail;
	}
	return n;
}

bool dns_match(const uint8_t *reply, size_t n, const uint8_t *query, size_t question)
{
	return n >= question && question > DNS_HEADER && memcmp(reply, query, 2) == 0 &&
	       (get16(reply + 2) & (FLAG_QR | FLAG_OPCODE)) == FLAG_QR && get16(reply + 4) == 1 &&
	       memcmp(reply + DNS_HEADER, query + DNS_HEADER, question - DNS_HEADER) == 0;
}

size_t dns_truncate(uint8_t *reply, size_t question)
{
	put16(reply + 2, get16(reply + 2) | FLAG_TC);
	memset(reply + 6, 0, 6);
	return question;
}

size_t dns_ask(const char *name, uint16_t type, uint8_t out[DNS_QUERY], size_t *question)
{
	size_t at = DNS_HEADER, start = at;

	memset(out, 0, DNS_HEADER);
	put16(out + 2, FLAG_RD);
	put16(out + 4, 1);
	put16(out + 10, 1);
	for (const char *p = name;; p++) {
		size_t n = strcspn(p, ".");
		if (n == 0 || n > 63 || at + n + 2 - start > DNS_NAME)
			return 0;
		out[at++] = (uint8_t)n;
		memcpy(out + at, p, n);
		at += n;
		p += n;
		if (!*p)
			break;
	}
	out[at++] = 0;
	put16(out + at, type);
	put16(out + at + 2, DNS_IN);
	at += 4;
	*question = at;
	memset(out + at, 0, 11);
	put16(out + at + 1, DNS_OPT);
	put16(out + at + 3, DNS_QUERY);
	return at + 11;
}

/* Offset behind the name at `at`, which may end in a pointer; 0 when it runs out of the message. */
static size_t skip_name(const uint8_t *p, size_t n, size_t at)
{
	while (at < n) {
		if (p[at] == 0)
			return at + 1;
		if (p[at] >= 0xc0)
			return at + 2 <= n ? at + 2 : 0;
		if (p[at] > 63)
			return 0;
		at += 1u + p[at];
	}
	return 0;
}

/* Do the strings of a TXT record, one after the other, say `want`? */
static bool txt_is(const uint8_t *p, size_t n, const char *want)
{
	size_t left = strlen(want);

	while (n > 0) {
		size_t k = p[0];
		if (k > n - 1 || k > left || memcmp(p + 1, want, k) != 0)
			return false;
		want += k;
		left -= k;
		p += k + 1;
		n -= k + 1;
	}
	return left == 0;
}

enum dns_txt_result dns_txt(const uint8_t *p, size_t n, size_t question, const char *want, bool *cut)
{
	enum dns_txt_result r = DNS_TXT_NONE;
	unsigned rcode, count;
	size_t at = question;

	*cut = false;
	if (n < question || question < DNS_HEADER)
		return DNS_TXT_FAILED;
	rcode = get16(p + 2) & 15;
	if (rcode == DNS_NXDOMAIN)
		return DNS_TXT_NONE;
	if (rcode != DNS_OK)
		return DNS_TXT_FAILED;
	*cut = get16(p + 2) & FLAG_TC;
	count = get16(p + 6);
	for (unsigned i = 0; i < count; i++) {
		size_t len;
		at = skip_name(p, n, at);
		if (at == 0 || n - at < 10)
			return *cut ? r : DNS_TXT_FAILED;
		len = get16(p + at + 8);
		if (len > n - at - 10)
			return *cut ? r : DNS_TXT_FAILED;
		if (get16(p + at) == DNS_TXT && get16(p + at + 2) == DNS_IN) {
			if (txt_is(p + at + 10, len, want))
				return DNS_TXT_FOUND;
			r = DNS_TXT_OTHER;
		}
		at += 10 + len;
	}
	return r;
}
