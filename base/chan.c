/* Typed messages between our processes.  Layer base, every daemon process. */
#include "base/chan.h"

#include "base/fd.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CHAN_BUDGET 64 /* messages read in one turn, so that one peer cannot starve the loop */

struct chan_head {
	uint16_t type;
	uint16_t reserved;
	uint32_t len;
};

struct chan_queued {
	struct chan_queued *next;
	struct chan_head head;
	size_t nfds;
	int fds[FD_PASS_MAX]; /* owned duplicates */
	char body[];
};

struct chan {
	struct loop *loop; /* borrowed */
	struct loop_io io;
	int fd; /* owned */
	const struct chan_rule *rules;
	size_t nrules;
	const struct chan_ops *ops;
	void *arg;
	struct chan_queued *head, **tail;
	size_t backlog;
	bool gone, closed;
};

int chan_pair(int ret[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret) < 0 ? -errno : 0;
}

static void chan_lost(struct chan *c, const char *reason)
{
	if (c->gone || c->closed)
		return;
	c->gone = true;
	loop_io_stop(&c->io);
	c->ops->on_gone(c->arg, reason);
}

static void chan_drop_head(struct chan *c)
{
	struct chan_queued *q = c->head;

	c->head = q->next;
	if (!c->head)
		c->tail = &c->head;
	c->backlog--;
	for (size_t i = 0; i < q->nfds; i++)
		close(q->fds[i]);
	free(q);
}

static void chan_on_io(void *arg, short what);

static void chan_flush(struct chan *c)
{
	while (c->head) {
		struct chan_queued *q = c->head;
		int r = fd_send2(c->fd, &q->head, sizeof q->head, q->body, q->head.len, q->fds, q->nfds);
		if (r == -EAGAIN || r == -ENOBUFS)
			return;
		if (r < 0) {
			chan_lost(c, strerror(-r));
			return;
		}
		chan_drop_head(c);
	}
	loop_io_start(c->loop, &c->io, c->fd, EV_READ, chan_on_io, c);
}

union chan_message {
	struct chan_head head;
	char bytes[sizeof(struct chan_head) + CHAN_BODY_MAX];
	max_align_t align;
};

/* The rule that permits the message of n bytes, NULL when none does.  *named is the rule of its type, if any. */
static const struct chan_rule *chan_permit(const struct chan_rule *rules, size_t nrules, const union chan_message *in,
					   size_t n, size_t nfds, const struct chan_rule **named)
{
	*named = NULL;
	if (n < sizeof in->head || in->head.len != n - sizeof in->head)
		return NULL;
	for (size_t i = 0; i < nrules; i++)
		if (rules[i].type == in->head.type)
			*named = &rules[i];
	if (!*named || in->head.len < (*named)->min || in->head.len > (*named)->max || nfds < (*named)->fds_min ||
	    nfds > (*named)->fds_max)
		return NULL;
	return *named;
}

int chan_recv_first(int fd, const struct chan_rule *rules, size_t nrules, uint16_t *type, void *body, size_t *len,
		    int *fds, size_t *nfds)
{
	static union chan_message in;
	const struct chan_rule *named;
	ssize_t n = fd_recv(fd, &in, sizeof in, fds, nfds);

	if (n <= 0)
		return n == 0 ? -EPIPE : (int)n;
	if (!chan_permit(rules, nrules, &in, (size_t)n, *nfds, &named)) {
		while (*nfds)
			close(fds[--*nfds]);
		return -EBADMSG;
	}
	*type = in.head.type;
	*len = in.head.len;
	memcpy(body, in.bytes + sizeof in.head, in.head.len);
	return 0;
}

static void chan_read_one(struct chan *c, bool *more)
{
	static union chan_message in;
	const struct chan_rule *named = NULL;
	char reason[160];
	int fds[FD_PASS_MAX * 2];
	size_t nfds;
	ssize_t n = fd_recv(c->fd, &in, sizeof in, fds, &nfds);

	*more = false;
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		chan_lost(c, n == 0 ? "closed by the peer" : strerror((int)-n));
		return;
	}
	if (!chan_permit(c->rules, c->nrules, &in, (size_t)n, nfds, &named)) {
		snprintf(reason, sizeof reason, "message refused: type %u (%s), %zd bytes, %zu descriptors",
			 n < (ssize_t)sizeof in.head ? 0u : in.head.type, named ? named->name : "not permitted", n,
			 nfds);
		for (size_t i = 0; i < nfds; i++)
			close(fds[i]);
		chan_lost(c, reason);
		return;
	}
	*more = true;
	c->ops->on_msg(c->arg, in.head.type, in.bytes + sizeof in.head, in.head.len, fds, nfds);
	for (size_t i = 0; i < nfds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static void chan_on_io(void *arg, short what)
{
	struct chan *c = arg;
	bool more = true;

	if (what & EV_WRITE)
		chan_flush(c);
	if (what & EV_READ)
		for (int i = 0; i < CHAN_BUDGET && more && !c->gone && !c->closed; i++)
			chan_read_one(c, &more);
}

struct chan *chan_new(struct loop *l, int fd, const struct chan_rule *rules, size_t nrules, const struct chan_ops *ops,
		      void *arg)
{
	struct chan *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	*c = (struct chan){
		.loop = l, .fd = fd, .rules = rules, .nrules = nrules, .ops = ops, .arg = arg, .tail = &c->head};
	if (fd_nonblock(fd) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
	    loop_io_start(l, &c->io, fd, EV_READ, chan_on_io, c) < 0) {
		free(c);
		return NULL;
	}
	return c;
}

int chan_send(struct chan *c, uint16_t type, const void *body, size_t len, const int *fds, size_t nfds)
{
	struct chan_head head = {.type = type, .len = (uint32_t)len};
	struct chan_queued *q;
	int r;

	if (c->gone || c->closed)
		return -EPIPE;
	if (len > CHAN_BODY_MAX || nfds > FD_PASS_MAX)
		return -EMSGSIZE;
	if (!c->head) {
		r = fd_send2(c->fd, &head, sizeof head, body, len, fds, nfds);
		if (r != -EAGAIN && r != -ENOBUFS)
			return r; /* -EPIPE: the reader side reports the end once it has drained what came in */
	}
	if (c->backlog >= CHAN_QUEUE_MAX)
		return -ENOBUFS;
	q = malloc(sizeof *q + len);
	if (!q)
		return -ENOMEM;
	*q = (struct chan_queued){.head = head};
	if (len)
		memcpy(q->body, body, len);
	for (; q->nfds < nfds; q->nfds++) {
		q->fds[q->nfds] = fcntl(fds[q->nfds], F_DUPFD_CLOEXEC, 3);
		if (q->fds[q->nfds] < 0) {
			r = -errno;
			while (q->nfds)
				close(q->fds[--q->nfds]);
			free(q);
			return r;
		}
	}
	*c->tail = q;
	c->tail = &q->next;
	c->backlog++;
	return loop_io_start(c->loop, &c->io, c->fd, EV_READ | EV_WRITE, chan_on_io, c);
}

size_t chan_backlog(const struct chan *c)
{
	return c->backlog;
}

static void chan_free(void *arg)
{
	struct chan *c = arg;

	while (c->head)
		chan_drop_head(c);
	close(c->fd);
	free(c);
}

void chan_close(struct chan *c)
{
	if (!c || c->closed)
		return;
	c->closed = true;
	loop_io_stop(&c->io);
	loop_defer(c->loop, chan_free, c);
}
