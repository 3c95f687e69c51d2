/* Messages between control and a proxy worker.  Layer web.
 *
 * Control describes the whole routing table: apps, hosts that lead to them, instances that serve them.  After a new
 * channel it sends PROXY_SYNC_BEGIN, everything, PROXY_SYNC_END; what was not named between the two is removed then, so
 * a worker serves on with old routes while control is away. */
#ifndef TULOU_WEB_PROXY_MESSAGES_H
#define TULOU_WEB_PROXY_MESSAGES_H

#include "base/chan.h"
#include "config/limits.h"
#include "web/proxy/front.h"
#include "web/proxy/talkers.h"

#include <stdint.h>

enum proxy_msg_type {
	/* control -> proxy */
	PROXY_SYNC_BEGIN = 128, /* empty */
	PROXY_SYNC_END,		/* empty */
	PROXY_APP,		/* struct proxy_msg_app: add or change */
	PROXY_APP_DEL,		/* struct proxy_msg_id */
	PROXY_HOST,		/* struct proxy_msg_host: host (exact or "*.x") leads to app */
	PROXY_HOST_DEL,		/* struct proxy_msg_host */
	PROXY_INSTANCE,		/* struct proxy_msg_instance: add, or change its state; fds: none, or O_PATH the folder
				   of its unix socket */
	PROXY_INSTANCE_DEL,	/* struct proxy_msg_id: upstream connections closed at once */
	PROXY_BARRIER,		/* struct proxy_msg_id: answered by PROXY_BARRIER_DONE when all before it is in force */
	PROXY_CERT, /* struct proxy_msg_cert; fds: sealed memfd of PEM, chain then key: add, or replace what has the id
		     */
	PROXY_CERT_DEL,	     /* struct proxy_msg_id */
	PROXY_TICKETS,	     /* struct proxy_msg_tickets */
	PROXY_CHALLENGE,     /* struct proxy_msg_challenge: answer it over plain HTTP */
	PROXY_CHALLENGE_DEL, /* the same; only host and token are looked at */
	PROXY_STAPLE,	     /* struct proxy_msg_staple; fds: sealed memfd of an OCSP response in DER */
	PROXY_FRONT,	     /* struct proxy_msg_front (front.h) with its lists: all settings of an app's front door */
	PROXY_FRONT_DEL,     /* struct proxy_msg_id: the app has none any more */
	PROXY_SPREAD,	     /* struct proxy_msg_spread: after its app */
	PROXY_WATCH,	     /* struct proxy_msg_watch: count who talks; answered when the time is over */
	PROXY_WATCH_DEL,     /* struct proxy_msg_id: nobody waits for it any more */

	/* proxy -> control */
	PROXY_BARRIER_DONE = 160, /* struct proxy_msg_id */
	PROXY_DRAINED,		  /* struct proxy_msg_id: a draining instance has no request in flight here */
	PROXY_WAKE,	  /* struct proxy_msg_id: app has a request waiting and no instance (at most one per second) */
	PROXY_FAILING,	  /* struct proxy_msg_id: instance refused a connection (at most one per second) */
	PROXY_WATCH_ROWS, /* struct proxy_msg_watch_rows with as many as it says: one for each kind */
	PROXY_WATCH_DONE, /* struct proxy_msg_watch_done: after them */
};

struct proxy_msg_id {
	uint64_t id;
};

enum proxy_app_state {
	PROXY_APP_SERVING, /* has instances, or will at once: requests wait for one up to wait_ms, then 503 */
	PROXY_APP_EMPTY,   /* never deployed or scaled to 0: 503 at once, page says so */
	PROXY_APP_CRASHED, /* crash loop: 503 at once, page says so */
	PROXY_APP_PAUSED,  /* 503 at once */
	PROXY_APP_HOLD,	   /* all requests wait, whatever instances there are */
	PROXY_APP_STATE_COUNT,
};

enum proxy_https {
	PROXY_HTTPS_ON,	      /* both are served */
	PROXY_HTTPS_OFF,      /* 421 over TLS */
	PROXY_HTTPS_REDIRECT, /* 308 to https, once the worker has a listener for it */
	PROXY_HTTPS_COUNT,
};

struct proxy_msg_app {
	uint64_t app, tenant;
	uint32_t slot;	  /* row in the stats segment, < LIMIT_APPS; stable while the app exists */
	uint32_t state;	  /* enum proxy_app_state */
	uint32_t wait_ms; /* how long a request may wait for an instance */
	uint32_t https;	  /* enum proxy_https */
	uint32_t hsts_s;  /* Strict-Transport-Security: max-age; 0 = none */
	uint32_t pad;
	char name[LIMIT_APP_NAME + 1];
};

/* How the requests of an app are spread. */
struct proxy_msg_spread {
	uint64_t app;
	uint32_t concurrency; /* requests that one instance has at a time, over all workers; 0 = not limited */
	uint32_t access;      /* its own access log: 0 = none, n = one request of n */
};

struct proxy_msg_host {
	uint64_t app;
	char host[LIMIT_HOST + 1];
};

enum proxy_instance_state {
	PROXY_INSTANCE_UP,
	PROXY_INSTANCE_DRAINING,
	PROXY_INSTANCE_SICK, /* up, but its health check fails: used when no other is up */
	PROXY_INSTANCE_STATE_COUNT,
};
enum proxy_protocol {
	PROXY_PROTOCOL_HTTP1,
	PROXY_PROTOCOL_H2C, /* HTTP/2 by prior knowledge, without TLS */
	PROXY_PROTOCOL_COUNT,
};

struct proxy_msg_instance {
	uint64_t app, instance; /* an instance id is never used again: it is the generation too */
	uint32_t address;	/* IPv4, host byte order */
	uint16_t port;		/* both say nothing for one with a unix socket */
	uint16_t state;		/* enum proxy_instance_state */
	uint32_t group;		/* 0, or 1: of the app's canary */
	uint32_t protocol;	/* enum proxy_protocol; never changes */
};

enum proxy_cert_kind {
	PROXY_CERT_APP,	      /* for hosts of its app */
	PROXY_CERT_NODE,      /* for any host that no certificate of its app fits */
	PROXY_CERT_DEFAULT,   /* where nothing fits, and for clients that name no host */
	PROXY_CERT_CHALLENGE, /* shown only to who asks for the protocol acme-tls/1 (RFC 8737) */
	PROXY_CERT_KIND_COUNT,
};
struct proxy_msg_cert {
	uint64_t id, app; /* an id is used once in the life of a database; app 0 unless PROXY_CERT_APP */
	uint32_t kind;	  /* enum proxy_cert_kind */
	uint32_t len;	  /* bytes in the memfd, up to 2 * LIMIT_CERT_BYTES */
};

/* Keys that seal session tickets, the one to seal with first.  A worker keeps those that it had before as well, up to
 * LIMIT_TLS_TICKET_KEYS, so that a new control does not end the sessions of the one before. */
struct proxy_ticket_key {
	uint8_t name[16], cipher[32], mac[32];
};
struct proxy_msg_tickets {
	uint32_t count; /* 1..LIMIT_TLS_TICKET_KEYS */
	uint32_t pad;
	struct proxy_ticket_key key[LIMIT_TLS_TICKET_KEYS];
};

/* RFC 8555, 8.3: GET /.well-known/acme-challenge/<token> for the host is answered with `answer`, before anything else
 * is asked of the request.  At most LIMIT_ACME_CHALLENGES at a time. */
struct proxy_msg_challenge {
	char host[LIMIT_HOST + 1];
	char token[LIMIT_ACME_TOKEN + 1];   /* base64url */
	char answer[LIMIT_ACME_TOKEN + 48]; /* token "." thumbprint */
};

/* Handed out with the certificate to who asks for it (RFC 6066, 8), until the time; replaces an older one.  A time of
 * the past: none is handed out. */
struct proxy_msg_staple {
	uint64_t id;	  /* of the certificate */
	int64_t until_ms; /* wall clock */
	uint32_t len;	  /* 1..LIMIT_STAPLE_BYTES */
	uint32_t pad;
};

struct proxy_msg_watch {
	uint64_t id;  /* used once in the life of a control */
	uint64_t app; /* 0: all that comes to the worker */
	uint32_t by;  /* enum talk_by */
	uint32_t ms;  /* 1 .. LIMIT_TALK_S seconds */
};
struct proxy_msg_watch_rows {
	uint64_t id;
	uint32_t kind, count; /* enum talk_kind; 1 .. LIMIT_TALK_ROWS */
	uint64_t unseen;
	struct talk_row row[LIMIT_TALK_ROWS];
};
_Static_assert(sizeof(struct proxy_msg_watch_rows) <= CHAN_BODY_MAX, "a sketch must fit one message");
struct proxy_msg_watch_done {
	uint64_t id, sampled;
	struct talk_cost total; /* of all, also those that were not looked at */
};

extern const struct chan_rule proxy_rules_from_control[];
extern const size_t proxy_rules_from_control_count;
extern const struct chan_rule proxy_rules_from_proxy[];
extern const size_t proxy_rules_from_proxy_count;

#endif
