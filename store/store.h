/* The database: SQLite behind plain functions.  Layer store, control process only.
 *
 * Writes open a transaction when none is open; store_commit() ends it.  Control commits once per turn of its loop, and
 * answers a write only after that commit (WAL, synchronous=FULL), so an accepted write survives kill -9 and power loss.
 * Reads in the same process see uncommitted writes.  All functions: 0 or negative errno with e set; -ENOENT when the
 * thing does not exist, -EEXIST when the name is taken, -EDQUOT when a count in a quota is reached, -EIO for SQLite. */
#ifndef TULOU_STORE_STORE_H
#define TULOU_STORE_STORE_H

#include "base/err.h"
#include "store/model.h"

#include <stddef.h>

struct store;

/* Opens or creates dir/tulou.db, brings the schema up to date.  *ret is owned by the caller. */
int store_open(const char *dir, struct store **ret, struct err *e);
void store_close(struct store *s); /* commits nothing: an open transaction is rolled back */
int store_commit(struct store *s, struct err *e);
void store_rollback(struct store *s);
/* Looks for damage: fn gets one sentence for each, and may end the walk by a negative value.  How many, or negative
 * errno. */
int store_check(struct store *s, int (*fn)(void *arg, const char *text), void *arg, struct err *e);
bool store_dirty(const struct store *s); /* a transaction is open */
/* Number of the newest state change; any write that a fleet controller could see adds one. Survives restarts. */
uint64_t store_generation(const struct store *s);

/* Lists call fn for each row in order; fn returning non-zero ends the walk with that value. Rows are valid during the
 * call. limit 0 = no limit.  fn may call any function here, but not store_rollback. */
typedef int store_plan_fn(void *arg, const struct model_plan *p);
typedef int store_tenant_fn(void *arg, const struct model_tenant *t);
typedef int store_token_fn(void *arg, const struct model_token *t);
typedef int store_app_fn(void *arg, const struct model_app *a);
typedef int store_release_fn(void *arg, const struct model_release *r);
typedef int store_build_fn(void *arg, const struct model_build *b);
typedef int store_instance_fn(void *arg, const struct model_instance *i);
typedef int store_event_fn(void *arg, const struct model_event *ev);
typedef int store_pair_fn(void *arg, const char *key, const char *value);

/* Tenants. quota == NULL: defaults. add fills t->id, slot, created_ms. */
int store_tenant_add(struct store *s, const char *name, const struct quota *quota, struct model_tenant *ret,
		     struct err *e);
int store_tenant_get(struct store *s, int64_t id, struct model_tenant *ret, struct err *e);
int store_tenant_find(struct store *s, const char *name, struct model_tenant *ret, struct err *e);
int store_tenant_list(struct store *s, int64_t after, unsigned limit, store_tenant_fn *fn, void *arg, struct err *e);
/* Sets plan, quota, profile, private_layers and egress.  With t->plan the other four become the plan's but for what
 * t->own names, in *t too (a bit whose value is the plan's is cleared); without, they are what *t says and the tenant
 * leaves its plan.  Its apps that have no limits of their own get the plan's, else `follow` (NULL: they keep theirs),
 * lowered to the quota.  All or nothing; -ENOENT: no such tenant or plan (field "plan"). */
int store_tenant_set(struct store *s, struct model_tenant *t, const struct quota_limits *follow, struct err *e);
/* -EBUSY while it has apps.  Deletes its tokens. */
int store_tenant_del(struct store *s, int64_t id, struct err *e);
void store_quota_default(struct quota *ret);

/* Plans.  add fills id and created_ms.  update gives all of it to the tenants on the plan (what is a tenant's own
 * stays), and its limits (lowered to the quota) to those of their apps that have none of their own, in the same
 * transaction.  del: -EBUSY while tenants are on it. */
int store_plan_add(struct store *s, const struct model_plan *p, struct model_plan *ret, struct err *e);
int store_plan_get(struct store *s, int64_t id, struct model_plan *ret, struct err *e);
int store_plan_find(struct store *s, const char *name, struct model_plan *ret, struct err *e);
int store_plan_list(struct store *s, int64_t after, unsigned limit, store_plan_fn *fn, void *arg, struct err *e);
int store_plan_update(struct store *s, const struct model_plan *p, struct err *e);
int store_plan_tenants(struct store *s, int64_t id, unsigned *ret, struct err *e); /* how many are on it */
int store_plan_del(struct store *s, int64_t id, struct err *e);

/* Tokens: secret is "tul_" + 43 characters (256 random bits, base64url), returned once and stored as HMAC-SHA256 under
 * a key of the database. */
#define STORE_SECRET_MAX 64
int store_token_add(struct store *s, int64_t tenant, enum model_role role, const char *name,
		    char secret[STORE_SECRET_MAX], struct model_token *ret, struct err *e);
/* Finds the token of a presented secret (constant-time compare); -ENOENT when unknown. Notes its use at most once a
 * minute. */
int store_token_check(struct store *s, const char *secret, size_t n, struct model_token *ret, struct err *e);
int store_token_list(struct store *s, int64_t tenant, store_token_fn *fn, void *arg, struct err *e);
int store_token_del(struct store *s, int64_t tenant, int64_t id, struct err *e);
unsigned store_token_count(struct store *s); /* all of them: 0 on a first start */

/* Apps.  limits are copied from `limits`; own: they stay when the tenant's plan changes.  del removes everything that
 * hangs on it but events and builds: those are returned by store_build_unused until their trees have been removed. */
int store_app_add(struct store *s, int64_t tenant, const char *name, const struct quota_limits *limits, bool own,
		  struct model_app *ret, struct err *e);
int store_app_get(struct store *s, int64_t id, struct model_app *ret, struct err *e);
int store_app_find(struct store *s, const char *name, struct model_app *ret, struct err *e);
/* tenant 0 = all; ordered by id, starting after `after`. */
int store_app_list(struct store *s, int64_t tenant, int64_t after, unsigned limit, store_app_fn *fn, void *arg,
		   struct err *e);
int store_app_update(struct store *s, const struct model_app *a,
		     struct err *e); /* release, candidate, limits, profile, egress, health_path, paused */
int store_app_del(struct store *s, int64_t id, struct err *e);
unsigned store_app_count(struct store *s, int64_t tenant);

/* Config vars of the next release (the live one's snapshot is in its release). value NULL = delete. */
int store_config_set(struct store *s, int64_t app, const char *key, const char *value, struct err *e);
int store_config_list(struct store *s, int64_t app, store_pair_fn *fn, void *arg, struct err *e);
/* As one JSON object text, owned by the caller (free). */
int store_config_json(struct store *s, int64_t app, char **ret, struct err *e);
/* What a release that is made now gets: `defaults` (JSON object text, what the app's files say; NULL: nothing) with the
 * app's own vars on top.  As above. */
int store_config_release(struct store *s, int64_t app, const char *defaults, char **ret, struct err *e);

int store_formation_set(struct store *s, int64_t app, const char *type, uint32_t count, struct err *e);
/* Fills at most cap rows, returns the count or negative errno; ordered by type. */
int store_formation_get(struct store *s, int64_t app, struct model_formation *ret, unsigned cap, struct err *e);

/* Domains besides <app>.<base domain> (which needs no proof and is no row here).
 * add: proof MODEL_PROOF_WANTED makes it pending; it is proved at once when the tenant has proved a wildcard above it.
 *   -EEXIST when the app or another of its tenant has it, or, for one that is to be proved at once, anybody has proved
 *   it.  ret may be NULL.
 * set: writes proof, tries, times and error.  Who proves what another app had takes it: that one is pending again.
 * list: those that are proved, key = host, value = "": routes and certificates go by this one.  all: pending ones too.
 * holder: the app that has proved this very name ("*.x" as it is written); -ENOENT when none has.
 * due: pending ones whose next check has come, longest waiting first. */
typedef int store_domain_fn(void *arg, const struct model_domain *d);
int store_domain_add(struct store *s, int64_t app, const char *host, enum model_proof proof, struct model_domain *ret,
		     struct err *e);
int store_domain_del(struct store *s, int64_t app, const char *host, struct err *e);
int store_domain_get(struct store *s, int64_t app, const char *host, struct model_domain *ret, struct err *e);
int store_domain_set(struct store *s, const struct model_domain *d, struct err *e);
int store_domain_list(struct store *s, int64_t app, store_pair_fn *fn, void *arg, struct err *e);
int store_domain_all(struct store *s, int64_t app, store_domain_fn *fn, void *arg, struct err *e);
/* The rows of other apps for the same host, proved or not; tenant 0: of all tenants. */
int store_domain_others(struct store *s, const struct model_domain *d, int64_t tenant, unsigned limit,
			store_domain_fn *fn, void *arg, struct err *e);
int store_domain_holder(struct store *s, const char *host, int64_t *app, struct err *e);
int store_domain_due(struct store *s, int64_t now_ms, unsigned limit, store_domain_fn *fn, void *arg, struct err *e);

/* Settings of an app's front door, JSON that is not looked at here: *ret is the caller's; -ENOENT when it has none. */
int store_front_get(struct store *s, int64_t app, char **ret, struct err *e);
int store_front_set(struct store *s, int64_t app, const char *json, struct err *e);

/* Certificates; app 0: the node's own.  An app has at most LIMIT_CERTS_APP.  Their text is not looked at here. */
typedef int store_cert_fn(void *arg, const struct model_cert *c);
int store_cert_add(struct store *s, struct model_cert *c, const char *chain, const char *key,
		   struct err *e); /* fills id, created_ms */
int store_cert_del(struct store *s, int64_t app, int64_t id, struct err *e);
int store_cert_list(struct store *s, int64_t app, store_cert_fn *fn, void *arg, struct err *e); /* oldest first */
/* Of all apps and the node, those that end before then, the first to end first; at most `limit`. */
int store_cert_expiring(struct store *s, int64_t before_ms, unsigned limit, store_cert_fn *fn, void *arg,
			struct err *e);
/* Chain and key, one after the other: *ret is the caller's to overwrite and free. */
int store_cert_text(struct store *s, int64_t id, char **ret, struct err *e);

/* What responders said of certificates, by the leaf's SHA-256 in hex.  set: response NULL keeps the one that is there
 * unless r->until_ms is 0; response: *ret is the caller's.  -ENOENT when there is none.  sweep drops what was due
 * before the time: its certificate is gone. */
int store_staple_get(struct store *s, const char *sha256, struct model_staple *ret, struct err *e);
int store_staple_set(struct store *s, const char *sha256, const struct model_staple *r, const void *response, size_t n,
		     struct err *e);
int store_staple_response(struct store *s, const char *sha256, void **ret, size_t *n, struct err *e);
int store_staple_del(struct store *s, const char *sha256, struct err *e);
int store_staple_sweep(struct store *s, int64_t due_before_ms, struct err *e);

/* Accounts at authorities (ACME), by the directory's URL.  *key (PEM) and *url ("" = not registered) are the caller's
 * to overwrite and free. */
int store_acme_account_get(struct store *s, const char *directory, char **key, char **url, struct err *e);
int store_acme_account_set(struct store *s, const char *directory, const char *key, const char *url, struct err *e);
/* Names that certificates are ordered for: set adds or replaces; del of one that is not there is success. */
typedef int store_acme_fn(void *arg, const struct model_acme *n);
int store_acme_name_set(struct store *s, const struct model_acme *n, struct err *e);
int store_acme_name_del(struct store *s, const char *host, struct err *e);
int store_acme_name_list(struct store *s, store_acme_fn *fn, void *arg, struct err *e); /* by host */

/* Builds and releases. */
int store_build_add(struct store *s, int64_t app, const char *source, const char *commit, struct model_build *ret,
		    struct err *e);
int store_build_update(struct store *s, const struct model_build *b, struct err *e);
int store_build_get(struct store *s, int64_t id, struct model_build *ret, struct err *e);
int store_build_list(struct store *s, int64_t app, int64_t before, unsigned limit, store_build_fn *fn, void *arg,
		     struct err *e); /* newest first; before 0 = from the end; app 0 = all */
/* Fills id, version, created_ms; state pending. */
int store_release_add(struct store *s, struct model_release *r, struct err *e);
/* One that has served (retired) never becomes failed: it stays one to go back to. */
int store_release_state(struct store *s, int64_t id, enum model_release_state state, struct err *e);
int store_release_get(struct store *s, int64_t id, struct model_release *ret,
		      struct err *e); /* ret to be freed by model_release_done */
int store_release_find(struct store *s, int64_t app, uint32_t version, struct model_release *ret, struct err *e);
int store_release_list(struct store *s, int64_t app, int64_t before, unsigned limit, store_release_fn *fn, void *arg,
		       struct err *e); /* newest first */
/* Builds whose trees no release within the newest `keep` of its app refers to: for garbage collection. */
int store_build_unused(struct store *s, unsigned keep, store_build_fn *fn, void *arg, struct err *e);
int store_build_del(struct store *s, int64_t id, struct err *e);

/* Instances: the record outlives the process so that owners can read why it ended. */
int store_instance_add(struct store *s, struct model_instance *i, struct err *e); /* fills id, created_ms */
int store_instance_update(struct store *s, const struct model_instance *i, struct err *e);
int store_instance_list(struct store *s, int64_t app, bool alive_only, store_instance_fn *fn, void *arg,
			struct err *e); /* app 0 = all */
int store_instance_prune(struct store *s, unsigned keep_per_app, struct err *e);

/* How an app's requests are served; all 0 for one that was never set. */
int store_serving_get(struct store *s, int64_t app, struct model_serving *ret, struct err *e);
int store_serving_set(struct store *s, int64_t app, const struct model_serving *f, struct err *e);

/* Events: bounded to the newest 100,000 of the node and 1,000 per app by store_event_prune. */
int store_event_add(struct store *s, struct model_event *ev, struct err *e); /* fills id, time_ms (when 0) */
int store_event_list(
	struct store *s, int64_t tenant, int64_t app, int64_t after, unsigned limit, store_event_fn *fn, void *arg,
	struct err *e); /* oldest first after id `after`; after < 0: the newest `limit`, still oldest first */
int store_event_prune(struct store *s, struct err *e);

/* Usage, added up per app and hour. */
struct store_usage {
	int64_t hour_ms;
	uint64_t cpu_us, memory_byte_seconds, requests, bytes_in, bytes_out;
};
int store_usage_add(struct store *s, int64_t app, const struct store_usage *u, struct err *e);
typedef int store_usage_fn(void *arg, int64_t app, const struct store_usage *u);
int store_usage_list(struct store *s, int64_t tenant, int64_t since_ms, store_usage_fn *fn, void *arg, struct err *e);

/* Small node values: "fleet.epoch", "node.eligible", ... *ret owned by the caller, -ENOENT when unset. */
int store_meta_get(struct store *s, const char *key, char **ret, struct err *e);
int store_meta_set(struct store *s, const char *key, const char *value, struct err *e); /* value NULL = unset */

/* Idempotency-Key: the answer given before for (token, key), or -ENOENT; put keeps it for 24 h. */
int store_idem_get(struct store *s, int64_t token, const char *key, const char *request_hash, int *status, char **body,
		   struct err *e); /* -EEXIST: same key, other request */
int store_idem_put(struct store *s, int64_t token, const char *key, const char *request_hash, int status,
		   const char *body, struct err *e);

#endif
