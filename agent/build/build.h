/* Builds: source in, tree and release out.  Layer agent, control process.
 *
 * Everything that touches a tenant's bytes runs in a sandbox; control only opens pipes between them, keeps the log, and
 * reads the small manifest.
 *
 *   source tar --> [BUILD job: tulou-unpack, driver, buildpack] --slug tar--> [STORE job: tulou-unpack] -->
 * releases/<id> | log    | manifest   | cache v        v            v build_log  manifest.h   cache/<app>.tar
 *
 *   QUEUED --slot free--> RUNNING --both jobs well--> RELEASE (command, if any) --> ROLLOUT --build_rolled--> ENDED
 *      |                     |                           |                             |
 *      +------- fail --------+---------------------------+-----------------------------+--> ENDED */
#ifndef TULOU_AGENT_BUILD_BUILD_H
#define TULOU_AGENT_BUILD_BUILD_H

#include "agent/build/manifest.h"
#include "agent/roles/messages.h"
#include "base/loop.h"
#include "store/store.h"
#include "web/api/ops.h"

#define BUILD_CACHE_MAX (256ull << 20) /* bytes of an app's build cache; a larger one is dropped */
#define BUILD_QUEUE_MAX 64	       /* builds of a node, waiting ones included */
#define BUILD_FOLLOWERS 32	       /* of one build */

/* A sandboxed job of control's. */
struct build_job {
	uint64_t id;	     /* 0 = not running; set by the host */
	int64_t tenant, app; /* set by whoever starts it */
	/* It ended.  Called once; id is 0 then. */
	void (*on_exit)(void *arg, const struct msg_instance *m);
	void *arg;
};

/* What builds and git need of control. */
struct build_host {
	void *ctx;
	/* Launches a job.  m brings kind, object, egress, limits, deadline and type; the host fills ids, names and
	 * slot. The descriptors are duplicated.  0, or -EDQUOT and others with e set. */
	int (*job_start)(void *ctx, struct build_job *j, struct msg_launch *m, int blob, const int *fds, size_t nfds,
			 struct err *e);
	/* Ends it (SIGKILL); on_exit comes, unless forget: then the job structure may be freed at once. */
	void (*job_stop)(void *ctx, struct build_job *j, bool forget);
	/* The tree is stored: makes a release of it and begins the roll-out; build_rolled() follows.  *version is the
	 * release's.  0 or negative errno with e set. */
	int (*roll_out)(void *ctx, const struct model_build *b, const struct manifest *m, const char *note,
			uint32_t *version, struct err *e);
	/* An event of the app; the store was written. */
	void (*event)(void *ctx, int64_t app, const char *kind, const char *text);
	void (*written)(void *ctx);
	/* The tree of a build is of no use. */
	void (*remove_tree)(void *ctx, int64_t build);
};

struct builds; /* all builds of the node */
struct build;

/* All pointers are borrowed and must outlive it. */
struct builds *builds_new(struct loop *l, struct store *store, const struct settings *settings, const char *control_dir,
			  const struct build_host *host);
/* Ends all builds without a word to the store. */
void builds_free(struct builds *bs);
const struct build_host *builds_host(const struct builds *bs);
const struct settings *builds_settings(const struct builds *bs);
struct loop *builds_loop(const struct builds *bs);

/* Starts (or queues) a build of the app; `source` is taken also on failure, and closed.  commit "" for a tarball, ref
 * for the log. -EBUSY when one of the app's runs, -EAGAIN when the queue is full. */
int build_start(struct builds *bs, const struct model_app *app, const char *source, const char *commit, int source_fd,
		const struct ops_log_fn *follower, int64_t *ret, struct err *e);
/* Follows a build that runs; -ENOENT, -EAGAIN when too many follow. */
int build_follow(struct builds *bs, int64_t build, const struct ops_log_fn *follower, struct err *e);
void build_unfollow(struct builds *bs, int64_t build, void *arg);
/* Ends it with a reason for its owner, unless its roll-out has begun. */
void build_cancel(struct builds *bs, int64_t build, const char *reason);
/* True when a build of the app is queued or runs; *ret is its id. */
bool build_running(const struct builds *bs, int64_t app, int64_t *ret);
/* The app is gone: its build ends, its logs and cache are deleted. */
void build_app_gone(struct builds *bs, int64_t app);

/* The roll-out of the build's release ended: error NULL = live; limit: which one refused it, "" when it was none. Lines
 * for the log are given with build_say first. */
void build_rolled(struct builds *bs, int64_t build, const char *error, const char *limit);
void build_say(struct builds *bs, int64_t build, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Deletes log and cache file.  Harmless when there is none. */
void build_log_remove(const char *control_dir, int64_t build);

/* A git service exchange (see ops.h: git). */
struct gits;
struct gits *gits_new(struct builds *bs);
void gits_free(struct gits *gs);
int git_start(struct gits *gs, const struct model_app *app, const char *service, bool advertise, const char *protocol,
	      bool gzip, struct ops_git *ret, struct err *e);
/* The app is gone: its exchanges end. */
void git_app_gone(struct gits *gs, int64_t app);

/* Why a job ended, in words for its owner: "ran out of memory (limit 1024 MiB)". "" when it ended well. */
void build_exit_text(const struct msg_instance *m, char *out, size_t cap);

#endif
