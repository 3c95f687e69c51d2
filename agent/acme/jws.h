/* Signatures for ACME: accounts' keys, JSON Web Signatures, key authorisations.  Layer agent, control process; pure.
 *
 * RFC 7515 (JWS, flattened), 7517 (JWK), 7638 (thumbprint), 8555 (6.2, 7.3.4, 8.1).  Accounts' keys are ECDSA on P-256
 * and sign as ES256 (RFC 7518, 3.4).  Texts that are returned are the caller's to free; NULL when out of memory, or
 * when the key cannot be read. */
#ifndef TULOU_AGENT_ACME_JWS_H
#define TULOU_AGENT_ACME_JWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* base64url without padding (RFC 4648, 5). */
char *jws_base64(const void *p, size_t n);
/* The other way, strictly; *ret is the caller's.  0, -EINVAL or -ENOMEM. */
int jws_unbase64(const char *s, void **ret, size_t *n);

struct jws_key;
/* From PEM (cert_new_key() makes it).  NULL when it cannot be read or is of another kind. */
struct jws_key *jws_key_new(const char *pem);
void jws_key_free(struct jws_key *k);

/* The public half as JSON, members in the order that RFC 7638 hashes. */
const char *jws_key_jwk(const struct jws_key *k);
/* base64url of its SHA-256. */
const char *jws_key_thumbprint(const struct jws_key *k);

/* A request's body: kid NULL: the protected header holds the key itself (newAccount).  payload NULL: POST-as-GET. */
char *jws_sign(const struct jws_key *k, const char *kid, const char *nonce, const char *url, const char *payload);

/* The object that binds the account to one elsewhere (RFC 8555, 7.3.4): HS256 under the authority's key (base64url). */
char *jws_bind(const struct jws_key *k, const char *eab_kid, const char *eab_key, const char *url);

/* token "." thumbprint (RFC 8555, 8.1); false when it does not fit. */
bool jws_key_authorization(const struct jws_key *k, const char *token, char *out, size_t cap);

#endif
