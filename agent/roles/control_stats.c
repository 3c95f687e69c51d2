/* Usage samples, rates, history.  Layer agent, control process.
 *
 * The supervisor reports usage per instance; the proxies count requests in the shared segment.  Every CONTROL_TICK_S
 * both are turned into rates and one step of history; every minute the differences are added to the store. */
#include "agent/roles/control_core.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define STATS_DECAY 0.8f /* per tick: the quantiles look back about a minute */
#define STATS_MINUTE_TICKS (60 / CONTROL_TICK_S)
#define STATS_COLLECT_TICKS (600 / CONTROL_TICK_S)

void control_on_usage(struct control *c, const struct msg_usage *u, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int64_t id = (int64_t)u[i].instance;
		uint64_t cpu_us;
		struct control_instance *ci = map_get(c->instances, &id, sizeof id);

		if (control_is_job(u[i].instance)) {
			struct control_job *job = map_get(c->jobs, &u[i].instance, sizeof u[i].instance);

			if (job)
				control_throttle_usage(c, &job->use, u[i].cpu_us);
		}
		if (!ci)
			continue;
		control_throttle_usage(c, &ci->use, u[i].cpu_us);
		control_hits_instance(ci, &u[i]);
		cpu_us = ci->usage.cpu_us;
		ci->usage = u[i];
		if (ci->usage.cpu_us < cpu_us)
			ci->usage.cpu_us = cpu_us;
		ci->has_base = true;
	}
}

void control_sum_sub(struct stats_sum *a, const struct stats_sum *b)
{
#define SUB(f) a->f = a->f > b->f ? a->f - b->f : 0
	SUB(requests);
	for (unsigned i = 0; i < 6; i++)
		SUB(status[i]);
	SUB(bytes_in);
	SUB(bytes_out);
	SUB(duration_us);
	for (unsigned i = 0; i < STATS_BUCKETS; i++)
		SUB(bucket[i]), SUB(upstream[i]), SUB(queue[i]);
	for (unsigned i = 0; i < STATS_SIZES; i++)
		SUB(in[i]), SUB(out[i]);
	for (unsigned i = 0; i < STATS_REFUSALS; i++)
		SUB(refused[i]);
	SUB(canary);
	SUB(canary_errors);
	SUB(upstream_us);
	SUB(queue_us);
	SUB(upstream_errors);
	SUB(waited);
#undef SUB
}

void control_sum(const struct control_app *ca, struct stats_sum *ret)
{
	memset(ret, 0, sizeof *ret);
	if (!ca->control->stats)
		return;
	stats_sum_app(ca->control->stats, ca->slot, ret);
	control_sum_sub(ret, &ca->base);
}

uint64_t control_app_cpu_us(const struct control_app *ca)
{
	const struct control_instance *ci;
	uint64_t us = ca->cpu_gone_us;

	TAILQ_FOREACH(ci, &ca->instances, link)
	{
		us += ci->usage.cpu_us;
	}
	return us;
}

uint64_t control_app_memory(const struct control_app *ca)
{
	const struct control_instance *ci;
	uint64_t bytes = 0;

	TAILQ_FOREACH(ci, &ca->instances, link)
	{
		bytes += ci->usage.memory;
	}
	return bytes;
}

static void history_add(struct control_history *h, double memory, double cpu, double rate)
{
	h->memory[h->pos] = (float)memory;
	h->cpu[h->pos] = (float)cpu;
	h->rate[h->pos] = (float)rate;
	h->pos = (h->pos + 1) % CONTROL_HISTORY;
	if (h->count < CONTROL_HISTORY)
		h->count++;
}

static void stats_usage(struct control_app *ca, const struct stats_sum *now, uint64_t cpu_us)
{
	struct stats_sum d = *now;
	struct store_usage u = {.hour_ms = clock_wall_ms() / 3600000 * 3600000};
	struct err e = {0};

	control_sum_sub(&d, &ca->usage_sum);
	u.cpu_us = cpu_us > ca->usage_cpu_us ? cpu_us - ca->usage_cpu_us : 0;
	u.memory_byte_seconds = ca->memory_byte_seconds;
	u.requests = d.requests;
	u.bytes_in = d.bytes_in;
	u.bytes_out = d.bytes_out;
	ca->usage_sum = *now;
	ca->usage_cpu_us = cpu_us;
	ca->memory_byte_seconds = 0;
	if (!u.cpu_us && !u.memory_byte_seconds && !u.requests)
		return;
	if (store_usage_add(ca->control->store, ca->rec.id, &u, &e) < 0)
		LOG_WARN("usage record", "app=%s error=\"%s\"", ca->rec.name, e.text);
	control_written(ca->control);
}

static void stats_app(struct control_app *ca, bool minute)
{
	struct control *c = ca->control;
	struct stats_sum now, d;
	uint64_t cpu_us = control_app_cpu_us(ca), memory;

	if (ca->deleted)
		return;
	/* An app that sleeps costs one read of its counters and no history. */
	control_sum(ca, &now);
	d = now;
	control_sum_sub(&d, &ca->last);
	if (!ca->sampled) { /* the first tick only notes where it starts: what was before is not this control's */
		ca->usage_sum = now;
		ca->usage_cpu_us = cpu_us;
		memset(&d, 0, sizeof d);
		ca->cpu_last_us = cpu_us;
		ca->sampled = true;
	}
	memory = control_app_memory(ca);
	ca->cpu_now = (float)((double)(cpu_us - ca->cpu_last_us) / (CONTROL_TICK_S * 1e6));
	ca->rate_now = (float)((double)d.requests / CONTROL_TICK_S);
	ca->memory_byte_seconds += memory * CONTROL_TICK_S;
	for (unsigned i = 0; i < STATS_BUCKETS; i++)
		ca->bucket[i] = ca->bucket[i] * STATS_DECAY + (float)d.bucket[i];
	ca->last = now;
	ca->cpu_last_us = cpu_us;
	c->host_rate_now += ca->rate_now;
	if (!ca->history && (ca->instance_count || d.requests))
		ca->history = calloc(1, sizeof *ca->history);
	control_recent_tick(ca, &now, minute);
	if (ca->history)
		history_add(ca->history, (double)memory, ca->cpu_now, ca->rate_now);
	if (minute)
		stats_usage(ca, &now, cpu_us);
}

void control_tick(void *arg)
{
	struct control *c = arg;
	uint64_t busy = c->host.cpu_busy, all = c->host.cpu_all;
	struct control_app *ca;
	bool minute = c->ticks % STATS_MINUTE_TICKS == STATS_MINUTE_TICKS - 1;

	control_proc_host(&c->host, c->settings.data);
	c->host_cpu_now = c->host.cpu_all > all && all
				  ? (double)(c->host.cpu_busy - busy) / (double)(c->host.cpu_all - all) * c->host.cpus
				  : 0;
	c->host_rate_now = 0;
	if (c->synced)
		TAILQ_FOREACH(ca, &c->all, link)
		{
			stats_app(ca, minute);
		}
	if (c->ticks)
		history_add(&c->history, (double)(c->host.memory - c->host.memory_available), c->host_cpu_now,
			    c->host_rate_now);
	if (c->synced && c->ticks % STATS_COLLECT_TICKS == 1)
		control_collect(c);
	control_disk_tick(c->control_dir);
	c->ticks++;
	control_domains_tick(c);
	loop_timer_start(c->loop, &c->tick, CONTROL_TICK_S * 1000000, control_tick, c);
}

double control_quantile(const float *bucket, double part)
{
	double total = 0, seen = 0;

	for (unsigned i = 0; i < STATS_BUCKETS; i++)
		total += bucket[i];
	for (unsigned i = 0; total > 0.01 && i < STATS_BUCKETS; i++) {
		double low = i ? (double)(1u << (i + 6)) : 0, high = (double)(1u << (i + 7));

		if (seen + bucket[i] >= total * part && bucket[i] > 0)
			return (low + (high - low) * (total * part - seen) / bucket[i]) / 1e6;
		seen += bucket[i];
	}
	return 0;
}

json_t *control_app_stats(struct control_app *ca)
{
	char waiting[512];
	struct stats_sum s;
	json_t *o;
	double p50 = control_quantile(ca->bucket, 0.5), p99 = control_quantile(ca->bucket, 0.99);

	control_waiting(ca, waiting, sizeof waiting);
	control_sum(ca, &s);
	o = json_pack("{s:s,s:i,s:i,s:i,s:s?,s:I,s:f,s:f,s:I,s:f,s:f,s:f,s:I,s:I,s:I,s:I,s:{s:I,s:I,s:I,s:I,s:I}}",
		      "state", control_app_state(ca), "instances_running", (int)control_running(ca),
		      "instances_healthy", (int)(control_running(ca) - control_sick(ca)), "instances_wanted",
		      (int)control_wanted(ca), "waiting", waiting[0] ? waiting : NULL, "memory_bytes",
		      (json_int_t)control_app_memory(ca), "cpu_cores", (double)ca->cpu_now, "cpu_seconds",
		      (double)control_app_cpu_us(ca) / 1e6, "requests_total", (json_int_t)s.requests,
		      "requests_per_second", (double)ca->rate_now, "p50_ms", p50 * 1000, "p99_ms", p99 * 1000,
		      "bytes_in", (json_int_t)s.bytes_in, "bytes_out", (json_int_t)s.bytes_out, "upstream_errors",
		      (json_int_t)s.upstream_errors, "waited", (json_int_t)s.waited, "status", "1xx",
		      (json_int_t)s.status[1], "2xx", (json_int_t)s.status[2], "3xx", (json_int_t)s.status[3], "4xx",
		      (json_int_t)s.status[4], "5xx", (json_int_t)s.status[5]);
	if (!o)
		return NULL;
	json_object_set_new(o, "refused", control_refused_json(&s));
	return o;
}

json_t *control_history_json(const struct control_history *h, unsigned minutes)
{
	json_t *times = json_array(), *memory = json_array(), *cpu = json_array(), *rate = json_array();
	unsigned n = minutes * 60 / CONTROL_TICK_S;
	int64_t now = clock_wall_ms() / 1000;

	n = h && n > h->count ? h->count : h ? n : 0;
	for (unsigned i = 0; i < n; i++) {
		unsigned at = (h->pos + CONTROL_HISTORY - n + i) % CONTROL_HISTORY;

		json_array_append_new(times, json_integer(now - (int64_t)(n - 1 - i) * CONTROL_TICK_S));
		json_array_append_new(memory, json_integer((json_int_t)h->memory[at]));
		json_array_append_new(cpu, json_real((double)h->cpu[at]));
		json_array_append_new(rate, json_real((double)h->rate[at]));
	}
	return json_pack("{s:i,s:o,s:o,s:o,s:o}", "step_seconds", CONTROL_TICK_S, "times", times, "memory_bytes",
			 memory, "cpu_cores", cpu, "requests_per_second", rate);
}
