/* The kernel's floor under the start of an instance: the same kinds of isolation, made with as few calls as will do, by
 * a program that does nothing else.  Root.  One file, so that nothing of the project is in what it is measured against.
 *
 *   floor [--count N] [--pause-ms MS] [--parallel P] [--no-veth] [--json]
 *
 * Request to exec: three control groups with limits, clone3 with seven namespaces, id maps, a tmpfs and an overlay on
 * it, /dev, /proc, pivot_root, lo up, a veth pair with an address, a prebuilt seccomp filter, exec.  It hides nothing
 * of /proc, drops no capability, sets no limits of its own. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/veth.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define UID_BASE 0x51000000u

static bool with_veth = true;
static char base[64];

static const struct {
	const char *controller, *file, *value;
} groups[] = {
	{"memory", "memory.limit_in_bytes", "67108864"},
	{"cpu", "cpu.cfs_quota_us", "100000"},
	{"pids", "pids.max", "256"},
};
#define GROUPS 3

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	_exit(2);
}

static void must(long r, const char *what)
{
	if (r < 0)
		die(what);
}

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static __attribute__((format(printf, 2, 3))) void put(const char *path, const char *fmt, ...)
{
	char text[128];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	must(fd, path);
	must(write(fd, text, (size_t)n), path);
	close(fd);
}

static void group_path(char *out, size_t cap, int i, unsigned id, const char *file)
{
	snprintf(out, cap, "/sys/fs/cgroup/%s/floor-%d-%u%s%s", groups[i].controller, (int)getpid(), id,
		 file ? "/" : "", file ? file : "");
}

/* rtnetlink, by hand. */
struct message {
	struct nlmsghdr head;
	char body[512];
};

static void add(struct message *m, uint16_t type, const void *p, size_t n)
{
	struct rtattr *a = (void *)((char *)m + NLMSG_ALIGN(m->head.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (uint16_t)RTA_LENGTH(n);
	memcpy(RTA_DATA(a), p, n);
	m->head.nlmsg_len = NLMSG_ALIGN(m->head.nlmsg_len) + (uint32_t)RTA_ALIGN(a->rta_len);
}

static struct rtattr *nest(struct message *m, uint16_t type)
{
	struct rtattr *a = (void *)((char *)m + NLMSG_ALIGN(m->head.nlmsg_len));

	add(m, type, NULL, 0);
	return a;
}

static void end_nest(struct message *m, struct rtattr *a)
{
	a->rta_len = (uint16_t)((char *)m + m->head.nlmsg_len - (char *)a);
}

static void *begin(struct message *m, uint16_t type, uint16_t flags, size_t n)
{
	memset(m, 0, sizeof *m);
	m->head.nlmsg_type = type;
	m->head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	m->head.nlmsg_len = (uint32_t)NLMSG_LENGTH(n);
	return NLMSG_DATA(&m->head);
}

static void ask(int fd, struct message *m, const char *what)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr err;
		char rest[1024];
	} answer;

	must(send(fd, m, m->head.nlmsg_len, 0), what);
	must(recv(fd, &answer, sizeof answer, 0), what);
	errno = -answer.err.error;
	must(answer.err.error, what);
}

static void link_up(int fd, int index)
{
	struct message m;
	struct ifinfomsg *i = begin(&m, RTM_NEWLINK, 0, sizeof *i);

	i->ifi_index = index;
	i->ifi_flags = i->ifi_change = IFF_UP;
	ask(fd, &m, "link up");
}

static void make_veth(int fd, const char *name, pid_t pid)
{
	struct message m;

	begin(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	add(&m, IFLA_IFNAME, name, strlen(name) + 1);
	struct rtattr *info = nest(&m, IFLA_LINKINFO);
	add(&m, IFLA_INFO_KIND, "veth", 4);
	struct rtattr *data = nest(&m, IFLA_INFO_DATA), *peer = nest(&m, VETH_INFO_PEER);
	m.head.nlmsg_len += sizeof(struct ifinfomsg);
	add(&m, IFLA_IFNAME, "eth0", 5);
	add(&m, IFLA_NET_NS_PID, &pid, sizeof pid);
	end_nest(&m, peer);
	end_nest(&m, data);
	end_nest(&m, info);
	ask(fd, &m, "veth");
	link_up(fd, (int)if_nametoindex(name));
}

static void set_address(int fd, int index, uint32_t be)
{
	struct message m;
	struct ifaddrmsg *a = begin(&m, RTM_NEWADDR, NLM_F_CREATE, sizeof *a);

	a->ifa_family = AF_INET;
	a->ifa_prefixlen = 32;
	a->ifa_index = (uint32_t)index;
	add(&m, IFA_LOCAL, &be, sizeof be);
	ask(fd, &m, "address");
}

/* A filter of the usual size: 300 calls looked up in a binary tree, as libseccomp lays it out. */
#define CALLS 300
static struct sock_filter filter[CALLS * 4 + 8];
static unsigned short filter_len;

static void tree(unsigned from, unsigned to)
{
	if (to - from <= 4) {
		for (unsigned nr = from; nr < to; nr++) {
			filter[filter_len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1);
			filter[filter_len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
		}
		filter[filter_len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
		return;
	}
	unsigned mid = (from + to) / 2, at = filter_len;
	filter_len += 2; /* a jump to the right half may be longer than 255: over an unconditional one */
	tree(from, mid);
	filter[at] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, mid, 0, 1);
	filter[at + 1] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, filter_len - at - 2u);
	tree(mid, to);
}

static _Noreturn void inside(unsigned id, int go, const int *tasks, int failure)
{
	char byte, text[256];

	for (int i = 0; i < GROUPS; i++)
		must(write(tasks[i], "0", 1), "tasks");
	must(read(go, &byte, 1), "maps");
	must(syscall(SYS_setresgid, 0, 0, 0), "gid");
	must(syscall(SYS_setresuid, 0, 0, 0), "uid");

	must(chdir(base), "base");
	must(mount("t", "private", "tmpfs", MS_NOSUID | MS_NODEV, "size=16m,nr_inodes=4096,mode=755"), "tmpfs");
	must(mkdir("private/u", 0755) | mkdir("private/w", 0755) | mkdir("private/r", 0755), "mkdir");
	snprintf(text, sizeof text, "lowerdir=%s/lower,upperdir=%s/private/u,workdir=%s/private/w,userxattr", base,
		 base, base);
	must(mount("o", "private/r", "overlay", MS_NOSUID | MS_NODEV, text), "overlay");
	must(chdir("private/r"), "root");
	must(mount("/usr", "usr", NULL, MS_BIND, NULL), "/usr");
	must(mount("d", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,nr_inodes=64,mode=755"), "/dev");
	static const char *const devices[] = {"null", "zero", "full", "random", "urandom", "tty"};
	for (int i = 0; i < 6; i++) {
		char to[32], from[32];
		snprintf(to, sizeof to, "dev/%s", devices[i]);
		snprintf(from, sizeof from, "/dev/%s", devices[i]);
		close(open(to, O_CREAT | O_WRONLY | O_CLOEXEC, 0666));
		must(mount(from, to, NULL, MS_BIND, NULL), to);
	}
	must(mount("p", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "/proc");
	must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH), "umount");
	must(chdir("/"), "/");
	must(sethostname("floor", 5), "host name");

	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	must(fd, "netlink");
	link_up(fd, 1);
	if (with_veth) {
		must(read(go, &byte, 1), "veth");
		int index = (int)if_nametoindex("eth0");
		set_address(fd, index, htonl(0x0a620000u + id)); /* 10.98.0.0/16 */
		link_up(fd, index);
	}
	struct sock_fprog p = {.len = filter_len, .filter = filter};
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
	must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p), "seccomp");
	execl("/usr/bin/sleep", "sleep", "100", (char *)NULL);
	must(write(failure, &byte, 1), "exec");
	_exit(127);
}

struct start {
	unsigned id;
	pid_t pid;
	int done;
	int64_t asked, took;
};

static void start(struct start *s)
{
	char path[160], name[IFNAMSIZ];
	int tasks[GROUPS], go[2], done[2];

	s->asked = now_us();
	for (int i = 0; i < GROUPS; i++) {
		group_path(path, sizeof path, i, s->id, NULL);
		must(mkdir(path, 0755), path);
		group_path(path, sizeof path, i, s->id, groups[i].file);
		put(path, "%s", groups[i].value);
		group_path(path, sizeof path, i, s->id, "tasks");
		tasks[i] = open(path, O_WRONLY | O_CLOEXEC);
		must(tasks[i], path);
	}
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, go) | pipe2(done, O_CLOEXEC), "pair");
	struct clone_args a = {
		.flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
			 CLONE_NEWCGROUP,
		.exit_signal = SIGCHLD,
	};
	s->pid = (pid_t)syscall(SYS_clone3, &a, sizeof a);
	must(s->pid, "clone3");
	if (s->pid == 0) {
		close(done[0]);
		close(go[0]);
		inside(s->id, go[1], tasks, done[1]);
	}
	close(done[1]);
	close(go[1]);
	s->done = done[0];
	for (int i = 0; i < GROUPS; i++)
		close(tasks[i]);
	snprintf(path, sizeof path, "/proc/%d/uid_map", s->pid);
	put(path, "0 %u 65536", UID_BASE);
	snprintf(path, sizeof path, "/proc/%d/gid_map", s->pid);
	put(path, "0 %u 65536", UID_BASE);
	must(write(go[0], "m", 1), "go");
	if (with_veth) {
		int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
		must(fd, "netlink");
		snprintf(name, sizeof name, "fl%x.%u", (unsigned)getpid() & 0xfffffu, s->id);
		make_veth(fd, name, s->pid);
		close(fd);
		must(write(go[0], "v", 1), "go");
	}
	close(go[0]);
}

static void finish(struct start *s)
{
	char byte, path[160];

	if (read(s->done, &byte, 1) != 0) {
		errno = ENOEXEC;
		die("exec");
	}
	s->took = now_us() - s->asked;
	close(s->done);
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	for (int i = 0; i < GROUPS; i++) {
		group_path(path, sizeof path, i, s->id, NULL);
		for (int tries = 0; rmdir(path) < 0 && tries < 1000; tries++)
			usleep(1000);
	}
}

static int by_time(const void *a, const void *b)
{
	int64_t x = ((const struct start *)a)->took, y = ((const struct start *)b)->took;

	return (x > y) - (x < y);
}

static void prepare(bool make)
{
	static const char *const folders[] = {"", "/private", "/lower", "/lower/usr", "/lower/dev", "/lower/proc"};
	static const char *const links[] = {"lib", "lib64", "bin"};
	char path[160], target[32];

	for (int i = 0; i < 6 && make; i++) {
		snprintf(path, sizeof path, "%s%s", base, folders[i]);
		must(mkdir(path, 0755), path);
	}
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "%s/lower/%s", base, links[i]);
		snprintf(target, sizeof target, "usr/%s", links[i]);
		if (make)
			must(symlink(target, path), path);
		else
			unlink(path);
	}
	for (int i = 6; i-- > 0 && !make;) {
		snprintf(path, sizeof path, "%s%s", base, folders[i]);
		rmdir(path);
	}
}

int main(int argc, char **argv)
{
	unsigned count = 60, pause_ms = 0, parallel = 1;
	bool json = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else if (strcmp(argv[i], "--no-veth") == 0)
			with_veth = false;
		else if (i + 1 < argc && strcmp(argv[i], "--count") == 0)
			count = (unsigned)atoi(argv[++i]);
		else if (i + 1 < argc && strcmp(argv[i], "--pause-ms") == 0)
			pause_ms = (unsigned)atoi(argv[++i]);
		else if (i + 1 < argc && strcmp(argv[i], "--parallel") == 0)
			parallel = (unsigned)atoi(argv[++i]);
		else
			return fprintf(stderr, "usage: floor [--count N] [--pause-ms MS] [--parallel P] [--no-veth] "
					       "[--json]\n"),
			       2;
	}
	if (count == 0 || count > 60000 || parallel == 0 || parallel > 64)
		return fprintf(stderr, "floor: --count is 1 to 60000, --parallel 1 to 64\n"), 2;
	struct start *all = calloc(count, sizeof *all);
	if (!all)
		die("memory");
	snprintf(base, sizeof base, "/tmp/tulou-floor-%d", (int)getpid());
	prepare(true);
	filter[filter_len++] =
		(struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	tree(0, CALLS);

	int64_t begin_us = now_us();
	for (unsigned done = 0; done < count;) {
		unsigned n = count - done < parallel ? count - done : parallel;
		if (pause_ms)
			usleep(pause_ms * 1000);
		for (unsigned i = 0; i < n; i++) {
			all[done + i].id = done + i + 1;
			start(&all[done + i]);
		}
		for (unsigned i = 0; i < n; i++)
			finish(&all[done + i]);
		done += n;
	}
	double seconds = (double)(now_us() - begin_us) / 1e6;
	prepare(false);
	qsort(all, count, sizeof *all, by_time);
	long long median = all[count / 2].took, p95 = all[count * 95 / 100].took;
	if (json)
		printf("{\"count\":%u,\"median_us\":%lld,\"p95_us\":%lld,\"per_second\":%.1f}\n", count, median, p95,
		       count / seconds);
	else
		printf("%u starts, %u at a time: median %lld us, p95 %lld us, %.0f/s\n", count, parallel, median, p95,
		       count / seconds);
	free(all);
	return 0;
}
