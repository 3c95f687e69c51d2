/* Certificates and their keys, as PEM.  Layer web, control (checks, makes) and proxy (uses); no I/O, no state.
 *
 * RFC 5280, 6125.  A certificate here is a chain (leaf first, then each one's issuer) and the leaf's key.  Only kinds
 * that every client of today speaks are taken: RSA of 2,048 to 4,096 bits, ECDSA on P-256 and P-384.  Names are the
 * leaf's DNS names (subjectAltName), never its subject. */
#ifndef TULOU_WEB_HTTP_CERT_H
#define TULOU_WEB_HTTP_CERT_H

#include "base/err.h"
#include "config/limits.h"

#include <openssl/types.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cert_info {
	char *names; /* owned: lower case, each ended by NUL, an empty one at the end */
	unsigned name_count;
	int64_t not_before_ms, not_after_ms; /* wall clock */
	char issuer[128];		     /* common name, or organisation, of who signed the leaf; may be empty */
	char kind[16];			     /* "ecdsa-256", "rsa-2048" */
	char sha256[65];		     /* of the leaf, lower-case hex */
	bool self_signed, must_staple;
};

/* Checks chain and key as an owner of apps gave them: both parse, nothing else is in them, the key belongs to the leaf,
 * each certificate is signed by the next, the leaf is one for servers, has names, and is valid at now_ms.
 * 0 with *ret filled (free with cert_info_done), or -EINVAL with e->field "certificate" or "key"; -ENOMEM. */
int cert_check(const char *chain, size_t chain_len, const char *key, size_t key_len, int64_t now_ms,
	       struct cert_info *ret, struct err *e);
void cert_info_done(struct cert_info *i);

/* Only the names of the first certificate in pem, in the form above; NULL with errno. */
char *cert_names(const char *pem, size_t n);

/* How well names (in the form above) fit a host in lower case: 2 = exactly, 1 = by a wildcard, 0 = not. */
int cert_covers(const char *names, const char *host);

/* What stapling needs (RFC 6066, 8; RFC 6960). */
struct cert_ocsp {
	char url[LIMIT_FETCH_URL + 1]; /* of the responder, http:// (RFC 5280, 4.2.2.1); "" = the leaf names none */
	char sha256[65];	       /* of the leaf */
	bool must_staple;	       /* RFC 7633 */
	char *pem;		       /* owned: leaf and issuer, nothing else; NULL = the issuer is not in the chain */
};
/* Reads it out of a chain that cert_check has approved, with or without the key behind it.  0 with *ret filled (free
 * with cert_ocsp_done), -EINVAL or -ENOMEM. */
int cert_ocsp(const char *pem, size_t n, struct cert_ocsp *ret);
void cert_ocsp_done(struct cert_ocsp *o);

/* The name under which its authority is asked when the first certificate of pem should be replaced (RFC 9773, 4.1);
 * false when it has no authority's key identifier, or it does not fit. */
bool cert_renewal_id(const char *pem, size_t n, char out[LIMIT_RENEWAL_ID + 1]);

/* The parts of what cert_check has approved; each owned by the caller (X509_free, sk_X509_pop_free, EVP_PKEY_free).
 * chain is NULL when there is only the leaf.  0, -EINVAL or -ENOMEM. */
int cert_load(const char *pem, size_t n, X509 **leaf, STACK_OF(X509) * *chain, EVP_PKEY **key);

/* A new ECDSA key on P-256, PEM, owned by the caller (cert_free_key); NULL when out of memory or of entropy. */
char *cert_new_key(void);
/* Overwrites and frees a key's text; NULL is allowed. */
void cert_free_key(char *key);

/* A certificate for names (as above, at most LIMIT_CERT_NAMES) signed by the key itself, valid from an hour before
 * now_ms for `days`.  alpn != NULL: 32 bytes that become RFC 8737's critical acmeIdentifier.  PEM, owned by the caller
 * (free); NULL with errno. */
char *cert_self_signed(const char *key, const char *names, int64_t now_ms, unsigned days, const uint8_t *alpn);

/* A certificate request in DER for names, signed by key; owned by the caller (free).  NULL with errno. */
uint8_t *cert_request(const char *key, const char *names, size_t *len);

#endif
