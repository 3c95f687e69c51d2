/* ACME: signatures against the RFCs' vectors, pauses, and the conversation with a scripted authority. */
#include "agent/acme/acme.h"
#include "agent/acme/jws.h"
#include "agent/acme/pace.h"
#include "base/json.h"
#include "base/own.h"
#include "web/http/cert.h"

#include <criterion/criterion.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Its public half is that of RFC 7515, A.3.1; what it signs nobody can check. */
static const char key_pem[] = "-----BEGIN EC PRIVATE KEY-----\n"
			      "MHcCAQEEII6bEJ5xkJi/mASH3x9dd+nLKWBuvtImO1+XwhPfhPSyoAoGCCqGSM49\n"
			      "AwEHoUQDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72b\n"
			      "focs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
			      "-----END EC PRIVATE KEY-----\n";

static void base64_is(const char *plain, const char *want)
{
	OWN_FREE char *got = jws_base64(plain, strlen(plain));
	void *back = NULL;
	size_t n = 0;

	cr_assert_str_eq(got, want);
	cr_assert_eq(jws_unbase64(want, &back, &n), 0);
	cr_assert(n == strlen(plain) && memcmp(back, plain, n) == 0);
	free(back);
}

Test(acme, base64url)
{
	static const char *const bad[] = {"A", "AA=", "A+==", "AA/A", "AB", "AAB", "A A"};
	void *p;
	size_t n;

	base64_is("", "");
	base64_is("f", "Zg");
	base64_is("fo", "Zm8");
	base64_is("foo", "Zm9v");
	base64_is("\xff\xef\xbf", "_--_");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_lt(jws_unbase64(bad[i], &p, &n), 0, "%s", bad[i]);
}

Test(acme, keys_and_thumbprints)
{
	struct jws_key *k = jws_key_new(key_pem);
	char text[256];

	cr_assert_not_null(k);
	cr_assert_str_eq(jws_key_jwk(k),
			 "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
			 "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}");
	/* RFC 7638, 3: SHA-256 of exactly that text. */
	cr_assert_str_eq(jws_key_thumbprint(k), "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
	cr_assert(jws_key_authorization(k, "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA", text, sizeof text));
	cr_assert_str_eq(text,
			 "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA.oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
	cr_assert_not(jws_key_authorization(k, "token", text, 20));
	jws_key_free(k);
	cr_assert_null(jws_key_new("nonsense"));
}

static char *member(json_t *o, const char *key)
{
	void *p = NULL;
	size_t n = 0;
	char *out;

	cr_assert_eq(jws_unbase64(json_string_value(json_object_get(o, key)), &p, &n), 0);
	out = strndup(p, n);
	free(p);
	return out;
}

static void verifies(json_t *o, const char *pem)
{
	BIO *b = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
	const char *head = json_string_value(json_object_get(o, "protected"));
	const char *body = json_string_value(json_object_get(o, "payload"));
	ECDSA_SIG *sig = ECDSA_SIG_new();
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t *der = NULL;
	void *raw = NULL;
	char text[4096];
	size_t n = 0;
	int len;

	cr_assert_eq(jws_unbase64(json_string_value(json_object_get(o, "signature")), &raw, &n), 0);
	cr_assert_eq(n, 64);
	ECDSA_SIG_set0(sig, BN_bin2bn(raw, 32, NULL), BN_bin2bn((uint8_t *)raw + 32, 32, NULL));
	len = i2d_ECDSA_SIG(sig, &der);
	snprintf(text, sizeof text, "%s.%s", head, body);
	cr_assert(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 && len > 0);
	cr_assert_eq(EVP_DigestVerify(ctx, der, (size_t)len, (uint8_t *)text, strlen(text)), 1);
	OPENSSL_free(der);
	free(raw);
	ECDSA_SIG_free(sig);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	BIO_free(b);
}

Test(acme, requests_are_signed)
{
	char *pem = cert_new_key();
	struct jws_key *k = jws_key_new(pem);

	for (int i = 0; i < 50; i++) { /* r and s are short now and then */
		OWN_FREE char *text = jws_sign(k, "https://ca.test/a/1", "n-1", "https://ca.test/o", "{}");
		OWN_JSON json_t *o = json_loads(text, 0, NULL);
		OWN_FREE char *head = member(o, "protected"), *body = member(o, "payload");
		cr_assert_str_eq(head, "{\"alg\":\"ES256\",\"kid\":\"https://ca.test/a/"
				       "1\",\"nonce\":\"n-1\",\"url\":\"https://ca.test/o\"}");
		cr_assert_str_eq(body, "{}");
		verifies(o, pem);
	}
	cr_assert_null(jws_sign(k, "https://ca.test/\"", "n", "https://ca.test", ""), "a quote would end the header");
	cr_assert_null(jws_sign(k, NULL, "n\n", "https://ca.test", ""));
	{
		OWN_FREE char *text = jws_bind(
			k, "kid-1",
			"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
			"https://ca.test/new");
		OWN_JSON json_t *o = json_loads(text, 0, NULL);
		OWN_FREE char *head = member(o, "protected"), *body = member(o, "payload");
		cr_assert_str_eq(head, "{\"alg\":\"HS256\",\"kid\":\"kid-1\",\"url\":\"https://ca.test/new\"}");
		cr_assert_str_eq(body, jws_key_jwk(k));
		cr_assert_null(jws_bind(k, "kid", "no base64!", "https://ca.test"));
	}
	cert_free_key(pem);
	jws_key_free(k);
}

Test(acme, pauses)
{
	const int64_t day = 86400000;
	struct pace_window w = {0};

	/* A third of 90 days before the end, and up to three days later. */
	for (uint64_t seed = 0; seed < 3000; seed += 7) {
		int64_t t = pace_renew(0, 90 * day, seed);
		cr_assert(t >= 57 * day && t <= 60 * day, "%lld", (long long)t);
	}
	cr_assert_neq(pace_renew(0, 90 * day, 1), pace_renew(0, 90 * day, 500));
	cr_assert_eq(pace_refused(1, 0), 300000);
	cr_assert_eq(pace_refused(2, 0), 600000);
	cr_assert_eq(pace_refused(1000000, 0), day);
	cr_assert_geq(pace_refused(1, 999), 270000);
	cr_assert_eq(pace_unavailable(1, 0), 5000);
	cr_assert_eq(pace_unavailable(50, 0), 3600000);
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(pace_window_next(&w, 5, 1000 + i), 0);
		pace_window_add(&w, 1000 + i);
	}
	cr_assert_eq(pace_window_next(&w, 5, 2000), 3601000);
	cr_assert_eq(pace_window_next(&w, 5, 3601000), 0);
	cr_assert_eq(pace_window_next(&w, 5, 500), 0, "the clock went back");
	pace_window_add(&w, 3601000);
	cr_assert_eq(w.count, 1);
}

/* --- a scripted authority ------------------------------------------------------------------------------------- */

struct line {
	const char *url; /* that must be asked, "" = a pause that is over at once */
	unsigned status;
	const char *location, *body;
};

#define DIR_LINE                                                                                                       \
	{                                                                                                              \
		"https://ca.test/dir", 200, "",                                                                        \
			"{\"newNonce\":\"https://ca.test/nonce\",\"newAccount\":\"https://ca.test/acct\","             \
			"\"newOrder\":\"https://ca.test/order\"}"                                                      \
	}

#define ACCOUNT_LINE                                                                                                   \
	{                                                                                                              \
		"https://ca.test/acct", 201, "https://ca.test/a/1", "{}"                                               \
	}
#define ORDER(status)                                                                                                  \
	"{\"status\":\"" status "\",\"finalize\":\"https://ca.test/f/1\",\"authorizations\":[\"https://ca.test/z/"     \
	"1\"],\"certificate\":\"https://ca.test/c/1\"}"
#define AUTHZ(status, more)                                                                                            \
	"{\"status\":\"" status "\",\"challenges\":[{\"type\":\"http-01\",\"url\":\"https://ca.test/h/"                \
	"1\",\"token\":\"evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ\"" more "}]}"
#define PROBLEM(type, detail) "{\"type\":\"urn:ietf:params:acme:error:" type "\",\"detail\":\"" detail "\"}"

struct script {
	const struct line *lines;
	size_t at, count;
	struct acme *acme;
	uint64_t ticket;
	bool waiting, over;
	enum acme_end end;
	char text[900], url[200], account[200], token[200], sent[9000];
	uint32_t retry;
	unsigned shown, renewals;
	int64_t from_ms, to_ms;
	char last_url[1100];
};

static void on_fetch(void *arg, uint64_t ticket, struct fetch_ask *ask, const void *body)
{
	struct script *s = arg;

	s->ticket = ticket;
	s->waiting = false;
	snprintf(s->last_url, sizeof s->last_url, "%s", ask->url);
	snprintf(s->sent, sizeof s->sent, "%.*s", (int)ask->body_len, body ? (const char *)body : "");
}

static void on_wait(void *arg, uint64_t ticket, uint32_t ms)
{
	struct script *s = arg;

	cr_assert_leq(ms, 60000);
	s->ticket = ticket;
	s->waiting = true;
}

static void on_account(void *arg, const char *url)
{
	snprintf(((struct script *)arg)->account, 200, "%s", url);
}

static void on_ordered(void *arg, void *name, const char *url)
{
	(void)name;
	snprintf(((struct script *)arg)->url, 200, "%s", url);
}

static void on_show(void *arg, void *name, struct acme_order *o, enum acme_challenge c, const char *token,
		    const char *authorization, const uint8_t digest[32])
{
	struct script *s = arg;

	(void)name;
	(void)digest;
	cr_assert_eq(c, ACME_HTTP_01);
	cr_assert_eq(strncmp(authorization, token, strlen(token)), 0);
	s->shown++;
	acme_shown(s->acme, o);
}

static void on_done(void *arg, void *name, enum acme_end end, const char *text, uint32_t retry_s)
{
	struct script *s = arg;

	(void)name;
	cr_assert_not(s->over);
	s->over = true;
	s->end = end;
	s->retry = retry_s;
	snprintf(s->text, sizeof s->text, "%s", text);
}

static void on_renewal(void *arg, void *name, int64_t from_ms, int64_t to_ms, uint32_t retry_s)
{
	struct script *s = arg;

	(void)name;
	s->renewals++;
	s->from_ms = from_ms;
	s->to_ms = to_ms;
	s->retry = retry_s;
}

static void play(struct script *s, const struct line *lines, size_t count, const char *account, const char *url)
{
	static const struct acme_ops ops = {on_fetch, on_wait, on_account, on_ordered, on_show, on_done, on_renewal};
	struct acme_config cfg = {.directory = "https://ca.test/dir",
				  .email = "a@b.test",
				  .eab_kid = "",
				  .eab_key = "",
				  .account_key = key_pem,
				  .account_url = account};

	*s = (struct script){.lines = lines, .count = count};
	s->acme = acme_new(&cfg, &ops, s);
	cr_assert_not_null(acme_order_new(s->acme, s, "a.test", url, ACME_HTTP_01, "csr", 3, ""));
	for (unsigned turns = 0; !s->over && turns < 400; turns++) {
		struct fetch_answer a = {.id = 1};
		if (s->waiting) {
			acme_wake(s->acme, s->ticket);
			continue;
		}
		cr_assert_lt(s->at, s->count, "asked %s beyond the script", s->last_url);
		cr_assert_str_eq(s->last_url, s->lines[s->at].url, "line %zu", s->at);
		a.status = s->lines[s->at].status;
		a.retry_after_s = a.status == 429 ? 77 : 0;
		a.len = s->lines[s->at].body ? (uint32_t)strlen(s->lines[s->at].body) : 0;
		snprintf(a.location, sizeof a.location, "%s", s->lines[s->at].location);
		if (a.status)
			snprintf(a.nonce, sizeof a.nonce, "nonce-%zu", s->at);
		else
			snprintf(a.error, sizeof a.error, "no route");
		s->at++;
		acme_answer(s->acme, s->ticket, &a, s->lines[s->at - 1].body);
	}
	cr_assert(s->over);
	cr_assert_eq(s->at, s->count, "line %zu (%s) was not asked", s->at,
		     s->at < s->count ? s->lines[s->at].url : "");
	acme_free(s->acme);
}

#define PLAY(s, account, url, ...)                                                                                     \
	do {                                                                                                           \
		static const struct line lines_[] = {__VA_ARGS__};                                                     \
		play(s, lines_, ARRAY_LEN(lines_), account, url);                                                      \
	} while (0)

Test(acme, an_order_from_the_beginning)
{
	struct script s;

	PLAY(&s, "", "", DIR_LINE, ACCOUNT_LINE,
	     {"https://ca.test/order", 201, "https://ca.test/o/1", ORDER("pending")},
	     {"https://ca.test/z/1", 200, "", AUTHZ("pending", "")}, {"https://ca.test/h/1", 200, "", "{}"},
	     {"https://ca.test/z/1", 200, "", AUTHZ("pending", "")},
	     {"https://ca.test/z/1", 200, "", AUTHZ("valid", "")}, {"https://ca.test/o/1", 200, "", ORDER("ready")},
	     {"https://ca.test/f/1", 200, "", ORDER("processing")}, {"https://ca.test/o/1", 200, "", ORDER("valid")},
	     {"https://ca.test/c/1", 200, "", "CHAIN"});
	cr_assert_eq(s.end, ACME_ISSUED, "%s", s.text);
	cr_assert_str_eq(s.text, "CHAIN");
	cr_assert_str_eq(s.account, "https://ca.test/a/1");
	cr_assert_str_eq(s.url, "https://ca.test/o/1");
	cr_assert_eq(s.shown, 1);
}

Test(acme, an_order_goes_on_where_it_was)
{
	struct script s;

	PLAY(&s, "https://ca.test/a/1", "https://ca.test/o/1", DIR_LINE,
	     {"https://ca.test/o/1", 200, "", ORDER("ready")}, {"https://ca.test/f/1", 200, "", ORDER("valid")},
	     {"https://ca.test/c/1", 200, "", "CHAIN"});
	cr_assert_eq(s.end, ACME_ISSUED);
	/* One that is of no use any more is ordered anew, once. */
	PLAY(&s, "https://ca.test/a/1", "https://ca.test/o/1", DIR_LINE,
	     {"https://ca.test/o/1", 404, "", PROBLEM("malformed", "gone")},
	     {"https://ca.test/order", 201, "https://ca.test/o/2", ORDER("invalid")});
	cr_assert_eq(s.end, ACME_REFUSED);
	cr_assert_str_eq(s.url, "https://ca.test/o/2");
}

Test(acme, nonces_are_refused)
{
	struct script s;

	PLAY(&s, "https://ca.test/a/1", "", DIR_LINE, {"https://ca.test/order", 400, "", PROBLEM("badNonce", "x")},
	     {"https://ca.test/order", 400, "", PROBLEM("badNonce", "x")},
	     {"https://ca.test/order", 400, "", PROBLEM("rejectedIdentifier", "a.test is not wanted")});
	cr_assert_eq(s.end, ACME_REFUSED);
	cr_assert_not_null(strstr(s.text, "a.test is not wanted"), "%s", s.text);
}

Test(acme, ends_that_are_no_fault_of_the_name)
{
	struct script s;

	PLAY(&s, "", "", {"https://ca.test/dir", 0, "", NULL});
	cr_assert_eq(s.end, ACME_UNAVAILABLE);
	cr_assert_not_null(strstr(s.text, "no route"), "%s", s.text);
	PLAY(&s, "", "", {"https://ca.test/dir", 200, "", "[]"});
	cr_assert_eq(s.end, ACME_UNAVAILABLE);
	PLAY(&s, "https://ca.test/a/1", "", DIR_LINE, {"https://ca.test/order", 500, "", NULL});
	cr_assert_eq(s.end, ACME_UNAVAILABLE);
	PLAY(&s, "https://ca.test/a/1", "", DIR_LINE,
	     {"https://ca.test/order", 429, "", PROBLEM("rateLimited", "slowly")});
	cr_assert_eq(s.end, ACME_LIMITED);
	cr_assert_eq(s.retry, 77);
	PLAY(&s, "https://ca.test/a/1", "", DIR_LINE,
	     {"https://ca.test/order", 201, "http://plain/", ORDER("pending")});
	cr_assert_eq(s.end, ACME_UNAVAILABLE);
}

Test(acme, an_account_that_is_forgotten_is_made_again)
{
	struct script s;

	PLAY(&s, "https://ca.test/a/0", "https://ca.test/o/0", DIR_LINE,
	     {"https://ca.test/o/0", 400, "", PROBLEM("accountDoesNotExist", "who")}, ACCOUNT_LINE,
	     {"https://ca.test/order", 429, "", PROBLEM("rateLimited", "slowly")});
	cr_assert_eq(s.end, ACME_LIMITED);
	cr_assert_str_eq(s.account, "https://ca.test/a/1");
	cr_assert_str_eq(s.url, "");
}

Test(acme, a_refusal_says_why)
{
	struct script s;

	PLAY(&s, "https://ca.test/a/1", "", DIR_LINE,
	     {"https://ca.test/order", 201, "https://ca.test/o/1", ORDER("pending")},
	     {"https://ca.test/z/1", 200, "", AUTHZ("pending", "")}, {"https://ca.test/h/1", 200, "", "{}"},
	     {"https://ca.test/z/1", 200, "",
	      AUTHZ("invalid", ",\"error\":" PROBLEM("connection", "127.0.0.9: refused\\u001b[31m"))});
	cr_assert_eq(s.end, ACME_REFUSED);
	cr_assert_not_null(
		strstr(s.text, "a.test could not be shown to lead here (http-01, connection): 127.0.0.9: refused"),
		"%s", s.text);
	cr_assert_null(strchr(s.text, '\x1b'));
	/* A token that would reach beyond its path. */
	PLAY(&s, "https://ca.test/a/1", "", DIR_LINE,
	     {"https://ca.test/order", 201, "https://ca.test/o/1", ORDER("pending")},
	     {"https://ca.test/z/1", 200, "",
	      "{\"status\":\"pending\",\"challenges\":[{\"type\":\"http-01\",\"url\":\"https://ca.test/h/"
	      "1\",\"token\":\"../../../../../etc/x\"}]}"});
	cr_assert_eq(s.end, ACME_UNAVAILABLE);
	cr_assert_eq(s.shown, 0);
	/* Only other challenges. */
	PLAY(&s, "https://ca.test/a/1", "", DIR_LINE,
	     {"https://ca.test/order", 201, "https://ca.test/o/1", ORDER("pending")},
	     {"https://ca.test/z/1", 200, "", "{\"status\":\"pending\",\"challenges\":[{\"type\":\"dns-01\"}]}"});
	cr_assert_eq(s.end, ACME_REFUSED);
}

Test(acme, an_authority_that_never_ends)
{
	static struct line lines[80] = {DIR_LINE,
					{"https://ca.test/order", 201, "https://ca.test/o/1", ORDER("processing")}};
	struct script s;

	for (int i = 2; i < 62; i++)
		lines[i] = (struct line){"https://ca.test/o/1", 200, "", ORDER("processing")};
	play(&s, lines, 62, "https://ca.test/a/1", "");
	cr_assert_eq(s.end, ACME_UNAVAILABLE);
	for (int i = 1; i < 22; i++)
		lines[i] = (struct line){"https://ca.test/order", 400, "", PROBLEM("badNonce", "x")};
	play(&s, lines, 22, "https://ca.test/a/1", "");
	cr_assert_eq(s.end, ACME_UNAVAILABLE);
}

/* Each state by itself makes progress; only the whole does not. */
Test(acme, an_authority_that_goes_round_in_circles)
{
	static struct line lines[2 + 2 * 120] = {
		DIR_LINE, {"https://ca.test/order", 201, "https://ca.test/o/1", ORDER("pending")}};
	struct script s;

	for (size_t i = 2; i < ARRAY_LEN(lines); i += 2) {
		lines[i] = (struct line){"https://ca.test/z/1", 200, "", AUTHZ("valid", "")};
		lines[i + 1] = (struct line){"https://ca.test/o/1", 200, "", ORDER("pending")};
	}
	play(&s, lines, ARRAY_LEN(lines), "https://ca.test/a/1", "");
	cr_assert_eq(s.end, ACME_UNAVAILABLE);
	cr_assert_not_null(strstr(s.text, "circles"), "%s", s.text);
}

/* --- renewal information -------------------------------------------------------------------------------------- */

#define DIR_INFO                                                                                                       \
	"{\"newNonce\":\"https://ca.test/nonce\",\"newAccount\":\"https://ca.test/acct\",\"newOrder\":\"https://"      \
	"ca.test/"                                                                                                     \
	"order\",\"renewalInfo\":\"https://ca.test/info\"}"
#define WINDOW(from, to) "{\"suggestedWindow\":{\"start\":\"" from "\",\"end\":\"" to "\"}}"

static struct acme *informed(struct script *s)
{
	static const struct acme_ops ops = {on_fetch, on_wait, on_account, on_ordered, on_show, on_done, on_renewal};
	struct acme_config cfg = {.directory = "https://ca.test/dir",
				  .email = "",
				  .eab_kid = "",
				  .eab_key = "",
				  .account_key = key_pem,
				  .account_url = "https://ca.test/a/1"};

	*s = (struct script){.at = 0};
	return s->acme = acme_new(&cfg, &ops, s);
}

static void say(struct script *s, unsigned status, const char *body, uint32_t retry)
{
	struct fetch_answer a = {.status = status, .len = (uint32_t)strlen(body), .retry_after_s = retry};

	snprintf(a.nonce, sizeof a.nonce, "n");
	acme_answer(s->acme, s->ticket, &a, body);
}

Test(acme, when_the_authority_wants_it_replaced)
{
	static const struct {
		const char *body;
		unsigned status;
		int64_t from_ms, to_ms;
	} t[] = {
		{WINDOW("2025-01-02T04:00:00Z", "2025-01-03T04:00:00Z"), 200, 1735790400000, 1735876800000},
		{WINDOW("2025-01-02T04:00:00.123Z", "2025-01-03T05:30:00+01:30"), 200, 1735790400000, 1735876800000},
		{WINDOW("2025-01-02T04:00:00Z", "2025-01-02T04:00:00Z"), 200, 0, 0},
		{WINDOW("2025-01-03T04:00:00Z", "2025-01-02T04:00:00Z"), 200, 0, 0},
		{WINDOW("soon", "later"), 200, 0, 0},
		{WINDOW("2025-01-02T04:00:00", "2025-01-03T04:00:00"), 200, 0, 0},
		{"{\"suggestedWindow\":7}", 200, 0, 0},
		{"[", 200, 0, 0},
		{WINDOW("2025-01-02T04:00:00Z", "2025-01-03T04:00:00Z"), 404, 0, 0},
		{"", 503, 0, 0},
	};
	struct script s;
	struct acme *a = informed(&s);

	cr_assert(acme_renewal_ask(a, &s, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"));
	cr_assert_str_eq(s.last_url, "https://ca.test/dir");
	say(&s, 200, DIR_INFO, 0);
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		if (i > 0)
			cr_assert(acme_renewal_ask(a, &s, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"));
		cr_assert_str_eq(s.last_url, "https://ca.test/info/aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
		say(&s, t[i].status, t[i].body, (uint32_t)i);
		cr_assert_eq(s.renewals, i + 1);
		cr_assert(s.from_ms == t[i].from_ms && s.to_ms == t[i].to_ms, "line %zu: %lld", i,
			  (long long)s.from_ms);
		cr_assert_eq(s.retry, i);
	}
	/* One that is dropped is not answered. */
	cr_assert(acme_renewal_ask(a, &s, "x.y"));
	acme_renewal_drop(a, &s);
	say(&s, 200, t[0].body, 0);
	cr_assert_eq(s.renewals, ARRAY_LEN(t));
	acme_free(a);
	/* An authority that offers nothing; one that cannot be had. */
	a = informed(&s);
	cr_assert(acme_renewal_ask(a, &s, "x.y"));
	say(&s, 200,
	    "{\"newNonce\":\"https://ca.test/nonce\",\"newAccount\":\"https://ca.test/acct\",\"newOrder\":\"https://"
	    "ca.test/"
	    "order\"}",
	    0);
	cr_assert(s.renewals == 1 && s.from_ms == 0);
	cr_assert_not(acme_renewal_ask(a, &s, "x.y"));
	acme_free(a);
	a = informed(&s);
	cr_assert(acme_renewal_ask(a, &s, "x.y"));
	say(&s, 500, "", 0);
	cr_assert(s.renewals == 1 && s.from_ms == 0);
	acme_free(a);
}

static void replaces(struct script *s, const char *want)
{
	OWN_JSON json_t *o = json_loads(s->sent, 0, NULL);
	OWN_FREE char *body = member(o, "payload");
	OWN_JSON json_t *p = json_loads(body, 0, NULL);
	const char *got = json_string_value(json_object_get(p, "replaces"));

	cr_assert_str_eq(s->last_url, "https://ca.test/order");
	cr_assert_str_eq(got ? got : "", want);
}

Test(acme, an_order_says_what_it_replaces)
{
	struct script s;
	struct acme *a = informed(&s);

	cr_assert_not_null(acme_order_new(a, &s, "a.test", "", ACME_HTTP_01, "csr", 3, "x.y"));
	acme_wake(a, s.ticket);
	say(&s, 200, DIR_INFO, 0);
	replaces(&s, "x.y");
	/* It was replaced already: once more, without. */
	say(&s, 409, PROBLEM("alreadyReplaced", "x"), 0);
	replaces(&s, "");
	say(&s, 403, PROBLEM("unauthorized", "x"), 0);
	cr_assert_eq(s.end, ACME_REFUSED);
	acme_free(a);
}

Test(acme, a_moment_in_the_window)
{
	const int64_t day = 86400000;
	int64_t low = INT64_MAX, high = 0;

	for (uint64_t seed = 0; seed < 1000; seed++) {
		int64_t t = pace_window_choose(50 * day, 52 * day, 0, 90 * day, seed);
		cr_assert(t >= 50 * day && t < 52 * day);
		low = t < low ? t : low;
		high = t > high ? t : high;
	}
	cr_assert_gt(high - low, day);
	cr_assert_eq(pace_window_choose(100 * day, 200 * day, 0, 90 * day, 3), 81 * day, "beyond its end");
	cr_assert_eq(pace_window_choose(0, 1000, 10 * day, 100 * day, 3), 11 * day, "long past: once a day at most");
	cr_assert_eq(pace_window_choose(0, 1000, 10 * day, 10 * day + 30000, 3), 10 * day + 10000, "of a short one");
	cr_assert_eq(pace_info(0, 5), 21600005);
	cr_assert_eq(pace_info(1, 0), 60000);
	cr_assert_eq(pace_info(4000000, 0), day);
	cr_assert_eq(pace_info(7200, 0), 7200000);
}
