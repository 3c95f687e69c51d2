/* Tokens.  Layer store, control process.
 *
 * The database holds HMAC-SHA256(key, secret): whoever reads a copy of it cannot log in.  Looking a token up by its
 * digest leaks nothing useful by timing, since nobody without the key can choose digests; the digest found is still
 * compared in constant time. */
#include "store/store.h"

#include "base/clock.h"
#include "base/own.h"
#include "base/utf8.h"
#include "store/db.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define TOKEN_COLUMNS "id, tenant, role, name, hint, created_ms, used_ms, mac"
#define TOKEN_PREFIX "tul_"
#define TOKEN_RANDOM 32
#define TOKEN_LENGTH (sizeof TOKEN_PREFIX - 1 + 43)
#define TOKEN_USED_STEP_MS 60000

_Static_assert(TOKEN_LENGTH < STORE_SECRET_MAX, "the secret fits its buffer");

static void token_row(struct db_query *q, struct model_token *t)
{
	*t = (struct model_token){
		.id = db_int(q, 0),
		.tenant = db_int(q, 1),
		.role = (enum model_role)db_int(q, 2),
		.created_ms = db_int(q, 5),
		.used_ms = db_int(q, 6),
	};
	db_text(q, 3, t->name, sizeof t->name);
	db_text(q, 4, t->hint, sizeof t->hint);
}

static int token_mac(struct store *s, const char *secret, size_t n, unsigned char out[32], struct err *e)
{
	unsigned len = 0;

	if (!HMAC(EVP_sha256(), s->token_key, DB_KEY_BYTES, (const unsigned char *)secret, n, out, &len) || len != 32)
		return err_set(e, EIO, "HMAC-SHA256 failed");
	return 0;
}

/* Unpadded base64url (RFC 4648, section 5) of TOKEN_RANDOM bytes. */
static void token_text(const unsigned char *in, char *out)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint32_t bits = 0;
	unsigned have = 0;

	for (size_t i = 0; i < TOKEN_RANDOM; i++) {
		bits = bits << 8 | in[i];
		have += 8;
		while (have >= 6) {
			have -= 6;
			*out++ = alphabet[bits >> have & 63];
		}
	}
	if (have)
		*out++ = alphabet[bits << (6 - have) & 63];
	*out = 0;
}

static int token_check_new(struct store *s, int64_t tenant, enum model_role role, const char *name, struct err *e)
{
	bool of_node = role == MODEL_ROLE_FLEET || role == MODEL_ROLE_OPERATOR;
	char shown[LIMIT_TOKEN_NAME * 4 + 1];
	size_t n = strlen(name);
	int64_t count;
	int r;

	if (role <= MODEL_ROLE_NONE || role >= MODEL_ROLE_COUNT)
		return err_field(e, EINVAL, "role", "role: must be one of reader, deployer, admin, fleet, operator");
	if (of_node != (tenant == 0))
		return err_field(e, EINVAL, "role", "role: %s tokens %s", model_role_name(role),
				 of_node ? "belong to no tenant" : "belong to a tenant");
	/* Shown in lists and logs: plain text only. */
	if (n == 0 || n > LIMIT_TOKEN_NAME || !utf8_valid(name, n) || utf8_escape(shown, sizeof shown, name, n) != n)
		return err_field(e, EINVAL, "name", "name: must be 1 to %d bytes of text without control characters",
				 LIMIT_TOKEN_NAME);
	if (tenant) {
		r = store_tenant_get(s, tenant, NULL, e);
		if (r < 0)
			return r;
	}
	r = db_number(s, 0, &count, "SELECT count(*) FROM token WHERE tenant IS ?",
		      DB_ARGS(tenant ? DB_I(tenant) : DB_S(NULL)), e);
	if (r < 0)
		return r;
	if (count >= LIMIT_TOKENS)
		return err_set(e, EDQUOT, "at most %d tokens %s; delete one first", LIMIT_TOKENS,
			       tenant ? "per tenant" : "of the node");
	return 0;
}

int store_token_add(struct store *s, int64_t tenant, enum model_role role, const char *name,
		    char secret[STORE_SECRET_MAX], struct model_token *ret, struct err *e)
{
	struct model_token t = {.tenant = tenant, .role = role, .created_ms = clock_wall_ms()};
	unsigned char random[TOKEN_RANDOM], mac[32];
	char text[STORE_SECRET_MAX];
	int r = token_check_new(s, tenant, role, name, e);

	if (r < 0)
		return r;
	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		return err_errno(e, "getrandom");
	memcpy(text, TOKEN_PREFIX, sizeof TOKEN_PREFIX - 1);
	token_text(random, text + sizeof TOKEN_PREFIX - 1);
	explicit_bzero(random, sizeof random);
	snprintf(t.name, sizeof t.name, "%s", name);
	snprintf(t.hint, sizeof t.hint, "%.8s", text);
	r = token_mac(s, text, TOKEN_LENGTH, mac, e);
	if (r == 0)
		r = db_run(s,
			   "INSERT INTO token (tenant, role, name, hint, mac, created_ms, used_ms) VALUES (?, ?, ?, ?, "
			   "?, ?, 0)",
			   DB_ARGS(tenant ? DB_I(tenant) : DB_S(NULL), DB_I(role), DB_S(t.name), DB_S(t.hint),
				   DB_B(mac, sizeof mac), DB_I(t.created_ms)),
			   e);
	if (r >= 0) {
		t.id = sqlite3_last_insert_rowid(s->db);
		memcpy(secret, text, sizeof text);
		if (ret)
			*ret = t;
	}
	explicit_bzero(text, sizeof text);
	return r < 0 ? r : 0;
}

int store_token_check(struct store *s, const char *secret, size_t n, struct model_token *ret, struct err *e)
{
	unsigned char mac[32];
	struct model_token t;
	int64_t now = clock_wall_ms();
	int r;

	if (n != TOKEN_LENGTH || memcmp(secret, TOKEN_PREFIX, sizeof TOKEN_PREFIX - 1) != 0)
		return err_set(e, ENOENT, "the token is not valid");
	r = token_mac(s, secret, n, mac, e);
	if (r < 0)
		return r;
	{
		DB_QUERY q = {0};
		const void *found;
		r = db_query_start(s, &q, "SELECT " TOKEN_COLUMNS " FROM token WHERE mac = ?",
				   DB_ARGS(DB_B(mac, sizeof mac)), e);
		if (r == 0)
			r = db_query_step(&q, e);
		if (r < 0)
			return r;
		found = r ? sqlite3_column_blob(q.stmt, 7) : NULL;
		if (!found || sqlite3_column_bytes(q.stmt, 7) != 32 || CRYPTO_memcmp(found, mac, 32) != 0)
			return err_set(e, ENOENT, "the token is not valid");
		token_row(&q, &t);
	}
	/* A clock that was set back must not silence this for good, hence both comparisons.  That the note could not be
	 * taken is no reason to refuse the token. */
	if (now - t.used_ms >= TOKEN_USED_STEP_MS || now < t.used_ms) {
		if (db_run(s, "UPDATE token SET used_ms = ? WHERE id = ?", DB_ARGS(DB_I(now), DB_I(t.id)), NULL) > 0)
			t.used_ms = now;
	}
	*ret = t;
	return 0;
}

int store_token_list(struct store *s, int64_t tenant, store_token_fn *fn, void *arg, struct err *e)
{
	DB_QUERY q = {0};
	int r = db_query_start(s, &q, "SELECT " TOKEN_COLUMNS " FROM token WHERE tenant IS ? ORDER BY id",
			       DB_ARGS(tenant ? DB_I(tenant) : DB_S(NULL)), e);

	while (r == 0 && (r = db_query_step(&q, e)) > 0) {
		struct model_token t;
		token_row(&q, &t);
		r = fn(arg, &t);
		if (r != 0)
			return r;
	}
	return r;
}

int store_token_del(struct store *s, int64_t tenant, int64_t id, struct err *e)
{
	int r = db_run(s, "DELETE FROM token WHERE id = ? AND tenant IS ?",
		       DB_ARGS(DB_I(id), tenant ? DB_I(tenant) : DB_S(NULL)), e);

	if (r == 0)
		return err_set(e, ENOENT, "no such token");
	if (r > 0)
		r = db_run(s, "DELETE FROM idem WHERE token = ?", DB_ARGS(DB_I(id)), e);
	return r < 0 ? r : 0;
}

unsigned store_token_count(struct store *s)
{
	int64_t n = 0;

	/* When it cannot be read, "some": the caller makes an operator's token when there is none. */
	return db_number(s, 0, &n, "SELECT count(*) FROM token", DB_NONE, NULL) < 0 ? 1 : (unsigned)n;
}
