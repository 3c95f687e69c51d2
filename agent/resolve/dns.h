/* DNS messages (RFC 1035, EDNS of RFC 6891): queries read strictly, answers of our own, replies compared with what was
 * asked.  Layer agent, resolver process.  Pure.
 *
 * Everything here comes from tenants or from the network.  Nothing is followed: a name in a query may not be
 * compressed, and of a foreign reply only header and question are looked at. */
#ifndef TULOU_AGENT_RESOLVE_DNS_H
#define TULOU_AGENT_RESOLVE_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_HEADER 12
#define DNS_NAME 255   /* bytes of a name on the wire */
#define DNS_QUERY 1232 /* bytes of a query; what fits every path unfragmented */
#define DNS_UDP 512    /* bytes of an answer by UDP, unless the query says more */
#define DNS_UDP_MAX 4096
#define DNS_TCP_MAX 65535

enum dns_rcode {
	DNS_OK,
	DNS_FORMERR,  /* not a query */
	DNS_SERVFAIL, /* no resolver of the host answered */
	DNS_NXDOMAIN,
	DNS_NOTIMP, /* another operation */
	DNS_REFUSED,
	DNS_RCODE_COUNT
};

enum dns_type { DNS_A = 1, DNS_TXT = 16, DNS_OPT = 41, DNS_IXFR = 251, DNS_AXFR = 252, DNS_ANY = 255 };
#define DNS_IN 1

struct dns_query {
	uint16_t id, type, class;
	bool recursion;
	bool internal; /* the name is "internal" or ends in ".internal", whatever bytes it has before */
	bool edns;
	uint16_t udp;	     /* bytes that the asker takes by UDP, DNS_UDP..DNS_UDP_MAX */
	size_t question;     /* offset of the first byte behind the question; 0 when there is no whole one */
	char name[DNS_NAME]; /* lower case, labels joined by dots, no dot at the end; "" when it has other bytes than
				letters, digits, '-' and '_' */
};

/* Reads a query.  DNS_OK, or the code to answer with; -1 for what must not be answered at all (too short for a header,
 * or itself an answer: two servers would talk for ever). */
int dns_parse(const uint8_t *p, size_t n, struct dns_query *ret);

/* Writes an answer to the query p into out[0..cap), cap at least DNS_UDP: the question again, addresses (host byte
 * order) as A records as far as they fit, and the asker's EDNS acknowledged.  own: we are the authority.  Bytes
 * written. */
size_t dns_answer(const uint8_t *p, const struct dns_query *q, enum dns_rcode rcode, bool own,
		  const uint32_t *addresses, unsigned count, uint32_t ttl, uint8_t *out, size_t cap);

/* True when the reply is one to the query: same id, same question byte for byte, an answer. */
bool dns_match(const uint8_t *reply, size_t n, const uint8_t *query, size_t question);
/* Cuts a reply that is too long for the asker to header and question, marked as truncated.  Its new length. */
size_t dns_truncate(uint8_t *reply, size_t question);

/* Writes a question of our own for `name` (no dot at its end), recursion wanted, with EDNS.  Bytes, and the offset
 * behind the question; 0 for a name that is none. */
size_t dns_ask(const char *name, uint16_t type, uint8_t out[DNS_QUERY], size_t *question);

enum dns_txt_result {
	DNS_TXT_NONE,  /* the name, or a TXT record of it, does not exist */
	DNS_TXT_OTHER, /* there are some, none says it */
	DNS_TXT_FOUND, /* one says exactly `want` */
	DNS_TXT_FAILED /* the server failed, or its reply is malformed */
};
/* Looks for `want` among the TXT records of a reply (one that dns_match() let pass).  Names in it are skipped, not
 * followed. cut: the reply says that it is not whole. */
enum dns_txt_result dns_txt(const uint8_t *reply, size_t n, size_t question, const char *want, bool *cut);

static inline void dns_set_id(uint8_t *p, uint16_t id)
{
	p[0] = (uint8_t)(id >> 8);
	p[1] = (uint8_t)id;
}

#endif
