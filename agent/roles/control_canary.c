/* The canary: a second release of an app that serves a part of its requests.  Layer agent, control process.
 *
 *   set (a release, or the next that is deployed) -> its web instances run and are routed as a group of their own
 *     -> promoted: it is rolled out as any release; what runs of it counts, and stays a group until it is live
 *     -> removed: its instances drain and stop; also by itself: before it was up when an instance ends, is not healthy
 * in time or finds no room, as for any roll-out; later when one ends CANARY_CRASHES times in a row or no longer
 *        answers.  The event says why.
 * How many requests it gets is a setting of the front door (control_front.c). */
#include "agent/roles/control_core.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CANARY_CRASHES 3 /* in a row end one that has served */

bool control_canary_serves(const struct control_app *ca, int64_t release)
{
	return release > 0 && release == ca->rec.canary && release != ca->rec.release;
}

static void canary_groups(struct control_app *ca)
{
	struct control_instance *ci;

	TAILQ_FOREACH(ci, &ca->instances, link)
	{
		if (ci->routed)
			control_routes_instance(ci, control_routes_up(ci));
	}
}

void control_canary_changed(struct control_app *ca, int64_t was)
{
	canary_groups(ca);
	ca->canary_up = false;
	ca->canary_why[0] = 0;
	ca->canary_ms = clock_wall_ms();
	control_sum(ca, &ca->canary_base);
	/* Who waits for one that is none any more; one that is rolled out or live is waited for as any other. */
	if (was > 0 && ca->waiter.release == was && was != ca->rec.release && was != ca->rec.candidate)
		control_rolled(ca, "another release has become the canary, or it was ended");
	if (ca->rec.canary > 0)
		control_event(ca->control, ca, 0, "canary.started", "v%" PRIu32 " is started as the canary",
			      ca->canary.version);
	control_touch(ca);
}

static int canary_store(struct control_app *ca, int64_t release, struct err *e)
{
	int64_t was = ca->rec.canary;
	int r;

	ca->rec.canary = release;
	r = store_app_update(ca->control->store, &ca->rec, e);
	if (r < 0)
		ca->rec.canary = was;
	control_written(ca->control);
	return r;
}

int control_canary_take(struct control_app *ca, int64_t release, struct err *e)
{
	int r = canary_store(ca, release, e);

	if (r < 0)
		return r;
	/* From its row: refresh sees a change from "next" only when it reads again. */
	ca->rec.canary = MODEL_CANARY_NEXT;
	control_app_load(ca->control, ca->rec.id);
	if (ca->waiter.release == release)
		build_say(ca->control->builds, ca->waiter.build, "       v%" PRIu32 " is started as the canary\n",
			  ca->waiter.version);
	return 0;
}

/* --- is it up, is it over? ---------------------------------------------------------------------------------------- */

static bool canary_is_on(const struct control_app *ca)
{
	return !ca->deleted && control_canary_serves(ca, ca->rec.canary) && ca->rec.canary != ca->rec.candidate;
}

static unsigned canary_serving(const struct control_app *ca)
{
	const struct control_instance *ci;
	unsigned n = 0;

	TAILQ_FOREACH(ci, &ca->instances, link)
	{
		n += ci->rec.release == ca->rec.canary && ci->routed && ci->healthy;
	}
	return n;
}

/* How many are to serve: none of an app that is paused, or of a release without a web process. */
static unsigned canary_wanted(const struct control_app *ca)
{
	bool web = false;

	for (unsigned i = 0; i < ca->canary.count; i++)
		web = web || strcmp(ca->canary.name[i], "web") == 0;
	return web && !ca->rec.paused && !ca->control->draining ? ca->canary_count : 0;
}

bool control_canary_whole(const struct control_app *ca)
{
	return !canary_is_on(ca) || canary_serving(ca) >= canary_wanted(ca);
}

static void canary_over(struct control_app *ca, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void canary_over(struct control_app *ca, const char *fmt, ...)
{
	va_list ap;

	if (ca->canary_why[0])
		return;
	va_start(ap, fmt);
	vsnprintf(ca->canary_why, sizeof ca->canary_why, fmt, ap);
	va_end(ap);
	control_touch(ca);
}

/* Before it was up the first end is enough, as for any roll-out; later it may come back twice. */
void control_canary_crashed(const struct control_instance *ci)
{
	struct control_app *ca = ci->app;
	const struct plan_backoff *b = plan_backoff_find(ca->backoffs, ci->rec.release, ci->rec.type);

	if (!canary_is_on(ca) || ci->rec.release != ca->rec.canary ||
	    (ca->canary_up && b && b->crashes < CANARY_CRASHES))
		return;
	snprintf(ca->blame, sizeof ca->blame, "%s.%" PRId64, ci->rec.type, ci->rec.id);
	if (ca->canary_up)
		canary_over(ca, "%s ended %d times in a row, last: %s", ci->rec.type, CANARY_CRASHES, ci->rec.reason);
	else
		canary_over(ca, "%s %s", ci->rec.type, ci->rec.reason);
}

void control_canary_ill(const struct control_instance *ci, const char *why)
{
	if (canary_is_on(ci->app) && ci->rec.release == ci->app->rec.canary)
		canary_over(ci->app, "%s.%" PRId64 " no longer answers: %s", ci->rec.type, ci->rec.id, why);
}

void control_canary_nofit(struct control_app *ca, const char *why)
{
	if (canary_is_on(ca) && !ca->canary_up)
		canary_over(ca, "%s", why);
}

static void canary_end(struct control_app *ca)
{
	struct control *c = ca->control;
	int64_t release = ca->rec.canary;
	uint32_t version = ca->canary.version;
	char why[sizeof ca->canary_why];
	struct err e = {0};

	memcpy(why, ca->canary_why, sizeof why);
	if (canary_store(ca, 0, &e) < 0 ||
	    store_release_state(c->store, release, ca->canary_up ? MODEL_RELEASE_RETIRED : MODEL_RELEASE_FAILED, &e) <
		    0)
		LOG_WARN("canary record", "app=%s error=\"%s\"", ca->rec.name, e.text);
	control_event(c, ca, 0, "canary.aborted",
		      "v%" PRIu32 " is the canary no more, the live release serves alone: %s", version, why);
	LOG_INFO("canary aborted", "tenant=%s app=%s release=v%" PRIu32 " reason=\"%s\"", ca->rec.tenant_name,
		 ca->rec.name, version, why);
	if (ca->waiter.release == release)
		control_rolled(ca, why);
	ca->rec.canary = release; /* refresh sees the change */
	control_app_load(c, ca->rec.id);
}

void control_canary_check(struct control_app *ca)
{
	if (!canary_is_on(ca)) {
		ca->canary_why[0] = 0;
		return;
	}
	if (!ca->canary_why[0] && control_holds(ca))
		snprintf(ca->canary_why, sizeof ca->canary_why,
			 "releases of this app never run at the same time (rollout: hold)");
	if (ca->canary_why[0]) {
		canary_end(ca);
		return;
	}
	if (ca->canary_up || canary_serving(ca) < canary_wanted(ca))
		return;
	/* Where nothing may run nothing was seen of it either: that comes when the app is resumed. */
	if (!ca->rec.paused && !ca->control->draining) {
		ca->canary_up = true;
		control_event(ca->control, ca, 0, "canary.serving",
			      "v%" PRIu32 " serves its part of the requests as the canary", ca->canary.version);
	}
	if (ca->waiter.release == ca->rec.canary && !ca->waiter.barrier) {
		ca->waiter.barrier = UINT64_MAX; /* sent when this turn's routes are */
		ca->control->promoted++;
	}
}

static json_t *ops_canary(void *ctx, int64_t app)
{
	struct control_app *ca = control_app_get(ctx, app);
	struct stats_sum now;
	uint64_t errors;
	char since[25];

	if (!ca || !control_canary_serves(ca, ca->rec.canary))
		return NULL;
	control_sum(ca, &now);
	control_sum_sub(&now, &ca->canary_base);
	errors = now.status[5] + now.status[0];
	clock_rfc3339(ca->canary_ms, since);
	return json_pack("{s:s, s:i, s:s, s:I, s:I, s:I, s:I}", "state",
			 ca->rec.canary == ca->rec.candidate ? "promoting"
			 : ca->canary_up		     ? "serving"
							     : "starting",
			 "running", (int)canary_serving(ca), "since", since, "requests", (json_int_t)now.canary,
			 "errors", (json_int_t)now.canary_errors, "live_requests",
			 (json_int_t)(now.requests > now.canary ? now.requests - now.canary : 0), "live_errors",
			 (json_int_t)(errors > now.canary_errors ? errors - now.canary_errors : 0));
}

void control_canary_promoted(struct control_app *ca, int64_t release)
{
	if (ca->rec.canary == release) {
		canary_store(ca, 0, NULL);
		ca->canary = (struct control_types){0};
		control_front_load(ca);
	}
	canary_groups(ca);
}

static int ops_canary_promote(void *ctx, int64_t app, struct err *e)
{
	struct control_app *ca = control_app_get(ctx, app);

	if (!ca || ca->deleted)
		return err_set(e, ENOENT, "the app does not exist");
	if (ca->rec.canary <= 0)
		return err_set(e, EBUSY, "the app has no canary to promote");
	if (ca->rec.candidate || ca->next_release)
		return err_set(e, EBUSY, "a roll-out of this app is under way");
	return control_candidate(ca, ca->rec.canary, e);
}

void control_canary_init(struct control *c)
{
	c->ops.canary_promote = ops_canary_promote;
	c->ops.canary = ops_canary;
}
