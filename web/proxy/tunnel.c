/* After a real 101: any bytes both ways, still with water marks.  Layer web, proxy process. */
#include "web/proxy/internal.h"

#include <errno.h>

#define TUNNEL_BUDGET 16 /* reads of one side before others get their turn */

/* One direction of a tunnel; true while it may go on, false when the client is gone. */
static bool tunnel_pump(struct client *c, struct conn *from, struct conn *to, bool *end, uint64_t *bytes)
{
	struct proxy *p = c->proxy;
	struct iovec iov = {.iov_base = p->rbuf};

	if (to->out && conn_flush(p, to) < 0)
		return false;
	for (unsigned k = 0; !*end && from->can_read && !to->out; k++) {
		ssize_t n;
		if (k == TUNNEL_BUDGET) {
			proxy_ready(c);
			return true;
		}
		n = conn_read(from, p->rbuf, sizeof p->rbuf);
		if (n == -EAGAIN)
			break;
		if (n < 0)
			return false;
		c->progress_us = proxy_now(p);
		if (n == 0) {
			*end = true;
			break;
		}
		*bytes += (uint64_t)n;
		iov.iov_len = (size_t)n;
		if (conn_send(p, to, &iov, 1) < 0)
			return false;
		/* Of a plain socket a short read emptied it, and whatever comes later, an end too, makes a new edge. */
		if (from->tls)
			from->can_read = true;
	}
	return true;
}

bool tunnel_run(struct client *c)
{
	struct proxy *p = c->proxy;
	struct iovec first = {NULL, 0};
	bool in_end = c->tunnel_in_end, out_end = c->tunnel_out_end;

	/* What the client sent behind its request waited for the 101. */
	if (c->in && !c->up->conn.out) {
		first = (struct iovec){c->in->data + c->in->r, c->in->w - c->in->r};
		c->req.bytes += first.iov_len;
		c->in->r = c->in->w;
		if (conn_send(p, &c->up->conn, &first, 1) < 0) {
			client_close(c);
			return false;
		}
	}
	if (!tunnel_pump(c, &c->conn, &c->up->conn, &in_end, &c->req.bytes) ||
	    !tunnel_pump(c, &c->up->conn, &c->conn, &out_end, &c->res.bytes)) {
		client_close(c);
		return false;
	}
	/* An end is passed on once all before it went out. */
	if (in_end && !c->up->conn.out && !c->tunnel_in_end) {
		c->tunnel_in_end = true;
		conn_end(p, &c->up->conn);
	}
	if (out_end && !c->conn.out && !c->tunnel_out_end) {
		c->tunnel_out_end = true;
		conn_end(p, &c->conn);
	}
	if (c->tunnel_in_end && c->tunnel_out_end) {
		client_close(c);
		return false;
	}
	/* An end that could not be passed on yet is read again when the other side has room. */
	if (in_end && !c->tunnel_in_end)
		c->conn.can_read = true;
	if (out_end && !c->tunnel_out_end)
		c->up->conn.can_read = true;
	return false;
}
