/* Certificates: what is taken, what is refused and why, which names fit which hosts. */
#include "web/http/cert.h"

#include "base/clock.h"

#include <errno.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAMES "a.test\0*.b.test\0"
#define DAY_MS 86400000ll

static int check(const char *chain, const char *key, int64_t now_ms, struct err *e)
{
	struct cert_info i = {0};
	int r;

	memset(e, 0, sizeof *e);
	r = cert_check(chain, strlen(chain), key, strlen(key), now_ms, &i, e);
	cert_info_done(&i);
	return r;
}

Test(http_cert, covers)
{
	cr_assert_eq(cert_covers(NAMES, "a.test"), 2);
	cr_assert_eq(cert_covers(NAMES, "x.b.test"), 1);
	cr_assert_eq(cert_covers(NAMES, "b.test"), 0);
	cr_assert_eq(cert_covers(NAMES, "x.y.b.test"), 0);
	cr_assert_eq(cert_covers(NAMES, ".b.test"), 0);
	cr_assert_eq(cert_covers(NAMES, "*.b.test"), 2);
	cr_assert_eq(cert_covers("*.b.test\0x.b.test\0", "x.b.test"), 2);
	cr_assert_eq(cert_covers(NAMES, "test"), 0);
	cr_assert_eq(cert_covers("", "a.test"), 0);
}

Test(http_cert, what_we_make_we_take)
{
	int64_t now = clock_wall_ms();
	char *key = cert_new_key(), *pem = cert_self_signed(key, NAMES, now, 90, NULL), *names, *both = NULL;
	struct cert_info i = {0};
	struct err e = {0};
	X509 *leaf;
	STACK_OF(X509) * chain;
	EVP_PKEY *pkey;

	cr_assert(key && pem);
	cr_assert_eq(cert_check(pem, strlen(pem), key, strlen(key), now, &i, &e), 0, "%s", e.text);
	cr_assert_eq(i.name_count, 2);
	cr_assert_eq(memcmp(i.names, NAMES, sizeof NAMES), 0);
	cr_assert_str_eq(i.kind, "ecdsa-256");
	cr_assert(i.self_signed && !i.must_staple);
	cr_assert_eq(strlen(i.sha256), 64);
	cr_assert(i.not_before_ms <= now - 3599000 && i.not_after_ms > now + 89 * DAY_MS &&
		  i.not_after_ms <= now + 90 * DAY_MS);
	names = cert_names(pem, strlen(pem));
	cr_assert_eq(memcmp(names, NAMES, sizeof NAMES), 0);
	cr_assert(asprintf(&both, "%s%s", pem, key) > 0);
	cr_assert_eq(cert_load(both, strlen(both), &leaf, &chain, &pkey), 0);
	cr_assert(leaf && pkey && !chain);
	cr_assert_eq(cert_load(pem, strlen(pem), &(X509 *){NULL}, &(STACK_OF(X509) *){NULL}, &(EVP_PKEY *){NULL}),
		     -EINVAL);
	X509_free(leaf);
	EVP_PKEY_free(pkey);
	cert_info_done(&i);
	cert_free_key(key);
	free(both);
	free(names);
	free(pem);
}

Test(http_cert, refusals_name_what_is_wrong)
{
	int64_t now = clock_wall_ms();
	char *key = cert_new_key(), *other = cert_new_key(), *pem = cert_self_signed(key, NAMES, now, 90, NULL),
	     *second = cert_self_signed(other, NAMES, now, 90, NULL), *text = NULL, *cut = strdup(pem);
	struct err e;

	cr_assert_eq(check(pem, other, now, &e), -EINVAL);
	cr_assert_str_eq(e.field, "key");
	cr_assert(strstr(e.text, "belong"), "%s", e.text);
	cr_assert_eq(check(pem, key, now + 91 * DAY_MS, &e), -EINVAL);
	cr_assert(strstr(e.text, "expired"), "%s", e.text);
	cr_assert_eq(check(pem, key, now - 3 * DAY_MS, &e), -EINVAL);
	cr_assert(strstr(e.text, "not valid yet"), "%s", e.text);
	cr_assert_eq(check("", key, now, &e), -EINVAL);
	cr_assert_str_eq(e.field, "certificate");
	cr_assert_eq(check(pem, "", now, &e), -EINVAL);
	cr_assert_str_eq(e.field, "key");
	cr_assert_eq(check(key, pem, now, &e), -EINVAL);
	cr_assert_eq(check(pem, pem, now, &e), -EINVAL);
	cr_assert_str_eq(e.field, "key");
	/* Not the issuer of the first. */
	cr_assert(asprintf(&text, "%s%s", pem, second) > 0);
	cr_assert_eq(check(text, key, now, &e), -EINVAL);
	cr_assert(strstr(e.text, "signed by"), "%s", e.text);
	free(text);
	/* A block that does not parse is not left out silently. */
	memcpy(strstr(cut, "-----BEGIN") + 40, "!!!!", 4);
	cr_assert(asprintf(&text, "%s%s", pem, cut) > 0);
	cr_assert_eq(check(text, key, now, &e), -EINVAL);
	cr_assert_str_eq(e.field, "certificate");
	free(text);
	cr_assert(asprintf(&text, "%s%s%s%s%s%s%s%s%s", pem, pem, pem, pem, pem, pem, pem, pem, pem) > 0);
	cr_assert_eq(check(text, key, now, &e), -EINVAL);
	cr_assert(strstr(e.text, "more than"), "%s", e.text);
	free(text);
	text = calloc(1, LIMIT_CERT_BYTES + 2);
	memset(text, '\n', LIMIT_CERT_BYTES + 1);
	cr_assert_eq(check(text, key, now, &e), -EINVAL);
	cr_assert(strstr(e.text, "bytes"), "%s", e.text);
	free(text);
	free(cut);
	free(pem);
	free(second);
	cert_free_key(key);
	cert_free_key(other);
}

/* Keys that OpenSSL would take. */
static void run(const char *command, char **chain, char **key)
{
	char line[600], folder[] = "/tmp/tulou-cert-XXXXXX", path[80];
	int r = 0;

	cr_assert(mkdtemp(folder));
	snprintf(line, sizeof line, "cd %s && %s 2>/dev/null", folder, command);
	pid_t pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", line, NULL);
		_exit(127);
	}
	cr_assert(waitpid(pid, &r, 0) == pid && r == 0, "%s", command);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, i ? "key" : "crt");
		FILE *f = fopen(path, "re");
		char *text = calloc(1, 20000);
		cr_assert(f && fread(text, 1, 19999, f) > 0);
		fclose(f);
		remove(path);
		*(i ? key : chain) = text;
	}
	remove(folder);
}

Test(http_cert, kinds_of_keys)
{
	static const struct {
		const char *args, *kind; /* NULL: refused */
	} kinds[] = {
		{"-newkey rsa:2048", "rsa-2048"},
		{"-newkey rsa:1024", NULL},
		{"-newkey ec -pkeyopt ec_paramgen_curve:P-384", "ecdsa-384"},
		{"-newkey ec -pkeyopt ec_paramgen_curve:secp256k1", NULL},
		{"-newkey ed25519", NULL},
	};

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		char command[400], *chain, *key;
		struct cert_info info = {0};
		struct err e = {0};
		int r;
		snprintf(command, sizeof command,
			 "openssl req -x509 -nodes %s -keyout key -out crt -days 9 -subj /CN=x -addext "
			 "subjectAltName=DNS:X.Test",
			 kinds[i].args);
		run(command, &chain, &key);
		r = cert_check(chain, strlen(chain), key, strlen(key), clock_wall_ms(), &info, &e);
		if (kinds[i].kind) {
			cr_assert_eq(r, 0, "%s: %s", kinds[i].args, e.text);
			cr_assert_str_eq(info.kind, kinds[i].kind);
			cr_assert_str_eq(info.names, "x.test");
		} else {
			cr_assert_eq(r, -EINVAL, "%s", kinds[i].args);
			cr_assert_str_eq(e.field, "key");
		}
		cert_info_done(&info);
		free(chain);
		free(key);
	}
}

Test(http_cert, a_certificate_must_name_hosts_and_be_for_servers)
{
	static const char *const args[] = {"", "-addext subjectAltName=IP:10.0.0.1",
					   "-addext subjectAltName=DNS:a.test -addext extendedKeyUsage=clientAuth",
					   "-addext 'subjectAltName=DNS:a b.test'"};

	for (size_t i = 0; i < sizeof args / sizeof *args; i++) {
		char command[400], *chain, *key;
		struct err e;
		snprintf(command, sizeof command,
			 "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout key -out crt "
			 "-days 9 -subj /CN=a.test %s",
			 args[i]);
		run(command, &chain, &key);
		cr_assert_eq(check(chain, key, clock_wall_ms(), &e), -EINVAL, "%s", args[i]);
		cr_assert_str_eq(e.field, "certificate");
		free(chain);
		free(key);
	}
}

Test(http_cert, requests_and_challenges)
{
	static const uint8_t digest[32] = {1, 2, 3};
	char *key = cert_new_key(), *pem = cert_self_signed(key, "a.test\0", clock_wall_ms(), 7, digest);
	size_t n = 0;
	uint8_t *der = cert_request(key, NAMES, &n);
	const uint8_t *p = der;
	X509_REQ *q = d2i_X509_REQ(NULL, &p, (long)n);

	cr_assert(pem && q);
	cr_assert_eq(X509_REQ_verify(q, X509_REQ_get0_pubkey(q)), 1);
	cr_assert_null(cert_request(key, "", &n));
	X509_REQ_free(q);
	free(der);
	free(pem);
	cert_free_key(key);
}
