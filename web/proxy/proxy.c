/* The worker: listeners, the tick, draining.  Layer web, proxy process. */
#include "web/proxy/proxy.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/own.h"
#include "web/proxy/internal.h"
#include "web/proxy/policy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#define ACCEPT_BUDGET 64      /* connections taken per listener and turn, so that other workers get theirs */
#define READY_BUDGET 256      /* clients run again per turn */
#define PAUSE_US 1000000      /* without descriptors, accepting rests for this long */
#define DRAIN_IDLE_US 1000000 /* while draining, a client may be about to send its next request */
#define TICK_US (1 << WHEEL_SHIFT)

/* Connections of one remote address. */
struct address {
	uint8_t ip[16];
	unsigned count, handshakes; /* all, and those that have not finished a handshake */
};

static void proxy_turn_over(void *arg)
{
	((struct proxy *)arg)->now_us = 0;
}

int64_t proxy_now_slow(struct proxy *p)
{
	p->now_us = clock_mono_us();
	loop_defer(p->loop, proxy_turn_over, p);
	return p->now_us;
}

static void proxy_drain_check(struct proxy *p)
{
	if (!p->draining || p->drained || p->client_count > 0)
		return;
	p->drained = true;
	loop_timer_stop(&p->drain_timer);
	access_flush(p);
	p->drain_done(p->drain_arg);
}

/* While draining: what rests for a while will hardly speak just now. */
static void proxy_close_idle(struct proxy *p, int64_t now)
{
	struct client *c, *next;

	for (c = TAILQ_FIRST(&p->clients); c; c = next) {
		next = TAILQ_NEXT(c, all);
		char byte;
		if (c->state == CLIENT_H2)
			h2_front_drain(c, now);
		else if (c->state == CLIENT_IDLE && !c->conn.stream && now - c->progress_us >= DRAIN_IDLE_US &&
			 recv(c->conn.fd, &byte, 1, MSG_PEEK) <= 0)
			client_close(c);
	}
}

static void proxy_on_tick(void *arg)
{
	struct proxy *p = arg;
	int64_t now = proxy_now(p);
	struct client *c;

	p->wall_off_us = clock_wall_ms() * 1000 - now;
	wheel_run(&p->wheel, now);
	balance_tick(p, now);
	while ((c = TAILQ_FIRST(&p->unwatched)))
		client_watch(c);
	if (p->draining)
		proxy_close_idle(p, now);
	access_flush(p);
	if (p->wheel.count > 0 || p->log_len > 0)
		loop_timer_start(p->loop, &p->tick, TICK_US, proxy_on_tick, p);
}

void proxy_tick_start(struct proxy *p)
{
	if (loop_timer_pending(&p->tick))
		return;
	balance_tick(p, proxy_now(p));
	loop_timer_start(p->loop, &p->tick, TICK_US, proxy_on_tick, p);
}

static void proxy_on_ready(void *arg)
{
	struct proxy *p = arg;
	struct client *c;
	unsigned n = 0;

	/* Those that come back in this round have their turn later, or one alone would get all of them. */
	for (c = TAILQ_FIRST(&p->ready); c && n < READY_BUDGET; c = TAILQ_NEXT(c, ready))
		n++;
	while (n-- > 0 && (c = TAILQ_FIRST(&p->ready))) {
		TAILQ_REMOVE(&p->ready, c, ready);
		c->in_ready = false;
		if (c->state == CLIENT_PARKED) {
			struct app *a = c->app;
			a->refs++;
			client_unpark(c);
			client_route(c);
			if (a->is_queued)
				balance_queue(p, a);
			routes_drop_app(p, a);
		}
		client_run(c);
	}
	if (!TAILQ_EMPTY(&p->ready))
		loop_timer_start(p->loop, &p->ready_timer, 0, proxy_on_ready, p);
}

void proxy_ready(struct client *c)
{
	struct proxy *p = c->proxy;

	if (c->in_ready)
		return;
	c->in_ready = true;
	TAILQ_INSERT_TAIL(&p->ready, c, ready);
	if (!loop_timer_pending(&p->ready_timer))
		loop_timer_start(p->loop, &p->ready_timer, 0, proxy_on_ready, p);
}

static void proxy_on_accept(void *arg, short what);

static void proxy_accept_all(struct proxy *p, bool on)
{
	p->accepting = on;
	for (unsigned i = 0; i < p->listener_count; i++) {
		struct listener *l = &p->listeners[i];
		if (!l->open)
			continue;
		if (on)
			loop_io_start(p->loop, &l->io, l->fd, EV_READ, proxy_on_accept, l);
		else
			loop_io_stop(&l->io);
	}
}

static void proxy_resume(void *arg)
{
	struct proxy *p = arg;

	if (!p->draining && !p->accepting && p->client_count < p->client_max)
		proxy_accept_all(p, true);
}

/* This host's own addresses are not limited: balancers and tests stand there. */
static bool proxy_address_key(const uint8_t ip[16], uint8_t key[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}, loopback[16] = {[15] = 1};

	memcpy(key, ip, 16);
	if (memcmp(key, mapped, sizeof mapped) == 0)
		return key[12] != 127;
	if (memcmp(key, loopback, sizeof loopback) == 0)
		return false;
	/* A subscriber has a whole /64. */
	memset(key + 8, 0, 8);
	return true;
}

static bool proxy_address_take(struct proxy *p, const uint8_t ip[16], struct address **ret)
{
	uint8_t key[16];
	struct address *a;

	*ret = NULL;
	if (!proxy_address_key(ip, key))
		return true;
	a = map_get(p->addresses, key, sizeof key);
	if (!a) {
		if (!(a = calloc(1, sizeof *a)))
			return false;
		memcpy(a->ip, key, sizeof key);
		if (map_put(p->addresses, a->ip, sizeof a->ip, a) < 0) {
			free(a);
			return false;
		}
	}
	if (a->count >= LIMIT_PROXY_PER_ADDRESS)
		return false;
	a->count++;
	*ret = a;
	return true;
}

bool proxy_address_more(struct address *a)
{
	if (!a)
		return true;
	if (a->count >= LIMIT_PROXY_PER_ADDRESS)
		return false;
	a->count++;
	return true;
}

void proxy_address_put(struct proxy *p, struct address *a)
{
	if (!a || --a->count > 0)
		return;
	map_del(p->addresses, a->ip, sizeof a->ip);
	free(a);
}

bool proxy_admit(struct client *c, const uint8_t ip[16], bool tls)
{
	if (!proxy_address_take(c->proxy, ip, &c->address))
		return false;
	if (!tls || !c->address)
		return true;
	/* The place among the address's connections goes with the client. */
	if (c->address->handshakes >= LIMIT_TLS_PER_ADDRESS)
		return false;
	c->address->handshakes++;
	c->handshaking = true;
	return true;
}

/* Takes one connection that was accepted; false when nobody wants it. */
static bool proxy_welcome(struct proxy *p, const struct listener *l, int fd, const struct sockaddr_storage *peer)
{
	struct client *c;
	uint8_t ip[16];

	if (l->proxied && !preface_trusts(p, peer))
		return false;
	if (!(c = client_new(p, fd, peer, l)))
		return false;
	/* A balancer's own connections are not counted: it is its clients that are. */
	if (l->proxied)
		return true;
	cidr_address(peer, ip);
	if (!proxy_admit(c, ip, l->tls))
		client_close(c);
	else if (c->is_unwatched)
		client_run(c);
	return true;
}

static void proxy_on_accept(void *arg, short what)
{
	struct listener *l = arg;
	struct proxy *p = l->proxy;

	(void)what;
	for (unsigned i = 0; i < ACCEPT_BUDGET && p->accepting; i++) {
		struct sockaddr_storage peer;
		socklen_t len = sizeof peer;
		int fd;
		if (p->client_count >= p->client_max) {
			proxy_accept_all(p, false);
			return;
		}
		fd = accept4(l->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
				proxy_accept_all(p, false);
				loop_timer_start(p->loop, &p->pause, PAUSE_US, proxy_resume, p);
			}
			if (errno == ECONNABORTED || errno == EINTR)
				continue;
			return;
		}
		stat_add(&p->worker->accepted, 1);
		if (!proxy_welcome(p, l, fd, &peer)) {
			close(fd);
			stat_add(&p->worker->closed, 1);
		}
	}
}

void proxy_handshake_over(struct client *c)
{
	if (c->handshaking)
		c->address->handshakes--;
	c->handshaking = false;
}

void proxy_client_gone(struct proxy *p)
{
	if (!p->accepting && !p->draining && !loop_timer_pending(&p->pause) && p->client_count < p->client_max)
		proxy_accept_all(p, true);
	proxy_drain_check(p);
}

struct proxy *proxy_new(struct loop *l, const struct proxy_config *cfg, struct stats_segment *stats, struct err *e)
{
	struct proxy *p;
	struct rlimit rl;
	uint64_t n;

	if (cfg->worker >= LIMIT_WORKERS) {
		err_field(e, ERANGE, "worker", "worker %u is outside 0..%d", cfg->worker, LIMIT_WORKERS - 1);
		return NULL;
	}
	if (!(p = calloc(1, sizeof *p))) {
		err_set(e, ENOMEM, "out of memory for a proxy worker");
		return NULL;
	}
	p->loop = l;
	p->stats = stats;
	p->index = cfg->worker;
	p->on_synced = cfg->on_synced;
	p->arg = cfg->arg;
	memcpy(p->proxy_from, cfg->proxy_from, sizeof p->proxy_from);
	p->proxy_from_count = cfg->proxy_from_count;
	p->worker = &stats->worker[cfg->worker];
	p->log_fd = -1;
	memcpy(p->node_name, cfg->node_name, sizeof p->node_name);
	p->node_name[sizeof p->node_name - 1] = '\0';
	TAILQ_INIT(&p->clients);
	TAILQ_INIT(&p->ready);
	TAILQ_INIT(&p->unwatched);
	TAILQ_INIT(&p->lru);
	p->accepting = true;
	wheel_init(&p->wheel, proxy_now(p));
	p->wall_off_us = clock_wall_ms() * 1000 - p->now_us;
	atomic_store(&p->worker->connections, 0);
	atomic_store(&p->worker->upstreams, 0);
	atomic_store(&p->worker->parked, 0);
	balance_init(p);
	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		rl.rlim_cur = 1024;
	n = rl.rlim_cur > LIMIT_PROXY_RESERVE * 2 ? rl.rlim_cur - LIMIT_PROXY_RESERVE : LIMIT_PROXY_RESERVE;
	p->client_max = (unsigned)(n / 2 > 1u << 20 ? 1u << 20 : n / 2);
	if (getrandom(&p->id_seed, sizeof p->id_seed, 0) < 0 || getrandom(&p->id_next, sizeof p->id_next, 0) < 0 ||
	    !(p->addresses = map_new()) || routes_init(p, cfg) < 0 || certs_init(p) < 0 ||
	    (cfg->tls && tls_init(p) < 0) || h2_init(p) < 0 || access_init(p, cfg->log_fd) < 0) {
		err_set(e, ENOMEM, "out of memory for a proxy worker");
		proxy_free(p);
		return NULL;
	}
	signal(SIGPIPE, SIG_IGN);
	return p;
}

void proxy_free(struct proxy *p)
{
	struct client *c;
	struct upstream *u;

	if (!p)
		return;
	p->draining = p->drained = true;
	while ((c = TAILQ_FIRST(&p->clients)))
		client_close(c);
	while ((u = TAILQ_FIRST(&p->lru)))
		upstream_close(u);
	for (unsigned i = 0; i < p->listener_count; i++)
		if (p->listeners[i].open) {
			loop_io_stop(&p->listeners[i].io);
			close(p->listeners[i].fd);
		}
	chan_close(p->chan);
	p->chan = NULL;
	routes_done(p);
	certs_done(p);
	challenge_sweep(p, true);
	watch_done(p);
	tls_done(p);
	h2_done(p);
	access_done(p);
	loop_timer_stop(&p->tick);
	loop_timer_stop(&p->ready_timer);
	loop_timer_stop(&p->queue_timer);
	loop_timer_stop(&p->pause);
	loop_timer_stop(&p->drain_timer);
	map_free(p->addresses);
	splice_done(p);
	while (p->free_bufs) {
		struct pbuf *b = p->free_bufs;
		p->free_bufs = b->next;
		free(b);
	}
	/* Clients and upstreams are freed by the loop's deferred calls, which come before this one. */
	loop_defer(p->loop, free, p);
}

int proxy_listen(struct proxy *p, int fd, bool tls, bool proxied)
{
	struct listener *l;
	struct sockaddr_storage a = {0};
	socklen_t len = sizeof a;
	int one = 1, r;

	if ((tls && !p->tls) || p->listener_count == ARRAY_LEN(p->listeners) || p->draining) {
		close(fd);
		return tls && !p->tls ? -ENOTSUP : -ENOSPC;
	}
	/* TCP_NODELAY is inherited by accepted sockets (net/ipv4/tcp_minisocks.c copies the listener's), so it is set
	 * once. */
	if (getsockname(fd, (struct sockaddr *)&a, &len) < 0 || (r = fd_nonblock(fd)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	l = &p->listeners[p->listener_count];
	*l = (struct listener){.proxy = p, .fd = fd, .open = true, .tls = tls, .proxied = proxied};
	if (a.ss_family == AF_INET)
		l->port = ntohs(((struct sockaddr_in *)(void *)&a)->sin_port);
	else if (a.ss_family == AF_INET6)
		l->port = ntohs(((struct sockaddr_in6 *)(void *)&a)->sin6_port);
	if (p->accepting && (r = loop_io_start(p->loop, &l->io, fd, EV_READ, proxy_on_accept, l)) < 0) {
		close(fd);
		return r;
	}
	if (tls && !p->https_port)
		p->https_port = l->port;
	p->listener_count++;
	return 0;
}

static void proxy_on_message(void *arg, uint16_t type, const void *body, size_t len, int *fds, size_t nfds)
{
	struct proxy *p = arg;

	if (type == PROXY_STAPLE)
		certs_staple(p, body, fds[0]);
	else if (type == PROXY_FRONT)
		policy_front(p, body, len);
	else if (type != PROXY_CERT)
		routes_message(p, type, body, nfds > 0 ? &fds[0] : NULL);
	else if (p->tls)
		certs_message(p, body, fds[0]);
}

static void proxy_on_control_gone(void *arg, const char *reason)
{
	struct proxy *p = arg;

	(void)reason;
	chan_close(p->chan);
	p->chan = NULL;
	p->syncing = false;
}

int proxy_control(struct proxy *p, int fd)
{
	static const struct chan_ops ops = {.on_msg = proxy_on_message, .on_gone = proxy_on_control_gone};
	struct chan *fresh = chan_new(p->loop, fd, proxy_rules_from_control, proxy_rules_from_control_count, &ops, p);

	if (!fresh) {
		close(fd);
		return -ENOMEM;
	}
	chan_close(p->chan);
	p->chan = fresh;
	p->syncing = false;
	return 0;
}

static void proxy_drain_over(void *arg)
{
	struct proxy *p = arg;
	struct client *c;

	while ((c = TAILQ_FIRST(&p->clients)))
		client_close(c);
	proxy_drain_check(p);
}

void proxy_drain(struct proxy *p, unsigned deadline_ms, void (*done)(void *arg), void *arg)
{
	if (p->drained)
		return;
	p->drain_done = done;
	p->drain_arg = arg;
	if (!p->draining) {
		p->draining = true;
		proxy_accept_all(p, false);
		for (unsigned i = 0; i < p->listener_count; i++) {
			close(p->listeners[i].fd);
			p->listeners[i].open = false;
		}
		proxy_close_idle(p, proxy_now(p));
	}
	if (p->client_count > 0)
		proxy_tick_start(p);
	/* At 0 clients too: done() is never called from within this function. */
	loop_timer_start(p->loop, &p->drain_timer, p->client_count ? (int64_t)deadline_ms * 1000 : 0, proxy_drain_over,
			 p);
}

unsigned long long proxy_log_dropped(const struct proxy *p)
{
	return p->log_dropped;
}
