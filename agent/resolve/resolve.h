/* The instances' name server: `redis.internal` and its like for each tenant's own apps, everything else asked of the
 * host's resolvers.  Layer agent, resolver process (user tulou-resolver, empty root, one loop).
 *
 * Whose question it is, is told by its source address, which the network rules let no instance choose
 * (agent/supervise/net_rules.c).  An address not known yet is a new instance that was faster than control: its question
 * waits a moment. */
#ifndef TULOU_AGENT_RESOLVE_RESOLVE_H
#define TULOU_AGENT_RESOLVE_RESOLVE_H

#include "agent/resolve/names.h"
#include "base/err.h"
#include "base/loop.h"

#include <stdint.h>

struct resolve;

/* servers: the host's resolvers, host byte order.  NULL when out of memory. */
struct resolve *resolve_new(struct loop *loop, const uint32_t *servers, unsigned count);
void resolve_free(struct resolve *r);
/* Answers on these sockets from now on; both are borrowed and non-blocking.  0 or negative errno. */
int resolve_listen(struct resolve *r, int udp, int tcp);
/* A message of control's. */
void resolve_message(struct resolve *r, uint16_t type, const void *body);

#endif
