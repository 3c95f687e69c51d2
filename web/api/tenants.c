/* Tenants, their quotas, what they use.  Layer web, control process. */
#include "base/clock.h"
#include "base/parse.h"
#include "web/api/fields.h"
#include "web/api/route.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Adds up what counts against a tenant's quota. */
struct tenant_used {
	struct store *store;
	struct quota sum;
	const struct model_app *app;
};

static int used_instance(void *arg, const struct model_instance *i)
{
	struct tenant_used *u = arg;

	(void)i;
	u->sum.memory += u->app->limits.memory;
	u->sum.cpu += u->app->limits.cpu;
	u->sum.pids += u->app->limits.pids;
	u->sum.instances++;
	return 0;
}

static int used_build(void *arg, const struct model_build *b)
{
	struct tenant_used *u = arg;

	u->sum.disk += b->bytes;
	return 0;
}

static int used_app(void *arg, const struct model_app *app)
{
	struct tenant_used *u = arg;

	u->sum.apps++;
	u->app = app;
	store_instance_list(u->store, app->id, true, used_instance, u, NULL);
	store_build_list(u->store, app->id, 0, UINT16_MAX, used_build, u, NULL);
	return 0;
}

static json_t *tenant_json(struct api *a, const struct model_tenant *t)
{
	struct tenant_used u = {.store = a->config.store};

	store_app_list(u.store, t->id, 0, LIMIT_APPS, used_app, &u, NULL);
	return json_pack("{s:s, s:o, s:o, s:o}", "name", t->name, "created_at", fields_time(t->created_ms), "quota",
			 fields_quota(&t->quota), "used", fields_quota(&u.sum));
}

static int tenants_row(void *arg, const struct model_tenant *t)
{
	struct fields_page *p = arg;

	if (fields_page_full(p))
		return 1;
	return fields_page_add(p, t->id, tenant_json(p->api, t));
}

void api_tenants_list(struct exchange *x)
{
	struct fields_page p;
	struct err e = {0};
	int r;

	if (!fields_page_read(x, &p))
		return;
	r = store_tenant_list(x->api->config.store, p.after < 0 ? 0 : p.after, p.limit + 1, tenants_row, &p, &e);
	if (r < 0) {
		json_decref(p.items);
		api_answer_err(x, &e);
		return;
	}
	fields_page_answer(x, &p, r > 0);
}

void api_tenants_post(struct exchange *x)
{
	static const char *const keys[] = {"name", "quota", NULL};
	struct quota quota;
	struct model_tenant t;
	const char *name = NULL;
	json_t *q = NULL;
	struct err e = {0};
	char location[64];

	store_quota_default(&quota);
	if (json_only(x->json, keys, &e) < 0 || json_get_str(x->json, "name", true, 256, &name, &e) < 0 ||
	    parse_name(name, LIMIT_TENANT_NAME, "name", &e) < 0 || json_get_obj(x->json, "quota", false, &q, &e) < 0 ||
	    (q && fields_get_quota(q, &quota, &e) < 0) ||
	    store_tenant_add(x->api->config.store, name, &quota, &t, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	if (x->api->config.ops->tenant_changed)
		x->api->config.ops->tenant_changed(x->api->config.ops->ctx, t.id);
	api_answer_json(x, 201, tenant_json(x->api, &t));
	snprintf(location, sizeof location, "/v1/tenants/%s", t.name);
	api_answer_header(x, "Location", location);
}

void api_tenant_get(struct exchange *x)
{
	api_answer_json(x, 200, tenant_json(x->api, &x->tenant));
}

/* Sets the quota that obj changes; false when an answer was prepared. */
static bool tenant_set(struct exchange *x, json_t *obj)
{
	struct quota quota = x->tenant.quota;
	struct err e = {0};

	if (fields_get_quota(obj, &quota, &e) < 0 ||
	    store_tenant_quota(x->api->config.store, x->tenant.id, &quota, &e) < 0) {
		api_answer_err(x, &e);
		return false;
	}
	x->tenant.quota = quota;
	if (x->api->config.ops->tenant_changed)
		x->api->config.ops->tenant_changed(x->api->config.ops->ctx, x->tenant.id);
	return true;
}

void api_tenant_patch(struct exchange *x)
{
	static const char *const keys[] = {"quota", NULL};
	json_t *q = NULL;
	struct err e = {0};

	if (json_only(x->json, keys, &e) < 0 || json_get_obj(x->json, "quota", true, &q, &e) < 0)
		api_answer_err(x, &e);
	else if (tenant_set(x, q))
		api_tenant_get(x);
}

void api_tenant_delete(struct exchange *x)
{
	struct err e = {0};

	if (store_app_count(x->api->config.store, x->tenant.id) > 0)
		api_answer_problem(x, 409, NULL, "the tenant still has apps; remove them first");
	else if (store_tenant_del(x->api->config.store, x->tenant.id, &e) < 0)
		api_answer_err(x, &e);
	else {
		if (x->api->config.ops->tenant_changed)
			x->api->config.ops->tenant_changed(x->api->config.ops->ctx, x->tenant.id);
		api_answer_empty(x, 204);
	}
}

void api_quota_get(struct exchange *x)
{
	api_answer_json(x, 200, fields_quota(&x->tenant.quota));
}

void api_quota_put(struct exchange *x)
{
	if (tenant_set(x, x->json))
		api_quota_get(x);
}

struct usage_walk {
	struct store *store;
	json_t *items;
	int64_t app; /* whose name is in `name` */
	char name[LIMIT_APP_NAME + 24];
	unsigned count;
};

static int usage_row(void *arg, int64_t app, const struct store_usage *u)
{
	struct usage_walk *w = arg;

	if (app != w->app) {
		struct model_app a;
		w->app = app;
		if (store_app_get(w->store, app, &a, NULL) == 0)
			snprintf(w->name, sizeof w->name, "%s", a.name);
		else
			snprintf(w->name, sizeof w->name, "removed-%" PRId64, app);
	}
	json_array_append_new(w->items, json_pack("{s:s, s:o, s:f, s:I, s:I, s:I, s:I}", "app", w->name, "hour",
						  fields_time(u->hour_ms), "cpu_seconds", (double)u->cpu_us / 1e6,
						  "memory_byte_seconds", (json_int_t)u->memory_byte_seconds, "requests",
						  (json_int_t)u->requests, "bytes_in", (json_int_t)u->bytes_in,
						  "bytes_out", (json_int_t)u->bytes_out));
	return ++w->count >= LIMIT_API_USAGE;
}

/* since: RFC 3339 to the second, or seconds since 1970; default: the last 24 hours. */
void api_usage_get(struct exchange *x)
{
	struct usage_walk w = {.store = x->api->config.store, .app = -1};
	const char *since = api_query(x, "since");
	int64_t since_ms = clock_wall_ms() - 86400000;
	struct err e = {0};

	if (since) {
		struct tm tm = {0};
		const char *end = strptime(since, "%Y-%m-%dT%H:%M:%S", &tm);
		uint64_t seconds;
		if (end && *end == '.')
			end += 1 + strspn(end + 1, "0123456789");
		if (end && strcmp(end, "Z") == 0)
			since_ms = timegm(&tm) * 1000;
		else if (parse_u64(since, strlen(since), 0, INT32_MAX, "since", &seconds, NULL) == 0)
			since_ms = (int64_t)seconds * 1000;
		else {
			api_answer_problem(x, 400, "since", "since: must be a time like 2026-01-02T03:04:05Z");
			return;
		}
	}
	w.items = json_array();
	if (store_usage_list(w.store, x->tenant.id, since_ms, usage_row, &w, &e) < 0) {
		json_decref(w.items);
		api_answer_err(x, &e);
		return;
	}
	api_answer_json(x, 200, json_pack("{s:o, s:n}", "items", w.items, "next"));
}
