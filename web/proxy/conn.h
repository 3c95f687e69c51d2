/* A stream socket with what may lie on it: buffers, pipes for large bodies, TLS.  Layer web, proxy process.  Part of
 * internal.h, which includes it. */
#ifndef TULOU_WEB_PROXY_CONN_H
#define TULOU_WEB_PROXY_CONN_H

#include "base/loop.h"
#include "web/proxy/messages.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* ---- connections (conn.c) ---- */
struct proxy;
struct h2_stream;
#define PBUF_SIZE                                                                                                      \
	50176 /* a head of 32 KiB and a body window; not a power of two, so that buffers do not share cache sets */

#define PBUF_TLS                                                                                                       \
	2048 /* what TLS adds to a full one: 4 records of 22 bytes, and answers to key updates (LIMIT_TLS_UPDATES of   \
		26) */

struct pipe;
struct pbuf {
	struct pbuf *next;
	struct pipe *pipe; /* owned; it has the bytes instead of data, NULL = none (splice.c) */
	size_t r, w;	   /* content is data[r..w) */
	char data[PBUF_SIZE + PBUF_TLS];
};

/* A non-blocking stream socket, registered once, edge-triggered: can_read and can_write remember the edges. */
struct conn {
	struct loop_io io;
	int fd;
	bool can_read, can_write;
	bool closing;	  /* the peer ended its direction (EPOLLRDHUP): read on until 0 */
	struct pbuf *out; /* owned; what the socket did not take yet, NULL when nothing; of TLS: records, not text */
	struct tls *tls;  /* owned; NULL without TLS */
	struct h2_stream
		*stream; /* set when it is one of a session of HTTP/2: then fd and tls are borrowed from that */
};

struct pbuf *pbuf_get(struct proxy *p);
void pbuf_put(struct proxy *p, struct pbuf **b);

int conn_open(struct proxy *p, struct conn *c, int fd, void (*fn)(void *arg, short what), void *arg);
/* The same without the loop: nothing is heard of it before conn_watch(), which tells what is so by then too (epoll(7):
 * a new registration is ready when its file is). */
void conn_open_unwatched(struct conn *c, int fd);
int conn_watch(struct proxy *p, struct conn *c, void (*fn)(void *arg, short what), void *arg);
void conn_close(struct proxy *p, struct conn *c);
void conn_event(struct conn *c, short what);
/* Looks without reading: true when the peer reset the connection; that it ended its direction is noted in `closing`. */
bool conn_left(struct conn *c);
/* Reads once.  > 0 bytes, 0 end of stream, -EAGAIN, or another negative errno. */
ssize_t conn_read(struct conn *c, void *p, size_t n);
/* Writes what the socket takes and keeps the rest in c->out (which must be empty before).  0 or negative errno. */
int conn_send(struct proxy *p, struct conn *c, const struct iovec *iov, int n);
/* Writes from c->out.  0 (c->out may still be there), or negative errno. */
int conn_flush(struct proxy *p, struct conn *c);

/* splice.c: may the body, of which so much is left, go past this process? */
bool splice_wanted(const struct conn *from, const struct conn *to, int64_t left);
/* Takes a part of it into to->out (empty before).  > 0 bytes, 0 end of stream, -EAGAIN, -ENOBUFS: no pipe, read it like
 * any other; or another negative errno. */
ssize_t splice_read(struct proxy *p, struct conn *from, struct conn *to, int64_t left);
/* As send(2), from c->out. */
ssize_t splice_write(struct conn *c);
/* The pipe of a buffer that goes. */
void splice_put(struct proxy *p, struct pbuf *b);
void splice_done(struct proxy *p);

/* Passes the end of our direction on; nothing is sent after it.  c->out must be empty. */
void conn_end(struct proxy *p, struct conn *c);

/* ---- TLS of a client's connection (tls.c) ----
 * Records go through conn->out like plain bytes do: conn_flush() does not know the difference. */
struct tls_state; /* of the worker */
struct tls;
int tls_init(struct proxy *p);
void tls_done(struct proxy *p);
int tls_open(struct proxy *p, struct conn *c);
void tls_close(struct conn *c);
/* > 0: the handshake is over; 0: it waits for the client; < 0: it failed. */
int tls_handshake(struct conn *c);
/* As conn_read and conn_send. */
ssize_t tls_read(struct conn *c, void *p, size_t n);
void tls_more(struct conn *c); /* the socket has something to read again */
int tls_send(struct conn *c, const struct iovec *iov, int n, size_t total);
/* Says that nothing more will come (close_notify). */
void tls_end(struct conn *c);
/* The name that the client asked for, in lower case, "" when it named none; after the handshake. */
const char *tls_name(const struct conn *c);
bool tls_resumed(const struct conn *c);
void tls_tickets(struct proxy *p, const struct proxy_msg_tickets *m);

/* Did the client choose HTTP/2?  After the handshake. */
bool tls_is_h2(const struct conn *c);

#endif
