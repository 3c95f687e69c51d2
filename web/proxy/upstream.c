/* Connections to instances and their pools.  Layer web, proxy process. */
#include "web/proxy/internal.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

static void upstream_on_io(void *arg, short what)
{
	struct upstream *u = arg;
	struct client *c = u->client;
	char byte;

	if (u->closed)
		return;
	conn_event(&u->conn, what);
	if (c) {
		client_run(c);
		return;
	}
	/* An idle connection has nothing to say: its end, or bytes that nobody asked for, close it. */
	if ((what & (EV_READ | EV_CLOSED)) && (recv(u->conn.fd, &byte, 1, MSG_PEEK) >= 0 || errno != EAGAIN))
		upstream_close(u);
}

static void upstream_on_deadline(struct wheel_entry *e)
{
	upstream_close(PROXY_OF(e, struct upstream, timer));
}

bool upstream_quiet(struct upstream *u)
{
	char byte;

	if (u->conn.stream)
		return true;
	return recv(u->conn.fd, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
}

static void upstream_unpool(struct upstream *u)
{
	TAILQ_REMOVE(&u->inst->idle, u, idle);
	u->inst->idle_count--;
	TAILQ_REMOVE(&u->proxy->lru, u, lru);
	u->proxy->idle_count--;
	u->timer.deadline_us = 0;
	u->pooled = false;
}

int upstream_connect(const struct instance *i, int fd)
{
	int r, e;

	if (i->dir < 0)
		return connect(fd, &i->addr.sa, i->addr_len) < 0 ? -errno : 0;
	/* Its name is relative to a folder that is in no tree of ours (messages.h); who forgets to go there meets none.
	 */
	r = fchdir(i->dir);
	if (r == 0)
		r = connect(fd, &i->addr.sa, i->addr_len);
	e = errno;
	(void)!chdir("/");
	return r < 0 ? -e : 0;
}

static struct upstream *upstream_new(struct proxy *p, struct instance *i)
{
	int family = i->addr.sa.sa_family, one = 1, fd, r;
	struct upstream *u, *oldest = TAILQ_FIRST(&p->lru);

	/* Half of the descriptors are the clients'; the rest is for these, and idle ones make room. */
	if (p->upstream_count >= p->client_max && oldest)
		upstream_close(oldest);
	fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return NULL;
	if (family == AF_INET)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	r = upstream_connect(i, fd);
	if (r < 0 && r != -EINPROGRESS) {
		errno = -r;
		goto fail;
	}
	if (!(u = calloc(1, sizeof *u)))
		goto fail;
	u->proxy = p;
	u->inst = i;
	u->timer.fn = upstream_on_deadline;
	u->connected = r == 0;
	u->conn.can_write = r == 0;
	if ((r = conn_open(p, &u->conn, fd, upstream_on_io, u)) < 0) {
		free(u);
		errno = -r;
		goto fail;
	}
	i->upstreams++;
	p->upstream_count++;
	stat_add32(&p->worker->upstreams, 1);
	return u;
fail:
	r = errno;
	close(fd);
	errno = r;
	return NULL;
}

struct upstream *upstream_get(struct proxy *p, struct instance *i, struct client *c, bool fresh)
{
	struct upstream *u = fresh ? NULL : TAILQ_FIRST(&i->idle);

	if (i->h2c)
		return h2_back_get(p, i, c);
	/* Since the loop looked at it, it may have ended, or said what would be taken for the answer of this request.
	 */
	while (u && !upstream_quiet(u)) {
		upstream_close(u);
		u = TAILQ_FIRST(&i->idle);
	}
	if (u) {
		upstream_unpool(u);
		u->reused = true;
	} else if (!(u = upstream_new(p, i))) {
		return NULL;
	}
	u->client = c;
	return u;
}

void upstream_keep(struct upstream *u)
{
	struct proxy *p = u->proxy;
	struct instance *i = u->inst;

	u->client = NULL;
	/* The answer filled the buffer of its last read: more may hide behind it, of which no new edge will tell. */
	if (u->conn.can_read && !upstream_quiet(u)) {
		upstream_close(u);
		return;
	}
	u->conn.can_read = false;
	if (u->conn.stream || i->dead || i->state != PROXY_INSTANCE_UP ||
	    i->idle_count >= LIMIT_PROXY_IDLE_PER_INSTANCE || u->conn.closing || u->conn.out || u->in) {
		upstream_close(u);
		return;
	}
	u->pooled = true;
	/* The newest first: the others grow old and go. */
	TAILQ_INSERT_HEAD(&i->idle, u, idle);
	i->idle_count++;
	TAILQ_INSERT_TAIL(&p->lru, u, lru);
	p->idle_count++;
	wheel_set(&p->wheel, &u->timer, proxy_now(p) + LIMIT_PROXY_IDLE_UPSTREAM_MS * 1000ll);
	proxy_tick_start(p);
}

static void upstream_free(void *arg)
{
	free(arg);
}

void upstream_close(struct upstream *u)
{
	struct proxy *p = u->proxy;
	struct instance *i = u->inst;

	if (u->closed)
		return;
	u->closed = true;
	if (u->pooled)
		upstream_unpool(u);
	wheel_del(&p->wheel, &u->timer);
	pbuf_put(p, &u->in);
	if (u->conn.stream) {
		h2_back_put(u);
	} else {
		conn_close(p, &u->conn);
		p->upstream_count--;
		stat_add32(&p->worker->upstreams, -1);
	}
	u->inst = NULL;
	i->upstreams--;
	routes_drop_instance(p, i);
	loop_defer(p->loop, upstream_free, u);
}

void upstream_close_idle(struct instance *i)
{
	struct upstream *u;

	/* The instance may be freed with its last connection. */
	i->upstreams++;
	while ((u = TAILQ_FIRST(&i->idle)))
		upstream_close(u);
	i->upstreams--;
	h2_back_drop(i, false);
}
