/* Messages between control and the fetcher: one request to a server on the internet, and its answer.  Layer agent.
 *
 * The fetcher knows nothing of what it carries.  Requests are signed before they reach it and answers checked after
 * (agent/acme, web/http/ocsp.h), so that whoever takes it over can do no more than somebody on the wire could. */
#ifndef TULOU_AGENT_FETCH_MESSAGES_H
#define TULOU_AGENT_FETCH_MESSAGES_H

#include "base/chan.h"
#include "config/limits.h"

#include <stdint.h>

enum fetch_msg_type {
	FETCH_ASK = 208, /* control -> fetcher: struct fetch_ask, then body_len bytes */
	FETCH_ANSWER,	 /* fetcher -> control: struct fetch_answer; fds: a memfd with `len` bytes when len > 0 */
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

extern const struct chan_rule fetch_rules_fetcher[]; /* what the fetcher takes from control */
extern const size_t fetch_rules_fetcher_count;
extern const struct chan_rule fetch_rules_control[]; /* and the other way */
extern const size_t fetch_rules_control_count;

#endif
