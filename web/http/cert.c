/* Certificates and keys with OpenSSL.  Layer web, control and proxy.  Each function leaves OpenSSL's queue of errors
 * empty, because SSL_get_error() looks at it. */
#include "web/http/cert.h"

#include "base/own.h"
#include "base/parse.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CERT_BACKDATE_S 3600 /* clocks of clients are wrong by so much */

/* A key under a passphrase is refused; without this OpenSSL would ask the terminal. */
static int cert_no_passphrase(char *buf, int size, int rw, void *arg)
{
	(void)buf;
	(void)size;
	(void)rw;
	(void)arg;
	return -1;
}

static X509 *cert_read(BIO *b)
{
	return PEM_read_bio_X509(b, NULL, cert_no_passphrase, NULL);
}

int cert_load(const char *pem, size_t n, X509 **leaf, STACK_OF(X509) * *chain, EVP_PKEY **key)
{
	BIO *b = n <= LIMIT_CERT_BYTES * 2 ? BIO_new_mem_buf(pem, (int)n) : NULL;
	X509 *x;
	int r = b ? -EINVAL : -ENOMEM;

	*leaf = NULL;
	*chain = NULL;
	*key = NULL;
	if (!b)
		goto out;
	if (!(*leaf = cert_read(b)))
		goto out;
	/* PEM_read_bio_X509 skips what is not a certificate, the key between them too. */
	for (unsigned i = 1; i < LIMIT_CERT_CHAIN && (x = cert_read(b)); i++) {
		if ((!*chain && !(*chain = sk_X509_new_null())) || !sk_X509_push(*chain, x)) {
			X509_free(x);
			r = -ENOMEM;
			goto out;
		}
	}
	BIO_free(b);
	b = BIO_new_mem_buf(pem, (int)n);
	*key = b ? PEM_read_bio_PrivateKey(b, NULL, cert_no_passphrase, NULL) : NULL;
	r = *key ? 0 : -EINVAL;
out:
	if (r < 0) {
		X509_free(*leaf);
		sk_X509_pop_free(*chain, X509_free);
		EVP_PKEY_free(*key);
		*leaf = NULL;
		*chain = NULL;
		*key = NULL;
	}
	BIO_free(b);
	ERR_clear_error();
	return r;
}

static char *cert_names_of(X509 *x, unsigned *count)
{
	GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	int n = all ? sk_GENERAL_NAME_num(all) : 0;
	char *names = malloc((size_t)(n < LIMIT_CERT_NAMES ? n : LIMIT_CERT_NAMES) * (LIMIT_HOST + 1) + 1), *o = names;

	*count = 0;
	for (int i = 0; names && i < n && *count < LIMIT_CERT_NAMES; i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);
		char name[LIMIT_HOST + 1];
		const char *text;
		int len;
		if (g->type != GEN_DNS)
			continue;
		text = (const char *)ASN1_STRING_get0_data(g->d.dNSName);
		len = ASN1_STRING_length(g->d.dNSName);
		if (len <= 0 || len > LIMIT_HOST || memchr(text, 0, (size_t)len))
			continue;
		for (int k = 0; k < len; k++)
			name[k] = (char)(text[k] >= 'A' && text[k] <= 'Z' ? text[k] | 0x20 : text[k]);
		name[len] = '\0';
		if (parse_hostname(name, true, "name", NULL) < 0)
			continue;
		memcpy(o, name, (size_t)len + 1);
		o += len + 1;
		++*count;
	}
	GENERAL_NAMES_free(all);
	if (names)
		*o = '\0';
	return names;
}

char *cert_names(const char *pem, size_t n)
{
	BIO *b = n <= LIMIT_CERT_BYTES * 2 ? BIO_new_mem_buf(pem, (int)n) : NULL;
	X509 *x = b ? cert_read(b) : NULL;
	unsigned count;
	char *names = x ? cert_names_of(x, &count) : NULL;

	errno = x ? ENOMEM : EINVAL;
	X509_free(x);
	BIO_free(b);
	ERR_clear_error();
	return names;
}

int cert_covers(const char *names, const char *host)
{
	const char *dot = strchr(host, '.');
	int best = 0;

	for (const char *n = names; *n && best < 2; n += strlen(n) + 1) {
		if (strcmp(n, host) == 0)
			best = 2;
		else if (dot && dot > host && n[0] == '*' && strcmp(n + 1, dot) == 0)
			best = 1; /* one label, as RFC 6125 has it */
	}
	return best;
}

void cert_info_done(struct cert_info *i)
{
	free(i->names);
	i->names = NULL;
}

/* The number of armoured blocks; one of another kind was meant otherwise. */
static int cert_only(const char *pem, size_t n, const char *label, unsigned max, const char *field, struct err *e)
{
	unsigned blocks = 0;

	if (n > LIMIT_CERT_BYTES)
		return err_field(e, EINVAL, field, "%s: it is over %u bytes", field, LIMIT_CERT_BYTES);
	if (memchr(pem, 0, n))
		return err_field(e, EINVAL, field, "%s: it holds a NUL byte", field);
	for (const char *p = pem, *end = pem + n; (p = memmem(p, (size_t)(end - p), "-----BEGIN ", 11));) {
		const char *tail = memmem(p + 11, (size_t)(end - p - 11), "-----", 5);
		size_t want = strlen(label), len = tail ? (size_t)(tail - p - 11) : 0;
		if (len < want || memcmp(tail - want, label, want) != 0)
			return err_field(e, EINVAL, field, "%s: a PEM block in it is not a %s", field, label);
		if (++blocks > max)
			return err_field(e, EINVAL, field, "%s: more than %u PEM blocks", field, max);
		p = tail;
	}
	if (blocks == 0)
		return err_field(e, EINVAL, field, "%s: no PEM block \"-----BEGIN … %s-----\"", field, label);
	return (int)blocks;
}

/* Certificates at the start of a text, up to one that does not parse. */
static int cert_count(const char *pem, size_t n)
{
	BIO *b = BIO_new_mem_buf(pem, (int)n);
	X509 *x;
	int count = 0;

	for (; b && (x = cert_read(b)); count++)
		X509_free(x);
	BIO_free(b);
	ERR_clear_error();
	return count;
}

/* The kind of a key, or a refusal. */
static int cert_kind(EVP_PKEY *key, char kind[16], struct err *e)
{
	int bits = EVP_PKEY_get_bits(key);
	char group[32] = "";

	if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA && bits >= 2048 && bits <= 4096) {
		snprintf(kind, 16, "rsa-%d", bits);
		return 0;
	}
	if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC && EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
	    (strcmp(group, "prime256v1") == 0 || strcmp(group, "secp384r1") == 0)) {
		snprintf(kind, 16, "ecdsa-%d", bits);
		return 0;
	}
	return err_field(e, EINVAL, "key", "key: use ECDSA on P-256 or P-384, or RSA of 2048 to 4096 bits");
}

static int64_t cert_time_ms(const ASN1_TIME *t)
{
	struct tm tm;

	return t && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) * 1000 : -1;
}

static void cert_issuer(X509 *x, char out[128])
{
	X509_NAME *n = X509_get_issuer_name(x);
	size_t k = 0;

	if (X509_NAME_get_text_by_NID(n, NID_commonName, out, 128) < 0 &&
	    X509_NAME_get_text_by_NID(n, NID_organizationName, out, 128) < 0)
		out[0] = '\0';
	/* It is shown: visible ASCII only. */
	for (size_t i = 0; out[i]; i++)
		if (out[i] >= 0x20 && out[i] < 0x7f)
			out[k++] = out[i];
	out[k] = '\0';
}

static int cert_check_chain(X509 *leaf, STACK_OF(X509) * chain, struct err *e)
{
	X509 *below = leaf;

	for (int i = 0; i < (chain ? sk_X509_num(chain) : 0); i++) {
		X509 *x = sk_X509_value(chain, i);
		if (X509_check_issued(x, below) != X509_V_OK || X509_verify(below, X509_get0_pubkey(x)) != 1)
			return err_field(e, EINVAL, "certificate",
					 "certificate: number %d is not signed by number %d; the order is the server's "
					 "own first, then each one's issuer",
					 i + 1, i + 2);
		below = x;
	}
	return 0;
}

static bool cert_must_staple(X509 *x)
{
	STACK_OF(ASN1_INTEGER) *features = X509_get_ext_d2i(x, NID_tlsfeature, NULL, NULL);
	bool must = false;

	for (int i = 0; i < (features ? sk_ASN1_INTEGER_num(features) : 0); i++)
		must |= ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i)) == 5; /* RFC 7633 */
	sk_ASN1_INTEGER_pop_free(features, ASN1_INTEGER_free);
	return must;
}

static int cert_check_leaf(X509 *x, int64_t now_ms, struct cert_info *ret, struct err *e)
{
	uint8_t digest[32];
	unsigned len = sizeof digest;

	if (X509_check_purpose(x, X509_PURPOSE_SSL_SERVER, 0) != 1)
		return err_field(e, EINVAL, "certificate", "certificate: the first one is not a server's certificate");
	ret->not_before_ms = cert_time_ms(X509_get0_notBefore(x));
	ret->not_after_ms = cert_time_ms(X509_get0_notAfter(x));
	if (ret->not_before_ms < 0 || ret->not_after_ms <= now_ms)
		return err_field(e, EINVAL, "certificate", "certificate: it has expired");
	if (ret->not_before_ms > now_ms + CERT_BACKDATE_S * 1000ll)
		return err_field(e, EINVAL, "certificate", "certificate: it is not valid yet");
	ret->names = cert_names_of(x, &ret->name_count);
	if (!ret->names)
		return err_set(e, ENOMEM, "out of memory");
	if (ret->name_count == 0)
		return err_field(e, EINVAL, "certificate", "certificate: it names no host (subjectAltName)");
	cert_issuer(x, ret->issuer);
	ret->self_signed = X509_self_signed(x, 0) == 1;
	ret->must_staple = cert_must_staple(x);
	if (X509_digest(x, EVP_sha256(), digest, &len) != 1)
		return err_set(e, ENOMEM, "out of memory");
	parse_hex(digest, sizeof digest, ret->sha256);
	return 0;
}

int cert_check(const char *chain, size_t chain_len, const char *key, size_t key_len, int64_t now_ms,
	       struct cert_info *ret, struct err *e)
{
	X509 *leaf = NULL;
	STACK_OF(X509) *rest = NULL;
	EVP_PKEY *pkey = NULL;
	struct cert_info info = {0};
	OWN_FREE char *all = NULL;
	int r, blocks = cert_only(chain, chain_len, "CERTIFICATE", LIMIT_CERT_CHAIN, "certificate", e);

	if (blocks < 0)
		return blocks;
	if ((r = cert_only(key, key_len, "PRIVATE KEY", 1, "key", e)) < 0)
		return r;
	/* One that does not parse would be left out silently. */
	if (cert_count(chain, chain_len) != blocks)
		return err_field(e, EINVAL, "certificate", "certificate: it is not readable PEM");
	all = malloc(chain_len + key_len + 2);
	if (!all)
		return err_set(e, ENOMEM, "out of memory");
	memcpy(all, chain, chain_len);
	all[chain_len] = '\n';
	memcpy(all + chain_len + 1, key, key_len);
	r = cert_load(all, chain_len + 1 + key_len, &leaf, &rest, &pkey);
	OPENSSL_cleanse(all, chain_len + 1 + key_len);
	if (r == -ENOMEM)
		return err_set(e, ENOMEM, "out of memory");
	if (r < 0)
		return err_field(e, EINVAL, "key", "key: it is not readable PEM without a passphrase");
	if ((r = cert_kind(pkey, info.kind, e)) == 0 && X509_check_private_key(leaf, pkey) != 1)
		r = err_field(e, EINVAL, "key", "key: it does not belong to the first certificate");
	if (r == 0 && (r = cert_check_chain(leaf, rest, e)) == 0)
		r = cert_check_leaf(leaf, now_ms, &info, e);
	X509_free(leaf);
	sk_X509_pop_free(rest, X509_free);
	EVP_PKEY_free(pkey);
	ERR_clear_error();
	if (r < 0)
		cert_info_done(&info);
	else
		*ret = info;
	return r;
}

/* What a memory BIO holds, as a block of malloc; NUL-terminated. */
static void *cert_text(BIO *b, size_t *len)
{
	char *data = NULL, *out;
	long n = b ? BIO_get_mem_data(b, &data) : 0;

	if (n <= 0 || !(out = malloc((size_t)n + 1)))
		return NULL;
	memcpy(out, data, (size_t)n);
	out[n] = '\0';
	if (len)
		*len = (size_t)n;
	return out;
}

/* The first responder that is asked by plain http, as all public ones are: what it says is signed. */
static void cert_responder(X509 *x, char url[LIMIT_FETCH_URL + 1])
{
	STACK_OF(OPENSSL_STRING) *all = X509_get1_ocsp(x);

	url[0] = '\0';
	for (int i = 0; i < (all ? sk_OPENSSL_STRING_num(all) : 0) && !url[0]; i++) {
		const char *s = sk_OPENSSL_STRING_value(all, i);
		size_t n = strlen(s), k = 0;
		while (s[k] > 0x20 && s[k] < 0x7f)
			k++;
		if (k == n && n <= LIMIT_FETCH_URL && strncasecmp(s, "http://", 7) == 0)
			memcpy(url, s, n + 1);
	}
	X509_email_free(all);
}

void cert_ocsp_done(struct cert_ocsp *o)
{
	free(o->pem);
	o->pem = NULL;
}

int cert_ocsp(const char *pem, size_t n, struct cert_ocsp *ret)
{
	BIO *b = n <= LIMIT_CERT_BYTES * 2 ? BIO_new_mem_buf(pem, (int)n) : NULL, *out = BIO_new(BIO_s_mem());
	X509 *leaf = b ? cert_read(b) : NULL, *issuer = leaf ? cert_read(b) : NULL;
	uint8_t digest[32];
	unsigned len = sizeof digest;
	int r = leaf ? 0 : -EINVAL;

	memset(ret, 0, sizeof *ret);
	if (leaf && (!out || X509_digest(leaf, EVP_sha256(), digest, &len) != 1))
		r = -ENOMEM;
	if (r == 0) {
		parse_hex(digest, sizeof digest, ret->sha256);
		cert_responder(leaf, ret->url);
		ret->must_staple = cert_must_staple(leaf);
	}
	if (r == 0 && issuer) {
		if (PEM_write_bio_X509(out, leaf) != 1 || PEM_write_bio_X509(out, issuer) != 1 ||
		    !(ret->pem = cert_text(out, NULL)))
			r = -ENOMEM;
	}
	X509_free(leaf);
	X509_free(issuer);
	BIO_free(b);
	BIO_free(out);
	ERR_clear_error();
	return r;
}

/* base64url without padding (RFC 4648, 5); the bytes written, or 0 when it does not fit. */
static size_t cert_base64url(const uint8_t *p, size_t n, char *out, size_t cap)
{
	size_t len = (n + 2) / 3 * 4;

	if (n == 0 || len + 1 > cap)
		return 0;
	EVP_EncodeBlock((uint8_t *)out, p, (int)n);
	while (len > 0 && out[len - 1] == '=')
		out[--len] = '\0';
	for (size_t i = 0; i < len; i++)
		out[i] = (char)(out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i]);
	return len;
}

bool cert_renewal_id(const char *pem, size_t n, char out[LIMIT_RENEWAL_ID + 1])
{
	BIO *b = n <= LIMIT_CERT_BYTES * 2 ? BIO_new_mem_buf(pem, (int)n) : NULL;
	X509 *x = b ? cert_read(b) : NULL;
	const ASN1_OCTET_STRING *authority = x ? X509_get0_authority_key_id(x) : NULL;
	uint8_t *serial = NULL;
	int len = authority ? i2d_ASN1_INTEGER(X509_get0_serialNumber(x), &serial) : 0;
	size_t k = 0, m = 0;

	/* Without its tag and its length, which is below 128: two bytes. */
	if (len > 2 && len < 100 && ASN1_STRING_length(authority) < 100)
		k = cert_base64url(ASN1_STRING_get0_data(authority), (size_t)ASN1_STRING_length(authority), out,
				   LIMIT_RENEWAL_ID / 2);
	if (k > 0) {
		out[k] = '.';
		m = cert_base64url(serial + 2, (size_t)len - 2, out + k + 1, LIMIT_RENEWAL_ID - k);
	}
	OPENSSL_free(serial);
	X509_free(x);
	BIO_free(b);
	ERR_clear_error();
	return m > 0;
}

char *cert_new_key(void)
{
	EVP_PKEY *k = EVP_EC_gen("P-256");
	BIO *b = k ? BIO_new(BIO_s_secmem()) : NULL;
	char *out = NULL;

	if (b && PEM_write_bio_PrivateKey(b, k, NULL, NULL, 0, NULL, NULL) == 1)
		out = cert_text(b, NULL);
	BIO_free(b);
	EVP_PKEY_free(k);
	ERR_clear_error();
	return out;
}

void cert_free_key(char *key)
{
	if (key)
		OPENSSL_cleanse(key, strlen(key));
	free(key);
}

static EVP_PKEY *cert_key(const char *key)
{
	BIO *b = BIO_new_mem_buf(key, -1);
	EVP_PKEY *k = b ? PEM_read_bio_PrivateKey(b, NULL, cert_no_passphrase, NULL) : NULL;

	BIO_free(b);
	return k;
}

static GENERAL_NAMES *cert_alt_names(const char *names)
{
	GENERAL_NAMES *all = GENERAL_NAMES_new();

	for (const char *n = names; all && *n; n += strlen(n) + 1) {
		GENERAL_NAME *g = GENERAL_NAME_new();
		ASN1_IA5STRING *text = ASN1_IA5STRING_new();
		if (!g || !text || !ASN1_STRING_set(text, n, -1) || !sk_GENERAL_NAME_push(all, g)) {
			GENERAL_NAME_free(g);
			ASN1_IA5STRING_free(text);
			GENERAL_NAMES_free(all);
			return NULL;
		}
		GENERAL_NAME_set0_value(g, GEN_DNS, text);
	}
	return all;
}

static bool cert_add_extension(X509 *x, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	bool ok;

	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext && X509_add_ext(x, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

static bool cert_add_acme(X509 *x, const uint8_t *digest)
{
	uint8_t der[34] = {0x04, 32};
	ASN1_OCTET_STRING *v = ASN1_OCTET_STRING_new();
	ASN1_OBJECT *oid = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1);
	X509_EXTENSION *ext = NULL;
	bool ok;

	memcpy(der + 2, digest, 32);
	ok = v && oid && ASN1_OCTET_STRING_set(v, der, sizeof der) == 1 &&
	     (ext = X509_EXTENSION_create_by_OBJ(NULL, oid, 1, v)) && X509_add_ext(x, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	ASN1_OBJECT_free(oid);
	ASN1_OCTET_STRING_free(v);
	return ok;
}

char *cert_self_signed(const char *key, const char *names, int64_t now_ms, unsigned days, const uint8_t *alpn)
{
	EVP_PKEY *k = cert_key(key);
	X509 *x = X509_new();
	GENERAL_NAMES *alt = cert_alt_names(names);
	BIO *b = BIO_new(BIO_s_mem());
	X509_NAME *subject = x ? X509_get_subject_name(x) : NULL;
	char *out = NULL;
	time_t now = (time_t)(now_ms / 1000);
	BIGNUM *bn = BN_new();

	if (!k || !x || !alt || !b || !bn || !*names)
		goto out;
	if (X509_set_version(x, 2) != 1 || BN_rand(bn, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) != 1 ||
	    !BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x)) ||
	    !X509_time_adj_ex(X509_getm_notBefore(x), 0, -CERT_BACKDATE_S, &now) ||
	    !X509_time_adj_ex(X509_getm_notAfter(x), (int)days, 0, &now) || X509_set_pubkey(x, k) != 1 ||
	    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)"Tulou, signed by itself", -1, -1,
				       0) != 1 ||
	    X509_set_issuer_name(x, subject) != 1 || X509_add1_ext_i2d(x, NID_subject_alt_name, alt, 0, 0) != 1 ||
	    !cert_add_extension(x, NID_basic_constraints, "critical,CA:FALSE") ||
	    !cert_add_extension(x, NID_key_usage, "critical,digitalSignature") ||
	    !cert_add_extension(x, NID_ext_key_usage, "serverAuth") || (alpn && !cert_add_acme(x, alpn)))
		goto out;
	if (X509_sign(x, k, EVP_sha256()) > 0 && PEM_write_bio_X509(b, x) == 1)
		out = cert_text(b, NULL);
out:
	BN_free(bn);
	BIO_free(b);
	GENERAL_NAMES_free(alt);
	X509_free(x);
	EVP_PKEY_free(k);
	ERR_clear_error();
	if (!out)
		errno = EINVAL;
	return out;
}

uint8_t *cert_request(const char *key, const char *names, size_t *len)
{
	EVP_PKEY *k = cert_key(key);
	X509_REQ *q = X509_REQ_new();
	GENERAL_NAMES *alt = cert_alt_names(names);
	STACK_OF(X509_EXTENSION) *exts = NULL;
	uint8_t *out = NULL, *der = NULL;
	int n;

	if (k && q && alt && *names && X509V3_add1_i2d(&exts, NID_subject_alt_name, alt, 0, 0) == 1 &&
	    X509_REQ_set_pubkey(q, k) == 1 && X509_REQ_add_extensions(q, exts) == 1 &&
	    X509_REQ_sign(q, k, EVP_sha256()) > 0 && (n = i2d_X509_REQ(q, &der)) > 0 && (out = malloc((size_t)n))) {
		memcpy(out, der, (size_t)n);
		*len = (size_t)n;
	}
	OPENSSL_free(der);
	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	GENERAL_NAMES_free(alt);
	X509_REQ_free(q);
	EVP_PKEY_free(k);
	ERR_clear_error();
	if (!out)
		errno = EINVAL;
	return out;
}
