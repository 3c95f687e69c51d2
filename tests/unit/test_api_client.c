#include "tests/unit/test_api_client.h"

#include "base/fd.h"
#include "tests/unit/test_api_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

int fix_connect(struct fix *f)
{
	int fd = socket(f->port ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval tv = {.tv_sec = 10};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	if (f->port) {
		struct sockaddr_in in = {.sin_family = AF_INET,
					 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
					 .sin_port = htons((uint16_t)f->port)};
		cr_assert_eq(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
	} else {
		struct sockaddr_un un = {.sun_family = AF_UNIX};
		snprintf(un.sun_path, sizeof un.sun_path, "%s", f->sock);
		cr_assert_eq(connect(fd, (struct sockaddr *)&un, sizeof un), 0, "%s", strerror(errno));
	}
	return fd;
}

static size_t unchunk(char *p, size_t n)
{
	char *from = p, *to = p, *end = p + n;

	while (from < end) {
		size_t len = strtoul(from, &from, 16);
		from += 2;
		if (len == 0 || from + len > end)
			break;
		memmove(to, from, len);
		to += len;
		from += len + 2;
	}
	*to = 0;
	return (size_t)(to - p);
}

static struct reply read_reply(int fd)
{
	struct reply r = {0};
	size_t cap = 65536, n = 0;
	char *split;
	ssize_t got;

	r.text = malloc(cap);
	while ((got = read(fd, r.text + n, cap - n - 1)) > 0 || (got < 0 && errno == EINTR)) {
		if (got < 0)
			continue;
		n += (size_t)got;
		if (n + 4096 > cap)
			r.text = realloc(r.text, cap *= 2);
	}
	if (got < 0)
		fprintf(stderr, "read: %s\n", strerror(errno));
	r.text[n] = 0;
	if (sscanf(r.text, "HTTP/1.1 %d", &r.status) != 1)
		r.status = 0;
	split = strstr(r.text, "\r\n\r\n");
	if (!split)
		return r;
	r.body = split + 4;
	r.len = n - (size_t)(r.body - r.text);
	split[2] = 0;
	if (strcasestr(r.text, "transfer-encoding: chunked"))
		r.len = unchunk(r.body, r.len);
	return r;
}

struct reply fix_request(struct fix *f, const char *method, const char *path, const char *token, const char *headers,
			 const char *body)
{
	int fd = fix_connect(f);
	char *head = NULL;
	struct reply r;
	int n;

	n = asprintf(&head, "%s %s HTTP/1.1\r\nHost: tulou.localhost\r\nConnection: close\r\n%s%s%s%s", method, path,
		     token ? "Authorization: Bearer " : "", token ? token : "", token ? "\r\n" : "",
		     headers ? headers : "");
	cr_assert_eq(fd_write_all(fd, head, (size_t)n), 0);
	free(head);
	if (body) {
		n = asprintf(&head, "Content-Length: %zu\r\n%s\r\n", strlen(body),
			     headers && strcasestr(headers, "content-type:") ? ""
									     : "Content-Type: application/json\r\n");
		fd_write_all(fd, head, (size_t)n);
		free(head);
		fd_write_all(fd, body, strlen(body));
	} else
		fd_write_all(fd, "\r\n", 2);
	r = read_reply(fd);
	close(fd);
	return r;
}

void reply_done(struct reply *r)
{
	free(r->text);
	*r = (struct reply){0};
}

int fix_status(struct fix *f, const char *method, const char *path, const char *token, const char *body)
{
	struct reply r = fix_request(f, method, path, token, NULL, body);
	int status = r.status;

	reply_done(&r);
	return status;
}

const char *reply_header(const struct reply *r, const char *name)
{
	static char value[1024];
	char line[64];
	const char *p;

	snprintf(line, sizeof line, "\r\n%s: ", name);
	p = strcasestr(r->text, line);
	if (!p)
		return "";
	p += strlen(line);
	snprintf(value, sizeof value, "%.*s", (int)strcspn(p, "\r"), p);
	return value;
}

bool fix_read_until(int fd, const char *needle, char *out, size_t cap)
{
	struct timespec now;
	size_t n = 0;
	time_t end;

	clock_gettime(CLOCK_MONOTONIC, &now);
	end = now.tv_sec + 5;
	out[0] = 0;
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t got;
		if (strstr(out, needle))
			return true;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec >= end || n + 1 >= cap)
			return false;
		if (poll(&p, 1, 200) <= 0)
			continue;
		got = read(fd, out + n, cap - n - 1);
		if (got <= 0)
			return strstr(out, needle) != NULL;
		n += (size_t)got;
		out[n] = 0;
	}
}
