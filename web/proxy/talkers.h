/* Top talkers: who makes most of the load, in bounded memory.  Layer web, proxy and control; no I/O, no clock.
 *
 * A sketch holds LIMIT_TALK_ROWS names and what each cost (Space-Saving: Metwally, Agrawal, El Abbadi, "Efficient
 * Computation of Frequent and Top-k Elements in Data Streams", 2005).  A name that is not in a full sketch takes the
 * place of the lightest one and inherits its weight as a possible error.  So, of the measure that the sketch orders by:
 *
 *   weight - error <= what the name really had <= weight,  error <= total / LIMIT_TALK_ROWS
 *
 * and every name with more than that part of the total is in it.  Sketches of several workers are merged with the same
 * promise: a name that one of them does not hold may have had the weight of the lightest there. */
#ifndef TULOU_WEB_PROXY_TALKERS_H
#define TULOU_WEB_PROXY_TALKERS_H

#include "config/limits.h"

#include <stddef.h>
#include <stdint.h>

enum talk_by { TALK_BY_REQUESTS, TALK_BY_BYTES, TALK_BY_TIME, TALK_BY_COUNT };
const char *talk_by_name(enum talk_by by); /* "requests", "bytes", "time" */

/* What is counted; an app's watch has all but apps and tenants, the node's all but paths. */
enum talk_kind { TALK_CLIENT, TALK_PATH, TALK_HOST, TALK_STATUS, TALK_APP, TALK_TENANT, TALK_AGENT, TALK_KIND_COUNT };

/* What requests cost. */
struct talk_cost {
	uint64_t requests, bytes, us; /* bodies both ways; from head to the answer's end */
	uint64_t errors;	      /* answered with 400 and above, or not at all */
};

/* A row as it lies in a sketch and travels in a message. */
struct talk_row {
	char name[LIMIT_TALK_NAME + 1]; /* always ends with NUL */
	uint64_t weight, error;		/* of the measure */
	struct talk_cost cost;		/* since it has its place: never more than it had */
};

struct talk_sketch {
	unsigned count;
	uint64_t hash[LIMIT_TALK_ROWS];
	struct talk_row row[LIMIT_TALK_ROWS];
};

/* Counts cost for name[0..n), of which LIMIT_TALK_NAME bytes are kept.  Never fails. */
void talk_add(struct talk_sketch *s, enum talk_by by, const char *name, size_t n, const struct talk_cost *cost);
/* What a name that is not in it may have had at most; 0 while there is room. */
uint64_t talk_unseen(const struct talk_sketch *s);
/* The measure of a cost. */
uint64_t talk_measure(enum talk_by by, const struct talk_cost *cost);

/* Rows of several sketches of one kind. Zeroed to begin with; row is owned, freed by talk_merge_done(). */
struct talk_merge {
	struct talk_row *row;
	size_t count;
	uint64_t unseen;
};
/* 0, -ENOMEM, or -E2BIG beyond what LIMIT_WORKERS can have; names are made safe to be strings. */
int talk_merge_add(struct talk_merge *m, const struct talk_row *rows, size_t n, uint64_t unseen);
/* Joins rows of one name and puts them in order: those that surely had most first. */
void talk_merge_end(struct talk_merge *m);
void talk_merge_done(struct talk_merge *m);

/* Which part of a path is counted: two segments, without the query; "/a/b/" stands for all below.  Its length. */
size_t talk_path(const char *target, size_t n);
/* The address as it is counted: IPv4 as it is, IPv6 by its /64. */
void talk_client(const char *address, char out[LIMIT_TALK_NAME + 1]);
/* A User-Agent field as it is counted: of a long one both ends, where the system and the program stand; bytes that are
 * no printable ASCII as '?'; "(none)" where there is none. */
void talk_agent(const char *value, size_t n, char out[LIMIT_TALK_NAME + 1]);

#endif
