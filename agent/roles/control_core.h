/* What the files of the control role share.  Layer agent, control process; private to agent/roles/control*.c.
 *
 * One turn of the loop:
 *
 *   callbacks (API, supervisor, proxies, health, builds) change wanted or observed state
 *        -> control_touch(app)      the app is planned at the end of the turn
 *        -> control_written()       the store is committed at the end of the turn
 *        -> control_send()          messages to the supervisor wait for that commit
 *   end: plan_app() of every touched app -> commit -> answers of the API -> messages
 *
 * When a commit fails nothing of the turn is sent, parked writes answer 503, and control ends: the next one reads the
 * database again. */
#ifndef TULOU_AGENT_ROLES_CONTROL_CORE_H
#define TULOU_AGENT_ROLES_CONTROL_CORE_H

#include "agent/build/build.h"
#include "agent/fetch/messages.h"
#include "agent/roles/control.h"
#include "agent/roles/control_throttle.h"
#include "agent/roles/messages.h"
#include "base/chan.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/map.h"
#include "scheduler/plan.h"
#include "store/store.h"
#include "web/api/api.h"
#include "web/api/ops.h"
#include "web/proxy/messages.h"
#include "web/proxy/stats.h"

#include <netinet/in.h>
#include <sys/queue.h>

#define CONTROL_STARTS 8	  /* launches in flight: more only wait for each other in the kernel's locks */
#define CONTROL_PLAN_ACTIONS 64	  /* of one app and round */
#define CONTROL_PLAN_ROUNDS 8	  /* of one app and turn; what is left comes next turn */
#define CONTROL_JOBS 256	  /* sandboxed jobs at the same time */
#define CONTROL_RETRY_MS 2000	  /* an app that did not fit is tried again */
#define CONTROL_NOFIT_MS 10000	  /* a roll-out that does not fit for so long is given up */
#define CONTROL_REFUSED 4	  /* different limits that stop one app's instances, told at once */
#define CONTROL_TOLD_MS 3600000	  /* the same limit is told again */
#define CONTROL_TOLD_MIN_MS 60000 /* ... and not before, though all was there in between */
#define CONTROL_TICK_S 10	  /* step of the history */
#define CONTROL_HISTORY 360	  /* steps: one hour */
#define CONTROL_KEEP_RELEASES 10  /* trees kept per app for rollbacks */
#define CONTROL_KEEP_INSTANCES 50 /* records of ended instances per app */
#define CONTROL_OVERCOMMIT                                                                                             \
	16		      /* memory limits may add up to this many times the host's memory: they are caps, not     \
				 reservations; what is really free is checked at each start (CONTROL_SPARE) */
#define CONTROL_SPARE 20      /* one part in so many of the host's memory stays free for what runs already */
#define CONTROL_LATE_MS 200   /* before a failed roll-out is told: the app's last lines are on their way to its log */
#define CONTROL_TAIL 24	      /* of which so many are shown: a stack trace begins with the error itself */
#define CONTROL_PROOFS 16     /* proofs of ownership looked for at a time */
#define CONTROL_REMOVALS 4096 /* trees waiting to be deleted */

struct control;
struct control_app;

/* What can be hit, and when it was last told: see control_hits.c. */
enum control_hit {
	CONTROL_HIT_OOM,
	CONTROL_HIT_OOM_TENANT,
	CONTROL_HIT_OOM_HOST,
	CONTROL_HIT_MEMORY,
	CONTROL_HIT_PIDS,
	CONTROL_HIT_PACKETS,
	CONTROL_HIT_CPU,
	CONTROL_HIT_DISK,
	CONTROL_HIT_INODES,
	CONTROL_HIT_POOL,
	CONTROL_HIT_CONFINED,
	CONTROL_HIT_COUNT
};
struct control_hits {
	int64_t told_ms[CONTROL_HIT_COUNT];  /* monotonic; 0 = never */
	int64_t pause_ms[CONTROL_HIT_COUNT]; /* before it is told again: doubled while it goes on */
	uint64_t since[CONTROL_HIT_COUNT];   /* hits that have not been told */
	uint64_t periods;		     /* of CPU time in which since[CONTROL_HIT_CPU] were throttled */
};

TAILQ_HEAD(control_peers, control_app);

/* A tenant in memory. */
struct control_tenant {
	struct model_tenant rec;
	struct plan_capacity used;  /* limits of its living instances and of its runs */
	uint64_t disk;		    /* bytes of its stored trees */
	unsigned apps;		    /* in `peers`, by id */
	struct control_peers peers; /* its apps */
	struct quota told;	    /* to the supervisor, when `is_told` */
	bool is_told;
	bool is_lowered;			    /* its memory, since the last sample */
	bool memory_pending, pids_pending;	    /* a lowered total does not hold yet: more is in use */
	struct msg_tenant_usage usage;		    /* last sample of its control group; tenant 0 = none yet */
	int64_t usage_ms;			    /* when, monotonic */
	double cpu_now;				    /* CPUs, between the last two samples */
	uint64_t memory_hits, pids_hits, oom_kills; /* of its own level, since control started */
	uint64_t net_refused;			    /* the same: packets */
	struct control_hits hits;
	struct throttle_state throttle;
	unsigned throttle_run, throttle_row; /* its row in the tick of that number */
	TAILQ_ENTRY(control_tenant) held;    /* while its weight is lowered */
	bool is_held;
};

/* Names of a release's process types. */
struct control_types {
	int64_t release; /* 0 = none */
	int64_t build;
	uint32_t version;
	bool hold; /* the release asks for it: model_rollout AUTO */
	unsigned count;
	char name[LIMIT_TYPES][LIMIT_TYPE_NAME + 1];
};

/* What the history and the rates of one app (or of the host) are made of. */
struct control_history {
	unsigned pos, count; /* newest is before pos */
	float memory[CONTROL_HISTORY], cpu[CONTROL_HISTORY], rate[CONTROL_HISTORY];
};

/* Who waits for the roll-out of a release. */
struct control_waiter {
	int64_t release; /* 0 = nobody */
	int64_t build;
	uint32_t version;
	uint64_t barrier; /* 0 until promoted */
	uint32_t pending; /* workers that have not confirmed, bit per worker */
	char error[400];  /* why it failed, until `late` tells */
	char limit[24];	  /* which limit it was, "" = none */
	struct loop_timer late;
};

struct control_app {
	struct control *control; /* borrowed */
	struct control_tenant *tenant;
	TAILQ_ENTRY(control_app) link;	  /* all, by id */
	TAILQ_ENTRY(control_app) peer;	  /* in tenant->peers */
	TAILQ_ENTRY(control_app) touched; /* to be planned */
	TAILQ_ENTRY(control_app) starved; /* wants to start, but CONTROL_STARTS are in flight */
	bool is_touched, is_starved, deleted;
	bool is_loaded; /* the first reading is no change */
	bool is_moved;	/* its limits changed with its tenant's, which is still to be told */
	struct model_app rec;
	struct model_formation formation[LIMIT_TYPES];
	unsigned formation_count;
	int64_t *certs; /* owned: ids of its certificates, as the proxies know them */
	unsigned cert_count;
	uint32_t https_shown, hsts_shown;
	char *front; /* owned: the message that tells its front door; NULL = none */
	size_t front_len;
	struct model_serving serving; /* as the proxies know it */
	char *domains; /* owned: NUL-terminated names one after the other, an empty one at the end; NULL = none */
	struct control_types live, candidate, canary;
	unsigned canary_count; /* web instances of the canary */
	bool canary_up;	       /* all of them have served */
	char canary_why[300];  /* why it is given up; "" = it is not */
	int64_t canary_ms;     /* wall: since when canary_base counts */
	struct stats_sum canary_base;
	int64_t candidate_since_ms;
	bool candidate_paused;	/* the app was paused when the roll-out began, and is since */
	int64_t next_release;	/* of a build that ended while another roll-out was under way; 0 = none */
	int64_t nofit_since_ms; /* since when an instance that is wanted has been refused; 0 = all fits */
	struct control_told {
		char limit[64];		  /* "" = free */
		int64_t told_ms;	  /* monotonic */
		bool settled;		  /* all that was wanted was there since */
	} refused[CONTROL_REFUSED];	  /* limits that were told to stop an instance: each again after an hour */
	struct plan_backoff *backoffs;	  /* owned, PLAN_BACKOFFS rows; NULL until the first crash */
	char why[200];			  /* why the candidate's last instance ended */
	char blame[LIMIT_TYPE_NAME + 24]; /* "web.123", whose log says more about a failed roll-out; "" = nobody's */
	struct control_waiter waiter;
	uint32_t slot;		    /* in the statistics segment */
	enum proxy_app_state shown; /* last told to the proxies */
	bool host_shown;
	uint64_t disk;						       /* bytes of its stored trees */
	struct loop_timer timer;				       /* plan again */
	TAILQ_HEAD(control_instance_list, control_instance) instances; /* living ones, oldest first */
	unsigned instance_count;
	TAILQ_HEAD(control_ended_list, control_ended) ended; /* whose place is to be taken (control_restart.c) */
	unsigned ended_count;

	/* statistics */
	struct stats_sum base, last; /* counters when the app got its slot; at the last tick */
	uint64_t cpu_gone_us;	     /* of instances that have ended, since control started */
	uint64_t cpu_last_us;	     /* at the last tick */
	uint64_t usage_cpu_us;	     /* at the last store_usage_add */
	struct stats_sum usage_sum;
	uint64_t memory_byte_seconds;
	float cpu_now, rate_now;	 /* of the last tick */
	float bucket[STATS_BUCKETS];	 /* of the last minutes, newer ones weigh more */
	struct control_history *history; /* owned; NULL until it had an instance */
	struct control_recent *recent;	 /* owned (control_latency.c); NULL until it had a request */
	bool sampled;
};

struct control_health;
struct control_fsck;

struct control_instance {
	struct control_app *app; /* borrowed */
	TAILQ_ENTRY(control_instance) link;
	TAILQ_ENTRY(control_instance) save;
	bool is_unsaved; /* its record goes to the store at the end of the turn */
	struct model_instance rec;
	struct quota_limits limits; /* as charged and told to the supervisor */
	struct quota_egress egress; /* told to the supervisor */
	uint64_t object;	    /* build whose tree it runs */
	uint32_t version;
	uint32_t address; /* host byte order */
	int32_t pid;
	uint32_t start_us;
	bool in_flight; /* launched, not yet reported as running */
	bool known;	/* the supervisor has it */
	bool waiting;	/* the supervisor has not begun its launch: `pending` says why */
	bool healthy, routed, drained;
	bool crashed;	  /* plan_exited() has been told already */
	bool unreachable; /* it starts, and listens on $PORT on loopback alone */
	bool stop_sent;
	uint32_t drain_pending; /* workers with requests in flight, bit per worker, and control_old_workers() */
	int64_t since_ms;	/* in its state, monotonic */
	int64_t born_ms;	/* monotonic: this control made it, or found it */
	int64_t healthy_since_ms;
	int64_t sick_since_ms;	       /* a running one whose checks fail, 0 = they do not */
	int64_t started_ms;	       /* wall */
	char *health_path;	       /* owned; NULL = TCP only */
	uint32_t health_every_ms;      /* it is asked for while it runs; 0 = only at the start */
	uint32_t health_failures;      /* in a row, before it is sick; 0 = the usual */
	bool h2c;		       /* it speaks HTTP/2 without TLS */
	bool listens_unix;	       /* web: on a unix socket, not on a port */
	int socket;		       /* owned: O_PATH, its folder; -1 = not told yet, or none */
	struct control_health *health; /* owned; NULL while nothing is checked */
	struct msg_usage usage;	       /* last sample; all 0 before the first */
	unsigned restarts;	       /* in its place, before it */
	char *before;		       /* owned: why the last one ended; NULL = it is the first */
	char pending[200]; /* why its new memory limit does not hold yet, or what its launch waits for; "" = none */
	bool has_base;	   /* usage counts from its start or from a sample: differences mean something */
	struct control_hits hits;
	struct control_use use; /* what the throttle knows of it */
};

struct control_worker {
	struct control *control;
	struct chan *chan; /* owned; NULL = not connected */
	int32_t pid;
	bool syncing;
	struct control_app *cursor; /* next app to be sent; NULL = at the end */
	struct loop_timer timer;
};

/* A job in flight. */
struct control_job {
	struct build_job *job; /* borrowed; NULL when nobody wants to hear of its end */
	uint64_t id;
	struct control_tenant *tenant; /* charged; NULL = not charged */
	struct quota_limits limits;
	uint32_t kind;
	bool egress; /* may reach more than its tenant */
	int64_t app;
	struct control_use use; /* what the throttle knows of it, when it has a tenant */
};

struct control_message {
	uint16_t type;
	uint16_t nfds;
	uint32_t len;
	int fds[9]; /* owned */
	char *body; /* owned */
};

/* A proof of ownership that the resolver was asked to look for. */
struct control_proof {
	uint64_t id;	/* 0 = free */
	uint64_t fetch; /* of the request for its file; 0 = it is looked for in DNS */
	uint32_t dns;	/* enum resolve_proof: what was found there */
	int64_t app, since_ms;
	char host[LIMIT_HOST + 1];
};

struct control_host { /* figures of the host, from /proc */
	uint64_t memory, memory_available, disk, disk_used;
	double load[3], pressure[3]; /* cpu, memory, io: avg10 in percent */
	unsigned cpus;
	uint64_t cpu_busy, cpu_all; /* ticks */
};

struct control {
	struct loop *loop;
	int64_t looked_ms; /* monotonic: when the sockets of a start were looked at last (control_health.c) */
	struct settings settings;
	uint64_t boot;
	struct store *store;   /* owned */
	struct chan *super;    /* owned */
	struct chan *resolver; /* owned; NULL = not connected */
	struct chan *fetcher;  /* owned; NULL = not connected */
	struct map *fetches;   /* owned: id -> struct control_fetch (control_fetch.c) */
	uint64_t fetch_next;
	struct map *names; /* owned: address -> struct control_name (control_names.c) */
	struct api *api;   /* owned; NULL in tests */
	struct ops ops;
	struct builds *builds; /* owned */
	struct gits *gits;     /* owned */
	struct build_host build_host;
	struct stats_segment *stats; /* mapped for ever; NULL in tests without */
	char control_dir[220], log_dir[220], port_suffix[16];
	uint16_t app_port;  /* MSG_INSTANCE_PORT; tests use another */
	int64_t started_ms; /* wall */
	bool synced, failed, eligible, draining, turn_armed, ending, dead;
	int exit_code;

	struct map *tenants, *apps, *instances, *jobs; /* by id */
	TAILQ_HEAD(control_app_list, control_app) all, touched, starved;
	unsigned promoted; /* apps whose waiter wants a barrier */
	TAILQ_HEAD(control_unsaved_list, control_instance) unsaved;
	struct control_worker workers[LIMIT_WORKERS];
	uint32_t workers_up; /* bit per connected worker */
	bool old_workers;    /* some of the supervisor's earlier run still finish their requests */
	unsigned starts;     /* launches in flight */
	unsigned sync_lost, sync_adopted;
	struct plan_capacity used;
	uint32_t *slots; /* owned: LIMIT_APPS bits of taken rows */
	uint64_t run, job_next, barrier;
	uint64_t generation;		/* of the store at the last commit */
	struct control_message *outbox; /* owned */
	size_t out_count, out_cap;
	struct msg_remove *removals; /* owned: asked for and not yet confirmed */
	unsigned removal_count;
	bool removals_changed;

	struct control_proof proofs[CONTROL_PROOFS];
	uint64_t proof_next;
	struct control_fsck *fsck;	 /* owned; NULL while none runs */
	LIST_HEAD(, control_talk) talks; /* owned (control_talkers.c) */
	uint64_t talk_next;
	/* TLS; nothing of it without a listener */
	struct proxy_msg_tickets tickets;
	int64_t default_cert;		      /* id in the store, 0 = none */
	int64_t node_cert;		      /* of domains.control, from an authority; 0 = none */
	struct control_cert_file *cert_files; /* owned: the operator's */
	unsigned cert_file_count;
	struct loop_timer tls_timer;
	struct control_acme *acme; /* owned; NULL = no certificates are ordered */
	struct control_ocsp *ocsp; /* owned; NULL = nothing is stapled */
	struct control_host host;
	struct control_history history;
	double host_cpu_now, host_rate_now;
	struct msg_disk disk; /* what instances share; total 0 = not known */
	unsigned disk_warned; /* percent that was told last: 0, 80 or 90 */
	struct control_throttle throttle;
	struct loop_timer tick, retry, end;
	struct loop_signal term;
	unsigned ticks;
	uint64_t starts_total, start_us_sum, start_bucket[8], exits_total, deploys_ok, deploys_failed;
	uint64_t oom_total[MSG_OOM_COUNT]; /* by whose bound it was */
};

/* control_pool.c: what the instances' disk is like, for the operator */
void control_on_pool(struct control *c, const struct msg_disk *m);
json_t *control_pool_json(const struct control *c); /* NULL when it is not known */

/* control.c */
int64_t control_now_ms(void); /* monotonic */
void control_written(struct control *c);
void control_arm(struct control *c); /* a turn's end is needed */
/* To the supervisor, after the commit of this turn; descriptors are taken. */
void control_send(struct control *c, uint16_t type, const void *body, size_t len, int *fds, size_t nfds);
void control_event(struct control *c, const struct control_app *ca, int64_t instance, const char *kind, const char *fmt,
		   ...) __attribute__((format(printf, 5, 6)));
void control_remove(struct control *c, enum msg_remove_kind kind, uint64_t id); /* kept until it is confirmed */

void control_tenant_event(struct control *c, const struct control_tenant *t, const char *kind, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* control_tenant.c */
struct control_tenant *control_tenant_get(struct control *c, int64_t id); /* from the store when unknown; NULL */
void control_tenant_changed(struct control *c, int64_t id);
/* Its totals, before the first launch on this connection and when they changed since. */
void control_tenant_tell(struct control *c, struct control_tenant *t);
/* After a sync: tenants and limits of what runs, which may have changed while nobody could be told. */
void control_tenant_synced(struct control *c);
/* New limits or egress of an app reach its instances; was: what the app had, or NULL to tell them in any case. */
void control_app_relimit(struct control_app *ca, const struct model_app *was);
void control_egress(const struct control_app *ca, struct quota_egress *ret); /* in effect */
/* Has it, by the last sample, taken its part of a pool that tenants share?  What it holds and may hold, in bytes. */
bool control_tenant_pool_full(const struct control_tenant *t, uint64_t *held, uint64_t *bound);
void control_on_tenant_usage(struct control *c, const struct msg_tenant_usage *u, size_t n);
void control_tenant_init(struct control *c);				       /* its part of c->ops */
struct plan_capacity control_tenant_committed(const struct control_tenant *t); /* limits and stored bytes */
void control_tenant_used(const struct control_tenant *t, struct quota *used, struct ops_tenant_usage *usage);

/* control_latency.c: how long requests took, of the last five minutes and in all */
void control_recent_tick(struct control_app *ca, const struct stats_sum *now, bool minute);
json_t *control_refused_json(const struct stats_sum *s);
void control_latency_init(struct control *c); /* its part of c->ops */

/* control_talkers.c: what the workers counted */
void control_talkers_init(struct control *c); /* its part of c->ops */
void control_talkers_done(struct control *c);
void control_talkers_rows(struct control *c, uint32_t worker_bit, const struct proxy_msg_watch_rows *m, size_t len);
void control_talkers_told(struct control *c, uint32_t worker_bit, const struct proxy_msg_watch_done *m);
void control_talkers_lost(struct control *c, uint32_t worker_bit);

/* control_hits.c: what was hit reaches the tenant as events */
void control_hits_instance(struct control_instance *ci, const struct msg_usage *now); /* before ci->usage = *now */
void control_hits_tenant(struct control *c, struct control_tenant *t, const struct msg_tenant_usage *now);

/* control_restart.c */
/* It does not count any more, and another is to take its place: it failed, or its owner stopped it.  Its record says
 * why. */
void control_restart_ended(const struct control_instance *ci, bool failed);
void control_restart_started(struct control_instance *ci);
void control_restart_forget(struct control_app *ca); /* those that ended are not replaced */

/* control_app.c */
struct control_app *control_app_get(struct control *c, int64_t id); /* NULL when unknown */
struct control_app *control_app_load(struct control *c,
				     int64_t id); /* makes it, or reads it again; NULL when deleted */
void control_app_deleted(struct control *c, const struct model_app *app);
void control_app_free(struct control_app *ca); /* only when it has no instance */
void control_touch(struct control_app *ca);
void control_plan(struct control *c); /* all touched apps */
/* What a release has to run; nothing is read when *t is of it already. */
void control_types_load(struct control *c, int64_t release, struct control_types *t);

/* control_rollout.c */
/* Begins to roll a release out.  -EDQUOT: it would not fit where the old one must go first; it is recorded as failed.
 */
int control_candidate(struct control_app *ca, int64_t release, struct err *e);
void control_promote(struct control_app *ca);
/* What the live release does now, for its owner: "URL is live" ("v3 is live" when url is NULL), or why nothing answers
 * there. */
void control_live_text(const struct control_app *ca, const char *url, char *out, size_t cap);
void control_abort(struct control_app *ca, const char *reason);

/* control_store.c */
int control_load(struct control *c, struct err *e);    /* everything, at start */
unsigned control_wanted(const struct control_app *ca); /* instances */
unsigned control_running(const struct control_app *ca);
unsigned control_standing(const struct control_app *ca); /* of the live release: running or starting */
unsigned control_sick(const struct control_app *ca);	 /* of the live release: running, and its checks fail */
/* "3 of 50 instances fit, the others wait: <limit, whose, how much>"; false when nothing of it waits for room. */
bool control_waiting(const struct control_app *ca, char *out, size_t cap);
/* Its releases never run beside each other (scheduler/plan.h). */
bool control_holds(const struct control_app *ca);
bool control_looping(const struct control_app *ca, const char *type);
/* Is nothing of this type of the live release there, nor will be, since what is wanted has been refused again? */
bool control_refused(const struct control_app *ca, const char *type);
const char *control_app_state(const struct control_app *ca);
void control_disk_add(struct control_app *ca, uint64_t bytes);
void control_disk_sub(struct control_app *ca, uint64_t bytes);
void control_collect(struct control *c); /* deletes what is not needed any more */

/* control_instance.c */
int control_instance_start(struct control_app *ca, int64_t release, const char *type, struct err *e);
struct control_instance *control_instance_adopt(struct control *c, const struct model_instance *rec);
void control_policy(const struct control_app *ca, struct msg_launch *m);
void control_instance_move(struct control_instance *ci, enum model_instance_state to);
void control_instance_save(struct control_instance *ci);
void control_instance_healthy(struct control_instance *ci, bool healthy, const char *why);
void control_instance_stop(struct control_instance *ci, const char *reason);
void control_instance_unroute(struct control_instance *ci);
void control_instance_crashed(struct control_instance *ci); /* counts for the back-off, once */
void control_instance_gone(struct control_instance *ci, const struct msg_instance *m); /* it ended; frees it */
void control_on_instance(struct control *c, const struct msg_instance *m);
void control_on_socket(struct control *c, const struct msg_socket *m, int *fd); /* takes *fd when it wants it */

/* control_fit.c */
/* Its place in the sums of the node and of a tenant (NULL: the node only, for builds). */
void control_charge(struct control *c, struct control_tenant *t, const struct quota_limits *limits, int sign);
/* Room for one more?  Instances of `replaced` (NULL = none) that are of another release than `release` do not count for
 * the tenant: start-first needs both for a moment, and a tenant at its quota must be able to deploy. */
int control_fits(struct control *c, struct control_tenant *t, const struct quota_limits *limits,
		 const struct control_app *replaced, int64_t release, struct err *e);
/* Does all that is wanted of a release fit once everything else of the app is gone?  0 or -EDQUOT as above. */
int control_fits_instead(const struct control_app *ca, int64_t release, const struct control_types *types,
			 struct err *e);
/* The same for a build: within quota and node by itself, beside what the tenant's apps use. */
int control_fits_build(struct control *c, struct control_tenant *t, const struct quota_limits *limits, struct err *e);

/* control_health.c */
void control_health_start(struct control_instance *ci);
void control_health_stop(struct control_instance *ci);
void control_health_now(struct control_instance *ci);		   /* a proxy could not connect */
const char *control_health_why(const struct control_instance *ci); /* last failure, "" = none */
/* Why an instance that had its time is not ready, for its owner: what its own last check found beside the planner's
 * reason (scheduler/plan.c), or instead of it where it answered HTTP and said no. */
void control_health_overdue(const struct control_instance *ci, const char *reason, char *out, size_t cap);

/* control_routes.c */
void control_worker_add(struct control *c, uint32_t worker, int32_t pid, int fd);
void control_workers_sync(struct control *c); /* all connected ones, from the beginning */
/* How many workers of the supervisor's earlier run finish requests of which we know nothing.  An instance that leaves
 * the routes meanwhile counts as drained only when they are gone (or its time is over). */
void control_on_old_workers(struct control *c, unsigned count);
/* The bit for them in drain_pending, 0 when there are none. */
uint32_t control_old_workers(const struct control *c);
void control_workers_free(struct control *c);
void control_routes_app(struct control_app *ca, bool force); /* state and hosts */
void control_routes_spread(struct control_app *ca);
void control_routes_host(struct control_app *ca, const char *host, bool gone);
void control_routes_app_gone(struct control_app *ca);
void control_routes_instance(struct control_instance *ci, enum proxy_instance_state state);
/* What one that is routed is called there. */
enum proxy_instance_state control_routes_up(const struct control_instance *ci);
void control_routes_instance_gone(struct control_instance *ci);
void control_routes_barrier(struct control_app *ca); /* ca->waiter is answered when all workers have confirmed */

void control_routes_send(struct control_worker *w, uint16_t type, const void *body, size_t len, const int *fds,
			 size_t nfds);

/* control_certs.c */
void control_certs_init(struct control *c); /* once the store is open */
void control_certs_done(struct control *c);
void control_on_cert_file(struct control *c, const struct msg_cert_file *m, int fd);
/* Looks in the store for what an authority signed for domains.control, and tells the proxies what came and went. */
void control_certs_node(struct control *c);
bool control_certs_file_covers(const struct control *c, const char *host); /* one of the operator's files does */
void control_certs_load(struct control_app *ca); /* reads an app's certificates, tells the proxies what came and went */
void control_certs_sync(struct control_worker *w); /* the node's own, and tickets */
void control_certs_sync_app(struct control_worker *w, struct control_app *ca);

void control_routes_all(struct control *c, uint16_t type, const void *body, size_t len);

/* control_canary.c */
bool control_canary_whole(const struct control_app *ca); /* all its instances serve, or there is none */
bool control_canary_serves(const struct control_app *ca, int64_t release); /* it is the canary, not the live release */
/* after rec.canary: types, groups, front door; was: what it was before */
void control_canary_changed(struct control_app *ca, int64_t was);
void control_canary_crashed(
	const struct control_instance *ci); /* an instance of it ended or is ill: perhaps it is over */
void control_canary_ill(const struct control_instance *ci, const char *why);
void control_canary_nofit(struct control_app *ca, const char *why);
void control_canary_check(struct control_app *ca); /* before a round is planned: is it up, is it over? */
int control_canary_take(struct control_app *ca, int64_t release, struct err *e); /* a release that was just made */
void control_canary_promoted(struct control_app *ca, int64_t release);		 /* it is the live release now */
void control_canary_init(struct control *c);					 /* its part of c->ops */

/* control_front.c */
void control_front_load(struct control_app *ca); /* reads it again, and tells the proxies what changed */
void control_front_sync_app(struct control_worker *w, struct control_app *ca);

/* control_domains.c */
struct resolve_proved;
void control_domains_init(struct control *c); /* its part of c->ops */
void control_domains_tick(struct control *c); /* every CONTROL_TICK_S: looks again for what is pending */
void control_domains_on_proved(struct control *c, const struct resolve_proved *m);

/* control_jobs.c */
void control_jobs_init(struct control *c); /* fills c->build_host */
bool control_is_job(uint64_t id);
/* This run of control began it: when it is not among the jobs any more, its exit was told. */
bool control_was_job(const struct control *c, uint64_t id);
void control_on_job(struct control *c, const struct msg_instance *m);
int control_job_start(void *ctx, struct build_job *j, struct msg_launch *m, int blob, const int *fds, size_t nfds,
		      struct err *e);
void control_job_stop(void *ctx, struct build_job *j, bool forget);
int control_release(struct control_app *ca, const struct model_release *r, struct err *e); /* candidate, or next */
void control_rolled(struct control_app *ca, const char *error); /* the waiter's roll-out ended; NULL = live */

/* control_ops.c */
void control_ops_init(struct control *c);

/* control_disk.c: dir is control's own; before the database is opened, and now and then. */
void control_disk_start(const char *dir);
void control_disk_tick(const char *dir);

/* control_stats.c */
void control_on_usage(struct control *c, const struct msg_usage *u, size_t n);
void control_tick(void *arg);
void control_sum_sub(struct stats_sum *a, const struct stats_sum *b);  /* a -= b, never below 0 */
void control_sum(const struct control_app *ca, struct stats_sum *ret); /* since the app has its slot */
uint64_t control_app_cpu_us(const struct control_app *ca);
uint64_t control_app_memory(const struct control_app *ca);
json_t *control_app_stats(struct control_app *ca);
json_t *control_history_json(const struct control_history *h, unsigned minutes);
/* Seconds below which the given part of requests was answered, from a histogram. */
double control_quantile(const float *bucket, double part);

/* control_node.c */
struct control_counts {
	unsigned running, starting, wanted;
};
/* by_state (NULL: not wanted) gets the number of apps by state. */
void control_node_counts(struct control *c, struct control_counts *n, json_t *by_state);
json_t *control_node_json(struct control *c);

/* control_metrics.c */
void control_metrics(struct control *c, struct buf *out);

/* control_text.c: pure */
void control_text_bytes(uint64_t n, char out[32]);
/* Why an instance ended, for its owner: "exited with code 1". asked = reason of a stop, "" when it was not asked. */
void control_text_exit(const struct msg_instance *m, const char *type, const char *asked, uint64_t grace_ms, char *out,
		       size_t cap);
/* Lines of a log that belong to source, at most `lines`, each prefixed; the text of [p, p+n) need not begin at a line.
 */
void control_text_tail(const char *p, size_t n, const char *source, unsigned lines, const char *prefix,
		       struct buf *out);
/* Where a process's network namespace listens, from /proc/<pid>/net/tcp and tcp6: adds "127.0.0.1:3000" etc., separated
 * by
 * ", ". text is the file's content. */
void control_text_listeners(const char *text, bool v6, struct buf *out);
/* Who listens on this port, from the same text: bit 0 a loopback address, bit 1 any other. */
unsigned control_text_port(const char *text, bool v6, uint16_t port);
uint64_t control_text_meminfo(const char *text, const char *key); /* bytes */
double control_text_pressure(const char *text);			  /* avg10 of the line "some" */
uint64_t control_text_waited(const char *text);			  /* total of the line "some", microseconds */

/* control_names.c: what the resolver is told. */
void control_names_add(struct control *c, int fd);	  /* a channel to it; the descriptor is taken */
void control_names_sync(struct control *c);		  /* tells it everything */
void control_names_instance(struct control_instance *ci); /* its state, health or policy changed */
void control_names_app(struct control_app *ca);		  /* the same of all its instances */
void control_names_job(struct control *c, const struct msg_instance *m, bool forward);
void control_names_gone(struct control *c, uint64_t instance, uint32_t address);
void control_names_free(struct control *c);

/* control_acme.c, …_show.c, …_tell.c: certificates from an authority.  All of it does nothing without tls.acme. */
void control_acme_init(struct control *c); /* once the store is open, before apps are loaded */
void control_acme_done(struct control *c);
void control_acme_synced(struct control *c);
void control_acme_app(struct control_app *ca); /* its domains, certificates or https changed */
void control_acme_app_gone(struct control *c, int64_t app);
void control_acme_sync(struct control_worker *w); /* challenges that are shown now */
void control_acme_barrier(struct control *c, uint64_t barrier, uint32_t worker_bit);
void control_acme_worker_lost(struct control *c, uint32_t worker_bit);
void control_acme_look(struct control *c); /* something may be due earlier: a certificate is revoked */
json_t *control_acme_json(struct control *c, struct control_app *ca); /* as ops.certificate_states; NULL: the node's */
int control_acme_renew(struct control *c, struct control_app *ca, const char *host, struct err *e);
void control_acme_metrics(struct control *c, struct buf *out);

/* control_ocsp.c, …_tell.c: what responders say of certificates, for who connects.  All of it does nothing with
 * tls.stapling off. */
void control_ocsp_init(struct control *c); /* once the store is open, before apps are loaded */
void control_ocsp_done(struct control *c);
/* A certificate that proxies know by this number: pem is its chain, with or without the key.  uploaded: a tenant chose
 * where it leads. */
void control_ocsp_add(struct control *c, uint64_t id, int64_t app, bool uploaded, const char *pem, size_t n);
void control_ocsp_del(struct control *c, uint64_t id);
void control_ocsp_send(struct control *c, struct control_worker *w, uint64_t id); /* its staple; w NULL: to all */
bool control_ocsp_revoked(const struct control *c, uint64_t id);
json_t *control_ocsp_json(const struct control *c, uint64_t id); /* as ops.certificate_ocsp */
void control_ocsp_metrics(const struct control *c, struct buf *out);

/* control_fetch.c: requests to the internet, through the fetcher.  a->status 0: it failed, and a->error says why; body
 * is NUL-terminated, NULL when there was none.  Both for the call only. */
typedef void control_fetch_fn(void *arg, const struct fetch_answer *a, const char *body);
/* Its number, or 0 when out of memory (fn is not called then).  Answered once, never before this returns; body_len
 * bytes at body are copied; ask->id is filled. */
uint64_t control_fetch(struct control *c, struct fetch_ask *ask, const void *body, control_fetch_fn *fn, void *arg);
/* The same for what a responder says of a certificate: pem is the leaf and its issuer; ask->id and len are filled. der:
 * a->len bytes, NULL unless a->cert is FETCH_CERT_GOOD; for the call only. */
typedef void control_status_fn(void *arg, const struct fetch_status_answer *a, const void *der);
uint64_t control_fetch_status(struct control *c, struct fetch_status *ask, const char *pem, control_status_fn *fn,
			      void *arg);
void control_fetch_cancel(struct control *c, uint64_t id); /* no answer is wanted any more; 0 is allowed */
void control_fetch_add(struct control *c, int fd);	   /* a channel to the fetcher; the descriptor is taken */
void control_fetch_free(struct control *c);

/* control_proc.c */
void control_proc_host(struct control_host *h, const char *data_dir);
/* "it listens on 127.0.0.1:3000 only" or "nothing listens"; "" when it cannot be told. */
void control_proc_listeners(int32_t pid, char *out, size_t cap);
/* Does something in its network listen on this port, and on loopback addresses alone?  1 or 0; -1 when that is not
 * known. */
int control_proc_local_only(int32_t pid, uint16_t port);

/* control_fsck.c */
void control_fsck_init(struct control *c); /* its part of c->ops */
void control_fsck_done(struct control *c);
void control_on_fsck_found(struct control *c, const struct msg_fsck_found *m);
void control_on_fsck_list(struct control *c, const struct msg_fsck_list *m, size_t len);
void control_on_fsck_done(struct control *c, const struct msg_fsck_done *m);

#endif
