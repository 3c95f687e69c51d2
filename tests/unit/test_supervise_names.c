/* Names that one node of a host has alone: refused to a second process, kept over an execution in place, free again
 * after a kill.  The cgroup is a plain directory here. */
#include "agent/supervise/names.h"
#include "base/fd.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOKED 512 /* room for the names that look() is told */

struct world {
	char root[64], mountinfo[512];
	struct settings settings;
};

static void world_init(struct world *w)
{
	snprintf(w->root, sizeof w->root, "/tmp/tulou-test-XXXXXX");
	cr_assert(mkdtemp(w->root));
	snprintf(w->mountinfo, sizeof w->mountinfo, "30 29 0:21 / %s rw - cgroup cgroup rw,memory,cpu,cpuacct,pids\n",
		 w->root);
	settings_default(&w->settings);
	snprintf(w->settings.data, sizeof w->settings.data, "%s/data", w->root);
	snprintf(w->settings.runtime, sizeof w->settings.runtime, "%s/run", w->root);
	/* Sockets count in the whole network namespace, where other tests and nodes are: names of this process alone.
	 */
	snprintf(w->settings.cgroup, sizeof w->settings.cgroup, "t-%d", getpid());
	for (unsigned i = 0, n = (unsigned)getpid(); i < 4; i++, n /= 26)
		w->settings.link_prefix[i] = (char)('a' + n % 26);
	w->settings.pool_net = 0xf0000000u | ((uint32_t)getpid() << 6 & 0x0fffff00u);
	w->settings.pool_prefix = 24;
}

static void world_done(struct world *w)
{
	cr_assert_eq(fd_remove_tree(AT_FDCWD, w->root), 0);
}

/* All of s's names are the other's own but for what is the same as w's. */
static struct settings another(const struct world *w)
{
	struct settings s = w->settings;

	snprintf(s.data, sizeof s.data, "%s/data2", w->root);
	snprintf(s.runtime, sizeof s.runtime, "%s/run2", w->root);
	snprintf(s.cgroup, sizeof s.cgroup, "u-%d", getpid());
	s.link_prefix[0] ^= 1;
	s.pool_net ^= 0x00100000u;
	return s;
}

/* In another process: what a node with s is told; the error's field, "" when it gets all. */
static void refused(const struct world *w, const struct settings *s, char field[64], char text[384])
{
	int pipes[2], status;
	pid_t pid;

	cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		struct names n;
		struct err e = {0};
		int r = names_take(&n, s, w->mountinfo, &e);
		if (write(pipes[1], &e, sizeof e) != sizeof e)
			_exit(9);
		_exit(r == 0 ? 0 : r == -EBUSY ? 1 : 2);
	}
	struct err e = {0};
	cr_assert_eq(read(pipes[0], &e, sizeof e), (ssize_t)sizeof e);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) < 2, "status %x: %s", status, e.text);
	cr_assert_eq(WEXITSTATUS(status), e.code == EBUSY ? 1 : 0);
	snprintf(field, 64, "%s", e.field);
	snprintf(text, 384, "%s", e.text);
	close(pipes[0]);
	close(pipes[1]);
}

static void refused_with(const struct world *w, const struct settings *s, const char *want)
{
	char field[64], text[384], pid[24];

	refused(w, s, field, text);
	cr_expect_str_eq(field, want, "%s: %s", want, text);
	snprintf(pid, sizeof pid, "pid %d", getpid());
	cr_expect(!*want || strstr(text, pid), "%s does not name %s", text, pid);
}

static void look(void *arg, const char *field, const char *value, pid_t pid)
{
	char *out = arg;

	cr_expect(*value);
	cr_expect_eq(pid, getppid());
	snprintf(out + strlen(out), LOOKED - strlen(out), "%s ", field);
}

Test(supervise_names, each_is_had_once)
{
	struct world w;
	struct names n;
	struct settings s;
	struct err e = {0};

	world_init(&w);
	cr_assert_eq(names_take(&n, &w.settings, w.mountinfo, &e), 0, "%s", e.text);
	refused_with(&w, &w.settings, "node.runtime");
	s = another(&w);
	refused_with(&w, &s, "");
	memcpy(s.data, w.settings.data, sizeof s.data);
	refused_with(&w, &s, "node.data");
	s = another(&w);
	memcpy(s.cgroup, w.settings.cgroup, sizeof s.cgroup);
	refused_with(&w, &s, "node.cgroup");
	s.cgroup[1] = '.'; /* another group, but the same table */
	refused_with(&w, &s, "node.cgroup");
	s = another(&w);
	s.pool_net = w.settings.pool_net;
	refused_with(&w, &s, "network.pool");
	s.pool_prefix = 28; /* inside ours */
	s.pool_net |= 0x40;
	refused_with(&w, &s, "network.pool");
	s.pool_prefix = 20; /* around ours */
	s.pool_net = w.settings.pool_net & 0xfffff000u;
	refused_with(&w, &s, "network.pool");
	s = another(&w);
	memcpy(s.link_prefix, w.settings.link_prefix, sizeof s.link_prefix);
	refused_with(&w, &s, "network.link_prefix");
	s.link_prefix[3] = 0; /* would sweep ours as its own */
	refused_with(&w, &s, "network.link_prefix");
	names_release(&n);
	refused_with(&w, &w.settings, "");
	world_done(&w);
}

/* What is only asked for is neither made nor taken; our own is no news. */
Test(supervise_names, looking_takes_nothing)
{
	struct world w;
	struct names n;
	struct err e = {0};
	char told[LOOKED] = "", path[128];
	int status;
	pid_t pid;

	world_init(&w);
	cr_assert_eq(names_look(&w.settings, w.mountinfo, look, told), 0);
	snprintf(path, sizeof path, "%s/%s", w.root, w.settings.cgroup);
	cr_assert(access(path, F_OK) < 0 && access(w.settings.data, F_OK) < 0, "looking made something");
	cr_assert_eq(names_take(&n, &w.settings, w.mountinfo, &e), 0, "%s", e.text);
	cr_assert_eq(names_look(&w.settings, w.mountinfo, look, told), 0);
	pid = fork();
	if (pid == 0) {
		names_release(&n); /* what a fork inherits is not had */
		names_look(&w.settings, w.mountinfo, look, told);
		_exit(strcmp(told,
			     "node.runtime node.data network.pool network.link_prefix node.cgroup node.cgroup ") != 0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
	names_release(&n);
	world_done(&w);
}

Test(supervise_names, kept_over_an_execution)
{
	struct world w;
	struct names n, after;
	struct settings s;
	struct err e = {0};

	world_init(&w);
	cr_assert_eq(names_take(&n, &w.settings, w.mountinfo, &e), 0, "%s", e.text);
	names_carry(&n);
	cr_assert_eq(fcntl(n.fds[0], F_GETFD), 0);
	s = w.settings;
	s.link_prefix[0] ^= 1; /* one is given up, one is new */
	cr_assert_eq(names_take(&after, &s, w.mountinfo, &e), 0, "%s", e.text);
	cr_expect(!getenv("TULOU_NAMES"));
	cr_assert_eq(after.count, n.count);
	for (unsigned i = 0; i < n.count; i++)
		cr_expect_eq(after.fds[i] == n.fds[i], i != 3, "name %u", i);
	cr_expect_eq(fcntl(after.fds[0], F_GETFD), FD_CLOEXEC);
	refused_with(&w, &w.settings, "node.runtime");
	names_release(&after);
	world_done(&w);
}

Test(supervise_names, free_after_a_kill)
{
	struct world w;
	struct names n;
	struct err e = {0};
	int pipes[2], status;
	char c;
	pid_t pid;

	world_init(&w);
	cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		if (names_take(&n, &w.settings, w.mountinfo, &e) < 0 || write(pipes[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	cr_assert_eq(read(pipes[0], &c, 1), 1);
	kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(names_take(&n, &w.settings, w.mountinfo, &e), 0, "%s", e.text);
	names_release(&n);
	world_done(&w);
}
