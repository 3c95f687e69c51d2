/* The front door: one worker's reverse proxy.  Layer web, proxy process (user tulou-proxy, no files, one thread).
 *
 * A client connection:
 *
 *  (PREFACE ->) (HANDSHAKE ->)
 *   IDLE -> HEAD -> (PARKED ->) CONNECT -> RELAY -> IDLE ...          LINGER = answered, input thrown away, then closed
 *     |       |          |         |         |-> TUNNEL -> CLOSED
 *     +-------+----------+---------+---------+-> LINGER -> CLOSED
 *
 * An upstream connection belongs to one (app, instance id) for ever.  The library does not log; what an operator should
 * know is counted in the statistics segment and written to the access log.  It ignores SIGPIPE for the process. */
#ifndef TULOU_WEB_PROXY_PROXY_H
#define TULOU_WEB_PROXY_PROXY_H

#include "base/err.h"
#include "base/loop.h"
#include "base/cidr.h"
#include "config/limits.h"
#include "web/proxy/stats.h"

#include <stdbool.h>
#include <stddef.h>

struct proxy;

struct proxy_config {
	unsigned worker;		   /* row of the statistics segment, < LIMIT_WORKERS */
	char control_host[LIMIT_HOST + 1]; /* requests for it go to the API; so do those for an address of our own */
	char control_path[100];		   /* unix socket of the API, in the process's root directory */
	char node_name[LIMIT_HOST + 1];	   /* shown on our own pages */
	bool tls;			   /* certificates and tickets are wanted, and proxy_listen() for TLS */
	struct cidr proxy_from[LIMIT_PROXY_FROM]; /* whose PROXY headers are believed */
	unsigned proxy_from_count;
	int log_fd; /* pipe for the access log, owned from now on, made non-blocking; -1 = none */
	/* Called once, when control has told all routes for the first time: a worker that accepts earlier answers 404
	 * for apps that exist.  NULL = none. */
	void (*on_synced)(void *arg);
	void *arg;
};

/* A worker without listeners and routes.  stats is borrowed for its life.  NULL with e set.
 * Reads RLIMIT_NOFILE: about half of it, less a reserve, is the number of clients served at a time. */
struct proxy *proxy_new(struct loop *l, const struct proxy_config *cfg, struct stats_segment *stats, struct err *e);

/* Closes everything at once; call it when the loop does not run any more.  NULL is allowed. */
void proxy_free(struct proxy *p);

/* Accepts on fd: a listening TCP socket, made non-blocking, owned from now on; may be shared with other processes.
 * tls: clients speak TLS there; -ENOTSUP when the configuration did not say so.
 * proxied: before that, each connection begins with a PROXY header (web/http/proxyproto.h) and comes from one of
 * proxy_from; any other is closed without a word.  0 or negative errno, fd is closed then. */
int proxy_listen(struct proxy *p, int fd, bool tls, bool proxied);

/* Takes fd (owned) as the channel to control (web/proxy/messages.h) in place of an older one.  Losing the channel keeps
 * the routes.  0 or -ENOMEM, fd is closed then. */
int proxy_control(struct proxy *p, int fd);

/* Stops accepting, closes idle connections, lets requests finish, then calls done(arg) once; what is left after
 * deadline_ms is closed.  A second call only shortens the deadline. */
void proxy_drain(struct proxy *p, unsigned deadline_ms, void (*done)(void *arg), void *arg);

/* Lines of the access log lost because the pipe was full. */
unsigned long long proxy_log_dropped(const struct proxy *p);

#endif
