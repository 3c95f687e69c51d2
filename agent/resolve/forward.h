/* Questions that are not ours, asked of the host's resolvers on behalf of an instance: sent on byte for byte under a
 * random id from a socket of their own (a random port), and a reply taken only when it answers that very question.
 * Layer agent, resolver process. */
#ifndef TULOU_AGENT_RESOLVE_FORWARD_H
#define TULOU_AGENT_RESOLVE_FORWARD_H

#include "base/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FORWARD_SERVERS 3

struct forwarder;
struct forward;

struct forwarder *forwarder_new(struct loop *loop, const uint32_t *servers, unsigned count);
void forwarder_free(struct forwarder *f);

/* Asks.  done is called once, from the loop: the reply under the asker's id (borrowed, may be changed), or NULL when
 * nobody answered in time.  query is copied; question as in struct dns_query.  NULL when too many are under way, or
 * there is no server: done is not called then. */
struct forward *forward_start(struct forwarder *f, const uint8_t *query, size_t n, size_t question, bool tcp,
			      void (*done)(void *arg, uint8_t *reply, size_t n), void *arg);
/* Nobody waits any more; done is not called. */
void forward_cancel(struct forward *w);

#endif
