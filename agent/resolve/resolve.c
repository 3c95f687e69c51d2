/* The instances' name server.  Layer agent, resolver process. */
#include "agent/resolve/resolve.h"

#include "agent/resolve/dns.h"
#include "agent/resolve/forward.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define RESOLVE_TTL 1	    /* seconds: instances come and go */
#define RESOLVE_TURN 32	    /* packets or connections taken in one turn */
#define RESOLVE_ANSWERS 24u /* addresses of one answer: fit 512 bytes with the longest name */

struct asker;

/* A question of an address that is not known yet. */
struct parked {
	struct sockaddr_in from;
	uint16_t n;
	uint8_t query[DNS_UDP];
	int64_t until_us;
};

/* One connection: one question at a time. */
struct conn {
	struct resolve *r;
	TAILQ_ENTRY(conn) link;
	int fd; /* owned */
	uint32_t address;
	bool dead;
	struct loop_io io;
	struct loop_timer timer;
	struct asker *asker; /* borrowed: its question is being asked */
	size_t got, out, sent;
	uint8_t in[2 + DNS_QUERY];
	uint8_t *answer; /* owned: out bytes of it are to be sent */
};

/* Who waits for a forwarded question: a UDP source, or a connection. */
struct asker {
	struct resolve *r;
	TAILQ_ENTRY(asker) link;
	struct forward *forward;
	struct conn *conn; /* borrowed; NULL = UDP */
	struct sockaddr_in from;
	uint32_t address;
	uint16_t udp;
	struct dns_query q;
	uint8_t query[DNS_QUERY];
	size_t n;
};

struct resolve {
	struct loop *loop; /* borrowed */
	struct names *names;
	struct forwarder *forwarder;
	int udp, tcp; /* borrowed; -1 = not listening */
	struct loop_io udp_io, tcp_io;
	TAILQ_HEAD(conn_list, conn) conns;
	TAILQ_HEAD(asker_list, asker) askers;
	unsigned conn_count;
	struct parked parked[LIMIT_RESOLVE_PARKED]; /* those with n != 0 */
	unsigned parked_count;
	struct loop_timer parked_timer;
};

static void conn_close(struct conn *c);
static void conn_send(struct conn *c, const uint8_t *p, size_t n);
static void on_conn(void *arg, short what);

/* --- one question --------------------------------------------------------------------------------------------------
 */

/* Takes one question out of the source's bucket: LIMIT_RESOLVE_RATE a second, LIMIT_RESOLVE_BURST at once. */
static bool within_rate(struct names_entry *en)
{
	const int64_t each = 1000000 / LIMIT_RESOLVE_RATE, full = each * LIMIT_RESOLVE_BURST;
	int64_t now = clock_mono_us();

	if (en->credit_us < now - full)
		en->credit_us = now - full;
	if (en->credit_us + each > now)
		return false;
	en->credit_us += each;
	return true;
}

static void send_udp(struct resolve *r, const struct sockaddr_in *to, const uint8_t *p, size_t n)
{
	/* A full socket drops: the asker asks again. */
	sendto(r->udp, p, n, MSG_NOSIGNAL, (const struct sockaddr *)to, sizeof *to);
}

static void reply(struct resolve *r, struct conn *c, const struct sockaddr_in *from, const uint8_t *p, size_t n)
{
	if (c)
		conn_send(c, p, n);
	else
		send_udp(r, from, p, n);
}

static void asker_free(struct asker *a)
{
	struct names_entry *en = names_source(a->r->names, a->address);

	if (en && en->forwards)
		en->forwards--;
	TAILQ_REMOVE(&a->r->askers, a, link);
	if (a->conn)
		a->conn->asker = NULL;
	free(a);
}

static void on_forwarded(void *arg, uint8_t *p, size_t n)
{
	uint8_t out[DNS_UDP];
	struct asker *a = arg;
	struct resolve *r = a->r;
	struct conn *c = a->conn;
	struct sockaddr_in from = a->from;

	if (!p) {
		n = dns_answer(a->query, &a->q, DNS_SERVFAIL, false, NULL, 0, 0, out, sizeof out);
		p = out;
	} else if (!c && n > a->udp) {
		n = dns_truncate(p, a->q.question);
	}
	asker_free(a);
	reply(r, c, &from, p, n);
}

static bool forward(struct resolve *r, struct names_entry *en, const uint8_t *p, size_t n, const struct dns_query *q,
		    struct conn *c, const struct sockaddr_in *from)
{
	struct asker *a;

	if (en->forwards >= LIMIT_RESOLVE_FORWARDS_ONE)
		return false;
	a = calloc(1, sizeof *a);
	if (!a)
		return false;
	*a = (struct asker){.r = r, .conn = c, .address = en->e.address, .udp = q->udp, .q = *q, .n = n};
	if (from)
		a->from = *from;
	memcpy(a->query, p, n);
	a->forward = forward_start(r->forwarder, p, n, q->question, c != NULL, on_forwarded, a);
	if (!a->forward) {
		free(a);
		return false;
	}
	en->forwards++;
	TAILQ_INSERT_TAIL(&r->askers, a, link);
	if (c)
		c->asker = a;
	return true;
}

/* Answers, now or later.  c: the connection it came by, or NULL with from. */
static void question(struct resolve *r, struct names_entry *en, const uint8_t *p, size_t n, struct conn *c,
		     const struct sockaddr_in *from)
{
	uint32_t found[RESOLVE_ANSWERS];
	uint8_t out[DNS_UDP];
	struct dns_query q;
	int code = dns_parse(p, n, &q);
	unsigned count = 0;
	bool own = false;

	if (code < 0) {
		if (c)
			conn_close(c);
		return;
	}
	if (code == DNS_OK && q.internal) {
		own = true;
		count = names_find(r->names, en->e.slot, q.name, found, RESOLVE_ANSWERS);
		if (count == 0)
			code = DNS_NXDOMAIN;
		if (q.type != DNS_A && q.type != DNS_ANY)
			count = 0;
	} else if (code == DNS_OK && !(en->e.flags & RESOLVE_FORWARD)) {
		code = DNS_REFUSED; /* no egress: names would be a way out, too */
	} else if (code == DNS_OK) {
		if (forward(r, en, p, n, &q, c, from))
			return;
		code = DNS_SERVFAIL;
	}
	n = dns_answer(p, &q, (enum dns_rcode)code, own, found, count, RESOLVE_TTL, out, sizeof out);
	reply(r, c, from, out, n);
}

/* --- sources that are not known yet ---------------------------------------------------------------------------------
 */

static void on_parked_late(void *arg)
{
	struct resolve *r = arg;
	int64_t now = clock_mono_us();

	for (unsigned i = 0; i < LIMIT_RESOLVE_PARKED; i++)
		if (r->parked[i].n && r->parked[i].until_us <= now) {
			r->parked[i].n = 0;
			r->parked_count--;
		}
	if (r->parked_count)
		loop_timer_start(r->loop, &r->parked_timer, LIMIT_RESOLVE_PARK_MS * 1000 / 4, on_parked_late, r);
}

static void park(struct resolve *r, const uint8_t *p, size_t n, const struct sockaddr_in *from)
{
	struct parked *k = r->parked;

	if (n == 0 || n > sizeof k->query || r->parked_count == LIMIT_RESOLVE_PARKED)
		return;
	while (k->n)
		k++;
	*k = (struct parked){
		.from = *from, .n = (uint16_t)n, .until_us = clock_mono_us() + (int64_t)LIMIT_RESOLVE_PARK_MS * 1000};
	memcpy(k->query, p, n);
	if (r->parked_count++ == 0)
		loop_timer_start(r->loop, &r->parked_timer, LIMIT_RESOLVE_PARK_MS * 1000 / 4, on_parked_late, r);
}

static void unpark(struct resolve *r, uint32_t address)
{
	struct names_entry *en = names_source(r->names, address);

	for (unsigned i = 0; i < LIMIT_RESOLVE_PARKED && r->parked_count && en; i++) {
		struct parked *k = &r->parked[i];
		if (!k->n || ntohl(k->from.sin_addr.s_addr) != address)
			continue;
		if (within_rate(en))
			question(r, en, k->query, k->n, NULL, &k->from);
		k->n = 0;
		r->parked_count--;
	}
}

void resolve_message(struct resolve *r, uint16_t type, const void *body)
{
	const struct resolve_entry *e = body;
	int error;

	switch (type) {
	case RESOLVE_BEGIN:
		names_begin(r->names);
		break;
	case RESOLVE_END:
		names_end(r->names);
		break;
	case RESOLVE_PUT:
		error = names_put(r->names, e);
		if (error < 0)
			LOG_WARN("name refused", "slot=%u error=\"%s\"", e->slot, strerror(-error));
		unpark(r, e->address);
		break;
	case RESOLVE_DEL:
		names_del(r->names, e->address);
		break;
	default:
		break;
	}
}

/* --- UDP ------------------------------------------------------------------------------------------------------------
 */

static void on_udp(void *arg, short what)
{
	struct resolve *r = arg;
	uint8_t p[DNS_QUERY + 1];

	(void)what;
	for (unsigned i = 0; i < RESOLVE_TURN; i++) {
		struct sockaddr_in from = {0};
		socklen_t len = sizeof from;
		struct names_entry *en;
		ssize_t n = recvfrom(r->udp, p, sizeof p, 0, (struct sockaddr *)&from, &len);
		if (n < 0)
			return;
		if (from.sin_family != AF_INET)
			continue;
		en = names_source(r->names, ntohl(from.sin_addr.s_addr));
		if (!en)
			park(r, p, (size_t)n, &from);
		else if (within_rate(en))
			question(r, en, p, (size_t)n, NULL, &from);
	}
}

/* --- TCP ------------------------------------------------------------------------------------------------------------
 */

static void conn_free(void *arg)
{
	struct conn *c = arg;

	free(c->answer);
	free(c);
}

static void conn_close(struct conn *c)
{
	struct names_entry *en;

	if (c->dead)
		return;
	c->dead = true;
	if (c->asker) {
		forward_cancel(c->asker->forward);
		asker_free(c->asker);
	}
	loop_io_stop(&c->io);
	loop_timer_stop(&c->timer);
	own_close(&c->fd);
	en = names_source(c->r->names, c->address);
	if (en && en->connections)
		en->connections--;
	TAILQ_REMOVE(&c->r->conns, c, link);
	c->r->conn_count--;
	loop_defer(c->r->loop, conn_free, c);
}

static void on_conn_late(void *arg)
{
	conn_close(arg);
}

static void conn_watch(struct conn *c, short what)
{
	if (loop_io_start(c->r->loop, &c->io, c->fd, what, on_conn, c) < 0 ||
	    loop_timer_start(c->r->loop, &c->timer, (int64_t)LIMIT_RESOLVE_IDLE_MS * 1000, on_conn_late, c) < 0)
		conn_close(c);
}

static void conn_write(struct conn *c)
{
	while (c->sent < c->out) {
		ssize_t n = send(c->fd, c->answer + c->sent, c->out - c->sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			conn_watch(c, EV_WRITE);
			return;
		}
		if (n < 0) {
			conn_close(c);
			return;
		}
		c->sent += (size_t)n;
	}
	free(c->answer);
	c->answer = NULL;
	c->out = c->sent = c->got = 0;
	conn_watch(c, EV_READ);
}

static void conn_send(struct conn *c, const uint8_t *p, size_t n)
{
	if (c->dead)
		return;
	c->answer = n <= DNS_TCP_MAX ? malloc(2 + n) : NULL;
	if (!c->answer) {
		conn_close(c);
		return;
	}
	c->answer[0] = (uint8_t)(n >> 8);
	c->answer[1] = (uint8_t)n;
	memcpy(c->answer + 2, p, n);
	c->out = 2 + n;
	conn_write(c);
}

static void conn_question(struct conn *c)
{
	struct names_entry *en = names_source(c->r->names, c->address);

	/* While it is being answered nothing more is read. */
	loop_io_stop(&c->io);
	if (!en || !within_rate(en)) {
		conn_close(c);
		return;
	}
	question(c->r, en, c->in + 2, c->got - 2, c, NULL);
}

static void on_conn(void *arg, short what)
{
	struct conn *c = arg;
	size_t want;
	ssize_t n;

	if (what & EV_WRITE) {
		conn_write(c);
		return;
	}
	want = c->got < 2 ? 2 : 2 + (size_t)(c->in[0] << 8 | c->in[1]);
	if (want > sizeof c->in || (c->got == 2 && want < 2 + DNS_HEADER)) {
		conn_close(c);
		return;
	}
	n = recv(c->fd, c->in + c->got, want - c->got, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_close(c);
		return;
	}
	c->got += (size_t)n;
	if (c->got >= 2 && c->got == 2 + (size_t)(c->in[0] << 8 | c->in[1]) && c->got > 2)
		conn_question(c);
}

static void on_tcp(void *arg, short what)
{
	struct resolve *r = arg;

	(void)what;
	for (unsigned i = 0; i < RESOLVE_TURN; i++) {
		struct sockaddr_in from = {0};
		socklen_t len = sizeof from;
		OWN_FD int fd = accept4(r->tcp, (struct sockaddr *)&from, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct names_entry *en;
		struct conn *c;
		if (fd < 0)
			return;
		en = from.sin_family == AF_INET ? names_source(r->names, ntohl(from.sin_addr.s_addr)) : NULL;
		if (!en || en->connections >= LIMIT_RESOLVE_CONNECTIONS_ONE ||
		    r->conn_count >= LIMIT_RESOLVE_CONNECTIONS || !(c = calloc(1, sizeof *c)))
			continue;
		c->r = r;
		c->fd = TAKE_FD(fd);
		c->address = en->e.address;
		en->connections++;
		r->conn_count++;
		TAILQ_INSERT_TAIL(&r->conns, c, link);
		conn_watch(c, EV_READ);
	}
}

/* --- life -----------------------------------------------------------------------------------------------------------
 */

struct resolve *resolve_new(struct loop *loop, const uint32_t *servers, unsigned count)
{
	struct resolve *r = calloc(1, sizeof *r);

	if (!r)
		return NULL;
	r->loop = loop;
	r->udp = r->tcp = -1;
	TAILQ_INIT(&r->conns);
	TAILQ_INIT(&r->askers);
	r->names = names_new();
	r->forwarder = forwarder_new(loop, servers, count);
	if (r->names && r->forwarder)
		return r;
	resolve_free(r);
	return NULL;
}

static void resolve_free_last(void *arg)
{
	free(arg);
}

void resolve_free(struct resolve *r)
{
	struct conn *c;
	struct asker *a;

	if (!r)
		return;
	loop_io_stop(&r->udp_io);
	loop_io_stop(&r->tcp_io);
	loop_timer_stop(&r->parked_timer);
	while ((c = TAILQ_FIRST(&r->conns)))
		conn_close(c);
	while ((a = TAILQ_FIRST(&r->askers))) {
		forward_cancel(a->forward);
		asker_free(a);
	}
	forwarder_free(r->forwarder);
	names_free(r->names);
	loop_defer(r->loop, resolve_free_last, r);
}

int resolve_listen(struct resolve *r, int udp, int tcp)
{
	int error;

	static_assert(DNS_HEADER + DNS_NAME + 4 + 11 <= DNS_UDP, "an error answer fits");
	r->udp = udp;
	r->tcp = tcp;
	error = loop_io_start(r->loop, &r->udp_io, udp, EV_READ, on_udp, r);
	return error < 0 ? error : loop_io_start(r->loop, &r->tcp_io, tcp, EV_READ, on_tcp, r);
}
