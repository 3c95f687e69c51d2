/* Clients that speak HTTP/2.  Layer web, proxy process.
 *
 * The TLS connection is a struct client in CLIENT_H2, which does no more than move frames; each request is a struct
 * client of its own, whose connection is a stream. */
#include "web/proxy/h2.h"

#include "base/own.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- streams ---- */

static struct h2_stream *h2_front_stream(struct h2 *h, int32_t id)
{
	struct proxy *p = h->proxy;
	struct h2_client *x;

	/* A stream may cost a connection to an app, so all together are as many as clients may be. */
	if (p->stream_count >= p->client_max || !proxy_address_more(h->base->address))
		return NULL;
	if (!(x = calloc(1, sizeof *x)) || !(x->c.in = pbuf_get(p))) {
		free(x);
		proxy_address_put(p, h->base->address);
		return NULL;
	}
	x->c.conn.fd = h->conn->fd;
	x->c.conn.tls = h->conn->tls;
	client_init_stream(&x->c, h->base);
	h2_stream_init(h, &x->s, &x->c.conn, id);
	nghttp2_session_set_stream_user_data(h->ng, id, &x->s);
	stat_add(&p->worker->h2_streams, 1);
	return &x->s;
}

static struct client *h2_client(struct h2_stream *st)
{
	return PROXY_OF(st->conn, struct client, conn);
}

/* The head is complete, or cannot become so. */
static void h2_front_begin(struct h2_stream *st)
{
	struct h2 *h = st->h2;
	struct client *c = h2_client(st);
	const char *why = "";
	unsigned status = h2_head_request(h, st, c->in, !st->rx_end, &why);

	h2_head_done(h);
	if (st->malformed) {
		h2_reset_seen(h);
		stat_add(&h->proxy->worker->bad_requests, 1);
		st->code = NGHTTP2_PROTOCOL_ERROR;
		h2_todo(st);
		return;
	}
	if (h->heads + c->in->w > LIMIT_H2_HEADS) {
		st->code = NGHTTP2_REFUSED_STREAM;
		st->malformed = true;
		h2_todo(st);
		return;
	}
	st->head_bytes = c->in->w;
	h->heads += st->head_bytes;
	st->status = status;
	st->why = why;
	h2_todo(st);
}

/* Outside of nghttp2's callbacks. */
void h2_front_run(struct h2_stream *st)
{
	struct client *c = h2_client(st);

	if (st->gone || st->malformed) {
		client_close(c);
		return;
	}
	if (c->state == CLIENT_IDLE && !st->complete)
		return;
	if (c->state == CLIENT_IDLE && st->status)
		client_refuse(c, (int)st->status, st->why);
	client_run(c);
}

/* ---- frames ---- */

static int h2_front_on_begin(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2 *h = arg;

	(void)ng;
	if (f->hd.type != NGHTTP2_HEADERS)
		return 0;
	h2_head_begin(h, NULL, f->headers.cat != NGHTTP2_HCAT_REQUEST);
	h->head_us = proxy_now(h->proxy) + LIMIT_PROXY_HEAD_MS * 1000ll;
	if (f->headers.cat == NGHTTP2_HCAT_REQUEST && !h2_front_stream(h, f->hd.stream_id))
		nghttp2_submit_rst_stream(h->ng, NGHTTP2_FLAG_NONE, f->hd.stream_id, NGHTTP2_REFUSED_STREAM);
	return 0;
}

static int h2_front_on_header(nghttp2_session *ng, const nghttp2_frame *f, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
			      uint8_t flags, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);

	(void)flags;
	if (h->trailer || !st) {
		h2_junk(h, 1);
		if (st)
			h2_head_late(st, name, value);
		return 0;
	}
	if (!h2_head_field(h, st, h2_client(st)->in, name, value))
		h->doom = NGHTTP2_ENHANCE_YOUR_CALM;
	return h->doom ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

/* nghttp2 would drop such a field; the request is refused instead. */
static int h2_front_on_invalid(nghttp2_session *ng, const nghttp2_frame *f, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
			       uint8_t flags, void *arg)
{
	(void)ng;
	(void)f;
	(void)name;
	(void)value;
	(void)flags;
	(void)arg;
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int h2_front_on_frame(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);
	bool head = f->hd.type == NGHTTP2_HEADERS, end;

	h2_frame_seen(h, f);
	if (!head && f->hd.type != NGHTTP2_DATA)
		return 0;
	if (head)
		h->head_us = 0;
	if (!st || st->gone)
		return 0;
	end = f->hd.flags & NGHTTP2_FLAG_END_STREAM;
	if (end) {
		st->rx_end = true;
		st->conn->can_read = true;
	}
	if (head && f->headers.cat == NGHTTP2_HCAT_REQUEST) {
		st->complete = true;
		h2_front_begin(st);
	} else if (end) {
		h2_todo(st);
	}
	return 0;
}

void h2_front_callbacks(nghttp2_session_callbacks *c)
{
	nghttp2_session_callbacks_set_on_begin_headers_callback(c, h2_front_on_begin);
	nghttp2_session_callbacks_set_on_header_callback2(c, h2_front_on_header);
	nghttp2_session_callbacks_set_on_invalid_header_callback2(c, h2_front_on_invalid);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, h2_front_on_frame);
}

/* ---- the connection ---- */

int h2_front_open(struct client *base)
{
	static const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, LIMIT_H2_STREAMS},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, LIMIT_H2_WINDOW},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_HEAD_MAX},
		{NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
		{NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
	};
	struct proxy *p = base->proxy;
	struct h2 *h = calloc(1, sizeof *h);

	if (!h)
		return -ENOMEM;
	h2_init_session(h, p, &base->conn);
	h->base = base;
	if (nghttp2_session_server_new2(&h->ng, p->h2->front, h, p->h2->option) < 0) {
		free(h);
		return -ENOMEM;
	}
	base->h2 = h;
	stat_add(&p->worker->h2_sessions, 1);
	if (nghttp2_submit_settings(h->ng, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)) < 0 ||
	    nghttp2_session_set_local_window_size(h->ng, NGHTTP2_FLAG_NONE, 0, LIMIT_H2_WINDOW_ALL) < 0)
		return -ENOMEM;
	wheel_set(&p->wheel, &base->timer, proxy_now(p) + LIMIT_PROXY_HEAD_MS * 1000ll);
	h2_later(h);
	return 0;
}

void h2_front_close(struct client *base)
{
	struct h2 *h = base->h2;
	struct h2_stream *st;

	base->h2 = NULL;
	while ((st = TAILQ_FIRST(&h->streams))) {
		st->gone = true;
		client_close(h2_client(st));
	}
	h2_free(h);
}

/* Says goodbye and waits a moment for the client to see it: closing over unread bytes would reset the connection. */
static void h2_front_bye(struct h2 *h)
{
	struct client *c = h->base;

	h2_front_close(c);
	client_linger_start(c);
}

/* Ends the session with an error, or with none. */
static void h2_front_end(struct h2 *h, uint32_t code)
{
	nghttp2_session_terminate_session(h->ng, code);
	h->conn->can_read = false;
	if (h2_output(h) < 0)
		client_close(h->base);
	else
		h2_front_bye(h);
}

/* Looks after the socket's pace: a client that takes nothing is cut off. */
static void h2_front_stall(struct h2 *h)
{
	struct proxy *p = h->proxy;

	if (!h->conn->out) {
		h->stall_us = 0;
		return;
	}
	if (h->stall_us)
		return;
	h->stall_us = proxy_now(p) + LIMIT_PROXY_WINDOW_MS * 1000ll;
	h->stall_mark = h->sent - (h->conn->out->w - h->conn->out->r);
	if (h->base->timer.deadline_us > h->stall_us)
		wheel_set(&p->wheel, &h->base->timer, h->stall_us);
}

/* Sends, and lets those go on who waited for it. */
static bool h2_front_flush(struct h2 *h)
{
	for (unsigned k = 0; k < 2; k++) {
		if (h2_output(h) < 0) {
			client_close(h->base);
			return false;
		}
		if (TAILQ_EMPTY(&h->todo))
			break;
		h2_work(h);
	}
	return true;
}

void h2_front_turn(struct h2 *h)
{
	struct client *c = h->base;
	int r = h2_input(h);

	if (r < 0) {
		/* What nghttp2 has to say about it is in its queue. */
		if (r == -EPROTO)
			h2_front_end(h, NGHTTP2_PROTOCOL_ERROR);
		else
			client_close(c);
		return;
	}
	if (h->doom) {
		h2_front_end(h, h->doom);
		return;
	}
	h2_work(h);
	if (!h2_front_flush(h))
		return;
	if (!h->conn->out && !nghttp2_session_want_read(h->ng) && !nghttp2_session_want_write(h->ng)) {
		h2_front_bye(h);
		return;
	}
	if (h->head_us && c->timer.deadline_us > h->head_us)
		wheel_set(&h->proxy->wheel, &c->timer, h->head_us);
	h2_front_stall(h);
}

void h2_front_io(struct client *c)
{
	h2_later(c->h2);
}

void h2_front_on_deadline(struct client *c)
{
	struct h2 *h = c->h2;
	struct proxy *p = h->proxy;
	int64_t now = proxy_now(p), next = now + LIMIT_PROXY_KEEPALIVE_MS * 1000ll;

	if (h->stall_us && now >= h->stall_us) {
		uint64_t moved = h->sent - (h->conn->out ? h->conn->out->w - h->conn->out->r : 0);
		if (h->conn->out && moved - h->stall_mark < LIMIT_PROXY_WINDOW_BYTES) {
			client_cut(c);
			return;
		}
		h->stall_us = 0;
		h2_front_stall(h);
	}
	if (!h->greeted || (h->head_us && now >= h->head_us)) {
		h2_front_end(h, NGHTTP2_ENHANCE_YOUR_CALM);
		return;
	}
	if (h->count > 0)
		c->progress_us = now;
	else if (now - c->progress_us >= LIMIT_PROXY_KEEPALIVE_MS * 1000ll) {
		h2_front_end(h, NGHTTP2_NO_ERROR);
		return;
	} else
		next = c->progress_us + LIMIT_PROXY_KEEPALIVE_MS * 1000ll;
	if (h->stall_us && h->stall_us < next)
		next = h->stall_us;
	if (h->head_us && h->head_us < next)
		next = h->head_us;
	wheel_set(&p->wheel, &c->timer, next);
}

/* Two steps (RFC 9113, 6.8): no more requests, please; a while later: these were the last ones. */
void h2_front_drain(struct client *c, int64_t now)
{
	struct h2 *h = c->h2;

	if (!h->shutting) {
		h->shutting = true;
		h->shut_us = now;
		nghttp2_submit_shutdown_notice(h->ng);
	} else if (!h->shut && now - h->shut_us >= LIMIT_H2_GOAWAY_MS * 1000ll) {
		h->shut = true;
		nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->ng),
				      NGHTTP2_NO_ERROR, NULL, 0);
	} else if (h->shut && h->count == 0) {
		h2_front_end(h, NGHTTP2_NO_ERROR);
		return;
	} else {
		return;
	}
	h2_later(h);
}

/* Could the stream move?  Then the socket is slow, or others come first, and the session's pace is what counts. */
bool h2_moves(struct client *c)
{
	struct h2_stream *st = c->conn.stream;
	struct h2 *h = st->h2;

	/* Its window, or that of all, is shut: that is the client's doing. */
	return h && nghttp2_session_get_stream_remote_window_size(h->ng, st->id) > 0 &&
	       nghttp2_session_get_remote_window_size(h->ng) > 0;
}
