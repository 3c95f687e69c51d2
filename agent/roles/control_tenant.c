/* Tenants in memory: their totals and what the supervisor knows of them, limits of running instances, what is used.
 * Layer agent, control process.
 *
 *   store changed -> control_tenant_changed() -> MSG_TENANT, when the supervisor knows the tenant already
 *                                             -> each of its apps: limits and egress read again -> MSG_LIMITS
 *   app changed   -> control_app_relimit()    -> MSG_LIMITS for each running instance that differs
 *   synced        -> both, for all that runs: a change may have been committed by a control that died before it could
 *                    tell.  The supervisor leaves what is so already. */
#include "agent/roles/control_core.h"

#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TENANT_USAGE_STALE_MS 60000 /* an older sample is of a group that is gone */
#define TENANT_APART 3		    /* so many apps that follow one change have an event each */
#define TENANT_POOL_FULL 16	    /* one part in so many of its bound is left: less than what a deploy takes */

struct control_tenant *control_tenant_get(struct control *c, int64_t id)
{
	struct control_tenant *t = map_get(c->tenants, &id, sizeof id);

	if (t)
		return t;
	t = calloc(1, sizeof *t);
	if (!t || store_tenant_get(c->store, id, &t->rec, NULL) < 0 ||
	    map_put(c->tenants, &t->rec.id, sizeof t->rec.id, t) < 0) {
		free(t);
		return NULL;
	}
	TAILQ_INIT(&t->peers);
	return t;
}

void control_tenant_tell(struct control *c, struct control_tenant *t)
{
	struct msg_tenant m = {.tenant = (uint64_t)t->rec.id, .slot = t->rec.slot, .quota = t->rec.quota};

	if (t->is_told && memcmp(&t->told, &t->rec.quota, sizeof t->told) == 0)
		return;
	t->told = t->rec.quota;
	t->is_told = true;
	control_send(c, MSG_TENANT, &m, sizeof m, NULL, 0);
}

/* "memory 4 GiB → 2 GiB, pids 100 → 200"; what does not fit is left out.  False when nothing differs. */
static bool tenant_changes(enum quota_of of, const void *was, const void *is, char *out, size_t cap)
{
	const struct quota_key *k;
	size_t n = 0;

	*out = 0;
	for (unsigned i = 0; (k = quota_key(i)) && n + 100 < cap; i++) {
		char a[QUOTA_TEXT], b[QUOTA_TEXT];
		if (!quota_has(k, of) || quota_get(k, of, was) == quota_get(k, of, is))
			continue;
		quota_text(k, quota_get(k, of, was), a);
		quota_text(k, quota_get(k, of, is), b);
		n += (size_t)snprintf(out + n, cap - n, "%s%s %s → %s", n ? ", " : "", k->text, a, b);
	}
	return n > 0;
}

/* Apps whose limits follow the tenant's, all by the same. */
struct tenant_moved {
	unsigned count, named;
	char text[200]; /* of the first of them */
	char names[90]; /* of `named` of them, "a, b" */
};

/* Puts the app among them; one that moved otherwise has an event of its own. */
static void tenant_moved(struct tenant_moved *m, struct control_app *ca, const struct model_app *old)
{
	size_t n = strlen(m->names);
	char text[sizeof m->text];

	if (!tenant_changes(QUOTA_OF_LIMITS, &old->limits, &ca->rec.limits, text, sizeof text))
		return;
	if (m->count && strcmp(text, m->text) != 0) {
		control_event(ca->control, ca, 0, "app.limits", "Limits of each instance changed: %s", text);
		return;
	}
	memcpy(m->text, text, sizeof text);
	m->count++;
	ca->is_moved = true;
	if (m->named + 1 < m->count || n + strlen(ca->rec.name) + 3 > sizeof m->names)
		return;
	snprintf(m->names + n, sizeof m->names - n, "%s%s", n ? ", " : "", ca->rec.name);
	m->named++;
}

/* One event for many: else a plan's change would push all else out of the list. */
static void tenant_moved_tell(struct control *c, struct control_tenant *t, const struct tenant_moved *m)
{
	struct control_app *ca;

	if (m->count > TENANT_APART)
		control_tenant_event(c, t, "app.limits", "Limits of each instance of %u apps changed: %s (%s%s)",
				     m->count, m->text, m->names, m->named < m->count ? ", …" : "");
	TAILQ_FOREACH(ca, &t->peers, peer)
	{
		if (ca->is_moved && m->count <= TENANT_APART)
			control_event(c, ca, 0, "app.limits", "Limits of each instance changed: %s", m->text);
		ca->is_moved = false;
	}
}

static void tenant_refresh(struct control *c, struct control_tenant *t, const struct model_tenant *fresh)
{
	struct model_tenant was = t->rec;
	struct tenant_moved moved = {0};
	struct control_app *ca;
	char text[300];

	t->rec = *fresh;
	if (was.plan != fresh->plan)
		control_tenant_event(c, t, "tenant.plan", fresh->plan ? "On plan %s" : "No longer on a plan%s",
				     fresh->plan_name);
	if (tenant_changes(QUOTA_OF_TENANT, &was.quota, &fresh->quota, text, sizeof text))
		control_tenant_event(c, t, "tenant.quota", "Quota changed: %s", text);
	t->is_lowered = t->is_lowered || fresh->quota.memory < was.quota.memory;
	if (t->is_told)
		control_tenant_tell(c, t);
	TAILQ_FOREACH(ca, &t->peers, peer)
	{
		struct model_app old = ca->rec, now;
		if (ca->deleted || store_app_get(c->store, ca->rec.id, &now, NULL) < 0)
			continue;
		ca->rec.limits = now.limits;
		ca->rec.limits_own = now.limits_own;
		tenant_moved(&moved, ca, &old);
		old.limits = now.limits; /* told already */
		control_app_relimit(ca, &old);
		control_front_load(ca); /* its totals are told with its apps */
		control_touch(ca);	/* the quota may allow more now */
	}
	tenant_moved_tell(c, t, &moved);
}

void control_tenant_changed(struct control *c, int64_t id)
{
	struct control_tenant *t = map_get(c->tenants, &id, sizeof id);
	struct model_tenant fresh;
	struct err e = {0};
	int r = store_tenant_get(c->store, id, &fresh, &e);

	if (t && r == 0) {
		tenant_refresh(c, t, &fresh);
	} else if (t && r == -ENOENT && t->apps == 0 && t->used.instances == 0) {
		control_throttle_tenant_gone(c, t);
		map_del(c->tenants, &id, sizeof id);
		free(t);
	}
}

/* --- running instances ------------------------------------------------------------------------------------------ */

void control_egress(const struct control_app *ca, struct quota_egress *ret)
{
	const struct model_tenant *t = &ca->tenant->rec;

	quota_egress_meet(&t->egress, &ca->rec.egress, ret);
	if (t->profile == QUOTA_PROFILE_STRICT || ca->rec.profile == QUOTA_PROFILE_STRICT)
		*ret = (struct quota_egress){.mode = QUOTA_EGRESS_NONE};
}

static bool instance_stays(const struct control_instance *ci)
{
	return ci->rec.state == MODEL_INSTANCE_STARTING || ci->rec.state == MODEL_INSTANCE_RUNNING ||
	       ci->rec.state == MODEL_INSTANCE_DRAINING;
}

void control_app_relimit(struct control_app *ca, const struct model_app *was)
{
	struct control *c = ca->control;
	struct control_instance *ci;
	struct quota_egress egress;
	char text[300];

	if (was && tenant_changes(QUOTA_OF_LIMITS, &was->limits, &ca->rec.limits, text, sizeof text))
		control_event(c, ca, 0, "app.limits", "Limits of each instance changed: %s", text);
	if (was && memcmp(&was->egress, &ca->rec.egress, sizeof was->egress) != 0) {
		char from[QUOTA_EGRESS_MAX], to[QUOTA_EGRESS_MAX];
		quota_egress_text(&was->egress, from);
		quota_egress_text(&ca->rec.egress, to);
		control_event(c, ca, 0, "app.egress", "Egress changed: %.140s → %.140s", from, to);
	}
	if (was && was->profile != ca->rec.profile)
		control_event(c, ca, 0, "app.profile",
			      "Profile changed: %s → %s, egress at once, the rest for what starts from now on",
			      quota_profile_name((enum quota_profile)was->profile),
			      quota_profile_name((enum quota_profile)ca->rec.profile));
	control_egress(ca, &egress);
	TAILQ_FOREACH(ci, &ca->instances, link)
	{
		struct msg_limits m = {.instance = (uint64_t)ci->rec.id, .limits = ca->rec.limits, .egress = egress};
		bool same = memcmp(&ci->limits, &m.limits, sizeof m.limits) == 0 &&
			    memcmp(&ci->egress, &egress, sizeof egress) == 0;

		if (!instance_stays(ci) || (was && same))
			continue;
		control_charge(c, ca->tenant, &ci->limits, -1);
		ci->limits = m.limits;
		control_charge(c, ca->tenant, &ci->limits, 1);
		ci->egress = egress;
		control_names_instance(ci);
		if (c->synced)
			control_send(c, MSG_LIMITS, &m, sizeof m, NULL, 0);
	}
}

void control_tenant_synced(struct control *c)
{
	struct control_app *ca;

	TAILQ_FOREACH(ca, &c->all, link)
	{
		if (ca->instance_count == 0)
			continue;
		control_tenant_tell(c, ca->tenant);
		control_app_relimit(ca, NULL);
	}
}

/* --- what is used ----------------------------------------------------------------------------------------------- */

struct plan_capacity control_tenant_committed(const struct control_tenant *t)
{
	struct plan_capacity used = t->used;

	used.disk += t->disk;
	return used;
}

/* A lowered total that is exceeded by what is in use: nothing is killed for it, so it must be said. */
static void tenant_pending(struct control *c, struct control_tenant *t, const struct msg_tenant_usage *u)
{
	bool memory = u->pending && u->memory > t->rec.quota.memory, pids = u->pids > t->rec.quota.pids;
	char used[32], quota[32];

	t->is_lowered = false;
	control_text_bytes(u->memory, used);
	control_text_bytes(t->rec.quota.memory, quota);
	if (memory && !t->memory_pending)
		control_tenant_event(c, t, "tenant.pending",
				     "Memory quota pending: %s in use is more than the new %s; it holds as soon as "
				     "that is freed or the instances restart",
				     used, quota);
	else if (!memory && t->memory_pending)
		control_tenant_event(c, t, "tenant.pending", "The memory quota of %s holds now", quota);
	if (pids && !t->pids_pending)
		control_tenant_event(c, t, "tenant.pending",
				     "Pids quota pending: %" PRIu32 " in use are more than the new %" PRIu32
				     "; none can be started until enough of them have ended",
				     u->pids, t->rec.quota.pids);
	t->memory_pending = memory;
	t->pids_pending = pids;
}

/* The same for whoever asks; just after the change by the last sample. */
static void tenant_pending_text(const struct control_tenant *t, char *out, size_t cap)
{
	const struct msg_tenant_usage *u = &t->usage;
	bool fresh = u->tenant && control_now_ms() - t->usage_ms < TENANT_USAGE_STALE_MS;
	char used[32], quota[32];

	*out = 0;
	if (!fresh)
		return;
	control_text_bytes(u->memory, used);
	control_text_bytes(t->rec.quota.memory, quota);
	if (t->memory_pending || (t->is_lowered && u->memory > t->rec.quota.memory))
		snprintf(out, cap,
			 "memory: %s in use is more than the new %s; it holds as soon as that is freed or the "
			 "instances restart",
			 used, quota);
	else if (u->pids > t->rec.quota.pids)
		snprintf(out, cap,
			 "pids: %" PRIu32 " in use are more than the new %" PRIu32
			 "; none can be started until enough of them have ended",
			 u->pids, t->rec.quota.pids);
}

bool control_tenant_pool_full(const struct control_tenant *t, uint64_t *held, uint64_t *bound)
{
	const struct msg_tenant_usage *u = &t->usage;

	*held = u->disk;
	*bound = u->disk_bound;
	return u->tenant && control_now_ms() - t->usage_ms < TENANT_USAGE_STALE_MS && u->disk_bound &&
	       u->disk >= u->disk_bound - u->disk_bound / TENANT_POOL_FULL;
}

void control_on_tenant_usage(struct control *c, const struct msg_tenant_usage *u, size_t n)
{
	int64_t now = control_now_ms();

	for (size_t i = 0; i < n; i++) {
		int64_t id = (int64_t)u[i].tenant;
		struct control_tenant *t = map_get(c->tenants, &id, sizeof id);

		if (!t)
			continue;
		/* Counters that fell are those of a new group: the tenant had nothing running for a while. */
		if (t->usage.tenant && now > t->usage_ms && u[i].cpu_us >= t->usage.cpu_us)
			t->cpu_now = (double)(u[i].cpu_us - t->usage.cpu_us) / (double)(now - t->usage_ms) / 1000;
		control_hits_tenant(c, t, &u[i]);
		tenant_pending(c, t, &u[i]);
		t->usage = u[i];
		t->usage_ms = now;
	}
}

/* The sums of its instances, for what no group of its own was measured for. */
static void tenant_sums(const struct control_tenant *t, struct ops_tenant_usage *u)
{
	const struct control_instance *ci;
	const struct control_app *ca;

	u->disk = t->disk;
	TAILQ_FOREACH(ca, &t->peers, peer)
	{
		u->cpu_cores += (double)ca->cpu_now;
		u->cpu_us += control_app_cpu_us(ca);
		TAILQ_FOREACH(ci, &ca->instances, link)
		{
			u->memory += ci->usage.memory;
			u->memory_peak += ci->usage.memory_peak;
			u->throttled_us += ci->usage.throttled_us;
			u->io_read += ci->usage.io_read;
			u->io_write += ci->usage.io_write;
			u->net_in += ci->usage.net_in;
			u->net_out += ci->usage.net_out;
			u->disk += ci->usage.disk;
			u->inodes += (uint32_t)ci->usage.inodes;
			u->pids += ci->usage.pids;
			u->instances++;
		}
	}
}

void control_tenant_used(const struct control_tenant *t, struct quota *used, struct ops_tenant_usage *usage)
{
	struct plan_capacity sum = control_tenant_committed(t);

	*used = (struct quota){.memory = sum.memory,
			       .swap = sum.swap,
			       .disk = sum.disk,
			       .inodes = sum.inodes < UINT32_MAX ? (uint32_t)sum.inodes : UINT32_MAX,
			       .cpu = sum.cpu,
			       .pids = sum.pids,
			       .apps = t->apps,
			       .instances = sum.instances};
	*usage = (struct ops_tenant_usage){0};
	tenant_sums(t, usage);
	tenant_pending_text(t, usage->pending, sizeof usage->pending);
	usage->memory_hits = (uint32_t)t->memory_hits;
	usage->pids_hits = (uint32_t)t->pids_hits;
	usage->oom_kills = (uint32_t)t->oom_kills;
	usage->net_refused = t->net_refused;
	usage->confined_us = t->usage.confined_us;
	if (!t->usage.tenant || control_now_ms() - t->usage_ms > TENANT_USAGE_STALE_MS)
		return;
	usage->known = true;
	usage->memory = t->usage.memory;
	usage->memory_peak = t->usage.memory_peak;
	usage->throttled_us = t->usage.throttled_us;
	usage->io_read = t->usage.io_read;
	usage->io_write = t->usage.io_write;
	usage->pids = t->usage.pids;
	usage->cpu_cores = t->cpu_now;
}

/* --- operations of the API -------------------------------------------------------------------------------------- */

static void tenant_on_changed(void *ctx, int64_t tenant)
{
	control_tenant_changed(ctx, tenant);
	control_written(ctx);
}

static void tenant_on_used(void *ctx, int64_t tenant, struct quota *used, struct ops_tenant_usage *usage)
{
	struct control *c = ctx;
	const struct control_tenant *t = map_get(c->tenants, &tenant, sizeof tenant);

	*used = (struct quota){0};
	*usage = (struct ops_tenant_usage){0};
	if (t)
		control_tenant_used(t, used, usage);
}

/* What runs already must fit with them too. */
static int tenant_limits_fit(void *ctx, int64_t app, const struct quota_limits *limits, struct err *e)
{
	struct control *c = ctx;
	struct control_app *ca = control_app_get(c, app);
	struct plan_capacity used, total = {.memory = c->host.memory * CONTROL_OVERCOMMIT};
	const struct control_instance *ci;
	unsigned count = 0;

	if (!ca)
		return 0;
	TAILQ_FOREACH(ci, &ca->instances, link)
	{
		count += instance_stays(ci);
	}
	used = control_tenant_committed(ca->tenant);
	if (plan_fits_more(&ca->rec.limits, limits, count, &used, &ca->tenant->rec.quota, &c->used, &total, e) < 0)
		return err_wrap(e, "tenant %s", ca->tenant->rec.name);
	return 0;
}

void control_tenant_init(struct control *c)
{
	c->ops.tenant_changed = tenant_on_changed;
	c->ops.tenant_used = tenant_on_used;
	c->ops.limits_fit = tenant_limits_fit;
}
