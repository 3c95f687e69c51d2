/* Top talkers through the API. */
#include "tests/unit/test_api_client.h"
#include "tests/unit/test_api_fixture.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

Test(api, talkers_are_asked_for)
{
	struct fix *f = fix_start(false);
	struct reply r = fix_request(f, "GET", "/v1/apps/shop/talkers?by=time&for=2s&limit=7", f->reader, NULL, NULL);
	json_t *j = json_loads(r.body, 0, NULL);

	cr_assert_eq(r.status, 200);
	cr_assert_str_eq(json_string_value(json_object_get(j, "by")), "time");
	cr_assert_eq(json_integer_value(json_object_get(j, "ms")), 2000);
	cr_assert_eq(json_integer_value(json_object_get(j, "limit")), 7);
	cr_assert_eq(json_integer_value(json_object_get(j, "app")), f->shop.id);
	json_decref(j);
	reply_done(&r);
	r = fix_request(f, "GET", "/v1/node/talkers", f->operator, NULL, NULL);
	cr_assert_eq(r.status, 200);
	cr_assert(strstr(r.body, "\"app\":0") && strstr(r.body, "\"ms\":5000") && strstr(r.body, "\"by\":\"requests\""),
		  "%s", r.body);
	reply_done(&r);
	/* Nobody sees what is another's. */
	cr_assert_eq(fix_status(f, "GET", "/v1/apps/theirs/talkers", f->reader, NULL), 404);
	cr_assert_eq(fix_status(f, "GET", "/v1/node/talkers", f->admin, NULL), 403);
	fix_stop(f);
}

Test(api, talkers_refuse_what_cannot_be)
{
	static const char *const bad[] = {"by=cpu", "by=", "for=0s", "for=61s", "for=x", "limit=0", "limit=129"};
	struct fix *f = fix_start(false);

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char path[100];

		snprintf(path, sizeof path, "/v1/apps/shop/talkers?%s", bad[i]);
		cr_assert_eq(fix_status(f, "GET", path, f->reader, NULL), 400, "%s", bad[i]);
	}
	f->busy = true;
	cr_assert_eq(fix_status(f, "GET", "/v1/apps/shop/talkers", f->reader, NULL), 429);
	fix_stop(f);
}

/* Who leaves is not counted for any more. */
Test(api, talkers_end_with_their_client)
{
	struct fix *f = fix_start(false);
	int fd = fix_connect(f);
	char head[300];

	snprintf(head, sizeof head,
		 "GET /v1/apps/shop/talkers?for=3s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", f->reader);
	cr_assert_eq(write(fd, head, strlen(head)), (ssize_t)strlen(head));
	usleep(100000);
	cr_assert_eq(f->talks_cancelled, 0u);
	close(fd);
	for (int i = 0; i < 300 && !f->talks_cancelled; i++)
		usleep(10000);
	cr_assert_eq(f->talks_cancelled, 1u);
	fix_stop(f);
}
