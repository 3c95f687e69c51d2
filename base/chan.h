/* Typed messages between our processes over SOCK_SEQPACKET.  Layer base, every daemon process.
 *
 * A message is a header (type, length) and a body.  Each end has a table that says which types it accepts, how long
 * their bodies are and how many descriptors they carry; anything else closes the channel.  Nothing is allocated
 * before length and type have been checked. */
#ifndef TULOU_BASE_CHAN_H
#define TULOU_BASE_CHAN_H

#include "base/loop.h"

#include <stddef.h>
#include <stdint.h>

#define CHAN_BODY_MAX 16384  /* bytes of one message's body */
#define CHAN_QUEUE_MAX 65536 /* messages waiting to be sent before chan_send refuses */

/* One row of a permit table. */
struct chan_rule {
	uint16_t type;
	const char *name;
	uint32_t min, max; /* allowed body length in bytes */
	uint8_t fds_min, fds_max;
};

struct chan;

struct chan_ops {
	/* A permitted message.  Descriptors in fds[0..nfds) that the callback does not take (by setting them to -1) are
	 * closed after it returns.  body is aligned for any struct and valid only during the call. */
	void (*on_msg)(void *arg, uint16_t type, const void *body, size_t len, int *fds, size_t nfds);
	/* The peer is gone or broke the protocol (reason: one sentence).  Called once; the owner then calls chan_close.
	 */
	void (*on_gone)(void *arg, const char *reason);
};

/* Makes a channel on fd (owned from now on, made non-blocking) accepting what `rules` permits.  NULL when out of
 * memory. rules and ops are borrowed for the life of the channel. */
struct chan *chan_new(struct loop *l, int fd, const struct chan_rule *rules, size_t nrules, const struct chan_ops *ops,
		      void *arg);

/* Sends, or queues when the socket is full; descriptors are duplicated when queued, so the caller keeps its own.
 * 0, -ENOBUFS when CHAN_QUEUE_MAX is reached, -EPIPE when the peer is gone. */
int chan_send(struct chan *c, uint16_t type, const void *body, size_t len, const int *fds, size_t nfds);

/* Messages queued and not yet taken by the kernel. */
size_t chan_backlog(const struct chan *c);

/* Closes now, frees at the end of the turn.  NULL and a second call are harmless. */
void chan_close(struct chan *c);

/* Waits (blocking descriptor) for one permitted message before a loop runs: a role's first. body has room for
 * CHAN_BODY_MAX bytes, fds for FD_PASS_MAX; received descriptors are the caller's.  0, -EPIPE at the end, -EBADMSG. */
int chan_recv_first(int fd, const struct chan_rule *rules, size_t nrules, uint16_t *type, void *body, size_t *len,
		    int *fds, size_t *nfds);

/* A connected pair of blocking, CLOEXEC SEQPACKET sockets; 0 or negative errno. */
int chan_pair(int ret[2]);

#endif
