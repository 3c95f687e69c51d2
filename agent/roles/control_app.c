/* Apps in memory, and the reconciler: plan_app() and what its actions do.  Layer agent, control process. */
#include "agent/roles/control_core.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- apps ----------------------------------------------------------------------------------------------------- */

struct control_app *control_app_get(struct control *c, int64_t id)
{
	return map_get(c->apps, &id, sizeof id);
}

void control_touch(struct control_app *ca)
{
	struct control *c = ca->control;

	if (!ca->is_touched) {
		ca->is_touched = true;
		TAILQ_INSERT_TAIL(&c->touched, ca, touched);
	}
	control_arm(c);
}

/* The row of the statistics segment is derived from the id, so that it is the same after control was restarted; ids
 * that are 20,000 apart move on to the next free row. */
static uint32_t control_slot_take(struct control *c, int64_t id)
{
	for (uint32_t i = 0; i < LIMIT_APPS; i++) {
		uint32_t slot = (uint32_t)(((uint64_t)id + i) % LIMIT_APPS);
		if (!(c->slots[slot / 32] & 1u << slot % 32)) {
			c->slots[slot / 32] |= 1u << slot % 32;
			return slot;
		}
	}
	return LIMIT_APPS - 1; /* not reached: the store refuses more apps than there are rows */
}

void control_types_load(struct control *c, int64_t release, struct control_types *t)
{
	struct model_release r;
	OWN_JSON json_t *types = NULL, *app = NULL;
	const char *name, *rollout;
	json_t *value;

	if (t->release == release)
		return; /* releases never change */
	*t = (struct control_types){0};
	if (!release || store_release_get(c->store, release, &r, NULL) < 0)
		return;
	t->release = release;
	t->build = r.build;
	t->version = r.version;
	types = json_read(r.types_json ? r.types_json : "{}", r.types_json ? strlen(r.types_json) : 2, 1u << 20, NULL);
	json_object_foreach(types, name, value)
	{
		if (t->count < LIMIT_TYPES && strlen(name) <= LIMIT_TYPE_NAME && json_is_string(value))
			memcpy(t->name[t->count++], name, strlen(name) + 1);
	}
	app = json_read(r.app_json && *r.app_json ? r.app_json : "{}",
			r.app_json && *r.app_json ? strlen(r.app_json) : 2, 4u * LIMIT_CONFIG_TOTAL, NULL);
	rollout = json_string_value(json_object_get(app, "rollout"));
	t->hold = rollout && model_rollout_parse(rollout) == MODEL_ROLLOUT_HOLD;
	model_release_done(&r);
}

bool control_holds(const struct control_app *ca)
{
	if (ca->serving.rollout == MODEL_ROLLOUT_AUTO)
		return (ca->rec.release && ca->live.hold) || (ca->rec.candidate && ca->candidate.hold);
	return ca->serving.rollout == MODEL_ROLLOUT_HOLD;
}

static int control_domain_add(void *arg, const char *host, const char *value)
{
	(void)value;
	return buf_add(arg, host, strlen(host) + 1);
}

/* Reads the app's domains and tells the proxies what came and went. */
static void control_domains_load(struct control_app *ca)
{
	struct control *c = ca->control;
	char *old = ca->domains;
	struct buf fresh;

	buf_init(&fresh, (LIMIT_HOST + 1) * LIMIT_DOMAINS * 2);
	store_domain_list(c->store, ca->rec.id, control_domain_add, &fresh, NULL);
	if (fresh.len)
		buf_add(&fresh, "", 1);
	ca->domains = fresh.len ? buf_take(&fresh) : NULL;
	buf_done(&fresh);
	for (const char *p = old; p && *p; p += strlen(p) + 1) {
		const char *q = ca->domains;
		while (q && *q && strcmp(p, q) != 0)
			q += strlen(q) + 1;
		if (!q || !*q)
			control_routes_host(ca, p, true);
	}
	for (const char *p = ca->domains; p && *p; p += strlen(p) + 1)
		control_routes_host(ca, p, false);
	free(old);
}

/* "web 1 → 3, worker 2 → 0" */
static void control_formation_tell(struct control_app *ca, const struct model_formation *was, unsigned was_count)
{
	uint32_t before[LIMIT_TYPES] = {0};
	char text[300] = "";
	size_t n = 0;

	for (unsigned i = 0; i < ca->formation_count; i++)
		for (unsigned k = 0; k < was_count; k++)
			if (strcmp(was[k].type, ca->formation[i].type) == 0)
				before[i] = was[k].count;
	for (unsigned i = 0; i < ca->formation_count; i++)
		if (ca->formation[i].count < before[i])
			control_restart_forget(ca);
	for (unsigned i = 0; i < ca->formation_count && n + LIMIT_TYPE_NAME + 40 < sizeof text; i++)
		if (before[i] != ca->formation[i].count)
			n += (size_t)snprintf(text + n, sizeof text - n, "%s%s %u → %u", n ? ", " : "",
					      ca->formation[i].type, before[i], ca->formation[i].count);
	if (n)
		control_event(ca->control, ca, 0, "formation.changed", "Instances wanted: %s", text);
}

static int control_app_refresh(struct control_app *ca)
{
	struct control *c = ca->control;
	struct model_formation wanted[LIMIT_TYPES];
	unsigned wanted_count = ca->formation_count;
	struct model_app was = ca->rec;
	struct model_serving serving;
	int n, r = store_app_get(c->store, ca->rec.id, &ca->rec, NULL);

	if (r < 0)
		return r;
	if (ca->rec.candidate != was.candidate) {
		ca->candidate_since_ms = control_now_ms();
		ca->why[0] = ca->blame[0] = 0;
	}
	memcpy(wanted, ca->formation, sizeof wanted);
	n = store_formation_get(c->store, ca->rec.id, ca->formation, LIMIT_TYPES, NULL);
	ca->formation_count = n > 0 ? (unsigned)n : 0;
	if (ca->is_loaded)
		control_formation_tell(ca, wanted, wanted_count);
	ca->is_loaded = true;
	control_types_load(c, ca->rec.release, &ca->live);
	control_types_load(c, ca->rec.candidate, &ca->candidate);
	control_types_load(c, ca->rec.canary > 0 ? ca->rec.canary : 0, &ca->canary);
	control_domains_load(ca);
	control_certs_load(ca);
	control_acme_app(ca);
	control_front_load(ca);
	if (ca->rec.canary != was.canary)
		control_canary_changed(ca, was.canary);
	if (ca->rec.https != ca->https_shown || ca->rec.hsts_s != ca->hsts_shown) {
		ca->https_shown = ca->rec.https;
		ca->hsts_shown = ca->rec.hsts_s;
		control_routes_app(ca, true);
	}
	if (store_serving_get(c->store, ca->rec.id, &serving, NULL) >= 0 &&
	    memcmp(&serving, &ca->serving, sizeof serving) != 0) {
		ca->serving = serving;
		control_routes_app(ca, false);
		control_routes_spread(ca);
	}
	control_app_relimit(ca, &was);
	control_touch(ca);
	return 0;
}

struct control_app *control_app_load(struct control *c, int64_t id)
{
	struct control_app *ca = control_app_get(c, id), *after;

	if (ca) {
		if (control_app_refresh(ca) < 0)
			return NULL;
		control_names_app(ca);
		return ca;
	}
	ca = calloc(1, sizeof *ca);
	if (!ca)
		return NULL;
	ca->control = c;
	ca->rec.id = id;
	TAILQ_INIT(&ca->instances);
	TAILQ_INIT(&ca->ended);
	if (store_app_get(c->store, id, &ca->rec, NULL) < 0 || !(ca->tenant = control_tenant_get(c, ca->rec.tenant)) ||
	    map_put(c->apps, &ca->rec.id, sizeof ca->rec.id, ca) < 0) {
		free(ca);
		return NULL;
	}
	ca->tenant->apps++;
	TAILQ_INSERT_TAIL(&ca->tenant->peers, ca, peer);
	ca->slot = control_slot_take(c, id);
	after = TAILQ_LAST(&c->all, control_app_list);
	while (after && after->rec.id > id)
		after = TAILQ_PREV(after, control_app_list, link);
	if (after)
		TAILQ_INSERT_AFTER(&c->all, after, ca, link);
	else
		TAILQ_INSERT_HEAD(&c->all, ca, link);
	if (c->stats && c->synced) /* a new app; after a restart the counters go on */
		stats_sum_app(c->stats, ca->slot, &ca->base);
	/* A canary that was there before this control counts from here. */
	ca->canary_ms = clock_wall_ms();
	control_sum(ca, &ca->canary_base);
	ca->candidate_since_ms = control_now_ms();
	control_app_refresh(ca);
	return ca;
}

static void control_unlist(struct control_app *ca)
{
	struct control *c = ca->control;

	for (unsigned i = 0; i < LIMIT_WORKERS; i++)
		if (c->workers[i].cursor == ca)
			c->workers[i].cursor = TAILQ_NEXT(ca, link);
	TAILQ_REMOVE(&c->all, ca, link);
	if (ca->is_touched)
		TAILQ_REMOVE(&c->touched, ca, touched);
	if (ca->is_starved)
		TAILQ_REMOVE(&c->starved, ca, starved);
	ca->is_touched = ca->is_starved = false;
}

void control_app_free(struct control_app *ca)
{
	struct control *c = ca->control;
	struct control_instance *ci;

	while ((ci = TAILQ_FIRST(&ca->instances))) { /* only when control itself ends */
		control_health_stop(ci);
		TAILQ_REMOVE(&ca->instances, ci, link);
		free(ci->health_path);
		free(ci->before);
		free(ci);
	}
	control_restart_forget(ca);
	control_unlist(ca);
	loop_timer_stop(&ca->timer);
	loop_timer_stop(&ca->waiter.late);
	if (map_get(c->apps, &ca->rec.id, sizeof ca->rec.id) == ca)
		map_del(c->apps, &ca->rec.id, sizeof ca->rec.id);
	c->slots[ca->slot / 32] &= ~(1u << ca->slot % 32);
	ca->tenant->apps--;
	TAILQ_REMOVE(&ca->tenant->peers, ca, peer);
	control_disk_sub(ca, ca->disk);
	free(ca->domains);
	free(ca->front);
	free(ca->certs);
	free(ca->backoffs);
	free(ca->history);
	free(ca->recent);
	free(ca);
}

/* The last instance of a deleted app is gone: now its trees may go. */
static void control_app_bury(struct control_app *ca)
{
	struct control *c = ca->control;

	control_remove(c, MSG_REMOVE_REPO, (uint64_t)ca->rec.id);
	control_remove(c, MSG_REMOVE_LOGS, (uint64_t)ca->rec.id);
	control_app_free(ca);
	control_collect(c); /* its builds' trees and logs: the store still knows them */
}

void control_app_deleted(struct control *c, const struct model_app *app)
{
	struct control_app *ca = control_app_get(c, app->id);
	struct control_instance *ci;

	if (!ca)
		return;
	build_app_gone(c->builds, app->id);
	git_app_gone(c->gits, app->id);
	control_routes_app_gone(ca);
	control_acme_app_gone(c, app->id);
	ca->deleted = true;
	if (ca->waiter.release)
		control_rolled(ca, "the app was deleted");
	TAILQ_FOREACH(ci, &ca->instances, link)
	{
		control_instance_stop(ci, "the app was deleted");
	}
	if (ca->instance_count == 0)
		control_app_bury(ca);
	else
		control_touch(ca);
	control_written(c);
}

/* --- the reconciler ------------------------------------------------------------------------------------------- */

static void control_on_timer(void *arg)
{
	control_touch(arg);
}

static void control_starve(struct control_app *ca)
{
	if (!ca->is_starved)
		TAILQ_INSERT_TAIL(&ca->control->starved, ca, starved);
	ca->is_starved = true;
}

/* Each limit is told once in an hour, so that an app's other events stay in sight; sooner when all that is wanted was
 * there in between. */
static bool control_tell_refused(struct control_app *ca, const char *limit)
{
	struct control_told *row = &ca->refused[0];
	int64_t now = control_now_ms();

	for (unsigned i = 0; i < CONTROL_REFUSED; i++) {
		struct control_told *t = &ca->refused[i];

		if (strcmp(t->limit, limit) == 0) {
			if (now - t->told_ms < (t->settled ? CONTROL_TOLD_MIN_MS : CONTROL_TOLD_MS))
				return false;
			row = t;
			break;
		}
		if (!t->limit[0] || (row->limit[0] && t->told_ms < row->told_ms))
			row = t;
	}
	if (row->limit[0] && now - row->told_ms < CONTROL_TOLD_MIN_MS)
		return false;
	snprintf(row->limit, sizeof row->limit, "%s", limit);
	row->told_ms = now;
	row->settled = false;
	return true;
}

/* All that is wanted is there, the sick ones replaced: the next refusal is another, and the next that starts takes no
 * earlier one's place. */
static void control_settle(struct control_app *ca)
{
	if (ca->rec.candidate || control_standing(ca) - control_sick(ca) < control_wanted(ca) ||
	    !control_canary_whole(ca))
		return;
	control_restart_forget(ca);
	for (unsigned i = 0; i < CONTROL_REFUSED; i++)
		ca->refused[i].settled = true;
}

/* START: as far as launches in flight, quota and host allow. */
static void control_do_start(struct control_app *ca, const struct plan_action *a)
{
	struct control *c = ca->control;
	struct err e = {0};
	int64_t now = control_now_ms();

	if (a->release != ca->rec.release && a->release != ca->rec.candidate && a->release != ca->rec.canary)
		return; /* given up a moment ago */
	if (c->starts >= CONTROL_STARTS) {
		control_starve(ca);
		return;
	}
	if (control_instance_start(ca, a->release, a->type, &e) == 0) {
		ca->nofit_since_ms = 0;
		control_touch(ca); /* its deadline is in the next plan only */
		return;
	}
	if (!ca->nofit_since_ms)
		ca->nofit_since_ms = now;
	if (control_tell_refused(ca, *e.field ? e.field : "?"))
		control_event(c, ca, 0, "instance.refused", "No %sinstance of %s could be started: %s",
			      control_standing(ca) ? "more " : "", a->type, e.text);
	/* With hold nothing serves meanwhile: back to the old release at once. */
	if (a->release == ca->rec.candidate &&
	    (now - ca->nofit_since_ms >= CONTROL_NOFIT_MS || (ca->rec.release && control_holds(ca)))) {
		if (e.code == EDQUOT && !ca->why[0] && ca->waiter.release == a->release)
			snprintf(ca->waiter.limit, sizeof ca->waiter.limit, "%.23s", e.field);
		control_abort(ca, e.text);
	} else if (a->release == ca->rec.canary && now - ca->nofit_since_ms >= CONTROL_NOFIT_MS)
		control_canary_nofit(ca, e.text);
	loop_timer_start(c->loop, &ca->timer, CONTROL_RETRY_MS * 1000, control_on_timer, ca);
}

static struct control_instance *control_instance_find(struct control *c, int64_t id)
{
	return map_get(c->instances, &id, sizeof id);
}

static void control_do(struct control_app *ca, const struct plan_action *a)
{
	struct control_instance *ci = a->instance ? control_instance_find(ca->control, a->instance) : NULL;
	char why[320];

	switch (a->verb) {
	case PLAN_START:
		control_do_start(ca, a);
		break;
	case PLAN_ROUTE:
		if (ci && !ci->routed) {
			ci->routed = true;
			control_routes_instance(ci, control_routes_up(ci));
			control_touch(ca);
		}
		break;
	case PLAN_UNROUTE:
		if (ci) {
			snprintf(ci->rec.reason, sizeof ci->rec.reason, "%s", a->reason);
			/* One that is replaced because its checks fail has failed: the next is given its time. */
			if (!ci->healthy && ci->rec.state == MODEL_INSTANCE_RUNNING)
				control_instance_crashed(ci);
			control_instance_unroute(ci);
		}
		break;
	case PLAN_STOP:
		if (ci) {
			/* One that had its time and never became ready counts as a crash; those that are not wanted do
			 * not. */
			if (ci->rec.state == MODEL_INSTANCE_STARTING &&
			    (ci->unreachable ||
			     control_now_ms() - ci->since_ms >= (int64_t)ca->control->settings.health_ms)) {
				control_health_overdue(ci, a->reason, why, sizeof why);
				control_event(ca->control, ca, ci->rec.id, "instance.unhealthy",
					      "%s.%" PRId64 " is stopped: %s", ci->rec.type, ci->rec.id, why);
				if (!ci->rec.reason[0])
					snprintf(ci->rec.reason, sizeof ci->rec.reason, "%.*s",
						 (int)sizeof ci->rec.reason - 1, why);
				control_instance_crashed(ci);
			}
			control_instance_stop(ci, ci->rec.reason[0] ? ci->rec.reason : a->reason);
		}
		break;
	case PLAN_PROMOTE:
		if (a->release == ca->rec.candidate && a->release) {
			control_promote(ca);
			control_touch(ca);
		}
		break;
	case PLAN_ABORT:
		if (a->release == ca->rec.candidate && a->release) {
			control_abort(ca, a->reason);
			control_touch(ca);
		}
		break;
	case PLAN_VERB_COUNT:
		break;
	}
}

static unsigned control_observed(const struct control_app *ca, struct plan_instance *ret, unsigned cap)
{
	const struct control_instance *ci;
	unsigned n = 0;

	TAILQ_FOREACH(ci, &ca->instances, link)
	{
		struct plan_instance *p = &ret[n];
		if (n++ == cap)
			return cap;
		*p = (struct plan_instance){.id = ci->rec.id,
					    .release = ci->rec.release,
					    .state = ci->rec.state,
					    .healthy = ci->healthy,
					    .routed = ci->routed,
					    .drained = ci->drained,
					    .waiting = ci->waiting,
					    .unreachable = ci->unreachable,
					    .since_ms = ci->since_ms};
		memcpy(p->type, ci->rec.type, sizeof p->type);
	}
	return n;
}

static const char *const *control_type_list(const struct control_types *t, int64_t release,
					    const char *list[LIMIT_TYPES + 1])
{
	if (!release || t->release != release)
		return NULL;
	for (unsigned i = 0; i < t->count; i++)
		list[i] = t->name[i];
	list[t->count] = NULL;
	return list;
}

/* One round for one app. */
static void control_plan_app(struct control_app *ca)
{
	static struct plan_instance observed[LIMIT_TYPES * LIMIT_INSTANCES_PER_TYPE]; /* one loop, one thread */
	static struct plan_backoff none[PLAN_BACKOFFS];
	struct control *c = ca->control;
	const char *live[LIMIT_TYPES + 1], *candidate[LIMIT_TYPES + 1], *canary[LIMIT_TYPES + 1];
	struct plan_action actions[CONTROL_PLAN_ACTIONS] = {0};
	struct plan_output out = {.actions = actions, .cap = CONTROL_PLAN_ACTIONS};
	struct model_app app = ca->rec;
	int64_t now = control_now_ms();
	struct plan_input in = {
		.app = &app,
		.formation = ca->formation,
		.formation_count = ca->formation_count,
		.live_types = control_type_list(&ca->live, app.release, live),
		.candidate_types = control_type_list(&ca->candidate, app.candidate, candidate),
		.canary_types = control_type_list(&ca->canary, app.canary, canary),
		.canary_count = ca->canary_count,
		.instances = observed,
		.instance_count = control_observed(ca, observed, sizeof observed / sizeof *observed),
		.backoffs = ca->backoffs ? ca->backoffs : none,
		.now_ms = now,
		.candidate_since_ms = ca->candidate_since_ms,
		.health_ms = c->settings.health_ms,
		.drain_ms = ca->serving.drain_s ? ca->serving.drain_s * 1000ull : c->settings.drain_ms,
		.hold = control_holds(ca),
		.start_budget =
			CONTROL_PLAN_ACTIONS, /* what CONTROL_STARTS does not allow now comes when a launch has ended */
		.node_draining = c->draining,
	};

	ca->candidate_paused = ca->candidate_paused && ca->rec.paused;
	in.paused_meanwhile = ca->rec.paused && !ca->candidate_paused;
	if (ca->deleted) {
		app.release = app.candidate = app.canary = 0;
		in.live_types = in.candidate_types = in.canary_types = NULL;
	}
	/* A draining node stops everything; a roll-out is given up first, not promoted unseen. */
	if (c->draining && !app.candidate)
		app.paused = true;
	plan_app(&in, &out);
	loop_timer_stop(&ca->timer);
	if (out.again_ms != INT64_MAX)
		loop_timer_start(c->loop, &ca->timer, (out.again_ms > now ? out.again_ms - now : 1) * 1000,
				 control_on_timer, ca);
	for (unsigned i = 0; i < out.count; i++)
		control_do(ca, &actions[i]);
	control_settle(ca);
	control_routes_app(ca, false);
}

void control_plan(struct control *c)
{
	struct control_app *ca;

	for (unsigned round = 0; round < CONTROL_PLAN_ROUNDS && !TAILQ_EMPTY(&c->touched); round++) {
		struct control_app_list now = TAILQ_HEAD_INITIALIZER(now);

		TAILQ_CONCAT(&now, &c->touched, touched);
		while ((ca = TAILQ_FIRST(&now))) {
			TAILQ_REMOVE(&now, ca, touched);
			ca->is_touched = false;
			if (ca->deleted && ca->instance_count == 0) {
				control_app_bury(ca);
				continue;
			}
			control_canary_check(ca);
			control_plan_app(ca);
		}
	}
	/* Launches have ended: those that waited longest go first. */
	for (unsigned room = c->starts < CONTROL_STARTS ? CONTROL_STARTS - c->starts : 0;
	     room && (ca = TAILQ_FIRST(&c->starved)); room--) {
		TAILQ_REMOVE(&c->starved, ca, starved);
		ca->is_starved = false;
		control_touch(ca);
	}
	if (!c->promoted)
		return;
	TAILQ_FOREACH(ca, &c->all, link)
	{
		if (ca->waiter.barrier == UINT64_MAX && !ca->is_touched) {
			c->promoted--;
			control_routes_barrier(ca);
		}
	}
}
