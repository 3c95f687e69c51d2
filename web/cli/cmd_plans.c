/* tulou plans.  Layer web, program tulou. */
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

static void plans_row(struct cli_table *t, json_t *plan)
{
	json_t *q = json_object_get(plan, "quota"), *tenants = json_object_get(plan, "tenants");
	char memory[QUOTA_TEXT], cpu[QUOTA_TEXT], instances[QUOTA_TEXT], disk[QUOTA_TEXT], each[QUOTA_TEXT], n[24];

	cli_table_add(t, cli_str(plan, "name"), cli_numbers_text(memory, quota_key_find("memory"), q),
		      cli_numbers_text(cpu, quota_key_find("cpu"), q),
		      cli_numbers_text(instances, quota_key_find("instances"), q),
		      cli_numbers_text(disk, quota_key_find("disk"), q),
		      cli_numbers_text(each, quota_key_find("memory"), json_object_get(plan, "limits")),
		      cli_str(plan, "profile"), tenants ? cli_plain(n, cli_num(plan, "tenants")) : "-");
}

int cli_cmd_plans(struct cli *c)
{
	static const char *const heads[] = {"NAME",  ">MEMORY", ">CPU",	   ">INSTANCES",
					    ">DISK", ">EACH",	"PROFILE", ">TENANTS"};
	static const struct cli_list list = {
		heads,	   ARRAY_LEN(heads),
		plans_row, "There are no plans. Make one with: tulou plans create NAME memory=2GiB app.memory=256MiB",
		NULL,	   NULL};

	return cli_list_show(c, "/v1/plans", &list);
}

static int print_plan(struct cli *c, json_t *plan)
{
	char egress[CLI_EGRESS_TEXT], ago[32];

	if (c->json) {
		cli_json(plan);
		return CLI_OK;
	}
	cli_pair("plan", "%s", cli_str(plan, "name"));
	cli_pair("made", "%s", cli_since(ago, cli_str(plan, "created_at")));
	if (json_object_get(plan, "tenants"))
		cli_pair("tenants", "%.0f", cli_num(plan, "tenants"));
	cli_pair("profile", "%s%s", cli_str(plan, "profile"),
		 json_is_true(json_object_get(plan, "private_layers")) ? ", private layers" : "");
	cli_pair("egress", "%s", cli_numbers_egress(egress, json_object_get(plan, "egress")));
	cli_say("\nA tenant in all:\n");
	cli_numbers_print(QUOTA_OF_TENANT, json_object_get(plan, "quota"));
	cli_say("\nEach instance of an app without limits of its own:\n");
	cli_numbers_print(QUOTA_OF_LIMITS, json_object_get(plan, "limits"));
	cli_numbers_clamped(plan);
	cli_numbers_lowered(c, plan, true);
	return CLI_OK;
}

int cli_cmd_plans_create(struct cli *c)
{
	OWN_JSON json_t *body = json_pack("{s:s}", "name", c->argv[0]);
	OWN_ANSWER struct cli_answer a = {0};
	struct err e = {0};
	int code;

	if (!body)
		return cli_fail(CLI_USAGE, "name: it is not UTF-8 text");
	if (cli_fields_policy(body, c->argv + 1, c->argc - 1, CLI_FIELDS_OF_PLAN, &e))
		return cli_fail(CLI_USAGE, "%s", e.text);
	code = cli_call(c, "POST", "/v1/plans", body, &a);
	return code ? code : print_plan(c, a.json);
}

int cli_cmd_plans_info(struct cli *c)
{
	OWN_ANSWER struct cli_answer a = {0};
	char path[256];
	int code;

	cli_path(path, sizeof path, "/v1/plans/%s", c->argv[0]);
	code = cli_call(c, "GET", path, NULL, &a);
	return code ? code : print_plan(c, a.json);
}

int cli_cmd_plans_set(struct cli *c)
{
	OWN_JSON json_t *body = json_object();
	OWN_ANSWER struct cli_answer a = {0};
	struct err e = {0};
	char path[256];
	int code;

	if (cli_fields_policy(body, c->argv + 1, c->argc - 1, CLI_FIELDS_OF_PLAN, &e))
		return cli_fail(CLI_USAGE, "%s", e.text);
	cli_path(path, sizeof path, "/v1/plans/%s", c->argv[0]);
	code = cli_call(c, "PATCH", path, body, &a);
	return code ? code : print_plan(c, a.json);
}

int cli_cmd_plans_delete(struct cli *c)
{
	OWN_ANSWER struct cli_answer a = {0};
	char path[256];
	int code;

	code = cli_confirm(c, c->argv[0], "remove the plan %s", c->argv[0]);
	if (code)
		return code;
	cli_path(path, sizeof path, "/v1/plans/%s", c->argv[0]);
	code = cli_call(c, "DELETE", path, NULL, &a);
	if (!code && !c->json)
		cli_say("Removed the plan %s.\n", c->argv[0]);
	return code;
}
