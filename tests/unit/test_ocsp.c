/* OCSP: what is asked, and which answers are believed. */
#include "agent/acme/pace.h"
#include "agent/fetch/ocsp.h"
#include "agent/fetch/status.h"
#include "base/loop.h"
#include "base/own.h"
#include "web/http/cert.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOW_MS 1800000000000ll
#define HOUR_MS 3600000ll

struct party {
	EVP_PKEY *key;
	X509 *x;
};

static void extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	cr_assert(ext && X509_add_ext(x, ext, -1) == 1, "%s", value);
	X509_EXTENSION_free(ext);
}

/* more: pairs of an extension's number and its value, ended by 0. */
static struct party make(const char *name, long serial, const struct party *by, int nid, const char *value)
{
	struct party p = {EVP_EC_gen("P-256"), X509_new()};
	const struct party *signer = by ? by : &p;
	time_t now = NOW_MS / 1000;

	X509_set_version(p.x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(p.x), serial);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(p.x), "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
	X509_set_issuer_name(p.x, X509_get_subject_name(signer->x));
	X509_time_adj_ex(X509_getm_notBefore(p.x), -10, 0, &now);
	X509_time_adj_ex(X509_getm_notAfter(p.x), 100, 0, &now);
	X509_set_pubkey(p.x, p.key);
	if (!by)
		extend(p.x, p.x, NID_basic_constraints, "critical,CA:TRUE");
	if (nid)
		extend(p.x, signer->x, nid, value);
	cr_assert(X509_sign(p.x, signer->key, EVP_sha256()) > 0);
	return p;
}

static char *pem_of(X509 *a, X509 *b)
{
	BIO *m = BIO_new(BIO_s_mem());
	char *data, *out;
	long n;

	PEM_write_bio_X509(m, a);
	if (b)
		PEM_write_bio_X509(m, b);
	n = BIO_get_mem_data(m, &data);
	out = strndup(data, (size_t)n);
	BIO_free(m);
	return out;
}

struct said {
	int status;
	int64_t from_ms, to_ms; /* 0 = not said */
	bool with_cert;		/* the signer's certificate goes with it */
};

static size_t answer(const struct party *signer, X509 *leaf, X509 *issuer, struct said s, uint8_t **der)
{
	OCSP_BASICRESP *b = OCSP_BASICRESP_new();
	OCSP_CERTID *id = OCSP_cert_to_id(NULL, leaf, issuer);
	ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)(s.from_ms / 1000));
	ASN1_TIME *to = s.to_ms ? ASN1_TIME_set(NULL, (time_t)(s.to_ms / 1000)) : NULL;
	OCSP_RESPONSE *r;
	int n;

	cr_assert_not_null(OCSP_basic_add1_status(b, id, s.status, OCSP_REVOKED_STATUS_KEYCOMPROMISE,
						  s.status == V_OCSP_CERTSTATUS_REVOKED ? from : NULL, from, to));
	cr_assert_eq(OCSP_basic_sign(b, signer->x, signer->key, EVP_sha256(), NULL, s.with_cert ? 0 : OCSP_NOCERTS), 1);
	r = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, b);
	*der = NULL;
	n = i2d_OCSP_RESPONSE(r, der);
	cr_assert_gt(n, 0);
	OCSP_RESPONSE_free(r);
	OCSP_BASICRESP_free(b);
	OCSP_CERTID_free(id);
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
	return (size_t)n;
}

struct world {
	struct party ca, other_ca, leaf, second, delegate, stranger;
	struct ocsp *o;
};

static struct world world(void)
{
	struct world w;
	OWN_FREE char *pem = NULL;
	struct err e = {0};

	w.ca = make("ca", 1, NULL, 0, NULL);
	w.other_ca = make("ca", 1, NULL, 0, NULL); /* of the same name */
	w.leaf = make("leaf", 77, &w.ca, 0, NULL);
	w.second = make("second", 78, &w.ca, 0, NULL);
	w.delegate = make("responder", 79, &w.ca, NID_ext_key_usage, "OCSPSigning");
	w.stranger = make("web", 80, &w.ca, NID_ext_key_usage, "serverAuth");
	pem = pem_of(w.leaf.x, w.ca.x);
	cr_assert_eq(ocsp_new(pem, strlen(pem), &w.o, &e), 0, "%s", e.text);
	return w;
}

static struct fetch_status_answer judge(struct world *w, const struct party *signer, X509 *leaf, struct said s)
{
	struct fetch_status_answer a = {0};
	uint8_t *der;
	size_t n = answer(signer, leaf, w->ca.x, s, &der);

	ocsp_read(w->o, der, n, NOW_MS, &a);
	OPENSSL_free(der);
	return a;
}

#define GOOD(...) ((struct said){V_OCSP_CERTSTATUS_GOOD, NOW_MS - HOUR_MS, NOW_MS + HOUR_MS, __VA_ARGS__})
#define REFUSED(a, word)                                                                                               \
	do {                                                                                                           \
		struct fetch_status_answer a_ = a;                                                                     \
		cr_assert_eq(a_.cert, FETCH_CERT_UNKNOWN);                                                             \
		cr_assert_not_null(strstr(a_.error, word), "%s", a_.error);                                            \
	} while (0)

Test(ocsp, who_may_sign)
{
	struct world w = world();
	struct fetch_status_answer a = judge(&w, &w.ca, w.leaf.x, GOOD(true));

	cr_assert_eq(a.cert, FETCH_CERT_GOOD, "%s", a.error);
	cr_assert_eq(a.this_ms, NOW_MS - HOUR_MS);
	cr_assert_eq(a.next_ms, NOW_MS + HOUR_MS);
	cr_assert_eq(judge(&w, &w.ca, w.leaf.x, GOOD(false)).cert, FETCH_CERT_GOOD);
	cr_assert_eq(judge(&w, &w.delegate, w.leaf.x, GOOD(true)).cert, FETCH_CERT_GOOD);
	REFUSED(judge(&w, &w.delegate, w.leaf.x, GOOD(false)), "not signed");
	REFUSED(judge(&w, &w.other_ca, w.leaf.x, GOOD(true)), "not signed");
	REFUSED(judge(&w, &w.stranger, w.leaf.x, GOOD(true)), "not signed");
	REFUSED(judge(&w, &w.leaf, w.leaf.x, GOOD(true)), "not signed");
}

Test(ocsp, what_it_is_about)
{
	struct world w = world();
	struct said revoked = GOOD(true), unknown = GOOD(true);
	struct fetch_status_answer a;

	REFUSED(judge(&w, &w.ca, w.second.x, GOOD(true)), "another certificate");
	revoked.status = V_OCSP_CERTSTATUS_REVOKED;
	a = judge(&w, &w.ca, w.leaf.x, revoked);
	cr_assert_eq(a.cert, FETCH_CERT_REVOKED, "%s", a.error);
	cr_assert_eq(a.revoked_ms, NOW_MS - HOUR_MS);
	REFUSED(judge(&w, &w.other_ca, w.leaf.x, revoked), "not signed");
	unknown.status = V_OCSP_CERTSTATUS_UNKNOWN;
	REFUSED(judge(&w, &w.ca, w.leaf.x, unknown), "does not know");
}

Test(ocsp, when_it_holds)
{
	struct world w = world();
	const struct {
		int64_t from, to;
		const char *word; /* NULL = it holds */
	} t[] = {
		{NOW_MS - 2 * HOUR_MS, NOW_MS - 1000, "over"},
		{NOW_MS - HOUR_MS, NOW_MS + 1000, NULL},
		{NOW_MS + 200000, NOW_MS + HOUR_MS, NULL}, /* its clock is ahead a little */
		{NOW_MS + 400000, NOW_MS + HOUR_MS, "future"},
		{NOW_MS - HOUR_MS, NOW_MS - 2 * HOUR_MS, "cannot be"},
		{NOW_MS - HOUR_MS, 0, NULL},
		{NOW_MS - 25 * HOUR_MS, 0, "over"},
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		struct said s = {V_OCSP_CERTSTATUS_GOOD, t[i].from, t[i].to, true};
		if (t[i].word)
			REFUSED(judge(&w, &w.ca, w.leaf.x, s), t[i].word);
		else
			cr_assert_eq(judge(&w, &w.ca, w.leaf.x, s).cert, FETCH_CERT_GOOD, "line %zu", i);
	}
	/* An issuer that is over signs nothing: a year later. */
	{
		struct fetch_status_answer a = {0};
		uint8_t *der;
		struct said s = {V_OCSP_CERTSTATUS_GOOD, NOW_MS + 8759 * HOUR_MS, NOW_MS + 8769 * HOUR_MS, true};
		size_t n = answer(&w.ca, w.leaf.x, w.ca.x, s, &der);
		ocsp_read(w.o, der, n, NOW_MS + 8760 * HOUR_MS, &a);
		REFUSED(a, "not signed");
		OPENSSL_free(der);
	}
}

Test(ocsp, any_bytes)
{
	struct world w = world();
	struct fetch_status_answer a = {0};
	OCSP_RESPONSE *r = OCSP_response_create(OCSP_RESPONSE_STATUS_TRYLATER, NULL);
	uint8_t *der, *later = NULL, *long_one = calloc(1, LIMIT_STAPLE_BYTES + 1);
	size_t n = answer(&w.ca, w.leaf.x, w.ca.x, GOOD(true), &der);
	int k = i2d_OCSP_RESPONSE(r, &later);

	ocsp_read(w.o, later, (size_t)k, NOW_MS, &a);
	REFUSED(a, "later");
	ocsp_read(w.o, NULL, 0, NOW_MS, &a);
	REFUSED(a, "cannot be read");
	ocsp_read(w.o, "<html>", 6, NOW_MS, &a);
	REFUSED(a, "cannot be read");
	ocsp_read(w.o, long_one, LIMIT_STAPLE_BYTES + 1, NOW_MS, &a);
	REFUSED(a, "too long");
	/* Cut anywhere, or with something behind it. */
	for (size_t i = 0; i < n; i++) {
		ocsp_read(w.o, der, i, NOW_MS, &a);
		cr_assert_eq(a.cert, FETCH_CERT_UNKNOWN, "%zu", i);
	}
	memcpy(long_one, der, n);
	ocsp_read(w.o, long_one, n + 1, NOW_MS, &a);
	REFUSED(a, "cannot be read");
	/* One bit of it is another one: never good but for those that say nothing (none here is signed twice). */
	for (size_t i = 0; i < n; i++) {
		der[i] ^= 4;
		ocsp_read(w.o, der, n, NOW_MS, &a);
		cr_assert(a.cert == FETCH_CERT_UNKNOWN || i < 24 || i > n - 450, "byte %zu of %zu", i, n);
		der[i] ^= 4;
	}
	OPENSSL_free(der);
	OPENSSL_free(later);
	OCSP_RESPONSE_free(r);
	free(long_one);
	ocsp_free(w.o);
}

Test(ocsp, questions)
{
	struct world w = world();
	char url[LIMIT_FETCH_URL + 1], long_url[300];
	const uint8_t *q, *p;
	OCSP_REQUEST *r;
	size_t n;
	struct err e = {0};
	struct ocsp *none = NULL;

	p = q = ocsp_question(w.o, &n);
	r = d2i_OCSP_REQUEST(NULL, &p, (long)n);
	cr_assert_not_null(r);
	cr_assert_eq(OCSP_request_onereq_count(r), 1);
	OCSP_REQUEST_free(r);
	cr_assert(ocsp_get(w.o, "http://o.test", url));
	cr_assert_eq(strncmp(url, "http://o.test/M", 15), 0, "%s", url);
	cr_assert_null(strpbrk(url + 14, "+/="), "%s", url);
	cr_assert(ocsp_get(w.o, "http://o.test/x/", url));
	cr_assert_eq(strncmp(url, "http://o.test/x/M", 17), 0, "%s", url);
	snprintf(long_url, sizeof long_url, "http://o.test/%0200d", 0);
	cr_assert_not(ocsp_get(w.o, long_url, url), "more than 255 bytes");
	cr_assert_not(ocsp_get(w.o, "http://o.test/?a=b", url));
	cr_assert_lt(ocsp_new("hello", 5, &none, &e), 0);
	cr_assert_null(none);
	ocsp_free(w.o);
}

Test(ocsp, what_a_certificate_says)
{
	struct party ca = make("ca", 1, NULL, 0, NULL);
	struct party leaf = make("leaf", 2, &ca, NID_info_access,
				 "caIssuers;URI:http://ca.test/,OCSP;URI:ldap://o.test,OCSP;URI:http://o.test/q");
	struct party must = make("must", 3, &ca, NID_tlsfeature, "status_request");
	struct party tls = make("tls", 4, &ca, NID_info_access, "OCSP;URI:https://o.test");
	struct cert_ocsp o;
	char *pem = pem_of(leaf.x, ca.x);

	cr_assert_eq(cert_ocsp(pem, strlen(pem), &o), 0);
	cr_assert_str_eq(o.url, "http://o.test/q");
	cr_assert(!o.must_staple && o.pem && strlen(o.sha256) == 64);
	cr_assert_str_eq(o.pem, pem);
	cert_ocsp_done(&o);
	free(pem);
	pem = pem_of(must.x, NULL);
	cr_assert_eq(cert_ocsp(pem, strlen(pem), &o), 0);
	cr_assert(o.must_staple && !o.url[0] && !o.pem);
	free(pem);
	pem = pem_of(tls.x, ca.x);
	cr_assert_eq(cert_ocsp(pem, strlen(pem), &o), 0);
	cr_assert_eq(o.url[0], '\0', "only plain http");
	cert_ocsp_done(&o);
	free(pem);
	cr_assert_lt(cert_ocsp("x", 1, &o), 0);
}

/* RFC 9773, 4.1 has this example: an authority's key identifier and a serial number. */
Test(ocsp, renewal_names)
{
	struct party ca = make("ca", 1, NULL, NID_subject_key_identifier, "69885b6b87464041e1b37b847ba0ae2cde01c8d4");
	struct party leaf = make("leaf", 0x87654321, &ca, NID_authority_key_identifier, "keyid:always");
	char *pem = pem_of(leaf.x, NULL), *bare, id[LIMIT_RENEWAL_ID + 1];
	struct party none = make("none", 5, &ca, 0, NULL);

	cr_assert(cert_renewal_id(pem, strlen(pem), id));
	cr_assert_str_eq(id, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
	bare = pem_of(none.x, NULL);
	cr_assert_not(cert_renewal_id(bare, strlen(bare), id));
	cr_assert_not(cert_renewal_id("x", 1, id));
	free(pem);
	free(bare);
}

Test(ocsp, pauses)
{
	const int64_t day = 24 * HOUR_MS;

	for (uint64_t seed = 0; seed < 1000; seed += 13) {
		int64_t t = pace_staple(NOW_MS, NOW_MS + 4 * day, NOW_MS, seed);
		cr_assert(t > NOW_MS + 43 * HOUR_MS && t <= NOW_MS + 48 * HOUR_MS);
		t = pace_staple(NOW_MS, NOW_MS + 4000 * day, NOW_MS, seed);
		cr_assert(t > NOW_MS + 75 * HOUR_MS && t <= NOW_MS + 84 * HOUR_MS);
	}
	cr_assert_eq(pace_staple(NOW_MS, NOW_MS + 1000, NOW_MS, 0), NOW_MS + 60000);
	cr_assert_eq(pace_staple(NOW_MS - 3 * day, NOW_MS + day, NOW_MS, 0), NOW_MS + day / 2);
	cr_assert_eq(pace_staple(NOW_MS, 0, NOW_MS, 0), NOW_MS + HOUR_MS);
	cr_assert_eq(pace_unstapled(1, 0), 60000);
	cr_assert_eq(pace_unstapled(90, 0), HOUR_MS);
}

/* --- through the fetch room, with a responder on loopback ------------------------------------------------------ */

struct responder {
	struct loop *loop;
	struct fetch *fetch;
	struct status *status;
	struct loop_io accept, read;
	struct loop_timer late;
	int listener, client;
	unsigned asked, told;
	bool post_only;
	char got[2048];
	size_t got_len;
	const uint8_t *der;
	size_t len;
	struct fetch_status_answer a;
};

static void on_read(void *arg, short what)
{
	struct responder *k = arg;
	ssize_t n = recv(k->client, k->got + k->got_len, sizeof k->got - 1 - k->got_len, 0);
	char head[128];

	(void)what;
	k->got_len += n > 0 ? (size_t)n : 0;
	k->got[k->got_len] = '\0';
	if (n > 0 && !memmem(k->got, k->got_len, "\r\n\r\n", 4))
		return;
	if (n > 0 && k->post_only && strncmp(k->got, "POST", 4) != 0) {
		static const char no[] = "HTTP/1.1 405 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
		cr_assert(send(k->client, no, sizeof no - 1, MSG_NOSIGNAL) > 0);
	} else if (n > 0) {
		int h = snprintf(head, sizeof head,
				 "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", k->len);
		cr_assert(send(k->client, head, (size_t)h, MSG_NOSIGNAL) > 0);
		cr_assert(send(k->client, k->der, k->len, MSG_NOSIGNAL) > 0);
	}
	loop_io_stop(&k->read);
	close(k->client);
}

static void on_accept(void *arg, short what)
{
	struct responder *k = arg;

	(void)what;
	k->asked++;
	k->got_len = 0;
	k->client = accept(k->listener, NULL, NULL);
	loop_io_start(k->loop, &k->read, k->client, EV_READ, on_read, k);
}

static void on_fetched(void *arg, const struct fetch_answer *a, const void *body)
{
	struct responder *k = arg;

	cr_assert(status_answer(k->status, a, body));
}

static void on_told(void *arg, const struct fetch_status_answer *a, const void *der)
{
	struct responder *k = arg;

	cr_assert_eq(der != NULL, a->len > 0);
	cr_assert(a->len == 0 || (a->len == k->len && memcmp(der, k->der, k->len) == 0));
	k->told++;
	k->a = *a;
	loop_stop(k->loop);
}

static void on_late(void *arg)
{
	loop_stop(((struct responder *)arg)->loop);
}

static void ask(struct responder *k, const char *url, uint32_t flags, const char *pem)
{
	struct fetch_status q = {.id = 9, .flags = flags, .timeout_ms = 5000, .len = (uint32_t)strlen(pem)};
	unsigned before = k->told;

	snprintf(q.url, sizeof q.url, "%s", url);
	loop_timer_start(k->loop, &k->late, 8000000, on_late, k);
	status_ask(k->status, &q, pem);
	if (k->told == before)
		loop_run(k->loop);
	cr_assert_eq(k->told, before + 1);
	cr_assert_eq(k->a.id, 9);
}

Test(ocsp, a_responder_is_asked)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof a;
	struct responder k = {0};
	struct world w = world();
	OWN_FREE char *pem = pem_of(w.leaf.x, w.ca.x);
	int64_t now = (int64_t)time(NULL) * 1000;
	struct said s = {V_OCSP_CERTSTATUS_GOOD, now - HOUR_MS, now + HOUR_MS, true};
	struct party ca;
	uint8_t *der;
	struct err e = {0};
	char url[64];

	k.loop = loop_new();
	k.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(bind(k.listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(k.listener, 5) == 0);
	getsockname(k.listener, (struct sockaddr *)&a, &len);
	loop_io_start(k.loop, &k.accept, k.listener, EV_READ, on_accept, &k);
	k.status = status_new(on_told, &k);
	cr_assert_eq(fetch_new(k.loop, strdup("\n"), 1, NULL, 0, on_fetched, &k, &k.fetch, &e), 0, "%s", e.text);
	status_use(k.status, k.fetch);
	snprintf(url, sizeof url, "http://127.0.0.1:%u/o", ntohs(a.sin_port));
	/* The time of the tests above is not today's. */
	ca = w.ca;
	X509_time_adj_ex(X509_getm_notBefore(ca.x), -1, 0, NULL);
	X509_time_adj_ex(X509_getm_notAfter(ca.x), 100, 0, NULL);
	cr_assert(X509_sign(ca.x, ca.key, EVP_sha256()) > 0);
	free(pem);
	pem = pem_of(w.leaf.x, ca.x);
	k.len = answer(&ca, w.leaf.x, ca.x, s, &der);
	k.der = der;
	ask(&k, url, 0, pem);
	cr_assert_eq(k.a.cert, FETCH_CERT_GOOD, "%s", k.a.error);
	cr_assert_eq(k.asked, 1);
	cr_assert_eq(strncmp(k.got, "GET /o/M", 8), 0, "%s", k.got);
	k.post_only = true;
	ask(&k, url, 0, pem);
	cr_assert_eq(k.a.cert, FETCH_CERT_GOOD, "%s", k.a.error);
	cr_assert_eq(k.asked, 3);
	cr_assert_not_null(strstr(k.got, "application/ocsp-request"), "%s", k.got);
	/* A tenant's may not lead to this host. */
	ask(&k, url, FETCH_PUBLIC, pem);
	cr_assert_eq(k.a.cert, FETCH_CERT_UNKNOWN);
	cr_assert_not_null(strstr(k.a.error, "public"), "%s", k.a.error);
	cr_assert_eq(k.asked, 3);
	k.der = (const uint8_t *)"nonsense";
	k.len = 8;
	ask(&k, url, 0, pem);
	cr_assert_eq(k.a.cert, FETCH_CERT_UNKNOWN);
	cr_assert_not_null(strstr(k.a.error, "cannot be read"), "%s", k.a.error);
	cr_assert_eq(k.asked, 5, "by POST too");
	ask(&k, url, 0, "hello");
	cr_assert_eq(k.a.cert, FETCH_CERT_UNKNOWN);
	loop_timer_stop(&k.late);
	loop_io_stop(&k.accept);
	close(k.listener);
	status_free(k.status);
	fetch_free(k.fetch);
	loop_free(k.loop);
	OPENSSL_free(der);
}
