/* Where a request goes: its app, an instance of it, or the queue of those that wait.  Layer web, proxy process. */
#include "web/proxy/internal.h"

#include "web/proxy/policy.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

static void client_park(struct client *c)
{
	struct proxy *p = c->proxy;
	struct app *a = c->app;
	struct client *after;

	if (a->parked_count >= LIMIT_PROXY_PARKED_APP || p->parked_count >= LIMIT_PROXY_PARKED_WORKER) {
		client_fault(c, FAULT_APP_CROWDED, 503, "");
		return;
	}
	client_move(c, CLIENT_PARKED);
	c->is_parked = true;
	/* One that looked in vain goes back to its place: almost always the first. */
	TAILQ_FOREACH(after, &a->parked, parked)
	{
		if (after->start_us > c->start_us)
			break;
	}
	if (after && c->was_parked)
		TAILQ_INSERT_BEFORE(after, c, parked);
	else
		TAILQ_INSERT_TAIL(&a->parked, c, parked);
	a->parked_count++;
	p->parked_count++;
	stat_add32(&p->worker->parked, 1);
	if (a->row && !c->was_parked)
		stat_add(&a->row->waited, 1);
	c->was_parked = true;
	wheel_set(&p->wheel, &c->timer, c->start_us + a->wait_ms * 1000ll);
	proxy_tick_start(p);
	if (a->state != PROXY_APP_SERVING)
		return;
	if (routes_has_up(a))
		balance_queue(p, a);
	else
		routes_wake(p, a);
}

void client_unpark(struct client *c)
{
	struct proxy *p = c->proxy;

	if (!c->is_parked)
		return;
	assert(c->app);
	c->is_parked = false;
	TAILQ_REMOVE(&c->app->parked, c, parked);
	c->app->parked_count--;
	p->parked_count--;
	stat_add32(&p->worker->parked, -1);
	c->parked_us = proxy_now(p) - c->start_us;
}

void client_leave(struct client *c)
{
	if (!c->is_parked)
		return;
	client_unpark(c);
	if (c->app->is_queued)
		balance_queue(c->proxy, c->app);
}

/* Is the host the one that the connection was opened for, and served over what the client speaks? */
static bool client_scheme_ok(struct client *c, struct app *a)
{
	struct proxy *p = c->proxy;
	enum fault f = FAULT_NONE;

	if (c->conn.tls) {
		struct http_str name = {tls_name(&c->conn), strlen(tls_name(&c->conn))};
		/* Clients that share a connection among names (RFC 9110, 7.4) come again with one for this name. */
		if (name.n > 0 &&
		    !(c->host.n >= name.n && strncasecmp(c->host.p, name.p, name.n) == 0 &&
		      (c->host.n == name.n || c->host.p[name.n] == ':')) &&
		    routes_find(p, name, c) != a)
			f = FAULT_MISDIRECTED;
		else if (a->https == PROXY_HTTPS_OFF)
			f = FAULT_HTTPS_OFF;
	} else if (p->req.target_https) {
		f = FAULT_MISDIRECTED; /* RFC 9110, 7.4: it is to be had over TLS alone */
	} else if (a->https == PROXY_HTTPS_REDIRECT && p->https_port) {
		f = FAULT_TO_HTTPS;
	}
	if (f == FAULT_NONE)
		return true;
	client_fault(c, f, 421, "");
	return false;
}

static bool client_find_app(struct client *c)
{
	struct proxy *p = c->proxy;
	struct app *host = routes_find(p, c->host, c);
	enum fault f = FAULT_NONE;

	if (p->http_challenge_count && challenge_answer(c))
		return false;
	c->app = host;
	if (host && host->front)
		f = policy_path(c, host, &c->app);
	if (!c->app) {
		stat_add(&p->worker->unknown_hosts, 1);
		client_fault(c, FAULT_UNKNOWN_HOST, 404, "");
		return false;
	}
	c->policy.hsts_s = host->hsts_s;
	c->app->refs++;
	c->row = c->app->row;
	if (c->row) {
		if (!c->app->touched)
			routes_touch(p, c->app);
		stat_add(&c->row->requests, 1);
		stat_add32(&c->row->in_flight, 1);
		atomic_store_explicit(&c->row->last_ms, (uint64_t)(c->start_us / 1000), memory_order_relaxed);
	}
	if (!client_scheme_ok(c, host))
		return false;
	if (f != FAULT_NONE) {
		client_fault(c, f, 404, "");
		return false;
	}
	return !c->app->front || policy_check(c);
}

void client_route(struct client *c)
{
	static const enum fault faults[PROXY_APP_STATE_COUNT] = {
		[PROXY_APP_EMPTY] = FAULT_APP_EMPTY,
		[PROXY_APP_CRASHED] = FAULT_APP_CRASHED,
		[PROXY_APP_PAUSED] = FAULT_APP_PAUSED,
	};
	struct proxy *p = c->proxy;
	struct instance *i;
	bool busy = false;

	if (!c->app && !client_find_app(c))
		return;
	if (c->app->dead) {
		client_fault(c, FAULT_APP_GONE, 404, "");
		return;
	}
	if (faults[c->app->state] != FAULT_NONE) {
		client_fault(c, faults[c->app->state], 503, "");
		return;
	}
	if (c->policy.stale && !policy_recheck(c))
		return;
	if (c->app->concurrency && !c->was_parked && balance_behind(p, c->app)) {
		client_park(c);
		return;
	}
	if (c->attempts == 0 && !c->was_parked && c->app->repeats < LIMIT_PROXY_REPEATS * LIMIT_PROXY_REPEAT_PART)
		c->app->repeats++;
	i = c->app->front && c->app->state != PROXY_APP_HOLD ? policy_pick(c) : NULL;
	/* The one that it belongs to may be full: then any. */
	if (i && c->app->concurrency && !balance_fits(p, i))
		i = NULL;
	if (!i && c->app->state != PROXY_APP_HOLD)
		i = balance_pick(p, c->app, c->tried, c->attempts, &busy);
	if (i && c->app->concurrency && !balance_fits(p, i)) {
		i = NULL;
		busy = true;
	}
	if (i)
		relay_start(c, i, false);
	else if (busy)
		client_park(c);
	else if (c->state == CLIENT_CONNECT || c->attempts > 0)
		client_fault(c, c->app->control ? FAULT_CONTROL_AWAY : FAULT_APP_REFUSED, 502, "");
	else
		client_park(c);
}

void client_again(struct client *c)
{
	const struct app *a = c->app;

	if (!a->dead && !a->control &&
	    (a->state == PROXY_APP_HOLD || (a->state == PROXY_APP_SERVING && !routes_has_up(a)))) {
		c->attempts = 0; /* what it was tried at is gone: it waits for what comes */
		client_park(c);
		return;
	}
	client_route(c);
}
