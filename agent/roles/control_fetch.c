/* Requests to the internet, through the fetcher.  Layer agent, control process.
 *
 * Each is answered once: by the fetcher, by its deadline, or because the fetcher went away; who asked sees no
 * difference between the last two but in the text. */
#include "agent/roles/control_core.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FETCH_PATIENCE_US 5000000 /* beyond the fetcher's own deadline */
#define FETCH_AWAY_US 300000	  /* no fetcher: it is started again within a second */

struct control_fetch {
	struct control *control;
	uint64_t id;
	control_fetch_fn *fn;	      /* or … */
	control_status_fn *status_fn; /* … what a responder says of a certificate */
	void *arg;
	const char *why; /* when its timer ends it */
	struct loop_timer timer;
};

static void fetch_answered(struct control_fetch *q, const struct fetch_answer *a, const char *body)
{
	struct control *c = q->control;

	map_del(c->fetches, &q->id, sizeof q->id);
	loop_timer_stop(&q->timer);
	loop_defer(c->loop, free, q);
	q->fn(q->arg, a, body);
}

static void fetch_told(struct control_fetch *q, const struct fetch_status_answer *a, const void *der)
{
	struct control *c = q->control;

	map_del(c->fetches, &q->id, sizeof q->id);
	loop_timer_stop(&q->timer);
	loop_defer(c->loop, free, q);
	q->status_fn(q->arg, a, der);
}

static void fetch_on_timer(void *arg)
{
	struct control_fetch *q = arg;
	struct fetch_answer none = {.id = q->id};
	struct fetch_status_answer untold = {.id = q->id};

	if (q->status_fn) {
		snprintf(untold.error, sizeof untold.error, "%s", q->why);
		fetch_told(q, &untold, NULL);
		return;
	}
	snprintf(none.error, sizeof none.error, "%s", q->why);
	fetch_answered(q, &none, NULL);
}

static void fetch_lost(void *arg, const char *reason)
{
	struct control *c = arg;
	struct control_fetch *q;

	LOG_INFO("fetcher gone", "reason=\"%s\"", reason);
	chan_close(c->fetcher);
	c->fetcher = NULL;
	for (size_t pos = 0; (q = map_next(c->fetches, &pos));) {
		q->why = "the process that asks for us ended";
		loop_timer_start(c->loop, &q->timer, FETCH_AWAY_US, fetch_on_timer, q);
	}
}

static void fetch_on_told(struct control *c, const struct fetch_status_answer *m, int *fds, size_t nfds)
{
	struct fetch_status_answer a = *m;
	struct control_fetch *q = map_get(c->fetches, &a.id, sizeof a.id);
	OWN_FREE char *der = NULL;

	if (!q || !q->status_fn)
		return;
	a.error[sizeof a.error - 1] = '\0';
	if (a.cert >= FETCH_CERT_COUNT || a.len > LIMIT_STAPLE_BYTES || (a.cert == FETCH_CERT_GOOD) != (a.len > 0) ||
	    (a.len && (nfds != 1 || !(der = malloc(a.len)) || pread(fds[0], der, a.len, 0) != (ssize_t)a.len))) {
		a.cert = FETCH_CERT_UNKNOWN;
		a.len = 0;
		snprintf(a.error, sizeof a.error, "the answer cannot be read");
	}
	fetch_told(q, &a, a.len ? der : NULL);
}

static void fetch_on_msg(void *arg, uint16_t type, const void *body, size_t len, int *fds, size_t nfds)
{
	struct control *c = arg;
	struct fetch_answer a;
	struct control_fetch *q;
	OWN_FREE char *text = NULL;

	(void)len;
	if (type == FETCH_STATUS_ANSWER) {
		fetch_on_told(c, body, fds, nfds);
		return;
	}
	a = *(const struct fetch_answer *)body;
	q = map_get(c->fetches, &a.id, sizeof a.id);
	/* One that was given up. */
	if (!q || !q->fn)
		return;
	a.nonce[sizeof a.nonce - 1] = a.location[sizeof a.location - 1] = a.error[sizeof a.error - 1] = '\0';
	if (a.len > LIMIT_FETCH_ANSWER || (a.len && nfds != 1) || !(text = calloc(1, a.len + 1u)) ||
	    (a.len && pread(fds[0], text, a.len, 0) != (ssize_t)a.len)) {
		a.status = a.len = 0;
		snprintf(a.error, sizeof a.error, "the answer cannot be read");
	}
	fetch_answered(q, &a, text);
}

uint64_t control_fetch(struct control *c, struct fetch_ask *ask, const void *body, control_fetch_fn *fn, void *arg)
{
	char m[sizeof *ask + LIMIT_FETCH_BODY] __attribute__((aligned(8)));
	struct control_fetch *q = calloc(1, sizeof *q);

	if (!q)
		return 0;
	q->control = c;
	q->fn = fn;
	q->arg = arg;
	q->id = ask->id = ++c->fetch_next;
	if (map_put(c->fetches, &q->id, sizeof q->id, q) < 0) {
		free(q);
		return 0;
	}
	memcpy(m, ask, sizeof *ask);
	if (ask->body_len > LIMIT_FETCH_BODY) {
		q->why = "the request is too long";
		loop_timer_start(c->loop, &q->timer, 0, fetch_on_timer, q);
		return q->id;
	}
	if (ask->body_len)
		memcpy(m + sizeof *ask, body, ask->body_len);
	if (c->fetcher && chan_send(c->fetcher, FETCH_ASK, m, sizeof *ask + ask->body_len, NULL, 0) == 0) {
		q->why = "there was no answer in time";
		loop_timer_start(c->loop, &q->timer, ask->timeout_ms * 1000ll + FETCH_PATIENCE_US, fetch_on_timer, q);
	} else {
		q->why = "the process that asks for us is being started";
		loop_timer_start(c->loop, &q->timer, FETCH_AWAY_US, fetch_on_timer, q);
	}
	return q->id;
}

uint64_t control_fetch_status(struct control *c, struct fetch_status *ask, const char *pem, control_status_fn *fn,
			      void *arg)
{
	struct control_fetch *q = calloc(1, sizeof *q);
	OWN_FD int fd = -1;

	if (!q)
		return 0;
	q->control = c;
	q->status_fn = fn;
	q->arg = arg;
	q->id = ask->id = ++c->fetch_next;
	ask->len = (uint32_t)strlen(pem);
	if (map_put(c->fetches, &q->id, sizeof q->id, q) < 0) {
		free(q);
		return 0;
	}
	fd = fd_memfd_sealed("tulou-certificate", pem, ask->len);
	if (fd >= 0 && c->fetcher && chan_send(c->fetcher, FETCH_STATUS, ask, sizeof *ask, &fd, 1) == 0) {
		q->why = "there was no answer in time";
		/* It may ask twice. */
		loop_timer_start(c->loop, &q->timer, 2 * ask->timeout_ms * 1000ll + FETCH_PATIENCE_US, fetch_on_timer,
				 q);
	} else {
		q->why = "the process that asks for us is being started";
		loop_timer_start(c->loop, &q->timer, FETCH_AWAY_US, fetch_on_timer, q);
	}
	return q->id;
}

void control_fetch_cancel(struct control *c, uint64_t id)
{
	struct control_fetch *q = map_del(c->fetches, &id, sizeof id);

	if (!q)
		return;
	loop_timer_stop(&q->timer);
	loop_defer(c->loop, free, q);
}

void control_fetch_add(struct control *c, int fd)
{
	static const struct chan_ops ops = {fetch_on_msg, fetch_lost};

	if (c->fetcher)
		fetch_lost(c, "another took its place");
	c->fetcher = chan_new(c->loop, fd, fetch_rules_control, fetch_rules_control_count, &ops, c);
	if (!c->fetcher)
		close(fd);
}

void control_fetch_free(struct control *c)
{
	struct control_fetch *q;

	chan_close(c->fetcher);
	c->fetcher = NULL;
	for (size_t pos = 0; c->fetches && (q = map_next(c->fetches, &pos));) {
		loop_timer_stop(&q->timer);
		loop_defer(c->loop, free, q);
	}
	map_free(c->fetches);
	c->fetches = NULL;
}
