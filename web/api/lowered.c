/* Apps whose limits fell with their tenant's quota.  Layer web, control process. */
#include "web/api/lowered.h"

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

struct lowered {
	json_t *before, *quota; /* borrowed; owned */
	json_t *fell, *above;	/* owned */
};

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

static void lowered_pair(json_t *list, const char *app, const char *a, json_t *from, const char *b, json_t *to)
{
	if (json_object_size(from) > 0)
		json_array_append_new(list, json_pack("{s:s, s:O, s:O}", "app", app, a, from, b, to));
	json_decref(from);
	json_decref(to);
}

static int lowered_one(void *arg, const struct model_app *app)
{
	struct lowered *l = arg;
	json_t *was = json_object_get(l->before, app->name), *is = fields_limits(&app->limits);
	json_t *from = json_object(), *to = json_object(), *has = json_object(), *may = json_object();
	const struct quota_key *k;

	for (unsigned i = 0; (k = quota_key(i)); i++) {
		if (!quota_has(k, QUOTA_OF_LIMITS))
			continue;
		if (was && lowered_number(k, is) < lowered_number(k, was)) {
			json_object_set(from, k->json, json_object_get(was, k->json));
			json_object_set(to, k->json, json_object_get(is, k->json));
		}
		if (lowered_is_admitted(k) && lowered_number(k, is) > lowered_number(k, l->quota)) {
			json_object_set(has, k->json, json_object_get(is, k->json));
			json_object_set(may, k->json, json_object_get(l->quota, k->json));
		}
	}
	lowered_pair(l->fell, app->name, "from", from, "to", to);
	lowered_pair(l->above, app->name, "limits", has, "quota", may);
	json_decref(is);
	return 0;
}

void lowered_add(struct api *a, const struct model_tenant *t, json_t *before, json_t *answer)
{
	struct lowered l = {before, fields_quota(&t->quota), json_array(), json_array()};

	store_app_list(a->config.store, t->id, 0, LIMIT_APPS, lowered_one, &l, NULL);
	if (json_array_size(l.fell) > 0)
		json_object_set(answer, "lowered", l.fell);
	if (json_array_size(l.above) > 0)
		json_object_set(answer, "above", l.above);
	json_decref(l.quota);
	json_decref(l.fell);
	json_decref(l.above);
}
