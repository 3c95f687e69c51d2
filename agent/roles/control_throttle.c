/* Noisy neighbours: samples in, decisions of scheduler/throttle.h out, and who is told.  Layer agent, control process.
 */
#include "agent/roles/control_core.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct control_instance *throttle_instance(struct control *c, const struct control_use *u)
{
	int64_t id = (int64_t)u->id;

	return control_is_job(u->id) ? NULL : map_get(c->instances, &id, sizeof id);
}

static void throttle_list(struct control *c, struct control_use *u)
{
	if (!u->listed)
		TAILQ_INSERT_TAIL(&c->throttle.busy, u, link);
	u->listed = true;
}

static void throttle_unlist(struct control *c, struct control_use *u)
{
	if (u->listed)
		TAILQ_REMOVE(&c->throttle.busy, u, link);
	u->listed = false;
}

void control_throttle_gone(struct control *c, struct control_use *u)
{
	throttle_unlist(c, u);
	memset(&u->state, 0, sizeof u->state);
}

void control_throttle_tenant_gone(struct control *c, struct control_tenant *t)
{
	struct control_job *job;

	if (t->is_held)
		TAILQ_REMOVE(&c->throttle.held, t, held);
	t->is_held = false;
	for (size_t pos = 0; (job = map_next(c->jobs, &pos));) /* a build may outlive its app and tenant */
		if (job->use.tenant == t) {
			throttle_unlist(c, &job->use);
			job->use.tenant = NULL;
		}
}

void control_throttle_usage(struct control *c, struct control_use *u, uint64_t cpu_us)
{
	int64_t now = control_now_ms(), span = now - u->at_ms;

	if (!u->tenant)
		return;
	if (u->at_ms && span < 100)
		return; /* two samples in one message's time tell nothing */
	u->used = u->at_ms && cpu_us > u->cpu_us ? (uint32_t)((cpu_us - u->cpu_us) / (uint64_t)span) : 0;
	u->cpu_us = cpu_us;
	u->at_ms = now;
	if (u->used)
		throttle_list(c, u);
}

/* --- the tick ----------------------------------------------------------------------------------------------------- */

static bool throttle_room(struct control_throttle *x, unsigned n)
{
	unsigned cap = x->cap ? x->cap : 64;
	void *rows[4];

	if (n <= x->cap)
		return true;
	while (cap < n)
		cap *= 2;
	/* A tenant without a busy instance may be held too: twice as many rows as instances would be too many by far.
	 */
	rows[0] = realloc(x->tenants, cap * sizeof *x->tenants);
	x->tenants = rows[0] ? rows[0] : x->tenants;
	rows[1] = realloc(x->instances, cap * sizeof *x->instances);
	x->instances = rows[1] ? rows[1] : x->instances;
	rows[2] = realloc(x->uses, cap * sizeof *x->uses);
	x->uses = rows[2] ? rows[2] : x->uses;
	rows[3] = realloc(x->owners, cap * sizeof *x->owners);
	x->owners = rows[3] ? rows[3] : x->owners;
	if (!rows[0] || !rows[1] || !rows[2] || !rows[3])
		return false;
	x->cap = cap;
	return true;
}

static unsigned throttle_row(struct control_throttle *x, struct control_tenant *t, unsigned *count)
{
	if (t->throttle_run != x->run) {
		t->throttle_run = x->run;
		t->throttle_row = *count;
		x->owners[*count] = t;
		x->tenants[(*count)++] = (struct throttle_tenant){
			.weight = t->rec.quota.cpu_weight, .cpu = t->rec.quota.cpu, .state = &t->throttle};
	}
	return t->throttle_row;
}

/* Did its app answer somebody since the last tick? */
static bool throttle_serves(struct control *c, struct control_use *u)
{
	struct stats_sum sum = {0};
	uint64_t before = u->requests;

	if (!c->stats || u->slot == UINT32_MAX)
		return false;
	stats_sum_app(c->stats, u->slot, &sum);
	u->requests = sum.requests;
	return sum.requests > before || sum.in_flight;
}

static unsigned throttle_gather(struct control *c, unsigned *tenants)
{
	struct control_throttle *x = &c->throttle;
	int64_t now = control_now_ms();
	struct control_tenant *t;
	struct control_use *u, *first = NULL;
	unsigned n = 0;

	x->run++;
	*tenants = 0;
	while (n < CONTROL_THROTTLE_BUSY && (u = TAILQ_FIRST(&x->busy)) && u != first) {
		if (!throttle_room(x, *tenants + n + 2))
			break;
		TAILQ_REMOVE(&x->busy, u, link);
		if (now - u->at_ms > 2 * (int64_t)LIMIT_USAGE_MS)
			u->used = 0; /* it is not sampled any more */
		if (!u->used && !throttle_state_holds(&u->state)) {
			u->listed = false;
			continue;
		}
		TAILQ_INSERT_TAIL(&x->busy, u, link);
		first = first ? first : u;
		x->uses[n] = u;
		x->instances[n++] = (struct throttle_instance){.tenant = throttle_row(x, u->tenant, tenants),
							       .used = u->used,
							       .weight = u->limits->cpu_weight,
							       .cpu = u->limits->cpu,
							       .serves = throttle_serves(c, u),
							       .state = &u->state};
	}
	TAILQ_FOREACH(t, &x->held, held)
	{
		if (throttle_room(x, *tenants + n + 2))
			throttle_row(x, t, tenants);
	}
	return n;
}

static void throttle_host(struct control *c, struct throttle_host *h)
{
	struct control_pulse now = {0}, *was = &c->throttle.pulse;
	double us, percent[3] = {-1, 0, 0};

	control_proc_pulse(&now);
	us = (double)(now.at_us - was->at_us);
	for (unsigned i = 0; i < 3 && was->at_us && us > 0 && now.pressure; i++)
		percent[i] = (double)(now.waited_us[i] - was->waited_us[i]) * 100 / us;
	*h = (struct throttle_host){.cpus = c->host.cpus ? c->host.cpus : 1,
				    .psi_cpu = percent[0],
				    .psi_memory = percent[1],
				    .psi_io = percent[2],
				    .runnable = now.runnable};
	if (was->at_us && now.all > was->all)
		h->busy = (double)(now.busy - was->busy) / (double)(now.all - was->all) * h->cpus;
	*was = now;
}

static void throttle_send(struct control *c, const struct throttle_change *ch)
{
	struct control_throttle *x = &c->throttle;

	x->changes_total++;
	if (ch->is_tenant) {
		struct control_tenant *t = x->owners[ch->index];
		struct msg_throttle_tenant m = {
			.tenant = (uint64_t)t->rec.id, .slot = t->rec.slot, .cpu_weight = ch->weight};

		if (ch->weight && !t->is_held)
			TAILQ_INSERT_TAIL(&x->held, t, held);
		else if (!ch->weight && t->is_held)
			TAILQ_REMOVE(&x->held, t, held);
		t->is_held = ch->weight != 0;
		control_send(c, MSG_THROTTLE_TENANT, &m, sizeof m, NULL, 0);
		return;
	}
	struct msg_throttle m = {.instance = x->uses[ch->index]->id, .cpu_weight = ch->weight, .cpu = ch->cpu};

	control_send(c, MSG_THROTTLE, &m, sizeof m, NULL, 0);
}

/* The owner hears when it lasts, and when it is over. */
static void throttle_tell(struct control *c, struct control_use *u, int64_t now)
{
	struct control_instance *ci = throttle_instance(c, u);
	const struct throttle_state *s = &u->state;

	if (!ci || u->told == (s->since_ms != 0))
		return;
	if (u->told) {
		u->told = false;
		control_event(c, ci->app, ci->rec.id, "instance.unslowed",
			      "%s.%" PRId64 " has its full CPU share again", ci->rec.type, ci->rec.id);
		return;
	}
	if (now - s->since_ms < CONTROL_THROTTLE_TELL_MS ||
	    (u->told_ms && now - u->told_ms < CONTROL_THROTTLE_TELL_AGAIN_MS))
		return;
	u->told = true;
	u->told_ms = now;
	control_event(c, ci->app, ci->rec.id, "instance.slowed",
		      "%s.%" PRId64 " used %.2f CPU cores while others wait: it yields to them, its fair share now is "
		      "%.2f cores",
		      ci->rec.type, ci->rec.id, u->used / 1000.0, s->share / 1000.0);
	LOG_INFO("instance slowed", "tenant=%s app=%s instance=%" PRId64 " used=%" PRIu32 " share=%" PRIu32,
		 ci->app->rec.tenant_name, ci->app->rec.name, ci->rec.id, u->used, s->share);
}

void control_throttle_tick(void *arg)
{
	struct control *c = arg;
	struct control_throttle *x = &c->throttle;
	struct throttle_change changes[THROTTLE_CHANGES];
	int64_t now = control_now_ms();
	struct throttle_host host;
	unsigned n, tenants, done;

	throttle_host(c, &host);
	if (c->synced && !c->failed) {
		n = throttle_gather(c, &tenants);
		done = c->settings.throttle
			       ? throttle_tick(&x->t, &host, x->tenants, tenants, x->instances, n, now, changes,
					       THROTTLE_CHANGES)
			       : throttle_release(x->tenants, tenants, x->instances, n, changes, THROTTLE_CHANGES);
		for (unsigned i = 0; i < done; i++)
			throttle_send(c, &changes[i]);
		for (unsigned i = 0; i < n; i++)
			throttle_tell(c, x->uses[i], now);
	}
	loop_timer_start(c->loop, &x->timer, CONTROL_THROTTLE_US, control_throttle_tick, c);
}

void control_throttle_stop(struct control *c)
{
	struct control_throttle *x = &c->throttle;

	loop_timer_stop(&x->timer);
	free(x->tenants);
	free(x->instances);
	free(x->uses);
	free(x->owners);
	x->tenants = NULL;
	x->instances = NULL;
	x->uses = NULL;
	x->owners = NULL;
	x->cap = 0;
}

/* --- who can see it ----------------------------------------------------------------------------------------------- */

json_t *control_throttle_json(const struct control_use *u)
{
	const struct throttle_state *s = &u->state;
	int64_t since = s->since_ms ? clock_wall_ms() - (control_now_ms() - s->since_ms) : 0;
	uint32_t tenant = u->tenant ? u->tenant->throttle.weight : 0;
	char reason[160], started[25];
	json_t *o;

	if (!s->weight && !s->cpu)
		return NULL;
	if (s->boosted)
		snprintf(reason, sizeof reason, "it serves requests within its share while others crowd the CPUs");
	else
		snprintf(reason, sizeof reason, "it wants more than its fair share of %.2f CPU cores while others wait",
			 s->share / 1000.0);
	clock_rfc3339(since, started);
	o = json_pack("{s:s,s:i,s:f,s:f,s:s}", "state", s->boosted ? "boosted" : "slowed", "weight",
		      (int)(s->weight ? s->weight : u->limits->cpu_weight), "used_cpu", u->used / 1000.0, "fair_cpu",
		      s->share / 1000.0, "reason", reason);
	if (!o)
		return NULL;
	if (tenant)
		json_object_set_new(o, "tenant_weight", json_integer(tenant));
	json_object_set_new(o, "cpu", s->cpu ? json_real(s->cpu / 1000.0) : json_null());
	json_object_set_new(o, "since", since ? json_string(started) : json_null());
	return o;
}

static unsigned throttle_counts(struct control *c, unsigned *boosted)
{
	const struct control_use *u;
	unsigned slowed = 0;

	*boosted = 0;
	TAILQ_FOREACH(u, &c->throttle.busy, link)
	{
		slowed += (u->state.weight || u->state.cpu) && !u->state.boosted;
		*boosted += u->state.boosted;
	}
	return slowed;
}

json_t *control_throttle_node_json(struct control *c)
{
	const struct control_use *u;
	unsigned boosted, slowed = throttle_counts(c, &boosted), shown = 0;
	json_t *items = json_array();

	TAILQ_FOREACH(u, &c->throttle.busy, link)
	{
		struct control_instance *ci = throttle_instance(c, u);
		json_t *o = ci && shown < CONTROL_THROTTLE_LIST ? control_throttle_json(u) : NULL;

		if (!o)
			continue;
		shown++;
		json_object_set_new(o, "tenant", json_string(ci->app->rec.tenant_name));
		json_object_set_new(o, "app", json_string(ci->app->rec.name));
		json_object_set_new(o, "instance", json_sprintf("%s.%" PRId64, ci->rec.type, ci->rec.id));
		json_array_append_new(items, o);
	}
	return json_pack("{s:s,s:b,s:f,s:i,s:i,s:o}", "mode", c->settings.throttle ? "auto" : "off", "contended",
			 c->throttle.t.contended, "contended_seconds", (double)c->throttle.t.contended_ms / 1000,
			 "slowed", (int)slowed, "boosted", (int)boosted, "items", items);
}

void control_throttle_metrics(struct control *c, struct buf *out)
{
	const struct control_use *u;
	unsigned boosted, slowed = throttle_counts(c, &boosted);

	buf_printf(
		out,
		"# HELP tulou_node_contention_seconds_total Time in which tasks waited for busy CPUs.\n"
		"# TYPE tulou_node_contention_seconds_total counter\n"
		"tulou_node_contention_seconds_total %.3f\n"
		"# HELP tulou_node_instances_slowed Instances that yield to others now.\n"
		"# TYPE tulou_node_instances_slowed gauge\n"
		"tulou_node_instances_slowed %u\n"
		"# HELP tulou_node_instances_boosted Instances with a larger weight now.\n"
		"# TYPE tulou_node_instances_boosted gauge\n"
		"tulou_node_instances_boosted %u\n"
		"# HELP tulou_node_throttle_changes_total Weights and quotas changed by the throttle.\n"
		"# TYPE tulou_node_throttle_changes_total counter\n"
		"tulou_node_throttle_changes_total %" PRIu64 "\n"
		"# HELP tulou_instance_throttle_weight_ratio Weight in force by that of the limits, where it differs.\n"
		"# TYPE tulou_instance_throttle_weight_ratio gauge\n",
		(double)c->throttle.t.contended_ms / 1000, slowed, boosted, c->throttle.changes_total);
	TAILQ_FOREACH(u, &c->throttle.busy, link)
	{
		const struct control_instance *ci = throttle_instance(c, u);

		if (ci && (u->state.weight || u->state.cpu))
			buf_printf(
				out,
				"tulou_instance_throttle_weight_ratio{tenant=\"%s\",app=\"%s\",instance=\"%s.%" PRId64
				"\"} %.4f\n",
				ci->app->rec.tenant_name, ci->app->rec.name, ci->rec.type, ci->rec.id,
				u->state.weight ? (double)u->state.weight / u->limits->cpu_weight : 1.0);
	}
}
