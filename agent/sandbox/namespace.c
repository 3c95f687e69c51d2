/* The namespaces, and the words between the two processes.  Layer agent/sandbox, builder and inside. */
#include "agent/sandbox/sandbox.h"
#include "base/sys.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* Never returns: PID 1's side of the launch, then its life. */
static _Noreturn void inside(struct sandbox *s)
{
	int r = sandbox_run(s, SANDBOX_INSIDE);

	/* -EPIPE from the words means that the builder failed and has said so. */
	if (r < 0 && r != -EPIPE)
		sandbox_report(s, LAUNCH_REPORT_FAILED, 0, -r);
	else if (r == 0)
		sandbox_report(s, LAUNCH_REPORT_EXEC, 0, 0);
	namespace_say(s, SANDBOX_WORD_DONE, -1);
	if (r < 0)
		_exit(125);
	init_run(s);
}

int namespace_create(struct sandbox *s)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	struct timeval wait = {.tv_sec = LIMIT_LAUNCH_MS / 1000};
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	setsockopt(pair[1], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);

	/* The supervisor is the parent (CLONE_PARENT), so that PID 1 outlives us without being handed on.  The cgroup
	 * namespace comes later, in the right cgroup: cloned here its root would be ours. */
	struct clone_args a = {
		.flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
			 CLONE_PARENT | CLONE_PIDFD,
		.pidfd = (uintptr_t)&s->pidfd,
	};
	if (s->spec.cgroup_v2) {
		a.flags |= CLONE_INTO_CGROUP; /* Linux 5.7 */
		a.cgroup = LAUNCH_FD_CGROUP;
	}
	/* What the kernel counts per user (inotify, POSIX queues, queued signals, locked memory) it counts once more
	 * against whoever made the user namespace.  That is the tenant's own user 0: as root's, 128 inotify instances
	 * of one tenant would be all that the host has for everybody. */
	int r = user_act_as(s->spec.uid_base);
	pid_t pid = r < 0 ? -1 : sys_clone3(&a);
	if (pid < 0) {
		r = r < 0 ? r : -errno;
		close(pair[0]);
		close(pair[1]);
		return r;
	}
	s->sync = pair[pid == 0];
	close(pair[pid != 0]);
	if (pid == 0)
		inside(s);
	s->pid = pid;
	sandbox_report(s, LAUNCH_REPORT_PID, pid, 0);
	return user_act_as(0);
}

int namespace_join_cgroups(struct sandbox *s)
{
	/* "0" is the writer: unlike a pid written by somebody else it waits for no grace period (PEERS: 55 us, not 9
	 * ms). */
	if (!s->spec.cgroup_v2)
		for (uint32_t i = 0; i < s->spec.cgroup_count; i++)
			if (write((int)(LAUNCH_FD_CGROUP + i), "0", 1) != 1)
				return -errno;
	return unshare(CLONE_NEWCGROUP) < 0 ? -errno : 0;
}

int namespace_name(struct sandbox *s)
{
	const char *name = s->spec.hostname;

	return sethostname(name, strlen(name)) < 0 || setdomainname("", 0) < 0 ? -errno : 0;
}

int namespace_say(struct sandbox *s, enum sandbox_word w, int fd)
{
	char byte = (char)w;
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec io = {.iov_base = &byte, .iov_len = 1};
	struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1};

	if (fd >= 0) {
		m.msg_control = &control;
		m.msg_controllen = sizeof control;
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
	}
	return sendmsg(s->sync, &m, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

int namespace_hear(struct sandbox *s, enum sandbox_word w, int *fd)
{
	char byte = 0;
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec io = {.iov_base = &byte, .iov_len = 1};
	struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t n = recvmsg(s->sync, &m, MSG_CMSG_CLOEXEC);

	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : errno == ECONNRESET ? -EPIPE : -errno;
	if (n == 0)
		return -EPIPE;
	if (fd && m.msg_controllen >= CMSG_LEN(sizeof *fd) && control.head.cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(&control.head), sizeof *fd);
	/* DONE may come at any time: inside failed, and has reported it. */
	return byte == (char)w ? 0 : byte == (char)SANDBOX_WORD_DONE ? -ECANCELED : -EPROTO;
}

int namespace_wait_done(struct sandbox *s)
{
	int r = namespace_hear(s, SANDBOX_WORD_DONE, NULL);

	if (r == -EPIPE) {
		s->what = "the sandbox was killed; too little memory?";
		return -ECHILD;
	}
	return r;
}
