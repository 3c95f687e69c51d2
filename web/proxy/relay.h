/* What the files of the relay do for each other; what others ask of it is in internal.h.  Layer web, proxy process. */
#ifndef TULOU_WEB_PROXY_RELAY_H
#define TULOU_WEB_PROXY_RELAY_H

#include "web/proxy/internal.h"

#define RELAY_BUDGET 16 /* reads of one side before others get their turn */

/* relay.c.  After relay_repeat() gave true, and after relay_ended(), the request may be over, or another attempt at
 * work: nothing of it is to be used any more. */

/* Microseconds that the app may take now without a byte. */
int64_t relay_patience_us(const struct client *c);
/* Sets the request's timer to a monotonic time in microseconds. */
void relay_timer(struct client *c, int64_t at_us);
/* Gives the upstream connection back, to be kept for others or closed. */
void relay_release(struct client *c, bool keep);
/* Whether the same may be asked once more (RFC 9110, 9.2.2; RFC 9113, 8.7): no byte of an answer came. */
bool relay_may_repeat(struct client *c);
/* Begins that attempt; false: there is nobody to ask, the caller answers. */
bool relay_repeat(struct client *c);
/* The app's connection ended, or failed (r: 0 or negative errno), before the answer did. */
void relay_ended(struct client *c, ssize_t r);

/* relay_request.c: client to app.  False when the request was ended, or another attempt begun. */
bool relay_send_head(struct client *c);
bool relay_request(struct client *c);

/* relay_answer.c: app to client.  False likewise. */
bool relay_response(struct client *c);

#endif
