/* Sessions of HTTP/2 (RFC 9113) on nghttp2: what both sides share.  Layer web, proxy process. */
#include "web/proxy/h2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define H2_ROUNDS 4	   /* times that a turn sends and lets streams go on */
#define H2_READS 4	   /* reads of one session before others get theirs */
#define H2_JUNK_WINDOW 512 /* bytes of body that pay for one frame of the peer's flow control */

int h2_init(struct proxy *p)
{
	struct h2_shared *s = calloc(1, sizeof *s);

	p->h2 = s;
	if (!s || nghttp2_session_callbacks_new(&s->front) || nghttp2_session_callbacks_new(&s->back) ||
	    nghttp2_option_new(&s->option)) {
		h2_done(p);
		return -ENOMEM;
	}
	h2_callbacks(s->front);
	h2_callbacks(s->back);
	h2_front_callbacks(s->front);
	h2_back_callbacks(s->back);
	/* Windows open as bytes are passed on; the table of names that we keep for a peer stays small. */
	nghttp2_option_set_no_auto_window_update(s->option, 1);
	nghttp2_option_set_no_closed_streams(s->option, 1);
	nghttp2_option_set_max_outbound_ack(s->option, LIMIT_H2_JUNK);
	nghttp2_option_set_max_deflate_dynamic_table_size(s->option, LIMIT_H2_TABLE);
	return 0;
}

void h2_done(struct proxy *p)
{
	struct h2_shared *s = p->h2;

	p->h2 = NULL;
	if (!s)
		return;
	nghttp2_session_callbacks_del(s->front);
	nghttp2_session_callbacks_del(s->back);
	nghttp2_option_del(s->option);
	free(s);
}

/* ---- floods ---- */

static bool h2_spend(struct h2 *h, struct h2_bucket *b, int32_t weight, int32_t burst, int32_t per_s)
{
	int64_t now = proxy_now(h->proxy), back = (now - b->at_us) / 1000 * per_s / 1000;

	if (back > 0) {
		b->level = back < b->level ? b->level - (int32_t)back : 0;
		b->at_us = now;
	}
	b->level += weight;
	return b->level <= burst;
}

static void h2_flooded(struct h2 *h)
{
	if (h->doom == 0 && !h->back)
		stat_add(&h->proxy->worker->h2_floods, 1);
	h->doom = NGHTTP2_ENHANCE_YOUR_CALM;
}

void h2_junk(struct h2 *h, int32_t weight)
{
	if (!h2_spend(h, &h->junk, weight, LIMIT_H2_JUNK, LIMIT_H2_JUNK_S))
		h2_flooded(h);
}

void h2_reset_seen(struct h2 *h)
{
	if (!h->back)
		stat_add(&h->proxy->worker->h2_resets, 1);
	if (!h2_spend(h, &h->resets, 1, LIMIT_H2_RESETS, LIMIT_H2_RESETS_S))
		h2_flooded(h);
}

/* ---- frames out ---- */

static ssize_t h2_on_send(nghttp2_session *ng, const uint8_t *data, size_t n, int flags, void *arg)
{
	struct h2 *h = arg;

	(void)ng;
	(void)flags;
	if (n > PBUF_SIZE - h->gather)
		return NGHTTP2_ERR_WOULDBLOCK;
	memcpy(h->proxy->wbuf + h->gather, data, n);
	h->gather += n;
	return (ssize_t)n;
}

static ssize_t h2_on_data(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t n, uint32_t *flags,
			  nghttp2_data_source *source, void *arg)
{
	struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, id);
	size_t have;

	(void)buf;
	(void)source;
	(void)arg;
	if (!st) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		return 0;
	}
	have = st->conn->out ? st->conn->out->w - st->conn->out->r : 0;
	if (have == 0 && !st->end) {
		st->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (have <= n && st->end) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (st->trailers && h2_head_send_trailers(st))
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
	}
	if (have > 0)
		*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	return (ssize_t)(have < n ? have : n);
}
const nghttp2_data_source_read_callback h2_data = h2_on_data;

/* The peer's windows were paid for by what we could send. */
static void h2_pay(struct h2 *h, size_t n, bool all)
{
	int32_t credit = (int32_t)(n / H2_JUNK_WINDOW) + (all ? 2 : 0);

	h->junk.level = h->junk.level > credit ? h->junk.level - credit : 0;
}

/* There is room again for those who wait for it. */
static void h2_room(struct h2 *h)
{
	struct h2_stream *st;

	while (h->out_bytes < LIMIT_H2_OUT / 2 && (st = TAILQ_FIRST(&h->waiting))) {
		TAILQ_REMOVE(&h->waiting, st, wait);
		st->in_wait = false;
		h2_todo(st);
	}
}

static int h2_on_send_data(nghttp2_session *ng, nghttp2_frame *f, const uint8_t *head, size_t n,
			   nghttp2_data_source *source, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);
	struct pbuf *out;

	(void)source;
	if (!st)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (n + 9 > PBUF_SIZE - h->gather)
		return NGHTTP2_ERR_WOULDBLOCK;
	out = st->conn->out;
	memcpy(h->proxy->wbuf + h->gather, head, 9);
	memcpy(h->proxy->wbuf + h->gather + 9, out->data + out->r, n);
	h->gather += n + 9;
	out->r += n;
	h->out_bytes -= n;
	h2_pay(h, n, out->r == out->w);
	if (out->r == out->w) {
		pbuf_put(h->proxy, &st->conn->out);
		h2_todo(st);
	}
	if (!TAILQ_EMPTY(&h->waiting))
		h2_room(h);
	return 0;
}

int h2_output(struct h2 *h)
{
	struct proxy *p = h->proxy;
	struct iovec iov = {.iov_base = p->wbuf};
	int r = 0;

	for (unsigned k = 0; k < H2_ROUNDS; k++) {
		if (h->conn->out && (r = conn_flush(p, h->conn)) < 0)
			return r;
		if (h->conn->out)
			return 0;
		h->gather = 0;
		if ((r = nghttp2_session_send(h->ng)) < 0)
			return r == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
		if (h->gather == 0)
			return 0;
		h->sent += iov.iov_len = h->gather;
		if ((r = conn_send(p, h->conn, &iov, 1)) < 0)
			return r;
	}
	return 0;
}

/* ---- frames in ---- */

int h2_input(struct h2 *h)
{
	struct proxy *p = h->proxy;

	for (unsigned k = 0; k < H2_READS && h->conn->can_read && h->doom == 0; k++) {
		ssize_t n, r;
		n = conn_read(h->conn, p->rbuf, sizeof p->rbuf);
		if (n == -EAGAIN)
			return 0;
		if (n <= 0)
			return n < 0 ? (int)n : -ECONNRESET;
		/* A reset may hide behind the last bytes: one event tells of both, and not of the end (EPOLLERR). */
		if (!h->conn->tls)
			h->conn->can_read = true;
		r = nghttp2_session_mem_recv(h->ng, (const uint8_t *)p->rbuf, (size_t)n);
		h2_later(h);
		if (r < 0)
			return r == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
	}
	return 0;
}

void h2_work(struct h2 *h)
{
	struct h2_stream *st;
	/* Those that come back in this round have their turn later. */
	unsigned n = h->count + 1;

	while (n-- > 0 && !h->closed && (st = TAILQ_FIRST(&h->todo))) {
		TAILQ_REMOVE(&h->todo, st, todo);
		st->in_todo = false;
		if (h->back)
			h2_back_run(st);
		else
			h2_front_run(st);
	}
}

static void h2_on_again(void *arg)
{
	h2_later(arg);
}

static void h2_turn(void *arg)
{
	struct h2 *h = arg;

	if (h->closed)
		return;
	if (h->back)
		h2_back_turn(h);
	else
		h2_front_turn(h);
	if (h->closed)
		return;
	h->later = false;
	/* The rest waits for the next turn of the loop, or one session could keep it to itself. */
	if (h->back && !h->connected)
		return;
	if (!TAILQ_EMPTY(&h->todo) || h->conn->can_read || (!h->conn->out && nghttp2_session_want_write(h->ng)))
		loop_timer_start(h->proxy->loop, &h->again, 0, h2_on_again, h);
}

void h2_later(struct h2 *h)
{
	if (h->later || h->closed)
		return;
	h->later = true;
	loop_defer(h->proxy->loop, h2_turn, h);
}

/* ---- what both see of frames ---- */

static int h2_on_frame_sent(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2 *h = arg;

	if (f->hd.type == NGHTTP2_RST_STREAM) {
		/* Those that the peer made us send (CVE-2025-8671); what we say for an app's sake has other codes. */
		uint32_t code = f->rst_stream.error_code;
		if (code != NGHTTP2_NO_ERROR && code != NGHTTP2_INTERNAL_ERROR && code != NGHTTP2_CANCEL)
			h2_reset_seen(h);
		return 0;
	}
	if ((f->hd.type == NGHTTP2_DATA || f->hd.type == NGHTTP2_HEADERS) && (f->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
	    !h->back && nghttp2_session_get_stream_remote_close(ng, f->hd.stream_id) == 0)
		/* The answer does not depend on the rest of the request (RFC 9113, 8.1). */
		nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, f->hd.stream_id, NGHTTP2_NO_ERROR);
	return 0;
}

static int h2_on_chunk(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t n, void *arg)
{
	struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, id);

	(void)flags;
	(void)arg;
	if (!st) {
		nghttp2_session_consume_connection(ng, n);
		return 0;
	}
	if (h2_store(st, data, n) < 0)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	h2_todo(st);
	return 0;
}

static int h2_on_closed(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
	struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, id);

	(void)arg;
	if (!st)
		return 0;
	st->gone = true;
	st->code = code;
	st->refused = code == NGHTTP2_REFUSED_STREAM;
	st->conn->can_read = true;
	h2_todo(st);
	return 0;
}

/* Frames that ask for work and bring none. */
int h2_frame_seen(struct h2 *h, const nghttp2_frame *f)
{
	switch (f->hd.type) {
	case NGHTTP2_DATA:
		if (f->hd.length - f->data.padlen == 0 && !(f->hd.flags & NGHTTP2_FLAG_END_STREAM))
			h2_junk(h, 2);
		break;
	case NGHTTP2_SETTINGS:
		h->greeted = true;
		h2_junk(h, f->hd.flags & NGHTTP2_FLAG_ACK ? 1 : 10);
		break;
	case NGHTTP2_PING:
		/* gRPC measures the line with them: bytes that we send pay for some. */
		h2_junk(h, 2);
		break;
	case NGHTTP2_RST_STREAM:
		/* An app that refuses what we ask of it does us no harm. */
		if (!h->back)
			h2_reset_seen(h);
		break;
	case NGHTTP2_WINDOW_UPDATE:
	case NGHTTP2_PRIORITY_UPDATE:
		h2_junk(h, 1);
		break;
	case NGHTTP2_GOAWAY:
		h->goaway = true;
		h2_junk(h, 10);
		break;
	default:
		break;
	}
	return 0;
}

/* Deprecated priorities are skipped by nghttp2, but counted. */
static int h2_on_begin(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *arg)
{
	(void)ng;
	if (hd->type == NGHTTP2_PRIORITY)
		h2_junk(arg, 1);
	return 0;
}

void h2_callbacks(nghttp2_session_callbacks *c)
{
	nghttp2_session_callbacks_set_on_begin_frame_callback(c, h2_on_begin);
	nghttp2_session_callbacks_set_send_callback(c, h2_on_send);
	nghttp2_session_callbacks_set_send_data_callback(c, h2_on_send_data);
	nghttp2_session_callbacks_set_on_frame_send_callback(c, h2_on_frame_sent);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, h2_on_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(c, h2_on_closed);
}

void h2_init_session(struct h2 *h, struct proxy *p, struct conn *c)
{
	h->proxy = p;
	h->conn = c;
	h->junk.at_us = h->resets.at_us = proxy_now(p);
	TAILQ_INIT(&h->streams);
	TAILQ_INIT(&h->todo);
	TAILQ_INIT(&h->waiting);
}

void h2_free(struct h2 *h)
{
	if (h->closed)
		return;
	h->closed = true;
	loop_timer_stop(&h->again);
	h2_head_done(h);
	nghttp2_session_del(h->ng);
	h->ng = NULL;
	loop_defer(h->proxy->loop, free, h);
}
