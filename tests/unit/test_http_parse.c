/* Heads: what the parser finds, and what it refuses.  The wire-level rules are attacked in tests/proxy. */
#include "web/http/http.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct http_request req;
static struct http_response res;

static int request(const char *s)
{
	return http_parse_request(s, strlen(s), 0, &req);
}

static int response(const char *s)
{
	return http_parse_response(s, strlen(s), 0, &res);
}

static bool same(struct http_str s, const char *want)
{
	return s.n == strlen(want) && memcmp(s.p, want, s.n) == 0;
}

Test(http, request_fields_point_into_the_buffer)
{
	const char *s = "GET /a?b HTTP/1.1\r\nHost: x.test:80\r\nAccept: \t text/html \r\n\r\nrest";

	cr_assert_eq(request(s), (int)(strlen(s) - 4));
	cr_assert_eq(req.method, HTTP_METHOD_GET);
	cr_assert(same(req.target, "/a?b") && same(req.host, "x.test:80"));
	cr_assert_eq(req.target.p, s + 4);
	cr_assert_eq(req.head.count, 2u);
	cr_assert_eq(req.head.fields[1].id, HTTP_FIELD_ACCEPT);
	cr_assert(same(req.head.fields[1].value, "text/html"));
	cr_assert_eq(req.head.content_length, -1);
	cr_assert(req.head.keep_alive && !req.head.chunked && !req.head.upgrade);
}

Test(http, every_prefix_wants_more)
{
	const char *s = "\r\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n";
	size_t n = strlen(s);

	for (size_t seen = 0, k = 0; k < n; seen = k++)
		cr_assert_eq(http_parse_request(s, k, seen, &req), 0, "%zu bytes", k);
	cr_assert_eq(http_parse_request(s, n, n - 1, &req), (int)n);
	s = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
	n = strlen(s);
	for (size_t seen = 0, k = 0; k < n; seen = k++)
		cr_assert_eq(http_parse_response(s, k, seen, &res), 0, "%zu bytes", k);
	cr_assert_eq(http_parse_response(s, n, n - 1, &res), (int)n);
}

Test(http, any_single_byte_changed_never_reads_two_ways)
{
	/* Whatever byte stands anywhere, the framing is one of: refused, the length as it was, or another number. */
	const char *s = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n";
	size_t n = strlen(s);
	char copy[128];

	for (size_t at = 0; at < n; at++)
		for (int b = 0; b < 256; b++) {
			int r;
			memcpy(copy, s, n);
			copy[at] = (char)b;
			r = http_parse_request(copy, n, 0, &req);
			cr_assert_leq(r, (int)n);
			if (r <= 0)
				continue;
			cr_assert_eq(r, (int)n);
			cr_assert(!req.head.chunked);
			for (unsigned i = 0; i < req.head.count; i++) {
				cr_assert_null(memchr(req.head.fields[i].value.p, '\r', req.head.fields[i].value.n));
				cr_assert_null(memchr(req.head.fields[i].value.p, '\n', req.head.fields[i].value.n));
				cr_assert_null(memchr(req.head.fields[i].value.p, 0, req.head.fields[i].value.n));
			}
		}
}

Test(http, connection_and_versions)
{
	static const struct {
		const char *head;
		bool keep;
	} rows[] = {
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", true},
		{"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", false},
		{"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Close\r\n\r\n", false},
		{"GET / HTTP/1.1\r\nHost: x\r\nConnection: ,,\r\n\r\n", true},
		{"GET / HTTP/1.0\r\nHost: x\r\n\r\n", false},
		{"GET / HTTP/1.0\r\nHost: x\r\nConnection: Keep-Alive\r\n\r\n", true},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		cr_assert_gt(request(rows[i].head), 0, "%s", rows[i].head);
		cr_assert_eq(req.head.keep_alive, rows[i].keep, "%s", rows[i].head);
	}
}

Test(http, connection_drops_what_it_names)
{
	cr_assert_gt(
		request("GET / HTTP/1.1\r\nX-Hop: 1\r\nHost: x\r\nConnection: x-hop , TE\r\nA_B: 1\r\nStay: 1\r\n\r\n"),
		0);
	cr_assert(req.head.fields[0].drop, "named before Connection came");
	cr_assert(req.head.fields[3].drop, "underscore");
	cr_assert(!req.head.fields[4].drop);
}

Test(http, upgrade_is_websocket_on_a_bodyless_get)
{
#define UP "Host: x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"
	cr_assert_gt(request("GET / HTTP/1.1\r\n" UP "\r\n"), 0);
	cr_assert(req.head.upgrade);
	cr_assert_gt(request("GET / HTTP/1.1\r\n" UP "Content-Length: 0\r\n\r\n"), 0);
	cr_assert(req.head.upgrade);
	cr_assert_gt(request("GET / HTTP/1.1\r\n" UP "Content-Length: 1\r\n\r\n"), 0);
	cr_assert(!req.head.upgrade);
	cr_assert_gt(request("GET / HTTP/1.1\r\n" UP "Upgrade: h2c\r\n\r\n"), 0);
	cr_assert(!req.head.upgrade);
	cr_assert_gt(request("POST / HTTP/1.1\r\n" UP "\r\n"), 0);
	cr_assert(!req.head.upgrade);
	cr_assert_gt(request("GET / HTTP/1.0\r\n" UP "\r\n"), 0);
	cr_assert(!req.head.upgrade);
}

Test(http, hosts)
{
	static const char *const good[] = {
		"a", "A.b-c_d", "a:1", "a:65535", "127.0.0.1:80", "[::1]", "[::ffff:1.2.3.4]:80", "a:"};
	static const char *const bad[] = {"",	  ":80", "a:65536", "a:x",    "a b", "a/b",  "a@b",
					  "[::1", "[]",	 "[::g]",   "[::1]x", "a,b", "a:1:2"};
	char s[400];

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		snprintf(s, sizeof s, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", good[i]);
		cr_assert_gt(request(s), 0, "%s", good[i]);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		snprintf(s, sizeof s, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", bad[i]);
		cr_assert_eq(request(s), -400, "%s", bad[i]);
		cr_assert_neq(req.head.why[0], '\0');
	}
	snprintf(s, sizeof s, "GET / HTTP/1.1\r\nHost: %0270d\r\n\r\n", 0);
	cr_assert_eq(request(s), -400);
}

Test(http, values_of_every_length_and_alignment)
{
	char s[256];

	/* The fast scan looks at 16 bytes at a time: a bad byte is found wherever it stands. */
	for (int n = 0; n < 70; n++)
		for (int at = 0; at < n; at++) {
			int len = snprintf(s, sizeof s, "GET / HTTP/1.1\r\nHost: x\r\nX: %.*s\r\n\r\n", n,
					   "........................................................................");
			char *v = strstr(s, "X: ") + 3;
			v[at] = '\t';
			cr_assert_eq(http_parse_request(s, (size_t)len, 0, &req), len);
			v[at] = (char)0xff;
			cr_assert_eq(http_parse_request(s, (size_t)len, 0, &req), len);
			for (const char *bad = "\1\x1f\x7f\r"; *bad; bad++) {
				v[at] = *bad;
				cr_assert_eq(http_parse_request(s, (size_t)len, 0, &req), -400, "%d of %d", at, n);
			}
		}
}

Test(http, responses)
{
	cr_assert_gt(response("HTTP/1.1 204 No Content\r\n\r\n"), 0);
	cr_assert_eq(res.status, 204u);
	cr_assert(same(res.reason, "No Content"));
	cr_assert_gt(response("HTTP/1.0 200\r\n\r\n"), 0);
	cr_assert(same(res.reason, "") && !res.head.keep_alive);
	cr_assert_gt(response("HTTP/1.1 200 \xc3\xa9\r\nA_B: kept\r\n\r\n"), 0);
	cr_assert(!res.head.fields[0].drop);
	cr_assert_eq(response("HTTP/1.1 200OK\r\n\r\n"), -502);
	cr_assert_eq(response("HTTP/1.1 200 OK\n\n"), 0, "may still become a head, up to its limit");
	cr_assert_eq(response("ICY 200 OK\r\n"), -502);
	cr_assert_eq(response("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"), -502);
}

Test(http, methods_and_statuses)
{
	cr_assert(http_idempotent(HTTP_METHOD_GET) && http_idempotent(HTTP_METHOD_DELETE));
	cr_assert(!http_idempotent(HTTP_METHOD_POST) && !http_idempotent(HTTP_METHOD_PATCH) &&
		  !http_idempotent(HTTP_METHOD_OTHER));
	cr_assert(http_bodyless(HTTP_METHOD_HEAD, 200) && http_bodyless(HTTP_METHOD_GET, 304) &&
		  http_bodyless(HTTP_METHOD_GET, 103));
	cr_assert(!http_bodyless(HTTP_METHOD_GET, 200) && !http_bodyless(HTTP_METHOD_POST, 205));
	cr_assert_str_eq(http_reason(502), "Bad Gateway");
	cr_assert_str_eq(http_reason(299), "");
}
