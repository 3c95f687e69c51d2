/* How an app is served, as the store keeps it. */
#include "base/fd.h"
#include "store/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static char dir[40];
static struct store *s;
static struct model_tenant t;
static struct model_app app, other;

static void begin(void)
{
	struct err e = {0};

	memcpy(dir, "/tmp/tulou-store-serving-XXXXXX", sizeof "/tmp/tulou-store-serving-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(store_open(dir, &s, &e), 0, "%s", e.text);
	cr_assert_eq(store_tenant_add(s, "acme", NULL, &t, &e), 0);
	cr_assert_eq(store_app_add(s, t.id, "shop", &quota_app_default, true, &app, &e), 0);
	cr_assert_eq(store_app_add(s, t.id, "other", &quota_app_default, true, &other, &e), 0);
}

static void end(void)
{
	store_close(s);
	cr_assert_eq(fd_remove_tree(AT_FDCWD, dir), 0);
}

Test(store, serving_is_kept_and_changed, .init = begin, .fini = end)
{
	struct model_serving f = {
		.concurrency = 7, .drain_s = 90, .rollout = MODEL_ROLLOUT_HOLD, .access_log = 100, .hold = true};
	struct model_serving got;
	struct err e = {0};
	uint64_t before;

	memset(&got, 0xff, sizeof got);
	cr_assert_eq(store_serving_get(s, app.id, &got, &e), 0);
	cr_assert(!got.concurrency && !got.drain_s && !got.rollout && !got.access_log && !got.hold,
		  "nothing said: all defaults");
	before = store_generation(s);
	cr_assert_eq(store_serving_set(s, app.id, &f, &e), 0, "%s", e.text);
	cr_assert_gt(store_generation(s), before, "who waits for a change hears of it");
	cr_assert_eq(store_commit(s, &e), 0);
	cr_assert_eq(store_serving_get(s, app.id, &got, &e), 0);
	cr_assert(got.concurrency == 7 && got.drain_s == 90 && got.rollout == MODEL_ROLLOUT_HOLD &&
		  got.access_log == 100 && got.hold);
	cr_assert_eq(store_serving_get(s, other.id, &got, &e), 0);
	cr_assert(!got.concurrency && !got.hold, "another app has its own");
	f = (struct model_serving){.concurrency = 1};
	cr_assert_eq(store_serving_set(s, app.id, &f, &e), 0);
	cr_assert_eq(store_serving_get(s, app.id, &got, &e), 0);
	cr_assert(got.concurrency == 1 && !got.drain_s && !got.rollout && !got.access_log && !got.hold,
		  "all of it is replaced");
}

Test(store, serving_refuses_what_is_over_its_limit, .init = begin, .fini = end)
{
	static const struct {
		struct model_serving f;
		const char *field;
	} bad[] = {
		{{.concurrency = LIMIT_PROXY_CONCURRENCY + 1}, "serving.concurrency"},
		{{.drain_s = LIMIT_DRAIN_S + 1}, "serving.drain_seconds"},
		{{.rollout = MODEL_ROLLOUT_COUNT}, "serving.rollout"},
		{{.access_log = LIMIT_ACCESS_PART + 1}, "serving.access_log"},
	};
	struct model_serving got,
		good = {LIMIT_PROXY_CONCURRENCY, LIMIT_DRAIN_S, MODEL_ROLLOUT_COUNT - 1, LIMIT_ACCESS_PART, true};
	struct err e = {0};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		e = (struct err){0};
		cr_assert_lt(store_serving_set(s, app.id, &bad[i].f, &e), 0);
		cr_assert_str_eq(e.field, bad[i].field);
		cr_assert(strstr(e.text, bad[i].field), "%s", e.text);
	}
	cr_assert_eq(store_serving_get(s, app.id, &got, &e), 0);
	cr_assert(!got.concurrency && !got.drain_s, "a refusal changes nothing");
	cr_assert_eq(store_serving_set(s, app.id, &good, &e), 0, "%s", e.text);
	cr_assert_eq(store_serving_set(s, 99999, &good, &e), -ENOENT);
}

Test(store, serving_goes_with_its_app, .init = begin, .fini = end)
{
	struct model_serving got, f = {.concurrency = 3};
	struct err e = {0};

	cr_assert_eq(store_serving_set(s, app.id, &f, &e), 0);
	cr_assert_eq(store_app_del(s, app.id, &e), 0, "%s", e.text);
	cr_assert_eq(store_serving_get(s, app.id, &got, &e), 0);
	cr_assert_eq(got.concurrency, 0u);
}
