/* The pool of instance addresses.  Layer agent, supervisor process.  Pure: the caller gives the time.
 *
 * Never-used addresses are taken lowest first; a released one rests for POOL_QUARANTINE_US before it is given out
 * again, so that a late packet or a kept-alive connection meant for its former owner meets nobody.  Only when no other
 * is left is the one that has rested longest taken early. */
#ifndef TULOU_AGENT_SUPERVISE_POOL_H
#define TULOU_AGENT_SUPERVISE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POOL_QUARANTINE_US 60000000 /* as long as a proxy keeps an idle upstream connection, and TIME_WAIT lasts */
#define POOL_FIRST 2u		    /* .0 is the network, .1 the host's own */

struct pool {
	uint32_t net;  /* host byte order */
	uint32_t size; /* addresses in the range, the last one (broadcast) is not used */
	uint32_t next; /* lowest index never used */
	struct pool_rest {
		uint32_t index;
		int64_t since_us;
	} * rest; /* owned ring of released addresses, oldest first */
	size_t head, count, cap;
};

/* prefix 8..28.  Allocates nothing. */
void pool_init(struct pool *p, uint32_t net, unsigned prefix);
void pool_done(struct pool *p);

/* An address in host byte order, 0 when all are in use. */
uint32_t pool_take(struct pool *p, int64_t now_us);
/* Marks an address in use that an earlier supervisor gave out.  False when it is not of this pool or already taken;
 * addresses below it that nobody reserves begin their rest now. */
bool pool_reserve(struct pool *p, uint32_t address, int64_t now_us);
/* Gives an address back.  0 is ignored. */
void pool_release(struct pool *p, uint32_t address, int64_t now_us);

#endif
