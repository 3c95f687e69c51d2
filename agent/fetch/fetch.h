/* Asks servers on the internet for control, with libcurl and libevent's own name resolver.  Layer agent, fetcher
 * process.
 *
 *   asked -> names are looked up -> libcurl asks -> answered        (each step may end in an answer with `error`)
 *
 * Bounds: LIMIT_FETCH requests at a time, LIMIT_FETCH_MS each, LIMIT_FETCH_ANSWER bytes of body, 16 KiB of head.  No
 * redirects, no proxies, no cookies, no compression, HTTP/1.1, certificates checked against the trust store that came
 * with the first message. */
#ifndef TULOU_AGENT_FETCH_FETCH_H
#define TULOU_AGENT_FETCH_FETCH_H

#include "agent/fetch/messages.h"
#include "base/err.h"
#include "base/loop.h"

#include <stddef.h>
#include <stdint.h>

struct fetch;

/* Answers are for the call only; body is NULL when a->len is 0. */
typedef void fetch_answer_fn(void *arg, const struct fetch_answer *a, const void *body);

/* Loads libcurl, reads /etc/hosts: before the process is confined.  trust: PEM, taken (owned from now on, also on
 * failure).  servers: name servers, host byte order.  0 or negative errno. */
int fetch_new(struct loop *l, char *trust, size_t trust_len, const uint32_t *servers, unsigned server_count,
	      fetch_answer_fn *fn, void *arg, struct fetch **ret, struct err *e);
void fetch_free(struct fetch *f);

/* One request, body behind it (len in all, checked by the caller's permit table).  Answered exactly once, perhaps
 * before it returns, unless fetch_forget comes first. */
void fetch_ask(struct fetch *f, const struct fetch_ask *ask, size_t len);

/* Drops all requests without an answer: who asked is gone. */
void fetch_forget(struct fetch *f);

#endif
