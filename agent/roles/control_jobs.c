/* Sandboxed jobs, and what builds need of control: launches, releases, roll-outs.  Layer agent, control process. */
#include "agent/roles/control_core.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CONTROL_JOB_BIT (1ull << 62)
#define CONTROL_JOB_RUN_SHIFT 24 /* 16 million jobs per run of control; runs are numbered in the store */

/* --- jobs --------------------------------------------------------------------------------------------------------- */

bool control_is_job(uint64_t id)
{
	return (id & CONTROL_JOB_BIT) != 0;
}

bool control_was_job(const struct control *c, uint64_t id)
{
	uint64_t n = id & ~CONTROL_JOB_BIT;

	return control_is_job(id) && n >> CONTROL_JOB_RUN_SHIFT == c->run &&
	       (n & ((1ull << CONTROL_JOB_RUN_SHIFT) - 1)) <= c->job_next;
}

static void control_job_free(struct control *c, struct control_job *job)
{
	if (job->tenant)
		control_charge(c, job->kind == MSG_KIND_BUILD ? NULL : job->tenant, &job->limits, -1);
	control_throttle_gone(c, &job->use);
	map_del(c->jobs, &job->id, sizeof job->id);
	free(job);
}

/* Our duplicates of the blob and of the descriptors, for a message that may wait. */
static int control_job_fds(int blob, const int *fds, size_t nfds, int *ret, struct err *e)
{
	for (size_t i = 0; i <= nfds; i++) {
		ret[i] = fcntl(i ? fds[i - 1] : blob, F_DUPFD_CLOEXEC, 3);
		if (ret[i] < 0) {
			err_errno(e, "the node is short of descriptors");
			while (i)
				close(ret[--i]);
			return -e->code;
		}
	}
	return 0;
}

int control_job_start(void *ctx, struct build_job *j, struct msg_launch *m, int blob, const int *fds, size_t nfds,
		      struct err *e)
{
	struct control *c = ctx;
	struct control_app *ca = control_app_get(c, j->app);
	struct control_job *job;
	struct err local = {0};
	int out[FD_PASS_MAX] = {0};

	e = e ? e : &local;
	if (!ca || ca->deleted)
		return err_set(e, ENOENT, "the app does not exist");
	if (map_count(c->jobs) >= CONTROL_JOBS)
		return err_set(e, EAGAIN, "%u jobs run on this node: try again in a minute", CONTROL_JOBS);
	job = calloc(1, sizeof *job);
	if (!job)
		return err_set(e, ENOMEM, "out of memory");
	job->limits = m->limits;
	/* Builds and runs execute the tenant's code; git and the store are ours.  A build is bounded by the quota as a
	 * whole but does not compete with the tenant's running apps: at its quota it can still deploy. */
	if (m->kind == MSG_KIND_BUILD)
		quota_clamp(&job->limits, &ca->tenant->rec.quota);
	if ((m->kind == MSG_KIND_BUILD && control_fits_build(c, ca->tenant, &job->limits, e) < 0) ||
	    (m->kind == MSG_KIND_RUN && control_fits(c, ca->tenant, &job->limits, NULL, 0, e) < 0)) {
		free(job);
		return -EDQUOT;
	}
	if (control_job_fds(blob, fds, nfds, out, e) < 0) {
		free(job);
		return -e->code;
	}
	job->id = CONTROL_JOB_BIT | c->run << CONTROL_JOB_RUN_SHIFT | ++c->job_next;
	job->job = j;
	job->app = j->app;
	job->kind = m->kind;
	job->egress = m->egress.mode != QUOTA_EGRESS_NONE;
	if (map_put(c->jobs, &job->id, sizeof job->id, job) < 0) {
		for (size_t i = 0; i <= nfds; i++)
			close(out[i]);
		free(job);
		return err_set(e, ENOMEM, "out of memory");
	}
	if (m->kind == MSG_KIND_BUILD || m->kind == MSG_KIND_RUN) {
		job->tenant = ca->tenant;
		job->use = (struct control_use){
			.tenant = ca->tenant, .limits = &job->limits, .id = job->id, .slot = UINT32_MAX};
		control_charge(c, job->kind == MSG_KIND_BUILD ? NULL : ca->tenant, &job->limits, 1);
	}
	/* A build runs the tenant's code too.  And it may wait for the layers to be made, where an app may not: its
	 * roll-out has a deadline. */
	if (m->kind == MSG_KIND_BUILD)
		m->private_layers = ca->tenant->rec.private_layers;
	m->limits = job->limits;
	m->instance = job->id;
	m->tenant = (uint64_t)ca->rec.tenant;
	m->app = (uint64_t)ca->rec.id;
	m->slot = ca->tenant->rec.slot;
	memcpy(m->name, ca->rec.name, sizeof m->name);
	memcpy(m->tenant_name, ca->rec.tenant_name, sizeof m->tenant_name);
	j->id = job->id;
	control_tenant_tell(c, ca->tenant);
	control_send(c, MSG_LAUNCH, m, sizeof *m, out, nfds + 1);
	return 0;
}

void control_job_stop(void *ctx, struct build_job *j, bool forget)
{
	struct control *c = ctx;
	struct control_job *job = map_get(c->jobs, &j->id, sizeof j->id);
	struct msg_stop m = {.instance = j->id};

	if (!job)
		return;
	if (forget) {
		job->job = NULL;
		j->id = 0;
	}
	control_send(c, MSG_STOP, &m, sizeof m, NULL, 0);
}

void control_on_job(struct control *c, const struct msg_instance *m)
{
	struct control_job *job = map_get(c->jobs, &m->instance, sizeof m->instance);
	struct msg_forget forget = {m->instance};
	struct msg_stop stop = {.instance = m->instance};
	struct build_job *j;

	if (m->state == MSG_STATE_EXITED) {
		control_names_gone(c, m->instance, m->address);
		control_send(c, MSG_FORGET, &forget, sizeof forget, NULL, 0);
		if (!job)
			return;
		j = job->job;
		control_job_free(c, job);
		if (j) {
			j->id = 0;
			j->on_exit(j->arg, m);
		}
	} else if (!job && m->state != MSG_STATE_STOPPING) {
		/* Of an earlier control: its pipes are broken, its build is recorded as failed. */
		control_send(c, MSG_STOP, &stop, sizeof stop, NULL, 0);
	} else if (job) {
		control_names_job(c, m, job->egress);
	}
}

/* --- releases ----------------------------------------------------------------------------------------------------- */

int control_release(struct control_app *ca, const struct model_release *r, struct err *e)
{
	if (ca->rec.canary == MODEL_CANARY_NEXT)
		return control_canary_take(ca, r->id, e);
	if (!ca->rec.candidate)
		return control_candidate(ca, r->id, e);
	ca->next_release = r->id;
	return 0;
}

/* Types that appear for the first time get their count: what the app's files say, else one web. */
static int control_formation_default(struct control_app *ca, const struct manifest *m, struct err *e)
{
	struct control *c = ca->control;
	int r = 0;

	for (unsigned i = 0; i < m->app.type_count && r == 0; i++) {
		const char *type = m->app.types[i].name;
		uint32_t count = strcmp(type, "web") == 0;
		bool known = strcmp(type, "release") == 0;

		for (unsigned k = 0; k < ca->formation_count; k++)
			known = known || strcmp(ca->formation[k].type, type) == 0;
		for (unsigned k = 0; k < m->app.formation_count; k++)
			if (strcmp(m->app.formation[k].name, type) == 0)
				count = m->app.formation[k].count;
		if (!known)
			r = store_formation_set(c->store, ca->rec.id, type, count, e);
	}
	if (r == 0) {
		int n = store_formation_get(c->store, ca->rec.id, ca->formation, LIMIT_TYPES, e);
		r = n < 0 ? n : 0;
		ca->formation_count = n > 0 ? (unsigned)n : 0;
	}
	return r;
}

/* The app's files give a count to a process type that there is none of: a slip that nobody would see. */
static void control_formation_warn(struct control *c, const struct model_build *b, const struct manifest *m)
{
	char known[LIMIT_TYPES * (LIMIT_TYPE_NAME + 2) + 1] = "";
	size_t n = 0;

	for (unsigned i = 0; i < m->app.type_count; i++)
		n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", m->app.types[i].name);
	for (unsigned k = 0; k < m->app.formation_count; k++) {
		bool there = false;

		for (unsigned i = 0; i < m->app.type_count; i++)
			there = there || strcmp(m->app.formation[k].name, m->app.types[i].name) == 0;
		if (!there)
			build_say(c->builds, b->id,
				  " !     formation: there is no process type \"%s\", so its count is ignored; the "
				  "release has: %s\n",
				  m->app.formation[k].name, known);
	}
}

/* A health path may come from three places, so that there is none is seen only here. */
static void control_health_warn(struct control *c, const struct control_app *ca, const struct model_build *b,
				const struct manifest *m)
{
	if (m->app.health_every_ms && !m->app.health_path[0] && !ca->rec.health_path[0])
		build_say(c->builds, b->id,
			  " !     health.interval: no health path is set, so a running instance is only asked for a "
			  "connection; set health.path in tulou.yaml\n");
}

static int control_roll_out(void *ctx, const struct model_build *b, const struct manifest *m, const char *note,
			    uint32_t *version, struct err *e)
{
	struct control *c = ctx;
	struct control_app *ca = control_app_get(c, b->app);
	OWN_FREE char *defaults = json_dumps(m->app.env, JSON_COMPACT);
	struct model_release r = {.app = b->app, .build = b->id};
	int result;

	if (!ca || ca->deleted)
		return err_set(e, ENOENT, "the app was deleted");
	snprintf(r.note, sizeof r.note, "%s", note);
	r.types_json = manifest_types_json(m);
	r.app_json = manifest_app_json(m);
	result = r.types_json && r.app_json ? store_config_release(c->store, b->app, defaults, &r.config_json, e)
					    : err_set(e, ENOMEM, "the release cannot be made");
	if (result == 0)
		result = store_release_add(c->store, &r, e);
	if (result == 0)
		result = control_formation_default(ca, m, e);
	if (result == 0) {
		control_formation_warn(c, b, m);
		control_health_warn(c, ca, b, m);
		control_disk_add(ca, b->bytes);
		ca->waiter = (struct control_waiter){.release = r.id, .build = b->id, .version = r.version};
		*version = r.version;
		result = control_release(ca, &r, e);
		if (result < 0)
			ca->waiter = (struct control_waiter){0};
	}
	control_written(c);
	model_release_done(&r);
	return result;
}

/* The last lines that the blamed instance printed. */
static void control_show_log(struct control_app *ca, int64_t build)
{
	struct control *c = ca->control;
	char path[300], text[32768];
	struct stat st;
	OWN_FD int fd = -1;
	OWN_BUF struct buf lines = {0};
	ssize_t n;

	snprintf(path, sizeof path, "%s/%" PRId64 "/current", c->log_dir, ca->rec.id);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	n = pread(fd, text, sizeof text, st.st_size > (off_t)sizeof text ? st.st_size - (off_t)sizeof text : 0);
	if (n <= 0)
		return;
	buf_init(&lines, sizeof text * 2);
	control_text_tail(text, (size_t)n, ca->blame, CONTROL_TAIL, "       | ", &lines);
	if (lines.len)
		build_say(c->builds, build, "       Its last lines:\n%s", lines.data);
}

static void control_rolled_late(void *arg)
{
	struct control_app *ca = arg;
	struct control_waiter w = ca->waiter;
	struct control *c = ca->control;

	ca->waiter = (struct control_waiter){0};
	build_say(c->builds, w.build, "\n !     Deploy of v%" PRIu32 " failed: %s", w.version, w.error);
	if (ca->blame[0])
		control_show_log(ca, w.build);
	build_rolled(c->builds, w.build, w.error, w.limit);
}

void control_rolled(struct control_app *ca, const char *error)
{
	struct control_waiter *w = &ca->waiter;
	struct control *c = ca->control;
	int64_t build = w->build;
	bool canary = control_canary_serves(ca, w->release);
	uint32_t version = w->version;
	char url[LIMIT_HOST + 80], text[sizeof url + 160];

	if (!w->release)
		return;
	if (w->barrier == UINT64_MAX)
		c->promoted--;
	if (error && !ca->deleted) {
		snprintf(w->error, sizeof w->error, "%s", error);
		w->release = 0;
		w->barrier = 0;
		loop_timer_start(c->loop, &w->late, CONTROL_LATE_MS * 1000, control_rolled_late, ca);
		return;
	}
	*w = (struct control_waiter){0};
	if (!error && canary && !ca->canary_up)
		build_say(c->builds, build, "       v%" PRIu32 " is the canary; nothing runs of it, as %s\n", version,
			  ca->rec.paused ? "the app is paused" : "this node is being drained");
	else if (!error && canary)
		build_say(c->builds, build,
			  "       v%" PRIu32 " is the canary and serves its part, the live release serves on; `tulou "
			  "canary promote` rolls it out\n",
			  version);
	else if (!error) {
		snprintf(url, sizeof url, "http%s://%s.%s%s", c->settings.https_count ? "s" : "", ca->rec.name,
			 c->settings.domain_apps, c->port_suffix);
		control_live_text(ca, url, text, sizeof text);
		build_say(c->builds, build, "       %s\n", text);
	}
	build_rolled(c->builds, build, error, "");
}

/* --- host of agent/build --------------------------------------------------------------------------------------------
 */

static void control_build_event(void *ctx, int64_t app, const char *kind, const char *text)
{
	struct control_app *ca = control_app_get(ctx, app);

	if (ca)
		control_event(ctx, ca, 0, kind, "%s", text);
}

static void control_build_written(void *ctx)
{
	control_written(ctx);
}

static void control_remove_tree(void *ctx, int64_t build)
{
	control_remove(ctx, MSG_REMOVE_RELEASE, (uint64_t)build);
}

void control_jobs_init(struct control *c)
{
	c->build_host = (struct build_host){.ctx = c,
					    .job_start = control_job_start,
					    .job_stop = control_job_stop,
					    .roll_out = control_roll_out,
					    .event = control_build_event,
					    .written = control_build_written,
					    .remove_tree = control_remove_tree};
}
