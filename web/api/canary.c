/* The canary of an app: a second release that serves a part of its requests.  Layer web, control process. */
#include "web/api/apps.h"
#include "web/api/fields.h"
#include "web/api/front_doc.h"
#include "web/api/route.h"

#include "base/own.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static json_t *canary_doc(struct exchange *x, struct err *e)
{
	OWN_FREE char *text = NULL;
	json_t *doc;
	int r = store_front_get(x->api->config.store, x->app.id, &text, e);

	if (r < 0 && r != -ENOENT)
		return NULL;
	doc = front_doc_read(text);
	if (!doc)
		err_set(e, EIO, "the settings of the front door cannot be read");
	return doc;
}

/* {"version": null when there is none, or "next"}, with what it gets and how it does. */
static json_t *canary_json(struct exchange *x, json_t *doc)
{
	const struct ops *ops = x->api->config.ops;
	json_t *c = x->app.canary ? front_doc_canary(doc) : NULL, *version = json_null(), *live, *o;
	struct model_release r = {0};

	if (x->app.canary == MODEL_CANARY_NEXT)
		version = json_string("next");
	else if (x->app.canary > 0 && store_release_get(x->api->config.store, x->app.canary, &r, NULL) == 0) {
		version = json_integer(r.version);
		model_release_done(&r);
	}
	o = json_pack("{s:o, s:I, s:s, s:I}", "version", version, "weight",
		      (json_int_t)json_integer_value(json_object_get(c, "weight")), "header",
		      json_string_value(json_object_get(c, "header")) ?: "", "instances",
		      (json_int_t)json_integer_value(json_object_get(c, "instances")));
	live = x->app.canary > 0 && ops->canary ? ops->canary(ops->ctx, x->app.id) : NULL;
	if (o) {
		json_t *state = json_object_get(live, "state");

		json_object_set_new(o, "state",
				    state	    ? json_incref(state)
				    : x->app.canary ? json_string(x->app.canary > 0 ? "starting" : "waiting")
						    : json_null());
		json_object_del(live, "state");
		json_object_set_new(o, "stats", live ? json_incref(live) : json_null());
	}
	json_decref(live);
	return o;
}

void api_canary_get(struct exchange *x)
{
	struct err e = {0};
	OWN_JSON json_t *doc = canary_doc(x, &e);

	if (doc)
		api_answer_json(x, 200, canary_json(x, doc));
	else
		api_answer_err(x, &e);
}

/* "next", or the number of a release whose tree is there and which is not live. */
static int canary_release(struct exchange *x, int64_t *ret, struct err *e)
{
	json_t *v = json_object_get(x->json, "version");
	struct model_release r = {0};
	uint64_t version = 0;
	int err;

	if (!v)
		return x->app.canary ? 0 : err_field(e, EINVAL, "version", "version: say which release, or \"next\"");
	if (json_is_string(v) && strcmp(json_string_value(v), "next") == 0) {
		*ret = MODEL_CANARY_NEXT;
		return 0;
	}
	err = json_get_u64(x->json, "version", true, 1, UINT32_MAX, &version, e);
	if (err < 0)
		return err;
	if (store_release_find(x->api->config.store, x->app.id, (uint32_t)version, &r, NULL) < 0)
		return err_field(e, ENOENT, "version", "version: there is no release v%u of this app",
				 (unsigned)version);
	*ret = r.id;
	model_release_done(&r);
	if (*ret == x->app.release)
		return err_field(e, EINVAL, "version", "version: v%u is live already", (unsigned)version);
	return 0;
}

/* What a release's own file says is seen when it is rolled out. */
static bool canary_held(struct exchange *x)
{
	struct model_serving f;

	return store_serving_get(x->api->config.store, x->app.id, &f, NULL) == 0 && f.rollout == MODEL_ROLLOUT_HOLD;
}

void api_canary_put(struct exchange *x)
{
	static const char *const keys[] = {"version", "weight", "header", "instances", NULL};
	struct store *s = x->api->config.store;
	struct err e = {0};
	OWN_JSON json_t *doc = canary_doc(x, &e);
	OWN_FREE char *text = NULL;
	uint64_t weight = 0, instances = 1;
	const char *header = "";
	json_t *was; /* borrowed */
	int64_t release = x->app.canary;

	if (x->app.release == 0) {
		api_answer_problem(x, 409, NULL, "this app has no live release beside which a canary could serve");
		return;
	}
	if (canary_held(x)) {
		api_answer_problem(
			x, 409, NULL,
			"releases of this app never run at the same time (serving.rollout is hold), so none can "
			"be a canary: set it to start-first before");
		return;
	}
	if (!doc || json_only(x->json, keys, &e) < 0 || canary_release(x, &release, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	/* What is not said stays as it is, of this canary: an earlier one leaves nothing behind. */
	if (x->app.canary && release == x->app.canary && (was = front_doc_canary(doc))) {
		weight = (uint64_t)json_integer_value(json_object_get(was, "weight"));
		instances = (uint64_t)json_integer_value(json_object_get(was, "instances"));
		header = json_string_value(json_object_get(was, "header")) ?: "";
	}
	if (json_get_u64(x->json, "weight", false, 0, 100, &weight, &e) < 0 ||
	    json_get_str(x->json, "header", false, LIMIT_FRONT_HEADER * 2 + 1, &header, &e) < 0 ||
	    json_get_u64(x->json, "instances", false, 1, LIMIT_CANARY_INSTANCES, &instances, &e) < 0 ||
	    front_doc_canary_set(doc, weight, header, instances, &e) < 0 || !(text = json_dumps(doc, JSON_COMPACT)) ||
	    store_front_set(s, x->app.id, text, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	x->app.canary = release;
	if (store_app_update(s, &x->app, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	apps_changed(x);
	api_answer_json(x, 200, canary_json(x, doc));
}

/* One that was deployed as a canary has served now: one may go back to it. */
static void canary_retire(struct exchange *x)
{
	struct model_release r = {0};

	if (x->app.canary <= 0 || store_release_get(x->api->config.store, x->app.canary, &r, NULL) < 0)
		return;
	if (r.state == MODEL_RELEASE_PENDING)
		store_release_state(x->api->config.store, r.id, MODEL_RELEASE_RETIRED, NULL);
	model_release_done(&r);
}

void api_canary_delete(struct exchange *x)
{
	struct err e = {0};

	if (!x->app.canary) {
		api_answer_problem(x, 404, NULL, "this app has no canary");
		return;
	}
	if (x->app.candidate && x->app.candidate == x->app.canary) {
		api_answer_problem(x, 409, NULL, "the canary is being rolled out");
		return;
	}
	canary_retire(x);
	x->app.canary = 0;
	if (store_app_update(x->api->config.store, &x->app, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	apps_changed(x);
	api_answer_empty(x, 204);
}

void api_canary_promote(struct exchange *x)
{
	const struct ops *ops = x->api->config.ops;
	struct model_release r = {0};
	struct err e = {0};

	if (x->app.canary <= 0) {
		api_answer_problem(x, 409, NULL, "this app has no canary to promote");
		return;
	}
	if (ops->canary_promote(ops->ctx, x->app.id, &e) < 0 ||
	    store_release_get(x->api->config.store, x->app.canary, &r, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	api_answer_json(x, 202, fields_release(&r));
	model_release_done(&r);
}
