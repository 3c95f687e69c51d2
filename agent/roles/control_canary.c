/* The canary: a second release of an app that serves a part of its requests.  Layer agent, control process.
 *
 *   set (a release, or the next that is deployed) -> its web instances run and are routed as a group of their own
 *     -> promoted: it is rolled out as any release; what runs of it counts, and stays a group until it is live
 *     -> removed: its instances drain and stop
 * How many requests it gets is a setting of the front door (control_front.c). */
#include "agent/roles/control_core.h"

#include <errno.h>
#include <inttypes.h>

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
			control_routes_instance(ci, PROXY_INSTANCE_UP);
	}
}

void control_canary_changed(struct control_app *ca)
{
	canary_groups(ca);
	if (ca->rec.canary > 0)
		control_event(ca->control, ca, 0, "canary.started", "v%" PRIu32 " serves a part of the requests",
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

static void canary_told(void *arg)
{
	struct control_app *ca = arg;
	struct control_waiter w = ca->waiter;

	ca->waiter = (struct control_waiter){0};
	build_say(ca->control->builds, w.build,
		  "       v%" PRIu32
		  " is the canary, the live release serves on; `tulou canary promote` rolls it out\n",
		  w.version);
	build_rolled(ca->control->builds, w.build, NULL);
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
		loop_timer_start(ca->control->loop, &ca->waiter.late, 0, canary_told, ca);
	return 0;
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
}
