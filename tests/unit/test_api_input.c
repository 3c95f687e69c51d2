/* Bad input: refused with the field and the limit, nothing changed. */
#include "tests/unit/test_api_client.h"
#include "tests/unit/test_api_fixture.h"

#include "base/fd.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

struct bad {
	const char *method, *path, *body;
	int status;
	const char *says; /* part of the answer */
};

Test(api, bad_json_is_refused_with_field_and_limit)
{
	static const struct bad cases[] = {
		{"POST", "/v1/tenants", "{", 400, "not JSON"},
		{"POST", "/v1/tenants", "[]", 400, "JSON object"},
		{"POST", "/v1/tenants", "", 400, "JSON object is needed"},
		{"POST", "/v1/tenants", "{\"name\":\"a\",\"name\":\"b\"}", 400, "duplicate"},
		{"POST", "/v1/tenants", "{\"name\":\"Acme\"}", 400, "\"field\":\"name\""},
		{"POST", "/v1/tenants", "{\"name\":\"-a\"}", 400, "a-z"},
		{"POST", "/v1/tenants", "{\"name\":\"abcdefghijklmnopqrstuvwxyz0123456789\"}", 400, "1 to 32"},
		{"POST", "/v1/tenants", "{\"name\":\"acme\"}", 409, "detail"},
		{"POST", "/v1/tenants", "{\"name\":\"x\",\"colour\":1}", 400, "\"field\":\"colour\""},
		{"POST", "/v1/tenants", "{\"name\":\"x\",\"quota\":{\"cpu\":0.001}}", 400, "outside 0.01..1024"},
		{"POST", "/v1/tenants", "{\"name\":\"x\",\"quota\":{\"cpu\":\"1\"}}", 400, "like 0.5, not \\\"1\\\""},
		{"POST", "/v1/tenants", "{\"name\":\"x\",\"quota\":{\"memory_bytes\":\"1KiB\"}}", 400,
		 "\"field\":\"memory_bytes\""},
		{"POST", "/v1/tenants", "{\"name\":\"x\",\"quota\":{\"memory_bytes\":1}}", 400,
		 "1 byte is outside 8 MiB to 4 TiB"},
		{"POST", "/v1/tenants", "{\"name\":\"x\",\"quota\":{\"pids\":-1}}", 400, "outside 4.."},
		{"PATCH", "/v1/tenants/acme", "{}", 400, "nothing to change"},
		{"PATCH", "/v1/tenants/acme", "{\"plan\":\"none-such\"}", 404, "there is no plan \\\"none-such\\\""},
		{"PATCH", "/v1/tenants/acme", "{\"quota\":{\"pids\":null}}", 400, "on no plan"},
		{"PATCH", "/v1/tenants/acme", "{\"profile\":\"paranoid\"}", 400,
		 "profile: must be default or strict, not \\\"paranoid\\\""},
		{"PATCH", "/v1/tenants/acme", "{\"egress\":{\"mode\":\"some\"}}", 400,
		 "egress.mode: must be none, public or list, not \\\"some\\\""},
		{"PATCH", "/v1/tenants/acme", "{\"egress\":{\"mode\":\"none\",\"allow\":[\"1.2.3.4\"]}}", 400, "list"},
		{"PATCH", "/v1/apps/shop", "{\"egress\":{\"mode\":\"list\",\"allow\":[\"example.com\"]}}", 400,
		 "egress.allow[0]"},
		{"PATCH", "/v1/apps/shop", "{\"egress\":\"none\"}", 400,
		 "egress: expected an object, not \\\"none\\\""},
		{"PATCH", "/v1/apps/shop",
		 "{\"egress\":{\"mode\":\"list\",\"allow\":[\"203.0.113.0/24\",\"10.0.0.0/8:443\"]}}", 400,
		 "egress.allow[1]: 10.0.0.0/8:443 lies in a range that stays closed"},
		{"PATCH", "/v1/apps/shop", "{\"egress\":{\"mode\":\"list\",\"allow\":[\"192.168.7.7\"]}}", 400,
		 "stays closed"},
		{"PATCH", "/v1/apps/shop", "{\"egress\":{\"mode\":\"list\",\"allow\":[\"239.1.2.3:5000\"]}}", 400,
		 "stays closed"},
		{"PATCH", "/v1/apps/shop", "{\"egress\":{\"mode\":\"list\",\"allow\":[\"169.254.169.254:80\"]}}", 400,
		 "stays closed"},
		{"POST", "/v1/plans", "{\"name\":\"Big\"}", 400, "name"},
		{"POST", "/v1/plans", "{\"name\":\"big\",\"limits\":{\"pids\":1}}", 400,
		 "\"limits.pids: 1 is outside 4..32768\",\"field\":\"limits.pids\""},
		{"PATCH", "/v1/plans/none-such", "{}", 404, "there is no plan"},
		{"POST", "/v1/apps", "{\"name\":\"x\"}", 400, "\"field\":\"tenant\""},
		{"POST", "/v1/apps", "{\"name\":\"x\",\"tenant\":\"nobody\"}", 404,
		 "there is no tenant \\\"nobody\\\""},
		{"POST", "/v1/apps", "{\"name\":\"tulou\",\"tenant\":\"acme\"}", 400, "control plane's own"},
		{"PATCH", "/v1/tenants/acme", "{\"egress\":null}", 400, "on no plan\",\"field\":\"egress\""},
		{"PUT", "/v1/tenants/acme/quota", "{\"memory_bytes\":null}", 400, "on no plan"},
		{"POST", "/v1/apps", "{\"name\":\"theirs\",\"tenant\":\"acme\"}", 409, "taken"},
		{"POST", "/v1/apps", "{\"name\":\"x\",\"tenant\":\"acme\",\"limits\":{\"memory_bytes\":\"3TiB\"}}", 403,
		 "quota"},
		{"PATCH", "/v1/apps/shop", "{\"paused\":\"yes\"}", 400,
		 "paused: expected true or false, not \\\"yes\\\""},
		{"PATCH", "/v1/apps/shop", "{\"health_path\":\"health\"}", 400, "\\\"health\\\" must begin with"},
		{"PATCH", "/v1/apps/shop", "{\"health_path\":\"/a b\"}", 400, "visible ASCII"},
		{"PATCH", "/v1/apps/shop", "{\"limits\":{\"pids\":1}}", 400, "outside 4..32768"},
		{"PUT", "/v1/apps/shop/formation", "{\"web\":101}", 400,
		 "formation.web: 101 is outside 0..100\",\"field\":\"web\""},
		{"PUT", "/v1/apps/shop/formation", "{\"web\":1.5}", 400,
		 "formation.web: \\\"1.5\\\" is not a whole number from 0 to 100\",\"field\":\"web\""},
		{"PUT", "/v1/apps/shop/formation", "{\"web\":\"x\"}", 400, "\\\"x\\\" is not a whole number from 0"},
		{"PUT", "/v1/apps/shop/formation", "{\"web\":null}", 400,
		 "formation.web: expected a whole number, not null"},
		{"PUT", "/v1/apps/shop/formation", "{\"Web\":1}", 400, "formation.Web"},
		{"PUT", "/v1/apps/shop/formation", "{\"clock\":1}", 400, "no such process type; it has web, worker"},
		{"PATCH", "/v1/apps/shop/config", "{\"1A\":\"x\"}", 400, "digit"},
		{"PATCH", "/v1/apps/shop/config", "{\"PORT\":\"1\"}", 400, "set by the node"},
		{"PATCH", "/v1/apps/shop/config", "{\"TULOU_X\":\"1\"}", 400, "the node's"},
		{"PATCH", "/v1/apps/shop/config", "{\"A\":1}", 400, "expected a string"},
		{"PATCH", "/v1/apps/shop/config", "{\"A\":\"\\u0000\"}", 400, "detail"},
		{"POST", "/v1/apps/shop/domains", "{\"host\":\"evil.localhost\"}", 400, "node's own domain"},
		{"POST", "/v1/apps/shop/domains", "{\"host\":\"tulou.localhost\"}", 400, "node's own domain"},
		{"POST", "/v1/apps/shop/domains", "{\"host\":\"127.0.0.1\"}", 400, "address"},
		{"POST", "/v1/apps/shop/domains", "{\"host\":\"example\"}", 400, "two labels"},
		{"POST", "/v1/apps/shop/domains", "{\"host\":\"Example.com\"}", 400, "lower case"},
		{"POST", "/v1/apps/shop/domains", "{\"host\":\"*\"}", 400, "host"},
		{"PUT", "/v1/apps/shop/certificates", "{}", 400, "certificate: is required"},
		{"PUT", "/v1/apps/shop/certificates", "{\"certificate\":\"x\",\"key\":\"y\"}", 400, "no PEM block"},
		{"PUT", "/v1/apps/shop/certificates", "{\"certificate\":\"x\",\"key\":\"y\",\"app\":1}", 400, "app"},
		{"DELETE", "/v1/apps/shop/certificates/1x", NULL, 404, "no certificate \\\"1x\\\""},
		{"DELETE", "/v1/apps/shop/certificates/77", NULL, 404, "no certificate \\\"77\\\""},
		{"DELETE", "/v1/tokens/77", NULL, 404, "no token \\\"77\\\" here"},
		{"DELETE", "/v1/tokens/1x", NULL, 404, "no token \\\"1x\\\" here"},
		{"PATCH", "/v1/apps/shop/front", "{\"allow\":[\"1.2.3\"]}", 400, "not \\\"1.2.3\\\""},
		{"POST", "/v1/apps", "{\"name\":\"UPPER\",\"tenant\":\"acme\"}", 400, "not \\\"UPPER\\\""},
		{"PATCH", "/v1/apps/shop", "{\"https\":\"maybe\"}", 400, "on, off or redirect, not \\\"maybe\\\""},
		{"PATCH", "/v1/apps/shop", "{\"https\":[]}", 400, "https: expected a string, not an array"},
		{"PATCH", "/v1/apps/shop", "{\"serving\":{\"rollout\":\"never\\u001b[2J\"}}", 400,
		 "auto, start-first or hold, not \\\"never\\\\x1b[2J\\\""},
		{"PATCH", "/v1/apps/shop", "{\"serving\":{\"access_log\":\"2/3\"}}", 400, "not \\\"2/3\\\""},
		{"PATCH", "/v1/apps/shop", "{\"hsts\":63072001}", 400, "hsts"},
		{"POST", "/v1/apps/shop/rollback", "{\"version\":99}", 404, "no release v99"},
		{"POST", "/v1/apps/shop/rollback", "{\"version\":1}", 409, "live already"},
		{"POST", "/v1/apps/shop/rollback", "{}", 409, "no earlier release"},
		{"POST", "/v1/apps/shop/runs", "{\"command\":\" \"}", 400, "empty"},
		{"POST", "/v1/tenants/acme/tokens", "{\"role\":\"operator\"}", 400,
		 "admin, deployer or reader, not \\\"operator\\\""},
		{"POST", "/v1/tokens", "{\"role\":\"admin\"}", 400, "operator or fleet"},
		{"PUT", "/v1/node/eligibility", "{}", 400, "eligible: is required"},
		{"GET", "/v1/apps?limit=0", NULL, 400, "outside 1..200"},
		{"GET", "/v1/apps?limit=x", NULL, 400, "whole number"},
		{"GET", "/v1/apps?after=-1", NULL, 400, "whole number"},
		{"GET", "/v1/apps?x=%00", NULL, 400, "query"},
		{"GET", "/v1/apps?x=%zz", NULL, 400, "query"},
		{"GET", "/v1/node/state?wait=2m", NULL, 400, "wait"},
		{"GET", "/v1/node/state?since=-3", NULL, 400, "since"},
		{"GET", "/v1/apps/shop/logs?lines=10001", NULL, 400, "lines"},
		{"GET", "/v1/apps/shop/logs?follow=maybe", NULL, 400, "follow: must be 1 or 0, not \\\"maybe\\\""},
		{"GET", "/v1/apps/shop/metrics?minutes=0", NULL, 400, "minutes"},
		{"GET", "/v1/tenants/acme/usage?since=yesterday", NULL, 400, "since"},
		{"GET", "/v1/apps/sh%2Fop", NULL, 400, "malformed"},
		{"GET", "/v1/apps/shop%00", NULL, 400, "malformed"},
		{"GET", "/v1/apps/shop/builds/1x", NULL, 404, "no build \\\"1x\\\""},
		{"GET", "/v1/apps/shop/releases/v9", NULL, 404, "release"},
		{"GET", "/v1/nothing", NULL, 404, "nothing at this path"},
		{"GET", "/v1/apps/shop/", NULL, 404, "nothing"},
		{"GET", "/v1//apps", NULL, 404, "nothing"},
		{"DELETE", "/v1/apps/shop/instances/42", NULL, 404, "instance"},
		{"DELETE", "/v1/tenants/acme", NULL, 409, "still has apps"},
		{"DELETE", "/v1/apps", NULL, 405, "GET, POST"},
		{"PUT", "/v1/apps/shop", "{}", 405, "GET, PATCH, DELETE"},
		{"DELETE", "/v1/apps/shop", "{}", 400, "takes no body"},
		{"GET", "/git/shop.git/HEAD", NULL, 404, "nothing"},
		{"GET", "/git/shop.git/info/refs", NULL, 403, "only smart HTTP"},
	};
	struct fix *f = fix_start(false);

	fix_release(f);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct bad *c = &cases[i];
		struct reply r = fix_request(f, c->method, c->path, f->operator, NULL, c->body);
		cr_assert_eq(r.status, c->status, "%s %s %s: %d %s", c->method, c->path, c->body ? c->body : "",
			     r.status, r.body);
		cr_assert_not_null(strstr(r.body, c->says), "%s %s %s: %s", c->method, c->path, c->body ? c->body : "",
				   r.body);
		if (strncmp(c->path, "/git", 4) != 0)
			cr_assert_str_eq(reply_header(&r, "Content-Type"), "application/problem+json");
		reply_done(&r);
	}
	cr_assert_eq(f->released, 0);
	cr_assert_eq(fix_status(f, "GET", "/v1/apps/shop", f->admin, NULL), 200);
	fix_stop(f);
}

Test(api, content_types_and_sizes)
{
	struct fix *f = fix_start(false);
	size_t n = LIMIT_JSON_BODY + 10;
	char *big = malloc(n + 1), path[8000];
	struct reply r;

	memset(big, ' ', n);
	big[n] = 0;
	r = fix_request(f, "POST", "/v1/tenants", f->operator, NULL, big);
	cr_assert_eq(r.status, 413, "%s", r.text);
	reply_done(&r);
	r = fix_request(f, "POST", "/v1/tenants", f->operator, "Content-Type: application/x-www-form-urlencoded\r\n",
			"{}");
	cr_assert_eq(r.status, 415);
	reply_done(&r);
	r = fix_request(f, "POST", "/v1/tenants", f->operator, "Content-Encoding: gzip\r\n", "{}");
	cr_assert_eq(r.status, 415);
	reply_done(&r);
	memset(path, 'a', sizeof path);
	memcpy(path, "/v1/", 4);
	path[6000] = 0;
	cr_assert_eq(fix_status(f, "GET", path, f->operator, NULL), 414);
	r = fix_request(f, "OPTIONS", "/v1/apps/shop", NULL, NULL, NULL);
	cr_assert_eq(r.status, 204);
	cr_assert_str_eq(reply_header(&r, "Allow"), "GET, PATCH, DELETE");
	reply_done(&r);
	r = fix_request(f, "HEAD", "/v1/apps/shop", f->reader, NULL, NULL);
	cr_assert_eq(r.status, 200);
	cr_assert_eq(r.len, 0);
	reply_done(&r);
	/* chunked and endless: cut at the limit, answered at its end */
	{
		int fd = fix_connect(f);
		char *head, out[4096];
		int len = asprintf(&head,
				   "POST /v1/tenants HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: "
				   "application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
				   f->operator);
		cr_assert_eq(fd_write_all(fd, head, (size_t)len), 0);
		free(head);
		for (int i = 0; i < 2; i++) {
			len = asprintf(&head, "%zx\r\n%s\r\n", n, big);
			cr_assert_eq(fd_write_all(fd, head, (size_t)len), 0);
			free(head);
		}
		fd_write_all(fd, "0\r\n\r\n", 5);
		cr_assert(fix_read_until(fd, "\r\n\r\n", out, sizeof out));
		cr_assert_not_null(strstr(out, " 413 "), "%s", out);
		close(fd);
	}
	free(big);
	fix_stop(f);
}

static void roll_newest(struct fix *f, void *arg)
{
	struct model_release r = {0};

	(void)arg;
	cr_assert_eq(store_release_find(f->store, f->shop.id, 3, &r, NULL), 0);
	f->shop.candidate = r.id;
	cr_assert_eq(store_app_update(f->store, &f->shop, NULL), 0);
	model_release_done(&r);
}

Test(api, config_vars_have_a_total)
{
	struct fix *f = fix_start(false);
	char body[40000], *p = body;
	struct reply r;

	memcpy(p, "{\"A\":\"", 6);
	p += 6;
	memset(p, 'x', LIMIT_CONFIG_VALUE + 1);
	memcpy(p + LIMIT_CONFIG_VALUE + 1, "\"}", 3);
	r = fix_request(f, "PATCH", "/v1/apps/shop/config", f->deployer, NULL, body);
	cr_assert_eq(r.status, 400);
	cr_assert_not_null(strstr(r.body, "limit of 32768"));
	reply_done(&r);
	memcpy(p + LIMIT_CONFIG_VALUE, "\"}", 3);
	cr_assert_eq(fix_status(f, "PATCH", "/v1/apps/shop/config", f->deployer, body), 200);
	body[2] = 'B';
	r = fix_request(f, "PATCH", "/v1/apps/shop/config", f->deployer, NULL, body);
	cr_assert_eq(r.status, 400);
	cr_assert_not_null(strstr(r.body, "65536"), "%s", r.body);
	reply_done(&r);
	r = fix_request(f, "PATCH", "/v1/apps/shop/config", f->deployer, NULL, "{\"A\":null,\"K\":\"v\"}");
	cr_assert_str_eq(r.body, "{\"K\":\"v\"}");
	reply_done(&r);
	cr_assert_eq(f->released, 0, "no release before the first deploy");
	/* with a release: a new one, and no change when it cannot be made */
	fix_release(f);
	cr_assert_eq(fix_status(f, "PATCH", "/v1/apps/shop/config", f->deployer, "{\"K\":\"v\"}"), 200);
	cr_assert_eq(f->released, 0, "nothing changed");
	cr_assert_eq(fix_status(f, "PATCH", "/v1/apps/shop/config", f->deployer, "{\"K\":\"w\"}"), 200);
	cr_assert_eq(f->released, 1);
	/* that one failed: the live release does not have it yet, so the same again makes another */
	r = fix_request(f, "PATCH", "/v1/apps/shop/config", f->deployer, NULL, "{\"K\":\"w\"}");
	cr_assert(strstr(r.text, "Tulou-Changed: 0\r\n") && strstr(r.text, "Tulou-Release: 3\r\n"), "%s", r.text);
	cr_assert_eq(f->released, 2);
	reply_done(&r);
	r = fix_request(f, "GET", "/v1/apps/shop/releases/3", f->deployer, NULL, NULL);
	cr_assert_not_null(strstr(r.body, "\"note\":\"Set config K\""), "%s", r.body);
	reply_done(&r);
	/* one that is under way and has it is the one to wait for */
	fix_call(f, roll_newest, NULL);
	r = fix_request(f, "PATCH", "/v1/apps/shop/config", f->deployer, NULL, "{\"K\":\"w\"}");
	cr_assert(strstr(r.text, "Tulou-Release: 3\r\n"), "%s", r.text);
	cr_assert_eq(f->released, 2);
	reply_done(&r);
	r = fix_request(f, "PATCH", "/v1/apps/shop/config", f->deployer, NULL, "{\"NOPE\":null}");
	cr_assert(r.status == 200 && strstr(r.text, "Tulou-Changed: 0\r\n"), "%s", r.text);
	cr_assert_eq(f->released, 2, "nothing changed");
	reply_done(&r);
	f->busy = true;
	cr_assert_eq(fix_status(f, "PATCH", "/v1/apps/shop/config", f->deployer, "{\"K\":null,\"L\":\"1\"}"), 409);
	r = fix_request(f, "GET", "/v1/apps/shop/config", f->deployer, NULL, NULL);
	cr_assert_str_eq(r.body, "{\"K\":\"w\"}");
	reply_done(&r);
	cr_assert_eq(fix_status(f, "GET", "/v1/apps/shop/config", f->reader, NULL), 403);
	fix_stop(f);
}

Test(api, formation_keeps_to_the_quota)
{
	struct fix *f = fix_start(false);
	struct reply r;

	cr_assert_eq(fix_status(f, "PUT", "/v1/tenants/acme/quota", f->operator, "{\"instances\":3}"), 200);
	cr_assert_eq(fix_status(f, "PUT", "/v1/apps/shop/formation", f->deployer, "{\"web\":2,\"worker\":1}"), 200);
	r = fix_request(f, "PUT", "/v1/apps/shop/formation", f->deployer, NULL, "{\"web\":3}");
	cr_assert_eq(r.status, 403);
	cr_assert_not_null(strstr(r.body, "quota of 3"), "%s", r.body);
	reply_done(&r);
	r = fix_request(f, "PUT", "/v1/apps/shop/formation", f->deployer, NULL, "{\"worker\":0}");
	cr_assert_str_eq(r.body, "{\"web\":2,\"worker\":0}", "types not named keep their count: %s", r.body);
	reply_done(&r);
	/* a quota that was lowered later does not hinder scaling down */
	cr_assert_eq(fix_status(f, "PUT", "/v1/tenants/acme/quota", f->operator, "{\"instances\":0}"), 200);
	cr_assert_eq(fix_status(f, "PUT", "/v1/apps/shop/formation", f->deployer, "{\"web\":1}"), 200);
	fix_stop(f);
}
