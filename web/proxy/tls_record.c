/* Connections of TLS 1.3 after their handshake: records between socket and reader.  Layer web, proxy process.
 *
 * OpenSSL has made the handshake and is gone: of its 14 KiB the keys are left, some 250 bytes.  What came is opened in
 * scratch of the worker; what the reader had no room for, or the beginning of a record, stays in a block that is freed
 * as soon as it is empty.  record.h does what RFC 8446 asks of a record; here its verdicts are carried out. */
#include "web/proxy/tls.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static_assert(LIMIT_TLS_UPDATES * RECORD_RENEWAL + 5 * RECORD_EXTRA + RECORD_RENEWAL <= PBUF_TLS,
	      "answers to all key updates, and what a full buffer needs, fit behind it");

#define TLS_FETCHES 4 /* of the socket for one read, when nothing comes of it: each is two whole records or so */

/* Writes one record of our own to out. */
static int tls_record_put(struct tls *t, uint8_t type, const void *content, size_t n)
{
	struct tls_state *s = t->proxy->tls;
	uint8_t *rec = (uint8_t *)s->out + s->len;
	int e;

	assert(s->len + n + RECORD_EXTRA <= sizeof s->out);
	memcpy(rec + RECORD_HEAD, content, n);
	e = record_seal(s->record, &t->out, type, rec, n);
	if (e == 0)
		s->len += n + RECORD_EXTRA;
	return e;
}

static int tls_record_renew(struct tls *t)
{
	struct tls_state *s = t->proxy->tls;
	int e;

	assert(s->len + RECORD_RENEWAL <= sizeof s->out);
	e = record_renew(s->record, &t->out, (uint8_t *)s->out + s->len);
	if (e == 0)
		s->len += RECORD_RENEWAL;
	return e;
}

/* The connection is over for both: the client is told why. */
static void tls_record_fail(struct tls *t, int alert)
{
	uint8_t content[2] = {2, (uint8_t)alert}; /* fatal */

	tls_record_put(t, RECORD_ALERT, content, sizeof content);
	t->failed = true;
}

/* Reads the socket behind what is in s->in.  > 0, 0 end of stream, or negative errno. */
static ssize_t tls_record_fetch(struct conn *c, size_t n)
{
	struct tls *t = c->tls;
	struct tls_state *s = t->proxy->tls;
	size_t want = n < PBUF_SIZE ? n : PBUF_SIZE;
	ssize_t r;

	/* As many whole records as fill the reader's buffer, and always one: else a short read would not mean that the
	 * socket is empty. */
	want += (want / RECORD_PLAIN + 1) * RECORD_EXTRA;
	if (want < RECORD_WIRE)
		want = RECORD_WIRE;
	memmove(s->in, s->in + s->in_r, s->in_w - s->in_r);
	s->in_w -= s->in_r;
	s->in_r = 0;
	assert(want > s->in_w && want <= sizeof s->in);
	want -= s->in_w;
	r = recv(c->fd, s->in + s->in_w, want, 0);
	t->dry = r < 0 || (size_t)r < want;
	if (r < 0)
		return -errno;
	s->in_w += (size_t)r;
	return r;
}

/* Opens what is whole in s->in, as long as there is room: how many bytes were put to p.  *over holds what there was no
 * room for of the last one.  An end or a failure is noted in t, and what is behind it thrown away. */
static size_t tls_record_take(struct tls *t, uint8_t *p, size_t n, struct record_got *over)
{
	struct tls_state *s = t->proxy->tls;
	size_t put = 0;

	while (!t->ended && !t->failed && over->len == 0) {
		size_t have = s->in_w - s->in_r, k;
		ssize_t size = record_size(s->in + s->in_r, have);
		struct record_got got = {0};
		int e = size < 0 ? (int)size : 0;

		if (size == 0 || (size > 0 && (size_t)size > have) ||
		    (put > 0 && size > RECORD_EXTRA && (size_t)size - RECORD_EXTRA > n - put))
			break;
		if (size > 0) {
			e = record_open(s->record, &t->in, s->in + s->in_r, (size_t)size, &got);
			s->in_r += (size_t)size;
		}
		if (e == 0 && got.kind == RECORD_IS_ASKING && tls_record_renew(t) < 0)
			e = -RECORD_INTERNAL_ERROR;
		if (e < 0) {
			tls_record_fail(t, -e);
			break;
		}
		t->ended |= got.kind == RECORD_IS_END;
		t->failed |= got.kind == RECORD_IS_FATAL;
		if (got.kind != RECORD_IS_DATA)
			continue;
		k = got.len < n - put ? got.len : n - put;
		memcpy(p + put, got.content, k);
		put += k;
		*over = (struct record_got){RECORD_IS_DATA, got.content + k, got.len - k};
	}
	if (t->ended || t->failed)
		s->in_r = s->in_w;
	return put;
}

/* The socket is asked only when nothing that came can be opened.  Of records without content, which may be 16 KiB of
 * padding each, a few at a time are opened: the reader sees nothing there and is run again after others. */
static ssize_t tls_record_pump(struct conn *c, uint8_t *p, size_t n, struct record_got *over)
{
	struct tls *t = c->tls;
	unsigned fetches = 0;
	size_t put;
	ssize_t r;

	while ((put = tls_record_take(t, p, n, over)) == 0 && !t->ended && !t->failed) {
		if (fetches++ == TLS_FETCHES) {
			c->can_read = true;
			proxy_ready(PROXY_OF(c, struct client, conn));
			return -EAGAIN;
		}
		r = tls_record_fetch(c, n);
		if (r == 0) {
			/* Without close_notify: what was asked says how long it is.  But no record is cut. */
			t->ended = true;
			t->failed = t->proxy->tls->in_w > 0;
		} else if (r == -EAGAIN || r == -EINTR) {
			c->can_read = r == -EINTR;
			return -EAGAIN;
		} else if (r < 0) {
			t->failed = true;
			return r;
		}
	}
	if (put > 0)
		return (ssize_t)put;
	return t->failed ? -EPROTO : 0;
}

ssize_t tls_record_read(struct conn *c, void *p, size_t n)
{
	struct tls *t = c->tls;
	struct tls_state *s = t->proxy->tls;
	struct record_got over = {0};
	ssize_t r;
	int pushed;

	assert(n > 0);
	if (t->rest && t->rest->plain) {
		size_t k = t->rest->plain < n ? t->rest->plain : n;
		t->rest->plain -= k;
		tls_rest_take(t, p, k);
		c->can_read = !t->dry || c->closing || t->rest || t->ended || t->failed;
		return (ssize_t)k;
	}
	s->in_r = s->in_w = 0;
	if (t->rest)
		s->in_w = tls_rest_take(t, s->in, sizeof s->in);
	r = tls_record_pump(c, p, n, &over);
	if (tls_rest_keep(t, over.content, over.len, s->in + s->in_r, s->in_w - s->in_r) < 0) {
		t->failed = true;
		r = -ENOMEM;
	}
	if (r > 0)
		c->can_read = !t->dry || c->closing || t->rest || t->ended || t->failed;
	/* Answers to key updates, or an alert. */
	pushed = tls_push(c);
	return pushed < 0 && r != 0 ? pushed : r;
}

int tls_record_send(struct conn *c, const struct iovec *iov, size_t total)
{
	struct tls *t = c->tls;
	struct tls_state *s = t->proxy->tls;
	size_t at = 0; /* in *iov */
	int e = t->failed || t->end_said ? -EPROTO : 0;

	while (e == 0 && total > 0) {
		size_t len = total < RECORD_PLAIN ? total : RECORD_PLAIN, have = 0;
		uint8_t *rec;

		if (record_worn(&t->out) && (e = tls_record_renew(t)) < 0)
			break;
		rec = (uint8_t *)s->out + s->len;
		assert(s->len + len + RECORD_EXTRA <= sizeof s->out);
		while (have < len) {
			size_t k = iov->iov_len - at < len - have ? iov->iov_len - at : len - have;
			memcpy(rec + RECORD_HEAD + have, (const uint8_t *)iov->iov_base + at, k);
			have += k;
			at += k;
			if (at == iov->iov_len) {
				iov++;
				at = 0;
			}
		}
		e = record_seal(s->record, &t->out, RECORD_DATA, rec, len);
		if (e == 0)
			s->len += len + RECORD_EXTRA;
		total -= len;
	}
	if (e < 0) {
		t->failed = true;
		s->len = 0;
		return e;
	}
	return tls_push(c);
}

void tls_record_end(struct conn *c)
{
	static const uint8_t content[2] = {1, RECORD_CLOSE_NOTIFY};

	if (c->tls->end_said)
		return;
	c->tls->end_said = true;
	if (tls_record_put(c->tls, RECORD_ALERT, content, sizeof content) == 0)
		tls_push(c);
}
