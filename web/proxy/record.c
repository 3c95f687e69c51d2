/* Records of TLS 1.3: see record.h.  Layer web, proxy process. */
#include "web/proxy/record.h"

#include "config/limits.h"

#include <assert.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define KEY_UPDATE 24 /* handshake type (RFC 8446, 4) */

enum digest { DIGEST_SHA256, DIGEST_SHA384, DIGEST_COUNT };

static const struct suite {
	const char *cipher;
	unsigned number;
	uint8_t key, secret;
	uint8_t digest; /* enum digest */
} suites[RECORD_SUITE_COUNT] = {
	[RECORD_AES_128_GCM_SHA256] = {"AES-128-GCM", 0x1301, 16, 32, DIGEST_SHA256},
	[RECORD_AES_256_GCM_SHA384] = {"AES-256-GCM", 0x1302, 32, 48, DIGEST_SHA384},
	[RECORD_CHACHA20_POLY1305_SHA256] = {"ChaCha20-Poly1305", 0x1303, 32, 32, DIGEST_SHA256},
};

/* A context, and whose key is in it. */
struct keyed {
	EVP_CIPHER_CTX *ctx; /* owned */
	uint64_t serial;     /* 0 = nobody's */
};

struct record {
	struct keyed seal[RECORD_SUITE_COUNT], open[RECORD_SUITE_COUNT];
	EVP_MAC_CTX *mac[DIGEST_COUNT]; /* owned */
	uint64_t serial;		/* the last that was given */
};

/* ---- contexts ---- */

static bool record_prepare(struct record *r)
{
	static const char *const digests[DIGEST_COUNT] = {"SHA256", "SHA384"};
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	bool ok = hmac != NULL;

	for (unsigned i = 0; ok && i < DIGEST_COUNT; i++) {
		OSSL_PARAM params[2] = {
			OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t)digests[i], 0),
			OSSL_PARAM_construct_end()};
		r->mac[i] = EVP_MAC_CTX_new(hmac);
		ok = r->mac[i] && EVP_MAC_CTX_set_params(r->mac[i], params) == 1;
	}
	EVP_MAC_free(hmac);
	for (unsigned i = RECORD_NO_SUITE + 1; ok && i < RECORD_SUITE_COUNT; i++) {
		EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, suites[i].cipher, NULL);
		r->seal[i].ctx = EVP_CIPHER_CTX_new();
		r->open[i].ctx = EVP_CIPHER_CTX_new();
		ok = cipher && r->seal[i].ctx && r->open[i].ctx &&
		     EVP_EncryptInit_ex2(r->seal[i].ctx, cipher, NULL, NULL, NULL) == 1 &&
		     EVP_DecryptInit_ex2(r->open[i].ctx, cipher, NULL, NULL, NULL) == 1;
		EVP_CIPHER_free(cipher);
	}
	return ok;
}

struct record *record_new(void)
{
	struct record *r = calloc(1, sizeof *r);

	if (r && !record_prepare(r)) {
		record_free(r);
		r = NULL;
	}
	ERR_clear_error();
	return r;
}

void record_free(struct record *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < RECORD_SUITE_COUNT; i++) {
		EVP_CIPHER_CTX_free(r->seal[i].ctx);
		EVP_CIPHER_CTX_free(r->open[i].ctx);
	}
	for (unsigned i = 0; i < DIGEST_COUNT; i++)
		EVP_MAC_CTX_free(r->mac[i]);
	free(r);
}

/* Begins one record: the nonce of its sequence number (5.3), and the key where the context has another's. */
static bool record_begin(struct keyed *x, const struct record_keys *k, bool seal)
{
	const uint8_t *key = x->serial == k->serial ? NULL : k->key;
	uint8_t nonce[sizeof k->iv];
	int ok;

	memcpy(nonce, k->iv, sizeof nonce);
	for (unsigned i = 0; i < 8; i++)
		nonce[4 + i] ^= (uint8_t)(k->seq >> (56 - 8 * i));
	/* Where it fails nobody's key is in there. */
	x->serial = 0;
	ok = seal ? EVP_EncryptInit_ex2(x->ctx, NULL, key, nonce, NULL)
		  : EVP_DecryptInit_ex2(x->ctx, NULL, key, nonce, NULL);
	if (ok == 1)
		x->serial = k->serial;
	return ok == 1;
}

/* ---- keys ---- */

enum record_suite record_suite_of(unsigned number)
{
	for (unsigned i = RECORD_NO_SUITE + 1; i < RECORD_SUITE_COUNT; i++)
		if (suites[i].number == number)
			return (enum record_suite)i;
	return RECORD_NO_SUITE;
}

size_t record_secret_len(enum record_suite suite)
{
	return suites[suite].secret;
}

/* HKDF-Expand-Label (7.1) with an empty context; one block of HKDF is as much as is ever asked for. */
static bool record_expand(EVP_MAC_CTX *mac, const uint8_t *secret, size_t n, const char *label, uint8_t *out,
			  size_t len)
{
	uint8_t info[32], block[64];
	size_t k = strlen(label), got = 0;
	bool ok;

	assert(len <= n && k + 11 <= sizeof info);
	info[0] = 0;
	info[1] = (uint8_t)len;
	info[2] = (uint8_t)(6 + k);
	memcpy(info + 3, "tls13 ", 6);
	memcpy(info + 9, label, k);
	info[9 + k] = 0;
	info[10 + k] = 1; /* of the block */
	ok = EVP_MAC_init(mac, secret, n, NULL) == 1 && EVP_MAC_update(mac, info, 11 + k) == 1 &&
	     EVP_MAC_final(mac, block, &got, sizeof block) == 1 && got == n;
	if (ok)
		memcpy(out, block, len);
	OPENSSL_cleanse(block, sizeof block);
	return ok;
}

int record_derive(struct record *r, struct record_keys *k, enum record_suite suite, uint64_t seq)
{
	static const uint8_t none[RECORD_SECRET];
	const struct suite *s = &suites[suite];
	EVP_MAC_CTX *mac = r->mac[s->digest];
	bool ok;

	assert(suite > RECORD_NO_SUITE && suite < RECORD_SUITE_COUNT);
	k->suite = (uint8_t)suite;
	k->seq = seq;
	k->serial = ++r->serial;
	ok = record_expand(mac, k->secret, s->secret, "key", k->key, s->key) &&
	     record_expand(mac, k->secret, s->secret, "iv", k->iv, sizeof k->iv);
	/* The secret does not stay behind in the context. */
	ok &= EVP_MAC_init(mac, none, s->secret, NULL) == 1;
	if (ok)
		return 0;
	ERR_clear_error();
	return -EIO;
}

/* Takes the key out of the contexts that hold it. */
static void record_unkey(struct record *r, const struct record_keys *k)
{
	static const uint8_t none[32];
	struct keyed *seal = &r->seal[k->suite], *open = &r->open[k->suite];

	if (k->serial && seal->serial == k->serial) {
		EVP_EncryptInit_ex2(seal->ctx, NULL, none, none, NULL);
		seal->serial = 0;
	}
	if (k->serial && open->serial == k->serial) {
		EVP_DecryptInit_ex2(open->ctx, NULL, none, none, NULL);
		open->serial = 0;
	}
}

/* The secret after this one (7.2), and its keys; the old ones are gone. */
static int record_next(struct record *r, struct record_keys *k)
{
	const struct suite *s = &suites[k->suite];
	uint8_t next[RECORD_SECRET];
	int e = -EIO;

	if (record_expand(r->mac[s->digest], k->secret, s->secret, "traffic upd", next, s->secret)) {
		memcpy(k->secret, next, s->secret);
		record_unkey(r, k);
		e = record_derive(r, k, (enum record_suite)k->suite, 0);
	}
	OPENSSL_cleanse(next, sizeof next);
	ERR_clear_error();
	return e;
}

void record_forget(struct record *r, struct record_keys *k)
{
	record_unkey(r, k);
	OPENSSL_cleanse(k, sizeof *k);
}

/* ---- sending ---- */

static int record_protect(struct record *r, struct record_keys *k, uint8_t type, uint8_t *rec, size_t len)
{
	struct keyed *x = &r->seal[k->suite];
	size_t inner = len + 1;
	int n;

	rec[0] = RECORD_DATA;
	rec[1] = rec[2] = 3;
	rec[3] = (uint8_t)((inner + RECORD_TAG) >> 8);
	rec[4] = (uint8_t)(inner + RECORD_TAG);
	rec[RECORD_HEAD + len] = type;
	if (!record_begin(x, k, true) || EVP_EncryptUpdate(x->ctx, NULL, &n, rec, RECORD_HEAD) != 1 ||
	    EVP_EncryptUpdate(x->ctx, rec + RECORD_HEAD, &n, rec + RECORD_HEAD, (int)inner) != 1 ||
	    (size_t)n != inner || EVP_EncryptFinal_ex(x->ctx, rec + RECORD_HEAD + inner, &n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(x->ctx, EVP_CTRL_AEAD_GET_TAG, RECORD_TAG, rec + RECORD_HEAD + inner) != 1) {
		OPENSSL_cleanse(rec, RECORD_HEAD + inner);
		ERR_clear_error();
		return -EIO;
	}
	k->seq++;
	return 0;
}

int record_worn(const struct record_keys *k)
{
	return k->seq >= LIMIT_TLS_RECORDS - 1;
}

int record_seal(struct record *r, struct record_keys *k, uint8_t type, uint8_t *rec, size_t len)
{
	assert(k->serial && len <= RECORD_PLAIN);
	/* Alerts go out at the end of any key; after them there is nothing. */
	if (record_worn(k) && type != RECORD_ALERT)
		return -EKEYEXPIRED;
	return record_protect(r, k, type, rec, len);
}

int record_renew(struct record *r, struct record_keys *k, uint8_t *rec)
{
	static const uint8_t message[5] = {KEY_UPDATE, 0, 0, 1, 0}; /* update_not_requested */
	int e;

	memcpy(rec + RECORD_HEAD, message, sizeof message);
	e = record_protect(r, k, RECORD_HANDSHAKE, rec, sizeof message);
	return e < 0 ? e : record_next(r, k);
}

/* ---- reading ---- */

ssize_t record_size(const uint8_t *p, size_t n)
{
	size_t len;

	/* Said as soon as it is known.  A change_cipher_spec has no place after Finished (5); the version means nothing
	 * (5.1). */
	if (n > 0 && p[0] != RECORD_DATA)
		return -RECORD_UNEXPECTED_MESSAGE;
	if (n < RECORD_HEAD)
		return 0;
	len = (size_t)p[3] << 8 | p[4];
	if (len > RECORD_WIRE - RECORD_HEAD)
		return -RECORD_OVERFLOW;
	/* Content type and tag are in any. */
	if (len < 1 + RECORD_TAG)
		return -RECORD_DECODE_ERROR;
	return (ssize_t)(RECORD_HEAD + len);
}

static bool record_unprotect(struct record *r, struct record_keys *k, uint8_t *rec, size_t inner)
{
	struct keyed *x = &r->open[k->suite];
	uint8_t none[RECORD_TAG]; /* where nothing is written to */
	int n;

	if (record_begin(x, k, false) &&
	    EVP_CIPHER_CTX_ctrl(x->ctx, EVP_CTRL_AEAD_SET_TAG, RECORD_TAG, rec + RECORD_HEAD + inner) == 1 &&
	    EVP_DecryptUpdate(x->ctx, NULL, &n, rec, RECORD_HEAD) == 1 &&
	    EVP_DecryptUpdate(x->ctx, rec + RECORD_HEAD, &n, rec + RECORD_HEAD, (int)inner) == 1 &&
	    (size_t)n == inner && EVP_DecryptFinal_ex(x->ctx, none, &n) == 1)
		return true;
	ERR_clear_error();
	return false;
}

/* Alerts (6): one in a record, whole. */
static int record_alert(const uint8_t *p, size_t n, struct record_got *ret)
{
	if (n != 2)
		return n == 0 ? -RECORD_UNEXPECTED_MESSAGE : -RECORD_DECODE_ERROR;
	/* The level means nothing (6). */
	ret->kind = p[1] == RECORD_CLOSE_NOTIFY	   ? RECORD_IS_END
		    : p[1] == RECORD_USER_CANCELED ? RECORD_IS_NOTHING
						   : RECORD_IS_FATAL;
	return 0;
}

/* Of what a client may say after the handshake only the KeyUpdate is left: no certificate is ever asked for.  It may be
 * split over records, and ends with its last one, because the next is under another key (5.1). */
static int record_handshake(struct record *r, struct record_keys *k, const uint8_t *p, size_t n, struct record_got *ret)
{
	static const uint8_t head[RECORD_UPDATE - 1] = {KEY_UPDATE, 0, 0, 1};
	size_t have = k->part + n;

	/* An empty piece is none (5.1). */
	if (n == 0 || (k->part == 0 && p[0] != KEY_UPDATE))
		return -RECORD_UNEXPECTED_MESSAGE;
	for (size_t i = k->part; i < have && i < sizeof head; i++)
		if (p[i - k->part] != head[i])
			return -RECORD_DECODE_ERROR;
	if (have > RECORD_UPDATE || k->updates == LIMIT_TLS_UPDATES)
		return -RECORD_UNEXPECTED_MESSAGE;
	ret->kind = RECORD_IS_NOTHING;
	k->part = have < RECORD_UPDATE ? (uint8_t)have : 0;
	if (k->part)
		return 0;
	if (p[n - 1] > 1)
		return -RECORD_ILLEGAL_PARAMETER;
	k->updates++;
	if (p[n - 1])
		ret->kind = RECORD_IS_ASKING;
	return record_next(r, k) < 0 ? -RECORD_INTERNAL_ERROR : 0;
}

/* The content of an inner plaintext (5.2, 5.4) by its type. */
static int record_judge(struct record *r, struct record_keys *k, const uint8_t *p, size_t n, uint8_t type,
			struct record_got *ret)
{
	/* Nothing stands between the pieces of a handshake message (5.1). */
	if (k->part > 0 && type != RECORD_HANDSHAKE)
		return -RECORD_UNEXPECTED_MESSAGE;
	if (type == RECORD_DATA && n > 0) {
		k->quiet = 0;
		ret->kind = RECORD_IS_DATA;
		return 0;
	}
	/* Key updates have a limit of their own. */
	if (type == RECORD_HANDSHAKE)
		return record_handshake(r, k, p, n, ret);
	if (k->quiet == LIMIT_TLS_QUIET)
		return -RECORD_UNEXPECTED_MESSAGE;
	k->quiet++;
	ret->kind = RECORD_IS_NOTHING;
	if (type == RECORD_DATA)
		return 0;
	return type == RECORD_ALERT ? record_alert(p, n, ret) : -RECORD_UNEXPECTED_MESSAGE;
}

int record_open(struct record *r, struct record_keys *k, uint8_t *rec, size_t size, struct record_got *ret)
{
	size_t inner = size - RECORD_HEAD - RECORD_TAG, n = inner;
	uint8_t *p = rec + RECORD_HEAD;
	int e;

	assert(k->serial && size >= RECORD_HEAD + 1 + RECORD_TAG && size <= RECORD_WIRE);
	if (k->seq == UINT64_MAX)
		e = -RECORD_INTERNAL_ERROR;
	else if (!record_unprotect(r, k, rec, inner))
		e = -RECORD_BAD_MAC;
	else if (inner > RECORD_PLAIN + 1)
		e = -RECORD_OVERFLOW; /* padding too (5.4) */
	else {
		k->seq++;
		while (n > 0 && p[n - 1] == 0)
			n--;
		e = n == 0 ? -RECORD_UNEXPECTED_MESSAGE : record_judge(r, k, p, n - 1, p[n - 1], ret);
	}
	if (e < 0) {
		OPENSSL_cleanse(p, inner);
		return e;
	}
	ret->content = p;
	ret->len = n - 1;
	return 0;
}
