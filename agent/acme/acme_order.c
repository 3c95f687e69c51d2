/* An order at an authority, from its name to its chain.  Layer agent, control process. */
#include "agent/acme/acme_private.h"

#include "base/own.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACME_POLLS 60	      /* of one order in one state */
#define ACME_POLL_MS 500      /* first pause; it grows by half each time */
#define ACME_POLL_MAX_MS 8000 /* and an authority may ask for up to a minute */

void acme_order_drop(struct acme *a, struct acme_order *o)
{
	TAILQ_REMOVE(&a->orders, o, link);
	acme_call_clear(&o->call);
	free(o->csr);
	free(o);
}

void acme_order_end(struct acme *a, struct acme_order *o, enum acme_end end, const char *text, uint32_t retry_s)
{
	void *name = o->name;

	acme_order_drop(a, o);
	a->ops->done(a->arg, name, end, text, retry_s);
}

static void order_memory(struct acme *a, struct acme_order *o)
{
	acme_order_end(a, o, ACME_UNAVAILABLE, "out of memory", 0);
}

static void order_post(struct acme *a, struct acme_order *o, enum order_state to, const char *url, char *payload)
{
	o->state = to;
	if (!acme_call_post(a, &o->call, url, payload))
		order_memory(a, o);
}

static void order_wait(struct acme *a, struct acme_order *o, enum order_state to, uint32_t retry_s)
{
	uint32_t ms = ACME_POLL_MS;

	if (o->state != to)
		o->polls = 0;
	o->state = to;
	if (++o->polls > ACME_POLLS) {
		acme_order_end(a, o, ACME_UNAVAILABLE, "The authority does not come to an end", 0);
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
void acme_order_go(struct acme *a, struct acme_order *o)
{
	const char *replaces = a->renewal_info[0] ? o->replaces : "";
	char *payload;
	size_t cap;

	if (a->state != ACME_READY) {
		o->state = ORDER_ACCOUNT;
		acme_account_go(a);
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
		 replaces[0] ? ",\"replaces\":\"" : "", replaces, replaces[0] ? "\"" : "");
	order_post(a, o, ORDER_NEW, a->new_order, payload);
}

/* The order that an earlier control began is of no use any more. */
static void order_anew(struct acme *a, struct acme_order *o)
{
	o->url[0] = '\0';
	o->resumed = false;
	o->again = true;
	a->ops->ordered(a->arg, o->name, "");
	acme_order_go(a, o);
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
	struct acme_problem p;
	char text[400];

	if (++o->reads > 2 * ACME_POLLS) {
		acme_order_end(a, o, ACME_UNAVAILABLE, "The authority goes round in circles with the order", 0);
	} else if (!status || !acme_url(j, "finalize", o->finalize)) {
		acme_order_end(a, o, ACME_UNAVAILABLE, "The authority's order cannot be read", 0);
	} else if (strcmp(status, "pending") == 0) {
		if (!first || strncmp(first, "https://", 8) != 0 || strlen(first) > ACME_URL) {
			acme_order_end(a, o, ACME_UNAVAILABLE, "The authority's order cannot be read", 0);
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
		acme_problem_read(json_object_get(j, "error"), &p);
		snprintf(text, sizeof text, "The authority gave the order up: %s",
			 p.detail[0] ? p.detail : "it does not say why");
		acme_order_end(a, o, ACME_REFUSED, text, 0);
	}
}

/* Why the authority was not convinced, with what its owner can look at. */
static void order_refused(struct acme *a, struct acme_order *o, json_t *challenges)
{
	struct acme_problem p = {.type = ""};
	char text[800];
	size_t i;
	json_t *ch;

	json_array_foreach(challenges, i, ch)
	{
		if (json_object_get(ch, "error"))
			acme_problem_read(json_object_get(ch, "error"), &p);
	}
	snprintf(text, sizeof text, "%s could not be shown to lead here (%s, %s): %s", o->host,
		 acme_challenge_name(o->challenge), p.type[0] ? p.type : "refused",
		 p.detail[0] ? p.detail : "the authority does not say why");
	acme_order_end(a, o, ACME_REFUSED, text, 0);
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
		acme_order_end(a, o, ACME_UNAVAILABLE, "The authority's challenge cannot be read", 0);
		return;
	}
	o->state = ORDER_SHOW;
	acme_call_clear(&o->call);
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
		acme_order_end(a, o, ACME_REFUSED, text, 0);
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

void acme_order_failed(struct acme *a, struct acme_order *o, const struct fetch_answer *ans, const char *body)
{
	struct acme_problem p;
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
		acme_call_clear(&o->call);
		acme_order_go(a, o);
	} else if (o->state == ORDER_NEW && o->replaces[0] && ans->status >= 400 && ans->status < 500 &&
		   end != ACME_LIMITED) {
		/* It is replaced already, or another account's: the name still wants one. */
		o->replaces[0] = '\0';
		acme_call_clear(&o->call);
		acme_order_go(a, o);
	} else if (o->resumed && !o->again && ans->status >= 400 && ans->status < 500 && end != ACME_LIMITED) {
		order_anew(a, o);
	} else {
		acme_order_end(a, o, end, text, ans->retry_after_s);
	}
}

void acme_order_answer(struct acme *a, struct acme_order *o, const struct fetch_answer *ans, const char *body)
{
	OWN_JSON json_t *j = NULL;

	if (ans->status != 200 && ans->status != 201) {
		acme_order_failed(a, o, ans, body);
		return;
	}
	if (o->state == ORDER_DOWNLOAD) {
		acme_order_end(a, o, ACME_ISSUED, body ? body : "", 0);
		return;
	}
	j = acme_json(ans, body);
	switch (o->state) {
	case ORDER_NEW:
		if (strncmp(ans->location, "https://", 8) != 0) {
			acme_order_end(a, o, ACME_UNAVAILABLE, "The authority does not say where its order is", 0);
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
		acme_order_go(a, o);
	else
		order_post(a, o, o->state, o->state == ORDER_POLL ? o->authz : o->url, NULL);
}

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
		acme_order_drop(a, o);
}
