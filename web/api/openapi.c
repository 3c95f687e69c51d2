/* The OpenAPI document, made from the table of routes and the schemas below.  Layer web, control process. */
#include "base/own.h"
#include "web/api/route.h"

#include <string.h>

#ifndef TULOU_VERSION
#define TULOU_VERSION "0.0.0"
#endif

#define STR "{\"type\":\"string\"}"
#define INT "{\"type\":\"integer\"}"
#define NUM "{\"type\":\"number\"}"
#define BOOL "{\"type\":\"boolean\"}"
#define TIME "{\"type\":[\"string\",\"null\"],\"format\":\"date-time\"}"
#define BYTES "{\"type\":[\"integer\",\"string\"],\"description\":\"bytes: a number, or like 256MiB\"}"
#define REF(name) "{\"$ref\":\"#/components/schemas/" name "\"}"
#define OBJ(required, properties)                                                                                      \
	"{\"type\":\"object\",\"required\":[" required "],\"properties\":{" properties                                 \
	"},\"additionalProperties\":false}"
#define P(name, schema) "\"" name "\":" schema
#define LIST(item)                                                                                                     \
	"{\"type\":\"object\",\"required\":[\"items\",\"next\"],\"properties\":{\"items\":{\"type\":\"array\","        \
	"\"items\":" item "},\"next\":{\"type\":[\"string\",\"null\"]}}}"
#define ARRAY(item) "{\"type\":\"array\",\"items\":" item "}"
#define ANY "{\"type\":\"object\"}"
#define ORNULL "{\"type\":[\"integer\",\"string\",\"null\"]}"
#define NULLABLE "{\"type\":[\"string\",\"null\"]}"
/* What plans and tenants have in common. */
#define POLICY                                                                                                         \
	P("quota", REF("Quota"))                                                                                       \
	"," P("profile", REF("Profile")) "," P("private_layers", BOOL) "," P("egress", REF("Egress"))
/* What a new quota or plan did to tenants and apps. */
#define LOWERED                                                                                                        \
	P("lowered", REF("Lowered"))                                                                                   \
	"," P("lowered_more", INT) "," P("raised", REF("Lowered")) "," P("raised_more", INT) "," P(                    \
		"above", REF("Above")) "," P("above_more", INT) "," P("over", REF("Over")) "," P("over_more", INT)
#define MAP(value) "{\"type\":\"object\",\"additionalProperties\":" value "}"

static const struct {
	const char *name, *schema;
} schemas[] = {
	/* A schema a paragraph: what the formatter makes of these is not for people. */
	/* clang-format off */
	{"Status", OBJ("", P("status", STR))},
	{"Version", OBJ("", P("version", STR) "," P("commit", STR) "," P("node", STR))},
	{"Object", ANY},
	{"Empty", OBJ("", "")},
	{"Problem", "{\"type\":\"object\",\"required\":[\"type\",\"title\",\"status\",\"detail\"],\"properties\":{" P("type", STR) ","
		P("title", STR) "," P("status", INT) "," P("detail", STR) "," P("field", STR) "}}"},
	{"Who", OBJ("\"role\"", P("role", STR) "," P("tenant", "{\"type\":[\"string\",\"null\"]}") ","
		P("token_id", INT))},
	{"SessionNew", OBJ("\"token\"", P("token", STR))},
	{"Egress", OBJ("\"mode\"", P("mode", "{\"type\":\"string\",\"enum\":[\"none\",\"public\",\"list\"]}") ","
		P("allow", ARRAY(STR)))},
	{"EgressEffective", OBJ("\"mode\"", P("mode", "{\"type\":\"string\",\"enum\":[\"none\",\"public\",\"list\"]}") ","
		P("allow", ARRAY(STR)) "," P("why", NULLABLE))},
	{"Profile", "{\"type\":\"string\",\"enum\":[\"default\",\"strict\"]}"},
	{"Plan", OBJ("", P("name", STR) "," P("created_at", TIME) "," POLICY "," P("limits", REF("Limits")) ","
		P("tenants", INT) "," P("clamped", REF("Clamped")) "," LOWERED)},
	{"Plans", LIST(REF("Plan"))},
	{"PlanNew", OBJ("\"name\"", P("name", STR) "," POLICY "," P("limits", REF("Limits")))},
	{"PlanChange", OBJ("", POLICY "," P("limits", REF("Limits")))},
	{"Tenant", OBJ("", P("name", STR) "," P("created_at", TIME) "," P("plan", NULLABLE) ","
		P("own", ARRAY(STR)) "," POLICY "," P("used", REF("Quota")) "," P("usage", ANY) "," LOWERED)},
	{"Lowered", ARRAY(OBJ("\"app\"", P("app", STR) "," P("tenant", STR) "," P("from", REF("Limits")) ","
		P("to", REF("Limits"))))},
	{"Above", ARRAY(OBJ("\"app\"", P("app", STR) "," P("tenant", STR) "," P("limits", REF("Limits")) ","
		P("quota", REF("Quota"))))},
	{"Over", ARRAY(OBJ("\"tenant\"", P("tenant", STR) "," P("committed", REF("Quota")) "," P("limit", REF("Quota"))))},
	{"Clamped", OBJ("", P("limits", REF("Limits")) "," P("quota", REF("Quota")))},
	{"QuotaSet", "{\"type\":\"object\",\"properties\":{" LOWERED "}}"},
	{"Tenants", LIST(REF("Tenant"))},
	{"TenantNew", OBJ("\"name\"", P("name", STR) "," P("plan", NULLABLE) "," POLICY)},
	{"TenantChange", OBJ("", P("plan", NULLABLE) "," POLICY)},
	{"Usage", LIST(OBJ("", P("app", STR) "," P("hour", TIME) "," P("cpu_seconds", NUM) ","
		P("memory_byte_seconds", INT) "," P("requests", INT) "," P("bytes_in", INT) ","
		P("bytes_out", INT)))},
	{"Tokens", LIST(OBJ("", P("id", INT) "," P("role", STR) "," P("name", STR) "," P("hint", STR) ","
		P("created_at", TIME) "," P("used_at", TIME)))},
	{"TokenNew", OBJ("\"role\"", P("role", STR) "," P("name", STR))},
	{"TokenMade", OBJ("", P("id", INT) "," P("role", STR) "," P("name", STR) "," P("token", STR))},
	{"ReleaseRef", "{\"type\":[\"object\",\"null\"],\"properties\":{" P("version", INT) ","
		P("created_at", TIME) "," P("note", STR) "}}"},
	{"Formation", MAP(INT)},
	{"App", OBJ("", P("name", STR) "," P("tenant", STR) "," P("url", STR) "," P("created_at", TIME) ","
		P("state", STR) "," P("empty", NULLABLE) "," P("release", REF("ReleaseRef")) "," P("candidate", REF("ReleaseRef")) ","
		P("limits", REF("Limits")) "," P("limits_own", BOOL) "," P("profile", REF("Profile")) ","
		P("egress", REF("Egress")) "," P("egress_effective", REF("EgressEffective")) ","
		P("health_path", STR) "," P("health", REF("Health")) "," P("paused", BOOL) "," P("https", STR) "," P("hsts", INT) ","
		P("serving", REF("Serving")) "," P("formation", REF("Formation")) "," P("stats", REF("AppStats")) ","
		P("git_url", STR) "," P("note", STR))},
	{"Health", OBJ("", P("check", "{\"type\":\"string\",\"enum\":[\"http\",\"h2c\",\"unix\",\"tcp\"]}") ","
		P("path", NULLABLE) "," P("from", "{\"type\":[\"string\",\"null\"],\"enum\":[\"app\",\"release\",null]}") ","
		P("interval_seconds", "{\"type\":[\"number\",\"null\"]}") "," P("failures", INT))},
	{"AppStats", OBJ("", P("state", STR) "," P("instances_running", INT) "," P("instances_healthy", INT) ","
		P("instances_wanted", INT) "," P("waiting", NULLABLE) "," P("memory_bytes", INT) ","
		P("cpu_cores", NUM) "," P("cpu_seconds", NUM) "," P("requests_total", INT) ","
		P("requests_per_second", NUM) "," P("p50_ms", NUM) "," P("p99_ms", NUM) ","
		P("bytes_in", INT) "," P("bytes_out", INT) "," P("upstream_errors", INT) "," P("waited", INT) ","
		P("status", MAP(INT)) "," P("refused", MAP(INT)))},
	{"Serving", OBJ("", P("concurrency", INT) "," P("drain_seconds", INT) "," P("rollout", STR) ","
		P("access_log", STR) "," P("hold", BOOL))},
	{"Apps", LIST(REF("App"))},
	{"AppNew", OBJ("\"name\"", P("name", STR) "," P("tenant", STR) "," P("limits", REF("Limits")) ","
		P("profile", REF("Profile")) "," P("egress", REF("Egress")))},
	{"AppChange", OBJ("", P("limits", "{\"anyOf\":[" REF("Limits") ",{\"type\":\"null\"}]}") ","
		P("profile", REF("Profile")) "," P("egress", REF("Egress")) "," P("paused", BOOL) ","
		P("health_path", STR) "," P("https", STR) "," P("hsts", INT) "," P("serving", REF("Serving")))},
	{"Release", OBJ("", P("version", INT) "," P("state", STR) "," P("note", STR) "," P("build", INT) ","
		P("types", MAP(STR)) "," P("created_at", TIME))},
	{"Releases", LIST(REF("Release"))},
	{"Rollback", OBJ("", P("version", INT))},
	{"Build", OBJ("", P("id", INT) "," P("state", STR) "," P("source", STR) "," P("commit", STR) ","
		P("buildpack", STR) "," P("error", STR) "," P("size_bytes", INT) "," P("created_at", TIME) ","
		P("finished_at", TIME))},
	{"Builds", LIST(REF("Build"))},
	{"Config", MAP(STR)},
	{"ConfigChange", MAP("{\"type\":[\"string\",\"null\"]}")},
	{"Instances", "{\"type\":\"object\",\"required\":[\"items\",\"next\"],\"properties\":{"
		P("items", ARRAY(ANY)) "," P("next", NULLABLE) "," P("waiting", NULLABLE) "," P("held", BOOL) "}}"},
	{"DomainNew", OBJ("\"host\"", P("host", STR))},
	{"DomainVerify", OBJ("", P("accept", BOOL))},
	{"Domain", OBJ("", P("host", STR) "," P("state", STR) "," P("proof", NULLABLE) ","
		P("checked_at", TIME) "," P("verified_at", TIME) "," P("error", NULLABLE) ","
		P("record", ANY) "," P("url", STR) "," P("also", ARRAY(OBJ("", P("app", STR) "," P("tenant", STR) ","
		P("state", STR)))))},
	{"Domains", LIST(REF("Domain"))},
	{"FrontLimits", OBJ("", P("requests_per_second", ORNULL) "," P("burst", ORNULL) ","
		P("client_requests_per_second", ORNULL) "," P("client_burst", ORNULL) ","
		P("concurrent", ORNULL) "," P("body_bytes", ORNULL) "," P("seconds", ORNULL))},
	{"Maintenance", OBJ("", P("on", BOOL) "," P("text", STR) "," P("retry_after", INT) ","
		P("allow", ARRAY(STR)))},
	{"Front", OBJ("", P("maintenance", REF("Maintenance")) "," P("sticky", BOOL) ","
		P("auth", "{\"type\":[\"object\",\"null\"]}") "," P("allow", ARRAY(STR)) ","
		P("limits", REF("FrontLimits")))},
	{"FrontChange", OBJ("", P("maintenance", REF("Maintenance")) "," P("sticky", BOOL) ","
		P("auth", "{\"type\":[\"object\",\"null\"]}") "," P("allow", ARRAY(STR)) ","
		P("limits", REF("FrontLimits")))},
	{"Canary", OBJ("", P("version", "{\"type\":[\"integer\",\"string\",\"null\"]}") ","
		P("weight", INT) "," P("header", STR) "," P("instances", INT) ","
		P("state", "{\"type\":[\"string\",\"null\"],\"enum\":[\"waiting\",\"starting\",\"serving\",\"promoting\",null]}") ","
		P("stats", "{\"type\":[\"object\",\"null\"]}"))},
	{"PathRoute", OBJ("\"path\",\"app\"", P("path", STR) "," P("app", NULLABLE) "," P("strip", BOOL))},
	{"PathRoutes", LIST(REF("PathRoute"))},
	{"CertificateRenew", OBJ("", P("host", STR))},
	{"CertificateHosts", OBJ("", P("hosts", ARRAY(OBJ("", P("host", STR) "," P("state", STR) ","
		P("origin", STR) "," P("certificate", STR) "," P("not_after", TIME) "," P("next_try", TIME) ","
		P("error", STR)))))},
	{"CertificateNew", OBJ("\"certificate\",\"key\"", P("certificate", STR) "," P("key", STR))},
	{"Certificate", OBJ("", P("id", STR) "," P("names", ARRAY(STR)) "," P("covers", ARRAY(STR)) ","
		P("origin", STR) "," P("issuer", STR) "," P("kind", STR) "," P("sha256", STR) ","
		P("not_before", TIME) "," P("not_after", TIME) "," P("created_at", TIME) ","
		P("ocsp", REF("CertificateOcsp")))},
	{"CertificateOcsp", OBJ("", P("status", STR) "," P("stapled", BOOL) "," P("must_staple", BOOL) ","
		P("responder", STR) "," P("this_update", TIME) "," P("next_update", TIME) ","
		P("revoked_at", TIME) "," P("next_try", TIME) "," P("error", STR))},
	{"Certificates", LIST(REF("Certificate"))},
	{"NodeCertificates", LIST(ANY)},
	{"Quantiles", "{\"type\":[\"object\",\"null\"],\"properties\":{" P("count", INT) ","
		P("p50_ms", NUM) "," P("p95_ms", NUM) "," P("p99_ms", NUM) "}}"},
	{"LatencyOf", OBJ("", P("seconds", INT) "," P("requests", INT) "," P("status", MAP(INT)) ","
		P("duration", REF("Quantiles")) "," P("upstream", REF("Quantiles")) ","
		P("queue", REF("Quantiles")))},
	{"Latency", OBJ("", P("recent", REF("LatencyOf")) "," P("total", REF("LatencyOf")) ","
		P("refused", MAP(INT)))},
	{"TalkerList", ARRAY(OBJ("\"name\"", P("name", STR) "," P("tenant", NULLABLE) ","
		P("requests", INT) "," P("bytes", INT) "," P("seconds", NUM) "," P("errors", INT) ","
		P("share", NUM) "," P("uncertain", NUM)))},
	{"Talkers", OBJ("\"by\",\"seconds\",\"requests\"", P("by", STR) "," P("seconds", NUM) ","
		P("requests", INT) "," P("bytes", INT) "," P("request_seconds", NUM) "," P("errors", INT) ","
		P("sampled", INT) "," P("workers", INT) "," P("workers_missing", INT) ","
		P("clients", REF("TalkerList")) "," P("paths", REF("TalkerList")) ","
		P("hosts", REF("TalkerList")) "," P("statuses", REF("TalkerList")) ","
		P("apps", REF("TalkerList")) "," P("tenants", REF("TalkerList")) ","
		P("agents", REF("TalkerList")))},
	{"Events", LIST(OBJ("", P("id", INT) "," P("time", TIME) "," P("kind", STR) "," P("tenant", STR) ","
		P("app", STR) "," P("instance", STR) "," P("text", STR)))},
	{"History", ANY},
	{"RunNew", OBJ("\"command\"", P("command", STR))},
	{"Node", ANY},
	{"State", "{\"type\":\"object\",\"properties\":{" P("generation", INT) "," P("node", REF("Node")) ","
		P("apps", "{\"type\":\"array\",\"items\":" ANY "}") "}}"},
	{"Epoch", OBJ("", P("epoch", INT))},
	{"Eligibility", OBJ("", P("eligible", BOOL) "," P("draining", BOOL) "," P("epoch", INT))},
	{"WorkItem", OBJ("\"op\"", P("op", STR) "," P("app", STR) "," P("formation", REF("Formation")))},
	{"Fsck", OBJ("", P("repair", BOOL))},
	{"Work", OBJ("\"epoch\",\"work\"", P("epoch", INT) "," P("work", ARRAY(REF("WorkItem"))))},
	{"WorkRefused", OBJ("", P("index", INT) "," P("reason", STR))},
	{"WorkDone", OBJ("", P("refused", ARRAY(REF("WorkRefused"))))},
	/* clang-format on */
};

/* "/v1/tenants/{t}/tokens/{id}" -> "{tenant}" spelled out, and one parameter each. */
static void openapi_path(const char *pattern, char out[128], json_t *parameters)
{
	size_t n = 0;

	for (const char *p = pattern; *p && n < 100; p++) {
		const char *name = p;
		size_t len;
		out[n++] = *p;
		if (*p != '{')
			continue;
		len = strcspn(++p, "}");
		name = strncmp(p, "t}", 2) == 0 ? "tenant" : strncmp(p, "a}", 2) == 0 ? "app" : NULL;
		n += (size_t)snprintf(out + n, 24, "%.*s", name ? 20 : (int)len, name ? name : p);
		json_array_append_new(parameters, json_pack("{s:o, s:s, s:b, s:{s:s}}", "name",
							    name ? json_string(name) : json_stringn(p, len), "in",
							    "path", "required", 1, "schema", "type", "string"));
		p += len;
		out[n++] = '}';
	}
	out[n] = 0;
}

static json_t *openapi_content(const char *schema)
{
	const char *type = strcmp(schema, "text") == 0	   ? "text/plain"
			   : strcmp(schema, "ndjson") == 0 ? "application/x-ndjson"
			   : strcmp(schema, "binary") == 0 ? "application/octet-stream"
							   : NULL;
	char ref[64];

	if (type)
		return json_pack("{s:{s:{s:s}}}", type, "schema", "type", "string");
	snprintf(ref, sizeof ref, "#/components/schemas/%s", schema);
	return json_pack("{s:{s:{s:s}}}", "application/json", "schema", "$ref", ref);
}

static json_t *openapi_operation(const struct api_route *r, json_t *parameters)
{
	json_t *op =
		json_pack("{s:s, s:O, s:o}", "summary", r->summary, "parameters", parameters, "x-roles", json_array());
	json_t *good = json_pack("{s:s}", "description", "done");
	json_t *problem = json_pack("{s:s, s:{s:{s:{s:s}}}}", "description", "refused", "content",
				    "application/problem+json", "schema", "$ref", "#/components/schemas/Problem");

	for (int role = 0; role < MODEL_ROLE_COUNT; role++)
		if (r->roles & API_ROLE(role))
			json_array_append_new(json_object_get(op, "x-roles"),
					      json_string(model_role_name((enum model_role)role)));
	if (r->response)
		json_object_set_new(good, "content", openapi_content(r->response));
	if (r->request)
		json_object_set_new(op, "requestBody",
				    json_pack("{s:b, s:o}", "required", !(r->flags & API_BODY_OPTIONAL), "content",
					      openapi_content(r->request)));
	json_object_set_new(op, "responses", json_pack("{s:o, s:o}", "2XX", good, "default", problem));
	if (r->flags & API_COOKIE_FREE)
		json_object_set_new(op, "security", json_array());
	return op;
}

/* The numbers of config/quota.h. */
static json_t *openapi_numbers(enum quota_of of)
{
	json_t *properties = json_object();
	const struct quota_key *k;

	for (unsigned i = 0; (k = quota_key(i)); i++)
		if (quota_has(k, of))
			json_object_set_new(properties, k->json,
					    json_loads(k->unit == QUOTA_CPU				 ? NUM
						       : k->unit == QUOTA_BYTES || k->unit == QUOTA_RATE ? BYTES
													 : INT,
						       0, NULL));
	return json_pack("{s:s, s:o, s:b}", "type", "object", "properties", properties, "additionalProperties", 0);
}

json_t *api_openapi(const struct api *a)
{
	json_t *paths = json_object(), *parts = json_object();

	for (size_t i = 0; i + 1 < api_routes_count; i++) {
		const struct api_route *r = &api_routes[i];
		OWN_JSON json_t *parameters = json_array();
		char path[128], method[8];
		json_t *item;
		openapi_path(r->pattern, path, parameters);
		item = json_object_get(paths, path);
		if (!item) {
			item = json_object();
			json_object_set_new(paths, path, item);
		}
		snprintf(method, sizeof method, "%s", r->method);
		for (char *c = method; *c; c++)
			*c = (char)(*c | 0x20);
		json_object_set_new(item, method, openapi_operation(r, parameters));
	}
	for (size_t i = 0; i < ARRAY_LEN(schemas); i++)
		json_object_set_new(parts, schemas[i].name, json_loads(schemas[i].schema, 0, NULL));
	json_object_set_new(parts, "Limits", openapi_numbers(QUOTA_OF_LIMITS));
	json_object_set_new(parts, "Quota", openapi_numbers(QUOTA_OF_TENANT));
	return json_pack("{s:s, s:{s:s, s:s, s:s}, s:o, s:{s:o, s:{s:{s:s, s:s}, s:{s:s, s:s}, s:{s:s, s:s, s:s}}}, "
			 "s:[{s:[]}, {s:[]}, {s:[]}]}",
			 "openapi", "3.1.0", "info", "title", "Tulou", "version", TULOU_VERSION, "description",
			 a->config.settings->node_name, "paths", paths, "components", "schemas", parts,
			 "securitySchemes", "bearer", "type", "http", "scheme", "bearer", "basic", "type", "http",
			 "scheme", "basic", "cookie", "type", "apiKey", "in", "cookie", "name", "tulou_session",
			 "security", "bearer", "basic", "cookie");
}
