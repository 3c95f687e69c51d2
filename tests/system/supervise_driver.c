/* Drives agent/supervise without control, logger or proxies: a small root program for its system test and for trying
 * things out.  It lays its state in the folder DIR only (data, runtime), under the cgroup name and link prefix given.
 *
 *   supervise_driver DIR PROGRAMS CGROUP PREFIX run N [sleep|http]   start N, reach them, stop all, clean up
 *   supervise_driver DIR PROGRAMS CGROUP PREFIX die N [sleep|http]   start N, then SIGKILL itself
 *   supervise_driver DIR PROGRAMS CGROUP PREFIX adopt N              find N living again, stop all, clean up
 *   supervise_driver DIR PROGRAMS CGROUP PREFIX cases                one of each way to end
 *   supervise_driver DIR PROGRAMS CGROUP PREFIX seq N                start N one after the other, 100 ms apart
 *   supervise_driver DIR PROGRAMS CGROUP PREFIX net PUBLIC PRIVATE RESOLVER   who reaches whom (see supervise.sh)
 *   supervise_driver DIR PROGRAMS CGROUP PREFIX churn N              N that end at once, of every kind; nothing may
 * leak supervise_driver DIR PROGRAMS CGROUP PREFIX check                what --check says Prints what it saw as
 * key=value; exit code 0 when all was as expected. */
#include "agent/supervise/supervise.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/own.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define DRIVER_MAX 4096

struct driver {
	struct loop *loop;
	struct supervise *s;
	struct settings settings;
	struct msg_instance seen[DRIVER_MAX + 1]; /* by instance id */
	unsigned wanted, running, exited, failed, logs, samples;
	const char *mode;
	bool http, stopping, cases, net;
	uint64_t told[DRIVER_MAX + 1]; /* exits, in order */
	unsigned told_count, forgotten;
	char **hosts; /* net: PUBLIC PRIVATE RESOLVER */
	int64_t started_us, done_us;
	void (*sequence)(void *arg); /* starts the next one */
	int rc;
	struct loop_timer timer, watchdog;
};

static struct driver driver;

/* argv, then environment: see agent/roles/messages.h. */
static int make_blob(const char *const *argv)
{
	char text[4096];
	uint32_t head[2] = {0, 0};
	size_t n = sizeof head;

	for (; argv[head[0]]; head[0]++) {
		size_t k = strlen(argv[head[0]]) + 1;
		memcpy(text + n, argv[head[0]], k);
		n += k;
	}
	memcpy(text, head, sizeof head);
	return fd_memfd_sealed("blob", text, n);
}

static struct msg_launch order(uint64_t id)
{
	return (struct msg_launch){
		.instance = id,
		.tenant = 1,
		.app = 1,
		.object = 1,
		.kind = MSG_KIND_APP,
		.slot = (uint32_t)(id % 7),
		.limits = {.memory = 64 << 20,
			   .disk = 16 << 20,
			   .inodes = 4096,
			   .cpu = 1000,
			   .cpu_weight = 100,
			   .io_weight = 100,
			   .pids = 32,
			   .nofile = 256,
			   .net_packets = 20000},
		.name = "driver",
		.type = "web",
		.tenant_name = "t",
	};
}

static void launch(const struct msg_launch *m, const char *const *argv)
{
	int blob = make_blob(argv);

	supervise_launch(driver.s, m, blob, NULL, 0);
	close(blob);
}

static bool reach(const struct msg_instance *m)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(MSG_INSTANCE_PORT), .sin_addr.s_addr = htonl(m->address)};
	char text[256];
	ssize_t n = -1;

	for (int i = 0; i < 200 && n <= 0; i++) {
		OWN_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		struct timeval tv = {2, 0};
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
		if (connect(fd, (const void *)&a, sizeof a) == 0 && write(fd, "GET / HTTP/1.0\r\n\r\n", 18) == 18)
			n = read(fd, text, sizeof text - 1);
		else
			usleep(50000);
	}
	return n > 0;
}

static void print_starts(void)
{
	uint64_t sum = 0;
	uint32_t max = 0;

	for (unsigned i = 1; i <= driver.wanted; i++) {
		sum += driver.seen[i].start_us;
		if (driver.seen[i].start_us > max)
			max = driver.seen[i].start_us;
	}
	printf("running=%u all_ms=%" PRId64 " start_us_mean=%" PRIu64 " start_us_max=%u\n", driver.running,
	       (driver.done_us - driver.started_us) / 1000, sum / (driver.wanted ? driver.wanted : 1), max);
}

static void on_all_stopped(void *arg)
{
	struct err e = {0};
	int r;

	(void)arg;
	printf("stopped_ms=%" PRId64 " exited=%u\n", (clock_mono_us() - driver.started_us) / 1000, driver.exited);
	for (unsigned i = 1; i <= driver.wanted; i++)
		supervise_forget(driver.s, i);
	r = supervise_teardown(driver.s, &e);
	if (r < 0) {
		printf("teardown: %s\n", e.text);
		driver.rc = 1;
	}
	driver.s = NULL;
	loop_stop(driver.loop);
}

static void finish_net(void);
static void churn(void *arg);

static void stop_all(void *arg)
{
	(void)arg;
	if (driver.http) {
		unsigned ok = 0;
		for (unsigned i = 1; i <= driver.wanted; i++)
			ok += driver.seen[i].state == MSG_STATE_RUNNING && reach(&driver.seen[i]);
		printf("reached=%u\n", ok);
		if (ok != driver.wanted)
			driver.rc = 1;
	}
	if (driver.net)
		finish_net();
	driver.started_us = clock_mono_us();
	driver.stopping = true;
	supervise_stop_all(driver.s, 2000, on_all_stopped, NULL);
}

static const char *const exits[MSG_EXIT_COUNT] = {"none",    "code",   "signal", "oom", "deadline",
						  "stopped", "killed", "launch", "lost"};

static void on_instance(void *arg, const struct msg_instance *m)
{
	(void)arg;
	if (m->instance > DRIVER_MAX)
		return;
	if (m->state == MSG_STATE_RUNNING && driver.seen[m->instance].state != MSG_STATE_RUNNING)
		driver.running++;
	if (m->state == MSG_STATE_EXITED) {
		driver.exited++;
		if (m->exit == MSG_EXIT_LAUNCH || (!driver.stopping && !driver.cases)) {
			driver.failed += !driver.net && driver.sequence != churn;
			if (!driver.cases && !driver.net && driver.sequence != churn)
				printf("instance=%" PRIu64 " exit=%s code=%d text=\"%s\"\n", m->instance,
				       exits[m->exit], m->exit_code, m->text);
		}
		if (driver.cases)
			printf("case=%" PRIu64 " exit=%s code=%d text=\"%s\" peak_mib=%" PRIu64 "\n", m->instance,
			       exits[m->exit], m->exit_code, m->text, m->memory_peak >> 20);
	}
	driver.seen[m->instance] = *m;
	if (driver.sequence == churn) {
		if (m->state == MSG_STATE_EXITED)
			driver.told[driver.told_count++] = m->instance;
		return;
	}
	if (driver.net) {
		if (m->instance == 1 && m->state == MSG_STATE_RUNNING)
			loop_timer_start(driver.loop, &driver.timer, 0, driver.sequence, NULL);
		else if (!driver.stopping && driver.wanted > 1 && driver.exited == driver.wanted - 1)
			loop_timer_start(driver.loop, &driver.timer, 0, stop_all, NULL);
		return;
	}
	if (driver.cases && driver.exited == driver.wanted && !driver.stopping) {
		loop_timer_start(driver.loop, &driver.timer, 0, stop_all, NULL);
		return;
	}
	if (driver.sequence && m->state == MSG_STATE_RUNNING && driver.running < driver.wanted)
		loop_timer_start(driver.loop, &driver.timer, 100000, driver.sequence, NULL);
	if (driver.stopping || driver.cases || driver.running + driver.failed < driver.wanted || driver.done_us)
		return;
	driver.done_us = clock_mono_us();
	print_starts();
	fflush(stdout);
	if (strcmp(driver.mode, "die") == 0)
		kill(getpid(), SIGKILL);
	loop_timer_start(driver.loop, &driver.timer, 0, stop_all, NULL);
}

static void on_usage(void *arg, const struct msg_usage *list, size_t n)
{
	(void)arg;
	(void)list;
	driver.samples += (unsigned)n;
}

static void on_log_open(void *arg, const struct msg_log_open *m, int fd)
{
	(void)arg;
	(void)m;
	(void)fd;
	driver.logs++;
}

static void on_removed(void *arg, const struct msg_remove *m)
{
	(void)arg;
	printf("removed kind=%u id=%" PRIu64 "\n", m->kind, m->id);
}

static void on_watchdog(void *arg)
{
	(void)arg;
	printf("watchdog: running=%u exited=%u\n", driver.running, driver.exited);
	driver.rc = 1;
	if (driver.stopping)
		loop_stop(driver.loop);
	else
		stop_all(NULL);
}

static void stop_two(void *arg)
{
	(void)arg;
	supervise_stop(driver.s, 5, 700);
	supervise_stop(driver.s, 6, 700);
}

static void start_cases(void)
{
	static const char *const commands[] = {
		"exit 0",
		"exit 7",
		"kill -TERM $$",
		"sleep 600",				   /* deadline */
		"trap '' TERM; while :; do sleep 1; done", /* stop: has to be killed */
		"exec sleep 600",			   /* stop: goes */
		"head -c 200000000 /dev/zero | tail",	   /* out of memory */
	};

	driver.cases = true;
	loop_timer_start(driver.loop, &driver.timer, 500000, stop_two, NULL);
	driver.wanted = 9;
	for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
		struct msg_launch m = order(i + 1);
		const char *argv[] = {"/bin/sh", "-c", commands[i], NULL};
		if (i == 3)
			m.deadline_ms = 300;
		launch(&m, argv);
	}
	/* Refused, and a program that is not there. */
	struct msg_launch m = order(8);
	m.limits.memory = 1;
	launch(&m, (const char *const[]){"/bin/true", NULL});
	m = order(9);
	launch(&m, (const char *const[]){"/does/not/exist", NULL});
}

static void start(const char *what)
{
	static const char *const sleepers[] = {"/bin/sleep", "1000", NULL};
	static const char *const servers[] = {"/usr/bin/python3", "-m",	  "http.server", "8080",
					      "--directory",	  "/app", NULL};

	for (unsigned i = 1; i <= driver.wanted; i++) {
		struct msg_launch m = order(i);
		launch(&m, strcmp(what, "http") == 0 ? servers : sleepers);
	}
}

/* One launch per call, the next one 100 ms after the last one ran. */
static void start_next(void *arg)
{
	static unsigned next = 1;
	struct msg_launch m = order(next++);

	(void)arg;
	launch(&m, (const char *const[]){"/bin/sleep", "1000", NULL});
}

/* One connection attempt from inside an instance; exit code 0 = it was accepted. */
struct attempt {
	const char *what, *host;
	unsigned port;
	uint32_t slot;
	bool egress, expected;
};

static void attempt(uint64_t id, const struct attempt *a)
{
	struct msg_launch m = order(id);
	char code[256];

	snprintf(code, sizeof code,
		 "import socket,sys\ntry: socket.create_connection(('%s',%u),1)\nexcept OSError: sys.exit(1)", a->host,
		 a->port);
	m.slot = a->slot;
	m.egress.mode = a->egress ? QUOTA_EGRESS_PUBLIC : QUOTA_EGRESS_NONE;
	launch(&m, (const char *const[]){"/usr/bin/python3", "-c", code, NULL});
}

static struct attempt attempts[] = {
	{"the same tenant's instance", NULL, MSG_INSTANCE_PORT, 0, false, true},
	{"another tenant's instance", NULL, MSG_INSTANCE_PORT, 1, true, false},
	{"the host", "10.95.0.1", 9999, 0, true, false},
	{"the public with egress", NULL, 80, 0, true, true},
	{"the public without egress", NULL, 80, 0, false, false},
	{"a private address", NULL, 80, 0, true, false},
	{"the metadata service", "169.254.169.254", 80, 0, true, false},
	{"names of the pool's first address", "10.95.0.1", 53, 0, false, true},
	{"the host's resolver itself", NULL, 53, 0, true, false},
};

/* Instance 1 is the server of slot 0; the others try. */
static void start_net(char **hosts)
{
	static char server[16];
	struct in_addr a = {htonl(driver.seen[1].address)};

	snprintf(server, sizeof server, "%s", inet_ntoa(a));
	attempts[0].host = attempts[1].host = server;
	attempts[3].host = attempts[4].host = hosts[0];
	attempts[5].host = hosts[1];
	attempts[8].host = hosts[2];
	driver.wanted = 1 + ARRAY_LEN(attempts);
	if (!reach(&driver.seen[1]))
		printf("the server does not answer\n");
	for (unsigned i = 0; i < ARRAY_LEN(attempts); i++)
		attempt(i + 2, &attempts[i]);
}

static void begin_net(void *arg)
{
	(void)arg;
	start_net(driver.hosts);
}

static void finish_net(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(attempts); i++) {
		const struct msg_instance *m = &driver.seen[i + 2];
		bool ok = m->exit == MSG_EXIT_CODE && m->exit_code == 0;
		bool right = ok == attempts[i].expected && m->exit == MSG_EXIT_CODE;
		printf("%s reach=%s to=\"%s\" %s\n", right ? "right" : "WRONG", ok ? "yes" : "no", attempts[i].what,
		       m->text);
		if (!right)
			driver.rc = 1;
	}
}

static unsigned open_descriptors(void)
{
	OWN_DIR DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	return n;
}

static unsigned zombies(void)
{
	OWN_FREE char *text = NULL;
	unsigned n = 0;

	if (fd_read_file(AT_FDCWD, "/proc/thread-self/children", 1 << 20, &text, NULL) == 0)
		for (const char *p = text; *p; p++)
			n += *p == ' ';
	return n;
}

/* Keeps 32 short ones going; each is forgotten as soon as it is told. */
static void churn(void *arg)
{
	static unsigned next = 1, before;

	(void)arg;
	if (!before)
		before = open_descriptors();
	for (; next <= driver.wanted && next - 1 - driver.exited < 32; next++) {
		static const enum msg_kind kinds[] = {MSG_KIND_APP, MSG_KIND_GIT, MSG_KIND_BUILD, MSG_KIND_STORE,
						      MSG_KIND_RUN};
		struct msg_launch m = order(next);
		m.kind = kinds[next % ARRAY_LEN(kinds)];
		if (m.kind == MSG_KIND_STORE)
			m.object = next + 1000000;
		launch(&m, (const char *const[]){next % 3 ? "/bin/true" : "/does/not/exist", NULL});
	}
	for (; driver.forgotten < driver.told_count; driver.forgotten++)
		supervise_forget(driver.s, driver.told[driver.forgotten]);
	if (driver.exited < driver.wanted) {
		loop_timer_start(driver.loop, &driver.timer, 2000, churn, NULL);
		return;
	}
	unsigned after = open_descriptors();
	printf("churned=%u all_ms=%" PRId64 " descriptors_before=%u after=%u children=%u living=%zu\n", driver.exited,
	       (clock_mono_us() - driver.started_us) / 1000, before, after, zombies(), supervise_living(driver.s));
	if (after > before + 4)
		driver.rc = 1;
	stop_all(NULL);
}

static void on_check(void *arg, enum supervise_verdict v, const char *what, const char *text)
{
	(void)arg;
	printf("%-5s %s: %s\n", supervise_verdict_name(v), what, text);
}

static int prepare(const char *dir, const char *cgroup, const char *prefix)
{
	char path[512];
	struct settings *s = &driver.settings;

	settings_default(s);
	snprintf(s->data, sizeof s->data, "%s/data", dir);
	snprintf(s->runtime, sizeof s->runtime, "%s/run", dir);
	snprintf(s->cgroup, sizeof s->cgroup, "%s", cgroup);
	snprintf(s->link_prefix, sizeof s->link_prefix, "%s", prefix);
	s->pool_net = 0x0a5f0000; /* 10.95.0.0/16 */
	s->pool_prefix = 16;
	s->disk_pool = 512ull << 20;
	snprintf(path, sizeof path, "%s/releases/1/app", s->data);
	return fd_mkdirs(path, 0755);
}

int main(int argc, char **argv)
{
	static const struct supervise_ops ops = {
		.on_instance = on_instance, .on_usage = on_usage, .on_log_open = on_log_open, .on_removed = on_removed};
	struct err e = {0};

	if (argc < 6 || prepare(argv[1], argv[3], argv[4]) < 0) {
		fprintf(stderr,
			"usage: supervise_driver DIR PROGRAMS CGROUP PREFIX run|die|adopt|cases [N] [sleep|http]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	driver.mode = argv[5];
	driver.wanted = argc > 6 ? (unsigned)strtoul(argv[6], NULL, 10) : 1;
	if (driver.wanted > DRIVER_MAX)
		driver.wanted = DRIVER_MAX;
	driver.http = argc > 7 && strcmp(argv[7], "http") == 0;
	if (strcmp(driver.mode, "check") == 0)
		return supervise_check(&driver.settings, argv[2], on_check, NULL) ? 1 : 0;
	driver.loop = loop_new();
	driver.started_us = clock_mono_us();
	if (supervise_new(driver.loop, &driver.settings, argv[2], &ops, &driver.s, &e) < 0) {
		fprintf(stderr, "start failed: %s\n", e.text);
		return 1;
	}
	printf("prepared_ms=%" PRId64 " living=%zu\n", (clock_mono_us() - driver.started_us) / 1000,
	       supervise_living(driver.s));
	loop_timer_start(driver.loop, &driver.watchdog, 40000000, on_watchdog, NULL);
	driver.started_us = clock_mono_us();
	if (strcmp(driver.mode, "cases") == 0)
		start_cases();
	else if (strcmp(driver.mode, "churn") == 0) {
		driver.sequence = churn;
		churn(NULL);
	} else if (strcmp(driver.mode, "net") == 0 && argc > 8) {
		driver.net = true;
		driver.hosts = argv + 6;
		driver.wanted = 1;
		driver.sequence = begin_net;
		struct msg_launch m = order(1);
		m.slot = 0;
		launch(&m, (const char *const[]){"/usr/bin/python3", "-m", "http.server", "8080", "--directory", "/app",
						 NULL});
	} else if (strcmp(driver.mode, "seq") == 0) {
		driver.sequence = start_next;
		start_next(NULL);
	} else if (strcmp(driver.mode, "adopt") == 0) {
		supervise_reopen_logs(driver.s);
		printf("logs=%u\n", driver.logs);
		supervise_sync(driver.s);
	} else {
		start(argc > 7 ? argv[7] : "sleep");
	}
	loop_run(driver.loop);
	if (driver.failed && !driver.cases)
		driver.rc = 1;
	loop_free(driver.loop);
	return driver.rc;
}
