/* The nouns of the node.  Layer store; the scheduler sees nothing else of the store.
 * Plain structs; a char array is NUL-terminated.  Ids are positive, never reused, and 0 means none. */
#ifndef TULOU_STORE_MODEL_H
#define TULOU_STORE_MODEL_H

#include "config/limits.h"
#include "config/quota.h"

#include <stdbool.h>
#include <stdint.h>

/* Roles of tokens, weakest first among a tenant's. */
enum model_role {
	MODEL_ROLE_NONE,
	MODEL_ROLE_READER,
	MODEL_ROLE_DEPLOYER,
	MODEL_ROLE_ADMIN,
	MODEL_ROLE_FLEET,
	MODEL_ROLE_OPERATOR,
	MODEL_ROLE_COUNT
};
/* "none", "reader", "deployer", "admin", "fleet", "operator"; the inverse returns MODEL_ROLE_COUNT when unknown. */
const char *model_role_name(enum model_role r);
enum model_role model_role_parse(const char *s);

/* A named set of limits that an operator defines.  A tenant on a plan has its quota, but for the values that are the
 * tenant's own; an app without limits of its own follows the limits. */
struct model_plan {
	int64_t id;
	char name[LIMIT_PLAN_NAME + 1];
	struct quota quota;
	struct quota_limits limits;
	uint32_t profile; /* enum quota_profile */
	bool private_layers;
	struct quota_egress egress;
	int64_t created_ms;
};

/* What a tenant on a plan may have of its own: bit i is the i-th number of quota_key(), and these. */
#define MODEL_OWN_PROFILE (1u << 29)
#define MODEL_OWN_LAYERS (1u << 30)
#define MODEL_OWN_EGRESS (1u << 31)
#define MODEL_OWN_BITS 32u
/* The name of a bit, as in the database ("memory") or in JSON ("memory_bytes"); NULL when it stands for nothing. */
const char *model_own_name(unsigned bit, bool json);

struct model_tenant {
	int64_t id;
	char name[LIMIT_TENANT_NAME + 1];
	uint32_t slot; /* index of its uid range: ids uid_base + slot * 65536 ...; unique among living tenants */
	int64_t plan;  /* 0 = none: quota, profile and egress are its own */
	uint32_t own;  /* MODEL_OWN_*: of these the tenant's value holds, not the plan's; 0 without a plan */
	char plan_name[LIMIT_PLAN_NAME + 1];
	struct quota quota;
	uint32_t profile;    /* enum quota_profile: no app of it is less strict */
	bool private_layers; /* its instances share no file of the stack with other tenants */
	struct quota_egress egress;
	int64_t created_ms;
};

struct model_token {
	int64_t id;
	int64_t tenant; /* 0 for operator and fleet */
	enum model_role role;
	char name[LIMIT_TOKEN_NAME + 1];
	char hint[9]; /* first characters of the secret, for lists */
	int64_t created_ms, used_ms;
};

/* The next release that is deployed becomes the canary instead of being rolled out. */
#define MODEL_CANARY_NEXT (-1)

struct model_app {
	int64_t id, tenant;
	char name[LIMIT_APP_NAME + 1];
	char tenant_name[LIMIT_TENANT_NAME + 1]; /* filled by the store for convenience */
	int64_t release;			 /* live release, 0 before the first deploy */
	int64_t candidate;			 /* release being rolled out, 0 when none */
	int64_t canary; /* release that serves a part of the requests beside the live one; 0 = none, or
			   MODEL_CANARY_NEXT */
	struct quota_limits limits;
	bool limits_own;	    /* set for this app; else they follow the tenant's plan */
	uint32_t profile;	    /* enum quota_profile: the stricter of this and the tenant's holds */
	struct quota_egress egress; /* within the tenant's */
	char health_path[256];	    /* "" = TCP connect */
	bool paused;		    /* operator or owner stopped it: formation is kept, nothing runs */
	uint32_t https;		    /* enum model_https */
	uint32_t hsts_s;	    /* browsers are told to use https alone for so long; 0 = not told */
	int64_t created_ms;
};

/* How an app is served once the node listens for https. */
enum model_https { MODEL_HTTPS_ON, MODEL_HTTPS_OFF, MODEL_HTTPS_REDIRECT, MODEL_HTTPS_COUNT };
/* "on", "off", "redirect"; the inverse returns MODEL_HTTPS_COUNT when unknown. */
const char *model_https_name(enum model_https h);
enum model_https model_https_parse(const char *s);

/* How it was proved that a domain belongs to who added it. */
enum model_proof {
	MODEL_PROOF_WANTED,   /* not yet: the domain is pending and serves nothing */
	MODEL_PROOF_NONE,     /* the node asked for none */
	MODEL_PROOF_OPERATOR, /* the operator's word */
	MODEL_PROOF_PARENT,   /* it lies below a wildcard that the tenant has proved */
	MODEL_PROOF_DNS,      /* a TXT record of _tulou.<host> */
	MODEL_PROOF_HTTP,     /* a file of the host's own web server */
	MODEL_PROOF_COUNT
};
const char *model_proof_name(enum model_proof p); /* "wanted", "none", "operator", "parent", "dns", "http" */

/* A domain of an app besides <app>.<base domain>.  Several apps may want the same; at most one has proved it. */
#define MODEL_TOKEN 40
struct model_domain {
	int64_t app, tenant;
	char host[LIMIT_HOST + 1]; /* exact, or "*.x" */
	enum model_proof proof;
	char token[MODEL_TOKEN + 1]; /* what the record or the file must hold: "tulou-" and 32 hex digits */
	uint32_t tries;		     /* checks that found no proof */
	int64_t created_ms, checked_ms, proved_ms;
	int64_t next_ms; /* of the next check, 0 = only when asked for */
	char error[160]; /* what the last check found; "" = nothing to say */
};

/* How a release takes the place of another.  AUTO: as the release itself says (tulou.yaml), else start-first. */
enum model_rollout { MODEL_ROLLOUT_AUTO, MODEL_ROLLOUT_START_FIRST, MODEL_ROLLOUT_HOLD, MODEL_ROLLOUT_COUNT };
/* "auto", "start-first", "hold"; the inverse returns MODEL_ROLLOUT_COUNT when unknown. */
const char *model_rollout_name(enum model_rollout r);
enum model_rollout model_rollout_parse(const char *s);

/* How the requests of an app are served; all 0 unless it was set. */
struct model_serving {
	uint32_t concurrency; /* requests that one instance has at a time; 0 = not limited */
	uint32_t drain_s;     /* time for open connections when an instance leaves; 0 = the node's */
	uint32_t rollout;     /* enum model_rollout */
	uint32_t access_log;  /* the app's own: 0 = none, n = one request of n */
	bool hold;	      /* its requests wait, whatever runs */
};

enum model_cert_origin { MODEL_CERT_UPLOADED, MODEL_CERT_SELF, MODEL_CERT_ACME, MODEL_CERT_ORIGIN_COUNT };
const char *model_cert_origin_name(enum model_cert_origin o); /* "uploaded", "self-signed", "acme" */

/* A certificate without its key. */
struct model_cert {
	int64_t id, app; /* app 0 = the node's own */
	enum model_cert_origin origin;
	const char *names; /* borrowed: in lower case, separated by spaces */
	char issuer[128];
	char kind[16]; /* "ecdsa-256", "rsa-2048" */
	char sha256[65];
	int64_t not_before_ms, not_after_ms, created_ms;
};

enum model_staple_state { MODEL_STAPLE_NONE, MODEL_STAPLE_GOOD, MODEL_STAPLE_REVOKED, MODEL_STAPLE_STATE_COUNT };
const char *model_staple_state_name(enum model_staple_state s); /* "none", "good", "revoked" */

/* What the responder said of a certificate last (OCSP), without its words. */
struct model_staple {
	enum model_staple_state state;
	int64_t this_ms, next_ms; /* of the response; next_ms 0 = it does not say */
	int64_t until_ms;	  /* it may be handed out; 0 = there is none */
	int64_t revoked_ms;
	int64_t due_ms; /* when it is asked again */
	uint32_t failures;
	char error[200]; /* of the last try; "" = none */
};

/* A name that a certificate is ordered for (ACME).  Texts are borrowed. */
struct model_acme {
	const char *host;
	int64_t app;	       /* 0 = the node's own */
	const char *key;       /* PEM, of the certificate to come; "" = none yet */
	const char *order_url; /* of the order under way; "" = none */
	uint32_t challenge;    /* to be tried next: 0 http-01, 1 tls-alpn-01 */
	uint32_t failures;     /* in a row */
	int64_t next_ms;       /* not before */
	int64_t window_ms;     /* the hour in which window_count orders were begun */
	uint32_t window_count;
	const char *error; /* of the last try, one sentence; "" = none */
};

struct model_type {
	char name[LIMIT_TYPE_NAME + 1];
	char command[LIMIT_COMMAND + 1];
};

enum model_release_state {
	MODEL_RELEASE_PENDING,
	MODEL_RELEASE_LIVE,
	MODEL_RELEASE_FAILED,
	MODEL_RELEASE_RETIRED,
	MODEL_RELEASE_STATE_COUNT
};
const char *model_release_state_name(enum model_release_state s); /* "pending", "live", "failed", "retired" */

struct model_release {
	int64_t id, app;
	uint32_t version; /* 1, 2, ... per app: shown as v1 */
	int64_t build;	  /* the build whose tree it runs: <data>/releases/<build> */
	enum model_release_state state;
	int64_t origin;	  /* the first release with this build and config, of one that repeats it (rollback, restart); 0
			   */
	char note[256];	  /* "Deploy 3f2a91c", "Set config FOO", "Rollback to v3 (build 12)" */
	char *types_json; /* owned (model_release_done): {"web":"command", ...} */
	char *config_json; /* owned: {"KEY":"value", ...} */
	char *app_json; /* owned: what tulou.yaml/app.json said that matters at run time: {"health_path":...} or {} */
	int64_t created_ms;
};
void model_release_done(struct model_release *r);

enum model_build_state { MODEL_BUILD_RUNNING, MODEL_BUILD_SUCCEEDED, MODEL_BUILD_FAILED, MODEL_BUILD_STATE_COUNT };
const char *model_build_state_name(enum model_build_state s); /* "running", "succeeded", "failed" */

struct model_build {
	int64_t id, app;
	enum model_build_state state;
	char source[16];    /* "git" or "tarball" */
	char commit[65];    /* "" for a tarball */
	char buildpack[32]; /* "" until detected */
	char error[256];    /* why it failed, one sentence */
	char limit[24];	    /* which limit refused it, "quota.memory"; "" else.  Not kept: for who waits */
	uint64_t bytes;	    /* size of the release tree */
	int64_t created_ms, finished_ms;
};

struct model_formation {
	char type[LIMIT_TYPE_NAME + 1];
	uint32_t count;
};

/* States of an instance; drawn and enforced in scheduler/instance.h.
 *   starting -> running(healthy) -> draining -> stopping -> exited */
enum model_instance_state {
	MODEL_INSTANCE_STARTING,
	MODEL_INSTANCE_RUNNING,
	MODEL_INSTANCE_DRAINING,
	MODEL_INSTANCE_STOPPING,
	MODEL_INSTANCE_EXITED,
	MODEL_INSTANCE_STATE_COUNT
};
const char *model_instance_state_name(enum model_instance_state s);

struct model_instance {
	int64_t id, app, release;
	char type[LIMIT_TYPE_NAME + 1];
	enum model_instance_state state;
	int64_t created_ms, exited_ms;
	int32_t exit_code; /* 0..255, or 128 + signal */
	char reason[160];  /* why it ended, for its owner; "" while it lives */
};

struct model_event {
	int64_t id; /* grows by time: the cursor of followers */
	int64_t time_ms;
	int64_t tenant, app, instance; /* 0 = not about one */
	char kind[32];	/* "app.created", "deploy.succeeded", "instance.oom", ... listed in store/README.md */
	char text[384]; /* one sentence for a person */
};

#endif
