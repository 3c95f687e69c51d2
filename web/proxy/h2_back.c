/* Apps that speak HTTP/2 without TLS (prior knowledge, RFC 9113, 3.3), gRPC among them.  Layer web, proxy process.
 *
 * The requests for an instance share few connections, each of which belongs to it for ever, like those of HTTP/1.1.
 * A request is a struct upstream whose connection is a stream. */
#include "web/proxy/h2.h"

#include "base/own.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct upstream *h2_upstream(struct h2_stream *st)
{
	return PROXY_OF(st->conn, struct upstream, conn);
}

/* ---- the connection ---- */

static void h2_back_close(struct h2 *h)
{
	struct proxy *p = h->proxy;
	struct instance *i = h->inst;
	struct h2_stream *st;

	if (h->closed)
		return;
	while ((st = TAILQ_FIRST(&h->streams))) {
		struct upstream *u = h2_upstream(st);
		/* Not one byte of it was sent: another connection may have it. */
		st->refused |= st->id == 0;
		h2_stream_forget(st);
		u->conn.can_read = u->conn.can_write = true;
		if (u->client)
			proxy_ready(u->client);
	}
	TAILQ_REMOVE(&i->sessions, h, list);
	i->session_count--;
	wheel_del(&p->wheel, &h->timer);
	conn_close(p, &h->own);
	p->upstream_count--;
	stat_add32(&p->worker->upstreams, -1);
	h2_free(h);
	i->upstreams--;
	routes_drop_instance(p, i);
}

/* A session that nobody uses, and nobody will use. */
static void h2_back_rest(struct h2 *h)
{
	if (h->count > 0 || h->closed)
		return;
	if (h->goaway || !h->connected || h->inst->dead || h->inst->state != PROXY_INSTANCE_UP) {
		h2_back_close(h);
		return;
	}
	wheel_set(&h->proxy->wheel, &h->timer, proxy_now(h->proxy) + LIMIT_PROXY_IDLE_UPSTREAM_MS * 1000ll);
	proxy_tick_start(h->proxy);
}

static void h2_back_on_deadline(struct wheel_entry *e)
{
	struct h2 *h = PROXY_OF(e, struct h2, timer);

	if (h->count == 0)
		h2_back_close(h);
}

void h2_back_drop(struct instance *i, bool all)
{
	struct h2 *h, *next;

	i->upstreams++;
	for (h = TAILQ_FIRST(&i->sessions); h; h = next) {
		next = TAILQ_NEXT(h, list);
		if (all || h->count == 0)
			h2_back_close(h);
	}
	i->upstreams--;
}

/* Those that waited for the connection may send; WebSockets once its SETTINGS say whether they may (RFC 8441, 3). */
static void h2_back_open(struct h2 *h)
{
	struct h2_stream *st;

	TAILQ_FOREACH(st, &h->streams, all)
	{
		const struct client *c = h2_upstream(st)->client;
		if (st->conn->can_write || (c && c->upgrade && !h->greeted))
			continue;
		st->conn->can_write = true;
		h2_todo(st);
	}
}

/* True when it stands; otherwise it may be gone. */
static bool h2_back_connected(struct h2 *h)
{
	int e = 0;
	socklen_t len = sizeof e;

	if (h->connected)
		return true;
	if (!h->own.can_write)
		return false;
	getsockopt(h->own.fd, SOL_SOCKET, SO_ERROR, &e, &len);
	if (e) {
		h2_back_close(h);
		return false;
	}
	h->connected = true;
	h2_back_open(h);
	return true;
}

void h2_back_turn(struct h2 *h)
{
	if (!h2_back_connected(h))
		return;
	if (h2_input(h) < 0 || h->doom) {
		/* What it answered before its end is still read. */
		h2_back_close(h);
		return;
	}
	h2_work(h);
	for (unsigned k = 0; k < 2 && !h->closed; k++) {
		if (h2_output(h) < 0) {
			h2_back_close(h);
			return;
		}
		if (TAILQ_EMPTY(&h->todo))
			break;
		h2_work(h);
	}
	if (h->closed)
		return;
	if (!nghttp2_session_want_read(h->ng) && !nghttp2_session_want_write(h->ng))
		h2_back_close(h);
	else
		h2_back_rest(h);
}

static void h2_back_on_io(void *arg, short what)
{
	struct h2 *h = arg;

	if (h->closed)
		return;
	conn_event(&h->own, what);
	h2_later(h);
}

static int h2_back_connect(struct h2 *h)
{
	struct instance *i = h->inst;
	int family = i->addr.sa.sa_family, one = 1, r;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (family == AF_INET)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	r = upstream_connect(i, fd);
	if ((r == 0 || r == -EINPROGRESS) && (r = conn_open(h->proxy, &h->own, fd, h2_back_on_io, h)) == 0)
		return 0;
	close(fd);
	return r;
}

/* NULL with errno. */
static struct h2 *h2_back_new(struct proxy *p, struct instance *i)
{
	static const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, LIMIT_H2_WINDOW},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_HEAD_MAX},
	};
	struct upstream *oldest = TAILQ_FIRST(&p->lru);
	struct h2 *h = calloc(1, sizeof *h);
	int r = -ENOMEM;

	if (!h)
		return NULL;
	if (p->upstream_count >= p->client_max && oldest)
		upstream_close(oldest);
	h2_init_session(h, p, &h->own);
	h->back = true;
	h->inst = i;
	h->timer.fn = h2_back_on_deadline;
	if (nghttp2_session_client_new2(&h->ng, p->h2->back, h, p->h2->option) < 0 ||
	    nghttp2_submit_settings(h->ng, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)) < 0 ||
	    nghttp2_session_set_local_window_size(h->ng, NGHTTP2_FLAG_NONE, 0, LIMIT_H2_APP_WINDOW_ALL) < 0 ||
	    (r = h2_back_connect(h)) < 0) {
		nghttp2_session_del(h->ng);
		free(h);
		errno = -r;
		return NULL;
	}
	TAILQ_INSERT_TAIL(&i->sessions, h, list);
	i->session_count++;
	i->upstreams++;
	p->upstream_count++;
	stat_add32(&p->worker->upstreams, 1);
	return h;
}

/* How many requests the app takes at a time over it. */
static unsigned h2_back_room(struct h2 *h)
{
	uint32_t theirs = nghttp2_session_get_remote_settings(h->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

	return theirs < LIMIT_H2_STREAMS ? theirs : LIMIT_H2_STREAMS;
}

/* The first with room; a new one; where there are enough, the one with the fewest, in whose queue nghttp2 puts it. */
static struct h2 *h2_back_pick(struct proxy *p, struct instance *i)
{
	struct h2 *h, *least = NULL;

	TAILQ_FOREACH(h, &i->sessions, list)
	{
		if (h->goaway || h->doom || !nghttp2_session_check_request_allowed(h->ng))
			continue;
		if (h->count < h2_back_room(h))
			return h;
		if (!least || h->count < least->count)
			least = h;
	}
	return i->session_count < LIMIT_H2_SESSIONS || !least ? h2_back_new(p, i) : least;
}

/* WebSockets stay for hours: half of what all sessions take is left to requests. */
static bool h2_back_crowded(struct instance *i)
{
	struct h2 *h = TAILQ_FIRST(&i->sessions);
	unsigned room = h && h->greeted ? h2_back_room(h) : LIMIT_H2_STREAMS;

	return i->tunnels > 0 && i->tunnels >= LIMIT_H2_SESSIONS * room / 2;
}

struct upstream *h2_back_get(struct proxy *p, struct instance *i, struct client *c)
{
	struct h2_upstream *x;
	struct h2 *h;

	if (c->upgrade && h2_back_crowded(i)) {
		errno = EAGAIN;
		return NULL;
	}
	/* Those that were told to go away may be many for a moment, but not for ever. */
	if (i->session_count >= LIMIT_H2_SESSIONS * 2) {
		errno = ECONNREFUSED;
		return NULL;
	}
	if (!(x = calloc(1, sizeof *x)))
		return NULL;
	if (!(h = h2_back_pick(p, i))) {
		int e = errno;
		free(x);
		errno = e;
		return NULL;
	}
	x->u.proxy = p;
	x->u.inst = i;
	x->u.client = c;
	x->u.conn.fd = -1;
	x->u.connected = h->connected && (h->greeted || !c->upgrade);
	x->u.reused = h->used;
	x->tunnel = c->upgrade;
	i->tunnels += x->tunnel;
	h->used = true;
	h->timer.deadline_us = 0;
	i->upstreams++;
	h2_stream_init(h, &x->s, &x->u.conn, 0);
	return &x->u;
}

void h2_back_put(struct upstream *u)
{
	struct h2_stream *st = u->conn.stream;
	struct h2 *h = st->h2;

	u->inst->tunnels -= PROXY_OF(u, struct h2_upstream, u)->tunnel;
	conn_close(u->proxy, &u->conn);
	if (h)
		h2_back_rest(h);
}

bool h2_refused(const struct conn *c)
{
	return c->stream->refused;
}

bool h2_lost(const struct conn *c)
{
	return !c->stream->h2;
}

bool h2_takes_websocket(const struct conn *c)
{
	struct h2 *h = c->stream->h2;

	return !h || nghttp2_session_get_remote_settings(h->ng, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

/* ---- frames ---- */

void h2_back_run(struct h2_stream *st)
{
	struct upstream *u = h2_upstream(st);

	if (u->client)
		client_run(u->client);
}

static int h2_back_on_begin(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);
	struct pbuf **b = st && st->final ? &st->tail : st ? &st->text : NULL;

	if (f->hd.type != NGHTTP2_HEADERS)
		return 0;
	if (b && !*b && !(*b = pbuf_get(h->proxy)))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (st)
		st->begun = true;
	h2_head_begin(h, b ? *b : NULL, st && st->final);
	return 0;
}

static int h2_back_on_header(nghttp2_session *ng, const nghttp2_frame *f, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
			     uint8_t flags, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);
	struct pbuf *b = !st ? NULL : h->trailer ? st->tail : st->text;

	(void)flags;
	if (!b) {
		h2_junk(h, 1);
		return 0;
	}
	if (!h2_head_field(h, st, b, name, value))
		h->doom = NGHTTP2_ENHANCE_YOUR_CALM;
	return h->doom ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

/* An answer that breaks the rules becomes one that the parser of 1.1 refuses too. */
static void h2_back_bad(struct h2_stream *st)
{
	st->gone = true;
	if (!st->final && !st->text)
		st->text = pbuf_get(st->proxy);
	if (!st->final && st->text) {
		st->text->r = 0;
		st->text->data[0] = '?';
		st->text->w = 1;
	}
}

static void h2_back_head(struct h2 *h, struct h2_stream *st)
{
	struct pbuf *b = h->trailer ? st->tail : st->text;

	st->begun = false;
	if (b && !st->malformed && !st->over) {
		h2_head_answer(h, st, b);
		if (!st->over)
			return;
	}
	st->final &= h->trailer;
	nghttp2_submit_rst_stream(h->ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_PROTOCOL_ERROR);
	h2_back_bad(st);
}

static int h2_back_on_frame(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);
	bool first = !h->greeted;

	h2_frame_seen(h, f);
	if (first && h->greeted && h->connected)
		h2_back_open(h);
	if (!st || st->gone || (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA))
		return 0;
	if (f->hd.type == NGHTTP2_HEADERS)
		h2_back_head(h, st);
	if (f->hd.flags & NGHTTP2_FLAG_END_STREAM)
		st->rx_end = true;
	st->conn->can_read = true;
	h2_todo(st);
	return 0;
}

/* nghttp2 found the answer malformed, or there is a field that it would drop. */
static int h2_back_on_invalid(nghttp2_session *ng, const nghttp2_frame *f, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
			      uint8_t flags, void *arg)
{
	struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);

	(void)name;
	(void)value;
	(void)flags;
	(void)arg;
	if (st)
		h2_back_bad(st);
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

void h2_back_callbacks(nghttp2_session_callbacks *c)
{
	nghttp2_session_callbacks_set_on_begin_headers_callback(c, h2_back_on_begin);
	nghttp2_session_callbacks_set_on_header_callback2(c, h2_back_on_header);
	nghttp2_session_callbacks_set_on_invalid_header_callback2(c, h2_back_on_invalid);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, h2_back_on_frame);
}
