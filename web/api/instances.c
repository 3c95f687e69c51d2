/* Instances of an app.  Layer web, control process. */
#include "base/own.h"
#include "base/parse.h"
#include "web/api/route.h"

#include <errno.h>
#include <string.h>

void api_instances_list(struct exchange *x)
{
	const struct ops *ops = x->api->config.ops;
	json_t *items = json_array();

	OWN_JSON json_t *stats = ops->app_stats(ops->ctx, x->app.id);
	json_t *waiting = json_object_get(stats, "waiting");
	struct model_serving serving = {0};

	store_serving_get(x->api->config.store, x->app.id, &serving, NULL);

	ops->instances(ops->ctx, x->app.id, items);
	api_answer_json(x, 200,
			json_pack("{s:o, s:n, s:O, s:b}", "items", items, "next", "waiting",
				  json_is_string(waiting) ? waiting : json_null(), "held", serving.hold ? 1 : 0));
}

void api_instance_delete(struct exchange *x)
{
	const struct ops *ops = x->api->config.ops;
	struct err e = {0};
	uint64_t id;

	if (parse_u64(x->arg[0], strlen(x->arg[0]), 1, INT64_MAX, "id", &id, NULL) < 0)
		api_answer_problem(x, 404, NULL, "this app has no such instance");
	else if (!ops->instance_stop)
		api_answer_problem(x, 501, NULL, "single instances cannot be stopped here");
	else if (ops->instance_stop(ops->ctx, x->app.id, (int64_t)id, &e) == 0)
		api_answer_empty(x, 204);
	else if (e.code == ENOENT)
		api_answer_problem(x, 404, NULL, "this app has no such living instance");
	else
		api_answer_err(x, &e);
}
