/* Builds: queue, stages, end.  Layer agent, control process.  The pipes are in pump.c. */
#include "agent/build/build_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

static void build_next(struct builds *bs);

struct builds *builds_new(struct loop *l, struct store *store, const struct settings *settings, const char *control_dir,
			  const struct build_host *host)
{
	struct builds *bs = calloc(1, sizeof *bs);

	if (!bs)
		return NULL;
	*bs = (struct builds){
		.loop = l, .store = store, .settings = settings, .control_dir = control_dir, .host = host};
	TAILQ_INIT(&bs->all);
	return bs;
}

const struct build_host *builds_host(const struct builds *bs)
{
	return bs->host;
}

const struct settings *builds_settings(const struct builds *bs)
{
	return bs->settings;
}

struct loop *builds_loop(const struct builds *bs)
{
	return bs->loop;
}

static struct build *build_find(const struct builds *bs, int64_t id)
{
	struct build *b;

	TAILQ_FOREACH(b, &bs->all, link)
	{
		if (b->rec.id == id)
			return b;
	}
	return NULL;
}

bool build_running(const struct builds *bs, int64_t app, int64_t *ret)
{
	struct build *b;

	TAILQ_FOREACH(b, &bs->all, link)
	{
		if (b->app == app) {
			if (ret)
				*ret = b->rec.id;
			return true;
		}
	}
	return false;
}

void build_out(struct build *b, const char *p, size_t n)
{
	build_log_write(&b->log, p, n);
	for (unsigned i = 0; i < b->follower_count; i++)
		b->followers[i].on_log(b->followers[i].arg, p, n);
}

static void build_vsay(struct build *b, const char *fmt, va_list ap)
{
	char text[1024];
	int n = vsnprintf(text, sizeof text - 1, fmt, ap);

	if (n < 0)
		return;
	if ((size_t)n > sizeof text - 2)
		n = sizeof text - 2;
	text[n++] = '\n';
	build_out(b, text, (size_t)n);
}

void build_line(struct build *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	build_vsay(b, fmt, ap);
	va_end(ap);
}

void build_say(struct builds *bs, int64_t build, const char *fmt, ...)
{
	struct build *b = build_find(bs, build);
	va_list ap;

	if (!b)
		return;
	va_start(ap, fmt);
	build_vsay(b, fmt, ap);
	va_end(ap);
}

static void build_free(void *arg)
{
	free(arg);
}

/* Takes it out of all lists and closes what it holds; the memory goes at the end of the turn. */
static void build_drop(struct build *b)
{
	struct builds *bs = b->builds;

	for (unsigned i = 0; i < BUILD_JOB_COUNT; i++)
		if (b->jobs[i].id)
			bs->host->job_stop(bs->host->ctx, &b->jobs[i], true);
	build_pump_stop(b);
	build_log_close(&b->log);
	if (b->has_slot)
		bs->running--;
	b->gone = true;
	TAILQ_REMOVE(&bs->all, b, link);
	bs->count--;
	manifest_done(&b->manifest);
	loop_defer(bs->loop, build_free, b);
}

void builds_free(struct builds *bs)
{
	if (!bs)
		return;
	while (!TAILQ_EMPTY(&bs->all))
		build_drop(TAILQ_FIRST(&bs->all));
	free(bs);
}

/* The last step of every build: records, tells the followers, frees.  error NULL = all went well. */
static void build_end(struct build *b, const char *error)
{
	struct builds *bs = b->builds;
	struct ops_log_fn followers[BUILD_FOLLOWERS];
	unsigned n = b->follower_count;
	struct model_build rec;
	uint32_t version = b->version;
	char text[300];
	struct err e = {0};

	if (b->rec.state == MODEL_BUILD_RUNNING) {
		b->rec.state = error ? MODEL_BUILD_FAILED : MODEL_BUILD_SUCCEEDED;
		b->rec.finished_ms = clock_wall_ms();
		if (error) {
			utf8_escape(b->rec.error, sizeof b->rec.error, error, strlen(error));
			if (b->stored)
				bs->host->remove_tree(bs->host->ctx, b->rec.id);
			snprintf(text, sizeof text, "Build %" PRId64 " failed: %s", b->rec.id, b->rec.error);
			bs->host->event(bs->host->ctx, b->app, "build.failed", text);
		}
		if (store_build_update(bs->store, &b->rec, &e) < 0 && e.code != ENOENT)
			LOG_WARN("build record", "app=%s build=%" PRId64 " error=\"%s\"", b->name, b->rec.id, e.text);
		bs->host->written(bs->host->ctx);
	}
	memcpy(followers, b->followers, sizeof followers);
	rec = b->rec;
	snprintf(text, sizeof text, "%s", error ? error : "");
	build_drop(b);
	for (unsigned i = 0; i < n; i++)
		followers[i].on_done(followers[i].arg, &rec, version, error ? text : NULL);
	build_next(bs);
}

/* Fails with a line in the log. */
void build_fail(struct build *b, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	/* Often the reason is the log's last line already. */
	if (strcmp(b->log.last + strspn(b->log.last, " !"), text) != 0)
		build_line(b, "\n !     %s\n !", text);
	build_end(b, text);
}

/* Fails with what stopped a step; a limit is named, so that who waits learns a refusal from a failure. */
static void build_refuse(struct build *b, const struct err *e)
{
	if (e->code == EDQUOT)
		snprintf(b->rec.limit, sizeof b->rec.limit, "%.23s", e->field);
	build_fail(b, "%s", e->text);
}

/* The jobs' launch messages: what one build sandbox may use. */
static void build_launch_init(const struct build *b, struct msg_launch *m, enum msg_kind kind, const char *type)
{
	*m = (struct msg_launch){
		.kind = kind,
		.object = (uint64_t)b->rec.id,
		.egress = {.mode = kind == MSG_KIND_STORE ? QUOTA_EGRESS_NONE : QUOTA_EGRESS_PUBLIC},
		.limits = b->builds->settings->build,
		.deadline_ms = (uint32_t)b->builds->settings->build_time_ms,
	};
	snprintf(m->type, sizeof m->type, "%s", type);
}

static void build_on_exit(void *arg, const struct msg_instance *m)
{
	struct build_on *on = arg;
	struct build *b = on->build;

	b->exits[on->job] = *m;
	b->ended[on->job] = true;
	build_pump_drain(b);
	build_step(b);
}

static int build_job(struct build *b, enum build_job_id id, struct msg_launch *m, struct blob *blob, const int *fds,
		     size_t nfds, struct err *e)
{
	OWN_FD int fd = blob_seal(blob, e);

	if (fd < 0)
		return fd;
	b->on[id] = (struct build_on){b, id};
	b->jobs[id] =
		(struct build_job){.tenant = b->tenant, .app = b->app, .on_exit = build_on_exit, .arg = &b->on[id]};
	m->stdio_count = (uint32_t)nfds;
	return b->builds->host->job_start(b->builds->host->ctx, &b->jobs[id], m, fd, fds, nfds, e);
}

static void build_unpack_args(struct blob *blob, const char *to, uint64_t bytes)
{
	blob_arg(blob, "@unpack");
	blob_arg(blob, "--to");
	blob_arg(blob, to);
	blob_arg(blob, "--max-bytes");
	blob_argf(blob, "%" PRIu64, bytes);
	blob_arg(blob, "--max-entries");
	blob_argf(blob, "%u", LIMIT_TREE_ENTRIES);
}

/* RUNNING begins: the build sandbox starts; the store sandbox follows with the first byte of the tree
 * (build_slug_comes). */
static int build_begin(struct build *b, struct err *e)
{
	OWN_BLOB struct blob blob = {0};
	OWN_FREE char *config = NULL;
	struct msg_launch m;
	uint64_t bytes = b->builds->settings->build.disk;
	int r;

	blob_init(&blob);
	r = build_pump_start(b, e);
	if (r == 0)
		r = store_config_json(b->builds->store, b->app, &config, e);
	if (r < 0)
		return r;
	build_unpack_args(&blob, "/app", bytes < LIMIT_TREE_BYTES ? bytes : LIMIT_TREE_BYTES);
	if (strcmp(b->rec.source, "git") == 0)
		blob_arg(&blob, "--stop-at-end");
	blob_arg(&blob, "--");
	blob_arg(&blob, "/buildpacks/driver");
	blob_config(&blob, "TULOU_VAR_", config);
	blob_env(&blob, "TULOU_APP", b->name);
	blob_envf(&blob, "SOURCE_VERSION", "%s", b->rec.commit);
	blob_envf(&blob, "STACK", "tulou-1");
	blob_envf(&blob, "TULOU_MANIFEST_MAX", "%u", LIMIT_MANIFEST_BYTES / 4);
	build_launch_init(b, &m, MSG_KIND_BUILD, "build");
	r = build_job(b, BUILD_JOB_BUILD, &m, &blob,
		      (int[]){b->source, b->log_w, b->log_w, b->slug_w, b->manifest_w, b->cache_in, b->cache_w}, 7, e);
	if (r == 0)
		build_pump_given(b);
	return r;
}

void build_slug_comes(struct build *b)
{
	OWN_BLOB struct blob blob = {0};
	struct msg_launch m;
	struct err e = {0};

	blob_init(&blob);
	build_unpack_args(&blob, "/out/app", LIMIT_TREE_BYTES);
	blob_arg(&blob, "--absolute-links");
	blob_arg(&blob, "--report");
	build_launch_init(b, &m, MSG_KIND_STORE, "store");
	b->storing = true;
	if (build_job(b, BUILD_JOB_STORE, &m, &blob, (int[]){b->slug_r, b->result_w, b->log_w}, 3, &e) < 0)
		build_refuse(b, &e);
	else
		own_close(&b->slug_r);
}

/* The command that a release runs before it goes live (Procfile's `release`). */
static int build_release_command(struct build *b, struct err *e)
{
	OWN_BLOB struct blob blob = {0};
	OWN_FREE char *config = NULL, *env = NULL;
	OWN_FD int none = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct msg_launch m;
	int r = store_config_json(b->builds->store, b->app, &config, e);

	if (r < 0)
		return r;
	env = json_dumps(b->manifest.app.env, JSON_COMPACT);
	blob_init(&blob);
	blob_command(&blob, b->manifest.app.release_command, b->manifest.profile);
	blob_config(&blob, "", env);
	blob_config(&blob, "", config); /* later ones count */
	blob_env(&blob, "TULOU_APP", b->name);
	blob_env(&blob, "TULOU_INSTANCE", "release");
	build_launch_init(b, &m, MSG_KIND_RUN, "release");
	b->stage = BUILD_STAGE_RELEASE;
	build_line(b, "-----> Running release command: %s", b->manifest.app.release_command);
	return build_job(b, BUILD_JOB_RELEASE, &m, &blob, (int[]){none, b->log_w, b->log_w}, 3, e);
}

static void build_roll_out(struct build *b)
{
	struct builds *bs = b->builds;
	struct err e = {0};
	char note[128];

	b->stage = BUILD_STAGE_ROLLOUT;
	b->rec.state = MODEL_BUILD_SUCCEEDED;
	b->rec.finished_ms = clock_wall_ms();
	if (b->has_slot) {
		b->has_slot = false;
		bs->running--;
	}
	if (store_build_update(bs->store, &b->rec, &e) < 0) {
		b->rec.state = MODEL_BUILD_RUNNING;
		build_fail(b, "the build could not be recorded: %s", e.text);
		return;
	}
	bs->host->written(bs->host->ctx);
	snprintf(note, sizeof note, "Build %" PRId64 " of %s succeeded (%" PRIu64 " KiB)", b->rec.id, b->name,
		 b->rec.bytes >> 10);
	bs->host->event(bs->host->ctx, b->app, "build.succeeded", note);
	if (b->rec.commit[0])
		snprintf(note, sizeof note, "Deploy %.8s", b->rec.commit);
	else
		snprintf(note, sizeof note, "Deploy a tarball");
	build_line(b, "-----> Launching...");
	if (bs->host->roll_out(bs->host->ctx, &b->rec, &b->manifest, note, &b->version, &e) < 0) {
		b->rec.state = MODEL_BUILD_RUNNING; /* so that it ends as failed and its tree goes */
		build_refuse(b, &e);
	} else {
		build_line(b, "       Released v%" PRIu32, b->version);
		build_next(bs);
	}
}

/* Both jobs of RUNNING ended well, or the build has failed. */
static void build_made(struct build *b)
{
	const struct msg_instance *m = &b->exits[BUILD_JOB_BUILD];
	uint64_t bytes;
	char why[200];
	struct err e = {0};

	if (m->exit != MSG_EXIT_CODE || m->exit_code != 0) {
		build_exit_text(m, why, sizeof why);
		if (m->exit == MSG_EXIT_CODE && b->log.last[0])
			build_fail(b, "%s", b->log.last + strspn(b->log.last, " !"));
		else
			build_fail(b, "The build %s", why);
		return;
	}
	if (!b->storing) {
		build_fail(b, "The build made no tree");
		return;
	}
	m = &b->exits[BUILD_JOB_STORE];
	if (m->exit != MSG_EXIT_CODE || m->exit_code != 0) {
		build_exit_text(m, why, sizeof why);
		build_fail(b, "Storing the built tree failed: %s",
			   m->exit == MSG_EXIT_CODE && b->log.last[0] ? b->log.last + strspn(b->log.last, " !") : why);
		return;
	}
	b->stored = true;
	if (parse_u64(b->result, strcspn(b->result, " \n"), 0, UINT64_MAX, "bytes", &bytes, NULL) == 0)
		b->rec.bytes = bytes;
	if (b->manifest_in.failed) {
		build_fail(b, "Procfile, app.json, tulou.yaml and the buildpack's release are larger than %u KiB",
			   LIMIT_MANIFEST_BYTES >> 10);
		return;
	}
	if (manifest_parse(b->manifest_in.data ? b->manifest_in.data : "", b->manifest_in.len, &b->manifest, &e) < 0) {
		bool named = !e.field[0] || strstr(e.text, e.field);
		build_fail(b, "%s%s%s", named ? "" : e.field, named ? "" : ": ", e.text);
		return;
	}
	snprintf(b->rec.buildpack, sizeof b->rec.buildpack, "%s", b->manifest.buildpack);
	if (!b->manifest.app.type_count ||
	    (b->manifest.app.type_count == 1 && strcmp(b->manifest.app.types[0].name, "release") == 0)) {
		build_fail(b, "No process type: add a Procfile (\"web: command\"), or an index.html for a static site");
		return;
	}
	build_pump_cache_keep(b);
	if (b->manifest.app.release_command[0]) {
		if (build_release_command(b, &e) < 0)
			build_fail(b, "The release command could not be started: %s", e.text);
		return;
	}
	build_roll_out(b);
}

void build_step(struct build *b)
{
	const struct msg_instance *m = &b->exits[BUILD_JOB_RELEASE];
	char why[200];

	if (b->gone)
		return;
	if (b->stage == BUILD_STAGE_RUNNING && b->ended[BUILD_JOB_BUILD] &&
	    (!b->storing || b->ended[BUILD_JOB_STORE])) {
		build_made(b);
	} else if (b->stage == BUILD_STAGE_RUNNING && b->ended[BUILD_JOB_STORE] &&
		   (b->exits[BUILD_JOB_STORE].exit != MSG_EXIT_CODE || b->exits[BUILD_JOB_STORE].exit_code != 0)) {
		/* The store refused the tree: the build's tar is broken off, so its own failure says nothing. */
		build_exit_text(&b->exits[BUILD_JOB_STORE], why, sizeof why);
		build_fail(b, "Storing the built tree failed: %s",
			   b->exits[BUILD_JOB_STORE].exit == MSG_EXIT_CODE && b->log.last[0]
				   ? b->log.last + strspn(b->log.last, " !")
				   : why);
	} else if (b->stage == BUILD_STAGE_RELEASE && b->ended[BUILD_JOB_RELEASE]) {
		if (m->exit == MSG_EXIT_CODE && m->exit_code == 0) {
			build_roll_out(b);
		} else {
			build_exit_text(m, why, sizeof why);
			build_fail(b, "The release command %s", why);
		}
	}
}

/* Gives free slots to those that wait longest. */
static void build_next(struct builds *bs)
{
	struct build *b, *next;
	struct err e = {0};

	for (b = TAILQ_FIRST(&bs->all); b && bs->running < bs->settings->build_concurrent; b = next) {
		next = TAILQ_NEXT(b, link);
		if (b->stage != BUILD_STAGE_QUEUED)
			continue;
		b->stage = BUILD_STAGE_RUNNING;
		b->has_slot = true;
		bs->running++;
		if (build_begin(b, &e) < 0) {
			build_refuse(b, &e);
			return; /* build_end has called this again */
		}
	}
}

static void build_on_first(void *arg)
{
	struct builds *bs = arg;

	bs->deferred = false;
	build_next(bs);
}

int build_start(struct builds *bs, const struct model_app *app, const char *source, const char *commit, int source_fd,
		const struct ops_log_fn *follower, int64_t *ret, struct err *e)
{
	OWN_FD int fd = source_fd;
	struct build *b;
	char text[160];
	int r;

	if (build_running(bs, app->id, NULL))
		return err_set(e, EBUSY, "a build of this app is running");
	if (bs->count >= BUILD_QUEUE_MAX)
		return err_set(e, EAGAIN, "%u builds are waiting on this node: try again in a minute", BUILD_QUEUE_MAX);
	b = calloc(1, sizeof *b);
	if (!b)
		return err_set(e, ENOMEM, "out of memory");
	r = store_build_add(bs->store, app->id, source, commit, &b->rec, e);
	if (r < 0) {
		free(b);
		return r;
	}
	bs->host->written(bs->host->ctx);
	build_pump_init(b);
	b->builds = bs;
	b->app = app->id;
	b->tenant = app->tenant;
	snprintf(b->name, sizeof b->name, "%s", app->name);
	manifest_init(&b->manifest);
	b->source = TAKE_FD(fd);
	b->followers[b->follower_count++] = *follower;
	TAILQ_INSERT_TAIL(&bs->all, b, link);
	bs->count++;
	if (build_log_open(&b->log, bs->control_dir, b->rec.id, e) < 0)
		LOG_WARN("build log", "app=%s build=%" PRId64 " error=\"%s\"", app->name, b->rec.id, e ? e->text : "");
	snprintf(text, sizeof text, "Build %" PRId64 " of %s started from %s%s%.8s", b->rec.id, app->name, source,
		 commit[0] ? " commit " : "", commit);
	bs->host->event(bs->host->ctx, b->app, "build.started", text);
	if (bs->running >= bs->settings->build_concurrent)
		build_line(b, "-----> Waiting for a free build slot");
	*ret = b->rec.id;
	/* Not now: the caller is to know the id before the first line, and before a failure. */
	if (!bs->deferred)
		loop_defer(bs->loop, build_on_first, bs);
	bs->deferred = true;
	return 0;
}

int build_follow(struct builds *bs, int64_t build, const struct ops_log_fn *follower, struct err *e)
{
	struct build *b = build_find(bs, build);

	if (!b)
		return err_set(e, ENOENT, "build %" PRId64 " is not running", build);
	if (b->follower_count == BUILD_FOLLOWERS)
		return err_set(e, EAGAIN, "%u clients follow this build already", BUILD_FOLLOWERS);
	b->followers[b->follower_count++] = *follower;
	return 0;
}

void build_unfollow(struct builds *bs, int64_t build, void *arg)
{
	struct build *b = build_find(bs, build);

	for (unsigned i = 0; b && i < b->follower_count; i++)
		if (b->followers[i].arg == arg)
			b->followers[i--] = b->followers[--b->follower_count];
}

void build_cancel(struct builds *bs, int64_t build, const char *reason)
{
	struct build *b = build_find(bs, build);

	if (b && b->stage != BUILD_STAGE_ROLLOUT)
		build_fail(b, "%s", reason);
}

void build_rolled(struct builds *bs, int64_t build, const char *error, const char *limit)
{
	struct build *b = build_find(bs, build);

	if (!b || b->stage != BUILD_STAGE_ROLLOUT)
		return;
	snprintf(b->rec.limit, sizeof b->rec.limit, "%.23s", error ? limit : "");
	build_end(b, error);
}

void build_app_gone(struct builds *bs, int64_t app)
{
	char path[300];
	int64_t id;

	if (build_running(bs, app, &id))
		build_end(build_find(bs, id), "the app was deleted");
	snprintf(path, sizeof path, "%s/cache/%" PRId64 ".tar", bs->control_dir, app);
	unlink(path);
}

void build_log_remove(const char *control_dir, int64_t build)
{
	char path[300];

	snprintf(path, sizeof path, "%s/builds/%" PRId64 ".log", control_dir, build);
	unlink(path);
}

void build_exit_text(const struct msg_instance *m, char *out, size_t cap)
{
	out[0] = 0;
	switch ((enum msg_exit)m->exit) {
	case MSG_EXIT_CODE:
		if (m->exit_code)
			snprintf(out, cap, "ended with exit code %d", (int)m->exit_code);
		break;
	case MSG_EXIT_SIGNAL: {
		const char *sig = sigabbrev_np(m->exit_code - 128);
		snprintf(out, cap, "was ended by SIG%s", sig ? sig : "?");
		break;
	}
	case MSG_EXIT_OOM:
		if (m->oom == MSG_OOM_TENANT)
			snprintf(out, cap, "was killed: the tenant's memory total of %" PRIu64 " MiB was reached",
				 m->memory_total >> 20);
		else if (m->oom == MSG_OOM_HOST)
			snprintf(out, cap, "was killed: the host had no memory left");
		else
			snprintf(out, cap, "ran out of memory (limit %" PRIu64 " MiB)", m->memory_limit >> 20);
		break;
	case MSG_EXIT_DEADLINE:
		snprintf(out, cap, "took longer than it may and was ended");
		break;
	case MSG_EXIT_LAUNCH:
		snprintf(out, cap, "could not be started: %.*s", (int)sizeof m->text, m->text);
		break;
	case MSG_EXIT_NONE:
	case MSG_EXIT_STOPPED:
	case MSG_EXIT_KILLED:
	case MSG_EXIT_LOST:
	case MSG_EXIT_COUNT:
	default:
		snprintf(out, cap, "was stopped by the node");
	}
}
