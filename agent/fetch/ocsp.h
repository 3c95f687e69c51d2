/* Is a certificate revoked: questions and what responders answer (OCSP).  Layer agent, fetcher process; pure.
 *
 * RFC 6960, in RFC 5019's short form: one certificate, SHA-1 in its id (which is no signature), no nonce, so that the
 * answer may be anybody's copy and be handed out again.  What is checked: the answer is signed by the issuer, or by a
 * certificate that the issuer signed for this purpose (4.2.2.2); it is about this certificate; it has begun and is not
 * over. */
#ifndef TULOU_AGENT_FETCH_OCSP_H
#define TULOU_AGENT_FETCH_OCSP_H

#include "agent/fetch/messages.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OCSP_SKEW_MS 300000	 /* that a responder's clock may be ahead of ours */
#define OCSP_UNSAID_MS 7200000ll /* an answer without an end counts for so long from when it came */
#define OCSP_STALE_MS 86400000ll /* and may be so old then */
#define OCSP_GET_MAX 255	 /* bytes of a URL with the question in it (RFC 5019, 5) */

struct ocsp;

/* pem: the leaf, then its issuer.  *ret is the caller's (ocsp_free).  0, -EINVAL or -ENOMEM. */
int ocsp_new(const char *pem, size_t n, struct ocsp **ret, struct err *e);
void ocsp_free(struct ocsp *o);

/* The question in DER, borrowed. */
const uint8_t *ocsp_question(const struct ocsp *o, size_t *n);
/* The URL that asks it by GET, when that is short enough to be kept by caches on the way. */
bool ocsp_get(const struct ocsp *o, const char *url, char out[LIMIT_FETCH_URL + 1]);

/* Reads an answer into ret: cert, this_ms, next_ms, revoked_ms, error.  Any bytes are allowed. */
void ocsp_read(const struct ocsp *o, const void *der, size_t n, int64_t now_ms, struct fetch_status_answer *ret);

#endif
