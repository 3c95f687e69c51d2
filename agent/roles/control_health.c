/* Health checks.  Layer agent, control process.
 *
 *   web, starting    connect, by TCP or to its unix socket, or GET health_path (2xx, 3xx);
 *                    after 50 ms, then ever later up to 500 ms, until it succeeds;
 *                    $PORT on loopback alone for 5 s: its time is over
 *   web, running     connect every 10 s, and with health.interval the GET that often;
 *                    3 failures in a row (health.failures), a second apart: unhealthy;
 *                    then each second (the GET: every 5 s) until it answers again
 *   other types      healthy after having run for 2 s
 *
 *   of apps with `protocol: h2c`: SETTINGS of HTTP/2 instead of the bare connection, and the GET over it
 *
 *   WAITING --timer--> CONNECTING --connected, no path--> good
 *      ^                    |  \--connected--> SENDING --written--> READING --status line--> good / bad
 *      +---- result --------+--------------------+---------------------+ */
#include "agent/roles/control_core.h"
#include "agent/roles/control_health_h2.h"

#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define HEALTH_FIRST_MS 10
#define HEALTH_PAUSE_MS 50
#define HEALTH_PAUSE_MAX_MS 500
#define HEALTH_STEADY_MS 10000
#define HEALTH_SICK_MS 1000
#define HEALTH_SICK_GET_MS 5000 /* ... when it is asked for its path */
#define HEALTH_CONNECT_MS 2000
#define HEALTH_ANSWER_MS 5000
#define HEALTH_OTHER_MS 2000
#define HEALTH_LOOK_MS 1000	  /* between looks at what a start listens on */
#define HEALTH_LOOK_AFTER_MS 2000 /* most listen by then */
#define HEALTH_LOOK_ALL_MS 200	  /* between those of all starts: each walks the kernel's whole table of sockets */

enum health_state { HEALTH_WAITING, HEALTH_CONNECTING, HEALTH_SENDING, HEALTH_READING, HEALTH_STATE_COUNT };

struct control_health {
	struct control_instance *ci; /* borrowed; NULL once stopped */
	enum health_state state;
	int fd; /* owned; -1 while waiting */
	struct loop_io io;
	struct loop_timer timer; /* next check, or deadline of this one */
	unsigned pause_ms, failures;
	uint32_t spread;      /* of the times between checks: hundreds of apps are not asked in one moment */
	int64_t ask_ms;	      /* monotonic: from then on a running one is asked for its path again */
	bool listens;	      /* the last check was let in */
	int64_t local_ms;     /* monotonic: since when it listens on $PORT on loopback alone; 0 = it does not */
	int64_t looked_ms;    /* ... last looked for */
	char why[120];	      /* last failure */
	struct health_h2 *h2; /* owned; while one is under way */
	char answer[16];      /* "HTTP/1.1 200" */
	size_t got;
};

static void health_check(void *arg);
static void health_on_io(void *arg, short what);

static struct loop *health_loop(const struct control_health *h)
{
	return h->ci->app->control->loop;
}

static void health_wait(struct control_health *h, unsigned ms)
{
	loop_io_stop(&h->io);
	own_close(&h->fd);
	health_h2_free(TAKE_PTR(h->h2));
	h->state = HEALTH_WAITING;
	loop_timer_start(health_loop(h), &h->timer, (int64_t)ms * 1000, health_check, h);
}

/* Is the running instance asked for its path? */
static bool health_asks(const struct control_health *h)
{
	return h->ci->health_path && h->ci->health_every_ms;
}

/* ... with the check that begins now?  In between only its port is looked at. */
static bool health_asks_now(const struct control_health *h)
{
	return health_asks(h) && (h->failures > 0 || !h->ci->healthy || control_now_ms() >= h->ask_ms);
}

/* An eighth more or less. */
static unsigned health_spread(struct control_health *h, unsigned ms)
{
	h->spread = h->spread * 1664525u + 1013904223u;
	return ms - ms / 8 + (h->spread >> 8) % (ms / 4);
}

/* Until the next check of one that is well. */
static unsigned health_steady_ms(struct control_health *h)
{
	unsigned ms = health_spread(h, HEALTH_STEADY_MS);
	int64_t left = h->ask_ms - control_now_ms();

	return health_asks(h) && left < ms ? (unsigned)(left > HEALTH_SICK_MS ? left : HEALTH_SICK_MS) : ms;
}

static void health_good(struct control_health *h)
{
	struct control_instance *ci = h->ci;

	if (h->state == HEALTH_READING && health_asks(h)) /* it was asked */
		h->ask_ms = control_now_ms() + health_spread(h, ci->health_every_ms);
	h->failures = 0;
	h->why[0] = 0;
	health_wait(h, health_steady_ms(h));
	control_instance_healthy(ci, true, "");
}

static void health_bad(struct control_health *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void health_bad(struct control_health *h, const char *fmt, ...)
{
	struct control_instance *ci = h->ci;
	unsigned most = ci->health_failures ? ci->health_failures : LIMIT_HEALTH_FAILURES_DEFAULT;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(h->why, sizeof h->why, fmt, ap);
	va_end(ap);
	if (ci->rec.state == MODEL_INSTANCE_STARTING) {
		health_wait(h, h->pause_ms);
		h->pause_ms = h->pause_ms * 2 > HEALTH_PAUSE_MAX_MS ? HEALTH_PAUSE_MAX_MS : h->pause_ms * 2;
		return;
	}
	if (h->failures < most)
		h->failures++;
	health_wait(h, health_asks(h) && !ci->healthy ? HEALTH_SICK_GET_MS : HEALTH_SICK_MS);
	if (h->failures >= most && ci->healthy)
		control_instance_healthy(ci, false, h->why);
}

/* It speaks HTTP, and says no itself. */
static void health_answered(struct control_health *h, int status)
{
	health_bad(h, "GET %.60s was answered %d, wanted is 2xx or 3xx", h->ci->health_path, status);
}

/* Where it should listen, for a person. */
static const char *health_where(const struct control_health *h, char out[48])
{
	if (h->ci->listens_unix)
		return "/" KIND_SOCKET_DIR "/" KIND_SOCKET_NAME " ($PORT)";
	snprintf(out, 48, "port %u", h->ci->app->control->app_port);
	return out;
}

/* A start that listens where nobody gets to need not be waited for any longer. */
static void health_look_local(struct control_health *h)
{
	struct control_instance *ci = h->ci;
	struct control *c = ci->app->control;
	int64_t now = control_now_ms();
	int r;

	if (ci->rec.state != MODEL_INSTANCE_STARTING || ci->unreachable || now - ci->since_ms < HEALTH_LOOK_AFTER_MS ||
	    now - h->looked_ms < HEALTH_LOOK_MS || now - c->looked_ms < HEALTH_LOOK_ALL_MS)
		return;
	h->looked_ms = c->looked_ms = now;
	r = control_proc_local_only(ci->pid, c->app_port);
	if (r < 0)
		return;
	if (r == 0) {
		h->local_ms = 0;
	} else if (!h->local_ms) {
		h->local_ms = now;
	} else if (now - h->local_ms >= LIMIT_HEALTH_LOCAL_MS) {
		ci->unreachable = true;
		control_touch(ci->app);
	}
}

/* The connection failed. */
static void health_refused(struct control_health *h, int error)
{
	bool local = h->ci->listens_unix;
	char where[48];

	h->listens = false;
	if (error == ECONNREFUSED && !local)
		health_look_local(h);
	if (error == ECONNREFUSED || (local && error == ENOENT))
		health_bad(h, "nothing accepts connections on %s", health_where(h, where));
	else if (local && error == EACCES)
		health_bad(h, "%s must be writable for all, as with umask 0", health_where(h, where));
	else if (local && error == ELOOP)
		health_bad(h, "%s is a symbolic link", health_where(h, where));
	else if (local && error == EAGAIN)
		health_bad(h, "too many connections wait at %s", health_where(h, where));
	else
		health_bad(h, "no connection to %s: %s", health_where(h, where), strerror(error));
}

static void health_on_deadline(void *arg)
{
	struct control_health *h = arg;
	char where[48];

	if (h->state == HEALTH_CONNECTING) {
		h->listens = false;
		health_bad(h, "no connection to %s within %d s", health_where(h, where), HEALTH_CONNECT_MS / 1000);
	} else if (!h->ci->health_path) {
		health_bad(h, "no SETTINGS of HTTP/2 within %d s", HEALTH_ANSWER_MS / 1000);
	} else {
		health_bad(h, "no answer to GET %.60s within %d s", h->ci->health_path, HEALTH_ANSWER_MS / 1000);
	}
}

/* A start is asked for its health path, or for its HTTP/2; a running app is charged for that only if it wants to be. */
static bool health_wants_http(const struct control_health *h)
{
	if (h->ci->rec.state != MODEL_INSTANCE_STARTING)
		return health_asks_now(h);
	return h->ci->health_path || h->ci->h2c;
}

static void health_await(struct control_health *h)
{
	h->state = HEALTH_READING;
	h->got = 0;
	loop_timer_start(health_loop(h), &h->timer, HEALTH_ANSWER_MS * 1000, health_on_deadline, h);
	if (loop_io_start(health_loop(h), &h->io, h->fd, EV_READ, health_on_io, h) < 0)
		health_bad(h, "the node is out of memory");
}

static void health_send_h2(struct control_health *h)
{
	const struct control_instance *ci = h->ci;
	char host[LIMIT_HOST + 1];

	snprintf(host, sizeof host, "%s.%.200s", ci->app->rec.name, ci->app->control->settings.domain_apps);
	h->h2 = health_h2_new(host, ci->health_path);
	if (!h->h2)
		health_bad(h, "the node is out of memory");
	else if (health_h2_send(h->h2, h->fd) < 0)
		health_bad(h, "the connection broke before HTTP/2 was spoken");
	else
		health_await(h);
}

static void health_read_h2(struct control_health *h)
{
	const char *path = h->ci->health_path;
	int code = 0, r = health_h2_read(h->h2, h->fd, path != NULL, &code);

	if (r == 0)
		return;
	if (r == -EPROTO)
		health_bad(h, "it does not speak HTTP/2 without TLS (protocol: h2c)");
	else if (r < 0 && path)
		health_bad(h, "GET %.60s was not answered", path);
	else if (r < 0)
		health_bad(h, "the connection broke before HTTP/2 was spoken");
	else if (!path || (code >= 200 && code < 400))
		health_good(h);
	else
		health_answered(h, code);
}

static void health_send(struct control_health *h)
{
	const struct control_instance *ci = h->ci;
	struct control *c = ci->app->control;
	char text[1024];
	int n = snprintf(text, sizeof text,
			 "GET %s HTTP/1.1\r\nHost: %s.%s\r\nUser-Agent: tulou-health\r\nAccept: "
			 "*/*\r\nX-Forwarded-Proto: http\r\n"
			 "Connection: close\r\n\r\n",
			 ci->health_path, ci->app->rec.name, c->settings.domain_apps);

	if (n < 0 || (size_t)n >= sizeof text || write(h->fd, text, (size_t)n) != n) {
		health_bad(h, "the connection broke before GET %.60s was sent", ci->health_path);
		return;
	}
	health_await(h);
}

static void health_connected(struct control_health *h)
{
	h->listens = true;
	if (!health_wants_http(h)) {
		health_good(h);
		return;
	}
	h->state = HEALTH_SENDING;
	if (h->ci->h2c)
		health_send_h2(h);
	else
		health_send(h);
}

/* The status line is all that is read: "HTTP/1.1 200". */
static void health_read(struct control_health *h)
{
	ssize_t n = read(h->fd, h->answer + h->got, sizeof h->answer - 1 - h->got);
	int code;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		h->got += (size_t)n;
		if (h->got < 12)
			return;
	}
	h->answer[h->got] = 0;
	if (h->got < 12 || memcmp(h->answer, "HTTP/1.", 7) != 0 || h->answer[8] != ' ' ||
	    strspn(h->answer + 9, "0123456789") != 3) {
		health_bad(h, "GET %.60s was not answered in HTTP", h->ci->health_path);
		return;
	}
	code = (h->answer[9] - '0') * 100 + (h->answer[10] - '0') * 10 + (h->answer[11] - '0');
	if (code >= 200 && code < 400)
		health_good(h);
	else
		health_answered(h, code);
}

static void health_on_io(void *arg, short what)
{
	struct control_health *h = arg;
	socklen_t len = sizeof(int);
	int error = 0;

	(void)what;
	if (h->state == HEALTH_READING) {
		if (h->h2)
			health_read_h2(h);
		else
			health_read(h);
		return;
	}
	if (getsockopt(h->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error)
		health_refused(h, error);
	else
		health_connected(h);
}

static void health_check(void *arg)
{
	struct control_health *h = arg;
	struct control_instance *ci = h->ci;
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(ci->address),
				 .sin_port = htons(ci->app->control->app_port)};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	bool local = ci->listens_unix;

	if (strcmp(ci->rec.type, "web") != 0) {
		loop_timer_stop(&h->timer);
		control_instance_healthy(ci, true, "");
		return;
	}
	if (local && ci->socket < 0) {
		health_bad(h, "the folder of its socket is not known yet");
		return;
	}
	/* Our own descriptor of that folder; in it no link is followed. */
	snprintf(un.sun_path, sizeof un.sun_path, "/proc/self/fd/%d/" KIND_SOCKET_NAME, ci->socket);
	h->fd = socket(local ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (h->fd < 0) {
		/* Our fault, not the app's: a running one must not be called sick for it. */
		LOG_WARN("health check", "app=%s instance=%" PRId64 " error=\"%s\"", ci->app->rec.name, ci->rec.id,
			 strerror(errno));
		health_wait(h, HEALTH_SICK_MS);
		return;
	}
	h->state = HEALTH_CONNECTING;
	if (connect(h->fd, local ? (const struct sockaddr *)&un : (const struct sockaddr *)&in,
		    local ? sizeof un : sizeof in) == 0) {
		health_connected(h);
		return;
	}
	if (errno != EINPROGRESS) {
		health_refused(h, errno);
		return;
	}
	loop_timer_start(health_loop(h), &h->timer, HEALTH_CONNECT_MS * 1000, health_on_deadline, h);
	if (loop_io_start(health_loop(h), &h->io, h->fd, EV_WRITE, health_on_io, h) < 0)
		health_wait(h, HEALTH_SICK_MS);
}

void control_health_start(struct control_instance *ci)
{
	struct control_health *h;
	bool web = strcmp(ci->rec.type, "web") == 0;

	if (ci->health)
		return;
	h = calloc(1, sizeof *h);
	if (!h)
		return; /* it becomes overdue and is started again */
	h->ci = ci;
	h->fd = -1;
	h->pause_ms = HEALTH_PAUSE_MS;
	ci->health = h;
	h->spread = (uint32_t)ci->rec.id * 2654435761u;
	if (web && ci->rec.state == MODEL_INSTANCE_STARTING) {
		health_wait(h, HEALTH_FIRST_MS);
	} else if (web) {
		/* Those that ran before this control are not all looked at in one moment. */
		health_wait(h, HEALTH_SICK_MS + (h->spread >> 8) % HEALTH_STEADY_MS);
	} else if (!ci->healthy) {
		health_wait(h, HEALTH_OTHER_MS);
	}
}

static void health_free(void *arg)
{
	free(arg);
}

void control_health_stop(struct control_instance *ci)
{
	struct control_health *h = ci->health;

	if (!h)
		return;
	ci->health = NULL;
	loop_io_stop(&h->io);
	loop_timer_stop(&h->timer);
	own_close(&h->fd);
	health_h2_free(TAKE_PTR(h->h2));
	loop_defer(health_loop(h), health_free, h);
}

void control_health_now(struct control_instance *ci)
{
	struct control_health *h = ci->health;

	if (h && h->state == HEALTH_WAITING && ci->rec.state == MODEL_INSTANCE_RUNNING &&
	    strcmp(ci->rec.type, "web") == 0)
		loop_timer_start(health_loop(h), &h->timer, 0, health_check, h);
}

const char *control_health_why(const struct control_instance *ci)
{
	return ci->health ? ci->health->why : "";
}

void control_health_overdue(const struct control_instance *ci, const char *reason, char *out, size_t cap)
{
	const char *why = control_health_why(ci);
	char listens[160] = "";

	if (!why[0] && ci->health && ci->health->state == HEALTH_READING)
		why = "the first check is not answered yet";
	if (!why[0]) {
		snprintf(out, cap, "%s", reason);
		return;
	}
	if (ci->health->listens) {
		snprintf(out, cap, "%s listens, but is not ready after %" PRIu64 " s: %s", ci->rec.type,
			 (uint64_t)ci->app->control->settings.health_ms / 1000, why);
		return;
	}
	control_proc_listeners(ci->pid, listens, sizeof listens);
	snprintf(out, cap, "%s (last check: %s%s%s)", reason, why, listens[0] ? "; " : "", listens);
}
