#include "tests/unit/test_api_fixture.h"

#include "base/fd.h"
#include "base/own.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

extern char **environ;

static void turn(void *arg)
{
	struct fix *f = arg;

	f->turn_armed = false;
	f->commits++;
	if (f->fail_commit) {
		store_rollback(f->store);
		api_commit_failed(f->api);
	} else {
		cr_assert_eq(store_commit(f->store, NULL), 0);
		api_committed(f->api);
		api_state_changed(f->api);
	}
}

static void fake_written(void *ctx)
{
	struct fix *f = ctx;

	if (f->turn_armed)
		return;
	f->turn_armed = true;
	loop_defer(f->loop, turn, f);
}

static void fake_app_changed(void *ctx, int64_t app)
{
	(void)app;
	((struct fix *)ctx)->app_changed++;
}

static json_t *fake_latency(void *ctx, int64_t app)
{
	(void)ctx;
	return json_pack("{s:{s:I}}", "recent", "requests", (json_int_t)app);
}

/* A node whose only client asks for one path; for=3s never ends by itself. */
static int fake_talkers(void *ctx, const struct ops_talkers *ask, struct err *e)
{
	struct fix *f = ctx;

	if (f->busy)
		return err_set(e, EBUSY, "4 of this tenant look already");
	if (ask->ms != 3000)
		ask->done(ask->arg, json_pack("{s:s, s:I, s:i, s:i, s:[{s:s}]}", "by", talk_by_name(ask->by), "app",
					      (json_int_t)ask->app, "ms", (int)ask->ms, "limit", (int)ask->limit,
					      "clients", "name", "192.0.2.1"));
	return 0;
}

static void fake_talkers_cancel(void *ctx, void *arg)
{
	(void)arg;
	((struct fix *)ctx)->talks_cancelled++;
}

static void fake_app_deleted(void *ctx, const struct model_app *app)
{
	(void)app;
	((struct fix *)ctx)->app_deleted++;
}

static void fake_tenant_changed(void *ctx, int64_t tenant)
{
	(void)tenant;
	((struct fix *)ctx)->tenant_changed++;
}

static void fake_tenant_used(void *ctx, int64_t tenant, struct quota *used, struct ops_tenant_usage *usage)
{
	(void)ctx;
	(void)tenant;
	*used = (struct quota){.memory = 192 << 20, .inodes = 77};
	*usage = (struct ops_tenant_usage){.known = true, .memory = 50 << 20, .pids_hits = 3};
}

static int fake_release_new(void *ctx, int64_t app, int64_t from, bool use_config, const char *note, uint32_t *version,
			    struct err *e)
{
	struct fix *f = ctx;
	struct model_release r = {.app = app}, src = {0};
	struct model_app a;
	int ret;

	if (f->busy)
		return err_set(e, EBUSY, "another roll-out is running");
	store_app_get(f->store, app, &a, NULL);
	store_release_get(f->store, from ? from : a.release, &src, NULL);
	snprintf(r.note, sizeof r.note, "%s", note);
	r.build = src.build;
	r.types_json = strdup(src.types_json ? src.types_json : "{}");
	if (use_config)
		r.config_json = strdup(src.config_json);
	else
		store_config_release(f->store, app, NULL, &r.config_json, NULL);
	r.app_json = strdup("{}");
	if (strcmp(r.config_json, src.config_json) == 0)
		r.origin = src.origin ? src.origin : src.id;
	ret = store_release_add(f->store, &r, e);
	*version = r.version;
	f->released++;
	model_release_done(&r);
	model_release_done(&src);
	return ret;
}

static void upload_on_readable(void *arg, short what)
{
	struct fix *f = arg;
	char chunk[65536];
	ssize_t n;

	(void)what;
	if (f->upload_pause) {
		loop_io_stop(&f->upload_io);
		return;
	}
	n = read(f->upload_fd, chunk, sizeof chunk);
	if (n > 0) {
		f->upload_bytes += (uint64_t)n;
		return;
	}
	loop_io_stop(&f->upload_io);
	own_close(&f->upload_fd);
	if (f->log.on_log) {
		struct model_build b = {.id = f->build, .state = MODEL_BUILD_SUCCEEDED};
		struct ops_log_fn log = f->log;
		f->log = (struct ops_log_fn){0};
		log.on_log(log.arg, "-----> half a \xe2\x82", 16);
		log.on_log(log.arg, "\xac and \xff\n", 8);
		log.on_done(log.arg, &b, 3, NULL);
	}
}

static int fake_build_tarball(void *ctx, int64_t app, const struct ops_log_fn *log, int *in, int64_t *build,
			      struct err *e)
{
	struct fix *f = ctx;
	struct model_build b;
	int p[2];

	if (f->busy)
		return err_set(e, EBUSY, "a build of this app is running");
	cr_assert_eq(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	store_build_add(f->store, app, "tarball", "", &b, NULL);
	fake_written(f);
	f->log = *log;
	f->build = *build = b.id;
	*in = p[1];
	f->upload_fd = p[0];
	if (f->upload_fail_early) {
		b.state = MODEL_BUILD_FAILED;
		own_close(&f->upload_fd);
		log->on_log(log->arg, "no good\n", 8);
		log->on_done(log->arg, &b, 0, "no good");
	} else
		loop_io_start(f->loop, &f->upload_io, f->upload_fd, EV_READ, upload_on_readable, f);
	return 0;
}

static void fake_log_cancel(void *ctx, int64_t build, void *arg)
{
	struct fix *f = ctx;

	(void)build;
	if (f->log.arg == arg)
		f->log = (struct ops_log_fn){0};
	f->log_cancelled++;
}

static void fake_build_cancel(void *ctx, int64_t build)
{
	(void)build;
	((struct fix *)ctx)->cancelled++;
}

static int fake_build_follow(void *ctx, int64_t build, const struct ops_log_fn *log, struct err *e)
{
	struct fix *f = ctx;

	if (build != f->build)
		return err_set(e, ENOENT, "not running");
	f->log = *log;
	return 0;
}

static void spawn(char *const argv[], const char *env, struct ops_git *ret)
{
	posix_spawn_file_actions_t fa;
	char *envp[] = {(char *)(uintptr_t)env, (char *)(uintptr_t) "PATH=/usr/bin:/bin:/usr/lib/git-core", NULL};
	int in[2], out[2];
	pid_t pid;

	cr_assert_eq(pipe2(in, O_CLOEXEC), 0);
	cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, in[0], 0);
	posix_spawn_file_actions_adddup2(&fa, out[1], 1);
	cr_assert_eq(posix_spawnp(&pid, argv[0], &fa, NULL, argv, envp), 0);
	posix_spawn_file_actions_destroy(&fa);
	close(in[0]);
	close(out[1]);
	fd_nonblock(in[1]);
	fd_nonblock(out[0]);
	*ret = (struct ops_git){.in = in[1], .out = out[0]};
}

static int fake_git(void *ctx, int64_t app, const char *service, bool advertise, const char *protocol, bool gzip,
		    struct ops_git *ret, struct err *e)
{
	struct fix *f = ctx;
	char env[64], word[32];
	const char *argv[] = {"git", word, "--stateless-rpc", f->repo, NULL, NULL};

	(void)app;
	(void)e;
	cr_assert_not(gzip);
	snprintf(env, sizeof env, "GIT_PROTOCOL=%s", protocol);
	snprintf(word, sizeof word, "%s", service + 4);
	if (advertise) {
		argv[3] = "--http-backend-info-refs";
		argv[4] = f->repo;
	}
	if (!*f->repo) { /* a service that dies at once */
		argv[0] = "false";
		argv[1] = NULL;
	}
	spawn((char *const *)(uintptr_t)argv, env, ret);
	return 0;
}

static struct {
	void (*done)(void *arg, int code, const char *text);
	void *arg;
} running;

static void run_ended(void *arg)
{
	(void)arg;
	running.done(running.arg, 7, "");
}

static int fake_run(void *ctx, int64_t app, const char *command, struct ops_git *ret,
		    void (*done)(void *arg, int code, const char *text), void *arg, struct err *e)
{
	static struct loop_timer t;
	const char *argv[] = {"sh", "-c", command, NULL};
	struct fix *f = ctx;

	(void)app;
	(void)e;
	spawn((char *const *)(uintptr_t)argv, "X=1", ret);
	running.done = done;
	running.arg = arg;
	memset(&t, 0, sizeof t);
	loop_timer_start(f->loop, &t, 300000, run_ended, NULL);
	return 0;
}

static void fake_instances(void *ctx, int64_t app, json_t *arr)
{
	(void)ctx;
	json_array_append_new(arr, json_pack("{s:s, s:s, s:I, s:s, s:I, s:I, s:f, s:i}", "id", "41", "type", "web",
					     "release", (json_int_t)1, "state", "running", "memory_bytes",
					     (json_int_t)(app * 1000), "memory_limit_bytes", (json_int_t)1000000,
					     "cpu_seconds", 1.5, "pids", 3));
}

static json_t *fake_app_stats(void *ctx, int64_t app)
{
	(void)ctx;
	return json_pack("{s:s, s:i, s:i, s:I, s:f, s:f, s:I, s:f}", "state", "running", "instances_running", 1,
			 "instances_wanted", 1, "memory_bytes", (json_int_t)(app * 1000), "cpu_cores", 0.25,
			 "cpu_seconds", 12.5, "requests_total", (json_int_t)5, "p99_ms", 1.25);
}

static json_t *fake_node(void *ctx)
{
	struct fix *f = ctx;

	return json_pack("{s:s, s:b, s:b, s:i}", "name", "test", "eligible", f->eligible, "draining", f->draining,
			 "cpus", 2);
}

static json_t *fake_history(void *ctx, int64_t app, unsigned minutes)
{
	(void)ctx;
	return json_pack("{s:i, s:I, s:i}", "step_seconds", 10, "app", (json_int_t)app, "minutes", (int)minutes);
}

static void fake_metrics(void *ctx, struct buf *out)
{
	(void)ctx;
	buf_adds(out, "# TYPE x gauge\nx{tenant=\"acme\",app=\"shop\"} 1\nx{tenant=\"evil\",app=\"theirs\"} 2\n"
		      "y{app=\"a\",why=\",tenant=\\\"acme\\\"\",tenant=\"evil\"} 3\nnode_x 4\n");
}

static int fake_node_set(void *ctx, int eligible, int draining, struct err *e)
{
	struct fix *f = ctx;

	(void)e;
	f->eligible = eligible < 0 ? f->eligible : eligible;
	f->draining = draining < 0 ? f->draining : draining;
	return 0;
}

static bool fake_ready(void *ctx)
{
	return !((struct fix *)ctx)->not_ready;
}

static int fake_instance_stop(void *ctx, int64_t app, int64_t instance, struct err *e)
{
	(void)app;
	if (instance != 41)
		return err_set(e, ENOENT, "none");
	((struct fix *)ctx)->stopped++;
	return 0;
}

struct call {
	void (*fn)(struct fix *f, void *arg);
	void *arg;
};

static void on_call(void *arg, short what)
{
	struct fix *f = arg;
	struct call c;
	ssize_t n = read(f->call[0], &c, sizeof c);

	(void)what;
	if (n != (ssize_t)sizeof c) {
		loop_stop(f->loop);
		return;
	}
	c.fn(f, c.arg);
	cr_assert_eq(write(f->call[0], "x", 1), 1);
}

void fix_call(struct fix *f, void (*fn)(struct fix *f, void *arg), void *arg)
{
	struct call c = {fn, arg};
	char ack;

	cr_assert_eq(write(f->call[1], &c, sizeof c), (ssize_t)sizeof c);
	cr_assert_eq(read(f->call[1], &ack, 1), 1);
}

static void *run(void *arg)
{
	loop_run(((struct fix *)arg)->loop);
	return NULL;
}

static void seed(struct fix *f)
{
	struct quota_limits limits = {.memory = 64 << 20,
				      .disk = 16 << 20,
				      .cpu = 500,
				      .pids = 64,
				      .nofile = 1024,
				      .net_packets = 20000,
				      .inodes = 4096,
				      .cpu_weight = 100,
				      .io_weight = 100};
	struct model_token t;
	struct err e = {0};

	cr_assert_eq(store_tenant_add(f->store, "acme", NULL, &f->acme, &e), 0, "%s", e.text);
	cr_assert_eq(store_tenant_add(f->store, "evil", NULL, &f->evil, &e), 0);
	cr_assert_eq(store_token_add(f->store, 0, MODEL_ROLE_OPERATOR, "op", f->operator, & t, &e), 0, "%s", e.text);
	cr_assert_eq(store_token_add(f->store, 0, MODEL_ROLE_FLEET, "fleet", f->fleet, &t, &e), 0);
	cr_assert_eq(store_token_add(f->store, f->acme.id, MODEL_ROLE_ADMIN, "a", f->admin, &t, &e), 0);
	cr_assert_eq(store_token_add(f->store, f->acme.id, MODEL_ROLE_DEPLOYER, "d", f->deployer, &t, &e), 0);
	cr_assert_eq(store_token_add(f->store, f->acme.id, MODEL_ROLE_READER, "r", f->reader, &t, &e), 0);
	cr_assert_eq(store_token_add(f->store, f->evil.id, MODEL_ROLE_ADMIN, "e", f->other, &t, &e), 0);
	cr_assert_eq(store_app_add(f->store, f->acme.id, "shop", &limits, true, &f->shop, &e), 0, "%s", e.text);
	cr_assert_eq(store_app_add(f->store, f->evil.id, "theirs", &limits, true, &f->theirs, &e), 0);
	cr_assert_eq(store_commit(f->store, &e), 0);
}

static int listen_on(struct fix *f, bool tcp)
{
	int fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (tcp) {
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		socklen_t n = sizeof in;
		cr_assert_eq(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
		getsockname(fd, (struct sockaddr *)&in, &n);
		f->port = ntohs(in.sin_port);
	} else {
		struct sockaddr_un un = {.sun_family = AF_UNIX};
		snprintf(un.sun_path, sizeof un.sun_path, "%s", f->sock);
		cr_assert_eq(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
	}
	cr_assert_eq(listen(fd, 128), 0);
	return fd;
}

struct fix *fix_start(bool tcp)
{
	struct fix *f = calloc(1, sizeof *f);
	struct api_config c;
	struct err e = {0};

	snprintf(f->dir, sizeof f->dir, "/tmp/tulou-api-XXXXXX");
	cr_assert_not_null(mkdtemp(f->dir));
	snprintf(f->log_dir, sizeof f->log_dir, "%s/logs", f->dir);
	snprintf(f->control_dir, sizeof f->control_dir, "%s/control", f->dir);
	snprintf(f->sock, sizeof f->sock, "%s/api.sock", f->dir);
	mkdir(f->log_dir, 0755);
	mkdir(f->control_dir, 0755);
	settings_default(&f->settings);
	f->settings.domain_proof = false;
	f->loop = loop_new();
	cr_assert_eq(store_open(f->control_dir, &f->store, &e), 0, "%s", e.text);
	seed(f);
	f->upload_fd = -1;
	f->eligible = 1;
	f->ops = (struct ops){.ctx = f,
			      .latency = fake_latency,
			      .talkers = fake_talkers,
			      .talkers_cancel = fake_talkers_cancel,
			      .app_changed = fake_app_changed,
			      .app_deleted = fake_app_deleted,
			      .tenant_changed = fake_tenant_changed,
			      .tenant_used = fake_tenant_used,
			      .release_new = fake_release_new,
			      .build_tarball = fake_build_tarball,
			      .log_cancel = fake_log_cancel,
			      .build_follow = fake_build_follow,
			      .git = fake_git,
			      .run = fake_run,
			      .instances = fake_instances,
			      .app_stats = fake_app_stats,
			      .node = fake_node,
			      .history = fake_history,
			      .metrics = fake_metrics,
			      .node_set = fake_node_set,
			      .ready = fake_ready,
			      .written = fake_written,
			      .build_cancel = fake_build_cancel,
			      .instance_stop = fake_instance_stop};
	c = (struct api_config){.settings = &f->settings,
				.store = f->store,
				.ops = &f->ops,
				.listen_fd = listen_on(f, tcp),
				.log_dir = f->log_dir,
				.control_dir = f->control_dir,
				.public_port_suffix = ":8080"};
	cr_assert_eq(api_new(f->loop, &c, &f->api, &e), 0, "%s", e.text);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, f->call), 0);
	loop_io_start(f->loop, &f->call_io, f->call[0], EV_READ, on_call, f);
	cr_assert_eq(pthread_create(&f->thread, NULL, run, f), 0);
	return f;
}

void fix_stop(struct fix *f)
{
	shutdown(f->call[1], SHUT_WR);
	pthread_join(f->thread, NULL);
	loop_io_stop(&f->call_io);
	loop_io_stop(&f->upload_io);
	own_close(&f->upload_fd);
	close(f->call[0]);
	close(f->call[1]);
	api_free(f->api);
	loop_free(f->loop);
	store_close(f->store);
	fd_remove_tree(AT_FDCWD, f->dir);
	free(f);
}

static void release_live(struct fix *f, void *arg)
{
	struct model_build b = {0};
	struct model_release r = {.app = f->shop.id};
	struct err e = {0};

	cr_assert_eq(store_build_add(f->store, f->shop.id, "tarball", "", &b, &e), 0, "%s", e.text);
	b.state = MODEL_BUILD_SUCCEEDED;
	cr_assert_eq(store_build_update(f->store, &b, &e), 0, "%s", e.text);
	r.build = b.id;

	if (f->shop.release)
		store_release_state(f->store, f->shop.release, MODEL_RELEASE_RETIRED, NULL);
	r.types_json = strdup("{\"web\":\"node a.js\",\"worker\":\"node b.js\"}");
	cr_assert_eq(store_config_release(f->store, f->shop.id, NULL, &r.config_json, &e), 0, "%s", e.text);
	r.app_json = strdup("{}");
	snprintf(r.note, sizeof r.note, "Deploy");
	cr_assert_eq(store_release_add(f->store, &r, &e), 0, "%s", e.text);
	store_release_state(f->store, r.id, MODEL_RELEASE_LIVE, NULL);
	f->shop.release = r.id;
	store_app_update(f->store, &f->shop, NULL);
	*(uint32_t *)arg = r.version;
	model_release_done(&r);
	fake_written(f);
}

uint32_t fix_release(struct fix *f)
{
	uint32_t version = 0;

	fix_call(f, release_live, &version);
	return version;
}
