/* What control reads from the store at its start, and what it clears away later.  Layer agent, control process. */
#include "agent/roles/control_core.h"

#include "agent/build/log.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTROL_PAGE 500
#define CONTROL_KEEP_FAILED_MS (7ll * 86400 * 1000) /* records and logs of failed builds */

/* --- load ----------------------------------------------------------------------------------------------------- */

struct control_page {
	struct control *control;
	int64_t last;
	unsigned n;
};

static int control_load_tenant(void *arg, const struct model_tenant *t)
{
	struct control_page *p = arg;

	p->last = t->id;
	p->n++;
	return control_tenant_get(p->control, t->id) ? 0 : -ENOMEM;
}

/* Ids first: loading an app runs other statements. */
struct control_ids {
	struct control_page page;
	int64_t id[CONTROL_PAGE];
};

static int control_load_app(void *arg, const struct model_app *a)
{
	struct control_ids *ids = arg;

	ids->page.last = ids->id[ids->page.n++] = a->id;
	return 0;
}

static int control_load_apps(struct control *c, struct err *e)
{
	struct control_ids ids = {.page.control = c};
	int r;

	do {
		ids.page.n = 0;
		r = store_app_list(c->store, 0, ids.page.last, CONTROL_PAGE, control_load_app, &ids, e);
		for (unsigned i = 0; r >= 0 && i < ids.page.n; i++)
			if (!control_app_load(c, ids.id[i]))
				r = err_set(e, ENOMEM, "app %" PRId64 " cannot be loaded", ids.id[i]);
	} while (r >= 0 && ids.page.n == CONTROL_PAGE);
	return r < 0 ? r : 0;
}

/* Builds that ran when control ended can never end well; trees count against quotas. */
struct control_builds {
	struct control *control;
	int64_t last;
	unsigned n, dead_count;
	struct model_build dead[64];
};

static int control_load_build(void *arg, const struct model_build *b)
{
	struct control_builds *p = arg;
	struct control_app *ca = control_app_get(p->control, b->app);

	p->last = b->id;
	p->n++;
	if (b->state == MODEL_BUILD_SUCCEEDED && ca)
		control_disk_add(ca, b->bytes);
	if (b->state == MODEL_BUILD_RUNNING && p->dead_count < sizeof p->dead / sizeof *p->dead)
		p->dead[p->dead_count++] = *b;
	return 0;
}

static int control_load_builds(struct control *c, struct err *e)
{
	struct control_builds p = {.control = c};
	int r = 0;

	do {
		p.n = 0;
		r = store_build_list(c->store, 0, p.last, CONTROL_PAGE, control_load_build, &p, e);
	} while (r >= 0 && p.n == CONTROL_PAGE);
	for (unsigned i = 0; r >= 0 && i < p.dead_count; i++) {
		struct model_build *b = &p.dead[i];
		struct control_app *ca = control_app_get(c, b->app);

		b->state = MODEL_BUILD_FAILED;
		b->finished_ms = clock_wall_ms();
		snprintf(b->error, sizeof b->error, "the node was restarted during the build: deploy again");
		r = store_build_update(c->store, b, e);
		build_log_last(c->control_dir, b->id, b->error);
		/* As of a build that fails while we see it: whoever pushed has lost the connection, and looks here. */
		if (r == 0 && ca)
			control_event(c, ca, 0, "build.failed", "Build %" PRId64 " failed: %s", b->id, b->error);
		control_remove(c, MSG_REMOVE_RELEASE, (uint64_t)b->id);
	}
	return r < 0 ? r : 0;
}

static int control_load_instance(void *arg, const struct model_instance *i)
{
	control_instance_adopt(arg, i);
	return 0;
}

/* Apps without limits of their own, of tenants without a plan, follow the node's settings: also when those were changed
 * while the node was down. */
static int control_follow_tenant(void *arg, const struct model_tenant *t)
{
	struct control *c = arg;
	struct model_tenant same = *t;
	struct err e = {0};

	return t->plan ? 0 : store_tenant_set(c->store, &same, &c->settings.app, &e);
}

static int control_follow(struct control *c, struct err *e)
{
	OWN_FREE char *was = NULL;
	const struct quota_key *k;
	char now[512] = "";
	size_t n = 0;
	int r;

	for (unsigned i = 0; (k = quota_key(i)); i++)
		if (quota_has(k, QUOTA_OF_LIMITS))
			n += (size_t)snprintf(now + n, sizeof now - n, "%s=%" PRIu64 " ", k->name,
					      quota_get(k, QUOTA_OF_LIMITS, &c->settings.app));
	if (store_meta_get(c->store, "control.app_limits", &was, NULL) == 0 && strcmp(was, now) == 0)
		return 0;
	r = store_tenant_list(c->store, 0, 0, control_follow_tenant, c, e);
	return r < 0 ? r : store_meta_set(c->store, "control.app_limits", now, e);
}

int control_load(struct control *c, struct err *e)
{
	struct control_page page = {.control = c};
	int r = control_follow(c, e);

	if (r < 0)
		return r;
	do {
		page.n = 0;
		r = store_tenant_list(c->store, page.last, CONTROL_PAGE, control_load_tenant, &page, e);
	} while (r >= 0 && page.n == CONTROL_PAGE);
	if (r >= 0)
		r = control_load_apps(c, e);
	if (r >= 0)
		r = control_load_builds(c, e);
	if (r >= 0)
		r = store_instance_list(c->store, 0, true, control_load_instance, c, e);
	return r < 0 ? r : 0;
}

/* --- derived ---------------------------------------------------------------------------------------------------- */

static unsigned control_wanted_of(const struct control_app *ca, const char *type)
{
	const struct control_types *t = &ca->live;
	unsigned i = 0;

	while (i < t->count && strcmp(t->name[i], type) != 0)
		i++;
	if (i == t->count || ca->rec.paused)
		return 0;
	for (i = 0; i < ca->formation_count; i++)
		if (strcmp(ca->formation[i].type, type) == 0)
			return ca->formation[i].count;
	return 0;
}

unsigned control_wanted(const struct control_app *ca)
{
	unsigned n = 0;

	for (unsigned i = 0; ca->rec.release && i < ca->live.count; i++)
		n += control_wanted_of(ca, ca->live.name[i]);
	return n;
}

unsigned control_running(const struct control_app *ca)
{
	const struct control_instance *ci;
	unsigned n = 0;

	TAILQ_FOREACH(ci, &ca->instances, link)
	{
		n += ci->rec.state == MODEL_INSTANCE_RUNNING && ci->rec.release == ca->rec.release;
	}
	return n;
}

unsigned control_standing(const struct control_app *ca)
{
	const struct control_instance *ci;
	unsigned n = 0;

	TAILQ_FOREACH(ci, &ca->instances, link)
	{
		n += ci->rec.release == ca->rec.release &&
		     (ci->rec.state == MODEL_INSTANCE_RUNNING || ci->rec.state == MODEL_INSTANCE_STARTING);
	}
	return n;
}

unsigned control_sick(const struct control_app *ca)
{
	const struct control_instance *ci;
	unsigned n = 0;

	TAILQ_FOREACH(ci, &ca->instances, link)
	{
		n += ci->rec.state == MODEL_INSTANCE_RUNNING && ci->rec.release == ca->rec.release && !ci->healthy;
	}
	return n;
}

bool control_waiting(const struct control_app *ca, char *out, size_t cap)
{
	struct control *c = ca->control;
	unsigned wanted = control_wanted(ca), sick = control_sick(ca), there = control_standing(ca) - sick, more = 0;
	struct err e = {0};

	*out = 0;
	/* Where nothing runs beside another a sick one leaves first. */
	if (there >= wanted || c->draining || (sick && control_holds(ca)))
		return false;
	/* As if they were started one after the other. */
	while (there + more < wanted && control_fits(c, ca->tenant, &ca->rec.limits, ca, ca->rec.release, &e) == 0) {
		control_charge(c, ca->tenant, &ca->rec.limits, 1);
		more++;
	}
	for (unsigned i = 0; i < more; i++)
		control_charge(c, ca->tenant, &ca->rec.limits, -1);
	if (there + more >= wanted)
		return false;
	/* A sick one stays until another can take its place. */
	if (there + more + sick >= wanted)
		snprintf(out, cap, "%u unhealthy instance%s cannot be replaced: %s", wanted - there - more,
			 wanted - there - more == 1 ? "" : "s", e.text);
	else
		snprintf(out, cap, "%u of %u instances fit, the others wait: %s", there + more + sick, wanted, e.text);
	return true;
}

bool control_looping(const struct control_app *ca, const char *type)
{
	const struct plan_backoff *b = ca->backoffs ? plan_backoff_find(ca->backoffs, ca->rec.release, type) : NULL;

	return b && b->looping;
}

bool control_refused(const struct control_app *ca, const char *type)
{
	const struct control_instance *ci;

	if (ca->rec.candidate || !ca->nofit_since_ms || control_now_ms() - ca->nofit_since_ms < CONTROL_RETRY_MS)
		return false;
	TAILQ_FOREACH(ci, &ca->instances, link)
	{
		if (strcmp(ci->rec.type, type) == 0 && ci->rec.release == ca->rec.release)
			return false;
	}
	return true;
}

const char *control_app_state(const struct control_app *ca)
{
	unsigned wanted = control_wanted(ca), running = control_running(ca);

	if (ca->rec.paused)
		return "paused";
	if (ca->rec.candidate)
		return "deploying";
	if (!ca->rec.release)
		return "empty";
	if (!wanted)
		return "stopped";
	for (unsigned i = 0; i < ca->live.count; i++)
		if (control_wanted_of(ca, ca->live.name[i]) && !running &&
		    (control_looping(ca, ca->live.name[i]) || control_refused(ca, ca->live.name[i])))
			return "crashed";
	if (control_sick(ca))
		return "degraded";
	return running >= wanted ? "running" : "starting";
}

/* --- clearing away ---------------------------------------------------------------------------------------------- */

void control_disk_add(struct control_app *ca, uint64_t bytes)
{
	ca->disk += bytes;
	ca->tenant->disk += bytes;
}

void control_disk_sub(struct control_app *ca, uint64_t bytes)
{
	if (bytes > ca->disk)
		bytes = ca->disk;
	ca->disk -= bytes;
	ca->tenant->disk -= bytes;
}

struct control_unused {
	struct control *control;
	unsigned n;
	struct model_build list[64];
};

static int control_unused_build(void *arg, const struct model_build *b)
{
	struct control_unused *u = arg;

	if (u->n < sizeof u->list / sizeof *u->list)
		u->list[u->n++] = *b;
	return 0;
}

/* The store tells what no recent release refers to; what runs, or may at any moment, is known here. */
static bool control_build_needed(struct control *c, const struct model_build *b)
{
	struct control_app *ca = control_app_get(c, b->app);
	const struct control_instance *ci;

	if (b->state == MODEL_BUILD_RUNNING || build_running(c->builds, b->app, NULL))
		return true;
	if (!ca)
		return false;
	if (b->state == MODEL_BUILD_FAILED)
		return clock_wall_ms() - b->finished_ms < CONTROL_KEEP_FAILED_MS;
	if (b->id == ca->live.build || b->id == ca->candidate.build || b->id == ca->canary.build || ca->next_release ||
	    ca->rec.candidate)
		return true;
	TAILQ_FOREACH(ci, &ca->instances, link)
	{
		if (ci->object == (uint64_t)b->id)
			return true;
	}
	return false;
}

void control_collect(struct control *c)
{
	struct control_unused *u = calloc(1, sizeof *u);
	struct err e = {0};

	if (!u)
		return;
	u->control = c;
	if (store_build_unused(c->store, CONTROL_KEEP_RELEASES, control_unused_build, u, &e) < 0)
		LOG_WARN("unused builds", "error=\"%s\"", e.text);
	for (unsigned i = 0; i < u->n; i++) {
		const struct model_build *b = &u->list[i];
		struct control_app *ca = control_app_get(c, b->app);

		if (control_build_needed(c, b) || store_build_del(c->store, b->id, &e) < 0)
			continue;
		if (b->state == MODEL_BUILD_SUCCEEDED) {
			control_remove(c, MSG_REMOVE_RELEASE, (uint64_t)b->id);
			if (ca)
				control_disk_sub(ca, b->bytes);
		}
		build_log_remove(c->control_dir, b->id);
	}
	free(u);
	if (store_event_prune(c->store, &e) < 0 || store_instance_prune(c->store, CONTROL_KEEP_INSTANCES, &e) < 0)
		LOG_WARN("prune", "error=\"%s\"", e.text);
	control_written(c);
}
