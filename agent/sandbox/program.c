/* What is executed, and how it gets there.  Layer agent/sandbox, inside and program. */
#include "agent/sandbox/sandbox.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXTRA_BYTES 1024 /* for the variables added below */
#define EXTRA_COUNT 15

static int has_variable(char *const *envp, size_t n, const char *entry)
{
	size_t name = (size_t)(strchr(entry, '=') - entry) + 1;

	for (size_t i = 0; i < n; i++)
		if (strncmp(envp[i], entry, name) == 0)
			return 1;
	return 0;
}

int program_parse(char *blob, size_t n, size_t room, const struct launch *l, char ***argv, char ***envp)
{
	uint32_t count[2];

	if (n < sizeof count || n > LIMIT_BLOB)
		return -EINVAL;
	memcpy(count, blob, sizeof count);
	if (count[0] == 0 || count[0] > LIMIT_SANDBOX_ARGS || count[1] > LIMIT_SANDBOX_ARGS)
		return -EINVAL;
	size_t extra = (n + 15) & ~(size_t)15, pointers = extra + EXTRA_BYTES;
	if (pointers + (count[0] + count[1] + EXTRA_COUNT + 2) * sizeof(char *) > room)
		return -ENOSPC;

	char **a = (char **)(void *)(blob + pointers), **e = a + count[0] + 1, *p = blob + sizeof count,
	     *end = blob + n;
	for (uint32_t i = 0; i < count[0] + count[1]; i++) {
		char *stop = memchr(p, 0, (size_t)(end - p));
		if (!stop)
			return -EINVAL;
		if (i < count[0]) {
			a[i] = p;
		} else {
			const char *eq = strchr(p, '=');
			if (!eq || eq == p)
				return -EINVAL;
			e[i - count[0]] = p;
		}
		p = stop + 1;
	}
	if (p != end || (a[0][0] != '/' && strcmp(a[0], "@unpack") != 0))
		return -EINVAL;
	a[count[0]] = NULL;

	/* What every program may rely on, unless its owner said otherwise. */
	char memory[24], port[24], java[48], node[48], go[24];
	size_t at = 0;
	text_add_u64(memory, sizeof memory, &at, l->memory);
	at = 0;
	text_add_u64(port, sizeof port, &at, l->port);
	/* Runtimes that would size their heap by the host's memory, of which a sandbox shows no less; measured in
	 * README.md: without these a collector runs too late, and the kernel ends an app that would have fitted. */
	at = 0;
	text_add(java, sizeof java, &at, "-XX:MaxRAM=");
	text_add_u64(java, sizeof java, &at, l->memory);
	at = 0;
	text_add(node, sizeof node, &at, "--max-old-space-size=");
	text_add_u64(node, sizeof node, &at, l->memory / 4 * 3 >> 20);
	at = 0;
	text_add_u64(go, sizeof go, &at, l->memory / 10 * 9);
	const char *const defaults[][2] = {
		{"PATH=", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"},
		{"HOME=", "/app"},
		{"USER=", "app"},
		{"LANG=", "C.UTF-8"},
		{"TMPDIR=", "/tmp"},
		{"HOSTNAME=", l->hostname},
		{"TULOU_NODE=", l->node},
		{"TULOU_MEMORY=", l->memory ? memory : NULL},
		{"JAVA_TOOL_OPTIONS=", l->memory ? java : NULL},
		{"NODE_OPTIONS=", l->memory >> 21 ? node : NULL}, /* not 0, which would mean no limit */
		{"GOMEMLIMIT=", l->memory ? go : NULL},
		{"PORT=", l->port ? port : NULL},
	};
	uint32_t have = count[1];
	at = 0;
	for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
		if (!defaults[i][1] || has_variable(e, count[1], defaults[i][0]))
			continue;
		e[have++] = blob + extra + at;
		text_add(blob + extra, EXTRA_BYTES, &at, defaults[i][0]);
		text_add(blob + extra, EXTRA_BYTES, &at, defaults[i][1]);
		at++;
	}
	e[have] = NULL;
	*argv = a;
	*envp = e;
	return 0;
}

/* Reads a whole memfd into a fresh mapping with `more` bytes behind it.  Not mapped as it is: control could still
 * change or cut what it gave. */
static int read_whole(int fd, size_t max, size_t more, char **ret, size_t *size, size_t *room)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (uint64_t)st.st_size > max)
		return -EINVAL;
	size_t n = (size_t)st.st_size;
	*room = n + more;
	char *p = mmap(NULL, *room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	for (size_t at = 0; at < n;) {
		ssize_t got = pread(fd, p + at, n - at, (off_t)at);
		if (got <= 0) {
			int e = got < 0 ? -errno : -EIO;
			munmap(p, *room);
			return e;
		}
		at += (size_t)got;
	}
	*ret = p;
	*size = n;
	return 0;
}

int program_read(struct sandbox *s)
{
	size_t n = 0, more = EXTRA_BYTES + 16 + (2 * LIMIT_SANDBOX_ARGS + EXTRA_COUNT + 2) * sizeof(char *);
	int r = read_whole(LAUNCH_FD_BLOB, LIMIT_BLOB, more, &s->blob, &n, &s->blob_size);

	if (r < 0)
		return r;
	return program_parse(s->blob, n, s->blob_size, &s->spec, &s->argv, &s->envp);
}

int program_filter(struct sandbox *s)
{
	size_t room;
	int r = read_whole(LAUNCH_FD_SECCOMP, LIMIT_SANDBOX_FILTER, 1, &s->filter, &s->filter_size, &room);

	if (r == 0 && s->filter_size % sizeof(struct sock_filter) != 0)
		return -EINVAL;
	return r;
}

/* vfork(2): the program's steps run in our memory while we are suspended until its exec or exit.  No page is copied,
 * and no pipe is needed to learn how it went. */
static __attribute__((noinline)) pid_t launch(struct sandbox *s)
{
	pid_t pid = vfork();

	if (pid == 0) {
		s->error = sandbox_run(s, SANDBOX_PROGRAM);
		_exit(126);
	}
	return pid;
}

int program_start(struct sandbox *s)
{
	s->error = 0;
	s->pid = launch(s);
	if (s->pid < 0)
		return -errno;
	return s->error;
}

int program_session(struct sandbox *s)
{
	/* The front door is another user, and who connects needs to write (unix(7)). */
	umask(s->spec.socket ? 0 : 022);
	return setsid() < 0 ? -errno : 0;
}

int program_limits(struct sandbox *s)
{
	struct {
		int what;
		rlim_t most;
	} limits[] = {
		{RLIMIT_NOFILE, s->spec.nofile},
		{RLIMIT_CORE, 0},
		{RLIMIT_RTPRIO, 0},
		{RLIMIT_NICE, 0},
		{RLIMIT_MEMLOCK, 8u << 20},
		{RLIMIT_SIGPENDING, 4096},
		{RLIMIT_MSGQUEUE, 819200},
		{RLIMIT_STACK, 8u << 20},
	};

	/* Never upwards: that would need CAP_SYS_RESOURCE on the host, which not every host gives. */
	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
		struct rlimit now;
		if (getrlimit(limits[i].what, &now) < 0)
			return -errno;
		struct rlimit set = {.rlim_cur = limits[i].most, .rlim_max = limits[i].most};
		if (limits[i].what == RLIMIT_STACK)
			set.rlim_max = now.rlim_max; /* threads' stacks follow the soft one */
		if (set.rlim_max > now.rlim_max)
			set.rlim_max = now.rlim_max;
		if (set.rlim_cur > set.rlim_max)
			set.rlim_cur = set.rlim_max;
		if (setrlimit(limits[i].what, &set) < 0)
			return -errno;
	}
	return 0;
}

int program_stdio(struct sandbox *s)
{
	int count = (int)s->spec.stdio_count, first = (int)(LAUNCH_FD_CGROUP + s->spec.cgroup_count);

	/* 0, 1 and 2 are /dev/null so far.  Targets 3..7 take the places of SPEC..SECCOMP, which were read. */
	for (int i = 0; i < count; i++)
		if (dup2(first + i, i) < 0)
			return -errno;
	if (count == 0 && s->spec.kind == MSG_KIND_APP)
		if (dup2(LAUNCH_FD_OUT, 1) < 0 || dup2(LAUNCH_FD_OUT, 2) < 0)
			return -errno;
	if (sys_close_range(count > 3 ? (unsigned)count : 3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC, Linux 5.11 */) < 0)
		return -errno;
	/* Where release and build lie; a stack for git or unpacking has nothing there. */
	if (chdir("/app") < 0 && chdir("/") < 0)
		return -errno;
	return 0;
}

int program_seccomp(struct sandbox *s)
{
	struct sock_fprog p = {
		.len = (unsigned short)(s->filter_size / sizeof(struct sock_filter)),
		.filter = (struct sock_filter *)(void *)s->filter,
	};

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p) < 0 ? -errno : 0;
}

int program_exec(struct sandbox *s)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (s->argv[0][0] == '@')
		syscall(SYS_execveat, LAUNCH_FD_UNPACK, "", s->argv, s->envp, AT_EMPTY_PATH);
	else
		execve(s->argv[0], s->argv, s->envp);
	s->what = s->argv[0];
	return -errno;
}
