/* The conversation with an authority that signs certificates (ACME, RFC 8555).  Layer agent, control process; no I/O
 * and no clock of its own: requests leave through ops, answers and the passing of time come in.
 *
 * An account:
 *
 *   unknown --directory--> known --newAccount (or its URL from the store)--> ready
 *       ^                                                                     |
 *       +------------------- the authority does not know it any more --------+
 *
 * An order, one name each:
 *
 *   ACCOUNT -> NEW -> ORDER -> AUTHZ -> SHOW (ops->show, acme_shown) -> RESPOND -> POLL -> FINALIZE -> WAIT -> DOWNLOAD
 * -> over ^       |  ^---- its URL is kept by ops->ordered: after a death it goes on from ORDER
 *               +-------+  one that is invalid or unknown by then is ordered anew, once
 *
 * Renewal information (RFC 9773): asked without a signature, once the directory is known; each question ends in exactly
 * one ops->renewal.
 *
 * Every order ends in exactly one ops->done.  badNonce is answered by asking again with the nonce that came with it. */
#ifndef TULOU_AGENT_ACME_ACME_H
#define TULOU_AGENT_ACME_ACME_H

#include "agent/fetch/messages.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define ACME_URL LIMIT_FETCH_URL

enum acme_challenge { ACME_HTTP_01, ACME_TLS_ALPN_01, ACME_CHALLENGE_COUNT };
const char *acme_challenge_name(enum acme_challenge c); /* "http-01", "tls-alpn-01" */

enum acme_end {
	ACME_ISSUED,	  /* text: the chain, PEM */
	ACME_REFUSED,	  /* the name is at fault: text says what its owner can do */
	ACME_UNAVAILABLE, /* the authority, or the way to it: text says so; the name may well be right */
	ACME_LIMITED,	  /* it has enough of us for now (rateLimited) */
	ACME_END_COUNT
};

struct acme;
struct acme_order;

struct acme_ops {
	/* Sends a request for the order (NULL: for the account); its answer comes back by acme_answer with `ticket`. */
	void (*fetch)(void *arg, uint64_t ticket, struct fetch_ask *ask, const void *body);
	/* Call acme_wake(a, ticket) after ms. */
	void (*wait)(void *arg, uint64_t ticket, uint32_t ms);
	/* The account's URL is known, or "" when it is not any more: keep it. */
	void (*account)(void *arg, const char *url);
	/* The order's URL is known ("": forget it): keep it. */
	void (*ordered)(void *arg, void *name, const char *url);
	/* Make the challenge visible, then call acme_shown(); it stays until done. digest: SHA-256 of the key
	 * authorisation (RFC 8737, 3). */
	void (*show)(void *arg, void *name, struct acme_order *o, enum acme_challenge c, const char *token,
		     const char *authorization, const uint8_t digest[32]);
	/* The order is over and freed after this returns.  retry_s: what the authority asked for, 0 = nothing. */
	void (*done)(void *arg, void *name, enum acme_end end, const char *text, uint32_t retry_s);
	/* When the authority wants a certificate replaced, wall clock; both 0: it did not say.  retry_s: when it wants
	 * to be asked again, 0 = not said. */
	void (*renewal)(void *arg, void *name, int64_t from_ms, int64_t to_ms, uint32_t retry_s);
};

struct acme_config {
	const char *directory, *email, *eab_kid, *eab_key; /* "" = none; borrowed for acme_new */
	const char *account_key;			   /* PEM */
	const char *account_url;			   /* "" = not registered yet */
};

/* ops and arg are borrowed for its life.  NULL when out of memory or when the key cannot be read. */
struct acme *acme_new(const struct acme_config *cfg, const struct acme_ops *ops, void *arg);
/* Orders are dropped without ops->done. */
void acme_free(struct acme *a);

/* Begins, or goes on with the order at url ("" = none).  csr: DER, copied.  replaces: RFC 9773's id of the certificate
 * that it follows, "" = none.  name is given back in ops.  Nothing is called before it returns but ops->fetch and wait.
 * NULL when out of memory. */
struct acme_order *acme_order_new(struct acme *a, void *name, const char *host, const char *url, enum acme_challenge c,
				  const void *csr, size_t csr_len, const char *replaces);
/* Drops it without ops->done. */
void acme_order_free(struct acme *a, struct acme_order *o);

/* Asks for the certificate's window; id: cert_renewal_id().  False when the authority offers none (nothing is called),
 * or when out of memory. */
bool acme_renewal_ask(struct acme *a, void *name, const char *id);
/* Drops a question without ops->renewal. */
void acme_renewal_drop(struct acme *a, const void *name);

void acme_shown(struct acme *a, struct acme_order *o);
void acme_answer(struct acme *a, uint64_t ticket, const struct fetch_answer *answer, const char *body);
void acme_wake(struct acme *a, uint64_t ticket);

#endif
