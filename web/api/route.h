/* The one table of routes: who may do what, by which handler, and how it is described.  Layer web, control process. */
#ifndef TULOU_WEB_API_ROUTE_H
#define TULOU_WEB_API_ROUTE_H

#include "web/api/exchange.h"

enum api_flags {
	API_BODY = 1,	       /* takes a JSON object */
	API_BODY_OPTIONAL = 2, /* the object may be left out */
	API_STREAM = 4,	       /* takes any body as a stream: the handler runs at the head */
	API_COOKIE_FREE = 8,   /* needs no token at all */
	API_BASIC = 16,	       /* 401 asks for Basic (git) */
	API_SECRET = 32,       /* the answer shows a secret: never kept, never cached */
};

/* Bits of enum model_role. */
#define API_ROLE(r) (1u << (r))
#define API_ANY 0u /* no token needed */
#define API_OPERATOR API_ROLE(MODEL_ROLE_OPERATOR)
#define API_FLEET API_ROLE(MODEL_ROLE_FLEET)
#define API_NODE (API_OPERATOR | API_FLEET)
#define API_ADMIN (API_ROLE(MODEL_ROLE_ADMIN) | API_OPERATOR)
#define API_DEPLOYER (API_ROLE(MODEL_ROLE_DEPLOYER) | API_ADMIN)
#define API_READER (API_ROLE(MODEL_ROLE_READER) | API_DEPLOYER)

struct api_route {
	const char *method;  /* "GET" also serves HEAD */
	const char *pattern; /* {t} tenant, {a} app, any other {name} becomes x->arg[] in order */
	unsigned roles;	     /* API_ANY, or who may */
	unsigned flags;
	void (*handler)(struct exchange *x);
	const char *summary;
	const char *request, *response; /* schemas of openapi.c, NULL = none */
};

extern const struct api_route api_routes[];
extern const size_t api_routes_count;

/* Splits x->path by the table: fills x->route, x->arg, and the names of tenant and app (borrowed from x->path).
 * 0; -ENOENT; -EPERM when the path exists with other methods, listed in `allow` (comma separated). */
int api_route_match(struct exchange *x, const char **tenant, const char **app, char allow[64]);

/* The OpenAPI 3.1 document of the table: a new reference. */
json_t *api_openapi(const struct api *a);

/* Handlers, one file per resource. */
/* clang-format off */
#define API_HANDLERS(H) \
	H(api_healthz) H(api_readyz) H(api_version) H(api_metrics) H(api_openapi_get) H(api_whoami) \
	H(api_session_post) H(api_session_delete) H(api_plans_list) H(api_plans_post) H(api_plan_get) \
	H(api_plan_patch) H(api_plan_delete) H(api_tenants_list) H(api_tenants_post) \
	H(api_tenant_get) H(api_tenant_patch) H(api_tenant_delete) H(api_quota_get) H(api_quota_put) \
	H(api_usage_get) H(api_tokens_list) H(api_tokens_post) H(api_tokens_delete) H(api_apps_list) \
	H(api_apps_post) H(api_app_get) H(api_app_patch) H(api_app_delete) H(api_builds_list) \
	H(api_builds_post) H(api_build_get) H(api_build_log) H(api_releases_list) H(api_release_get) \
	H(api_rollback) H(api_restart) H(api_config_get) H(api_config_patch) H(api_formation_get) \
	H(api_formation_put) H(api_instances_list) H(api_instance_delete) H(api_domains_list) \
	H(api_domains_post) H(api_domain_delete) H(api_domain_verify) H(api_canary_get) H(api_canary_put) H(api_canary_promote) \
	H(api_canary_delete) H(api_front_get) H(api_front_patch) \
	H(api_routes_list) H(api_routes_post) H(api_routes_delete) H(api_certificates_list) H(api_certificates_put) \
	H(api_certificates_renew) H(api_certificate_delete) H(api_logs_get) H(api_events_get) H(api_app_history) \
	H(api_runs_post) H(api_node_certificates_renew) H(api_node_get) H(api_node_history) H(api_node_state) H(api_node_eligibility) \
	H(api_node_drain) H(api_node_fsck) H(api_node_work) H(api_summary_get) H(api_git_refs) H(api_git_service) \
	H(api_dashboard_get) H(api_app_talkers) H(api_app_latency) H(api_node_certificates) H(api_node_talkers)
/* clang-format on */
#define API_DECLARE(name) void name(struct exchange *x);
API_HANDLERS(API_DECLARE)
#undef API_DECLARE

#endif
