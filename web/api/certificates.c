/* Certificates that an app's owner brings.  Layer web, control process.
 * The key comes in and never goes out: no answer, event or log shows it. */
#include "base/clock.h"
#include "base/parse.h"
#include "web/api/apps.h"
#include "web/api/fields.h"
#include "web/api/route.h"
#include "web/http/cert.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The app's hosts, in the form of cert_info.names. */
struct certs_hosts {
	struct buf text;
};

static int certs_host(void *arg, const char *host, const char *value)
{
	struct certs_hosts *h = arg;

	(void)value;
	return buf_add(&h->text, host, strlen(host) + 1);
}

static int certs_hosts(struct exchange *x, struct certs_hosts *h)
{
	char own[LIMIT_HOST + 64];
	int r;

	buf_init(&h->text, (LIMIT_HOST + 1) * (LIMIT_DOMAINS + 2));
	snprintf(own, sizeof own, "%s.%s", x->app.name, x->api->config.settings->domain_apps);
	r = certs_host(h, own, "");
	if (r == 0)
		r = store_domain_list(x->api->config.store, x->app.id, certs_host, h, NULL);
	return r < 0 ? r : buf_add(&h->text, "", 1);
}

/* Names separated by spaces become an array, and those of the app's hosts that they fit another. */
static json_t *certs_json(const struct api *api, const struct model_cert *c, const char *hosts)
{
	const struct ops *ops = api->config.ops;
	json_t *names = json_array(), *covers = json_array();
	size_t n = strlen(c->names);
	char *list = calloc(1, n + 2);

	for (size_t i = 0; list && i < n; i++)
		list[i] = c->names[i] == ' ' ? '\0' : c->names[i];
	for (const char *p = list; p && *p; p += strlen(p) + 1)
		json_array_append_new(names, json_string(p));
	for (const char *p = hosts; list && *p; p += strlen(p) + 1)
		if (cert_covers(list, p))
			json_array_append_new(covers, json_string(p));
	free(list);
	return json_pack("{s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "id",
			 json_sprintf("%" PRId64, c->id), "names", names, "covers", covers, "origin",
			 model_cert_origin_name(c->origin), "issuer", c->issuer, "kind", c->kind, "sha256", c->sha256,
			 "not_before", fields_time(c->not_before_ms), "not_after", fields_time(c->not_after_ms),
			 "created_at", fields_time(c->created_ms), "ocsp",
			 ops->certificate_ocsp ? ops->certificate_ocsp(ops->ctx, c->id) : json_null());
}

struct certs_list {
	const struct api *api;
	json_t *items;
	const char *hosts;
};

static int certs_row(void *arg, const struct model_cert *c)
{
	struct certs_list *l = arg;

	json_array_append_new(l->items, certs_json(l->api, c, l->hosts));
	return 0;
}

void api_certificates_list(struct exchange *x)
{
	struct certs_list l = {.api = x->api, .items = json_array()};
	struct certs_hosts h;
	struct err e = {0};

	if (certs_hosts(x, &h) < 0) {
		json_decref(l.items);
		api_answer_problem(x, 500, NULL, "out of memory");
	} else {
		l.hosts = h.text.data;
		if (store_cert_list(x->api->config.store, x->app.id, certs_row, &l, &e) < 0) {
			json_decref(l.items);
			api_answer_err(x, &e);
		} else {
			const struct ops *ops = x->api->config.ops;
			json_t *hosts =
				ops->certificate_states ? ops->certificate_states(ops->ctx, x->app.id) : json_array();
			api_answer_json(x, 200, json_pack("{s:o, s:o, s:n}", "items", l.items, "hosts", hosts, "next"));
		}
	}
	buf_done(&h.text);
}

/* --- of the whole node --- */

#define EXPIRING_MAX 200
#define EXPIRING_MS (30ull * 86400000)

struct certs_expiring {
	struct exchange *x;
	json_t *items;
};

static int certs_expiring_row(void *arg, const struct model_cert *c)
{
	struct certs_expiring *l = arg;
	struct model_app app;
	bool there = c->app && store_app_get(l->x->api->config.store, c->app, &app, NULL) == 0;
	json_t *o = certs_json(l->x->api, c, "");

	json_object_del(o, "covers");
	json_object_set_new(o, "app", there ? json_string(app.name) : json_null());
	json_object_set_new(o, "tenant", there ? json_string(app.tenant_name) : json_null());
	json_array_append_new(l->items, o);
	return 0;
}

void api_node_certificates(struct exchange *x)
{
	const char *within = api_query(x, "within");
	const struct ops *ops = x->api->config.ops;
	struct certs_expiring l = {.x = x, .items = NULL};
	uint64_t ms = EXPIRING_MS;
	struct err e = {0};

	if (within && parse_duration_ms(within, 0, 4000ull * 86400000, "within", &ms, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	l.items = json_array();
	if (store_cert_expiring(x->api->config.store, clock_wall_ms() + (int64_t)ms, EXPIRING_MAX, certs_expiring_row,
				&l, &e) < 0) {
		json_decref(l.items);
		api_answer_err(x, &e);
		return;
	}
	api_answer_json(x, 200,
			json_pack("{s:o, s:o, s:n}", "items", l.items, "hosts",
				  ops->certificate_states ? ops->certificate_states(ops->ctx, 0) : json_array(),
				  "next"));
}

/* Those that the new one stands in for: the same names. */
struct certs_old {
	const char *names, *sha256;
	int64_t same; /* the very same certificate */
	int64_t id[LIMIT_CERTS_APP];
	unsigned count;
};

static int certs_find_old(void *arg, const struct model_cert *c)
{
	struct certs_old *o = arg;

	if (strcmp(c->sha256, o->sha256) == 0)
		o->same = c->id;
	else if (strcmp(c->names, o->names) == 0 && o->count < LIMIT_CERTS_APP)
		o->id[o->count++] = c->id;
	return 0;
}

/* One that demands a staple: there must be a way to get one. */
static int certs_check_staple(struct exchange *x, const char *chain, struct err *e)
{
	struct cert_ocsp o = {0};
	int r = cert_ocsp(chain, strlen(chain), &o);

	if (r < 0)
		r = err_set(e, -r, "out of memory");
	else if (!x->api->config.settings->tls_stapling)
		r = err_field(e, EINVAL, "certificate",
			      "certificate: it demands OCSP stapling, which is off on this node; ask for one without "
			      "must-staple");
	else if (!o.url[0])
		r = err_field(e, EINVAL, "certificate",
			      "certificate: it demands OCSP stapling, but names no responder at an http:// URL");
	else if (!o.pem)
		r = err_field(e, EINVAL, "certificate",
			      "certificate: it demands OCSP stapling, and its issuer is not in the chain: put the "
			      "intermediate certificate behind it");
	cert_ocsp_done(&o);
	return r;
}

static int certs_check(struct exchange *x, const char *chain, const char *key, const char *hosts,
		       struct cert_info *info, struct err *e)
{
	bool covers = false;
	int r = cert_check(chain, strlen(chain), key, strlen(key), clock_wall_ms(), info, e);

	if (r < 0)
		return r;
	if (info->must_staple && (r = certs_check_staple(x, chain, e)) < 0)
		return r;
	for (const char *p = hosts; *p && !covers; p += strlen(p) + 1)
		covers = cert_covers(info->names, p) > 0;
	return covers ? 0
		      : err_field(e, EINVAL, "certificate",
				  "certificate: it names no host of this app (\"%.100s\" is one); add the domain first",
				  x->app.name[0] ? hosts : "");
}

static int certs_store(struct exchange *x, const char *chain, const char *key, struct model_cert *c, struct err *e)
{
	struct store *s = x->api->config.store;
	struct certs_old old = {.names = c->names, .sha256 = c->sha256};
	int r = store_cert_list(s, x->app.id, certs_find_old, &old, e);

	if (r < 0)
		return r;
	if (old.same) {
		c->id = old.same;
		return 0;
	}
	for (unsigned i = 0; i < old.count && r == 0; i++)
		r = store_cert_del(s, x->app.id, old.id[i], e);
	if (r == 0)
		r = store_cert_add(s, c, chain, key, e);
	return r;
}

static void certs_event(struct exchange *x, const char *kind, const char *text)
{
	struct model_event ev = {.tenant = x->app.tenant, .app = x->app.id};

	snprintf(ev.kind, sizeof ev.kind, "%s", kind);
	snprintf(ev.text, sizeof ev.text, "%s", text);
	if (store_event_add(x->api->config.store, &ev, NULL) == 0)
		api_event(x->api, &ev);
}

void api_certificates_put(struct exchange *x)
{
	static const char *const keys[] = {"certificate", "key", NULL};
	const char *chain = NULL, *key = NULL;
	struct cert_info info = {0};
	struct model_cert c = {.app = x->app.id, .origin = MODEL_CERT_UPLOADED};
	struct certs_hosts h;
	struct err e = {0};
	char *names = NULL, text[160];
	size_t n = 0;

	if (certs_hosts(x, &h) < 0) {
		buf_done(&h.text);
		api_answer_problem(x, 500, NULL, "out of memory");
		return;
	}
	if (json_only(x->json, keys, &e) == 0 &&
	    json_get_str(x->json, "certificate", true, LIMIT_CERT_BYTES, &chain, &e) == 0 &&
	    json_get_str(x->json, "key", true, LIMIT_CERT_BYTES, &key, &e) == 0 &&
	    certs_check(x, chain, key, h.text.data, &info, &e) == 0) {
		while (info.names[n] || info.names[n + 1])
			n++;
		if ((names = malloc(n + 1))) {
			memcpy(names, info.names, n + 1);
			for (size_t i = 0; i < n; i++)
				names[i] = names[i] ? names[i] : ' ';
			c.names = names;
		} else {
			err_set(&e, ENOMEM, "out of memory");
		}
	}
	if (!e.code) {
		memcpy(c.issuer, info.issuer, sizeof c.issuer);
		memcpy(c.kind, info.kind, sizeof c.kind);
		memcpy(c.sha256, info.sha256, sizeof c.sha256);
		c.not_before_ms = info.not_before_ms;
		c.not_after_ms = info.not_after_ms;
		certs_store(x, chain, key, &c, &e);
	}
	if (e.code) {
		api_answer_err(x, &e);
	} else {
		snprintf(text, sizeof text, "Certificate for %.100s%s added", info.names,
			 info.name_count > 1 ? " and others" : "");
		if (c.created_ms)
			certs_event(x, "certificate.added", text);
		apps_changed(x);
		api_answer_json(x, 200, certs_json(x->api, &c, h.text.data));
	}
	cert_info_done(&info);
	free(names);
	buf_done(&h.text);
}

void api_certificates_renew(struct exchange *x)
{
	static const char *const keys[] = {"host", NULL};
	const struct ops *ops = x->api->config.ops;
	const char *host = NULL;
	struct err e = {0};

	if (x->json &&
	    (json_only(x->json, keys, &e) < 0 || json_get_str(x->json, "host", false, LIMIT_HOST, &host, &e) < 0)) {
		api_answer_err(x, &e);
		return;
	}
	if (!ops->certificate_renew)
		err_set(&e, EBUSY, "this node orders no certificates");
	else
		ops->certificate_renew(ops->ctx, x->app.id, host, &e);
	if (e.code) {
		api_answer_err(x, &e);
		return;
	}
	api_answer_json(x, 202, json_pack("{s:o}", "hosts", ops->certificate_states(ops->ctx, x->app.id)));
}

void api_node_certificates_renew(struct exchange *x)
{
	const struct ops *ops = x->api->config.ops;
	struct err e = {0};

	if (!ops->certificate_renew)
		err_set(&e, EBUSY, "this node orders no certificates");
	else
		ops->certificate_renew(ops->ctx, 0, NULL, &e);
	if (e.code)
		api_answer_err(x, &e);
	else
		api_answer_json(x, 202, json_pack("{s:o}", "hosts", ops->certificate_states(ops->ctx, 0)));
}

void api_certificate_delete(struct exchange *x)
{
	struct err e = {0};
	char safe[FIELDS_UNKNOWN];
	uint64_t id = 0;

	if (parse_u64(x->arg[0], strlen(x->arg[0]), 1, INT64_MAX, "id", &id, NULL) < 0 ||
	    store_cert_del(x->api->config.store, x->app.id, (int64_t)id, &e) < 0) {
		fields_unknown(x->arg[0], safe);
		if (e.code && e.code != ENOENT)
			api_answer_err(x, &e);
		else
			api_answer_problem(x, 404, NULL, "this app has no certificate \"%s\"", safe);
		return;
	}
	certs_event(x, "certificate.removed", "Certificate removed");
	apps_changed(x);
	api_answer_empty(x, 204);
}
