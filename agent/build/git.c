/* git over HTTP: one sandboxed job per exchange.  Layer agent, control process.
 *
 *   client --API--> [GIT job: /buildpacks/git-service -> git receive-pack -> hooks/pre-receive] --API--> client
 *                        | announcement "ref old new\n"   | source tar        ^ build log     ^ verdict
 *                        v                                v                   |               |
 *                     git_announced() --------------> build_start(…) ---- follower ------- "ok" or "no"
 *
 * The hook shows the log as `remote:` lines and accepts the push only on "ok"; when control dies, it reads an end of
 * file instead and refuses. */
#include "agent/build/build_private.h"

#include "base/fd.h"
#include "base/log.h"

#include <inttypes.h>
#include <unistd.h>

#define GIT_MAX 32		 /* exchanges of a node at the same time */
#define GIT_APP_MAX 6		 /* of one app */
#define GIT_LOG_BUFFER (1 << 20) /* build log waiting for a slow client; more is dropped with a mark */
#define GIT_ANNOUNCE 256	 /* bytes of one announcement */

struct gits {
	struct builds *builds; /* borrowed */
	LIST_HEAD(git_list, git) all;
	unsigned count;
};

struct git {
	struct gits *gits;
	LIST_ENTRY(git) link;
	struct model_app app;
	struct build_job job;
	int err_r, ann_r, src_r, log_w, ver_w; /* owned; -1 = closed */
	struct loop_io err_io, ann_io, log_io;
	char ann[GIT_ANNOUNCE];
	size_t ann_len;
	char said[256]; /* the newest bytes of the service's standard error, for our log */
	size_t said_len;
	struct buf log;	 /* build log not yet taken by the pipe */
	bool log_lost;	 /* bytes were dropped since the last mark */
	bool log_ending; /* close log_w when `log` is empty */
	int64_t build;	 /* 0 = none */
	bool decided, gone;
};

struct gits *gits_new(struct builds *bs)
{
	struct gits *gs = calloc(1, sizeof *gs);

	if (gs)
		gs->builds = bs;
	return gs;
}

static void git_free(void *arg)
{
	struct git *g = arg;

	buf_done(&g->log);
	free(g);
}

/* The exchange is over: the job has ended, or is not wanted any more. */
static void git_close(struct git *g)
{
	struct builds *bs = g->gits->builds;
	int *const fds[] = {&g->err_r, &g->ann_r, &g->src_r, &g->log_w, &g->ver_w};

	if (g->gone)
		return;
	g->gone = true;
	if (g->job.id)
		builds_host(bs)->job_stop(builds_host(bs)->ctx, &g->job, true);
	loop_io_stop(&g->err_io);
	loop_io_stop(&g->ann_io);
	loop_io_stop(&g->log_io);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		own_close(fds[i]);
	LIST_REMOVE(g, link);
	g->gits->count--;
	if (g->build) {
		build_unfollow(bs, g->build, g);
		build_cancel(bs, g->build, "the push was interrupted");
	}
	loop_defer(builds_loop(bs), git_free, g);
}

void gits_free(struct gits *gs)
{
	if (!gs)
		return;
	while (!LIST_EMPTY(&gs->all))
		git_close(LIST_FIRST(&gs->all));
	free(gs);
}

static void git_flush(struct git *g)
{
	while (g->log.len && g->log_w >= 0) {
		ssize_t n = write(g->log_w, g->log.data, g->log.len);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) { /* the hook is gone; the job's end follows */
			buf_clear(&g->log);
			break;
		}
		buf_consume(&g->log, (size_t)n);
	}
	loop_io_stop(&g->log_io);
	if (g->log_ending)
		own_close(&g->log_w);
}

static void git_on_log_room(void *arg, short what)
{
	(void)what;
	git_flush(arg);
}

static void git_on_log(void *arg, const char *p, size_t n)
{
	static const char mark[] = "\n[tulou] part of the log left out: the connection is slower than the build\n";
	struct git *g = arg;

	if (g->gone || g->log_w < 0)
		return;
	if (g->log_lost && g->log.len < GIT_LOG_BUFFER / 2) {
		buf_add(&g->log, mark, sizeof mark - 1);
		g->log_lost = false;
	}
	if (g->log_lost || buf_add(&g->log, p, n) < 0) {
		g->log_lost = true;
		g->log.failed = 0;
	}
	if (!g->log_io.loop)
		git_flush(g);
	if (g->log.len && !g->log_io.loop)
		loop_io_start(builds_loop(g->gits->builds), &g->log_io, g->log_w, EV_WRITE, git_on_log_room, g);
}

/* Tells the hook; text is shown to the pusher first. */
static void git_decide(struct git *g, bool ok, const char *text)
{
	if (g->decided || g->gone)
		return;
	g->decided = true;
	if (text) {
		git_on_log(g, "\n !     ", 8);
		git_on_log(g, text, strlen(text));
		git_on_log(g, "\n", 1);
	}
	own_close(&g->src_r);
	if (g->ver_w >= 0 && fd_write_all(g->ver_w, ok ? "ok\n" : "no\n", 3) < 0)
		LOG_DEBUG("verdict not taken", "app=%s", g->app.name);
	own_close(&g->ver_w);
	g->log_ending = true;
	if (!g->log.len)
		own_close(&g->log_w);
}

static void git_on_built(void *arg, const struct model_build *b, uint32_t version, const char *error)
{
	struct git *g = arg;

	(void)b;
	(void)version;
	g->build = 0;
	/* The reason stands in the build's log already. */
	git_decide(g, !error, NULL);
}

/* "refs/heads/main OLD NEW" of a branch that is deployed. */
static void git_announced(struct git *g, char *line)
{
	struct ops_log_fn follower = {git_on_log, git_on_built, g};
	char *old = strchr(line, ' '), *fresh = old ? strchr(old + 1, ' ') : NULL;
	struct err e = {0};

	if (!fresh || strlen(fresh + 1) < 40 || strlen(fresh + 1) > 64 ||
	    fresh[1 + strspn(fresh + 1, "0123456789abcdef")] != 0 || g->build || g->decided) {
		git_decide(g, false, "the node did not understand the push");
		return;
	}
	if (build_start(g->gits->builds, &g->app, "git", fresh + 1, TAKE_FD(g->src_r), &follower, &g->build, &e) < 0) {
		g->build = 0;
		git_decide(g, false, e.text);
	}
}

static void git_on_announcement(void *arg, short what)
{
	struct git *g = arg;
	ssize_t n = read(g->ann_r, g->ann + g->ann_len, sizeof g->ann - 1 - g->ann_len);
	char *nl;

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		g->ann_len += (size_t)n;
		g->ann[g->ann_len] = 0;
		nl = strchr(g->ann, '\n');
		if (!nl && g->ann_len < sizeof g->ann - 1)
			return;
		if (nl)
			*nl = 0;
	}
	loop_io_stop(&g->ann_io);
	own_close(&g->ann_r);
	if (n > 0)
		git_announced(g, g->ann);
}

/* git's own complaints go to the client by the side band; what is left on standard error is for our log. */
static void git_on_err(void *arg, short what)
{
	struct git *g = arg;
	char buf[1024];
	ssize_t n = read(g->err_r, buf, sizeof buf);

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		loop_io_stop(&g->err_io);
		return;
	}
	for (ssize_t i = 0; i < n && g->said_len < sizeof g->said - 1; i++)
		g->said[g->said_len++] = buf[i];
}

static void git_on_exit(void *arg, const struct msg_instance *m)
{
	struct git *g = arg;
	char why[256];

	git_on_err(g, EV_READ);
	if (m->exit != MSG_EXIT_CODE || m->exit_code != 0) {
		build_exit_text(m, why, sizeof why);
		LOG_INFO("git service", "app=%s result=\"%s\" said=\"%.*s\"", g->app.name, why, (int)g->said_len,
			 g->said);
	}
	git_close(g);
}

static int git_pipe(int *r, int *w, struct err *e)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_errno(e, "the node cannot open the push's pipes");
	*r = p[0];
	*w = p[1];
	return 0;
}

static int git_launch(struct git *g, const char *service, bool advertise, const char *protocol, bool gzip,
		      const int *fds, size_t nfds, struct err *e)
{
	const struct settings *s = builds_settings(g->gits->builds);
	const struct build_host *host = builds_host(g->gits->builds);
	OWN_BLOB struct blob blob = {0};
	OWN_FD int fd = -1;
	struct msg_launch m = {
		.kind = MSG_KIND_GIT,
		.egress = {.mode = QUOTA_EGRESS_NONE},
		.stdio_count = (uint32_t)nfds,
		.limits = s->build,
		.deadline_ms = (uint32_t)(s->build_time_ms + s->health_ms + LIMIT_BUILD_MS),
		.type = "git",
	};

	blob_init(&blob);
	blob_arg(&blob, "/buildpacks/git-service");
	blob_arg(&blob, service);
	blob_arg(&blob, advertise ? "advertise" : gzip ? "gzip" : "serve");
	if (protocol[0])
		blob_env(&blob, "GIT_PROTOCOL", protocol);
	blob_env(&blob, "TULOU_APP", g->app.name);
	blob_envf(&blob, "TULOU_MAX_INPUT", "%llu", LIMIT_SOURCE_BYTES);
	blob_envf(&blob, "TULOU_MAX_REPO_KIB", "%llu", LIMIT_REPO_BYTES >> 10);
	fd = blob_seal(&blob, e);
	if (fd < 0)
		return fd;
	g->job = (struct build_job){.tenant = g->app.tenant, .app = g->app.id, .on_exit = git_on_exit, .arg = g};
	return host->job_start(host->ctx, &g->job, &m, fd, fds, nfds, e);
}

static unsigned git_count(struct gits *gs, int64_t app)
{
	unsigned n = 0;
	struct git *g;

	LIST_FOREACH(g, &gs->all, link)
	{
		n += g->app.id == app;
	}
	return n;
}

int git_start(struct gits *gs, const struct model_app *app, const char *service, bool advertise, const char *protocol,
	      bool gzip, struct ops_git *ret, struct err *e)
{
	bool push = strcmp(service, "git-receive-pack") == 0, hooks = push && !advertise;
	OWN_FD int in_r = -1, in_w = -1, out_r = -1, out_w = -1, err_w = -1, src_w = -1, log_r = -1, ann_w = -1,
		   ver_r = -1;
	struct git *g;
	int r;

	if (!push && strcmp(service, "git-upload-pack") != 0)
		return err_field(e, EINVAL, "service", "%s is not a service of git", service);
	if (protocol[0] && strcmp(protocol, "version=1") != 0 && strcmp(protocol, "version=2") != 0)
		return err_field(e, EINVAL, "Git-Protocol", "only version=1 and version=2 are known");
	if (gs->count >= GIT_MAX || git_count(gs, app->id) >= GIT_APP_MAX)
		return err_set(e, EAGAIN, "too many git exchanges at the same time: try again");
	g = calloc(1, sizeof *g);
	if (!g)
		return err_set(e, ENOMEM, "out of memory");
	g->gits = gs;
	g->app = *app;
	g->err_r = g->ann_r = g->src_r = g->log_w = g->ver_w = -1;
	buf_init(&g->log, GIT_LOG_BUFFER);
	r = git_pipe(&in_r, &in_w, e);
	if (r == 0)
		r = git_pipe(&out_r, &out_w, e);
	if (r == 0)
		r = git_pipe(&g->err_r, &err_w, e);
	if (r == 0 && hooks && (r = git_pipe(&g->src_r, &src_w, e)) == 0 && (r = git_pipe(&log_r, &g->log_w, e)) == 0 &&
	    (r = git_pipe(&g->ann_r, &ann_w, e)) == 0)
		r = git_pipe(&ver_r, &g->ver_w, e);
	LIST_INSERT_HEAD(&gs->all, g, link);
	gs->count++;
	if (r == 0)
		r = git_launch(g, service, advertise, protocol, gzip,
			       (int[]){in_r, out_w, err_w, src_w, log_r, ann_w, ver_r}, hooks ? 7 : 3, e);
	if (r == 0 && (fd_nonblock(in_w) < 0 || fd_nonblock(out_r) < 0 || fd_nonblock(g->err_r) < 0 ||
		       loop_io_start(builds_loop(gs->builds), &g->err_io, g->err_r, EV_READ, git_on_err, g) < 0))
		r = err_set(e, ENOMEM, "out of memory");
	if (r == 0 && hooks &&
	    (fd_nonblock(g->ann_r) < 0 || fd_nonblock(g->log_w) < 0 ||
	     loop_io_start(builds_loop(gs->builds), &g->ann_io, g->ann_r, EV_READ, git_on_announcement, g) < 0))
		r = err_set(e, ENOMEM, "out of memory");
	if (r < 0) {
		git_close(g);
		return r;
	}
	*ret = (struct ops_git){TAKE_FD(in_w), TAKE_FD(out_r)};
	return 0;
}

void git_app_gone(struct gits *gs, int64_t app)
{
	struct git *g, *next;

	for (g = LIST_FIRST(&gs->all); g; g = next) {
		next = LIST_NEXT(g, link);
		if (g->app.id == app)
			git_close(g);
	}
}
