/* What a new quota or plan does to tenants and apps, for the answer to whoever set it.  Layer web, control process. */
#ifndef TULOU_WEB_API_LOWERED_H
#define TULOU_WEB_API_LOWERED_H

#include "web/api/exchange.h"

/* The limits of the tenant's apps by name, before; owned by the caller. */
json_t *lowered_before(struct api *a, int64_t tenant);
/* Adds to the answer what is so now, and nothing when there is nothing to say (numbers in the units of
 * fields_limits() and fields_quota()):
 *   "lowered": [{"app", "tenant", "from": limits, "to": limits}]     apps that follow the plan or the node: what fell
 *   "raised":  [the same]                                            and what rose
 *   "above":   [{"app", "tenant", "limits": limits, "quota": quota}] apps whose own limits are more than the tenant may
 *                                                                    have in all: they start no new instance
 *   "over":    [{"tenant", "committed": quota, "limit": quota}]      tenants that have committed more than a total:
 *                                                                    what runs stays, nothing more starts
 * Each has LIMIT_API_LOWERED at most; how many more there are is in "lowered_more", "raised_more", … */
void lowered_add(struct api *a, const struct model_tenant *t, json_t *before, json_t *answer);
/* Both for all tenants on a plan. */
json_t *lowered_before_plan(struct api *a, int64_t plan);
void lowered_add_plan(struct api *a, int64_t plan, json_t *before, json_t *answer);
/* Adds "clamped": {"limits", "quota"}, the limits of a plan that are above its own quota: an instance gets the quota's
 * (quota_clamp).  Nothing when there are none. */
void lowered_clamped(const struct quota_limits *limits, const struct quota *quota, json_t *answer);

#endif
