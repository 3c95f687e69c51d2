/* Events: pages, and followers by server-sent events.  Layer web, control process.
 *
 * A follower keeps a cursor and reads the store from there when it is woken: nothing is queued for a slow one. */
#include "base/clock.h"
#include "base/own.h"
#include "base/parse.h"
#include "web/api/fields.h"
#include "web/api/route.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define BATCH 50 /* events read at a time */

struct follower {
	int64_t cursor; /* id of the last event sent */
	struct buf out;
};

/* Names of the newest few tenants and apps would be asked for again and again: one is remembered. */
struct event_names {
	struct store *store;
	int64_t tenant, app;
	char tenant_name[LIMIT_TENANT_NAME + 1], app_name[LIMIT_APP_NAME + 1];
};

static json_t *event_json(struct event_names *n, const struct model_event *ev)
{
	struct model_tenant t;
	struct model_app a;
	char instance[24] = "";

	if (ev->tenant && ev->tenant != n->tenant) {
		n->tenant = ev->tenant;
		*n->tenant_name = 0;
		if (store_tenant_get(n->store, ev->tenant, &t, NULL) == 0)
			memcpy(n->tenant_name, t.name, sizeof n->tenant_name);
	}
	if (ev->app && ev->app != n->app) {
		n->app = ev->app;
		*n->app_name = 0;
		if (store_app_get(n->store, ev->app, &a, NULL) == 0)
			memcpy(n->app_name, a.name, sizeof n->app_name);
	}
	if (ev->instance)
		snprintf(instance, sizeof instance, "%" PRId64, ev->instance);
	return json_pack("{s:I, s:o, s:s, s:o, s:o, s:o, s:o}", "id", (json_int_t)ev->id, "time",
			 fields_time(ev->time_ms), "kind", ev->kind, "tenant",
			 ev->tenant ? fields_text(n->tenant_name) : json_null(), "app",
			 ev->app ? fields_text(n->app_name) : json_null(), "instance", fields_text(instance), "text",
			 fields_safe(ev->text));
}

struct event_walk {
	struct fields_page page;
	struct event_names names;
	struct follower *follower;
};

static int events_row(void *arg, const struct model_event *ev)
{
	struct event_walk *w = arg;

	if (fields_page_full(&w->page))
		return 1;
	return fields_page_add(&w->page, ev->id, event_json(&w->names, ev));
}

static int follower_row(void *arg, const struct model_event *ev)
{
	struct event_walk *w = arg;
	json_t *j = event_json(&w->names, ev);
	OWN_FREE char *text = json_dumps(j, JSON_COMPACT);

	json_decref(j);
	if (text)
		buf_printf(&w->follower->out, "id: %" PRId64 "\nevent: %s\ndata: %s\n\n", ev->id, ev->kind, text);
	w->follower->cursor = ev->id;
	return 0;
}

static ssize_t follower_read(struct exchange *x, char *p, size_t max)
{
	struct follower *f = x->stream;
	size_t n;

	if (f->out.len == 0) {
		struct event_walk w = {.names = {.store = x->api->config.store}, .follower = f};
		store_event_list(w.names.store, x->app.id ? x->app.tenant : x->who.tenant, x->app.id, f->cursor, BATCH,
				 follower_row, &w, NULL);
	}
	if (f->out.len == 0 && clock_mono_us() - x->beat_us >= LIMIT_API_HEARTBEAT_MS * 1000ll)
		buf_adds(&f->out, ":\n\n");
	n = f->out.len < max ? f->out.len : max;
	if (n) {
		memcpy(p, f->out.data, n);
		buf_consume(&f->out, n);
		x->api->sent_events++;
	}
	return (ssize_t)n;
}

static void follower_on_done(struct exchange *x, bool whole)
{
	struct follower *f = x->stream;

	(void)whole;
	buf_done(&f->out);
	free(f);
}

static const struct exchange_stream follower_stream = {.read = follower_read, .on_done = follower_on_done};

void api_events_wake(struct api *a, const struct model_event *ev)
{
	struct exchange *x;

	for (x = a->all; x; x = x->next) {
		if (x->ops != &follower_stream)
			continue;
		if (ev && ((x->who.tenant && ev->tenant != x->who.tenant) || (x->app.id && ev->app != x->app.id)))
			continue;
		api_wake(x);
	}
}

/* Without ?after= the newest `limit`; Last-Event-ID, which browsers send when they come back, counts as after. */
void api_events_get(struct exchange *x)
{
	const char *accept = api_header(x, "Accept"), *last = api_header(x, "Last-Event-ID");
	int64_t tenant = x->app.id ? x->app.tenant : x->who.tenant;
	struct event_walk w = {.names = {.store = x->api->config.store}};
	bool follow = accept && strstr(accept, "text/event-stream");
	struct follower *f;
	struct err e = {0};
	uint64_t id;
	int r;

	if (!api_query_flag(x, "follow", &follow) || !fields_page_read(x, &w.page))
		return;
	if (follow && last && parse_u64(last, strlen(last), 0, INT64_MAX, "Last-Event-ID", &id, NULL) == 0)
		w.page.after = (int64_t)id;
	if (!follow) {
		bool newest = w.page.after < 0;
		r = store_event_list(w.names.store, tenant, x->app.id, w.page.after,
				     newest ? w.page.limit : w.page.limit + 1, events_row, &w, &e);
		if (r < 0) {
			json_decref(w.page.items);
			api_answer_err(x, &e);
			return;
		}
		fields_page_answer(x, &w.page, r > 0);
		return;
	}
	json_decref(w.page.items);
	if (!api_stream_count(x) || !(f = calloc(1, sizeof *f)))
		return;
	buf_init(&f->out, (BATCH + LIMIT_API_PAGE) * 4096);
	w.follower = f;
	buf_adds(&f->out, ":\n\n"); /* something at once: the client sees that the stream stands */
	if (w.page.after >= 0)
		f->cursor = w.page.after;
	else {
		f->cursor = 0;
		store_event_list(w.names.store, tenant, x->app.id, -1, w.page.limit, follower_row, &w, NULL);
	}
	x->beat_us = clock_mono_us();
	api_stream_set(x, &follower_stream, f);
	api_answer_stream(x, "text/event-stream");
}
