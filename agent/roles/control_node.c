/* The node as a whole: JSON for the API, text for Prometheus.  Layer agent, control process. */
#include "agent/roles/control_core.h"

#include "base/clock.h"
#include "base/own.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#ifndef TULOU_VERSION
#define TULOU_VERSION "0.0.0"
#endif

struct node_counts {
	unsigned running, starting, wanted;
	uint64_t in_flight;
};

static void node_counts(struct control *c, struct node_counts *n, json_t *by_state)
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
	struct node_counts n = {0};
	json_t *by_state = json_object(), *o;
	char started[25];

	node_counts(c, &n, by_state);
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
			    json_pack("{s:I,s:I,s:f,s:f,s:i}", "memory_bytes",
				      (json_int_t)(h->memory * CONTROL_OVERCOMMIT), "memory_committed_bytes",
				      (json_int_t)c->used.memory, "cpu", (double)h->cpus, "cpu_committed",
				      (double)c->used.cpu / 1000, "instances", LIMIT_INSTANCES));
	json_object_set_new(o, "cpu_cores", json_real(c->host_cpu_now));
	json_object_set_new(o, "requests_per_second", json_real(c->host_rate_now));
	json_object_set_new(o, "generation", json_integer((json_int_t)store_generation(c->store)));
	return o;
}

/* --- Prometheus
 * ------------------------------------------------------------------------------------------------------- */

static void metric(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Names of tenants and apps are [a-z0-9-] and need no escaping. */
#define APP_LABELS "{tenant=\"%s\",app=\"%s\"}"
#define INSTANCE_LABELS "{tenant=\"%s\",app=\"%s\",instance=\"%s.%" PRId64 "\"}"

/* The next app that is not being deleted, NULL at the end; and the next instance of all of them. */
static struct control_app *next_app(struct control *c, struct control_app *ca)
{
	do
		ca = ca ? TAILQ_NEXT(ca, link) : TAILQ_FIRST(&c->all);
	while (ca && ca->deleted);
	return ca;
}

static struct control_instance *next_instance(struct control *c, struct control_instance *ci)
{
	struct control_app *ca = ci ? ci->app : next_app(c, NULL);
	struct control_instance *next = ci ? TAILQ_NEXT(ci, link) : ca ? TAILQ_FIRST(&ca->instances) : NULL;

	while (ca && !next) {
		ca = next_app(c, ca);
		next = ca ? TAILQ_FIRST(&ca->instances) : NULL;
	}
	return next;
}

static void metrics_instances(struct control *c, struct buf *out)
{
	struct control_instance *ci;

#define INSTANCE_METRIC(metric_name, kind, help, fmt, value)                                                           \
	metric(out, metric_name, kind, help);                                                                          \
	for (ci = next_instance(c, NULL); ci; ci = next_instance(c, ci))                                               \
	buf_printf(out, metric_name INSTANCE_LABELS " " fmt "\n", ci->app->rec.tenant_name, ci->app->rec.name,         \
		   ci->rec.type, ci->rec.id, value)
	INSTANCE_METRIC("container_memory_working_set_bytes", "gauge", "Memory in use.", "%" PRIu64, ci->memory);
	INSTANCE_METRIC("container_memory_max_usage_bytes", "gauge", "Highest memory use seen.", "%" PRIu64,
			ci->memory_peak);
	INSTANCE_METRIC("container_spec_memory_limit_bytes", "gauge", "Memory limit.", "%" PRIu64, ci->limits.memory);
	INSTANCE_METRIC("container_cpu_usage_seconds_total", "counter", "CPU time used.", "%.6f",
			(double)ci->cpu_us / 1e6);
	INSTANCE_METRIC("container_cpu_cfs_throttled_seconds_total", "counter", "Time throttled at the CPU limit.",
			"%.6f", (double)ci->throttled_us / 1e6);
	INSTANCE_METRIC("container_processes", "gauge", "Processes and threads.", "%" PRIu32, ci->pids);
	INSTANCE_METRIC("container_oom_events_total", "counter", "Processes killed at the memory limit.", "%" PRIu32,
			ci->oom_kills);
#undef INSTANCE_METRIC
}

static void metrics_apps(struct control *c, struct buf *out)
{
	static const char *const classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
	struct control_app *ca;
	struct stats_sum s;

	metric(out, "tulou_app_instances", "gauge", "Running instances of the live release.");
	for (ca = next_app(c, NULL); ca; ca = next_app(c, ca))
		buf_printf(out, "tulou_app_instances" APP_LABELS " %u\n", ca->rec.tenant_name, ca->rec.name,
			   control_running(ca));
	metric(out, "tulou_app_instances_wanted", "gauge", "Instances of the formation.");
	for (ca = next_app(c, NULL); ca; ca = next_app(c, ca))
		buf_printf(out, "tulou_app_instances_wanted" APP_LABELS " %u\n", ca->rec.tenant_name, ca->rec.name,
			   control_wanted(ca));
	metric(out, "tulou_app_requests_total", "counter",
	       "Requests by class of status; none = the client left first.");
	for (ca = next_app(c, NULL); ca; ca = next_app(c, ca)) {
		control_sum(ca, &s);
		for (unsigned i = 0; s.requests && i < ARRAY_LEN(classes); i++)
			buf_printf(out,
				   "tulou_app_requests_total{tenant=\"%s\",app=\"%s\",status=\"%s\"} %" PRIu64 "\n",
				   ca->rec.tenant_name, ca->rec.name, classes[i], s.status[i]);
	}
	metric(out, "tulou_app_request_duration_seconds", "histogram", "From the request's head to the answer's end.");
	for (ca = next_app(c, NULL); ca; ca = next_app(c, ca)) {
		uint64_t sum = 0;

		control_sum(ca, &s);
		if (!s.requests)
			continue;
		for (unsigned i = 0; i < STATS_BUCKETS; i++) {
			sum += s.bucket[i];
			if (i < STATS_BUCKETS - 1)
				buf_printf(out,
					   "tulou_app_request_duration_seconds_bucket{tenant=\"%s\",app=\"%s\",le=\"%."
					   "6f\"} %" PRIu64 "\n",
					   ca->rec.tenant_name, ca->rec.name, (double)(1u << (i + 7)) / 1e6, sum);
		}
		buf_printf(out,
			   "tulou_app_request_duration_seconds_bucket{tenant=\"%s\",app=\"%s\",le=\"+Inf\"} %" PRIu64
			   "\n",
			   ca->rec.tenant_name, ca->rec.name, sum);
		buf_printf(out, "tulou_app_request_duration_seconds_sum" APP_LABELS " %.6f\n", ca->rec.tenant_name,
			   ca->rec.name, (double)s.duration_us / 1e6);
		buf_printf(out, "tulou_app_request_duration_seconds_count" APP_LABELS " %" PRIu64 "\n",
			   ca->rec.tenant_name, ca->rec.name, sum);
	}
	metric(out, "tulou_app_upstream_errors_total", "counter", "Connections to instances that failed.");
	for (ca = next_app(c, NULL); ca; ca = next_app(c, ca)) {
		control_sum(ca, &s);
		buf_printf(out, "tulou_app_upstream_errors_total" APP_LABELS " %" PRIu64 "\n", ca->rec.tenant_name,
			   ca->rec.name, s.upstream_errors);
	}
}

static void metrics_node(struct control *c, struct buf *out)
{
	struct node_counts n = {0};
	uint64_t sum = 0;

	node_counts(c, &n, NULL);
#define NODE_METRIC(name, type, help, fmt, value)                                                                      \
	metric(out, name, type, help);                                                                                 \
	buf_printf(out, name " " fmt "\n", value)
	NODE_METRIC("tulou_node_memory_bytes", "gauge", "Memory of the host.", "%" PRIu64, c->host.memory);
	NODE_METRIC("tulou_node_memory_available_bytes", "gauge", "Memory that can still be used.", "%" PRIu64,
		    c->host.memory_available);
	NODE_METRIC("tulou_node_memory_committed_bytes", "gauge", "Sum of the memory limits of what runs.", "%" PRIu64,
		    c->used.memory);
	NODE_METRIC("tulou_node_cpu_cores_used", "gauge", "CPUs busy.", "%.3f", c->host_cpu_now);
	NODE_METRIC("tulou_node_apps", "gauge", "Registered apps.", "%zu", map_count(c->apps));
	NODE_METRIC("tulou_node_instances_running", "gauge", "Running instances.", "%u", n.running);
	NODE_METRIC("tulou_node_instances_starting", "gauge", "Starting instances.", "%u", n.starting);
	NODE_METRIC("tulou_node_instances_wanted", "gauge", "Wanted instances.", "%u", n.wanted);
	NODE_METRIC("tulou_instance_exits_total", "counter", "Instances that ended since control started.", "%" PRIu64,
		    c->exits_total);
	NODE_METRIC("tulou_instance_oom_total", "counter", "Instances killed at their memory limit.", "%" PRIu64,
		    c->oom_total);
	NODE_METRIC("tulou_deploys_succeeded_total", "counter", "Roll-outs that went live.", "%" PRIu64, c->deploys_ok);
	NODE_METRIC("tulou_deploys_failed_total", "counter", "Roll-outs that were given up.", "%" PRIu64,
		    c->deploys_failed);
	NODE_METRIC("tulou_control_backlog", "gauge", "Messages to the supervisor that wait.", "%zu",
		    chan_backlog(c->super));
#undef NODE_METRIC
	metric(out, "tulou_instance_start_seconds", "histogram", "From the request to the app's exec.");
	for (unsigned i = 0; i < ARRAY_LEN(c->start_bucket); i++) {
		sum += c->start_bucket[i];
		if (i < ARRAY_LEN(c->start_bucket) - 1)
			buf_printf(out, "tulou_instance_start_seconds_bucket{le=\"%.3f\"} %" PRIu64 "\n",
				   0.002 * (1u << i), sum);
	}
	buf_printf(out, "tulou_instance_start_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\n", sum);
	buf_printf(out, "tulou_instance_start_seconds_sum %.6f\ntulou_instance_start_seconds_count %" PRIu64 "\n",
		   (double)c->start_us_sum / 1e6, sum);
}

static void metrics_workers(struct control *c, struct buf *out)
{
	if (!c->stats)
		return;
#define WORKER_METRIC(name, type, help, fmt, field)                                                                    \
	metric(out, name, type, help);                                                                                 \
	for (unsigned i = 0; i < c->settings.proxy_workers; i++)                                                       \
	buf_printf(out, name "{worker=\"%u\"} " fmt "\n", i,                                                           \
		   atomic_load_explicit(&c->stats->worker[i].field, memory_order_relaxed))
	WORKER_METRIC("tulou_proxy_connections", "gauge", "Client connections open.", "%" PRIu32, connections);
	WORKER_METRIC("tulou_proxy_upstreams", "gauge", "Connections to instances open.", "%" PRIu32, upstreams);
	WORKER_METRIC("tulou_proxy_parked", "gauge", "Requests that wait for an instance.", "%" PRIu32, parked);
	WORKER_METRIC("tulou_proxy_accepted_total", "counter", "Client connections accepted.", "%" PRIu64, accepted);
	WORKER_METRIC("tulou_proxy_bad_requests_total", "counter", "Requests refused as malformed.", "%" PRIu64,
		      bad_requests);
	WORKER_METRIC("tulou_proxy_unknown_hosts_total", "counter", "Requests for a host that nobody has.", "%" PRIu64,
		      unknown_hosts);
#undef WORKER_METRIC
}

void control_metrics(struct control *c, struct buf *out)
{
	metrics_node(c, out);
	metrics_workers(c, out);
	metrics_apps(c, out);
	metrics_instances(c, out);
}
