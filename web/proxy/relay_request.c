/* The request on its way from the client to the app: head, body, pieces past us.  Layer web, proxy process. */
#include "web/proxy/relay.h"

#include "web/proxy/policy.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define RELAY_PIECE 32768 /* body bytes passed on at a time */

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

/* Sends the head, with what of the body is here already.  False when the request was ended by it. */
bool relay_send_head(struct client *c)
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
	if (c->inst->h2c && c->upgrade && !h2_takes_websocket(&u->conn)) {
		client_fault(c, FAULT_REQUEST, 501,
			     "the app speaks HTTP/2 and does not say that it takes WebSockets there (RFC 8441)");
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
	if (r == -EBADMSG && u->conn.stream) {
		client_fault(c, FAULT_REQUEST, 400, "a WebSocket has one Sec-WebSocket-Key of at most 64 bytes");
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
	} else if (c->req.done && c->up->conn.stream && !c->upgrade) {
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

/* Client to app.  False when the request was ended. */
bool relay_request(struct client *c)
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
