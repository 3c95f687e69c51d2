/* The front door of one app as control tells it to the workers: one message that replaces all settings at once, so that
 * no request meets half of them.  Layer web, control and proxy.
 *
 * Only apps that have any such setting have a front; the others cost a worker one pointer test per request. */
#ifndef TULOU_WEB_PROXY_FRONT_H
#define TULOU_WEB_PROXY_FRONT_H

#include "base/buf.h"
#include "config/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A network; IPv4 lies in ::ffff:0:0/96. */
struct front_net {
	uint8_t address[16];
	uint8_t bits; /* 0..128 */
};

enum front_flag {
	FRONT_MAINTENANCE = 1, /* 503 but for addresses in `pass` */
	FRONT_STICKY = 2,      /* a client stays with its instance */
	FRONT_AUTH = 4,	       /* basic auth: one of `users`; none of them = nobody */
	FRONT_ALLOW = 8,       /* only addresses in `allow` */
	FRONT_CANARY = 16,     /* some requests go to instances of the canary */
};

/* A token bucket: 0 a second = no limit. */
struct front_rate {
	uint32_t per_s, burst; /* burst at least 1 where per_s is */
};

/* Followed by the lists, in this order, without gaps: allow and pass (struct front_net), users (32 bytes each), paths
 * (struct front_path_head and its bytes), realm, text, header and value (of the canary; in lower case; no value = any).
 */
struct proxy_msg_front {
	uint64_t app;
	uint64_t body_max;		       /* bytes of a request's body; 0 = no limit */
	uint32_t flags;			       /* enum front_flag */
	uint32_t retry_s;		       /* Retry-After of maintenance */
	struct front_rate rate, client, total; /* of the app, of one address with it, of its whole tenant */
	uint32_t in_flight, total_in_flight;   /* requests at a time; 0 = no limit */
	uint32_t tenant_slot;		       /* < LIMIT_TENANTS: whose total */
	uint32_t time_ms;		       /* head complete to the last byte of the answer; 0 = no limit */
	uint8_t key[32];		       /* of the app: keys its digests, cookies and addresses */
	uint16_t allow, pass, users, paths, realm, text, header, value; /* counts; bytes of the last four */
	uint32_t weight; /* percent of the requests that the canary gets, besides those with its header */
	uint32_t pad;
};

struct front_path_head {
	uint64_t app; /* of the same tenant */
	uint8_t strip, len;
};

#define FRONT_MSG_MAX 16384

/* A front as a worker has it: lists point into `data`. */
struct front_path {
	uint64_t app;
	bool strip;
	uint8_t len;
	const char *path;
};
struct front {
	struct proxy_msg_front m;
	const struct front_net *allow, *pass;
	const uint8_t *users;			    /* 32 bytes each */
	struct front_path paths[LIMIT_FRONT_PATHS]; /* longest first */
	const char *realm, *text, *header, *value;
	unsigned turn; /* of the canary: percents that it has not had yet */
	unsigned mark; /* of the last sync that named it */
	char data[];
};

/* Takes a message apart; NULL when its lengths do not fit, a value is out of range, or out of memory.  free() it. */
struct front *front_read(const void *msg, size_t n);

/* The digest of a user as the worker compares it: HMAC-SHA256 under the app's key of "user:password". */
void front_user(const uint8_t key[32], const char *userpass, size_t n, uint8_t out[32]);

/* "203.0.113.0/24", "2001:db8::/32", or one address; bits below the prefix must be zero.  0 or -EINVAL. */
int front_net_parse(const char *s, struct front_net *ret);
/* The shortest form: IPv4 as such. */
#define FRONT_NET_TEXT 52
void front_net_text(const struct front_net *n, char out[FRONT_NET_TEXT]);
bool front_net_has(const struct front_net *nets, unsigned count, const uint8_t address[16]);

/* How a path is looked at when an app has prefixes: true when programs may disagree where it leads (a segment "." or
 * "..", also with %2e or with parameters behind ';', or a backslash).  target may have a query, which is not looked at.
 */
bool front_path_ambiguous(const char *target, size_t n);
/* The longest prefix that the path begins with on a segment's border, byte for byte as it was sent; NULL when none. */
const struct front_path *front_path_find(const struct front *f, const char *target, size_t n);
/* What a prefix must be: "/", segments of unreserved characters, no end slash; 0 or -EINVAL with the field. */
struct err;
int front_path_check(const char *path, const char *field, struct err *e);

/* Takes one from a bucket kept as the time at which it is full again, in ns of the monotonic clock, shared between
 * processes (GCRA).  0, or how many ns until there is one. take false: only looks. */
uint64_t front_take(_Atomic uint64_t *full_ns, uint64_t now_ns, const struct front_rate *r, bool take);

#endif
