/* Domains of an app besides its own name.  Layer web, control process. */
#include "base/parse.h"
#include "web/api/apps.h"
#include "web/api/fields.h"
#include "web/api/route.h"

#include <errno.h>
#include <string.h>

static int domains_row(void *arg, const char *host, const char *value)
{
	(void)value;
	json_array_append_new(arg, json_pack("{s:s}", "host", host));
	return 0;
}

void api_domains_list(struct exchange *x)
{
	json_t *items = json_array();
	struct err e = {0};

	if (store_domain_list(x->api->config.store, x->app.id, domains_row, items, &e) < 0) {
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

static int domains_count(void *arg, const char *host, const char *value)
{
	(void)host;
	(void)value;
	++*(unsigned *)arg;
	return 0;
}

void api_domains_post(struct exchange *x)
{
	static const char *const keys[] = {"host", NULL};
	struct store *s = x->api->config.store;
	const char *host = NULL;
	struct err e = {0};
	unsigned count = 0;

	if (json_only(x->json, keys, &e) < 0 || json_get_str(x->json, "host", true, LIMIT_HOST, &host, &e) < 0 ||
	    domain_ok(x->api->config.settings, host, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	store_domain_list(s, x->app.id, domains_count, &count, NULL);
	if (count >= LIMIT_DOMAINS) {
		api_answer_problem(x, 403, "host", "host: this app has %d domains, the most there may be",
				   LIMIT_DOMAINS);
		return;
	}
	if (store_domain_add(s, x->app.id, host, &e) < 0) {
		if (e.code == EEXIST)
			err_field(&e, EEXIST, "host", "host: \"%.64s\" is taken on this node", host);
		api_answer_err(x, &e);
		return;
	}
	apps_changed(x);
	api_answer_json(x, 201, json_pack("{s:s}", "host", host));
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
