/* Domains of an app besides its own name.  Layer web, control process. */
#include "base/clock.h"
#include "base/parse.h"
#include "web/api/apps.h"
#include "web/api/fields.h"
#include "web/api/route.h"

#include <errno.h>
#include <string.h>

#define DOMAIN_ALSO 20 /* other apps with a host that are named */

static json_t *domain_json(const struct model_domain *d)
{
	const char *name = strncmp(d->host, "*.", 2) == 0 ? d->host + 2 : d->host;
	bool proved = d->proof != MODEL_PROOF_WANTED;
	json_t *j = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:{s:o, s:s, s:s}}", "host", d->host, "state",
			      proved ? "verified" : "pending", "proof",
			      proved ? json_string(model_proof_name(d->proof)) : json_null(), "checked_at",
			      fields_time(d->checked_ms), "verified_at", fields_time(d->proved_ms), "error",
			      fields_text(d->error), "record", "name", json_sprintf("_tulou.%s", name), "type", "TXT",
			      "value", d->token);

	/* A wildcard has no one server that could be asked. */
	if (j && name == d->host)
		json_object_set_new(j, "url", json_sprintf("http://%s/.well-known/tulou-proof", name));
	return j;
}

static int domains_row(void *arg, const struct model_domain *d)
{
	json_array_append_new(arg, domain_json(d));
	return 0;
}

void api_domains_list(struct exchange *x)
{
	json_t *items = json_array();
	struct err e = {0};

	if (store_domain_all(x->api->config.store, x->app.id, domains_row, items, &e) < 0) {
		json_decref(items);
		api_answer_err(x, &e);
		return;
	}
	api_answer_json(x, 200, json_pack("{s:o, s:n}", "items", items, "next"));
}

/* True when name is below, or the same as, zone. */
static bool domain_within(const char *name, const char *zone)
{
	size_t n = strlen(name), z = strlen(zone);

	return n >= z && strcmp(name + n - z, zone) == 0 && (n == z || name[n - z - 1] == '.');
}

/* A domain must not catch what belongs to the node: other apps' names, the control name, bare addresses. */
static int domain_ok(const struct settings *s, const char *host, struct err *e)
{
	const char *base = strncmp(host, "*.", 2) == 0 ? host + 2 : host, *last = strrchr(base, '.');
	int r = parse_hostname(host, true, "host", e);

	if (r < 0)
		return r;
	if (!last)
		return err_field(e, EINVAL, "host", "host: \"%.64s\" must have at least two labels", host);
	if (strspn(last + 1, "0123456789") == strlen(last + 1))
		return err_field(e, EINVAL, "host", "host: \"%.64s\" is an address, not a name", host);
	if (domain_within(base, s->domain_apps) || strcmp(base, s->domain_control) == 0)
		return err_field(e, EINVAL, "host", "host: \"%.64s\" lies in the node's own domain", host);
	if (base != host && (domain_within(s->domain_apps, base) || domain_within(s->domain_control, base)))
		return err_field(e, EINVAL, "host", "host: \"%.64s\" would catch the node's own names", host);
	return 0;
}

/* What a new domain needs: nothing more than the operator's word when it is the operator who adds it. */
static enum model_proof domain_proof(const struct exchange *x)
{
	if (x->who.role == MODEL_ROLE_OPERATOR)
		return MODEL_PROOF_OPERATOR;
	return x->api->config.settings->domain_proof ? MODEL_PROOF_WANTED : MODEL_PROOF_NONE;
}

struct domain_also {
	struct store *store;
	json_t *arr; /* borrowed */
};

static int domain_also_row(void *arg, const struct model_domain *d)
{
	struct domain_also *also = arg;
	struct model_app a;

	if (store_app_get(also->store, d->app, &a, NULL) == 0)
		json_array_append_new(also->arr,
				      json_pack("{s:s, s:s, s:s}", "app", a.name, "tenant", a.tenant_name, "state",
						d->proof == MODEL_PROOF_WANTED ? "pending" : "verified"));
	return 0;
}

/* Which other apps have the host: of the tenant's own, all for the operator; others' are nobody's business. */
static json_t *domain_also(struct exchange *x, const struct model_domain *d)
{
	struct domain_also also = {x->api->config.store, json_array()};
	int64_t tenant = x->who.role == MODEL_ROLE_OPERATOR ? 0 : x->app.tenant;

	store_domain_others(also.store, d, tenant, DOMAIN_ALSO, domain_also_row, &also, NULL);
	return also.arr;
}

static void domain_answer(struct exchange *x, unsigned status, const struct model_domain *d, json_t *also)
{
	json_t *j = domain_json(d);

	json_object_set_new(j, "also", also);
	api_answer_json(x, status, j);
}

static void domain_check(struct exchange *x, const char *host)
{
	const struct ops *ops = x->api->config.ops;

	if (ops->domain_check)
		ops->domain_check(ops->ctx, x->app.id, host);
}

void api_domains_post(struct exchange *x)
{
	static const char *const keys[] = {"host", NULL};
	struct store *s = x->api->config.store;
	const char *host = NULL;
	struct model_domain d;
	struct err e = {0};

	if (json_only(x->json, keys, &e) < 0 || json_get_str(x->json, "host", true, LIMIT_HOST, &host, &e) < 0 ||
	    domain_ok(x->api->config.settings, host, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	if (store_domain_add(s, x->app.id, host, domain_proof(x), &d, &e) < 0) {
		if (e.code == EDQUOT)
			api_answer_problem(x, 403, "host", "host: this app has %d domains, the most there may be",
					   LIMIT_DOMAINS);
		else
			api_answer_err(x, &e);
		return;
	}
	apps_changed(x);
	if (d.proof == MODEL_PROOF_WANTED)
		domain_check(x, host);
	domain_answer(x, 201, &d, domain_also(x, &d));
}

/* Looks for the proof now; with accept the operator's word is the proof. */
void api_domain_verify(struct exchange *x)
{
	static const char *const keys[] = {"accept", NULL};
	struct store *s = x->api->config.store;
	struct model_domain d;
	struct err e = {0};
	bool accept = false;
	json_t *also;

	if ((x->json &&
	     (json_only(x->json, keys, &e) < 0 || json_get_bool(x->json, "accept", false, &accept, &e) < 0)) ||
	    store_domain_get(s, x->app.id, x->arg[0], &d, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	if (accept && x->who.role != MODEL_ROLE_OPERATOR) {
		api_answer_problem(x, 403, "accept", "accept: only the operator may give their word for a domain");
		return;
	}
	also = domain_also(x, &d); /* as it is before this takes it over */
	if (accept) {
		d.proof = MODEL_PROOF_OPERATOR;
		d.proved_ms = clock_wall_ms();
		d.next_ms = 0;
		d.error[0] = 0;
		if (store_domain_set(s, &d, &e) < 0) {
			json_decref(also);
			api_answer_err(x, &e);
			return;
		}
		domain_check(x, d.host);
		apps_changed(x);
	} else if (d.proof == MODEL_PROOF_WANTED) {
		domain_check(x, d.host);
	}
	domain_answer(x, accept || d.proof != MODEL_PROOF_WANTED ? 200 : 202, &d, also);
}

void api_domain_delete(struct exchange *x)
{
	struct err e = {0};

	if (store_domain_del(x->api->config.store, x->app.id, x->arg[0], &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	apps_changed(x);
	api_answer_empty(x, 204);
}
