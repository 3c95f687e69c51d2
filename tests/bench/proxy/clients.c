/* Clients of a proxy bench that wrk does not play.  Test program; prints one line of JSON.
 *
 * usage: clients handshakes PORT SECONDS THREADS HOST full|resumed   connect, TLS handshake, one request, close
 *        clients websocket PORT SECONDS CONNECTIONS HOST BYTES       each connection sends, waits for the echo, sends
 *        clients upload PORT SECONDS CONNECTIONS HOST BYTES          POSTs with a body of that size, kept connections
 *        clients steady PORT SECONDS CONNECTIONS HOST PATH           GETs on kept connections; each answer is checked;
 *                                                                    SIGTERM ends it early
 *        clients idle PORT COUNT HOST plain|tls    opens COUNT connections with one request each, prints the line, and
 *                                                  holds them until its standard input ends
 * Always to 127.0.0.1. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int port;
static const char *host, *extra = "";
static size_t bytes;
static SSL_CTX *ctx;
static bool resume;
static volatile double until;
static unsigned pause_us; /* between two requests of a connection: PAUSE_US of the environment */
static atomic_ulong requests, resumed, failed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char first[256];
#define LATENCIES (1u << 22)
static float *latency; /* ms, of `steady` */
static atomic_ulong latency_count;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void bad(const char *what, const char *detail)
{
	atomic_fetch_add(&failed, 1);
	pthread_mutex_lock(&lock);
	if (!first[0])
		snprintf(first, sizeof first, "%s %.100s (%s)", what, detail, strerror(errno));
	pthread_mutex_unlock(&lock);
}

static int dial(void)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons((in_port_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	struct timeval t = {.tv_sec = 30};

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool push(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
		if (w <= 0)
			return false;
		p += w;
		n -= (size_t)w;
	}
	return true;
}

/* Reads one answer with a Content-Length; its status, or -1.  *close: it was the connection's last. */
static int answer(int fd, char *buf, size_t size, bool *close_it)
{
	size_t have = 0;
	char *end = NULL, *p;
	long length;

	while (!end) {
		ssize_t n = recv(fd, buf + have, size - 1 - have, 0);
		if (n <= 0)
			return n == 0 && have == 0 ? 0 : -1;
		have += (size_t)n;
		buf[have] = '\0';
		end = strstr(buf, "\r\n\r\n");
	}
	*end = '\0';
	p = strcasestr(buf, "\r\nContent-Length: ");
	length = p ? strtol(p + 18, NULL, 10) : 0;
	*close_it = strcasestr(buf, "\r\nConnection: close") != NULL;
	length -= (long)(have - (size_t)(end + 4 - buf));
	while (length > 0) {
		char sink[65536];
		ssize_t n = recv(fd, sink, (size_t)length < sizeof sink ? (size_t)length : sizeof sink, 0);
		if (n <= 0)
			return -1;
		length -= n;
	}
	return length < 0 || strncmp(buf, "HTTP/1.1 ", 9) != 0 ? -1 : (int)strtol(buf + 9, NULL, 10);
}

static void one_handshake(SSL_SESSION **kept)
{
	char text[512];
	int fd = dial(), n,
	    len = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host);
	SSL *s;

	if (fd < 0) {
		bad("connect", "");
		return;
	}
	s = SSL_new(ctx);
	SSL_set_fd(s, fd);
	SSL_set_tlsext_host_name(s, host);
	if (*kept)
		SSL_set_session(s, *kept);
	if (SSL_connect(s) != 1 || SSL_write(s, text, len) != len || (n = SSL_read(s, text, sizeof text)) < 12 ||
	    memcmp(text + 9, "200", 3) != 0) {
		bad("handshake", "");
	} else {
		while (SSL_read(s, text, sizeof text) > 0)
			;
		atomic_fetch_add(&requests, 1);
		atomic_fetch_add(&resumed, SSL_session_reused(s) ? 1u : 0u);
		if (resume) {
			SSL_SESSION_free(*kept);
			*kept = SSL_get1_session(s);
		}
	}
	SSL_set_quiet_shutdown(s, 1);
	SSL_shutdown(s); /* else the session would not be resumable */
	SSL_free(s);
	close(fd);
}

static void *handshakes(void *arg)
{
	SSL_SESSION *kept = NULL;

	while (now() < until)
		one_handshake(&kept);
	SSL_SESSION_free(kept);
	return arg;
}

static void *websocket(void *arg)
{
	char text[512], *block = calloc(1, bytes), *in = malloc(bytes);
	int fd = dial(), len;
	size_t have = 0;

	len = snprintf(text, sizeof text,
		       "GET /chat HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: "
		       "websocket\r\nSec-WebSocket-Version: 13\r\n"
		       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		       host);
	if (fd < 0 || !push(fd, text, (size_t)len)) {
		bad("websocket", "");
		return arg;
	}
	for (text[0] = 0; !strstr(text, "\r\n\r\n");) {
		ssize_t n = recv(fd, text + have, sizeof text - 1 - have, 0);
		if (n <= 0)
			break;
		have += (size_t)n;
		text[have] = '\0';
	}
	if (strncmp(text, "HTTP/1.1 101", 12) != 0) {
		bad("websocket", text);
		return arg;
	}
	while (now() < until) {
		if (!push(fd, block, bytes)) {
			bad("websocket", "send");
			break;
		}
		for (have = 0; have < bytes;) {
			ssize_t n = recv(fd, in, bytes - have, 0);
			if (n <= 0) {
				bad("websocket", "cut");
				close(fd);
				return arg;
			}
			have += (size_t)n;
		}
		atomic_fetch_add(&requests, 1);
	}
	close(fd);
	free(block);
	free(in);
	return arg;
}

/* A request after another; one that a closed connection refused before a byte of the answer came is not repeated: it
 * counts as failed. */
static void *steady(void *arg)
{
	char text[1024], *buf = malloc(65536), *body = bytes ? calloc(1, bytes) : NULL;
	int fd = -1, len, status;
	bool last = true;

	len = bytes ? snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %zu\r\n\r\n", host,
			       bytes)
		    : snprintf(text, sizeof text,
			       "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: steady\r\nAccept: */*\r\n\r\n", extra, host);
	while (now() < until) {
		double t = now();
		unsigned long at;
		if (fd < 0 && (fd = dial()) < 0) {
			bad("connect", "");
			usleep(1000);
			continue;
		}
		if (!push(fd, text, (size_t)len) || (bytes && !push(fd, body, bytes)))
			status = -2;
		else
			status = answer(fd, buf, 65536, &last);
		if (status == 200) {
			atomic_fetch_add(&requests, 1);
			at = atomic_fetch_add(&latency_count, 1);
			if (at < LATENCIES)
				latency[at] = (float)((now() - t) * 1000);
		} else {
			bad("request", status == -2  ? "send"
				       : status == 0 ? "closed without an answer"
				       : status < 0  ? "cut"
						     : buf);
		}
		if (status != 200 || last) {
			close(fd);
			fd = -1;
		}
		if (pause_us)
			usleep(pause_us);
	}
	if (fd >= 0)
		close(fd);
	free(buf);
	free(body);
	return arg;
}

static void idle(unsigned count, bool tls)
{
	char text[512], *buf = malloc(65536);
	int len = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host);

	for (unsigned i = 0; i < count; i++) {
		int fd = dial();
		bool last, ok;
		if (fd < 0) {
			bad("connect", "");
			break;
		}
		if (tls) {
			SSL *s = SSL_new(ctx);
			SSL_set_fd(s, fd);
			SSL_set_tlsext_host_name(s, host);
			ok = SSL_connect(s) == 1 && SSL_write(s, text, len) == len && SSL_read(s, buf, 65536) > 12 &&
			     memcmp(buf + 9, "200", 3) == 0;
			SSL_set_quiet_shutdown(s, 1);
			SSL_free(s); /* the descriptor stays */
		} else {
			ok = push(fd, text, (size_t)len) && answer(fd, buf, 65536, &last) == 200;
		}
		if (ok)
			atomic_fetch_add(&requests, 1);
		else
			bad("request", "");
	}
	free(buf);
}

static int order(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static void report(void)
{
	unsigned long n = atomic_load(&latency_count);
	double p50 = 0, p99 = 0;

	if (n > LATENCIES)
		n = LATENCIES;
	if (n > 0) {
		qsort(latency, n, sizeof *latency, order);
		p50 = (double)latency[n / 2];
		p99 = (double)latency[n * 99 / 100];
	}
	for (char *p = first; *p; p++)
		if (*p == '"' || *p == '\\' || *p < ' ')
			*p = '.';
	printf("{\"requests\": %lu, \"resumed\": %lu, \"failed\": %lu, \"first\": \"%s\", \"p50\": %.3f, \"p99\": "
	       "%.3f}\n",
	       (unsigned long)requests, (unsigned long)resumed, (unsigned long)failed, first, p50, p99);
	fflush(stdout);
}

static void on_term(int signo)
{
	(void)signo;
	until = 0;
}

int main(int argc, char **argv)
{
	void *(*run)(void *) = NULL;
	unsigned threads;
	pthread_t *t;
	pthread_attr_t small;

	if (argc < 6)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, on_term);
	pause_us = getenv("PAUSE_US") ? (unsigned)atoi(getenv("PAUSE_US")) : 0;
	port = atoi(argv[2]);
	ctx = SSL_CTX_new(TLS_client_method());
	if (strcmp(argv[1], "idle") == 0) {
		host = argv[4];
		idle((unsigned)atoi(argv[3]), strcmp(argv[5], "tls") == 0);
		report();
		while (getchar() != EOF)
			;
		return 0;
	}
	until = now() + atof(argv[3]);
	threads = (unsigned)atoi(argv[4]);
	host = argv[5];
	extra = argc > 6 ? argv[6] : "/";
	if (strcmp(argv[1], "handshakes") == 0)
		run = handshakes;
	else if (strcmp(argv[1], "websocket") == 0)
		run = websocket;
	else if (strcmp(argv[1], "steady") == 0 || strcmp(argv[1], "upload") == 0)
		run = steady;
	if (!run || threads > 4096)
		return 2;
	resume = strcmp(extra, "resumed") == 0;
	if (run == websocket || strcmp(argv[1], "upload") == 0)
		bytes = strtoul(extra, NULL, 10);
	latency = calloc(LATENCIES, sizeof *latency);
	t = calloc(threads, sizeof *t);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 262144);
	for (unsigned i = 0; i < threads; i++)
		pthread_create(&t[i], &small, run, NULL);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	report();
	return 0;
}
