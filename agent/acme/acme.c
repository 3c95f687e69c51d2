/* The conversation with an authority that signs certificates.  Layer agent, control process. */
#include "agent/acme/acme.h"

#include "agent/acme/jws.h"
#include "base/json.h"
#include "base/own.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define ACME_NONCES 8
#define ACME_BAD_NONCES                                                                                                \
	20		 /* of one request: each answer brings a fresh one, so only a broken authority gets so far     \
			  */
#define ACME_POLLS 60	 /* of one order in one state */
#define ACME_POLL_MS 500 /* first pause; it grows by half each time */
#define ACME_POLL_MAX_MS 8000 /* and an authority may ask for up to a minute */
#define ACME_TRY_MS 30000     /* one request */

/* One signed request at a time, of the account or of an order. */
struct acme_call {
	uint64_t ticket; /* 0 = none under way */
	bool asks_nonce; /* it is still without one */
	bool with_jwk;	 /* newAccount */
	unsigned bad_nonces;
	char url[ACME_URL + 1];
	char *payload; /* owned; NULL = POST-as-GET */
};

enum acme_state { ACME_UNKNOWN, ACME_ASKED, ACME_KNOWN, ACME_REGISTERING, ACME_READY };

enum order_state {
	ORDER_ACCOUNT,
	ORDER_NEW,
	ORDER_ORDER,
	ORDER_AUTHZ,
	ORDER_SHOW,
	ORDER_RESPOND,
	ORDER_POLL,
	ORDER_FINALIZE,
	ORDER_WAIT,
	ORDER_DOWNLOAD,
};

struct acme_order {
	TAILQ_ENTRY(acme_order) link;
	void *name;
	enum order_state state;
	enum acme_challenge challenge;
	struct acme_call call;
	uint64_t wait; /* ticket; 0 = none */
	unsigned polls;
	unsigned reads;	     /* of the order object: whatever it says, it ends */
	bool resumed, again; /* begun by an earlier control; a new one was tried already */
	unsigned accounts;   /* times that its account was unknown */
	char host[LIMIT_HOST + 1];
	char replaces[128];
	char url[ACME_URL + 1], authz[ACME_URL + 1], finalize[ACME_URL + 1], certificate[ACME_URL + 1];
	char respond[ACME_URL + 1];
	char *csr; /* owned: base64url */
};

struct acme {
	const struct acme_ops *ops;
	void *arg;
	enum acme_state state;
	char directory[256], email[128], eab_kid[128], eab_key[256];
	char kid[ACME_URL + 1];
	struct jws_key *key;
	char new_nonce[ACME_URL + 1], new_account[ACME_URL + 1], new_order[ACME_URL + 1];
	bool eab_wanted;
	struct acme_call call; /* directory, then newAccount */
	char nonces[ACME_NONCES][LIMIT_FETCH_NONCE + 1];
	unsigned nonce_count;
	uint64_t tickets;
	TAILQ_HEAD(, acme_order) orders;
};

const char *acme_challenge_name(enum acme_challenge c)
{
	static const char *const names[ACME_CHALLENGE_COUNT] = {"http-01", "tls-alpn-01"};

	return (unsigned)c < ACME_CHALLENGE_COUNT ? names[c] : "unknown";
}

/* --- what the authority says is wrong ------------------------------------------------------------------------- */

struct problem {
	char type[48];	  /* without "urn:ietf:params:acme:error:" */
	char detail[300]; /* visible text */
};

static void problem_text(char *out, size_t cap, const char *s)
{
	size_t n = 0;

	for (; s && *s && n + 1 < cap; s++)
		out[n++] = *s >= 0x20 && *s < 0x7f ? *s : '?';
	out[n] = '\0';
}

static void problem_read(json_t *o, struct problem *p)
{
	static const char urn[] = "urn:ietf:params:acme:error:";
	const char *type = json_string_value(json_object_get(o, "type"));

	memset(p, 0, sizeof *p);
	if (type && strncmp(type, urn, sizeof urn - 1) == 0)
		problem_text(p->type, sizeof p->type, type + sizeof urn - 1);
	problem_text(p->detail, sizeof p->detail, json_string_value(json_object_get(o, "detail")));
}

static json_t *acme_json(const struct fetch_answer *a, const char *body)
{
	return body ? json_read(body, a->len, LIMIT_FETCH_ANSWER, NULL) : NULL;
}

static bool acme_url(json_t *o, const char *key, char out[ACME_URL + 1])
{
	const char *v = json_string_value(json_object_get(o, key));

	if (!v || strncmp(v, "https://", 8) != 0 || strlen(v) > ACME_URL)
		return false;
	memcpy(out, v, strlen(v) + 1);
	return true;
}

/* --- requests ------------------------------------------------------------------------------------------------- */

static void call_clear(struct acme_call *k)
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
static bool call_post(struct acme *a, struct acme_call *k, const char *url, char *payload)
{
	call_clear(k);
	k->payload = payload;
	snprintf(k->url, sizeof k->url, "%s", url);
	return call_send(a, k);
}

/* --- ends ----------------------------------------------------------------------------------------------------- */

static void order_drop(struct acme *a, struct acme_order *o)
{
	TAILQ_REMOVE(&a->orders, o, link);
	call_clear(&o->call);
	free(o->csr);
	free(o);
}

static void order_end(struct acme *a, struct acme_order *o, enum acme_end end, const char *text, uint32_t retry_s)
{
	void *name = o->name;

	order_drop(a, o);
	a->ops->done(a->arg, name, end, text, retry_s);
}

static void order_memory(struct acme *a, struct acme_order *o)
{
	order_end(a, o, ACME_UNAVAILABLE, "out of memory", 0);
}

/* What kind of end a refused request is, and how it is told. */
static enum acme_end acme_verdict(const struct fetch_answer *ans, const char *body, struct problem *p, char *text,
				  size_t cap)
{
	OWN_JSON json_t *o = acme_json(ans, body);

	problem_read(o, p);
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

/* --- the account ---------------------------------------------------------------------------------------------- */

static void order_go(struct acme *a, struct acme_order *o);

/* Without an account nothing can be had: all that wait for it end. */
static void account_fail(struct acme *a, enum acme_end end, const char *text, uint32_t retry_s)
{
	struct acme_order *o, *next;

	call_clear(&a->call);
	a->state = a->new_order[0] ? ACME_KNOWN : ACME_UNKNOWN;
	for (o = TAILQ_FIRST(&a->orders); o; o = next) {
		next = TAILQ_NEXT(o, link);
		if (o->state == ORDER_ACCOUNT && !o->wait)
			order_end(a, o, end == ACME_REFUSED ? ACME_UNAVAILABLE : end, text, retry_s);
	}
}

static void account_ready(struct acme *a)
{
	struct acme_order *o, *next;

	call_clear(&a->call);
	a->state = ACME_READY;
	for (o = TAILQ_FIRST(&a->orders); o; o = next) {
		next = TAILQ_NEXT(o, link);
		if (o->state == ORDER_ACCOUNT && !o->wait)
			order_go(a, o);
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

static void account_go(struct acme *a)
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
	call_clear(&a->call);
	a->call.with_jwk = true;
	a->call.payload = payload;
	snprintf(a->call.url, sizeof a->call.url, "%s", a->new_account);
	if (!payload || !call_send(a, &a->call))
		account_fail(a, ACME_UNAVAILABLE, "tls.acme.eab_key cannot be read, or out of memory", 0);
}

static void account_answer(struct acme *a, const struct fetch_answer *ans, const char *body)
{
	OWN_JSON json_t *o = acme_json(ans, body);
	struct problem p;
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
		a->state = ACME_KNOWN;
		account_go(a);
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

/* --- orders --------------------------------------------------------------------------------------------------- */

static void order_post(struct acme *a, struct acme_order *o, enum order_state to, const char *url, char *payload)
{
	o->state = to;
	if (!call_post(a, &o->call, url, payload))
		order_memory(a, o);
}

static void order_wait(struct acme *a, struct acme_order *o, enum order_state to, uint32_t retry_s)
{
	uint32_t ms = ACME_POLL_MS;

	if (o->state != to)
		o->polls = 0;
	o->state = to;
	if (++o->polls > ACME_POLLS) {
		order_end(a, o, ACME_UNAVAILABLE, "The authority does not come to an end", 0);
		return;
	}
	for (unsigned i = 1; i < o->polls && ms < ACME_POLL_MAX_MS; i++)
		ms += ms / 2;
	if (retry_s)
		ms = (retry_s < 60 ? retry_s : 60) * 1000;
	o->wait = ++a->tickets;
	a->ops->wait(a->arg, o->wait, ms);
}

/* Begins, or goes on. */
static void order_go(struct acme *a, struct acme_order *o)
{
	char *payload;
	size_t cap;

	if (a->state != ACME_READY) {
		o->state = ORDER_ACCOUNT;
		account_go(a);
		return;
	}
	if (o->url[0]) {
		order_post(a, o, ORDER_ORDER, o->url, NULL);
		return;
	}
	cap = sizeof o->host + sizeof o->replaces + 96;
	if (!(payload = malloc(cap))) {
		order_memory(a, o);
		return;
	}
	snprintf(payload, cap, "{\"identifiers\":[{\"type\":\"dns\",\"value\":\"%s\"}]%s%s%s}", o->host,
		 o->replaces[0] ? ",\"replaces\":\"" : "", o->replaces, o->replaces[0] ? "\"" : "");
	order_post(a, o, ORDER_NEW, a->new_order, payload);
}

/* The order that an earlier control began is of no use any more. */
static void order_anew(struct acme *a, struct acme_order *o)
{
	o->url[0] = '\0';
	o->resumed = false;
	o->again = true;
	a->ops->ordered(a->arg, o->name, "");
	order_go(a, o);
}

static void order_finalize(struct acme *a, struct acme_order *o)
{
	size_t cap = strlen(o->csr) + 16;
	char *payload = malloc(cap);

	if (!payload) {
		order_memory(a, o);
		return;
	}
	snprintf(payload, cap, "{\"csr\":\"%s\"}", o->csr);
	order_post(a, o, ORDER_FINALIZE, o->finalize, payload);
}

/* An order object, from newOrder, from asking for it or from finalize. */
static void order_read(struct acme *a, struct acme_order *o, json_t *j, uint32_t retry_s)
{
	const char *status = json_string_value(json_object_get(j, "status"));
	json_t *authz = json_object_get(j, "authorizations");
	const char *first = json_string_value(json_array_get(authz, 0));
	struct problem p;
	char text[400];

	if (++o->reads > 2 * ACME_POLLS) {
		order_end(a, o, ACME_UNAVAILABLE, "The authority goes round in circles with the order", 0);
	} else if (!status || !acme_url(j, "finalize", o->finalize)) {
		order_end(a, o, ACME_UNAVAILABLE, "The authority's order cannot be read", 0);
	} else if (strcmp(status, "pending") == 0) {
		if (!first || strncmp(first, "https://", 8) != 0 || strlen(first) > ACME_URL) {
			order_end(a, o, ACME_UNAVAILABLE, "The authority's order cannot be read", 0);
			return;
		}
		memcpy(o->authz, first, strlen(first) + 1);
		order_post(a, o, ORDER_AUTHZ, o->authz, NULL);
	} else if (strcmp(status, "ready") == 0 && o->state != ORDER_FINALIZE) {
		order_finalize(a, o);
	} else if (strcmp(status, "ready") == 0 || strcmp(status, "processing") == 0) {
		order_wait(a, o, ORDER_WAIT, retry_s);
	} else if (strcmp(status, "valid") == 0 && acme_url(j, "certificate", o->certificate)) {
		order_post(a, o, ORDER_DOWNLOAD, o->certificate, NULL);
	} else if (o->resumed && !o->again) {
		order_anew(a, o);
	} else {
		problem_read(json_object_get(j, "error"), &p);
		snprintf(text, sizeof text, "The authority gave the order up: %s",
			 p.detail[0] ? p.detail : "it does not say why");
		order_end(a, o, ACME_REFUSED, text, 0);
	}
}

/* Why the authority was not convinced, with what its owner can look at. */
static void order_refused(struct acme *a, struct acme_order *o, json_t *challenges)
{
	struct problem p = {.type = ""};
	char text[800];
	size_t i;
	json_t *ch;

	json_array_foreach(challenges, i, ch)
	{
		if (json_object_get(ch, "error"))
			problem_read(json_object_get(ch, "error"), &p);
	}
	snprintf(text, sizeof text, "%s could not be shown to lead here (%s, %s): %s", o->host,
		 acme_challenge_name(o->challenge), p.type[0] ? p.type : "refused",
		 p.detail[0] ? p.detail : "the authority does not say why");
	order_end(a, o, ACME_REFUSED, text, 0);
}

/* Shows the challenge that was chosen. */
static void order_show(struct acme *a, struct acme_order *o, json_t *ch)
{
	const char *token = json_string_value(json_object_get(ch, "token"));
	char authorization[LIMIT_ACME_TOKEN + 48];
	uint8_t digest[32];
	unsigned n = sizeof digest;

	if (!token || strlen(token) > LIMIT_ACME_TOKEN || strlen(token) < 16 ||
	    strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != strlen(token) ||
	    !acme_url(ch, "url", o->respond) ||
	    !jws_key_authorization(a->key, token, authorization, sizeof authorization) ||
	    EVP_Digest(authorization, strlen(authorization), digest, &n, EVP_sha256(), NULL) != 1) {
		order_end(a, o, ACME_UNAVAILABLE, "The authority's challenge cannot be read", 0);
		return;
	}
	o->state = ORDER_SHOW;
	call_clear(&o->call);
	a->ops->show(a->arg, o->name, o, o->challenge, token, authorization, digest);
}

static void order_authz(struct acme *a, struct acme_order *o, json_t *j, uint32_t retry_s)
{
	const char *status = json_string_value(json_object_get(j, "status"));
	const char *want = acme_challenge_name(o->challenge);
	json_t *list = json_object_get(j, "challenges"), *ch, *found = NULL;
	char text[160];
	size_t i;

	json_array_foreach(list, i, ch)
	{
		const char *type = json_string_value(json_object_get(ch, "type"));
		if (type && strcmp(type, want) == 0)
			found = ch;
	}
	if (status && strcmp(status, "valid") == 0) {
		order_post(a, o, ORDER_ORDER, o->url, NULL);
	} else if (!status || strcmp(status, "pending") != 0) {
		/* An earlier control's: it may have been shown while nobody answered. */
		if (o->resumed && !o->again)
			order_anew(a, o);
		else
			order_refused(a, o, list);
	} else if (o->state == ORDER_POLL) {
		order_wait(a, o, ORDER_POLL, retry_s);
	} else if (!found) {
		snprintf(text, sizeof text, "The authority does not offer the challenge %s", want);
		order_end(a, o, ACME_REFUSED, text, 0);
	} else {
		order_show(a, o, found);
	}
}

void acme_shown(struct acme *a, struct acme_order *o)
{
	char *payload = o->state == ORDER_SHOW ? strdup("{}") : NULL;

	if (payload)
		order_post(a, o, ORDER_RESPOND, o->respond, payload);
}

static void order_failed(struct acme *a, struct acme_order *o, const struct fetch_answer *ans, const char *body)
{
	struct problem p;
	char text[600];
	enum acme_end end = acme_verdict(ans, body, &p, text, sizeof text);

	if (strcmp(p.type, "accountDoesNotExist") == 0 && o->accounts++ < 2) {
		if (a->kid[0] && a->state == ACME_READY) {
			a->kid[0] = '\0';
			a->state = ACME_KNOWN;
			a->ops->account(a->arg, "");
		}
		/* Its orders went with it. */
		o->url[0] = '\0';
		a->ops->ordered(a->arg, o->name, "");
		call_clear(&o->call);
		order_go(a, o);
	} else if (o->resumed && !o->again && ans->status >= 400 && ans->status < 500 && end != ACME_LIMITED) {
		order_anew(a, o);
	} else {
		order_end(a, o, end, text, ans->retry_after_s);
	}
}

static void order_answer(struct acme *a, struct acme_order *o, const struct fetch_answer *ans, const char *body)
{
	OWN_JSON json_t *j = NULL;

	if (ans->status != 200 && ans->status != 201) {
		order_failed(a, o, ans, body);
		return;
	}
	if (o->state == ORDER_DOWNLOAD) {
		order_end(a, o, ACME_ISSUED, body ? body : "", 0);
		return;
	}
	j = acme_json(ans, body);
	switch (o->state) {
	case ORDER_NEW:
		if (strncmp(ans->location, "https://", 8) != 0) {
			order_end(a, o, ACME_UNAVAILABLE, "The authority does not say where its order is", 0);
			return;
		}
		snprintf(o->url, sizeof o->url, "%s", ans->location);
		a->ops->ordered(a->arg, o->name, o->url);
		order_read(a, o, j, ans->retry_after_s);
		break;
	case ORDER_ORDER:
	case ORDER_FINALIZE:
	case ORDER_WAIT:
		order_read(a, o, j, ans->retry_after_s);
		break;
	case ORDER_AUTHZ:
	case ORDER_POLL:
		order_authz(a, o, j, ans->retry_after_s);
		break;
	case ORDER_RESPOND:
		order_wait(a, o, ORDER_POLL, 0);
		break;
	case ORDER_ACCOUNT:
	case ORDER_SHOW:
	case ORDER_DOWNLOAD:
		break;
	}
}

void acme_wake(struct acme *a, uint64_t ticket)
{
	struct acme_order *o;

	TAILQ_FOREACH(o, &a->orders, link)
	{
		if (o->wait == ticket)
			break;
	}
	if (!o)
		return;
	o->wait = 0;
	if (o->state == ORDER_ACCOUNT)
		order_go(a, o);
	else
		order_post(a, o, o->state, o->state == ORDER_POLL ? o->authz : o->url, NULL);
}

static bool acme_bad_nonce(const struct fetch_answer *ans, const char *body)
{
	OWN_JSON json_t *o = ans->status == 400 ? acme_json(ans, body) : NULL;
	struct problem p;

	problem_read(o, &p);
	return strcmp(p.type, "badNonce") == 0;
}

void acme_answer(struct acme *a, uint64_t ticket, const struct fetch_answer *ans, const char *body)
{
	struct acme_call *k = a->call.ticket == ticket ? &a->call : NULL;
	struct acme_order *o = NULL;
	bool again;

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
			order_failed(a, o, &none, NULL);
		else
			account_answer(a, &none, NULL);
	} else if (o) {
		order_answer(a, o, ans, body);
	} else {
		account_answer(a, ans, body);
	}
}

/* --- life ----------------------------------------------------------------------------------------------------- */

struct acme_order *acme_order_new(struct acme *a, void *name, const char *host, const char *url, enum acme_challenge c,
				  const void *csr, size_t csr_len, const char *replaces)
{
	struct acme_order *o = calloc(1, sizeof *o);

	if (!o || !(o->csr = jws_base64(csr, csr_len))) {
		free(o);
		return NULL;
	}
	o->name = name;
	o->challenge = c;
	o->resumed = url[0] != '\0';
	snprintf(o->host, sizeof o->host, "%s", host);
	snprintf(o->url, sizeof o->url, "%s", url);
	snprintf(o->replaces, sizeof o->replaces, "%s", replaces);
	TAILQ_INSERT_TAIL(&a->orders, o, link);
	o->state = ORDER_ACCOUNT;
	o->wait = ++a->tickets;
	a->ops->wait(a->arg, o->wait, 0);
	return o;
}

void acme_order_free(struct acme *a, struct acme_order *o)
{
	if (o)
		order_drop(a, o);
}

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
		order_drop(a, o);
	call_clear(&a->call);
	jws_key_free(a->key);
	free(a);
}
