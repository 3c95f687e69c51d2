/* Who asks, and what is found: the addresses of all instances.  Layer agent, resolver process.  No I/O. */
#ifndef TULOU_AGENT_RESOLVE_NAMES_H
#define TULOU_AGENT_RESOLVE_NAMES_H

#include "agent/resolve/messages.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct names;
struct names_app;

/* One address. */
struct names_entry {
	struct resolve_entry e;
	struct names_app *app; /* borrowed; NULL unless RESOLVE_NAMED */
	TAILQ_ENTRY(names_entry) link;
	uint64_t round;	   /* of the last synchronisation that named it */
	int64_t credit_us; /* its rate: when its bucket was last full, monotonic */
	unsigned forwards, connections;
};

struct names *names_new(void);
void names_free(struct names *n);
size_t names_count(const struct names *n);

/* Adds or changes; its counters stay.  0, -EINVAL for a name or slot out of range, -ENOMEM, -ENOSPC. */
int names_put(struct names *n, const struct resolve_entry *e);
void names_del(struct names *n, uint32_t address);
/* Around a full table: entries not put between the two are gone after names_end(). */
void names_begin(struct names *n);
void names_end(struct names *n);

/* The entry of an address; NULL when unknown. */
struct names_entry *names_source(const struct names *n, uint32_t address);

/* Addresses of what `name` ("redis.internal", "web.shop.internal") is for the tenant `slot`, at most max, beginning at
 * another one each time.  Number found; 0 = there is no such name. */
unsigned names_find(struct names *n, uint32_t slot, const char *name, uint32_t *ret, unsigned max);

#endif
