/* A tenant that takes all it can of the kernel's per-user limits.  tests/redteam. */
#include "tests/redteam/hog.h"

#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <unistd.h>

const char *hog_take(void)
{
	static char line[256];
	struct rlimit files;
	int instances = 0, watches = 0, queues = 0, signals = 0, locked = 0, pipes = 0;
	sigset_t block;
	char name[64];

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	int first = -1, fd;
	while (instances < 3000 && (fd = inotify_init1(IN_CLOEXEC)) >= 0) {
		if (first < 0)
			first = fd;
		instances++;
	}
	for (int i = 0; first >= 0 && i < 2000; i++) {
		snprintf(name, sizeof name, "/tmp/hog-%d", i);
		int f = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		if (f >= 0)
			close(f);
		if (inotify_add_watch(first, name, IN_MODIFY) < 0)
			break;
		watches++;
	}
	for (int i = 0; i < 64; i++) {
		struct mq_attr a = {.mq_maxmsg = 10, .mq_msgsize = 8192};
		snprintf(name, sizeof name, "/hog-%d", i);
		if (mq_open(name, O_CREAT | O_RDWR, 0600, &a) == (mqd_t)-1)
			break;
		queues++;
	}
	sigemptyset(&block);
	sigaddset(&block, SIGRTMIN + 3);
	sigprocmask(SIG_BLOCK, &block, NULL);
	while (signals < 200000 && sigqueue(getpid(), SIGRTMIN + 3, (union sigval){0}) == 0)
		signals++;
	for (int i = 0; i < 4096; i++) {
		int id = shmget(IPC_PRIVATE, 1 << 20, IPC_CREAT | 0600);
		if (id < 0)
			break;
		if (shmctl(id, SHM_LOCK, NULL) < 0) {
			shmctl(id, IPC_RMID, NULL);
			break;
		}
		locked++;
	}
	int p[2];
	while (pipes < 200 && pipe2(p, O_CLOEXEC) == 0 && fcntl(p[1], F_SETPIPE_SZ, 1 << 20) > 0)
		pipes++;
	snprintf(line, sizeof line, "instances=%d watches=%d queues=%d signals=%d locked=%d pipes=%d\n", instances,
		 watches, queues, signals, locked, pipes);
	return line;
}
