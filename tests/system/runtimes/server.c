/* What a C server does: with glibc and as a static program of musl's. */
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void *work(void *arg)
{
	*(int *)arg = 42;
	return NULL;
}

static int thread(void)
{
	pthread_t t;
	int got = 0;

	return pthread_create(&t, NULL, work, &got) == 0 && pthread_join(t, NULL) == 0 && got == 42;
}

static int child(void)
{
	int how = -1;
	pid_t pid = fork();

	if (pid == 0)
		execl("/bin/sh", "sh", "-c", "exit 7", (char *)NULL);
	return waitpid(pid, &how, 0) == pid && WIFEXITED(how) && WEXITSTATUS(how) == 7;
}

static int name(void)
{
	struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *a = NULL;

	return getaddrinfo("localhost", "80", &hints, &a) == 0 && a;
}

static int file(void)
{
	char path[] = "/tmp/t-XXXXXX";
	int fd = mkstemp(path);

	return fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0 && unlink(path) == 0;
}

static int shared(void)
{
	sem_t *s = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return s != MAP_FAILED && sem_init(s, 1, 0) == 0 && sem_post(s) == 0 && sem_wait(s) == 0;
}

static void bye(int sig)
{
	(void)sig;
	if (write(1, "bye\n", 4) == 4)
		_exit(0);
}

int main(void)
{
	static const struct {
		const char *name;
		int (*run)(void);
	} probes[] = {{"thread", thread}, {"child", child}, {"name", name}, {"file", file}, {"shared", shared}};
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((unsigned short)strtoul(getenv("PORT"), NULL, 10))};
	int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	signal(SIGTERM, bye);
	signal(SIGPIPE, SIG_IGN);
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(s, (struct sockaddr *)&a, sizeof a) < 0 || listen(s, 64) < 0)
		return 1;
	for (;;) {
		char in[2048] = "", body[512] = "hello from c\n", out[1024];
		size_t at = 0;
		int c = accept(s, NULL, NULL);
		if (c < 0)
			continue;
		if (read(c, in, sizeof in - 1) > 0 && strncmp(in, "GET /probe ", 11) == 0) {
			for (unsigned i = 0; i < sizeof probes / sizeof probes[0]; i++)
				at += (size_t)snprintf(body + at, sizeof body - at, "%s=%s\n", probes[i].name,
						       probes[i].run() ? "ok" : "failed");
		}
		int n = snprintf(out, sizeof out,
				 "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", strlen(body),
				 body);
		if (write(c, out, (size_t)n) < 0)
			perror("write");
		close(c);
	}
}
