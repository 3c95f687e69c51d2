/* A client's connection: its states, its life, heads in.  Layer web, proxy process. */
#include "web/proxy/internal.h"

#include "web/proxy/policy.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RUN_BUDGET 8 /* requests, or turns of a relay, of one client before others get theirs */

#define S(x) (1u << CLIENT_##x)
static const unsigned client_allowed[CLIENT_STATE_COUNT] = {
	[CLIENT_IDLE] = S(HEAD) | S(CLOSED),
	[CLIENT_PREFACE] = S(IDLE) | S(HANDSHAKE) | S(CLOSED),
	[CLIENT_HANDSHAKE] = S(IDLE) | S(H2) | S(CLOSED),
	[CLIENT_HEAD] = S(PARKED) | S(CONNECT) | S(RELAY) | S(CLOSED),
	[CLIENT_PARKED] = S(PARKED) | S(CONNECT) | S(RELAY) | S(CLOSED),
	[CLIENT_CONNECT] = S(PARKED) | S(CONNECT) | S(RELAY) | S(CLOSED),
	[CLIENT_RELAY] = S(IDLE) | S(HEAD) | S(PARKED) | S(CONNECT) | S(RELAY) | S(TUNNEL) | S(LINGER) | S(CLOSED),
	[CLIENT_TUNNEL] = S(CLOSED),
	[CLIENT_H2] = S(LINGER) | S(CLOSED),
	[CLIENT_LINGER] = S(CLOSED),
	[CLIENT_CLOSED] = 0,
};
#undef S

void client_move(struct client *c, enum client_state to)
{
	assert(client_allowed[c->state] >> to & 1);
	c->state = to;
}

void client_deadline(struct client *c, unsigned ms)
{
	wheel_set(&c->proxy->wheel, &c->timer, proxy_now(c->proxy) + ms * 1000ll);
}

static void client_on_io(void *arg, short what)
{
	struct client *c = arg;

	if (c->state == CLIENT_CLOSED)
		return;
	conn_event(&c->conn, what);
	if ((what & EV_READ) && (c->state == CLIENT_RELAY || c->state == CLIENT_CONNECT) && c->req.done &&
	    conn_left(&c->conn)) {
		client_close(c);
		return;
	}
	/* Nobody waits behind one who has left; only a request that an app has got is finished for half a connection.
	 */
	if (c->state == CLIENT_PARKED && c->app->is_queued && (c->conn.closing || conn_left(&c->conn))) {
		client_close(c);
		return;
	}
	if ((what & EV_CLOSED) && c->state == CLIENT_RELAY)
		relay_hurry(c);
	/* Records of TLS's own go out in any state; answers are flushed by those who wait for it. */
	if (c->conn.tls && c->conn.out && c->state < CLIENT_CONNECT && conn_flush(c->proxy, &c->conn) < 0) {
		client_close(c);
		return;
	}
	client_run(c);
}

static void client_on_deadline(struct wheel_entry *e)
{
	struct client *c = PROXY_OF(e, struct client, timer);

	switch ((enum client_state)c->state) {
	case CLIENT_IDLE:
	case CLIENT_PREFACE:
	case CLIENT_HANDSHAKE:
	case CLIENT_LINGER:
		client_close(c);
		break;
	case CLIENT_HEAD:
		client_fault(c, FAULT_SLOW_REQUEST, 408, "the head of the request did not arrive within 10 seconds");
		break;
	case CLIENT_PARKED:
		client_leave(c);
		client_fault(c, c->app->concurrency && routes_has_up(c->app) ? FAULT_APP_BUSY : FAULT_APP_WAITED, 503,
			     "");
		break;
	case CLIENT_CONNECT:
	case CLIENT_RELAY:
	case CLIENT_TUNNEL:
		relay_on_deadline(c);
		break;
	case CLIENT_H2:
		h2_front_on_deadline(c);
		return;
	case CLIENT_CLOSED:
	case CLIENT_STATE_COUNT:
		return;
	}
	client_run(c);
}

static void client_text_address(struct client *c, const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET) {
		inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)a)->sin_addr, c->addr, sizeof c->addr);
		c->port = ntohs(((const struct sockaddr_in *)(const void *)a)->sin_port);
	} else if (a->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)a;
		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
			inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], c->addr, sizeof c->addr);
		else
			inet_ntop(AF_INET6, &in6->sin6_addr, c->addr, sizeof c->addr);
		c->port = ntohs(in6->sin6_port);
	}
}

struct client *client_new(struct proxy *p, int fd, const struct sockaddr_storage *peer, const struct listener *l)
{
	struct client *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->proxy = p;
	c->timer.fn = client_on_deadline;
	c->local_port = l->port;
	c->conn.can_write = true;
	client_text_address(c, peer);
	c->wants_tls = l->tls;
	if (l->tls && !l->proxied && tls_open(p, &c->conn) < 0) {
		free(c);
		return NULL;
	}
	if (!l->tls && !l->proxied) {
		conn_open_unwatched(&c->conn, fd);
		TAILQ_INSERT_TAIL(&p->unwatched, c, unwatched);
		c->is_unwatched = true;
	} else if (conn_open(p, &c->conn, fd, client_on_io, c) < 0) {
		if (c->conn.tls)
			tls_close(&c->conn);
		free(c);
		return NULL;
	}
	/* It is born so. */
	if (l->proxied)
		c->state = CLIENT_PREFACE;
	else if (l->tls)
		c->state = CLIENT_HANDSHAKE;
	TAILQ_INSERT_TAIL(&p->clients, c, all);
	p->client_count++;
	stat_add32(&p->worker->connections, 1);
	c->progress_us = proxy_now(p);
	client_deadline(c, l->proxied ? LIMIT_PROXY_PREFACE_MS
			   : l->tls   ? LIMIT_TLS_HANDSHAKE_MS
				      : LIMIT_PROXY_KEEPALIVE_MS);
	proxy_tick_start(p);
	return c;
}

void client_init_stream(struct client *c, const struct client *base)
{
	struct proxy *p = base->proxy;

	c->proxy = p;
	c->timer.fn = client_on_deadline;
	c->port = base->port;
	c->local_port = base->local_port;
	c->address = base->address;
	memcpy(c->addr, base->addr, sizeof c->addr);
	TAILQ_INSERT_TAIL(&p->clients, c, all);
	p->stream_count++;
}

bool client_begin_tls(struct client *c)
{
	if (tls_open(c->proxy, &c->conn) < 0)
		return false;
	client_move(c, CLIENT_HANDSHAKE);
	client_deadline(c, LIMIT_TLS_HANDSHAKE_MS);
	return true;
}

static void client_free(void *arg)
{
	free(arg);
}

void client_close(struct client *c)
{
	struct proxy *p = c->proxy;

	if (c->state == CLIENT_CLOSED)
		return;
	client_leave(c);
	client_account(c);
	if (c->h2)
		h2_front_close(c);
	if (c->conn.tls && !c->conn.stream && !c->conn.out && c->state != CLIENT_HANDSHAKE)
		tls_end(&c->conn);
	client_move(c, CLIENT_CLOSED);
	if (c->in_ready)
		TAILQ_REMOVE(&p->ready, c, ready);
	c->in_ready = false;
	if (c->is_unwatched)
		TAILQ_REMOVE(&p->unwatched, c, unwatched);
	c->is_unwatched = false;
	wheel_del(&p->wheel, &c->timer);
	conn_close(p, &c->conn);
	pbuf_put(p, &c->in);
	if (p->parsed == c)
		p->parsed = NULL;
	TAILQ_REMOVE(&p->clients, c, all);
	if (c->conn.stream) {
		p->stream_count--;
	} else {
		p->client_count--;
		stat_add32(&p->worker->connections, -1);
		stat_add(&p->worker->closed, 1);
	}
	proxy_handshake_over(c);
	proxy_address_put(p, c->address);
	loop_defer(p->loop, client_free, c);
	proxy_client_gone(p);
}

void client_account(struct client *c)
{
	struct proxy *p = c->proxy;
	struct stats_row *row = c->row;
	int64_t now;

	relay_drop(c);
	if (c->logged || c->start_us == 0)
		return;
	c->logged = true;
	now = proxy_now(p);
	if (row) {
		uint64_t us = (uint64_t)(now - c->start_us);
		stat_add(&row->status[c->status / 100], 1);
		stat_add(&row->bytes_in, c->req.bytes);
		stat_add(&row->bytes_out, c->res.bytes);
		stat_add(&row->duration_us, us);
		stat_add(&row->bucket[stats_time_bucket(us)], 1);
		stat_add(&row->out[stats_size_bucket(c->res.bytes)], 1);
		if (c->req.bytes > 0)
			stat_add(&row->in[stats_size_bucket(c->req.bytes)], 1);
		if (c->first_us) {
			uint64_t up = (uint64_t)(c->first_us - c->sent_us);
			stat_add(&row->upstream_us, up);
			stat_add(&row->upstream[stats_time_bucket(up)], 1);
		}
		if (c->parked_us) {
			stat_add(&row->queue_us, (uint64_t)c->parked_us);
			stat_add(&row->queue[stats_time_bucket((uint64_t)c->parked_us)], 1);
		}
		if (c->canary) {
			stat_add(&row->canary, 1);
			stat_add(&row->canary_errors, c->status >= 500 || c->status == 0);
		}
		stat_add32(&row->in_flight, -1);
	}
	if (!LIST_EMPTY(&p->watches))
		watch_note(c, now);
	access_line(c, now);
	policy_done(c);
	c->row = NULL;
	if (c->app)
		routes_drop_app(p, c->app);
	c->app = NULL;
}

/* A complete head stands at the start of c->in; p->req describes it. */
static void client_begin(struct client *c, int len)
{
	struct proxy *p = c->proxy;
	const struct http_request *r = &p->req;

	c->head_len = c->in->r = (size_t)len;
	c->start_us = proxy_now(p);
	c->sent_us = c->first_us = c->parked_us = 0;
	c->was_parked = false;
	c->logged = c->responding = c->req_broken = c->out_chunked = c->res_keep = c->up_keep = false;
	c->attempts = c->infos = 0;
	c->duplex = c->again = c->canary = false;
	c->inst_id = 0;
	c->status = 0;
	c->window_us = 0;
	c->method = (uint8_t)r->method;
	c->minor0 = r->head.minor == 0;
	c->keep_alive = r->head.keep_alive;
	c->expect_continue = r->expect_continue;
	c->upgrade = r->head.upgrade;
	c->method_name = r->method_name;
	c->target = r->target;
	c->host = r->host;
	memset(&c->req, 0, sizeof c->req);
	memset(&c->res, 0, sizeof c->res);
	memset(&c->policy, 0, sizeof c->policy);
	c->req.mode = r->head.chunked ? BODY_CHUNKED : r->head.content_length > 0 ? BODY_LENGTH : BODY_NONE;
	c->req.left = r->head.content_length;
	c->req.done = c->req.mode == BODY_NONE;
	head_request_id(c, r);
	trace_begin(c, r);
}

void client_reparse(struct client *c)
{
	struct proxy *p = c->proxy;
	int len;

	if (p->parsed == c)
		return;
	/* The same bytes give the same answer. */
	len = http_parse_request(c->in->data, c->head_len, 0, &p->req);
	assert(len == (int)c->head_len);
	(void)len;
	p->parsed = c;
}

/* Reads once behind what is there; false when nothing came. */
static bool client_fill(struct client *c)
{
	struct proxy *p = c->proxy;
	ssize_t n;

	if (!c->conn.can_read)
		return false;
	if (!c->in && !(c->in = pbuf_get(p))) {
		client_close(c);
		return false;
	}
	n = conn_read(&c->conn, c->in->data + c->in->w, PBUF_SIZE - c->in->w);
	if (n > 0) {
		c->in->w += (size_t)n;
		return true;
	}
	/* An idle connection holds no buffer. */
	if (n != -EAGAIN)
		client_close(c);
	else if (c->in->w == 0)
		pbuf_put(p, &c->in);
	return false;
}

/* Reads and parses; true when a request was begun or answered. */
static bool client_read_head(struct client *c)
{
	struct proxy *p = c->proxy;
	bool have = c->in && c->seen < c->in->w;
	int len = 0;

	for (unsigned k = 0; len == 0; k++) {
		/* A record of TLS may be 16 KiB for one byte: others get their turn. */
		if (k == CLIENT_READS) {
			proxy_ready(c);
			return false;
		}
		if (!have && !client_fill(c))
			return false;
		have = false;
		p->parsed = NULL;
		len = http_parse_request(c->in->data, c->in->w, c->seen, &p->req);
		if (len != 0)
			break;
		c->seen = c->in->w;
		c->conn.can_read = true;
		if (c->state == CLIENT_IDLE) {
			client_move(c, CLIENT_HEAD);
			client_deadline(c, LIMIT_PROXY_HEAD_MS);
		}
	}
	if (len < 0) {
		client_refuse(c, -len, p->req.head.why);
		return true;
	}
	p->parsed = c;
	if (c->state == CLIENT_IDLE)
		client_move(c, CLIENT_HEAD);
	client_begin(c, len);
	client_route(c);
	return true;
}

static bool client_handshake(struct client *c)
{
	struct proxy *p = c->proxy;
	int r = c->conn.can_read ? tls_handshake(&c->conn) : 0;

	if (r == 0)
		return false;
	proxy_handshake_over(c);
	if (r < 0) {
		stat_add(&p->worker->handshakes_failed, 1);
		client_close(c);
		return false;
	}
	stat_add(&p->worker->handshakes, 1);
	if (tls_resumed(&c->conn))
		stat_add(&p->worker->resumed, 1);
	c->progress_us = proxy_now(p);
	if (tls_is_h2(&c->conn)) {
		client_move(c, CLIENT_H2);
		if (h2_front_open(c) < 0)
			client_close(c);
		return false;
	}
	client_move(c, CLIENT_IDLE);
	client_deadline(c, LIMIT_PROXY_KEEPALIVE_MS);
	return true;
}

static void client_turns(struct client *c)
{
	for (unsigned i = 0;; i++) {
		bool again = false;
		if (i == RUN_BUDGET) {
			proxy_ready(c);
			return;
		}
		switch ((enum client_state)c->state) {
		case CLIENT_IDLE:
		case CLIENT_HEAD:
			again = client_read_head(c);
			break;
		case CLIENT_PREFACE:
			again = preface_run(c);
			break;
		case CLIENT_HANDSHAKE:
			again = client_handshake(c);
			break;
		case CLIENT_CONNECT:
		case CLIENT_RELAY:
			again = relay_run(c);
			break;
		case CLIENT_TUNNEL:
			again = tunnel_run(c);
			break;
		case CLIENT_H2:
			h2_front_io(c);
			break;
		case CLIENT_LINGER:
			if (!c->conn.stream)
				client_linger(c);
			break;
		case CLIENT_PARKED:
		case CLIENT_CLOSED:
		case CLIENT_STATE_COUNT:
			break;
		}
		if (!again)
			return;
	}
}

void client_watch(struct client *c)
{
	TAILQ_REMOVE(&c->proxy->unwatched, c, unwatched);
	c->is_unwatched = false;
	if (conn_watch(c->proxy, &c->conn, client_on_io, c) < 0)
		client_close(c);
}

/* Nothing that its client does now moves the request: an app has all of it, and the answer goes out as it comes.  Most
 * connections of one request are over before the next tick, so they never cost the two calls of epoll_ctl(2). */
static bool client_needs_no_ear(const struct client *c)
{
	return (c->state == CLIENT_CONNECT || c->state == CLIENT_RELAY) && c->req.done && !c->conn.out;
}

void client_run(struct client *c)
{
	client_turns(c);
	if (c->is_unwatched && !client_needs_no_ear(c))
		client_watch(c);
}
