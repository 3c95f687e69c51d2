/* Tenants, their quotas, what they use.  Layer web, control process. */
#include "base/clock.h"
#include "base/own.h"
#include "base/parse.h"
#include "web/api/fields.h"
#include "web/api/lowered.h"
#include "web/api/plans.h"
#include "web/api/route.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static json_t *usage_json(const struct ops_tenant_usage *u)
{
	return json_pack(
		"{s:I, s:I, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:s?}",
		"memory_bytes", (json_int_t)u->memory, "memory_peak_bytes", (json_int_t)u->memory_peak, "cpu",
		u->cpu_cores, "cpu_seconds", (double)u->cpu_us / 1e6, "throttled_seconds",
		(double)u->throttled_us / 1e6, "pids", (json_int_t)u->pids, "instances", (json_int_t)u->instances,
		"disk_bytes", (json_int_t)u->disk, "inodes", (json_int_t)u->inodes, "io_read_bytes",
		(json_int_t)u->io_read, "io_write_bytes", (json_int_t)u->io_write, "net_in_bytes",
		(json_int_t)u->net_in, "net_out_bytes", (json_int_t)u->net_out, "memory_hits",
		(json_int_t)u->memory_hits, "pids_hits", (json_int_t)u->pids_hits, "oom_kills",
		(json_int_t)u->oom_kills, "net_packets_refused", (json_int_t)u->net_refused, "confined_seconds",
		(double)u->confined_us / 1e6, "pending", u->pending[0] ? u->pending : NULL);
}

/* Which values hold over the plan's. */
static json_t *own_json(uint32_t own)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < MODEL_OWN_BITS; i++)
		if (own & 1u << i)
			json_array_append_new(list, json_string(model_own_name(i, true)));
	return list;
}

static json_t *tenant_json(struct api *a, const struct model_tenant *t)
{
	struct ops_tenant_usage usage = {0};
	struct quota used = {0};

	if (a->config.ops->tenant_used)
		a->config.ops->tenant_used(a->config.ops->ctx, t->id, &used, &usage);
	used.apps = store_app_count(a->config.store, t->id);
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:s, s:b, s:o, s:o, s:o}", "name", t->name, "created_at",
			 fields_time(t->created_ms), "plan", fields_text(t->plan_name), "own", own_json(t->own),
			 "quota", fields_quota(&t->quota), "profile",
			 quota_profile_name((enum quota_profile)t->profile), "private_layers",
			 t->private_layers ? 1 : 0, "egress", fields_egress(&t->egress), "used", fields_used(&used),
			 "usage", usage_json(&usage));
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

static int no_plan(const char *key, struct err *e)
{
	return err_field(e, EINVAL, key, "%s: null is for the plan's value, and the tenant is on no plan", key);
}

/* Numbers of a quota over *t: its own over its plan from now on; null: the plan's again. */
static int quota_read(json_t *obj, struct model_tenant *t, struct err *e)
{
	OWN_JSON json_t *set = json_copy(obj);
	json_t *value;
	void *next;
	const char *key;

	json_object_foreach_safe(obj, next, key, value)
	{
		const struct quota_key *k = quota_key_find(key);
		unsigned bit = 0;

		if (!k || !quota_has(k, QUOTA_OF_TENANT))
			continue; /* refused below */
		while (quota_key(bit) != k)
			bit++;
		t->own |= 1u << bit;
		if (!json_is_null(value))
			continue;
		if (!t->plan)
			return no_plan(k->json, e);
		t->own &= ~(1u << bit);
		json_object_del(set, key);
	}
	return set ? fields_get_quota(set, &t->quota, e) : err_set(e, ENOMEM, "out of memory");
}

/* A value that is the plan's again when it is null: true, and it is not the tenant's own (any more).  Else it is its
 * own, when obj has it. */
static bool own_read(json_t *obj, const char *key, uint32_t bit, struct model_tenant *t)
{
	json_t *v = json_object_get(obj, key);

	if (v)
		t->own |= bit;
	if (!json_is_null(v) || !t->plan)
		return false;
	t->own &= ~bit;
	return true;
}

/* Reads what obj has over *t; *changed: obj had any of it.  A plan gives all its values, the others of obj hold over
 * it. */
static int tenant_read(struct exchange *x, json_t *obj, struct model_tenant *t, bool *changed, struct err *e)
{
	static const char *const keys[] = {"plan", "quota", "profile", "private_layers", "egress"};
	json_t *q = NULL;
	int r;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		*changed = *changed || json_object_get(obj, keys[i]);
	if (json_object_get(obj, "plan"))
		t->own = 0;
	if ((r = plans_find(x, obj, "plan", &t->plan, e)) < 0 || (r = json_get_obj(obj, "quota", false, &q, e)) < 0 ||
	    (q && (r = quota_read(q, t, e)) < 0))
		return r;
	for (size_t i = 2; !t->plan && i < ARRAY_LEN(keys); i++)
		if (json_is_null(json_object_get(obj, keys[i])))
			return no_plan(keys[i], e);
	if (!own_read(obj, "profile", MODEL_OWN_PROFILE, t))
		r = fields_get_profile(obj, "profile", &t->profile, e);
	if (r == 0 && !own_read(obj, "private_layers", MODEL_OWN_LAYERS, t))
		r = json_get_bool(obj, "private_layers", false, &t->private_layers, e);
	if (r == 0 && !own_read(obj, "egress", MODEL_OWN_EGRESS, t))
		r = fields_get_egress(obj, "egress", &t->egress, e);
	return r < 0 ? r : 0;
}

static void tenant_changed(struct exchange *x, int64_t id)
{
	const struct ops *ops = x->api->config.ops;

	if (ops->tenant_changed)
		ops->tenant_changed(ops->ctx, id);
}

void api_tenants_post(struct exchange *x)
{
	static const char *const keys[] = {"name", "plan", "quota", "profile", "private_layers", "egress", NULL};
	struct store *s = x->api->config.store;
	struct model_tenant t = {.egress = {.mode = QUOTA_EGRESS_PUBLIC}}, made;
	const char *name = NULL;
	bool changed = false;
	struct err e = {0};
	char location[64];

	store_quota_default(&t.quota);
	if (json_only(x->json, keys, &e) < 0 || json_get_str(x->json, "name", true, 256, &name, &e) < 0 ||
	    parse_name(name, LIMIT_TENANT_NAME, "name", &e) < 0 || tenant_read(x, x->json, &t, &changed, &e) < 0 ||
	    store_tenant_add(s, name, &t.quota, &made, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	made.plan = t.plan;
	made.own = t.own;
	made.profile = t.profile;
	made.private_layers = t.private_layers;
	made.egress = t.egress;
	/* All of it has been checked: this fails only when the database does, and then the turn with it. */
	if (changed && store_tenant_set(s, &made, NULL, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	tenant_changed(x, made.id);
	api_answer_json(x, 201, tenant_json(x->api, &made));
	snprintf(location, sizeof location, "/v1/tenants/%s", made.name);
	api_answer_header(x, "Location", location);
}

void api_tenant_get(struct exchange *x)
{
	api_answer_json(x, 200, tenant_json(x->api, &x->tenant));
}

/* Apps without limits of their own follow the plan, or the node when there is none.  Answers with what describe() makes
 * of the tenant, and with what became of its apps. */
static void tenant_set(struct exchange *x, struct model_tenant *t,
		       json_t *(*describe)(struct api *a, const struct model_tenant *t))
{
	OWN_JSON json_t *before = lowered_before(x->api, t->id);
	struct err e = {0};
	json_t *answer;

	if (store_tenant_set(x->api->config.store, t, &x->api->config.settings->app, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	x->tenant = *t;
	tenant_changed(x, t->id);
	answer = describe(x->api, t);
	lowered_add(x->api, t, before, answer);
	api_answer_json(x, 200, answer);
}

void api_tenant_patch(struct exchange *x)
{
	static const char *const keys[] = {"plan", "quota", "profile", "private_layers", "egress", NULL};
	struct model_tenant t = x->tenant;
	bool changed = false;
	struct err e = {0};

	if (json_only(x->json, keys, &e) < 0 || tenant_read(x, x->json, &t, &changed, &e) < 0)
		api_answer_err(x, &e);
	else if (!changed)
		api_answer_problem(x, 400, NULL, "nothing to change: plan, quota, profile, private_layers or egress");
	else
		tenant_set(x, &t, tenant_json);
}

void api_tenant_delete(struct exchange *x)
{
	struct err e = {0};

	if (store_app_count(x->api->config.store, x->tenant.id) > 0)
		api_answer_problem(x, 409, NULL, "the tenant still has apps; remove them first");
	else if (store_tenant_del(x->api->config.store, x->tenant.id, &e) < 0)
		api_answer_err(x, &e);
	else {
		tenant_changed(x, x->tenant.id);
		api_answer_empty(x, 204);
	}
}

void api_quota_get(struct exchange *x)
{
	api_answer_json(x, 200, fields_quota(&x->tenant.quota));
}

static json_t *quota_json(struct api *a, const struct model_tenant *t)
{
	(void)a;
	return fields_quota(&t->quota);
}

void api_quota_put(struct exchange *x)
{
	struct model_tenant t = x->tenant;
	struct err e = {0};

	if (quota_read(x->json, &t, &e) < 0)
		api_answer_err(x, &e);
	else
		tenant_set(x, &t, quota_json);
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
