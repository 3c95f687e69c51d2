/* Plays the supervisor for tulou-sandbox, without a loop, a database or a network policy: for the bench and for looking
 * at a sandbox by hand.  Root.
 *
 *   launch_driver --build DIR [--tree DIR] -- COMMAND ARG...             one program on our own stdio, its exit code is
 * ours launch_driver --build DIR --count N [--parallel P] [--pause-ms MS] [--keep S] [--json] -- COMMAND ARG... N
 * starts, from the request to the exec; with --keep all stay alive and are then measured
 *   --kind app|git|build|store|run   --no-network   --memory BYTES   --disk BYTES   --env K=V
 *   --rate BYTES (a second, of the network in and out)   --profile default|strict
 *
 * Groups, folders and interfaces carry our pid; all of them are gone at the end. */
#include "agent/supervise/cgroup.h"
#include "agent/supervise/launch.h"
#include "agent/supervise/stack.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/own.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define UID_BASE 0x50000000u
#define MAX 8000

struct instance {
	uint64_t id;
	pid_t builder, pid;
	int report, out, status;
	int64_t asked, took; /* us */
	bool failed;
};

static struct launch_programs programs;
static struct cgroup *groups;
static int stack_fd = -1, tree_fd = -1, blob_fd = -1;
static struct launch order = {.kind = MSG_KIND_APP,
			      .uid_base = UID_BASE,
			      .memory = 64 << 20,
			      .disk = 16 << 20,
			      .shm = 8 << 20,
			      .inodes = 4096,
			      .nofile = 1024,
			      .network = 1,
			      .net_packets = LIMIT_NET_PACKETS,
			      .port = 8000,
			      .hostname = "driver",
			      .node = "bench"};
static char dir[64];

static _Noreturn void fail(const char *what, const struct err *e)
{
	fprintf(stderr, "launch_driver: %s: %s\n", what, e && e->code ? e->text : strerror(errno));
	exit(2);
}

static void remove_group(uint64_t id)
{
	for (int i = 0; i < 2000 && cgroup_remove(groups, 0, id) == -EBUSY; i++)
		usleep(1000);
}

/* Starts one; its report socket tells the rest. */
static void start(struct instance *in, const int *stdio, unsigned stdio_count)
{
	struct err e = {0};
	struct launch_fds fds = {.blob = blob_fd, .stack = stack_fd, .tree = tree_fd, .layer = -1, .usr = -1};
	struct quota_limits limits = quota_app_default;
	size_t count = 0;
	int pipe_fds[2], pidfd, r;

	limits.memory = order.memory;
	in->asked = clock_mono_us();
	r = cgroup_make(groups, 0, in->id, &limits, fds.cgroups, &count, &e);
	if (r < 0)
		fail("control group", &e);
	in->status = memfd_create("status", MFD_CLOEXEC);
	if (pipe2(pipe_fds, O_CLOEXEC) < 0 || in->status < 0)
		fail("pipe", NULL);
	fds.status = in->status;
	fds.out = pipe_fds[1];
	fds.out_read = pipe_fds[0];
	for (unsigned i = 0; i < stdio_count; i++)
		fds.stdio[i] = stdio[i];
	struct launch l = order;
	l.instance = in->id;
	l.cgroup_count = (uint32_t)count;
	l.cgroup_v2 = cgroup_is_v2(groups);
	l.stdio_count = stdio_count;
	l.address = 0x0a630000u + (uint32_t)in->id; /* 10.99.0.0/16 */
	snprintf(l.link, sizeof l.link, "td%x.%u", (unsigned)getpid(), (unsigned)in->id);
	in->builder = launch_spawn(&programs, &l, &fds, &in->report, &pidfd, &e);
	if (in->builder < 0)
		fail("spawn", &e);
	close(pidfd);
	close(pipe_fds[1]);
	in->out = pipe_fds[0];
	for (size_t i = 0; i < count; i++)
		close(fds.cgroups[i]);
}

/* Waits until the launch has succeeded or failed. */
static void await(struct instance *in)
{
	for (;;) {
		struct pollfd p = {.fd = in->report, .events = POLLIN};
		struct launch_report rep;
		if (poll(&p, 1, LIMIT_LAUNCH_MS) != 1)
			fail("no report", NULL);
		ssize_t n = read(in->report, &rep, sizeof rep);
		if (n == 0 && in->pid > 0)
			fail("the report socket was closed", NULL);
		if (n != sizeof rep)
			fail("a report of a wrong size", NULL);
		if (rep.kind == LAUNCH_REPORT_PID) {
			in->pid = rep.pid;
			continue;
		}
		in->took = clock_mono_us() - in->asked;
		in->failed = rep.kind == LAUNCH_REPORT_FAILED;
		if (in->failed)
			fprintf(stderr, "launch_driver: could not %s: %s\n", rep.step, strerror(rep.error));
		break;
	}
	own_close(&in->report);
	waitpid(in->builder, NULL, 0);
}

static void stop(struct instance *in)
{
	int how;

	if (in->pid > 0) {
		kill(in->pid, SIGKILL);
		waitpid(in->pid, &how, 0);
	}
	own_close(&in->out);
	own_close(&in->status);
	remove_group(in->id);
}

static int run_one(void)
{
	struct instance in = {.id = 1};
	struct launch_status st = {0};
	int stdio[] = {0, 1, 2}, how;

	start(&in, stdio, 3);
	await(&in);
	fprintf(stderr, "launch_driver: %s after %lld us\n", in.failed ? "failed" : "running", (long long)in.took);
	if (in.pid > 0)
		waitpid(in.pid, &how, 0);
	if (pread(in.status, &st, sizeof st, 0) == sizeof st && st.magic == LAUNCH_STATUS_MAGIC)
		fprintf(stderr, "launch_driver: code %d, signal %d\n", st.code, st.signal);
	else
		st.code = 125;
	in.pid = 0;
	stop(&in);
	return st.code;
}

static int by_time(const void *a, const void *b)
{
	int64_t x = ((const struct instance *)a)->took, y = ((const struct instance *)b)->took;

	return (x > y) - (x < y);
}

/* Proportional set size of one process in KiB. */
static unsigned pss(pid_t pid)
{
	OWN_FREE char *text = NULL;
	char path[64];
	size_t n;

	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
	if (fd_read_file(AT_FDCWD, path, 8192, &text, &n) < 0)
		return 0;
	const char *p = strstr(text, "\nPss:");
	return p ? (unsigned)strtoul(p + 5, NULL, 10) : 0;
}

static int run_many(unsigned count, unsigned parallel, unsigned pause_ms, unsigned keep, bool json)
{
	OWN_FREE struct instance *all = calloc(count, sizeof *all);
	unsigned failures = 0, started = 0, kib = 0;
	int64_t begin = clock_mono_us();

	if (!all)
		fail("memory", NULL);
	while (started < count) {
		unsigned n = count - started < parallel ? count - started : parallel;
		if (pause_ms)
			usleep(pause_ms * 1000);
		for (unsigned i = 0; i < n; i++) {
			all[started + i].id = started + i + 1;
			start(&all[started + i], NULL, 0);
		}
		for (unsigned i = 0; i < n; i++) {
			await(&all[started + i]);
			failures += all[started + i].failed;
			if (!keep)
				stop(&all[started + i]);
		}
		started += n;
	}
	int64_t end = clock_mono_us();
	if (keep) {
		sleep(keep);
		for (unsigned i = 0; i < count; i++)
			kib += pss(all[i].pid);
		for (unsigned i = 0; i < count; i++)
			stop(&all[i]);
	}
	qsort(all, count, sizeof *all, by_time);
	int64_t median = all[count / 2].took, p95 = all[count * 95 / 100].took;
	if (json)
		printf("{\"count\":%u,\"median_us\":%lld,\"p95_us\":%lld,\"per_second\":%.1f,\"failures\":%u,\"pss_"
		       "kib\":%.2f}\n",
		       count, (long long)median, (long long)p95, count * 1e6 / (double)(end - begin), failures,
		       (double)kib / count);
	else
		printf("%u starts, %u at a time: median %lld us, p95 %lld us, %.0f/s, %u failed%s%.1f%s\n", count,
		       parallel, (long long)median, (long long)p95, count * 1e6 / (double)(end - begin), failures,
		       keep ? ", PID 1 " : "", keep ? (double)kib / count : 0.0, keep ? " KiB PSS" : "");
	return failures ? 1 : 0;
}

static void make_blob(char **argv, unsigned argc, char **env, unsigned envc)
{
	OWN_BUF struct buf b;
	uint32_t counts[2] = {argc, envc};

	buf_init(&b, LIMIT_BLOB);
	buf_add(&b, counts, sizeof counts);
	for (unsigned i = 0; i < argc; i++)
		buf_add(&b, argv[i], strlen(argv[i]) + 1);
	for (unsigned i = 0; i < envc; i++)
		buf_add(&b, env[i], strlen(env[i]) + 1);
	blob_fd = b.failed ? -1 : fd_memfd_sealed("blob", b.data, b.len);
	if (blob_fd < 0)
		fail("blob", NULL);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"build", 1, NULL, 'b'},    {"tree", 1, NULL, 't'},	  {"count", 1, NULL, 'n'},
		{"parallel", 1, NULL, 'p'}, {"keep", 1, NULL, 'k'},	  {"pause-ms", 1, NULL, 'i'},
		{"kind", 1, NULL, 'K'},	    {"no-network", 0, NULL, 'N'}, {"json", 0, NULL, 'j'},
		{"memory", 1, NULL, 'm'},   {"rate", 1, NULL, 'r'},	  {"disk", 1, NULL, 'd'},
		{"env", 1, NULL, 'e'},	    {"profile", 1, NULL, 'P'},	  {NULL, 0, NULL, 0},
	};
	static const char *const kinds[] = {"app", "git", "build", "store", "run"};
	unsigned count = 0, parallel = 1, pause_ms = 0, keep = 0, envc = 0;
	struct quota quota = quota_default;
	const char *build = "build", *tree = NULL;
	char *env[64], name[STACK_NAME], *text = NULL;
	bool json = false;
	struct err e = {0};
	size_t n;
	int c, r;

	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		switch (c) {
		case 'b':
			build = optarg;
			break;
		case 't':
			tree = optarg;
			break;
		case 'n':
			count = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'p':
			parallel = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'k':
			keep = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'i':
			pause_ms = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'm':
			order.memory = strtoull(optarg, NULL, 10);
			break;
		case 'd':
			order.disk = strtoull(optarg, NULL, 10);
			break;
		case 'r':
			order.net_in = order.net_out = strtoull(optarg, NULL, 10);
			break;
		case 'N':
			order.network = 0;
			break;
		case 'j':
			json = true;
			break;
		case 'e':
			if (envc < ARRAY_LEN(env))
				env[envc++] = optarg;
			break;
		case 'P':
			order.profile = quota_profile_parse(optarg);
			if (order.profile == QUOTA_PROFILE_COUNT)
				return 2;
			break;
		case 'K':
			for (order.kind = 0; order.kind < MSG_KIND_COUNT && strcmp(kinds[order.kind], optarg);
			     order.kind++)
				;
			break;
		default:
			return 2;
		}
	}
	if (optind >= argc || count > MAX || parallel == 0) {
		fprintf(stderr, "launch_driver: see the head of launch_driver.c\n");
		return 2;
	}
	if (order.kind == MSG_KIND_GIT || order.kind == MSG_KIND_STORE)
		order.network = 0;
	make_blob(argv + optind, (unsigned)(argc - optind), env, envc);
	snprintf(dir, sizeof dir, "/tmp/tulou-driver-%d", (int)getpid());
	char own_tree[100];
	snprintf(own_tree, sizeof own_tree, "%s/tree/app", dir);
	if (fd_mkdirs(own_tree, 0755) < 0 || chown(own_tree, UID_BASE + 1000, UID_BASE + 1000) < 0)
		fail("folders", NULL);
	*strrchr(own_tree, '/') = 0;
	if (chown(own_tree, UID_BASE + 1000, UID_BASE + 1000) < 0)
		fail("folders", NULL);
	if (launch_load(&programs, build, &e) < 0)
		fail("programs", &e);
	order.segments = programs.segments >= 0;
	stack_fd = stack_build(dir, build, NULL, 0, name, &e);
	if (stack_fd < 0)
		fail("stack", &e);
	tree_fd = open(tree ? tree : own_tree, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (tree_fd < 0)
		fail("tree", NULL);
	if (fd_read_file(AT_FDCWD, "/proc/self/mountinfo", 1 << 20, &text, &n) < 0 ||
	    cgroup_new(text, strrchr(dir, '/') + 1, false, &groups, &e) < 0)
		fail("control groups", &e);
	free(text);
	cgroup_io_path(groups, dir);
	quota.memory = LIMIT_MEMORY_MAX; /* the driver plays all tenants as one */
	quota.pids = LIMIT_TENANT_PIDS_MAX;
	quota.cpu = LIMIT_CPU_MAX;
	if (cgroup_tenant(groups, 0, &quota, &e) < 0)
		fail("tenant's control group", &e);

	r = count ? run_many(count, parallel, pause_ms, keep, json) : run_one();
	cgroup_tenant_remove(groups, 0);
	cgroup_destroy(groups);
	cgroup_free(groups);
	launch_unload(&programs);
	close(stack_fd);
	close(tree_fd);
	fd_remove_tree(AT_FDCWD, dir);
	return r;
}
