/* Every route with every role, and README.md against the table. */
#include "tests/unit/test_api_client.h"
#include "tests/unit/test_api_fixture.h"
#include "web/api/route.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Fills a pattern's variables. */
static void path_of(const char *pattern, const char *tenant, const char *app, char out[256])
{
	size_t n = 0;

	for (const char *p = pattern; *p;) {
		if (*p != '{') {
			out[n++] = *p++;
			continue;
		}
		n += (size_t)snprintf(out + n, 256 - n, "%s",
				      strncmp(p, "{t}", 3) == 0	  ? tenant
				      : strncmp(p, "{a}", 3) == 0 ? app
								  : "999");
		p = strchr(p, '}') + 1;
	}
	out[n] = 0;
	if (strstr(pattern, "info/refs"))
		snprintf(out + n, 256 - n, "?service=git-upload-pack");
}

Test(api, every_route_with_every_role)
{
	struct fix *f = fix_start(false);
	const struct {
		enum model_role role;
		const char *token;
		const char *tenant, *app; /* whose things are asked for */
		bool own;
	} who[] = {
		{MODEL_ROLE_NONE, NULL, "acme", "shop", false},
		{MODEL_ROLE_NONE, "tul_wrong", "acme", "shop", false},
		{MODEL_ROLE_READER, f->reader, "acme", "shop", true},
		{MODEL_ROLE_DEPLOYER, f->deployer, "acme", "shop", true},
		{MODEL_ROLE_ADMIN, f->admin, "acme", "shop", true},
		{MODEL_ROLE_ADMIN, f->other, "acme", "shop", false},
		{MODEL_ROLE_FLEET, f->fleet, "acme", "shop", true},
		{MODEL_ROLE_OPERATOR, f->operator, "acme", "shop", true},
	};

	for (size_t i = 0; i + 1 < api_routes_count; i++) {
		const struct api_route *r = &api_routes[i];
		bool scoped = strstr(r->pattern, "{t}") || strstr(r->pattern, "{a}");
		for (size_t w = 0; w < sizeof who / sizeof *who; w++) {
			char path[256];
			int status;
			bool throttled = w == 1; /* many wrong tokens in a row: 429 after a while */
			/* What would succeed and change things is asked with a body that is refused later. */
			const char *body = r->flags & API_BODY ? "{\"no-such-field\":1}" : NULL;
			path_of(r->pattern, who[w].tenant, who[w].app, path);
			if (who[w].role == MODEL_ROLE_OPERATOR && strcmp(r->method, "DELETE") == 0 && !r->flags &&
			    !strstr(r->pattern, "999"))
				strncat(path, "?x=%",
					sizeof path - strlen(path) - 1); /* malformed query: nothing is deleted */
			if (who[w].role == MODEL_ROLE_ADMIN && strcmp(r->method, "DELETE") == 0 && who[w].own)
				strncat(path, "?x=%", sizeof path - strlen(path) - 1);
			status = fix_status(f, r->method, path, who[w].token, body);
			cr_assert_neq(status, 0, "%s %s: no answer", r->method, path);
			cr_assert_neq(status, 500, "%s %s as %zu", r->method, path, w);
			if (r->roles == API_ANY) {
				cr_assert(status != 401 && status != 403 && status != 404, "%s %s: %d", r->method, path,
					  status);
				continue;
			}
			if (strstr(path, "?x=%")) {
				cr_assert_eq(status, 400);
				continue;
			}
			if (who[w].role == MODEL_ROLE_NONE)
				cr_assert(status == 401 || (throttled && status == 429), "%s %s: %d", r->method, path,
					  status);
			else if (scoped && !who[w].own)
				cr_assert_eq(status, 404, "%s %s by another tenant: %d", r->method, path, status);
			else if (!(API_ROLE(who[w].role) & r->roles))
				cr_assert_eq(status, 403, "%s %s as %s: %d", r->method, path,
					     model_role_name(who[w].role), status);
			else
				cr_assert(status != 401 && status != 403, "%s %s as %s: %d", r->method, path,
					  model_role_name(who[w].role), status);
		}
	}
	fix_stop(f);
}

/* One cell of README.md's table: "GET/POST /v1/tokens, DELETE …/{id}" -> "GET /v1/tokens" and so on, a line each. */
static void readme_expand(char *cell, char *out, size_t cap)
{
	char methods[64] = "", base[128] = "", *next = NULL;

	for (char *item = strtok_r(cell, ",", &next); item; item = strtok_r(NULL, ",", &next)) {
		char path[160], *m, list[64], *save = NULL;
		while (*item == ' ')
			item++;
		if (isupper((unsigned char)*item)) {
			size_t n = strcspn(item, " ");
			snprintf(methods, sizeof methods, "%.*s", (int)n, item);
			item += n + 1;
		}
		item[strcspn(item, " ?`")] = 0;
		if (strncmp(item, "…", strlen("…")) == 0)
			snprintf(path, sizeof path, "%s%s", base, item + strlen("…"));
		else {
			snprintf(path, sizeof path, "%s", item);
			snprintf(base, sizeof base, "%s", item);
		}
		snprintf(list, sizeof list, "%s", methods);
		for (m = strtok_r(list, "/", &save); m; m = strtok_r(NULL, "/", &save)) {
			size_t n = strlen(out);
			snprintf(out + n, cap - n, "%s %s\n", m, path);
		}
	}
}

Test(api, readme_names_every_route)
{
	static char named[65536], line[4096];
	FILE *in = fopen("web/api/README.md", "r");
	unsigned count = 0;

	if (!in)
		cr_skip_test("run from the top of the tree");
	snprintf(named, sizeof named, "\n");
	while (fgets(line, sizeof line, in)) {
		char *bar;
		if (strncmp(line, "| GET", 5) && strncmp(line, "| POST", 6) && strncmp(line, "| PUT", 5) &&
		    strncmp(line, "| DELETE", 8))
			continue;
		bar = strchr(line + 2, '|');
		cr_assert_not_null(bar);
		*bar = 0;
		readme_expand(line + 2, named, sizeof named);
	}
	fclose(in);
	for (size_t i = 0; i < api_routes_count; i++) {
		char want[160];
		snprintf(want, sizeof want, "\n%s %s\n", api_routes[i].method, api_routes[i].pattern);
		cr_assert_not_null(strstr(named, want), "README.md lacks %s in\n%s", want, named);
		count++;
	}
	for (const char *p = named + 1; *p; p = strchr(p, '\n') + 1)
		count--;
	cr_assert_eq(count, 0, "README.md names routes that do not exist, or twice");
}

Test(api, openapi_lists_every_route)
{
	struct fix *f = fix_start(false);
	struct reply r = fix_request(f, "GET", "/v1/openapi.json", NULL, NULL, NULL);
	json_t *j = json_loads(r.body, 0, NULL), *paths = json_object_get(j, "paths"), *item, *op;
	const char *path, *method;
	unsigned n = 0;

	cr_assert_eq(r.status, 200);
	cr_assert_str_eq(json_string_value(json_object_get(j, "openapi")), "3.1.0");
	json_object_foreach(paths, path, item) json_object_foreach(item, method, op)
	{
		json_t *content = json_object_get(json_object_get(op, "requestBody"), "content"), *c;
		const char *type;
		n++;
		cr_assert_not_null(json_object_get(op, "summary"));
		json_object_foreach(content, type, c)
		{
			const char *ref = json_string_value(json_object_get(json_object_get(c, "schema"), "$ref"));
			if (ref)
				cr_assert(json_is_object(json_object_get(
						  json_object_get(json_object_get(j, "components"), "schemas"),
						  strrchr(ref, '/') + 1)),
					  "%s %s: %s", method, path, ref);
		}
	}
	cr_assert_eq(n + 1, api_routes_count);
	/* Every schema named in the table exists. */
	for (size_t i = 0; i < api_routes_count; i++)
		for (int k = 0; k < 2; k++) {
			const char *s = k ? api_routes[i].request : api_routes[i].response;
			if (s && strcmp(s, "text") && strcmp(s, "ndjson") && strcmp(s, "binary"))
				cr_assert(json_is_object(json_object_get(
						  json_object_get(json_object_get(j, "components"), "schemas"), s)),
					  "%s", s);
		}
	json_decref(j);
	reply_done(&r);
	fix_stop(f);
}
