/* The two ends of a proxy bench.  Test program; one epoll thread.
 *
 * usage: ends answer PORT|unix:PATH BYTES   an app server: each request (without body, or with one of Content-Length)
 *                                           gets BYTES, /size/N gets N, and a WebSocket all that it sends
 *        ends relay PORT TO                 the floor for a proxy: copies bytes both ways, reads no HTTP, one
 *                                           connection out per connection in
 * `answer` listens on all addresses, `relay` on 127.0.0.1; PORT 0 is chosen by the kernel; prints the port. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ENDS_FDS 65536
#define ENDS_SIZES 8

struct reply {
	size_t body, len;
	char *text;
};

static int ep, twin[ENDS_FDS];
static struct {
	const struct reply *reply; /* NULL: nothing waits */
	size_t sent;
	uint64_t skip; /* body of the request still to come */
} state[ENDS_FDS];
static struct reply replies[ENDS_SIZES];
static char buf[65536];

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static const struct reply *reply_of(size_t body)
{
	struct reply *r = replies;

	while (r < replies + ENDS_SIZES - 1 && r->text && r->body != body)
		r++;
	if (r->text && r->body == body)
		return r;
	free(r->text);
	r->body = body;
	if (!(r->text = malloc(body + 128)))
		die("malloc");
	r->len = (size_t)sprintf(r->text, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
				 body);
	memset(r->text + r->len, 'x', body);
	r->len += body;
	return r;
}

static void interest(int fd, uint32_t events, int op)
{
	struct epoll_event e = {.events = events, .data.fd = fd};

	if (fd >= ENDS_FDS || epoll_ctl(ep, op, fd, &e) < 0)
		die("epoll_ctl");
}

static void watch(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	interest(fd, EPOLLIN, EPOLL_CTL_ADD);
	memset(&state[fd], 0, sizeof state[fd]);
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

/* What does not fit now goes out when there is room; nothing is read until then. */
static void answer(int fd, const struct reply *r)
{
	bool waited = state[fd].reply != NULL;

	while (state[fd].sent < r->len) {
		ssize_t w = send(fd, r->text + state[fd].sent, r->len - state[fd].sent, MSG_DONTWAIT);
		if (w < 0) {
			if (!waited)
				interest(fd, EPOLLOUT, EPOLL_CTL_MOD);
			state[fd].reply = r;
			return;
		}
		state[fd].sent += (size_t)w;
	}
	state[fd].reply = NULL;
	state[fd].sent = 0;
	if (waited)
		interest(fd, EPOLLIN, EPOLL_CTL_MOD);
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

static void gone(int fd)
{
	if (twin[fd] && twin[fd] != fd) {
		close(twin[fd]);
		twin[twin[fd]] = 0;
	}
	twin[fd] = 0;
	close(fd);
}

static void request(int fd, const struct reply *usual, const char *p, const char *end)
{
	static const char hello[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
				    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
	const char *length = memmem(p, (size_t)(end - p), "\r\nContent-Length: ", 18);

	if (!length)
		length = memmem(p, (size_t)(end - p), "\r\ncontent-length: ", 18);
	if (length)
		state[fd].skip = strtoull(length + 18, NULL, 10);
	if (memmem(p, (size_t)(end - p), "websocket", 9)) {
		twin[fd] = fd;
		push(fd, hello, sizeof hello - 1);
	} else if (strncmp(p, "GET /size/", 10) == 0) {
		answer(fd, reply_of(strtoul(p + 10, NULL, 10)));
	} else if (state[fd].skip == 0) {
		answer(fd, usual);
	}
}

static void serve(int fd, const struct reply *usual)
{
	ssize_t n = recv(fd, buf, sizeof buf - 1, MSG_DONTWAIT);
	char *p = buf, *end, *next;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		gone(fd);
		return;
	}
	if (twin[fd]) {
		push(twin[fd], buf, (size_t)n);
		return;
	}
	end = buf + n;
	*end = '\0';
	for (;;) {
		uint64_t k = state[fd].skip < (uint64_t)(end - p) ? state[fd].skip : (uint64_t)(end - p);
		p += k;
		state[fd].skip -= k;
		if (k > 0 && state[fd].skip == 0)
			answer(fd, usual);
		if (p == end || !(next = memmem(p, (size_t)(end - p), "\r\n\r\n", 4)))
			break;
		request(fd, usual, p, next + 2);
		p = next + 4;
	}
}

static int listen_at(const char *at, bool everywhere)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(everywhere ? INADDR_ANY : INADDR_LOOPBACK)};
	socklen_t len = sizeof in;
	int one = 1, fd;

	if (strncmp(at, "unix:", 5) == 0) {
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		snprintf(un.sun_path, sizeof un.sun_path, "%s", at + 5);
		if (bind(fd, (struct sockaddr *)&un, sizeof un) < 0 || listen(fd, 4096) < 0)
			die("listen");
		printf("0\n");
		return fd;
	}
	fd = socket(AF_INET, SOCK_STREAM, 0);
	in.sin_port = htons((in_port_t)atoi(at));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&in, sizeof in) < 0 || listen(fd, 4096) < 0)
		die("listen");
	getsockname(fd, (struct sockaddr *)&in, &len);
	printf("%d\n", ntohs(in.sin_port));
	return fd;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event ev[256];
	const struct reply *usual;
	int listener;
	bool relay;

	if (argc != 4)
		return 2;
	relay = strcmp(argv[1], "relay") == 0;
	to.sin_port = htons((in_port_t)atoi(argv[3]));
	signal(SIGPIPE, SIG_IGN);
	usual = reply_of(relay ? 0 : strtoul(argv[3], NULL, 10));
	listener = listen_at(argv[2], !relay);
	fflush(stdout);
	ep = epoll_create1(0);
	interest(listener, EPOLLIN, EPOLL_CTL_ADD);
	for (;;) {
		int n = epoll_wait(ep, ev, 256, -1);
		for (int i = 0; i < n; i++) {
			int fd = ev[i].data.fd;
			if (fd == listener)
				admit(listener, relay ? &to : NULL);
			else if (state[fd].reply)
				answer(fd, state[fd].reply);
			else
				serve(fd, usual);
		}
	}
}
