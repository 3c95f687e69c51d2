/* The state of the node for polling controllers.  Layer web, control process. */
#include "web/api/state.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/own.h"
#include "base/parse.h"
#include "web/api/fields.h"
#include "web/api/route.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define ROW_KEEP_US 30000000 /* a kept row is read anew after this, whatever we were told */

struct state_row {
	int64_t app, release, candidate;
	int64_t read_us;
	uint64_t seen; /* number of the build that used it last */
	char *text;    /* owned: "name":…,"tenant":…,"release":…,"formation":{…} */
};

struct api_state {
	struct map *rows;	       /* app id -> struct state_row, owned */
	struct MHD_Response *response; /* owned: the newest body */
	uint64_t generation, builds;
	int64_t built_us;
	struct loop_timer wake;
	char etag[28];
};

int api_state_new(struct api_state **ret, struct err *e)
{
	struct api_state *s = calloc(1, sizeof *s);

	if (!s || !(s->rows = map_new())) {
		free(s);
		return err_set(e, ENOMEM, "out of memory");
	}
	*ret = s;
	return 0;
}

static void row_free(struct state_row *r)
{
	if (r)
		free(r->text);
	free(r);
}

void api_state_free(struct api_state *s)
{
	size_t pos = 0;
	void *r;

	if (!s)
		return;
	loop_timer_stop(&s->wake);
	while ((r = map_next(s->rows, &pos)))
		row_free(r);
	map_free(s->rows);
	if (s->response)
		MHD_destroy_response(s->response);
	free(s);
}

void api_state_forget(struct api *a, int64_t app)
{
	row_free(map_del(a->state->rows, &app, sizeof app));
}

json_t *api_node_json(struct api *a)
{
	json_t *node = a->config.ops->node(a->config.ops->ctx);

	if (!node)
		node = json_object();
	json_object_set_new(node, "generation", json_integer((json_int_t)store_generation(a->config.store)));
	return node;
}

struct state_build {
	struct api *api;
	struct buf out;
	int64_t now_us;
	bool comma;
};

/* The kept text of an app, read anew when its release moved. */
static const struct state_row *state_row(struct state_build *b, const struct model_app *app)
{
	struct api_state *s = b->api->state;
	struct state_row *r = map_get(s->rows, &app->id, sizeof app->id);
	OWN_FREE char *formation = NULL;
	struct model_release rel = {0};
	OWN_BUF struct buf text = {.max = 4096};
	json_t *j;

	if (r && r->release == app->release && r->candidate == app->candidate && b->now_us - r->read_us < ROW_KEEP_US)
		return r;
	if (!r) {
		r = calloc(1, sizeof *r);
		if (!r)
			return NULL;
		r->app = app->id;
		if (map_put(s->rows, &r->app, sizeof r->app, r) < 0) {
			free(r);
			return NULL;
		}
	}
	if (app->release && store_release_get(b->api->config.store, app->release, &rel, NULL) == 0)
		model_release_done(&rel);
	j = fields_formation(b->api->config.store, app->id);
	formation = json_dumps(j, JSON_COMPACT);
	json_decref(j);
	/* Names are [a-z0-9-]: nothing to escape. */
	buf_printf(&text, "\"name\":\"%s\",\"tenant\":\"%s\",\"release\":", app->name, app->tenant_name);
	if (rel.version)
		buf_printf(&text, "%u", rel.version);
	else
		buf_adds(&text, "null");
	buf_printf(&text, ",\"formation\":%s", formation ? formation : "{}");
	free(r->text);
	r->text = buf_take(&text);
	r->release = app->release;
	r->candidate = app->candidate;
	/* Spread the re-reading of many rows over time. */
	r->read_us = b->now_us - app->id % 16 * (ROW_KEEP_US / 32);
	return r;
}

static double number(json_t *obj, const char *key)
{
	return json_number_value(json_object_get(obj, key));
}

static int state_app(void *arg, const struct model_app *app)
{
	struct state_build *b = arg;
	const struct ops *ops = b->api->config.ops;
	const struct state_row *row = state_row(b, app);
	OWN_JSON json_t *stats = ops->app_stats(ops->ctx, app->id);
	const char *state = json_string_value(json_object_get(stats, "state"));
	struct state_row *mine;

	if (!row)
		return -ENOMEM;
	mine = map_get(b->api->state->rows, &app->id, sizeof app->id);
	mine->seen = b->api->state->builds;
	buf_printf(&b->out, "%s{%s,\"state\":\"%s\",\"running\":%.0f,\"memory_bytes\":%.0f,\"cpu_seconds\":%.3f}",
		   b->comma ? "," : "", row->text, state ? state : "empty", number(stats, "instances_running"),
		   number(stats, "memory_bytes"), number(stats, "cpu_seconds"));
	b->comma = true;
	return b->out.failed;
}

/* Builds the body unless the present one is fresh enough; 0 or negative errno. */
static int state_refresh(struct api *a, struct err *e)
{
	struct api_state *s = a->state;
	struct state_build b = {.api = a, .now_us = clock_mono_us()};
	uint64_t generation = store_generation(a->config.store);
	OWN_FREE char *head = NULL, *text = NULL;
	struct MHD_Response *fresh;
	struct state_row *row;
	json_t *node;
	size_t pos = 0, len;
	int r;

	if (s->response && s->generation == generation && b.now_us - s->built_us < LIMIT_API_STATE_MS * 1000ll)
		return 0;
	node = api_node_json(a);
	head = json_dumps(node, JSON_COMPACT | JSON_REAL_PRECISION(12));
	json_decref(node);
	buf_init(&b.out, LIMIT_API_STATE_BYTES);
	s->builds++;
	buf_printf(&b.out, "{\"generation\":%" PRIu64 ",\"node\":%s,\"apps\":[", generation, head ? head : "{}");
	r = store_app_list(a->config.store, 0, 0, LIMIT_APPS, state_app, &b, e);
	buf_adds(&b.out, "]}");
	if (r == 0)
		r = b.out.failed;
	if (r < 0) {
		buf_done(&b.out);
		return e->code ? r : err_set(e, -r, "the state of the node is too large");
	}
	while ((row = map_next(s->rows, &pos)))
		if (row->seen != s->builds)
			row_free(map_del(s->rows, &row->app, sizeof row->app));
	len = b.out.len;
	text = buf_take(&b.out);
	fresh = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
	if (!fresh)
		return err_set(e, ENOMEM, "out of memory");
	TAKE_PTR(text);
	if (s->response)
		MHD_destroy_response(s->response);
	s->response = fresh;
	s->generation = generation;
	s->built_us = b.now_us;
	snprintf(s->etag, sizeof s->etag, "W/\"%" PRIu64 "\"", generation);
	MHD_add_response_header(fresh, "Content-Type", "application/json");
	MHD_add_response_header(fresh, "Cache-Control", "private, no-cache");
	MHD_add_response_header(fresh, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(fresh, "ETag", s->etag);
	return 0;
}

static void state_answer(struct exchange *x)
{
	struct err e = {0};

	if (state_refresh(x->api, &e) < 0)
		api_answer_err(x, &e);
	else
		api_answer_shared(x, 200, x->api->state->response);
}

static void state_unchanged(struct exchange *x, uint64_t generation)
{
	char etag[28];

	snprintf(etag, sizeof etag, "W/\"%" PRIu64 "\"", generation);
	api_answer_empty(x, 304);
	api_answer_header(x, "ETag", etag);
}

/* A long poll; what it waits for to change is its stream. */
struct state_poll {
	uint64_t since;
};

static void state_on_wake(struct exchange *x)
{
	struct state_poll *p = x->stream;

	if (store_generation(x->api->config.store) != p->since)
		state_answer(x);
	else if (!loop_timer_pending(&x->timer))
		state_unchanged(x, p->since);
}

static void state_on_done(struct exchange *x, bool whole)
{
	(void)whole;
	free(x->stream);
}

static const struct exchange_stream state_stream = {.on_wake = state_on_wake, .on_done = state_on_done};

static void state_on_timeout(void *arg)
{
	api_wake(arg);
}

static void state_on_moved(void *arg)
{
	struct api *a = arg;
	struct exchange *x;

	for (x = a->all; x; x = x->next)
		if (x->ops == &state_stream)
			api_wake(x);
}

/* Many changes in a row wake the pollers once per LIMIT_API_STATE_WAKE_MS. */
void api_state_changed(struct api *a)
{
	struct api_state *s = a->state;
	int64_t due = s->built_us + LIMIT_API_STATE_WAKE_MS * 1000ll - clock_mono_us();

	if (!a->dead && !loop_timer_pending(&s->wake))
		loop_timer_start(a->loop, &s->wake, s->built_us && due > 0 ? due : 0, state_on_moved, a);
}

void api_node_state(struct exchange *x)
{
	const char *wait = api_query(x, "wait"), *since = api_query(x, "since");
	uint64_t generation = store_generation(x->api->config.store), known = 0, wait_ms = 0;
	struct state_poll *p;
	struct err e = {0};
	char etag[28];

	if (!api_query_u64(x, "since", 0, INT64_MAX, &known))
		return;
	if (wait && parse_duration_ms(wait, 0, LIMIT_API_WAIT_MS, "wait", &wait_ms, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	snprintf(etag, sizeof etag, "\"%" PRIu64 "\"", generation);
	if (!since && !api_etag_matches(x, etag)) {
		state_answer(x);
		return;
	}
	if (since && known != generation) {
		state_answer(x);
		return;
	}
	if (wait_ms == 0) {
		state_unchanged(x, generation);
		return;
	}
	if (!api_stream_count(x) || !(p = calloc(1, sizeof *p)))
		return;
	p->since = generation;
	api_stream_set(x, &state_stream, p);
	loop_timer_start(x->api->loop, &x->timer, (int64_t)wait_ms * 1000, state_on_timeout, x);
}
