/* One HTTP exchange, as the resource files see it.  Layer web, control process; private to web/api.
 *
 *   HEAD --body--> BODY --end--> WAIT --answer prepared, committed--> READY --queued--> SENT --completed--> freed
 *     \                            ^ suspended: commit, long poll, a child's first byte
 *      \--refused, body too big to read--> SENT
 *
 * While MHD waits for us the connection is suspended: it costs nothing and MHD does not look at it, so a client that
 * left meanwhile is found by the api's tick (POLLHUP). */
#ifndef TULOU_WEB_API_EXCHANGE_H
#define TULOU_WEB_API_EXCHANGE_H

#include "base/buf.h"
#include "base/json.h"
#include "base/loop.h"
#include "web/api/api.h"

#include <inttypes.h>
#include <microhttpd.h>
#include <sys/types.h>

struct api_auth;
struct exchange;
struct api_route;
struct api_state;

enum exchange_state {
	EXCHANGE_HEAD,
	EXCHANGE_BODY,
	EXCHANGE_WAIT,
	EXCHANGE_READY,
	EXCHANGE_SENT,
	EXCHANGE_STATE_COUNT
};

#define EXCHANGE_ARGS 2 /* variable parts of a path besides tenant and app */

/* What a resource that streams hangs on its exchange.  Every function may be NULL. */
struct exchange_stream {
	/* Takes request body bytes; returns how many it took.  Fewer than n: the exchange is suspended until
	 * api_wake(). */
	size_t (*on_body)(struct exchange *x, const char *p, size_t n);
	/* The body is complete; may prepare the answer, else the exchange waits for api_wake(). */
	void (*on_end)(struct exchange *x);
	/* Called after each wake while there is no answer yet. */
	void (*on_wake)(struct exchange *x);
	/* Fills the answer's body: > 0 bytes, 0 = nothing now (suspended until api_wake()), -1 = the end, -2 = broken.
	 */
	ssize_t (*read)(struct exchange *x, char *p, size_t max);
	/* The exchange is over, `whole` when the answer was sent completely; frees x->stream. */
	void (*on_done)(struct exchange *x, bool whole);
};

/* Who is asking. */
struct exchange_who {
	enum model_role role;
	int64_t tenant; /* 0: operator, fleet, or nobody */
	int64_t token;
	char tenant_name[LIMIT_TENANT_NAME + 1];
	bool cookie; /* came by the dashboard's cookie */
};

struct exchange {
	struct api *api;	     /* borrowed */
	struct MHD_Connection *conn; /* borrowed from MHD */
	enum exchange_state state;
	struct exchange *next, **at; /* list of all; at: what points here */

	const struct api_route *route; /* NULL while not found */
	const char *method;	       /* borrowed from MHD */
	char *path;		       /* owned, as it came, without the query */
	char *parts;		       /* owned: path split at '/' and decoded; args point into it */
	const char *arg[EXCHANGE_ARGS];
	struct buf query; /* name NUL value NUL ..., decoded */
	struct exchange_who who;
	struct model_tenant tenant; /* of a route with {t} */
	struct model_app app;	    /* of a route with {a} */

	uint64_t body_length; /* announced; UINT64_MAX when chunked */
	uint64_t body_seen;
	struct buf body;  /* collected, for routes with a JSON body */
	json_t *json;	  /* owned: the parsed body, NULL when it was empty */
	bool discard;	  /* the rest of the body is read and forgotten */
	int64_t since_us; /* monotonic, when the head came */

	struct MHD_Response *response; /* prepared answer */
	bool response_shared;	       /* borrowed from a cache */
	unsigned status;
	char *idem_key; /* owned; NULL unless Idempotency-Key was given */
	char idem_hash[65];
	bool idem_secret; /* the answer holds a secret: it is not kept */

	bool suspended, parked, gone;
	bool counted;			   /* among the streams that are limited */
	int64_t beat_us;		   /* last bytes of a server-sent stream; 0 = needs no heartbeat */
	const struct exchange_stream *ops; /* NULL unless streaming */
	void *stream;			   /* owned by ops->on_done */
	struct loop_timer timer;	   /* long poll */
};

struct api {
	struct loop *loop; /* borrowed */
	struct api_config config;
	struct MHD_Daemon *daemon;  /* owned */
	struct loop_io io;	    /* its epoll descriptor */
	struct loop_timer late;	    /* it begins then, ready or not */
	struct loop_timer timer;    /* its next deadline, or now */
	struct loop_timer tick;	    /* heartbeats and clients that left, each second while any waits */
	struct loop_timer log_tick; /* log followers look at their files */
	struct exchange *all;
	unsigned exchanges, streams, parked;
	struct api_auth *auth;					   /* owned */
	struct api_state *state;				   /* owned: the cached node state */
	bool dead;						   /* api_free was called */
	bool events_moved;					   /* events were added in the open transaction */
	const char *scheme;					   /* of the URLs shown */
	uint64_t requests[6], auth_failures, refused, sent_events; /* counters for /metrics */
};

/* Suspends the exchange until api_wake(); harmless twice. */
void api_suspend(struct exchange *x);
void api_wake(struct exchange *x);

/* The answers.  Each prepares exactly one answer (a second call is a bug); 4xx and 5xx are problem+json.
 * json is taken. */
void api_answer_json(struct exchange *x, unsigned status, json_t *json);
void api_answer_text(struct exchange *x, unsigned status, const char *type, const char *p, size_t n);
void api_answer_empty(struct exchange *x, unsigned status);
void api_answer_problem(struct exchange *x, unsigned status, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The problem that fits an error of a lower room; e->text is shown, but not that of -EIO and the like. */
void api_answer_err(struct exchange *x, const struct err *e);
/* 200 whose body comes from ops->read. */
void api_answer_stream(struct exchange *x, const char *type);
/* Sets a header of the prepared answer. */
void api_answer_header(struct exchange *x, const char *name, const char *value);
/* A prepared answer that is kept by its owner (a cache) for other exchanges too. */
void api_answer_shared(struct exchange *x, unsigned status, struct MHD_Response *r);
/* Title of a status: "Not Found". */
const char *api_status_title(unsigned status);
/* ETag of a body, quoted, into out. */
void api_etag(const void *p, size_t n, char out[36]);
/* True when If-None-Match names this tag. */
bool api_etag_matches(struct exchange *x, const char *etag);

/* Request headers and query: NULL when absent.  api_query_read decodes the query; false when it prepared a 400. */
const char *api_header(struct exchange *x, const char *name);
bool api_query_read(struct exchange *x);
const char *api_query(struct exchange *x, const char *name);
/* Whole number and flag (1/0/true/false) of the query.  False when an answer (400) was prepared. */
bool api_query_u64(struct exchange *x, const char *name, uint64_t min, uint64_t max, uint64_t *ret);
bool api_query_flag(struct exchange *x, const char *name, bool *ret);
/* Decodes %XX in place; false when malformed or NUL is in it. */
bool api_unescape(char *s);

/* Counts the exchange among the streams; false when a 429 or 503 was prepared. */
bool api_stream_count(struct exchange *x);
/* Makes it a stream with ops; state is freed by ops->on_done. */
void api_stream_set(struct exchange *x, const struct exchange_stream *ops, void *state);

/* The store is being written: arranges the commit. */
void api_written(struct api *a);

/* Wakes the followers of events whom ev concerns; all of them when ev is NULL. */
void api_events_wake(struct api *a, const struct model_event *ev);

#endif
