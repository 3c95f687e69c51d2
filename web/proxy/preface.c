/* A PROXY header in front of a connection: who the balancer's client is.  Layer web, proxy process.
 *
 * The bytes stay in the socket until the header is whole, so that none of those behind it is taken away from TLS or
 * HTTP; a header is bounded in length and time. */
#include "web/http/proxyproto.h"
#include "web/proxy/internal.h"

#include <arpa/inet.h>
#include <string.h>

bool preface_trusts(const struct proxy *p, const struct sockaddr_storage *peer)
{
	uint8_t ip[16];

	cidr_address(peer, ip);
	for (unsigned i = 0; i < p->proxy_from_count; i++)
		if (cidr_has(&p->proxy_from[i], ip))
			return true;
	return false;
}

/* The client's address takes the balancer's place, for limits, the app, the log. */
static bool preface_accept(struct client *c, const struct proxyproto *h)
{
	struct in6_addr a;

	if (h->local)
		return true;
	memcpy(&a, h->src, sizeof a);
	if (IN6_IS_ADDR_V4MAPPED(&a))
		inet_ntop(AF_INET, &a.s6_addr[12], c->addr, sizeof c->addr);
	else
		inet_ntop(AF_INET6, &a, c->addr, sizeof c->addr);
	c->port = h->src_port;
	c->local_port = h->dst_port;
	return proxy_admit(c, h->src, c->wants_tls);
}

bool preface_run(struct client *c)
{
	struct proxy *p = c->proxy;
	struct proxyproto h;
	const char *why;
	ssize_t n;
	int used;

	if (!c->conn.can_read)
		return false;
	n = recv(c->conn.fd, p->rbuf, PROXYPROTO_MAX, MSG_PEEK);
	c->conn.can_read = false;
	used = n > 0 ? proxyproto_parse((const uint8_t *)p->rbuf, (size_t)n, &h, &why) : 0;
	/* Whatever arrives later makes a new edge; an end that came already makes none. */
	if (used == 0 && n != 0 && !c->conn.closing)
		return false;
	if (used <= 0 || recv(c->conn.fd, p->rbuf, (size_t)used, 0) != used || !preface_accept(c, &h)) {
		stat_add(&p->worker->bad_requests, used < 0);
		client_close(c);
		return false;
	}
	c->conn.can_read = true;
	if (c->wants_tls) {
		if (!client_begin_tls(c)) {
			client_close(c);
			return false;
		}
		return true;
	}
	client_move(c, CLIENT_IDLE);
	c->progress_us = proxy_now(p);
	wheel_set(&p->wheel, &c->timer, c->progress_us + LIMIT_PROXY_KEEPALIVE_MS * 1000ll);
	return true;
}
