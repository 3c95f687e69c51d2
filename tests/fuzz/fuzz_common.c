#include "tests/fuzz/fuzz_common.h"

#include "base/chan.h"
#include "base/loop.h"
#include "base/map.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *loop;
static struct proxy *proxy;
static struct chan *control;
static unsigned turns_left;

static void ignore_msg(void *arg, uint16_t type, const void *body, size_t len, int *fds, size_t nfds)
{
	(void)arg, (void)type, (void)body, (void)len, (void)fds, (void)nfds;
}

static void ignore_gone(void *arg, const char *reason)
{
	(void)arg, (void)reason;
}

static void on_turn(void *arg)
{
	static struct loop_timer t;

	(void)arg;
	if (turns_left-- > 0)
		loop_timer_start(loop, &t, 0, on_turn, NULL);
	else
		loop_stop(loop);
}

void fuzz_run(unsigned turns)
{
	turns_left = turns;
	on_turn(NULL);
	loop_run(loop);
}

struct proxy *fuzz_start(void)
{
	static const struct chan_ops ops = {.on_msg = ignore_msg, .on_gone = ignore_gone};
	struct proxy_config cfg = {.control_host = "tulou.test", .control_path = "", .node_name = "test", .log_fd = -1};
	struct stats_segment *stats;
	int pair[2], fd;
	struct err e;

	loop = loop_new();
	cfg.log_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	fd = stats_create();
	stats = stats_map(fd, 1);
	close(fd);
	MUST(loop && stats && (proxy = proxy_new(loop, &cfg, stats, &e)));
	MUST(chan_pair(pair) == 0 && proxy_control(proxy, pair[0]) == 0);
	control = chan_new(loop, pair[1], proxy_rules_from_proxy, proxy_rules_from_proxy_count, &ops, NULL);
	MUST(control);
	return proxy;
}

int fuzz_app(uint64_t number, const char *name, uint32_t protocol)
{
	struct proxy_msg_app app = {
		.app = number, .tenant = 1, .slot = (uint32_t)number, .state = PROXY_APP_SERVING, .wait_ms = 1000};
	struct proxy_msg_host host = {.app = number};
	struct proxy_msg_instance inst = {.app = number,
					  .instance = number + 6,
					  .address = 0x7f000001,
					  .port = 1,
					  .state = PROXY_INSTANCE_UP,
					  .protocol = protocol};
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct instance *i;
	uint64_t id = inst.instance;
	socklen_t len;
	int fd;

	snprintf(app.name, sizeof app.name, "%s", name);
	snprintf(host.host, sizeof host.host, "%s.test", name);
	MUST(chan_send(control, PROXY_APP, &app, sizeof app, NULL, 0) == 0);
	MUST(chan_send(control, PROXY_HOST, &host, sizeof host, NULL, 0) == 0);
	MUST(chan_send(control, PROXY_INSTANCE, &inst, sizeof inst, NULL, 0) == 0);
	fuzz_run(4);
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			  (size_t)snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "tulou-fuzz-%s-%d", name,
					   getpid()));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	MUST(bind(fd, (struct sockaddr *)&at, len) == 0 && listen(fd, 64) == 0);
	MUST((i = map_get(proxy->instances, &id, sizeof id)));
	i->addr.un = at;
	i->addr_len = len;
	return fd;
}

struct client *fuzz_client(const struct listener *front, int *fd)
{
	struct sockaddr_storage peer = {.ss_family = AF_UNIX};
	struct client *c;
	int pair[2];

	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	*fd = pair[0];
	MUST((c = client_new(proxy, pair[1], &peer, front)));
	if (c->is_unwatched)
		client_run(c);
	return c;
}
