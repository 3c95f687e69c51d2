/* TLS 1.2 and 1.3 to clients, with OpenSSL.  Layer web, proxy process.
 *
 * OpenSSL reads from the socket through our own BIO, a whole buffer at a time, so that a small request costs one call.
 * What it wants to send is collected in a scratch buffer of the worker: all records of one answer leave in one send(2),
 * and what the socket does not take waits as records in conn->out, which conn_flush() sends like anything else.
 *
 * Sessions are resumed by tickets alone, sealed with keys that all workers share; none is kept here.  No early data, no
 * renegotiation, no compression, no client certificates. */
#include "web/proxy/internal.h"

#include <assert.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

struct tls_state {
	SSL_CTX *ctx;
	BIO_METHOD *bio;
	EVP_CIPHER *cipher;
	struct proxy_ticket_key keys[LIMIT_TLS_TICKET_KEYS]; /* the first seals */
	unsigned key_count;
	size_t len; /* of what waits in out, during one call only */
	char out[PBUF_SIZE + PBUF_TLS];
	char gather[PBUF_SIZE];
};

struct tls {
	SSL *ssl;
	struct proxy *proxy;
	struct conn *conn; /* that it belongs to */
	bool over, failed;
	bool dry; /* the last read of the socket got less than it asked for */
	bool resumed;
	uint8_t updates; /* times it had to answer while reading */
	char name[];	 /* NUL-terminated */
};

/* ---- between OpenSSL and the socket ---- */

static int tls_bio_read(BIO *b, char *out, size_t n, size_t *got)
{
	struct tls *t = BIO_get_data(b);
	ssize_t r = recv(t->conn->fd, out, n, 0);

	BIO_clear_retry_flags(b);
	t->dry = r < 0 || (size_t)r < n;
	*got = r > 0 ? (size_t)r : 0;
	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_read(b);
	return r > 0;
}

static int tls_bio_write(BIO *b, const char *data, size_t n, size_t *put)
{
	struct tls *t = BIO_get_data(b);
	struct tls_state *s = t->proxy->tls;

	BIO_clear_retry_flags(b);
	*put = 0;
	/* More at once than any of our messages is: the connection fails. */
	if (n > sizeof s->out - s->len)
		return 0;
	memcpy(s->out + s->len, data, n);
	s->len += n;
	*put = n;
	return 1;
}

static long tls_bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	(void)b;
	(void)num;
	(void)ptr;
	return cmd == BIO_CTRL_FLUSH;
}

/* Sends what OpenSSL has written since the last call, or keeps it.  0 or negative errno. */
static int tls_push(struct conn *c)
{
	struct proxy *p = c->tls->proxy;
	struct tls_state *s = p->tls;
	size_t n = s->len, sent = 0;

	s->len = 0;
	if (n == 0)
		return 0;
	if (!c->out && c->can_write) {
		ssize_t w = send(c->fd, s->out, n, MSG_NOSIGNAL);
		if (w < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		sent = w > 0 ? (size_t)w : 0;
		if (sent == n)
			return 0;
		c->can_write = false;
	}
	if (!c->out && !(c->out = pbuf_get(p)))
		return -ENOMEM;
	if (sizeof c->out->data - c->out->w < n - sent) {
		memmove(c->out->data, c->out->data + c->out->r, c->out->w - c->out->r);
		c->out->w -= c->out->r;
		c->out->r = 0;
	}
	if (sizeof c->out->data - c->out->w < n - sent)
		return -ENOBUFS;
	memcpy(c->out->data + c->out->w, s->out + sent, n - sent);
	c->out->w += n - sent;
	return 0;
}

/* ---- what OpenSSL asks ---- */

/* The name that the client asks for, checked and in lower case; "" when there is none. */
static void tls_asked(SSL *ssl, char name[LIMIT_HOST + 1])
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

static bool tls_is_challenge(SSL *ssl)
{
	const uint8_t *alpn;
	unsigned n;

	SSL_get0_alpn_selected(ssl, &alpn, &n);
	return n == 10 && memcmp(alpn, "acme-tls/1", 10) == 0;
}

/* Not asked when a session is resumed. */
static int tls_on_cert(SSL *ssl, void *arg)
{
	struct proxy *p = arg;
	char name[LIMIT_HOST + 1];
	struct cert_parts c;

	tls_asked(ssl, name);
	if (!certs_find(p, name, tls_is_challenge(ssl), &c))
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
	if (!certs_find(p, name, tls_is_challenge(ssl), &c) || !c.staple ||
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
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_timeout(ctx, LIMIT_TLS_TICKET_S);
	SSL_CTX_set_cert_cb(ctx, tls_on_cert, p);
	SSL_CTX_set_alpn_select_cb(ctx, tls_on_alpn, p);
	SSL_CTX_set_tlsext_status_cb(ctx, tls_on_status);
	SSL_CTX_set_tlsext_status_arg(ctx, p);
	SSL_CTX_set_app_data(ctx, p);
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
	s->ctx = SSL_CTX_new(TLS_server_method());
	s->bio = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tulou");
	s->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	if (!s->ctx || !s->bio || !s->cipher || BIO_meth_set_read_ex(s->bio, tls_bio_read) != 1 ||
	    BIO_meth_set_write_ex(s->bio, tls_bio_write) != 1 || BIO_meth_set_ctrl(s->bio, tls_bio_ctrl) != 1 ||
	    tls_configure(p, s->ctx) < 0) {
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

/* ---- one connection ---- */

int tls_open(struct proxy *p, struct conn *c)
{
	struct tls *t = calloc(1, sizeof *t + 1);
	BIO *b;

	if (!t)
		return -ENOMEM;
	t->proxy = p;
	t->conn = c;
	t->ssl = SSL_new(p->tls->ctx);
	b = t->ssl ? BIO_new(p->tls->bio) : NULL;
	if (!b) {
		SSL_free(t->ssl);
		free(t);
		ERR_clear_error();
		return -ENOMEM;
	}
	BIO_set_data(b, t);
	BIO_set_init(b, 1);
	SSL_set_bio(t->ssl, b, b);
	SSL_set_accept_state(t->ssl);
	c->tls = t;
	return 0;
}

void tls_close(struct conn *c)
{
	struct tls *t = c->tls;

	c->tls = NULL;
	SSL_free(t->ssl);
	free(t);
}

static const char tls_is_plain[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
				   "Connection: close\r\nContent-Length: 62\r\n\r\n"
				   "400 Bad Request\nThis port speaks HTTPS: write https:// for it\n";

/* Remembers what later requests ask, and lets go of what only the handshake needs. */
static int tls_finish(struct conn *c)
{
	struct tls *t = c->tls, *grown;
	char name[LIMIT_HOST + 1];

	tls_asked(t->ssl, name);
	t->over = true;
	t->resumed = SSL_session_reused(t->ssl) == 1;
	SSL_set_tlsext_status_ocsp_resp(t->ssl, NULL, 0); /* sent; it would stay for as long as the connection */
	if (name[0]) {
		if (!(grown = realloc(t, sizeof *t + strlen(name) + 1)))
			return -ENOMEM;
		memcpy(grown->name, name, strlen(name) + 1);
		BIO_set_data(SSL_get_rbio(grown->ssl), grown);
		c->tls = grown;
	}
	return tls_is_challenge(c->tls->ssl) ? -ECONNABORTED : 1;
}

int tls_handshake(struct conn *c)
{
	struct tls *t = c->tls;
	int r = SSL_do_handshake(t->ssl), why, pushed;

	if (r == 1) {
		r = tls_finish(c);
	} else {
		why = SSL_get_error(t->ssl, r);
		if (why == SSL_ERROR_SSL && ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST) {
			t->proxy->tls->len = sizeof tls_is_plain - 1;
			memcpy(t->proxy->tls->out, tls_is_plain, sizeof tls_is_plain - 1);
		}
		r = why == SSL_ERROR_WANT_READ ? 0 : -EPROTO;
		ERR_clear_error();
	}
	pushed = tls_push(c);
	if (r < 0)
		c->tls->failed = true;
	if (r == 0)
		c->can_read = false;
	/* What came behind the handshake may be in OpenSSL's buffer already. */
	if (r == 1)
		c->can_read = true;
	return pushed < 0 ? pushed : r;
}

/* What the last read of the socket said is no longer so: a record that lies in OpenSSL's buffer may be read next, and
 * the socket is not looked at then. */
void tls_more(struct conn *c)
{
	c->tls->dry = false;
}

ssize_t tls_read(struct conn *c, void *p, size_t n)
{
	struct tls *t = c->tls;
	size_t got = 0;
	ssize_t r;

	if (SSL_read_ex(t->ssl, p, n, &got) == 1) {
		r = (ssize_t)got;
		c->can_read = !t->dry || c->closing || SSL_has_pending(t->ssl);
	} else {
		switch (SSL_get_error(t->ssl, 0)) {
		case SSL_ERROR_WANT_READ:
			c->can_read = false;
			r = -EAGAIN;
			break;
		case SSL_ERROR_ZERO_RETURN:
			r = 0;
			break;
		default:
			t->failed = true;
			r = -EPROTO;
			break;
		}
		ERR_clear_error();
	}
	if (t->proxy->tls->len > 0) {
		/* Answers to key updates, or an alert. */
		int pushed = ++t->updates > LIMIT_TLS_UPDATES ? -EPROTO : tls_push(c);
		t->proxy->tls->len = 0;
		if (pushed < 0 && r != 0)
			r = pushed;
	}
	return r;
}

int tls_send(struct conn *c, const struct iovec *iov, int n, size_t total)
{
	struct tls *t = c->tls;
	struct tls_state *s = t->proxy->tls;
	const char *data = iov[0].iov_base;
	size_t put, at = 0;

	if (n > 1) {
		for (int i = 0; i < n; i++) {
			memcpy(s->gather + at, iov[i].iov_base, iov[i].iov_len);
			at += iov[i].iov_len;
		}
		data = s->gather;
	}
	if (SSL_write_ex(t->ssl, data, total, &put) != 1) {
		t->failed = true;
		s->len = 0;
		ERR_clear_error();
		return -EPROTO;
	}
	assert(put == total);
	return tls_push(c);
}

void tls_end(struct conn *c)
{
	struct tls *t = c->tls;

	if (t->failed || !t->over)
		return;
	if (SSL_shutdown(t->ssl) < 0)
		ERR_clear_error();
	tls_push(c);
}

const char *tls_name(const struct conn *c)
{
	return c->tls->name;
}

bool tls_is_h2(const struct conn *c)
{
	const uint8_t *alpn;
	unsigned n;

	SSL_get0_alpn_selected(c->tls->ssl, &alpn, &n);
	return n == 2 && memcmp(alpn, "h2", 2) == 0;
}

bool tls_resumed(const struct conn *c)
{
	return c->tls->resumed;
}
