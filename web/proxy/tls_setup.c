/* What OpenSSL is told once, and what it asks during a handshake: certificates, protocols, tickets.  Layer web, proxy
 * process.
 *
 * Sessions are resumed by tickets alone, sealed with keys that all workers share; none is kept here.  No early data, no
 * renegotiation, no compression, no client certificates. */
#include "web/proxy/tls.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

/* ---- what OpenSSL asks ---- */

void tls_asked(SSL *ssl, char name[LIMIT_HOST + 1])
{
	const char *s = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	size_t n = s ? strlen(s) : 0;

	name[0] = '\0';
	if (n > LIMIT_HOST)
		return;
	for (size_t i = 0; i < n; i++) {
		char b = s[i];
		b = (char)(b >= 'A' && b <= 'Z' ? b | 0x20 : b);
		if (!((b >= 'a' && b <= 'z') || (b >= '0' && b <= '9') || b == '-' || b == '.' || b == '_')) {
			name[0] = '\0';
			return;
		}
		name[i] = b;
	}
	name[n] = '\0';
	/* An address is no name (RFC 6066, 3), but some clients say it. */
	if (strspn(name, "0123456789.") == n)
		name[0] = '\0';
}

bool tls_chosen(SSL *ssl, const char *protocol)
{
	const uint8_t *alpn;
	unsigned n;

	SSL_get0_alpn_selected(ssl, &alpn, &n);
	return n == strlen(protocol) && memcmp(alpn, protocol, n) == 0;
}

/* Not asked when a session is resumed. */
static int tls_on_cert(SSL *ssl, void *arg)
{
	struct proxy *p = arg;
	char name[LIMIT_HOST + 1];
	struct cert_parts c;

	tls_asked(ssl, name);
	if (!certs_find(p, name, tls_chosen(ssl, "acme-tls/1"), &c))
		return 0;
	return SSL_use_cert_and_key(ssl, c.leaf, c.key, c.chain, 1);
}

/* Asked when the client wants to know whether the certificate is revoked (RFC 6066, 8), after tls_on_cert. */
static int tls_on_status(SSL *ssl, void *arg)
{
	struct proxy *p = arg;
	char name[LIMIT_HOST + 1];
	struct cert_parts c;
	uint8_t *copy;

	tls_asked(ssl, name);
	if (!certs_find(p, name, tls_chosen(ssl, "acme-tls/1"), &c) || !c.staple ||
	    c.staple_until_ms * 1000 < proxy_now(p) + p->wall_off_us ||
	    !(copy = OPENSSL_memdup(c.staple, c.staple_len)))
		return SSL_TLSEXT_ERR_NOACK;
	if (SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)c.staple_len) != 1) {
		OPENSSL_free(copy);
		return SSL_TLSEXT_ERR_NOACK;
	}
	return SSL_TLSEXT_ERR_OK;
}

static int tls_on_alpn(SSL *ssl, const uint8_t **out, uint8_t *out_len, const uint8_t *in, unsigned n, void *arg)
{
	struct proxy *p = arg;
	char name[LIMIT_HOST + 1];
	struct cert_parts c;

	/* HTTP/2 where the client knows it, whatever it likes best. */
	for (unsigned i = 0; i < n && i + 1 + in[i] <= n; i += 1u + in[i])
		if (in[i] == 2 && memcmp(in + i + 1, "h2", 2) == 0) {
			*out = in + i + 1;
			*out_len = 2;
			return SSL_TLSEXT_ERR_OK;
		}
	for (unsigned i = 0; i < n && i + 1 + in[i] <= n; i += 1u + in[i]) {
		const uint8_t *proto = in + i + 1;
		bool found = in[i] == 8 && memcmp(proto, "http/1.1", 8) == 0;
		/* The one thing that such a client does is to look at the certificate. */
		if (in[i] == 10 && memcmp(proto, "acme-tls/1", 10) == 0) {
			tls_asked(ssl, name);
			found = certs_find(p, name, true, &c);
		}
		if (found) {
			*out = proto;
			*out_len = in[i];
			return SSL_TLSEXT_ERR_OK;
		}
	}
	/* RFC 7301; also what keeps other protocols' clients from being led here (ALPACA). */
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int tls_on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
			 int seal)
{
	struct proxy *p = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	struct tls_state *s = p->tls;
	char digest[] = "SHA256";
	OSSL_PARAM params[3];
	unsigned i = 0;

	if (seal) {
		if (s->key_count == 0 || RAND_bytes(iv, 16) != 1)
			return 0;
		memcpy(name, s->keys[0].name, sizeof s->keys[0].name);
	} else {
		while (i < s->key_count && CRYPTO_memcmp(name, s->keys[i].name, sizeof s->keys[i].name) != 0)
			i++;
		if (i == s->key_count)
			return 0;
	}
	params[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, s->keys[i].mac, sizeof s->keys[i].mac);
	params[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
	params[2] = OSSL_PARAM_construct_end();
	if (EVP_MAC_CTX_set_params(mac, params) != 1 ||
	    EVP_CipherInit_ex2(cipher, s->cipher, s->keys[i].cipher, iv, seal, NULL) != 1)
		return -1;
	return i == 0 ? 1 : 2; /* 2: a ticket of an older key is renewed */
}

/* ---- the worker's ---- */

static int tls_configure(struct proxy *p, SSL_CTX *ctx)
{
	static const char ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";
	static const char groups[] = "X25519:P-256:P-384";

	if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 || SSL_CTX_set_cipher_list(ctx, ciphers) != 1 ||
	    SSL_CTX_set1_groups_list(ctx, groups) != 1 ||
	    SSL_CTX_set_session_id_context(ctx, (const uint8_t *)"tulou", 5) != 1 ||
	    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, tls_on_ticket) != 1 || SSL_CTX_set_num_tickets(ctx, 1) != 1)
		return -EINVAL;
	/* An end without close_notify cuts no request short: each says how long it is. */
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
					 SSL_OP_PRIORITIZE_CHACHA | SSL_OP_IGNORE_UNEXPECTED_EOF);
	/* Buffers of 16 KiB are given back between requests. */
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_timeout(ctx, LIMIT_TLS_TICKET_S);
	SSL_CTX_set_cert_cb(ctx, tls_on_cert, p);
	SSL_CTX_set_alpn_select_cb(ctx, tls_on_alpn, p);
	SSL_CTX_set_tlsext_status_cb(ctx, tls_on_status);
	SSL_CTX_set_tlsext_status_arg(ctx, p);
	SSL_CTX_set_app_data(ctx, p);
	SSL_CTX_set_msg_callback(ctx, tls_on_message);
	return 0;
}

int tls_init(struct proxy *p)
{
	struct tls_state *s;

	if (p->tls)
		return 0;
	/* The configuration of the host's OpenSSL is not ours, and the proxy opens no file. */
	if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1 || !(s = calloc(1, sizeof *s)))
		return -ENOMEM;
	p->tls = s;
	s->record = record_new();
	s->ctx = SSL_CTX_new(TLS_server_method());
	s->bio = tls_bio_new();
	s->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	if (!s->record || !s->ctx || !s->bio || !s->cipher || tls_configure(p, s->ctx) < 0) {
		tls_done(p);
		ERR_clear_error();
		return -ENOMEM;
	}
	ERR_clear_error();
	return 0;
}

void tls_done(struct proxy *p)
{
	struct tls_state *s = p->tls;

	if (!s)
		return;
	SSL_CTX_free(s->ctx);
	BIO_meth_free(s->bio);
	EVP_CIPHER_free(s->cipher);
	record_free(s->record);
	OPENSSL_cleanse(s, sizeof *s);
	free(s);
	p->tls = NULL;
}

void tls_tickets(struct proxy *p, const struct proxy_msg_tickets *m)
{
	struct tls_state *s = p->tls;
	struct proxy_ticket_key keys[LIMIT_TLS_TICKET_KEYS * 2];
	unsigned n = 0;

	if (!s || m->count == 0 || m->count > LIMIT_TLS_TICKET_KEYS)
		return;
	memcpy(keys, m->key, m->count * sizeof *keys);
	n = m->count;
	for (unsigned i = 0; i < s->key_count; i++) {
		bool known = false;
		for (unsigned k = 0; k < m->count; k++)
			known |= memcmp(m->key[k].name, s->keys[i].name, sizeof s->keys[i].name) == 0;
		if (!known)
			keys[n++] = s->keys[i];
	}
	s->key_count = n < LIMIT_TLS_TICKET_KEYS ? n : LIMIT_TLS_TICKET_KEYS;
	memcpy(s->keys, keys, s->key_count * sizeof *keys);
	OPENSSL_cleanse(keys, sizeof keys);
}
