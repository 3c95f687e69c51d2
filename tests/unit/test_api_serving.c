/* The object "serving" of an app through the API. */
#include "tests/unit/test_api_client.h"
#include "tests/unit/test_api_fixture.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

static json_t *serving(struct fix *f)
{
	struct reply r = fix_request(f, "GET", "/v1/apps/shop", f->reader, NULL, NULL);
	json_t *j = json_loads(r.body, 0, NULL), *s = json_incref(json_object_get(j, "serving"));

	json_decref(j);
	reply_done(&r);
	return s;
}

static void is(struct fix *f, const char *want)
{
	json_t *got = serving(f), *j = json_loads(want, 0, NULL);
	char *text = json_dumps(got, JSON_COMPACT);

	cr_assert_not_null(j);
	cr_assert(json_equal(got, j), "%s is not %s", text, want);
	free(text);
	json_decref(got);
	json_decref(j);
}

Test(api, serving_is_shown_and_changed)
{
	struct fix *f = fix_start(false);
	unsigned changed;

	is(f, "{\"concurrency\":0,\"drain_seconds\":0,\"rollout\":\"auto\",\"access_log\":\"off\",\"hold\":false}");
	changed = f->app_changed;
	cr_assert_eq(fix_status(f, "PATCH", "/v1/apps/shop", f->deployer,
				"{\"serving\":{\"concurrency\":5,\"drain_seconds\":60,\"rollout\":\"hold\",\"access_"
				"log\":\"1/50\",\"hold\":true}}"),
		     200);
	cr_assert_gt(f->app_changed, changed, "control is told");
	is(f, "{\"concurrency\":5,\"drain_seconds\":60,\"rollout\":\"hold\",\"access_log\":\"1/50\",\"hold\":true}");
	/* What is not named stays. */
	cr_assert_eq(fix_status(f, "PATCH", "/v1/apps/shop", f->deployer, "{\"serving\":{\"access_log\":\"all\"}}"),
		     200);
	is(f, "{\"concurrency\":5,\"drain_seconds\":60,\"rollout\":\"hold\",\"access_log\":\"all\",\"hold\":true}");
	cr_assert_eq(fix_status(f, "PATCH", "/v1/apps/shop", f->deployer,
				"{\"serving\":{\"access_log\":\"1/1\",\"rollout\":\"start-first\",\"hold\":false}}"),
		     200);
	is(f, "{\"concurrency\":5,\"drain_seconds\":60,\"rollout\":\"start-first\",\"access_log\":\"all\",\"hold\":"
	      "false}");
	cr_assert_eq(fix_status(f, "PATCH", "/v1/apps/shop", f->deployer, "{\"serving\":{}}"), 200);
	is(f, "{\"concurrency\":5,\"drain_seconds\":60,\"rollout\":\"start-first\",\"access_log\":\"all\",\"hold\":"
	      "false}");
	fix_stop(f);
}

Test(api, serving_refuses_and_names_the_field)
{
	static const struct {
		const char *value, *field;
	} bad[] = {
		{"[]", "serving"},
		{"{\"concurrency\":-1}", "concurrency"},
		{"{\"concurrency\":\"many\"}", "concurrency"},
		{"{\"concurrency\":1e9}", "concurrency"},
		{"{\"drain_seconds\":100000}", "drain_seconds"},
		{"{\"rollout\":\"canary\"}", "rollout"},
		{"{\"rollout\":1}", "rollout"},
		{"{\"access_log\":\"1/0\"}", "access_log"},
		{"{\"access_log\":\"1/\"}", "access_log"},
		{"{\"access_log\":\"2/3\"}", "access_log"},
		{"{\"access_log\":\"on\"}", "access_log"},
		{"{\"hold\":\"on\"}", "hold"},
		{"{\"unknown\":1}", "unknown"},
		{"{\"concurrency\":3,\"hold\":7}", "hold"},
	};
	struct fix *f = fix_start(false);

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char body[200];
		struct reply r;

		snprintf(body, sizeof body, "{\"serving\":%s}", bad[i].value);
		r = fix_request(f, "PATCH", "/v1/apps/shop", f->deployer, NULL, body);
		cr_assert_eq(r.status, 400, "%s: %d", body, r.status);
		cr_assert(strstr(r.body, bad[i].field), "%s: %s", body, r.body);
		reply_done(&r);
	}
	is(f, "{\"concurrency\":0,\"drain_seconds\":0,\"rollout\":\"auto\",\"access_log\":\"off\",\"hold\":false}");
	cr_assert_eq(fix_status(f, "PATCH", "/v1/apps/shop", f->reader, "{\"serving\":{\"hold\":true}}"), 403);
	cr_assert_eq(fix_status(f, "PATCH", "/v1/apps/theirs", f->deployer, "{\"serving\":{\"hold\":true}}"), 404);
	fix_stop(f);
}
