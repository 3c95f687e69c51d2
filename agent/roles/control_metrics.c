/* Text for Prometheus.  Layer agent, control process.
 *
 * Names of figures of instances follow cAdvisor where it has them; those of tenants have a label `resource` with the
 * keys of config/quota.h. */
#include "agent/roles/control_core.h"

#include "base/own.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

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
	INSTANCE_METRIC("container_memory_working_set_bytes", "gauge", "Memory in use.", "%" PRIu64, ci->usage.memory);
	INSTANCE_METRIC("container_memory_max_usage_bytes", "gauge", "Highest memory use seen.", "%" PRIu64,
			ci->usage.memory_peak);
	INSTANCE_METRIC("container_spec_memory_limit_bytes", "gauge", "Memory limit.", "%" PRIu64, ci->limits.memory);
	INSTANCE_METRIC("container_memory_failcnt", "counter", "Times the memory limit was reached.", "%" PRIu32,
			ci->usage.memory_hits);
	INSTANCE_METRIC("container_oom_events_total", "counter", "Processes killed for lack of memory.", "%" PRIu32,
			ci->usage.oom_kills);
	INSTANCE_METRIC("tulou_container_oom_tenant_events_total", "counter",
			"Of these, at the tenant's total and not at the instance's own limit.", "%" PRIu32,
			ci->usage.oom_tenant);
	INSTANCE_METRIC("tulou_container_oom_host_events_total", "counter",
			"Of these, because the host had no memory left.", "%" PRIu32, ci->usage.oom_host);
	INSTANCE_METRIC("container_cpu_usage_seconds_total", "counter", "CPU time used.", "%.6f",
			(double)ci->usage.cpu_us / 1e6);
	INSTANCE_METRIC("container_spec_cpu_cores", "gauge", "CPU limit.", "%.3f", (double)ci->limits.cpu / 1e3);
	INSTANCE_METRIC("container_cpu_cfs_periods_total", "counter", "Periods of CPU time in which it ran.",
			"%" PRIu32, ci->usage.periods);
	INSTANCE_METRIC("container_cpu_cfs_throttled_periods_total", "counter",
			"Periods in which it waited at its CPU limit.", "%" PRIu32, ci->usage.throttled);
	INSTANCE_METRIC("container_cpu_cfs_throttled_seconds_total", "counter", "Time throttled at the CPU limit.",
			"%.6f", (double)ci->usage.throttled_us / 1e6);
	INSTANCE_METRIC("container_processes", "gauge", "Processes and threads.", "%" PRIu32, ci->usage.pids);
	INSTANCE_METRIC("container_threads_max", "gauge", "Limit of processes and threads.", "%" PRIu32,
			ci->limits.pids);
	INSTANCE_METRIC("tulou_instance_pids_refused_total", "counter", "Processes and threads refused at a limit.",
			"%" PRIu32, ci->usage.pids_hits);
	INSTANCE_METRIC("container_fs_usage_bytes", "gauge", "Bytes in the writable layer.", "%" PRIu64,
			ci->usage.disk);
	INSTANCE_METRIC("container_fs_limit_bytes", "gauge", "Limit of the writable layer.", "%" PRIu64,
			ci->limits.disk);
	INSTANCE_METRIC("container_fs_inodes_total", "gauge", "Limit of files in the writable layer.", "%" PRIu32,
			ci->limits.inodes);
	INSTANCE_METRIC("container_fs_inodes_free", "gauge", "Files that can still be made.", "%" PRIu64,
			ci->limits.inodes > ci->usage.inodes ? ci->limits.inodes - ci->usage.inodes : (uint64_t)0);
	INSTANCE_METRIC("container_fs_reads_bytes_total", "counter", "Bytes read from the disk.", "%" PRIu64,
			ci->usage.io_read);
	INSTANCE_METRIC("container_fs_writes_bytes_total", "counter", "Bytes written to the disk.", "%" PRIu64,
			ci->usage.io_write);
	INSTANCE_METRIC("container_network_receive_bytes_total", "counter", "Bytes received.", "%" PRIu64,
			ci->usage.net_in);
	INSTANCE_METRIC("container_network_transmit_bytes_total", "counter", "Bytes sent.", "%" PRIu64,
			ci->usage.net_out);
	INSTANCE_METRIC("tulou_instance_packets_refused_total", "counter", "Packets refused at its limit.", "%" PRIu64,
			ci->usage.net_refused);
#undef INSTANCE_METRIC
}

/* The lines of one app's histogram; bounds in the unit shown, the last bucket is open. */
static void metrics_histogram(struct buf *out, const struct control_app *ca, const char *name, const uint64_t *bucket,
			      unsigned n, double first, unsigned factor, double sum)
{
	uint64_t seen = 0;
	double bound = first;

	for (unsigned i = 0; i < n; i++, bound *= factor) {
		seen += bucket[i];
		if (i < n - 1)
			buf_printf(out, "%s_bucket{tenant=\"%s\",app=\"%s\",le=\"%.*f\"} %" PRIu64 "\n", name,
				   ca->rec.tenant_name, ca->rec.name, first < 1 ? 6 : 0, bound, seen);
	}
	buf_printf(out,
		   "%s_bucket{tenant=\"%s\",app=\"%s\",le=\"+Inf\"} %" PRIu64 "\n%s_sum" APP_LABELS
		   " %.6f\n%s_count" APP_LABELS " %" PRIu64 "\n",
		   name, ca->rec.tenant_name, ca->rec.name, seen, name, ca->rec.tenant_name, ca->rec.name, sum, name,
		   ca->rec.tenant_name, ca->rec.name, seen);
}

/* Of every app that had a request: n buckets and the sum stand at these offsets of struct stats_sum; `unit` of what is
 * summed make one of what is shown. */
static void metrics_histograms(struct control *c, struct buf *out, const char *name, const char *help, size_t bucket,
			       unsigned n, double first, unsigned factor, size_t sum, double unit)
{
	struct control_app *ca;
	struct stats_sum s;

	metric(out, name, "histogram", help);
	for (ca = next_app(c, NULL); ca; ca = next_app(c, ca)) {
		control_sum(ca, &s);
		if (s.requests)
			metrics_histogram(out, ca, name, (const uint64_t *)(const void *)((const char *)&s + bucket), n,
					  first, factor,
					  (double)*(const uint64_t *)(const void *)((const char *)&s + sum) / unit);
	}
}

static void metrics_times(struct control *c, struct buf *out, const char *name, const char *help, size_t bucket,
			  size_t sum)
{
	metrics_histograms(c, out, name, help, bucket, STATS_BUCKETS, 128e-6, 2, sum, 1e6);
}

static void metrics_sizes(struct control *c, struct buf *out, const char *name, const char *help, size_t bucket,
			  size_t sum)
{
	metrics_histograms(c, out, name, help, bucket, STATS_SIZES, 256, 4, sum, 1);
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
	metric(out, "tulou_app_instances_healthy", "gauge", "Those of them whose checks succeed.");
	for (ca = next_app(c, NULL); ca; ca = next_app(c, ca))
		buf_printf(out, "tulou_app_instances_healthy" APP_LABELS " %u\n", ca->rec.tenant_name, ca->rec.name,
			   control_running(ca) - control_sick(ca));
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
	metrics_times(c, out, "tulou_app_request_duration_seconds", "From the request's head to the answer's end.",
		      offsetof(struct stats_sum, bucket), offsetof(struct stats_sum, duration_us));
	metrics_times(c, out, "tulou_app_upstream_duration_seconds",
		      "From the head given to an instance to the head of its answer.",
		      offsetof(struct stats_sum, upstream), offsetof(struct stats_sum, upstream_us));
	metrics_times(c, out, "tulou_app_queue_seconds", "Of requests that waited for an instance: how long.",
		      offsetof(struct stats_sum, queue), offsetof(struct stats_sum, queue_us));
	metrics_sizes(c, out, "tulou_app_request_size_bytes", "Bodies of requests that had one.",
		      offsetof(struct stats_sum, in), offsetof(struct stats_sum, bytes_in));
	metrics_sizes(c, out, "tulou_app_response_size_bytes", "Bodies of answers.", offsetof(struct stats_sum, out),
		      offsetof(struct stats_sum, bytes_out));
	metric(out, "tulou_app_upstream_errors_total", "counter", "Connections to instances that failed.");
	for (ca = next_app(c, NULL); ca; ca = next_app(c, ca)) {
		control_sum(ca, &s);
		buf_printf(out, "tulou_app_upstream_errors_total" APP_LABELS " %" PRIu64 "\n", ca->rec.tenant_name,
			   ca->rec.name, s.upstream_errors);
	}
	metric(out, "tulou_app_refused_total", "counter", "Requests that the front door refused, by why.");
	for (ca = next_app(c, NULL); ca; ca = next_app(c, ca)) {
		control_sum(ca, &s);
		for (unsigned i = 0; i < STATS_REFUSALS; i++)
			if (s.refused[i])
				buf_printf(out,
					   "tulou_app_refused_total{tenant=\"%s\",app=\"%s\",reason=\"%s\"} %" PRIu64
					   "\n",
					   ca->rec.tenant_name, ca->rec.name, stats_refusal_name(i), s.refused[i]);
	}
}

static void metrics_node(struct control *c, struct buf *out)
{
	static const char *const bounds[MSG_OOM_COUNT] = {"", "instance", "tenant", "host"};
	struct control_counts n = {0};
	uint64_t sum = 0;

	control_node_counts(c, &n, NULL);
#define NODE_METRIC(name, type, help, fmt, value)                                                                      \
	metric(out, name, type, help);                                                                                 \
	buf_printf(out, name " " fmt "\n", value)
	NODE_METRIC("tulou_node_memory_bytes", "gauge", "Memory of the host.", "%" PRIu64, c->host.memory);
	NODE_METRIC("tulou_node_memory_available_bytes", "gauge", "Memory that can still be used.", "%" PRIu64,
		    c->host.memory_available);
	NODE_METRIC("tulou_node_memory_committed_bytes", "gauge", "Sum of the memory limits of what runs.", "%" PRIu64,
		    c->used.memory);
	NODE_METRIC("tulou_node_apps_disk_bytes", "gauge", "The disk that instances share; 0 = not known.", "%" PRIu64,
		    c->disk.total);
	NODE_METRIC("tulou_node_apps_disk_free_bytes", "gauge", "What is free of it.", "%" PRIu64, c->disk.free);
	NODE_METRIC("tulou_node_cpu_cores_used", "gauge", "CPUs busy.", "%.3f", c->host_cpu_now);
	NODE_METRIC("tulou_node_apps", "gauge", "Registered apps.", "%zu", map_count(c->apps));
	NODE_METRIC("tulou_node_instances_running", "gauge", "Running instances.", "%u", n.running);
	NODE_METRIC("tulou_node_instances_starting", "gauge", "Starting instances.", "%u", n.starting);
	NODE_METRIC("tulou_node_instances_wanted", "gauge", "Wanted instances.", "%u", n.wanted);
	NODE_METRIC("tulou_instance_exits_total", "counter", "Instances that ended since control started.", "%" PRIu64,
		    c->exits_total);
	NODE_METRIC("tulou_deploys_succeeded_total", "counter", "Roll-outs that went live.", "%" PRIu64, c->deploys_ok);
	NODE_METRIC("tulou_deploys_failed_total", "counter", "Roll-outs that were given up.", "%" PRIu64,
		    c->deploys_failed);
	NODE_METRIC("tulou_control_backlog", "gauge", "Messages to the supervisor that wait.", "%zu",
		    chan_backlog(c->super));
#undef NODE_METRIC
	metric(out, "tulou_instance_oom_total", "counter",
	       "Instances killed for lack of memory, by whose bound was reached.");
	for (unsigned i = MSG_OOM_OWN; i < MSG_OOM_COUNT; i++)
		buf_printf(out, "tulou_instance_oom_total{limit=\"%s\"} %" PRIu64 "\n", bounds[i], c->oom_total[i]);
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
	WORKER_METRIC("tulou_proxy_tls_handshakes_total", "counter", "TLS handshakes that succeeded.", "%" PRIu64,
		      handshakes);
	WORKER_METRIC("tulou_proxy_tls_resumed_total", "counter", "Those of them that resumed a session.", "%" PRIu64,
		      resumed);
	WORKER_METRIC("tulou_proxy_h2_connections_total", "counter", "HTTP/2 connections of clients.", "%" PRIu64,
		      h2_sessions);
	WORKER_METRIC("tulou_proxy_h2_requests_total", "counter", "Requests over HTTP/2.", "%" PRIu64, h2_streams);
	WORKER_METRIC("tulou_proxy_h2_resets_total", "counter",
		      "HTTP/2 requests that clients ended early or for their faults.", "%" PRIu64, h2_resets);
	WORKER_METRIC("tulou_proxy_h2_floods_total", "counter", "HTTP/2 connections ended for floods.", "%" PRIu64,
		      h2_floods);
	WORKER_METRIC("tulou_proxy_tls_failed_total", "counter", "TLS handshakes that failed.", "%" PRIu64,
		      handshakes_failed);
#undef WORKER_METRIC
}

/* One sample for each tenant that has apps. */
struct tenant_row {
	const struct control_tenant *t;
	struct quota used;
	struct ops_tenant_usage usage;
};

static bool next_tenant(struct control *c, size_t *pos, struct tenant_row *row)
{
	while ((row->t = map_next(c->tenants, pos)))
		if (row->t->apps) {
			control_tenant_used(row->t, &row->used, &row->usage);
			return true;
		}
	return false;
}

/* In the unit of the API: bytes, cores, counts. */
static void tenant_value(struct buf *out, const char *name, const struct control_tenant *t, const struct quota_key *k,
			 const struct quota *q)
{
	uint64_t v = quota_get(k, QUOTA_OF_TENANT, q);

	if (k->unit == QUOTA_CPU)
		buf_printf(out, "%s{tenant=\"%s\",resource=\"%s\"} %.3f\n", name, t->rec.name, k->name,
			   (double)v / 1000);
	else
		buf_printf(out, "%s{tenant=\"%s\",resource=\"%s\"} %" PRIu64 "\n", name, t->rec.name, k->name, v);
}

static void metrics_tenants(struct control *c, struct buf *out)
{
	const struct quota_key *k;
	struct tenant_row row;
	size_t pos = 0;

	metric(out, "tulou_tenant_quota", "gauge", "What a tenant may use in all; rates: 0 = not limited.");
	while (next_tenant(c, &pos, &row))
		for (unsigned i = 0; (k = quota_key(i)); i++)
			if (quota_has(k, QUOTA_OF_TENANT))
				tenant_value(out, "tulou_tenant_quota", row.t, k, &row.t->rec.quota);
	pos = 0;
	metric(out, "tulou_tenant_committed", "gauge",
	       "What counts against the quota: limits of what runs, stored bytes.");
	while (next_tenant(c, &pos, &row))
		for (unsigned i = 0; (k = quota_key(i)); i++)
			if (quota_has(k, QUOTA_OF_TENANT) && k->unit != QUOTA_WEIGHT && k->unit != QUOTA_RATE &&
			    k->unit != QUOTA_PERCOUNT && k->unit != QUOTA_CAP && strcmp(k->name, "cpu_burst") != 0)
				tenant_value(out, "tulou_tenant_committed", row.t, k, &row.used);
#define TENANT_METRIC(metric_name, kind, help, fmt, value)                                                             \
	metric(out, metric_name, kind, help);                                                                          \
	for (pos = 0; next_tenant(c, &pos, &row);)                                                                     \
	buf_printf(out, metric_name "{tenant=\"%s\"} " fmt "\n", row.t->rec.name, value)
	TENANT_METRIC("tulou_tenant_memory_usage_bytes", "gauge", "Memory in use.", "%" PRIu64, row.usage.memory);
	TENANT_METRIC("tulou_tenant_memory_max_usage_bytes", "gauge", "Highest memory use seen.", "%" PRIu64,
		      row.usage.memory_peak);
	TENANT_METRIC("tulou_tenant_cpu_usage_seconds_total", "counter", "CPU time used.", "%.6f",
		      (double)row.usage.cpu_us / 1e6);
	TENANT_METRIC("tulou_tenant_processes", "gauge", "Processes and threads.", "%" PRIu32, row.usage.pids);
	TENANT_METRIC("tulou_tenant_disk_usage_bytes", "gauge", "Stored trees and writable layers.", "%" PRIu64,
		      row.usage.disk);
	TENANT_METRIC("tulou_tenant_disk_held_bytes", "gauge", "Held of the disk that tenants share.", "%" PRIu64,
		      row.t->usage.disk);
	TENANT_METRIC("tulou_tenant_disk_bound_bytes", "gauge",
		      "What it may hold of it now, at most as much as is free; 0 = no such bound.", "%" PRIu64,
		      row.t->usage.disk_bound);
	TENANT_METRIC("tulou_tenant_memory_hits_total", "counter", "Times the memory quota was reached.", "%" PRIu32,
		      row.usage.memory_hits);
	TENANT_METRIC("tulou_tenant_pids_refused_total", "counter", "Processes refused at the quota.", "%" PRIu32,
		      row.usage.pids_hits);
	TENANT_METRIC("tulou_tenant_oom_kills_total", "counter", "Processes killed at the memory quota.", "%" PRIu32,
		      row.usage.oom_kills);
	TENANT_METRIC("tulou_tenant_packets_refused_total", "counter", "Packets dropped at the quota.", "%" PRIu64,
		      row.usage.net_refused);
	TENANT_METRIC("tulou_tenant_confined_seconds_total", "counter",
		      "Time in which it was kept off some CPUs because it lived in the kernel.", "%.3f",
		      (double)row.usage.confined_us / 1e6);
#undef TENANT_METRIC
}

void control_metrics(struct control *c, struct buf *out)
{
	metrics_node(c, out);
	metrics_workers(c, out);
	metrics_tenants(c, out);
	metrics_apps(c, out);
	metrics_instances(c, out);
	control_acme_metrics(c, out);
	control_ocsp_metrics(c, out);
	control_throttle_metrics(c, out);
}
