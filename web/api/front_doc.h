/* The settings of an app's front door as the store keeps them (JSON), as the API shows and changes them, and as the
 * message that tells the workers.  Layer web, control process.
 *
 *   {"key":hex,"maintenance":{"on","text","retry_after","allow":[]},"sticky","auth":{"realm","users":{name:digest}},
 *    "allow":[],"limits":{"requests_per_second",…},"routes":[{"path","app":id,"strip"}]}
 *
 * A member that is missing has its default.  Passwords are not kept: only HMAC-SHA256 of "name:password" under the key,
 * which is made with the first setting and stays. */
#ifndef TULOU_WEB_API_FRONT_DOC_H
#define TULOU_WEB_API_FRONT_DOC_H

#include "base/buf.h"
#include "base/err.h"
#include "web/proxy/front.h"

#include <jansson.h>

#define FRONT_DOC_MAX (64u << 10) /* bytes of the text: all lists full are below 32 KiB */

/* What is stored as a new reference; text NULL or "": a fresh one. NULL when out of memory or unreadable. */
json_t *front_doc_read(const char *text);
/* As anyone may see it: all members, no key, names of users alone. A new reference. */
json_t *front_doc_show(json_t *doc);
/* Changes doc by what a PATCH says; 0, or negative errno with the field and doc half changed: it is thrown away then.
 */
int front_doc_patch(json_t *doc, json_t *patch, struct err *e);

/* The canary's part: percents, "Name=value" or "Name" ("" = none), instances; and what is set. */
int front_doc_canary_set(json_t *doc, uint64_t weight, const char *header, uint64_t instances, struct err *e);
json_t *front_doc_canary(json_t *doc); /* borrowed: {"weight","header","instances"}; NULL = none */

/* Routes: adds (-EEXIST, -EDQUOT) and removes (-ENOENT) a prefix. */
int front_doc_route_add(json_t *doc, const char *path, int64_t app, bool strip, struct err *e);
int front_doc_route_del(json_t *doc, const char *path, struct err *e);
json_t *front_doc_routes(json_t *doc); /* borrowed array; NULL = none */

/* Is there anything that a worker must know? */
bool front_doc_empty(json_t *doc);
/* Appends the message of doc, with app, tenant's slot and totals from *base; 0, -ENOMEM, -ENOSPC, -EINVAL. */
int front_doc_message(json_t *doc, const struct proxy_msg_front *base, struct buf *out);

#endif
