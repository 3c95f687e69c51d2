/* Sockets and buffers.  Layer web, proxy process. */
#include "web/proxy/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PBUF_KEEP 256 /* free buffers kept; those above go back to libc */

struct pbuf *pbuf_get(struct proxy *p)
{
	struct pbuf *b = p->free_bufs;

	if (b) {
		p->free_bufs = b->next;
		p->free_count--;
	} else if (!(b = malloc(sizeof *b))) {
		return NULL;
	}
	b->r = b->w = 0;
	b->pipe = NULL;
	return b;
}

void pbuf_put(struct proxy *p, struct pbuf **b)
{
	struct pbuf *x = *b;

	if (!x)
		return;
	*b = NULL;
	if (x->pipe)
		splice_put(p, x);
	if (p->free_count >= PBUF_KEEP) {
		free(x);
		return;
	}
	x->next = p->free_bufs;
	p->free_bufs = x;
	p->free_count++;
}

int conn_open(struct proxy *p, struct conn *c, int fd, void (*fn)(void *arg, short what), void *arg)
{
	c->fd = fd;
	return conn_watch(p, c, fn, arg);
}

void conn_open_unwatched(struct conn *c, int fd)
{
	c->fd = fd;
	c->can_read = c->can_write = true;
}

int conn_watch(struct proxy *p, struct conn *c, void (*fn)(void *arg, short what), void *arg)
{
	return loop_io_start(p->loop, &c->io, c->fd, EV_READ | EV_WRITE | EV_CLOSED | EV_ET, fn, arg);
}

void conn_close(struct proxy *p, struct conn *c)
{
	if (c->stream) {
		h2_gone(c, false);
		return;
	}
	if (c->fd < 0)
		return;
	loop_io_stop(&c->io);
	if (c->tls)
		tls_close(c);
	close(c->fd);
	c->fd = -1;
	c->can_read = c->can_write = false;
	pbuf_put(p, &c->out);
}

void conn_event(struct conn *c, short what)
{
	if (what & EV_CLOSED)
		c->closing = c->can_read = true;
	if (what & EV_READ) {
		c->can_read = true;
		if (c->tls)
			tls_more(c);
	}
	if (what & EV_WRITE)
		c->can_write = true;
}

bool conn_left(struct conn *c)
{
	char byte;
	ssize_t r = recv(c->fd, &byte, 1, MSG_PEEK);

	if (r == 0)
		c->closing = true;
	return r < 0 && errno != EAGAIN && errno != EINTR;
}

ssize_t conn_read(struct conn *c, void *p, size_t n)
{
	ssize_t r;

	if (c->tls || c->stream)
		return c->stream ? h2_read(c, p, n) : tls_read(c, p, n);
	r = recv(c->fd, p, n, 0);
	if (r < 0) {
		if (errno == EINTR)
			return -EAGAIN;
		if (errno == EAGAIN)
			c->can_read = false;
		return -errno;
	}
	/* A short read emptied the socket and what comes later makes a new edge, but an end or an error may hide behind
	 * it: who is content stops here and saves a call, who wants more sets can_read again. */
	if ((size_t)r < n && !c->closing)
		c->can_read = false;
	return r;
}

int conn_send(struct proxy *p, struct conn *c, const struct iovec *iov, int n)
{
	size_t total = 0, sent = 0;
	struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};
	ssize_t w;

	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	if (total == 0)
		return 0;
	assert(total <= PBUF_SIZE);
	/* There may be records of TLS's own before it. */
	if (c->tls || c->stream)
		return c->stream ? h2_send(p, c, iov, n) : tls_send(c, iov, n, total);
	assert(!c->out);
	if (c->can_write) {
		w = n == 1 ? send(c->fd, iov[0].iov_base, total, MSG_NOSIGNAL) : sendmsg(c->fd, &m, MSG_NOSIGNAL);
		if (w < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		sent = w > 0 ? (size_t)w : 0;
		if (sent == total)
			return 0;
		c->can_write = false;
	}
	if (!(c->out = pbuf_get(p)))
		return -ENOMEM;
	for (int i = 0; i < n; i++) {
		size_t len = iov[i].iov_len;
		if (sent >= len) {
			sent -= len;
			continue;
		}
		memcpy(c->out->data + c->out->w, (const char *)iov[i].iov_base + sent, len - sent);
		c->out->w += len - sent;
		sent = 0;
	}
	return 0;
}

int conn_flush(struct proxy *p, struct conn *c)
{
	/* What a stream holds goes out with its session. */
	while (c->out && c->can_write && !c->stream) {
		ssize_t w = c->out->pipe ? splice_write(c)
					 : send(c->fd, c->out->data + c->out->r, c->out->w - c->out->r, MSG_NOSIGNAL);
		if (w < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
				return -errno;
			c->can_write = false;
			return 0;
		}
		c->out->r += (size_t)w;
		if (c->out->r == c->out->w)
			pbuf_put(p, &c->out);
	}
	return 0;
}

void conn_end(struct proxy *p, struct conn *c)
{
	(void)p;
	if (c->stream) {
		h2_end(c);
		return;
	}
	if (c->tls)
		tls_end(c);
	shutdown(c->fd, SHUT_WR);
}
