/* What an app's front door asks of a request before it reaches an instance.  Layer web, proxy process; private. */
#ifndef TULOU_WEB_PROXY_POLICY_H
#define TULOU_WEB_PROXY_POLICY_H

#include "web/proxy/internal.h"

/* A message PROXY_FRONT for an app that is known; and the end of one. */
void policy_front(struct proxy *p, const void *body, size_t len);
void policy_front_del(struct proxy *p, uint64_t app);
/* Removes the front if the sync that just ended did not name it. */
void policy_sweep(struct proxy *p, struct app *a);

/* Which app of host's the request is for: by path prefixes.  FAULT_NONE, or why it may not go on; *ret is set in any
 * case.  Only for apps with a front. */
enum fault policy_path(struct client *c, struct app *host, struct app **ret);

/* May the request go on?  False when it was answered.  Only for apps with a front; once per request. */
bool policy_check(struct client *c);

/* The same for one that waited while the door was changed (client_policy.stale). */
bool policy_recheck(struct client *c);

/* The instance for a client that stays with one, or of the release that the request is for; NULL: any will do. */
struct instance *policy_pick(struct client *c);

/* Takes what is ours out of the parsed head in p->req: credentials that were checked, the cookie. */
void policy_request(struct client *c);
/* Appends our fields to an answer's head. */
char *policy_response(struct client *c, char *o);
/* Lines of a head that a fault needs, "" when none; cap of at least 160. */
void policy_fault_fields(struct client *c, enum fault f, char *out, size_t cap);

/* The request is over: its place among those in flight is free. */
void policy_done(struct client *c);

#endif
