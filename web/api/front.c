/* The front door of an app: settings and path routes.  Layer web, control process. */
#include "web/api/apps.h"
#include "web/api/fields.h"
#include "web/api/front_doc.h"
#include "web/api/route.h"

#include "base/own.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static json_t *front_load(struct exchange *x, struct err *e)
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

/* Writes it and lets control tell the workers; 0 or negative errno. */
static int front_save(struct exchange *x, json_t *doc, struct err *e)
{
	OWN_FREE char *text = json_dumps(doc, JSON_COMPACT);
	int r = text ? store_front_set(x->api->config.store, x->app.id, text, e) : err_set(e, ENOMEM, "out of memory");

	if (r == 0)
		apps_changed(x);
	return r;
}

void api_front_get(struct exchange *x)
{
	struct err e = {0};
	OWN_JSON json_t *doc = front_load(x, &e);

	if (doc)
		api_answer_json(x, 200, front_doc_show(doc));
	else
		api_answer_err(x, &e);
}

void api_front_patch(struct exchange *x)
{
	struct err e = {0};
	OWN_JSON json_t *doc = front_load(x, &e);

	if (!doc || front_doc_patch(doc, x->json, &e) < 0 || front_save(x, doc, &e) < 0)
		api_answer_err(x, &e);
	else
		api_answer_json(x, 200, front_doc_show(doc));
}

/* A route by the name of its app; null when that app is gone. */
static json_t *route_json(struct exchange *x, json_t *route)
{
	int64_t id = (int64_t)json_integer_value(json_object_get(route, "app"));
	struct model_app app;
	bool there = store_app_get(x->api->config.store, id, &app, NULL) == 0;

	return json_pack("{s:O, s:o, s:O}", "path", json_object_get(route, "path"), "app",
			 there ? json_string(app.name) : json_null(), "strip", json_object_get(route, "strip"));
}

void api_routes_list(struct exchange *x)
{
	struct err e = {0};
	OWN_JSON json_t *doc = front_load(x, &e);
	json_t *items = json_array(), *route;
	size_t i;

	if (!doc) {
		json_decref(items);
		api_answer_err(x, &e);
		return;
	}
	json_array_foreach(front_doc_routes(doc), i, route) json_array_append_new(items, route_json(x, route));
	api_answer_json(x, 200, json_pack("{s:o, s:n}", "items", items, "next"));
}

/* An app of the same tenant, and not the one itself. */
static int route_target(struct exchange *x, const char *name, struct model_app *ret, struct err *e)
{
	char safe[FIELDS_UNKNOWN];

	fields_unknown(name, safe);
	if (store_app_find(x->api->config.store, name, ret, NULL) < 0 || ret->tenant != x->app.tenant)
		return err_field(e, EINVAL, "app", "app: this tenant has no app \"%s\"", safe);
	if (ret->id == x->app.id)
		return err_field(e, EINVAL, "app", "app: \"%s\" answers there already", safe);
	return 0;
}

void api_routes_post(struct exchange *x)
{
	static const char *const keys[] = {"path", "app", "strip", NULL};
	const char *path = NULL, *name = NULL;
	struct err e = {0};
	OWN_JSON json_t *doc = front_load(x, &e);
	struct model_app to;
	bool strip = false;

	if (!doc || json_only(x->json, keys, &e) < 0 ||
	    json_get_str(x->json, "path", true, LIMIT_FRONT_PATH, &path, &e) < 0 ||
	    json_get_str(x->json, "app", true, 256, &name, &e) < 0 ||
	    json_get_bool(x->json, "strip", false, &strip, &e) < 0 || route_target(x, name, &to, &e) < 0 ||
	    front_doc_route_add(doc, path, to.id, strip, &e) < 0 || front_save(x, doc, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	api_answer_json(x, 201, json_pack("{s:s, s:s, s:b}", "path", path, "app", to.name, "strip", strip ? 1 : 0));
}

void api_routes_delete(struct exchange *x)
{
	const char *path = api_query(x, "path");
	struct err e = {0};
	OWN_JSON json_t *doc = front_load(x, &e);

	if (doc && !path)
		err_field(&e, EINVAL, "path", "path: say which, as ?path=/api");
	if (!doc || !path || front_doc_route_del(doc, path, &e) < 0 || front_save(x, doc, &e) < 0)
		api_answer_err(x, &e);
	else
		api_answer_empty(x, 204);
}
