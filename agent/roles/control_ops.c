/* What the API asks of control (web/api/ops.h).  Layer agent, control process. */
#include "agent/build/blob.h"
#include "agent/roles/control_core.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTROL_RUN_MS 3600000u /* one-off commands */

static void ops_app_changed(void *ctx, int64_t app)
{
	control_app_load(ctx, app);
	control_written(ctx);
}

static void ops_app_deleted(void *ctx, const struct model_app *app)
{
	control_app_deleted(ctx, app);
}

static int ops_app(struct control *c, int64_t app, struct control_app **ret, struct err *e)
{
	struct control_app *ca = control_app_get(c, app);

	if (!ca)
		ca = control_app_load(c, app);
	if (!ca || ca->deleted)
		return err_set(e, ENOENT, "the app does not exist");
	*ret = ca;
	return 0;
}

/* --- releases and builds --------------------------------------------------------------------------------------------
 */

static int ops_release_copy(struct control *c, struct control_app *ca, const struct model_release *from,
			    bool its_config, const char *note, uint32_t *version, struct err *e)
{
	struct model_release r = {.app = ca->rec.id, .build = from->build};
	OWN_JSON json_t *app =
		from->app_json ? json_read(from->app_json, strlen(from->app_json), 4u * LIMIT_CONFIG_TOTAL, NULL)
			       : NULL;
	OWN_FREE char *defaults = json_dumps(json_object_get(app, "env"), JSON_COMPACT);
	int result = 0;

	snprintf(r.note, sizeof r.note, "%s", note);
	r.types_json = strdup(from->types_json ? from->types_json : "{}");
	r.app_json = strdup(from->app_json ? from->app_json : "{}");
	if (its_config)
		r.config_json = strdup(from->config_json ? from->config_json : "{}");
	else
		result = store_config_release(c->store, ca->rec.id, defaults, &r.config_json, e);
	/* Made alike, so the same vars are the same text. */
	if (r.config_json && from->config_json && strcmp(r.config_json, from->config_json) == 0)
		r.origin = from->origin ? from->origin : from->id;
	if (result == 0)
		result = r.types_json && r.app_json && r.config_json ? store_release_add(c->store, &r, e)
								     : err_set(e, ENOMEM, "out of memory");
	if (result == 0)
		result = control_release(ca, &r, e);
	if (result == 0)
		*version = r.version;
	model_release_done(&r);
	control_written(c);
	return result;
}

static int ops_release_new(void *ctx, int64_t app, int64_t from_release, bool use_config_of_from, const char *note,
			   uint32_t *version, struct err *e)
{
	struct control *c = ctx;
	struct control_app *ca;
	struct model_release from = {0};
	int r = ops_app(c, app, &ca, e);

	if (r < 0)
		return r;
	if (ca->rec.candidate || ca->next_release)
		return err_set(e, EBUSY, "a roll-out of this app is under way");
	if (build_running(c->builds, app, NULL))
		return err_set(e, EBUSY, "a build of this app is running");
	if (!from_release)
		from_release = ca->rec.release;
	if (!from_release)
		return err_set(e, ENOENT, "the app has no release yet");
	r = store_release_get(c->store, from_release, &from, e);
	if (r == 0 && from.app != app)
		r = err_set(e, ENOENT, "the release does not exist");
	if (r == 0)
		r = ops_release_copy(c, ca, &from, use_config_of_from, note, version, e);
	model_release_done(&from);
	return r;
}

/* Does the tenant have disk left for one more tree: of its quota, and of the pool that all tenants share?  A push
 * writes into its repository, which lies there, and git would only say that it cannot. */
static int ops_disk(const struct control_app *ca, struct err *e)
{
	uint64_t held = 0, bound = 0;
	uint64_t in_use = control_tenant_committed(ca->tenant).disk;
	char used[32], quota[32];

	if (control_tenant_pool_full(ca->tenant, &held, &bound)) {
		control_text_bytes(held, used);
		control_text_bytes(bound, quota);
		return err_field(
			e, EDQUOT, "quota.disk",
			"tenant %s: its apps hold %s of the %s that one tenant may have of the node's disk now: "
			"remove files or stop instances, or let the operator raise disk.pool",
			ca->tenant->rec.name, used, quota);
	}
	if (in_use < ca->tenant->rec.quota.disk)
		return 0;
	control_text_bytes(in_use, used);
	control_text_bytes(ca->tenant->rec.quota.disk, quota);
	return err_field(
		e, EDQUOT, "quota.disk",
		"tenant %s: disk quota %s, %s in use, nothing left: delete apps or old releases, or ask for more",
		ca->tenant->rec.name, quota, used);
}

static int ops_build_tarball(void *ctx, int64_t app, const struct ops_log_fn *log, int *in, int64_t *build,
			     struct err *e)
{
	struct control *c = ctx;
	struct control_app *ca;
	OWN_FD int w = -1;
	int p[2], r = ops_app(c, app, &ca, e);

	if (r == 0)
		r = ops_disk(ca, e);
	if (r < 0)
		return r;
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_errno(e, "the node is short of descriptors");
	w = p[1];
	fd_nonblock(w);
	r = build_start(c->builds, &ca->rec, "tarball", "", p[0], log, build, e);
	if (r == 0)
		*in = TAKE_FD(w);
	return r;
}

static void ops_log_cancel(void *ctx, int64_t build, void *arg)
{
	build_unfollow(((struct control *)ctx)->builds, build, arg);
}

static int ops_build_follow(void *ctx, int64_t build, const struct ops_log_fn *log, struct err *e)
{
	return build_follow(((struct control *)ctx)->builds, build, log, e);
}

static void ops_build_cancel(void *ctx, int64_t build)
{
	build_cancel(((struct control *)ctx)->builds, build, "the upload was interrupted");
}

static int ops_git(void *ctx, int64_t app, const char *service, bool advertise, const char *protocol, bool gzip,
		   struct ops_git *ret, struct err *e)
{
	struct control *c = ctx;
	struct control_app *ca;
	int r = ops_app(c, app, &ca, e);

	if (r == 0 && strcmp(service, "git-receive-pack") == 0)
		r = ops_disk(ca, e);
	return r < 0 ? r : git_start(c->gits, &ca->rec, service, advertise, protocol, gzip, ret, e);
}

/* --- one-off commands -----------------------------------------------------------------------------------------------
 */

struct ops_one_off {
	struct build_job job;
	void (*done)(void *arg, int exit_code, const char *text);
	void *arg;
};

static void ops_on_run_exit(void *arg, const struct msg_instance *m)
{
	struct ops_one_off *run = arg;
	char text[200];

	build_exit_text(m, text, sizeof text);
	run->done(run->arg, m->exit_code, m->exit == MSG_EXIT_CODE ? "" : text);
	free(run);
}

static void ops_run_stop(void *ctx, void *arg)
{
	struct control *c = ctx;
	struct control_job *job;

	for (size_t pos = 0; (job = map_next(c->jobs, &pos));) {
		const struct ops_one_off *run = job->job && job->kind == MSG_KIND_RUN ? job->job->arg : NULL;
		if (!run || job->job->on_exit != ops_on_run_exit || run->arg != arg)
			continue;
		control_job_stop(c, job->job, false);
		return;
	}
}

static int ops_run_blob(struct control *c, struct control_app *ca, const char *command, struct err *e)
{
	OWN_BLOB struct blob blob = {0};
	OWN_JSON json_t *app = NULL;
	struct model_release r = {0};
	bool profile = false;
	int result;

	if (store_release_get(c->store, ca->rec.release, &r, e) < 0)
		return -e->code;
	app = json_read(r.app_json ? r.app_json : "{}", r.app_json ? strlen(r.app_json) : 2, 4u * LIMIT_CONFIG_TOTAL,
			NULL);
	json_get_bool(app, "profile", false, &profile, NULL);
	blob_init(&blob);
	blob_command(&blob, command, profile);
	blob_config(&blob, "", r.config_json);
	blob_env(&blob, "TULOU_APP", ca->rec.name);
	blob_env(&blob, "TULOU_TENANT", ca->rec.tenant_name);
	blob_envf(&blob, "TULOU_RELEASE", "v%" PRIu32, r.version);
	blob_env(&blob, "TULOU_INSTANCE", "run");
	blob_envf(&blob, "PORT", "%u", c->app_port);
	result = blob_seal(&blob, e);
	model_release_done(&r);
	return result;
}

static int ops_run(void *ctx, int64_t app, const char *command, struct ops_git *ret,
		   void (*done)(void *arg, int exit_code, const char *text), void *arg, struct err *e)
{
	struct control *c = ctx;
	struct control_app *ca;
	struct ops_one_off *run;
	struct msg_launch m = {.kind = MSG_KIND_RUN, .stdio_count = 3, .deadline_ms = CONTROL_RUN_MS, .type = "run"};
	OWN_FD int blob = -1, in_r = -1, in_w = -1, out_r = -1, out_w = -1;
	int p[2], r = ops_app(c, app, &ca, e);

	if (r < 0)
		return r;
	if (!ca->rec.release)
		return err_set(e, ENOENT, "the app has no release yet");
	if (strlen(command) > LIMIT_COMMAND)
		return err_field(e, EINVAL, "command", "longer than %d bytes", LIMIT_COMMAND);
	blob = ops_run_blob(c, ca, command, e);
	if (blob < 0)
		return blob;
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_errno(e, "the node is short of descriptors");
	in_r = p[0];
	in_w = p[1];
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_errno(e, "the node is short of descriptors");
	out_r = p[0];
	out_w = p[1];
	fd_nonblock(in_w);
	fd_nonblock(out_r);
	run = calloc(1, sizeof *run);
	if (!run)
		return err_set(e, ENOMEM, "out of memory");
	*run = (struct ops_one_off){
		.job = {.tenant = ca->rec.tenant, .app = app, .on_exit = ops_on_run_exit, .arg = run},
		.done = done,
		.arg = arg};
	m.object = (uint64_t)ca->live.build;
	m.limits = ca->rec.limits;
	control_policy(ca, &m);
	r = control_job_start(c, &run->job, &m, blob, (int[]){in_r, out_w, out_w}, 3, e);
	if (r < 0) {
		free(run);
		return r;
	}
	*ret = (struct ops_git){TAKE_FD(in_w), TAKE_FD(out_r)};
	return 0;
}

/* --- what is shown --------------------------------------------------------------------------------------------------
 */

static const char *ops_state(const struct control_instance *ci)
{
	if (ci->rec.state == MODEL_INSTANCE_RUNNING && !ci->healthy)
		return "unhealthy";
	return model_instance_state_name(ci->rec.state);
}

static void ops_instances(void *ctx, int64_t app, json_t *arr)
{
	struct control *c = ctx;
	struct control_app *ca = control_app_get(c, app);
	const struct control_instance *ci;

	if (!ca || ca->deleted)
		return;
	TAILQ_FOREACH(ci, &ca->instances, link)
	{
		char before[280], id[24], address[16] = "", started[25] = "";
		json_t *o;

		snprintf(id, sizeof id, "%" PRId64, ci->rec.id);
		if (ci->address)
			snprintf(address, sizeof address, "%u.%u.%u.%u", ci->address >> 24, ci->address >> 16 & 255,
				 ci->address >> 8 & 255, ci->address & 255);
		snprintf(before, sizeof before, "%s%s", ci->before ? "the one before " : "",
			 ci->before ? ci->before : "");
		clock_rfc3339(ci->started_ms ? ci->started_ms : ci->rec.created_ms, started);
		o = json_pack("{s:s,s:s,s:i,s:s,s:s,s:i,s:i,s:I,s:I,s:f,s:i,s:s,s:i,s:i,s:s}", "id", id, "type",
			      ci->rec.type, "release", (int)ci->version, "state", ops_state(ci), "address", address,
			      "port", (int)c->app_port, "pid", (int)ci->pid, "memory_bytes",
			      (json_int_t)ci->usage.memory, "memory_limit_bytes", (json_int_t)ci->limits.memory,
			      "cpu_seconds", (double)ci->usage.cpu_us / 1e6, "pids", (int)ci->usage.pids, "started_at",
			      started, "start_us", (int)ci->start_us, "restarts", (int)ci->restarts, "reason",
			      ci->rec.reason[0]		  ? ci->rec.reason
			      : control_health_why(ci)[0] ? control_health_why(ci)
							  : before);
		if (o) {
			json_object_set_new(o, "memory_peak_bytes", json_integer((json_int_t)ci->usage.memory_peak));
			json_object_set_new(o, "pending", ci->pending[0] ? json_string(ci->pending) : json_null());
			json_object_set_new(o, "oom_kills", json_integer(ci->usage.oom_kills));
			json_object_set_new(o, "pids_limit", json_integer(ci->limits.pids));
			json_object_set_new(o, "disk_bytes", json_integer((json_int_t)ci->usage.disk));
			json_object_set_new(o, "disk_limit_bytes", json_integer((json_int_t)ci->limits.disk));
			json_object_set_new(o, "inodes", json_integer((json_int_t)ci->usage.inodes));
			json_object_set_new(o, "net_in_bytes", json_integer((json_int_t)ci->usage.net_in));
			json_object_set_new(o, "net_out_bytes", json_integer((json_int_t)ci->usage.net_out));
			json_object_set_new(o, "net_packets_refused", json_integer((json_int_t)ci->usage.net_refused));
			json_object_set_new(o, "throttled_seconds", json_real((double)ci->usage.throttled_us / 1e6));
			json_object_set_new(o, "throttle", control_throttle_json(&ci->use) ?: json_null());
			json_array_append_new(arr, o);
		}
	}
}

static json_t *ops_app_stats(void *ctx, int64_t app)
{
	struct control_app *ca = control_app_get(ctx, app);

	return ca ? control_app_stats(ca) : json_object();
}

static json_t *ops_node(void *ctx)
{
	return control_node_json(ctx);
}

static json_t *ops_history(void *ctx, int64_t app, unsigned minutes)
{
	struct control *c = ctx;
	struct control_app *ca = app ? control_app_get(c, app) : NULL;

	return control_history_json(app ? (ca ? ca->history : NULL) : &c->history, minutes);
}

static void ops_metrics(void *ctx, struct buf *out)
{
	control_metrics(ctx, out);
}

static int ops_node_set(void *ctx, int eligible, int draining, struct err *e)
{
	struct control *c = ctx;
	struct control_app *ca;
	int r = 0;

	if (eligible >= 0)
		r = store_meta_set(c->store, "node.eligible", eligible ? "1" : "0", e);
	if (r == 0 && draining >= 0)
		r = store_meta_set(c->store, "node.draining", draining ? "1" : "0", e);
	if (r < 0)
		return r;
	if (eligible >= 0)
		c->eligible = eligible;
	if (draining >= 0 && c->draining != (draining != 0)) {
		c->draining = draining;
		control_event(c, NULL, 0, "node.draining",
			      draining ? "The node is being drained: all apps are stopped" : "The node serves again");
		TAILQ_FOREACH(ca, &c->all, link)
		{
			control_touch(ca);
		}
	}
	control_written(c);
	return 0;
}

static bool ops_ready(void *ctx)
{
	const struct control *c = ctx;

	return c->synced && !c->failed;
}

static void ops_written(void *ctx)
{
	control_written(ctx);
}

static int ops_instance_stop(void *ctx, int64_t app, int64_t instance, struct err *e)
{
	struct control *c = ctx;
	struct control_instance *ci = map_get(c->instances, &instance, sizeof instance);

	if (!ci || ci->app->rec.id != app || ci->rec.state == MODEL_INSTANCE_STOPPING)
		return err_set(e, ENOENT, "the app has no such instance");
	if (ci->routed) {
		snprintf(ci->rec.reason, sizeof ci->rec.reason, "its owner stopped it");
		control_restart_ended(ci, false);
		control_instance_unroute(ci);
	} else if (ci->rec.state != MODEL_INSTANCE_DRAINING) {
		control_instance_stop(ci, "its owner stopped it");
		control_restart_ended(ci, false);
	}
	control_touch(ci->app);
	return 0;
}

static json_t *ops_certificate_states(void *ctx, int64_t app)
{
	struct control_app *ca = control_app_get(ctx, app);

	return ca || !app ? control_acme_json(ctx, ca) : json_array();
}

static json_t *ops_certificate_ocsp(void *ctx, int64_t id)
{
	return control_ocsp_json(ctx, (uint64_t)id);
}

static int ops_certificate_renew(void *ctx, int64_t app, const char *host, struct err *e)
{
	struct control_app *ca = NULL;
	int r = app ? ops_app(ctx, app, &ca, e) : 0;

	return r < 0 ? r : control_acme_renew(ctx, ca, host, e);
}

void control_ops_init(struct control *c)
{
	c->ops = (struct ops){.ctx = c,
			      .app_changed = ops_app_changed,
			      .app_deleted = ops_app_deleted,
			      .release_new = ops_release_new,
			      .build_tarball = ops_build_tarball,
			      .log_cancel = ops_log_cancel,
			      .build_follow = ops_build_follow,
			      .git = ops_git,
			      .run = ops_run,
			      .run_stop = ops_run_stop,
			      .instances = ops_instances,
			      .app_stats = ops_app_stats,
			      .node = ops_node,
			      .history = ops_history,
			      .metrics = ops_metrics,
			      .node_set = ops_node_set,
			      .ready = ops_ready,
			      .written = ops_written,
			      .build_cancel = ops_build_cancel,
			      .instance_stop = ops_instance_stop,
			      .certificate_states = ops_certificate_states,
			      .certificate_ocsp = ops_certificate_ocsp,
			      .certificate_renew = ops_certificate_renew};
}
