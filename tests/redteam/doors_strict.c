/* What an ordinary app may do and one of the strict profile may not: each door opens in the default profile, and
 * outside. tests/redteam. */
#include "tests/redteam/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A copy of this program, which was written here: does it run?  With --list it says its doors and ends. */
static long run_copy(int fd, const char *path)
{
	pid_t pid = fork();
	int how = 0;

	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);
		dup2(null, 1);
		char name[] = "probe", flag[] = "--list", *argv[] = {name, flag, NULL}, *envp[] = {NULL};
		if (path)
			execve(path, argv, envp);
		else
			syscall(SYS_execveat, fd, "", argv, envp, AT_EMPTY_PATH);
		_exit(errno ? errno : 255);
	}
	if (pid < 0 || waitpid(pid, &how, 0) != pid)
		return -1;
	errno = WIFEXITED(how) ? WEXITSTATUS(how) : EINTR;
	return WIFEXITED(how) && WEXITSTATUS(how) == 0 ? 0 : -1;
}

static long copy_self(int to)
{
	char block[1 << 16];
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	while ((n = read(from, block, sizeof block)) > 0)
		if (write(to, block, (size_t)n) != n)
			return -1;
	close(from);
	return n < 0 ? -1 : 0;
}

static enum verdict exec_in(const struct door *d)
{
	char path[64];

	snprintf(path, sizeof path, "%s/redteam-XXXXXX", d->text);
	int fd = mkstemp(path);
	if (fd < 0)
		return door_result(fd, "create");
	long r = copy_self(fd);
	fchmod(fd, 0700);
	close(fd);
	if (r == 0)
		r = run_copy(-1, path);
	int e = errno;
	unlink(path);
	errno = e;
	return door_result(r, "exec");
}

static enum verdict exec_memfd(const struct door *d)
{
	char path[64];
	long fd = syscall(SYS_memfd_create, "redteam", 0);

	if (fd < 0 || copy_self((int)fd) < 0)
		return door_result(-1, "memfd");
	snprintf(path, sizeof path, "/proc/self/fd/%ld", fd);
	/* a descriptor that is open for writing cannot be executed */
	int again = open(path, O_RDONLY);
	close((int)fd);
	snprintf(path, sizeof path, "/proc/self/fd/%d", again);
	return door_result(again < 0 ? -1 : run_copy(again, d->args[0] ? NULL : path), "exec");
}

static enum verdict map_executable(const struct door *d)
{
	char path[64];

	snprintf(path, sizeof path, "%s/redteam-XXXXXX", d->text);
	int fd = mkstemp(path);
	if (fd < 0 || ftruncate(fd, 4096) < 0)
		return door_result(-1, "create");
	unlink(path);
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	return door_result(p == MAP_FAILED ? -1 : 0, "mmap");
}

static enum verdict create(const struct door *d)
{
	char path[64];
	struct stat st;

	if (stat(d->text, &st) < 0)
		return DOOR_IRRELEVANT;
	snprintf(path, sizeof path, "%s/redteam-XXXXXX", d->text);
	int fd = mkstemp(path);
	if (fd >= 0)
		unlink(path);
	return door_result(fd, "create");
}

static enum verdict segments(const struct door *d)
{
	int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);

	(void)d;
	if (id >= 0)
		shmctl(id, IPC_RMID, NULL);
	return door_result(id, "shmget");
}

static enum verdict semaphores(const struct door *d)
{
	int id = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);

	(void)d;
	if (id >= 0)
		semctl(id, 0, IPC_RMID);
	return door_result(id, "semget");
}

static enum verdict messages(const struct door *d)
{
	int id = msgget(IPC_PRIVATE, IPC_CREAT | 0600);

	(void)d;
	if (id >= 0)
		msgctl(id, IPC_RMID, NULL);
	return door_result(id, "msgget");
}

static enum verdict queue(const struct door *d)
{
	mqd_t q = mq_open("/redteam-strict", O_CREAT | O_RDWR, 0600, NULL);

	(void)d;
	if (q != (mqd_t)-1)
		mq_unlink("/redteam-strict");
	return door_result((long)q, "mq_open");
}

/* Pages of a shared layer moved into a pipe, not copied. */
static enum verdict move_pages(const struct door *d)
{
	int p[2], fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	(void)d;
	return pipe(p) < 0 ? DOOR_BROKEN : door_result(splice(fd, NULL, p[1], NULL, 4096, 0), "splice");
}

/* Which pages of a shared file are in memory: what other instances have touched. */
static enum verdict residence(const struct door *d)
{
	unsigned char in[1];
	int fd = open("/bin/sh", O_RDONLY | O_CLOEXEC);
	void *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);

	(void)d;
	return p == MAP_FAILED ? DOOR_BROKEN : door_result(mincore(p, 4096, in), "mincore");
}

static enum verdict cache_state(const struct door *d)
{
	struct {
		unsigned long offset, size;
	} range = {0, 4096};
	unsigned long out[5];
	int fd = open("/bin/sh", O_RDONLY | O_CLOEXEC);

	(void)d;
	long r = syscall(451, fd, &range, out, 0);
	/* Since 6.17 only of files that one may write: no such door then. */
	return r < 0 && errno == EPERM && !door_outside() ? DOOR_CLOSED : door_result(r, "cachestat");
}

static enum verdict ahead(const struct door *d)
{
	int fd = open("/bin/sh", O_RDONLY | O_CLOEXEC);

	(void)d;
	return door_result(readahead(fd, 0, 4096), "readahead");
}

static enum verdict lock_all(const struct door *d)
{
	(void)d;
	return door_result(mlockall(MCL_CURRENT), "mlockall");
}

static enum verdict batch(const struct door *d)
{
	struct sched_param p = {0};

	(void)d;
	return door_result(syscall(SYS_sched_setscheduler, 0, SCHED_BATCH, &p), "scheduler");
}

static enum verdict io_idle(const struct door *d)
{
	(void)d;
	return door_result(syscall(SYS_ioprio_set, 1, 0, 3 << 13), "ioprio");
}

static enum verdict routes(const struct door *d)
{
	(void)d;
	return door_result(syscall(SYS_socket, 16, 3, 0), "NETLINK_ROUTE");
}

static enum verdict reads(const struct door *d)
{
	char byte;
	int fd = open(d->text, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return door_result(fd, d->text);
	return door_result(read(fd, &byte, 1) == 1 ? 0 : -1, d->text);
}

static enum verdict init_shows(const struct door *d)
{
	struct stat st;

	(void)d;
	return door_result(stat("/proc/1", &st), "/proc/1");
}

#define STRICT(what, which, function, ...)                                                                             \
	{                                                                                                              \
		.name = "strict." what, .rule = which, .try = function, __VA_ARGS__                                    \
	}

const struct door doors_strict[] = {
	STRICT("exec_tmp", RULE_CALLS, exec_in, .text = "/tmp"),
	STRICT("exec_var_tmp", RULE_CALLS, exec_in, .text = "/var/tmp"),
	STRICT("exec_app", RULE_CALLS, exec_in, .text = "/app", .inside_only = "there is no /app"),
	STRICT("exec_memfd", RULE_CALLS, exec_memfd, ),
	STRICT("exec_descriptor", RULE_CALLS, exec_memfd, .args = {1}),
	STRICT("map_executable", RULE_CALLS, map_executable, .text = "/tmp"),
	STRICT("write_app", RULE_PATHS, create, .text = "/app", .inside_only = "there is no /app"),
	STRICT("ipc_segments", RULE_CALLS, segments, ),
	STRICT("ipc_semaphores", RULE_CALLS, semaphores, ),
	STRICT("ipc_messages", RULE_CALLS, messages, ),
	STRICT("ipc_queue", RULE_CALLS, queue, ),
	STRICT("splice", RULE_LAYERS, move_pages, ),
	STRICT("mincore", RULE_LAYERS, residence, ),
	STRICT("cachestat", RULE_LAYERS, cache_state, ),
	STRICT("readahead", RULE_LAYERS, ahead, ),
	STRICT("lock_all", RULE_RESOURCES, lock_all, ),
	STRICT("scheduler", RULE_RESOURCES, batch, ),
	STRICT("io_priority", RULE_RESOURCES, io_idle, ),
	STRICT("netlink_route", RULE_NETWORK, routes, ),
	STRICT("proc_stat", RULE_PROC, reads, .text = "/proc/stat"),
	STRICT("proc_meminfo", RULE_PROC, reads, .text = "/proc/meminfo"),
	STRICT("proc_loadavg", RULE_PROC, reads, .text = "/proc/loadavg"),
	STRICT("proc_cpuinfo", RULE_PROC, reads, .text = "/proc/cpuinfo"),
	STRICT("proc_boot_id", RULE_PROC, reads, .text = "/proc/sys/kernel/random/boot_id"),
	STRICT("proc_init", RULE_PROC, init_shows, ),
	{0},
};
