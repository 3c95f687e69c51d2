/* Tokens, Basic, cookies, throttling, idempotency, tags. */
#include "tests/unit/test_api_client.h"
#include "tests/unit/test_api_fixture.h"

#include "base/own.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <string.h>

Test(api, basic_takes_the_token_as_password)
{
	struct fix *f = fix_start(false);
	char plain[128], b64[256], header[320];
	struct reply r;

	snprintf(plain, sizeof plain, "x:%s", f->reader);
	EVP_EncodeBlock((unsigned char *)b64, (unsigned char *)plain, (int)strlen(plain));
	snprintf(header, sizeof header, "Authorization: Basic %s\r\n", b64);
	r = fix_request(f, "GET", "/v1/whoami", NULL, header, NULL);
	cr_assert_eq(r.status, 200, "%s", r.text);
	reply_done(&r);
	for (size_t i = 0; i < 4; i++) {
		static const char *const bad[] = {"Authorization: Basic !!!!\r\n", "Authorization: Basic eA==\r\n",
						  "Authorization: Digest x\r\n", "Authorization: Basic \r\n"};
		r = fix_request(f, "GET", "/git/shop.git/info/refs?service=git-upload-pack", NULL, bad[i], NULL);
		cr_assert_eq(r.status, 401, "%s: %d", bad[i], r.status);
		cr_assert_not_null(strstr(reply_header(&r, "WWW-Authenticate"), "Basic realm="));
		reply_done(&r);
	}
	fix_stop(f);
}

Test(api, sessions_by_cookie)
{
	struct fix *f = fix_start(false);
	char body[128], cookie[512], with[640];
	struct reply r;

	snprintf(body, sizeof body, "{\"token\":\"%s\"}", f->admin);
	cr_assert_eq(fix_status(f, "POST", "/v1/session", NULL, "{\"token\":\"tul_no\"}"), 401);
	r = fix_request(f, "POST", "/v1/session", NULL, "Origin: http://shop.localhost\r\n", body);
	cr_assert_eq(r.status, 403, "a login from another site");
	reply_done(&r);
	r = fix_request(f, "POST", "/v1/session", NULL,
			"Origin: http://tulou.localhost\r\nX-Forwarded-Proto: https\r\n", body);
	cr_assert_eq(r.status, 204, "%s", r.text);
	snprintf(cookie, sizeof cookie, "%s", reply_header(&r, "Set-Cookie"));
	cr_assert_not_null(strstr(cookie, "; HttpOnly; SameSite=Strict; Max-Age=43200; Secure"));
	cr_assert_null(strstr(cookie, f->admin), "the token itself does not travel");
	*strchr(cookie, ';') = 0;
	reply_done(&r);

	snprintf(with, sizeof with, "Cookie: a=b; %s\r\n", cookie);
	r = fix_request(f, "GET", "/v1/whoami", NULL, with, NULL);
	cr_assert_eq(r.status, 200, "%s", r.text);
	reply_done(&r);
	r = fix_request(f, "PATCH", "/v1/apps/shop", NULL, with, "{\"paused\":true}");
	cr_assert_eq(r.status, 403, "a write must name its origin");
	reply_done(&r);
	snprintf(with, sizeof with, "Cookie: %s\r\nSec-Fetch-Site: same-site\r\nOrigin: http://tulou.localhost\r\n",
		 cookie);
	r = fix_request(f, "PATCH", "/v1/apps/shop", NULL, with, "{\"paused\":true}");
	cr_assert_eq(r.status, 403);
	reply_done(&r);
	r = fix_request(f, "GET", "/v1/apps", NULL, with, NULL);
	cr_assert_eq(r.status, 403, "nor is anything read from another site");
	reply_done(&r);
	snprintf(with, sizeof with, "Cookie: %s\r\nSec-Fetch-Site: same-origin\r\n", cookie);
	r = fix_request(f, "PATCH", "/v1/apps/shop", NULL, with, "{\"paused\":true}");
	cr_assert_eq(r.status, 200, "%s", r.text);
	cr_assert_not_null(strstr(r.body, "\"paused\":true"));
	reply_done(&r);

	/* a changed bit is no session; logging out ends it */
	cookie[30] = cookie[30] == 'a' ? 'b' : 'a';
	snprintf(with, sizeof with, "Cookie: %s\r\n", cookie);
	r = fix_request(f, "GET", "/v1/whoami", NULL, with, NULL);
	cr_assert_eq(r.status, 401);
	reply_done(&r);
	r = fix_request(f, "POST", "/v1/session", NULL, NULL, body);
	snprintf(cookie, sizeof cookie, "%s", reply_header(&r, "Set-Cookie"));
	*strchr(cookie, ';') = 0;
	reply_done(&r);
	snprintf(with, sizeof with, "Cookie: %s\r\nOrigin: http://tulou.localhost\r\n", cookie);
	r = fix_request(f, "DELETE", "/v1/session", NULL, with, NULL);
	cr_assert_eq(r.status, 204);
	cr_assert_not_null(strstr(reply_header(&r, "Set-Cookie"), "Max-Age=0"));
	reply_done(&r);
	r = fix_request(f, "GET", "/v1/whoami", NULL, with, NULL);
	cr_assert_eq(r.status, 401);
	reply_done(&r);
	fix_stop(f);
}

Test(api, wrong_tokens_are_throttled_per_address)
{
	struct fix *f = fix_start(false);
	const char *from = "X-Forwarded-For: 203.0.113.9\r\n", *elsewhere = "X-Forwarded-For: 203.0.113.10\r\n";
	int status = 0;
	struct reply r;

	/* this one is seen valid before */
	r = fix_request(f, "GET", "/v1/whoami", f->reader, from, NULL);
	cr_assert_eq(r.status, 200);
	reply_done(&r);
	for (int i = 0; i < LIMIT_API_FAILURES + 1; i++) {
		r = fix_request(f, "GET", "/v1/whoami", "tul_guess", from, NULL);
		status = r.status;
		cr_assert_eq(status, i < LIMIT_API_FAILURES ? 401 : 429);
		reply_done(&r);
	}
	r = fix_request(f, "GET", "/v1/whoami", f->reader, from, NULL);
	cr_assert_eq(r.status, 200, "a token that is known works on");
	reply_done(&r);
	r = fix_request(f, "GET", "/v1/whoami", f->deployer, from, NULL);
	cr_assert_eq(r.status, 429, "a guess is not even looked at");
	cr_assert_str_eq(reply_header(&r, "Retry-After"), "60");
	reply_done(&r);
	r = fix_request(f, "GET", "/v1/whoami", f->deployer, elsewhere, NULL);
	cr_assert_eq(r.status, 200);
	reply_done(&r);
	fix_stop(f);
}

Test(api, revoked_tokens_end_at_once)
{
	struct fix *f = fix_start(false);
	struct reply r = fix_request(f, "POST", "/v1/tenants/acme/tokens", f->admin, NULL,
				     "{\"role\":\"reader\",\"name\":\"<b>\"}");
	json_t *j = json_loads(r.body, 0, NULL);
	char path[128], secret[80];

	cr_assert_eq(r.status, 201, "%s", r.text);
	cr_assert_str_eq(reply_header(&r, "Cache-Control"), "no-store");
	snprintf(secret, sizeof secret, "%s", json_string_value(json_object_get(j, "token")));
	snprintf(path, sizeof path, "/v1/tenants/acme/tokens/%lld",
		 (long long)json_integer_value(json_object_get(j, "id")));
	json_decref(j);
	reply_done(&r);
	cr_assert_eq(fix_status(f, "GET", "/v1/apps", secret, NULL), 200);
	r = fix_request(f, "GET", "/v1/tenants/acme/tokens", f->admin, NULL, NULL);
	cr_assert_null(strstr(r.body, secret), "lists show no secret");
	reply_done(&r);
	cr_assert_eq(fix_status(f, "DELETE", path, f->deployer, NULL), 403);
	cr_assert_eq(fix_status(f, "DELETE", path, f->other, NULL), 404);
	cr_assert_eq(fix_status(f, "DELETE", path, f->admin, NULL), 204);
	cr_assert_eq(fix_status(f, "GET", "/v1/apps", secret, NULL), 401);
	cr_assert_eq(fix_status(f, "DELETE", path, f->admin, NULL), 404);
	fix_stop(f);
}

Test(api, idempotency_key_repeats_the_answer)
{
	struct fix *f = fix_start(false);
	const char *key = "Idempotency-Key: k-1\r\n";
	struct reply a = fix_request(f, "POST", "/v1/apps", f->deployer, key, "{\"name\":\"once\"}");
	struct reply b = fix_request(f, "POST", "/v1/apps", f->deployer, key, "{\"name\":\"once\"}");
	struct reply r;

	cr_assert_eq(a.status, 201);
	cr_assert_eq(b.status, 201, "%s", b.text);
	cr_assert_str_eq(a.body, b.body);
	cr_assert_str_eq(reply_header(&b, "Idempotency-Replayed"), "true");
	cr_assert_str_eq(reply_header(&b, "Content-Type"), "application/json");
	reply_done(&a);
	reply_done(&b);
	r = fix_request(f, "POST", "/v1/apps", f->deployer, key, "{\"name\":\"twice\"}");
	cr_assert_eq(r.status, 409);
	reply_done(&r);
	/* another token's key is another key */
	r = fix_request(f, "POST", "/v1/apps", f->admin, key, "{\"name\":\"twice\"}");
	cr_assert_eq(r.status, 201);
	reply_done(&r);
	r = fix_request(f, "POST", "/v1/apps", f->deployer, "Idempotency-Key: a b\r\n", "{\"name\":\"x\"}");
	cr_assert_eq(r.status, 400);
	reply_done(&r);
	/* a refusal is not kept */
	r = fix_request(f, "POST", "/v1/apps", f->deployer, "Idempotency-Key: k-2\r\n", "{\"name\":\"once\"}");
	cr_assert_eq(r.status, 409);
	reply_done(&r);
	/* a secret neither */
	r = fix_request(f, "POST", "/v1/tenants/acme/tokens", f->admin, "Idempotency-Key: k-3\r\n",
			"{\"role\":\"reader\"}");
	cr_assert_eq(r.status, 201);
	reply_done(&r);
	r = fix_request(f, "POST", "/v1/tenants/acme/tokens", f->admin, "Idempotency-Key: k-3\r\n",
			"{\"role\":\"reader\"}");
	cr_assert_eq(r.status, 409);
	cr_assert_null(strstr(r.body, "tul_"));
	reply_done(&r);
	fix_stop(f);
}

Test(api, tags_answer_not_modified)
{
	struct fix *f = fix_start(false);
	struct reply r = fix_request(f, "GET", "/v1/apps/shop/formation", f->reader, NULL, NULL);
	char header[128];

	snprintf(header, sizeof header, "If-None-Match: \"x\", W/%s\r\n", reply_header(&r, "ETag"));
	reply_done(&r);
	r = fix_request(f, "GET", "/v1/apps/shop/formation", f->reader, header, NULL);
	cr_assert_eq(r.status, 304);
	cr_assert_eq(r.len, 0);
	reply_done(&r);
	cr_assert_eq(fix_status(f, "PUT", "/v1/apps/shop/formation", f->deployer, "{\"web\":5}"), 200);
	r = fix_request(f, "GET", "/v1/apps/shop/formation", f->reader, header, NULL);
	cr_assert_eq(r.status, 200);
	reply_done(&r);
	r = fix_request(f, "GET", "/", NULL, NULL, NULL);
	cr_assert_eq(r.status, 200);
	cr_assert_not_null(strstr(reply_header(&r, "Content-Security-Policy"), "default-src 'none'"));
	snprintf(header, sizeof header, "If-None-Match: %s\r\n", reply_header(&r, "ETag"));
	reply_done(&r);
	r = fix_request(f, "GET", "/apps/shop", NULL, header, NULL);
	cr_assert_eq(r.status, 304, "pages inside the dashboard are its index: %d", r.status);
	reply_done(&r);
	cr_assert_eq(fix_status(f, "GET", "/nothing.js", NULL, NULL), 404);
	cr_assert_eq(fix_status(f, "POST", "/", NULL, "{}"), 405);
	r = fix_request(f, "GET", "/metrics", f->reader, NULL, NULL);
	cr_assert_str_eq(r.body, "# TYPE x gauge\nx{tenant=\"acme\",app=\"shop\"} 1\n");
	reply_done(&r);
	r = fix_request(f, "GET", "/metrics", f->fleet, NULL, NULL);
	cr_assert_not_null(strstr(r.body, "tulou_api_requests_total{status=\"2xx\"}"));
	cr_assert_not_null(strstr(r.body, "node_x 4"));
	reply_done(&r);
	fix_stop(f);
}
