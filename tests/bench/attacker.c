/* A greedy app, static.  It serves HTTP on $PORT; GET /attack/NAME begins what NAME says, in children that begin again
 * when they are killed.  It ignores SIGTERM, as a hostile app would.  Any path answers "ok". */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1u << 20)

static char block[MIB];

static void forks(void)
{
	for (;;)
		if (fork() < 0)
			usleep(1000); /* at the limit: again and again */
}

static void memory(void)
{
	for (;;) {
		char *p = mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			usleep(1000);
		else
			memset(p, 1, 16 * MIB);
	}
}

/* Fills dir until it is full, empties it, begins again. */
static void fill(const char *dir, size_t size)
{
	char path[128];

	for (;;) {
		unsigned n = 0;

		for (; n < 1000000; n++) {
			snprintf(path, sizeof path, "%s/f%u", dir, n);
			int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
			if (fd < 0)
				break;
			ssize_t w = size ? write(fd, block, size) : 0;
			close(fd);
			if (w < (ssize_t)size)
				break;
		}
		sync();
		for (unsigned i = 0; i <= n; i++) {
			snprintf(path, sizeof path, "%s/f%u", dir, i);
			unlink(path);
		}
	}
}

static void logs(void)
{
	memset(block, 'x', sizeof block);
	for (size_t i = 199; i < sizeof block; i += 200)
		block[i] = '\n';
	for (;;)
		if (write(1, block, 65536) < 0)
			usleep(1000);
}

static void descriptors(void)
{
	for (int i = 0; i < 20 && fork() != 0; i++)
		;
	for (;;) {
		int pair[2];

		if (open("/dev/null", O_RDONLY) < 0 && errno == EMFILE)
			usleep(10000);
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0)
			write(pair[0], block, 65536);
	}
}

static void spin(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN) * 2;

	for (long i = 1; i < n && fork() != 0; i++)
		;
	for (volatile unsigned long x = 0;; x++)
		;
}

/* To itself over its own address, and to a test address beyond the node (RFC 5737). */
static void flood(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)}, own;
	socklen_t len = sizeof own;
	int fd = socket(AF_INET, SOCK_DGRAM, 0), out = socket(AF_INET, SOCK_DGRAM, 0);

	fork();
	inet_pton(AF_INET, "192.0.2.1", &to.sin_addr);
	connect(out, (struct sockaddr *)&to, sizeof to);
	getsockname(out, (struct sockaddr *)&own, &len);
	own.sin_port = htons(9);
	for (;;) {
		send(out, block, 1400, MSG_DONTWAIT);
		sendto(fd, block, 60000, MSG_DONTWAIT, (struct sockaddr *)&own, sizeof own);
		int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (s >= 0) {
			connect(s, (struct sockaddr *)&to, sizeof to);
			close(s);
		}
	}
}

static void attack(const char *name)
{
	if (strcmp(name, "fork") == 0)
		forks();
	if (strcmp(name, "memory") == 0)
		memory();
	if (strcmp(name, "tmpfs") == 0)
		fill("/dev/shm", MIB);
	if (strcmp(name, "disk") == 0)
		fill("/tmp", MIB);
	if (strcmp(name, "inodes") == 0)
		fill("/tmp", 0);
	if (strcmp(name, "logs") == 0)
		logs();
	if (strcmp(name, "descriptors") == 0)
		descriptors();
	if (strcmp(name, "spin") == 0)
		spin();
	if (strcmp(name, "network") == 0)
		flood();
	_exit(0);
}

static void begin(const char *name)
{
	if (fork() != 0)
		return;
	for (;;) { /* a kill only begins it anew */
		pid_t pid = fork();

		if (pid == 0)
			attack(name);
		if (pid < 0 || waitpid(pid, NULL, 0) < 0)
			usleep(10000);
	}
}

int main(void)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
	const char *port = getenv("PORT");
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((unsigned short)strtol(port ? port : "8080", NULL, 10))};
	int one = 1, l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), begun = 0;

	signal(SIGTERM, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(l, (struct sockaddr *)&a, sizeof a) < 0 || listen(l, 64) < 0)
		return 1;
	for (;;) {
		char buf[2048], name[32];
		int s = accept(l, NULL, NULL);
		ssize_t n = s < 0 ? -1 : read(s, buf, sizeof buf - 1);

		if (n > 0) {
			buf[n] = 0;
			if (!begun && sscanf(buf, "GET /attack/%31[a-z] ", name) == 1) {
				begun = 1;
				begin(name);
			}
			if (write(s, answer, sizeof answer - 1) < 0)
				n = 0;
		}
		if (s >= 0)
			close(s);
	}
}
