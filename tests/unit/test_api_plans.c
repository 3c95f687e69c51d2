/* Plans, policies of tenants and apps, limits that follow: the API against a real store. */
#include "tests/unit/test_api_client.h"
#include "tests/unit/test_api_fixture.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

static json_t *ask(struct fix *f, const char *method, const char *path, const char *token, const char *body, int status)
{
	struct reply r = fix_request(f, method, path, token, NULL, body);
	json_t *j = json_loads(r.body, 0, NULL);

	cr_assert_eq(r.status, status, "%s %s: %d %s", method, path, r.status, r.body);
	reply_done(&r);
	return j;
}

static json_int_t number(json_t *j, const char *obj, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(j, obj), key));
}

static const char *text(json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

#define MIB (1ll << 20)

Test(api_plans, a_plan_is_made_given_and_changed)
{
	struct fix *f = fix_start(false);
	json_t *j = ask(f, "POST", "/v1/plans", f->operator,
			"{\"name\":\"hobby\",\"quota\":{\"memory_bytes\":\"512MiB\",\"pids\":100},"
			"\"limits\":{\"memory_bytes\":\"96MiB\"},\"profile\":\"strict\",\"private_layers\":true,"
			"\"egress\":{\"mode\":\"list\",\"allow\":[\"203.0.113.0/24:443\",\"198.51.100.7\"]}}",
			201);

	cr_assert_eq(number(j, "quota", "memory_bytes"), 512 * MIB);
	cr_assert_eq(number(j, "limits", "memory_bytes"), 96 * MIB);
	cr_assert_str_eq(text(j, "profile"), "strict");
	cr_assert_eq(json_integer_value(json_object_get(j, "tenants")), 0);
	json_decref(j);
	json_decref(ask(f, "POST", "/v1/plans", f->operator, "{\"name\":\"hobby\"}", 409));
	json_decref(ask(f, "POST", "/v1/plans", f->admin, "{\"name\":\"mine\"}", 403));

	/* A tenant sees it, but not who else is on it. */
	j = ask(f, "GET", "/v1/plans", f->reader, NULL, 200);
	cr_assert_eq(json_array_size(json_object_get(j, "items")), 1);
	cr_assert_null(json_object_get(json_array_get(json_object_get(j, "items"), 0), "tenants"));
	json_decref(j);

	json_decref(ask(f, "POST", "/v1/apps", f->admin, "{\"name\":\"follower\"}", 201));
	j = ask(f, "PATCH", "/v1/tenants/acme", f->operator, "{\"plan\":\"hobby\"}", 200);
	cr_assert_str_eq(text(j, "plan"), "hobby");
	cr_assert_eq(number(j, "quota", "pids"), 100);
	cr_assert(json_is_true(json_object_get(j, "private_layers")));
	cr_assert_str_eq(json_string_value(json_array_get(json_object_get(json_object_get(j, "egress"), "allow"), 0)),
			 "203.0.113.0/24:443");
	json_decref(j);
	j = ask(f, "GET", "/v1/apps/follower", f->reader, NULL, 200);
	cr_assert_eq(number(j, "limits", "memory_bytes"), 96 * MIB);
	cr_assert_eq(number(j, "limits", "pids"), 100, "lowered to the quota");
	cr_assert(json_is_false(json_object_get(j, "limits_own")));
	json_decref(j);
	j = ask(f, "GET", "/v1/apps/shop", f->reader, NULL, 200);
	cr_assert_eq(number(j, "limits", "memory_bytes"), 64 * MIB, "its own stay");
	json_decref(j);

	/* The plan's change reaches tenant and follower, and control is told. */
	f->tenant_changed = 0;
	json_decref(ask(f, "PATCH", "/v1/plans/hobby", f->operator,
			"{\"quota\":{\"memory_bytes\":\"1GiB\"},\"limits\":{\"memory_bytes\":\"128MiB\"}}", 200));
	cr_assert_eq(f->tenant_changed, 1);
	j = ask(f, "GET", "/v1/apps/follower", f->reader, NULL, 200);
	cr_assert_eq(number(j, "limits", "memory_bytes"), 128 * MIB);
	json_decref(j);
	j = ask(f, "DELETE", "/v1/plans/hobby", f->operator, NULL, 409);
	cr_assert_not_null(strstr(text(j, "detail"), "1 tenant"));
	json_decref(j);

	/* An app that is made now follows it.  One number is set: all others, and the limits of apps, stay the plan's.
	 */
	j = ask(f, "POST", "/v1/apps", f->admin, "{\"name\":\"late\"}", 201);
	cr_assert_eq(number(j, "limits", "memory_bytes"), 128 * MIB);
	json_decref(j);
	j = ask(f, "PUT", "/v1/tenants/acme/quota", f->operator, "{\"memory_bytes\":\"2GiB\"}", 200);
	json_decref(j);
	j = ask(f, "GET", "/v1/tenants/acme", f->reader, NULL, 200);
	cr_assert_str_eq(text(j, "plan"), "hobby");
	cr_assert_eq(json_array_size(json_object_get(j, "own")), 1);
	cr_assert_str_eq(json_string_value(json_array_get(json_object_get(j, "own"), 0)), "memory_bytes");
	cr_assert_eq(number(j, "quota", "memory_bytes"), 2048 * MIB);
	cr_assert_eq(number(j, "quota", "pids"), 100, "what is not named stays");
	json_decref(j);
	j = ask(f, "GET", "/v1/apps/late", f->reader, NULL, 200);
	cr_assert_eq(number(j, "limits", "memory_bytes"), 128 * MIB, "the limits of apps are the plan's still");
	json_decref(j);
	json_decref(ask(f, "PATCH", "/v1/plans/hobby", f->operator,
			"{\"quota\":{\"memory_bytes\":\"3GiB\",\"pids\":120}}", 200));
	j = ask(f, "PATCH", "/v1/tenants/acme", f->operator, "{\"egress\":{\"mode\":\"none\"},\"profile\":\"strict\"}",
		200);
	cr_assert_eq(number(j, "quota", "memory_bytes"), 2048 * MIB, "its own");
	cr_assert_eq(number(j, "quota", "pids"), 120, "the plan's");
	cr_assert_eq(json_array_size(json_object_get(j, "own")), 2, "the plan is strict already");
	json_decref(j);
	/* Given back, by null and by the plan's own value. */
	j = ask(f, "PATCH", "/v1/tenants/acme", f->operator,
		"{\"egress\":null,\"quota\":{\"memory_bytes\":\"3GiB\",\"pids\":null}}", 200);
	cr_assert_eq(json_array_size(json_object_get(j, "own")), 0);
	cr_assert_eq(number(j, "quota", "memory_bytes"), 3072 * MIB);
	json_decref(j);
	/* A plan that is named gives all, but for what is named with it. */
	j = ask(f, "PATCH", "/v1/tenants/acme", f->operator, "{\"quota\":{\"apps\":7,\"pids\":90}}", 200);
	json_decref(j);
	j = ask(f, "PATCH", "/v1/tenants/acme", f->operator, "{\"plan\":\"hobby\",\"quota\":{\"apps\":8}}", 200);
	cr_assert_eq(number(j, "quota", "apps"), 8);
	cr_assert_eq(number(j, "quota", "pids"), 120);
	json_decref(j);
	j = ask(f, "PATCH", "/v1/tenants/acme", f->operator, "{\"plan\":null}", 200);
	cr_assert(json_is_null(json_object_get(j, "plan")));
	cr_assert_eq(number(j, "quota", "apps"), 8, "off its plan, as it is");
	cr_assert_eq(json_array_size(json_object_get(j, "own")), 0);
	json_decref(j);
	j = ask(f, "GET", "/v1/apps/late", f->reader, NULL, 200);
	cr_assert_eq(number(j, "limits", "memory_bytes"), (json_int_t)f->settings.app.memory, "the node's again");
	json_decref(j);
	json_decref(ask(f, "DELETE", "/v1/plans/hobby", f->operator, NULL, 204));
	json_decref(ask(f, "GET", "/v1/plans/hobby", f->operator, NULL, 404));
	fix_stop(f);
}

Test(api_plans, a_tenant_is_made_on_a_plan)
{
	struct fix *f = fix_start(false);
	json_t *j;

	json_decref(ask(f, "POST", "/v1/plans", f->operator, "{\"name\":\"s\",\"quota\":{\"apps\":3}}", 201));
	j = ask(f, "POST", "/v1/tenants", f->operator, "{\"name\":\"new\",\"plan\":\"s\"}", 201);
	cr_assert_str_eq(text(j, "plan"), "s");
	cr_assert_eq(number(j, "quota", "apps"), 3);
	json_decref(j);
	j = ask(f, "POST", "/v1/tenants", f->operator,
		"{\"name\":\"own\",\"profile\":\"strict\",\"egress\":{\"mode\":\"none\"}}", 201);
	cr_assert(json_is_null(json_object_get(j, "plan")));
	cr_assert_str_eq(text(j, "profile"), "strict");
	json_decref(j);
	/* A refused one leaves nothing. */
	json_decref(ask(f, "POST", "/v1/tenants", f->operator, "{\"name\":\"bad\",\"plan\":\"none\"}", 404));
	json_decref(ask(f, "GET", "/v1/tenants/bad", f->operator, NULL, 404));
	fix_stop(f);
}

/* What a lower quota does to apps is said to whoever set it: followers fall with it, limits of an app's own do not. */
Test(api, quota_says_which_apps_it_lowered)
{
	struct fix *f = fix_start(false);
	json_t *j, *list;

	json_decref(ask(f, "POST", "/v1/apps", f->admin, "{\"name\":\"follower\"}", 201));
	json_decref(ask(f, "PATCH", "/v1/apps/shop", f->deployer, "{\"limits\":{\"pids\":64}}", 200));
	j = ask(f, "PUT", "/v1/tenants/acme/quota", f->operator, "{\"pids\":40,\"cpu\":0.5,\"net_in_rate\":1000000}",
		200);
	cr_assert_eq(json_integer_value(json_object_get(j, "pids")), 40);
	list = json_object_get(j, "lowered");
	cr_assert_eq(json_array_size(list), 1);
	cr_assert_str_eq(text(json_array_get(list, 0), "app"), "follower");
	cr_assert_eq(number(json_array_get(list, 0), "to", "pids"), 40);
	cr_assert_gt(number(json_array_get(list, 0), "from", "pids"), 40);
	cr_assert_eq(json_number_value(json_object_get(json_object_get(json_array_get(list, 0), "to"), "cpu")), 0.5);
	cr_assert_null(json_object_get(json_object_get(json_array_get(list, 0), "to"), "memory_bytes"),
		       "only what fell");
	list = json_object_get(j, "above");
	cr_assert_eq(json_array_size(list), 1);
	cr_assert_str_eq(text(json_array_get(list, 0), "app"), "shop");
	cr_assert_eq(number(json_array_get(list, 0), "limits", "pids"), 64);
	cr_assert_eq(number(json_array_get(list, 0), "quota", "pids"), 40);
	cr_assert_null(json_object_get(json_object_get(json_array_get(list, 0), "limits"), "net_in_rate"),
		       "a rate stops no start");
	json_decref(j);
	/* The same again lowers nothing, and a higher one is nothing to tell. */
	j = ask(f, "PATCH", "/v1/tenants/acme", f->operator, "{\"quota\":{\"pids\":40}}", 200);
	cr_assert_null(json_object_get(j, "lowered"));
	cr_assert_eq(json_array_size(json_object_get(j, "above")), 1, "still");
	json_decref(j);
	j = ask(f, "PATCH", "/v1/tenants/acme", f->operator, "{\"quota\":{\"pids\":4000,\"cpu\":4}}", 200);
	cr_assert_null(json_object_get(j, "lowered"));
	cr_assert_null(json_object_get(j, "above"));
	json_decref(j);
	/* A shrinking rate from "not limited" fell too. */
	j = ask(f, "PATCH", "/v1/tenants/acme", f->operator, "{\"quota\":{\"memory_bytes\":\"32MiB\"}}", 200);
	cr_assert_eq(number(json_array_get(json_object_get(j, "lowered"), 0), "to", "memory_bytes"), 32 * MIB);
	json_decref(j);
	j = ask(f, "GET", "/v1/tenants/acme", f->reader, NULL, 200);
	cr_assert_null(json_object_get(j, "lowered"), "only whoever sets it is told");
	json_decref(j);
	fix_stop(f);
}

/* A plan reaches many tenants: whose apps fell with it is said as it is of a quota, with the tenant's name. */
Test(api_plans, a_plan_says_which_apps_it_lowered)
{
	struct fix *f = fix_start(false);
	json_t *j, *list;

	json_decref(ask(f, "POST", "/v1/plans", f->operator, "{\"name\":\"hobby\",\"limits\":{\"pids\":90}}", 201));
	json_decref(ask(f, "POST", "/v1/tenants", f->operator, "{\"name\":\"other\",\"plan\":\"hobby\"}", 201));
	json_decref(ask(f, "POST", "/v1/tenants", f->operator, "{\"name\":\"free\"}", 201));
	json_decref(ask(f, "PATCH", "/v1/tenants/acme", f->operator, "{\"plan\":\"hobby\"}", 200));
	json_decref(ask(f, "POST", "/v1/apps", f->operator, "{\"name\":\"follower\",\"tenant\":\"other\"}", 201));
	json_decref(ask(f, "POST", "/v1/apps", f->operator, "{\"name\":\"apart\",\"tenant\":\"free\"}", 201));
	json_decref(ask(f, "PATCH", "/v1/apps/shop", f->deployer, "{\"limits\":{\"pids\":80}}", 200));
	j = ask(f, "PATCH", "/v1/plans/hobby", f->operator, "{\"quota\":{\"pids\":70}}", 200);
	list = json_object_get(j, "lowered");
	cr_assert_eq(json_array_size(list), 1, "not whose tenant is on no plan");
	cr_assert_str_eq(text(json_array_get(list, 0), "app"), "follower");
	cr_assert_str_eq(text(json_array_get(list, 0), "tenant"), "other");
	cr_assert_eq(number(json_array_get(list, 0), "from", "pids"), 90);
	cr_assert_eq(number(json_array_get(list, 0), "to", "pids"), 70);
	list = json_object_get(j, "above");
	cr_assert_eq(json_array_size(list), 1);
	cr_assert_str_eq(text(json_array_get(list, 0), "app"), "shop");
	cr_assert_str_eq(text(json_array_get(list, 0), "tenant"), "acme");
	cr_assert_eq(number(json_array_get(list, 0), "quota", "pids"), 70);
	json_decref(j);
	/* The limits of each instance alone. */
	j = ask(f, "PATCH", "/v1/plans/hobby", f->operator, "{\"quota\":{\"pids\":200},\"limits\":{\"pids\":50}}", 200);
	cr_assert_eq(number(json_array_get(json_object_get(j, "lowered"), 0), "to", "pids"), 50);
	cr_assert_null(json_object_get(j, "above"));
	json_decref(j);
	j = ask(f, "PATCH", "/v1/plans/hobby", f->operator, "{\"profile\":\"strict\"}", 200);
	cr_assert_null(json_object_get(j, "lowered"));
	json_decref(j);
	fix_stop(f);
}

/* Totals that are below what is committed already, limits above the plan's own total, and limits that rose. */
Test(api_plans, what_is_over_a_new_total_is_said)
{
	struct fix *f = fix_start(false);
	json_t *j, *list;

	j = ask(f, "POST", "/v1/plans", f->operator,
		"{\"name\":\"tiny\",\"quota\":{\"memory_bytes\":\"64MiB\"},\"limits\":{\"memory_bytes\":\"1GiB\"}}",
		201);
	cr_assert_eq(number(json_object_get(j, "clamped"), "limits", "memory_bytes"), 1024 * MIB);
	cr_assert_eq(number(json_object_get(j, "clamped"), "quota", "memory_bytes"), 64 * MIB);
	cr_assert_eq(json_object_size(json_object_get(json_object_get(j, "clamped"), "limits")), 1);
	json_decref(j);
	json_decref(ask(f, "POST", "/v1/apps", f->admin, "{\"name\":\"follower\"}", 201));
	/* 192 MiB, 77 files and two apps are committed (fake_tenant_used). */
	j = ask(f, "PATCH", "/v1/tenants/acme", f->operator, "{\"plan\":\"tiny\",\"quota\":{\"inodes\":77,\"apps\":1}}",
		200);
	list = json_object_get(j, "over");
	cr_assert_eq(json_array_size(list), 1);
	cr_assert_str_eq(text(json_array_get(list, 0), "tenant"), "acme");
	cr_assert_eq(number(json_array_get(list, 0), "committed", "memory_bytes"), 192 * MIB);
	cr_assert_eq(number(json_array_get(list, 0), "limit", "memory_bytes"), 64 * MIB);
	cr_assert_eq(number(json_array_get(list, 0), "committed", "apps"), 2);
	cr_assert_eq(json_object_size(json_object_get(json_array_get(list, 0), "limit")), 2,
		     "what is just full is not over");
	json_decref(j);
	/* Of the plan: enough again, and its apps rise with it. */
	j = ask(f, "PATCH", "/v1/plans/tiny", f->operator, "{\"quota\":{\"memory_bytes\":\"512MiB\"}}", 200);
	list = json_object_get(j, "raised");
	cr_assert_eq(json_array_size(list), 1, "the other app has limits of its own");
	cr_assert_str_eq(text(json_array_get(list, 0), "app"), "follower");
	cr_assert_eq(number(json_array_get(list, 0), "from", "memory_bytes"), 64 * MIB);
	cr_assert_eq(number(json_array_get(list, 0), "to", "memory_bytes"), 512 * MIB);
	cr_assert_null(json_object_get(j, "lowered"));
	list = json_array_get(json_object_get(j, "over"), 0);
	cr_assert_null(json_object_get(json_object_get(list, "limit"), "memory_bytes"));
	cr_assert_eq(number(list, "limit", "apps"), 1, "still");
	json_decref(j);
	j = ask(f, "PATCH", "/v1/plans/tiny", f->operator, "{\"quota\":{\"memory_bytes\":\"1GiB\"}}", 200);
	cr_assert_null(json_object_get(j, "clamped"));
	json_decref(j);
	j = ask(f, "PUT", "/v1/tenants/acme/quota", f->operator, "{\"apps\":2}", 200);
	cr_assert_null(json_object_get(j, "over"));
	json_decref(j);
	fix_stop(f);
}

Test(api_plans, a_tenant_sets_what_its_app_may)
{
	struct fix *f = fix_start(false);
	json_t *j = ask(f, "PATCH", "/v1/apps/shop", f->deployer,
			"{\"profile\":\"strict\",\"egress\":{\"mode\":\"list\",\"allow\":[\"192.0.2.1:5432\"]}}", 200);

	cr_assert_str_eq(text(j, "profile"), "strict");
	cr_assert_str_eq(text(json_object_get(j, "egress"), "mode"), "list");
	cr_assert(json_is_true(json_object_get(j, "limits_own")));
	/* What it asks for is kept; what it has is none, and why. */
	cr_assert_str_eq(text(json_object_get(j, "egress_effective"), "mode"), "none");
	cr_assert_str_eq(text(json_object_get(j, "egress_effective"), "why"), "strict profile");
	json_decref(j);
	j = ask(f, "PATCH", "/v1/apps/shop", f->deployer, "{\"profile\":\"default\"}", 200);
	cr_assert_str_eq(text(json_object_get(j, "egress_effective"), "mode"), "list");
	cr_assert(json_is_null(json_object_get(json_object_get(j, "egress_effective"), "why")));
	json_decref(j);
	json_decref(ask(f, "PATCH", "/v1/tenants/acme", f->operator, "{\"egress\":{\"mode\":\"none\"}}", 200));
	j = ask(f, "GET", "/v1/apps/shop", f->reader, NULL, 200);
	cr_assert_str_eq(text(json_object_get(j, "egress_effective"), "mode"), "none");
	cr_assert_str_eq(text(json_object_get(j, "egress_effective"), "why"), "the tenant's policy");
	json_decref(j);
	json_decref(ask(f, "PATCH", "/v1/tenants/acme", f->operator, "{\"profile\":\"strict\"}", 200));
	j = ask(f, "GET", "/v1/apps/shop", f->reader, NULL, 200);
	cr_assert_str_eq(text(json_object_get(j, "egress_effective"), "why"), "the tenant's strict profile");
	json_decref(j);
	json_decref(ask(f, "PATCH", "/v1/apps/shop", f->deployer, "{\"profile\":\"strict\"}", 200));
	j = ask(f, "PATCH", "/v1/apps/shop", f->reader, "{\"profile\":\"default\"}", 403);
	cr_assert_str_eq(text(j, "detail"), "the role reader may not do this: deployer, admin or operator may");
	json_decref(j);
	/* No token of the tenant opens what only an operator may, and that is said. */
	j = ask(f, "PATCH", "/v1/tenants/acme", f->deployer, "{\"profile\":\"default\"}", 403);
	cr_assert_str_eq(text(j, "detail"),
			 "the role deployer may not do this: only an operator may; ask the operator of this node");
	json_decref(j);
	/* Limits within the quota; null gives the node's back. */
	j = ask(f, "PATCH", "/v1/apps/shop", f->deployer, "{\"limits\":{\"memory_bytes\":\"8GiB\"}}", 403);
	cr_assert_not_null(strstr(text(j, "detail"), "tenant acme"), "%s", text(j, "detail"));
	cr_assert_not_null(strstr(text(j, "detail"), "quota of 4 GiB"), "%s", text(j, "detail"));
	json_decref(j);
	j = ask(f, "PATCH", "/v1/apps/shop", f->deployer, "{\"limits\":{\"net_out_rate\":\"1MiB\",\"cpu_weight\":10}}",
		200);
	cr_assert_eq(number(j, "limits", "net_out_rate"), MIB);
	json_decref(j);
	j = ask(f, "PATCH", "/v1/apps/shop", f->deployer, "{\"limits\":null}", 200);
	cr_assert(json_is_false(json_object_get(j, "limits_own")));
	cr_assert_eq(number(j, "limits", "memory_bytes"), (json_int_t)f->settings.app.memory);
	cr_assert_str_eq(text(j, "profile"), "strict", "the rest stays");
	json_decref(j);
	fix_stop(f);
}

Test(api_plans, used_and_usage_are_shown)
{
	struct fix *f = fix_start(false);
	json_t *j = ask(f, "GET", "/v1/tenants/acme", f->reader, NULL, 200);

	cr_assert_eq(number(j, "used", "memory_bytes"), 192 * MIB);
	cr_assert_eq(number(j, "used", "inodes"), 77);
	cr_assert_eq(number(j, "used", "apps"), 1);
	cr_assert_null(json_object_get(json_object_get(j, "used"), "net_in_rate"), "a rate does not add up");
	cr_assert_eq(number(j, "usage", "memory_bytes"), 50 * MIB);
	cr_assert_eq(number(j, "usage", "pids_hits"), 3);
	json_decref(j);
	fix_stop(f);
}
