/* JSON fields that several resources share, both ways.  Layer web, control process.
 * Readers: 0 or negative errno with the field and its limits in e. */
#ifndef TULOU_WEB_API_FIELDS_H
#define TULOU_WEB_API_FIELDS_H

#include "web/api/exchange.h"

/* RFC 3339, null for 0. */
json_t *fields_time(int64_t wall_ms);
/* Thousandths of a CPU as cores. */
json_t *fields_cpu(uint64_t milli);
/* A string that may be "": null then. */
json_t *fields_text(const char *s);
/* Text that may hold anything: bytes that are not UTF-8 are shown as \xNN. */
json_t *fields_safe(const char *s);
/* The JSON text of a store column, {} when it is none. */
json_t *fields_object(const char *text);

/* Cores (0.5) to thousandths. */
int fields_get_cpu(json_t *obj, const char *key, uint32_t min, uint32_t max, uint32_t *ret, struct err *e);

json_t *fields_limits(const struct quota_limits *l);
/* Reads limits over *ret; each that obj names must fit the tenant's quota (NULL: none to fit). */
int fields_get_limits(json_t *obj, const struct quota *quota, struct quota_limits *ret, struct err *e);
json_t *fields_quota(const struct quota *q);
/* Reads a quota over *ret. */
int fields_get_quota(json_t *obj, struct quota *ret, struct err *e);

/* Only the numbers that add up over a tenant's instances: what is used of its quota. */
json_t *fields_used(const struct quota *used);

/* {"mode":"list","allow":["203.0.113.0/24:443"]}; allow is there for a list only. */
json_t *fields_egress(const struct quota_egress *g);
/* A name that is not known, fit to be said back: controls escaped, cut. */
#define FIELDS_UNKNOWN 80
void fields_unknown(const char *name, char out[FIELDS_UNKNOWN]);
/* What really holds for an app: its policy within its tenant's and both profiles, with "why" where that is less than
 * the app asks for ("strict profile"), else null. */
json_t *fields_egress_effective(const struct model_tenant *t, const struct model_app *app);
/* Missing keys leave *ret as it is. */
int fields_get_egress(json_t *obj, const char *key, struct quota_egress *ret, struct err *e);
int fields_get_profile(json_t *obj, const char *key, uint32_t *ret, struct err *e);

json_t *fields_release(const struct model_release *r);
json_t *fields_build(const struct model_build *b);
json_t *fields_formation(struct store *s, int64_t app);

/* One page of a list. */
struct fields_page {
	json_t *items; /* owned until fields_page_answer */
	int64_t last;  /* id of the last item: the cursor of the next page */
	unsigned limit, count;
	int64_t after; /* -1 when not asked for */
	struct api *api;
};
/* Reads ?limit= and ?after=; false when a 400 was prepared. */
bool fields_page_read(struct exchange *x, struct fields_page *p);
/* Adds an item (taken); 1 when the page is full: ends a store walk of limit + 1 rows. */
int fields_page_add(struct fields_page *p, int64_t id, json_t *item);
/* True when one more row would not fit: the walk saw the first item of the next page. */
bool fields_page_full(const struct fields_page *p);
/* {"items":…,"next":…}. `more`: there is a next page. */
void fields_page_answer(struct exchange *x, struct fields_page *p, bool more);

#endif
