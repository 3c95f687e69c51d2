/* GET /v1/stats/summary: the kubelet's shape, for tools that know it.  Layer web, control process. */
#include "base/clock.h"
#include "web/api/fields.h"
#include "web/api/route.h"
#include "web/api/state.h"

struct summary {
	struct api *api;
	json_t *pods;
	json_t *now;
};

static json_t *summary_memory(struct summary *s, json_t *from, const char *used, const char *total)
{
	json_int_t u = (json_int_t)json_number_value(json_object_get(from, used));
	json_int_t t = (json_int_t)json_number_value(json_object_get(from, total));

	return json_pack("{s:O, s:I, s:I}", "time", s->now, "workingSetBytes", u, "availableBytes", t > u ? t - u : 0);
}

static int summary_app(void *arg, const struct model_app *app)
{
	struct summary *s = arg;
	const struct ops *ops = s->api->config.ops;
	OWN_JSON json_t *instances = json_array();
	json_t *i;
	size_t n;

	ops->instances(ops->ctx, app->id, instances);
	json_array_foreach(instances, n, i)
	{
		const char *id = json_string_value(json_object_get(i, "id")),
			   *type = json_string_value(json_object_get(i, "type"));
		json_t *started = json_object_get(i, "started_at"), *cpu, *container;
		double seconds = json_number_value(json_object_get(i, "cpu_seconds"));
		if (!id || !type)
			continue;
		cpu = json_pack("{s:O, s:I}", "time", s->now, "usageCoreNanoSeconds", (json_int_t)(seconds * 1e9));
		container = json_pack("{s:s, s:O, s:o, s:o}", "name", type, "startTime", started ? started : s->now,
				      "cpu", json_incref(cpu), "memory",
				      summary_memory(s, i, "memory_bytes", "memory_limit_bytes"));
		json_array_append_new(s->pods,
				      json_pack("{s:{s:s, s:s, s:s}, s:O, s:[o], s:o, s:o, s:{s:I}}", "podRef", "name",
						app->name, "namespace", app->tenant_name, "uid", id, "startTime",
						started ? started : s->now, "containers", container, "cpu", cpu,
						"memory", summary_memory(s, i, "memory_bytes", "memory_limit_bytes"),
						"process_stats", "process_count",
						(json_int_t)json_integer_value(json_object_get(i, "pids"))));
	}
	return 0;
}

void api_summary_get(struct exchange *x)
{
	struct summary s = {.api = x->api, .pods = json_array(), .now = fields_time(clock_wall_ms())};
	OWN_JSON json_t *node = api_node_json(x->api);
	json_t *started = json_object_get(node, "started_at"), *j;

	store_app_list(x->api->config.store, 0, 0, LIMIT_APPS, summary_app, &s, NULL);
	j = json_pack("{s:{s:s, s:O, s:o, s:{s:O, s:I, s:I, s:I}}, s:o}", "node", "nodeName",
		      x->api->config.settings->node_name, "startTime", started ? started : s.now, "memory",
		      summary_memory(&s, node, "memory_used_bytes", "memory_bytes"), "fs", "time", s.now,
		      "capacityBytes", (json_int_t)json_number_value(json_object_get(node, "disk_bytes")), "usedBytes",
		      (json_int_t)json_number_value(json_object_get(node, "disk_used_bytes")), "availableBytes",
		      (json_int_t)(json_number_value(json_object_get(node, "disk_bytes")) -
				   json_number_value(json_object_get(node, "disk_used_bytes"))),
		      "pods", s.pods);
	json_decref(s.now);
	api_answer_json(x, 200, j);
}
