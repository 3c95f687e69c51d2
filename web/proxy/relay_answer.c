/* The answer on its way from the app to the client: head, framing, body, a switch to a tunnel.  Layer web, proxy
 * process. */
#include "web/proxy/relay.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define RELAY_KEPT 40960    /* of an answer kept until its head is complete; leaves room for what we add to it */
#define RELAY_INFOS 16	    /* 1xx answers before the real one */
#define RELAY_INFO_MAX 8192 /* bytes of them passed on */

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

/* App to client.  False when the request was ended, or another attempt begun. */
bool relay_response(struct client *c)
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
