/* The two ends of a proxy bench.  Test program; one epoll thread.
 *
 * usage: ends answer PORT BYTES   an app server that sends the same answer for each request (requests without body
 * only) ends relay PORT TO       the floor for a proxy: copies bytes both ways, reads no HTTP, one connection out per
 *                                 connection in
 * Listens on 127.0.0.1; PORT 0 is chosen by the kernel; prints the port. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ENDS_FDS 65536

static int ep, twin[ENDS_FDS];
static char buf[65536], *reply;
static size_t reply_len;

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static void watch(int fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (fd >= ENDS_FDS || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0)
		die("epoll_ctl");
}

static void push(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t w = send(fd, p, n, 0);
		if (w < 0)
			return;
		p += w;
		n -= (size_t)w;
	}
}

static void admit(int listener, const struct sockaddr_in *to)
{
	int in = accept(listener, NULL, NULL), out;

	if (in < 0)
		return;
	if (to) {
		out = socket(AF_INET, SOCK_STREAM, 0);
		if (out < 0 || connect(out, (const struct sockaddr *)to, sizeof *to) < 0) {
			close(in);
			return;
		}
		twin[in] = out;
		twin[out] = in;
		watch(out);
	}
	watch(in);
}

static void serve(int fd)
{
	ssize_t n = recv(fd, buf, sizeof buf, MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		if (twin[fd]) {
			close(twin[fd]);
			twin[twin[fd]] = 0;
		}
		twin[fd] = 0;
		close(fd);
		return;
	}
	if (twin[fd]) {
		push(twin[fd], buf, (size_t)n);
		return;
	}
	for (char *p = buf; (p = memmem(p, (size_t)(buf + n - p), "\r\n\r\n", 4)); p += 4)
		push(fd, reply, reply_len);
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, to = at;
	struct epoll_event ev[256];
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, relay, bytes;
	socklen_t len = sizeof at;

	if (argc != 4)
		return 2;
	relay = strcmp(argv[1], "relay") == 0;
	bytes = atoi(argv[3]);
	to.sin_port = htons((in_port_t)bytes);
	at.sin_port = htons((in_port_t)atoi(argv[2]));
	signal(SIGPIPE, SIG_IGN);
	reply = malloc((size_t)bytes + 128);
	reply_len = (size_t)sprintf(reply, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n",
				    bytes);
	memset(reply + reply_len, 'x', (size_t)bytes);
	reply_len += (size_t)bytes;
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 4096) < 0)
		die("listen");
	getsockname(listener, (struct sockaddr *)&at, &len);
	ep = epoll_create1(0);
	watch(listener);
	printf("%d\n", ntohs(at.sin_port));
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(ep, ev, 256, -1);
		for (int i = 0; i < n; i++)
			if (ev[i].data.fd == listener)
				admit(listener, relay ? &to : NULL);
			else
				serve(ev[i].data.fd);
	}
}
