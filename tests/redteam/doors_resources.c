/* Bounds of what an instance may take.  tests/redteam.
 *
 * Facts, the limits of the app: PIDS, DISK (bytes), INODES, SHM (bytes).  A door is open when clearly more was had. */
#include "tests/redteam/probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILLS "it would fill the host's own"

static long limit(const char *fact)
{
	const char *v = door_fact(fact);

	return v ? strtol(v, NULL, 10) : 0;
}

static enum verdict more_than(const char *what, long got, long most)
{
	door_say("%s: %ld of %ld, then %s", what, got, most, strerror(errno));
	return most <= 0 ? DOOR_BROKEN : got > most ? DOOR_OPEN : DOOR_CLOSED;
}

static enum verdict processes(const struct door *d)
{
	long most = limit("PIDS"), n = 0;

	while (n <= most) {
		pid_t pid = d->args[0] ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
		if (pid < 0)
			break;
		if (pid == 0) {
			pause();
			_exit(0);
		}
		n++;
	}
	enum verdict v = more_than("processes", n, most);
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM); /* the group is this door's own */
	while (waitpid(-1, NULL, 0) > 0)
		;
	return v;
}

/* Bytes into one file: by writing, or all at once. */
static enum verdict bytes(const struct door *d)
{
	static char block[1 << 16];
	long most = limit(strcmp(d->text, "/dev/shm") == 0 ? "SHM" : "DISK"), n = 0, stop = most + (8 << 20);
	char path[64];

	snprintf(path, sizeof path, "%s/redteam-fill", d->text);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return door_result(fd, path);
	errno = 0;
	if (d->args[0]) {
		if (fallocate(fd, 0, 0, stop) == 0)
			n = stop;
	} else {
		ssize_t w;
		memset(block, 'x', sizeof block);
		while (n < stop && (w = write(fd, block, sizeof block)) > 0)
			n += w;
	}
	enum verdict v = more_than(path, n, most);
	unlink(path);
	return v;
}

/* On a btrfs pool files are counted from outside, about once a second: what counts is that somebody puts an end to it
 * (agent/supervise/README.md, "Disk").  tmpfs and project quotas refuse the very next one. */
#define INODES_SLACK 16

static enum verdict inodes(const struct door *d)
{
	bool counted = strcmp(d->text, "/dev/shm") != 0;
	long most = limit("INODES") * (counted ? INODES_SLACK : 1), n = 0;
	char path[96];

	snprintf(path, sizeof path, "%s/redteam-many", d->text);
	mkdir(path, 0700);
	for (; n <= most; n++) {
		snprintf(path, sizeof path, "%s/redteam-many/%ld", d->text, n);
		int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
		if (fd < 0)
			break;
		close(fd);
	}
	enum verdict v = more_than("inodes", n, most);
	for (long i = 0; i < n; i++) {
		snprintf(path, sizeof path, "%s/redteam-many/%ld", d->text, i);
		unlink(path);
	}
	snprintf(path, sizeof path, "%s/redteam-many", d->text);
	rmdir(path);
	return v;
}

/* The kernel counts pseudo terminals for the whole host (kernel.pty.max, 4,096). */
static enum verdict terminals(const struct door *d)
{
	long n = 0;
	struct rlimit l = {4096, 4096};

	setrlimit(RLIMIT_NOFILE, &l);
	while (n <= d->args[0] && open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC) >= 0)
		n++;
	return more_than("terminals", n, d->args[0]);
}

static enum verdict queue_bytes(const struct door *d)
{
	long n = 0;
	char name[32];

	for (; n <= d->args[0]; n++) {
		struct mq_attr a = {.mq_maxmsg = 10, .mq_msgsize = 8192};
		snprintf(name, sizeof name, "/redteam-%ld", n);
		if (mq_open(name, O_CREAT | O_RDWR, 0600, &a) == (mqd_t)-1)
			break;
	}
	enum verdict v = more_than("POSIX queues", n, d->args[0]);
	for (long i = 0; i < n; i++) {
		snprintf(name, sizeof name, "/redteam-%ld", i);
		mq_unlink(name);
	}
	return v;
}

/* Asked for, not touched: memory is charged when used. */
static enum verdict huge_pages(const struct door *d)
{
	void *p =
		mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | 0x40000 /* HUGETLB */, -1, 0);

	(void)d;
	return door_result(p == MAP_FAILED ? -1 : 0, "huge page");
}

static enum verdict file_seals(const struct door *d)
{
	long fd = syscall(SYS_memfd_create, "redteam", 4 /* HUGETLB */);

	(void)d;
	return door_result(fd < 0 ? -1 : fallocate((int)fd, 0, 0, 2 << 20), "huge memfd");
}

static enum verdict locked_segments(const struct door *d)
{
	int id = shmget(IPC_PRIVATE, (size_t)d->args[0], IPC_CREAT | 0600);

	if (id < 0)
		return door_result(id, "shmget");
	long r = shmctl(id, SHM_LOCK, NULL);
	int e = errno;
	shmctl(id, IPC_RMID, NULL);
	errno = e;
	return door_result(r, "SHM_LOCK");
}

static enum verdict pipe_size(const struct door *d)
{
	int p[2];

	if (pipe(p) < 0)
		return DOOR_BROKEN;
	return door_result(fcntl(p[1], F_SETPIPE_SZ, d->args[0]), "pipe");
}

/* A daemon by the book: its host's side is checked after the instance has been stopped. */
static enum verdict daemonise(const struct door *d)
{
	(void)d;
	pid_t pid = fork();
	if (pid == 0) {
		setsid();
		if (fork() == 0) {
			setsid();
			signal(SIGTERM, SIG_IGN);
			signal(SIGHUP, SIG_IGN);
			for (;;)
				pause();
		}
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	door_say("left one behind that ignores SIGTERM");
	return DOOR_CLOSED;
}

#define RES(what, function, ...)                                                                                       \
	{                                                                                                              \
		.name = "resources." what, .rule = RULE_RESOURCES, .try = function, __VA_ARGS__                        \
	}

const struct door doors_resources[] = {
	RES("processes", processes, .inside_only = "a fork bomb"),
	RES("processes_by_clone", processes, .args = {1}, .inside_only = "a fork bomb"),
	RES("bytes_tmp", bytes, .text = "/tmp", .inside_only = FILLS),
	RES("bytes_app", bytes, .text = "/app", .inside_only = FILLS),
	RES("bytes_var_tmp", bytes, .text = "/var/tmp", .inside_only = FILLS),
	RES("bytes_shm", bytes, .text = "/dev/shm", .inside_only = FILLS),
	RES("allocate_tmp", bytes, .text = "/tmp", .args = {1}, .inside_only = FILLS),
	RES("allocate_app", bytes, .text = "/app", .args = {1}, .inside_only = FILLS),
	RES("allocate_shm", bytes, .text = "/dev/shm", .args = {1}, .inside_only = FILLS),
	RES("inodes_tmp", inodes, .text = "/tmp", .inside_only = FILLS),
	RES("inodes_app", inodes, .text = "/app", .inside_only = FILLS),
	RES("inodes_shm", inodes, .text = "/dev/shm", .inside_only = FILLS),
	RES("terminals", terminals, .args = {256}),
	RES("queues", queue_bytes, .args = {32}),
	RES("huge_pages", huge_pages, ),
	RES("huge_file", file_seals, ),
	RES("locked_segment", locked_segments, .args = {64 << 20}),
	RES("pipe_size", pipe_size, .args = {4 << 20}),
	{.name = "death.daemon", .rule = RULE_DEATH, .try = daemonise, .inside_only = "judged from the host's side"},
	{0},
};
