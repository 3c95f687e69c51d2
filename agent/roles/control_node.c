/* The node as a whole: JSON for the API.  Layer agent, control process. */
#include "agent/roles/control_core.h"

#include "base/clock.h"

#ifndef TULOU_VERSION
#define TULOU_VERSION "0.0.0"
#endif

void control_node_counts(struct control *c, struct control_counts *n, json_t *by_state)
{
	const struct control_instance *ci;
	struct control_app *ca;

	TAILQ_FOREACH(ca, &c->all, link)
	{
		const char *state = control_app_state(ca);
		json_t *have = by_state ? json_object_get(by_state, state) : NULL;

		if (ca->deleted)
			continue;
		if (by_state)
			json_object_set_new(by_state, state, json_integer(json_integer_value(have) + 1));
		n->wanted += control_wanted(ca);
		TAILQ_FOREACH(ci, &ca->instances, link)
		{
			n->running += ci->rec.state == MODEL_INSTANCE_RUNNING;
			n->starting += ci->rec.state == MODEL_INSTANCE_STARTING;
		}
	}
}

json_t *control_node_json(struct control *c)
{
	struct control_host *h = &c->host;
	struct control_counts n = {0};
	json_t *by_state = json_object(), *o;
	char started[25];

	control_node_counts(c, &n, by_state);
	clock_rfc3339(c->started_ms, started);
	o = json_pack("{s:s,s:s,s:b,s:b,s:s,s:i,s:I,s:I,s:[f,f,f],s:{s:f,s:f,s:f},s:I,s:I,s:i,s:i}", "name",
		      c->settings.node_name, "version", TULOU_VERSION, "eligible", c->eligible, "draining", c->draining,
		      "started_at", started, "cpus", (int)h->cpus, "memory_bytes", (json_int_t)h->memory,
		      "memory_used_bytes", (json_int_t)(h->memory - h->memory_available), "load", h->load[0],
		      h->load[1], h->load[2], "pressure", "cpu", h->pressure[0], "memory", h->pressure[1], "io",
		      h->pressure[2], "disk_bytes", (json_int_t)h->disk, "disk_used_bytes", (json_int_t)h->disk_used,
		      "tenants", (int)map_count(c->tenants), "apps", (int)map_count(c->apps));
	if (!o) {
		json_decref(by_state);
		return json_object();
	}
	json_object_set_new(o, "instances",
			    json_pack("{s:i,s:i,s:i}", "running", (int)n.running, "starting", (int)n.starting, "wanted",
				      (int)n.wanted));
	json_object_set_new(o, "apps_by_state", by_state);
	json_object_set_new(o, "capacity",
			    json_pack("{s:I,s:i,s:I,s:f,s:f,s:i}", "memory_bytes",
				      (json_int_t)h->memory * CONTROL_OVERCOMMIT, "memory_overcommit",
				      CONTROL_OVERCOMMIT, "memory_committed_bytes", (json_int_t)c->used.memory, "cpu",
				      (double)h->cpus, "cpu_committed", (double)c->used.cpu / 1000, "instances",
				      LIMIT_INSTANCES));
	json_object_set_new(o, "apps_disk", c->disk.total ? control_pool_json(c) : json_null());
	json_object_set_new(o, "cpu_cores", json_real(c->host_cpu_now));
	json_object_set_new(o, "requests_per_second", json_real(c->host_rate_now));
	json_object_set_new(o, "throttle", control_throttle_node_json(c));
	json_object_set_new(o, "generation", json_integer((json_int_t)store_generation(c->store)));
	return o;
}
