/* One request on its way: its attempts, its time, both ends' pace.  Layer web, proxy process.
 *
 *   relay.c           attempts, retries, patience, deadlines; which side goes on
 *   relay_request.c   client to app
 *   relay_answer.c    app to client
 *
 * Bytes are read from one side only while the other side has taken everything before them. */
#include "web/proxy/relay.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>

/* Its instance leaves, and the client has ended its direction: most such clients are gone, and the few that still want
 * their answer have LIMIT_PROXY_FORSAKEN_MS without a byte of it.  Otherwise whoever asks and leaves holds an instance
 * for the whole time of a drain. */
static bool relay_forsaken(const struct client *c)
{
	return c->conn.closing && c->req.done && c->inst && c->inst->state == PROXY_INSTANCE_DRAINING;
}

int64_t relay_patience_us(const struct client *c)
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
void relay_timer(struct client *c, int64_t at_us)
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
void relay_release(struct client *c, bool keep)
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
bool relay_may_repeat(struct client *c)
{
	/* Of HTTP/2 a stream that was refused has done nothing (RFC 9113, 8.7), whatever it was. */
	if (c->up->conn.stream && h2_refused(&c->up->conn))
		return !c->again && c->infos == 0 && c->req.bytes == 0;
	return !c->again && !c->up->in && c->infos == 0 && c->req.mode == BODY_NONE && http_idempotent(c->method) &&
	       !c->app->dead;
}

/* A connection that had rested may have ended for that reason alone, so the same instance gets it again, over a fresh
 * one; a fresh one ended because the instance is in trouble, so another gets it.  False when there is none. */
bool relay_repeat(struct client *c)
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

void relay_ended(struct client *c, ssize_t r)
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
