/* Certificates from an authority: which names, and what they have.  Layer agent, control process.
 *
 * Only names that the store knows are ordered: a client that asks for another one causes nothing.  Everything that must
 * outlive this process is in the store before it matters: the account's key before the account, a certificate's key
 * before its order, the order's URL as soon as it has one.  So whatever is killed, an order goes on where it was. */
#include "agent/roles/control_acme.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "web/http/cert.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t acme_hash_key[16] = {'j', 'i', 't', 't', 'e', 'r'}; /* no secret: it spreads */

uint64_t acme_seed(const struct acme_name *n)
{
	return map_siphash(n->host, strlen(n->host), acme_hash_key);
}

/* --- the engine's requests and pauses ------------------------------------------------------------------------- */

struct acme_late {
	TAILQ_ENTRY(acme_late) link;
	struct control_acme *m;
	uint64_t ticket, fetch;
	struct loop_timer timer;
};

static void late_free(struct acme_late *l)
{
	TAILQ_REMOVE(&l->m->late, l, link);
	loop_timer_stop(&l->timer);
	loop_defer(l->m->control->loop, free, l);
}

static struct acme_late *late_new(struct control_acme *m, uint64_t ticket)
{
	struct acme_late *l = calloc(1, sizeof *l);

	if (!l)
		abort(); /* nothing can be managed without memory; the next control process can */
	l->m = m;
	l->ticket = ticket;
	TAILQ_INSERT_TAIL(&m->late, l, link);
	return l;
}

static void acme_on_fetched(void *arg, const struct fetch_answer *a, const char *body)
{
	struct acme_late *l = arg;
	struct control_acme *m = l->m;
	uint64_t ticket = l->ticket;

	late_free(l);
	acme_answer(m->acme, ticket, a, body);
	control_written(m->control);
}

static void acme_on_late(void *arg)
{
	struct acme_late *l = arg;
	struct control_acme *m = l->m;
	uint64_t ticket = l->ticket;

	late_free(l);
	acme_wake(m->acme, ticket);
	control_written(m->control);
}

static void acme_fetch(void *arg, uint64_t ticket, struct fetch_ask *ask, const void *body)
{
	struct control_acme *m = arg;
	struct acme_late *l = late_new(m, ticket);

	l->fetch = control_fetch(m->control, ask, body, acme_on_fetched, l);
	if (!l->fetch)
		abort();
}

static void acme_wait(void *arg, uint64_t ticket, uint32_t ms)
{
	struct control_acme *m = arg;
	struct acme_late *l = late_new(m, ticket);

	loop_timer_start(m->control->loop, &l->timer, ms * 1000ll, acme_on_late, l);
}

static void acme_account(void *arg, const char *url)
{
	struct control_acme *m = arg;
	struct control *c = m->control;
	struct err e = {0};

	if (store_acme_account_set(c->store, c->settings.acme.directory, m->account_key, url, &e) < 0)
		LOG_WARN("account not kept", "error=\"%s\"", e.text);
	LOG_INFO(url[0] ? "account at the authority" : "the authority does not know our account", "url=%s",
		 url[0] ? url : "-");
	control_written(c);
}

/* --- names ---------------------------------------------------------------------------------------------------- */

void acme_save(struct acme_name *n)
{
	struct model_acme rec = {.host = n->host,
				 .app = n->app,
				 .key = n->key ? n->key : "",
				 .order_url = n->order_url ? n->order_url : "",
				 .challenge = n->challenge,
				 .failures = n->failures,
				 .next_ms = n->next_ms,
				 .window_ms = n->window.since_ms,
				 .window_count = n->window.count,
				 .error = n->error ? n->error : ""};
	struct err e = {0};

	if (store_acme_name_set(n->control->store, &rec, &e) < 0)
		LOG_WARN("name not kept", "host=%s error=\"%s\"", n->host, e.text);
	control_written(n->control);
}

void acme_set(char **at, const char *text)
{
	free(*at);
	*at = text && *text ? strdup(text) : NULL;
}

void acme_forget_key(struct acme_name *n)
{
	cert_free_key(n->key);
	n->key = NULL;
}

static struct acme_name *acme_name_new(struct control_acme *m, const char *host)
{
	struct acme_name *n = calloc(1, sizeof *n + strlen(host) + 1);

	if (!n)
		return NULL;
	memcpy(n->host, host, strlen(host) + 1);
	n->control = m->control;
	n->alpn_fd = -1;
	if (map_put_str(m->names, n->host, n) < 0) {
		free(n);
		return NULL;
	}
	return n;
}

struct acme_tenant *acme_tenant(struct control_acme *m, const struct acme_name *n)
{
	struct control_app *ca = control_app_get(m->control, n->app);
	int64_t id = ca ? ca->rec.tenant : 0;
	struct acme_tenant *t = map_get(m->tenants, &id, sizeof id);

	if (t)
		return t;
	t = calloc(1, sizeof *t);
	if (t) {
		t->id = id;
		if (map_put(m->tenants, &t->id, sizeof t->id, t) < 0) {
			free(t);
			t = NULL;
		}
	}
	return t;
}

void acme_idle(struct acme_name *n)
{
	struct control_acme *m = n->control->acme;
	struct acme_tenant *t = acme_tenant(m, n);

	acme_unshow(n);
	n->order = NULL;
	m->under_way--;
	if (t && t->under_way)
		t->under_way--;
}

static void acme_name_free(struct control_acme *m, struct acme_name *n, bool forget)
{
	acme_info_forget(n);
	if (n->order) {
		struct acme_order *o = n->order;
		acme_idle(n);
		acme_order_free(m->acme, o);
	}
	if (forget)
		store_acme_name_del(m->control->store, n->host, NULL);
	map_del_str(m->names, n->host);
	acme_forget_key(n);
	free(n->order_url);
	free(n->error);
	free(n);
}

static void acme_ordered(void *arg, void *name, const char *url)
{
	struct acme_name *n = name;

	(void)arg;
	acme_set(&n->order_url, url);
	acme_save(n);
}

/* --- what certificates there are ------------------------------------------------------------------------------ */

struct acme_certs {
	struct acme_name *n;
	int64_t now;
};

/* Is host among names separated by spaces (2), or below a wildcard of them (1)? */
static int acme_covers(const char *names, const char *host)
{
	char list[4096];
	size_t n = strlen(names);

	if (n + 2 > sizeof list)
		return 0;
	for (size_t i = 0; i <= n; i++)
		list[i] = names[i] == ' ' ? '\0' : names[i];
	list[n + 1] = '\0';
	return cert_covers(list, host);
}

/* The one that lasts longest; an uploaded one, while it is valid, goes before. */
static int acme_cert(void *arg, const struct model_cert *c)
{
	struct acme_certs *f = arg;
	struct acme_name *n = f->n;
	bool uploaded = c->origin == MODEL_CERT_UPLOADED;

	if (c->origin == MODEL_CERT_SELF || c->not_after_ms <= f->now || !acme_covers(c->names, n->host))
		return 0;
	if (n->cert && (n->uploaded > uploaded || (n->uploaded == uploaded && n->not_after_ms >= c->not_after_ms)))
		return 0;
	n->cert = c->id;
	n->uploaded = uploaded;
	n->not_before_ms = c->not_before_ms;
	n->not_after_ms = c->not_after_ms;
	return 0;
}

void acme_name_certs(struct acme_name *n)
{
	struct acme_certs f = {n, clock_wall_ms()};

	n->cert = 0;
	n->uploaded = false;
	n->not_before_ms = n->not_after_ms = 0;
	store_cert_list(n->control->store, n->app, acme_cert, &f, NULL);
}

int64_t acme_due(const struct acme_name *n)
{
	int64_t due;

	if (!n->wanted || n->uploaded || n->host[0] == '*' ||
	    (!n->app && control_certs_file_covers(n->control, n->host)))
		return INT64_MAX;
	due = n->cert ? pace_renew(n->not_before_ms, n->not_after_ms, acme_seed(n)) : 0;
	if (n->cert && n->renew_ms && n->info_cert == n->cert)
		due = n->renew_ms;
	if (n->forced || n->order_url || (n->cert && control_ocsp_revoked(n->control, (uint64_t)n->cert)))
		due = 0;
	return due > n->next_ms ? due : n->next_ms;
}

static void acme_want(struct control_acme *m, int64_t app, const char *host)
{
	struct acme_name *n = map_get_str(m->names, host);

	if (!n && !(n = acme_name_new(m, host)))
		return;
	/* A name that moved to another app begins anew. */
	if (n->app != app) {
		if (n->order) {
			acme_name_free(m, n, true);
			if (!(n = acme_name_new(m, host)))
				return;
		}
		n->app = app;
		n->failures = 0;
		n->next_ms = 0;
		acme_set(&n->error, NULL);
	}
	n->wanted = true;
	acme_name_certs(n);
}

/* No authority signs for a name that means this very host to everybody (RFC 6761), for an address, or for one label. */
static bool acme_public(const char *host)
{
	size_t n = strlen(host);

	return strchr(host, '.') && strspn(host, "0123456789.") != n &&
	       (n < 10 || strcmp(host + n - 10, ".localhost") != 0);
}

void control_acme_app(struct control_app *ca)
{
	struct control *c = ca->control;
	struct control_acme *m = c->acme;
	struct acme_name *n;
	char own[LIMIT_HOST + 64];

	if (!m)
		return;
	for (size_t pos = 0; (n = map_next(m->names, &pos));)
		if (n->app == ca->rec.id)
			n->wanted = false;
	if (ca->rec.https != MODEL_HTTPS_OFF && !ca->deleted) {
		snprintf(own, sizeof own, "%s.%s", ca->rec.name, c->settings.domain_apps);
		if (c->settings.acme.own_names)
			acme_want(m, ca->rec.id, own);
		for (const char *p = ca->domains; p && *p; p += strlen(p) + 1)
			acme_want(m, ca->rec.id, p);
	}
	/* At the start every row is looked at once, when all apps are there. */
	for (size_t pos = 0; c->synced && (n = map_next(m->names, &pos));)
		if (n->app == ca->rec.id && !n->wanted)
			acme_name_free(m, n, true);
	acme_arm(m, 0);
}

void control_acme_app_gone(struct control *c, int64_t app)
{
	struct acme_name *n;

	for (size_t pos = 0; c->acme && (n = map_next(c->acme->names, &pos));)
		if (n->app == app)
			acme_name_free(c->acme, n, true);
}

/* --- life ----------------------------------------------------------------------------------------------------- */

static int acme_row(void *arg, const struct model_acme *rec)
{
	struct control_acme *m = arg;
	struct acme_name *n = acme_name_new(m, rec->host);

	if (!n)
		return -ENOMEM;
	n->app = rec->app;
	acme_set(&n->key, rec->key);
	acme_set(&n->order_url, rec->order_url);
	acme_set(&n->error, rec->error);
	n->challenge = rec->challenge;
	n->failures = rec->failures;
	n->next_ms = rec->next_ms;
	n->window.since_ms = rec->window_ms;
	n->window.count = rec->window_count;
	return 0;
}

/* The key is in the store before anybody hears of it: a second account would be begun otherwise. */
static int acme_account_key(struct control_acme *m, char **url, struct err *e)
{
	struct control *c = m->control;
	int r = store_acme_account_get(c->store, c->settings.acme.directory, &m->account_key, url, e);

	if (r != -ENOENT)
		return r;
	m->account_key = cert_new_key();
	*url = strdup("");
	if (!m->account_key || !*url)
		return err_set(e, ENOMEM, "out of memory");
	return store_acme_account_set(c->store, c->settings.acme.directory, m->account_key, "", e);
}

void control_acme_init(struct control *c)
{
	static const struct acme_ops ops = {acme_fetch, acme_wait, acme_account, acme_ordered,
					    acme_show,	acme_done, acme_renewal};
	const struct settings_acme *s = &c->settings.acme;
	struct acme_config cfg = {
		.directory = s->directory, .email = s->email, .eab_kid = s->eab_kid, .eab_key = s->eab_key};
	struct control_acme *m;
	OWN_FREE char *url = NULL;
	struct err e = {0};

	if (!s->directory[0] || c->settings.https_count == 0 || !(m = calloc(1, sizeof *m)))
		return;
	c->acme = m;
	m->control = c;
	TAILQ_INIT(&m->late);
	m->names = map_new();
	m->tenants = map_new();
	if (!m->names || !m->tenants || acme_account_key(m, &url, &e) < 0 ||
	    store_acme_name_list(c->store, acme_row, m, &e) < 0) {
		LOG_ERROR("no automatic certificates", "error=\"%s\"", e.code ? e.text : "out of memory");
		control_acme_done(c);
		return;
	}
	cfg.account_key = m->account_key;
	cfg.account_url = url;
	if (!(m->acme = acme_new(&cfg, &ops, m))) {
		LOG_ERROR("no automatic certificates", "error=\"the account's key cannot be read\"");
		control_acme_done(c);
	}
}

void control_acme_synced(struct control *c)
{
	struct control_acme *m = c->acme;
	struct acme_name *n;

	if (!m)
		return;
	if (c->settings.acme.control_name && acme_public(c->settings.domain_control))
		acme_want(m, 0, c->settings.domain_control);
	for (size_t pos = 0; (n = map_next(m->names, &pos));)
		if (!n->wanted)
			acme_name_free(m, n, true);
	acme_arm(m, 0);
}

void control_acme_done(struct control *c)
{
	struct control_acme *m = c->acme;
	struct acme_late *l;
	struct acme_tenant *t;
	struct acme_name *n;

	if (!m)
		return;
	loop_timer_stop(&m->timer);
	while ((l = TAILQ_FIRST(&m->late))) {
		control_fetch_cancel(c, l->fetch);
		late_free(l);
	}
	for (size_t pos = 0; m->names && (n = map_next(m->names, &pos));) {
		n->shown = false;
		own_close(&n->alpn_fd);
		n->order = NULL; /* goes with the engine */
		acme_name_free(m, n, false);
	}
	for (size_t pos = 0; m->tenants && (t = map_next(m->tenants, &pos));) {
		map_del(m->tenants, &t->id, sizeof t->id);
		free(t);
	}
	acme_free(m->acme);
	map_free(m->names);
	map_free(m->tenants);
	cert_free_key(m->account_key);
	cert_free_key(m->alpn_key);
	c->acme = NULL;
	free(m);
}
