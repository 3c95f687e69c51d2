/* Certificates through the API: what is taken, replaced, shown and never shown. */
#include "base/clock.h"
#include "tests/unit/test_api_client.h"
#include "tests/unit/test_api_fixture.h"
#include "web/http/cert.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static char *body_of(const char *names, unsigned days, char **ret_key)
{
	char *key = cert_new_key(), *pem = cert_self_signed(key, names, clock_wall_ms(), days, NULL);
	json_t *o = json_pack("{s:s, s:s}", "certificate", pem, "key", key);
	char *text = json_dumps(o, 0);

	json_decref(o);
	free(pem);
	if (ret_key)
		*ret_key = key;
	else
		cert_free_key(key);
	return text;
}

static int put(struct fix *f, const char *app, const char *token, const char *names, unsigned days, char id[32])
{
	char path[80], *body = body_of(names, days, NULL);
	struct reply r;
	json_t *o;
	int status;

	snprintf(path, sizeof path, "/v1/apps/%s/certificates", app);
	r = fix_request(f, "PUT", path, token, NULL, body);
	status = r.status;
	if (id && status == 200) {
		o = json_loads(r.body, 0, NULL);
		snprintf(id, 32, "%s", json_string_value(json_object_get(o, "id")));
		json_decref(o);
	}
	reply_done(&r);
	free(body);
	return status;
}

static size_t count(struct fix *f)
{
	struct reply r = fix_request(f, "GET", "/v1/apps/shop/certificates", f->reader, NULL, NULL);
	json_t *o = json_loads(r.body, 0, NULL);
	size_t n = json_array_size(json_object_get(o, "items"));

	cr_assert_eq(r.status, 200);
	cr_assert_null(strstr(r.text, "PRIVATE"));
	json_decref(o);
	reply_done(&r);
	return n;
}

static void add_expiring(struct fix *f, void *arg)
{
	int64_t now = clock_wall_ms(), day = 86400000;
	const struct {
		int64_t app, days;
	} rows[] = {{f->shop.id, 90}, {0, 20}, {f->theirs.id, 3}};

	(void)arg;
	for (size_t i = 0; i < 3; i++) {
		struct model_cert c = {.app = rows[i].app,
				       .names = "a.example",
				       .issuer = "CA",
				       .kind = "ecdsa-256",
				       .sha256 = "00",
				       .not_before_ms = now - day,
				       .not_after_ms = now + rows[i].days * day};

		snprintf(c.sha256, sizeof c.sha256, "%064zu", i);
		cr_assert_eq(store_cert_add(f->store, &c, "chain", "key", NULL), 0);
	}
}

Test(api_certs, added_replaced_listed_removed)
{
	struct fix *f = fix_start(false);
	char first[32], second[32], third[32], path[96];
	struct reply r;

	/* Only for hosts of the app, and only by who may deploy. */
	cr_assert_eq(put(f, "shop", f->reader, "shop.localhost\0", 30, NULL), 403);
	cr_assert_eq(put(f, "theirs", f->deployer, "theirs.localhost\0", 30, NULL), 404);
	cr_assert_eq(put(f, "shop", f->deployer, "theirs.localhost\0", 30, NULL), 400);
	cr_assert_eq(put(f, "shop", f->deployer, "www.example.com\0", 30, NULL), 400);
	cr_assert_eq(count(f), 0);
	cr_assert_eq(fix_status(f, "POST", "/v1/apps/shop/domains", f->deployer, "{\"host\":\"www.example.com\"}"),
		     201);
	cr_assert_eq(put(f, "shop", f->deployer, "www.example.com\0", 30, first), 200);
	cr_assert_eq(put(f, "shop", f->deployer, "shop.localhost\0*.example.com\0", 30, second), 200);
	cr_assert_eq(count(f), 2);
	r = fix_request(f, "GET", "/v1/apps/shop/certificates", f->reader, NULL, NULL);
	cr_assert(strstr(r.body, "\"covers\":[\"shop.localhost\",\"www.example.com\"]"), "%s", r.body);
	cr_assert(strstr(r.body, "\"kind\":\"ecdsa-256\"") && strstr(r.body, "\"origin\":\"uploaded\""), "%s", r.body);
	reply_done(&r);
	/* The same names: in its place. */
	cr_assert_eq(put(f, "shop", f->deployer, "www.example.com\0", 60, third), 200);
	cr_assert_neq(strcmp(first, third), 0);
	cr_assert_eq(count(f), 2);
	snprintf(path, sizeof path, "/v1/apps/shop/certificates/%s", third);
	cr_assert_eq(fix_status(f, "DELETE", path, f->reader, NULL), 403);
	cr_assert_eq(fix_status(f, "DELETE", path, f->other, NULL), 404);
	cr_assert_eq(fix_status(f, "DELETE", path, f->deployer, NULL), 204);
	cr_assert_eq(fix_status(f, "DELETE", path, f->deployer, NULL), 404);
	/* Another tenant's app does not reach it by its number. */
	snprintf(path, sizeof path, "/v1/apps/theirs/certificates/%s", second);
	cr_assert_eq(fix_status(f, "DELETE", path, f->other, NULL), 404);
	cr_assert_eq(count(f), 1);
	fix_stop(f);
}

Test(api_certs, the_very_same_changes_nothing_and_the_key_is_never_shown)
{
	struct fix *f = fix_start(false);
	char *key, *body = body_of("shop.localhost\0", 30, &key), secret[33];
	struct reply r;
	unsigned events = 0;

	memcpy(secret, strchr(key, '\n') + 10, 32);
	secret[32] = '\0';
	for (int i = 0; i < 3; i++) {
		r = fix_request(f, "PUT", "/v1/apps/shop/certificates", f->deployer, NULL, body);
		cr_assert_eq(r.status, 200);
		cr_assert_null(strstr(r.text, secret));
		reply_done(&r);
	}
	cr_assert_eq(count(f), 1);
	r = fix_request(f, "GET", "/v1/apps/shop/events", f->reader, NULL, NULL);
	cr_assert_null(strstr(r.text, secret));
	for (const char *p = r.body; (p = strstr(p, "certificate.added")); p++)
		events++;
	cr_assert_eq(events, 1, "%s", r.body);
	reply_done(&r);
	cert_free_key(key);
	free(body);
	fix_stop(f);
}

Test(api_certs, the_operator_sees_what_ends_soon)
{
	struct fix *f = fix_start(false);
	struct reply r;
	json_t *j, *first;

	fix_call(f, add_expiring, NULL);
	r = fix_request(f, "GET", "/v1/node/certificates", f->operator, NULL, NULL);
	cr_assert_eq(r.status, 200);
	j = json_loads(r.body, 0, NULL);
	cr_assert_eq(json_array_size(json_object_get(j, "items")), 2u, "%s", r.body);
	first = json_array_get(json_object_get(j, "items"), 0);
	cr_assert_str_eq(json_string_value(json_object_get(first, "app")), "theirs");
	cr_assert_str_eq(json_string_value(json_object_get(first, "tenant")), "evil");
	cr_assert(json_is_null(json_object_get(json_array_get(json_object_get(j, "items"), 1), "app")),
		  "the node's own");
	json_decref(j);
	reply_done(&r);
	r = fix_request(f, "GET", "/v1/node/certificates?within=1000d", f->operator, NULL, NULL);
	cr_assert(strstr(r.body, "\"shop\""), "%s", r.body);
	reply_done(&r);
	cr_assert_eq(fix_status(f, "GET", "/v1/node/certificates?within=x", f->operator, NULL), 400);
	cr_assert_eq(fix_status(f, "GET", "/v1/node/certificates", f->admin, NULL), 403);
	fix_stop(f);
}

Test(api_certs, https_is_a_setting_of_an_app)
{
	struct fix *f = fix_start(false);
	struct reply r = fix_request(f, "PATCH", "/v1/apps/shop", f->deployer, NULL,
				     "{\"https\":\"redirect\",\"hsts\":31536000}");

	cr_assert_eq(r.status, 200, "%s", r.body);
	cr_assert(strstr(r.body, "\"https\":\"redirect\",\"hsts\":31536000"), "%s", r.body);
	cr_assert_null(strstr(r.body, "\"note\":\"hsts"));
	reply_done(&r);
	/* What browsers were told outlives the setting. */
	r = fix_request(f, "PATCH", "/v1/apps/shop", f->deployer, NULL, "{\"https\":\"off\"}");
	cr_assert(strstr(r.body, "\"note\":\"hsts is 31536000 s, and is not sent without https"), "%s", r.body);
	cr_assert(strstr(r.body, "switch it on with hsts 0 first, for so long: tulou apps https on 0"), "%s", r.body);
	reply_done(&r);
	r = fix_request(f, "PATCH", "/v1/apps/shop", f->deployer, NULL, "{\"https\":\"on\"}");
	cr_assert(strstr(r.body, "browsers that came over https once come over https alone"), "%s", r.body);
	reply_done(&r);
	r = fix_request(f, "PATCH", "/v1/apps/shop", f->deployer, NULL, "{\"https\":\"redirect\"}");
	reply_done(&r);
	r = fix_request(f, "PATCH", "/v1/apps/shop", f->deployer, NULL, "{\"paused\":true}");
	cr_assert(strstr(r.body, "\"https\":\"redirect\""), "%s", r.body);
	reply_done(&r);
	fix_stop(f);
}
