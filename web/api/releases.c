/* Releases, rollback, restart.  Layer web, control process. */
#include "base/parse.h"
#include "web/api/apps.h"
#include "web/api/fields.h"
#include "web/api/route.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int releases_row(void *arg, const struct model_release *r)
{
	struct fields_page *p = arg;

	if (fields_page_full(p))
		return 1;
	return fields_page_add(p, r->id, fields_release(r));
}

void api_releases_list(struct exchange *x)
{
	struct fields_page p;
	struct err e = {0};
	int r;

	if (!fields_page_read(x, &p))
		return;
	r = store_release_list(x->api->config.store, x->app.id, p.after < 0 ? 0 : p.after, p.limit + 1, releases_row,
			       &p, &e);
	if (r < 0) {
		json_decref(p.items);
		api_answer_err(x, &e);
		return;
	}
	fields_page_answer(x, &p, r > 0);
}

static void release_answer(struct exchange *x, unsigned status, uint32_t version)
{
	struct model_release r = {0};
	struct err e = {0};

	if (store_release_find(x->api->config.store, x->app.id, version, &r, &e) < 0) {
		if (e.code == ENOENT)
			err_set(&e, ENOENT, "there is no release v%u of this app", version);
		api_answer_err(x, &e);
		return;
	}
	api_answer_json(x, status, fields_release(&r));
	model_release_done(&r);
}

/* {version} may be written "3" or "v3". */
void api_release_get(struct exchange *x)
{
	const char *s = x->arg[0] + (x->arg[0][0] == 'v');
	uint64_t version;

	if (parse_u64(s, strlen(s), 1, UINT32_MAX, "version", &version, NULL) < 0)
		api_answer_problem(x, 404, NULL, "there is no such release of this app");
	else
		release_answer(x, 200, (uint32_t)version);
}

/* The newest release that once served before the live one, or before the one that it repeats, and that is another: so
 * going back after a restart is no restart, and going back again goes further. */
struct rollback_walk {
	struct store *store;
	const struct model_release *live;
	int64_t found, build;
	uint32_t version;
};

static void rollback_found(struct rollback_walk *w, const struct model_release *r)
{
	w->found = r->id;
	w->build = r->build;
	w->version = r->version;
}

/* Trees are kept of the newest only. */
static bool rollback_kept(struct store *s, const struct model_release *r)
{
	struct model_build b;

	return store_build_get(s, r->build, &b, NULL) == 0;
}

static int rollback_row(void *arg, const struct model_release *r)
{
	struct rollback_walk *w = arg;

	if (r->state != MODEL_RELEASE_RETIRED ||
	    (r->build == w->live->build && strcmp(r->config_json, w->live->config_json) == 0) ||
	    !rollback_kept(w->store, r))
		return 0;
	rollback_found(w, r);
	return 1;
}

/* The release with this number, when one may go back to it; false when it prepared the answer. */
static bool rollback_named(struct exchange *x, uint32_t version, struct rollback_walk *w)
{
	struct model_release r = {0};
	enum model_release_state state;
	struct err e = {0};
	bool kept, ok = false;

	if (store_release_find(x->api->config.store, x->app.id, version, &r, &e) < 0) {
		api_answer_problem(x, e.code == ENOENT ? 404 : 500, "version",
				   "version: there is no release v%u of this app", version);
		return false;
	}
	state = r.state;
	kept = rollback_kept(w->store, &r);
	rollback_found(w, &r);
	model_release_done(&r);
	if (w->version == w->live->version)
		api_answer_problem(x, 409, "version", "version: v%u is live already", w->version);
	else if (state != MODEL_RELEASE_RETIRED)
		api_answer_problem(x, 409, "version", "version: v%u is %s and never served", w->version,
				   model_release_state_name(state));
	else if (!kept)
		api_answer_problem(x, 409, "version", "version: what v%u was built of is not kept any more",
				   w->version);
	else
		ok = true;
	return ok;
}

static void release_roll(struct exchange *x, int64_t from, bool its_config, const char *note)
{
	const struct ops *ops = x->api->config.ops;
	uint32_t version = 0;
	struct err e = {0};

	if (ops->release_new(ops->ctx, x->app.id, from, its_config, note, &version, &e) < 0)
		api_answer_err(x, &e);
	else
		release_answer(x, 202, version);
}

void api_rollback(struct exchange *x)
{
	static const char *const keys[] = {"version", NULL};
	struct store *s = x->api->config.store;
	struct model_release live = {0};
	struct rollback_walk w = {.store = s, .live = &live};
	uint64_t version = 0;
	struct err e = {0};
	char note[80];

	if (x->json && (json_only(x->json, keys, &e) < 0 ||
			json_get_u64(x->json, "version", false, 1, UINT32_MAX, &version, &e) < 0)) {
		api_answer_err(x, &e);
		return;
	}
	if (x->app.release == 0 || store_release_get(s, x->app.release, &live, NULL) < 0) {
		api_answer_problem(x, 409, NULL, "this app has no live release to go back from");
		return;
	}
	if (version == 0) {
		store_release_list(s, x->app.id, live.origin ? live.origin : live.id, UINT16_MAX, rollback_row, &w,
				   NULL);
		if (w.found == 0)
			api_answer_problem(x, 409, NULL,
					   "there is no earlier release that served with another build or config");
	} else if (!rollback_named(x, (uint32_t)version, &w)) {
		w.found = 0;
	}
	model_release_done(&live);
	if (w.found == 0)
		return;
	snprintf(note, sizeof note, "Rollback to v%u (build %" PRId64 ")", w.version, w.build);
	release_roll(x, w.found, true, note);
}

/* A roll-out of the live release's own tree with the config as it is set now: new instances first, as with any
 * release. */
void api_restart(struct exchange *x)
{
	static const char *const keys[] = {NULL};
	struct err e = {0};

	if (x->json && json_only(x->json, keys, &e) < 0)
		api_answer_err(x, &e);
	else if (x->app.release == 0)
		api_answer_problem(x, 409, NULL, "this app has no live release");
	else
		release_roll(x, x->app.release, false, "Restart");
}
