/* Plans: named sets of quota, limits and policies.  Layer web, control process. */
#include "web/api/plans.h"

#include "base/own.h"
#include "base/parse.h"
#include "web/api/fields.h"
#include "web/api/lowered.h"
#include "web/api/route.h"

#include <errno.h>
#include <string.h>

/* How many tenants are on it is the operator's business. */
static json_t *plan_json(struct exchange *x, const struct model_plan *p)
{
	unsigned tenants = 0;
	json_t *j = json_pack("{s:s, s:o, s:o, s:o, s:s, s:b, s:o}", "name", p->name, "created_at",
			      fields_time(p->created_ms), "quota", fields_quota(&p->quota), "limits",
			      fields_limits(&p->limits), "profile", quota_profile_name((enum quota_profile)p->profile),
			      "private_layers", p->private_layers ? 1 : 0, "egress", fields_egress(&p->egress));

	lowered_clamped(&p->limits, &p->quota, j);
	if (!x->who.tenant && store_plan_tenants(x->api->config.store, p->id, &tenants, NULL) == 0)
		json_object_set_new(j, "tenants", json_integer(tenants));
	return j;
}

struct plans_walk {
	struct exchange *x;
	struct fields_page page;
};

static int plans_row(void *arg, const struct model_plan *p)
{
	struct plans_walk *w = arg;

	if (fields_page_full(&w->page))
		return 1;
	return fields_page_add(&w->page, p->id, plan_json(w->x, p));
}

void api_plans_list(struct exchange *x)
{
	struct plans_walk w = {.x = x};
	struct err e = {0};
	int r;

	if (!fields_page_read(x, &w.page))
		return;
	r = store_plan_list(x->api->config.store, w.page.after < 0 ? 0 : w.page.after, w.page.limit + 1, plans_row, &w,
			    &e);
	if (r < 0) {
		json_decref(w.page.items);
		api_answer_err(x, &e);
		return;
	}
	fields_page_answer(x, &w.page, r > 0);
}

/* A plan has most numbers twice, so an error of an instance's says "limits." before it. */
static int plan_limits_read(json_t *limits, struct model_plan *p, struct err *e)
{
	int r = fields_get_limits(limits, NULL, &p->limits, e);
	struct err was = *e;

	if (r == 0 || !was.field[0])
		return r;
	snprintf(e->field, sizeof e->field, "limits.%.50s", was.field);
	if (strncmp(was.text, was.field, strlen(was.field)) == 0)
		snprintf(e->text, sizeof e->text, "limits.%.370s", was.text);
	return r;
}

/* Reads what obj has over *p. */
static int plan_read(json_t *obj, struct model_plan *p, struct err *e)
{
	json_t *quota = NULL, *limits = NULL;
	int r = json_get_obj(obj, "quota", false, &quota, e);

	if (r == 0)
		r = json_get_obj(obj, "limits", false, &limits, e);
	if (r == 0 && quota)
		r = fields_get_quota(quota, &p->quota, e);
	/* Limits over the quota are lowered to it where they are given out, so that either may be set first. */
	if (r == 0 && limits)
		r = plan_limits_read(limits, p, e);
	if (r == 0)
		r = fields_get_profile(obj, "profile", &p->profile, e);
	if (r == 0)
		r = json_get_bool(obj, "private_layers", false, &p->private_layers, e);
	return r == 0 ? fields_get_egress(obj, "egress", &p->egress, e) : r;
}

void api_plans_post(struct exchange *x)
{
	static const char *const keys[] = {"name", "quota", "limits", "profile", "private_layers", "egress", NULL};
	struct model_plan p = {.quota = quota_default,
			       .limits = x->api->config.settings->app,
			       .egress = {.mode = QUOTA_EGRESS_PUBLIC}};
	const char *name = NULL;
	struct err e = {0};
	char location[64];

	if (json_only(x->json, keys, &e) < 0 || json_get_str(x->json, "name", true, 256, &name, &e) < 0 ||
	    parse_name(name, LIMIT_PLAN_NAME, "name", &e) < 0 || plan_read(x->json, &p, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	snprintf(p.name, sizeof p.name, "%s", name);
	if (store_plan_add(x->api->config.store, &p, &p, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	api_answer_json(x, 201, plan_json(x, &p));
	snprintf(location, sizeof location, "/v1/plans/%s", p.name);
	api_answer_header(x, "Location", location);
}

/* The plan of the path; false when a 404 was prepared. */
static bool plan_of(struct exchange *x, struct model_plan *p)
{
	char safe[FIELDS_UNKNOWN];

	if (store_plan_find(x->api->config.store, x->arg[0], p, NULL) == 0)
		return true;
	fields_unknown(x->arg[0], safe);
	api_answer_problem(x, 404, NULL, "there is no plan \"%s\"", safe);
	return false;
}

void api_plan_get(struct exchange *x)
{
	struct model_plan p;

	if (plan_of(x, &p))
		api_answer_json(x, 200, plan_json(x, &p));
}

struct plan_told {
	const struct ops *ops;
	int64_t plan;
};

static int plan_tell(void *arg, const struct model_tenant *t)
{
	struct plan_told *told = arg;

	if (t->plan == told->plan)
		told->ops->tenant_changed(told->ops->ctx, t->id);
	return 0;
}

void api_plan_patch(struct exchange *x)
{
	static const char *const keys[] = {"quota", "limits", "profile", "private_layers", "egress", NULL};
	struct plan_told told = {.ops = x->api->config.ops};
	OWN_JSON json_t *before = NULL;
	struct model_plan p;
	struct err e = {0};
	json_t *answer;

	if (!plan_of(x, &p))
		return;
	before = lowered_before_plan(x->api, p.id);
	if (json_only(x->json, keys, &e) < 0 || plan_read(x->json, &p, &e) < 0 ||
	    store_plan_update(x->api->config.store, &p, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	told.plan = p.id;
	store_tenant_list(x->api->config.store, 0, 0, plan_tell, &told, NULL);
	answer = plan_json(x, &p);
	lowered_add_plan(x->api, p.id, before, answer);
	api_answer_json(x, 200, answer);
}

void api_plan_delete(struct exchange *x)
{
	struct model_plan p;
	struct err e = {0};

	if (!plan_of(x, &p))
		return;
	if (store_plan_del(x->api->config.store, p.id, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	api_answer_empty(x, 204);
}

int plans_find(struct exchange *x, json_t *obj, const char *key, int64_t *ret, struct err *e)
{
	json_t *v = json_object_get(obj, key);
	const char *name = NULL;
	struct model_plan p;
	char safe[FIELDS_UNKNOWN];
	int r;

	if (!v)
		return 0;
	if (json_is_null(v)) {
		*ret = 0;
		return 0;
	}
	r = json_get_str(obj, key, false, 256, &name, e);
	if (r < 0)
		return r;
	if (store_plan_find(x->api->config.store, name, &p, NULL) < 0) {
		fields_unknown(name, safe);
		return err_field(e, ENOENT, key, "%s: there is no plan \"%s\"", key, safe);
	}
	*ret = p.id;
	return 0;
}

void plans_followed(struct api *a, const struct model_tenant *t, struct quota_limits *ret)
{
	struct model_plan p;

	*ret = a->config.settings->app;
	if (t->plan && store_plan_get(a->config.store, t->plan, &p, NULL) == 0)
		*ret = p.limits;
	/* A small tenant's app begins within its quota. */
	quota_clamp(ret, &t->quota);
}
