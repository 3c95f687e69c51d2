/* How many instances of each process type.  Layer web, control process. */
#include "base/own.h"
#include "base/parse.h"
#include "base/utf8.h"
#include "web/api/apps.h"
#include "web/api/fields.h"
#include "web/api/route.h"
#include "web/api/state.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

void api_formation_get(struct exchange *x)
{
	api_answer_json(x, 200, fields_formation(x->api->config.store, x->app.id));
}

struct formation_sum {
	struct store *store;
	int64_t except;
	uint64_t wanted;
};

static int formation_add(void *arg, const struct model_app *app)
{
	struct formation_sum *f = arg;
	struct model_formation rows[LIMIT_TYPES * 2];
	int n;

	if (app->id == f->except)
		return 0;
	n = store_formation_get(f->store, app->id, rows, LIMIT_TYPES * 2, NULL);
	for (int i = 0; i < n; i++)
		f->wanted += rows[i].count;
	return 0;
}

/* The types a formation may name: those of the live release; any, before the first. */
static json_t *formation_types(struct store *s, const struct model_app *app)
{
	struct model_release r = {0};
	json_t *types;

	if (app->release == 0 || store_release_get(s, app->release, &r, NULL) < 0)
		return NULL;
	types = fields_object(r.types_json);
	model_release_done(&r);
	return types;
}

static int formation_no_type(json_t *types, const char *field, const char *safe, struct err *e)
{
	char names[220] = "";
	const char *type;
	json_t *v;
	size_t n = 0;

	json_object_foreach(types, type, v)
	{
		if (n + LIMIT_TYPE_NAME + 3 < sizeof names)
			n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", type);
	}
	return err_field(e, EINVAL, safe, "%s: the live release has no such process type; it has %s", field,
			 n ? names : "none");
}

static int formation_check(json_t *counts, json_t *types, json_t *all, struct err *e)
{
	const char *type;
	json_t *v;

	json_object_foreach(counts, type, v)
	{
		char field[LIMIT_TYPE_NAME + 32], safe[LIMIT_TYPE_NAME + 8];
		utf8_escape(safe, sizeof safe, type, strlen(type));
		snprintf(field, sizeof field, "formation.%s", safe);
		if (parse_name(type, LIMIT_TYPE_NAME, field, e) < 0)
			return -e->code;
		if (!json_is_integer(v)) {
			json_not_whole(v, field, 0, LIMIT_INSTANCES_PER_TYPE, e);
			snprintf(e->field, sizeof e->field, "%s", safe);
			return -EINVAL;
		}
		if (json_integer_value(v) < 0 || json_integer_value(v) > LIMIT_INSTANCES_PER_TYPE)
			return err_field(e, ERANGE, safe, "%s: %" JSON_INTEGER_FORMAT " is outside 0..%d", field,
					 json_integer_value(v), LIMIT_INSTANCES_PER_TYPE);
		if (types && json_integer_value(v) > 0 && !json_object_get(types, type))
			return formation_no_type(types, field, safe, e);
		json_object_set(all, type, v);
	}
	if (json_object_size(all) > LIMIT_TYPES)
		return err_set(e, ERANGE, "%zu process types are over the limit of %d", json_object_size(all),
			       LIMIT_TYPES);
	return 0;
}

int formation_set(struct api *a, const struct model_app *app, json_t *counts, struct err *e)
{
	struct formation_sum sum = {.store = a->config.store, .except = app->id};
	OWN_JSON json_t *all = fields_formation(sum.store, app->id);
	OWN_JSON json_t *types = formation_types(sum.store, app);
	struct model_tenant t;
	const char *type;
	json_t *v;
	uint64_t own = 0, before = 0;
	int r;

	json_object_foreach(all, type, v) before += (uint64_t)json_integer_value(v);
	r = formation_check(counts, types, all, e);
	if (r < 0)
		return r;
	r = store_tenant_get(sum.store, app->tenant, &t, e);
	if (r < 0)
		return r;
	json_object_foreach(all, type, v) own += (uint64_t)json_integer_value(v);
	if (own > before) { /* less is always possible, also above a lowered quota */
		store_app_list(sum.store, app->tenant, 0, LIMIT_APPS, formation_add, &sum, NULL);
		if (sum.wanted + own > t.quota.instances)
			return err_set(e, EDQUOT,
				       "%" PRIu64 " instances of this and %" PRIu64
				       " of the tenant's other apps are over its quota of %u",
				       own, sum.wanted, t.quota.instances);
	}
	json_object_foreach(counts, type, v)
	{
		r = store_formation_set(sum.store, app->id, type, (uint32_t)json_integer_value(v), e);
		if (r < 0)
			return r;
	}
	api_state_forget(a, app->id);
	a->config.ops->app_changed(a->config.ops->ctx, app->id);
	return 0;
}

/* The formation as it is wanted; what does not fit is told beside it: its members are names of process types only. */
static void formation_answer(struct exchange *x)
{
	const struct ops *ops = x->api->config.ops;
	OWN_JSON json_t *stats = ops->app_stats(ops->ctx, x->app.id);
	const char *waiting = json_string_value(json_object_get(stats, "waiting"));

	api_formation_get(x);
	if (waiting)
		api_answer_header(x, "Tulou-Waiting", waiting);
}

void api_formation_put(struct exchange *x)
{
	struct err e = {0};

	if (formation_set(x->api, &x->app, x->json, &e) < 0)
		api_answer_err(x, &e);
	else
		formation_answer(x);
}
