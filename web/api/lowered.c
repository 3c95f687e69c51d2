/* What a new quota or plan does to tenants and apps.  Layer web, control process. */
#include "web/api/lowered.h"

#include "base/own.h"
#include "web/api/fields.h"

#include <math.h>
#include <string.h>

static int before_one(void *arg, const struct model_app *app)
{
	json_object_set_new(arg, app->name, fields_limits(&app->limits));
	return 0;
}

json_t *lowered_before(struct api *a, int64_t tenant)
{
	json_t *before = json_object();

	if (before)
		store_app_list(a->config.store, tenant, 0, LIMIT_APPS, before_one, before, NULL);
	return before;
}

struct lowered_list {
	json_t *items; /* owned */
	unsigned more; /* that have no room in it */
};

struct lowered {
	struct api *a;	    /* borrowed */
	json_t *before;	    /* borrowed */
	int64_t plan;	    /* of a walk over tenants: those on it */
	const char *tenant; /* borrowed, of the walk over its apps */
	json_t *quota;	    /* owned, the same tenant's */
	struct lowered_list fell, rose, above, over;
};

static int before_tenant(void *arg, const struct model_tenant *t)
{
	struct lowered *l = arg;

	if (t->plan == l->plan)
		store_app_list(l->a->config.store, t->id, 0, LIMIT_APPS, before_one, l->before, NULL);
	return 0;
}

/* App names are unique on the node: one object holds those of all tenants. */
json_t *lowered_before_plan(struct api *a, int64_t plan)
{
	struct lowered l = {.a = a, .before = json_object(), .plan = plan};

	if (l.before)
		store_tenant_list(a->config.store, 0, 0, before_tenant, &l, NULL);
	return l.before;
}

/* No limit is more than any. */
static double lowered_number(const struct quota_key *k, json_t *numbers)
{
	double v = json_number_value(json_object_get(numbers, k->json));

	return v == 0 && quota_unlimited(k, 0) ? INFINITY : v;
}

/* What an instance must find free in its tenant's total to start (scheduler/fits.c); a higher rate only means that the
 * total holds first. */
static bool lowered_is_admitted(const struct quota_key *k)
{
	static const char *const names[] = {"memory", "cpu", "pids", "disk", "inodes"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(names[i], k->name) == 0)
			return true;
	return false;
}

/* app NULL: it is the tenant's as a whole.  Takes from and to; without numbers there is nothing to say. */
static void lowered_pair(struct lowered_list *list, const char *app, const char *tenant, const char *a, json_t *from,
			 const char *b, json_t *to)
{
	if (json_object_size(from) > 0 && json_array_size(list->items) >= LIMIT_API_LOWERED)
		list->more++;
	else if (json_object_size(from) > 0)
		json_array_append_new(list->items,
				      json_pack("{s:s*, s:s, s:O, s:O}", "app", app, "tenant", tenant, a, from, b, to));
	json_decref(from);
	json_decref(to);
}

static int lowered_one(void *arg, const struct model_app *app)
{
	struct lowered *l = arg;
	json_t *was = json_object_get(l->before, app->name), *is = fields_limits(&app->limits);
	json_t *from = json_object(), *to = json_object(), *has = json_object(), *may = json_object();
	json_t *low = json_object(), *high = json_object();
	const struct quota_key *k;

	for (unsigned i = 0; (k = quota_key(i)); i++) {
		if (!quota_has(k, QUOTA_OF_LIMITS))
			continue;
		if (was && lowered_number(k, is) < lowered_number(k, was)) {
			json_object_set(from, k->json, json_object_get(was, k->json));
			json_object_set(to, k->json, json_object_get(is, k->json));
		}
		if (was && lowered_number(k, is) > lowered_number(k, was)) {
			json_object_set(low, k->json, json_object_get(was, k->json));
			json_object_set(high, k->json, json_object_get(is, k->json));
		}
		if (lowered_is_admitted(k) && lowered_number(k, is) > lowered_number(k, l->quota)) {
			json_object_set(has, k->json, json_object_get(is, k->json));
			json_object_set(may, k->json, json_object_get(l->quota, k->json));
		}
	}
	lowered_pair(&l->fell, app->name, l->tenant, "from", from, "to", to);
	lowered_pair(&l->rose, app->name, l->tenant, "from", low, "to", high);
	lowered_pair(&l->above, app->name, l->tenant, "limits", has, "quota", may);
	json_decref(is);
	return 0;
}

/* Totals of which more is committed than there is from now on: what runs stays, and nothing more starts. */
static void lowered_over(struct lowered *l, const struct model_tenant *t)
{
	static const char *const names[] = {"memory", "pids", "disk", "inodes", "instances", "apps"};
	json_t *committed = json_object(), *limit = json_object(), *is;
	struct ops_tenant_usage usage = {0};
	struct quota used = {0};

	if (l->a->config.ops->tenant_used)
		l->a->config.ops->tenant_used(l->a->config.ops->ctx, t->id, &used, &usage);
	used.apps = store_app_count(l->a->config.store, t->id);
	is = fields_quota(&used);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct quota_key *k = quota_key_find(names[i]);

		if (quota_get(k, QUOTA_OF_TENANT, &used) <= quota_get(k, QUOTA_OF_TENANT, &t->quota))
			continue;
		json_object_set(committed, k->json, json_object_get(is, k->json));
		json_object_set(limit, k->json, json_object_get(l->quota, k->json));
	}
	json_decref(is);
	lowered_pair(&l->over, NULL, t->name, "committed", committed, "limit", limit);
}

/* What became of one tenant and its apps. */
static void lowered_walk(struct lowered *l, const struct model_tenant *t)
{
	l->tenant = t->name;
	l->quota = fields_quota(&t->quota);
	store_app_list(l->a->config.store, t->id, 0, LIMIT_APPS, lowered_one, l, NULL);
	lowered_over(l, t);
	json_decref(l->quota);
}

static int lowered_tenant(void *arg, const struct model_tenant *t)
{
	struct lowered *l = arg;

	if (t->plan == l->plan)
		lowered_walk(l, t);
	return 0;
}

static void lowered_answer(json_t *answer, const char *key, const char *more, struct lowered_list *list)
{
	if (json_array_size(list->items) > 0)
		json_object_set(answer, key, list->items);
	if (list->more)
		json_object_set_new(answer, more, json_integer(list->more));
	json_decref(list->items);
}

static void lowered_done(struct lowered *l, json_t *answer)
{
	lowered_answer(answer, "lowered", "lowered_more", &l->fell);
	lowered_answer(answer, "raised", "raised_more", &l->rose);
	lowered_answer(answer, "above", "above_more", &l->above);
	lowered_answer(answer, "over", "over_more", &l->over);
}

static struct lowered lowered_begin(struct api *a, json_t *before, int64_t plan)
{
	return (struct lowered){.a = a,
				.before = before,
				.plan = plan,
				.fell = {.items = json_array()},
				.rose = {.items = json_array()},
				.above = {.items = json_array()},
				.over = {.items = json_array()}};
}

void lowered_add(struct api *a, const struct model_tenant *t, json_t *before, json_t *answer)
{
	struct lowered l = lowered_begin(a, before, 0);

	lowered_walk(&l, t);
	lowered_done(&l, answer);
}

void lowered_add_plan(struct api *a, int64_t plan, json_t *before, json_t *answer)
{
	struct lowered l = lowered_begin(a, before, plan);

	store_tenant_list(a->config.store, 0, 0, lowered_tenant, &l, NULL);
	lowered_done(&l, answer);
}

void lowered_clamped(const struct quota_limits *limits, const struct quota *quota, json_t *answer)
{
	json_t *all_limits = fields_limits(limits), *all_quota = fields_quota(quota);
	json_t *has = json_object(), *may = json_object();
	struct quota_limits given = *limits;
	const struct quota_key *k;

	quota_clamp(&given, quota);
	for (unsigned i = 0; (k = quota_key(i)); i++) {
		if (!quota_has(k, QUOTA_OF_LIMITS) ||
		    quota_get(k, QUOTA_OF_LIMITS, &given) == quota_get(k, QUOTA_OF_LIMITS, limits))
			continue;
		json_object_set(has, k->json, json_object_get(all_limits, k->json));
		json_object_set(may, k->json, json_object_get(all_quota, k->json));
	}
	if (json_object_size(has) > 0)
		json_object_set_new(answer, "clamped", json_pack("{s:O, s:O}", "limits", has, "quota", may));
	json_decref(all_limits);
	json_decref(all_quota);
	json_decref(has);
	json_decref(may);
}
