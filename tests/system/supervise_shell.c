/* agent/supervise by hand or from a script, without control, logger or proxies: reads commands, prints what happens.
 * Root; it is started in a network namespace of its own (tests/system/shell.py does).
 *
 *   supervise_shell DIR PROGRAMS CGROUP PREFIX     state in DIR; the end of its input stops everything and cleans up
 *
 *   tenant SLOT [KEY=N...]                 totals, from the embedded default; keys as in config/quota.c, plain numbers
 *   launch ID SLOT [kind=N] [KEY=N...] -- COMMAND     /bin/sh -c COMMAND in a sandbox; limits from the app's default
 *   limits ID [KEY=N...]                   changes these of its present limits
 *   throttle ID WEIGHT CPU
 *   stop ID GRACE_MS
 *   forget ID
 *   sync                                   everything known, then `synced`
 *   die                                    SIGKILL to itself: the next one adopts
 *
 * Each answer is a line: `ok`, `error TEXT`, and, whenever they come, `instance …`, `usage …`, `total …`. */
#include "agent/supervise/supervise.h"
#include "base/fd.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHELL_MAX 4096

static struct loop *loop;
static struct supervise *supervise;
static struct quota_limits limits[SHELL_MAX]; /* by instance */
static uint32_t seen[SHELL_MAX];	      /* the last state */
static struct loop_io input;
static char line[65536];
static size_t line_used;

static void answer(int r, const struct err *e)
{
	if (r < 0)
		printf("error %s\n", e->text);
	else
		printf("ok\n");
}

/* Takes KEY=N words off the text up to "--" or the end; the rest, or NULL when a key is unknown. */
static char *take_numbers(char *text, enum quota_of of, void *numbers, uint32_t *kind)
{
	while (text && *text) {
		char *word = strsep(&text, " "), *value = strchr(word, '=');
		const struct quota_key *k;
		if (strcmp(word, "--") == 0)
			return text;
		if (!value)
			return NULL;
		*value++ = 0;
		k = quota_key_find(word);
		if (strcmp(word, "kind") == 0 && kind)
			*kind = (uint32_t)strtoul(value, NULL, 10);
		else if (k && quota_has(k, of))
			quota_set(k, of, numbers, strtoull(value, NULL, 10));
		else
			return NULL;
	}
	return text ? text : (char *)(uintptr_t) "";
}

static void do_tenant(char *rest)
{
	struct msg_tenant m = {.slot = (uint32_t)strtoul(rest, &rest, 10), .quota = quota_default};
	struct err e = {0};

	m.tenant = m.slot + 1;
	if (!take_numbers(rest + strspn(rest, " "), QUOTA_OF_TENANT, &m.quota, NULL)) {
		printf("error usage\n");
		return;
	}
	answer(supervise_tenant(supervise, &m, &e), &e);
}

static void do_launch(char *rest)
{
	struct msg_launch m = {.app = 1, .object = 1, .kind = MSG_KIND_APP, .name = "shell", .type = "web"};
	const char *argv[] = {"/bin/sh", "-c", NULL};
	char text[8192];
	uint32_t head[2] = {3, 0};
	size_t n = sizeof head;
	int blob;

	m.instance = strtoull(rest, &rest, 10);
	m.slot = (uint32_t)strtoul(rest, &rest, 10);
	m.tenant = m.slot + 1;
	snprintf(m.tenant_name, sizeof m.tenant_name, "t%u", m.slot);
	m.limits = quota_app_default;
	argv[2] = take_numbers(rest + strspn(rest, " "), QUOTA_OF_LIMITS, &m.limits, &m.kind);
	if (!argv[2] || m.instance >= SHELL_MAX || strlen(argv[2]) > sizeof text - 64) {
		printf("error usage\n");
		return;
	}
	limits[m.instance] = m.limits;
	memcpy(text, head, sizeof head);
	for (size_t i = 0; i < ARRAY_LEN(argv); i++) {
		size_t k = strlen(argv[i]) + 1;
		memcpy(text + n, argv[i], k);
		n += k;
	}
	blob = fd_memfd_sealed("blob", text, n);
	supervise_launch(supervise, &m, blob, NULL, 0);
	close(blob);
	printf("ok\n");
}

static void do_limits(char *rest)
{
	struct msg_limits m = {.instance = strtoull(rest, &rest, 10)};
	struct err e = {0};

	if (m.instance < SHELL_MAX)
		m.limits = limits[m.instance];
	if (m.instance >= SHELL_MAX || !take_numbers(rest + strspn(rest, " "), QUOTA_OF_LIMITS, &m.limits, NULL)) {
		printf("error usage\n");
		return;
	}
	int r = supervise_limits(supervise, &m, &e);
	if (r == 0)
		limits[m.instance] = m.limits;
	answer(r, &e);
}

static void do_throttle(char *rest)
{
	struct msg_throttle m = {.instance = strtoull(rest, &rest, 10)};
	struct err e = {0};

	m.cpu_weight = (uint32_t)strtoul(rest, &rest, 10);
	m.cpu = (uint32_t)strtoul(rest, &rest, 10);
	answer(supervise_throttle(supervise, &m, &e), &e);
}

static void do_stop(char *rest)
{
	uint64_t id = strtoull(rest, &rest, 10);

	supervise_stop(supervise, id, (uint32_t)strtoul(rest, NULL, 10));
	printf("ok\n");
}

static void do_forget(char *rest)
{
	supervise_forget(supervise, strtoull(rest, NULL, 10));
	printf("ok\n");
}

static void do_sync(char *rest)
{
	(void)rest;
	supervise_sync(supervise);
	printf("synced\n");
}

static void do_die(char *rest)
{
	(void)rest;
	kill(getpid(), SIGKILL);
}

static void obey(char *text)
{
	static const struct {
		const char *name;
		void (*fn)(char *rest);
	} commands[] = {{"tenant ", do_tenant},	    {"launch ", do_launch}, {"limits ", do_limits},
			{"throttle ", do_throttle}, {"stop ", do_stop},	    {"forget ", do_forget},
			{"sync", do_sync},	    {"die", do_die}};

	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strncmp(text, commands[i].name, strlen(commands[i].name)) == 0) {
			commands[i].fn(text + strlen(commands[i].name));
			return;
		}
	printf("error unknown command\n");
}

static void on_all_stopped(void *arg)
{
	struct err e = {0};

	(void)arg;
	for (unsigned i = 0; i < SHELL_MAX; i++)
		if (seen[i])
			supervise_forget(supervise, i);
	if (supervise_teardown(supervise, &e) < 0)
		printf("error %s\n", e.text);
	else
		printf("gone\n");
	loop_stop(loop);
}

static void on_input(void *arg, short what)
{
	ssize_t n = read(STDIN_FILENO, line + line_used, sizeof line - 1 - line_used);
	char *end;

	(void)arg;
	(void)what;
	if (n <= 0) {
		loop_io_stop(&input);
		supervise_stop_all(supervise, 0, on_all_stopped, NULL);
		return;
	}
	line_used += (size_t)n;
	line[line_used] = 0;
	while ((end = strchr(line, '\n'))) {
		*end = 0;
		obey(line);
		line_used -= (size_t)(end + 1 - line);
		memmove(line, end + 1, line_used + 1);
	}
}

static void on_instance(void *arg, const struct msg_instance *m)
{
	static const char *const states[MSG_STATE_COUNT] = {"starting", "running", "stopping", "exited"};
	static const char *const exits[MSG_EXIT_COUNT] = {"none",    "code",   "signal", "oom", "deadline",
							  "stopped", "killed", "launch", "lost"};

	static const char *const ooms[MSG_OOM_COUNT] = {"none", "own", "tenant", "host"};

	(void)arg;
	if (m->instance < SHELL_MAX)
		seen[m->instance] = m->state + 1;
	printf("instance %" PRIu64 " %s exit=%s code=%d pid=%d memory_limit=%" PRIu64 " memory_peak=%" PRIu64
	       " oom=%s memory_total=%" PRIu64 " text=%s\n",
	       m->instance, states[m->state], exits[m->exit], m->exit_code, m->pid, m->memory_limit, m->memory_peak,
	       ooms[m->oom], m->memory_total, m->text);
}

static void on_usage(void *arg, const struct msg_usage *u, size_t n)
{
	(void)arg;
	for (; n > 0; n--, u++)
		printf("usage %" PRIu64 " memory=%" PRIu64 " memory_peak=%" PRIu64 " cpu_us=%" PRIu64
		       " throttled_us=%" PRIu64
		       " pids=%u oom_kills=%u pids_hits=%u memory_hits=%u throttled=%u periods=%u "
		       "io_read=%" PRIu64 " io_write=%" PRIu64 "\n",
		       u->instance, u->memory, u->memory_peak, u->cpu_us, u->throttled_us, u->pids, u->oom_kills,
		       u->pids_hits, u->memory_hits, u->throttled, u->periods, u->io_read, u->io_write);
}

static void on_tenant_usage(void *arg, const struct msg_tenant_usage *u, size_t n)
{
	(void)arg;
	for (; n > 0; n--, u++)
		printf("total %u memory=%" PRIu64 " memory_peak=%" PRIu64 " cpu_us=%" PRIu64 " throttled_us=%" PRIu64
		       " pids=%u oom_kills=%u pids_hits=%u memory_hits=%u io_read=%" PRIu64 " io_write=%" PRIu64 "\n",
		       u->slot, u->memory, u->memory_peak, u->cpu_us, u->throttled_us, u->pids, u->oom_kills,
		       u->pids_hits, u->memory_hits, u->io_read, u->io_write);
}

static void on_log_open(void *arg, const struct msg_log_open *m, int fd)
{
	(void)arg;
	(void)m;
	(void)fd;
}

static void on_removed(void *arg, const struct msg_remove *m)
{
	(void)arg;
	(void)m;
}

int main(int argc, char **argv)
{
	static const struct supervise_ops ops = {.on_instance = on_instance,
						 .on_usage = on_usage,
						 .on_tenant_usage = on_tenant_usage,
						 .on_log_open = on_log_open,
						 .on_removed = on_removed};
	struct settings s;
	struct err e = {0};
	char path[512];

	if (argc != 5) {
		fprintf(stderr, "usage: supervise_shell DIR PROGRAMS CGROUP PREFIX\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; i < SHELL_MAX; i++)
		limits[i] = quota_app_default;
	settings_default(&s);
	snprintf(s.data, sizeof s.data, "%s/data", argv[1]);
	snprintf(s.runtime, sizeof s.runtime, "%s/run", argv[1]);
	snprintf(s.cgroup, sizeof s.cgroup, "%s", argv[3]);
	snprintf(s.link_prefix, sizeof s.link_prefix, "%s", argv[4]);
	s.pool_net = 0x0a5e0000; /* 10.94.0.0/16, in a namespace of its own */
	s.pool_prefix = 16;
	s.disk_pool = 512ull << 20; /* the machine's disk is small */
	snprintf(path, sizeof path, "%s/releases/1/app", s.data);
	loop = loop_new();
	if (!loop || fd_mkdirs(path, 0755) < 0 || supervise_new(loop, &s, argv[2], &ops, &supervise, &e) < 0) {
		printf("error cannot start: %s\n", e.text);
		return 1;
	}
	printf("ready\n");
	if (loop_io_start(loop, &input, STDIN_FILENO, EV_READ, on_input, NULL) < 0)
		return 1;
	loop_run(loop);
	loop_free(loop);
	return 0;
}
