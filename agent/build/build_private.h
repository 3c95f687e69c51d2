/* One build, shared by build.c and pump.c.  Layer agent, control process; private to agent/build. */
#ifndef TULOU_AGENT_BUILD_PRIVATE_H
#define TULOU_AGENT_BUILD_PRIVATE_H

#include "agent/build/blob.h"
#include "agent/build/build.h"
#include "agent/build/log.h"
#include "base/own.h"
#include "base/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

enum build_stage {
	BUILD_STAGE_QUEUED,
	BUILD_STAGE_RUNNING,
	BUILD_STAGE_RELEASE,
	BUILD_STAGE_ROLLOUT,
	BUILD_STAGE_COUNT
};
enum build_job_id { BUILD_JOB_BUILD, BUILD_JOB_STORE, BUILD_JOB_RELEASE, BUILD_JOB_COUNT };

struct builds {
	struct loop *loop;
	struct store *store;
	const struct settings *settings;
	const char *control_dir;
	const struct build_host *host;
	TAILQ_HEAD(build_list, build) all; /* oldest first */
	unsigned count, running;
	bool deferred;
};

struct build_on {
	struct build *build;
	enum build_job_id job;
};

struct build {
	struct builds *builds; /* borrowed */
	TAILQ_ENTRY(build) link;
	struct model_build rec;
	int64_t app, tenant;
	char name[LIMIT_APP_NAME + 1];
	enum build_stage stage;
	bool has_slot;
	bool gone;	  /* out of all lists; freed at the end of the turn */
	bool storing;	  /* the store job was started */
	bool stored;	  /* its tree is complete */
	uint32_t version; /* of the release, from ROLLOUT on */
	struct build_job jobs[BUILD_JOB_COUNT];
	struct build_on on[BUILD_JOB_COUNT];
	struct msg_instance exits[BUILD_JOB_COUNT];
	bool ended[BUILD_JOB_COUNT];
	struct ops_log_fn followers[BUILD_FOLLOWERS];
	unsigned follower_count;
	struct build_log log;
	struct manifest manifest;

	/* Pipes; all owned, -1 = closed.  The ends given to jobs are closed once the job has them. */
	int source;	  /* read end of the source tar */
	int log_r, log_w; /* log_w stays open until the last job that needs it */
	int slug_r, slug_w, manifest_r, manifest_w, cache_in, cache_r, cache_w, result_r, result_w;
	int cache_file; /* the new cache, while it is written */
	uint64_t cache_bytes;
	bool cache_dropped; /* too large, or the disk is full */
	struct buf manifest_in;
	char result[64]; /* what the store job printed */
	size_t result_len;
	struct loop_io log_io, slug_io, manifest_io, cache_io, result_io;
};

/* Bytes of the log. */
void build_out(struct build *b, const char *p, size_t n);
void build_line(struct build *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Ends the build; b must not be used afterwards. */
void build_fail(struct build *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A job ended: what is next?  b may be gone afterwards. */
void build_step(struct build *b);
/* The first byte of the tree is there.  b may be gone afterwards. */
void build_slug_comes(struct build *b);

/* pump.c */
void build_pump_init(struct build *b);		      /* no descriptor open */
int build_pump_start(struct build *b, struct err *e); /* opens the pipes */
void build_pump_given(struct build *b);		      /* the build job has its ends: close ours */
void build_pump_drain(struct build *b);		      /* a job has ended: read what it left */
void build_pump_cache_keep(struct build *b);	      /* the new cache replaces the old one */
void build_pump_stop(struct build *b);		      /* closes everything; harmless twice */

#endif
