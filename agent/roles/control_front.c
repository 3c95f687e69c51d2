/* Front doors: what the workers are told of an app's own settings and of its tenant's totals.  Layer agent, control
 * process. */
#include "agent/roles/control_core.h"

#include "base/log.h"
#include "base/own.h"
#include "web/api/front_doc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The message as it is to be now; empty when the app's front door is as any other.  False when that is not known. */
static bool front_make(struct control_app *ca, struct buf *out)
{
	struct proxy_msg_front base = {.app = (uint64_t)ca->rec.id, .tenant_slot = ca->tenant->rec.slot};
	OWN_FREE char *text = NULL;
	int r;
	OWN_JSON json_t *doc = NULL;

	base.total.per_s = ca->tenant->rec.quota.requests;
	base.total.burst = base.total.per_s <= LIMIT_FRONT_RATE / 2 ? base.total.per_s * 2 : LIMIT_FRONT_RATE;
	base.total_in_flight = ca->tenant->rec.quota.concurrent;
	if (ca->rec.canary > 0)
		base.flags = FRONT_CANARY;
	r = store_front_get(ca->control->store, ca->rec.id, &text, NULL);
	if (r < 0 && r != -ENOENT)
		return false;
	if (r < 0 && !base.flags && !base.total.per_s && !base.total_in_flight)
		return true;
	doc = front_doc_read(text);
	ca->canary_count = (unsigned)json_integer_value(json_object_get(front_doc_canary(doc), "instances"));
	if (ca->canary_count == 0)
		ca->canary_count = 1;
	if (!doc)
		return false;
	if (front_doc_empty(doc) && !base.flags && !base.total.per_s && !base.total_in_flight)
		return true;
	if (front_doc_message(doc, &base, out) < 0) {
		LOG_WARN("front door cannot be told", "app=%s bytes=%zu", ca->rec.name, out->len);
		buf_clear(out);
		return false;
	}
	return true;
}

void control_front_load(struct control_app *ca)
{
	OWN_BUF struct buf now;
	struct proxy_msg_id gone = {(uint64_t)ca->rec.id};

	buf_init(&now, FRONT_MSG_MAX);
	if (!front_make(ca, &now)) {
		struct proxy_msg_front shut = {.app = (uint64_t)ca->rec.id, .flags = FRONT_MAINTENANCE};
		/* Better shut than without the door that its owner had built: what holds goes on, else nobody gets in.
		 */
		LOG_ERROR("front door not known, kept as it was", "app=%s shut=%d", ca->rec.name, !ca->front);
		if (ca->front)
			return;
		buf_clear(&now);
		buf_add(&now, &shut, sizeof shut);
	}
	if (now.len == ca->front_len && (!ca->front || memcmp(now.data, ca->front, now.len) == 0))
		return;
	control_routes_app(ca, false); /* the app first */
	if (now.len)
		control_routes_all(ca->control, PROXY_FRONT, now.data, now.len);
	else
		control_routes_all(ca->control, PROXY_FRONT_DEL, &gone, sizeof gone);
	free(ca->front);
	ca->front_len = now.len;
	ca->front = now.len ? buf_take(&now) : NULL;
	if (!ca->front)
		ca->front_len = 0;
}

void control_front_sync_app(struct control_worker *w, struct control_app *ca)
{
	if (ca->front)
		control_routes_send(w, PROXY_FRONT, ca->front, ca->front_len, NULL, 0);
}
