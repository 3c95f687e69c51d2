/* The resolver role: the instances' names.  Layer agent, resolver process.
 *
 * It owns no file: sockets and the host's resolvers come with the first message, the instances over the channel to
 * control.  When the supervisor goes away it answers on with what it knows, until the next one ends it. */
#include "agent/resolve/prove.h"
#include "agent/resolve/resolve.h"

#include "agent/roles/messages.h"
#include "agent/roles/role.h"
#include "base/chan.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#define RESOLVER_PATIENCE_US 15000000 /* without control for so long: answer what can be answered */

struct resolver {
	struct loop *loop;
	struct chan *chan;    /* to the supervisor; NULL after it went away */
	struct chan *control; /* NULL while there is none */
	struct resolve *resolve;
	struct prover *prover;
	int udp, tcp; /* numbers that a later supervisor may take back */
	bool listening;
	struct loop_signal term;
	struct loop_timer patience;
};

/* The names first, then the questions: until then an earlier resolver answers, or they wait in the socket. */
static void resolver_listen(void *arg)
{
	struct resolver *rr = arg;
	int32_t numbers[2] = {rr->udp, rr->tcp};
	int r;

	loop_timer_stop(&rr->patience);
	if (rr->listening)
		return;
	rr->listening = true;
	r = resolve_listen(rr->resolve, rr->udp, rr->tcp);
	if (r < 0) {
		LOG_ERROR("cannot listen", "error=\"%s\"", strerror(-r));
		loop_stop(rr->loop);
		return;
	}
	if (rr->chan)
		chan_send(rr->chan, MSG_READY, numbers, sizeof numbers, NULL, 0);
}

static void resolver_on_impatient(void *arg)
{
	LOG_WARN("no names from control, answering without", "wait_s=%d", RESOLVER_PATIENCE_US / 1000000);
	resolver_listen(arg);
}

static void resolver_on_control_msg(void *arg, uint16_t type, const void *body, size_t len, int *fds, size_t nfds)
{
	struct resolver *rr = arg;

	(void)len;
	(void)fds;
	(void)nfds;
	if (type == RESOLVE_PROVE) {
		prover_start(rr->prover, body);
		return;
	}
	resolve_message(rr->resolve, type, body);
	if (type == RESOLVE_END)
		resolver_listen(rr);
}

static void resolver_on_control_gone(void *arg, const char *reason)
{
	struct resolver *rr = arg;

	LOG_INFO("control gone, answering on", "reason=\"%s\"", reason);
	chan_close(rr->control);
	rr->control = NULL;
}

static void resolver_on_msg(void *arg, uint16_t type, const void *body, size_t len, int *fds, size_t nfds)
{
	static const struct chan_ops ops = {resolver_on_control_msg, resolver_on_control_gone};
	struct resolver *rr = arg;

	(void)body;
	(void)len;
	(void)nfds;
	if (type != MSG_PEER_CONTROL)
		return;
	chan_close(rr->control);
	rr->control = chan_new(rr->loop, fds[0], resolve_rules, resolve_rules_count, &ops, rr);
	if (rr->control)
		fds[0] = -1;
}

static void resolver_on_gone(void *arg, const char *reason)
{
	struct resolver *rr = arg;

	LOG_INFO("supervisor gone, answering on", "reason=\"%s\"", reason);
	chan_close(rr->chan);
	rr->chan = NULL;
}

static void resolver_on_signal(void *arg, int signo)
{
	(void)signo;
	loop_stop(((struct resolver *)arg)->loop);
}

static void resolver_proved(void *arg, const struct resolve_proved *p)
{
	struct resolver *rr = arg;

	if (rr->control)
		chan_send(rr->control, RESOLVE_PROVED, p, sizeof *p, NULL, 0);
}

static int resolver_start(struct resolver *rr, const struct msg_init_resolver *init, const int *fds, struct err *e)
{
	static const struct chan_ops ops = {resolver_on_msg, resolver_on_gone};
	int r;

	rr->udp = fds[0];
	rr->tcp = fds[1];
	rr->loop = loop_new();
	if (!rr->loop)
		return err_set(e, ENOMEM, "out of memory or descriptors");
	r = role_confine(ROLE_RESOLVER, init->user, init->root_dir, e);
	if (r < 0)
		return r;
	rr->resolve = resolve_new(rr->loop, init->servers,
				  init->server_count < MSG_RESOLVERS_MAX ? init->server_count : MSG_RESOLVERS_MAX);
	rr->prover = prover_new(rr->loop, init->servers,
				init->server_count < MSG_RESOLVERS_MAX ? init->server_count : MSG_RESOLVERS_MAX,
				resolver_proved, rr);
	if (!rr->resolve || !rr->prover)
		return err_set(e, ENOMEM, "out of memory");
	rr->chan = chan_new(rr->loop, ROLE_CHANNEL_FD, msg_rules_resolver, msg_rules_resolver_count, &ops, rr);
	if (!rr->chan || loop_signal_start(rr->loop, &rr->term, SIGTERM, resolver_on_signal, rr) < 0)
		return err_set(e, ENOMEM, "out of memory");
	loop_timer_start(rr->loop, &rr->patience, RESOLVER_PATIENCE_US, resolver_on_impatient, rr);
	return 0;
}

int role_resolver_main(void)
{
	struct resolver rr = {0};
	struct err e = {0};
	int fds[FD_PASS_MAX];
	size_t nfds = 0;
	const struct msg_init_resolver *init =
		role_begin(MSG_INIT_RESOLVER, msg_rules_resolver, msg_rules_resolver_count, fds, &nfds);

	if (!init)
		return 1;
	if (resolver_start(&rr, init, fds, &e) < 0) {
		LOG_ERROR("start failed", "reason=\"%s\"", e.text);
		return 1;
	}
	loop_run(rr.loop);
	return 0;
}
