/* What an app's object says of its checks, and of why it is empty. */
#include "tests/unit/test_api_client.h"
#include "tests/unit/test_api_fixture.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* A member of the app, as compact JSON. */
static const char *member(struct fix *f, const char *key)
{
	static char text[512];
	struct reply r = fix_request(f, "GET", "/v1/apps/shop", f->reader, NULL, NULL);
	json_t *j = json_loads(r.body, 0, NULL);
	char *s = json_dumps(json_object_get(j, key), JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);

	snprintf(text, sizeof text, "%s", s ? s : "absent");
	free(s);
	json_decref(j);
	reply_done(&r);
	return text;
}

static void build_add(struct fix *f, void *arg)
{
	struct model_build b;

	cr_assert_eq(store_build_add(f->store, f->shop.id, "tarball", "", &b, NULL), 0);
	b.state = *(enum model_build_state *)arg;
	cr_assert_eq(store_build_update(f->store, &b, NULL), 0);
}

Test(api, an_empty_app_says_why)
{
	struct fix *f = fix_start(false);
	enum model_build_state state = MODEL_BUILD_RUNNING;

	cr_assert_str_eq(member(f, "empty"), "\"never deployed\"");
	fix_call(f, build_add, &state);
	cr_assert_str_eq(member(f, "empty"), "\"building\"");
	state = MODEL_BUILD_FAILED;
	fix_call(f, build_add, &state);
	cr_assert_str_eq(member(f, "empty"), "\"build failed\"");
	state = MODEL_BUILD_SUCCEEDED;
	fix_call(f, build_add, &state);
	cr_assert_str_eq(member(f, "empty"), "\"deploy failed\"");
	fix_release(f);
	cr_assert_str_eq(member(f, "empty"), "null");
	fix_stop(f);
}

static void release_add(struct fix *f, void *arg)
{
	struct model_release r = {.app = f->shop.id, .build = 1};

	r.types_json = strdup("{\"web\":\"x\"}");
	r.config_json = strdup("{}");
	r.app_json = strdup(arg);
	cr_assert_eq(store_release_add(f->store, &r, NULL), 0);
	f->shop.release = r.id;
	store_app_update(f->store, &f->shop, NULL);
	model_release_done(&r);
}

Test(api, the_check_in_use_is_shown_with_whose_it_is)
{
	static char files[] = "{\"health_path\":\"/up\",\"health_every_ms\":7500,\"health_failures\":2}",
		    h2c[] = "{\"protocol\":\"h2c\"}";
	struct fix *f = fix_start(false);

	cr_assert_str_eq(member(f, "health"),
			 "{\"check\":\"tcp\",\"failures\":3,\"from\":null,\"interval_seconds\":null,\"path\":null}");
	fix_call(f, release_add, files);
	cr_assert_str_eq(
		member(f, "health"),
		"{\"check\":\"http\",\"failures\":2,\"from\":\"release\",\"interval_seconds\":7.5,\"path\":\"/up\"}");
	cr_assert_eq(fix_status(f, "PATCH", "/v1/apps/shop", f->deployer, "{\"health_path\":\"/mine\"}"), 200);
	cr_assert_str_eq(
		member(f, "health"),
		"{\"check\":\"http\",\"failures\":2,\"from\":\"app\",\"interval_seconds\":7.5,\"path\":\"/mine\"}");
	cr_assert_eq(fix_status(f, "PATCH", "/v1/apps/shop", f->deployer, "{\"health_path\":\"\"}"), 200);
	fix_call(f, release_add, h2c);
	cr_assert_str_eq(member(f, "health"),
			 "{\"check\":\"h2c\",\"failures\":3,\"from\":null,\"interval_seconds\":null,\"path\":null}");
	fix_stop(f);
}
