/* The statistics segment shared by all proxy workers and control: a memfd mapped by each.  Layer web.
 * One row per (worker, app slot), written by that worker alone with relaxed atomics, read by control. */
#ifndef TULOU_WEB_PROXY_STATS_H
#define TULOU_WEB_PROXY_STATS_H

#include "config/limits.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define STATS_BUCKETS 16  /* times: bucket b counts < 2^(b+7) us (128 us .. 4 s), the last all others */
#define STATS_SIZES 12	  /* bytes: bucket b counts < 4^(b+4) (256 B .. 256 MiB), the last all others */
#define STATS_REFUSALS 12 /* by the front door, in the order of fault_kind.h from FAULT_PATH on */
#define STATS_CELLS 8192  /* of one worker: above LIMIT_INSTANCES, so that ids of what runs seldom meet in one */

/* What every request touches comes first: two cache lines, then one of each histogram. */
struct stats_row {
	_Atomic uint64_t requests, status[6]; /* status[1..5] = 1xx..5xx; [0] = no answer sent */
	_Atomic uint64_t bytes_in, bytes_out; /* bodies, client side */
	_Atomic uint64_t duration_us;
	_Atomic uint64_t upstream_us;		  /* head sent to head of the answer */
	_Atomic uint64_t queue_us;		  /* of those that waited */
	_Atomic uint64_t upstream_errors, waited; /* failed connects and resets; requests that had to wait */
	_Atomic uint32_t in_flight, pad;
	_Atomic uint64_t last_ms; /* monotonic ms of the newest request: idling reads it */
	_Atomic uint64_t bucket[STATS_BUCKETS], upstream[STATS_BUCKETS];
	_Atomic uint64_t queue[STATS_BUCKETS]; /* of those that waited */
	_Atomic uint64_t in[STATS_SIZES];      /* of requests that had a body */
	_Atomic uint64_t out[STATS_SIZES];     /* of all */
	_Atomic uint64_t head_us;	       /* monotonic: when the request waits that is next; 0 = none */
	_Atomic uint64_t refused[STATS_REFUSALS];
	_Atomic uint64_t canary, canary_errors; /* requests that the canary had; of them 5xx and unanswered */
} __attribute__((aligned(64)));

/* One instance as one worker sees it: row[id % STATS_CELLS], valid while id is its own. */
struct stats_cell {
	_Atomic uint64_t id;
	_Atomic uint32_t in_flight;
	_Atomic uint32_t aside_ms; /* monotonic, low bits: put aside until then; 0 = it is not */
};

struct stats_worker {
	_Atomic uint64_t accepted, closed, bad_requests, unknown_hosts;
	_Atomic uint64_t handshakes, resumed, handshakes_failed; /* of TLS; resumed ones are among the first */
	/* HTTP/2 of clients: connections and requests over them so far; requests that the client ended early, or made
	 * us end; connections ended for floods. */
	_Atomic uint64_t h2_sessions, h2_streams, h2_resets, h2_floods;
	_Atomic uint32_t connections, upstreams, parked, pad;
	_Atomic uint64_t beat_ms; /* monotonic: when it was last seen to live; old while it has nothing to do */
};

/* A bucket of one address with one app (policy.c): sets of STATS_WAYS. */
#define STATS_ADDRESSES 65536
#define STATS_WAYS 4
struct stats_address {
	_Atomic uint64_t tag, full_ns;
};

struct stats_segment {
	struct stats_worker worker[LIMIT_WORKERS];
	/* A bit per row that the worker ever wrote to: reading the others would only fill the holes of the memfd. */
	_Atomic uint64_t touched[LIMIT_WORKERS][(LIMIT_APPS + 63) / 64];
	struct stats_cell cell[LIMIT_WORKERS][STATS_CELLS];
	struct stats_row row[LIMIT_WORKERS][LIMIT_APPS]; /* sparse: untouched pages cost nothing */
	/* Written by all workers: when the buckets of rates are full again (front_take), by app and by tenant's slot.
	 */
	_Atomic uint64_t rate[LIMIT_APPS], total[LIMIT_TENANTS];
	_Atomic int32_t total_in_flight[LIMIT_WORKERS][LIMIT_TENANTS]; /* of tenants with such a limit; by worker */
	struct stats_address address[STATS_ADDRESSES];
};

/* A memfd of the right size; a descriptor or negative errno.  Supervisor. */
int stats_create(void);
/* Maps it (read-only for control when writable is 0); NULL with errno on failure. Never unmapped. */
struct stats_segment *stats_map(int fd, int writable);

/* Sum over workers of one app's rows. */
struct stats_sum {
	uint64_t requests, status[6], bytes_in, bytes_out, duration_us, bucket[STATS_BUCKETS], upstream_errors, waited,
		in_flight, last_ms;
	uint64_t upstream_us, queue_us, upstream[STATS_BUCKETS], queue[STATS_BUCKETS], in[STATS_SIZES],
		out[STATS_SIZES];
	uint64_t refused[STATS_REFUSALS], canary, canary_errors;
};
/* "auth-required": the word of such answers, as in their field Tulou-Fault. */
const char *stats_refusal_name(unsigned i);

/* Which bucket a time and a size belong to. */
static inline unsigned stats_time_bucket(uint64_t us)
{
	uint64_t q = us >> 7;
	unsigned b = q ? 64 - (unsigned)__builtin_clzll(q) : 0;

	return b < STATS_BUCKETS ? b : STATS_BUCKETS - 1;
}
static inline unsigned stats_size_bucket(uint64_t bytes)
{
	uint64_t q = bytes >> 8;
	unsigned b = q ? (64 - (unsigned)__builtin_clzll(q) + 1) / 2 : 0;

	return b < STATS_SIZES ? b : STATS_SIZES - 1;
}
void stats_sum_app(struct stats_segment *s, uint32_t slot, struct stats_sum *ret);

#endif
