/* Open-loop load: each host gets a request at fixed times, whatever became of the ones before, and a request's latency
 * counts from the time at which it was due.  So a stall is seen in full.  One thread, real-time priority when it may.
 *
 *   load PORT RATE SECONDS HOST...     RATE requests a second for each HOST, to 127.0.0.1:PORT
 *
 * Prints one line of JSON; latencies in ms. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNS 4096 /* requests in flight at most: what is beyond counts as failed */
#define GIVE_UP_US 10000000

struct conn {
	int fd, host, next_idle; /* fd -1 = closed */
	int64_t due_us;		 /* 0 = idle */
	unsigned got;
	char buf[1024]; /* head of the answer */
};

static struct conn conns[CONNS];
static int idle[256]; /* first idle connection of each host, -1 = none */
static unsigned used;
static float *latency;
static size_t count, failed, cap;
static int ep, port;

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void end(struct conn *c, int ok)
{
	if (ok && count < cap)
		latency[count++] = (float)(now_us() - c->due_us) / 1000;
	else
		failed++;
	c->due_us = 0;
	c->got = 0;
	if (!ok) {
		close(c->fd);
		c->fd = -1;
	}
	c->next_idle = idle[c->host];
	idle[c->host] = (int)(c - conns);
}

static int dial(struct conn *c)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
	int one = 1;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a) < 0)
		return -1;
	setsockopt(c->fd, SOL_TCP, TCP_NODELAY, &one, sizeof one);
	return epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
}

static void ask(int host, const char *name, int64_t due_us)
{
	char text[300];
	int n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", name);
	struct conn *c;

	if (idle[host] >= 0) {
		c = &conns[idle[host]];
		idle[host] = c->next_idle;
	} else if (used < CONNS) {
		c = &conns[used++];
		c->fd = -1;
		c->host = host;
	} else {
		failed++;
		return;
	}
	c->due_us = due_us;
	if ((c->fd < 0 && dial(c) < 0) || send(c->fd, text, (size_t)n, MSG_NOSIGNAL) != n)
		end(c, 0);
}

/* The answers are small and have a Content-Length. */
static void take(struct conn *c)
{
	ssize_t r = recv(c->fd, c->buf + c->got, sizeof c->buf - 1 - c->got, MSG_DONTWAIT);
	char *body, *length;

	if (r < 0 && errno == EAGAIN)
		return;
	if (r <= 0 || !c->due_us) {
		if (c->due_us) {
			end(c, 0);
		} else {
			close(c->fd);
			c->fd = -1;
		}
		return;
	}
	c->got += (unsigned)r;
	c->buf[c->got] = 0;
	body = strstr(c->buf, "\r\n\r\n");
	length = strcasestr(c->buf, "\r\ncontent-length:");
	if (!body || !length || length > body) {
		if (c->got == sizeof c->buf - 1 || body)
			end(c, 0);
		return;
	}
	if (body + 4 + strtoul(length + 17, NULL, 10) <= c->buf + c->got)
		end(c, strncmp(c->buf, "HTTP/1.1 200", 12) == 0);
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static double part(double p)
{
	return count ? (double)latency[(size_t)((double)(count - 1) * p)] : 0;
}

int main(int argc, char **argv)
{
	struct sched_param sp = {.sched_priority = 10};
	struct epoll_event ev[64];
	int64_t start, end_us, late = 0;
	double rate, seconds, gap;
	int hosts = argc - 4;
	uint64_t n = 0;

	if (hosts < 1 || hosts > 256)
		return fprintf(stderr, "usage: load PORT RATE SECONDS HOST...\n"), 2;
	port = atoi(argv[1]);
	rate = atof(argv[2]);
	seconds = atof(argv[3]);
	gap = 1e6 / rate / hosts;
	cap = (size_t)(rate * seconds * hosts) + 16;
	latency = calloc(cap, sizeof *latency);
	ep = epoll_create1(0);
	if (!latency || ep < 0 || rate <= 0 || seconds <= 0)
		return fprintf(stderr, "load: bad numbers\n"), 2;
	for (int i = 0; i < 256; i++)
		idle[i] = -1;
	/* The load is the outside world: it does not wait for what it measures. */
	sched_setscheduler(0, SCHED_FIFO, &sp);
	mlockall(MCL_CURRENT);
	prctl(PR_SET_TIMERSLACK, 1);
	start = now_us() + 1000;
	end_us = start + (int64_t)(seconds * 1e6);
	for (;;) {
		int64_t now = now_us(), due = start + (int64_t)((double)n * gap);
		struct timespec wait = {0, 0};
		int got;

		while (due <= now && due < end_us) {
			if (now - due > late)
				late = now - due;
			ask((int)(n % (unsigned)hosts), argv[4 + n % (unsigned)hosts], due);
			due = start + (int64_t)((double)++n * gap);
			now = now_us();
		}
		if (due >= end_us) {
			unsigned busy = 0;

			for (unsigned i = 0; i < used; i++)
				busy += conns[i].due_us != 0;
			if (!busy || now > end_us + GIVE_UP_US) {
				failed += busy;
				break;
			}
			due = now + 10000;
		}
		if (due > now)
			wait = (struct timespec){(due - now) / 1000000, (due - now) % 1000000 * 1000};
		got = epoll_pwait2(ep, ev, 64, &wait, NULL);
		for (int i = 0; i < got; i++)
			take(ev[i].data.ptr);
	}
	qsort(latency, count, sizeof *latency, by_value);
	printf("{\"sent\":%llu,\"ok\":%zu,\"failed\":%zu,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"max\":%.3f,\"late_"
	       "ms\":%."
	       "3f}\n",
	       (unsigned long long)n, count, failed, part(.5), part(.9), part(.99), part(1), (double)late / 1000);
	return 0;
}
