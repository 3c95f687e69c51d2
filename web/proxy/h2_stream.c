/* Streams of HTTP/2 as connections that speak HTTP/1.1.  Layer web, proxy process. */
#include "web/proxy/h2.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void h2_stream_init(struct h2 *h, struct h2_stream *st, struct conn *c, int32_t id)
{
	st->h2 = h;
	st->proxy = h->proxy;
	st->conn = c;
	st->id = id;
	c->stream = st;
	TAILQ_INSERT_TAIL(&h->streams, st, all);
	h->count++;
}

void h2_todo(struct h2_stream *st)
{
	if (st->in_todo || !st->h2)
		return;
	st->in_todo = true;
	TAILQ_INSERT_TAIL(&st->h2->todo, st, todo);
	h2_later(st->h2);
}

void h2_stream_forget(struct h2_stream *st)
{
	struct h2 *h = st->h2;

	if (st->in_todo)
		TAILQ_REMOVE(&h->todo, st, todo);
	if (st->in_wait)
		TAILQ_REMOVE(&h->waiting, st, wait);
	st->in_todo = st->in_wait = false;
	TAILQ_REMOVE(&h->streams, st, all);
	h->count--;
	if (st->conn->out)
		h->out_bytes -= st->conn->out->w - st->conn->out->r;
	h->heads -= st->head_bytes;
	st->h2 = NULL;
}

static void h2_stream_empty(struct proxy *p, struct h2_stream *st)
{
	while (st->rx) {
		struct pbuf *b = st->rx;
		st->rx = b->next;
		pbuf_put(p, &b);
	}
	st->rx_last = NULL;
	st->rx_bytes = 0;
	pbuf_put(p, &st->text);
	pbuf_put(p, &st->tail);
	free(st->trailers);
	free(st->late);
	st->trailers = st->late = NULL;
}

void h2_stream_drop(struct h2_stream *st, uint32_t code)
{
	struct h2 *h = st->h2;

	if (h && st->rx_bytes)
		nghttp2_session_consume_connection(h->ng, st->rx_bytes);
	if (h && !st->gone && st->id > 0) {
		/* What was said to the end may still be on its way out: the peer gets it.  A client whose body is not
		 * at its end then, which may be no more than the flag that says so, hears that behind it. */
		bool over = st->end && !st->conn->out && !st->trailers &&
			    (!h->back || nghttp2_session_get_stream_remote_close(h->ng, st->id) == 1);
		nghttp2_session_set_stream_user_data(h->ng, st->id, NULL);
		if (over && st->deferred)
			nghttp2_session_resume_data(h->ng, st->id);
		if (!over)
			nghttp2_submit_rst_stream(h->ng, NGHTTP2_FLAG_NONE, st->id, code);
	}
	if (h) {
		h2_stream_forget(st);
		h2_later(h);
	}
	h2_stream_empty(st->proxy, st);
	pbuf_put(st->proxy, &st->conn->out);
}

int h2_store(struct h2_stream *st, const uint8_t *data, size_t n)
{
	struct proxy *p = st->h2->proxy;

	st->rx_bytes += n;
	while (n > 0) {
		struct pbuf *b = st->rx_last;
		size_t k;
		if (!b || b->w == PBUF_SIZE) {
			if (!(b = pbuf_get(p)))
				return -ENOMEM;
			b->next = NULL;
			if (st->rx_last)
				st->rx_last->next = b;
			else
				st->rx = b;
			st->rx_last = b;
		}
		k = n < PBUF_SIZE - b->w ? n : PBUF_SIZE - b->w;
		memcpy(b->data + b->w, data, k);
		b->w += k;
		data += k;
		n -= k;
	}
	st->conn->can_read = true;
	return 0;
}

/* ---- the virtual connection ---- */

/* Moves from b to out. */
static size_t h2_move(struct pbuf *b, char *out, size_t n)
{
	size_t k = b->w - b->r < n ? b->w - b->r : n;

	memcpy(out, b->data + b->r, k);
	b->r += k;
	return k;
}

/* The end as the reader sees it: the last chunk with the trailers that came, or nothing. */
static size_t h2_read_end(struct proxy *p, struct h2_stream *st, char *o, size_t n)
{
	size_t tail = st->tail ? st->tail->w - st->tail->r : 0, at = 0;

	if (!st->chunked) {
		st->rx_said = true;
		return 0;
	}
	if (n < tail + sizeof CHUNKED_END)
		return 0;
	o[at++] = '0', o[at++] = '\r', o[at++] = '\n';
	if (st->tail)
		at += h2_move(st->tail, o + at, tail);
	o[at++] = '\r', o[at++] = '\n';
	pbuf_put(p, &st->tail);
	st->rx_said = true;
	return at;
}

/* Body bytes, framed if they are to be; *taken without the framing. */
static size_t h2_read_body(struct proxy *p, struct h2_stream *st, char *o, size_t n, size_t *taken)
{
	size_t at = 0, frame = st->chunked ? H2_CHUNK_ROOM : 0;

	while (st->rx && n - at > frame) {
		struct pbuf *b = st->rx;
		size_t k = b->w - b->r < n - at - frame ? b->w - b->r : n - at - frame;
		if (st->chunked)
			at += chunked_prefix(o + at, k);
		at += h2_move(b, o + at, k);
		*taken += k;
		if (st->chunked)
			o[at++] = '\r', o[at++] = '\n';
		if (b->r == b->w) {
			if (!(st->rx = b->next))
				st->rx_last = NULL;
			pbuf_put(p, &b);
		}
	}
	return at;
}

void h2_gone(struct conn *c, bool slow)
{
	struct h2_stream *st = c->stream;
	uint32_t code = st->malformed && st->code ? st->code
			: slow			  ? NGHTTP2_ENHANCE_YOUR_CALM
						  : NGHTTP2_INTERNAL_ERROR;

	if (st->h2 && st->h2->back)
		code = NGHTTP2_CANCEL;
	h2_stream_drop(st, code);
}

ssize_t h2_read(struct conn *c, void *buf, size_t n)
{
	struct h2_stream *st = c->stream;
	struct h2 *h = st->h2;
	size_t at = 0, taken = 0;
	char *o = buf;
	bool text;

	if (st->text) {
		at = h2_move(st->text, o, n);
		/* The rest of a head that has begun will stand in it. */
		if (st->text->r == st->text->w && !st->begun)
			pbuf_put(st->proxy, &st->text);
	}
	text = st->text && st->text->r < st->text->w;
	if (!text)
		at += h2_read_body(st->proxy, st, o + at, n - at, &taken);
	if (!text && !st->rx && st->rx_end && !st->rx_said)
		at += h2_read_end(st->proxy, st, o + at, n - at);
	st->rx_bytes -= taken;
	if (taken > 0 && h) {
		nghttp2_session_consume(h->ng, st->id, taken);
		h2_later(h);
	}
	c->can_read = text || st->rx || (st->rx_end && !st->rx_said);
	if (at > 0)
		return (ssize_t)at;
	if (st->rx_said)
		return 0;
	return st->gone || !h ? -ECONNRESET : -EAGAIN;
}

int h2_send(struct proxy *p, struct conn *c, const struct iovec *iov, int n)
{
	struct h2_stream *st = c->stream;
	struct h2 *h = st->h2;
	char *data = iov[0].iov_base;
	size_t len = iov[0].iov_len;
	int r;

	if (!h || st->gone)
		return -ECONNRESET;
	assert(!c->out);
	if (!st->sent) {
		bool done = n == 1 && h2_is_done(st);
		r = h->back ? h2_head_send_request(st, &data, &len, done) : h2_head_send_answer(st, &data, &len, done);
		if (r < 0)
			return r;
	}
	for (int i = 0; i < n; i++) {
		if (i > 0) {
			data = iov[i].iov_base;
			len = iov[i].iov_len;
		}
		if (len == 0)
			continue;
		if (!c->out && !(c->out = pbuf_get(p)))
			return -ENOMEM;
		memcpy(c->out->data + c->out->w, data, len);
		c->out->w += len;
		h->out_bytes += len;
	}
	if (c->out && st->deferred) {
		st->deferred = false;
		nghttp2_session_resume_data(h->ng, st->id);
	}
	h2_later(h);
	return 0;
}

void h2_end(struct conn *c)
{
	struct h2_stream *st = c->stream;

	if (!st->h2 || st->end)
		return;
	st->end = true;
	if (st->deferred && !st->gone) {
		st->deferred = false;
		nghttp2_session_resume_data(st->h2->ng, st->id);
	}
	h2_later(st->h2);
}

void h2_end_request(struct client *c)
{
	struct h2_stream *from = c->conn.stream, *to = c->up->conn.stream;

	if (from && from->late && from->late_len <= CHUNKED_TRAILER_MAX && !to->end) {
		to->trailers = from->late;
		to->trailers_len = from->late_len;
		from->late = NULL;
	}
	h2_end(&c->up->conn);
}

void h2_trailers_keep(struct client *c)
{
	struct h2_stream *st = c->conn.stream;

	/* Few answers have any: until one does, they would go to a place that all share. */
	c->res.chunked.keep = st->trailers ? st->trailers : c->proxy->h2->trailers;
}

bool h2_trailers_kept(struct client *c)
{
	struct h2_stream *st = c->conn.stream;

	if (!st->trailers && !(st->trailers = malloc(CHUNKED_TRAILER_MAX)))
		return false;
	if (c->res.chunked.keep != st->trailers)
		memcpy(st->trailers, c->res.chunked.keep, c->res.chunked.run);
	st->trailers_len = c->res.chunked.run;
	return true;
}

bool h2_full(struct conn *c)
{
	struct h2_stream *st = c->stream;
	struct h2 *h = st->h2;

	if (!h || h->out_bytes < LIMIT_H2_OUT)
		return false;
	if (!st->in_wait) {
		st->in_wait = true;
		TAILQ_INSERT_TAIL(&h->waiting, st, wait);
	}
	return true;
}

bool h2_waits(const struct conn *c)
{
	return c->stream->in_wait;
}
