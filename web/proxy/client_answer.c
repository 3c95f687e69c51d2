/* What we say to a client ourselves, and how a request and a connection end.  Layer web, proxy process. */
#include "web/proxy/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* Nothing of the request is known but that it is bad. */
static void client_bad_head(struct client *c, int status)
{
	struct proxy *p = c->proxy;

	if (c->state == CLIENT_IDLE)
		client_move(c, CLIENT_HEAD);
	stat_add(&p->worker->bad_requests, 1);
	client_fault(c, FAULT_REQUEST, (unsigned)status, p->req.head.why);
}

/* Forgets the request before, so that a fault in the next head is not said with its words. */
static void client_blank(struct client *c)
{
	struct proxy *p = c->proxy;

	c->start_us = proxy_now(p);
	c->logged = c->responding = c->keep_alive = c->minor0 = false;
	c->status = 0;
	c->sent_us = c->first_us = c->parked_us = 0;
	c->method = HTTP_METHOD_OTHER;
	c->head_len = 0;
	c->inst_id = 0;
	c->method_name = c->target = c->host = (struct http_str){"", 0};
	memset(&c->req, 0, sizeof c->req);
	memset(&c->res, 0, sizeof c->res);
	memset(&c->policy, 0, sizeof c->policy);
	head_request_id(c, NULL);
	c->trace[0] = '\0';
}

void client_refuse(struct client *c, int status, const char *why)
{
	struct proxy *p = c->proxy;

	client_blank(c);
	p->parsed = NULL;
	p->req.head.why = why;
	client_bad_head(c, status);
}

void client_fault(struct client *c, enum fault f, unsigned status, const char *why)
{
	struct proxy *p = c->proxy;
	size_t n;
	bool close;

	relay_drop(c);
	if (c->start_us == 0)
		client_blank(c);
	/* An answer has begun, or bytes for the client wait already: all that can be said is the end. */
	if (c->responding || c->conn.out) {
		client_close(c);
		return;
	}
	if (c->row && f >= FAULT_PATH && f <= FAULT_TIME)
		stat_add(&c->row->refused[f - FAULT_PATH], 1);
	close = !c->keep_alive || !c->req.done || p->draining || f == FAULT_REQUEST || f == FAULT_SLOW_REQUEST;
	n = fault_page(c, f, &status, why, close, p->wbuf);
	client_say(c, n, status, close);
}

void client_say(struct client *c, size_t n, unsigned status, bool close)
{
	struct proxy *p = c->proxy;
	struct iovec iov = {.iov_base = p->wbuf, .iov_len = n};

	c->responding = true;
	c->res_keep = !close;
	c->res.done = true;
	c->status = (uint16_t)status;
	if (c->state != CLIENT_RELAY)
		client_move(c, CLIENT_RELAY);
	c->progress_us = proxy_now(p);
	client_deadline(c, LIMIT_PROXY_RESPONSE_MS);
	c->written += iov.iov_len;
	if (conn_send(p, &c->conn, &iov, 1) < 0)
		client_close(c);
	else if (c->conn.stream)
		h2_end(&c->conn);
}

void client_cut(struct client *c)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	if (c->conn.stream)
		h2_gone(&c->conn, true);
	else
		setsockopt(c->conn.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	client_close(c);
}

void client_linger_start(struct client *c)
{
	if (c->conn.out) {
		client_close(c);
		return;
	}
	pbuf_put(c->proxy, &c->in);
	client_move(c, CLIENT_LINGER);
	c->lingered = 0;
	c->conn.can_read = true;
	conn_end(c->proxy, &c->conn);
	client_deadline(c, LIMIT_PROXY_LINGER_MS);
}

void client_finish(struct client *c)
{
	struct proxy *p = c->proxy;
	size_t left;

	client_account(c);
	c->start_us = 0;
	c->seen = 0;
	if (p->parsed == c)
		p->parsed = NULL;
	c->progress_us = proxy_now(p);
	if (c->conn.stream) {
		/* The stream closes it, once the end went out. */
		pbuf_put(p, &c->in);
		client_move(c, CLIENT_LINGER);
		client_deadline(c, LIMIT_PROXY_WINDOW_MS); /* its window may be shut */
		h2_end(&c->conn);
		return;
	}
	if (!c->res_keep || !c->req.done) {
		/* What the client may still be sending is read and thrown away: closing over it would reset the
		 * connection, and the client might never see the answer. */
		if (c->req.done && !c->keep_alive && c->in && c->in->r == c->in->w) {
			client_close(c);
			return;
		}
		client_linger_start(c);
		return;
	}
	left = c->in ? c->in->w - c->in->r : 0;
	if (left > 0) {
		memmove(c->in->data, c->in->data + c->in->r, left);
		c->in->r = 0;
		c->in->w = left;
		client_move(c, CLIENT_HEAD);
		client_deadline(c, LIMIT_PROXY_HEAD_MS);
		return;
	}
	pbuf_put(p, &c->in);
	client_move(c, CLIENT_IDLE);
	client_deadline(c, LIMIT_PROXY_KEEPALIVE_MS);
}

void client_linger(struct client *c)
{
	struct proxy *p = c->proxy;

	for (unsigned k = 0; c->conn.can_read; k++) {
		ssize_t n;
		if (k == CLIENT_READS) {
			proxy_ready(c);
			return;
		}
		n = conn_read(&c->conn, p->rbuf, sizeof p->rbuf);
		if (n == -EAGAIN)
			return;
		c->lingered += n > 0 ? (size_t)n : 0;
		if (n <= 0 || c->lingered > LIMIT_PROXY_LINGER_BYTES) {
			client_close(c);
			return;
		}
		c->conn.can_read = true;
	}
}
