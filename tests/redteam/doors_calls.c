/* System calls that an app must not reach.  tests/redteam.
 *
 * Most rows ask with arguments that do no harm to root either, so that only "was the kernel's code reached?" is
 * measured: EPERM and ENOSYS are what the filter answers, anything else is the kernel speaking. */
#include "tests/redteam/probe.h"

#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOWHERE "/nonexistent-redteam"

static long raw(long nr, const long a[6])
{
	errno = 0;
	return syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* The call numbered nr reaches the kernel. */
static enum verdict reach(const struct door *d)
{
	door_if_dead(DOOR_OPEN);
	long r = raw(d->nr, d->args);
	int e = errno;

	if (r >= 0) {
		door_say("returned %ld", r);
		return DOOR_OPEN;
	}
	door_say("%s", strerror(e));
	if (e == ENOSYS)
		return door_outside() ? DOOR_IRRELEVANT : DOOR_CLOSED;
	return e == EPERM ? DOOR_CLOSED : DOOR_OPEN;
}

/* The same where the kernel itself may refuse root here (a lockdown, a missing feature): only success opens. */
static enum verdict succeed(const struct door *d)
{
	return door_result(raw(d->nr, d->args), "call");
}

static enum verdict unshare_flag(const struct door *d)
{
	return door_result(syscall(__NR_unshare, d->args[0]), "unshare");
}

static enum verdict clone_flag(const struct door *d)
{
	long r = syscall(__NR_clone, d->args[0] | SIGCHLD, 0, 0, 0, 0);

	if (r == 0)
		_exit(0);
	return door_result(r, "clone");
}

static enum verdict clone3_plain(const struct door *d)
{
	struct clone_args a = {.exit_signal = SIGCHLD, .flags = (unsigned long)d->args[0]};
	long r = syscall(__NR_clone3, &a, sizeof a);

	if (r == 0)
		_exit(0);
	return door_result(r, "clone3");
}

static enum verdict setns_self(const struct door *d)
{
	int fd = open(d->text, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return door_result(fd, d->text);
	return door_result(syscall(__NR_setns, fd, 0), "setns");
}

static enum verdict mount_tmpfs(const struct door *d)
{
	(void)d;
	if (!door_aside(CLONE_NEWNS))
		return DOOR_IRRELEVANT;
	return door_result(mount("redteam", "/tmp", "tmpfs", 0, NULL), "mount tmpfs on /tmp");
}

static enum verdict mount_remount(const struct door *d)
{
	if (!door_aside(CLONE_NEWNS))
		return DOOR_IRRELEVANT;
	return door_result(mount(NULL, d->text, NULL, MS_REMOUNT | MS_BIND, NULL), d->text);
}

static enum verdict mount_new_api(const struct door *d)
{
	(void)d;
	if (!door_aside(CLONE_NEWNS))
		return DOOR_IRRELEVANT;
	long fs = syscall(__NR_fsopen, "tmpfs", 0);
	if (fs < 0)
		return door_result(fs, "fsopen");
	long r = syscall(__NR_fsconfig, fs, 6 /* CMD_CREATE */, NULL, NULL, 0);
	return r < 0 ? door_result(r, "fsconfig") : door_result(syscall(__NR_fsmount, fs, 0, 0), "fsmount");
}

static enum verdict mount_open_tree(const struct door *d)
{
	(void)d;
	if (!door_aside(CLONE_NEWNS))
		return DOOR_IRRELEVANT;
	return door_result(syscall(__NR_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */), "open_tree");
}

static enum verdict chroot_here(const struct door *d)
{
	(void)d;
	return door_result(chroot("/"), "chroot /");
}

static enum verdict time_set(const struct door *d)
{
	struct timex t = {.modes = 0};
	(void)d;
	/* A change that changes nothing: the frequency that is set already. */
	if (syscall(__NR_adjtimex, &t) < 0)
		return door_result(-1, "adjtimex");
	t.modes = ADJ_FREQUENCY;
	return door_result(syscall(__NR_adjtimex, &t), "adjtimex");
}

static enum verdict by_int80(const struct door *d)
{
#ifdef __x86_64__
	long r;

	(void)d;
	/* Without 32-bit emulation in the kernel the instruction faults. */
	door_if_dead(door_outside() ? DOOR_IRRELEVANT : DOOR_CLOSED);
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(20 /* getpid */) : "memory", "r8", "r9", "r10", "r11");
	return door_result(r, "getpid by int 0x80");
#else
	(void)d;
	return DOOR_IRRELEVANT;
#endif
}

static enum verdict by_x32(const struct door *d)
{
	(void)d;
	door_if_dead(DOOR_CLOSED);
	long r = syscall(0x40000000 | __NR_getpid);
	if (r < 0 && errno == ENOSYS && door_outside())
		return DOOR_IRRELEVANT;
	return door_result(r, "getpid by x32");
}

/* Numbers that came, and will come, after the filter was written. */
static enum verdict new_numbers(const struct door *d)
{
	/* pidfd_open close_range openat2 faccessat2 epoll_pwait2 futex_waitv cachestat fchmodat2 futex_* mseal */
	static const short known[] = {424, 434, 436, 437, 439, 441, 449, 451, 452, 454, 455, 456, 462};
	char text[300] = "";
	size_t at = 0;

	(void)d;
	/* 335 and 336, uretprobe and uprobe, pass every filter since Linux 6.14: see call.uretprobe. */
	for (long nr = 337; nr < 1200; nr++) {
		bool skip = false;
		for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
			skip |= known[i] == nr;
		if (skip)
			continue;
		errno = 0;
		long r = syscall(nr, -1l, -1l, -1l, -1l, -1l, -1l);
		if ((r >= 0 || (errno != ENOSYS && errno != EPERM)) && at < sizeof text - 16) {
			text[at++] = ' ';
			for (int digit = 1000; digit; digit /= 10)
				if (nr >= digit)
					text[at++] = (char)('0' + nr / digit % 10);
			text[at] = '\0';
		}
	}
	door_say("reached:%s", at ? text : " none");
	return at ? DOOR_OPEN : DOOR_CLOSED;
}

/* A pseudo terminal of its own, as controlling terminal. */
static int own_terminal(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
		return -1;
	const char *name = ptsname(master);
	int slave = name ? open(name, O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;
	if (slave >= 0)
		ioctl(slave, TIOCSCTTY, 0);
	return slave;
}

/* An ioctl of a terminal; args[0] the command with what is above 32 bits, args[1] a value to point at. */
static enum verdict terminal_ioctl(const struct door *d)
{
	signal(SIGHUP, SIG_IGN);
	int tty = own_terminal();
	int value = (int)d->args[1];

	if (tty < 0)
		return door_say("no terminal: %s", strerror(errno)), DOOR_IRRELEVANT;
	errno = 0;
	long r = syscall(__NR_ioctl, tty, d->args[0], &value);
	/* Only success counts, or an answer of the driver that the filter never gives. */
	if (r < 0 && errno != EPERM && errno != ENOTTY && errno != ENOSYS)
		return door_say("the driver answered: %s", strerror(errno)), DOOR_OPEN;
	return door_result(r, "ioctl");
}

/* An ioctl of a file on /tmp; args[0] the command.  EFAULT, EINVAL: the kernel's code was reached. */
static enum verdict file_ioctl(const struct door *d)
{
	char path[] = "/tmp/redteam-XXXXXX";
	long buffer[512] = {d->args[1]};
	int fd = d->text ? open(d->text, O_RDONLY | O_CLOEXEC) : mkstemp(path);

	if (fd < 0)
		return door_result(fd, "open");
	if (!d->text)
		unlink(path);
	errno = 0;
	long r = syscall(__NR_ioctl, fd, d->args[0], buffer);
	if (r < 0 && errno != ENOTTY && errno != EPERM && errno != EACCES && errno != ENOSYS)
		return door_say("the kernel answered: %s", strerror(errno)), DOOR_OPEN;
	if (r < 0 && door_outside() && errno == ENOTTY)
		return door_say("this file system has none"), DOOR_IRRELEVANT;
	return door_result(r, "ioctl");
}

static enum verdict prctl_option(const struct door *d)
{
	return door_result(prctl((int)d->args[0], d->args[1], d->args[2], d->args[3], d->args[4]), "prctl");
}

static enum verdict advise(const struct door *d)
{
	void *p = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		return DOOR_BROKEN;
	return door_result(madvise(p, 1 << 16, (int)d->args[0]), "madvise");
}

static enum verdict persona(const struct door *d)
{
	errno = 0;
	long r = syscall(__NR_personality, d->args[0]);
	return door_result(r, "personality");
}

static enum verdict read_other(const struct door *d)
{
	char here[8] = "secret", there[8] = "";
	struct {
		void *p;
		size_t n;
	} from = {here, 8}, to = {there, 8};
	pid_t pid = fork();

	(void)d;
	if (pid == 0) {
		pause();
		_exit(0);
	}
	long r = syscall(__NR_process_vm_readv, pid, &to, 1, &from, 1, 0);
	enum verdict v = door_result(r, "process_vm_readv");
	kill(pid, SIGKILL);
	return v;
}

#define CALL(what, ...)                                                                                                \
	{                                                                                                              \
		.name = "call." #what, .rule = RULE_CALLS, .try = reach, .nr = __NR_##what, .args = { __VA_ARGS__ }    \
	}
#define NEWCALL(what, number, ...)                                                                                     \
	{                                                                                                              \
		.name = "call." what, .rule = RULE_CALLS, .try = reach, .nr = (number), .args = { __VA_ARGS__ }        \
	}
#define NS(what, flag)                                                                                                 \
	{.name = "unshare." what, .rule = RULE_CALLS, .try = unshare_flag, .args = {flag}},                            \
		{.name = "clone." what, .rule = RULE_CALLS, .try = clone_flag, .args = {(flag)}},                      \
	{                                                                                                              \
		.name = "clone_high_bits." what, .rule = RULE_CALLS, .try = clone_flag, .args = {(flag) | 1l << 40 }   \
	}
#define TTY(what, command, value)                                                                                      \
	{                                                                                                              \
		.name = "tty." what, .rule = RULE_CALLS, .try = terminal_ioctl, .args = {(long)(command), value }      \
	}
#define FILE_IOCTL(what, command, value, path)                                                                         \
	{                                                                                                              \
		.name = "ioctl." what, .rule = RULE_CALLS, .try = file_ioctl, .args = {(long)(command), value},        \
		.text = (path)                                                                                         \
	}
#define PTR(x) ((long)(x))

const struct door doors_calls[] = {
	/* mounts and roots */
	CALL(mount, PTR("x"), PTR(NOWHERE), PTR("tmpfs"), 0, 0),
	CALL(umount2, PTR(NOWHERE), 0),
	CALL(pivot_root, PTR(NOWHERE), PTR(NOWHERE)),
	CALL(chroot, PTR(NOWHERE)),
	CALL(open_tree, -1, PTR("x"), 0),
	CALL(move_mount, -1, PTR("x"), -1, PTR("x"), 0),
	CALL(fsopen, PTR("nonexistent"), 0),
	CALL(fsconfig, -1, 0, 0, 0, 0),
	CALL(fsmount, 0, 0xffff, 0),
	CALL(fspick, -1, PTR("x"), 0xffff),
	NEWCALL("mount_setattr", 442, -1, PTR("x"), 0, 0, 0),
	NEWCALL("statmount", 457, 0, 0, 0, 0),
	NEWCALL("listmount", 458, 0, 0, 0, 0),
	NEWCALL("open_tree_attr", 467, -1, PTR("x"), 0, 0, 0),
	{.name = "mount.tmpfs", .rule = RULE_PATHS, .try = mount_tmpfs},
	{.name = "mount.remount_usr", .rule = RULE_PATHS, .try = mount_remount, .text = "/usr"},
	{.name = "mount.remount_root", .rule = RULE_PATHS, .try = mount_remount, .text = "/"},
	{.name = "mount.remount_proc_sys", .rule = RULE_PROC, .try = mount_remount, .text = "/proc/sys"},
	{.name = "mount.new_api", .rule = RULE_PATHS, .try = mount_new_api},
	{.name = "mount.open_tree", .rule = RULE_PATHS, .try = mount_open_tree},
	{.name = "mount.chroot", .rule = RULE_PATHS, .try = chroot_here},
	/* namespaces */
	NS("user", CLONE_NEWUSER),
	NS("mount", CLONE_NEWNS),
	NS("pid", CLONE_NEWPID),
	NS("net", CLONE_NEWNET),
	NS("ipc", CLONE_NEWIPC),
	NS("uts", CLONE_NEWUTS),
	NS("cgroup", CLONE_NEWCGROUP),
	{.name = "unshare.time", .rule = RULE_CALLS, .try = unshare_flag, .args = {CLONE_NEWTIME}},
	{.name = "unshare.files", .rule = RULE_CALLS, .try = unshare_flag, .args = {CLONE_FILES}},
	{.name = "clone3.plain", .rule = RULE_CALLS, .try = clone3_plain},
	{.name = "clone3.user", .rule = RULE_CALLS, .try = clone3_plain, .args = {CLONE_NEWUSER}},
	{.name = "clone3.into_cgroup", .rule = RULE_CALLS, .try = reach, .nr = __NR_clone3, .args = {0, 0}},
	{.name = "setns.user", .rule = RULE_CALLS, .try = setns_self, .text = "/proc/self/ns/net"},
	CALL(setns, -1, 0),
	/* kernel machinery */
	CALL(bpf, 0xffff, 0, 0),
	CALL(perf_event_open, 0, 0, 0, 0, 0),
	CALL(userfaultfd, 0),
	CALL(io_uring_setup, 0, 0),
	CALL(io_uring_enter, -1, 0, 0, 0, 0, 0),
	CALL(io_uring_register, -1, 0, 0, 0),
	CALL(ptrace, 0x4206 /* SEIZE */, 0x7fffffff, 0, 0),
	CALL(process_vm_readv, 0x7fffffff, 0, 0, 0, 0, 0),
	CALL(process_vm_writev, 0x7fffffff, 0, 0, 0, 0, 0),
	CALL(kcmp, 1, 1, 99, 0, 0),
	CALL(pidfd_getfd, -1, 0, 0),
	NEWCALL("process_madvise", 440, -1, 0, 0, 0, 0),
	NEWCALL("process_mrelease", 448, -1, 0),
	CALL(keyctl, 0 /* GET_KEYRING_ID */, -3, 0, 0, 0),
	CALL(add_key, 0, 0, 0, 0, 0),
	CALL(request_key, 0, 0, 0, 0),
	CALL(kexec_load, 0, 1000, 0, 0),
	CALL(kexec_file_load, -1, -1, 0, 0, 0xffff),
	CALL(init_module, 0, 0, PTR("")),
	CALL(finit_module, -1, PTR(""), 0),
	CALL(delete_module, PTR("nonexistent_redteam"), O_NONBLOCK),
	CALL(open_by_handle_at, -1, 0, 0),
	CALL(name_to_handle_at, AT_FDCWD, PTR("."), 0, 0, 0),
	CALL(fanotify_init, 0, 0),
	CALL(fanotify_mark, -1, 0, 0, 0, 0),
	CALL(vmsplice, -1, 0, 0, 0),
	CALL(iopl, 0),
	CALL(ioperm, -1, 0, 0),
	CALL(modify_ldt, 0, 0, 0),
	CALL(reboot, 0xbad, 0xbad, 0, 0),
	CALL(swapon, PTR(NOWHERE), 0),
	CALL(swapoff, PTR(NOWHERE)),
	CALL(acct, PTR(NOWHERE)),
	CALL(quotactl, -1, PTR(NOWHERE), 0, 0),
	NEWCALL("quotactl_fd", 443, -1, 0, 0, 0),
	CALL(syslog, 10 /* SIZE_BUFFER */, 0, 0),
	CALL(sethostname, PTR(""), -1),
	CALL(setdomainname, PTR(""), -1),
	CALL(settimeofday, 0, 0),
	CALL(clock_settime, 9999, 0),
	CALL(clock_adjtime, 9999, 0),
	CALL(adjtimex, 0),
	{.name = "time.adjust", .rule = RULE_CALLS, .try = time_set},
	CALL(vhangup, 0), /* of a session without a terminal */
	CALL(syncfs, -1),
	CALL(mbind, 1, 0, 0, 0, 0, 0),
	CALL(set_mempolicy, 99, 0, 0),
	CALL(migrate_pages, 0x7fffffff, 0, 0, 0),
	CALL(move_pages, 0x7fffffff, 0, 0, 0, 0, 0),
	NEWCALL("set_mempolicy_home_node", 450, 1, 0, 0, 0),
	CALL(sysfs, 3),
	CALL(ustat, 0, 0),
	CALL(memfd_secret, 0xffff),
	CALL(landlock_create_ruleset, 0, 0, 1),
	CALL(seccomp, 99, 0, 0),
	NEWCALL("lsm_get_self_attr", 459, 0, 0, 0, 0),
	NEWCALL("lsm_set_self_attr", 460, 0, 0, 0, 0),
	NEWCALL("lsm_list_modules", 461, 0, 0, 0),
	NEWCALL("setxattrat", 463, -1, PTR("x"), 0, 0, 0, 0),
	NEWCALL("getxattrat", 464, -1, PTR("x"), 0, 0, 0, 0),
	NEWCALL("file_getattr", 468, -1, PTR("x"), 0, 0, 0),
	NEWCALL("file_setattr", 469, -1, PTR("x"), 0, 0, 0),
	NEWCALL("map_shadow_stack", 453, 0, 0, 0),
	NEWCALL("uretprobe", 335, 0),
	{.name = "call.new_numbers",
	 .rule = RULE_CALLS,
	 .try = new_numbers,
	 .inside_only = "calls of unknown meaning with root's power"},
	{.name = "abi.int80", .rule = RULE_CALLS, .try = by_int80},
	{.name = "abi.x32", .rule = RULE_CALLS, .try = by_x32},
	{.name = "personality.read_implies_exec", .rule = RULE_CALLS, .try = persona, .args = {0x0400000}},
	{.name = "personality.no_randomize", .rule = RULE_CALLS, .try = persona, .args = {0x0040000}},
	{.name = "personality.linux32", .rule = RULE_CALLS, .try = persona, .args = {8}},
	{.name = "personality.high_bits", .rule = RULE_CALLS, .try = persona, .args = {0x100000000 | 0x0040000}},
	{.name = "vm.read_other", .rule = RULE_CALLS, .try = read_other},
	{.name = "vm.hwpoison",
	 .rule = RULE_CALLS,
	 .try = advise,
	 .args = {100},
	 .inside_only = "takes a page of memory from the host for good"},
	{.name = "vm.soft_offline",
	 .rule = RULE_CALLS,
	 .try = advise,
	 .args = {101},
	 .inside_only = "takes a page of memory from the host for good"},
	{.name = "vm.mergeable",
	 .rule = RULE_CALLS,
	 .try = advise,
	 .args = {12 /* KSM shares pages between tenants */}},
	/* prctl */
	{.name = "prctl.core_scheduling",
	 .rule = RULE_CALLS,
	 .try = prctl_option,
	 .args = {62 /* SCHED_CORE */, 1 /* CREATE */, 0, 1 /* TGID */, 0}},
	{.name = "prctl.memory_merge", .rule = RULE_CALLS, .try = prctl_option, .args = {67, 1}},
	{.name = "prctl.io_flusher", .rule = RULE_CALLS, .try = prctl_option, .args = {57, 1}},
	{.name = "prctl.set_mm",
	 .rule = RULE_CALLS,
	 .try = succeed,
	 .nr = __NR_prctl,
	 .args = {35 /* SET_MM */, 8 /* ARG_START */, 0x10000, 0, 0}},
	/* terminals */
	TTY("sti", TIOCSTI, 'x'),
	TTY("sti_high_bits", TIOCSTI | 1l << 32, 'x'),
	TTY("sti_sign_bits", TIOCSTI | ~0xffffffffl, 'x'),
	TTY("linux", TIOCLINUX, 2),
	TTY("line_discipline", TIOCSETD, 0),
	TTY("line_discipline_gsm", TIOCSETD, 21),
	TTY("line_discipline_can", TIOCSETD, 17),
	TTY("console", TIOCCONS, 0),
	TTY("hangup", TIOCVHANGUP, 0),
	TTY("serial", TIOCGSERIAL, 0),
	/* files */
	FILE_IOCTL("setflags", 0x40086602, 0x10 /* immutable */, NULL),
	FILE_IOCTL("fssetxattr", 0x401c5820, 0, NULL),
	FILE_IOCTL("fiemap", 0xc020660b, 0, "/proc/self/exe"),
	FILE_IOCTL("fibmap", 1, 0, "/proc/self/exe"),
	FILE_IOCTL("trim", 0xc0185879, 0, "/proc/self/exe"),
	FILE_IOCTL("btrfs_subvolume", 0x5000940e, 0, "/tmp"),
	FILE_IOCTL("btrfs_qgroup", 0x4010942b, 0, "/tmp"),
	FILE_IOCTL("dedupe", 0xc0189436, 0, "/proc/self/exe"),
	FILE_IOCTL("clone_range", 0x4020940d, 0, "/proc/self/exe"),
	FILE_IOCTL("encryption_key", 0xc0506617, 0, "/"),
	FILE_IOCTL("verity", 0x40806685, 0, NULL),
	FILE_IOCTL("ns_parent", 0xb702, 0, "/proc/self/ns/user"),
	FILE_IOCTL("ns_owner", 0xb701, 0, "/proc/self/ns/net"),
	{0},
};
