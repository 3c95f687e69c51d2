/* The supervisor: the only process that is root.  Layer agent, supervisor process. */
#include "agent/roles/supervisor.h"

#include "agent/roles/certfiles.h"
#include "agent/roles/messages.h"
#include "agent/roles/supervisor_private.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/own.h"
#include "base/sys.h"
#include "web/proxy/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SUPERVISOR_OOM_SCORE "-900" /* the last to go, but not never: a leak of ours shall not take the host down */
#define SUPERVISOR_TRUST "/etc/ssl/certs/ca-certificates.crt" /* Debian's ca-certificates */
#define SUPERVISOR_END_US 3000000 /* our own processes get this long to end before they are killed */

/* Connects one worker with control by a fresh channel; the older ends are dropped by both. */
static void supervisor_join(struct supervisor *s, struct child *worker)
{
	struct msg_peer peer = {.worker = s->worker_base + worker->index, .pid = worker->pid};
	int pair[2];

	if (!worker->chan || !s->control.chan || chan_pair(pair) < 0)
		return;
	chan_send(worker->chan, MSG_PEER_CONTROL, NULL, 0, &pair[0], 1);
	chan_send(s->control.chan, MSG_PEER_PROXY, &peer, sizeof peer, &pair[1], 1);
	close(pair[0]);
	close(pair[1]);
}

/* The same for the resolver. */
static void supervisor_join_resolver(struct supervisor *s)
{
	int pair[2];

	if (!s->resolver.chan || !s->control.chan || chan_pair(pair) < 0)
		return;
	chan_send(s->resolver.chan, MSG_PEER_CONTROL, NULL, 0, &pair[0], 1);
	chan_send(s->control.chan, MSG_PEER_RESOLVER, NULL, 0, &pair[1], 1);
	close(pair[0]);
	close(pair[1]);
}

/* And for the fetcher. */
static void supervisor_join_fetcher(struct supervisor *s)
{
	int pair[2];

	if (!s->fetcher.chan || !s->control.chan || chan_pair(pair) < 0)
		return;
	chan_send(s->fetcher.chan, MSG_PEER_CONTROL, NULL, 0, &pair[0], 1);
	chan_send(s->control.chan, MSG_PEER_FETCHER, NULL, 0, &pair[1], 1);
	close(pair[0]);
	close(pair[1]);
}

/* To control: how many workers of an earlier run are still there. */
static void supervisor_tell_old(struct supervisor *s)
{
	struct msg_old_workers m = {0};

	for (unsigned i = 0; i < s->old_count; i++)
		if (s->old[i].pidfd >= 0 && s->old_is_worker[i])
			m.count++;
	if (s->control.chan)
		chan_send(s->control.chan, MSG_OLD_WORKERS, &m, sizeof m, NULL, 0);
}

static void supervisor_init_control(struct supervisor *s, struct child *c)
{
	struct msg_init_control *init = calloc(1, sizeof *init);
	int fds[2] = {s->listeners.api, s->stats};

	if (!init)
		return;
	init->settings = s->settings;
	init->boot = s->boot;
	chan_send(c->chan, MSG_INIT_CONTROL, init, sizeof *init, fds, 2);
	supervisor_tell_old(s);
	/* Before it meets a proxy, so that no table is told without them. */
	if (s->settings.https_count)
		certfiles_send(c->chan, s->settings.tls_certificates);
	free(init);
	for (unsigned i = 0; i < s->settings.proxy_workers; i++)
		supervisor_join(s, &s->workers[i]);
	supervisor_join_resolver(s);
	supervisor_join_fetcher(s);
}

static void supervisor_init_proxy(struct supervisor *s, struct child *c)
{
	struct msg_init_proxy init = {.worker = s->worker_base + c->index, .control_path = "/control.sock"};
	int fds[MSG_READY_FDS];
	size_t n = 0;

	fds[n++] = s->stats;
	fds[n++] = s->access[1];
	for (unsigned i = 0; i < s->listeners.http_count && n < ARRAY_LEN(fds); i++, init.http_count++) {
		if (listeners_proxied(s->listeners.http[i], s->settings.http, s->settings.http_count))
			init.proxied |= 1u << (n - 2);
		fds[n++] = s->listeners.http[i];
	}
	for (unsigned i = 0; i < s->listeners.https_count && n < ARRAY_LEN(fds); i++, init.https_count++) {
		if (listeners_proxied(s->listeners.https[i], s->settings.https, s->settings.https_count))
			init.proxied |= 1u << (n - 2);
		fds[n++] = s->listeners.https[i];
	}
	init.proxy_from_count = s->settings.proxy_from_count;
	memcpy(init.proxy_from, s->settings.proxy_from, sizeof init.proxy_from);
	memcpy(init.control_host, s->settings.domain_control, sizeof init.control_host);
	memcpy(init.node_name, s->settings.node_name, sizeof init.node_name);
	memcpy(init.user, s->settings.user_proxy, sizeof init.user);
	snprintf(init.root_dir, sizeof init.root_dir, "%s/gate", s->settings.runtime);
	chan_send(c->chan, MSG_INIT_PROXY, &init, sizeof init, fds, n);
	supervisor_join(s, c);
}

static void supervisor_init_logger(struct supervisor *s, struct child *c)
{
	struct msg_init_logger init = {
		.line_rate = LIMIT_LOG_RATE, .line_burst = LIMIT_LOG_BURST, .file_bytes = LIMIT_LOG_FILE};
	struct msg_log_open access = {.source = "access"};

	memcpy(init.user, s->settings.user_log, sizeof init.user);
	chan_send(c->chan, MSG_INIT_LOGGER, &init, sizeof init, &s->logs_dir, 1);
	chan_send(c->chan, MSG_LOG_OPEN, &access, sizeof access, &s->access[0], 1);
	if (s->supervise)
		supervise_reopen_logs(s->supervise);
}

static void supervisor_init_resolver(struct supervisor *s, struct child *c)
{
	struct msg_init_resolver init = {0};
	int fds[2] = {s->listeners.names_udp, s->listeners.names_tcp};

	init.server_count = supervise_resolvers(s->supervise, init.servers, MSG_RESOLVERS_MAX);
	memcpy(init.user, s->settings.user_resolver, sizeof init.user);
	snprintf(init.root_dir, sizeof init.root_dir, "%s/void", s->settings.runtime);
	chan_send(c->chan, MSG_INIT_RESOLVER, &init, sizeof init, fds, 2);
	supervisor_join_resolver(s);
}

/* The operator's own authority stands alone: what it signs is not for the public ones to sign. */
static void supervisor_init_fetcher(struct supervisor *s, struct child *c)
{
	struct msg_init_fetcher init = {0};
	const char *path = s->settings.acme.ca_file[0] ? s->settings.acme.ca_file : SUPERVISOR_TRUST;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		LOG_WARN("no trusted authorities", "file=%s error=\"%s\"", path, strerror(errno));
	init.server_count = supervise_resolvers(s->supervise, init.servers, MSG_RESOLVERS_MAX);
	memcpy(init.user, s->settings.user_fetcher, sizeof init.user);
	snprintf(init.root_dir, sizeof init.root_dir, "%s/void", s->settings.runtime);
	chan_send(c->chan, MSG_INIT_FETCHER, &init, sizeof init, &fd, fd >= 0);
	own_close(&fd);
	supervisor_join_fetcher(s);
}

static void supervisor_on_child_start(void *arg, struct child *c)
{
	struct supervisor *s = arg;

	takeover_note(s->roles_dir, c->role, s->worker_base + c->index, c->pid, NULL, 0);
	switch (c->role) {
	case ROLE_CONTROL:
		supervisor_init_control(s, c);
		break;
	case ROLE_LOGGER:
		supervisor_init_logger(s, c);
		break;
	case ROLE_PROXY:
		supervisor_init_proxy(s, c);
		break;
	case ROLE_RESOLVER:
		supervisor_init_resolver(s, c);
		break;
	case ROLE_FETCHER:
		supervisor_init_fetcher(s, c);
		break;
	case ROLE_COUNT:
		break;
	}
}

/* Once every worker of this run accepts, those of the earlier run finish what they have and go. */
static void supervisor_retire_old(struct supervisor *s)
{
	for (unsigned i = 0; i < s->settings.proxy_workers; i++)
		if (!s->workers[i].ready)
			return;
	for (unsigned i = 0; i < s->old_count; i++) {
		struct takeover_process *p = &s->old[i];
		if (p->pidfd >= 0 && p->record.role == ROLE_PROXY) {
			LOG_INFO("old worker drains", "pid=%d", p->record.pid);
			sys_pidfd_kill(p->pidfd, SIGTERM);
			p->record.role = ROLE_COUNT; /* told once */
		}
	}
}

/* This run's resolver answers: the earlier run's goes. */
static void supervisor_retire_resolver(struct supervisor *s)
{
	for (unsigned i = 0; i < s->old_count; i++)
		if (s->old[i].pidfd >= 0 && s->old[i].record.role == ROLE_RESOLVER)
			sys_pidfd_kill(s->old[i].pidfd, SIGTERM);
}

static void supervisor_on_child_msg(void *arg, struct child *c, uint16_t type, const void *body, size_t len, int *fds,
				    size_t nfds)
{
	struct supervisor *s = arg;

	if (type == MSG_READY) {
		takeover_note(s->roles_dir, c->role, s->worker_base + c->index, c->pid, body, len / sizeof(int32_t));
		if (c->role == ROLE_PROXY)
			supervisor_retire_old(s);
		if (c->role == ROLE_RESOLVER)
			supervisor_retire_resolver(s);
	} else if (c->role == ROLE_CONTROL && s->supervise) {
		supervisor_on_control_msg(s, type, body, fds, nfds);
	}
}

static void supervisor_try_leave(struct supervisor *s);

static void supervisor_on_child_exit(void *arg, struct child *c, int status)
{
	struct supervisor *s = arg;

	(void)status;
	(void)c;
	supervisor_try_leave(s);
}

static const struct child_ops supervisor_child_ops = {supervisor_on_child_start, supervisor_on_child_msg,
						      supervisor_on_child_exit};

static void supervisor_on_deadline(void *arg)
{
	struct supervisor *s = arg;

	LOG_WARN("processes did not end in time, killing them", "phase=%d", (int)s->phase);
	child_end(&s->control, SIGKILL);
	child_end(&s->logger, SIGKILL);
	child_end(&s->resolver, SIGKILL);
	child_end(&s->fetcher, SIGKILL);
	for (unsigned i = 0; i < s->settings.proxy_workers; i++)
		child_end(&s->workers[i], SIGKILL);
}

/* Ends the loop once all our own processes are gone. */
static void supervisor_try_leave(struct supervisor *s)
{
	if (s->phase != PHASE_ENDING || !child_idle(&s->control) || !child_idle(&s->logger) ||
	    !child_idle(&s->resolver) || !child_idle(&s->fetcher))
		return;
	for (unsigned i = 0; i < s->settings.proxy_workers; i++)
		if (!child_idle(&s->workers[i]))
			return;
	loop_stop(s->loop);
}

static void supervisor_end_processes(struct supervisor *s)
{
	s->phase = PHASE_ENDING;
	child_end(&s->control, SIGTERM);
	for (unsigned i = 0; i < s->settings.proxy_workers; i++) {
		/* Ending workers do not wait for clients to go: the apps are stopped, or this is SIGQUIT. */
		struct msg_drain now = {.deadline_ms = 500};
		if (s->workers[i].chan)
			chan_send(s->workers[i].chan, MSG_DRAIN, &now, sizeof now, NULL, 0);
		child_end(&s->workers[i], 0);
	}
	for (unsigned i = 0; i < s->old_count; i++)
		if (s->old[i].pidfd >= 0)
			sys_pidfd_kill(s->old[i].pidfd, SIGTERM);
	child_end(&s->resolver, SIGTERM);
	child_end(&s->fetcher, SIGTERM);
	child_end(&s->logger, SIGTERM);
	loop_timer_start(s->loop, &s->deadline, SUPERVISOR_END_US, supervisor_on_deadline, s);
	supervisor_try_leave(s);
}

static void supervisor_on_apps_stopped(void *arg)
{
	struct supervisor *s = arg;

	if (s->phase == PHASE_STOPPING)
		supervisor_end_processes(s);
}

static void supervisor_on_signal(void *arg, int signo)
{
	struct supervisor *s = arg;
	struct settings fresh;
	struct err e;

	switch (signo) {
	case SIGTERM:
	case SIGINT:
		if (s->phase == PHASE_STOPPING) {
			LOG_INFO("stopping at once", "signal=%d", signo);
			supervise_stop_all(s->supervise, 0, supervisor_on_apps_stopped, s);
		} else if (s->phase == PHASE_SERVING) {
			LOG_INFO("stopping apps and node", "signal=%d", signo);
			s->phase = PHASE_STOPPING;
			s->teardown = true;
			/* Control first: it would start again what we stop. */
			child_end(&s->control, SIGTERM);
			supervise_stop_all(s->supervise, (uint32_t)s->settings.grace_ms, supervisor_on_apps_stopped, s);
		}
		break;
	case SIGQUIT:
		if (s->phase == PHASE_SERVING) {
			LOG_INFO("leaving the apps running", "signal=%d", signo);
			supervisor_end_processes(s);
		}
		break;
	case SIGHUP:
	case SIGUSR2:
		if (s->phase != PHASE_SERVING)
			break;
		if (settings_load(s->settings_path, &fresh, &e) < 0) {
			LOG_ERROR("settings refused, going on with the old ones", "error=\"%s\"", e.text);
			break;
		}
		if (names_free_for(&fresh, &e) < 0) {
			LOG_ERROR("settings refused, going on with the old ones", "field=%s error=\"%s\"", e.field,
				  e.text);
			break;
		}
		if (supervise_disk_grow(s->supervise, &fresh, &e) < 0)
			LOG_ERROR("the pool stays as it is", "error=\"%s\"", e.text);
		LOG_INFO("executing again in place", "signal=%d", signo);
		s->again = true;
		loop_stop(s->loop);
		break;
	default:
		break;
	}
}

/* After an upgrade in place the earlier run's processes are our children still, and nobody else reaps them. */
static void supervisor_on_old_exit(void *arg, short what)
{
	struct supervisor *s = arg;

	(void)what;
	for (unsigned i = 0; i < s->old_count; i++) {
		struct takeover_process *p = &s->old[i];
		struct pollfd pfd = {.fd = p->pidfd, .events = POLLIN};
		siginfo_t si;
		if (p->pidfd < 0 || poll(&pfd, 1, 0) != 1)
			continue;
		waitid(P_PIDFD, (id_t)p->pidfd, &si, WEXITED | WNOHANG);
		takeover_forget(s->roles_dir, p->record.pid);
		loop_io_stop(&s->old_io[i]);
		own_close(&p->pidfd);
	}
	supervisor_tell_old(s);
}

/* The name server's sockets of an earlier resolver, which answers on until ours does.  One that never said that it was
 * ready has them too, but where is not known: it ends, and they are made again. */
static void supervisor_take_names(struct supervisor *s, struct takeover_process *p)
{
	int udp = p->record.fd_count == 2 ? takeover_fd(p, 0) : -1, tcp = udp < 0 ? -1 : takeover_fd(p, 1);
	struct pollfd pfd = {.fd = p->pidfd, .events = POLLIN};

	if (udp >= 0 && tcp >= 0 && s->listeners.names_udp < 0) {
		s->listeners.names_udp = udp;
		s->listeners.names_tcp = tcp;
		return;
	}
	own_close(&udp);
	own_close(&tcp);
	sys_pidfd_kill(p->pidfd, SIGKILL);
	poll(&pfd, 1, 1000);
}

static void supervisor_take_socket(void *arg, int fd)
{
	struct supervisor *s = arg;

	listeners_offer(&s->listeners, &s->settings, fd);
}

/* The statistics and the listeners of an earlier worker.  One that never said that it was ready holds the listeners
 * too: without them the ports would be in use, and what waits in their queues lost. */
static void supervisor_take_worker(struct supervisor *s, struct takeover_process *p)
{
	if (p->record.fd_count == 0)
		takeover_sockets(p, supervisor_take_socket, s);
	else if (s->stats < 0)
		s->stats = takeover_fd(p, 0);
	for (unsigned k = 2; k < p->record.fd_count; k++) {
		int fd = takeover_fd(p, k);
		if (fd >= 0)
			listeners_offer(&s->listeners, &s->settings, fd);
	}
}

/* Listens where nobody does yet.  A worker whose supervisor was killed between giving it the listeners and its taking
 * them has them in its channel, where nobody sees them, until it has run: it is given a second. */
static int supervisor_listen(struct supervisor *s, struct err *e)
{
	for (int tries = 0;; tries++) {
		int r = listeners_open(&s->listeners, &s->settings, e);
		bool unready = false;

		if (r != -EADDRINUSE || tries == 100)
			return r;
		for (unsigned i = 0; i < s->old_count; i++) {
			struct takeover_process *p = &s->old[i];
			if (p->record.role != ROLE_PROXY || p->record.fd_count > 0)
				continue;
			unready = true;
			takeover_sockets(p, supervisor_take_socket, s);
		}
		if (!unready)
			return r;
		usleep(10000);
	}
}

/* Takes from the processes of an earlier run what this run goes on with. */
static int supervisor_take_over(struct supervisor *s, struct err *e)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	bool upper = false;

	s->old_count = takeover_find(s->roles_dir, s->old);
	for (unsigned i = 0; i < s->old_count; i++) {
		struct takeover_process *p = &s->old[i];
		loop_io_start(s->loop, &s->old_io[i], p->pidfd, EV_READ, supervisor_on_old_exit, s);
		if (p->record.role == ROLE_RESOLVER) {
			supervisor_take_names(s, p);
			continue;
		}
		if (p->record.role != ROLE_PROXY) {
			/* Control has nothing to hand over; two loggers would share the apps' lines between them. */
			sys_pidfd_kill(p->pidfd, SIGTERM);
			continue;
		}
		s->old_is_worker[i] = true;
		upper = upper || p->record.index < LIMIT_WORKERS / 2;
		supervisor_take_worker(s, p);
	}
	/* They may have been moved to some CPUs. */
	supervisor_front_cpus(s, NULL, 0);
	/* Old and new workers live side by side while the old ones drain: they write different rows. */
	s->worker_base = upper ? LIMIT_WORKERS / 2 : 0;
	if (pid && count && strtol(pid, NULL, 10) == getpid())
		for (int fd = 3; fd < 3 + (int)strtol(count, NULL, 10); fd++) {
			fcntl(fd, F_SETFD, FD_CLOEXEC);
			listeners_offer(&s->listeners, &s->settings, fd);
		}
	if (s->stats < 0)
		s->stats = stats_create();
	if (s->stats < 0)
		return err_set(e, -s->stats, "cannot make the statistics segment: %s", strerror(-s->stats));
	return 0;
}

static void supervisor_raise_limits(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
	/* The roles inherit it, builders take it off again (agent/sandbox/user.c).  Needs CAP_SYS_RESOURCE, or a
	 * service manager that has done it; --check says when neither is there. */
	fd_write_file(AT_FDCWD, "/proc/self/oom_score_adj", SUPERVISOR_OOM_SCORE);
}

static void supervisor_on_limit(void *arg, enum supervise_verdict v, const char *what, const char *text)
{
	(void)arg;
	if (v != SUPERVISE_OK)
		LOG_WARN("host limit", "name=%s advice=\"%s\"", what, text);
}

static int supervisor_start(struct supervisor *s, struct err *e)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR2};
	const struct supervise_ops ops = supervisor_relay_ops(s);
	OWN_FREE char *dir = strdup(s->program);
	struct passwd proxy = {0};
	int r;

	signal(SIGPIPE, SIG_IGN);
	supervisor_raise_limits();
	supervise_check_limits(&s->settings, supervisor_on_limit, s);
	if (!dir || !(s->loop = loop_new()))
		return err_set(e, ENOMEM, "out of memory or descriptors");
	*strrchr(dir, '/') = 0;
	/* Before all else: what another node has is not touched. */
	if ((r = names_take(&s->names, &s->settings, NULL, e)) < 0)
		return r;
	names_answer(&s->names, s->loop);
	if ((r = supervisor_dirs(s, e)) < 0 || (r = supervisor_user(s->settings.user_proxy, &proxy, e)) < 0)
		return r;
	if ((r = supervisor_take_over(s, e)) < 0 || (r = supervisor_listen(s, e)) < 0 ||
	    (r = listeners_open_api(&s->listeners, &s->settings, proxy.pw_gid, e)) < 0)
		return r;
	if (pipe2(s->access, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_errno(e, "cannot make the access log's pipe");
	fcntl(s->access[1], F_SETPIPE_SZ, 1 << 20);
	for (unsigned i = 0; i < ARRAY_LEN(signals); i++)
		loop_signal_start(s->loop, &s->signals[i], signals[i], supervisor_on_signal, s);
	child_init(&s->control, s->loop, ROLE_CONTROL, 0, &supervisor_child_ops, s);
	child_init(&s->logger, s->loop, ROLE_LOGGER, 0, &supervisor_child_ops, s);
	child_init(&s->resolver, s->loop, ROLE_RESOLVER, 0, &supervisor_child_ops, s);
	child_init(&s->fetcher, s->loop, ROLE_FETCHER, 0, &supervisor_child_ops, s);
	for (unsigned i = 0; i < s->settings.proxy_workers; i++)
		child_init(&s->workers[i], s->loop, ROLE_PROXY, i, &supervisor_child_ops, s);
	/* The logger before the instances, so that nothing they say waits. */
	child_start(&s->logger);
	r = supervise_new(s->loop, &s->settings, dir, &ops, &s->supervise, e);
	if (r < 0)
		return r;
	supervise_reopen_logs(s->supervise);
	s->phase = PHASE_SERVING;
	/* Another name server may have taken the port of every address: then the apps run without names. */
	if (listeners_open_names(&s->listeners, s->settings.pool_net + 1, e) < 0)
		LOG_ERROR("apps find no names", "error=\"%s\"", e->text);
	else
		child_start(&s->resolver);
	/* Certificates, and proofs that a domain is a tenant's, are all that it is for. */
	if (s->settings.https_count || s->settings.domain_proof)
		child_start(&s->fetcher);
	child_start(&s->control);
	for (unsigned i = 0; i < s->settings.proxy_workers; i++)
		child_start(&s->workers[i]);
	return 0;
}

int supervisor_run(const struct settings *settings, const char *settings_path, const char *program, char **argv)
{
	struct supervisor *s = calloc(1, sizeof *s);
	struct err e = {0};

	log_init("supervisor", LOG_LEVEL_INFO);
	if (!s)
		return 1;
	s->settings = *settings;
	if (s->settings.proxy_workers > LIMIT_WORKERS / 2)
		s->settings.proxy_workers = LIMIT_WORKERS / 2; /* the other half of the rows is for an upgrade */
	s->settings_path = settings_path;
	s->program = program;
	s->argv = argv;
	s->roles_dir = s->stats = s->logs_dir = s->access[0] = s->access[1] = -1;
	s->boot = (uint64_t)clock_wall_ms();
	listeners_init(&s->listeners);
	if (supervisor_start(s, &e) < 0) {
		LOG_ERROR("start failed", "%s%s%serror=\"%s\"", e.field[0] ? "field=" : "", e.field,
			  e.field[0] ? " " : "", e.text);
		child_end(&s->logger, SIGKILL);
		supervisor_undo_dirs(s);
		names_undo(&s->names, NULL);
		return 1;
	}
	LOG_INFO("node serves", "name=%s version=%s http=%s workers=%u data=%s", s->settings.node_name, TULOU_VERSION,
		 s->settings.http_count ? s->settings.http[0].text : "-", s->settings.proxy_workers, s->settings.data);
	loop_run(s->loop);
	if (s->again) {
		/* Every other descriptor is CLOEXEC; control ends with its channel, workers and logger serve on until
		 * replaced. */
		supervise_leave(s->supervise);
		names_carry(&s->names);
		execv(s->program, s->argv);
		LOG_ERROR("cannot execute again", "program=%s error=\"%s\"", s->program, strerror(errno));
		return 1;
	}
	if (s->teardown) {
		if (supervise_teardown(s->supervise, &e) < 0)
			LOG_WARN("left behind", "error=\"%s\"", e.text);
		supervisor_remove_runtime(s);
		LOG_INFO("node stopped", "name=%s", s->settings.node_name);
	} else {
		supervise_leave(s->supervise);
		LOG_INFO("apps left running", "name=%s", s->settings.node_name);
	}
	return 0;
}
