/* Instances: start, what the supervisor says of them, end.  Layer agent, control process. */
#include "agent/build/blob.h"
#include "agent/roles/control_core.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "scheduler/instance.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void control_instance_save(struct control_instance *ci)
{
	struct control *c = ci->app->control;

	if (!ci->is_unsaved)
		TAILQ_INSERT_TAIL(&c->unsaved, ci, save);
	ci->is_unsaved = true;
	control_written(c);
}

void control_instance_move(struct control_instance *ci, enum model_instance_state to)
{
	struct err e = {0};

	if (ci->rec.state == to)
		return;
	if (instance_state_move(&ci->rec, to, &e) < 0) {
		LOG_ERROR("instance state", "app=%s instance=%" PRId64 " error=\"%s\"", ci->app->rec.name, ci->rec.id,
			  e.text);
		return;
	}
	ci->since_ms = control_now_ms();
	control_names_instance(ci);
	control_instance_save(ci);
	control_touch(ci->app);
}

static struct control_instance *control_instance_new(struct control_app *ca, const struct model_instance *rec)
{
	struct control *c = ca->control;
	struct control_instance *ci = calloc(1, sizeof *ci);

	if (!ci)
		return NULL;
	ci->app = ca;
	ci->rec = *rec;
	ci->socket = -1;
	ci->limits = ca->rec.limits;
	ci->since_ms = ci->born_ms = control_now_ms();
	ci->use = (struct control_use){
		.tenant = ca->tenant, .limits = &ci->limits, .id = (uint64_t)rec->id, .slot = ca->slot};
	if (map_put(c->instances, &ci->rec.id, sizeof ci->rec.id, ci) < 0) {
		free(ci);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&ca->instances, ci, link);
	ca->instance_count++;
	control_charge(c, ca->tenant, &ci->limits, 1);
	return ci;
}

/* What an instance needs of its release. */
static int control_instance_release(struct control_instance *ci, const struct model_release *r, json_t **types,
				    json_t **app, struct err *e)
{
	const char *path = NULL, *protocol = NULL, *how = NULL;
	uint64_t every = 0, failures = 0;

	*types = json_read(r->types_json ? r->types_json : "", r->types_json ? strlen(r->types_json) : 0, 1u << 20, e);
	*app = json_read(r->app_json && r->app_json[0] ? r->app_json : "{}",
			 r->app_json && r->app_json[0] ? strlen(r->app_json) : 2, 1u << 20, e);
	if (!*types || !*app)
		return -EINVAL;
	ci->object = (uint64_t)r->build;
	ci->version = r->version;
	if (ci->app->rec.health_path[0])
		path = ci->app->rec.health_path;
	else
		json_get_str(*app, "health_path", false, 255, &path, NULL);
	free(ci->health_path);
	ci->health_path = path && *path ? strdup(path) : NULL;
	json_get_u64(*app, "health_every_ms", false, LIMIT_HEALTH_EVERY_MIN_MS, LIMIT_HEALTH_EVERY_MAX_MS, &every,
		     NULL);
	json_get_u64(*app, "health_failures", false, 1, LIMIT_HEALTH_FAILURES, &failures, NULL);
	ci->health_every_ms = (uint32_t)every;
	ci->health_failures = (uint32_t)failures;
	json_get_str(*app, "protocol", false, 16, &protocol, NULL);
	ci->h2c = protocol && strcmp(protocol, "h2c") == 0;
	json_get_str(*app, "listen", false, 16, &how, NULL);
	ci->listens_unix = how && strcmp(how, "unix") == 0 && strcmp(ci->rec.type, "web") == 0;
	return 0;
}

/* Profile, layers and egress of what runs the app's code. */
void control_policy(const struct control_app *ca, struct msg_launch *m)
{
	const struct model_tenant *t = &ca->tenant->rec;

	m->profile = ca->rec.profile > t->profile ? ca->rec.profile : t->profile;
	m->private_layers = t->private_layers;
	control_egress(ca, &m->egress);
}

static int control_instance_blob(struct control_instance *ci, const struct model_release *r, const char *command,
				 bool profile, struct err *e)
{
	struct control *c = ci->app->control;
	OWN_BLOB struct blob blob = {0};

	blob_init(&blob);
	blob_command(&blob, command, profile);
	blob_config(&blob, "", r->config_json);
	blob_env(&blob, "TULOU_APP", ci->app->rec.name);
	blob_env(&blob, "TULOU_TENANT", ci->app->rec.tenant_name);
	blob_envf(&blob, "TULOU_RELEASE", "v%" PRIu32, r->version);
	blob_envf(&blob, "TULOU_INSTANCE", "%s.%" PRId64, ci->rec.type, ci->rec.id);
	blob_envf(&blob, "TULOU_TYPE", "%s", ci->rec.type);
	if (ci->listens_unix)
		blob_env(&blob, "PORT", "/" KIND_SOCKET_DIR "/" KIND_SOCKET_NAME);
	else
		blob_envf(&blob, "PORT", "%u", c->app_port);
	return blob_seal(&blob, e);
}

static void control_instance_free(struct control_instance *ci)
{
	struct control *c = ci->app->control;

	control_health_stop(ci);
	control_throttle_gone(c, &ci->use);
	if (ci->in_flight)
		c->starts--;
	if (ci->is_unsaved)
		TAILQ_REMOVE(&c->unsaved, ci, save);
	TAILQ_REMOVE(&ci->app->instances, ci, link);
	ci->app->instance_count--;
	control_charge(c, ci->app->tenant, &ci->limits, -1);
	map_del(c->instances, &ci->rec.id, sizeof ci->rec.id);
	free(ci->health_path);
	free(ci->before);
	own_close(&ci->socket);
	free(ci);
}

static int control_instance_launch(struct control_instance *ci, const struct model_release *r, const char *command,
				   bool profile, struct err *e)
{
	struct control_app *ca = ci->app;
	struct msg_launch m = {
		.instance = (uint64_t)ci->rec.id,
		.tenant = (uint64_t)ca->rec.tenant,
		.app = (uint64_t)ca->rec.id,
		.object = ci->object,
		.kind = MSG_KIND_APP,
		.slot = ca->tenant->rec.slot,
		.limits = ci->limits,
		.listen_unix = ci->listens_unix,
	};
	int blob = control_instance_blob(ci, r, command, profile, e);

	if (blob < 0)
		return blob;
	control_policy(ca, &m);
	ci->egress = m.egress;
	ci->has_base = true;
	memcpy(m.name, ca->rec.name, sizeof m.name);
	memcpy(m.type, ci->rec.type, sizeof m.type);
	memcpy(m.tenant_name, ca->rec.tenant_name, sizeof m.tenant_name);
	control_tenant_tell(ca->control, ca->tenant);
	control_send(ca->control, MSG_LAUNCH, &m, sizeof m, &blob, 1);
	ci->in_flight = true;
	ca->control->starts++;
	return 0;
}

int control_instance_start(struct control_app *ca, int64_t release, const char *type, struct err *e)
{
	struct control *c = ca->control;
	OWN_JSON json_t *types = NULL, *app = NULL;
	struct model_instance rec = {.app = ca->rec.id, .release = release, .state = MODEL_INSTANCE_STARTING};
	struct model_release r = {0};
	struct control_instance *ci;
	const char *command = NULL;
	bool profile = false;
	int result = control_fits(c, ca->tenant, &ca->rec.limits,
				  control_canary_serves(ca, release) && release != ca->rec.candidate ? NULL : ca,
				  release, e);

	if (result == 0)
		result = store_release_get(c->store, release, &r, e);
	if (result < 0)
		return result;
	snprintf(rec.type, sizeof rec.type, "%s", type);
	result = store_instance_add(c->store, &rec, e);
	ci = result == 0 ? control_instance_new(ca, &rec) : NULL;
	if (result == 0 && !ci)
		result = err_set(e, ENOMEM, "out of memory");
	control_written(c);
	if (result == 0)
		result = control_instance_release(ci, &r, &types, &app, e);
	if (result == 0)
		result = json_get_str(types, type, true, LIMIT_COMMAND, &command, e);
	if (result == 0)
		json_get_bool(app, "profile", false, &profile, NULL);
	if (result == 0)
		result = control_instance_launch(ci, &r, command, profile, e);
	if (result == 0)
		control_restart_started(ci);
	model_release_done(&r);
	if (result < 0 && ci) {
		ci->rec.state = MODEL_INSTANCE_EXITED;
		ci->rec.exited_ms = clock_wall_ms();
		snprintf(ci->rec.reason, sizeof ci->rec.reason, "could not be started: %.120s", e->text);
		store_instance_update(c->store, &ci->rec, NULL);
		control_instance_free(ci);
	}
	return result;
}

/* An instance of the store's, at control's start; the supervisor confirms it by MSG_INSTANCE. */
struct control_instance *control_instance_adopt(struct control *c, const struct model_instance *rec)
{
	struct control_app *ca = control_app_get(c, rec->app);
	struct control_instance *ci = ca ? control_instance_new(ca, rec) : NULL;
	OWN_JSON json_t *types = NULL, *app = NULL;
	struct model_release r = {0};

	if (!ci)
		return NULL;
	if (store_release_get(c->store, rec->release, &r, NULL) == 0) {
		control_instance_release(ci, &r, &types, &app, NULL);
		model_release_done(&r);
	}
	return ci;
}

/* --- moves ------------------------------------------------------------------------------------------------------ */

void control_instance_healthy(struct control_instance *ci, bool healthy, const char *why)
{
	struct control *c = ci->app->control;

	if (ci->healthy == healthy)
		return;
	ci->healthy = healthy;
	ci->sick_since_ms = healthy ? 0 : control_now_ms();
	control_names_instance(ci);
	if (ci->routed)
		control_routes_instance(ci, control_routes_up(ci));
	if (healthy && ci->rec.state == MODEL_INSTANCE_STARTING) {
		ci->healthy_since_ms = control_now_ms();
		control_instance_move(ci, MODEL_INSTANCE_RUNNING);
		control_event(c, ci->app, ci->rec.id, "instance.started", "%s.%" PRId64 " of v%" PRIu32 " runs",
			      ci->rec.type, ci->rec.id, ci->version);
	} else if (healthy) {
		control_event(c, ci->app, ci->rec.id, "instance.healthy", "%s.%" PRId64 " answers again", ci->rec.type,
			      ci->rec.id);
	} else {
		control_event(c, ci->app, ci->rec.id, "instance.unhealthy",
			      "%s.%" PRId64 " no longer answers and will be replaced: %s", ci->rec.type, ci->rec.id,
			      why);
		LOG_INFO("instance unhealthy", "tenant=%s app=%s instance=%" PRId64 " reason=\"%s\"",
			 ci->app->rec.tenant_name, ci->app->rec.name, ci->rec.id, why);
		control_canary_ill(ci, why);
	}
	control_touch(ci->app);
}

void control_instance_unroute(struct control_instance *ci)
{
	if (ci->rec.state == MODEL_INSTANCE_DRAINING || ci->rec.state == MODEL_INSTANCE_STOPPING)
		return;
	control_instance_move(ci, MODEL_INSTANCE_DRAINING);
	ci->drain_pending = ci->app->control->workers_up | control_old_workers(ci->app->control);
	ci->drained = ci->drain_pending == 0;
	control_routes_instance(ci, PROXY_INSTANCE_DRAINING);
	ci->routed = false;
}

void control_instance_stop(struct control_instance *ci, const char *reason)
{
	struct control *c = ci->app->control;
	struct msg_stop m = {.instance = (uint64_t)ci->rec.id, .grace_ms = (uint32_t)c->settings.grace_ms};

	if (ci->rec.state != MODEL_INSTANCE_STOPPING) {
		if (ci->routed) { /* no new request may meet it */
			ci->drain_pending = 0;
			control_routes_instance(ci, PROXY_INSTANCE_DRAINING);
			ci->routed = false;
		}
		if (ci->rec.reason != reason)
			snprintf(ci->rec.reason, sizeof ci->rec.reason, "%s", reason);
		control_health_stop(ci);
		control_instance_move(ci, MODEL_INSTANCE_STOPPING);
	}
	if (ci->stop_sent)
		return;
	ci->stop_sent = true;
	control_send(c, MSG_STOP, &m, sizeof m, NULL, 0);
}

void control_instance_crashed(struct control_instance *ci)
{
	struct control_app *ca = ci->app;
	struct control *c = ca->control;
	int64_t now = control_now_ms(), healthy_ms;
	bool looping;

	if (ci->crashed)
		return;
	ci->crashed = true;
	control_restart_ended(ci, true);
	if (!ca->backoffs)
		ca->backoffs = calloc(PLAN_BACKOFFS, sizeof *ca->backoffs);
	if (!ca->backoffs)
		return;
	looping = control_looping(ca, ci->rec.type);
	healthy_ms = (ci->sick_since_ms ? ci->sick_since_ms : now) - ci->healthy_since_ms;
	plan_exited(ca->backoffs, ci->rec.release, ci->rec.type, ci->healthy_since_ms ? healthy_ms : 0, now);
	control_canary_crashed(ci);
	if (!looping && control_looping(ca, ci->rec.type) && ci->rec.release == ca->rec.release)
		control_event(c, ca, ci->rec.id, "instance.crashloop",
			      "%s ended, or failed its checks, %u times in a row; it is tried again every %d minutes. "
			      "Last: %s",
			      ci->rec.type, PLAN_LOOP_CRASHES, PLAN_LOOP_MS / 60000, ci->rec.reason);
	control_touch(ca);
}

/* --- ends ------------------------------------------------------------------------------------------------------- */

void control_instance_gone(struct control_instance *ci, const struct msg_instance *m)
{
	struct control_app *ca = ci->app;
	struct control *c = ca->control;
	bool asked = ci->rec.state == MODEL_INSTANCE_STOPPING || ci->rec.state == MODEL_INSTANCE_DRAINING;
	bool never_launched = m->exit == MSG_EXIT_LOST && ci->rec.state == MODEL_INSTANCE_STARTING && !ci->known;
	struct msg_forget forget = {m->instance};
	struct err e = {0};

	control_text_exit(m, ci->rec.type, asked ? ci->rec.reason : "", c->settings.grace_ms, ci->rec.reason,
			  sizeof ci->rec.reason);
	ci->rec.exit_code = m->exit_code;
	ci->rec.exited_ms = m->exited_ms ? m->exited_ms : clock_wall_ms();
	ci->rec.state = MODEL_INSTANCE_EXITED; /* allowed from everywhere */
	ca->cpu_gone_us += m->cpu_us > ci->usage.cpu_us ? m->cpu_us : ci->usage.cpu_us;
	c->exits_total++;
	if (m->exit == MSG_EXIT_OOM) {
		c->oom_total[m->oom < MSG_OOM_COUNT ? m->oom : MSG_OOM_OWN]++;
		control_event(c, ca, ci->rec.id, "instance.oom", "%s.%" PRId64 " %s", ci->rec.type, ci->rec.id,
			      ci->rec.reason);
	} else if (!never_launched && (!asked || m->exit == MSG_EXIT_KILLED)) {
		control_event(c, ca, ci->rec.id, "instance.exited", "%s.%" PRId64 " %s", ci->rec.type, ci->rec.id,
			      ci->rec.reason);
	}
	if (!asked && m->exit != MSG_EXIT_LOST) {
		if (ci->rec.release == ca->rec.candidate) {
			snprintf(ca->why, sizeof ca->why, "%s %s", ci->rec.type, ci->rec.reason);
			snprintf(ca->blame, sizeof ca->blame, "%s.%" PRId64, ci->rec.type, ci->rec.id);
		}
		control_instance_crashed(ci);
	}
	if (store_instance_update(c->store, &ci->rec, &e) < 0 && e.code != ENOENT)
		LOG_WARN("instance record", "app=%s instance=%" PRId64 " error=\"%s\"", ca->rec.name, ci->rec.id,
			 e.text);
	LOG_INFO("instance ended", "tenant=%s app=%s instance=%" PRId64 " type=%s reason=\"%s\"", ca->rec.tenant_name,
		 ca->rec.name, ci->rec.id, ci->rec.type, ci->rec.reason);
	control_routes_instance_gone(ci);
	control_names_gone(c, m->instance, ci->address);
	if (ci->known)
		control_send(c, MSG_FORGET, &forget, sizeof forget, NULL, 0); /* after the commit of the record */
	control_written(c);
	control_instance_free(ci);
	control_touch(ca);
}

/* --- what the supervisor says ----------------------------------------------------------------------------------- */

/* Not ours: an app that was deleted, or a record that was never committed. */
static void control_stranger(struct control *c, const struct msg_instance *m)
{
	struct msg_stop stop = {.instance = m->instance, .grace_ms = (uint32_t)c->settings.grace_ms};
	struct msg_forget forget = {m->instance};

	if (m->state == MSG_STATE_EXITED) {
		control_send(c, MSG_FORGET, &forget, sizeof forget, NULL, 0);
	} else if (m->state != MSG_STATE_STOPPING) {
		LOG_INFO("unknown instance, stopping it", "instance=%" PRIu64 " app=%" PRIu64 " kind=%s", m->instance,
			 m->app, msg_kind_name((enum msg_kind)m->kind));
		control_send(c, MSG_STOP, &stop, sizeof stop, NULL, 0);
	}
}

/* An instance that ran before this control started: it serves on as it did. */
static void control_resume(struct control_instance *ci)
{
	struct control *c = ci->app->control;

	c->sync_adopted++;
	switch (ci->rec.state) {
	case MODEL_INSTANCE_RUNNING:
		ci->healthy = true;
		ci->healthy_since_ms = control_now_ms();
		ci->routed = strcmp(ci->rec.type, "web") == 0 && ci->rec.release != ci->app->rec.candidate;
		control_health_start(ci);
		break;
	case MODEL_INSTANCE_STARTING:
		control_health_start(ci);
		break;
	case MODEL_INSTANCE_DRAINING:
		break; /* the workers say when it is drained, once they are in step again */
	case MODEL_INSTANCE_STOPPING:
		control_instance_stop(ci, ci->rec.reason);
		break;
	case MODEL_INSTANCE_EXITED:
	case MODEL_INSTANCE_STATE_COUNT:
		break;
	}
}

/* The supervisor could not lower its memory, or now could. */
static void control_pending(struct control_instance *ci, const struct msg_instance *m, bool first)
{
	bool was = ci->pending[0];
	char limit[32];

	snprintf(ci->pending, sizeof ci->pending, "%.*s", (int)strnlen(m->text, sizeof m->text), m->text);
	if (first || was == (ci->pending[0] != 0))
		return;
	control_text_bytes(m->memory_limit, limit);
	if (was)
		control_event(ci->app->control, ci->app, ci->rec.id, "instance.pending",
			      "%s.%" PRId64 ": its new memory limit of %s holds now", ci->rec.type, ci->rec.id, limit);
	else
		control_event(ci->app->control, ci->app, ci->rec.id, "instance.pending",
			      "%s.%" PRId64
			      ": pending: %s; the new limit holds as soon as that is freed or it restarts",
			      ci->rec.type, ci->rec.id, ci->pending);
}

/* Its launch waits for something that the node must make first, or goes on: that time is not the app's.  What waits
 * does not keep others from being started either. */
static void control_launch_waits(struct control_instance *ci, const struct msg_instance *m)
{
	bool waits = m->state == MSG_STATE_STARTING && m->waiting;
	struct control_app *ca = ci->app;

	if (waits == ci->waiting)
		return;
	ci->waiting = waits;
	snprintf(ci->pending, sizeof ci->pending, "%.*s", waits ? (int)strnlen(m->text, sizeof m->text) : 0, m->text);
	if (waits) {
		control_event(ca->control, ca, ci->rec.id, "instance.pending", "%s.%" PRId64 " %s", ci->rec.type,
			      ci->rec.id, ci->pending);
	} else {
		ci->since_ms = control_now_ms();
		if (ci->rec.release == ca->rec.candidate)
			ca->candidate_since_ms = ci->since_ms;
	}
	control_touch(ca);
}

void control_on_socket(struct control *c, const struct msg_socket *m, int *fd)
{
	int64_t id = (int64_t)m->instance;
	struct control_instance *ci = map_get(c->instances, &id, sizeof id);

	/* It is the same folder for all its life. */
	if (ci && ci->listens_unix && ci->socket < 0)
		ci->socket = TAKE_FD(*fd);
}

void control_on_instance(struct control *c, const struct msg_instance *m)
{
	int64_t id = (int64_t)m->instance;
	struct control_instance *ci;
	bool first;

	if (control_is_job(m->instance)) {
		control_on_job(c, m);
		return;
	}
	ci = map_get(c->instances, &id, sizeof id);
	if (!ci) {
		control_stranger(c, m);
		return;
	}
	first = !ci->known && !ci->in_flight;
	ci->known = true;
	ci->address = m->address;
	ci->pid = m->pid;
	if (m->started_ms)
		ci->started_ms = m->started_ms;
	if (m->memory_limit && m->memory_peak > ci->usage.memory_peak)
		ci->usage.memory_peak = m->memory_peak;
	control_launch_waits(ci, m);
	if (ci->in_flight && (m->state != MSG_STATE_STARTING || ci->waiting)) {
		ci->in_flight = false;
		c->starts--;
		control_arm(c); /* another app may start one */
	}
	if (m->state == MSG_STATE_EXITED) {
		control_instance_gone(ci, m);
	} else if (first) {
		ci->start_us = m->start_us;
		control_resume(ci);
	} else if (m->state == MSG_STATE_RUNNING && !ci->start_us) {
		unsigned b = 0;

		ci->start_us = m->start_us ? m->start_us : 1;
		for (uint64_t us = 2000; b < ARRAY_LEN(c->start_bucket) - 1 && ci->start_us >= us; us *= 2)
			b++;
		c->start_bucket[b]++;
		c->starts_total++;
		c->start_us_sum += ci->start_us;
		if (ci->rec.state == MODEL_INSTANCE_STARTING)
			control_health_start(ci);
	}
	if (m->state == MSG_STATE_RUNNING)
		control_pending(ci, m, first);
	if (m->state != MSG_STATE_EXITED)
		control_names_instance(ci);
}
