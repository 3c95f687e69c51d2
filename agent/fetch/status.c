/* Asks responders what they say of certificates.  Layer agent, fetcher process. */
#include "agent/fetch/status.h"

#include "agent/fetch/ocsp.h"
#include "base/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct status_one {
	TAILQ_ENTRY(status_one) link;
	struct fetch_status ask;
	struct ocsp *ocsp; /* owned */
	bool posted;
};

struct status {
	struct fetch *fetch; /* borrowed */
	status_fn *fn;
	void *arg;
	TAILQ_HEAD(, status_one) all; /* at most LIMIT_FETCH: each is a request of fetch's */
};

struct status *status_new(status_fn *fn, void *arg)
{
	struct status *s = calloc(1, sizeof *s);

	if (s) {
		s->fn = fn;
		s->arg = arg;
		TAILQ_INIT(&s->all);
	}
	return s;
}

void status_use(struct status *s, struct fetch *f)
{
	s->fetch = f;
}

static void status_drop(struct status *s, struct status_one *q)
{
	TAILQ_REMOVE(&s->all, q, link);
	ocsp_free(q->ocsp);
	free(q);
}

void status_forget(struct status *s)
{
	struct status_one *q;

	while ((q = TAILQ_FIRST(&s->all)))
		status_drop(s, q);
}

void status_free(struct status *s)
{
	if (s)
		status_forget(s);
	free(s);
}

static void status_send(struct status *s, struct status_one *q)
{
	char m[sizeof(struct fetch_ask) + LIMIT_FETCH_BODY] __attribute__((aligned(8)));
	struct fetch_ask ask = {.id = q->ask.id,
				.flags = q->ask.flags | FETCH_PLAIN,
				.timeout_ms = q->ask.timeout_ms,
				.type = FETCH_TYPE_NONE,
				.method = FETCH_GET};
	size_t n = 0;
	const uint8_t *question = ocsp_question(q->ocsp, &n);

	if (q->posted || !ocsp_get(q->ocsp, q->ask.url, ask.url)) {
		q->posted = true;
		ask.method = FETCH_POST;
		ask.type = FETCH_TYPE_OCSP;
		ask.body_len = (uint32_t)n; /* some 80 bytes; fetch_ask refuses what is too long */
		memcpy(ask.url, q->ask.url, sizeof ask.url);
		memcpy(m + sizeof ask, question, n < LIMIT_FETCH_BODY ? n : LIMIT_FETCH_BODY);
	}
	memcpy(m, &ask, sizeof ask);
	fetch_ask(s->fetch, (const struct fetch_ask *)(const void *)m, sizeof ask + ask.body_len);
}

void status_ask(struct status *s, const struct fetch_status *ask, const char *pem)
{
	struct fetch_status_answer none = {.id = ask->id};
	struct status_one *q = calloc(1, sizeof *q);
	struct err e = {0};

	if (!q) {
		snprintf(none.error, sizeof none.error, "out of memory");
		s->fn(s->arg, &none, NULL);
		return;
	}
	TAILQ_INSERT_TAIL(&s->all, q, link);
	q->ask = *ask;
	q->ask.url[sizeof q->ask.url - 1] = '\0';
	if (ocsp_new(pem, ask->len, &q->ocsp, &e) < 0) {
		snprintf(none.error, sizeof none.error, "%.*s", (int)sizeof none.error - 1, e.text);
		s->fn(s->arg, &none, NULL);
		status_drop(s, q);
		return;
	}
	status_send(s, q);
}

bool status_answer(struct status *s, const struct fetch_answer *a, const void *body)
{
	struct fetch_status_answer out = {.id = a->id, .retry_after_s = a->retry_after_s};
	struct status_one *q;

	TAILQ_FOREACH(q, &s->all, link)
	{
		if (q->ask.id == a->id)
			break;
	}
	if (!q)
		return false;
	if (a->status == 200)
		ocsp_read(q->ocsp, body, a->len, clock_wall_ms(), &out);
	else if (a->status)
		snprintf(out.error, sizeof out.error, "the responder answers %u", a->status);
	else
		snprintf(out.error, sizeof out.error, "the responder cannot be reached: %.150s", a->error);
	/* Some know POST alone, or have a cache in front that is behind. */
	if (out.cert == FETCH_CERT_UNKNOWN && a->status && !q->posted) {
		q->posted = true;
		status_send(s, q);
		return true;
	}
	out.len = out.cert == FETCH_CERT_GOOD ? a->len : 0;
	s->fn(s->arg, &out, out.len ? body : NULL);
	status_drop(s, q);
	return true;
}
