/* The reconciler against a fake supervisor and a fake proxy worker: deploys, failures, restarts. */
#include "tests/unit/control_fake.h"

#include "base/fd.h"
#include "base/own.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fake f;
static int64_t app;

static bool one_alive(struct fake *x)
{
	return fake_alive(x, app) == 1 && x->up == 1;
}

static bool none_alive(struct fake *x)
{
	return fake_alive(x, app) == 0;
}

static bool three_up(struct fake *x)
{
	return x->up == 3;
}

static unsigned events(const char *kind);

static int count_event(void *arg, const struct model_event *ev)
{
	struct {
		const char *kind;
		unsigned n;
		char text[384];
	} *c = arg;

	if (strcmp(ev->kind, c->kind) == 0) {
		c->n++;
		memcpy(c->text, ev->text, sizeof c->text);
	}
	return 0;
}

static char event_text[384];

static unsigned events(const char *kind)
{
	struct {
		const char *kind;
		unsigned n;
		char text[384];
	} c = {.kind = kind};

	store_event_list(f.control->store, 0, 0, 0, 1000, count_event, &c, NULL);
	memcpy(event_text, c.text, sizeof event_text);
	return c.n;
}

Test(control, first_start)
{
	char path[128], *text = NULL;
	struct stat st;
	struct model_token token;

	fake_start(&f);
	snprintf(path, sizeof path, "%s/control/operator.token", f.dir);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	cr_assert_eq(fd_read_file(AT_FDCWD, path, 200, &text, NULL), 0);
	cr_assert_eq(store_token_check(f.control->store, text, strcspn(text, "\n"), &token, NULL), 0);
	cr_assert_eq(token.role, MODEL_ROLE_OPERATOR);
	free(text);
	fake_restart(&f);
	cr_assert_eq(store_token_count(f.control->store), 1);
	fake_stop(&f);
}

Test(control, deploy_goes_live_and_the_next_replaces_it)
{
	struct fake_instance *first;

	fake_start(&f);
	app = fake_app_new(&f, "shop");
	cr_assert(fake_deploy(&f, app), "%s", f.error);
	cr_assert_eq(f.version, 1);
	cr_assert(strstr(f.log, "Fake app detected") && strstr(f.log, "Released v1") &&
			  strstr(f.log, "http://shop.localhost:8080 is live"),
		  "%s", f.log);
	cr_assert(one_alive(&f));
	first = fake_newest(&f, app);
	cr_assert(strstr(first->env, "/bin/bash\n-c\nserve\n"), "%s", first->env);
	cr_assert(strstr(first->env, "TULOU_APP=shop\n") && strstr(first->env, "TULOU_RELEASE=v1\n") &&
		  strstr(first->env, "PORT="));
	/* The new one comes before the old one goes. */
	f.watch = true;
	f.up_min = 100;
	cr_assert(fake_deploy(&f, app), "%s", f.error);
	cr_assert_eq(f.version, 2);
	cr_assert(fake_until(&f, one_alive, 2000));
	fake_run(&f, 20);
	cr_assert(!first->alive && first->forgotten);
	cr_assert_eq(f.up_min, 1);
	cr_assert_eq(events("deploy.succeeded"), 2);
	fake_stop(&f);
}

Test(control, failed_build_is_told_in_its_own_words)
{
	struct model_build b;

	fake_start(&f);
	app = fake_app_new(&f, "shop");
	f.build_fails = true;
	cr_assert(!fake_deploy(&f, app));
	cr_assert_str_eq(f.error, "it does not compile");
	cr_assert_eq(store_build_get(f.control->store, 1, &b, NULL), 0);
	cr_assert_eq(b.state, MODEL_BUILD_FAILED);
	cr_assert_eq(fake_alive(&f, app), 0);
	f.build_fails = false;
	f.procfile = "";
	cr_assert(!fake_deploy(&f, app));
	cr_assert(strstr(f.error, "No process type"), "%s", f.error);
	f.procfile = "bad line\n";
	cr_assert(!fake_deploy(&f, app));
	cr_assert(strstr(f.error, "Procfile"), "%s", f.error);
	fake_run(&f, 20);
	cr_assert_geq(f.removes, 2, "the trees of failed builds are removed");
	fake_stop(&f);
}

Test(control, candidate_that_never_listens_is_given_up)
{
	char path[128];

	fake_start(&f);
	app = fake_app_new(&f, "shop");
	cr_assert(fake_deploy(&f, app));
	f.next_app = FAKE_APP_DEAF;
	f.watch = true;
	f.up_min = 100;
	cr_assert(!fake_deploy(&f, app));
	cr_assert(strstr(f.error, "$PORT") && strstr(f.error, "nothing accepts connections"), "%s", f.error);
	cr_assert(fake_until(&f, one_alive, 2000));
	cr_assert(f.up_min >= 1, "the old release serves on");
	/* Exits at once: the log's last lines are shown. */
	f.next_app = FAKE_APP_EXITS;
	snprintf(path, sizeof path, "%s/logs/%d", f.dir, (int)app);
	mkdir(path, 0700);
	snprintf(path, sizeof path, "%s/logs/%d/current", f.dir, (int)app);
	cr_assert_eq(
		fd_replace_file(AT_FDCWD, path, "2026-01-01T00:00:00.000Z web.3 Traceback: boom\n", 47, 0600, false),
		0);
	cr_assert(!fake_deploy(&f, app));
	cr_assert(strstr(f.error, "web exited with code 3"), "%s", f.error);
	cr_assert_str_eq(f.limit, "", "no limit's fault");
	cr_assert(strstr(f.log, "| Traceback: boom"), "%s", f.log);
	cr_assert(one_alive(&f));
	cr_assert_eq(events("deploy.failed"), 2);
	fake_stop(&f);
}

Test(control, a_launch_that_waits_for_the_node_has_no_deadline)
{
	fake_start(&f);
	app = fake_app_new(&f, "shop");
	f.next_app = FAKE_APP_WAITS;
	cr_assert(fake_deploy(&f, app), "%s", f.error);
	cr_assert_eq(events("instance.pending"), 1);
	cr_assert_eq(events("deploy.failed"), 0);
	fake_stop(&f);
}

Test(control, crash_is_restarted_and_explained)
{
	struct fake_instance *i;

	fake_start(&f);
	app = fake_app_new(&f, "shop");
	cr_assert(fake_deploy(&f, app));
	i = fake_newest(&f, app);
	fake_exit(&f, i, MSG_EXIT_OOM, 137);
	cr_assert(fake_until(&f, none_alive, 500));
	cr_assert(fake_until(&f, one_alive, 3000), "started again after a pause");
	cr_assert_eq(events("instance.oom"), 1);
	cr_assert(strstr(event_text, "limit of 64 MiB"), "%s", event_text);
	cr_assert(i->forgotten);
	fake_stop(&f);
}

Test(control, crash_loop_is_called_so)
{
	fake_start(&f);
	app = fake_app_new(&f, "shop");
	cr_assert(fake_deploy(&f, app));
	for (int n = 0; n < PLAN_LOOP_CRASHES; n++) {
		struct control_app *ca = control_app_get(f.control, app);

		cr_assert(fake_until(&f, one_alive, 3000));
		fake_exit(&f, fake_newest(&f, app), MSG_EXIT_CODE, 1);
		fake_run(&f, 20);
		if (n < PLAN_LOOP_CRASHES - 1)
			for (int k = 0; k < PLAN_BACKOFFS; k++)
				ca->backoffs[k].retry_ms = 0; /* no pauses here */
		control_touch(ca);
	}
	fake_run(&f, 50);
	cr_assert_eq(events("instance.crashloop"), 1);
	cr_assert(
		strstr(event_text, "ended, or failed its checks, 5 times in a row; it is tried again every 5 minutes"),
		"%s", event_text);
	cr_assert_eq(control_app_get(f.control, app)->shown, PROXY_APP_CRASHED);
	cr_assert_str_eq(control_app_state(control_app_get(f.control, app)), "crashed");
	fake_stop(&f);
}

Test(control, formation_scales_and_pause_stops)
{
	struct control *c;
	struct model_app rec;
	struct control_app *ca;

	fake_start(&f);
	app = fake_app_new(&f, "shop");
	cr_assert(fake_deploy(&f, app));
	c = f.control;
	cr_assert_eq(store_formation_set(c->store, app, "web", 3, NULL), 0);
	c->ops.app_changed(c, app);
	cr_assert(fake_until(&f, three_up, 2000));
	cr_assert_eq(store_formation_set(c->store, app, "web", 1, NULL), 0);
	c->ops.app_changed(c, app);
	cr_assert(fake_until(&f, one_alive, 2000));
	ca = control_app_get(c, app);
	rec = ca->rec;
	rec.paused = true;
	cr_assert_eq(store_app_update(c->store, &rec, NULL), 0);
	c->ops.app_changed(c, app);
	cr_assert(fake_until(&f, none_alive, 2000));
	fake_run(&f, 20);
	cr_assert_eq(ca->shown, PROXY_APP_PAUSED);
	cr_assert_eq(c->used.instances, 0);
	cr_assert_eq(c->used.memory, 0);
	fake_stop(&f);
}

Test(control, restart_adopts_what_runs)
{
	unsigned launches;

	fake_start(&f);
	app = fake_app_new(&f, "shop");
	cr_assert(fake_deploy(&f, app));
	cr_assert(one_alive(&f));
	launches = f.launches;
	fake_restart(&f);
	fake_run(&f, 100);
	cr_assert_eq(f.launches, launches, "nothing is started twice");
	cr_assert(one_alive(&f));
	cr_assert_eq(f.hosts > 0, true);
	cr_assert_eq(events("node.adopted"), 1);
	/* One that ended meanwhile is replaced. */
	f.inst[f.count - 1].alive = false;
	f.inst[f.count - 1].forgotten = true;
	fake_restart(&f);
	cr_assert(fake_until(&f, one_alive, 2000));
	cr_assert_eq(f.launches, launches + 1);
	/* An instance that the store does not know is stopped. */
	f.inst[f.count] = f.inst[f.count - 1];
	f.inst[f.count].launch.instance = f.inst[f.count].state.instance = 999;
	f.count++;
	fake_restart(&f);
	cr_assert(fake_until(&f, one_alive, 2000));
	cr_assert(!f.inst[f.count - 1].alive);
	fake_stop(&f);
}

Test(control, a_release_that_answers_nowhere_is_not_called_live)
{
	fake_start(&f);
	f.control->settings.health_ms = 10000; /* a worker is ready after 2 s */
	app = fake_app_new(&f, "shop");
	f.procfile = "worker: serve\n";
	cr_assert(fake_deploy(&f, app), "%s", f.error);
	cr_assert_not_null(strstr(f.log, "nothing runs of it, as every process type is scaled to 0"), "%s", f.log);
	cr_assert_eq(store_formation_set(f.control->store, app, "worker", 1, NULL), 0);
	f.control->ops.app_changed(f.control, app);
	cr_assert(fake_deploy(&f, app), "%s", f.error);
	cr_assert_not_null(strstr(f.log, "v2 runs; it has no web process, so nothing answers at an address"), "%s",
			   f.log);
	cr_assert_null(strstr(f.log, "http://"), "%s", f.log);
	cr_assert_eq(events("deploy.succeeded"), 2);
	cr_assert_not_null(strstr(event_text, "no web process"), "%s", event_text);
	f.procfile = "worker: serve\nweb: serve\n";
	cr_assert_eq(store_formation_set(f.control->store, app, "web", 0, NULL), 0);
	f.control->ops.app_changed(f.control, app);
	cr_assert(fake_deploy(&f, app), "%s", f.error);
	cr_assert_not_null(strstr(f.log, "web is scaled to 0"), "%s", f.log);
	fake_stop(&f);
}

/* kill -9 of control while it builds: whoever waits has lost the connection, so record, event and log must say it. */
Test(control, a_build_that_control_left_behind_has_failed)
{
	OWN_FREE char *log = NULL;
	struct model_build b;
	char path[300];

	fake_start(&f);
	app = fake_app_new(&f, "shop");
	cr_assert_eq(store_build_add(f.control->store, app, "git", NULL, &b, NULL), 0);
	cr_assert_eq(store_commit(f.control->store, NULL), 0);
	snprintf(path, sizeof path, "%s/control/builds", f.dir);
	fd_mkdirs(path, 0700);
	snprintf(path, sizeof path, "%s/control/builds/%lld.log", f.dir, (long long)b.id);
	cr_assert_eq(fd_replace_file(AT_FDCWD, path, "-----> Node.js app detected\n", 28, 0600, false), 0);
	fake_restart(&f);
	cr_assert_eq(store_build_get(f.control->store, b.id, &b, NULL), 0);
	cr_assert_eq(b.state, MODEL_BUILD_FAILED);
	cr_assert_gt(b.finished_ms, 0);
	cr_assert_eq(events("build.failed"), 1);
	cr_assert_not_null(strstr(event_text, "the node was restarted during the build: deploy again"), "%s",
			   event_text);
	cr_assert_eq(fd_read_file(AT_FDCWD, path, 4096, &log, NULL), 0);
	cr_assert_not_null(strstr(log, "detected\n\n !     the node was restarted"), "%s", log);
	/* And it is told once. */
	fake_restart(&f);
	cr_assert_eq(events("build.failed"), 1);
	fake_stop(&f);
}

static void run_done(void *arg, int code, const char *text);

Test(control, quota_refuses_in_words)
{
	struct model_tenant t;
	struct ops_git io;
	struct err e = {0};
	struct control *c;

	fake_start(&f);
	app = fake_app_new(&f, "shop");
	c = f.control;
	cr_assert_eq(store_tenant_find(c->store, "acme", &t, NULL), 0);
	cr_assert(fake_deploy(&f, app));
	t.quota.memory = 160 << 20;
	cr_assert_eq(store_tenant_set(c->store, &t, NULL, NULL), 0);
	c->ops.tenant_changed(c, t.id);
	cr_assert_eq(store_formation_set(c->store, app, "web", 3, NULL), 0);
	c->ops.app_changed(c, app);
	fake_run(&f, 200);
	cr_assert_eq(fake_alive(&f, app), 2);
	cr_assert_eq(events("instance.refused"), 1);
	cr_assert(strstr(event_text, "memory quota 160 MiB"), "%s", event_text);
	t.quota.memory = 1 << 30;
	cr_assert_eq(store_tenant_set(c->store, &t, NULL, NULL), 0);
	c->ops.tenant_changed(c, t.id);
	cr_assert(fake_until(&f, three_up, 2000));
	t.quota.memory = 200 << 20;
	cr_assert_eq(store_tenant_set(c->store, &t, NULL, NULL), 0);
	c->ops.tenant_changed(c, t.id);
	cr_assert_eq(c->ops.run(c, app, "true", &io, run_done, NULL, &e), -EDQUOT,
		     "a one-off command counts against the quota");
	cr_assert(strstr(e.text, "memory quota"), "%s", e.text);
	fake_stop(&f);
}

static void set_memory(struct model_tenant *t, unsigned mib)
{
	struct control *c = f.control;

	t->quota.memory = (uint64_t)mib << 20;
	cr_assert_eq(store_tenant_set(c->store, t, NULL, NULL), 0);
	c->ops.tenant_changed(c, t->id);
}

static bool is_shown(enum proxy_app_state state)
{
	return control_app_get(f.control, app)->shown == state;
}

static bool crashed(struct fake *x)
{
	(void)x;
	return is_shown(PROXY_APP_CRASHED);
}

static bool given_up(struct fake *x)
{
	(void)x;
	return control_app_get(f.control, app)->rec.candidate == 0;
}

/* Where the old one must go first: what would not fit is refused while it serves. */
Test(control, a_held_rollout_that_does_not_fit_stops_nothing)
{
	struct model_serving serving = {.rollout = MODEL_ROLLOUT_HOLD};
	struct model_release r = {0};
	struct fake_instance *old;
	struct model_tenant t;
	struct control *c;
	uint32_t version;
	struct err e = {0};

	fake_start(&f);
	app = fake_app_new(&f, "shop");
	c = f.control;
	cr_assert_eq(store_tenant_find(c->store, "acme", &t, NULL), 0);
	cr_assert(fake_deploy(&f, app));
	cr_assert_eq(store_serving_set(c->store, app, &serving, NULL), 0);
	c->ops.app_changed(c, app);
	old = fake_newest(&f, app);
	set_memory(&t, 32);
	f.watch = true;
	f.up_min = 100;
	cr_assert(!fake_deploy(&f, app));
	cr_assert(strstr(f.error, "tenant acme: memory quota 32 MiB"), "%s", f.error);
	cr_assert_str_eq(f.limit, "quota.memory", "a refusal, though it comes after the build");
	cr_assert(old->alive && f.up_min >= 1 && is_shown(PROXY_APP_SERVING), "the old one was touched");
	cr_assert_eq(events("deploy.failed"), 1);
	cr_assert(strstr(event_text, "nothing was stopped"), "%s", event_text);
	cr_assert_eq(c->ops.release_new(c, app, 0, false, "again", &version, &e), -EDQUOT);
	cr_assert_eq(store_release_get(c->store, 3, &r, NULL), 0);
	cr_assert_eq(r.state, MODEL_RELEASE_FAILED);
	model_release_done(&r);

	/* Its place is as large as it needs: with the old one gone it fits. */
	set_memory(&t, 64);
	cr_assert(fake_deploy(&f, app), "%s", f.error);

	/* The room goes while the old one ends: back at once, and when that does not fit either, nobody is left
	 * waiting. */
	cr_assert_eq(c->ops.release_new(c, app, 0, false, "again", &version, &e), 0, "%s", e.text);
	set_memory(&t, 32);
	cr_assert(fake_until(&f, given_up, 3000));
	cr_assert(fake_until(&f, crashed, 8000));
	cr_assert_str_eq(control_app_state(control_app_get(c, app)), "crashed");
	set_memory(&t, 64);
	cr_assert(fake_until(&f, one_alive, 5000));
	fake_run(&f, 20);
	cr_assert(is_shown(PROXY_APP_SERVING));
	fake_stop(&f);
}

Test(control, deleted_app_leaves_nothing)
{
	struct model_app rec;
	struct control *c;
	char path[128];

	fake_start(&f);
	app = fake_app_new(&f, "shop");
	cr_assert(fake_deploy(&f, app));
	c = f.control;
	snprintf(path, sizeof path, "%s/control/builds/1.log", f.dir);
	cr_assert_eq(access(path, F_OK), 0);
	cr_assert_eq(store_app_get(c->store, app, &rec, NULL), 0);
	cr_assert_eq(store_app_del(c->store, app, NULL), 0);
	c->ops.app_deleted(c, &rec);
	cr_assert(fake_until(&f, none_alive, 2000));
	fake_run(&f, 50);
	cr_assert_null(control_app_get(c, app));
	cr_assert_eq(f.removes, 3, "tree, repository, logs: %u", f.removes);
	cr_assert_neq(access(path, F_OK), 0);
	cr_assert_eq(c->removal_count, 0);
	cr_assert_eq(f.up, 0);
	fake_stop(&f);
}

Test(control, release_new_and_refusals)
{
	struct control *c;
	uint32_t version = 0;
	struct err e = {0};

	fake_start(&f);
	app = fake_app_new(&f, "shop");
	c = f.control;
	cr_assert_eq(c->ops.release_new(c, app, 0, false, "Restart", &version, &e), -ENOENT);
	cr_assert(fake_deploy(&f, app));
	cr_assert_eq(store_config_set(c->store, app, "COLOUR", "blue", NULL), 0);
	cr_assert_eq(c->ops.release_new(c, app, 0, false, "Set config COLOUR", &version, &e), 0, "%s", e.text);
	cr_assert_eq(version, 2);
	cr_assert_eq(c->ops.release_new(c, app, 0, false, "again", &version, &e), -EBUSY);
	fake_run(&f, 400);
	cr_assert(one_alive(&f));
	cr_assert(strstr(fake_newest(&f, app)->env, "COLOUR=blue\n"));
	/* Rollback: the old release's config. */
	cr_assert_eq(c->ops.release_new(c, app, 1, true, "Rollback to v1", &version, &e), 0, "%s", e.text);
	fake_run(&f, 400);
	cr_assert(one_alive(&f));
	cr_assert_null(strstr(fake_newest(&f, app)->env, "COLOUR=blue\n"));
	fake_stop(&f);
}

static bool verdict(struct fake *x)
{
	return x->verdict[0] != 0;
}

Test(control, push_waits_for_the_verdict)
{
	struct control *c;
	struct ops_git git;
	struct err e = {0};

	fake_start(&f);
	app = fake_app_new(&f, "shop");
	c = f.control;
	cr_assert_eq(c->ops.git(c, app, "git-upload-archive", false, "", false, &git, &e), -EINVAL);
	cr_assert_eq(c->ops.git(c, app, "git-receive-pack", false, "version=9", false, &git, &e), -EINVAL);
	f.git_pushes = true;
	cr_assert_eq(c->ops.git(c, app, "git-receive-pack", false, "version=2", false, &git, &e), 0, "%s", e.text);
	cr_assert(fake_until(&f, verdict, 3000));
	cr_assert_str_eq(f.verdict, "ok\n");
	cr_assert(one_alive(&f));
	fake_run(&f, 30);
	cr_assert(strstr(f.log, "Released v1"), "%s", f.log);
	close(git.in);
	close(git.out);
	memset(f.verdict, 0, sizeof f.verdict);
	f.build_fails = true;
	cr_assert_eq(c->ops.git(c, app, "git-receive-pack", false, "", false, &git, &e), 0);
	cr_assert(fake_until(&f, verdict, 3000));
	cr_assert_str_eq(f.verdict, "no\n");
	close(git.in);
	close(git.out);
	fake_stop(&f);
}

static int run_code = -1;

static void run_done(void *arg, int code, const char *text)
{
	(void)arg;
	(void)text;
	run_code = code;
}

Test(control, run_and_figures)
{
	struct control *c;
	struct ops_git io;
	struct err e = {0};
	json_t *arr = json_array(), *node, *stats, *history;
	struct msg_usage u = {.memory = 5 << 20, .cpu_us = 1500000, .pids = 3};
	struct buf text;
	char out[16] = "";

	fake_start(&f);
	app = fake_app_new(&f, "shop");
	c = f.control;
	cr_assert_eq(c->ops.run(c, app, "true", &io, run_done, NULL, &e), -ENOENT);
	cr_assert(fake_deploy(&f, app));
	cr_assert_eq(c->ops.run(c, app, "true", &io, run_done, NULL, &e), 0);
	fake_run(&f, 50);
	cr_assert_eq(run_code, 0);
	cr_assert_eq(read(io.out, out, sizeof out), 4);
	close(io.in);
	close(io.out);
	u.instance = fake_newest(&f, app)->launch.instance;
	control_on_usage(c, &u, 1);
	c->ops.instances(c, app, arr);
	cr_assert_eq(json_array_size(arr), 1);
	cr_assert_str_eq(json_string_value(json_object_get(json_array_get(arr, 0), "state")), "running");
	cr_assert_eq(json_integer_value(json_object_get(json_array_get(arr, 0), "memory_bytes")), 5 << 20);
	control_tick(c);
	stats = c->ops.app_stats(c, app);
	cr_assert_str_eq(json_string_value(json_object_get(stats, "state")), "running");
	node = c->ops.node(c);
	cr_assert_eq(json_integer_value(json_object_get(json_object_get(node, "instances"), "running")), 1);
	history = c->ops.history(c, app, 60);
	cr_assert_geq(json_array_size(json_object_get(history, "times")), 1);
	buf_init(&text, 1 << 20);
	c->ops.metrics(c, &text);
	cr_assert(strstr(text.data, "container_memory_working_set_bytes{tenant=\"acme\",app=\"shop\",instance=\"web."),
		  "%s", text.data);
	buf_done(&text);
	json_decref(arr);
	json_decref(node);
	json_decref(stats);
	json_decref(history);
	fake_stop(&f);
}

Test(control, drained_node_stops_all_and_comes_back)
{
	struct control *c;

	fake_start(&f);
	app = fake_app_new(&f, "shop");
	cr_assert(fake_deploy(&f, app));
	c = f.control;
	cr_assert_eq(c->ops.node_set(c, 0, 1, NULL), 0);
	cr_assert(fake_until(&f, none_alive, 2000));
	fake_restart(&f);
	c = f.control;
	cr_assert(c->draining && !c->eligible);
	cr_assert_eq(c->ops.node_set(c, 1, 0, NULL), 0);
	cr_assert(fake_until(&f, one_alive, 2000));
	fake_stop(&f);
}

static int64_t sick_id;

static bool sick_replaced(struct fake *x)
{
	struct fake_instance *i = fake_newest(x, app);

	return fake_alive(x, app) == 1 && i && (int64_t)i->launch.instance != sick_id;
}

/* One that is well at its start and sick soon after is replaced, but ever later: each counts as a failure. */
Test(control, who_is_replaced_for_its_checks_has_failed)
{
	struct control_app *ca;
	struct control_instance *ci;
	const struct plan_backoff *b;
	int64_t begun = 0;

	fake_start(&f);
	app = fake_app_new(&f, "shop");
	cr_assert(fake_deploy(&f, app));
	ca = control_app_get(f.control, app);
	for (unsigned n = 1; n <= 3; n++) {
		begun = control_now_ms();
		sick_id = (int64_t)fake_newest(&f, app)->launch.instance;
		ci = map_get(f.control->instances, &sick_id, sizeof sick_id);
		cr_assert(ci && ci->routed);
		control_instance_healthy(ci, false, "GET /up was answered 500");
		/* What the canary does to the routes leaves it the last choice. */
		cr_assert_eq(control_routes_up(ci), PROXY_INSTANCE_SICK);
		cr_assert(fake_until(&f, sick_replaced, 8000), "the %uth is not replaced", n);
		b = plan_backoff_find(ca->backoffs, ca->rec.release, "web");
		cr_assert(b && b->crashes == n, "%u of %u", b ? b->crashes : 0, n);
	}
	cr_assert_geq(b->retry_ms, begun + 4 * PLAN_RETRY_MS, "the pause grows");
	fake_stop(&f);
}
