/* One request on its way: to the app, back to the client, both ends' pace.  Layer web, proxy process.
 * Bytes are read from one side only while the other side has taken everything before them. */
#include "web/proxy/internal.h"

#include "web/proxy/policy.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>

#define RELAY_BUDGET 16	    /* reads of one side before others get their turn */
#define RELAY_PIECE 32768   /* body bytes passed on at a time */
#define RELAY_KEPT 40960    /* of an answer kept until its head is complete; leaves room for what we add to it */
#define RELAY_INFOS 16	    /* 1xx answers before the real one */
#define RELAY_INFO_MAX 8192 /* bytes of them passed on */

/* Its instance leaves, and the client has ended its direction: most such clients are gone, and the few that still want
 * their answer have LIMIT_PROXY_FORSAKEN_MS without a byte of it.  Otherwise whoever asks and leaves holds an instance
 * for the whole time of a drain. */
static bool relay_forsaken(const struct client *c)
{
	return c->conn.closing && c->req.done && c->inst && c->inst->state == PROXY_INSTANCE_DRAINING;
}

static int64_t relay_patience_us(const struct client *c)
{
	if (c->tunnel_in_end || c->tunnel_out_end)
		return LIMIT_PROXY_LINGER_MS * 1000ll;
	if (c->state == CLIENT_TUNNEL)
		return LIMIT_PROXY_TUNNEL_MS * 1000ll;
	if (c->app && c->app->control)
		return LIMIT_PROXY_CONTROL_MS * 1000ll;
	if (relay_forsaken(c))
		return LIMIT_PROXY_FORSAKEN_MS * 1000ll;
	if (c->duplex)
		return LIMIT_PROXY_TUNNEL_MS * 1000ll;
	return LIMIT_PROXY_RESPONSE_MS * 1000ll;
}

/* Sets the client's deadline, but not beyond the end of its whole time. */
static void relay_timer(struct client *c, int64_t at_us)
{
	if (c->policy.end_us && c->policy.end_us < at_us && c->state != CLIENT_TUNNEL)
		at_us = c->policy.end_us;
	wheel_set(&c->proxy->wheel, &c->timer, at_us);
}

void relay_hurry(struct client *c)
{
	int64_t due;

	if (c->state != CLIENT_RELAY || !relay_forsaken(c))
		return;
	due = c->progress_us + relay_patience_us(c);
	if (c->timer.deadline_us == 0 || c->timer.deadline_us > due)
		wheel_set(&c->proxy->wheel, &c->timer, due);
}

/* The connection has done its work, or is good for nothing any more; so has the instance. */
static void relay_release(struct client *c, bool keep)
{
	struct upstream *u = c->up;
	struct instance *i = c->inst;

	c->up = NULL;
	c->inst = NULL;
	if (u) {
		u->client = NULL;
		if (keep)
			upstream_keep(u);
		else
			upstream_close(u);
	}
	if (i)
		routes_request_done(c->proxy, i);
}

void relay_drop(struct client *c)
{
	relay_release(c, false);
}

static void relay_tried(struct client *c)
{
	/* Repeating on another instance may have used the last place. */
	if (c->attempts < LIMIT_PROXY_ATTEMPTS)
		c->tried[c->attempts++] = c->inst->id;
}

/* The instance could not be reached: another one, or the end of the attempt. */
static void relay_refused(struct client *c, bool slow)
{
	struct proxy *p = c->proxy;

	if (c->row)
		stat_add(&c->row->upstream_errors, 1);
	balance_bad(p, c->inst, true);
	routes_failing(p, c->inst);
	relay_tried(c);
	relay_drop(c);
	if (slow)
		client_fault(c, FAULT_APP_SLOW_CONNECT, 504, "");
	else if (c->attempts >= LIMIT_PROXY_ATTEMPTS)
		client_fault(c, FAULT_APP_REFUSED, 502, "");
	else
		client_again(c);
}

/* The instance takes no more connections for the moment: another one, or the end. */
static void relay_crowded(struct client *c)
{
	bool busy = false;

	relay_tried(c);
	relay_drop(c);
	if (c->attempts >= LIMIT_PROXY_ATTEMPTS ||
	    (!balance_pick(c->proxy, c->app, c->tried, c->attempts, &busy) && !busy))
		client_fault(c, FAULT_APP_CROWDED, 503, "");
	else
		client_again(c);
}

/* Payload at c->in, at most max bytes: what of it is body, without framing. *end when the body is complete with it.
 * 0, or -EBADMSG. */
static int relay_take_body(struct client *c, size_t max, char **data, size_t *len, bool *end)
{
	struct pbuf *in = c->in;
	size_t avail = in->w - in->r, used;
	int r = 0;

	if (avail > max)
		avail = max;
	*data = in->data + in->r;
	if (c->req.mode == BODY_LENGTH) {
		*len = used = avail < (uint64_t)c->req.left ? avail : (size_t)c->req.left;
		c->req.left -= (int64_t)used;
		*end = c->req.left == 0;
	} else {
		*len = avail;
		if ((r = chunked_decode(&c->req.chunked, *data, len, &used)) < 0)
			return r;
		*end = r == 1;
	}
	in->r += used;
	c->req.bytes += *len;
	c->req.done = *end;
	return c->policy.body_max && c->req.bytes > c->policy.body_max ? -EFBIG : 0;
}

static void relay_bad_body(struct client *c, int error)
{
	if (error == -EFBIG) {
		c->req.done = false; /* what is left of it is not read */
		client_fault(c, FAULT_BODY, 413, "");
		return;
	}
	stat_add(&c->proxy->worker->bad_requests, 1);
	client_fault(c, FAULT_REQUEST, 400, "the chunked body of the request is malformed");
}

/* Writes a piece of the request's body in its new framing; false when the request was ended by it. */
static bool relay_send_piece(struct client *c)
{
	struct proxy *p = c->proxy;
	char prefix[CHUNKED_PREFIX];
	char tail[2 + sizeof CHUNKED_END] = "\r\n" CHUNKED_END, *data;
	struct iovec iov[3];
	size_t len;
	bool end;
	int n = 0, r = relay_take_body(c, RELAY_PIECE, &data, &len, &end);

	if (r < 0) {
		relay_bad_body(c, r);
		return false;
	}
	if (c->req.mode == BODY_LENGTH || c->up->conn.stream) {
		iov[n++] = (struct iovec){data, len};
	} else {
		if (len > 0) {
			iov[n++] = (struct iovec){prefix, chunked_prefix(prefix, len)};
			iov[n++] = (struct iovec){data, len};
		}
		iov[n++] = (struct iovec){len > 0 ? tail : tail + 2,
					  (len > 0 ? 2u : 0u) + (end ? sizeof CHUNKED_END - 1 : 0u)};
	}
	if (len > 0)
		c->progress_us = proxy_now(p);
	if (conn_send(p, &c->up->conn, iov, n) < 0) {
		/* The app takes no more; it may have answered already. */
		c->req_broken = true;
		c->up->conn.can_read = true;
	} else if (end && c->up->conn.stream) {
		h2_end_request(c);
	}
	return true;
}

/* What an app that speaks HTTP/2 gets is different: calls of gRPC live as long as they like. */
static void relay_to_h2c(struct client *c, const struct http_request *r)
{
	for (unsigned i = 0; i < r->head.count; i++) {
		const struct http_field *f = &r->head.fields[i];
		if (f->value.n >= 16 && http_eq(f->name, "content-type") &&
		    strncasecmp(f->value.p, "application/grpc", 16) == 0)
			c->duplex = true;
	}
}

static bool relay_may_repeat(struct client *c);
static void relay_ended(struct client *c, ssize_t r);

/* Sends the head, with what of the body is here already.  False when the request was ended by it. */
static bool relay_send_head(struct client *c)
{
	struct proxy *p = c->proxy;
	struct upstream *u = c->up;
	struct iovec iov = {.iov_base = p->wbuf};
	size_t len;
	char *data;
	bool end;
	int r;

	client_reparse(c);
	if (c->app->front)
		policy_request(c);
	if (c->inst->h2c && c->upgrade) {
		client_fault(c, FAULT_REQUEST, 501, "the app speaks HTTP/2, over which no WebSocket reaches it");
		return false;
	}
	if (c->inst->h2c)
		relay_to_h2c(c, &p->req);
	iov.iov_len = head_request(c, &p->req, p->wbuf);
	if (!c->req.done && c->in->w > c->in->r && c->req.mode == BODY_LENGTH) {
		if (relay_take_body(c, PBUF_SIZE - iov.iov_len, &data, &len, &end) < 0)
			return false;
		memcpy(p->wbuf + iov.iov_len, data, len);
		iov.iov_len += len;
	}
	client_move(c, CLIENT_RELAY);
	c->sent_us = c->progress_us = proxy_now(p);
	relay_timer(c, c->progress_us + relay_patience_us(c));
	if ((r = conn_send(p, &u->conn, &iov, 1)) == -EPROTO && u->conn.stream) {
		/* With our own fields it is more than a head of HTTP/2 may be: nobody but the client is to blame. */
		client_fault(c, FAULT_REQUEST, 431, "the head is too long");
		return false;
	}
	if (r < 0) {
		/* A kept connection that ended before the question: whatever stands in it is no answer. */
		if (u->reused && !c->responding && relay_may_repeat(c)) {
			relay_ended(c, 0);
			return false;
		}
		c->req_broken = true;
		c->up->conn.can_read = true;
	} else if (c->req.done && c->up->conn.stream) {
		h2_end(&c->up->conn);
	}
	/* Once, and only to a client that is waiting for it. */
	if (c->expect_continue && !c->req.done && c->req.bytes == 0 && c->in->r == c->in->w) {
		static char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
		struct iovec go = {text, sizeof text - 1};
		if (conn_send(p, &c->conn, &go, 1) < 0) {
			client_close(c);
			return false;
		}
	}
	c->expect_continue = false;
	return true;
}

void relay_start(struct client *c, struct instance *inst, bool fresh)
{
	struct proxy *p = c->proxy;

	c->inst = inst;
	balance_take(p, inst);
	c->inst_id = inst->id;
	c->canary = inst->canary;
	c->up = upstream_get(p, inst, c, fresh);
	if (!c->up) {
		int e = errno;
		client_move(c, CLIENT_CONNECT);
		if (e == EMFILE || e == ENFILE || e == ENOMEM || e == ENOBUFS)
			client_fault(c, FAULT_BUSY, 503, "");
		else if (e == EAGAIN) /* unix(7): its backlog is full */
			relay_crowded(c);
		else
			relay_refused(c, false);
		return;
	}
	if (c->up->connected) {
		relay_send_head(c);
		return;
	}
	client_move(c, CLIENT_CONNECT);
	relay_timer(c, proxy_now(p) + LIMIT_PROXY_CONNECT_MS * 1000ll);
}

/* The connection ended before a byte of an answer came: once more, when that cannot do harm (RFC 9110, 9.2.2). */
static bool relay_may_repeat(struct client *c)
{
	/* Of HTTP/2 a stream that was refused has done nothing (RFC 9113, 8.7), whatever it was. */
	if (c->up->conn.stream && h2_refused(&c->up->conn))
		return !c->again && c->infos == 0 && c->req.bytes == 0;
	return !c->again && !c->up->in && c->infos == 0 && c->req.mode == BODY_NONE && http_idempotent(c->method) &&
	       !c->app->dead;
}

/* A connection that had rested may have ended for that reason alone, so the same instance gets it again, over a fresh
 * one; a fresh one ended because the instance is in trouble, so another gets it.  False when there is none. */
static bool relay_repeat(struct client *c)
{
	struct proxy *p = c->proxy;
	struct instance *i = c->inst, *other = i;
	bool refused = c->up->conn.stream && h2_refused(&c->up->conn);
	bool same = (refused || c->up->reused) && !i->dead && i->state == PROXY_INSTANCE_UP, busy = false;

	if (!refused && !balance_repeat(c->app))
		return false;
	if (!same) {
		if (c->attempts >= LIMIT_PROXY_ATTEMPTS)
			return false;
		c->tried[c->attempts++] = i->id;
		other = balance_pick(p, c->app, c->tried, c->attempts, &busy);
		if (!other && !busy && routes_has_up(c->app))
			return false;
	}
	c->again = true;
	balance_hold(i); /* it may be freed with its last request */
	relay_drop(c);
	if (same)
		relay_start(c, i, true);
	else
		client_again(c);
	routes_request_done(p, i);
	return true;
}

static void relay_ended(struct client *c, ssize_t r)
{
	struct proxy *p = c->proxy;
	struct iovec iov = {.iov_base = p->wbuf};

	if (!c->responding && !c->up->reused && !(c->up->conn.stream && h2_refused(&c->up->conn)))
		balance_bad(p, c->inst, false);
	if (!c->responding && relay_may_repeat(c) && relay_repeat(c))
		return;
	if (!c->responding) {
		if (c->row)
			stat_add(&c->row->upstream_errors, 1);
		client_fault(c, c->app->control ? FAULT_CONTROL_AWAY : FAULT_APP_CLOSED, 502, "");
		return;
	}
	if (c->res.mode != BODY_EOF || r < 0) {
		/* The answer is cut: the client must see that it is, so no last chunk and no next request. */
		if (c->row)
			stat_add(&c->row->upstream_errors, 1);
		client_close(c);
		return;
	}
	c->res.done = true;
	relay_drop(c);
	if (c->out_chunked) {
		memcpy(p->wbuf, CHUNKED_END, sizeof CHUNKED_END - 1);
		iov.iov_len = sizeof CHUNKED_END - 1;
		c->written += iov.iov_len;
		if (conn_send(p, &c->conn, &iov, 1) < 0)
			client_close(c);
	} else if (c->conn.stream) {
		h2_end(&c->conn);
	}
}

static void relay_bad_answer(struct client *c, const char *why)
{
	if (c->row)
		stat_add(&c->row->upstream_errors, 1);
	balance_bad(c->proxy, c->inst, false);
	client_fault(c, FAULT_APP_BAD_ANSWER, 502, why);
}

/* Events may be far between: such an answer may be silent for as long as a WebSocket. */
static bool relay_is_events(const struct http_head *h)
{
	for (unsigned i = 0; i < h->count; i++)
		if (http_eq(h->fields[i].name, "content-type"))
			return h->fields[i].value.n >= 17 &&
			       strncasecmp(h->fields[i].value.p, "text/event-stream", 17) == 0;
	return false;
}

/* What the head of the answer means for its body and for both connections. */
static void relay_framing(struct client *c, const struct http_response *r)
{
	struct proxy *p = c->proxy;

	c->status = (uint16_t)r->status;
	c->first_us = proxy_now(p);
	c->responding = true;
	if (c->inst->errors | c->inst->pauses)
		balance_good(p, c->inst);
	if (http_bodyless(c->method, r->status))
		c->res.mode = BODY_NONE;
	else if (r->head.chunked)
		c->res.mode = BODY_CHUNKED;
	else if (r->head.content_length >= 0)
		c->res.mode = BODY_LENGTH;
	else
		c->res.mode = BODY_EOF;
	if (c->res.mode >= BODY_CHUNKED && relay_is_events(&r->head))
		c->duplex = true;
	c->res.left = r->head.content_length;
	c->res.done = c->res.mode == BODY_NONE || (c->res.mode == BODY_LENGTH && c->res.left == 0);
	c->out_chunked = (c->res.mode == BODY_CHUNKED || c->res.mode == BODY_EOF) && !c->minor0 && !c->conn.stream;
	c->res_keep = c->keep_alive && c->req.done && !p->draining && !c->conn.closing &&
		      (c->out_chunked || c->res.mode == BODY_NONE || c->res.mode == BODY_LENGTH);
	c->up_keep = r->head.keep_alive && r->head.minor == 1 && c->res.mode != BODY_EOF;
}

/* Passes n bytes after the head on, behind the `at` bytes of p->wbuf.  False when the request was ended by it. */
static bool relay_send_answer(struct client *c, size_t at, char *data, size_t n)
{
	struct proxy *p = c->proxy;
	size_t len = n, used = n;
	struct iovec iov;
	bool keep;
	int r;

	switch ((enum body_mode)c->res.mode) {
	case BODY_NONE:
		len = used = 0;
		break;
	case BODY_LENGTH:
		if ((uint64_t)c->res.left < n)
			len = used = (size_t)c->res.left;
		c->res.left -= (int64_t)len;
		c->res.done = c->res.left == 0;
		break;
	case BODY_CHUNKED:
		if (c->conn.stream)
			h2_trailers_keep(c);
		if ((r = chunked_decode(&c->res.chunked, data, &len, &used)) < 0) {
			/* Nothing of it went out yet: ours to explain.  Otherwise the answer is cut. */
			c->responding = at == 0;
			if (c->responding)
				relay_ended(c, r);
			else
				relay_bad_answer(c, "a chunk is malformed");
			return false;
		}
		c->res.done = r == 1;
		if (c->conn.stream && chunked_in_trailer(&c->res.chunked) && !h2_trailers_kept(c)) {
			relay_ended(c, -ENOMEM);
			return false;
		}
		break;
	case BODY_EOF:
		break;
	}
	if (len > 0) {
		if (c->out_chunked)
			at += chunked_prefix(p->wbuf + at, len);
		memcpy(p->wbuf + at, data, len);
		at += len;
		if (c->out_chunked)
			p->wbuf[at++] = '\r', p->wbuf[at++] = '\n';
	}
	if (c->res.done && c->out_chunked) {
		memcpy(p->wbuf + at, CHUNKED_END, sizeof CHUNKED_END - 1);
		at += sizeof CHUNKED_END - 1;
	}
	c->res.bytes += len;
	c->written += at;
	if (c->res.done) {
		/* Bytes after the answer belong to nobody: the connection is not used again. */
		keep = c->up_keep && used == n && c->req.done && !c->req_broken && !c->up->conn.out;
		pbuf_put(p, &c->up->in);
		relay_release(c, keep);
	}
	iov = (struct iovec){p->wbuf, at};
	if (conn_send(p, &c->conn, &iov, 1) < 0) {
		client_close(c);
		return false;
	}
	if (c->res.done && c->conn.stream)
		h2_end(&c->conn);
	return true;
}

/* Begins the tunnel: the app really said 101 and the client had asked for it. */
static bool relay_switch(struct client *c, size_t at, const char *data, size_t n)
{
	struct proxy *p = c->proxy;
	struct iovec iov[2] = {{p->wbuf, at}, {(char *)(uintptr_t)data, n}};

	c->status = 101;
	c->responding = true;
	c->first_us = proxy_now(p);
	c->tunnel_in_end = c->tunnel_out_end = false;
	c->conn.can_read = c->up->conn.can_read = true;
	c->res.bytes += n;
	c->written += at + n;
	client_move(c, CLIENT_TUNNEL);
	if (conn_send(p, &c->conn, iov, 2) < 0) {
		client_close(c);
		return false;
	}
	if (c->up->in)
		pbuf_put(p, &c->up->in);
	return true;
}

/* Bytes of an answer whose head was not complete so far.  False when the request was ended by them. */
static bool relay_answer_head(struct client *c, char *data, size_t len)
{
	struct proxy *p = c->proxy;
	struct upstream *u = c->up;
	struct http_response *r = &p->res;
	struct iovec iov = {.iov_base = p->wbuf};
	size_t at = 0;
	int n = 0;

	for (; len > 0 && (n = http_parse_response(data, len, u->seen, r)) > 0 && r->status < 200;
	     data += n, len -= (size_t)n) {
		u->seen = 0;
		if (r->status == 101 && c->upgrade && r->head.upgrade) {
			at += head_response(c, r, true, p->wbuf + at);
			return relay_switch(c, at, data + n, len - (size_t)n);
		}
		if (r->status == 101 || ++c->infos > RELAY_INFOS) {
			r->head.why = "it switched protocols unasked, or sent too many interim answers";
			n = -502;
			break;
		}
		/* 100 is ours to say; a 1.0 client knows none of them. */
		if (r->status != 100 && !c->minor0 && at + (size_t)n + 256 <= RELAY_INFO_MAX)
			at += head_response(c, r, true, p->wbuf + at);
	}
	if (n < 0) {
		relay_bad_answer(c, r->head.why);
		return false;
	}
	/* Said when nothing came for long, it crossed this request, which was never read (RFC 9110, 15.5.9). */
	if (len > 0 && n > 0 && r->status == 408 && u->reused && !r->head.keep_alive && relay_may_repeat(c) &&
	    relay_repeat(c))
		return false;
	if (len > 0 && n > 0) {
		relay_framing(c, r);
		at += head_response(c, r, false, p->wbuf + at);
		return relay_send_answer(c, at, data + n, len - (size_t)n);
	}
	if (len > 0) {
		if (!u->in && !(u->in = pbuf_get(p))) {
			client_fault(c, FAULT_BUSY, 503, "");
			return false;
		}
		memmove(u->in->data, data, len);
		u->in->w = u->seen = len;
	} else {
		pbuf_put(p, &u->in);
	}
	iov.iov_len = at;
	c->written += at;
	if (conn_send(p, &c->conn, &iov, 1) < 0) {
		client_close(c);
		return false;
	}
	return true;
}

/* A piece of a large body goes past us.  > 0, 0 or -EAGAIN as in conn_read(), -ENOBUFS: it must be read. */
static ssize_t relay_pass_answer(struct client *c)
{
	struct proxy *p = c->proxy;
	ssize_t n = splice_read(p, &c->up->conn, &c->conn, c->res.left);

	if (n > 0) {
		c->progress_us = proxy_now(p);
		c->res.left -= n;
		c->res.bytes += (uint64_t)n;
		c->written += (uint64_t)n;
		if (conn_flush(p, &c->conn) < 0) {
			client_close(c);
			return -EPIPE;
		}
	}
	return n;
}

static ssize_t relay_pass_request(struct client *c)
{
	struct proxy *p = c->proxy;
	ssize_t n = splice_read(p, &c->conn, &c->up->conn, c->req.left);

	if (n > 0) {
		c->progress_us = proxy_now(p);
		c->req.left -= n;
		c->req.bytes += (uint64_t)n;
		if (conn_flush(p, &c->up->conn) < 0) {
			c->req_broken = true;
			c->up->conn.can_read = true;
			pbuf_put(p, &c->up->conn.out);
		}
	}
	return n;
}

/* App to client.  False when the request was ended, or another attempt begun. */
static bool relay_response(struct client *c)
{
	struct proxy *p = c->proxy;

	for (unsigned k = 0; c->up && c->up->conn.can_read && !c->conn.out; k++) {
		struct upstream *u = c->up;
		char *at = u->in ? u->in->data + u->in->w : p->rbuf;
		ssize_t n;
		if (c->conn.stream && h2_full(&c->conn))
			return true;
		if (k == RELAY_BUDGET) {
			proxy_ready(c);
			return true;
		}
		n = -ENOBUFS;
		if (c->responding && c->res.mode == BODY_LENGTH && splice_wanted(&u->conn, &c->conn, c->res.left)) {
			n = relay_pass_answer(c);
			if (c->state != CLIENT_RELAY)
				return false;
			if (n > 0)
				continue;
		}
		if (n == -ENOBUFS)
			n = conn_read(&u->conn, at, u->in ? RELAY_KEPT - u->in->w : sizeof p->rbuf);
		if (n == -EAGAIN)
			return true;
		if (n <= 0) {
			relay_ended(c, n);
			return false;
		}
		c->progress_us = proxy_now(p);
		if (u->in) {
			u->in->w += (size_t)n;
			at = u->in->data;
			n = (ssize_t)u->in->w;
		}
		if (!(c->responding ? relay_send_answer(c, 0, at, (size_t)n) : relay_answer_head(c, at, (size_t)n)))
			return false;
		if (c->state != CLIENT_RELAY)
			return false;
		if (c->up) {
			if (c->responding)
				pbuf_put(p, &u->in);
			u->conn.can_read = true;
		}
	}
	return true;
}

/* Client to app.  False when the request was ended. */
static bool relay_request(struct client *c)
{
	struct upstream *u = c->up;
	struct pbuf *in = c->in;

	for (unsigned k = 0; !c->req.done && !c->req_broken && !u->conn.out; k++) {
		ssize_t n;
		if (in->r < in->w) {
			if (!relay_send_piece(c))
				return false;
			continue;
		}
		if (!c->conn.can_read)
			break;
		if (k >= RELAY_BUDGET) {
			proxy_ready(c);
			break;
		}
		in->r = in->w = c->head_len;
		n = -ENOBUFS;
		if (c->req.mode == BODY_LENGTH && splice_wanted(&c->conn, &u->conn, c->req.left) &&
		    (n = relay_pass_request(c)) > 0)
			continue;
		if (n == -ENOBUFS)
			n = conn_read(&c->conn, in->data + in->w,
				      PBUF_SIZE - in->w < RELAY_PIECE ? PBUF_SIZE - in->w : RELAY_PIECE);
		if (n == -EAGAIN)
			break;
		if (n <= 0) {
			client_close(c);
			return false;
		}
		in->w += (size_t)n;
		/* Content when the body is complete with it; otherwise look for more, or for the end. */
		if (c->req.mode == BODY_CHUNKED || n < c->req.left)
			c->conn.can_read = true;
	}
	return true;
}

/* Starts or stops the clock that runs while the client is the slow one. */
static void relay_window(struct client *c)
{
	struct proxy *p = c->proxy;
	bool waiting = c->conn.out || (c->conn.stream && h2_waits(&c->conn)) ||
		       (c->up && !c->req.done && !c->req_broken && !c->up->conn.out && !c->duplex);

	if (!waiting) {
		c->window_us = 0;
		return;
	}
	if (c->window_us)
		return;
	c->window_us = proxy_now(p) + LIMIT_PROXY_WINDOW_MS * 1000ll;
	c->window_mark = c->req.bytes + c->written;
	if (c->conn.out) {
		int queued = 0;
		if (!c->conn.stream)
			ioctl(c->conn.fd, SIOCOUTQ, &queued);
		c->window_mark -= (uint64_t)queued + (c->conn.out->w - c->conn.out->r);
	}
	if (c->timer.deadline_us == 0 || c->timer.deadline_us > c->window_us)
		relay_timer(c, c->window_us);
}

/* The CONNECT state: true when the connection stands. */
static bool relay_connected(struct client *c)
{
	int e = 0;
	socklen_t len = sizeof e;

	if (c->up->connected)
		return true;
	if (!c->up->conn.can_write)
		return false;
	if (c->up->conn.stream)
		e = h2_lost(&c->up->conn) ? ECONNREFUSED : 0;
	else
		getsockopt(c->up->conn.fd, SOL_SOCKET, SO_ERROR, &e, &len);
	if (e || c->inst->dead) {
		relay_refused(c, false);
		return false;
	}
	c->up->connected = true;
	c->inst->failed_us = 0;
	/* A reset that came together with the request, or meanwhile, has no event of its own any more. */
	if (c->conn.fd >= 0 && c->req.done && conn_left(&c->conn)) {
		client_close(c);
		return false;
	}
	return relay_send_head(c);
}

bool relay_run(struct client *c)
{
	struct proxy *p = c->proxy;

	if (c->state == CLIENT_CONNECT) {
		struct upstream *u = c->up;
		if (!relay_connected(c))
			return c->up != u || c->state != CLIENT_CONNECT;
	}
	if (c->conn.out && conn_flush(p, &c->conn) < 0) {
		client_close(c);
		return false;
	}
	if (c->up && c->up->conn.out && conn_flush(p, &c->up->conn) < 0) {
		c->req_broken = true;
		c->up->conn.can_read = true;
		pbuf_put(p, &c->up->conn.out);
	}
	if (c->up && !c->req.done && !relay_request(c))
		return true;
	if (c->up && !relay_response(c))
		return true;
	if (c->res.done && !c->conn.out) {
		client_finish(c);
		return true;
	}
	/* Who ended its direction may still read, but not the streams of the API, which may be silent for minutes. */
	if (c->conn.closing && c->responding && c->req.done && c->app && c->app->control) {
		client_close(c);
		return false;
	}
	relay_window(c);
	return false;
}

/* Has the client moved enough since the window began?  Then a new one begins. */
static bool relay_window_ok(struct client *c)
{
	uint64_t moved = c->req.bytes + c->written;
	int queued = 0;

	if (c->conn.stream && h2_moves(c))
		return true;
	if (c->conn.out) {
		if (!c->conn.stream)
			ioctl(c->conn.fd, SIOCOUTQ, &queued);
		moved -= (uint64_t)queued + (c->conn.out->w - c->conn.out->r);
	}
	return moved - c->window_mark >= LIMIT_PROXY_WINDOW_BYTES;
}

void relay_on_deadline(struct client *c)
{
	struct proxy *p = c->proxy;
	int64_t now = proxy_now(p), patience = c->progress_us + relay_patience_us(c);

	if (c->policy.end_us && now >= c->policy.end_us && c->state != CLIENT_TUNNEL) {
		if (c->responding)
			client_close(c);
		else
			client_fault(c, FAULT_TIME, 504, "");
		return;
	}
	if (c->state == CLIENT_CONNECT) {
		relay_refused(c, true);
		return;
	}
	if (c->window_us && now >= c->window_us) {
		if (!relay_window_ok(c)) {
			if (c->conn.out)
				client_cut(c);
			else
				client_fault(c, FAULT_SLOW_REQUEST, 408, "the body of the request came too slowly");
			return;
		}
		c->window_us = 0;
		/* The app waits for the client, not we for the app. */
		c->progress_us = now;
		patience = now + relay_patience_us(c);
		relay_window(c);
	}
	if (c->window_us) {
		relay_timer(c, c->window_us);
		return;
	}
	if (now < patience) {
		relay_timer(c, patience);
		return;
	}
	if (c->state == CLIENT_TUNNEL || c->responding) {
		client_close(c);
		return;
	}
	if (c->row)
		stat_add(&c->row->upstream_errors, 1);
	balance_bad(p, c->inst, false);
	client_fault(c, FAULT_APP_SLOW, 504, "");
}
