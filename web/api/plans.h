/* What other resources need of plans.  Layer web, control process. */
#ifndef TULOU_WEB_API_PLANS_H
#define TULOU_WEB_API_PLANS_H

#include "web/api/exchange.h"

/* The plan that obj[key] names; 0 for null, *ret untouched when the key is missing.  0, -EINVAL or -ENOENT with the
 * field. */
int plans_find(struct exchange *x, json_t *obj, const char *key, int64_t *ret, struct err *e);
/* The limits of an app that has none of its own: those of the tenant's plan, else the node's, within the quota. */
void plans_followed(struct api *a, const struct model_tenant *t, struct quota_limits *ret);

#endif
