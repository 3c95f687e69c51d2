/* Questions to the host's resolvers.  Layer agent, resolver process. */
#include "agent/resolve/forward.h"

#include "agent/resolve/dns.h"
#include "base/own.h"
#include "config/limits.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define FORWARD_TRIES 3u     /* servers in turn */
#define FORWARD_STRANGERS 16 /* replies that fit no question, on one socket, until it is given up */

struct forward {
	struct forwarder *f; /* borrowed */
	TAILQ_ENTRY(forward) link;
	uint16_t client_id;
	uint8_t query[2 + DNS_QUERY]; /* with its length in front, as TCP wants it */
	size_t n, question;
	bool tcp, dead;
	unsigned tries, strangers;
	int fd; /* owned; -1 = none */
	struct loop_io io;
	struct loop_timer timer;
	size_t sent, got;
	uint8_t *reply; /* owned: TCP only */
	void (*done)(void *arg, uint8_t *reply, size_t n);
	void *arg;
};

struct forwarder {
	struct loop *loop; /* borrowed */
	uint32_t servers[FORWARD_SERVERS];
	unsigned count, next;
	unsigned udp, tcp; /* under way */
	TAILQ_HEAD(forward_list, forward) all;
};

static void try_next(struct forward *w);

struct forwarder *forwarder_new(struct loop *loop, const uint32_t *servers, unsigned count)
{
	struct forwarder *f = calloc(1, sizeof *f);

	if (!f)
		return NULL;
	f->loop = loop;
	f->count = count < FORWARD_SERVERS ? count : FORWARD_SERVERS;
	memcpy(f->servers, servers, f->count * sizeof *servers);
	TAILQ_INIT(&f->all);
	return f;
}

static void forward_free(void *arg)
{
	struct forward *w = arg;

	free(w->reply);
	free(w);
}

static void hang_up(struct forward *w)
{
	loop_io_stop(&w->io);
	loop_timer_stop(&w->timer);
	own_close(&w->fd);
}

void forward_cancel(struct forward *w)
{
	if (!w || w->dead)
		return;
	w->dead = true;
	hang_up(w);
	TAILQ_REMOVE(&w->f->all, w, link);
	if (w->tcp)
		w->f->tcp--;
	else
		w->f->udp--;
	loop_defer(w->f->loop, forward_free, w);
}

void forwarder_free(struct forwarder *f)
{
	struct forward *w;

	if (!f)
		return;
	while ((w = TAILQ_FIRST(&f->all)))
		forward_cancel(w);
	free(f);
}

static void finish(struct forward *w, uint8_t *reply, size_t n)
{
	void (*done)(void *arg, uint8_t *reply, size_t n) = w->done;
	void *arg = w->arg;

	forward_cancel(w); /* its memory stays until the end of the turn */
	if (reply)
		dns_set_id(reply, w->client_id);
	done(arg, reply, n);
}

static void on_late(void *arg)
{
	try_next(arg);
}

static void on_udp(void *arg, short what)
{
	static uint8_t reply[DNS_TCP_MAX];
	struct forward *w = arg;

	(void)what;
	while (w->fd >= 0) {
		ssize_t n = recv(w->fd, reply, sizeof reply, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) { /* refused: nobody listens there */
			try_next(w);
			return;
		}
		/* The socket is connected: others' packets do not come here.  What was forged must guess port and id.
		 */
		if (dns_match(reply, (size_t)n, w->query + 2, w->question)) {
			finish(w, reply, (size_t)n);
			return;
		}
		if (++w->strangers > FORWARD_STRANGERS) {
			try_next(w);
			return;
		}
	}
}

static void on_tcp(void *arg, short what);

static void tcp_write(struct forward *w)
{
	while (w->sent < w->n + 2) {
		ssize_t n = send(w->fd, w->query + w->sent, w->n + 2 - w->sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EINPROGRESS))
			return;
		if (n < 0) {
			try_next(w);
			return;
		}
		w->sent += (size_t)n;
	}
	if (loop_io_start(w->f->loop, &w->io, w->fd, EV_READ, on_tcp, w) < 0)
		try_next(w);
}

static void tcp_read(struct forward *w)
{
	for (;;) {
		size_t want = w->got < 2 ? 2 : 2 + (size_t)(w->reply[0] << 8 | w->reply[1]);
		ssize_t n;
		if (w->got >= 2 && w->got == want) {
			if (dns_match(w->reply + 2, want - 2, w->query + 2, w->question))
				finish(w, w->reply + 2, want - 2);
			else
				try_next(w);
			return;
		}
		n = recv(w->fd, w->reply + w->got, want - w->got, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			try_next(w);
			return;
		}
		w->got += (size_t)n;
	}
}

static void on_tcp(void *arg, short what)
{
	struct forward *w = arg;

	if (what & EV_WRITE)
		tcp_write(w);
	else
		tcp_read(w);
}

static int call(struct forward *w)
{
	struct forwarder *f = w->f;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
	uint16_t id;

	to.sin_addr.s_addr = htonl(f->servers[f->next++ % f->count]);
	if (getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id)
		return -EIO;
	dns_set_id(w->query + 2, id);
	w->sent = w->got = 0;
	w->strangers = 0;
	w->fd = socket(AF_INET, (w->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (w->fd < 0)
		return -errno;
	/* Connecting chooses a random port of ours (ip_local_port_range). */
	if (connect(w->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
		return -errno;
	if (!w->tcp && send(w->fd, w->query + 2, w->n, MSG_NOSIGNAL) != (ssize_t)w->n)
		return -EIO;
	return loop_io_start(f->loop, &w->io, w->fd, w->tcp ? EV_WRITE : EV_READ, w->tcp ? on_tcp : on_udp, w);
}

static void try_next(struct forward *w)
{
	while (w->tries < FORWARD_TRIES) {
		w->tries++;
		hang_up(w);
		if (call(w) < 0)
			continue;
		loop_timer_start(w->f->loop, &w->timer, LIMIT_RESOLVE_TRY_MS * 1000, on_late, w);
		return;
	}
	finish(w, NULL, 0);
}

static void on_begin(void *arg)
{
	try_next(arg);
}

struct forward *forward_start(struct forwarder *f, const uint8_t *query, size_t n, size_t question, bool tcp,
			      void (*done)(void *arg, uint8_t *reply, size_t n), void *arg)
{
	struct forward *w;

	if (f->count == 0 || n > DNS_QUERY || (tcp ? f->tcp >= LIMIT_RESOLVE_TCP : f->udp >= LIMIT_RESOLVE_FORWARDS))
		return NULL;
	w = calloc(1, sizeof *w);
	if (w && tcp && !(w->reply = malloc(2 + DNS_TCP_MAX))) {
		free(w);
		return NULL;
	}
	if (!w)
		return NULL;
	w->f = f;
	w->fd = -1;
	w->tcp = tcp;
	w->n = n;
	w->question = question;
	w->done = done;
	w->arg = arg;
	w->query[0] = (uint8_t)(n >> 8);
	w->query[1] = (uint8_t)n;
	memcpy(w->query + 2, query, n);
	w->client_id = (uint16_t)(query[0] << 8 | query[1]);
	TAILQ_INSERT_TAIL(&f->all, w, link);
	if (tcp)
		f->tcp++;
	else
		f->udp++;
	/* From the loop: done must not be called before the caller has our answer. */
	if (loop_timer_start(f->loop, &w->timer, 0, on_begin, w) < 0) {
		forward_cancel(w);
		return NULL;
	}
	return w;
}
