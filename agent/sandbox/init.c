/* PID 1 of a sandbox for the rest of its life.  Layer agent/sandbox, inside.
 *
 *   running --main exits------------------------------------> gone (status written; the kernel kills what is left)
 *      \--SIGTERM--> stopping --main exits--> lingering --no process left, or LIMIT_SANDBOX_LINGER_MS--> gone
 *
 * It holds the output pipe for supervisors that come and go, reaps, passes a stop on, and writes the exit status.  It
 * keeps no memory but a few pages, no capability but CAP_KILL, and the system calls of the loop below. */
#include "agent/sandbox/sandbox.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int init_prepare(struct sandbox *s)
{
	(void)s;
	/* The sandbox's own: nothing of the supervisor's stays open as 0, 1 or 2. */
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return -errno;
	for (int fd = 0; fd < 3; fd++)
		if (dup2(null, fd) < 0)
			return -errno;
	close(null);
	return 0;
}

#define ALLOW(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "no seccomp architecture for this machine"
#endif

/* What the loop below needs. */
static const struct sock_filter calls[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	ALLOW(SYS_rt_sigtimedwait),
	ALLOW(SYS_wait4),
	ALLOW(SYS_kill),
	ALLOW(SYS_pwrite64),
	ALLOW(SYS_clock_gettime),
	ALLOW(SYS_exit_group),
	ALLOW(SYS_restart_syscall),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
};

static _Noreturn void leave(struct launch_status *status)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	status->time_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	while (pwrite(LAUNCH_FD_STATUS, status, sizeof *status, 0) < 0 && errno == EINTR)
		;
	_exit(status->code);
}

/* Gives back what the launch used.  The stack below this frame was dirtied by the steps. */
static __attribute__((noinline)) void shrink(struct sandbox *s)
{
	uintptr_t page = 4096, here = (uintptr_t)__builtin_frame_address(0);

	munmap(s->blob, s->blob_size);
	munmap(s->filter, s->filter_size + 1);
	madvise((void *)((here & ~(page - 1)) - 16 * page), 15 * page, MADV_DONTNEED);
}

static void keep_only(int fd_count, const int *fds)
{
	unsigned from = 3;

	for (int i = 0; i < fd_count; i++) {
		if ((unsigned)fds[i] > from)
			sys_close_range(from, (unsigned)fds[i] - 1, 0);
		from = (unsigned)fds[i] + 1;
	}
	sys_close_range(from, ~0u, 0);
}

static int64_t mono_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

_Noreturn void init_run(struct sandbox *s)
{
	struct launch_status status = {.magic = LAUNCH_STATUS_MAGIC};
	struct sock_fprog filter = {.len = sizeof calls / sizeof calls[0],
				    .filter = (struct sock_filter *)(uintptr_t)calls};
	pid_t program = s->pid;
	int main_gone = 0;
	int64_t deadline = 0;
	sigset_t all;

	shrink(s);
	keep_only(s->spec.socket ? 4 : 3,
		  (const int[]){LAUNCH_FD_STATUS, LAUNCH_FD_OUT, LAUNCH_FD_OUT_READ, LAUNCH_FD_SOCKET});
	user_capabilities(1u << CAP_KILL);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0)
		_exit(125);
	sigfillset(&all);

	for (;;) {
		int ended, how;
		while ((ended = waitpid(-1, &how, WNOHANG)) > 0) {
			if (ended != program)
				continue;
			main_gone = 1;
			status.signal = WIFSIGNALED(how) ? WTERMSIG(how) : 0;
			status.code = status.signal ? 128 + status.signal : WEXITSTATUS(how);
			deadline = mono_ms() + LIMIT_SANDBOX_LINGER_MS;
		}
		int64_t left = deadline - mono_ms();
		if (main_gone && (!status.stop_requested || ended < 0 || left <= 0))
			leave(&status);

		struct timespec wait = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
		if (sigtimedwait(&all, NULL, main_gone ? &wait : NULL) == SIGTERM) {
			/* To all: who wraps the server in a shell or in npm must not lose its graceful stop. */
			status.stop_requested = 1;
			kill(-1, SIGTERM);
		}
	}
}
