/* The control role: start, messages of the supervisor, end of a turn, end.  Layer agent, control process. */
#include "agent/roles/control_core.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/own.h"
#include "base/parse.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONTROL_FAILED_US 500000 /* after a failed commit: time for the 503s to leave */
#define CONTROL_RESEND_US 50000

static void control_turn(void *arg);

int64_t control_now_ms(void)
{
	return clock_mono_us() / 1000;
}

void control_arm(struct control *c)
{
	if (c->turn_armed)
		return;
	c->turn_armed = true;
	loop_defer(c->loop, control_turn, c);
}

void control_written(struct control *c)
{
	control_arm(c);
}

static void control_event_add(struct control *c, struct model_event *ev, const char *kind, const char *fmt, va_list ap)
{
	struct err e = {0};

	snprintf(ev->kind, sizeof ev->kind, "%s", kind);
	vsnprintf(ev->text, sizeof ev->text, fmt, ap);
	if (store_event_add(c->store, ev, &e) < 0)
		LOG_WARN("event not kept", "app=%" PRId64 " kind=%s error=\"%s\"", ev->app, kind, e.text);
	else if (c->api)
		api_event(c->api, ev);
	control_written(c);
}

void control_event(struct control *c, const struct control_app *ca, int64_t instance, const char *kind, const char *fmt,
		   ...)
{
	struct model_event ev = {.tenant = ca ? ca->rec.tenant : 0, .app = ca ? ca->rec.id : 0, .instance = instance};
	va_list ap;

	va_start(ap, fmt);
	control_event_add(c, &ev, kind, fmt, ap);
	va_end(ap);
}

void control_tenant_event(struct control *c, const struct control_tenant *t, const char *kind, const char *fmt, ...)
{
	struct model_event ev = {.tenant = t->rec.id};
	va_list ap;

	va_start(ap, fmt);
	control_event_add(c, &ev, kind, fmt, ap);
	va_end(ap);
}

/* --- messages to the supervisor ------------------------------------------------------------------------------- */

static void control_message_done(struct control_message *m)
{
	for (unsigned i = 0; i < m->nfds; i++)
		own_close(&m->fds[i]);
	free(m->body);
}

void control_send(struct control *c, uint16_t type, const void *body, size_t len, int *fds, size_t nfds)
{
	struct control_message m = {.type = type, .len = (uint32_t)len};

	assert(nfds <= ARRAY_LEN(m.fds));
	for (; m.nfds < nfds; m.nfds++)
		m.fds[m.nfds] = TAKE_FD(fds[m.nfds]);
	m.body = len ? malloc(len) : NULL;
	if (c->out_count == c->out_cap) {
		size_t cap = c->out_cap ? c->out_cap * 2 : 64;
		struct control_message *q = realloc(c->outbox, cap * sizeof *q);
		if (!q)
			abort(); /* nothing can be managed without memory; the next control process can */
		c->outbox = q;
		c->out_cap = cap;
	}
	if (len && !m.body)
		abort();
	if (len)
		memcpy(m.body, body, len);
	c->outbox[c->out_count++] = m;
	control_arm(c);
}

static void control_on_retry(void *arg)
{
	control_arm(arg);
}

static void control_flush(struct control *c)
{
	size_t n = 0;

	for (; n < c->out_count; n++) {
		struct control_message *m = &c->outbox[n];
		int r = c->failed ? -EPIPE : chan_send(c->super, m->type, m->body, m->len, m->fds, m->nfds);

		if (r == -ENOBUFS || r == -ENOMEM || r == -EMFILE) {
			loop_timer_start(c->loop, &c->retry, CONTROL_RESEND_US, control_on_retry, c);
			break;
		}
		control_message_done(m);
	}
	if (n && n < c->out_count)
		memmove(c->outbox, c->outbox + n, (c->out_count - n) * sizeof *c->outbox);
	c->out_count -= n;
}

/* --- end of a turn -------------------------------------------------------------------------------------------- */

static void control_stop(struct control *c, int exit_code)
{
	c->ending = true;
	c->exit_code = exit_code;
	loop_stop(c->loop);
}

static void control_on_end(void *arg)
{
	control_stop(arg, 1);
}

static void control_save(struct control *c)
{
	struct control_instance *ci;
	struct buf text;
	struct err e = {0};

	while ((ci = TAILQ_FIRST(&c->unsaved))) {
		TAILQ_REMOVE(&c->unsaved, ci, save);
		ci->is_unsaved = false;
		if (store_instance_update(c->store, &ci->rec, &e) < 0 && e.code != ENOENT)
			LOG_WARN("instance record", "app=%s instance=%" PRId64 " error=\"%s\"", ci->app->rec.name,
				 ci->rec.id, e.text);
	}
	if (!c->removals_changed)
		return;
	c->removals_changed = false;
	buf_init(&text, CONTROL_REMOVALS * 24);
	buf_adds(&text, "");
	for (unsigned i = 0; i < c->removal_count; i++)
		buf_printf(&text, "%u:%" PRIu64 " ", c->removals[i].kind, c->removals[i].id);
	if (store_meta_set(c->store, "control.removals", text.data ? text.data : "", &e) < 0)
		LOG_WARN("removals record", "error=\"%s\"", e.text);
	buf_done(&text);
}

static void control_commit(struct control *c)
{
	struct err e = {0};

	control_save(c);
	if (c->failed || (store_dirty(c->store) && store_commit(c->store, &e) < 0)) {
		store_rollback(c->store);
		if (c->api)
			api_commit_failed(c->api);
		if (!c->failed) {
			LOG_ERROR("commit failed, starting again", "error=\"%s\"", e.text);
			c->failed = true;
			loop_timer_start(c->loop, &c->end, CONTROL_FAILED_US, control_on_end, c);
		}
	} else if (c->api) {
		api_committed(c->api);
	}
	if (!c->failed && store_generation(c->store) != c->generation) {
		c->generation = store_generation(c->store);
		if (c->api)
			api_state_changed(c->api);
	}
	control_flush(c);
}

static void control_turn(void *arg)
{
	struct control *c = arg;

	if (c->dead)
		return;
	if (c->synced && !c->failed)
		control_plan(c);
	control_commit(c);
	c->turn_armed = false;
	if (c->synced && !c->failed && !TAILQ_EMPTY(&c->touched))
		loop_timer_start(c->loop, &c->retry, 0, control_on_retry, c);
}

/* --- removals: asked of the supervisor until it confirms, also by a later control ----------------------------- */

void control_remove(struct control *c, enum msg_remove_kind kind, uint64_t id)
{
	struct msg_remove m = {.kind = kind, .id = id};

	if (c->removal_count < CONTROL_REMOVALS) {
		struct msg_remove *q = realloc(c->removals, (c->removal_count + 1) * sizeof *q);
		if (q) {
			c->removals = q;
			c->removals[c->removal_count++] = m;
			c->removals_changed = true;
			control_written(c);
		}
	}
	if (c->synced)
		control_send(c, MSG_REMOVE, &m, sizeof m, NULL, 0);
}

static void control_on_removed(struct control *c, const struct msg_remove *m)
{
	for (unsigned i = 0; i < c->removal_count; i++)
		if (c->removals[i].kind == m->kind && c->removals[i].id == m->id)
			c->removals[i--] = c->removals[--c->removal_count];
	c->removals_changed = true;
	control_written(c);
}

static void control_removals_load(struct control *c)
{
	OWN_FREE char *text = NULL;
	uint64_t kind, id;

	if (store_meta_get(c->store, "control.removals", &text, NULL) < 0)
		return;
	for (const char *p = text; *p;) {
		size_t k = strcspn(p, ":"), n = p[k] ? strcspn(p + k + 1, " ") : 0;

		if (parse_u64(p, k, 0, MSG_REMOVE_KIND_COUNT - 1, "kind", &kind, NULL) == 0 &&
		    parse_u64(p + k + 1, n, 1, INT64_MAX, "id", &id, NULL) == 0)
			control_remove(c, (enum msg_remove_kind)kind, id);
		p += k + (p[k] ? 1 : 0) + n;
		p += *p == ' ';
	}
}

/* --- messages of the supervisor ------------------------------------------------------------------------------- */

/* What the supervisor has is known now: what the store believed alive beyond it is lost; then work begins. */
static void control_on_synced(struct control *c)
{
	struct msg_instance lost = {.state = MSG_STATE_EXITED, .exit = MSG_EXIT_LOST};
	struct control_app *ca;
	struct control_instance *ci, *next;

	if (c->synced)
		return;
	TAILQ_FOREACH(ca, &c->all, link)
	{
		for (ci = TAILQ_FIRST(&ca->instances); ci; ci = next) {
			next = TAILQ_NEXT(ci, link);
			if (!ci->known) {
				c->sync_lost++;
				lost.instance = (uint64_t)ci->rec.id;
				control_instance_gone(ci, &lost);
			}
		}
	}
	c->synced = true;
	control_tenant_synced(c);
	for (unsigned i = 0; i < c->removal_count; i++)
		control_send(c, MSG_REMOVE, &c->removals[i], sizeof c->removals[i], NULL, 0);
	TAILQ_FOREACH(ca, &c->all, link)
	{
		control_touch(ca);
	}
	control_workers_sync(c);
	control_acme_synced(c);
	control_names_sync(c);
	LOG_INFO("reconciling", "apps=%zu adopted=%u lost=%u", map_count(c->apps), c->sync_adopted, c->sync_lost);
	if (!c->sync_adopted && c->sync_lost)
		control_event(c, NULL, 0, "node.started", "Node %s started: %u instances are started again",
			      c->settings.node_name, c->sync_lost);
	else if (c->sync_adopted)
		control_event(c, NULL, 0, "node.adopted", "Control started again: %u instances run on, %u were lost",
			      c->sync_adopted, c->sync_lost);
	else
		control_event(c, NULL, 0, "node.started", "Node %s started", c->settings.node_name);
	if (c->api)
		api_begin(c->api);
	control_arm(c);
}

static void control_on_msg(void *arg, uint16_t type, const void *body, size_t len, int *fds, size_t nfds)
{
	struct control *c = arg;
	const struct msg_peer *peer = body;

	(void)nfds;
	switch (type) {
	case MSG_PEER_PROXY:
		if (peer->worker < LIMIT_WORKERS)
			control_worker_add(c, peer->worker, peer->pid, TAKE_FD(fds[0]));
		break;
	case MSG_PEER_RESOLVER:
		control_names_add(c, TAKE_FD(fds[0]));
		break;
	case MSG_PEER_FETCHER:
		control_fetch_add(c, TAKE_FD(fds[0]));
		break;
	case MSG_INSTANCE:
		control_on_instance(c, body);
		break;
	case MSG_SOCKET:
		control_on_socket(c, body, &fds[0]);
		break;
	case MSG_SYNC_DONE:
		control_on_synced(c);
		break;
	case MSG_USAGE:
		control_on_usage(c, body, len / sizeof(struct msg_usage));
		break;
	case MSG_TENANT_USAGE:
		control_on_tenant_usage(c, body, len / sizeof(struct msg_tenant_usage));
		break;
	case MSG_DISK:
		control_on_pool(c, body);
		break;
	case MSG_REMOVED:
		control_on_removed(c, body);
		break;
	case MSG_FSCK_FOUND:
		control_on_fsck_found(c, body);
		break;
	case MSG_FSCK_LIST:
		control_on_fsck_list(c, body, len);
		break;
	case MSG_OLD_WORKERS:
		control_on_old_workers(c, ((const struct msg_old_workers *)body)->count);
		break;
	case MSG_CERT_FILE:
		control_on_cert_file(c, body, fds[0]);
		break;
	case MSG_FSCK_DONE:
		control_on_fsck_done(c, body);
		break;
	default:
		break; /* MSG_INIT_CONTROL again: nothing to do */
	}
}

static void control_on_gone(void *arg, const char *reason)
{
	LOG_INFO("supervisor gone, ending", "reason=\"%s\"", reason);
	control_stop(arg, 0);
}

/* --- start and end -------------------------------------------------------------------------------------------- */

/* On a first start the operator needs a token.  The file comes before the commit: a token that nobody could read would
 * lock the operator out. */
static int control_first_token(struct control *c, struct err *e)
{
	char secret[STORE_SECRET_MAX], path[300], line[STORE_SECRET_MAX + 1];
	struct model_token token;
	int r;

	if (store_token_count(c->store) != 0)
		return 0;
	r = store_token_add(c->store, 0, MODEL_ROLE_OPERATOR, "operator", secret, &token, e);
	if (r < 0)
		return r;
	snprintf(path, sizeof path, "%s/operator.token", c->control_dir);
	snprintf(line, sizeof line, "%s\n", secret);
	r = fd_replace_file(AT_FDCWD, path, line, strlen(line), 0600, true);
	return r < 0 ? err_set(e, -r, "cannot write %s: %s", path, strerror(-r)) : 0;
}

/* Numbers this run, so that no job id is ever used twice. */
static int control_number(struct control *c, struct err *e)
{
	OWN_FREE char *text = NULL;
	char next[24];
	uint64_t n = 0;

	if (store_meta_get(c->store, "control.run", &text, NULL) == 0)
		parse_u64(text, strlen(text), 0, 1ull << 37, "control.run", &n, NULL);
	c->run = n + 1;
	snprintf(next, sizeof next, "%" PRIu64, c->run);
	return store_meta_set(c->store, "control.run", next, e);
}

static bool control_flag(struct control *c, const char *key, bool missing)
{
	OWN_FREE char *text = NULL;

	if (store_meta_get(c->store, key, &text, NULL) < 0)
		return missing;
	return strcmp(text, "1") == 0;
}

static void control_paths(struct control *c)
{
	const struct settings_address *a = c->settings.https_count ? &c->settings.https[0] : &c->settings.http[0];
	unsigned port = 0, usual = c->settings.https_count ? 443 : 80;

	if (a->addr.ss_family == AF_INET)
		port = ntohs(((const struct sockaddr_in *)&a->addr)->sin_port);
	else if (a->addr.ss_family == AF_INET6)
		port = ntohs(((const struct sockaddr_in6 *)&a->addr)->sin6_port);
	if (port && port != usual)
		snprintf(c->port_suffix, sizeof c->port_suffix, ":%u", port);
	snprintf(c->control_dir, sizeof c->control_dir, "%s/control", c->settings.data);
	snprintf(c->log_dir, sizeof c->log_dir, "%s/logs", c->settings.data);
}

static int control_open(struct control *c, struct err *e)
{
	int r;

	control_disk_start(c->control_dir);
	r = store_open(c->control_dir, &c->store, e);

	if (r == 0)
		r = control_first_token(c, e);
	if (r == 0)
		r = control_number(c, e);
	if (r == 0)
		control_ocsp_init(c);
	if (r == 0)
		control_acme_init(c);
	if (r == 0)
		r = control_load(c, e);
	if (r < 0)
		return r;
	control_removals_load(c);
	control_certs_init(c);
	control_save(c);
	c->eligible = control_flag(c, "node.eligible", true);
	c->draining = control_flag(c, "node.draining", false);
	r = store_dirty(c->store) ? store_commit(c->store, e) : 0;
	c->generation = store_generation(c->store);
	return r;
}

int control_new(struct loop *l, int chan_fd, const struct msg_init_control *init, int api_listen_fd, int stats_fd,
		struct control **ret, struct err *e)
{
	static const struct chan_ops ops = {control_on_msg, control_on_gone};
	struct control *c = calloc(1, sizeof *c);
	int r;

	if (!c) {
		close(chan_fd);
		if (api_listen_fd >= 0)
			close(api_listen_fd);
		return err_set(e, ENOMEM, "out of memory");
	}
	c->loop = l;
	c->settings = init->settings;
	c->boot = init->boot;
	c->app_port = MSG_INSTANCE_PORT;
	c->started_ms = clock_wall_ms();
	TAILQ_INIT(&c->all);
	TAILQ_INIT(&c->touched);
	TAILQ_INIT(&c->starved);
	TAILQ_INIT(&c->unsaved);
	TAILQ_INIT(&c->throttle.busy);
	TAILQ_INIT(&c->throttle.held);
	control_paths(c);
	control_jobs_init(c);
	control_ops_init(c);
	control_tenant_init(c);
	control_fsck_init(c);
	control_domains_init(c);
	control_canary_init(c);
	control_talkers_init(c);
	control_latency_init(c);
	c->super = chan_new(l, chan_fd, msg_rules_control, msg_rules_control_count, &ops, c);
	if (!c->super)
		close(chan_fd);
	c->tenants = map_new();
	c->apps = map_new();
	c->instances = map_new();
	c->jobs = map_new();
	c->names = map_new();
	c->fetches = map_new();
	c->slots = calloc((LIMIT_APPS + 31) / 32, sizeof *c->slots);
	if (stats_fd >= 0)
		c->stats = stats_map(stats_fd, 0);
	if (!c->super || !c->tenants || !c->apps || !c->instances || !c->jobs || !c->names || !c->fetches ||
	    !c->slots || (stats_fd >= 0 && !c->stats))
		r = err_set(e, ENOMEM, "out of memory");
	else
		r = control_open(c, e);
	if (r == 0) {
		c->builds = builds_new(l, c->store, &c->settings, c->control_dir, &c->build_host);
		c->gits = c->builds ? gits_new(c->builds) : NULL;
		if (!c->gits)
			r = err_set(e, ENOMEM, "out of memory");
	}
	if (r == 0 && api_listen_fd >= 0) {
		struct api_config config = {.settings = &c->settings,
					    .store = c->store,
					    .ops = &c->ops,
					    .listen_fd = api_listen_fd,
					    .log_dir = c->log_dir,
					    .control_dir = c->control_dir,
					    .public_port_suffix = c->port_suffix};
		r = api_new(l, &config, &c->api, e);
		if (r == 0)
			api_listen_fd = -1;
	}
	if (r == 0)
		r = chan_send(c->super, MSG_SYNC, NULL, 0, NULL, 0) < 0 ? err_set(e, EPIPE, "the supervisor is gone")
									: 0;
	if (r < 0) {
		if (api_listen_fd >= 0)
			close(api_listen_fd);
		control_free(c);
		return r;
	}
	control_tick(c);
	control_throttle_tick(c);
	*ret = c;
	return 0;
}

static void control_free_last(void *arg)
{
	free(arg);
}

void control_free(struct control *c)
{
	struct control_app *ca;
	struct control_job *job;
	struct control_tenant *t;
	size_t pos = 0;

	if (!c)
		return;
	c->dead = c->turn_armed = c->failed = true; /* nothing is sent or written from here on */
	api_free(c->api);
	c->api = NULL;
	control_fsck_done(c);
	control_talkers_done(c);
	gits_free(c->gits);
	builds_free(c->builds);
	control_workers_free(c);
	control_names_free(c);
	loop_timer_stop(&c->tick);
	control_certs_done(c);
	control_acme_done(c);
	control_ocsp_done(c);
	control_fetch_free(c);
	control_throttle_stop(c);
	loop_timer_stop(&c->retry);
	loop_timer_stop(&c->end);
	while ((ca = TAILQ_FIRST(&c->all)))
		control_app_free(ca);
	while (c->jobs && (job = map_next(c->jobs, &pos)))
		free(job);
	for (pos = 0; c->tenants && (t = map_next(c->tenants, &pos));)
		free(t);
	for (size_t i = 0; i < c->out_count; i++)
		control_message_done(&c->outbox[i]);
	map_free(c->tenants);
	map_free(c->apps);
	map_free(c->instances);
	map_free(c->jobs);
	free(c->outbox);
	free(c->removals);
	free(c->slots);
	chan_close(c->super);
	if (c->store)
		store_close(c->store);
	loop_defer(c->loop, control_free_last, c); /* behind a turn that is armed already */
}

static void control_on_signal(void *arg, int signo)
{
	(void)signo;
	control_stop(arg, 0);
}

int control_main(struct loop *l, int chan_fd, const struct msg_init_control *init, int api_listen_fd, int stats_fd)
{
	struct control *c = NULL;
	struct err e = {0};
	int exit_code;

	if (control_new(l, chan_fd, init, api_listen_fd, stats_fd, &c, &e) < 0 || !c) {
		LOG_ERROR("start failed", "reason=\"%s\"", e.text);
		return 1;
	}
	if (loop_signal_start(l, &c->term, SIGTERM, control_on_signal, c) < 0 ||
	    chan_send(c->super, MSG_READY, NULL, 0, NULL, 0) < 0) {
		LOG_ERROR("start failed", "reason=\"out of memory, or the supervisor is gone\"");
		control_free(c);
		return 1;
	}
	loop_run(l);
	loop_signal_stop(&c->term);
	exit_code = c->exit_code;
	control_free(c);
	return exit_code;
}
