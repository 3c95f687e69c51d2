/* Front doors: networks, prefixes, buckets, the message, and the settings that it is made of. */
#include "base/err.h"
#include "base/json.h"
#include "base/own.h"
#include "web/api/front_doc.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool has(const char *net, const char *address)
{
	struct front_net n, a;

	cr_assert_eq(front_net_parse(net, &n), 0, "%s", net);
	cr_assert_eq(front_net_parse(address, &a), 0, "%s", address);
	return front_net_has(&n, 1, a.address);
}

Test(front, a_path_that_is_refused_is_shown)
{
	struct err e = {0};

	cr_assert_eq(front_path_check("/api/v1", "path", &e), 0);
	cr_assert_eq(front_path_check("api\033", "path", &e), -EINVAL);
	cr_assert(strstr(e.text, "like /api or /v1/files") && strstr(e.text, "not \"api\\x1b\""), "%s", e.text);
}

Test(front, networks)
{
	static const char *const bad[] = {
		"",   "x",	 "1.2.3",	   "1.2.3.4/33", "1.2.3.4/24", "1.2.3.0/024",	    "1.2.3.0/",
		"/8", "::1/129", "2001:db8::1/32", "1.2.3.4 ",	 "01.2.3.4",   "::ffff:1.2.3.4/97", "1.2.3.0/-1"};
	static const char *const good[][2] = {{"1.2.3.4", "1.2.3.4"},
					      {"1.2.3.4/32", "1.2.3.4"},
					      {"0.0.0.0/0", "0.0.0.0/0"},
					      {"10.0.0.0/8", "10.0.0.0/8"},
					      {"::ffff:1.2.3.4", "1.2.3.4"},
					      {"2001:DB8::/32", "2001:db8::/32"},
					      {"::ffff:10.0.0.0/104", "10.0.0.0/8"},
					      {"::/0", "::/0"}};
	struct front_net n;
	char text[FRONT_NET_TEXT];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_eq(front_net_parse(bad[i], &n), -EINVAL, "%s", bad[i]);
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		cr_assert_eq(front_net_parse(good[i][0], &n), 0, "%s", good[i][0]);
		front_net_text(&n, text);
		cr_assert_str_eq(text, good[i][1]);
	}
	cr_assert(has("10.0.0.0/8", "10.255.0.1") && !has("10.0.0.0/8", "11.0.0.0"));
	cr_assert(has("10.0.0.0/9", "10.127.0.1") && !has("10.0.0.0/9", "10.128.0.0"));
	cr_assert(has("0.0.0.0/0", "1.2.3.4") && !has("0.0.0.0/0", "::1"), "IPv4 alone");
	cr_assert(has("::/0", "1.2.3.4") && has("::/0", "::1"));
	cr_assert(has("2001:db8::/33", "2001:db8:7fff::1") && !has("2001:db8::/33", "2001:db8:8000::"));
	cr_assert(has("::ffff:10.0.0.0/104", "10.1.1.1"));
}

Test(front, ambiguous_paths)
{
	static const char *const bad[] = {"/.",	   "/..",      "/./",	   "/a/../b", "/a/..", "/%2e",	 "/%2E%2e/",
					  "/.%2e", "/a/.;x/b", "/a/..;/b", "/a\\b",   "/..?x", "/a/.\\b"};
	static const char *const good[] = {
		"/",	 "/a",	     "//",    "/...", "/.a",	"/a.", "/a..b",		  "/..a",
		"/%2ea", "/a?/../b", "/a?\\", "/%2",  "/%2f..", "*",   "/a%2f%2e%2e%2fb", "/.well-known/x",
		"/%"};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert(front_path_ambiguous(bad[i], strlen(bad[i])), "%s", bad[i]);
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		cr_assert_not(front_path_ambiguous(good[i], strlen(good[i])), "%s", good[i]);
}

Test(front, a_bucket_is_a_rate)
{
	struct front_rate r = {100, 10};
	_Atomic uint64_t full = 0;
	uint64_t now = 5000000000u, wait;

	for (int i = 0; i < 10; i++)
		cr_assert_eq(front_take(&full, now, &r, true), 0, "%d", i);
	wait = front_take(&full, now, &r, true);
	cr_assert_eq(wait, 10000000, "a hundredth of a second");
	cr_assert_eq(front_take(&full, now + wait, &r, false), 0, "to look takes nothing");
	cr_assert_eq(front_take(&full, now + wait, &r, true), 0);
	cr_assert_neq(front_take(&full, now + wait, &r, true), 0);
	/* A steady stream at the rate passes for ever, one at twice the rate by half. */
	unsigned passed = 0;
	now += 1000000000u;
	for (int i = 0; i < 2000; i++)
		passed += front_take(&full, now += 5000000, &r, true) == 0;
	cr_assert(passed >= 1000 && passed <= 1012, "%u", passed);
	/* Left over from a bucket of days. */
	full = now + 1000000000000u;
	cr_assert_eq(front_take(&full, now, &r, true), 0);
	r = (struct front_rate){1000000, 1};
	full = 0;
	cr_assert_eq(front_take(&full, now, &r, true), 0);
	cr_assert_eq(front_take(&full, now, &r, true), 1000);
}

static json_t *doc_of(const char *patch, struct err *e)
{
	OWN_JSON json_t *p = json_loads(patch, 0, NULL);
	json_t *doc = front_doc_read(NULL);

	cr_assert_not_null(p, "%s", patch);
	if (front_doc_patch(doc, p, e) == 0)
		return doc;
	json_decref(doc);
	return NULL;
}

Test(front, bad_settings_name_their_field)
{
	static const char *const rows[][2] = {
		{"{\"x\":1}", "x"},
		{"{\"sticky\":1}", "sticky"},
		{"{\"allow\":\"10.0.0.0/8\"}", "allow"},
		{"{\"allow\":[\"10.0.0.0/8\",\"10.0.0.1/8\"]}", "allow[1]"},
		{"{\"allow\":[1]}", "allow[0]"},
		{"{\"maintenance\":true}", "maintenance"},
		{"{\"maintenance\":{\"On\":true}}", "maintenance.On"},
		{"{\"maintenance\":{\"retry_after\":0}}", "maintenance.retry_after"},
		{"{\"maintenance\":{\"text\":\"a\\nb\"}}", "maintenance.text"},
		{"{\"maintenance\":{\"allow\":[\"x\"]}}", "maintenance.allow[0]"},
		{"{\"auth\":{\"realm\":\"a\\\"b\"}}", "auth.realm"},
		{"{\"auth\":{\"users\":{\"a:b\":\"12345678\"}}}", "auth.users"},
		{"{\"auth\":{\"users\":{\"a\":\"1234567\"}}}", "auth.users"},
		{"{\"auth\":{\"users\":{\"a\":null}}}", "auth.users"},
		{"{\"limits\":{\"burst\":-1}}", "limits.burst"},
		{"{\"limits\":{\"requests_per_second\":1000001}}", "limits.requests_per_second"},
		{"{\"limits\":{\"body_bytes\":\"lots\"}}", "limits.body_bytes"},
		{"{\"limits\":{\"cows\":1}}", "limits.cows"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e = {0};
		cr_assert_null(doc_of(rows[i][0], &e), "%s", rows[i][0]);
		cr_assert_str_eq(e.field, rows[i][1], "%s: %s", rows[i][0], e.text);
		cr_assert_not_null(strstr(e.text, rows[i][1]), "%s: %s", rows[i][0], e.text);
	}
}

Test(front, settings_become_a_message)
{
	struct proxy_msg_front base = {.app = 7, .tenant_slot = 3};
	struct err e = {0};
	OWN_JSON json_t *doc = doc_of("{\"sticky\":true,\"allow\":[\"10.0.0.0/8\",\"::1\"],"
				      "\"maintenance\":{\"on\":true,\"text\":\"söon\",\"allow\":[\"1.2.3.4\"]},"
				      "\"auth\":{\"realm\":\"r\",\"users\":{\"a\":\"12345678\"}},"
				      "\"limits\":{\"requests_per_second\":5,\"client_requests_per_second\":2,"
				      "\"client_burst\":9,\"body_bytes\":\"1KiB\",\"seconds\":3,\"concurrent\":4}}",
				      &e);
	OWN_BUF struct buf b;
	OWN_FREE struct front *f = NULL;
	uint8_t mac[32];

	cr_assert_not_null(doc, "%s", e.text);
	cr_assert_eq(front_doc_route_add(doc, "/api", 8, false, &e), 0);
	cr_assert_eq(front_doc_route_add(doc, "/api/v2", 9, true, &e), 0);
	cr_assert_eq(front_doc_route_add(doc, "/api", 9, true, &e), -EEXIST);
	cr_assert_eq(front_doc_route_del(doc, "/x", &e), -ENOENT);
	buf_init(&b, FRONT_MSG_MAX);
	cr_assert_eq(front_doc_message(doc, &base, &b), 0);
	f = front_read(b.data, b.len);
	cr_assert_not_null(f);
	cr_assert_eq(f->m.app, 7);
	cr_assert_eq(f->m.flags, FRONT_STICKY | FRONT_ALLOW | FRONT_MAINTENANCE | FRONT_AUTH);
	cr_assert(f->m.rate.per_s == 5 && f->m.rate.burst == 5 && f->m.client.per_s == 2 && f->m.client.burst == 9);
	cr_assert(f->m.body_max == 1024 && f->m.time_ms == 3000 && f->m.in_flight == 4 && f->m.retry_s == 300);
	cr_assert_eq(memcmp(f->text, "söon", f->m.text), 0);
	front_user(f->m.key, "a:12345678", 10, mac);
	cr_assert_eq(memcmp(mac, f->users, 32), 0);
	cr_assert_eq(front_path_find(f, "/api/v2/x", 9)->app, 9);
	cr_assert_eq(front_path_find(f, "/api/v1", 7)->app, 8);
	cr_assert_null(front_path_find(f, "/apiv", 5));
	/* Any cut of it is refused, and so is more. */
	for (size_t n = 0; n < b.len; n++)
		cr_assert_null(front_read(b.data, n), "%zu", n);
	buf_add(&b, "x", 1);
	cr_assert_null(front_read(b.data, b.len));
	/* What is shown has neither key nor digest. */
	OWN_JSON json_t *show = front_doc_show(doc);
	OWN_FREE char *text = json_dumps(show, JSON_COMPACT);
	cr_assert_not_null(strstr(text, "\"users\":[\"a\"]"), "%s", text);
	cr_assert_null(strstr(text, "key"));
	cr_assert_null(strstr(text, "12345678"));
	/* And back to nothing. */
	OWN_JSON json_t *none =
		json_loads("{\"sticky\":false,\"allow\":[],\"maintenance\":{\"on\":false},\"auth\":null,"
			   "\"limits\":{\"requests_per_second\":null,\"client_requests_per_second\":null,"
			   "\"client_burst\":0,\"body_bytes\":null,\"seconds\":null,\"concurrent\":null}}",
			   0, NULL);
	cr_assert_eq(front_doc_patch(doc, none, &e), 0, "%s", e.text);
	cr_assert_not(front_doc_empty(doc));
	front_doc_route_del(doc, "/api", &e);
	front_doc_route_del(doc, "/api/v2", &e);
	cr_assert(front_doc_empty(doc));
}

/* All lists full and all texts long: it still is one message. */
Test(front, the_largest_fits)
{
	struct proxy_msg_front base = {.app = 1};
	struct err e = {0};
	OWN_JSON json_t *doc = doc_of("{\"auth\":{}}", &e), *patch = json_object(), *nets = json_array(),
			*users = json_object();
	char text[LIMIT_FRONT_TEXT + 1], path[LIMIT_FRONT_PATH + 1];
	OWN_BUF struct buf b;

	for (int i = 0; i < LIMIT_FRONT_NETS; i++)
		json_array_append_new(nets, json_sprintf("2001:db8:%x::/48", i));
	for (int i = 0; i < LIMIT_FRONT_USERS; i++)
		json_object_set_new(users, (snprintf(path, sizeof path, "user%d", i), path), json_string("password"));
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	json_object_set_new(patch, "maintenance", json_pack("{s:b, s:s, s:O}", "on", 1, "text", text, "allow", nets));
	json_object_set_new(patch, "auth", json_pack("{s:s, s:O}", "realm", "realm", "users", users));
	json_object_set(patch, "allow", nets);
	cr_assert_eq(front_doc_patch(doc, patch, &e), 0, "%s", e.text);
	for (int i = 0; i < LIMIT_FRONT_PATHS; i++) {
		memset(path, 'a', sizeof path - 1);
		snprintf(path, 4, "/%02d", i);
		path[3] = 'a';
		path[LIMIT_FRONT_PATH] = '\0';
		cr_assert_eq(front_doc_route_add(doc, path, 5, true, &e), 0, "%s", e.text);
	}
	cr_assert_eq(front_doc_route_add(doc, "/x", 5, true, &e), -EDQUOT);
	buf_init(&b, FRONT_MSG_MAX);
	cr_assert_eq(front_doc_message(doc, &base, &b), 0, "%zu", b.len);
	OWN_FREE struct front *f = front_read(b.data, b.len);
	cr_assert_not_null(f);
	OWN_FREE char *json = json_dumps(doc, JSON_COMPACT);
	cr_assert_lt(strlen(json), FRONT_DOC_MAX);
}
