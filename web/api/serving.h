/* The object "serving" of an app.  Layer web, control process. */
#ifndef TULOU_WEB_API_SERVING_H
#define TULOU_WEB_API_SERVING_H

#include "base/err.h"
#include "base/json.h"
#include "store/store.h"

/* {"concurrency","drain_seconds","rollout","access_log","hold"}: a new reference. */
json_t *serving_json(struct store *s, int64_t app);
/* The app's present values with what the member "serving" of a body changes; *given: there is one.  0 or negative
 * errno, e names the field. */
int serving_read(struct store *s, int64_t app, json_t *body, struct model_serving *f, bool *given, struct err *e);

#endif
