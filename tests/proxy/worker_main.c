/* A proxy worker alone, for conversations and benchmarks.  Test program; not part of the product.
 *
 * usage: worker [-p PORT]... [-s TLS_PORT]... [-P PORT]... [-S TLS_PORT]... [-T NETWORK]... [-c CONTROL_SOCKET] [-l
 * ACCESS_LOG] [-w WORKER] [-f ROUTES] [-m STATS_FD] PORT 0 is chosen by the kernel; "port N", "tlsport N" is printed
 * for each.  ROUTES holds lines "HOST ADDRESS:PORT": each becomes an app with one instance.  On standard input it takes
 * what control would say, a line each, through a real channel: app ID STATE WAIT_MS NAME [on|off|redirect HSTS_S] |
 * cert ID APP app|node|default|challenge FILE | certdel ID | front APP HEX | frontdel APP | challenge HOST TOKEN ANSWER
 * | challengedel HOST TOKEN | staple CERT UNTIL_MS FILE | tickets HEX (80 bytes a key) | appdel ID | spread APP
 * CONCURRENCY ACCESS | host APP HOST | hostdel APP HOST inst APP ID ADDRESS:PORT|unix:PATH up|sick|draining
 * [canary|h2c] | instdel ID | watch ID APP BY MS | watchdel ID | barrier ID | begin | end | drain MS | stats APP |
 * refused APP | worker | turns (see on_turn()) | newchan | stall MS (one turn of the loop takes so long) and prints
 * what the proxy says: "done ID", "drained ID", "wake ID", "failing ID", "drain over". */
#include "base/fd.h"
#include "base/loop.h"
#include "base/own.h"
#include "base/parse.h"
#include "config/kind.h"
#include "web/proxy/messages.h"
#include "web/proxy/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *loop;
static struct proxy *proxy;
static struct stats_segment *stats;
static struct chan *control;
static unsigned worker;

static void say(uint16_t type, const void *body, size_t len)
{
	if (chan_send(control, type, body, len, NULL, 0) < 0)
		printf("error send\n");
}

static void show_rows(const struct proxy_msg_watch_rows *m, size_t len)
{
	static const char *const kinds[] = {"client", "path", "host", "status", "app", "tenant", "agent"};

	if (len != offsetof(struct proxy_msg_watch_rows, row) + m->count * sizeof m->row[0])
		printf("error rows\n");
	for (uint32_t i = 0; i < m->count; i++) {
		char name[LIMIT_TALK_NAME + 1];

		snprintf(name, sizeof name, "%s", *m->row[i].name ? m->row[i].name : "-");
		for (char *p = name; (p = strchr(p, ' '));)
			*p = '_';
		printf("row %" PRIu64 " %s %s weight=%" PRIu64 " error=%" PRIu64 " requests=%" PRIu64 " bytes=%" PRIu64
		       " us=%" PRIu64 " errors=%" PRIu64 "\n",
		       m->id, kinds[m->kind], name, m->row[i].weight, m->row[i].error, m->row[i].cost.requests,
		       m->row[i].cost.bytes, m->row[i].cost.us, m->row[i].cost.errors);
	}
}

static void show_watch(const struct proxy_msg_watch_done *m)
{
	printf("watched %" PRIu64 " sampled=%" PRIu64 " requests=%" PRIu64 " bytes=%" PRIu64 " us=%" PRIu64
	       " errors=%" PRIu64 "\n",
	       m->id, m->sampled, m->total.requests, m->total.bytes, m->total.us, m->total.errors);
}

static void on_msg(void *arg, uint16_t type, const void *body, size_t len, int *fds, size_t nfds)
{
	const struct proxy_msg_id *m = body;
	const char *name = type == PROXY_BARRIER_DONE ? "done"
			   : type == PROXY_DRAINED    ? "drained"
			   : type == PROXY_WAKE	      ? "wake"
						      : "failing";

	(void)arg;
	(void)fds;
	(void)nfds;
	if (type == PROXY_WATCH_ROWS)
		show_rows(body, len);
	else if (type == PROXY_WATCH_DONE)
		show_watch(body);
	else
		printf("%s %" PRIu64 "\n", name, m->id);
}

static void on_gone(void *arg, const char *reason)
{
	(void)arg;
	printf("gone %s\n", reason);
	chan_close(control);
	control = NULL;
}

static void new_channel(void)
{
	static const struct chan_ops ops = {.on_msg = on_msg, .on_gone = on_gone};
	int pair[2];

	chan_close(control);
	if (chan_pair(pair) < 0 || proxy_control(proxy, pair[0]) < 0)
		exit(2);
	control = chan_new(loop, pair[1], proxy_rules_from_proxy, proxy_rules_from_proxy_count, &ops, NULL);
}

static void app(uint64_t id, uint32_t state, uint32_t wait, const char *name, const char *https, const char *hsts)
{
	struct proxy_msg_app m = {
		.app = id, .tenant = 1, .slot = (uint32_t)(id % LIMIT_APPS), .state = state, .wait_ms = wait};

	snprintf(m.name, sizeof m.name, "%s", name);
	if (https && hsts) {
		m.https = !strcmp(https, "off")	       ? PROXY_HTTPS_OFF
			  : !strcmp(https, "redirect") ? PROXY_HTTPS_REDIRECT
						       : PROXY_HTTPS_ON;
		m.hsts_s = (uint32_t)strtoul(hsts, NULL, 10);
	}
	say(PROXY_APP, &m, sizeof m);
}

static void host(uint16_t type, uint64_t id, const char *name)
{
	struct proxy_msg_host m = {.app = id};

	snprintf(m.host, sizeof m.host, "%s", name);
	say(type, &m, sizeof m);
}

static void instance(uint64_t id, uint64_t inst, const char *address, uint16_t state, bool canary, bool h2c)
{
	struct proxy_msg_instance m = {.app = id, .instance = inst, .state = state, .group = canary, .protocol = h2c};
	struct sockaddr_storage a;
	unsigned len;
	struct sockaddr_in in;

	if (strncmp(address, "unix:", 5) == 0) {
		char folder[PATH_MAX];
		int dir = -1;
		const char *name = strrchr(address, '/');
		snprintf(folder, sizeof folder, "%.*s", name ? (int)(name - address - 5) : 0, address + 5);
		if (name && strcmp(name + 1, KIND_SOCKET_NAME) == 0)
			dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0 || chan_send(control, PROXY_INSTANCE, &m, sizeof m, &dir, 1) < 0)
			printf("error folder\n");
		if (dir >= 0)
			close(dir);
		return;
	}
	if (parse_sockaddr(address, "address", &a, &len, NULL) < 0) {
		printf("error address\n");
		return;
	}
	memcpy(&in, &a, sizeof in);
	m.address = ntohl(in.sin_addr.s_addr);
	m.port = ntohs(in.sin_port);
	say(PROXY_INSTANCE, &m, sizeof m);
}

static void cert(uint64_t id, uint64_t app_id, const char *kind, const char *path)
{
	struct proxy_msg_cert m = {.id = id, .app = app_id};
	char *text;
	size_t n;
	int fd;

	m.kind = !strcmp(kind, "node")	      ? PROXY_CERT_NODE
		 : !strcmp(kind, "default")   ? PROXY_CERT_DEFAULT
		 : !strcmp(kind, "challenge") ? PROXY_CERT_CHALLENGE
					      : PROXY_CERT_APP;
	if (fd_read_file(AT_FDCWD, path, LIMIT_CERT_BYTES * 2, &text, &n) < 0 ||
	    (fd = fd_memfd_sealed("cert", text, n)) < 0) {
		printf("error cert\n");
		return;
	}
	m.len = (uint32_t)n;
	if (chan_send(control, PROXY_CERT, &m, sizeof m, &fd, 1) < 0)
		printf("error send\n");
	free(text);
	close(fd);
}

static void challenge(uint16_t type, const char *name, const char *token, const char *text)
{
	struct proxy_msg_challenge m = {.host = ""};

	snprintf(m.host, sizeof m.host, "%s", name);
	snprintf(m.token, sizeof m.token, "%s", token);
	snprintf(m.answer, sizeof m.answer, "%s", text);
	say(type, &m, sizeof m);
}

static void staple(uint64_t id, int64_t until_ms, const char *path)
{
	struct proxy_msg_staple m = {.id = id, .until_ms = until_ms};
	char *text;
	size_t n;
	int fd;

	if (fd_read_file(AT_FDCWD, path, LIMIT_STAPLE_BYTES, &text, &n) < 0 ||
	    (fd = fd_memfd_sealed("staple", text, n)) < 0) {
		printf("error staple\n");
		return;
	}
	m.len = (uint32_t)n;
	if (chan_send(control, PROXY_STAPLE, &m, sizeof m, &fd, 1) < 0)
		printf("error send\n");
	free(text);
	close(fd);
}

/* HEX: a message of PROXY_FRONT without its app. */
static void front(uint64_t id, const char *hex)
{
	static char body[FRONT_MSG_MAX];
	size_t n = strlen(hex) / 2;

	if (n < sizeof id || n > sizeof body || parse_unhex(hex, body, n) < 0) {
		printf("error front\n");
		return;
	}
	memcpy(body, &id, sizeof id);
	say(PROXY_FRONT, body, n);
}

static void tickets(const char *hex)
{
	struct proxy_msg_tickets m = {.count = (uint32_t)(strlen(hex) / (2 * sizeof m.key[0]))};

	if (m.count > LIMIT_TLS_TICKET_KEYS || parse_unhex(hex, m.key, m.count * sizeof m.key[0]) < 0)
		printf("error tickets\n");
	else
		say(PROXY_TICKETS, &m, sizeof m);
}

static void drain_over(void *arg)
{
	(void)arg;
	printf("drain over\n");
}

static void show_stats(uint32_t slot)
{
	struct stats_sum s;
	uint64_t refused = 0;

	stats_sum_app(stats, slot, &s);
	for (unsigned i = 0; i < STATS_REFUSALS; i++)
		refused += s.refused[i];
	printf("stats requests=%" PRIu64 " 2xx=%" PRIu64 " 4xx=%" PRIu64 " 5xx=%" PRIu64 " none=%" PRIu64 " in=%" PRIu64
	       " out=%" PRIu64 " errors=%" PRIu64 " waited=%" PRIu64 " in_flight=%" PRIu64 " refused=%" PRIu64
	       " canary=%" PRIu64 " canary_errors=%" PRIu64 "\n",
	       s.requests, s.status[2], s.status[4], s.status[5], s.status[0], s.bytes_in, s.bytes_out,
	       s.upstream_errors, s.waited, s.in_flight, refused, s.canary, s.canary_errors);
}

static void show_refused(uint32_t slot)
{
	struct stats_sum s;

	stats_sum_app(stats, slot, &s);
	printf("refused");
	for (unsigned i = 0; i < STATS_REFUSALS; i++)
		printf(" %s=%" PRIu64, stats_refusal_name(i), s.refused[i]);
	printf("\n");
}

static void show_worker(void)
{
	struct stats_worker *w = &stats->worker[worker];

	printf("worker connections=%u upstreams=%u parked=%u bad=%" PRIu64 " unknown=%" PRIu64 " handshakes=%" PRIu64
	       " resumed=%" PRIu64 " failed=%" PRIu64 " h2sessions=%" PRIu64 " h2streams=%" PRIu64 " h2resets=%" PRIu64
	       " h2floods=%" PRIu64 "\n",
	       atomic_load(&w->connections), atomic_load(&w->upstreams), atomic_load(&w->parked),
	       atomic_load(&w->bad_requests), atomic_load(&w->unknown_hosts), atomic_load(&w->handshakes),
	       atomic_load(&w->resumed), atomic_load(&w->handshakes_failed), atomic_load(&w->h2_sessions),
	       atomic_load(&w->h2_streams), atomic_load(&w->h2_resets), atomic_load(&w->h2_floods));
}

static struct loop_timer turn;
static uint64_t turn_most, turn_mark;

/* How many requests for unknown hosts were answered in one turn of the loop at most, since it was first asked. */
static void on_turn(void *arg)
{
	uint64_t now = atomic_load(&stats->worker[worker].unknown_hosts);

	(void)arg;
	if (now - turn_mark > turn_most)
		turn_most = now - turn_mark;
	turn_mark = now;
	loop_timer_start(loop, &turn, 0, on_turn, NULL);
}

static void show_turns(void)
{
	if (!loop_timer_pending(&turn))
		on_turn(NULL);
	printf("turns most=%" PRIu64 "\n", turn_most);
}

static void command(char *line)
{
	static const char *const states[] = {"serving", "empty", "crashed", "paused", "hold"};
	char *w[8] = {NULL}, *save = NULL;
	struct proxy_msg_id id;
	int n = 0;

	for (char *t = strtok_r(line, " \n", &save); t && n < 8; t = strtok_r(NULL, " \n", &save))
		w[n++] = t;
	if (n == 0)
		return;
	id.id = w[1] ? strtoull(w[1], NULL, 10) : 0;
	if (!strcmp(w[0], "app") && n >= 5) {
		for (uint32_t s = 0; s < ARRAY_LEN(states); s++)
			if (!strcmp(w[2], states[s]))
				app(id.id, s, (uint32_t)strtoul(w[3], NULL, 10), w[4], w[5], w[6]);
	} else if (!strcmp(w[0], "appdel"))
		say(PROXY_APP_DEL, &id, sizeof id);
	else if (!strcmp(w[0], "spread") && n == 4) {
		struct proxy_msg_spread m = {.app = id.id,
					     .concurrency = (uint32_t)strtoul(w[2], NULL, 10),
					     .access = (uint32_t)strtoul(w[3], NULL, 10)};
		say(PROXY_SPREAD, &m, sizeof m);
	} else if (!strcmp(w[0], "host") && n == 3)
		host(PROXY_HOST, id.id, w[2]);
	else if (!strcmp(w[0], "hostdel") && n == 3)
		host(PROXY_HOST_DEL, id.id, w[2]);
	else if (!strcmp(w[0], "inst") && n >= 5)
		instance(id.id, strtoull(w[2], NULL, 10), w[3],
			 !strcmp(w[4], "up")	 ? PROXY_INSTANCE_UP
			 : !strcmp(w[4], "sick") ? PROXY_INSTANCE_SICK
						 : PROXY_INSTANCE_DRAINING,
			 w[5] && !strcmp(w[5], "canary"), w[5] && !strcmp(w[5], "h2c"));
	else if (!strcmp(w[0], "instdel"))
		say(PROXY_INSTANCE_DEL, &id, sizeof id);
	else if (!strcmp(w[0], "barrier"))
		say(PROXY_BARRIER, &id, sizeof id);
	else if (!strcmp(w[0], "begin"))
		say(PROXY_SYNC_BEGIN, NULL, 0);
	else if (!strcmp(w[0], "end"))
		say(PROXY_SYNC_END, NULL, 0);
	else if (!strcmp(w[0], "drain"))
		proxy_drain(proxy, (unsigned)id.id, drain_over, NULL);
	else if (!strcmp(w[0], "stats"))
		show_stats((uint32_t)id.id);
	else if (!strcmp(w[0], "refused"))
		show_refused((uint32_t)id.id);
	else if (!strcmp(w[0], "worker"))
		show_worker();
	else if (!strcmp(w[0], "turns"))
		show_turns();
	else if (!strcmp(w[0], "cert") && n == 5)
		cert(id.id, strtoull(w[2], NULL, 10), w[3], w[4]);
	else if (!strcmp(w[0], "certdel"))
		say(PROXY_CERT_DEL, &id, sizeof id);
	else if (!strcmp(w[0], "tickets") && n == 2)
		tickets(w[1]);
	else if (!strcmp(w[0], "challenge") && n == 4)
		challenge(PROXY_CHALLENGE, w[1], w[2], w[3]);
	else if (!strcmp(w[0], "challengedel") && n == 3)
		challenge(PROXY_CHALLENGE_DEL, w[1], w[2], "");
	else if (!strcmp(w[0], "staple") && n == 4)
		staple(id.id, strtoll(w[2], NULL, 10), w[3]);
	else if (!strcmp(w[0], "front") && n == 3)
		front(id.id, w[2]);
	else if (!strcmp(w[0], "frontdel"))
		say(PROXY_FRONT_DEL, &id, sizeof id);
	else if (!strcmp(w[0], "watch") && n == 5) {
		struct proxy_msg_watch m = {.id = id.id,
					    .app = strtoull(w[2], NULL, 10),
					    .by = (uint32_t)strtoul(w[3], NULL, 10),
					    .ms = (uint32_t)strtoul(w[4], NULL, 10)};
		say(PROXY_WATCH, &m, sizeof m);
	} else if (!strcmp(w[0], "watchdel"))
		say(PROXY_WATCH_DEL, &id, sizeof id);
	else if (!strcmp(w[0], "stall"))
		usleep((useconds_t)id.id * 1000);
	else if (!strcmp(w[0], "newchan"))
		new_channel();
	else
		printf("error command\n");
}

static void on_stdin(void *arg, short what)
{
	static char buf[65536];
	static size_t len;
	char *nl;
	ssize_t n = read(0, buf + len, sizeof buf - 1 - len);

	(void)arg;
	(void)what;
	if (n <= 0) {
		loop_stop(loop);
		return;
	}
	len += (size_t)n;
	buf[len] = '\0';
	while ((nl = memchr(buf, '\n', len))) {
		size_t used = (size_t)(nl + 1 - buf);
		*nl = '\0';
		command(buf);
		memmove(buf, buf + used, len - used + 1);
		len -= used;
	}
}

static void listen_on(int port, bool tls, bool proxied)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = in6addr_any};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, off = 0;
	socklen_t len = sizeof a;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 4096) < 0) {
		perror("worker: listen");
		exit(2);
	}
	getsockname(fd, (struct sockaddr *)&a, &len);
	if (proxy_listen(proxy, fd, tls, proxied) < 0)
		exit(2);
	printf("%s%sport %d\n", proxied ? "front" : "", tls ? "tls" : "", ntohs(a.sin6_port));
}

static void read_routes(const char *path)
{
	FILE *f = fopen(path, "re");
	char name[LIMIT_HOST + 1], address[200];
	uint64_t id = 1;

	if (!f) {
		perror(path);
		exit(2);
	}
	for (; fscanf(f, "%253s %199s", name, address) == 2; id++) {
		char label[LIMIT_APP_NAME + 1];
		snprintf(label, sizeof label, "app-%u", (unsigned)id);
		app(id, PROXY_APP_SERVING, 10000, label, NULL, NULL);
		host(PROXY_HOST, id, name);
		instance(id, id + 1000000, address, PROXY_INSTANCE_UP, false, false);
	}
	fclose(f);
}

int main(int argc, char **argv)
{
	struct proxy_config cfg = {.control_host = "tulou.test", .control_path = "", .node_name = "test", .log_fd = -1};
	struct loop_io in = {.loop = NULL};
	const char *routes = NULL;
	struct err e;
	int ports[8], count = 0, o, fd = -1;
	bool tls[8] = {false}, proxied[8] = {false};

	while ((o = getopt(argc, argv, "p:s:P:S:T:c:l:w:f:m:")) > 0) {
		if (strchr("psPS", o) && count < 8) {
			tls[count] = o == 's' || o == 'S';
			proxied[count] = o == 'P' || o == 'S';
			cfg.tls |= tls[count];
			ports[count++] = (int)strtol(optarg, NULL, 10);
		} else if (o == 'T' && cfg.proxy_from_count < LIMIT_PROXY_FROM) {
			if (cidr_parse(optarg, "-T", &cfg.proxy_from[cfg.proxy_from_count++], &e) < 0)
				return 2;
		} else if (o == 'c')
			snprintf(cfg.control_path, sizeof cfg.control_path, "%s", optarg);
		else if (o == 'l')
			cfg.log_fd = open(optarg, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		else if (o == 'w')
			cfg.worker = worker = (unsigned)strtoul(optarg, NULL, 10);
		else if (o == 'm')
			fd = (int)strtol(optarg, NULL, 10);
		else if (o == 'f')
			routes = optarg;
		else
			return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	loop = loop_new();
	if (fd < 0)
		fd = stats_create();
	stats = fd >= 0 ? stats_map(fd, 1) : NULL;
	if (!loop || !stats || !(proxy = proxy_new(loop, &cfg, stats, &e))) {
		fprintf(stderr, "worker: cannot start\n");
		return 2;
	}
	new_channel();
	for (int i = 0; i < count; i++)
		listen_on(ports[i], tls[i], proxied[i]);
	if (routes)
		read_routes(routes);
	if (fcntl(0, F_GETFD) >= 0)
		loop_io_start(loop, &in, 0, EV_READ, on_stdin, NULL);
	loop_run(loop);
	loop_io_stop(&in);
	chan_close(control);
	proxy_free(proxy);
	loop_free(loop);
	return 0;
}
