/* Decisions about one app: what to start, route, drain and stop next.  Layer scheduler, control process.
 * Pure: no I/O, no clock; the caller gives the time and carries the actions out, then asks again when anything changed
 * or when `again_ms` has come.  Calling it twice with the same input gives the same actions: every action is
 * idempotent.
 *
 * A deploy (app.candidate != 0):
 *
 *   candidate set -> start its instances beside the old ones -> all of its web instances healthy -> PROMOTE
 *        |                                                                                          |
 *        +-- one of them exits or misses the health deadline, or the app is paused -> ABORT          +-> route new,
 *            (old release serves on)                                                                    drain old, stop
 * old
 *
 * With `hold` (an app with a volume, or one that must not run twice) the order is the other way round, while requests
 * wait in the proxies:
 *
 *   candidate set -> drain and stop all that is not of it -> start it -> healthy -> PROMOTE -> route new
 *        |                                                     |
 *        +-- ABORT as above: it is stopped, then the old release is started again
 *
 * The caller refuses a candidate that would not fit into the old one's place before anything is stopped for it.
 *
 * An instance is then started only when none of another release is left, and one that is ill or leaves counts until it
 * is gone.
 */
#ifndef TULOU_SCHEDULER_PLAN_H
#define TULOU_SCHEDULER_PLAN_H

#include "store/model.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One instance as observed now. */
struct plan_instance {
	int64_t id, release;
	char type[LIMIT_TYPE_NAME + 1];
	enum model_instance_state state;
	bool healthy; /* a web instance answered its check; other types: ran for 2 s (the caller's clock) */
	bool routed;  /* the proxies send it requests */
	bool drained; /* no request in flight since it left the routes */
	bool waiting; /* STARTING, and its launch has not begun: for something of the node's, so no deadline counts */
	bool unreachable; /* STARTING, and listens on $PORT only where nobody else gets to: its time is over */
	int64_t since_ms; /* when it entered `state`, monotonic ms; its launch, when it had to wait for that */
};

/* How often the instances of (release, type) died; kept by the caller, changed by plan_exited(). */
struct plan_backoff {
	int64_t release;
	char type[LIMIT_TYPE_NAME + 1];
	unsigned crashes; /* in a row: reset when one stayed healthy for PLAN_STABLE_MS */
	int64_t retry_ms; /* not before this, monotonic */
	bool looping;	  /* verdict: crash loop; retried every PLAN_LOOP_MS only */
};
#define PLAN_STABLE_MS 60000
#define PLAN_RETRY_MS 500 /* first pause, doubled each time */
#define PLAN_RETRY_MAX_MS 60000
#define PLAN_LOOP_CRASHES 5 /* crashes in a row that make a crash loop */
#define PLAN_LOOP_MS 300000
#define PLAN_BACKOFFS (LIMIT_TYPES * 2 + 1)

struct plan_input {
	const struct model_app *app;
	const struct model_formation *formation; /* wanted counts; types the release lacks are ignored */
	unsigned formation_count;
	/* types that exist in the live and in the candidate release, NULL-terminated name lists; NULL when no such
	 * release */
	const char *const *live_types, *const *candidate_types;
	/* types of the release app->canary, NULL when there is none; how many web instances of it run.  It has no other
	 * types, and is left alone while it is rolled out itself (candidate). */
	const char *const *canary_types;
	unsigned canary_count;
	const struct plan_instance *instances;
	unsigned instance_count;
	struct plan_backoff *backoffs; /* PLAN_BACKOFFS rows, release 0 = free */
	int64_t now_ms;
	int64_t candidate_since_ms; /* when the roll-out began */
	uint64_t health_ms, drain_ms;
	unsigned start_budget; /* START actions allowed now (node-wide concurrency and capacity) */
	bool node_draining;    /* nothing new is started */
	bool paused_meanwhile; /* the app was paused after its roll-out began: what no check has seen is not promoted */
	bool hold;	       /* no two releases of the app ever run beside each other: see below */
};

enum plan_verb { PLAN_START, PLAN_ROUTE, PLAN_UNROUTE, PLAN_STOP, PLAN_PROMOTE, PLAN_ABORT, PLAN_VERB_COUNT };
const char *plan_verb_name(enum plan_verb v);

struct plan_action {
	enum plan_verb verb;
	int64_t instance;		/* ROUTE, UNROUTE (= begin to drain), STOP */
	int64_t release;		/* START, PROMOTE, ABORT */
	char type[LIMIT_TYPE_NAME + 1]; /* START */
	char reason[160];		/* STOP, ABORT: for the owner */
};

struct plan_output {
	struct plan_action *actions; /* caller's array */
	unsigned cap, count;	     /* count <= cap; what did not fit comes next time */
	int64_t again_ms;	     /* monotonic; INT64_MAX when only events matter */
};

void plan_app(const struct plan_input *in, struct plan_output *out);

/* Notes that an instance that was not asked to stop ended; was_healthy_ms = how long it had been healthy.  Also to be
 * called when one ended that plan_app stopped because it missed its health deadline, so that a crash loop is seen. */
void plan_exited(struct plan_backoff *backoffs, int64_t release, const char *type, int64_t was_healthy_ms,
		 int64_t now_ms);
/* The backoff row of (release, type), NULL when there is none. */
const struct plan_backoff *plan_backoff_find(const struct plan_backoff *backoffs, int64_t release, const char *type);

/* Does one more instance with these limits fit?  0, or -EDQUOT with e saying which limit, how much is committed and
 * left
 * ("memory quota 4 GiB, 3.9 GiB committed, 100 MiB left, 256 MiB needed": the caller wraps the tenant's name around
 * it). used/quota are the tenant's; node_used/node_total the host's, where a total of 0 means: no limit.  CPU and swap
 * are shared, not handed out: limits may add up to more than a quota, which the tenant's cgroup holds; only a CPU limit
 * that is larger alone is refused. */
struct plan_capacity {
	uint64_t memory, swap;
	uint64_t disk;	 /* writable layers' limits; a tenant's stored bytes too, where the caller adds them */
	uint64_t inodes; /* of the writable layers */
	uint32_t cpu, pids, instances;
};
struct err;
int plan_fits(const struct quota_limits *one, const struct plan_capacity *used, const struct quota *quota,
	      const struct plan_capacity *node_used, const struct plan_capacity *node_total, struct err *e);
/* May `count` running instances change from one set of limits to another?  Only what grows is looked at. */
int plan_fits_more(const struct quota_limits *was, const struct quota_limits *is, unsigned count,
		   const struct plan_capacity *used, const struct quota *quota, const struct plan_capacity *node_used,
		   const struct plan_capacity *node_total, struct err *e);

#endif
