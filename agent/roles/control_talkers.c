/* Top talkers: asks the proxies to count for some seconds, and joins what they tell.  Layer agent, control process.
 *
 *   ask -> PROXY_WATCH to every worker -> PROXY_WATCH_ROWS, PROXY_WATCH_DONE of each -> the answer
 *            a worker that is lost, or silent for TALK_LATE_MS after the time, is counted as missing
 *
 * Nothing is kept between two asks. */
#include "agent/roles/control_core.h"

#include "base/own.h"
#include "base/parse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TALK_LATE_MS 2000

struct control_talk {
	LIST_ENTRY(control_talk) link;
	struct control *control; /* borrowed */
	struct ops_talkers ask;
	uint64_t id;
	int64_t tenant;
	uint32_t pending; /* workers that have not told, bit per worker */
	unsigned told, missing;
	uint64_t sampled;
	struct talk_cost total;
	struct talk_merge rows[TALK_KIND_COUNT];
	struct loop_timer late;
};

static void talk_free(struct control_talk *t)
{
	loop_timer_stop(&t->late);
	LIST_REMOVE(t, link);
	for (unsigned i = 0; i < TALK_KIND_COUNT; i++)
		talk_merge_done(&t->rows[i]);
	free(t);
}

/* The tenant of an app by its name, null for what is none. */
static json_t *talk_tenant(struct control *c, const char *app)
{
	struct control_app *ca;

	TAILQ_FOREACH(ca, &c->all, link)
	{
		if (!ca->deleted && strcmp(ca->rec.name, app) == 0)
			return json_string(ca->tenant->rec.name);
	}
	return json_null();
}

static json_t *talk_row(struct control_talk *t, unsigned kind, const struct talk_row *r)
{
	uint64_t all = talk_measure(t->ask.by, &t->total), sure = r->weight - r->error;
	const char *name = r->name;
	json_t *o;

	if (kind == TALK_TENANT) { /* by number: a worker knows no names of tenants */
		uint64_t id = 0;
		struct control_tenant *tenant = NULL;

		if (parse_u64(name, strlen(name), 1, INT64_MAX, "tenant", &id, NULL) == 0)
			tenant = control_tenant_get(t->control, (int64_t)id);
		if (!tenant)
			return NULL;
		name = tenant->rec.name;
	}
	o = json_pack("{s:s, s:I, s:I, s:f, s:I, s:f, s:f}", "name", name, "requests", (json_int_t)r->cost.requests,
		      "bytes", (json_int_t)r->cost.bytes, "seconds", (double)r->cost.us / 1e6, "errors",
		      (json_int_t)r->cost.errors, "share", all ? (double)(sure < all ? sure : all) / (double)all : 0.0,
		      "uncertain", all ? (double)(r->error < all ? r->error : all) / (double)all : 0.0);
	if (o && kind == TALK_APP)
		json_object_set_new(o, "tenant", talk_tenant(t->control, name));
	return o;
}

static json_t *talk_json(struct control_talk *t)
{
	static const char *const lists[] = {"clients", "paths", "hosts", "statuses", "apps", "tenants", "agents"};
	json_t *o = json_pack("{s:s, s:f, s:I, s:I, s:f, s:I, s:I, s:i, s:i}", "by", talk_by_name(t->ask.by), "seconds",
			      t->ask.ms / 1e3, "requests", (json_int_t)t->total.requests, "bytes",
			      (json_int_t)t->total.bytes, "request_seconds", (double)t->total.us / 1e6, "errors",
			      (json_int_t)t->total.errors, "sampled", (json_int_t)t->sampled, "workers", (int)t->told,
			      "workers_missing", (int)t->missing);

	for (unsigned kind = 0; o && kind < TALK_KIND_COUNT; kind++) {
		json_t *list;

		if (t->ask.app ? kind == TALK_APP || kind == TALK_TENANT : kind == TALK_PATH)
			continue;
		list = json_array();
		talk_merge_end(&t->rows[kind]);
		for (size_t i = 0; i < t->rows[kind].count && json_array_size(list) < t->ask.limit; i++)
			json_array_append_new(list, talk_row(t, kind, &t->rows[kind].row[i]));
		json_object_set_new(o, lists[kind], list);
	}
	return o;
}

static void talk_over(struct control_talk *t)
{
	struct ops_talkers ask = t->ask;
	json_t *o = talk_json(t);

	talk_free(t);
	ask.done(ask.arg, o);
}

static void talk_on_late(void *arg)
{
	struct control_talk *t = arg;

	t->missing += (unsigned)__builtin_popcount(t->pending);
	talk_over(t);
}

static struct control_talk *talk_find(struct control *c, uint64_t id, uint32_t bit)
{
	struct control_talk *t;

	LIST_FOREACH(t, &c->talks, link)
	{
		if (t->id == id)
			return t->pending & bit ? t : NULL;
	}
	return NULL;
}

void control_talkers_rows(struct control *c, uint32_t bit, const struct proxy_msg_watch_rows *m, size_t len)
{
	struct control_talk *t = talk_find(c, m->id, bit);

	if (t && m->kind < TALK_KIND_COUNT && m->count <= LIMIT_TALK_ROWS &&
	    len == offsetof(struct proxy_msg_watch_rows, row) + m->count * sizeof m->row[0])
		talk_merge_add(&t->rows[m->kind], m->row, m->count, m->unseen);
}

void control_talkers_told(struct control *c, uint32_t bit, const struct proxy_msg_watch_done *m)
{
	struct control_talk *t = talk_find(c, m->id, bit);

	if (!t)
		return;
	t->told++;
	t->sampled += m->sampled;
	t->total.requests += m->total.requests;
	t->total.bytes += m->total.bytes;
	t->total.us += m->total.us;
	t->total.errors += m->total.errors;
	t->pending &= ~bit;
	if (!t->pending)
		talk_over(t);
}

void control_talkers_lost(struct control *c, uint32_t bit)
{
	struct control_talk *t, *next;

	for (t = LIST_FIRST(&c->talks); t; t = next) {
		next = LIST_NEXT(t, link);
		if (!(t->pending & bit))
			continue;
		t->missing++;
		t->pending &= ~bit;
		if (!t->pending) /* the loop's next turn: callers walk lists of their own */
			loop_timer_start(c->loop, &t->late, 0, talk_on_late, t);
	}
}

static int ops_talkers(void *ctx, const struct ops_talkers *ask, struct err *e)
{
	struct control *c = ctx;
	struct control_app *ca = ask->app ? control_app_get(c, ask->app) : NULL;
	unsigned all = 0, own = 0;
	struct control_talk *t;
	struct proxy_msg_watch m = {.app = (uint64_t)ask->app, .by = ask->by, .ms = ask->ms};

	if (ask->app && (!ca || ca->deleted))
		return err_set(e, ENOENT, "the app does not exist");
	if (!c->synced || !c->workers_up)
		return err_set(e, EAGAIN, "the front door is still starting: try again in a moment");
	LIST_FOREACH(t, &c->talks, link)
	{
		all++;
		own += ca && t->tenant == ca->rec.tenant;
	}
	if (own >= LIMIT_TALK_TENANT)
		return err_set(e, EBUSY, "%d of this tenant look at their talkers already: try again in a moment",
			       LIMIT_TALK_TENANT);
	if (all >= LIMIT_TALK_WATCHES - (ca ? LIMIT_TALK_NODE : 0))
		return err_set(e, EBUSY, "%d look at the talkers of this node already: try again in a moment",
			       LIMIT_TALK_WATCHES);
	if (!(t = calloc(1, sizeof *t)))
		return err_set(e, ENOMEM, "out of memory");
	t->control = c;
	t->ask = *ask;
	t->tenant = ca ? ca->rec.tenant : 0;
	m.id = t->id = (uint64_t)c->started_ms << 20 | (++c->talk_next & 0xfffff); /* no earlier control used it */
	LIST_INSERT_HEAD(&c->talks, t, link);
	t->pending = c->workers_up;
	loop_timer_start(c->loop, &t->late, ((int64_t)ask->ms + TALK_LATE_MS) * 1000, talk_on_late, t);
	control_routes_all(c, PROXY_WATCH, &m, sizeof m);
	t->pending &= c->workers_up;
	return 0;
}

static void ops_talkers_cancel(void *ctx, void *arg)
{
	struct control *c = ctx;
	struct control_talk *t;

	LIST_FOREACH(t, &c->talks, link)
	{
		if (t->ask.arg != arg)
			continue;
		control_routes_all(c, PROXY_WATCH_DEL, &(struct proxy_msg_id){t->id}, sizeof(struct proxy_msg_id));
		talk_free(t);
		return;
	}
}

void control_talkers_init(struct control *c)
{
	c->ops.talkers = ops_talkers;
	c->ops.talkers_cancel = ops_talkers_cancel;
}

void control_talkers_done(struct control *c)
{
	while (!LIST_EMPTY(&c->talks))
		talk_free(LIST_FIRST(&c->talks));
}
