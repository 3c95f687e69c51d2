/* GET /v1/node/state: the node and its apps for a polling controller.  Layer web, control process.
 *
 * The body is built at most once per generation and LIMIT_API_STATE_MS, and shared by all who ask; what seldom changes
 * of an app (release, formation) is kept as text per app. */
#ifndef TULOU_WEB_API_STATE_H
#define TULOU_WEB_API_STATE_H

#include "web/api/exchange.h"

int api_state_new(struct api_state **ret, struct err *e);
void api_state_free(struct api_state *s);

/* The formation of an app was written: its kept text is read anew. */
void api_state_forget(struct api *a, int64_t app);

/* The node object with its generation; a new reference. */
json_t *api_node_json(struct api *a);

#endif
