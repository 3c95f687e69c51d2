/* The table of routes and its matching.  Layer web, control process. */
#include "web/api/route.h"

#include "base/own.h"

#include <errno.h>
#include <string.h>

#define OPT (API_BODY | API_BODY_OPTIONAL)

const struct api_route api_routes[] = {
	{"GET", "/healthz", API_ANY, API_COOKIE_FREE, api_healthz, "This process answers", NULL, "Status"},
	{"GET", "/readyz", API_ANY, API_COOKIE_FREE, api_readyz, "The node can do its work", NULL, "Status"},
	{"GET", "/version", API_ANY, API_COOKIE_FREE, api_version, "Version, commit and node", NULL, "Version"},
	{"GET", "/metrics", API_READER | API_NODE, 0, api_metrics, "Prometheus text; of the own tenant, or of the node",
	 NULL, "text"},
	{"GET", "/v1/openapi.json", API_ANY, API_COOKIE_FREE, api_openapi_get, "This document", NULL, "Object"},
	{"GET", "/v1/whoami", API_READER | API_NODE, 0, api_whoami, "Role and tenant of the token", NULL, "Who"},
	{"POST", "/v1/session", API_ANY, API_COOKIE_FREE | API_BODY, api_session_post, "Log in: token to cookie",
	 "SessionNew", NULL},
	{"DELETE", "/v1/session", API_ANY, API_COOKIE_FREE, api_session_delete, "Log out", NULL, NULL},

	{"GET", "/v1/plans", API_READER, 0, api_plans_list, "List plans", NULL, "Plans"},
	{"POST", "/v1/plans", API_OPERATOR, API_BODY, api_plans_post, "Make a plan", "PlanNew", "Plan"},
	{"GET", "/v1/plans/{plan}", API_READER, 0, api_plan_get, "A plan", NULL, "Plan"},
	{"PATCH", "/v1/plans/{plan}", API_OPERATOR, API_BODY, api_plan_patch,
	 "Change a plan and with it the tenants on it", "PlanChange", "Plan"},
	{"DELETE", "/v1/plans/{plan}", API_OPERATOR, 0, api_plan_delete, "Remove a plan that no tenant is on", NULL,
	 NULL},

	{"GET", "/v1/tenants", API_OPERATOR, 0, api_tenants_list, "List tenants", NULL, "Tenants"},
	{"POST", "/v1/tenants", API_OPERATOR, API_BODY, api_tenants_post, "Make a tenant", "TenantNew", "Tenant"},
	{"GET", "/v1/tenants/{t}", API_READER, 0, api_tenant_get, "A tenant, its quota and what it uses", NULL,
	 "Tenant"},
	{"PATCH", "/v1/tenants/{t}", API_OPERATOR, API_BODY, api_tenant_patch, "Change a tenant's plan or quota",
	 "TenantChange", "Tenant"},
	{"DELETE", "/v1/tenants/{t}", API_OPERATOR, 0, api_tenant_delete, "Remove a tenant without apps", NULL, NULL},
	{"GET", "/v1/tenants/{t}/quota", API_READER, 0, api_quota_get, "A tenant's quota", NULL, "Quota"},
	{"PUT", "/v1/tenants/{t}/quota", API_OPERATOR, API_BODY, api_quota_put, "Set a tenant's quota", "Quota",
	 "QuotaSet"},
	{"GET", "/v1/tenants/{t}/usage", API_READER, 0, api_usage_get, "Usage per app and hour", NULL, "Usage"},
	{"GET", "/v1/tenants/{t}/tokens", API_ADMIN, 0, api_tokens_list, "List a tenant's tokens", NULL, "Tokens"},
	{"POST", "/v1/tenants/{t}/tokens", API_ADMIN, API_BODY | API_SECRET, api_tokens_post, "Make a token",
	 "TokenNew", "TokenMade"},
	{"DELETE", "/v1/tenants/{t}/tokens/{id}", API_ADMIN, 0, api_tokens_delete, "Revoke a token", NULL, NULL},
	{"GET", "/v1/tokens", API_OPERATOR, 0, api_tokens_list, "List the node's tokens", NULL, "Tokens"},
	{"POST", "/v1/tokens", API_OPERATOR, API_BODY | API_SECRET, api_tokens_post,
	 "Make an operator's or fleet token", "TokenNew", "TokenMade"},
	{"DELETE", "/v1/tokens/{id}", API_OPERATOR, 0, api_tokens_delete, "Revoke a token of the node", NULL, NULL},

	{"GET", "/v1/apps", API_READER, 0, api_apps_list, "List apps", NULL, "Apps"},
	{"POST", "/v1/apps", API_DEPLOYER, API_BODY, api_apps_post, "Make an app", "AppNew", "App"},
	{"GET", "/v1/apps/{a}", API_READER, 0, api_app_get, "An app", NULL, "App"},
	{"PATCH", "/v1/apps/{a}", API_DEPLOYER, API_BODY, api_app_patch, "Change limits, profile, egress, pause",
	 "AppChange", "App"},
	{"DELETE", "/v1/apps/{a}", API_ADMIN, 0, api_app_delete, "Remove an app and all it has", NULL, NULL},
	{"GET", "/v1/apps/{a}/builds", API_READER, 0, api_builds_list, "List builds, newest first", NULL, "Builds"},
	{"POST", "/v1/apps/{a}/builds", API_DEPLOYER, API_STREAM, api_builds_post,
	 "Deploy a source tarball; the answer is the build's log", "binary", "ndjson"},
	{"GET", "/v1/apps/{a}/builds/{id}", API_READER, 0, api_build_get, "A build", NULL, "Build"},
	{"GET", "/v1/apps/{a}/builds/{id}/log", API_READER, 0, api_build_log, "A build's log", NULL, "text"},
	{"GET", "/v1/apps/{a}/releases", API_READER, 0, api_releases_list, "List releases, newest first", NULL,
	 "Releases"},
	{"GET", "/v1/apps/{a}/releases/{version}", API_READER, 0, api_release_get, "A release", NULL, "Release"},
	{"POST", "/v1/apps/{a}/rollback", API_DEPLOYER, OPT, api_rollback, "Go back to an earlier release", "Rollback",
	 "Release"},
	{"GET", "/v1/apps/{a}/config", API_DEPLOYER, 0, api_config_get, "Config vars", NULL, "Config"},
	{"PATCH", "/v1/apps/{a}/config", API_DEPLOYER, API_BODY, api_config_patch, "Set config vars; null removes one",
	 "ConfigChange", "Config"},
	{"GET", "/v1/apps/{a}/formation", API_READER, 0, api_formation_get, "How many instances of each type", NULL,
	 "Formation"},
	{"PUT", "/v1/apps/{a}/formation", API_DEPLOYER, API_BODY, api_formation_put,
	 "Scale; types not named keep their count", "Formation", "Formation"},
	{"GET", "/v1/apps/{a}/instances", API_READER, 0, api_instances_list, "List instances", NULL, "Instances"},
	{"POST", "/v1/apps/{a}/restart", API_DEPLOYER, OPT, api_restart, "Replace all instances, new ones first",
	 "Empty", "Release"},
	{"DELETE", "/v1/apps/{a}/instances/{id}", API_DEPLOYER, 0, api_instance_delete,
	 "Stop one instance; it is replaced", NULL, NULL},
	{"GET", "/v1/apps/{a}/domains", API_READER, 0, api_domains_list, "List own domains", NULL, "Domains"},
	{"POST", "/v1/apps/{a}/domains", API_DEPLOYER, API_BODY, api_domains_post, "Add a domain", "DomainNew",
	 "Domain"},
	{"POST", "/v1/apps/{a}/domains/{host}/verify", API_DEPLOYER, OPT, api_domain_verify,
	 "Look for the proof that a domain is the tenant's; accept: the operator's word", "DomainVerify", "Domain"},
	{"DELETE", "/v1/apps/{a}/domains/{host}", API_DEPLOYER, 0, api_domain_delete, "Remove a domain", NULL, NULL},
	{"GET", "/v1/apps/{a}/front", API_READER, 0, api_front_get,
	 "Maintenance, sticky clients, basic auth, addresses and limits of the front door", NULL, "Front"},
	{"PATCH", "/v1/apps/{a}/front", API_DEPLOYER, API_BODY | API_SECRET, api_front_patch,
	 "Change the front door; a user's password null removes the user, auth null all of them", "FrontChange",
	 "Front"},
	{"GET", "/v1/apps/{a}/routes", API_READER, 0, api_routes_list, "Paths that lead to other apps", NULL,
	 "PathRoutes"},
	{"POST", "/v1/apps/{a}/routes", API_DEPLOYER, API_BODY, api_routes_post,
	 "Let a path prefix lead to another app of the tenant", "PathRoute", "PathRoute"},
	{"DELETE", "/v1/apps/{a}/routes", API_DEPLOYER, 0, api_routes_delete, "Remove the route of ?path=", NULL, NULL},
	{"GET", "/v1/apps/{a}/canary", API_READER, 0, api_canary_get, "The release that serves a part of the requests",
	 NULL, "Canary"},
	{"PUT", "/v1/apps/{a}/canary", API_DEPLOYER, API_BODY, api_canary_put,
	 "Let a release, or the next that is deployed, serve a part of the requests", "Canary", "Canary"},
	{"POST", "/v1/apps/{a}/canary/promote", API_DEPLOYER, OPT, api_canary_promote,
	 "Roll the canary out as the app's release", "Empty", "Release"},
	{"DELETE", "/v1/apps/{a}/canary", API_DEPLOYER, 0, api_canary_delete, "Let the live release serve alone", NULL,
	 NULL},
	{"GET", "/v1/apps/{a}/certificates", API_READER, 0, api_certificates_list, "List own certificates", NULL,
	 "Certificates"},
	{"PUT", "/v1/apps/{a}/certificates", API_DEPLOYER, API_BODY, api_certificates_put,
	 "Add a certificate; one for the same names is replaced", "CertificateNew", "Certificate"},
	{"POST", "/v1/apps/{a}/certificates/renew", API_DEPLOYER, API_BODY | API_BODY_OPTIONAL, api_certificates_renew,
	 "Order certificates anew, for one host or all", "CertificateRenew", "CertificateHosts"},
	{"DELETE", "/v1/apps/{a}/certificates/{id}", API_DEPLOYER, 0, api_certificate_delete, "Remove a certificate",
	 NULL, NULL},
	{"GET", "/v1/apps/{a}/logs", API_READER, 0, api_logs_get, "Past output, and what comes with follow=1", NULL,
	 "text"},
	{"GET", "/v1/apps/{a}/events", API_READER, 0, api_events_get, "Events of an app", NULL, "Events"},
	{"GET", "/v1/events", API_READER | API_FLEET, 0, api_events_get, "Events of the tenant, or of the node", NULL,
	 "Events"},
	{"GET", "/v1/apps/{a}/metrics", API_READER, 0, api_app_history, "Memory, CPU and requests over time", NULL,
	 "History"},
	{"GET", "/v1/apps/{a}/latency", API_READER, 0, api_app_latency,
	 "How long requests took and how they ended, of the last five minutes and in all", NULL, "Latency"},
	{"GET", "/v1/apps/{a}/talkers", API_READER, 0, api_app_talkers,
	 "Who makes the load: counted for ?for=5s by ?by=requests|bytes|time, ?limit= names of each kind", NULL,
	 "Talkers"},
	{"POST", "/v1/apps/{a}/runs", API_DEPLOYER, API_BODY, api_runs_post, "Run a command once", "RunNew", "ndjson"},

	{"GET", "/v1/node", API_NODE, 0, api_node_get, "The node", NULL, "Node"},
	{"GET", "/v1/node/metrics", API_NODE, 0, api_node_history, "The host's memory, CPU and requests over time",
	 NULL, "History"},
	{"GET", "/v1/node/certificates", API_OPERATOR, 0, api_node_certificates,
	 "Certificates of the node and all apps that end ?within=30d, the first to end first", NULL,
	 "NodeCertificates"},
	{"GET", "/v1/node/talkers", API_OPERATOR, 0, api_node_talkers,
	 "Who makes the load, by app, tenant, client and host", NULL, "Talkers"},
	{"GET", "/v1/node/state", API_NODE, 0, api_node_state, "Node and apps; waits for a change with since and wait",
	 NULL, "State"},
	{"PUT", "/v1/node/eligibility", API_NODE, API_BODY, api_node_eligibility, "May new apps come here",
	 "Eligibility", "Eligibility"},
	{"POST", "/v1/node/drain", API_NODE, OPT, api_node_drain, "Stop every app here", "Epoch", "Eligibility"},
	{"POST", "/v1/node/work", API_FLEET, API_BODY, api_node_work, "Assign work; answers what was refused", "Work",
	 "WorkDone"},
	{"POST", "/v1/node/fsck", API_OPERATOR, OPT, api_node_fsck,
	 "Compare database, disk, processes and kernel; mend with repair", "Fsck", "ndjson"},
	{"POST", "/v1/node/certificates/renew", API_OPERATOR, OPT, api_node_certificates_renew,
	 "Order the certificate of the control name anew", "Empty", "CertificateHosts"},
	{"GET", "/v1/stats/summary", API_NODE, 0, api_summary_get, "Figures in the kubelet's shape", NULL, "Object"},

	{"GET", "/git/{a}.git/info/refs", API_READER, API_BASIC | API_STREAM, api_git_refs, "git: what is there", NULL,
	 "binary"},
	{"POST", "/git/{a}.git/git-upload-pack", API_READER, API_BASIC | API_STREAM, api_git_service, "git fetch",
	 "binary", "binary"},
	{"POST", "/git/{a}.git/git-receive-pack", API_DEPLOYER, API_BASIC | API_STREAM, api_git_service,
	 "git push: deploys main", "binary", "binary"},
	{"GET", "/*", API_ANY, API_COOKIE_FREE, api_dashboard_get, "The dashboard", NULL, "binary"},
};
const size_t api_routes_count = ARRAY_LEN(api_routes);

#define PARTS 8

/* Compares one pattern with the parts; fills what its variables stand for. */
static bool route_fits(const char *pattern, char *const *parts, unsigned count, const char **tenant, const char **app,
		       const char **arg)
{
	unsigned i = 0, args = 0;

	for (const char *p = pattern; *p == '/'; i++) {
		size_t n = strcspn(++p, "/");
		const char *part = i < count ? parts[i] : NULL;
		if (!part)
			return false;
		if (*p != '{') {
			if (strlen(part) != n || strncmp(part, p, n) != 0)
				return false;
		} else {
			size_t name = strcspn(p, "}") + 1, suffix = n - name, len = strlen(part);
			if (len <= suffix || strncmp(part + len - suffix, p + name, suffix) != 0)
				return false;
			if (strncmp(p, "{t}", 3) == 0)
				*tenant = part;
			else if (strncmp(p, "{a}", 3) == 0)
				*app = part;
			else if (args < EXCHANGE_ARGS)
				arg[args++] = part;
		}
		p += n;
	}
	return i == count;
}

static bool route_method(const struct api_route *r, const char *method)
{
	return strcmp(r->method, method) == 0 || (strcmp(method, "HEAD") == 0 && strcmp(r->method, "GET") == 0);
}

/* Splits at '/' and decodes each part; the count, or -1 when a part is malformed or would hide a '/'. */
static int route_split(char *path, char *parts[PARTS])
{
	int count = 0;
	char *next;

	for (char *p = path; p; p = next) {
		next = strchr(p, '/');
		if (next)
			*next++ = 0;
		if (count == PARTS)
			return PARTS + 1;
		if (!api_unescape(p) || strchr(p, '/'))
			return -1;
		parts[count++] = p;
	}
	return count;
}

int api_route_match(struct exchange *x, const char **tenant, const char **app, char allow[64])
{
	char *parts[PARTS];
	int count;

	*allow = 0;
	if (x->path[0] != '/') /* OPTIONS *, and what only a proxy may be asked */
		return -EINVAL;
	x->parts = strdup(x->path + 1);
	if (!x->parts)
		return -ENOENT;
	count = route_split(x->parts, parts);
	if (count < 0)
		return -EINVAL;
	for (size_t i = 0; i + 1 < api_routes_count; i++) {
		const struct api_route *r = &api_routes[i];
		const char *t = NULL, *a = NULL, *arg[EXCHANGE_ARGS] = {0};
		if (count > PARTS || !route_fits(r->pattern, parts, (unsigned)count, &t, &a, arg))
			continue;
		if (route_method(r, x->method)) {
			x->route = r;
			*tenant = t;
			*app = a;
			memcpy(x->arg, arg, sizeof arg);
			if (a && r->pattern[1] == 'g') { /* "shop.git" */
				size_t n = strlen(a) - 4;
				x->parts[a - x->parts + (ptrdiff_t)n] = 0;
			}
			return 0;
		}
		strncat(allow, *allow ? ", " : "", 63 - strlen(allow));
		strncat(allow, r->method, 63 - strlen(allow));
	}
	if (*allow)
		return -EPERM;
	if (strncmp(x->path, "/v1/", 4) == 0 || strncmp(x->path, "/git/", 5) == 0)
		return -ENOENT;
	x->route = &api_routes[api_routes_count - 1];
	if (route_method(x->route, x->method))
		return 0;
	x->route = NULL;
	memcpy(allow, "GET", 4);
	return -EPERM;
}
