/* Signatures for ACME.  Layer agent, control process. */
#include "agent/acme/jws.h"

#include "base/own.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct jws_key {
	EVP_PKEY *key;
	char jwk[160];
	char thumbprint[48];
};

static const char jws_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

char *jws_base64(const void *p, size_t n)
{
	const uint8_t *in = p;
	char *out = malloc(n / 3 * 4 + 5), *o = out;

	for (size_t i = 0; out && i < n; i += 3) {
		size_t left = n - i;
		uint32_t v =
			(uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) | (left > 2 ? in[i + 2] : 0);
		*o++ = jws_alphabet[v >> 18];
		*o++ = jws_alphabet[v >> 12 & 63];
		if (left > 1)
			*o++ = jws_alphabet[v >> 6 & 63];
		if (left > 2)
			*o++ = jws_alphabet[v & 63];
	}
	if (out)
		*o = '\0';
	return out;
}

int jws_unbase64(const char *s, void **ret, size_t *n)
{
	size_t len = strlen(s), k = 0;
	uint8_t *out = malloc(len + 1);
	uint32_t v = 0;
	unsigned bits = 0;

	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < len; i++) {
		const char *at = strchr(jws_alphabet, s[i]);
		if (!at) {
			free(out);
			return -EINVAL;
		}
		v = v << 6 | (uint32_t)(at - jws_alphabet);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out[k++] = (uint8_t)(v >> bits);
			v &= (1u << bits) - 1;
		}
	}
	/* What is left over must be no more than padding. */
	if (len % 4 == 1 || v != 0) {
		free(out);
		return -EINVAL;
	}
	*ret = out;
	*n = k;
	return 0;
}

/* --- keys ----------------------------------------------------------------------------------------------------- */

static int jws_no_passphrase(char *buf, int size, int rw, void *arg)
{
	(void)buf;
	(void)size;
	(void)rw;
	(void)arg;
	return -1;
}

static bool jws_describe(struct jws_key *k)
{
	OWN_FREE char *x = NULL, *y = NULL, *digest = NULL;
	uint8_t point[65], sha[32];
	size_t n = 0;
	unsigned len = sizeof sha;
	char group[32] = "";

	if (EVP_PKEY_get_base_id(k->key) != EVP_PKEY_EC ||
	    EVP_PKEY_get_group_name(k->key, group, sizeof group, NULL) != 1 || strcmp(group, "prime256v1") != 0)
		return false;
	/* 0x04, x, y: cert_new_key() writes it uncompressed. */
	if (EVP_PKEY_get_octet_string_param(k->key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &n) != 1 ||
	    n != sizeof point || point[0] != 4)
		return false;
	x = jws_base64(point + 1, 32);
	y = jws_base64(point + 33, 32);
	if (!x || !y)
		return false;
	snprintf(k->jwk, sizeof k->jwk, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}", x, y);
	if (EVP_Digest(k->jwk, strlen(k->jwk), sha, &len, EVP_sha256(), NULL) != 1 || !(digest = jws_base64(sha, 32)))
		return false;
	snprintf(k->thumbprint, sizeof k->thumbprint, "%s", digest);
	return true;
}

struct jws_key *jws_key_new(const char *pem)
{
	struct jws_key *k = calloc(1, sizeof *k);
	BIO *b = k ? BIO_new_mem_buf(pem, -1) : NULL;

	if (b)
		k->key = PEM_read_bio_PrivateKey(b, NULL, jws_no_passphrase, NULL);
	BIO_free(b);
	if (k && (!k->key || !jws_describe(k))) {
		jws_key_free(k);
		k = NULL;
	}
	ERR_clear_error();
	return k;
}

void jws_key_free(struct jws_key *k)
{
	if (!k)
		return;
	EVP_PKEY_free(k->key);
	free(k);
}

const char *jws_key_jwk(const struct jws_key *k)
{
	return k->jwk;
}

const char *jws_key_thumbprint(const struct jws_key *k)
{
	return k->thumbprint;
}

bool jws_key_authorization(const struct jws_key *k, const char *token, char *out, size_t cap)
{
	return (size_t)snprintf(out, cap, "%s.%s", token, k->thumbprint) < cap;
}

/* --- signatures ----------------------------------------------------------------------------------------------- */

/* OpenSSL writes r and s as DER; JWS wants 32 bytes each. */
static bool jws_es256(const struct jws_key *k, const char *text, uint8_t out[64])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t der[80];
	const uint8_t *p = der;
	size_t n = sizeof der;
	ECDSA_SIG *sig = NULL;
	bool ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, k->key) == 1 &&
		  EVP_DigestSign(ctx, der, &n, (const uint8_t *)text, strlen(text)) == 1 &&
		  (sig = d2i_ECDSA_SIG(NULL, &p, (long)n)) && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, 32) == 32 &&
		  BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + 32, 32) == 32;

	ECDSA_SIG_free(sig);
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return ok;
}

/* {"protected","payload","signature"}; takes the three. */
static char *jws_join(char *head, char *body, char *sig)
{
	size_t n = head && body && sig ? strlen(head) + strlen(body) + strlen(sig) + 64 : 0;
	char *out = n ? malloc(n) : NULL;

	if (out)
		snprintf(out, n, "{\"protected\":\"%s\",\"payload\":\"%s\",\"signature\":\"%s\"}", head, body, sig);
	free(head);
	free(body);
	free(sig);
	return out;
}

static char *jws_input(const char *head, const char *body)
{
	size_t n = head && body ? strlen(head) + strlen(body) + 2 : 0;
	char *out = n ? malloc(n) : NULL;

	if (out)
		snprintf(out, n, "%s.%s", head, body);
	return out;
}

/* What is put into the header must not end its string. */
static bool jws_plain(const char *s)
{
	for (; *s; s++)
		if (*s <= 0x20 || *s >= 0x7f || *s == '"' || *s == '\\')
			return false;
	return true;
}

char *jws_sign(const struct jws_key *k, const char *kid, const char *nonce, const char *url, const char *payload)
{
	OWN_FREE char *input = NULL;
	char head[4096], *head64, *body64, *sig64 = NULL;
	uint8_t sig[64];
	int n;

	if (!jws_plain(nonce) || !jws_plain(url) || (kid && !jws_plain(kid)))
		return NULL;
	n = kid ? snprintf(head, sizeof head, "{\"alg\":\"ES256\",\"kid\":\"%s\",\"nonce\":\"%s\",\"url\":\"%s\"}", kid,
			   nonce, url)
		: snprintf(head, sizeof head, "{\"alg\":\"ES256\",\"jwk\":%s,\"nonce\":\"%s\",\"url\":\"%s\"}", k->jwk,
			   nonce, url);
	if (n < 0 || (size_t)n >= sizeof head)
		return NULL;
	head64 = jws_base64(head, (size_t)n);
	body64 = jws_base64(payload ? payload : "", payload ? strlen(payload) : 0);
	input = jws_input(head64, body64);
	if (input && jws_es256(k, input, sig))
		sig64 = jws_base64(sig, sizeof sig);
	return jws_join(head64, body64, sig64);
}

char *jws_bind(const struct jws_key *k, const char *eab_kid, const char *eab_key, const char *url)
{
	OWN_FREE char *input = NULL;
	char head[2048], *head64, *body64, *sig64 = NULL;
	uint8_t sig[32];
	unsigned sig_len = sizeof sig;
	void *secret = NULL;
	size_t secret_len = 0;
	int n;

	if (!jws_plain(eab_kid) || !jws_plain(url) || jws_unbase64(eab_key, &secret, &secret_len) < 0)
		return NULL;
	n = snprintf(head, sizeof head, "{\"alg\":\"HS256\",\"kid\":\"%s\",\"url\":\"%s\"}", eab_kid, url);
	head64 = n > 0 && (size_t)n < sizeof head ? jws_base64(head, (size_t)n) : NULL;
	body64 = jws_base64(k->jwk, strlen(k->jwk));
	input = jws_input(head64, body64);
	if (input && HMAC(EVP_sha256(), secret, (int)secret_len, (const uint8_t *)input, strlen(input), sig, &sig_len))
		sig64 = jws_base64(sig, sig_len);
	OPENSSL_cleanse(secret, secret_len);
	free(secret);
	return jws_join(head64, body64, sig64);
}
