/* Starting tulou-sandbox.  Layer agent, supervisor process. */
#include "agent/supervise/launch.h"

#include "agent/supervise/net.h"
#include "agent/supervise/seccomp.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/own.h"
#include "base/sys.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int load_program(const char *dir, const char *name, struct err *e)
{
	char path[512];
	OWN_FD int fd = -1;
	int r;

	if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, name) >= sizeof path)
		return err_set(e, ENAMETOOLONG, "the folder of the programs has too long a name");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, "cannot open %s", path);
	r = fd_memfd_copy(name, fd);
	return r < 0 ? err_set(e, -r, "cannot load %s: %s", path, strerror(-r)) : r;
}

int launch_load(struct launch_programs *p, const char *dir, struct err *e)
{
	int r;

	*p = (struct launch_programs)LAUNCH_PROGRAMS_NONE;
	r = p->sandbox = load_program(dir, "tulou-sandbox", e);
	if (r >= 0) {
		r = p->unpack = load_program(dir, "tulou-unpack", e);
		if (r == -ENOENT) /* nothing can be deployed then, but what is deployed runs */
			r = p->unpack = open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	for (size_t i = 0; r >= 0 && i < QUOTA_PROFILE_COUNT; i++)
		r = p->seccomp[i] = seccomp_build((enum quota_profile)i, e);
	if (r >= 0) {
		r = p->null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (r < 0)
			err_errno(e, "cannot open /dev/null");
	}
	if (r >= 0) {
		r = p->usr = open("/usr", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (r < 0)
			err_errno(e, "cannot open /usr");
	}
	p->segments = net_segments();
	if (p->segments < 0)
		LOG_WARN("packets of many datagrams count as one: no CONFIG_NETFILTER_XT_MATCH_BPF?", "error=\"%s\"",
			 strerror(-p->segments));
	if (r < 0) {
		r = -e->code;
		launch_unload(p);
		return r;
	}
	return 0;
}

void launch_unload(struct launch_programs *p)
{
	own_close(&p->sandbox);
	own_close(&p->unpack);
	for (size_t i = 0; i < QUOTA_PROFILE_COUNT; i++)
		own_close(&p->seccomp[i]);
	own_close(&p->null);
	own_close(&p->usr);
	own_close(&p->segments);
}

struct spawn {
	int program;
	int null;
	int fds[LAUNCH_FDS_MAX]; /* become LAUNCH_FD_SPEC and up */
	int count;
	int error; /* out: errno of the failed step */
};

/* The child between clone and exec.  It shares our memory and we wait (CLONE_VM | CLONE_VFORK), so it only makes system
 * calls; its descriptor table and signal handlers are its own copies. */
static int spawn_child(void *arg)
{
	struct spawn *sp = arg;
	static char name[] = "tulou-sandbox";
	static char *const argv[] = {name, NULL};
	static char *const envp[] = {NULL};
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;
	int end = LAUNCH_FD_SPEC + sp->count;

	/* A handler of ours must not run in here. */
	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();

	/* First out of the range of the targets, then into place: dup2 onto itself would keep CLOEXEC. */
	if (sp->program < end)
		sp->program = fcntl(sp->program, F_DUPFD_CLOEXEC, end);
	for (int i = 0; i < sp->count; i++)
		if (sp->fds[i] < end)
			sp->fds[i] = fcntl(sp->fds[i], F_DUPFD_CLOEXEC, end);
	for (int i = 0; i < sp->count; i++)
		if (sp->fds[i] < 0 || dup2(sp->fds[i], LAUNCH_FD_SPEC + i) < 0)
			goto fail;
	for (int i = 0; i < 3; i++)
		if (dup2(LAUNCH_FD_SPEC + sp->count - 1, i) < 0)
			goto fail;
	/* The last one is /dev/null, put there for 0, 1, 2 only. */
	close(LAUNCH_FD_SPEC + sp->count - 1);
	execveat(sp->program, "", argv, envp, AT_EMPTY_PATH);
fail:
	sp->error = errno;
	_exit(127);
}

static void spawn_list(struct spawn *sp, const struct launch_programs *p, const struct launch *spec,
		       const struct launch_fds *fds, int spec_fd, int report_fd)
{
	const int fixed[] = {spec_fd,
			     report_fd,
			     fds->status,
			     fds->blob,
			     p->seccomp[spec->profile],
			     p->unpack,
			     fds->stack,
			     fds->tree,
			     fds->out,
			     fds->out_read,
			     fds->layer,
			     fds->usr < 0 ? p->usr : fds->usr,
			     p->segments};

	static_assert(ARRAY_LEN(fixed) == LAUNCH_FD_CGROUP - LAUNCH_FD_SPEC, "one for each of enum launch_fd");
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		sp->fds[sp->count++] = fixed[i] < 0 ? p->null : fixed[i];
	for (uint32_t i = 0; i < spec->cgroup_count; i++)
		sp->fds[sp->count++] = fds->cgroups[i];
	for (uint32_t i = 0; i < spec->stdio_count; i++)
		sp->fds[sp->count++] = fds->stdio[i] < 0 ? p->null : fds->stdio[i];
}

pid_t launch_spawn(const struct launch_programs *p, const struct launch *spec, const struct launch_fds *fds,
		   int *report, int *pidfd, struct err *e)
{
	static char stack[65536] __attribute__((aligned(16)));
	OWN_FD int spec_fd = -1, ours = -1, theirs = -1;
	struct spawn sp = {.program = p->sandbox};
	sigset_t all, before;
	int pair[2], fd = -1, r;
	pid_t pid;

	assert(spec->profile < QUOTA_PROFILE_COUNT);
	assert(spec->cgroup_count <= LAUNCH_CGROUPS_MAX && spec->stdio_count <= LAUNCH_STDIO_MAX);
	spec_fd = fd_memfd_sealed("launch", spec, sizeof *spec);
	if (spec_fd < 0)
		return err_set(e, -spec_fd, "cannot make the launch order: %s", strerror(-spec_fd));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(e, "cannot make the report socket");
	ours = pair[0];
	theirs = pair[1];
	r = fd_nonblock(ours);
	if (r < 0)
		return err_set(e, -r, "cannot prepare the report socket: %s", strerror(-r));
	spawn_list(&sp, p, spec, fds, spec_fd, theirs);
	sp.fds[sp.count++] = p->null; /* see spawn_child() */

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = clone(spawn_child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &sp, &fd);
	r = errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return err_set(e, r, "cannot start tulou-sandbox: %s", strerror(r));
	*pidfd = fd;
	*report = TAKE_FD(ours);
	/* A child that failed before exec is gone already; it ends without a report, which the caller must cope with
	 * anyway. */
	if (sp.error)
		err_set(e, sp.error, "cannot execute tulou-sandbox: %s", strerror(sp.error));
	return pid;
}
