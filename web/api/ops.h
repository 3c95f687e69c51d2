/* What the API asks of the rest of control.  Layer web; implemented by agent/roles/control*.c, so that web/ needs
 * nothing of agent/.  All of it runs in control's loop and never blocks. */
#ifndef TULOU_WEB_API_OPS_H
#define TULOU_WEB_API_OPS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/loop.h"
#include "config/settings.h"
#include "store/model.h"
#include "store/store.h"
#include "web/proxy/stats.h"
#include "web/proxy/talkers.h"

#include <jansson.h>
#include <stdint.h>

/* A build or push in progress, seen from an HTTP exchange. */
struct ops_log_fn {
	/* Bytes of the build log as they come; done = 1 once at the end with the result.  After done, or after
	 * ops->log_cancel, it is not called again. */
	void (*on_log)(void *arg, const char *p, size_t n);
	void (*on_done)(void *arg, const struct model_build *b, uint32_t release_version, const char *error);
	void *arg;
};

/* A git service exchange: control's API pumps the request body into `in` and sends what comes out of `out`. */
struct ops_git {
	int in;	 /* write end, non-blocking; owned by the API, closed at the end of the body */
	int out; /* read end, non-blocking; owned by the API; end of file = the service is done */
};

/* One difference that fsck found, and its end. */
struct ops_fsck {
	/* json {"area","text","id"?,"app"?,"repaired"} is taken. */
	void (*on_found)(void *arg, json_t *json);
	void (*on_done)(void *arg, unsigned found, unsigned repaired, const char *error);
	void *arg;
};

/* Who asks for top talkers. */
struct ops_talkers {
	int64_t app; /* 0: the node */
	enum talk_by by;
	uint32_t ms;	/* how long is counted: 1 .. LIMIT_TALK_S seconds */
	unsigned limit; /* names of each list */
	/* Once, later; json is taken:
	 * {"by","seconds","requests","bytes","request_seconds","errors","sampled","workers", "workers_missing", and
	 * lists of {"name","requests","bytes","seconds","errors","share","uncertain"}: "clients", "hosts","statuses",
	 * of an app "paths", of the node "apps" (with "tenant") and "tenants"}; NULL without memory. */
	void (*done)(void *arg, json_t *json);
	void *arg;
};

/* What a tenant really uses now, all its instances together. */
struct ops_tenant_usage {
	bool known; /* its control group was measured; else the sum of what its instances were last seen to use */
	uint64_t memory, memory_peak, cpu_us, throttled_us, io_read, io_write, net_in, net_out;
	uint64_t disk; /* stored trees and what is in the writable layers */
	uint32_t inodes, pids, instances;
	uint32_t memory_hits, pids_hits, oom_kills; /* how often its own totals were hit */
	uint64_t net_refused;			    /* packets, the same */
	uint64_t confined_us;			    /* kept off some CPUs since its first instance that runs still */
	double cpu_cores;
	char pending[200]; /* why a lowered total does not hold yet; "" when all hold */
};

struct ops {
	void *ctx;
	/* The app's wanted state changed in the store (formation, config, release, domains, paused, created). Also
	 * arranges what must happen after the commit of this turn. */
	void (*app_changed)(void *ctx, int64_t app);
	/* The app was deleted from the store: stop its instances, remove its routes, repository, releases and logs. */
	void (*app_deleted)(void *ctx, const struct model_app *app);
	/* A tenant's row, or the limits of its apps, changed in the store; or the tenant is new or gone. */
	void (*tenant_changed)(void *ctx, int64_t tenant);
	/* What counts against the quota (limits of what runs, stored bytes; apps are not filled), and what is really
	 * used.  Both zeroed when the tenant is unknown.  May be NULL. */
	void (*tenant_used)(void *ctx, int64_t tenant, struct quota *used, struct ops_tenant_usage *usage);

	/* May the app's running instances have these limits now?  -EDQUOT saying which quota, whose, how much is left.
	 * May be NULL. */
	int (*limits_fit)(void *ctx, int64_t app, const struct quota_limits *limits, struct err *e);

	/* Looks for the proof that a pending domain of the app is its tenant's, and keeps looking now and then; or, of
	 * a proved one, tells apps that lost it.  The result is in the store a little later.  May be NULL. */
	void (*domain_check)(void *ctx, int64_t app, const char *host);

	/* New object of what the app's canary does:
	 * {"state":"starting|serving|promoting","running","since","requests","errors", "live_requests","live_errors"},
	 * counted since then; NULL without one.  May be NULL. */
	json_t *(*canary)(void *ctx, int64_t app);
	/* Rolls the app's canary out as its release.  -EBUSY without one, or while another roll-out is under way. */
	int (*canary_promote)(void *ctx, int64_t app, struct err *e);

	/* A release with the app's present config and the tree of `from` (0: the live release) becomes the candidate:
	 * config change (note "Set config A") and rollback.  *version is the new release's.  -EBUSY while another
	 * roll-out or build runs. */
	int (*release_new)(void *ctx, int64_t app, int64_t from_release, bool use_config_of_from, const char *note,
			   uint32_t *version, struct err *e);

	/* Starts a build from a tarball that will be written into *in (write end, non-blocking, owned by the API; close
	 * = end). The log is followed with `log`. *build is its id. -EBUSY when one runs already for the app; -EDQUOT.
	 */
	int (*build_tarball)(void *ctx, int64_t app, const struct ops_log_fn *log, int *in, int64_t *build,
			     struct err *e);
	void (*log_cancel)(void *ctx, int64_t build, void *arg); /* the follower went away; the build goes on */
	/* Follows a running build from now on (no replay: the API sends the log file's present content first, so what
	 * on_log gives must be in the file too); -ENOENT when it is not running (read the file <data>/builds/<id>.log
	 * then). */
	int (*build_follow)(void *ctx, int64_t build, const struct ops_log_fn *log, struct err *e);

	/* service: "git-receive-pack" or "git-upload-pack"; advertise: the answer to GET info/refs (without the
	 * pkt-line
	 * "# service=" head, which the API writes).  protocol: value of Git-Protocol, "" or strictly "version=1|2". */
	int (*git)(void *ctx, int64_t app, const char *service, bool advertise, const char *protocol, bool gzip,
		   struct ops_git *ret, struct err *e);

	/* One-off command of the live release: output comes back from `out`; exit code through done. */
	int (*run)(void *ctx, int64_t app, const char *command, struct ops_git *ret,
		   void (*done)(void *arg, int exit_code, const char *text), void *arg, struct err *e);

	/* Whoever asked for a run with this arg went away: the command is killed; done is still called.  NULL: it goes
	 * on until its next write or its deadline. */
	void (*run_stop)(void *ctx, void *arg);

	/* Appends instance objects of an app to arr:
	 * {"id","type","release","state","address","port","pid","memory_bytes",
	 * "memory_limit_bytes","cpu_seconds","pids","started_at","start_us","restarts","reason","pending" (why a new
	 * limit does not hold yet, or null),
	 * "memory_peak_bytes","oom_kills","throttled_seconds","pids_limit","disk_bytes","disk_limit_bytes","inodes",
	 * "net_in_bytes","net_out_bytes","net_packets_refused",
	 * "throttle": null or {"state":"slowed|boosted","weight","tenant_weight"?,"cpu","since","used_cpu","fair_cpu",
	 * "reason"}}. */
	void (*instances)(void *ctx, int64_t app, json_t *arr);
	/* New object with the figures of an app:
	 * {"state","instances_running","instances_healthy" (of those),"instances_wanted","waiting" (null, or which
	 * limit stops the rest, or keeps what is unhealthy from being replaced), "memory_bytes","cpu_cores",
	 * "cpu_seconds","requests_total","requests_per_second","p50_ms","p99_ms","status":{"2xx":…},"bytes_in","bytes_out",
	 * "refused":{"auth-required":…}}.
	 */
	json_t *(*app_stats)(void *ctx, int64_t app);
	/* New object of how long an app's requests took:
	 * {"recent":{"seconds","requests","status","duration","upstream", "queue"},"total":{…}}; each of the last three
	 * {"count","p50_ms","p95_ms","p99_ms"}, null without any. */
	json_t *(*latency)(void *ctx, int64_t app);
	/* New object for GET /v1/node: see web/api/README.md. */
	json_t *(*node)(void *ctx);
	/* History for plots: {"step_seconds":…, "times":[…], "memory_bytes":[…], "cpu_cores":[…],
	 * "requests_per_second":[…]}; app 0 = the host. */
	json_t *(*history)(void *ctx, int64_t app, unsigned minutes);
	/* Prometheus text is appended to buf. */
	void (*metrics)(void *ctx, struct buf *out);
	/* Stops giving new work to this node / stops everything; eligibility. */
	int (*node_set)(void *ctx, int eligible /* -1 keep */, int draining /* -1 keep */, struct err *e);
	bool (*ready)(void *ctx); /* supervisor connected and synced */

	/* Compares database, disk, processes and kernel (`tulou node fsck`).  Differences come through on_found, the
	 * end through on_done (error NULL, or why it could not be finished); neither after fsck_cancel.  -EBUSY while
	 * one runs. */
	int (*fsck)(void *ctx, bool repair, const struct ops_fsck *to, struct err *e);
	void (*fsck_cancel)(void *ctx);

	/* Counts from now on.  -EBUSY when too many do, -EAGAIN without a front door.  Nothing is called after cancel.
	 */
	int (*talkers)(void *ctx, const struct ops_talkers *ask, struct err *e);
	void (*talkers_cancel)(void *ctx, void *arg);

	/* The API wrote to the store in this turn: commit at its end, then call api_committed() (or
	 * api_commit_failed()). Called for every write, also where no app_changed or tenant_changed goes with it
	 * (tokens, sessions). */
	void (*written)(void *ctx);
	/* The upload of a build_tarball broke off before its end: the build fails with "the upload was interrupted".
	 * Called before `in` is closed, and after log_cancel: a cut-off plain tar looks complete to a reader. */
	void (*build_cancel)(void *ctx, int64_t build);
	/* Stops one instance of an app; its formation replaces it.  -ENOENT when the app has no such living instance.
	 */
	int (*instance_stop)(void *ctx, int64_t app, int64_t instance, struct err *e);

	/* A new array, one object for each of the app's hosts (0: the node's own) that may have a certificate:
	 * {"host","state":
	 * "issued|pending|failed|unsupported|off|none","origin":"acme|uploaded|operator"|null,"certificate","not_after",
	 * "next_try","error"}.  May be NULL. */
	json_t *(*certificate_states)(void *ctx, int64_t app);
	/* What its responder says of a certificate, null when it has none: {"status":"good|revoked|none","stapled",
	 * "must_staple","responder","this_update","next_update","revoked_at","next_try","error"}.  May be NULL. */
	json_t *(*certificate_ocsp)(void *ctx, int64_t id);
	/* Orders a certificate now, for one host of the app (0: the node) or (NULL) for all that get theirs by
	 * themselves. -ENOENT when there is no such host, -EBUSY when it was tried too often, or without an authority.
	 * May be NULL.
	 */
	int (*certificate_renew)(void *ctx, int64_t app, const char *host, struct err *e);
};

#endif
