/* The conversation with an authority that signs certificates: requests and the account.  Layer agent, control process.
 */
#include "agent/acme/acme_private.h"

#include "base/own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACME_BAD_NONCES 20 /* of one request: each answer brings a fresh one */
#define ACME_TRY_MS 30000  /* one request */

const char *acme_challenge_name(enum acme_challenge c)
{
	static const char *const names[ACME_CHALLENGE_COUNT] = {"http-01", "tls-alpn-01"};

	return (unsigned)c < ACME_CHALLENGE_COUNT ? names[c] : "unknown";
}

/* --- what the authority says is wrong ------------------------------------------------------------------------- */

static void problem_text(char *out, size_t cap, const char *s)
{
	size_t n = 0;

	for (; s && *s && n + 1 < cap; s++)
		out[n++] = *s >= 0x20 && *s < 0x7f ? *s : '?';
	out[n] = '\0';
}

void acme_problem_read(json_t *o, struct acme_problem *p)
{
	static const char urn[] = "urn:ietf:params:acme:error:";
	const char *type = json_string_value(json_object_get(o, "type"));

	memset(p, 0, sizeof *p);
	if (type && strncmp(type, urn, sizeof urn - 1) == 0)
		problem_text(p->type, sizeof p->type, type + sizeof urn - 1);
	problem_text(p->detail, sizeof p->detail, json_string_value(json_object_get(o, "detail")));
}

json_t *acme_json(const struct fetch_answer *a, const char *body)
{
	return body ? json_read(body, a->len, LIMIT_FETCH_ANSWER, NULL) : NULL;
}

bool acme_url(json_t *o, const char *key, char out[ACME_URL + 1])
{
	const char *v = json_string_value(json_object_get(o, key));

	if (!v || strncmp(v, "https://", 8) != 0 || strlen(v) > ACME_URL)
		return false;
	memcpy(out, v, strlen(v) + 1);
	return true;
}

/* What kind of end a refused request is, and how it is told. */
enum acme_end acme_verdict(const struct fetch_answer *ans, const char *body, struct acme_problem *p, char *text,
			   size_t cap)
{
	OWN_JSON json_t *o = acme_json(ans, body);

	acme_problem_read(o, p);
	if (ans->status == 0) {
		char why[200];
		problem_text(why, sizeof why, ans->error);
		snprintf(text, cap, "The authority cannot be reached: %s", why);
		return ACME_UNAVAILABLE;
	}
	if (ans->status == 429 || strcmp(p->type, "rateLimited") == 0) {
		snprintf(text, cap, "The authority asks for patience: %s",
			 p->detail[0] ? p->detail : "too many requests");
		return ACME_LIMITED;
	}
	snprintf(text, cap, "The authority answered %u%s%s: %s", ans->status, p->type[0] ? " " : "", p->type,
		 p->detail[0] ? p->detail : "it does not say why");
	return ans->status >= 500 || !p->type[0] || strcmp(p->type, "serverInternal") == 0 ||
			       strcmp(p->type, "badNonce") == 0
		       ? ACME_UNAVAILABLE
		       : ACME_REFUSED;
}

/* --- requests ------------------------------------------------------------------------------------------------- */

void acme_call_clear(struct acme_call *k)
{
	k->ticket = 0;
	k->asks_nonce = k->with_jwk = false;
	k->bad_nonces = 0;
	free(k->payload);
	k->payload = NULL;
}

static void call_plain(struct acme *a, struct acme_call *k, enum fetch_method method, const char *url)
{
	struct fetch_ask ask = {.method = method, .timeout_ms = ACME_TRY_MS};

	snprintf(ask.url, sizeof ask.url, "%s", url);
	k->ticket = ++a->tickets;
	a->ops->fetch(a->arg, k->ticket, &ask, NULL);
}

uint64_t acme_get(struct acme *a, const char *url)
{
	struct fetch_ask ask = {.method = FETCH_GET, .timeout_ms = ACME_TRY_MS};
	uint64_t ticket = ++a->tickets;

	snprintf(ask.url, sizeof ask.url, "%s", url);
	a->ops->fetch(a->arg, ticket, &ask, NULL);
	return ticket;
}

/* Signs and sends; without a nonce it gets one first.  False when out of memory. */
static bool call_send(struct acme *a, struct acme_call *k)
{
	struct fetch_ask ask = {.method = FETCH_POST, .type = FETCH_TYPE_JOSE, .timeout_ms = ACME_TRY_MS};
	OWN_FREE char *body = NULL;

	k->asks_nonce = a->nonce_count == 0;
	if (k->asks_nonce) {
		call_plain(a, k, FETCH_HEAD, a->new_nonce);
		return true;
	}
	body = jws_sign(a->key, k->with_jwk ? NULL : a->kid, a->nonces[--a->nonce_count], k->url, k->payload);
	if (!body || strlen(body) > LIMIT_FETCH_BODY)
		return false;
	snprintf(ask.url, sizeof ask.url, "%s", k->url);
	ask.body_len = (uint32_t)strlen(body);
	k->ticket = ++a->tickets;
	a->ops->fetch(a->arg, k->ticket, &ask, body);
	return true;
}

/* payload is taken. */
bool acme_call_post(struct acme *a, struct acme_call *k, const char *url, char *payload)
{
	acme_call_clear(k);
	k->payload = payload;
	snprintf(k->url, sizeof k->url, "%s", url);
	return call_send(a, k);
}

/* --- the account ---------------------------------------------------------------------------------------------- */

/* Without an account nothing can be had: all that wait for it end. */
static void account_fail(struct acme *a, enum acme_end end, const char *text, uint32_t retry_s)
{
	struct acme_order *o, *next;

	acme_call_clear(&a->call);
	a->state = a->new_order[0] ? ACME_KNOWN : ACME_UNKNOWN;
	for (o = TAILQ_FIRST(&a->orders); o; o = next) {
		next = TAILQ_NEXT(o, link);
		if (o->state == ORDER_ACCOUNT && !o->wait)
			acme_order_end(a, o, end == ACME_REFUSED ? ACME_UNAVAILABLE : end, text, retry_s);
	}
	if (a->state == ACME_UNKNOWN)
		acme_renewals_go(a);
}

static void account_ready(struct acme *a)
{
	struct acme_order *o, *next;

	acme_call_clear(&a->call);
	a->state = ACME_READY;
	for (o = TAILQ_FIRST(&a->orders); o; o = next) {
		next = TAILQ_NEXT(o, link);
		if (o->state == ORDER_ACCOUNT && !o->wait)
			acme_order_go(a, o);
	}
}

static char *account_payload(const struct acme *a)
{
	OWN_FREE char *bind = NULL;
	size_t cap = 3000, n;
	char *out = malloc(cap);

	if (!out)
		return NULL;
	n = (size_t)snprintf(out, cap, "{\"termsOfServiceAgreed\":true");
	if (a->email[0])
		n += (size_t)snprintf(out + n, cap - n, ",\"contact\":[\"mailto:%s\"]", a->email);
	if (a->eab_kid[0]) {
		bind = jws_bind(a->key, a->eab_kid, a->eab_key, a->new_account);
		if (!bind || strlen(bind) > cap - n - 40) {
			free(out);
			return NULL;
		}
		n += (size_t)snprintf(out + n, cap - n, ",\"externalAccountBinding\":%s", bind);
	}
	snprintf(out + n, cap - n, "}");
	return out;
}

void acme_account_go(struct acme *a)
{
	char *payload;

	if (a->state == ACME_UNKNOWN) {
		a->state = ACME_ASKED;
		call_plain(a, &a->call, FETCH_GET, a->directory);
		return;
	}
	if (a->state != ACME_KNOWN)
		return;
	if (a->kid[0]) {
		account_ready(a);
		return;
	}
	if (a->eab_wanted && !a->eab_kid[0]) {
		account_fail(a, ACME_UNAVAILABLE,
			     "The authority wants an account elsewhere: tls.acme.eab_kid and eab_key are not set", 0);
		return;
	}
	a->state = ACME_REGISTERING;
	payload = account_payload(a);
	acme_call_clear(&a->call);
	a->call.with_jwk = true;
	a->call.payload = payload;
	snprintf(a->call.url, sizeof a->call.url, "%s", a->new_account);
	if (!payload || !call_send(a, &a->call))
		account_fail(a, ACME_UNAVAILABLE, "tls.acme.eab_key cannot be read, or out of memory", 0);
}

static void account_answer(struct acme *a, const struct fetch_answer *ans, const char *body)
{
	OWN_JSON json_t *o = acme_json(ans, body);
	struct acme_problem p;
	char text[600];

	if (a->state == ACME_ASKED) {
		if (ans->status != 200 || !acme_url(o, "newNonce", a->new_nonce) ||
		    !acme_url(o, "newAccount", a->new_account) || !acme_url(o, "newOrder", a->new_order)) {
			a->new_order[0] = '\0';
			if (ans->status == 200)
				snprintf(text, sizeof text, "tls.acme.directory is not the URL of an authority");
			else
				acme_verdict(ans, body, &p, text, sizeof text);
			account_fail(a, ACME_UNAVAILABLE, text, ans->retry_after_s);
			return;
		}
		a->eab_wanted = json_is_true(json_object_get(json_object_get(o, "meta"), "externalAccountRequired"));
		if (!acme_url(o, "renewalInfo", a->renewal_info))
			a->renewal_info[0] = '\0';
		a->state = ACME_KNOWN;
		acme_renewals_go(a);
		acme_account_go(a);
		return;
	}
	if ((ans->status == 200 || ans->status == 201) && strncmp(ans->location, "https://", 8) == 0) {
		snprintf(a->kid, sizeof a->kid, "%s", ans->location);
		a->ops->account(a->arg, a->kid);
		account_ready(a);
		return;
	}
	account_fail(a, acme_verdict(ans, body, &p, text, sizeof text), text, ans->retry_after_s);
}

/* --- answers -------------------------------------------------------------------------------------------------- */

static bool acme_bad_nonce(const struct fetch_answer *ans, const char *body)
{
	OWN_JSON json_t *o = ans->status == 400 ? acme_json(ans, body) : NULL;
	struct acme_problem p;

	acme_problem_read(o, &p);
	return strcmp(p.type, "badNonce") == 0;
}

void acme_answer(struct acme *a, uint64_t ticket, const struct fetch_answer *ans, const char *body)
{
	struct acme_call *k = a->call.ticket == ticket ? &a->call : NULL;
	struct acme_order *o = NULL;
	bool again;

	if (acme_renewal_answer(a, ticket, ans, body))
		return;
	if (!k) {
		TAILQ_FOREACH(o, &a->orders, link)
		{
			if (o->call.ticket == ticket)
				break;
		}
		if (!o)
			return;
		k = &o->call;
	}
	k->ticket = 0;
	if (ans->nonce[0] && a->nonce_count < ACME_NONCES)
		snprintf(a->nonces[a->nonce_count++], sizeof a->nonces[0], "%s", ans->nonce);
	again = k->asks_nonce ? (ans->status == 200 || ans->status == 204) && a->nonce_count > 0
			      : acme_bad_nonce(ans, body) && ++k->bad_nonces <= ACME_BAD_NONCES;
	if (again && call_send(a, k))
		return;
	if (k->asks_nonce && ans->status >= 200 && ans->status < 300) {
		struct fetch_answer none = {.error = "it gives no nonce"};
		if (o)
			acme_order_failed(a, o, &none, NULL);
		else
			account_answer(a, &none, NULL);
	} else if (o) {
		acme_order_answer(a, o, ans, body);
	} else {
		account_answer(a, ans, body);
	}
}

/* --- life ----------------------------------------------------------------------------------------------------- */

struct acme *acme_new(const struct acme_config *cfg, const struct acme_ops *ops, void *arg)
{
	struct acme *a = calloc(1, sizeof *a);

	if (!a || !(a->key = jws_key_new(cfg->account_key))) {
		free(a);
		return NULL;
	}
	a->ops = ops;
	a->arg = arg;
	TAILQ_INIT(&a->orders);
	TAILQ_INIT(&a->renewals);
	snprintf(a->directory, sizeof a->directory, "%s", cfg->directory);
	snprintf(a->email, sizeof a->email, "%s", cfg->email);
	snprintf(a->eab_kid, sizeof a->eab_kid, "%s", cfg->eab_kid);
	snprintf(a->eab_key, sizeof a->eab_key, "%s", cfg->eab_key);
	snprintf(a->kid, sizeof a->kid, "%s", cfg->account_url);
	return a;
}

void acme_free(struct acme *a)
{
	struct acme_order *o;

	if (!a)
		return;
	while ((o = TAILQ_FIRST(&a->orders)))
		acme_order_drop(a, o);
	acme_renewals_free(a);
	acme_call_clear(&a->call);
	jws_key_free(a->key);
	free(a);
}
