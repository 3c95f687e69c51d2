/* Asks responders what they say of certificates, for control.  Layer agent, fetcher process.
 *
 *   asked -> GET (when the question is short) -> read -> answered
 *              |                                   ^
 *              +-- no word of use --> POST --------+
 *
 * Its requests are the fetch room's, under the same numbers: whoever gets fetch's answers shows them to status_answer
 * first. */
#ifndef TULOU_AGENT_FETCH_STATUS_H
#define TULOU_AGENT_FETCH_STATUS_H

#include "agent/fetch/fetch.h"

struct status;

/* der: what can be handed out, answer->len bytes; for the call only. */
typedef void status_fn(void *arg, const struct fetch_status_answer *answer, const void *der);

/* f may come later (status_use), fn and arg are borrowed for its life.  NULL when out of memory. */
struct status *status_new(status_fn *fn, void *arg);
void status_use(struct status *s, struct fetch *f);
void status_free(struct status *s);

/* pem: ask->len bytes, for the call only.  Answered exactly once, perhaps before it returns, unless status_forget. */
void status_ask(struct status *s, const struct fetch_status *ask, const char *pem);
/* Was it an answer to one of ours? */
bool status_answer(struct status *s, const struct fetch_answer *a, const void *body);
/* Drops all without an answer; fetch_forget goes with it. */
void status_forget(struct status *s);

#endif
