/* The access log: one line of JSON per request, into a pipe that several workers may share.  Layer web, proxy process.
 *
 * Lines are collected and written in pieces of at most PIPE_BUF bytes that end at a line's end, so pieces of different
 * workers never mix (pipe(7)).  When the pipe stays full, lines are dropped and counted; a request never waits. */
#include "web/proxy/internal.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ACCESS_BUF 65536
#define ACCESS_PATH 1024 /* bytes of the path that are logged */
#define ACCESS_LINE 3072 /* longest line: a path of quotes doubles to 2048; host, id and the rest take below 800 */
_Static_assert(ACCESS_LINE <= PIPE_BUF, "a line must fit one atomic write");

int access_init(struct proxy *p, int fd)
{
	p->log_fd = fd;
	if (fd < 0)
		return 0;
	if (!(p->log_buf = malloc(ACCESS_BUF)))
		return -ENOMEM;
	return fd_nonblock(fd);
}

void access_done(struct proxy *p)
{
	access_flush(p);
	if (p->log_fd >= 0)
		close(p->log_fd);
	p->log_fd = -1;
	free(p->log_buf);
	p->log_buf = NULL;
}

void access_flush(struct proxy *p)
{
	size_t at = 0;

	if (p->log_len == 0)
		return;
	while (at < p->log_len) {
		size_t n = p->log_len - at;
		if (n > PIPE_BUF) {
			const char *end = memrchr(p->log_buf + at, '\n', PIPE_BUF);
			n = (size_t)(end + 1 - (p->log_buf + at));
		}
		ssize_t w = write(p->log_fd, p->log_buf + at, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			break;
		at += (size_t)w;
	}
	memmove(p->log_buf, p->log_buf + at, p->log_len - at);
	p->log_len -= at;
}

static char *put_text(char *o, const char *s, size_t n)
{
	memcpy(o, s, n);
	return o + n;
}

#define PUT(o, lit) put_text(o, lit, sizeof(lit) - 1)

static char *put_number(char *o, uint64_t v)
{
	char rev[20];
	size_t k = 0;

	do
		rev[k++] = (char)('0' + v % 10);
	while (v /= 10);
	while (k)
		*o++ = rev[--k];
	return o;
}

/* Tokens, hosts and targets hold visible ASCII only (web/http refuses the rest): two bytes need care. */
static char *put_escaped(char *o, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '"' || s[i] == '\\')
			*o++ = '\\';
		*o++ = s[i];
	}
	return o;
}

void access_line(struct client *c, int64_t end_us)
{
	struct proxy *p = c->proxy;
	const char *name = c->app ? c->app->name : "", *query;
	int64_t wall_ms = (end_us + p->wall_off_us) / 1000;
	size_t path = c->target.n;
	char *o;

	if (p->log_fd < 0)
		return;
	if (p->log_len + ACCESS_LINE > ACCESS_BUF)
		access_flush(p);
	if (p->log_len + ACCESS_LINE > ACCESS_BUF) {
		p->log_dropped++;
		return;
	}
	/* Queries carry what apps should not, but do, put there: passwords, tokens. */
	if ((query = memchr(c->target.p, '?', path)))
		path = (size_t)(query - c->target.p);
	o = p->log_buf + p->log_len;
	if (wall_ms / 1000 != p->log_second) {
		p->log_second = wall_ms / 1000;
		clock_rfc3339(p->log_second * 1000, p->log_time);
	}
	if (c->app && c->app->access && ++c->app->access_turn >= c->app->access) {
		/* The logger copies it into the app's own log, without this member. */
		c->app->access_turn = 0;
		o = PUT(o, "{\"to\":");
		o = put_number(o, c->app->id);
		o = PUT(o, ",\"time\":\"");
	} else {
		o = PUT(o, "{\"time\":\"");
	}
	o = put_text(o, p->log_time, 20);
	*o++ = (char)('0' + wall_ms % 1000 / 100);
	*o++ = (char)('0' + wall_ms % 100 / 10);
	*o++ = (char)('0' + wall_ms % 10);
	o = PUT(o, "Z\",\"app\":\"");
	o = put_text(o, name, strlen(name));
	o = PUT(o, "\",\"instance\":\"");
	if (c->inst_id)
		o = put_number(o, c->inst_id);
	o = PUT(o, "\",\"method\":\"");
	o = put_escaped(o, c->method_name.p, c->method_name.n);
	o = PUT(o, "\",\"host\":\"");
	o = put_escaped(o, c->host.p, c->host.n);
	o = PUT(o, "\",\"path\":\"");
	o = put_escaped(o, c->target.p, path < ACCESS_PATH ? path : ACCESS_PATH);
	o = PUT(o, "\",\"status\":");
	o = put_number(o, c->status);
	o = PUT(o, ",\"bytes\":");
	o = put_number(o, c->res.bytes);
	o = PUT(o, ",\"duration_us\":");
	o = put_number(o, (uint64_t)(end_us - c->start_us));
	o = PUT(o, ",\"upstream_us\":");
	o = put_number(o, c->sent_us && c->first_us ? (uint64_t)(c->first_us - c->sent_us) : 0);
	o = PUT(o, ",\"client\":\"");
	o = put_text(o, c->addr, strlen(c->addr));
	o = PUT(o, "\",\"request_id\":\"");
	o = put_text(o, c->id, c->id_len);
	o = PUT(o, "\",\"trace_id\":\"");
	if (c->trace[0])
		o = put_text(o, c->trace, sizeof c->trace);
	o = PUT(o, "\"}\n");
	p->log_len = (size_t)(o - p->log_buf);
	proxy_tick_start(p);
}
