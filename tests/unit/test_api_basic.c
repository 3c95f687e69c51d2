#include "tests/unit/test_api_client.h"
#include "tests/unit/test_api_fixture.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

Test(api, health_and_version)
{
	struct fix *f = fix_start(false);
	struct reply r = fix_request(f, "GET", "/healthz", NULL, NULL, NULL);

	cr_assert_eq(r.status, 200);
	cr_assert_str_eq(r.body, "{\"status\":\"ok\"}");
	cr_assert_str_eq(reply_header(&r, "X-Content-Type-Options"), "nosniff");
	reply_done(&r);
	cr_assert_eq(fix_status(f, "GET", "/readyz", NULL, NULL), 200);
	f->not_ready = true;
	cr_assert_eq(fix_status(f, "GET", "/readyz", NULL, NULL), 503);
	cr_assert_eq(fix_status(f, "GET", "/version", NULL, NULL), 200);
	cr_assert_eq(fix_status(f, "GET", "/v1/whoami", NULL, NULL), 401);
	r = fix_request(f, "GET", "/v1/whoami", f->admin, NULL, NULL);
	cr_assert_eq(r.status, 200);
	cr_assert_not_null(strstr(r.body, "\"role\":\"admin\",\"tenant\":\"acme\""));
	reply_done(&r);
	fix_stop(f);
}

Test(api, a_write_is_answered_after_its_commit)
{
	struct fix *f = fix_start(false);
	struct reply r = fix_request(f, "POST", "/v1/apps", f->deployer, NULL, "{\"name\":\"blog\"}");

	cr_assert_eq(r.status, 201, "%s", r.text);
	cr_assert_not_null(strstr(r.body, "\"url\":\"http://blog.localhost:8080\""), "%s", r.body);
	cr_assert_not_null(strstr(r.body, "\"git_url\":\"http://tulou.localhost:8080/git/blog.git\""));
	cr_assert_str_eq(reply_header(&r, "Location"), "/v1/apps/blog");
	reply_done(&r);
	cr_assert_geq(f->commits, 1);
	f->fail_commit = true;
	r = fix_request(f, "POST", "/v1/apps", f->deployer, NULL, "{\"name\":\"late\"}");
	cr_assert_eq(r.status, 503);
	cr_assert_not_null(strstr(r.body, "nothing was changed"));
	reply_done(&r);
	f->fail_commit = false;
	cr_assert_eq(fix_status(f, "GET", "/v1/apps/late", f->deployer, NULL), 404);
	fix_stop(f);
}
