/* How long requests took: quantiles of the last minutes and of all.  Layer agent, control process.
 *
 * The proxies count in buckets (web/proxy/stats.h); each minute the difference is kept, LATENCY_MINUTES of them, of
 * apps that have requests. */
#include "agent/roles/control_core.h"

#include <stdlib.h>
#include <string.h>

#define LATENCY_MINUTES 5

struct latency_step {
	float duration[STATS_BUCKETS], upstream[STATS_BUCKETS], queue[STATS_BUCKETS], status[6];
};

struct control_recent {
	struct latency_step step[LATENCY_MINUTES];
	unsigned pos, count;
	unsigned ticks;	       /* since the newest step */
	struct stats_sum base; /* at its end */
};

static void latency_add(struct latency_step *to, const struct stats_sum *s)
{
	for (unsigned i = 0; i < STATS_BUCKETS; i++) {
		to->duration[i] += (float)s->bucket[i];
		to->upstream[i] += (float)s->upstream[i];
		to->queue[i] += (float)s->queue[i];
	}
	for (unsigned i = 0; i < 6; i++)
		to->status[i] += (float)s->status[i];
}

void control_recent_tick(struct control_app *ca, const struct stats_sum *now, bool minute)
{
	struct control_recent *r = ca->recent;
	struct stats_sum d = *now;

	if (!r) {
		if (!now->requests || !(r = calloc(1, sizeof *r)))
			return;
		ca->recent = r;
		r->base = ca->sampled ? ca->usage_sum : *now;
	}
	r->ticks++;
	if (!minute)
		return;
	control_sum_sub(&d, &r->base);
	memset(&r->step[r->pos], 0, sizeof r->step[r->pos]);
	latency_add(&r->step[r->pos], &d);
	r->base = *now;
	r->pos = (r->pos + 1) % LATENCY_MINUTES;
	if (r->count < LATENCY_MINUTES)
		r->count++;
	r->ticks = 0;
}

static json_t *latency_quantiles(const float bucket[STATS_BUCKETS])
{
	double count = 0;

	for (unsigned i = 0; i < STATS_BUCKETS; i++)
		count += bucket[i];
	if (count < 1)
		return json_null();
	return json_pack("{s:I, s:f, s:f, s:f}", "count", (json_int_t)count, "p50_ms",
			 control_quantile(bucket, 0.5) * 1000, "p95_ms", control_quantile(bucket, 0.95) * 1000,
			 "p99_ms", control_quantile(bucket, 0.99) * 1000);
}

static json_t *latency_json(const struct latency_step *s)
{
	double count = 0;

	for (unsigned i = 0; i < 6; i++)
		count += s->status[i];
	return json_pack("{s:I, s:{s:I, s:I, s:I, s:I, s:I, s:I}, s:o, s:o, s:o}", "requests", (json_int_t)count,
			 "status", "none", (json_int_t)s->status[0], "1xx", (json_int_t)s->status[1], "2xx",
			 (json_int_t)s->status[2], "3xx", (json_int_t)s->status[3], "4xx", (json_int_t)s->status[4],
			 "5xx", (json_int_t)s->status[5], "duration", latency_quantiles(s->duration), "upstream",
			 latency_quantiles(s->upstream), "queue", latency_quantiles(s->queue));
}

json_t *control_refused_json(const struct stats_sum *s)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < STATS_REFUSALS; i++)
		json_object_set_new(o, stats_refusal_name(i), json_integer((json_int_t)s->refused[i]));
	return o;
}

static json_t *ops_latency(void *ctx, int64_t app)
{
	struct control_app *ca = control_app_get(ctx, app);
	struct latency_step all = {0}, some = {0};
	unsigned seconds = CONTROL_TICK_S;
	struct stats_sum now = {0}, d;
	json_t *recent, *o;

	if (ca)
		control_sum(ca, &now);
	latency_add(&all, &now);
	d = now;
	if (ca && ca->recent) {
		const struct control_recent *r = ca->recent;

		control_sum_sub(&d, &r->base);
		for (unsigned i = 0; i < r->count; i++)
			for (unsigned k = 0; k < sizeof(struct latency_step) / sizeof(float); k++)
				((float *)&some)[k] += ((const float *)&r->step[i])[k];
		seconds = r->count * 60 + (r->ticks + 1) * CONTROL_TICK_S;
	} else if (ca && ca->sampled) {
		control_sum_sub(&d, &ca->usage_sum);
	}
	latency_add(&some, &d);
	recent = latency_json(&some);
	json_object_set_new(recent, "seconds", json_integer(seconds));
	o = json_pack("{s:o, s:o, s:o}", "recent", recent, "total", latency_json(&all), "refused",
		      control_refused_json(&now));
	return o;
}

void control_latency_init(struct control *c)
{
	c->ops.latency = ops_latency;
}
