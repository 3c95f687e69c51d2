/* tulou tenants, tokens.  Layer web, program tulou. */
#include "base/json.h"
#include "base/own.h"
#include "web/cli/call.h"
#include "web/cli/cli.h"
#include "web/cli/commands.h"
#include "web/cli/fields.h"
#include "web/cli/list.h"
#include "web/cli/numbers.h"
#include "web/cli/out.h"

#include <string.h>

/* "1.2 GiB of 4 GiB" / "3 of 50" for one number of quota and used. */
static const char *share(char out[88], json_t *tenant, const char *name)
{
	const struct quota_key *k = quota_key_find(name);
	char a[QUOTA_TEXT], b[QUOTA_TEXT];

	snprintf(out, 88, "%s of %s", cli_numbers_text(a, k, json_object_get(tenant, "used")),
		 cli_numbers_text(b, k, json_object_get(tenant, "quota")));
	return out;
}

static void tenants_row(struct cli_table *t, json_t *tenant)
{
	char memory[88], cpu[88], apps[88], instances[88], disk[88], ago[32];

	cli_table_add(t, cli_str(tenant, "name"), *cli_str(tenant, "plan") ? cli_str(tenant, "plan") : "-",
		      share(memory, tenant, "memory"), share(cpu, tenant, "cpu"), share(apps, tenant, "apps"),
		      share(instances, tenant, "instances"), share(disk, tenant, "disk"),
		      cli_since(ago, cli_str(tenant, "created_at")));
}

int cli_cmd_tenants(struct cli *c)
{
	static const char *const heads[] = {"NAME", "PLAN", ">MEMORY", ">CPU", ">APPS", ">INSTANCES", ">DISK", "MADE"};
	static const struct cli_list list = {
		heads,	     ARRAY_LEN(heads),
		tenants_row, "There are no tenants. Make one with: tulou tenants create NAME",
		NULL,	     NULL};

	return cli_list_show(c, "/v1/tenants", &list);
}

/* What holds over the plan. */
static const char *own_mark(json_t *tenant, const char *key)
{
	return cli_numbers_own(tenant, key) ? " (set)" : "";
}

static int print_tenant(struct cli *c, json_t *tenant)
{
	char egress[CLI_EGRESS_TEXT], ago[32];

	if (c->json) {
		cli_json(tenant);
		return CLI_OK;
	}
	cli_pair("tenant", "%s", cli_str(tenant, "name"));
	cli_pair("made", "%s", cli_since(ago, cli_str(tenant, "created_at")));
	cli_pair("plan", "%s", *cli_str(tenant, "plan") ? cli_str(tenant, "plan") : "none: its own quota");
	cli_pair("profile", "%s%s%s%s", cli_str(tenant, "profile"), own_mark(tenant, "profile"),
		 json_is_true(json_object_get(tenant, "private_layers")) ? ", private layers" : "",
		 own_mark(tenant, "private_layers"));
	cli_pair("egress", "%s%s", cli_numbers_egress(egress, json_object_get(tenant, "egress")),
		 own_mark(tenant, "egress"));
	if (*cli_str(json_object_get(tenant, "usage"), "pending"))
		cli_pair("pending", "%s", cli_str(json_object_get(tenant, "usage"), "pending"));
	cli_say("\n");
	cli_numbers_shares(c, tenant);
	cli_numbers_lowered(c, tenant, false);
	return CLI_OK;
}

int cli_cmd_tenants_create(struct cli *c)
{
	OWN_JSON json_t *quota = json_object();
	OWN_JSON json_t *body = json_pack("{s:s}", "name", c->argv[0]);
	OWN_ANSWER struct cli_answer a = {0};
	struct err e = {0};
	int code;

	if (!body)
		return cli_fail(CLI_USAGE, "name: it is not UTF-8 text");
	if (cli_fields_options(c, quota, QUOTA_OF_TENANT, &e))
		return cli_fail(CLI_USAGE, "%s", e.text);
	if (json_object_size(quota) > 0)
		json_object_set(body, "quota", quota);
	if (cli_fields_policy(body, c->argv + 1, c->argc - 1, CLI_FIELDS_OF_TENANT, &e))
		return cli_fail(CLI_USAGE, "%s", e.text);
	code = cli_call(c, "POST", "/v1/tenants", body, &a);
	if (code)
		return code;
	print_tenant(c, a.json);
	if (!c->json)
		cli_say("\nIts first token: tulou tokens create admin --tenant %s\n", c->argv[0]);
	return CLI_OK;
}

/* The tenant that was named, or the token's own; "" after an error that was printed. */
static int tenant_path(struct cli *c, const char *name, const char *rest, char *out, size_t cap)
{
	OWN_ANSWER struct cli_answer a = {0};
	int code;

	if (!name) {
		code = cli_call(c, "GET", "/v1/whoami", NULL, &a);
		if (code)
			return code;
		name = cli_str(a.json, "tenant");
		if (!*name)
			return cli_fail(CLI_USAGE, "this token belongs to no tenant: name one");
	}
	cli_path(out, cap, "/v1/tenants/%s%r", name, rest);
	return CLI_OK;
}

int cli_cmd_tenants_info(struct cli *c)
{
	OWN_ANSWER struct cli_answer a = {0};
	char path[256];
	int code = tenant_path(c, c->argc > 0 ? c->argv[0] : NULL, "", path, sizeof path);

	if (!code)
		code = cli_call(c, "GET", path, NULL, &a);
	return code ? code : print_tenant(c, a.json);
}

int cli_cmd_tenants_delete(struct cli *c)
{
	OWN_ANSWER struct cli_answer a = {0};
	char path[256];
	int code;

	code = cli_confirm(c, c->argv[0], "remove the tenant %s with its tokens", c->argv[0]);
	if (code)
		return code;
	cli_path(path, sizeof path, "/v1/tenants/%s", c->argv[0]);
	code = cli_call(c, "DELETE", path, NULL, &a);
	if (!code && !c->json)
		printf("Removed the tenant %s.\n", c->argv[0]);
	return code;
}

int cli_cmd_tenants_quota(struct cli *c)
{
	static const char *const said[] = {"lowered", "lowered_more", "raised", "raised_more",
					   "above",   "above_more",   "over",	"over_more"};
	OWN_JSON json_t *quota = json_object(), *put = NULL;
	OWN_ANSWER struct cli_answer a = {0};
	struct err e = {0};
	char path[256];
	int code;

	if (cli_fields_options(c, quota, QUOTA_OF_TENANT, &e) ||
	    cli_fields_limits(quota, QUOTA_OF_TENANT, c->argv + 1, c->argc - 1, &e))
		return cli_fail(CLI_USAGE, "%s", e.text);
	cli_path(path, sizeof path, "/v1/tenants/%s", c->argv[0]);
	if (json_object_size(quota) == 0) {
		code = cli_call(c, "GET", path, NULL, &a);
		return code ? code : print_tenant(c, a.json);
	}
	/* What is not named stays as it is. */
	cli_path(path, sizeof path, "/v1/tenants/%s/quota", c->argv[0]);
	code = cli_call(c, "PUT", path, quota, &a);
	if (code)
		return code;
	put = json_incref(a.json);
	cli_answer_done(&a);
	cli_path(path, sizeof path, "/v1/tenants/%s", c->argv[0]);
	code = cli_call(c, "GET", path, NULL, &a);
	if (code)
		return code;
	for (size_t i = 0; i < ARRAY_LEN(said); i++)
		if (json_object_get(put, said[i]))
			json_object_set(a.json, said[i], json_object_get(put, said[i]));
	return print_tenant(c, a.json);
}

int cli_cmd_tenants_set(struct cli *c)
{
	OWN_JSON json_t *body = json_object();
	OWN_ANSWER struct cli_answer a = {0};
	struct err e = {0};
	char path[256];
	int code;

	if (cli_fields_policy(body, c->argv + 1, c->argc - 1, CLI_FIELDS_OF_TENANT, &e))
		return cli_fail(CLI_USAGE, "%s", e.text);
	cli_path(path, sizeof path, "/v1/tenants/%s", c->argv[0]);
	code = cli_call(c, "PATCH", path, body, &a);
	return code ? code : print_tenant(c, a.json);
}

static void usage_row(struct cli_table *t, json_t *u)
{
	char cpu[24], memory[16], requests[24], in[16], out[16];

	snprintf(cpu, sizeof cpu, "%.1f", cli_num(u, "cpu_seconds"));
	snprintf(requests, sizeof requests, "%.0f", cli_num(u, "requests"));
	cli_table_add(t, cli_str(u, "hour"), cli_str(u, "app"), cpu,
		      cli_bytes(memory, cli_num(u, "memory_byte_seconds") / 3600), requests,
		      cli_bytes(in, cli_num(u, "bytes_in")), cli_bytes(out, cli_num(u, "bytes_out")));
}

int cli_cmd_tenants_usage(struct cli *c)
{
	static const char *const heads[] = {"HOUR", "APP", ">CPU S", ">MEMORY, MEAN", ">REQUESTS", ">IN", ">OUT"};
	static const struct cli_list list = {heads, ARRAY_LEN(heads), usage_row, "No use has been recorded yet.", NULL,
					     NULL};
	const char *since = cli_value(c, "since");
	char path[400], rest[200] = "/usage";
	int code;

	if (since)
		cli_path(rest, sizeof rest, "/usage?since=%s", since);
	code = tenant_path(c, c->argc > 0 ? c->argv[0] : NULL, rest, path, sizeof path);
	return code ? code : cli_list_show_one(c, path, &list);
}

static void tokens_row(struct cli_table *t, json_t *k)
{
	char id[24], made[32], used[32];

	if (json_is_string(json_object_get(k, "id")))
		snprintf(id, sizeof id, "%.20s", cli_str(k, "id"));
	else
		snprintf(id, sizeof id, "%.0f", cli_num(k, "id"));
	cli_table_add(t, id, cli_str(k, "role"), cli_str(k, "hint"), cli_str(k, "name"),
		      cli_since(made, cli_str(k, "created_at")),
		      *cli_str(k, "used_at") ? cli_since(used, cli_str(k, "used_at")) : "never");
}

int cli_cmd_tokens(struct cli *c)
{
	static const char *const heads[] = {"ID", "ROLE", "BEGINS WITH", "NAME", "MADE", "LAST USED"};
	static const struct cli_list list = {heads, ARRAY_LEN(heads), tokens_row, "There are no tokens here.", NULL,
					     NULL};
	OWN_ANSWER struct cli_answer who = {0};
	const char *tenant = cli_value(c, "tenant");
	char path[256] = "/v1/tokens";
	int code = cli_call(c, "GET", "/v1/whoami", NULL, &who);

	if (code)
		return code;
	if (!tenant && *cli_str(who.json, "tenant"))
		tenant = cli_str(who.json, "tenant");
	if (tenant)
		cli_path(path, sizeof path, "/v1/tenants/%s/tokens", tenant);
	return cli_list_show(c, path, &list);
}

int cli_cmd_tokens_create(struct cli *c)
{
	OWN_JSON json_t *body = json_pack("{s:s, s:s*}", "role", c->argv[0], "name", cli_value(c, "name"));
	OWN_ANSWER struct cli_answer a = {0};
	bool node_wide = strcmp(c->argv[0], "operator") == 0 || strcmp(c->argv[0], "fleet") == 0;
	const char *const roles[] = {"admin", "deployer", "reader", "operator", "fleet"};
	const char *tenant = cli_value(c, "tenant");
	bool known = false;
	char path[256] = "/v1/tokens";
	int code;

	for (size_t i = 0; i < ARRAY_LEN(roles); i++)
		known = known || strcmp(roles[i], c->argv[0]) == 0;
	if (!known) {
		const char *near = cli_nearest(c->argv[0], roles, ARRAY_LEN(roles));

		return cli_fail(CLI_USAGE,
				"role: there is no '%s'%s%s; roles: admin, deployer, reader, operator, fleet",
				c->argv[0], near ? "; did you mean " : "", near ? near : "");
	}
	if (!body)
		return cli_fail(CLI_USAGE, "name: it is not UTF-8 text");
	if (node_wide && tenant)
		return cli_fail(CLI_USAGE, "tenant: an %s token is for the whole node", c->argv[0]);
	code = node_wide ? CLI_OK : tenant_path(c, tenant, "/tokens", path, sizeof path);
	if (!code)
		code = cli_call(c, "POST", path, body, &a);
	if (code)
		return code;
	if (c->json) {
		cli_json(a.json);
		return CLI_OK;
	}
	/* The secret alone on standard output, so that TULOU_TOKEN=$(tulou tokens create …) works. */
	fprintf(stderr, "This is shown once; keep it:\n");
	cli_say("%s\n", cli_str(a.json, "token"));
	return CLI_OK;
}

int cli_cmd_tokens_delete(struct cli *c)
{
	OWN_ANSWER struct cli_answer who = {0}, a = {0};
	const char *tenant = cli_value(c, "tenant");
	char path[256];
	int code = cli_call(c, "GET", "/v1/whoami", NULL, &who);

	if (code)
		return code;
	if (!tenant && *cli_str(who.json, "tenant"))
		tenant = cli_str(who.json, "tenant");
	if (tenant)
		cli_path(path, sizeof path, "/v1/tenants/%s/tokens/%s", tenant, c->argv[0]);
	else
		cli_path(path, sizeof path, "/v1/tokens/%s", c->argv[0]);
	code = cli_call(c, "DELETE", path, NULL, &a);
	if (!code && !c->json)
		cli_say("The token %s is void.\n", c->argv[0]);
	return code;
}
