/* What the files of web/proxy share.  Layer web, proxy process.
 *
 * Ownership: the proxy owns clients, apps, hosts and upstreams.  An app lives until it is deleted and no client and no
 * instance refers to it; an instance until it is deleted and neither a client nor an upstream refers to it. */
#ifndef TULOU_WEB_PROXY_INTERNAL_H
#define TULOU_WEB_PROXY_INTERNAL_H

#include "base/chan.h"
#include "base/map.h"
#include "config/limits.h"
#include "web/http/cert.h"
#include "web/http/chunked.h"
#include "web/http/http.h"
#include "web/proxy/conn.h"
#include "web/proxy/fault_kind.h"
#include "web/proxy/messages.h"
#include "web/proxy/proxy.h"

#include <netinet/in.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

/* ---- deadlines: a wheel of 262 ms ticks, moved lazily (wheel.c) ---- */
#define WHEEL_SHIFT 18
#define WHEEL_SLOTS 512

struct wheel_entry {
	LIST_ENTRY(wheel_entry) link;
	int64_t deadline_us; /* monotonic, 0 = none */
	int64_t tick;	     /* of the slot it hangs in, 0 = in none */
	void (*fn)(struct wheel_entry *e);
};

struct wheel {
	LIST_HEAD(, wheel_entry) slot[WHEEL_SLOTS];
	int64_t tick; /* the next one to run */
	size_t count;
};

void wheel_init(struct wheel *w, int64_t now_us);
/* Sets or moves the deadline; moving it further away costs one store. */
void wheel_set(struct wheel *w, struct wheel_entry *e, int64_t deadline_us);
void wheel_del(struct wheel *w, struct wheel_entry *e);
void wheel_run(struct wheel *w, int64_t now_us);

struct proxy;
struct address;
struct client;
struct instance;
struct upstream;

/* ---- HTTP/2 (h2*.c) ----
 * A stream is a struct conn that speaks HTTP/1.1; conn_read() and conn_send() lead here. */
struct h2;
struct h2_shared; /* of the worker */
struct h2_stream;
int h2_init(struct proxy *p);
void h2_done(struct proxy *p);
ssize_t h2_read(struct conn *c, void *p, size_t n);
int h2_send(struct proxy *p, struct conn *c, const struct iovec *iov, int n);
/* Nothing is sent after what conn->out holds. */
void h2_end(struct conn *c);
/* True when the session holds so much for its peer that no more should be fetched; c is run again when there is room.
 */
bool h2_full(struct conn *c);
/* Requests to apps with PROXY_PROTOCOL_H2C: a stream of a connection to the instance.  NULL with errno. */
struct upstream *h2_back_get(struct proxy *p, struct instance *i, struct client *c);
/* Ends it; the connection may rest then. */
void h2_back_put(struct upstream *u);
/* Closes the instance's connections: those that rest, or all. */
void h2_back_drop(struct instance *i, bool all);
/* Did the app refuse the request without a look at it? */
bool h2_refused(const struct conn *c);
/* Is the connection to the app gone? */
bool h2_lost(const struct conn *c);
/* May a WebSocket be begun there (RFC 8441, 3)?  Asked once the app's SETTINGS are there; true of one that was lost. */
bool h2_takes_websocket(const struct conn *c);
/* Does it wait for that? */
bool h2_waits(const struct conn *c);
/* The connection goes; what is not over is reset with an error code of RFC 9113. */
void h2_gone(struct conn *c, bool slow);
/* A client's connection becomes a session: 0 or negative errno.  It and its streams end with h2_front_close(). */
int h2_front_open(struct client *base);
void h2_front_close(struct client *base);
void h2_front_io(struct client *base);
void h2_front_on_deadline(struct client *base);
/* While draining: once per tick. */
void h2_front_drain(struct client *base, int64_t now);
/* The request is said to the end to an app that speaks HTTP/2, with the trailers of a client that does. */
void h2_end_request(struct client *c);
/* Around the decoding of an answer's chunks: trailers are kept for the client.  False when out of memory. */
void h2_trailers_keep(struct client *c);
bool h2_trailers_kept(struct client *c);
/* False when the client itself keeps this stream from moving. */
bool h2_moves(struct client *c);

/* ---- certificates (certs.c) ---- */
struct cert;
struct app;
LIST_HEAD(cert_list, cert);
/* A certificate with its parts in a form that OpenSSL takes; they are borrowed. */
struct cert_parts {
	X509 *leaf;
	STACK_OF(X509) * chain;
	EVP_PKEY *key;
	const uint8_t *staple; /* NULL = none */
	size_t staple_len;
	int64_t staple_until_ms; /* wall clock */
};
int certs_init(struct proxy *p);
void certs_done(struct proxy *p);
void certs_message(struct proxy *p, const struct proxy_msg_cert *m, int fd);
void certs_del(struct proxy *p, uint64_t id);
void certs_drop_app(struct proxy *p, struct app *a);
void certs_sweep(struct proxy *p);
void certs_staple(struct proxy *p, const struct proxy_msg_staple *m, int fd);
/* For a name in lower case ("" = none was said).  challenge: only one of PROXY_CERT_CHALLENGE.  False when there is
 * none. */
bool certs_find(struct proxy *p, const char *name, bool challenge, struct cert_parts *ret);

/* ---- challenges over plain HTTP (challenge.c) ---- */
struct challenge;
LIST_HEAD(challenge_list, challenge);
void challenge_put(struct proxy *p, const struct proxy_msg_challenge *m);
void challenge_del(struct proxy *p, const struct proxy_msg_challenge *m);
void challenge_sweep(struct proxy *p, bool all);
/* Answers the request when it asks for a challenge that control told; else false. */
bool challenge_answer(struct client *c);

/* ---- routes (routes.c) ---- */
struct upstream;
TAILQ_HEAD(client_list, client);
TAILQ_HEAD(upstream_list, upstream);

struct front;
struct app {
	struct front *front; /* owned; NULL: a front door without settings of its own (policy.c) */
	uint64_t id, tenant;
	uint32_t slot, state, wait_ms;
	char name[LIMIT_APP_NAME + 1];
	bool control, dead;
	unsigned mark;		     /* of the last sync that named it */
	unsigned refs;		     /* clients and instances that point here */
	struct stats_row *row;	     /* borrowed; NULL for control */
	struct instance **instances; /* owned array of borrowed pointers */
	unsigned instance_count, instance_cap, next;
	struct client_list parked; /* by the time they came */
	unsigned parked_count;
	uint32_t concurrency, access; /* struct proxy_msg_spread */
	unsigned access_turn;	      /* requests since the last that was logged */
	uint32_t repeats;	      /* that may be made now, in parts of LIMIT_PROXY_REPEAT_PART */
	int64_t deferred_us;	      /* since when the head of another worker's queue goes first, 0 = it does not */
	LIST_ENTRY(app) queued;	      /* while requests wait for a free instance */
	bool is_queued, touched;
	int64_t wake_us; /* when PROXY_WAKE was sent */
	uint32_t https;	 /* enum proxy_https */
	uint32_t hsts_s;
	struct cert_list certs; /* owned */
};

struct instance {
	uint64_t id;
	struct app *app;
	uint32_t state;
	bool dead, drain_told;
	bool canary; /* serves only what the front door gives it, or what nobody else can */
	bool h2c;    /* it speaks HTTP/2 */
	unsigned mark;
	unsigned in_flight, upstreams; /* clients and connections that point here */
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_un un;
	} addr;
	socklen_t addr_len;
	int dir; /* owned: O_PATH, where its unix socket lies; -1 = addr says all */
	struct upstream_list idle;
	unsigned idle_count;
	TAILQ_HEAD(, h2) sessions; /* of HTTP/2 */
	unsigned session_count;
	unsigned tunnels;	 /* WebSockets among their streams */
	unsigned errors;	 /* in a row */
	unsigned pauses;	 /* it was put aside so often in a row */
	int64_t aside_us;	 /* until when, 0 = it is not; then one request tries it */
	bool trying;		 /* that one is under way */
	bool sick;		 /* control says so: the last choice */
	struct stats_cell *cell; /* borrowed; NULL for control, or while another one has it */
	int64_t failed_us;	 /* last refused connection, 0 = none */
	int64_t failing_us;	 /* when PROXY_FAILING was sent */
};

struct host {
	struct app *app; /* borrowed */
	unsigned mark;
	size_t len;
	char name[LIMIT_HOST + 1]; /* "*.x" is kept as ".x" in the other map */
	bool wildcard;
};

int routes_init(struct proxy *p, const struct proxy_config *cfg);
void routes_done(struct proxy *p);
/* Takes *fd (set to -1) when it wants it; fd may be NULL. */
void routes_message(struct proxy *p, uint16_t type, const void *body, int *fd);
/* The app for a checked Host field, NULL when there is none. */
struct app *routes_find(struct proxy *p, struct http_str host, struct client *c);
/* The app that a name in lower case, without port, leads to; never the control plane. */
struct app *routes_find_name(struct proxy *p, const char *name, size_t n);
/* balance.c.  The instance for a request, NULL with *busy when all that could serve have what they may have. */
struct instance *balance_pick(struct proxy *p, struct app *a, const uint64_t *tried, unsigned n, bool *busy);
/* The one of the canary's instances, or of the others; NULL when all of them are put aside, full or gone. */
struct instance *balance_pick_group(struct proxy *p, struct app *a, bool canary, const uint64_t *tried, unsigned n);
/* Is it put aside, here or in another worker, and not because so many are that none is? */
bool balance_rests(struct proxy *p, const struct instance *i);
/* A request begins and ends at an instance. */
void balance_take(struct proxy *p, struct instance *i);
/* Counts as a request, but nothing is sent: who is put aside is not tried with it.  Ends with balance_give(). */
void balance_hold(struct instance *i);
void balance_give(struct proxy *p, struct instance *i);
/* With the limit of concurrency the count of all workers decides; false: another worker was faster. */
bool balance_fits(struct proxy *p, struct instance *i);
/* What became of a request: bad counts towards a pause, refused puts it aside at once. */
void balance_bad(struct proxy *p, struct instance *i, bool refused);
void balance_good(struct proxy *p, struct instance *i);
/* May one more request be repeated?  Counts it. */
bool balance_repeat(struct app *a);
/* Must a new request stand behind others, here or in another worker? */
bool balance_behind(struct proxy *p, struct app *a);
/* Requests of the app wait, or an instance has become free. */
void balance_queue(struct proxy *p, struct app *a);
void balance_unqueue(struct app *a);
void balance_tick(struct proxy *p, int64_t now);
void balance_init(struct proxy *p);
void balance_instance(struct proxy *p, struct instance *i);
void balance_instance_gone(struct instance *i);
bool routes_has_up(const struct app *a);
/* A client stops pointing to app and instance; may free them. */
void routes_drop_app(struct proxy *p, struct app *a);
void routes_drop_instance(struct proxy *p, struct instance *i);
void routes_request_done(struct proxy *p, struct instance *i);
/* The app has its first request here. */
void routes_touch(struct proxy *p, struct app *a);
void routes_wake(struct proxy *p, struct app *a);
void routes_failing(struct proxy *p, struct instance *i);

/* ---- upstream connections (upstream.c) ---- */
struct upstream {
	struct conn conn;
	struct wheel_entry timer;
	struct proxy *proxy;
	struct instance *inst;		 /* borrowed, counted in inst->upstreams; never changes */
	struct client *client;		 /* borrowed; NULL while idle */
	TAILQ_ENTRY(upstream) idle, lru; /* while idle */
	struct pbuf *in;		 /* owned; an incomplete head */
	size_t seen;
	bool connected, reused, closed, pooled;
};

/* An idle connection (fresh: never one), or a new one that may still be connecting.  NULL with errno. */
struct upstream *upstream_get(struct proxy *p, struct instance *i, struct client *c, bool fresh);
/* connect(2) to the instance, whatever kind of address it has: 0, -EINPROGRESS, or another negative errno. */
int upstream_connect(const struct instance *i, int fd);
/* Keeps it for the next request of the same instance. */
void upstream_keep(struct upstream *u);
void upstream_close(struct upstream *u);
void upstream_close_idle(struct instance *i);
/* For requests that cannot be repeated: false when the peer closed it or said something in the meantime. */
bool upstream_quiet(struct upstream *u);

/* ---- clients (client.c, relay.c, head.c, fault.c) ---- */
enum client_state {
	CLIENT_IDLE,
	CLIENT_PREFACE,
	CLIENT_HANDSHAKE,
	CLIENT_HEAD,
	CLIENT_PARKED,
	CLIENT_CONNECT,
	CLIENT_RELAY,
	CLIENT_TUNNEL,
	CLIENT_H2, /* a connection whose streams are clients of their own */
	CLIENT_LINGER,
	CLIENT_CLOSED,
	CLIENT_STATE_COUNT,
};

enum body_mode { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_EOF };

struct body {
	uint8_t mode; /* enum body_mode: how it comes in */
	bool done;    /* all of it was read and passed on */
	int64_t left; /* BODY_LENGTH */
	struct chunked chunked;
	uint64_t bytes;
};

#define REQUEST_ID_MAX 64
#define REQUEST_ID_OURS 24

/* What the front door of the request's app says about it; all zero where it says nothing. */
struct client_policy {
	uint64_t body_max;	/* bytes of the request's body; 0 = no limit */
	uint64_t sticky;	/* the instance that the client's cookie names; 0 = none */
	int64_t end_us;		/* all of it must be over then; 0 = no limit */
	_Atomic int32_t *total; /* where it counts among the tenant's; NULL = nowhere */
	uint32_t retry_s;	/* Retry-After of a refusal; 0 = the page's own */
	uint32_t hsts_s;	/* of the app whose host it is, whichever answers */
	uint8_t group;		/* enum policy_group: decided once for a request */
	uint8_t strip;		/* bytes of the path's beginning that the app does not see */
	bool stale;		/* the door was changed while it waited */
};

struct client {
	struct conn conn;
	struct wheel_entry timer;
	struct proxy *proxy;
	TAILQ_ENTRY(client) all, ready, parked, unwatched;
	struct pbuf *in; /* owned while a request is there: head, then body bytes, then pipelined requests */
	struct h2 *h2;	 /* owned in CLIENT_H2 */
	uint8_t state;	 /* enum client_state; changed by client_move() alone */
	bool in_ready, is_parked, is_unwatched;
	bool keep_alive, expect_continue, upgrade, minor0; /* of the request */
	uint8_t method;					   /* enum http_method */
	bool responding; /* a byte of the answer's head went out, or was kept to go out */
	bool out_chunked, res_keep, up_keep, req_broken, tunnel_in_end, tunnel_out_end, logged;
	bool duplex;	 /* gRPC: both sides may be silent for long */
	bool again;	 /* it was refused once */
	bool canary;	 /* an instance of the canary had it last */
	bool window_fed; /* the client moved enough in this window, or was not the one waited for */
	uint8_t attempts, infos;
	uint16_t status;
	uint16_t port, local_port;
	uint8_t id_len;
	size_t seen;				   /* bytes of an incomplete head that were scanned */
	size_t head_len;			   /* of the current request in in->data */
	struct upstream *up;			   /* owned while set */
	struct app *app;			   /* counted in refs */
	struct instance *inst;			   /* counted in in_flight */
	uint64_t inst_id;			   /* of the last attempt, for the log */
	struct stats_row *row;			   /* borrowed; counted in its in_flight */
	struct http_str method_name, target, host; /* in in->data */
	struct body req, res;
	struct client_policy policy;
	uint64_t tried[LIMIT_PROXY_ATTEMPTS];
	uint64_t window_mark;		     /* bytes at the window's start */
	int64_t window_us;		     /* end of the window, 0 = none runs */
	int64_t start_us, sent_us, first_us; /* head complete, sent to the app, first byte back */
	int64_t progress_us;		     /* last byte to or from the app */
	uint64_t written;		     /* bytes given to the client's socket or kept for it */
	size_t lingered;
	bool wants_tls;		 /* after its preface */
	struct address *address; /* its share of the connections of one address, NULL when not counted */
	bool was_parked;	 /* in this request */
	int64_t parked_us;	 /* how long it waited before, in all */
	bool handshaking;	 /* counted in the address's handshakes */
	char addr[INET6_ADDRSTRLEN];
	char id[REQUEST_ID_MAX + 1];
	bool trace_ours; /* the trace begins here */
	char trace[32];	 /* its id */
};

struct listener {
	struct proxy *proxy;
	struct loop_io io;
	int fd;
	uint16_t port;
	bool open, tls, proxied;
};

struct proxy {
	struct loop *loop;
	struct stats_segment *stats;
	struct stats_worker *worker;
	unsigned index;
	void (*on_synced)(void *arg); /* NULL once it was called */
	void *arg;
	char node_name[LIMIT_HOST + 1];
	int64_t now_us;	     /* of this turn, 0 = not read yet */
	int64_t wall_off_us; /* wall time minus monotonic */
	struct wheel wheel;
	struct loop_timer tick;
	struct client_list clients, ready;
	struct client_list unwatched; /* came a moment ago, and the loop does not know them yet */
	struct loop_timer ready_timer;
	struct upstream_list lru; /* idle upstreams, oldest first */
	unsigned client_count, stream_count, client_max, upstream_count, idle_count, parked_count;
	struct pbuf *free_bufs;
	unsigned free_count;
	struct pipe *pipes; /* owned; empty ones */
	unsigned pipe_count;
	struct cidr proxy_from[LIMIT_PROXY_FROM];
	unsigned proxy_from_count;
	struct listener listeners[LIMIT_LISTEN * 2];
	unsigned listener_count;
	bool accepting;
	struct loop_timer pause;
	struct map *addresses; /* struct address by 16 bytes */
	/* TLS */
	struct tls_state *tls;			 /* NULL without a listener for it */
	uint16_t https_port;			 /* of the first such listener, 0 = none */
	struct map *certs;			 /* struct cert by id */
	struct cert_list node_certs, challenges; /* owned, like those of the apps */
	unsigned node_cert_count;
	struct cert *default_cert;
	struct challenge_list http_challenges; /* owned */
	unsigned http_challenge_count;
	struct h2_shared *h2;
	uint32_t known, peers; /* workers beside this one: that ever were; that have requests in flight; a bit each */
	LIST_HEAD(, app) queued;
	struct loop_timer queue_timer;
	/* routes */
	struct map *apps, *instances, *hosts, *wildcards;
	unsigned mark;
	bool syncing;
	struct app *control;
	char control_host[LIMIT_HOST + 1];
	size_t control_host_len;
	struct chan *chan;
	/* drain */
	bool draining, drained;
	struct loop_timer drain_timer;
	void (*drain_done)(void *arg);
	void *drain_arg;
	LIST_HEAD(, watch) watches; /* owned (watch.c) */
	unsigned watch_count;
	/* access log */
	int log_fd;
	char *log_buf;
	size_t log_len;
	int64_t log_second; /* wall second that log_time shows */
	char log_time[25];
	unsigned long long log_dropped;
	/* request ids */
	uint64_t id_seed, id_next;
	/* scratch of one callback */
	const struct client *parsed; /* whose head is in req */
	struct http_request req;
	struct http_response res;
	char rbuf[32768];
	char wbuf[PBUF_SIZE];
};

/* The time of this turn of the loop. */
int64_t proxy_now_slow(struct proxy *p);
static inline int64_t proxy_now(struct proxy *p)
{
	return p->now_us ? p->now_us : proxy_now_slow(p);
}
/* Runs the client again in the next turn. */
void proxy_ready(struct client *c);
/* Something has a deadline or is to be flushed: let the tick run. */
void proxy_tick_start(struct proxy *p);
/* Counts a connection of this address; false when it has too many already (of handshakes, with tls). */
bool proxy_admit(struct client *c, const uint8_t ip[16], bool tls);
void proxy_address_put(struct proxy *p, struct address *a);
/* Counts one more of the same address; false when it has too many.  NULL is not counted. */
bool proxy_address_more(struct address *a);
/* The client's handshake is over, or will never be. */
void proxy_handshake_over(struct client *c);
/* A client is gone: accept again, or the drain is over. */
void proxy_client_gone(struct proxy *p);

static inline void stat_add(_Atomic uint64_t *v, uint64_t n)
{
	/* One writer per row: a plain add, stored so that readers never see half of it. */
	atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) + n, memory_order_relaxed);
}
static inline void stat_add32(_Atomic uint32_t *v, int n)
{
	atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) + (uint32_t)n, memory_order_relaxed);
}

/* NULL when there is no memory; the descriptor is still the caller's then.  l may be gone later.  To be run once it is
 * admitted: the loop may not know it yet. */
struct client *client_new(struct proxy *p, int fd, const struct sockaddr_storage *peer, const struct listener *l);
/* The loop tells of it from now on; closes it when that cannot be. */
void client_watch(struct client *c);
/* c, zero-filled but for conn, becomes a request of the session that base is. */
void client_init_stream(struct client *c, const struct client *base);
/* Is this the address of a balancer whose PROXY headers are believed? */
bool preface_trusts(const struct proxy *p, const struct sockaddr_storage *peer);
/* The PREFACE state: true when the header was read and the client is in its next state (preface.c). */
bool preface_run(struct client *c);
/* The client speaks TLS from here on.  False without memory. */
bool client_begin_tls(struct client *c);
void client_move(struct client *c, enum client_state to);
void client_run(struct client *c);
/* A parked client is let go to look for an instance again. */
void client_unpark(struct client *c);
void client_leave(struct client *c); /* it waits no longer, and not because its turn came */
/* Finds app and instance for the request in c->in; starts it, parks it or answers. */
void client_route(struct client *c);
/* The same behind an attempt that came to nothing: where nothing is up any more it waits, as if it had just come. */
void client_again(struct client *c);
/* The answer is out: account, log, then next request or close. */
void client_finish(struct client *c);
/* Accounts and logs the request, once; lets go of app and instance. */
void client_account(struct client *c);
/* Closes at once, whatever is going on. */
void client_close(struct client *c);
/* Answers with a page of our own and ends the request. status is used by FAULT_REQUEST; why is constant text. */
void client_fault(struct client *c, enum fault f, unsigned status, const char *why);
/* Sends the n bytes of p->wbuf, a whole answer of our own, and ends the request; close: the connection too. */
void client_say(struct client *c, size_t n, unsigned status, bool close);
/* Answers a head that cannot be taken; why is constant text. */
void client_refuse(struct client *c, int status, const char *why);
/* Ends our direction, and reads what the client may still be sending for a while. */
void client_linger_start(struct client *c);
/* The LINGER state: that reading. */
void client_linger(struct client *c);
/* Its deadline, in milliseconds from now. */
void client_deadline(struct client *c, unsigned ms);
#define CLIENT_READS 16 /* of a head, or of what is thrown away, in one turn: others get theirs */
/* Closes with a reset, so that the kernel does not hold megabytes for who does not read. */
void client_cut(struct client *c);
/* Makes p->req describe the head in c->in again. */
void client_reparse(struct client *c);

/* Takes one attempt to reach inst.  Sends the head when the connection stands. */
void relay_start(struct client *c, struct instance *inst, bool fresh);
/* Moves bytes both ways; true when the client should be run again at once. */
bool relay_run(struct client *c);
void relay_on_deadline(struct client *c);
/* The client ended its direction, or its instance began to leave: its deadline may be nearer now. */
void relay_hurry(struct client *c);
/* Lets go of the upstream connection, closing it. */
void relay_drop(struct client *c);
bool tunnel_run(struct client *c);

/* Serialise from the parsed head (head.c); return the length. out has room for PBUF_SIZE bytes. */
size_t head_request(struct client *c, const struct http_request *r, char *out);
size_t head_response(struct client *c, const struct http_response *r, bool info, char *out);
void head_request_id(struct client *c, const struct http_request *r);
/* In lower case, digits of a number in no order that anybody should read. */
void head_hex(uint64_t x, char out[16]);
/* splitmix64: a bijection, so numbers that differ stay so. */
uint64_t head_mix(uint64_t x);

/* trace.c: the trace that a request belongs to; and the line of one that begins here. */
void trace_begin(struct client *c, const struct http_request *r);
char *trace_put(struct client *c, char *o);

/* Composes the whole answer of a fault (fault.c); returns its length, status in *status. */
size_t fault_page(struct client *c, enum fault f, unsigned *status, const char *why, bool close, char *out);

/* watch.c: top talkers.  A request is over; called while there is a watch only. */
void watch_note(struct client *c, int64_t now);
void watch_start(struct proxy *p, const struct proxy_msg_watch *m);
void watch_stop(struct proxy *p, uint64_t id);
void watch_done(struct proxy *p);

/* access.c */
int access_init(struct proxy *p, int fd);
void access_done(struct proxy *p);
void access_line(struct client *c, int64_t end_us);
void access_flush(struct proxy *p);

#define PROXY_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
