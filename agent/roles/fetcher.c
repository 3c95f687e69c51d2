/* The fetcher role: requests of our own to the internet.  Layer agent, fetcher process.
 *
 * What it parses comes from strangers: names, TLS, HTTP.  So it has an empty root, opens nothing, and holds no secret:
 * the trust store comes as a descriptor with the first message, what it sends was signed by control, and what it
 * receives control checks, but for what responders say of certificates, which is read here.  A hang of it ends it: an
 * alarm that the loop puts off again and again. */
#include "agent/fetch/fetch.h"

#include "agent/fetch/status.h"
#include "agent/roles/messages.h"
#include "agent/roles/role.h"
#include "base/buf.h"
#include "base/chan.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FETCHER_ALARM_S 30 /* a loop that does not come around for so long hangs */
#define FETCHER_TURN_US 5000000

struct fetcher {
	struct loop *loop;
	struct chan *chan;    /* to the supervisor */
	struct chan *control; /* NULL while there is none */
	struct fetch *fetch;
	struct status *status;
	struct loop_signal term;
	struct loop_timer turn;
};

static void fetcher_on_turn(void *arg)
{
	struct fetcher *ff = arg;

	alarm(FETCHER_ALARM_S);
	loop_timer_start(ff->loop, &ff->turn, FETCHER_TURN_US, fetcher_on_turn, ff);
}

static void fetcher_lost(void *arg, const char *reason)
{
	struct fetcher *ff = arg;

	LOG_INFO("control gone", "reason=\"%s\"", reason);
	chan_close(ff->control);
	ff->control = NULL;
	status_forget(ff->status);
	fetch_forget(ff->fetch);
}

static void fetcher_on_answer(void *arg, const struct fetch_answer *a, const void *body)
{
	struct fetcher *ff = arg;
	struct fetch_answer out = *a;
	OWN_FD int fd = -1;

	if (status_answer(ff->status, a, body))
		return;
	fd = body ? fd_memfd_sealed("tulou-fetched", body, a->len) : -1;
	if (body && fd < 0) {
		out.status = out.len = 0;
		snprintf(out.error, sizeof out.error, "out of memory or descriptors");
	}
	if (ff->control)
		chan_send(ff->control, FETCH_ANSWER, &out, sizeof out, &fd, fd >= 0);
}

static void fetcher_on_status(void *arg, const struct fetch_status_answer *a, const void *der)
{
	struct fetcher *ff = arg;
	struct fetch_status_answer out = *a;
	OWN_FD int fd = der ? fd_memfd_sealed("tulou-staple", der, a->len) : -1;

	if (der && fd < 0) {
		out.cert = FETCH_CERT_UNKNOWN;
		out.len = 0;
		snprintf(out.error, sizeof out.error, "out of memory or descriptors");
	}
	if (ff->control)
		chan_send(ff->control, FETCH_STATUS_ANSWER, &out, sizeof out, &fd, fd >= 0);
}

static void fetcher_ask_status(struct fetcher *ff, const struct fetch_status *ask, int fd)
{
	struct fetch_status_answer none = {.id = ask->id, .error = "the certificate cannot be read"};
	OWN_FREE char *pem = NULL;
	size_t n = 0;

	if (fd_read_all(fd, (size_t)LIMIT_CERT_BYTES * 2, &pem, &n) < 0 || n != ask->len)
		fetcher_on_status(ff, &none, NULL);
	else
		status_ask(ff->status, ask, pem);
}

static void fetcher_on_control_msg(void *arg, uint16_t type, const void *body, size_t len, int *fds, size_t nfds)
{
	struct fetcher *ff = arg;

	(void)nfds;
	if (type == FETCH_STATUS)
		fetcher_ask_status(ff, body, fds[0]);
	else
		fetch_ask(ff->fetch, body, len);
}

static void fetcher_on_msg(void *arg, uint16_t type, const void *body, size_t len, int *fds, size_t nfds)
{
	static const struct chan_ops ops = {fetcher_on_control_msg, fetcher_lost};
	struct fetcher *ff = arg;

	(void)body;
	(void)len;
	(void)nfds;
	if (type != MSG_PEER_CONTROL)
		return;
	if (ff->control)
		fetcher_lost(ff, "another took its place");
	ff->control = chan_new(ff->loop, fds[0], fetch_rules_fetcher, fetch_rules_fetcher_count, &ops, ff);
	if (ff->control)
		fds[0] = -1;
}

static void fetcher_on_gone(void *arg, const char *reason)
{
	struct fetcher *ff = arg;

	LOG_INFO("supervisor gone, ending", "reason=\"%s\"", reason);
	loop_stop(ff->loop);
}

static void fetcher_on_signal(void *arg, int signo)
{
	(void)signo;
	loop_stop(((struct fetcher *)arg)->loop);
}

/* The trust stores, one after the other. */
static int fetcher_trust(const int *fds, size_t nfds, char **ret, size_t *len, struct err *e)
{
	OWN_BUF struct buf all;

	buf_init(&all, 2 * LIMIT_TRUST_BYTES);
	for (size_t i = 0; i < nfds; i++) {
		OWN_FREE char *text = NULL;
		size_t n = 0;
		int r = fd_read_all(fds[i], LIMIT_TRUST_BYTES, &text, &n);
		if (r < 0)
			return err_set(e, -r, "the trust store cannot be read: %s", strerror(-r));
		if (buf_add(&all, text, n) < 0 || buf_adds(&all, "\n") < 0)
			return err_set(e, ENOMEM, "out of memory");
	}
	*len = all.len;
	*ret = buf_take(&all);
	return *ret ? 0 : err_set(e, ENOMEM, "out of memory");
}

static int fetcher_start(struct fetcher *ff, const struct msg_init_fetcher *init, const int *fds, size_t nfds,
			 struct err *e)
{
	static const struct chan_ops ops = {fetcher_on_msg, fetcher_on_gone};
	char *trust = NULL;
	size_t len = 0;
	int r = fetcher_trust(fds, nfds, &trust, &len, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < nfds; i++)
		close(fds[i]);
	ff->loop = loop_new();
	if (!ff->loop) {
		free(trust);
		return err_set(e, ENOMEM, "out of memory or descriptors");
	}
	if (!(ff->status = status_new(fetcher_on_status, ff))) {
		free(trust);
		return err_set(e, ENOMEM, "out of memory");
	}
	r = fetch_new(ff->loop, trust, len, init->servers,
		      init->server_count < MSG_RESOLVERS_MAX ? init->server_count : MSG_RESOLVERS_MAX,
		      fetcher_on_answer, ff, &ff->fetch, e);
	if (r == 0)
		status_use(ff->status, ff->fetch);
	if (r == 0)
		r = role_confine(ROLE_FETCHER, init->user, init->root_dir, e);
	if (r < 0)
		return r;
	ff->chan = chan_new(ff->loop, ROLE_CHANNEL_FD, msg_rules_fetcher, msg_rules_fetcher_count, &ops, ff);
	if (!ff->chan || loop_signal_start(ff->loop, &ff->term, SIGTERM, fetcher_on_signal, ff) < 0 ||
	    chan_send(ff->chan, MSG_READY, NULL, 0, NULL, 0) < 0)
		return err_set(e, ENOMEM, "out of memory");
	signal(SIGALRM, SIG_DFL);
	fetcher_on_turn(ff);
	return 0;
}

int role_fetcher_main(void)
{
	struct fetcher ff = {0};
	struct err e = {0};
	int fds[FD_PASS_MAX];
	size_t nfds = 0;
	const struct msg_init_fetcher *init =
		role_begin(MSG_INIT_FETCHER, msg_rules_fetcher, msg_rules_fetcher_count, fds, &nfds);

	if (!init)
		return 1;
	if (fetcher_start(&ff, init, fds, nfds, &e) < 0) {
		LOG_ERROR("start failed", "reason=\"%s\"", e.text);
		return 1;
	}
	loop_run(ff.loop);
	return 0;
}
