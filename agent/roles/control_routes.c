/* What the proxy workers know: apps, hosts, instances.  Layer agent, control process.
 *
 * A worker that connects is brought into step in pieces (no more than ROUTES_BACKLOG messages waiting), in the order of
 * app ids; changes meanwhile go out at once, which is harmless: every message says a state, not a difference. */
#include "agent/roles/control_core.h"

#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUTES_BACKLOG 8192
#define ROUTES_APPS 500 /* apps sent to one worker in one turn */
#define ROUTES_RETRY_US 5000
#define ROUTES_OLD_WORKERS (1u << LIMIT_WORKERS) /* in drain_pending, beside a bit for each worker */
#define ROUTES_WAIT_MS 30000  /* how long a request may wait for an instance: a cold start of a slow app */
#define ROUTES_HOLD_MS 120000 /* the same where one must stop before another starts */
_Static_assert(ROUTES_HOLD_MS <= LIMIT_PROXY_WAIT_MS, "a worker would cut it off");

static void routes_worker_lost(struct control_worker *w);

static void routes_given_up(void *arg)
{
	routes_worker_lost(arg);
}

void control_routes_send(struct control_worker *w, uint16_t type, const void *body, size_t len, const int *fds,
			 size_t nfds)
{
	int r = w->chan ? chan_send(w->chan, type, body, len, fds, nfds) : 0;

	/* A worker that does not read is not told half of it: it gets a new table when it comes back. */
	if (r == -ENOBUFS || r == -ENOMEM) {
		LOG_WARN("proxy does not read its routes", "worker=%d backlog=%zu", (int)(w - w->control->workers),
			 chan_backlog(w->chan));
		chan_close(w->chan);
		w->chan = NULL;
		w->control->workers_up &= ~(1u << (w - w->control->workers));
		loop_timer_start(w->control->loop, &w->timer, 0, routes_given_up,
				 w); /* callers walk lists that it changes */
	}
}

static void routes_send(struct control_worker *w, uint16_t type, const void *body, size_t len)
{
	control_routes_send(w, type, body, len, NULL, 0);
}

void control_routes_all(struct control *c, uint16_t type, const void *body, size_t len)
{
	for (unsigned i = 0; i < LIMIT_WORKERS; i++)
		if (c->workers[i].chan && c->synced)
			routes_send(&c->workers[i], type, body, len);
}

static enum proxy_app_state routes_state(const struct control_app *ca)
{
	bool wanted = false, has_web = false, serves = false;
	const struct control_instance *ci;

	if (ca->rec.paused)
		return PROXY_APP_PAUSED;
	for (unsigned i = 0; i < ca->live.count; i++)
		has_web = has_web || strcmp(ca->live.name[i], "web") == 0;
	for (unsigned i = 0; i < ca->formation_count; i++)
		wanted = wanted || (strcmp(ca->formation[i].type, "web") == 0 && ca->formation[i].count);
	/* Before the first of the old ones leaves: what comes from now on waits. */
	if (ca->rec.release && wanted && !ca->control->draining &&
	    (ca->serving.hold || (ca->rec.candidate && control_holds(ca))))
		return PROXY_APP_HOLD;
	TAILQ_FOREACH(ci, &ca->instances, link)
	{
		serves = serves || ci->routed;
	}
	if (serves)
		return PROXY_APP_SERVING;
	if (!ca->rec.release || !has_web || !wanted || ca->control->draining)
		return PROXY_APP_EMPTY;
	return control_looping(ca, "web") || control_refused(ca, "web") ? PROXY_APP_CRASHED : PROXY_APP_SERVING;
}

static struct proxy_msg_app routes_app(const struct control_app *ca)
{
	struct proxy_msg_app m = {.app = (uint64_t)ca->rec.id,
				  .tenant = (uint64_t)ca->rec.tenant,
				  .slot = ca->slot,
				  .state = ca->shown,
				  .wait_ms = ca->shown == PROXY_APP_HOLD || control_holds(ca) ? ROUTES_HOLD_MS
											      : ROUTES_WAIT_MS,
				  .https = ca->rec.https,
				  .hsts_s = ca->rec.hsts_s};

	memcpy(m.name, ca->rec.name, sizeof m.name);
	return m;
}

static struct proxy_msg_host routes_host(const struct control_app *ca, const char *host)
{
	struct proxy_msg_host m = {.app = (uint64_t)ca->rec.id};

	if (host)
		snprintf(m.host, sizeof m.host, "%s", host);
	else
		snprintf(m.host, sizeof m.host, "%s.%.200s", ca->rec.name, ca->control->settings.domain_apps);
	return m;
}

static struct proxy_msg_instance routes_instance(const struct control_instance *ci, enum proxy_instance_state state)
{
	return (struct proxy_msg_instance){.app = (uint64_t)ci->app->rec.id,
					   .instance = (uint64_t)ci->rec.id,
					   .address = ci->address,
					   .port = ci->app->control->app_port,
					   .state = (uint16_t)state,
					   .group = control_canary_serves(ci->app, ci->rec.release),

					   .protocol = ci->h2c ? PROXY_PROTOCOL_H2C : PROXY_PROTOCOL_HTTP1};
}

static struct proxy_msg_spread routes_spread(const struct control_app *ca)
{
	return (struct proxy_msg_spread){
		.app = (uint64_t)ca->rec.id, .concurrency = ca->serving.concurrency, .access = ca->serving.access_log};
}

/* The folder of a unix socket goes along, each time: a worker that knows the instance lets it be. */
static void routes_send_instance(struct control_worker *w, const struct control_instance *ci,
				 const struct proxy_msg_instance *m)
{
	if (!ci->listens_unix || ci->socket >= 0)
		control_routes_send(w, PROXY_INSTANCE, m, sizeof *m, ci->listens_unix ? &ci->socket : NULL,
				    ci->listens_unix);
}

enum proxy_instance_state control_routes_up(const struct control_instance *ci)
{
	return ci->healthy ? PROXY_INSTANCE_UP : PROXY_INSTANCE_SICK;
}

static bool routes_draining(const struct control_instance *ci)
{
	return strcmp(ci->rec.type, "web") == 0 && ci->address &&
	       (ci->rec.state == MODEL_INSTANCE_DRAINING || ci->rec.state == MODEL_INSTANCE_STOPPING);
}

/* --- one worker comes into step ----------------------------------------------------------------------------------- */

static void routes_sync_app(struct control_worker *w, struct control_app *ca)
{
	struct proxy_msg_app app = routes_app(ca);
	struct proxy_msg_host host = routes_host(ca, NULL);
	struct proxy_msg_spread spread = routes_spread(ca);
	struct control_instance *ci;

	routes_send(w, PROXY_APP, &app, sizeof app);
	routes_send(w, PROXY_SPREAD, &spread, sizeof spread);
	/* The door before what leads to it: a worker may serve without routes, and then meets half of a sync. */
	control_front_sync_app(w, ca);
	routes_send(w, PROXY_HOST, &host, sizeof host);
	for (const char *p = ca->domains; p && *p; p += strlen(p) + 1) {
		host = routes_host(ca, p);
		routes_send(w, PROXY_HOST, &host, sizeof host);
	}
	control_certs_sync_app(w, ca);
	TAILQ_FOREACH(ci, &ca->instances, link)
	{
		struct proxy_msg_instance m =
			routes_instance(ci, ci->routed ? control_routes_up(ci) : PROXY_INSTANCE_DRAINING);
		if (!ci->routed && !routes_draining(ci))
			continue;
		routes_send_instance(w, ci, &m);
		if (!ci->routed && !ci->drained)
			ci->drain_pending |= 1u << (w - w->control->workers) | control_old_workers(w->control);
	}
}

static void routes_sync(void *arg)
{
	struct control_worker *w = arg;
	unsigned n = 0;

	while (w->chan && w->syncing && w->cursor && n++ < ROUTES_APPS && chan_backlog(w->chan) < ROUTES_BACKLOG) {
		struct control_app *ca = w->cursor;
		w->cursor = TAILQ_NEXT(ca, link);
		if (!ca->deleted)
			routes_sync_app(w, ca);
	}
	if (!w->chan || !w->syncing)
		return;
	if (w->cursor) {
		loop_timer_start(w->control->loop, &w->timer, n < ROUTES_APPS ? ROUTES_RETRY_US : 0, routes_sync, w);
	} else {
		w->syncing = false;
		routes_send(w, PROXY_SYNC_END, NULL, 0);
	}
}

static void routes_sync_start(struct control_worker *w)
{
	w->syncing = true;
	w->cursor = TAILQ_FIRST(&w->control->all);
	routes_send(w, PROXY_SYNC_BEGIN, NULL, 0);
	control_certs_sync(w);
	control_acme_sync(w);
	routes_sync(w);
}

void control_workers_sync(struct control *c)
{
	struct control_app *ca;

	TAILQ_FOREACH(ca, &c->all, link)
	{
		ca->shown = routes_state(ca);
	}
	for (unsigned i = 0; i < LIMIT_WORKERS; i++)
		if (c->workers[i].chan)
			routes_sync_start(&c->workers[i]);
}

/* --- what workers say -----------------------------------------------------------------------------------------------
 */

static void routes_drained(struct control_instance *ci, uint32_t worker_bit)
{
	if (!(ci->drain_pending & worker_bit))
		return;
	ci->drain_pending &= ~worker_bit;
	if (ci->drain_pending == 0 && ci->rec.state == MODEL_INSTANCE_DRAINING) {
		ci->drained = true;
		control_touch(ci->app);
	}
}

uint32_t control_old_workers(const struct control *c)
{
	return c->old_workers ? ROUTES_OLD_WORKERS : 0;
}

void control_on_old_workers(struct control *c, unsigned count)
{
	struct control_instance *ci;
	struct control_app *ca;

	c->old_workers = count > 0;
	if (c->old_workers)
		return;
	TAILQ_FOREACH(ca, &c->all, link)
	{
		TAILQ_FOREACH(ci, &ca->instances, link)
		{
			routes_drained(ci, ROUTES_OLD_WORKERS);
		}
	}
}

static void routes_confirmed(struct control_app *ca, uint32_t worker_bit)
{
	ca->waiter.pending &= ~worker_bit;
	if (ca->waiter.release && ca->waiter.barrier && ca->waiter.barrier != UINT64_MAX && !ca->waiter.pending)
		control_rolled(ca, NULL);
}

static void routes_on_msg(void *arg, uint16_t type, const void *body, size_t len, int *fds, size_t nfds)
{
	struct control_worker *w = arg;
	struct control *c = w->control;
	const struct proxy_msg_id *m = body;
	uint32_t bit = 1u << (w - c->workers);
	int64_t id = (int64_t)m->id;
	struct control_instance *ci;
	struct control_app *ca;

	(void)fds;
	(void)nfds;
	switch (type) {
	case PROXY_WATCH_ROWS:
		control_talkers_rows(c, bit, body, len);
		break;
	case PROXY_WATCH_DONE:
		control_talkers_told(c, bit, body);
		break;
	case PROXY_BARRIER_DONE:
		control_acme_barrier(c, m->id, bit);
		TAILQ_FOREACH(ca, &c->all, link)
		{
			if (ca->waiter.release && ca->waiter.barrier == m->id) {
				routes_confirmed(ca, bit);
				break;
			}
		}
		break;
	case PROXY_DRAINED:
		if ((ci = map_get(c->instances, &id, sizeof id)))
			routes_drained(ci, bit);
		break;
	case PROXY_WAKE:
		if ((ca = control_app_get(c, id)))
			control_touch(ca);
		break;
	case PROXY_FAILING:
		if ((ci = map_get(c->instances, &id, sizeof id)))
			control_health_now(ci);
		break;
	default:
		break;
	}
}

static void routes_worker_lost(struct control_worker *w)
{
	struct control *c = w->control;
	uint32_t bit = 1u << (w - c->workers);
	struct control_instance *ci;
	struct control_app *ca;

	chan_close(w->chan);
	w->chan = NULL;
	w->syncing = false;
	w->cursor = NULL;
	loop_timer_stop(&w->timer);
	c->workers_up &= ~bit;
	control_acme_worker_lost(c, bit);
	control_talkers_lost(c, bit);
	/* What it still had in flight is lost, or ends without us: nobody waits for it. */
	TAILQ_FOREACH(ca, &c->all, link)
	{
		TAILQ_FOREACH(ci, &ca->instances, link)
		{
			routes_drained(ci, bit);
		}
		if (ca->waiter.pending & bit)
			routes_confirmed(ca, bit);
	}
}

static void routes_on_gone(void *arg, const char *reason)
{
	struct control_worker *w = arg;

	LOG_INFO("proxy worker gone", "worker=%d reason=\"%s\"", (int)(w - w->control->workers), reason);
	routes_worker_lost(w);
}

void control_worker_add(struct control *c, uint32_t worker, int32_t pid, int fd)
{
	static const struct chan_ops ops = {routes_on_msg, routes_on_gone};
	struct control_worker *w = &c->workers[worker];

	w->control = c;
	if (w->chan)
		routes_worker_lost(w);
	w->pid = pid;
	w->chan = chan_new(c->loop, fd, proxy_rules_from_proxy, proxy_rules_from_proxy_count, &ops, w);
	if (!w->chan) {
		LOG_WARN("proxy worker refused", "worker=%u error=\"out of memory\"", worker);
		close(fd);
		return;
	}
	c->workers_up |= 1u << worker;
	if (c->synced)
		routes_sync_start(w);
}

void control_workers_free(struct control *c)
{
	for (unsigned i = 0; i < LIMIT_WORKERS; i++) {
		chan_close(c->workers[i].chan);
		c->workers[i].chan = NULL;
		loop_timer_stop(&c->workers[i].timer);
	}
	c->workers_up = 0;
}

/* --- changes --------------------------------------------------------------------------------------------------------
 */

void control_routes_app(struct control_app *ca, bool force)
{
	enum proxy_app_state state = routes_state(ca);
	struct proxy_msg_app m;
	struct proxy_msg_host host;

	if (ca->deleted || (!force && ca->host_shown && ca->shown == state))
		return;
	ca->shown = state;
	m = routes_app(ca);
	control_routes_all(ca->control, PROXY_APP, &m, sizeof m);
	if (ca->host_shown && !force)
		return;
	ca->host_shown = true;
	control_routes_spread(ca);
	host = routes_host(ca, NULL);
	control_routes_all(ca->control, PROXY_HOST, &host, sizeof host);
}

void control_routes_spread(struct control_app *ca)
{
	struct proxy_msg_spread m = routes_spread(ca);

	if (!ca->deleted && ca->host_shown)
		control_routes_all(ca->control, PROXY_SPREAD, &m, sizeof m);
}

void control_routes_host(struct control_app *ca, const char *host, bool gone)
{
	struct proxy_msg_host m = routes_host(ca, host);

	if (!gone)
		control_routes_app(ca, false); /* the app first */
	control_routes_all(ca->control, gone ? PROXY_HOST_DEL : PROXY_HOST, &m, sizeof m);
}

void control_routes_app_gone(struct control_app *ca)
{
	struct proxy_msg_id m = {(uint64_t)ca->rec.id};

	control_routes_all(ca->control, PROXY_APP_DEL, &m, sizeof m);
}

void control_routes_instance(struct control_instance *ci, enum proxy_instance_state state)
{
	struct proxy_msg_instance m = routes_instance(ci, state);

	if (!ci->address || ci->app->deleted)
		return;
	control_routes_app(ci->app, false);
	for (unsigned i = 0; i < LIMIT_WORKERS; i++)
		if (ci->app->control->workers[i].chan && ci->app->control->synced)
			routes_send_instance(&ci->app->control->workers[i], ci, &m);
}

void control_routes_instance_gone(struct control_instance *ci)
{
	struct proxy_msg_id m = {(uint64_t)ci->rec.id};

	if (strcmp(ci->rec.type, "web") == 0 && ci->address)
		control_routes_all(ci->app->control, PROXY_INSTANCE_DEL, &m, sizeof m);
}

void control_routes_barrier(struct control_app *ca)
{
	struct control *c = ca->control;
	struct proxy_msg_id m = {++c->barrier};

	ca->waiter.barrier = m.id;
	ca->waiter.pending = c->workers_up;
	control_routes_all(c, PROXY_BARRIER, &m, sizeof m);
	ca->waiter.pending &= c->workers_up; /* one may have been given up just now */
	if (!ca->waiter.pending)
		control_rolled(ca, NULL);
}
