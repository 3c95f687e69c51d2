/* The filter of system calls, attacked from below it. */
#include "agent/supervise/seccomp.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static struct sock_filter code[4096];
static unsigned short code_len;

static void build(enum quota_profile profile)
{
	struct err e = {0};
	int fd = seccomp_build(profile, &e);

	cr_assert_geq(fd, 0, "%s", e.text);
	ssize_t n = pread(fd, code, sizeof code, 0);
	cr_assert_gt(n, 0);
	cr_assert_eq(n % (ssize_t)sizeof code[0], 0);
	cr_assert_eq(ftruncate(fd, 0), -1, "it is not sealed");
	code_len = (unsigned short)((size_t)n / sizeof code[0]);
	close(fd);
}

/* Runs attack() under the filter in a child; its wait status. */
static int under(enum quota_profile profile, int (*attack)(void))
{
	build(profile);
	pid_t pid = fork();
	if (pid == 0) {
		struct sock_fprog p = {.len = code_len, .filter = code};
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p) < 0)
			_exit(99);
		_exit(attack());
	}
	int how = 0;
	cr_assert_eq(waitpid(pid, &how, 0), pid);
	return how;
}

static int under_filter(int (*attack)(void))
{
	return under(QUOTA_PROFILE_DEFAULT, attack);
}

static int under_strict(int (*attack)(void))
{
	return under(QUOTA_PROFILE_STRICT, attack);
}

/* Number of the line of the first broken expectation becomes the exit code. */
#define EXPECT(call, error)                                                                                            \
	do {                                                                                                           \
		errno = 0;                                                                                             \
		long r_ = (call);                                                                                      \
		if ((error) ? r_ != -1 || errno != (error) : r_ < 0)                                                   \
			return broken(__LINE__, errno);                                                                \
	} while (0)

static int broken(int line, int error)
{
	dprintf(2, "line %d: errno %d\n", line, error);
	return 1;
}

static int dangerous(void)
{
	EXPECT(syscall(SYS_unshare, CLONE_NEWUSER), EPERM);
	EXPECT(syscall(SYS_mount, "x", "/tmp", "tmpfs", 0, NULL), EPERM);
	EXPECT(syscall(SYS_ptrace, 0, 0, 0, 0), EPERM);
	EXPECT(syscall(SYS_bpf, 0, NULL, 0), EPERM);
	EXPECT(syscall(SYS_keyctl, 0, 0, 0, 0, 0), EPERM);
	EXPECT(syscall(SYS_userfaultfd, 0), EPERM);
	EXPECT(syscall(SYS_vmsplice, 0, NULL, 0, 0), EPERM);
	EXPECT(syscall(SYS_open_by_handle_at, 0, NULL, 0), EPERM);
	EXPECT(syscall(SYS_perf_event_open, NULL, 0, 0, 0, 0), EPERM);
	EXPECT(syscall(SYS_io_uring_setup, 8, NULL), ENOSYS);
	EXPECT(syscall(SYS_clone3, NULL, 0), ENOSYS);
	EXPECT(syscall(100000), ENOSYS);
	return 0;
}

static int namespaces_by_clone(void)
{
	static const unsigned long flags[] = {CLONE_NEWNS,   CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
					      CLONE_NEWUSER, CLONE_NEWPID,    CLONE_NEWNET};

	for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
		EXPECT(syscall(SYS_clone, flags[i] | SIGCHLD, 0, 0, 0, 0), EPERM);
		EXPECT(syscall(SYS_clone, flags[i] | CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0), EPERM);
	}
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	EXPECT(waitpid(pid, NULL, 0), 0);
	return 0;
}

static int sockets(void)
{
	EXPECT(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), 0);
	EXPECT(socket(AF_INET6, SOCK_DGRAM, IPPROTO_UDP), 0);
	EXPECT(socket(AF_UNIX, SOCK_SEQPACKET, 0), 0);
	EXPECT(socket(AF_NETLINK, SOCK_RAW, 0), 0);
	EXPECT(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), EPERM);
	EXPECT(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), EACCES);
	EXPECT(socket(AF_INET, SOCK_STREAM, 262), EPROTONOSUPPORT);
	EXPECT(socket(AF_NETLINK, SOCK_RAW, 6 /* XFRM */), EPROTONOSUPPORT);
	EXPECT(socket(38 /* ALG */, SOCK_SEQPACKET, 0), EAFNOSUPPORT);
	EXPECT(socket(33 /* RXRPC */, SOCK_DGRAM, 0), EAFNOSUPPORT);
	EXPECT(socket(AF_PACKET, SOCK_RAW, 0), EAFNOSUPPORT);
	EXPECT(socket(40 /* VSOCK */, SOCK_STREAM, 0), EAFNOSUPPORT);
	/* The kernel looks at the low half only; garbage above it must not open a door. */
	EXPECT(syscall(SYS_socket, 0x100000000ul | 38, SOCK_SEQPACKET, 0), ENOSYS);
	EXPECT(syscall(SYS_socket, (long)AF_INET, 0x100000000ul | SOCK_RAW, 1l), EPERM);
	EXPECT(syscall(SYS_socket, (long)AF_NETLINK, (long)SOCK_RAW, 0x100000000ul | 6), ENOSYS);
	EXPECT(socketpair(AF_INET, SOCK_STREAM, 0, (int[2]){0}), ENOSYS);
	return 0;
}

static int terminals(void)
{
	int fd = memfd_create("x", 0), on = 0;

	EXPECT(syscall(SYS_ioctl, fd, (unsigned long)TIOCSTI, "x"), EPERM);
	EXPECT(syscall(SYS_ioctl, fd, 0xffffffff00000000ul | TIOCSTI, "x"), EPERM);
	EXPECT(syscall(SYS_ioctl, fd, 0x100000000ul | TIOCLINUX, "x"), EPERM);
	for (unsigned long low = 0; low < 16; low++)
		if ((0x5410 | low) != TIOCSTI && (0x5410 | low) != TIOCLINUX &&
		    low != 0xb /* FIONREAD: for files too */)
			EXPECT(syscall(SYS_ioctl, fd, 0x5410 | low, NULL), ENOTTY);
	EXPECT(ioctl(fd, FIONBIO, &on), 0);
	EXPECT(ioctl(fd, 0xdeadbeef, &on), ENOTTY);
	return 0;
}

/* Lists behind one number: what is not on them answers as from a kernel without it, whatever the upper halves hold. */
static int arguments(void)
{
	int tty = open("/dev/ptmx", O_RDWR | O_NOCTTY), tcp = socket(AF_INET, SOCK_STREAM, 0), one = 1, size = 0;
	int udp = socket(AF_INET, SOCK_DGRAM, 0), v6 = socket(AF_INET6, SOCK_STREAM, 0),
	    netlink = socket(AF_NETLINK, SOCK_RAW, 0);
	struct winsize w;
	struct termios t;
	struct ifreq i = {.ifr_name = "lo"};
	char page[4096] __attribute__((aligned(4096)));
	socklen_t len = sizeof one;

	EXPECT(ioctl(tty, TIOCGWINSZ, &w), 0);
	EXPECT(ioctl(tty, TCGETS, &t), 0);
	EXPECT(ioctl(udp, FIONREAD, &size), 0);
	EXPECT(ioctl(udp, SIOCGIFFLAGS, &i), 0);
	EXPECT(syscall(SYS_ioctl, tty, TIOCSETD, &one), ENOTTY);
	EXPECT(syscall(SYS_ioctl, tty, 0x100000000ul | TIOCSETD, &one), ENOTTY);
	EXPECT(syscall(SYS_ioctl, tcp, SIOCSIFFLAGS, &i), ENOTTY);
	EXPECT(syscall(SYS_ioctl, tcp, SIOCETHTOOL, &i), EOPNOTSUPP);
	EXPECT(syscall(SYS_ioctl, 0, 0x5000940eul /* BTRFS_IOC_SUBVOL_CREATE */, page), ENOTTY);
	EXPECT(syscall(SYS_ioctl, 0, 0x401c5820ul /* FS_IOC_FSSETXATTR */, page), ENOTTY);
	/* some libcs pass the command as int */
	EXPECT(syscall(SYS_ioctl, -1, (long)(int)0x80086601, page), EBADF);

	EXPECT(setsockopt(tcp, IPPROTO_TCP, 1 /* NODELAY */, &one, sizeof one), 0);
	EXPECT(setsockopt(tcp, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one), 0);
	EXPECT(setsockopt(tcp, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one), 0);
	EXPECT(setsockopt(v6, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one), 0);
	EXPECT(setsockopt(v6, IPPROTO_IPV6, 67 /* TCLASS */, &one, sizeof one), 0);
	EXPECT(setsockopt(udp, IPPROTO_IP, 10 /* MTU_DISCOVER */, &one, sizeof one), 0);
	EXPECT(setsockopt(udp, IPPROTO_IP, 35 /* ADD_MEMBERSHIP */, &one, sizeof one), EINVAL); /* the kernel's */
	EXPECT(setsockopt(udp, IPPROTO_UDP, 104 /* GRO */, &one, sizeof one), 0);
	EXPECT(setsockopt(netlink, 270, 11 /* EXT_ACK */, &one, sizeof one), 0);
	EXPECT(setsockopt(tcp, IPPROTO_TCP, 2 /* MAXSEG */, &one, sizeof one), ENOPROTOOPT);
	EXPECT(setsockopt(tcp, IPPROTO_TCP, 3 /* CORK */, &one, sizeof one), 0);
	EXPECT(setsockopt(tcp, IPPROTO_TCP, 12 /* QUICKACK */, &one, sizeof one), 0);
	EXPECT(setsockopt(tcp, IPPROTO_TCP, 31 /* ULP */, "tls", 3), ENOPROTOOPT);
	EXPECT(setsockopt(tcp, IPPROTO_TCP, 19 /* REPAIR */, &one, sizeof one), ENOPROTOOPT);
	EXPECT(setsockopt(udp, IPPROTO_UDP, 100 /* ENCAP */, &one, sizeof one), ENOPROTOOPT);
	EXPECT(setsockopt(udp, IPPROTO_UDP, 103 /* SEGMENT */, &one, sizeof one), ENOPROTOOPT);
	EXPECT(getsockopt(udp, IPPROTO_UDP, 103 /* SEGMENT */, &one, &len), ENOPROTOOPT);
	EXPECT(getsockopt(udp, IPPROTO_UDP, 104 /* GRO */, &one, &len), 0);
	EXPECT(getsockopt(tcp, SOL_SOCKET, 3 /* TYPE */, &one, &len), 0);
	EXPECT(getsockopt(tcp, IPPROTO_TCP, 103, &one, &len), ENOPROTOOPT); /* the kernel's */
	EXPECT(setsockopt(tcp, IPPROTO_IP, 17 /* XFRM_POLICY */, page, 8), ENOPROTOOPT);
	EXPECT(setsockopt(tcp, IPPROTO_IP, 64 /* iptables */, page, 8), ENOPROTOOPT);
	EXPECT(setsockopt(v6, IPPROTO_IPV6, 35 /* XFRM_POLICY */, page, 8), ENOPROTOOPT);
	EXPECT(setsockopt(tcp, SOL_SOCKET, 50 /* ATTACH_BPF */, &one, sizeof one), ENOPROTOOPT);
	EXPECT(setsockopt(tcp, 282 /* TLS */, 1, page, 8), ENOPROTOOPT);
	EXPECT(syscall(SYS_setsockopt, tcp, 0x100000000ul | IPPROTO_TCP, 0x100000000ul | 31, "tls", 3), ENOPROTOOPT);

	EXPECT(prctl(PR_SET_NAME, "x", 0, 0, 0), 0);
	EXPECT(prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0), 0);
	EXPECT(syscall(SYS_prctl, 67l /* MEMORY_MERGE */, 0l, 0l, 0l, 0l), EINVAL);
	EXPECT(syscall(SYS_prctl, 0x100000000l | 67, 0l, 0l, 0l, 0l), EINVAL);
	EXPECT(prctl(62 /* SCHED_CORE */, 0, 0, 0, 0), EINVAL);
	EXPECT(madvise(page, 4096, MADV_DONTNEED), 0);
	EXPECT(madvise(page, 4096, 12 /* MERGEABLE */), EINVAL);
	EXPECT(madvise(page, 4096, 100 /* HWPOISON */), EINVAL);
	return 0;
}

Test(sandbox_seccomp, arguments_by_list)
{
	cr_assert_eq(under_filter(arguments), 0);
}

static int every_call(void)
{
	/* Whatever is not allowed answers EPERM or ENOSYS and never reaches the kernel; a few spot checks of the lists.
	 */
	struct stat st;

	EXPECT(syscall(SYS_getpid), 0);
	EXPECT(stat("/", &st), 0);
	EXPECT(syscall(SYS_sync), 0);
	EXPECT(syscall(SYS_syncfs, 0), EPERM);
	EXPECT(syscall(SYS_personality, 0xffffffffu), 0);
	EXPECT(syscall(SYS_personality, 0x0400000 /* READ_IMPLIES_EXEC */), ENOSYS);
	EXPECT(syscall(SYS_personality, 8 /* LINUX32 */), ENOSYS);
	return 0;
}

Test(sandbox_seccomp, dangerous_calls_are_refused)
{
	cr_assert_eq(under_filter(dangerous), 0);
}

Test(sandbox_seccomp, no_namespace_by_clone)
{
	cr_assert_eq(under_filter(namespaces_by_clone), 0);
}

Test(sandbox_seccomp, sockets_of_few_families)
{
	cr_assert_eq(under_filter(sockets), 0);
}

Test(sandbox_seccomp, no_words_into_a_terminal)
{
	cr_assert_eq(under_filter(terminals), 0);
}

Test(sandbox_seccomp, harmless_calls_pass)
{
	cr_assert_eq(under_filter(every_call), 0);
}

#ifdef __x86_64__
static int by_int80(void)
{
	long r;

	__asm__ volatile("int $0x80" : "=a"(r) : "a"(20 /* getpid */) : "memory");
	return 0;
}

static int by_x32(void)
{
	syscall(0x40000000 | SYS_getpid);
	return 0;
}

Test(sandbox_seccomp, other_abis_kill)
{
	int how = under_filter(by_int80);
	cr_assert(WIFSIGNALED(how) && WTERMSIG(how) == SIGSYS);
	how = under_filter(by_x32);
	cr_assert(WIFSIGNALED(how) && WTERMSIG(how) == SIGSYS);
}
#endif

/* What the default profile lets through, so that the test below says something. */
static int wide(void)
{
	int fd = (int)syscall(SYS_memfd_create, "x", 0);

	EXPECT(fd, 0);
	EXPECT(syscall(SYS_execveat, fd, "", NULL, NULL, AT_EMPTY_PATH), ENOEXEC);
	int id = (int)syscall(SYS_shmget, IPC_PRIVATE, 4096, 0600);
	EXPECT(id, 0);
	EXPECT(syscall(SYS_shmctl, id, IPC_RMID, NULL), 0);
	EXPECT(syscall(SYS_sched_setscheduler, 0, SCHED_BATCH, &(struct sched_param){0}), 0);
	EXPECT(syscall(SYS_ioctl, fd, 0xdeadbeefl, NULL), ENOTTY);
	return 0;
}

static int strict(void)
{
	EXPECT(syscall(SYS_memfd_create, "x", 0), ENOSYS);
	EXPECT(syscall(SYS_memfd_create, "x", 0x11 /* MFD_EXEC, MFD_CLOEXEC */), ENOSYS);
	EXPECT(syscall(SYS_memfd_create, "x", 0x18 /* both: the kernel would refuse */), ENOSYS);
	int fd = (int)syscall(SYS_memfd_create, "x", 0x9 /* MFD_NOEXEC_SEAL, MFD_CLOEXEC */);
	if (fd >= 0) /* Linux 6.3 */
		EXPECT(fchmod(fd, 0700), EPERM);
	EXPECT(syscall(SYS_execveat, 0, "", NULL, NULL, AT_EMPTY_PATH), ENOSYS);
	EXPECT(syscall(SYS_execveat, AT_FDCWD, "/bin/true", NULL, NULL, 0), ENOSYS);
	EXPECT(syscall(SYS_shmget, IPC_PRIVATE, 4096, 0600), ENOSYS);
	EXPECT(syscall(SYS_shmat, 0, NULL, SHM_EXEC), ENOSYS);
	EXPECT(syscall(SYS_mq_open, "/x", O_CREAT, 0600, NULL), ENOSYS);
	EXPECT(syscall(SYS_sched_setscheduler, 0, SCHED_BATCH, &(struct sched_param){0}), EPERM);
	EXPECT(syscall(SYS_ioprio_set, 1, 0, 0), EPERM);
	EXPECT(syscall(SYS_splice, 0, NULL, 1, NULL, 1, 0), EINVAL);
	EXPECT(syscall(SYS_mincore, NULL, 0, NULL), ENOSYS);
	EXPECT(syscall(451 /* cachestat */, 0, NULL, NULL, 0), ENOSYS);
	EXPECT(syscall(SYS_personality, 0x0400000 /* READ_IMPLIES_EXEC */), ENOSYS);
	EXPECT(socket(AF_NETLINK, SOCK_RAW, 0), EAFNOSUPPORT);
	EXPECT(socket(AF_NETLINK, SOCK_RAW, 6), EPROTONOSUPPORT);
	/* The default profile's answers stay. */
	EXPECT(syscall(SYS_unshare, CLONE_NEWUSER), EPERM);
	EXPECT(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0), EPERM);
	EXPECT(socket(38 /* ALG */, SOCK_SEQPACKET, 0), EAFNOSUPPORT);
	return 0;
}

static int strict_terminals(void)
{
	int fd = open("/dev/null", O_RDWR), n = 0;

	EXPECT(ioctl(fd, TCGETS, NULL), ENOTTY);
	EXPECT(ioctl(fd, FIONBIO, &n), 0);
	EXPECT(syscall(SYS_ioctl, fd, 0xffffffff00000000ul | TCGETS, NULL), ENOTTY); /* the kernel sees the low half */
	EXPECT(syscall(SYS_ioctl, fd, (unsigned long)TIOCSTI, "x"), EPERM);
	EXPECT(syscall(SYS_ioctl, fd, 0x100000000ul | TIOCSTI, "x"), EPERM);
	EXPECT(syscall(SYS_ioctl, fd, (unsigned long)TIOCLINUX, "x"), EPERM);
	EXPECT(syscall(SYS_ioctl, fd, 0xdeadbeeful, NULL), ENOTTY);
	EXPECT(syscall(SYS_ioctl, -1, 0x80086601ul /* FS_IOC_GETFLAGS, of the default's list */, NULL), ENOTTY);
	return 0;
}

/* What servers live from: a JIT's memory, threads, children, sockets. */
static int strict_life(void)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int pair[2], ep = epoll_create1(0);

	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(p == MAP_FAILED ? -1 : 0, 0);
	EXPECT(mprotect(p, 4096, PROT_READ | PROT_EXEC), 0);
	EXPECT(socket(AF_INET, SOCK_STREAM, 0), 0);
	EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	EXPECT(epoll_ctl(ep, EPOLL_CTL_ADD, pair[0], &ev), 0);
	EXPECT(inotify_init1(0), 0);
	pid_t pid = fork();
	if (pid == 0) {
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	int how = -1;
	EXPECT(waitpid(pid, &how, 0), 0);
	EXPECT(how == 0 ? 0 : -1, 0);
	return 0;
}

Test(sandbox_seccomp, strict_closes_more)
{
	cr_assert_eq(under_filter(wide), 0);
	cr_assert_eq(under_strict(strict), 0);
	cr_assert_eq(under_strict(strict_terminals), 0);
	cr_assert_eq(under_strict(dangerous), 0);
	cr_assert_eq(under_strict(namespaces_by_clone), 0);
}

Test(sandbox_seccomp, strict_leaves_what_servers_need)
{
	cr_assert_eq(under_strict(strict_life), 0);
}

/* A name with a typing mistake would quietly stay open. */
Test(sandbox_seccomp, strict_takes_from_the_allowed)
{
	const char *a, *b;

	for (unsigned i = 0; (a = seccomp_strict_without(i)); i++) {
		bool found = strcmp(a, "cachestat") == 0; /* of the ones allowed by number */
		for (unsigned j = 0; !found && (b = seccomp_allowed(j)); j++)
			found = strcmp(a, b) == 0;
		cr_assert(found, "%s is not allowed by default", a);
	}
}

Test(sandbox_seccomp, lists_do_not_contradict)
{
	const char *a, *b;

	for (unsigned i = 0; (a = seccomp_allowed(i)); i++)
		for (unsigned j = 0; (b = seccomp_refused(j)); j++)
			cr_assert_str_neq(a, b);
}
