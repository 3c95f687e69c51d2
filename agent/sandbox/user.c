/* Users, groups, capabilities.  Layer agent/sandbox, all three sides. */
#include "agent/sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* All of them set and locked: no privilege from uid 0, none kept or restored over setuid, none raised as ambient. */
#define SECUREBITS                                                                                                     \
	(SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |               \
	 SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED)

/* Instances are killed before our own processes when the host runs out of memory; raising needs no capability. */
#define OOM_SCORE "300"

int user_shed(struct sandbox *s)
{
	/* Ignored signals survive exec, so the supervisor's would reach the app. */
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	for (int sig = 1; sig < 32; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			sigaction(sig, &dfl, NULL);
	/* PID 1 waits with all signals blocked, and writes to a closed socket must fail, not kill. */
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	umask(0);

	/* The libcs' wrappers would serve threads that do not exist here. */
	if (syscall(SYS_setgroups, 0, NULL) < 0)
		return -errno;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	if (getpriority(PRIO_PROCESS, 0) < 0)
		setpriority(PRIO_PROCESS, 0, 0);

	/* What opens its /dev/stdout anew (/proc/self/fd/1) needs to own the pipe. */
	uid_t uid = s->spec.uid_base + SANDBOX_UID;
	for (uint32_t i = 0; i <= s->spec.stdio_count; i++) {
		int fd = i ? (int)(LAUNCH_FD_CGROUP + s->spec.cgroup_count + i - 1) : LAUNCH_FD_OUT;
		struct stat st;
		if (fstat(fd, &st) < 0) {
			s->what = "a descriptor is missing";
			return -errno;
		}
		if (S_ISFIFO(st.st_mode) && fchown(fd, uid, uid) < 0)
			return -errno;
	}
	return text_write(AT_FDCWD, "/proc/self/oom_score_adj", 0, 0, OOM_SCORE);
}

int user_act_as(uid_t uid)
{
	/* Without the fix-up the capabilities stay.  A change of user sets dumpability to fs.suid_dumpable. */
	if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) < 0 || syscall(SYS_setresuid, -1, uid, -1) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

int user_map(struct sandbox *s)
{
	char path[32], map[48];
	size_t at = 0;

	text_add(path, sizeof path, &at, "/proc/");
	text_add_u64(path, sizeof path, &at, (uint64_t)s->pid);
	s->proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->proc < 0)
		return -errno;
	at = 0;
	text_add(map, sizeof map, &at, "0 ");
	text_add_u64(map, sizeof map, &at, s->spec.uid_base);
	text_add(map, sizeof map, &at, " ");
	text_add_u64(map, sizeof map, &at, LIMIT_UID_RANGE);
	text_add(map, sizeof map, &at, "\n");
	int r = text_write(s->proc, "uid_map", 0, 0, map);
	if (r == 0)
		r = text_write(s->proc, "setgroups", 0, 0, "deny"); /* only possible before gid_map */
	if (r == 0)
		r = text_write(s->proc, "gid_map", 0, 0, map);
	return r;
}

int user_become_root(struct sandbox *s)
{
	(void)s;
	if (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0)
		return -errno;
	/* A change of user sets this to fs.suid_dumpable. */
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

int user_bound(struct sandbox *s)
{
	(void)s;
	for (int cap = 0; cap < 64; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
			if (errno == EINVAL && cap > 0)
				break; /* past the kernel's last one */
			return -errno;
		}
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

int user_capabilities(uint32_t keep)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{.effective = keep, .permitted = keep}};

	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

int user_drop(struct sandbox *s)
{
	(void)s;
	if (syscall(SYS_setresgid, SANDBOX_UID, SANDBOX_UID, SANDBOX_UID) < 0 ||
	    syscall(SYS_setresuid, SANDBOX_UID, SANDBOX_UID, SANDBOX_UID) < 0)
		return -errno;
	return user_capabilities(0);
}
