/* Messages between control and the fetcher: one request to a server on the internet, and its answer.  Layer agent.
 *
 * The fetcher knows nothing of what it carries.  Requests are signed before they reach it and answers checked after
 * (agent/acme), so that whoever takes it over can do no more than somebody on the wire could.
 *
 * One thing it reads itself: what responders say of certificates (OCSP), since it is anybody's bytes, and control holds
 * keys.  Whoever takes it over could have good certificates ordered anew, a few times in an hour, and staples handed
 * out that clients, who check them again, do not take. */
#ifndef TULOU_AGENT_FETCH_MESSAGES_H
#define TULOU_AGENT_FETCH_MESSAGES_H

#include "base/chan.h"
#include "config/limits.h"

#include <stdint.h>

enum fetch_msg_type {
	FETCH_ASK = 208,     /* control -> fetcher: struct fetch_ask, then body_len bytes */
	FETCH_ANSWER,	     /* fetcher -> control: struct fetch_answer; fds: a memfd with `len` bytes when len > 0 */
	FETCH_STATUS,	     /* control -> fetcher: struct fetch_status; fds: a memfd with leaf and issuer, PEM */
	FETCH_STATUS_ANSWER, /* fetcher -> control: struct fetch_status_answer; fds: as above */
};

enum fetch_method { FETCH_GET, FETCH_HEAD, FETCH_POST, FETCH_METHOD_COUNT };

enum fetch_type { FETCH_TYPE_NONE, FETCH_TYPE_JOSE, FETCH_TYPE_OCSP, FETCH_TYPE_COUNT }; /* of the body */

enum fetch_flag {
	FETCH_PLAIN = 1,  /* http:// alone; without it https:// alone */
	FETCH_PUBLIC = 2, /* only to addresses that anybody on the internet could ask, and never to this host itself:
			     the URL comes from a tenant */
};

struct fetch_ask {
	uint64_t id; /* echoed; control uses none twice */
	uint32_t method, type, flags;
	uint32_t timeout_ms; /* of all of it, at most LIMIT_FETCH_MS */
	uint32_t body_len;   /* 0..LIMIT_FETCH_BODY */
	uint32_t pad;
	char url[LIMIT_FETCH_URL + 1];
};

struct fetch_answer {
	uint64_t id;
	uint32_t status;	/* of HTTP; 0: there was no answer, and `error` says why */
	uint32_t len;		/* of the body, at most LIMIT_FETCH_ANSWER */
	uint32_t retry_after_s; /* 0 = not said */
	uint32_t pad;
	char nonce[LIMIT_FETCH_NONCE + 1];  /* Replay-Nonce (RFC 8555, 6.5.1), "" = none */
	char location[LIMIT_FETCH_URL + 1]; /* "" = none */
	char error[200];
};

/* What does the responder say of a certificate (RFC 6960, 5019)? */
struct fetch_status {
	uint64_t id; /* of the same numbers as fetch_ask's */
	uint32_t flags, timeout_ms;
	uint32_t len; /* of the PEM, 1..LIMIT_CERT_BYTES * 2 */
	uint32_t pad;
	char url[LIMIT_FETCH_URL + 1];
};

enum fetch_cert {
	FETCH_CERT_UNKNOWN, /* it did not say; `error` tells why */
	FETCH_CERT_GOOD,
	FETCH_CERT_REVOKED,
	FETCH_CERT_COUNT,
};

/* Only what the issuer, or whom it named for it, has signed and what is not over is good or revoked. */
struct fetch_status_answer {
	uint64_t id;
	uint32_t cert;		  /* enum fetch_cert */
	uint32_t len;		  /* of the response in DER, at most LIMIT_STAPLE_BYTES; 0 unless good */
	int64_t this_ms, next_ms; /* thisUpdate, nextUpdate: wall clock; next_ms 0 = not said */
	int64_t revoked_ms;	  /* 0 unless revoked */
	uint32_t retry_after_s;	  /* 0 = not said */
	uint32_t pad;
	char error[200];
};

extern const struct chan_rule fetch_rules_fetcher[]; /* what the fetcher takes from control */
extern const size_t fetch_rules_fetcher_count;
extern const struct chan_rule fetch_rules_control[]; /* and the other way */
extern const size_t fetch_rules_control_count;

#endif
