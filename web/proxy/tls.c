/* TLS 1.2 and 1.3 to clients.  Layer web, proxy process.
 *
 * Handshakes are OpenSSL's, and so is all of TLS 1.2.  A connection of TLS 1.3 is taken over at the end of its
 * handshake, as kTLS does in the kernel: record.h gets the secrets, tls_record.c reads and sends, and the SSL is freed,
 * 14 KiB with all that hangs on it.  Where that cannot be (another suite, a secret that did not come, a client that
 * wants small records) it stays OpenSSL's.
 *
 * OpenSSL reads from the socket through our own BIO.  During the handshake that fetches what there is but gives no more
 * than is asked for, so that what came behind the client's Finished is here and not in OpenSSL; later (1.2) OpenSSL
 * reads a whole buffer at a time.  What is to be sent is collected in a scratch buffer of the worker: all records of
 * one answer leave in one send(2), and what the socket does not take waits as records in conn->out, which conn_flush()
 * sends like anything else. */
#include "web/proxy/tls.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <string.h>

/* ---- between OpenSSL and the socket ---- */

/* During the handshake what the socket has comes to s->in, and OpenSSL gets of it what it asks for and no more. */
static ssize_t tls_bio_begin(struct tls *t, char *out, size_t n)
{
	struct tls_state *s = t->proxy->tls;
	size_t k;

	if (s->in_r == s->in_w) {
		ssize_t r = recv(t->conn->fd, s->in, RECORD_WIRE, 0);
		s->in_r = s->in_w = 0;
		t->dry = r < RECORD_WIRE;
		if (r <= 0)
			return r;
		s->in_w = (size_t)r;
	}
	k = s->in_w - s->in_r < n ? s->in_w - s->in_r : n;
	memcpy(out, s->in + s->in_r, k);
	s->in_r += k;
	return (ssize_t)k;
}

static int tls_bio_read(BIO *b, char *out, size_t n, size_t *got)
{
	struct tls *t = BIO_get_data(b);
	ssize_t r;

	BIO_clear_retry_flags(b);
	if (!t->over) {
		r = tls_bio_begin(t, out, n);
	} else if (t->rest) {
		r = (ssize_t)tls_rest_take(t, out, n);
	} else {
		r = recv(t->conn->fd, out, n, 0);
		t->dry = r < 0 || (size_t)r < n;
	}
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

BIO_METHOD *tls_bio_new(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tulou");

	if (m && (BIO_meth_set_read_ex(m, tls_bio_read) != 1 || BIO_meth_set_write_ex(m, tls_bio_write) != 1 ||
		  BIO_meth_set_ctrl(m, tls_bio_ctrl) != 1)) {
		BIO_meth_free(m);
		m = NULL;
	}
	return m;
}

int tls_push(struct conn *c)
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

/* ---- the secrets of the application's data ---- */

/* A line as for a key log, the one way to the secrets: "SERVER_TRAFFIC_SECRET_0 RANDOM SECRET".  OpenSSL writes each
 * with a printf per byte and cleanses it: so this is called for the two that are needed and for no other. */
static void tls_on_secret(const SSL *ssl, const char *line)
{
	struct tls *t = BIO_get_data(SSL_get_rbio(ssl));
	bool server = strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) == 0;
	const char *hex = strrchr(line, ' ');
	size_t n = 0;

	if (!hex || (!server && strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) != 0))
		return;
	if (OPENSSL_hexstr2buf_ex(server ? t->out.secret : t->in.secret, RECORD_SECRET, &n, hex + 1, '\0') != 1)
		n = 0;
	*(server ? &t->out_secret : &t->in_secret) = (uint8_t)n;
	SSL_CTX_set_keylog_callback(t->proxy->tls->ctx, NULL);
}

/* What OpenSSL tells of each message and record.  From our Finished on the secrets of the application's data come, and
 * what is sent counts under them (RFC 8446, 7.1). */
void tls_on_message(int sent, int version, int type, const void *data, size_t n, SSL *ssl, void *arg)
{
	struct tls *t = BIO_get_data(SSL_get_rbio(ssl));

	(void)version;
	(void)arg;
	if (!sent || SSL_version(ssl) != TLS1_3_VERSION)
		return;
	if (type == SSL3_RT_HANDSHAKE && n > 0 && *(const uint8_t *)data == SSL3_MT_FINISHED) {
		t->finished = true;
		t->out.seq = 0;
		SSL_CTX_set_keylog_callback(t->proxy->tls->ctx, tls_on_secret);
	} else if (type == SSL3_RT_HEADER && t->finished) {
		t->out.seq++;
	}
}

/* ---- one connection ---- */

static size_t tls_size(size_t name)
{
	return sizeof(struct tls) + name + 1;
}

int tls_open(struct proxy *p, struct conn *c)
{
	struct tls *t = OPENSSL_zalloc(tls_size(0));
	BIO *b;

	if (!t)
		return -ENOMEM;
	t->proxy = p;
	t->conn = c;
	t->ssl = SSL_new(p->tls->ctx);
	b = t->ssl ? BIO_new(p->tls->bio) : NULL;
	if (!b) {
		SSL_free(t->ssl);
		OPENSSL_free(t);
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
	tls_rest_free(t);
	record_forget(t->proxy->tls->record, &t->in);
	record_forget(t->proxy->tls->record, &t->out);
	OPENSSL_clear_free(t, tls_size(strlen(t->name)));
}

void tls_rest_free(struct tls *t)
{
	if (t->rest)
		OPENSSL_clear_free(t->rest, sizeof *t->rest + t->rest->len);
	t->rest = NULL;
}

size_t tls_rest_take(struct tls *t, void *out, size_t n)
{
	struct tls_rest *rest = t->rest;
	size_t left = rest->len - rest->at;

	n = n < left ? n : left;
	memcpy(out, rest->data + rest->at, n);
	rest->at += n;
	if (n == left)
		tls_rest_free(t);
	return n;
}

int tls_rest_keep(struct tls *t, const uint8_t *plain, size_t plain_len, const uint8_t *raw, size_t raw_len)
{
	struct tls_rest *rest;

	assert(!t->rest);
	if (plain_len + raw_len == 0)
		return 0;
	if (!(rest = OPENSSL_malloc(sizeof *rest + plain_len + raw_len)))
		return -ENOMEM;
	rest->at = 0;
	rest->plain = plain_len;
	rest->len = plain_len + raw_len;
	if (plain_len)
		memcpy(rest->data, plain, plain_len);
	memcpy(rest->data + plain_len, raw, raw_len);
	t->rest = rest;
	return 0;
}

static const char tls_is_plain[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
				   "Connection: close\r\nContent-Length: 62\r\n\r\n"
				   "400 Bad Request\nThis port speaks HTTPS: write https:// for it\n";

/* Goes on without OpenSSL where it can: false, and nothing is changed, where it cannot. */
static bool tls_take_over(struct tls *t)
{
	struct record *r = t->proxy->tls->record;
	enum record_suite suite = RECORD_NO_SUITE;

	if (SSL_version(t->ssl) == TLS1_3_VERSION)
		suite = record_suite_of(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(t->ssl)));
	if (suite == RECORD_NO_SUITE || t->in_secret != record_secret_len(suite) ||
	    t->out_secret != record_secret_len(suite) || SSL_has_pending(t->ssl) ||
	    SSL_SESSION_get_max_fragment_length(SSL_get0_session(t->ssl)) != TLSEXT_max_fragment_length_DISABLED ||
	    record_derive(r, &t->in, suite, 0) < 0 || record_derive(r, &t->out, suite, t->out.seq) < 0)
		return false;
	/* Else it looks for the session in its store, to throw it away. */
	SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(t->ssl);
	t->ssl = NULL;
	return true;
}

/* Remembers what later requests ask, and lets go of what only the handshake needs. */
static int tls_finish(struct conn *c)
{
	struct tls *t = c->tls, *grown;
	struct tls_state *s = t->proxy->tls;
	char name[LIMIT_HOST + 1];

	tls_asked(t->ssl, name);
	if (name[0]) {
		if (!(grown = OPENSSL_clear_realloc(t, tls_size(0), tls_size(strlen(name)))))
			return -ENOMEM;
		memcpy(grown->name, name, strlen(name) + 1);
		BIO_set_data(SSL_get_rbio(grown->ssl), grown);
		c->tls = t = grown;
	}
	t->over = true;
	t->resumed = SSL_session_reused(t->ssl) == 1;
	t->h2 = tls_chosen(t->ssl, "h2");
	if (tls_chosen(t->ssl, "acme-tls/1"))
		return -ECONNABORTED;
	if (tls_rest_keep(t, NULL, 0, s->in + s->in_r, s->in_w - s->in_r) < 0)
		return -ENOMEM;
	if (!tls_take_over(t)) {
		record_forget(s->record, &t->in);
		record_forget(s->record, &t->out);
		SSL_set_msg_callback(t->ssl, NULL);
		SSL_set_read_ahead(t->ssl, 1);
		SSL_set_tlsext_status_ocsp_resp(t->ssl, NULL,
						0); /* sent; it would stay for as long as the connection */
	}
	return 1;
}

int tls_handshake(struct conn *c)
{
	struct tls *t = c->tls;
	struct tls_state *s = t->proxy->tls;
	int r, why, pushed;

	s->in_r = s->in_w = 0;
	/* The client's secret comes with its Finished. */
	SSL_CTX_set_keylog_callback(s->ctx, t->finished ? tls_on_secret : NULL);
	r = SSL_do_handshake(t->ssl);
	SSL_CTX_set_keylog_callback(s->ctx, NULL);
	if (r == 1) {
		r = tls_finish(c);
	} else {
		why = SSL_get_error(t->ssl, r);
		if (why == SSL_ERROR_SSL && ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST) {
			s->len = sizeof tls_is_plain - 1;
			memcpy(s->out, tls_is_plain, sizeof tls_is_plain - 1);
		}
		r = why == SSL_ERROR_WANT_READ ? 0 : -EPROTO;
		ERR_clear_error();
	}
	pushed = tls_push(c);
	if (r < 0)
		c->tls->failed = true;
	if (r == 0)
		c->can_read = false;
	/* What came behind the handshake may be here already. */
	if (r == 1)
		c->can_read = true;
	return pushed < 0 ? pushed : r;
}

/* What the last read of the socket said is no longer so: a record that lies here or in OpenSSL's buffer may be read
 * next, and the socket is not looked at then. */
void tls_more(struct conn *c)
{
	c->tls->dry = false;
}

ssize_t tls_read(struct conn *c, void *p, size_t n)
{
	struct tls *t = c->tls;
	size_t got = 0;
	ssize_t r;

	if (!t->ssl)
		return tls_record_read(c, p, n);
	if (SSL_read_ex(t->ssl, p, n, &got) == 1) {
		r = (ssize_t)got;
		c->can_read = !t->dry || c->closing || t->rest || SSL_has_pending(t->ssl);
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

	if (!t->ssl)
		return tls_record_send(c, iov, total);
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
	if (!t->ssl) {
		tls_record_end(c);
		return;
	}
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
	return c->tls->h2;
}

bool tls_resumed(const struct conn *c)
{
	return c->tls->resumed;
}
