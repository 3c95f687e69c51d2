/* Who is asking: bearer token, Basic password, or the dashboard's cookie.  Layer web, control process.
 *
 * The cookie is the token sealed with AES-256-GCM under a key kept in the store, so a login survives the death of this
 * process, and ends when the token is revoked, after LIMIT_API_SESSION_MS, or by logging out. */
#ifndef TULOU_WEB_API_AUTH_H
#define TULOU_WEB_API_AUTH_H

#include "web/api/exchange.h"

/* Takes the cookie's key from the store, or makes one (committed here).  0 or negative errno. */
int api_auth_new(struct store *s, struct api_auth **ret, struct err *e);
void api_auth_free(struct api_auth *a);

/* Fills x->who.  False when an answer was prepared: 401, 429 after too many wrong tokens from one address, 403 for a
 * cookie that came from another site. */
bool api_auth_check(struct exchange *x);

/* A token that was just made passes while its address is throttled. */
void api_auth_known(struct api_auth *a, const char *secret);

#endif
