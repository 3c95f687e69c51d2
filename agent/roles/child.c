/* Our own processes as the supervisor sees them.  Layer agent, supervisor process. */
#include "agent/roles/child.h"

#include "agent/roles/messages.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_PAUSE_US 20000 /* before the first restart */
#define CHILD_PAUSE_MAX_US 1000000
#define CHILD_NICE (-5) /* of what every request waits for; the apps are at 0 and in a group of half the weight */
#define CHILD_STABLE_US 10000000 /* having run so long forgives earlier failures */

static void child_on_msg(void *arg, uint16_t type, const void *body, size_t len, int *fds, size_t nfds)
{
	struct child *c = arg;

	if (type == MSG_READY)
		c->ready = true;
	c->ops->on_msg(c->arg, c, type, body, len, fds, nfds);
}

static void child_on_gone(void *arg, const char *reason)
{
	struct child *c = arg;

	/* A role that broke the protocol is not trusted any further; its exit is seen through the pidfd. */
	if (!c->ending && c->pidfd >= 0) {
		LOG_WARN("channel lost", "role=%s index=%u pid=%d reason=\"%s\"", role_name(c->role), c->index,
			 (int)c->pid, reason);
		sys_pidfd_kill(c->pidfd, SIGKILL);
	}
}

static const struct chan_ops child_chan_ops = {child_on_msg, child_on_gone};

void child_init(struct child *c, struct loop *l, enum role_id role, unsigned index, const struct child_ops *ops,
		void *arg)
{
	*c = (struct child){
		.role = role, .index = index, .pidfd = -1, .loop = l, .ops = ops, .arg = arg, .ending = true};
}

bool child_idle(const struct child *c)
{
	return c->pid == 0 && !loop_timer_pending(&c->restart);
}

static void child_on_restart(void *arg)
{
	child_start(arg);
}

static void child_pause(struct child *c)
{
	int64_t us = CHILD_PAUSE_US;

	for (unsigned i = 0; i < c->failures && us < CHILD_PAUSE_MAX_US; i++)
		us *= 2;
	if (us > CHILD_PAUSE_MAX_US)
		us = CHILD_PAUSE_MAX_US;
	c->failures++;
	loop_timer_start(c->loop, &c->restart, us, child_on_restart, c);
}

static void child_on_exit(void *arg, short what)
{
	struct child *c = arg;
	siginfo_t si = {0};
	int status = 0;

	(void)what;
	if (waitid(P_PIDFD, (id_t)c->pidfd, &si, WEXITED | WNOHANG) == 0) {
		if (si.si_pid == 0)
			return;
		status = si.si_code == CLD_EXITED ? si.si_status : 128 + si.si_status;
	}
	loop_io_stop(&c->exit_io);
	own_close(&c->pidfd);
	chan_close(c->chan);
	c->chan = NULL;
	c->pid = 0;
	c->ready = false;
	if (!c->ending)
		LOG_WARN("process ended", "role=%s index=%u status=%d", role_name(c->role), c->index, status);
	if (clock_mono_us() - c->started_us > CHILD_STABLE_US)
		c->failures = 0;
	if (!c->ending)
		child_pause(c);
	c->ops->on_exit(c->arg, c, status);
}

/* Between fork and exec: only what signal handlers may do. */
static __attribute__((noreturn)) void child_exec(enum role_id id, int chan_fd)
{
	const char *role = role_name(id);
	char title[32], flag[] = "--role", name[16];
	char *argv[] = {title, flag, name, NULL};
	char *envp[] = {NULL};
	sigset_t none;

	snprintf(title, sizeof title, "tuloud: %s", role);
	snprintf(name, sizeof name, "%s", role);
	if (id == ROLE_PROXY || id == ROLE_CONTROL)
		setpriority(PRIO_PROCESS, 0, CHILD_NICE); /* before it drops root; where it may not, --check says so */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (chan_fd == ROLE_CHANNEL_FD ? fcntl(chan_fd, F_SETFD, 0) < 0 : dup2(chan_fd, ROLE_CHANNEL_FD) < 0)
		_exit(126);
	sys_close_range(ROLE_CHANNEL_FD + 1, ~0u, 0);
	/* The very binary that runs now: a new one beside it may speak another dialect. */
	execve("/proc/self/exe", argv, envp);
	_exit(127);
}

void child_start(struct child *c)
{
	OWN_FD int ours = -1;
	OWN_FD int theirs = -1;
	int pair[2];
	pid_t pid;

	c->ending = false;
	if (chan_pair(pair) < 0)
		goto fail;
	ours = pair[0];
	theirs = pair[1];
	pid = fork();
	if (pid == 0)
		child_exec(c->role, theirs);
	if (pid < 0)
		goto fail;
	c->pid = pid;
	c->started_us = clock_mono_us();
	c->pidfd = sys_pidfd_open(pid);
	if (c->pidfd >= 0)
		fcntl(c->pidfd, F_SETFD, FD_CLOEXEC);
	if (c->pidfd < 0 || loop_io_start(c->loop, &c->exit_io, c->pidfd, EV_READ, child_on_exit, c) < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		own_close(&c->pidfd);
		c->pid = 0;
		goto fail;
	}
	c->chan =
		chan_new(c->loop, ours,
			 c->role == ROLE_CONTROL ? msg_rules_supervisor_from_control : msg_rules_supervisor_from_other,
			 c->role == ROLE_CONTROL ? msg_rules_supervisor_from_control_count
						 : msg_rules_supervisor_from_other_count,
			 &child_chan_ops, c);
	if (!c->chan) {
		sys_pidfd_kill(c->pidfd, SIGKILL); /* its exit starts the pause */
		return;
	}
	TAKE_FD(ours);
	c->ops->on_start(c->arg, c);
	return;
fail:
	LOG_ERROR("cannot start a process", "role=%s index=%u error=\"%s\"", role_name(c->role), c->index,
		  strerror(errno));
	child_pause(c);
}

void child_end(struct child *c, int signo)
{
	c->ending = true;
	loop_timer_stop(&c->restart);
	if (c->pidfd >= 0)
		sys_pidfd_kill(c->pidfd, signo);
}
