/* Decisions about one app.  Layer scheduler, control process.  Pure: see plan.h. */
#include "scheduler/plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A roll-out that cannot even be started (no room, starts throttled) is given up after this many health timeouts. */
#define PLAN_ROLLOUT_FACTOR 5
#define PLAN_THROTTLED_MS 1000 /* look again when start_budget was too small; room may come from another app */

const char *plan_verb_name(enum plan_verb v)
{
	static const char *const names[PLAN_VERB_COUNT] = {"start", "route", "unroute", "stop", "promote", "abort"};
	return v < PLAN_VERB_COUNT ? names[v] : "unknown";
}

/* What an instance counts as, for the release it belongs to. */
enum plan_kind {
	PLAN_PENDING, /* not ready yet, still within its time */
	PLAN_OVERDUE, /* not ready within its time */
	PLAN_READY,   /* runs and is healthy */
	PLAN_SICK,    /* is routed and no longer healthy: wants a replacement first */
	PLAN_LEAVING, /* draining or stopping */
	PLAN_GONE,
};

static bool plan_is_web(const char *type)
{
	return strcmp(type, "web") == 0;
}

static enum plan_kind plan_kind(const struct plan_input *in, const struct plan_instance *i)
{
	switch (i->state) {
	case MODEL_INSTANCE_RUNNING:
		if (i->healthy)
			return PLAN_READY;
		if (i->routed)
			return PLAN_SICK;
		/* fall through */
	case MODEL_INSTANCE_STARTING:
		if (i->waiting)
			return PLAN_PENDING;
		if (i->unreachable)
			return PLAN_OVERDUE;
		return in->now_ms - i->since_ms >= (int64_t)in->health_ms ? PLAN_OVERDUE : PLAN_PENDING;
	case MODEL_INSTANCE_DRAINING:
	case MODEL_INSTANCE_STOPPING:
		return PLAN_LEAVING;
	case MODEL_INSTANCE_EXITED:
	case MODEL_INSTANCE_STATE_COUNT:
		break;
	}
	return PLAN_GONE;
}

static void plan_again(struct plan_output *out, int64_t at)
{
	if (at < out->again_ms)
		out->again_ms = at;
}

/* The next action to fill in, NULL when the caller's array is full: what is left comes next time. */
static struct plan_action *plan_add(const struct plan_input *in, struct plan_output *out, enum plan_verb verb)
{
	struct plan_action *a;

	if (out->count == out->cap) {
		plan_again(out, in->now_ms);
		return NULL;
	}
	a = &out->actions[out->count++];
	*a = (struct plan_action){.verb = verb};
	return a;
}

static void plan_of_instance(const struct plan_input *in, struct plan_output *out, enum plan_verb verb,
			     const struct plan_instance *i, const char *reason)
{
	struct plan_action *a = plan_add(in, out, verb);

	if (!a)
		return;
	a->instance = i->id;
	snprintf(a->reason, sizeof a->reason, "%s", reason);
}

static void plan_of_release(const struct plan_input *in, struct plan_output *out, enum plan_verb verb, int64_t release,
			    const char *reason)
{
	struct plan_action *a = plan_add(in, out, verb);

	if (!a)
		return;
	a->release = release;
	snprintf(a->reason, sizeof a->reason, "%s", reason);
	plan_again(out, in->now_ms); /* the caller changes the app and asks again */
}

static bool plan_has_type(const char *const *types, const char *type)
{
	for (; types && *types; types++)
		if (strcmp(*types, type) == 0)
			return true;
	return false;
}

/* Of an app that is not paused. */
static unsigned plan_formation(const struct plan_input *in, const char *const *types, const char *type)
{
	if (!plan_has_type(types, type))
		return 0;
	for (unsigned i = 0; i < in->formation_count; i++)
		if (strcmp(in->formation[i].type, type) == 0)
			return in->formation[i].count;
	return 0;
}

static unsigned plan_wanted(const struct plan_input *in, const char *const *types, const char *type)
{
	return in->app->paused ? 0 : plan_formation(in, types, type);
}

/* Is the release the canary, and nothing else? */
static bool plan_is_canary(const struct plan_input *in, int64_t release)
{
	return release > 0 && release == in->app->canary && release != in->app->release &&
	       release != in->app->candidate;
}

static unsigned plan_wanted_canary(const struct plan_input *in, const char *type)
{
	return !in->app->paused && plan_is_web(type) && plan_has_type(in->canary_types, type) ? in->canary_count : 0;
}

/* How the instances of (release, type) stand. */
struct plan_tally {
	unsigned pending, ready, sick;
};

static struct plan_tally plan_count(const struct plan_input *in, int64_t release, const char *type)
{
	struct plan_tally t = {0};

	for (unsigned i = 0; i < in->instance_count; i++) {
		const struct plan_instance *p = &in->instances[i];
		enum plan_kind k;
		if (p->release != release || strcmp(p->type, type) != 0)
			continue;
		k = plan_kind(in, p);
		t.pending += k == PLAN_PENDING;
		t.ready += k == PLAN_READY;
		t.sick += k == PLAN_SICK;
	}
	return t;
}

/* Takes an instance out of service: first from the routes, then, drained, by STOP. */
static void plan_retire(const struct plan_input *in, struct plan_output *out, const struct plan_instance *i,
			const char *reason)
{
	if (i->state == MODEL_INSTANCE_RUNNING && i->routed)
		plan_of_instance(in, out, PLAN_UNROUTE, i, reason);
	else if (i->state == MODEL_INSTANCE_STARTING || i->state == MODEL_INSTANCE_RUNNING)
		plan_of_instance(in, out, PLAN_STOP, i, reason);
}

/* With hold: does anything of another release still live? */
static bool plan_others(const struct plan_input *in, int64_t release)
{
	for (unsigned i = 0; i < in->instance_count; i++)
		if (in->instances[i].release != release && plan_kind(in, &in->instances[i]) != PLAN_GONE)
			return true;
	return false;
}

/* How many of (release, type) there are already, as far as starting more goes. */
static unsigned plan_have(const struct plan_input *in, int64_t release, const char *type, struct plan_tally n)
{
	unsigned alive = 0;

	if (!in->hold)
		return n.pending + n.ready;
	for (unsigned i = 0; i < in->instance_count; i++) {
		const struct plan_instance *p = &in->instances[i];
		alive += p->release == release && strcmp(p->type, type) == 0 && plan_kind(in, p) != PLAN_GONE;
	}
	return alive;
}

/* Starts what is missing of (release, type): at once, or when its back-off allows. */
static void plan_start(const struct plan_input *in, struct plan_output *out, int64_t release, const char *type,
		       unsigned missing, unsigned pending, unsigned *budget)
{
	const struct plan_backoff *b = plan_backoff_find(in->backoffs, release, type);

	if (missing == 0 || in->node_draining || (in->hold && plan_others(in, release)))
		return;
	if (b && b->retry_ms > in->now_ms) {
		plan_again(out, b->retry_ms);
		return;
	}
	/* One at a time tells whether a crash loop is over; a hundred would only crash together. */
	if (b && b->looping)
		missing = pending ? 0 : 1;
	while (missing) {
		struct plan_action *a;
		if (*budget == 0) {
			plan_again(out, in->now_ms + PLAN_THROTTLED_MS);
			return;
		}
		a = plan_add(in, out, PLAN_START);
		if (!a)
			return;
		a->release = release;
		snprintf(a->type, sizeof a->type, "%s", type);
		--*budget;
		missing--;
	}
}

static void plan_overdue_reason(const struct plan_input *in, const struct plan_instance *p, char *out, size_t cap)
{
	unsigned long long s = in->health_ms / 1000;
	const char *type = p->type;

	if (p->unreachable)
		snprintf(out, cap, "web listens on $PORT on 127.0.0.1 only: it must listen on all addresses (0.0.0.0)");
	else if (!plan_is_web(type))
		snprintf(out, cap, "%s did not start within %llu s", type, s);
	else if (in->app->health_path[0])
		snprintf(out, cap,
			 "web did not answer GET %.40s with success within %llu s: it must listen on $PORT, on all "
			 "addresses",
			 in->app->health_path, s);
	else
		snprintf(out, cap,
			 "web did not listen on $PORT within %llu s: is it on another port, or bound to 127.0.0.1 "
			 "instead of 0.0.0.0?",
			 s);
}

/* The candidate cannot make it: says why. */
static bool plan_failed(const struct plan_input *in, char *reason, size_t cap)
{
	const struct model_app *app = in->app;

	if (!in->candidate_types) {
		snprintf(reason, cap, "the release to roll out does not exist");
		return true;
	}
	for (const char *const *t = in->candidate_types; app->paused && in->paused_meanwhile && *t; t++) {
		if (plan_formation(in, in->candidate_types, *t) == 0)
			continue;
		snprintf(reason, cap, "the app was paused");
		return true;
	}
	for (unsigned i = 0; i < in->instance_count; i++) {
		const struct plan_instance *p = &in->instances[i];
		const struct plan_backoff *b;
		if (p->release != app->candidate || plan_wanted(in, in->candidate_types, p->type) == 0)
			continue;
		b = plan_backoff_find(in->backoffs, p->release, p->type);
		if (p->state == MODEL_INSTANCE_EXITED && !b) {
			snprintf(reason, cap, "%s exited during the roll-out; its log says more", p->type);
			return true;
		}
		if (plan_kind(in, p) == PLAN_OVERDUE) {
			plan_overdue_reason(in, p, reason, cap);
			return true;
		}
	}
	for (const char *const *t = in->candidate_types; *t; t++) {
		const struct plan_backoff *b = plan_backoff_find(in->backoffs, app->candidate, *t);
		if (b && b->crashes && plan_wanted(in, in->candidate_types, *t)) {
			snprintf(reason, cap, "%s exited during the roll-out; its log says more", *t);
			return true;
		}
	}
	return false;
}

/* One step of a roll-out; true when it ended with PROMOTE or ABORT. */
static bool plan_rollout(const struct plan_input *in, struct plan_output *out, unsigned *budget)
{
	const struct model_app *app = in->app;
	int64_t deadline = in->candidate_since_ms + (int64_t)in->health_ms * PLAN_ROLLOUT_FACTOR;
	bool complete = true, missing = false, waiting = false;
	char reason[160];

	if (plan_failed(in, reason, sizeof reason)) {
		plan_of_release(in, out, PLAN_ABORT, app->candidate, reason);
		return true;
	}
	for (const char *const *t = in->candidate_types; *t; t++) {
		unsigned wanted = plan_wanted(in, in->candidate_types, *t);
		struct plan_tally n = plan_count(in, app->candidate, *t);
		complete = complete && n.ready >= wanted;
		missing = missing || n.pending + n.ready < wanted;
	}
	if (complete) {
		plan_of_release(in, out, PLAN_PROMOTE, app->candidate, "");
		return true;
	}
	if (missing && in->node_draining) {
		plan_of_release(in, out, PLAN_ABORT, app->candidate,
				"this node is being drained and starts nothing new");
		return true;
	}
	for (unsigned i = 0; i < in->instance_count; i++)
		waiting = waiting || (in->instances[i].waiting && in->instances[i].release == app->candidate);
	if (missing && !waiting && in->now_ms >= deadline) {
		snprintf(reason, sizeof reason,
			 "not all instances could be started within %lld s: no room on this node",
			 (long long)(deadline - in->candidate_since_ms) / 1000);
		plan_of_release(in, out, PLAN_ABORT, app->candidate, reason);
		return true;
	}
	if (missing && !waiting)
		plan_again(out, deadline);
	for (const char *const *t = in->candidate_types; *t; t++) {
		unsigned wanted = plan_wanted(in, in->candidate_types, *t);
		struct plan_tally n = plan_count(in, app->candidate, *t);
		unsigned have = plan_have(in, app->candidate, *t, n);
		if (have < wanted)
			plan_start(in, out, app->candidate, *t, wanted - have, n.pending, budget);
	}
	return false;
}

/* How many of the same (release, type) go before p when some must go: those that are not ready, then the newest. */
static unsigned plan_rank(const struct plan_input *in, const struct plan_instance *p)
{
	bool ready = plan_kind(in, p) == PLAN_READY;
	unsigned rank = 0;

	for (unsigned i = 0; i < in->instance_count; i++) {
		const struct plan_instance *o = &in->instances[i];
		enum plan_kind k;
		if (o == p || o->release != p->release || strcmp(o->type, p->type) != 0)
			continue;
		k = plan_kind(in, o);
		if (k == PLAN_PENDING)
			rank += ready || o->id > p->id;
		else if (k == PLAN_READY)
			rank += ready && o->id > p->id;
	}
	return rank;
}

/* An instance of the live release, of the candidate or of the canary. */
static void plan_member(const struct plan_input *in, struct plan_output *out, const struct plan_instance *p)
{
	bool live = p->release == in->app->release;
	const char *const *types = live ? in->live_types : in->candidate_types;
	bool canary = plan_is_canary(in, p->release);
	unsigned wanted = canary ? plan_wanted_canary(in, p->type) : plan_wanted(in, types, p->type);
	struct plan_tally n = plan_count(in, p->release, p->type);
	unsigned have = n.pending + n.ready;
	char reason[160];

	switch (plan_kind(in, p)) {
	case PLAN_OVERDUE:
		plan_overdue_reason(in, p, reason, sizeof reason);
		plan_of_instance(in, out, PLAN_STOP, p, reason);
		break;
	case PLAN_PENDING:
	case PLAN_READY:
		if (have > wanted && plan_rank(in, p) < have - wanted)
			plan_retire(in, out, p, in->app->paused ? "the app is paused" : "scaled down");
		else if (plan_kind(in, p) == PLAN_PENDING)
			plan_again(out, p->since_ms + (int64_t)in->health_ms);
		else if ((live || canary) && !p->routed && plan_is_web(p->type))
			plan_of_instance(in, out, PLAN_ROUTE, p, "");
		break;
	case PLAN_SICK:
		/* Better a sick one than none: it leaves when all of its replacements serve.  With hold they cannot. */
		if (n.ready >= wanted || in->hold)
			plan_retire(in, out, p, wanted ? "it no longer answered its health check" : "scaled down");
		break;
	case PLAN_LEAVING:
	case PLAN_GONE:
		break;
	}
}

/* An instance of a release that is neither live nor candidate.  The routed ones serve until the live release does. */
static void plan_leftover(const struct plan_input *in, struct plan_output *out, const struct plan_instance *p,
			  bool live_serves)
{
	bool needed = plan_wanted(in, in->live_types, "web") > 0 && !live_serves && !in->hold;

	if (!(p->routed && needed))
		plan_retire(in, out, p,
			    p->release > in->app->release ? "its roll-out failed" : "another release took its place");
}

void plan_app(const struct plan_input *in, struct plan_output *out)
{
	const struct model_app *app = in->app;
	unsigned budget = in->start_budget;
	bool live_serves = false;

	out->count = 0;
	out->again_ms = INT64_MAX;
	if (app->candidate && plan_rollout(in, out, &budget))
		return;
	for (unsigned i = 0; i < in->instance_count; i++) {
		const struct plan_instance *p = &in->instances[i];
		live_serves =
			live_serves || (p->release == app->release && p->routed && p->state == MODEL_INSTANCE_RUNNING);
	}
	for (unsigned i = 0; i < in->instance_count; i++) {
		const struct plan_instance *p = &in->instances[i];
		if (p->state == MODEL_INSTANCE_DRAINING) {
			int64_t end = p->since_ms + (int64_t)in->drain_ms;
			if (p->drained || in->now_ms >= end)
				plan_of_instance(in, out, PLAN_STOP, p,
						 p->drained ? "drained" : "the time to drain is over");
			else
				plan_again(out, end);
		} else if (in->hold && app->candidate && p->release != app->candidate) {
			plan_retire(in, out, p, "the next release takes its place");
		} else if (app->release && p->release == app->release) {
			plan_member(in, out, p);
		} else if (app->candidate && p->release == app->candidate) {
			plan_member(in, out, p);
		} else if (plan_is_canary(in, p->release)) {
			plan_member(in, out, p);
		} else {
			plan_leftover(in, out, p, live_serves);
		}
	}
	for (const char *const *t = app->release ? in->live_types : NULL; t && *t; t++) {
		unsigned wanted = plan_wanted(in, in->live_types, *t);
		struct plan_tally n = plan_count(in, app->release, *t);
		unsigned have = plan_have(in, app->release, *t, n);
		if (have < wanted && !(in->hold && app->candidate))
			plan_start(in, out, app->release, *t, wanted - have, n.pending, &budget);
	}
	/* A held roll-out stops all but its candidate: the canary would be started and stopped for as long as it lasts.
	 */
	if (plan_is_canary(in, app->canary) && app->release && !(in->hold && app->candidate)) {
		unsigned wanted = plan_wanted_canary(in, "web");
		struct plan_tally n = plan_count(in, app->canary, "web");
		unsigned have = n.pending + n.ready;
		if (have < wanted)
			plan_start(in, out, app->canary, "web", wanted - have, n.pending, &budget);
	}
}
