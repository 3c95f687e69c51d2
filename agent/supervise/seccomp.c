/* The filter of system calls for what runs in sandboxes.  Layer agent, supervisor process.
 *
 *   known and harmless        allowed
 *   known and dangerous       EPERM, as if a capability were missing
 *   everything else           ENOSYS: libc and runtimes then fall back, as on an older kernel
 *   another ABI (i386, x32)   the process is killed
 *
 * The strict profile's filter is the same with less in it: `strict_without` and the narrower rules below.  What made
 * writable memory or files executable by execve(2) goes (the mounts do the rest), and what servers can do without.
 * Anonymous executable memory stays, because every JIT is made of it.
 *
 * Calls that are allowed for some uses only (ioctl, setsockopt, prctl, madvise) are in seccomp_args.c.
 *
 * Values that a rule *allows* here are compared in all 64 bits, so garbage in the upper half only loses. */
#include "agent/supervise/seccomp.h"
#include "agent/supervise/seccomp_args.h"
#include "base/fd.h"
#include "base/own.h"

#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The answer to what no rule names. */
#define UNKNOWN SCMP_ACT_ERRNO(ENOSYS)

#define CLONE_NAMESPACES                                                                                               \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

/* The most frequent first: where the tree does not decide, the order does. */
static const char *const allowed[] = {
	"read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "lseek",
	"open", "openat", "openat2", "creat", "close", "close_range", "dup", "dup2", "dup3", "fcntl", "flock", "pipe",
	"pipe2", "poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait",
	"epoll_pwait", "eventfd", "eventfd2", "signalfd", "signalfd4", "timerfd_create", "timerfd_settime",
	"timerfd_gettime", "inotify_init", "inotify_init1", "inotify_add_watch", "inotify_rm_watch",
	/* files */
	"stat", "fstat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat", "faccessat2",
	"readlink", "readlinkat", "getdents", "getdents64", "getcwd", "chdir", "fchdir", "mkdir", "mkdirat", "rmdir",
	"unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "mknod",
	"mknodat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "umask", "utime", "utimes",
	"utimensat", "futimesat", "truncate", "ftruncate", "fallocate", "fadvise64", "readahead", "fsync", "fdatasync",
	"sync_file_range", "msync", "sendfile", "copy_file_range", "splice", "tee", "getxattr", "lgetxattr",
	"fgetxattr", "setxattr", "lsetxattr", "fsetxattr", "listxattr", "llistxattr", "flistxattr", "removexattr",
	"lremovexattr", "fremovexattr",
	/* memory */
	"brk", "mmap", "munmap", "mprotect", "mremap", "mincore", "mlock", "mlock2", "munlock", "mlockall",
	"munlockall", "membarrier", "get_mempolicy", "pkey_alloc", "pkey_free", "pkey_mprotect",
	/* processes and threads */
	"fork", "vfork", "execve", "execveat", "exit", "exit_group", "wait4", "waitid", "kill", "tkill", "tgkill",
	"getpid", "getppid", "gettid", "getpgid", "getpgrp", "getsid", "setpgid", "setsid", "set_tid_address",
	"set_robust_list", "get_robust_list", "rseq", "futex", "futex_waitv", "sched_yield", "sched_getaffinity",
	"sched_setaffinity", "sched_getparam", "sched_setparam", "sched_getscheduler", "sched_setscheduler",
	"sched_getattr", "sched_setattr", "sched_get_priority_max", "sched_get_priority_min", "sched_rr_get_interval",
	"getpriority", "setpriority", "ioprio_get", "ioprio_set", "getcpu", "arch_prctl", "pidfd_open",
	"pidfd_send_signal", "getrusage", "times", "getrlimit", "setrlimit", "prlimit64", "sysinfo", "uname",
	"restart_syscall",
	/* signals */
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigsuspend", "rt_sigtimedwait",
	"rt_sigqueueinfo", "rt_tgsigqueueinfo", "sigaltstack", "pause", "alarm", "getitimer", "setitimer",
	/* time */
	"time", "gettimeofday", "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "timer_create",
	"timer_settime", "timer_gettime", "timer_getoverrun", "timer_delete",
	/* users: who lacks capabilities can only ask, or change to what it is */
	"getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups", "setuid", "setgid", "setreuid",
	"setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups", "capget", "capset",
	/* network; socket and socketpair have rules of their own, and so have the options */
	"bind", "listen", "accept", "accept4", "connect", "getsockname", "getpeername", "shutdown", "sendto",
	"recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg",
	/* its own ipc namespace */
	"shmget", "shmat", "shmdt", "shmctl", "semget", "semop", "semtimedop", "semctl", "msgget", "msgsnd", "msgrcv",
	"msgctl", "mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr", "getrandom"};

/* Calls that libseccomp 2.5.4 does not know by name. */
static const struct {
	const char *name;
	int number;
} allowed_new[] = {
	{"epoll_pwait2", 441}, {"futex_waitv", 449}, {"cachestat", 451},     {"fchmodat2", 452},
	{"futex_wake", 454},   {"futex_wait", 455},  {"futex_requeue", 456}, {"mseal", 462},
};

static const char *const refused[] = {"unshare",
				      "setns",
				      "mount",
				      "umount2",
				      "pivot_root",
				      "chroot",
				      "open_tree",
				      "move_mount",
				      "fsopen",
				      "fsconfig",
				      "fsmount",
				      "fspick",
				      "mount_setattr",
				      "bpf",
				      "perf_event_open",
				      "userfaultfd",
				      "ptrace",
				      "process_vm_readv",
				      "process_vm_writev",
				      "process_madvise",
				      "kcmp",
				      "pidfd_getfd",
				      "add_key",
				      "request_key",
				      "keyctl",
				      "kexec_load",
				      "kexec_file_load",
				      "init_module",
				      "finit_module",
				      "delete_module",
				      "open_by_handle_at",
				      "name_to_handle_at",
				      "fanotify_init",
				      "fanotify_mark",
				      "vmsplice",
				      "iopl",
				      "ioperm",
				      "modify_ldt",
				      "reboot",
				      "swapon",
				      "swapoff",
				      "acct",
				      "quotactl",
				      "quotactl_fd",
				      "syslog",
				      "sethostname",
				      "setdomainname",
				      "settimeofday",
				      "clock_settime",
				      "clock_adjtime",
				      "adjtimex",
				      "vhangup",
				      "syncfs",
				      "mbind",
				      "set_mempolicy",
				      "migrate_pages",
				      "move_pages",
				      "lookup_dcookie",
				      "nfsservctl",
				      "uselib",
				      "ustat",
				      "sysfs",
				      "memfd_secret"};

/* Allowed by default, refused by the strict profile, with the answer that makes a caller fall back. */
static const struct {
	const char *name;
	int error;
} strict_without[] = {
	{"execveat",
	 ENOSYS}, /* of a descriptor; libc's fexecve() goes by /proc/self/fd then, under the mounts' rules */
	/* What tells of pages that other instances have touched. */
	{"mincore", ENOSYS},
	{"cachestat", ENOSYS},
	/* What moves pages instead of copying them: the way into the page cache of Dirty Pipe.  EINVAL is the answer of
	 * a file that cannot, so Go and others copy. */
	{"splice", EINVAL},
	{"tee", EINVAL},
	/* System V's and POSIX's old ipc; libc's semaphores and shared memory are files in /dev/shm. */
	{"shmget", ENOSYS},
	{"shmat", ENOSYS},
	{"shmdt", ENOSYS},
	{"shmctl", ENOSYS},
	{"semget", ENOSYS},
	{"semop", ENOSYS},
	{"semtimedop", ENOSYS},
	{"semctl", ENOSYS},
	{"msgget", ENOSYS},
	{"msgsnd", ENOSYS},
	{"msgrcv", ENOSYS},
	{"msgctl", ENOSYS},
	{"mq_open", ENOSYS},
	{"mq_unlink", ENOSYS},
	{"mq_timedsend", ENOSYS},
	{"mq_timedreceive", ENOSYS},
	{"mq_notify", ENOSYS},
	{"mq_getsetattr", ENOSYS},
	/* Its own share is the plan's business. */
	{"sched_setparam", EPERM},
	{"sched_setscheduler", EPERM},
	{"sched_setattr", EPERM},
	{"ioprio_set", EPERM},
	{"mlockall", EPERM},
	{"readahead", EINVAL},
};

static int strict_error(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(strict_without); i++)
		if (strcmp(strict_without[i].name, name) == 0)
			return strict_without[i].error;
	return 0;
}

const char *seccomp_strict_without(unsigned i)
{
	return i < ARRAY_LEN(strict_without) ? strict_without[i].name : NULL;
}

const char *seccomp_allowed(unsigned i)
{
	return i < ARRAY_LEN(allowed) ? allowed[i] : NULL;
}

const char *seccomp_refused(unsigned i)
{
	return i < ARRAY_LEN(refused) ? refused[i] : NULL;
}

/* One rule; calls that this architecture or library lacks are left to the default. */
static int rule(scmp_filter_ctx ctx, uint32_t action, const char *name, unsigned n, const struct scmp_arg_cmp *args)
{
	int nr = seccomp_syscall_resolve_name(name);
	/* libseccomp refuses a rule that says what the default says. */
	int r = nr < 0 || action == UNKNOWN ? 0 : seccomp_rule_add_array(ctx, action, nr, n, args);

	return r == -EEXIST ? 0 : r;
}

static int add_clone(scmp_filter_ctx ctx)
{
	struct scmp_arg_cmp none = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NAMESPACES, 0);
	int r = rule(ctx, SCMP_ACT_ALLOW, "clone", 1, &none);

	for (unsigned bit = 0; r == 0 && bit < 32; bit++) {
		struct scmp_arg_cmp one = SCMP_A0(SCMP_CMP_MASKED_EQ, 1ull << bit, 1ull << bit);
		if (1u << bit & CLONE_NAMESPACES)
			r = rule(ctx, SCMP_ACT_ERRNO(EPERM), "clone", 1, &one);
	}
	return r; /* clone3 hides its flags in memory: ENOSYS, and libc uses clone */
}

static int add_socket(scmp_filter_ctx ctx, bool strict)
{
	static const struct {
		int family, type, protocol;
	} sockets[] = {
		{AF_INET, SOCK_STREAM, 0}, {AF_INET, SOCK_STREAM, 6},  {AF_INET, SOCK_DGRAM, 0},
		{AF_INET, SOCK_DGRAM, 17}, {AF_INET6, SOCK_STREAM, 0}, {AF_INET6, SOCK_STREAM, 6},
		{AF_INET6, SOCK_DGRAM, 0}, {AF_INET6, SOCK_DGRAM, 17},
	};
	struct scmp_arg_cmp local = SCMP_A0(SCMP_CMP_EQ, AF_UNIX);
	int r = rule(ctx, SCMP_ACT_ALLOW, "socket", 1, &local);

	if (r == 0)
		r = rule(ctx, SCMP_ACT_ALLOW, "socketpair", 1, &local);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(sockets); i++) {
		/* The type's other bits are SOCK_CLOEXEC and SOCK_NONBLOCK, or the kernel refuses. */
		struct scmp_arg_cmp args[] = {
			SCMP_A0(SCMP_CMP_EQ, (uint64_t)sockets[i].family),
			SCMP_A1(SCMP_CMP_MASKED_EQ, 0xf, (uint64_t)sockets[i].type),
			SCMP_A2(SCMP_CMP_EQ, (uint64_t)sockets[i].protocol),
		};
		r = rule(ctx, SCMP_ACT_ALLOW, "socket", ARRAY_LEN(args), args);
	}
	/* Lists of interfaces, routes and addresses.  libc's and Go's resolvers do without. */
	struct scmp_arg_cmp route[] = {SCMP_A0(SCMP_CMP_EQ, AF_NETLINK), SCMP_A2(SCMP_CMP_EQ, 0 /* NETLINK_ROUTE */)};
	if (r == 0)
		r = rule(ctx, strict ? SCMP_ACT_ERRNO(EAFNOSUPPORT) : SCMP_ACT_ALLOW, "socket", ARRAY_LEN(route),
			 route);
	/* Programs that try something expect these answers, not a missing system call. */
	static const struct {
		int type, protocol, error;
	} others[] = {
		{SOCK_RAW, -1, EPERM},		       /* ping */
		{SOCK_STREAM, 262, EPROTONOSUPPORT},   /* MPTCP: Go's servers ask for it first */
		{SOCK_STREAM, 132, EPROTONOSUPPORT},   /* SCTP */
		{SOCK_SEQPACKET, -1, ESOCKTNOSUPPORT}, /* SCTP again */
		{SOCK_DGRAM, 1, EACCES},
		{SOCK_DGRAM, 58, EACCES}, /* ping without root */
	};
	for (size_t i = 0; r == 0 && i < 2 * ARRAY_LEN(others); i++) {
		struct scmp_arg_cmp args[] = {
			SCMP_A0(SCMP_CMP_EQ, i % 2 ? AF_INET6 : AF_INET),
			SCMP_A1(SCMP_CMP_MASKED_EQ, 0xf, (uint64_t)others[i / 2].type),
			SCMP_A2(SCMP_CMP_EQ, (uint64_t)others[i / 2].protocol),
		};
		r = rule(ctx, SCMP_ACT_ERRNO((uint16_t)others[i / 2].error), "socket",
			 others[i / 2].protocol < 0 ? 2 : 3, args);
	}
	for (uint64_t protocol = 1; r == 0 && protocol < 32; protocol++) {
		struct scmp_arg_cmp args[] = {SCMP_A0(SCMP_CMP_EQ, AF_NETLINK), SCMP_A2(SCMP_CMP_EQ, protocol)};
		r = rule(ctx, SCMP_ACT_ERRNO(EPROTONOSUPPORT), "socket", ARRAY_LEN(args), args);
	}
	for (int family = 0; r == 0 && family < 48; family++) {
		struct scmp_arg_cmp one = SCMP_A0(SCMP_CMP_EQ, (uint64_t)family);
		if (family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK)
			continue;
		r = rule(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", 1, &one);
	}
	return r;
}

/* Nothing to execute in memory that has a descriptor: sealed against it from birth (Linux 6.3), or not at all. */
static int add_memfd(scmp_filter_ctx ctx, bool strict)
{
	struct scmp_arg_cmp sealed = SCMP_A1(SCMP_CMP_MASKED_EQ, 0x18 /* MFD_NOEXEC_SEAL, MFD_EXEC */, 0x8);

	return rule(ctx, SCMP_ACT_ALLOW, "memfd_create", strict, &sealed);
}

static int add_personality(scmp_filter_ctx ctx)
{
	static const uint32_t fine[] = {0 /* PER_LINUX */, 0x20000 /* UNAME26 */, 0xffffffffu /* ask */};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(fine); i++) {
		struct scmp_arg_cmp c = SCMP_A0(SCMP_CMP_EQ, fine[i]);
		r = rule(ctx, SCMP_ACT_ALLOW, "personality", 1, &c);
	}
	return r;
}

static uint32_t answer(const char *name, bool strict)
{
	int error = strict ? strict_error(name) : 0;

	return error ? SCMP_ACT_ERRNO((uint16_t)error) : SCMP_ACT_ALLOW;
}

static int add_rules(scmp_filter_ctx ctx, bool strict)
{
	int r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* binary tree */

	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(allowed); i++)
		r = rule(ctx, answer(allowed[i], strict), allowed[i], 0, NULL);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(allowed_new); i++) {
		uint32_t action = answer(allowed_new[i].name, strict);
		r = action == UNKNOWN ? 0 : seccomp_rule_add(ctx, action, allowed_new[i].number, 0);
		r = r == -EEXIST ? 0 : r;
	}
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(refused); i++)
		r = rule(ctx, SCMP_ACT_ERRNO(EPERM), refused[i], 0, NULL);
	/* It would write back the whole host's dirty pages; what is fsync'ed is safe all the same. */
	if (r == 0)
		r = rule(ctx, SCMP_ACT_ERRNO(0), "sync", 0, NULL);
	if (r == 0)
		r = add_clone(ctx);
	if (r == 0)
		r = add_socket(ctx, strict);
	if (r == 0)
		r = seccomp_args(ctx, strict);
	if (r == 0)
		r = add_memfd(ctx, strict);
	return r == 0 ? add_personality(ctx) : r;
}

OWN_DEFINE(filter, scmp_filter_ctx, seccomp_release)

int seccomp_build(enum quota_profile profile, struct err *e)
{
	OWN(filter) scmp_filter_ctx ctx = seccomp_init(UNKNOWN);
	OWN_FD int fd = -1;
	OWN_FREE char *bytes = NULL;
	size_t n = 0;

	if (!ctx)
		return err_set(e, ENOMEM, "cannot begin the filter of system calls");
	int r = add_rules(ctx, profile == QUOTA_PROFILE_STRICT);
	if (r < 0)
		return err_set(e, -r, "cannot add a rule to the filter of system calls: %s", strerror(-r));
	fd = memfd_create("seccomp", MFD_CLOEXEC);
	if (fd < 0)
		return err_errno(e, "memfd");
	r = seccomp_export_bpf(ctx, fd);
	if (r < 0)
		return err_set(e, -r, "cannot compile the filter of system calls: %s", strerror(-r));
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(e, "memfd");
	r = fd_read_all(fd, 32768, &bytes, &n); /* 4,096 instructions: the kernel's limit */
	if (r < 0)
		return err_set(e, -r, "cannot read the filter of system calls: %s", strerror(-r));
	r = fd_memfd_sealed("tulou-seccomp", bytes, n);
	return r < 0 ? err_set(e, -r, "cannot seal the filter of system calls: %s", strerror(-r)) : r;
}
