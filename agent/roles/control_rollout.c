/* Roll-outs: a release becomes the candidate, is taken live or given up.  Layer agent, control process. */
#include "agent/roles/control_core.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Where the old release must go before the new one comes, there is no way back without an outage: what will not fit is
 * refused while the old one serves. */
static int control_hold_check(struct control_app *ca, int64_t release, struct err *e)
{
	struct control *c = ca->control;
	struct err own = {0};

	e = e ? e : &own;
	if (!ca->rec.release || !control_holds(ca) || control_running(ca) == 0 ||
	    control_fits_instead(ca, release, &ca->candidate, e) == 0)
		return 0;
	c->deploys_failed++;
	if (store_release_state(c->store, release, MODEL_RELEASE_FAILED, NULL) < 0)
		LOG_WARN("abort record", "app=%s", ca->rec.name);
	control_event(c, ca, 0, "deploy.failed", "v%" PRIu32 " failed: %s; nothing was stopped for it",
		      ca->candidate.version, e->text);
	LOG_INFO("deploy refused", "tenant=%s app=%s release=v%" PRIu32 " reason=\"%s\"", ca->rec.tenant_name,
		 ca->rec.name, ca->candidate.version, e->text);
	control_written(c);
	return -EDQUOT;
}

int control_candidate(struct control_app *ca, int64_t release, struct err *e)
{
	struct control *c = ca->control;
	int r;

	ca->rec.candidate = release;
	control_types_load(c, release, &ca->candidate);
	r = control_hold_check(ca, release, e);
	if (r == 0)
		r = store_app_update(c->store, &ca->rec, e);
	if (r < 0) {
		ca->rec.candidate = 0;
		ca->candidate = (struct control_types){0};
		return r;
	}
	ca->candidate_since_ms = control_now_ms();
	ca->candidate_paused = ca->rec.paused;
	ca->nofit_since_ms = 0;
	ca->why[0] = ca->blame[0] = 0;
	control_written(c);
	control_touch(ca);
	control_event(c, ca, 0, "deploy.started", "Roll-out of v%" PRIu32 " started", ca->candidate.version);
	return 0;
}

/* A roll-out ended either way: what waited behind it begins. */
static void control_candidate_next(struct control_app *ca)
{
	int64_t next = ca->next_release;
	struct err e = {0};

	ca->next_release = 0;
	if (next && control_candidate(ca, next, &e) < 0 && ca->waiter.release == next) {
		if (e.code == EDQUOT)
			snprintf(ca->waiter.limit, sizeof ca->waiter.limit, "%.23s", e.field);
		control_rolled(ca, e.text);
	}
	ca->candidate_paused = false; /* it was asked for while the app ran */
}

/* How many of a type the live release should run; -1: it has no such type. */
static int control_live_count(const struct control_app *ca, const char *type)
{
	unsigned i = 0, k = 0;

	while (i < ca->live.count && strcmp(ca->live.name[i], type) != 0)
		i++;
	while (k < ca->formation_count && strcmp(ca->formation[k].type, type) != 0)
		k++;
	return i == ca->live.count ? -1 : k < ca->formation_count ? (int)ca->formation[k].count : 0;
}

void control_live_text(const struct control_app *ca, const char *url, char *out, size_t cap)
{
	unsigned version = ca->live.version;
	int web = control_live_count(ca, "web");

	if (ca->rec.paused)
		snprintf(out, cap, "v%u is the live release; nothing runs of it, as the app is paused", version);
	else if (control_wanted(ca) == 0)
		snprintf(out, cap, "v%u is the live release; nothing runs of it, as every process type is scaled to 0",
			 version);
	else if (web < 0)
		snprintf(out, cap, "v%u runs; it has no web process, so nothing answers at an address", version);
	else if (web == 0)
		snprintf(out, cap, "v%u runs; nothing answers at its address, as web is scaled to 0", version);
	else if (url)
		snprintf(out, cap, "%s is live", url);
	else
		snprintf(out, cap, "v%u is live", version);
}

void control_promote(struct control_app *ca)
{
	struct control *c = ca->control;
	int64_t old = ca->rec.release, fresh = ca->rec.candidate;
	uint32_t version = ca->candidate.version;
	struct err e = {0};
	char text[160];

	ca->rec.release = fresh;
	ca->rec.candidate = 0;
	if (store_app_update(c->store, &ca->rec, &e) < 0 ||
	    (old && store_release_state(c->store, old, MODEL_RELEASE_RETIRED, &e) < 0) ||
	    store_release_state(c->store, fresh, MODEL_RELEASE_LIVE, &e) < 0)
		LOG_WARN("promotion record", "app=%s error=\"%s\"", ca->rec.name, e.text);
	ca->live = ca->candidate;
	ca->candidate = (struct control_types){0};
	control_canary_promoted(ca, fresh);
	c->deploys_ok++;
	control_live_text(ca, NULL, text, sizeof text);
	control_event(c, ca, 0, "deploy.succeeded", "%s", text);
	LOG_INFO("deploy succeeded", "tenant=%s app=%s release=v%" PRIu32, ca->rec.tenant_name, ca->rec.name, version);
	if (ca->waiter.release == fresh) {
		ca->waiter.barrier = UINT64_MAX; /* sent when this turn's routes are */
		c->promoted++;
	}
	control_candidate_next(ca);
}

void control_abort(struct control_app *ca, const char *reason)
{
	struct control *c = ca->control;
	int64_t release = ca->rec.candidate;
	uint32_t version = ca->candidate.version;
	char text[400];
	bool paused = ca->rec.paused && !ca->candidate_paused; /* no fault of an instance */
	struct control_instance *ci;
	struct err e = {0};

	snprintf(text, sizeof text, "%s", ca->why[0] && !paused ? ca->why : reason);
	TAILQ_FOREACH(ci, &ca->instances, link)
	{
		const char *why = control_health_why(ci);
		if (paused || ca->why[0] || ci->rec.release != release || ci->rec.state != MODEL_INSTANCE_STARTING ||
		    !why[0])
			continue;
		control_health_overdue(ci, reason, text, sizeof text);
		snprintf(ca->blame, sizeof ca->blame, "%s.%" PRId64, ci->rec.type, ci->rec.id);
		break;
	}
	ca->rec.candidate = 0;
	if (store_app_update(c->store, &ca->rec, &e) < 0 ||
	    store_release_state(c->store, release, MODEL_RELEASE_FAILED, &e) < 0)
		LOG_WARN("abort record", "app=%s error=\"%s\"", ca->rec.name, e.text);
	ca->candidate = (struct control_types){0};
	ca->nofit_since_ms = 0;
	c->deploys_failed++;
	control_event(c, ca, 0, "deploy.failed", "v%" PRIu32 " failed: %s", version, text);
	LOG_INFO("deploy failed", "tenant=%s app=%s release=v%" PRIu32 " reason=\"%s\"", ca->rec.tenant_name,
		 ca->rec.name, version, text);
	if (ca->waiter.release == release)
		control_rolled(ca, text);
	control_candidate_next(ca);
}
