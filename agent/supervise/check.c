/* `tuloud --check`: what the host has and lacks, in words that a person can act on.  Layer agent, run by the operator.
 * Looks only; the few things that are tried (a table, an interface) are tried in namespaces of their own. */
#include "agent/supervise/supervise.h"

#include "agent/supervise/cgroup.h"
#include "agent/supervise/disk.h"
#include "agent/supervise/names.h"
#include "agent/supervise/net.h"
#include "agent/supervise/stack.h"
#include "base/fd.h"
#include "base/own.h"
#include "base/parse.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <nftables/libnftables.h>
#include <pwd.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK_INSTANCES 500u /* apps that the warnings count for: what a host is bought for */

struct check {
	const struct settings *settings;
	const char *program_dir;
	void (*report)(void *arg, enum supervise_verdict v, const char *what, const char *text);
	void *arg;
	unsigned failed;
	pid_t node; /* who runs with our runtime folder, 0 = nobody */
};

const char *supervise_verdict_name(enum supervise_verdict v)
{
	static const char *const names[SUPERVISE_VERDICT_COUNT] = {"ok", "warn", "fail"};

	return (unsigned)v < SUPERVISE_VERDICT_COUNT ? names[v] : "unknown";
}

__attribute__((format(printf, 4, 5))) static void say(struct check *c, enum supervise_verdict v, const char *what,
						      const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	c->failed += v == SUPERVISE_FAIL;
	c->report(c->arg, v, what, text);
}

static void check_root(struct check *c)
{
	struct utsname u;
	unsigned major = 0, minor = 0;

	if (geteuid() == 0)
		say(c, SUPERVISE_OK, "user", "runs as root");
	else
		say(c, SUPERVISE_FAIL, "user",
		    "must be started as root: only the supervisor keeps the privilege, everything else drops it");
	uname(&u);
	if (sscanf(u.release, "%u.%u", &major, &minor) == 2 && (major > 5 || (major == 5 && minor >= 12)))
		say(c, SUPERVISE_OK, "kernel", "Linux %s", u.release);
	else
		say(c, SUPERVISE_FAIL, "kernel", "Linux %s is too old: 5.12 or later is needed (idmapped mounts)",
		    u.release);
}

static void check_calls(struct check *c)
{
	static const struct {
		long number;
		const char *name, *since;
	} calls[] = {
		{SYS_pidfd_open, "pidfd_open", "5.3"},	 {SYS_clone3, "clone3", "5.3"},
		{SYS_pidfd_getfd, "pidfd_getfd", "5.6"}, {SYS_openat2, "openat2", "5.6"},
		{SYS_close_range, "close_range", "5.9"}, {SYS_mount_setattr, "mount_setattr", "5.12"},
		{SYS_open_tree, "open_tree", "5.2"},	 {SYS_fsopen, "fsopen", "5.2"},
	};
	bool all = true;

	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		/* Descriptors that cannot be: a call that exists refuses them, one that does not says so. */
		if (syscall(calls[i].number, -1, -1, -1, -1, -1) >= 0 || errno != ENOSYS)
			continue;
		all = false;
		say(c, SUPERVISE_FAIL, "system calls",
		    "%s(2) is missing (Linux %s): update the kernel, or lift the filter of the container around us",
		    calls[i].name, calls[i].since);
	}
	if (all)
		say(c, SUPERVISE_OK, "system calls", "all there");
}

/* The folder, or the nearest one above that exists. */
static void nearest(const char *path, char *out, size_t cap)
{
	snprintf(out, cap, "%s", path);
	while (out[1] && access(out, F_OK) < 0) {
		char *slash = strrchr(out, '/');
		if (!slash)
			break;
		slash[slash == out] = 0;
	}
}

static void check_cgroup(struct check *c)
{
	OWN_FREE char *mountinfo = NULL;
	struct cgroup *cg = NULL;
	struct err e = {0};
	char path[256];

	if (fd_read_file(AT_FDCWD, "/proc/self/mountinfo", 8u << 20, &mountinfo, NULL) < 0)
		err_set(&e, EIO, "cannot read /proc/self/mountinfo");
	else /* under a name that no node has: this one may be running */
		cgroup_new(mountinfo, "tulou-check", false, &cg, &e);
	if (!cg) {
		say(c, SUPERVISE_FAIL, "cgroups", "%s", e.text);
		return;
	}
	say(c, SUPERVISE_OK, "cgroups", "%s, with memory, cpu and pids", cgroup_version(cg));
	nearest(c->settings->data, path, sizeof path);
	if (!cgroup_has_io(cg))
		say(c, SUPERVISE_WARN, "disk rates",
		    "the cgroup controller `%s` is not there: how fast tenants read and write is not limited",
		    cgroup_is_v2(cg) ? "io" : "blkio");
	else if (cgroup_io_path(cg, path) == 0)
		say(c, SUPERVISE_WARN, "disk rates",
		    "%s lies on no disk that is known here: how fast tenants read and write is not limited", path);
	else
		say(c, SUPERVISE_OK, "disk rates",
		    cgroup_is_v2(cg) ? "of each instance and of each tenant"
				     : "of each tenant (cgroup v1: not of an instance)");
	cgroup_release_agent(cg, path, sizeof path);
	if (*path)
		say(c, SUPERVISE_WARN, "release agent",
		    "%s is run as root for cgroups that ask for it (ours do not): empty the release_agent file at the "
		    "root of the v1 hierarchy",
		    path);
	cgroup_destroy(cg);
	cgroup_free(cg);
}

/* Runs fn in a child with namespaces of its own; its exit code is what is returned, -1 when that could not be done. */
static int in_namespaces(int flags, int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (unshare(flags) < 0)
			_exit(200);
		_exit(fn());
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) == 200)
		return -1;
	return WEXITSTATUS(status);
}

static int try_nothing(void)
{
	return 0;
}

static int try_nft(void)
{
	struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	int r;

	if (!ctx)
		return 1;
	nft_ctx_buffer_error(ctx);
	r = nft_run_cmd_from_buffer(
		ctx, "table inet tulou_check {\n"
		     "set s { type devgroup . devgroup; }\n"
		     "chain p { type filter hook prerouting priority mangle; fib saddr . iif oif missing drop; }\n"
		     "chain f { type filter hook forward priority filter; ct state established accept;\n"
		     "iifgroup . oifgroup @s accept; tcp flags syn tcp option maxseg size set rt mtu; }\n"
		     "chain n { type nat hook postrouting priority srcnat; masquerade; }\n"
		     "}\n");
	nft_ctx_free(ctx);
	return r != 0;
}

static int try_overlay(void)
{
	int fs = sys_fsopen("overlay", FSOPEN_CLOEXEC);

	return fs < 0;
}

static int try_veth(void)
{
	return net_probe() < 0;
}

static int try_segments(void)
{
	return net_segments() < 0;
}

static void check_features(struct check *c)
{
	int r = in_namespaces(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET |
				      CLONE_NEWCGROUP,
			      try_nothing);

	if (r == 0)
		say(c, SUPERVISE_OK, "namespaces",
		    "user, pid, mount, network, ipc, uts and cgroup namespaces can be made");
	else
		say(c, SUPERVISE_FAIL, "namespaces",
		    "cannot be made: check user.max_user_namespaces and kernel.unprivileged_userns_clone (sysctl), and "
		    "any container around us");
	if (geteuid() != 0)
		return;
	if (try_overlay() == 0)
		say(c, SUPERVISE_OK, "overlay", "the kernel has overlayfs");
	else
		say(c, SUPERVISE_FAIL, "overlay", "the kernel has no overlayfs: modprobe overlay");
	if (in_namespaces(CLONE_NEWNET, try_nft) == 0)
		say(c, SUPERVISE_OK, "nftables", "tables, sets, fib, conntrack and masquerading work");
	else
		say(c, SUPERVISE_FAIL, "nftables",
		    "the rules cannot be loaded: the kernel needs nf_tables, nft_fib_inet, nft_ct, nft_masq (modprobe "
		    "nf_tables)");
	if (in_namespaces(CLONE_NEWNET, try_veth) == 0)
		say(c, SUPERVISE_OK, "network", "pairs of virtual interfaces can be made");
	else
		say(c, SUPERVISE_FAIL, "network", "the kernel cannot make a pair of virtual interfaces: modprobe veth");
	if (in_namespaces(CLONE_NEWNET, try_segments) == 0)
		say(c, SUPERVISE_OK, "packets", "one that becomes many datagrams can be told from others");
	else
		say(c, SUPERVISE_WARN, "packets",
		    "one that becomes many datagrams (UDP_SEGMENT) counts once against net_packets: the kernel needs "
		    "nft_compat and xt_bpf (modprobe xt_bpf)");
	if (access("/proc/sys/net/ipv4/ip_forward", W_OK) == 0)
		say(c, SUPERVISE_OK, "forwarding",
		    "net.ipv4.ip_forward can be switched on (it is restored when the node stops)");
	else
		say(c, SUPERVISE_FAIL, "forwarding",
		    "net.ipv4.ip_forward cannot be written: mount /proc/sys read-write, or set it to 1");
}

static void check_users(struct check *c)
{
	const char *const users[] = {c->settings->user, c->settings->user_proxy, c->settings->user_log,
				     c->settings->user_resolver, c->settings->user_fetcher};

	for (size_t i = 0; i < ARRAY_LEN(users); i++) {
		struct passwd *pw = getpwnam(users[i]);
		char what[64];
		snprintf(what, sizeof what, "user %s", users[i]);
		if (!pw)
			say(c, SUPERVISE_FAIL, what,
			    "does not exist: run deploy/bootstrap, or useradd --system --no-create-home %s", users[i]);
		else if (pw->pw_uid == 0)
			say(c, SUPERVISE_FAIL, what, "is root: give that role a user of its own");
		else
			say(c, SUPERVISE_OK, what, "uid %u", pw->pw_uid);
	}
}

static void check_programs(struct check *c)
{
	static const char *const names[] = {"tulou-sandbox", "tulou-unpack"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char path[512];
		snprintf(path, sizeof path, "%s/%s", c->program_dir, names[i]);
		if (access(path, R_OK) == 0)
			say(c, SUPERVISE_OK, names[i], "%s", path);
		else
			say(c, SUPERVISE_FAIL, names[i],
			    "not found in %s: build it with make, it belongs beside tuloud", c->program_dir);
	}
}

static void check_disk(struct check *c)
{
	char text[384];
	struct err e = {0};

	if (disk_probe(c->settings, text, sizeof text, &e) < 0)
		say(c, SUPERVISE_FAIL, "disk of the apps", "%s", e.text);
	else
		say(c, SUPERVISE_OK, "disk of the apps", "%s", text);
}

static void check_folders(struct check *c)
{
	char path[256];
	struct statvfs v;
	uint64_t free_mib;

	nearest(c->settings->data, path, sizeof path);
	if (statvfs(path, &v) < 0) {
		say(c, SUPERVISE_FAIL, "data folder", "%s: %s", path, strerror(errno));
		return;
	}
	free_mib = (uint64_t)v.f_bavail * v.f_frsize >> 20;
	if (v.f_flag & ST_RDONLY)
		say(c, SUPERVISE_FAIL, "data folder", "%s is read-only: set node.data", path);
	else if (free_mib < 2048)
		say(c, SUPERVISE_WARN, "data folder", "%s has only %ju MiB free: releases and repositories live there",
		    path, (uintmax_t)free_mib);
	else
		say(c, SUPERVISE_OK, "data folder", "%s, %ju MiB free", c->settings->data, (uintmax_t)free_mib);
	check_disk(c);
	if (v.f_favail && v.f_favail < 200000)
		say(c, SUPERVISE_WARN, "data folder", "%s has only %ju inodes free: one node_modules takes 60,000",
		    path, (uintmax_t)v.f_favail);
	nearest(c->settings->runtime, path, sizeof path);
	if (statvfs(path, &v) < 0 || (v.f_flag & ST_RDONLY))
		say(c, SUPERVISE_FAIL, "runtime folder", "%s cannot be written: set node.runtime", path);
	else
		say(c, SUPERVISE_OK, "runtime folder", "%s", c->settings->runtime);
}

static uint64_t read_sysctl(const char *path)
{
	OWN_FREE char *text = NULL;

	return fd_read_file(AT_FDCWD, path, 256, &text, NULL) < 0 ? UINT64_MAX : strtoull(text, NULL, 10);
}

/* A limit above what the host has is no promise that anything keeps. */
static void check_settings(struct check *c)
{
	const struct {
		const char *name;
		const struct quota_limits *limits;
	} rows[] = {{"app", &c->settings->app}, {"build", &c->settings->build}};
	char is[PARSE_BYTES_TEXT], has[PARSE_BYTES_TEXT], what[32];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct sysinfo host;
	uint64_t memory;

	if (sysinfo(&host) < 0)
		return;
	memory = (uint64_t)host.totalram * host.mem_unit;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		snprintf(what, sizeof what, "%s.memory", rows[i].name);
		parse_bytes_text(rows[i].limits->memory, is);
		parse_bytes_text(memory, has);
		if (rows[i].limits->memory > memory)
			say(c, SUPERVISE_WARN, what, "is %s, and this host has %s: nothing can use so much", is, has);
		else
			say(c, SUPERVISE_OK, what, "%s of this host's %s", is, has);
		snprintf(what, sizeof what, "%s.cpu", rows[i].name);
		if (cpus > 0 && rows[i].limits->cpu > cpus * 1000)
			say(c, SUPERVISE_WARN, what, "is %g, and there are %ld CPUs here: nothing can use so much",
			    rows[i].limits->cpu / 1000.0, cpus);
	}
}

static void check_limits(struct check *c)
{
	/* What CHECK_INSTANCES ordinary apps need of what all of them share. */
	static const struct {
		const char *name, *path;
		uint64_t least;
		const char *why;
	} limits[] = {
		{"fs.inotify.max_user_instances", "/proc/sys/fs/inotify/max_user_instances", 128,
		 "file watchers of one user"},
		{"kernel.keys.maxkeys", "/proc/sys/kernel/keys/maxkeys", 200, "keys of one user"},
		{"net.ipv4.neigh.default.gc_thresh3", "/proc/sys/net/ipv4/neigh/default/gc_thresh3", 1024,
		 "neighbour entries"},
		{"kernel.pid_max", "/proc/sys/kernel/pid_max", CHECK_INSTANCES * 64,
		 "processes and threads on the host"},
		{"fs.file-max", "/proc/sys/fs/file-max", CHECK_INSTANCES * 200, "open files on the host"},
		{"user.max_net_namespaces", "/proc/sys/user/max_net_namespaces", CHECK_INSTANCES * 2,
		 "network namespaces"},
		{"user.max_mnt_namespaces", "/proc/sys/user/max_mnt_namespaces", CHECK_INSTANCES * 2,
		 "mount namespaces"},
		{"net.netfilter.nf_conntrack_max", "/proc/sys/net/netfilter/nf_conntrack_max", 65536,
		 "connections to and from instances"},
	};
	struct rlimit rl;

	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		uint64_t v = read_sysctl(limits[i].path);
		if (v == UINT64_MAX)
			continue; /* this kernel has no such limit, or not yet */
		if (v < limits[i].least)
			say(c, SUPERVISE_WARN, limits[i].name, "is %ju (%s): %u apps may need %ju; sysctl -w %s=%ju",
			    (uintmax_t)v, limits[i].why, CHECK_INSTANCES, (uintmax_t)limits[i].least, limits[i].name,
			    (uintmax_t)limits[i].least);
		else
			say(c, SUPERVISE_OK, limits[i].name, "%ju", (uintmax_t)v);
	}
	check_settings(c);
	getrlimit(RLIMIT_NOFILE, &rl);
	if (rl.rlim_max < LIMIT_INSTANCES * 3)
		say(c, SUPERVISE_WARN, "RLIMIT_NOFILE",
		    "is %ju: the node runs at most about %ju instances; set LimitNOFILE=65536 in the unit",
		    (uintmax_t)rl.rlim_max, (uintmax_t)rl.rlim_max / 3);
	else
		say(c, SUPERVISE_OK, "RLIMIT_NOFILE", "%ju", (uintmax_t)rl.rlim_max);
}

/* What is tried is undone. */
static void check_protection(struct check *c)
{
	OWN_FREE char *was = NULL;
	int nice = getpriority(PRIO_PROCESS, 0);
	bool can;

	can = fd_read_file(AT_FDCWD, "/proc/self/oom_score_adj", 32, &was, NULL) == 0 &&
	      fd_write_file(AT_FDCWD, "/proc/self/oom_score_adj", "-900") == 0;
	if (can)
		fd_write_file(AT_FDCWD, "/proc/self/oom_score_adj", was);
	if (can || (was && strtol(was, NULL, 10) <= -900))
		say(c, SUPERVISE_OK, "OOM killer", "takes our own processes last");
	else
		say(c, SUPERVISE_WARN, "OOM killer",
		    "may take our own processes when the host is out of memory: CAP_SYS_RESOURCE is missing; "
		    "OOMScoreAdjust=-900 in the unit does it too");
	if (setpriority(PRIO_PROCESS, 0, nice - 5 < -20 ? -20 : nice - 5) == 0) {
		setpriority(PRIO_PROCESS, 0, nice);
		say(c, SUPERVISE_OK, "priority", "proxies and control go before the apps");
	} else {
		say(c, SUPERVISE_WARN, "priority",
		    "proxies and control cannot be put before the apps: CAP_SYS_NICE is missing");
	}
}

static void check_resolver(struct check *c)
{
	struct net n;
	struct err e = {0};
	uint32_t a;

	if (net_init(&n, c->settings, &e) < 0) {
		say(c, SUPERVISE_FAIL, "resolver", "%s", e.text);
		return;
	}
	a = n.resolvers[0];
	if (n.resolver_count)
		say(c, SUPERVISE_OK, "resolver", "%u.%u.%u.%u", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255);
	else
		say(c, SUPERVISE_WARN, "resolver",
		    "/etc/resolv.conf names no IPv4 name server: apps and builds will find no names but their own");
	net_done(&n);
}

static void check_on_name(void *arg, const char *field, const char *value, pid_t pid)
{
	struct check *c = arg;
	const char *whose = pid && pid == c->node ? "held by this node, which runs" : "taken by another node";

	if (strcmp(field, "node.runtime") == 0) {
		c->node = pid;
		whose = "a node runs on it";
	}
	if (pid && pid == c->node)
		say(c, SUPERVISE_OK, field, "%s: %s (pid %d)", value, whose, pid);
	else
		say(c, SUPERVISE_FAIL, field, "%s: %s (pid %d): stop that one, or set %s to another value", value,
		    whose, pid, field);
}

/* The runtime folder comes first: who has that has these settings. */
static void check_names(struct check *c)
{
	if (names_look(c->settings, NULL, check_on_name, c) == 0)
		say(c, SUPERVISE_OK, "names",
		    "no other node has the folders, the cgroup, the address pool or the links");
}

void supervise_check_limits(const struct settings *settings,
			    void (*report)(void *arg, enum supervise_verdict v, const char *what, const char *text),
			    void *arg)
{
	struct check c = {.settings = settings, .report = report, .arg = arg};

	check_limits(&c);
}

unsigned supervise_check(const struct settings *settings, const char *program_dir,
			 void (*report)(void *arg, enum supervise_verdict v, const char *what, const char *text),
			 void *arg)
{
	struct check c = {.settings = settings, .program_dir = program_dir, .report = report, .arg = arg};

	check_root(&c);
	check_calls(&c);
	check_cgroup(&c);
	check_names(&c);
	check_features(&c);
	check_users(&c);
	check_programs(&c);
	check_folders(&c);
	check_limits(&c);
	check_protection(&c);
	check_resolver(&c);
	return c.failed;
}
