/* A node around the control role for unit tests. */
#include "tests/unit/control_fake.h"

#include "base/fd.h"
#include "base/own.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void fake_state(struct fake *f, struct fake_instance *i, enum msg_state state)
{
	i->state.state = state;
	chan_send(f->super, MSG_INSTANCE, &i->state, sizeof i->state, NULL, 0);
}

static void fake_close(struct fake_instance *i)
{
	for (unsigned k = 0; k < 8; k++)
		own_close(&i->fds[k]);
}

void fake_exit(struct fake *f, struct fake_instance *i, enum msg_exit exit, int code)
{
	fake_close(i);
	i->alive = false;
	i->state.exit = exit;
	i->state.exit_code = code;
	i->state.memory_limit = i->launch.limits.memory;
	fake_state(f, i, MSG_STATE_EXITED);
}

static void fake_build(struct fake *f, struct fake_instance *i)
{
	const char *procfile = f->procfile ? f->procfile : "web: serve\n";
	static char sink[65536];
	char text[512];
	int n;

	while (read(i->fds[0], sink, sizeof sink) > 0)
		;
	fd_write_all(i->fds[1], "-----> Fake app detected\n", 25);
	if (f->build_fails) {
		fd_write_all(i->fds[1], " !     it does not compile\n", 27);
		fake_exit(f, i, MSG_EXIT_CODE, 1);
		return;
	}
	n = snprintf(text, sizeof text, "Procfile %zu\n%smeta 15\nbuildpack=fake\n", strlen(procfile), procfile);
	if (f->extra)
		n += snprintf(text + n, sizeof text - (size_t)n, "tulou.yaml %zu\n%s", strlen(f->extra), f->extra);
	fd_write_all(i->fds[4], text, (size_t)n);
	fd_write_all(i->fds[3], "tree", 4);
	fd_write_all(i->fds[6], "cache", 5);
	fake_exit(f, i, MSG_EXIT_CODE, 0);
}

static void fake_store(struct fake *f, struct fake_instance *i)
{
	char tree[64];

	cr_assert_eq(read(i->fds[0], tree, sizeof tree), 4);
	fd_write_all(i->fds[1], "4096 3\n", 7);
	fake_exit(f, i, MSG_EXIT_CODE, 0);
}

static const char fake_commit[] = "0123456789abcdef0123456789abcdef01234567";

static void fake_git(struct fake *f, struct fake_instance *i)
{
	char text[200];
	int n = snprintf(text, sizeof text, "refs/heads/main %040d %s\n", 0, fake_commit);

	if (i->launch.stdio_count < 7 || !f->git_pushes) {
		fd_write_all(i->fds[1], "answer", 6);
		fake_exit(f, i, MSG_EXIT_CODE, 0);
		return;
	}
	fd_write_all(i->fds[5], text, (size_t)n);
	fd_write_all(i->fds[3], "source", 6);
	own_close(&i->fds[3]);
	fd_nonblock(i->fds[6]);
	fd_nonblock(i->fds[4]);
}

/* A push in progress: shows the log, waits for the verdict. */
static void fake_git_step(struct fake *f, struct fake_instance *i)
{
	ssize_t n;

	if (i->fds[4] >= 0 && (n = read(i->fds[4], f->log + f->log_len, sizeof f->log - 1 - f->log_len)) > 0)
		f->log_len += (size_t)n;
	n = read(i->fds[6], f->verdict, sizeof f->verdict - 1);
	if (n > 0)
		fake_exit(f, i, MSG_EXIT_CODE, f->verdict[0] == 'o' ? 0 : 1);
}

static void fake_goes_on(void *arg)
{
	struct fake *f = arg;

	f->late->state.waiting = 0;
	f->late->state.text[0] = 0;
	f->late->state.address = 0x7f4d0001;
	fake_state(f, f->late, MSG_STATE_STARTING);
	fake_state(f, f->late, MSG_STATE_RUNNING);
}

static void fake_app(struct fake *f, struct fake_instance *i)
{
	i->state.address = f->next_app == FAKE_APP_LISTENS ? 0x7f4d0001 : 0x7f4d0002;
	i->state.start_us = 3000;
	i->state.pid = f->pid ? f->pid : 1;
	if (f->next_app == FAKE_APP_SILENT)
		return;
	if (f->next_app == FAKE_APP_WAITS) {
		f->late = i;
		i->state.waiting = 1;
		snprintf(i->state.text, sizeof i->state.text, "waits for something");
		fake_state(f, i, MSG_STATE_STARTING);
		loop_timer_start(f->loop, &f->late_timer, FAKE_WAIT_MS * 1000, fake_goes_on, f);
		return;
	}
	fake_state(f, i, MSG_STATE_RUNNING);
	if (f->next_app == FAKE_APP_EXITS)
		fake_exit(f, i, MSG_EXIT_CODE, 3);
}

static void fake_launch(struct fake *f, const struct msg_launch *m, int *fds, size_t nfds)
{
	struct fake_instance *i = &f->inst[f->count++];
	ssize_t n;

	cr_assert_leq(f->count, FAKE_MAX);
	*i = (struct fake_instance){.launch = *m, .alive = true};
	i->state = (struct msg_instance){
		.instance = m->instance, .tenant = m->tenant, .app = m->app, .object = m->object, .kind = m->kind};
	cr_assert_eq(nfds, 1 + m->stdio_count);
	n = pread(fds[0], i->env, sizeof i->env - 1, 8);
	for (ssize_t k = 0; k < n; k++)
		if (!i->env[k])
			i->env[k] = '\n';
	for (unsigned k = 0; k < 8; k++)
		i->fds[k] = k + 1 < nfds ? TAKE_FD(fds[k + 1]) : -1;
	f->launches += m->kind == MSG_KIND_APP;
	fake_state(f, i, MSG_STATE_STARTING);
	switch ((enum msg_kind)m->kind) {
	case MSG_KIND_APP:
		fake_app(f, i);
		break;
	case MSG_KIND_BUILD:
		fake_build(f, i);
		break;
	case MSG_KIND_STORE:
		fake_store(f, i);
		break;
	case MSG_KIND_GIT:
		fake_git(f, i);
		break;
	case MSG_KIND_RUN:
		fd_write_all(i->fds[1], "ran\n", 4);
		fake_exit(f, i, MSG_EXIT_CODE, 0);
		break;
	case MSG_KIND_COUNT:
		break;
	}
}

static void fake_on_super(void *arg, uint16_t type, const void *body, size_t len, int *fds, size_t nfds)
{
	struct fake *f = arg;
	const struct msg_stop *stop = body;
	const struct msg_forget *forget = body;

	(void)len;
	f->order++;
	switch (type) {
	case MSG_TENANT:
		f->tenant = *(const struct msg_tenant *)body;
		f->tenants++;
		f->tenant_order = f->order;
		break;
	case MSG_LIMITS:
		cr_assert_lt(f->limit_count, FAKE_MAX);
		f->limits[f->limit_count++] = *(const struct msg_limits *)body;
		break;
	case MSG_LAUNCH:
		f->launch_order = f->launch_order ? f->launch_order : f->order;
		fake_launch(f, body, fds, nfds);
		break;
	case MSG_STOP:
		for (unsigned i = 0; i < f->count; i++)
			if (f->inst[i].launch.instance == stop->instance && f->inst[i].alive)
				fake_exit(f, &f->inst[i], f->refuses_stop ? MSG_EXIT_KILLED : MSG_EXIT_STOPPED, 143);
		break;
	case MSG_FORGET:
		for (unsigned i = 0; i < f->count; i++)
			if (f->inst[i].launch.instance == forget->instance)
				f->inst[i].forgotten = true;
		break;
	case MSG_SYNC:
		for (unsigned i = 0; i < f->count; i++)
			if (!f->inst[i].forgotten)
				chan_send(f->super, MSG_INSTANCE, &f->inst[i].state, sizeof f->inst[i].state, NULL, 0);
		chan_send(f->super, MSG_SYNC_DONE, NULL, 0, NULL, 0);
		break;
	case MSG_THROTTLE:
	case MSG_THROTTLE_TENANT:
		f->throttles++;
		break;
	case MSG_REMOVE:
		f->removes++;
		chan_send(f->super, MSG_REMOVED, body, len, NULL, 0);
		break;
	default:
		break;
	}
}

static void fake_up(struct fake *f, uint64_t id, bool up)
{
	for (unsigned i = 0; i < f->up; i++)
		if (f->up_id[i] == id)
			f->up_id[i--] = f->up_id[--f->up];
	if (up)
		f->up_id[f->up++] = id;
	if (f->watch && f->up < f->up_min)
		f->up_min = f->up;
}

static void fake_on_proxy(void *arg, uint16_t type, const void *body, size_t len, int *fds, size_t nfds)
{
	struct fake *f = arg;
	const struct proxy_msg_instance *m = body;
	const struct proxy_msg_id *id = body;
	struct proxy_msg_id drained;

	(void)len;
	(void)fds;
	(void)nfds;
	switch (type) {
	case PROXY_INSTANCE:
		fake_up(f, m->instance, m->state == PROXY_INSTANCE_UP);
		drained.id = m->instance;
		if (m->state == PROXY_INSTANCE_DRAINING)
			chan_send(f->proxy, PROXY_DRAINED, &drained, sizeof drained, NULL, 0);
		break;
	case PROXY_INSTANCE_DEL:
		fake_up(f, id->id, false);
		break;
	case PROXY_BARRIER:
		if (!f->ignore_barrier)
			chan_send(f->proxy, PROXY_BARRIER_DONE, body, len, NULL, 0);
		break;
	case PROXY_HOST:
		f->hosts++;
		break;
	case PROXY_SYNC_BEGIN:
		f->up = 0;
		break;
	case PROXY_SYNC_END:
		f->sync_ends++;
		break;
	default:
		break;
	}
}

static void fake_on_gone(void *arg, const char *reason)
{
	(void)arg;
	(void)reason;
}

static void fake_wake(void *arg)
{
	(void)arg;
}

/* Turns of at most 5 ms: the fake's own waits are polled. */
static void fake_turn(struct fake *f)
{
	struct loop_timer t = {0};

	loop_timer_start(f->loop, &t, 5000, fake_wake, f);
	loop_defer(f->loop, fake_wake, f);
	event_base_loop(loop_base(f->loop), EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY);
	loop_timer_stop(&t);
	loop_stop(f->loop);
	/* loop_run() returns at once when it was stopped in a deferred function, and runs what is deferred. */
	loop_defer(f->loop, (void (*)(void *))loop_stop, f->loop);
	loop_run(f->loop);
	for (unsigned i = 0; i < f->count; i++)
		if (f->inst[i].alive && f->inst[i].launch.kind == MSG_KIND_GIT)
			fake_git_step(f, &f->inst[i]);
}

bool fake_until(struct fake *f, bool (*cond)(struct fake *f), unsigned ms)
{
	int64_t end = control_now_ms() + ms;

	do {
		if (cond(f))
			return true;
		fake_turn(f);
	} while (control_now_ms() < end);
	return cond(f);
}

static bool fake_never(struct fake *f)
{
	(void)f;
	return false;
}

void fake_run(struct fake *f, unsigned ms)
{
	fake_until(f, fake_never, ms);
}

static bool fake_ready(struct fake *f)
{
	return f->control->ops.ready(f->control) && f->sync_ends;
}

static void fake_control(struct fake *f)
{
	static const struct chan_ops super_ops = {fake_on_super, fake_on_gone},
				     proxy_ops = {fake_on_proxy, fake_on_gone};
	struct msg_peer peer = {0, 1};
	int super[2], proxy[2];
	struct err e = {0};

	cr_assert_eq(chan_pair(super), 0);
	cr_assert_eq(chan_pair(proxy), 0);
	f->sync_ends = 0;
	cr_assert_eq(control_new(f->loop, super[1], &f->init, -1, -1, &f->control, &e), 0, "%s", e.text);
	f->control->app_port = f->port;
	f->super = chan_new(f->loop, super[0], msg_rules_supervisor_from_control,
			    msg_rules_supervisor_from_control_count, &super_ops, f);
	f->proxy = chan_new(f->loop, proxy[0], proxy_rules_from_control, proxy_rules_from_control_count, &proxy_ops, f);
	chan_send(f->super, MSG_PEER_PROXY, &peer, sizeof peer, &proxy[1], 1);
	close(proxy[1]);
	cr_assert(fake_until(f, fake_ready, 3000), "control is not ready");
}

void fake_start(struct fake *f)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f4d0001)};
	socklen_t len = sizeof a;
	char path[128];

	signal(SIGPIPE, SIG_IGN);
	*f = (struct fake){0};
	snprintf(f->dir, sizeof f->dir, "/tmp/control-test-XXXXXX");
	cr_assert_not_null(mkdtemp(f->dir));
	snprintf(path, sizeof path, "%s/control", f->dir);
	cr_assert_eq(mkdir(path, 0700), 0);
	snprintf(path, sizeof path, "%s/logs", f->dir);
	cr_assert_eq(mkdir(path, 0700), 0);
	settings_default(&f->init.settings);
	snprintf(f->init.settings.data, sizeof f->init.settings.data, "%s", f->dir);
	f->init.settings.health_ms = 700;
	f->init.settings.drain_ms = 500;
	f->init.settings.grace_ms = 500;
	f->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(f->listen_fd, (struct sockaddr *)&a, sizeof a), 0);
	cr_assert_eq(listen(f->listen_fd, 100), 0);
	getsockname(f->listen_fd, (struct sockaddr *)&a, &len);
	f->port = ntohs(a.sin_port);
	f->loop = loop_new();
	fake_control(f);
}

static void fake_control_end(struct fake *f)
{
	chan_close(f->super);
	chan_close(f->proxy);
	control_free(f->control);
	loop_defer(f->loop, (void (*)(void *))loop_stop, f->loop);
	loop_run(f->loop);
}

void fake_restart(struct fake *f)
{
	fake_control_end(f);
	fake_control(f);
}

void fake_stop(struct fake *f)
{
	fake_control_end(f);
	for (unsigned i = 0; i < f->count; i++)
		fake_close(&f->inst[i]);
	loop_free(f->loop);
	close(f->listen_fd);
	fd_remove_tree(AT_FDCWD, f->dir);
}

int64_t fake_app_new(struct fake *f, const char *name)
{
	struct control *c = f->control;
	struct quota_limits limits = {.memory = 64u << 20,
				      .disk = 16u << 20,
				      .cpu = 500,
				      .pids = 64,
				      .nofile = 1024,
				      .net_packets = 20000,
				      .inodes = 4096,
				      .cpu_weight = 100,
				      .io_weight = 100};
	struct model_tenant t;
	struct model_app app;
	struct err e = {0};

	if (store_tenant_find(c->store, "acme", &t, NULL) < 0)
		cr_assert_eq(store_tenant_add(c->store, "acme", NULL, &t, &e), 0, "%s", e.text);
	cr_assert_eq(store_app_add(c->store, t.id, name, &limits, true, &app, &e), 0, "%s", e.text);
	c->ops.app_changed(c, app.id);
	fake_run(f, 20);
	return app.id;
}

static void fake_on_log(void *arg, const char *p, size_t n)
{
	struct fake *f = arg;

	if (n > sizeof f->log - 1 - f->log_len)
		n = sizeof f->log - 1 - f->log_len;
	memcpy(f->log + f->log_len, p, n);
	f->log_len += n;
}

static void fake_on_done(void *arg, const struct model_build *b, uint32_t version, const char *error)
{
	struct fake *f = arg;

	cr_assert(!f->done, "told twice");
	memcpy(f->limit, b->limit, sizeof f->limit);
	f->done = true;
	f->version = version;
	snprintf(f->error, sizeof f->error, "%s", error ? error : "");
}

static bool fake_done(struct fake *f)
{
	return f->done;
}

void fake_deploy_start(struct fake *f, int64_t app)
{
	struct ops_log_fn log = {fake_on_log, fake_on_done, f};
	struct control *c = f->control;
	struct err e = {0};
	int64_t build;
	int in;

	f->done = false;
	f->log_len = 0;
	memset(f->log, 0, sizeof f->log);
	cr_assert_eq(c->ops.build_tarball(c, app, &log, &in, &build, &e), 0, "%s", e.text);
	cr_assert_eq(c->ops.build_tarball(c, app, &log, &in, &build, &e), -EBUSY);
	fd_write_all(in, "source", 6);
	close(in);
}

bool fake_deploy(struct fake *f, int64_t app)
{
	fake_deploy_start(f, app);
	cr_assert(fake_until(f, fake_done, 5000), "the build does not end: %s", f->log);
	return !f->error[0];
}

struct fake_instance *fake_newest(struct fake *f, int64_t app)
{
	for (unsigned i = f->count; i > 0; i--)
		if (f->inst[i - 1].alive && f->inst[i - 1].launch.kind == MSG_KIND_APP &&
		    f->inst[i - 1].launch.app == (uint64_t)app)
			return &f->inst[i - 1];
	return NULL;
}

unsigned fake_alive(struct fake *f, int64_t app)
{
	unsigned n = 0;

	for (unsigned i = 0; i < f->count; i++)
		n += f->inst[i].alive && f->inst[i].launch.kind == MSG_KIND_APP &&
		     f->inst[i].launch.app == (uint64_t)app;
	return n;
}
