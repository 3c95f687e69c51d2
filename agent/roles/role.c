/* The role table and the step from root into a role.  Layer agent, every process but the supervisor. */
#include "agent/roles/role.h"

#include "base/chan.h"
#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <grp.h>
#include <linux/securebits.h>
#include <pwd.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* What every one of our loops needs: memory, time, epoll, sockets that exist already, its own end. */
static const int role_calls_common[] = {
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(close),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(sendto),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_create1),
	SCMP_SYS(poll),
	SCMP_SYS(fcntl),
	SCMP_SYS(dup),
	SCMP_SYS(mmap),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(mprotect),
	SCMP_SYS(madvise),
	SCMP_SYS(brk),
	SCMP_SYS(futex),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(getrandom),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(tgkill),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(sched_yield),
	SCMP_SYS(fstat),
	SCMP_SYS(lseek),
	SCMP_SYS(socketpair),
	SCMP_SYS(pipe2),
	SCMP_SYS(eventfd2),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(shutdown),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(prlimit64),
	SCMP_SYS(getrlimit),
	SCMP_SYS(getrusage),
	SCMP_SYS(uname),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(rseq),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(ioctl),
	SCMP_SYS(splice),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(sysinfo),
};

/* Proxy and resolver open no file: they accept, and connect to instances, to control, to the host's resolvers.  A
 * folder that the proxy was given is where an instance's unix socket is. */
static const int role_calls_proxy[] = {SCMP_SYS(accept4), SCMP_SYS(socket), SCMP_SYS(connect), SCMP_SYS(fchdir),
				       SCMP_SYS(chdir)};

/* Asks servers on the internet; tells its answers in sealed memory; bind(2) tells what is an address of this host. */
static const int role_calls_fetcher[] = {SCMP_SYS(socket), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(memfd_create),
					 SCMP_SYS(alarm)};

/* Files below one directory. */
static const int role_calls_files[] = {
	SCMP_SYS(openat),     SCMP_SYS(open),	   SCMP_SYS(openat2),	SCMP_SYS(newfstatat), SCMP_SYS(stat),
	SCMP_SYS(lstat),      SCMP_SYS(statx),	   SCMP_SYS(renameat),	SCMP_SYS(renameat2),  SCMP_SYS(rename),
	SCMP_SYS(unlinkat),   SCMP_SYS(unlink),	   SCMP_SYS(mkdirat),	SCMP_SYS(mkdir),      SCMP_SYS(rmdir),
	SCMP_SYS(getdents64), SCMP_SYS(fchmod),	   SCMP_SYS(ftruncate), SCMP_SYS(fsync),      SCMP_SYS(fdatasync),
	SCMP_SYS(pread64),    SCMP_SYS(pwrite64),  SCMP_SYS(access),	SCMP_SYS(faccessat2), SCMP_SYS(faccessat),
	SCMP_SYS(fstatfs),    SCMP_SYS(statfs),	   SCMP_SYS(umask),	SCMP_SYS(readlink),   SCMP_SYS(readlinkat),
	SCMP_SYS(getcwd),     SCMP_SYS(fadvise64), SCMP_SYS(fallocate), SCMP_SYS(sendfile),   SCMP_SYS(flock),
	SCMP_SYS(utimensat),  SCMP_SYS(fchown),	   SCMP_SYS(chmod),	SCMP_SYS(fchmodat),
};

/* Control also answers HTTP, follows files, makes sealed memory for launches and checks instances' health. */
static const int role_calls_control[] = {
	SCMP_SYS(accept4),
	SCMP_SYS(socket),
	SCMP_SYS(connect),
	SCMP_SYS(inotify_init1),
	SCMP_SYS(inotify_add_watch),
	SCMP_SYS(inotify_rm_watch),
	SCMP_SYS(memfd_create),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(times),
	SCMP_SYS(dup2),
	SCMP_SYS(dup3),
	SCMP_SYS(accept),
	SCMP_SYS(select),
	SCMP_SYS(pselect6),
	SCMP_SYS(ppoll),
	SCMP_SYS(getppid),
};

struct role_calls {
	const int *list;
	size_t count;
};
#define CALLS(a)                                                                                                       \
	{                                                                                                              \
		a, ARRAY_LEN(a)                                                                                        \
	}

static const struct role {
	const char *name;
	size_t user_offset; /* of the user's name in struct settings */
	struct role_calls calls[3];
	int (*main)(void);
} role_table[ROLE_COUNT] = {
	[ROLE_CONTROL] = {"control",
			  offsetof(struct settings, user),
			  {CALLS(role_calls_common), CALLS(role_calls_files), CALLS(role_calls_control)},
			  role_control_main},
	[ROLE_LOGGER] = {"logger",
			 offsetof(struct settings, user_log),
			 {CALLS(role_calls_common), CALLS(role_calls_files)},
			 role_logger_main},
	[ROLE_PROXY] = {"proxy",
			offsetof(struct settings, user_proxy),
			{CALLS(role_calls_common), CALLS(role_calls_proxy)},
			role_proxy_main},
	[ROLE_RESOLVER] = {"resolver",
			   offsetof(struct settings, user_resolver),
			   {CALLS(role_calls_common), CALLS(role_calls_proxy)},
			   role_resolver_main},
	[ROLE_FETCHER] = {"fetcher",
			  offsetof(struct settings, user_fetcher),
			  {CALLS(role_calls_common), CALLS(role_calls_fetcher)},
			  role_fetcher_main},
};

const char *role_name(enum role_id r)
{
	return (unsigned)r < ROLE_COUNT ? role_table[r].name : "unknown";
}

enum role_id role_parse(const char *name)
{
	enum role_id r = 0;

	while (r < ROLE_COUNT && strcmp(role_table[r].name, name) != 0)
		r++;
	return r;
}

const char *role_user(enum role_id r, const struct settings *s)
{
	return (const char *)s + role_table[r].user_offset;
}

int role_main(enum role_id r)
{
	return role_table[r].main();
}

static int role_filter(const struct role *role, struct err *e)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r = ctx ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(role->calls); i++)
		for (size_t j = 0; r == 0 && j < role->calls[i].count; j++)
			r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, role->calls[i].list[j], 0);
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r < 0 ? err_set(e, -r, "cannot load the system-call filter of role %s: %s", role->name, strerror(-r))
		     : 0;
}

static int role_drop_capabilities(struct err *e)
{
	int r = 0;

	/* The bounding set and the securebits need CAP_SETPCAP, so they go first (capabilities(7)). */
	for (cap_value_t c = 0; c <= cap_max_bits() && r == 0; c++)
		if (cap_get_bound(c) == 1 && cap_drop_bound(c) < 0)
			r = err_errno(e, "cannot drop capability %d", (int)c);
	if (r == 0 && prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |
						       SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
						       SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED) < 0)
		r = err_errno(e, "cannot lock the securebits");
	return r;
}

const void *role_begin(uint16_t type, const struct chan_rule *rules, size_t count, int *fds, size_t *nfds)
{
	static char body[CHAN_BODY_MAX] __attribute__((aligned(16)));
	size_t len = 0;
	uint16_t got = 0;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN); /* a terminal's Ctrl-C is for the supervisor, which ends us */
	if (chan_recv_first(ROLE_CHANNEL_FD, rules, count, &got, body, &len, fds, nfds) == 0 && got == type)
		return body;
	LOG_ERROR("start failed", "reason=\"no first message\"");
	return NULL;
}

int role_confine(enum role_id id, const char *user, const char *root_dir, struct err *e)
{
	const struct role *role = &role_table[id];
	struct rlimit no_core = {0, 0};
	struct passwd *pw = getpwnam(user);
	cap_t none;
	int r;

	if (!pw)
		return err_set(e, ENOENT, "user %s does not exist: run deploy/bootstrap, or useradd --system %s", user,
			       user);
	if (pw->pw_uid == 0)
		return err_set(e, EPERM, "user %s is root: a role may not run as root", user);
	if (root_dir && (chroot(root_dir) < 0 || chdir("/") < 0))
		return err_errno(e, "cannot enter %s", root_dir);
	r = role_drop_capabilities(e);
	if (r < 0)
		return r;
	if (setgroups(0, NULL) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
		return err_errno(e, "cannot become user %s", user);
	none = cap_init();
	r = none && cap_set_proc(none) == 0 ? 0 : err_errno(e, "cannot clear the capabilities");
	if (none)
		cap_free(none);
	if (r < 0)
		return r;
	if (setuid(0) == 0)
		return err_set(e, EPERM, "privileges came back after they were dropped");
	umask(027);
	if (setrlimit(RLIMIT_CORE, &no_core) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0) < 0)
		return err_errno(e, "cannot confine the process");
	return role_filter(role, e);
}
