/* Users, groups, capabilities, priorities, signals.  tests/redteam. */
#include "tests/redteam/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/xattr.h>
#include <unistd.h>

static enum verdict capability_sets(const struct door *d)
{
	char line[128];
	FILE *f = fopen("/proc/self/status", "re");
	bool any = false, seen = false;

	(void)d;
	while (f && fgets(line, sizeof line, f)) {
		if (strncmp(line, "Cap", 3) != 0)
			continue;
		seen = true;
		if (strtoull(line + 8, NULL, 16) != 0) {
			any = true;
			door_say("%.40s", line);
		}
	}
	return !seen ? DOOR_BROKEN : any ? DOOR_OPEN : DOOR_CLOSED;
}

static long set_capabilities(unsigned effective, unsigned permitted, unsigned inheritable)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{.effective = effective, .permitted = permitted, .inheritable = inheritable}};

	return syscall(SYS_capset, &head, data);
}

static enum verdict capability_take(const struct door *d)
{
	unsigned bit = 1u << d->args[0];

	return door_result(set_capabilities(bit, bit, 0), "capset");
}

static enum verdict ambient_raise(const struct door *d)
{
	(void)d;
	set_capabilities(1u << CAP_CHOWN, 1u << CAP_CHOWN, 1u << CAP_CHOWN);
	return door_result(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0), "ambient raise");
}

static enum verdict securebits(const struct door *d)
{
	return door_result(prctl(PR_SET_SECUREBITS, d->args[0], 0, 0, 0), "securebits");
}

static enum verdict keep_capabilities(const struct door *d)
{
	(void)d;
	return door_result(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "keepcaps");
}

static enum verdict new_privileges(const struct door *d)
{
	int r = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);

	(void)d;
	door_say("no_new_privs %d", r);
	return r == 1 ? DOOR_CLOSED : DOOR_OPEN;
}

static enum verdict filter_absent(const struct door *d)
{
	int r = prctl(PR_GET_SECCOMP, 0, 0, 0, 0);

	(void)d;
	door_say("seccomp mode %d", r);
	return r == 2 ? DOOR_CLOSED : DOOR_OPEN;
}

static enum verdict become(const struct door *d)
{
	uid_t id = (uid_t)d->args[0];

	if (syscall(d->nr, id, id, id) < 0)
		return door_result(-1, "set ids");
	return door_result(0, "set ids");
}

static enum verdict groups(const struct door *d)
{
	gid_t list[] = {(gid_t)d->args[0]};

	return door_result(syscall(SYS_setgroups, 1, list), "setgroups");
}

/* What the shared stack holds with a setuid bit or file capabilities must not give any. */
static enum verdict mounts_suid(const struct door *d)
{
	char line[1024];
	FILE *f = fopen("/proc/self/mounts", "re");
	int n = 0;

	while (f && fgets(line, sizeof line, f)) {
		char where[256], type[32], options[512];
		if (sscanf(line, "%*s %255s %31s %511s", where, type, options) != 3)
			continue;
		/* Device nodes are the reason of /dev; what covers files of /proc is one of them. */
		if (strcmp(d->text, "nodev") == 0 &&
		    (strncmp(where, "/dev", 4) == 0 || strncmp(where, "/proc/", 6) == 0))
			continue;
		if (!strstr(options, d->text)) {
			door_say("%s %s %.200s", where, type, options);
			n++;
		}
	}
	if (!f)
		return DOOR_BROKEN;
	return n ? DOOR_OPEN : DOOR_CLOSED;
}

/* Its own program as setuid root, or with file capabilities. */
static enum verdict own_setuid(const struct door *d)
{
	char path[] = "/tmp/redteam-XXXXXX";
	int fd = mkstemp(path);
	long r;

	(void)d;
	if (fd < 0)
		return DOOR_BROKEN;
	r = fchown(fd, 0, 0) == 0 && fchmod(fd, 04755) == 0 ? 0 : -1;
	unlink(path);
	return door_result(r, "a setuid file of root's");
}

static enum verdict own_xattr(const struct door *d)
{
	/* struct vfs_cap_data of revision 2: effective, CAP_CHOWN */
	static const unsigned char cap[] = {1, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	char path[] = "/var/tmp/redteam-XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0)
		return DOOR_BROKEN;
	long r = fsetxattr(fd, d->text, cap, sizeof cap, 0);
	int e = errno;
	unlink(path);
	errno = e;
	return door_result(r, d->text);
}

static enum verdict give_away(const struct door *d)
{
	char path[] = "/tmp/redteam-XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0)
		return DOOR_BROKEN;
	long r = fchown(fd, (uid_t)d->args[0], (gid_t)d->args[0]);
	int e = errno;
	unlink(path);
	errno = e;
	return door_result(r, "chown");
}

static enum verdict write_own(const struct door *d)
{
	if (d->args[0] && !door_aside((int)d->args[0]))
		return DOOR_IRRELEVANT;
	char path[96], text[64];
	snprintf(path, sizeof path, "%s", d->text);
	char *bar = strchr(path, '|');
	*bar = '\0';
	snprintf(text, sizeof text, "%s", bar + 1);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return door_result(fd, path);
	return door_result(write(fd, text, strlen(text)), path);
}

static enum verdict realtime(const struct door *d)
{
	struct sched_param p = {.sched_priority = (int)d->args[1]};

	return door_result(syscall(SYS_sched_setscheduler, 0, d->args[0], &p), "scheduler");
}

static enum verdict deadline(const struct door *d)
{
	struct {
		unsigned size, policy;
		unsigned long flags;
		int nice;
		unsigned priority;
		unsigned long runtime, deadline, period;
	} a = {.size = sizeof a, .policy = 6, .runtime = 1000000, .deadline = 100000000, .period = 100000000};

	(void)d;
	return door_result(syscall(SYS_sched_setattr, 0, &a, 0), "deadline");
}

static enum verdict nicer(const struct door *d)
{
	(void)d;
	return door_result(setpriority(PRIO_PROCESS, 0, -5), "nice -5");
}

static enum verdict io_realtime(const struct door *d)
{
	(void)d;
	return door_result(syscall(SYS_ioprio_set, 1, 0, 1 << 13), "ioprio");
}

static enum verdict raise_limit(const struct door *d)
{
	struct rlimit l;

	if (getrlimit((int)d->args[0], &l) < 0)
		return DOOR_BROKEN;
	if (l.rlim_max == RLIM_INFINITY)
		return door_say("it is unlimited"), DOOR_OPEN;
	l.rlim_max++;
	return door_result(setrlimit((int)d->args[0], &l), "raise");
}

static enum verdict core(const struct door *d)
{
	struct rlimit l;

	(void)d;
	if (getrlimit(RLIMIT_CORE, &l) < 0)
		return DOOR_BROKEN;
	door_say("%lu", (unsigned long)l.rlim_max);
	return l.rlim_max == 0 ? DOOR_CLOSED : DOOR_OPEN;
}

static enum verdict signal_to(const struct door *d)
{
	return door_result(kill((pid_t)d->args[0], (int)d->args[1]), "kill");
}

static enum verdict wake_alarm(const struct door *d)
{
	(void)d;
	return door_result(timerfd_create(8 /* CLOCK_REALTIME_ALARM */, 0), "alarm clock");
}

static enum verdict lock_memory(const struct door *d)
{
	size_t n = (size_t)d->args[0];
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? DOOR_BROKEN : door_result(mlock(p, n), "mlock");
}

#define USER(what, function, ...)                                                                                      \
	{                                                                                                              \
		.name = "users." what, .rule = RULE_USERS, .try = function, __VA_ARGS__                                \
	}
#define ARGS(...) .args = {__VA_ARGS__}

const struct door doors_users[] = {
	USER("capability_sets", capability_sets, ),
	USER("take_sys_admin", capability_take, ARGS(CAP_SYS_ADMIN)),
	USER("take_net_raw", capability_take, ARGS(CAP_NET_RAW)),
	USER("take_chown", capability_take, ARGS(CAP_CHOWN)),
	USER("ambient_raise", ambient_raise, ),
	USER("securebits_clear", securebits, ARGS(0)),
	USER("keep_capabilities", keep_capabilities, ),
	USER("new_privileges", new_privileges, ),
	USER("no_filter", filter_absent, ),
	USER("setuid_root", become, .nr = SYS_setresuid, ARGS(0)),
	USER("setuid_neighbour", become, .nr = SYS_setresuid, ARGS(1001)),
	USER("setuid_nobody", become, .nr = SYS_setresuid, ARGS(65534)),
	USER("setgid_root", become, .nr = SYS_setresgid, ARGS(0)),
	USER("setgid_tty", become, .nr = SYS_setresgid, ARGS(5)),
	USER("setgroups", groups, ARGS(5)),
	USER("mounts_suid", mounts_suid, .text = "nosuid"),
	USER("mounts_dev", mounts_suid, .text = "nodev"),
	USER("own_setuid_root", own_setuid, ),
	USER("file_capabilities", own_xattr, .text = "security.capability"),
	USER("trusted_xattr", own_xattr, .text = "trusted.overlay.redirect"),
	USER("chown_root", give_away, ARGS(0)),
	USER("chown_neighbour", give_away, ARGS(1001)),
	USER("chown_beyond", give_away, ARGS(70000)),
	USER("uid_map", write_own, .text = "/proc/self/uid_map|0 0 1", ARGS(CLONE_NEWUSER)),
	USER("gid_map", write_own, .text = "/proc/self/gid_map|0 0 1", ARGS(CLONE_NEWUSER)),
	USER("setgroups_allow", write_own, .text = "/proc/self/setgroups|allow", ARGS(CLONE_NEWUSER)),
	USER("oom_score", write_own, .text = "/proc/self/oom_score_adj|-500"),
	USER("oom_score_zero", write_own, .text = "/proc/self/oom_score_adj|0"),
	USER("oom_adj", write_own, .text = "/proc/self/oom_adj|-10"),
	USER("realtime_fifo", realtime, ARGS(SCHED_FIFO, 1)),
	USER("realtime_rr", realtime, ARGS(SCHED_RR, 1)),
	USER("deadline", deadline, ),
	USER("nice", nicer, ),
	USER("io_realtime", io_realtime, ),
	USER("limit_files", raise_limit, ARGS(RLIMIT_NOFILE)),
	USER("limit_core", core, ),
	USER("limit_realtime", raise_limit, ARGS(RLIMIT_RTPRIO)),
	USER("limit_nice", raise_limit, ARGS(RLIMIT_NICE)),
	USER("limit_locked", raise_limit, ARGS(RLIMIT_MEMLOCK)),
	USER("limit_signals", raise_limit, ARGS(RLIMIT_SIGPENDING)),
	USER("limit_queues", raise_limit, ARGS(RLIMIT_MSGQUEUE)),
	USER("lock_memory", lock_memory, ARGS(64 << 20)),
	USER("wake_alarm", wake_alarm, ),
	USER("signal_init", signal_to, ARGS(1, 0)),
	USER("kill_init", signal_to, ARGS(1, SIGKILL), .inside_only = "it would kill the host's init"),
	USER("stop_init", signal_to, ARGS(1, SIGSTOP), .inside_only = "it would stop the host's init"),
	{0},
};
