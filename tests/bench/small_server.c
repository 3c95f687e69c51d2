/* The "small server" of the bench: one epoll thread, static, answers every GET with a few bytes.  $PORT. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nsmall\n";
	const char *port = getenv("PORT");
	int one = 1, l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), ep = epoll_create1(0);
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((unsigned short)strtol(port ? port : "8080", NULL, 10))};
	struct epoll_event e = {.events = EPOLLIN, .data.fd = l}, ev[64];

	signal(SIGPIPE, SIG_IGN);
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(l, (struct sockaddr *)&a, sizeof a) < 0 || listen(l, 512) < 0) {
		perror("listen");
		return 1;
	}
	epoll_ctl(ep, EPOLL_CTL_ADD, l, &e);
	for (;;) {
		int n = epoll_wait(ep, ev, 64, -1);
		for (int i = 0; i < n; i++) {
			static char buf[16384];
			int fd = ev[i].data.fd;
			if (fd == l) {
				int s = accept4(l, NULL, NULL, SOCK_NONBLOCK);
				if (s < 0)
					continue;
				setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
				e = (struct epoll_event){.events = EPOLLIN, .data.fd = s};
				epoll_ctl(ep, EPOLL_CTL_ADD, s, &e);
				continue;
			}
			ssize_t r = read(fd, buf, sizeof buf);
			if (r <= 0) {
				if (r < 0 && errno == EAGAIN)
					continue;
				close(fd);
				continue;
			}
			for (char *p = buf; (p = memmem(p, (size_t)(buf + r - p), "\r\n\r\n", 4)); p += 4)
				if (write(fd, answer, sizeof answer - 1) < 0)
					break;
		}
	}
}
