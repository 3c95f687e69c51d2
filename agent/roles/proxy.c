/* The proxy role: one worker of the front door.  Layer agent, proxy process.
 *
 * It owns no file: listening sockets, statistics and the log's pipe come with the first message, routes over the
 * channel to control.  When the supervisor or control goes away it serves on with what it has; SIGTERM (from the next
 * supervisor) or MSG_DRAIN makes it finish what it has and end. */
#include "web/proxy/proxy.h"

#include "agent/roles/messages.h"
#include "agent/roles/role.h"
#include "base/chan.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "web/proxy/stats.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define PROXY_ROLE_DRAIN_MS 30000 /* for SIGTERM: an upgrade lets downloads and uploads finish */
#define PROXY_ROLE_ROUTES_US                                                                                           \
	15000000 /* control that tells no routes for so long is broken: say so, 503 beats silence */

struct proxy_role {
	struct loop *loop;
	struct chan *chan; /* to the supervisor; NULL after it went away */
	struct proxy *proxy;
	bool draining;
	struct loop_signal term;
	struct loop_timer patience;
	int fds[FD_PASS_MAX]; /* statistics, log, listeners: numbers that a later supervisor may take back */
	size_t nfds;
	unsigned http_count;
	uint32_t proxied; /* bit i: listener i is behind a balancer */
	bool listening;
};

/* Routes first, then clients: until then an older worker serves, or connects wait in the listening sockets' queues. */
static void proxy_role_listen(void *arg)
{
	struct proxy_role *pr = arg;
	int32_t numbers[FD_PASS_MAX];

	if (pr->listening || pr->draining)
		return;
	pr->listening = true;
	loop_timer_stop(&pr->patience);
	for (size_t i = 2; i < pr->nfds; i++) {
		int r = proxy_listen(pr->proxy, pr->fds[i], i - 2 >= pr->http_count, pr->proxied >> (i - 2) & 1);
		if (r < 0)
			LOG_ERROR("listener refused", "listener=%zu error=\"%s\"", i - 2, strerror(-r));
	}
	for (size_t i = 0; i < pr->nfds; i++)
		numbers[i] = pr->fds[i];
	if (pr->chan)
		chan_send(pr->chan, MSG_READY, numbers, pr->nfds * sizeof *numbers, NULL, 0);
}

static void proxy_role_on_impatient(void *arg)
{
	LOG_WARN("no routes from control, accepting without", "wait_s=%d", PROXY_ROLE_ROUTES_US / 1000000);
	proxy_role_listen(arg);
}

static void proxy_role_on_drained(void *arg)
{
	loop_stop(((struct proxy_role *)arg)->loop);
}

static void proxy_role_drain(struct proxy_role *pr, unsigned deadline_ms)
{
	if (!pr->draining)
		proxy_drain(pr->proxy, deadline_ms, proxy_role_on_drained, pr);
	pr->draining = true;
}

static void proxy_role_on_signal(void *arg, int signo)
{
	(void)signo;
	proxy_role_drain(arg, PROXY_ROLE_DRAIN_MS);
}

static void proxy_role_on_msg(void *arg, uint16_t type, const void *body, size_t len, int *fds, size_t nfds)
{
	struct proxy_role *pr = arg;

	(void)len;
	(void)nfds;
	if (type == MSG_PEER_CONTROL) {
		if (proxy_control(pr->proxy, fds[0]) == 0)
			fds[0] = -1;
	} else if (type == MSG_DRAIN) {
		proxy_role_drain(pr, ((const struct msg_drain *)body)->deadline_ms);
	}
}

static void proxy_role_on_gone(void *arg, const char *reason)
{
	struct proxy_role *pr = arg;

	LOG_INFO("supervisor gone, serving on", "reason=\"%s\"", reason);
	chan_close(pr->chan);
	pr->chan = NULL;
}

static int proxy_role_start(struct proxy_role *pr, const struct msg_init_proxy *init, const int *fds, size_t nfds,
			    struct err *e)
{
	static const struct chan_ops ops = {proxy_role_on_msg, proxy_role_on_gone};
	struct proxy_config config = {.worker = init->worker,
				      .tls = init->https_count > 0,
				      .log_fd = fds[1],
				      .on_synced = proxy_role_listen,
				      .arg = pr};
	struct stats_segment *stats = stats_map(fds[0], 1);
	int r;

	memcpy(pr->fds, fds, nfds * sizeof *fds);
	pr->nfds = nfds;
	pr->http_count = init->http_count;
	pr->proxied = init->proxied;
	if (init->proxy_from_count > LIMIT_PROXY_FROM)
		return err_set(e, EBADMSG, "too many networks of balancers");
	config.proxy_from_count = init->proxy_from_count;
	memcpy(config.proxy_from, init->proxy_from, sizeof config.proxy_from);
	memcpy(config.control_host, init->control_host, sizeof config.control_host);
	memcpy(config.control_path, init->control_path, sizeof config.control_path);
	memcpy(config.node_name, init->node_name, sizeof config.node_name);
	if (!stats)
		return err_errno(e, "cannot map the statistics segment");
	if ((size_t)init->http_count + init->https_count != nfds - 2)
		return err_set(e, EBADMSG, "listeners and their count differ");
	pr->loop = loop_new();
	if (!pr->loop)
		return err_set(e, ENOMEM, "out of memory or descriptors");
	r = role_confine(ROLE_PROXY, init->user, init->root_dir, e);
	if (r < 0)
		return r;
	pr->proxy = proxy_new(pr->loop, &config, stats, e);
	if (!pr->proxy)
		return -e->code;
	pr->chan = chan_new(pr->loop, ROLE_CHANNEL_FD, msg_rules_proxy, msg_rules_proxy_count, &ops, pr);
	if (!pr->chan || loop_signal_start(pr->loop, &pr->term, SIGTERM, proxy_role_on_signal, pr) < 0)
		return err_set(e, ENOMEM, "out of memory");
	loop_timer_start(pr->loop, &pr->patience, PROXY_ROLE_ROUTES_US, proxy_role_on_impatient, pr);
	return 0;
}

int role_proxy_main(void)
{
	struct proxy_role pr = {0};
	struct err e = {0};
	int fds[FD_PASS_MAX];
	size_t nfds = 0;
	const struct msg_init_proxy *init =
		role_begin(MSG_INIT_PROXY, msg_rules_proxy, msg_rules_proxy_count, fds, &nfds);

	if (!init)
		return 1;
	if (proxy_role_start(&pr, init, fds, nfds, &e) < 0) {
		LOG_ERROR("start failed", "reason=\"%s\"", e.text);
		return 1;
	}
	loop_run(pr.loop);
	return 0;
}
