/* Large bodies between plain sockets without a copy through this process: socket to pipe to socket (splice(2)).
 * Layer web, proxy process.
 *
 * What a pipe holds waits in conn->out like bytes that a socket did not take: a buffer that has a pipe instead of its
 * data.  So back-pressure, pace and deadlines know nothing of it. */
#include "web/proxy/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* The last bytes of a body are read like any others: they decide what becomes of both connections. */
#define SPLICE_TAIL 16384
#define SPLICE_MIN 262144	/* bytes that must be left: setting out for less does not pay */
#define SPLICE_PIPE (64 * 4096) /* one slot a page or fragment, which on one host may be of 32 KiB */

struct pipe {
	struct pipe *next;
	int fd[2];
};

bool splice_wanted(const struct conn *from, const struct conn *to, int64_t left)
{
	return left >= SPLICE_MIN && !from->tls && !from->stream && !to->tls && !to->stream;
}

static struct pipe *splice_pipe(struct proxy *p)
{
	struct pipe *x = p->pipes;

	if (x) {
		p->pipes = x->next;
		return x;
	}
	if (p->pipe_count >= LIMIT_PROXY_PIPES || !(x = malloc(sizeof *x)))
		return NULL;
	if (pipe2(x->fd, O_NONBLOCK | O_CLOEXEC) < 0) {
		free(x);
		return NULL;
	}
	/* Refused where the user has enough of them: then it is of 16 slots, or 2. */
	fcntl(x->fd[1], F_SETPIPE_SZ, SPLICE_PIPE);
	p->pipe_count++;
	return x;
}

static void splice_close(struct proxy *p, struct pipe *x)
{
	close(x->fd[0]);
	close(x->fd[1]);
	free(x);
	p->pipe_count--;
}

ssize_t splice_read(struct proxy *p, struct conn *from, struct conn *to, int64_t left)
{
	size_t max = (size_t)left - SPLICE_TAIL;
	struct pipe *x = splice_pipe(p);
	ssize_t n;

	if (!x)
		return -ENOBUFS;
	if (!(to->out = pbuf_get(p))) {
		splice_close(p, x);
		return -ENOBUFS;
	}
	to->out->pipe = x;
	n = splice(from->fd, NULL, x->fd[1], NULL, max < 1 << 20 ? max : 1 << 20, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (n > 0) {
		to->out->w = (size_t)n;
		return n;
	}
	if (n < 0)
		n = errno == EINTR ? -EAGAIN : -errno;
	pbuf_put(p, &to->out);
	/* Empty, at its end (0), or at the mark of urgent data, which only recv(2) goes past (tcp(7)): EAGAIN there,
	 * and 0 once the peer has closed (tcp_splice_read() of net/ipv4/tcp.c).  recv(2) tells which. */
	return n == -EAGAIN || n == 0 ? -ENOBUFS : n;
}

ssize_t splice_write(struct conn *c)
{
	struct pbuf *b = c->out;

	return splice(b->pipe->fd[0], NULL, c->fd, NULL, b->w - b->r, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}

void splice_put(struct proxy *p, struct pbuf *b)
{
	struct pipe *x = b->pipe;

	b->pipe = NULL;
	if (b->r < b->w) {
		splice_close(p, x);
		return;
	}
	x->next = p->pipes;
	p->pipes = x;
}

void splice_done(struct proxy *p)
{
	struct pipe *x;

	while ((x = p->pipes)) {
		p->pipes = x->next;
		splice_close(p, x);
	}
}
