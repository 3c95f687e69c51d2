/* Tokens, sessions and their throttle.  Layer web, control process. */
#include "web/api/auth.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/own.h"
#include "base/parse.h"
#include "web/api/route.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#define COOKIE "tulou_session"
#define SEAL_IV 12
#define SEAL_TAG 16
#define KNOWN 256   /* digests of tokens seen valid: they pass while their address is throttled */
#define REVOKED 256 /* sessions logged out, remembered by their IV */

/* Wrong tokens from one address. */
struct auth_address {
	char text[64];
	unsigned failures;
	int64_t since_us;
};

struct api_auth {
	unsigned char key[32];
	struct map *addresses; /* text -> struct auth_address, owned */
	unsigned char known[KNOWN][32];
	unsigned known_next;
	unsigned char revoked[REVOKED][SEAL_IV];
	unsigned revoked_next;
};

int api_auth_new(struct store *s, struct api_auth **ret, struct err *e)
{
	struct api_auth *a = calloc(1, sizeof *a);
	OWN_FREE char *hex = NULL;
	int r = 0;

	if (!a || !(a->addresses = map_new())) {
		free(a);
		return err_set(e, ENOMEM, "out of memory");
	}
	if (store_meta_get(s, "api.session_key", &hex, NULL) < 0 || parse_unhex(hex, a->key, sizeof a->key) < 0) {
		char text[2 * sizeof a->key + 1];
		if (RAND_bytes(a->key, sizeof a->key) != 1)
			r = err_set(e, EIO, "no random bytes for the key of sessions");
		else {
			parse_hex(a->key, sizeof a->key, text);
			r = store_meta_set(s, "api.session_key", text, e);
			OPENSSL_cleanse(text, sizeof text);
		}
		if (r == 0)
			r = store_commit(s, e);
	}
	if (hex)
		OPENSSL_cleanse(hex, strlen(hex));
	if (r < 0) {
		api_auth_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

void api_auth_free(struct api_auth *a)
{
	size_t pos = 0;
	void *p;

	if (!a)
		return;
	while ((p = map_next(a->addresses, &pos)))
		free(p);
	map_free(a->addresses);
	OPENSSL_cleanse(a, sizeof *a);
	free(a);
}

/* The client's address as our proxy wrote it: the last hop. */
static void auth_client(struct exchange *x, char out[64])
{
	const char *s = api_header(x, "X-Forwarded-For"), *comma = s ? strrchr(s, ',') : NULL;

	if (comma)
		s = comma + 1 + strspn(comma + 1, " \t");
	snprintf(out, 64, "%s", s ? s : "local");
}

static bool auth_expired(const struct auth_address *r, int64_t now)
{
	return now - r->since_us > LIMIT_API_FAILURES_MS * 1000ll;
}

static bool auth_throttled(struct api_auth *a, const char *client)
{
	const struct auth_address *r = map_get_str(a->addresses, client);

	return r && r->failures >= LIMIT_API_FAILURES && !auth_expired(r, clock_mono_us());
}

static void auth_failed(struct exchange *x, const char *client)
{
	struct api_auth *a = x->api->auth;
	struct auth_address *r = map_get_str(a->addresses, client);
	int64_t now = clock_mono_us();

	x->api->auth_failures++;
	if (r && auth_expired(r, now))
		r->failures = 0;
	if (!r) {
		size_t pos = 0;
		/* Full: forget the expired, and when there is none, any one. */
		if (map_count(a->addresses) >= LIMIT_API_ADDRESSES) {
			struct auth_address *old, *last = NULL;
			while ((old = map_next(a->addresses, &pos)))
				if (auth_expired(old, now))
					free(map_del_str(a->addresses, old->text));
				else
					last = old;
			if (map_count(a->addresses) >= LIMIT_API_ADDRESSES && last)
				free(map_del_str(a->addresses, last->text));
		}
		r = calloc(1, sizeof *r);
		if (!r)
			return;
		snprintf(r->text, sizeof r->text, "%s", client);
		if (map_put_str(a->addresses, r->text, r) < 0) {
			free(r);
			return;
		}
	}
	if (r->failures++ == 0)
		r->since_us = now;
}

static void auth_digest(const char *secret, size_t n, unsigned char md[32])
{
	EVP_Digest(secret, n, md, NULL, EVP_sha256(), NULL);
}

static bool auth_known(const struct api_auth *a, const unsigned char md[32])
{
	int hit = 0;

	for (unsigned i = 0; i < KNOWN; i++)
		hit |= CRYPTO_memcmp(a->known[i], md, 32) == 0;
	return hit;
}

void api_auth_known(struct api_auth *a, const char *secret)
{
	auth_digest(secret, strlen(secret), a->known[a->known_next++ % KNOWN]);
}

static void auth_ask(struct exchange *x, const char *text)
{
	api_answer_problem(x, 401, NULL, "%s", text);
	api_answer_header(x, "WWW-Authenticate",
			  x->route && x->route->flags & API_BASIC ? "Basic realm=\"tulou\", charset=\"UTF-8\""
								  : "Bearer realm=\"tulou\"");
}

/* Fills x->who from a presented secret. */
static bool auth_secret(struct exchange *x, const char *secret, size_t n)
{
	struct api_auth *a = x->api->auth;
	struct model_token t = {0};
	struct err e = {0};
	unsigned char md[32];
	char client[64];
	int r = -ENOENT;

	auth_client(x, client);
	auth_digest(secret, n, md);
	if (auth_throttled(a, client) && !auth_known(a, md)) {
		x->api->auth_failures++;
		api_answer_problem(x, 429, NULL, "too many wrong tokens from this address; wait a minute");
		api_answer_header(x, "Retry-After", "60");
		return false;
	}
	if (n < STORE_SECRET_MAX)
		r = store_token_check(x->api->config.store, secret, n, &t, &e);
	if (r == -ENOENT || (r < 0 && e.code != EIO)) {
		auth_failed(x, client);
		auth_ask(x, "the token is wrong or was revoked");
		return false;
	}
	if (r < 0) {
		api_answer_err(x, &e);
		return false;
	}
	if (!auth_known(a, md))
		memcpy(a->known[a->known_next++ % KNOWN], md, 32);
	x->who = (struct exchange_who){.role = t.role, .tenant = t.tenant, .token = t.id};
	if (t.tenant) {
		struct model_tenant owner;
		if (store_tenant_get(x->api->config.store, t.tenant, &owner, &e) < 0) {
			auth_ask(x, "the token's tenant is gone");
			return false;
		}
		memcpy(x->who.tenant_name, owner.name, sizeof x->who.tenant_name);
	}
	return true;
}

/* plain[0..n) -> hex of IV, tag and ciphertext; cleared by the caller. */
static bool auth_seal(const struct api_auth *a, const void *plain, size_t n, struct buf *out)
{
	unsigned char raw[SEAL_IV + SEAL_TAG + 128];
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int len = 0, last = 0;
	bool ok = c && n <= 128 && RAND_bytes(raw, SEAL_IV) == 1 &&
		  EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, a->key, raw) == 1 &&
		  EVP_EncryptUpdate(c, raw + SEAL_IV + SEAL_TAG, &len, plain, (int)n) == 1 &&
		  EVP_EncryptFinal_ex(c, raw + SEAL_IV + SEAL_TAG + len, &last) == 1 &&
		  EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, SEAL_TAG, raw + SEAL_IV) == 1;

	EVP_CIPHER_CTX_free(c);
	if (ok) {
		char hex[2 * sizeof raw + 1];
		parse_hex(raw, SEAL_IV + SEAL_TAG + (size_t)(len + last), hex);
		ok = buf_adds(out, hex) == 0;
	}
	return ok;
}

/* The inverse; the plain text's length or -1. */
static int auth_unseal(const struct api_auth *a, const char *hex, size_t n, unsigned char plain[128],
		       unsigned char iv[SEAL_IV])
{
	unsigned char raw[SEAL_IV + SEAL_TAG + 128];
	char copy[2 * sizeof raw + 1];
	EVP_CIPHER_CTX *c;
	int len = 0, last = 0;
	bool ok;

	if (n % 2 || n / 2 <= SEAL_IV + SEAL_TAG || n / 2 > sizeof raw)
		return -1;
	memcpy(copy, hex, n);
	copy[n] = 0;
	if (parse_unhex(copy, raw, n / 2) < 0)
		return -1;
	c = EVP_CIPHER_CTX_new();
	ok = c && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, a->key, raw) == 1 &&
	     EVP_DecryptUpdate(c, plain, &len, raw + SEAL_IV + SEAL_TAG, (int)(n / 2 - SEAL_IV - SEAL_TAG)) == 1 &&
	     EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, SEAL_TAG, raw + SEAL_IV) == 1 &&
	     EVP_DecryptFinal_ex(c, plain + len, &last) == 1;
	EVP_CIPHER_CTX_free(c);
	memcpy(iv, raw, SEAL_IV);
	return ok ? len + last : -1;
}

/* A write by cookie must come from our own page: the browser says so in Sec-Fetch-Site, an older one in Origin. */
static bool auth_same_origin(struct exchange *x, bool write)
{
	const char *site = api_header(x, "Sec-Fetch-Site"), *origin = api_header(x, "Origin"),
		   *host = api_header(x, "Host");
	const char *at = origin ? strstr(origin, "://") : NULL;

	if (site)
		return strcmp(site, "same-origin") == 0 || (!write && strcmp(site, "none") == 0);
	if (origin)
		return at && host && strcasecmp(at + 3, host) == 0;
	return !write;
}

static bool auth_cookie(struct exchange *x, const char *value)
{
	struct api_auth *a = x->api->auth;
	bool write = strcmp(x->method, "GET") != 0 && strcmp(x->method, "HEAD") != 0;
	unsigned char plain[128], iv[SEAL_IV];
	int n = auth_unseal(a, value, strlen(value), plain, iv);
	int64_t made;
	bool ok;

	ok = n > (int)sizeof made;
	for (unsigned i = 0; ok && i < REVOKED; i++)
		ok = memcmp(a->revoked[i], iv, SEAL_IV) != 0;
	if (ok) {
		memcpy(&made, plain, sizeof made);
		ok = clock_wall_ms() - made < LIMIT_API_SESSION_MS;
	}
	if (!ok) {
		auth_ask(x, "the session has ended; log in again");
		return false;
	}
	if (!auth_same_origin(x, write)) {
		api_answer_problem(x, 403, NULL, "a request by cookie must come from the dashboard itself");
		OPENSSL_cleanse(plain, sizeof plain);
		return false;
	}
	ok = auth_secret(x, (char *)plain + sizeof made, (size_t)n - sizeof made);
	x->who.cookie = ok;
	OPENSSL_cleanse(plain, sizeof plain);
	return ok;
}

/* Basic: the password is the token, the user name is of no interest. */
static bool auth_basic(struct exchange *x, const char *b64)
{
	unsigned char text[512];
	size_t n = strlen(b64);
	const char *colon;
	int len;
	bool ok;

	if (n == 0 || n % 4 || n / 4 * 3 > sizeof text ||
	    (len = EVP_DecodeBlock(text, (const unsigned char *)b64, (int)n)) < 0) {
		auth_ask(x, "the Authorization header is malformed");
		return false;
	}
	len -= (b64[n - 1] == '=') + (n > 1 && b64[n - 2] == '=');
	colon = memchr(text, ':', (size_t)len);
	if (!colon) {
		auth_ask(x, "the Authorization header is malformed");
		return false;
	}
	ok = auth_secret(x, colon + 1, (size_t)len - (size_t)(colon + 1 - (char *)text));
	OPENSSL_cleanse(text, sizeof text);
	return ok;
}

bool api_auth_check(struct exchange *x)
{
	const char *h = api_header(x, "Authorization"), *cookie;

	if (h && strncasecmp(h, "Bearer ", 7) == 0) {
		h += 7 + strspn(h + 7, " ");
		return auth_secret(x, h, strlen(h));
	}
	if (h && strncasecmp(h, "Basic ", 6) == 0)
		return auth_basic(x, h + 6 + strspn(h + 6, " "));
	if (h) {
		auth_ask(x, "Authorization must be Bearer or Basic");
		return false;
	}
	cookie = MHD_lookup_connection_value(x->conn, MHD_COOKIE_KIND, COOKIE);
	if (cookie)
		return auth_cookie(x, cookie);
	auth_ask(x, "a token is needed");
	return false;
}

void api_whoami(struct exchange *x)
{
	json_t *j = json_object();

	json_object_set_new(j, "role", json_string(model_role_name(x->who.role)));
	json_object_set_new(j, "tenant", x->who.tenant ? json_string(x->who.tenant_name) : json_null());
	json_object_set_new(j, "token_id", json_integer(x->who.token));
	api_answer_json(x, 200, j);
}

static void auth_set_cookie(struct exchange *x, const char *value, int seconds)
{
	const char *proto = api_header(x, "X-Forwarded-Proto");
	char line[640];

	snprintf(line, sizeof line, COOKIE "=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%d%s", value, seconds,
		 proto && strcmp(proto, "https") == 0 ? "; Secure" : "");
	api_answer_header(x, "Set-Cookie", line);
}

void api_session_post(struct exchange *x)
{
	static const char *const keys[] = {"token", NULL};
	OWN_BUF struct buf sealed;
	const char *token = NULL;
	struct err e = {0};
	unsigned char plain[128];
	int64_t now = clock_wall_ms();
	size_t n;

	buf_init(&sealed, 512);
	/* Another site must not log this browser in as someone else. */
	if ((api_header(x, "Origin") || api_header(x, "Sec-Fetch-Site")) && !auth_same_origin(x, true)) {
		api_answer_problem(x, 403, NULL, "a login must come from the dashboard itself");
		return;
	}
	if (json_only(x->json, keys, &e) < 0 ||
	    json_get_str(x->json, "token", true, STORE_SECRET_MAX - 1, &token, &e) < 0) {
		api_answer_err(x, &e);
		return;
	}
	n = strlen(token);
	if (!auth_secret(x, token, n))
		return;
	memcpy(plain, &now, sizeof now);
	memcpy(plain + sizeof now, token, n);
	if (!auth_seal(x->api->auth, plain, sizeof now + n, &sealed))
		api_answer_problem(x, 500, NULL, "the session could not be made");
	else {
		api_answer_empty(x, 204);
		auth_set_cookie(x, sealed.data, LIMIT_API_SESSION_MS / 1000);
	}
	OPENSSL_cleanse(plain, sizeof plain);
}

void api_session_delete(struct exchange *x)
{
	const char *cookie = MHD_lookup_connection_value(x->conn, MHD_COOKIE_KIND, COOKIE);
	unsigned char plain[128], iv[SEAL_IV];
	struct api_auth *a = x->api->auth;

	if (cookie && !auth_same_origin(x, true)) {
		api_answer_problem(x, 403, NULL, "a request by cookie must come from the dashboard itself");
		return;
	}
	if (cookie && auth_unseal(a, cookie, strlen(cookie), plain, iv) > 0)
		memcpy(a->revoked[a->revoked_next++ % REVOKED], iv, SEAL_IV);
	OPENSSL_cleanse(plain, sizeof plain);
	api_answer_empty(x, 204);
	auth_set_cookie(x, "", 0);
}
