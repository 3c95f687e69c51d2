/* Apps.  Layer web, control process. */
#include "web/api/apps.h"

#include "base/own.h"
#include "base/parse.h"
#include "web/api/fields.h"
#include "web/api/serving.h"
#include "web/api/plans.h"
#include "web/api/route.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

void apps_url(const struct api *a, const char *name, char out[LIMIT_HOST + 64])
{
	snprintf(out, LIMIT_HOST + 64, "%s://%s.%s%s", a->scheme, name, a->config.settings->domain_apps,
		 a->config.public_port_suffix);
}

/* files, where it is not NULL, becomes what the release's own files say: owned by the caller, NULL when they say
 * nothing. */
static json_t *app_release(struct store *s, int64_t id, json_t **files)
{
	struct model_release r = {0};
	json_t *j;

	if (id == 0 || store_release_get(s, id, &r, NULL) < 0)
		return json_null();
	j = json_pack("{s:I, s:o, s:o}", "version", (json_int_t)r.version, "created_at", fields_time(r.created_ms),
		      "note", fields_safe(r.note));
	if (files && r.app_json)
		*files = json_read(r.app_json, strlen(r.app_json), 4u * LIMIT_CONFIG_TOTAL, NULL);
	model_release_done(&r);
	return j;
}

/* How the live release's web instances are checked: agent/roles/control_instance.c reads the same. */
static json_t *app_health(const struct model_app *app, json_t *files)
{
	const char *path = NULL, *protocol = NULL, *listens = NULL;
	uint64_t every = 0, failures = LIMIT_HEALTH_FAILURES_DEFAULT;
	bool own = app->health_path[0];

	json_get_str(files, "health_path", false, 255, &path, NULL);
	json_get_str(files, "protocol", false, 16, &protocol, NULL);
	json_get_str(files, "listen", false, 16, &listens, NULL);
	json_get_u64(files, "health_every_ms", false, LIMIT_HEALTH_EVERY_MIN_MS, LIMIT_HEALTH_EVERY_MAX_MS, &every,
		     NULL);
	json_get_u64(files, "health_failures", false, 1, LIMIT_HEALTH_FAILURES, &failures, NULL);
	path = own ? app->health_path : path && *path ? path : NULL;
	return json_pack("{s:s, s:o, s:s?, s:o, s:I}", "check",
			 path					    ? "http"
			 : protocol && strcmp(protocol, "h2c") == 0 ? "h2c"
			 : listens && strcmp(listens, "unix") == 0  ? "unix"
								    : "tcp",
			 "path", path ? fields_safe(path) : json_null(), "from",
			 own	? "app"
			 : path ? "release"
				: NULL,
			 "interval_seconds", path && every ? json_real((double)every / 1000) : json_null(), "failures",
			 (json_int_t)failures);
}

static int app_build(void *arg, const struct model_build *b)
{
	*(enum model_build_state *)arg = b->state;
	return 0;
}

/* Why an app has no release: one look at its newest build.  NULL: it has one. */
static const char *app_empty(struct store *s, const struct model_app *app)
{
	enum model_build_state newest = MODEL_BUILD_STATE_COUNT;

	if (app->release || app->candidate)
		return NULL;
	store_build_list(s, app->id, 0, 1, app_build, &newest, NULL);
	switch (newest) {
	case MODEL_BUILD_RUNNING:
		return "building";
	case MODEL_BUILD_FAILED:
		return "build failed";
	case MODEL_BUILD_SUCCEEDED:
		return "deploy failed";
	case MODEL_BUILD_STATE_COUNT:
		break;
	}
	return "never deployed";
}

json_t *apps_json(struct api *a, const struct model_app *app)
{
	const struct settings *set = a->config.settings;
	json_t *stats = a->config.ops->app_stats(a->config.ops->ctx, app->id), *state;
	char url[LIMIT_HOST + 64], git[LIMIT_HOST + 128];
	struct model_tenant t = {0}; /* should it be gone: no egress, no strict profile of its own */
	OWN_JSON json_t *files = NULL;
	json_t *release = app_release(a->config.store, app->release, &files);

	if (!stats)
		stats = json_object();
	state = json_object_get(stats, "state");
	apps_url(a, app->name, url);
	store_tenant_get(a->config.store, app->tenant, &t, NULL);
	snprintf(git, sizeof git, "%s://%s%s/git/%s.git", a->scheme, set->domain_control, a->config.public_port_suffix,
		 app->name);
	return json_pack("{s:s, s:s, s:s, s:o, s:O, s:s?, s:o, s:o, s:o, s:b, s:s, s:o, s:o, s:o, s:o, s:b, s:s, s:i, "
			 "s:o, s:o, s:o, s:s}",
			 "name", app->name, "tenant", app->tenant_name, "url", url, "created_at",
			 fields_time(app->created_ms), "state", json_is_string(state) ? state : json_null(), "empty",
			 app_empty(a->config.store, app), "release", release, "candidate",
			 app_release(a->config.store, app->candidate, NULL), "limits", fields_limits(&app->limits),
			 "limits_own", app->limits_own ? 1 : 0, "profile",
			 quota_profile_name((enum quota_profile)app->profile), "egress", fields_egress(&app->egress),
			 "egress_effective", fields_egress_effective(&t, app), "health_path",
			 fields_safe(app->health_path), "health", app_health(app, files), "paused", app->paused ? 1 : 0,
			 "https", model_https_name((enum model_https)app->https), "hsts", (int)app->hsts_s, "serving",
			 serving_json(a->config.store, app->id), "formation",
			 fields_formation(a->config.store, app->id), "stats", stats, "git_url", git);
}

void apps_changed(struct exchange *x)
{
	const struct ops *ops = x->api->config.ops;

	ops->app_changed(ops->ctx, x->app.id);
}

static int apps_row(void *arg, const struct model_app *app)
{
	struct fields_page *p = arg;

	if (fields_page_full(p))
		return 1;
	return fields_page_add(p, app->id, apps_json(p->api, app));
}

/* ?tenant= narrows an operator's list. */
void api_apps_list(struct exchange *x)
{
	const char *name = api_query(x, "tenant");
	int64_t tenant = x->who.tenant;
	char safe[FIELDS_UNKNOWN];
	struct fields_page p;
	struct err e = {0};
	int r;

	if (name && x->who.tenant ? strcmp(name, x->who.tenant_name) != 0 : name != NULL) {
		struct model_tenant t;
		if (x->who.tenant || store_tenant_find(x->api->config.store, name, &t, NULL) < 0) {
			fields_unknown(name, safe);
			api_answer_problem(x, 404, "tenant", "there is no tenant \"%s\"", safe);
			return;
		}
		tenant = t.id;
	}
	if (!fields_page_read(x, &p))
		return;
	r = store_app_list(x->api->config.store, tenant, p.after < 0 ? 0 : p.after, p.limit + 1, apps_row, &p, &e);
	if (r < 0) {
		json_decref(p.items);
		api_answer_err(x, &e);
		return;
	}
	fields_page_answer(x, &p, r > 0);
}

/* The control host's own label must stay free when it lies under the apps' domain. */
static int app_name_ok(const struct settings *s, const char *name, struct err *e)
{
	size_t n = strlen(name);
	int r = parse_name(name, LIMIT_APP_NAME, "name", e);

	if (r < 0)
		return r;
	if (strncmp(s->domain_control, name, n) == 0 && s->domain_control[n] == '.' &&
	    strcmp(s->domain_control + n + 1, s->domain_apps) == 0)
		return err_field(e, EINVAL, "name", "name: \"%s\" is the control plane's own", name);
	return 0;
}

static int app_no_owner(const char *name, struct err *e)
{
	char safe[FIELDS_UNKNOWN];

	fields_unknown(name, safe);
	return err_field(e, ENOENT, "tenant", "tenant: there is no tenant \"%s\"", safe);
}

/* Whose app it will be: the token's tenant; an operator names it. */
static int app_owner(struct exchange *x, const char *name, struct model_tenant *t, struct err *e)
{
	struct store *s = x->api->config.store;

	if (x->who.tenant) {
		if (name && strcmp(name, x->who.tenant_name) != 0)
			return app_no_owner(name, e);
		return store_tenant_get(s, x->who.tenant, t, e);
	}
	if (!name)
		return err_field(e, EINVAL, "tenant", "tenant: an operator must say whose app it is");
	if (store_tenant_find(s, name, t, NULL) < 0)
		return app_no_owner(name, e);
	return 0;
}

/* Limits within the tenant's quota; a refusal says whose it is. */
static int app_limits_read(json_t *l, const struct model_tenant *t, struct quota_limits *ret, struct err *e)
{
	int r = fields_get_limits(l, &t->quota, ret, e);

	return r == -EDQUOT ? err_wrap(e, "tenant %s", t->name) : r;
}

void api_apps_post(struct exchange *x)
{
	static const char *const keys[] = {"name", "tenant", "limits", "profile", "egress", NULL};
	const struct settings *set = x->api->config.settings;
	struct model_app want = {.egress = {.mode = QUOTA_EGRESS_PUBLIC}};
	const char *name = NULL, *tenant = NULL;
	struct store *s = x->api->config.store;
	struct model_tenant t;
	json_t *l = NULL;
	struct err e = {0};
	char location[64];

	if (json_only(x->json, keys, &e) < 0 || json_get_str(x->json, "name", true, 256, &name, &e) < 0 ||
	    app_name_ok(set, name, &e) < 0 || json_get_str(x->json, "tenant", false, 256, &tenant, &e) < 0 ||
	    json_get_obj(x->json, "limits", false, &l, &e) < 0 ||
	    fields_get_profile(x->json, "profile", &want.profile, &e) < 0 ||
	    fields_get_egress(x->json, "egress", &want.egress, &e) < 0 || app_owner(x, tenant, &t, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	plans_followed(x->api, &t, &want.limits);
	if ((l && app_limits_read(l, &t, &want.limits, &e) < 0) ||
	    store_app_add(s, t.id, name, &want.limits, l != NULL, &x->app, &e) < 0) {
		if (e.code == EEXIST)
			err_field(&e, EEXIST, "name", "name: \"%s\" is taken on this node", name);
		api_answer_err(x, &e);
		return;
	}
	x->app.profile = want.profile;
	x->app.egress = want.egress;
	/* Checked already: this fails only when the database does, and then the turn with it. */
	if (store_app_update(s, &x->app, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	apps_changed(x);
	api_answer_json(x, 201, apps_json(x->api, &x->app));
	snprintf(location, sizeof location, "/v1/apps/%s", x->app.name);
	api_answer_header(x, "Location", location);
}

void api_app_get(struct exchange *x)
{
	api_answer_json(x, 200, apps_json(x->api, &x->app));
}

static int app_health_path(json_t *obj, char out[256], struct err *e)
{
	char safe[FIELDS_UNKNOWN];
	const char *s = NULL;

	if (json_is_null(json_object_get(obj, "health_path")))
		s = "";
	else if (json_get_str(obj, "health_path", false, 255, &s, e) < 0)
		return -e->code;
	if (!s)
		return 0;
	fields_unknown(s, safe);
	if (*s && *s != '/')
		return err_field(e, EINVAL, "health_path", "health_path: \"%s\" must begin with '/'", safe);
	for (const char *p = s; *p; p++)
		if (*p <= ' ' || *p > '~' || *p == '#')
			return err_field(e, EINVAL, "health_path", "health_path: must be visible ASCII without '#'");
	snprintf(out, 256, "%s", s);
	return 0;
}

/* "limits": an object changes some of them, null gives those of the plan or the node back. */
static int app_limits(struct exchange *x, struct model_app *app, struct err *e)
{
	const struct ops *ops = x->api->config.ops;
	json_t *l = json_object_get(x->json, "limits");
	struct model_tenant t;
	int r = l ? store_tenant_get(x->api->config.store, app->tenant, &t, e) : 0;

	if (r < 0 || !l)
		return r;
	app->limits_own = !json_is_null(l);
	if (!app->limits_own)
		plans_followed(x->api, &t, &app->limits);
	else if ((r = json_get_obj(x->json, "limits", false, &l, e)) == 0)
		r = app_limits_read(l, &t, &app->limits, e);
	return r == 0 && ops->limits_fit ? ops->limits_fit(ops->ctx, app->id, &app->limits, e) : r;
}

static int app_https(json_t *obj, struct model_app *app, struct err *e)
{
	const char *text = NULL;
	uint64_t hsts = app->hsts_s;
	enum model_https https;
	int r = json_get_str(obj, "https", false, 16, &text, e);

	if (r == 0)
		r = json_get_u64(obj, "hsts", false, 0, LIMIT_HSTS_S, &hsts, e);
	if (r < 0)
		return r;
	app->hsts_s = (uint32_t)hsts;
	if (!text)
		return 0;
	if ((https = model_https_parse(text)) == MODEL_HTTPS_COUNT)
		return parse_must_be(text, "on, off or redirect", "https", e);
	app->https = https;
	return 0;
}

/* A canary runs beside the live release. */
static int app_held(const struct model_app *app, const struct model_serving *f, struct err *e)
{
	return app->canary && f->rollout == MODEL_ROLLOUT_HOLD
		       ? err_field(e, EBUSY, "serving.rollout",
				   "serving.rollout: hold lets only one release run, and the app has a canary: end it "
				   "before")
		       : 0;
}

/* What a change of https does not take back: browsers were told, and are not told otherwise. */
static json_t *app_https_note(const struct model_app *app)
{
	char text[256];

	if (!app->hsts_s || app->https == MODEL_HTTPS_REDIRECT)
		return NULL;
	if (app->https == MODEL_HTTPS_OFF)
		snprintf(
			text, sizeof text,
			"hsts is %u s, and is not sent without https: browsers that were told find nothing until it is "
			"over; switch it on with hsts 0 first, for so long: tulou apps https on 0",
			(unsigned)app->hsts_s);
	else
		snprintf(text, sizeof text,
			 "hsts is %u s: browsers that came over https once come over https alone, without a redirect; "
			 "hsts 0 takes it back: tulou apps https on 0",
			 (unsigned)app->hsts_s);
	return json_string(text);
}

void api_app_patch(struct exchange *x)
{
	static const char *const keys[] = {"limits", "profile", "egress",  "paused", "health_path",
					   "https",  "hsts",	"serving", NULL};
	struct store *s = x->api->config.store;
	struct model_app app = x->app;
	struct model_serving serving;
	struct err e = {0};
	bool given = false;
	json_t *answer, *note;

	if (json_only(x->json, keys, &e) < 0 || json_get_bool(x->json, "paused", false, &app.paused, &e) < 0 ||
	    app_health_path(x->json, app.health_path, &e) < 0 ||
	    fields_get_profile(x->json, "profile", &app.profile, &e) < 0 ||
	    fields_get_egress(x->json, "egress", &app.egress, &e) < 0 || app_https(x->json, &app, &e) < 0 ||
	    app_limits(x, &app, &e) < 0 || serving_read(s, app.id, x->json, &serving, &given, &e) < 0 ||
	    (given && app_held(&app, &serving, &e) < 0) || store_app_update(s, &app, &e) < 0 ||
	    (given && store_serving_set(s, app.id, &serving, &e) < 0)) {
		api_answer_err(x, &e);
		return;
	}
	x->app = app;
	apps_changed(x);
	/* Control may have changed more of it in answer. */
	store_app_get(s, app.id, &x->app, NULL);
	answer = apps_json(x->api, &x->app);
	note = json_object_get(x->json, "https") || json_object_get(x->json, "hsts") ? app_https_note(&x->app) : NULL;
	if (note)
		json_object_set_new(answer, "note", note);
	api_answer_json(x, 200, answer);
}

void api_app_delete(struct exchange *x)
{
	const struct ops *ops = x->api->config.ops;
	struct err e = {0};

	if (store_app_del(x->api->config.store, x->app.id, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	ops->app_deleted(ops->ctx, &x->app);
	api_answer_empty(x, 204);
}

void api_app_latency(struct exchange *x)
{
	const struct ops *ops = x->api->config.ops;

	api_answer_json(x, 200, ops->latency(ops->ctx, x->app.id));
}

void api_app_history(struct exchange *x)
{
	const struct ops *ops = x->api->config.ops;
	uint64_t minutes = 60;

	if (api_query_u64(x, "minutes", 1, 1440, &minutes))
		api_answer_json(x, 200, ops->history(ops->ctx, x->app.id, (unsigned)minutes));
}
