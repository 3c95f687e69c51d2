/* Orders of certificates: whose turn it is, and what an end means.  Layer agent, control process.
 *
 * Turns: of all names that are due, one of the tenant with the fewest orders under way, then in this hour, then the one
 * that has been due longest.  A tenant has at most two under way, and a quarter of the hour while others wait, so that
 * a hundred names that lead nowhere hold up nobody else. */
#include "agent/roles/control_acme.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "web/http/cert.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACME_LOOK_MS 3600000   /* nothing due: look again, the clock may have been set */
#define ACME_SWITCH_MS 1000    /* before the other challenge is tried */
#define ACME_LIMITED_MS 600000 /* when an authority does not say how long */
#define ACME_EXPIRING_MS (14ll * 86400 * 1000)

static void acme_event(struct acme_name *n, const char *kind, const char *text)
{
	struct control_app *ca = n->app ? control_app_get(n->control, n->app) : NULL;

	control_event(n->control, ca, 0, kind, "%s", text);
}

/* --- ends ----------------------------------------------------------------------------------------------------- */

struct acme_old {
	const char *names;
	int64_t id[LIMIT_CERTS_APP];
	unsigned count;
};

static int acme_find_old(void *arg, const struct model_cert *c)
{
	struct acme_old *o = arg;

	if (c->origin == MODEL_CERT_ACME && strcmp(c->names, o->names) == 0 && o->count < LIMIT_CERTS_APP)
		o->id[o->count++] = c->id;
	return 0;
}

/* What came must be for the key that was made and for the name that was asked for. */
static int acme_store(struct acme_name *n, const char *chain, struct err *e)
{
	struct control *c = n->control;
	struct model_cert cert = {.app = n->app, .origin = MODEL_CERT_ACME, .names = n->host};
	struct acme_old old = {.names = n->host};
	struct cert_info info = {0};
	int r = cert_check(chain, strlen(chain), n->key, strlen(n->key), clock_wall_ms(), &info, e);

	if (r < 0)
		return r;
	if (cert_covers(info.names, n->host) != 2)
		r = err_set(e, EINVAL, "it is for another name");
	memcpy(cert.issuer, info.issuer, sizeof cert.issuer);
	memcpy(cert.kind, info.kind, sizeof cert.kind);
	memcpy(cert.sha256, info.sha256, sizeof cert.sha256);
	cert.not_before_ms = info.not_before_ms;
	cert.not_after_ms = info.not_after_ms;
	cert_info_done(&info);
	if (r == 0)
		r = store_cert_list(c->store, n->app, acme_find_old, &old, e);
	for (unsigned i = 0; i < old.count && r == 0; i++)
		r = store_cert_del(c->store, n->app, old.id[i], e);
	return r == 0 ? store_cert_add(c->store, &cert, chain, n->key, e) : r;
}

static void acme_issued(struct acme_name *n)
{
	struct control_app *ca = control_app_get(n->control, n->app);
	bool renewed = n->cert != 0;
	char text[LIMIT_HOST + 64];

	n->failures = 0;
	n->next_ms = 0;
	n->forced = n->told_expiring = false;
	acme_set(&n->error, NULL);
	acme_set(&n->order_url, NULL);
	acme_forget_key(n);
	acme_name_certs(n);
	acme_save(n);
	if (ca)
		control_certs_load(ca);
	else if (!n->app)
		control_certs_node(n->control);
	snprintf(text, sizeof text, "Certificate for %s %s", n->host, renewed ? "renewed" : "issued");
	acme_event(n, renewed ? "certificate.renewed" : "certificate.issued", text);
	LOG_INFO(renewed ? "certificate renewed" : "certificate issued", "host=%s", n->host);
}

/* The name itself: the other challenge at once, then longer and longer pauses. */
static void acme_refused(struct control_acme *m, struct acme_name *n, const char *text)
{
	bool both = m->control->settings.acme.challenge == SETTINGS_CHALLENGE_AUTO;

	acme_set(&n->order_url, NULL);
	acme_forget_key(n);
	n->failures++;
	if (both)
		n->challenge = !n->challenge;
	n->next_ms = clock_wall_ms() +
		     (both && n->failures == 1 ? ACME_SWITCH_MS : pace_refused(n->failures - both, acme_seed(n)));
	if (!both || n->failures > 1)
		acme_event(n, "certificate.failed", text);
}

void acme_done(void *arg, void *name, enum acme_end end, const char *text, uint32_t retry_s)
{
	struct control_acme *m = arg;
	struct acme_name *n = name;
	int64_t now = clock_wall_ms();
	struct err e = {0};
	char why[480];

	acme_idle(n);
	if (end == ACME_ISSUED && acme_store(n, text, &e) < 0) {
		/* Its key does not fit, or the app has too many: begin anew, later. */
		snprintf(why, sizeof why, "The certificate that came cannot be used: %.400s", e.text);
		end = ACME_REFUSED;
		text = why;
	}
	m->ends[end]++;
	n->forced = false;
	m->troubles = end == ACME_ISSUED || end == ACME_REFUSED ? 0 : m->troubles + 1;
	switch (end) {
	case ACME_ISSUED:
		acme_issued(n);
		break;
	case ACME_REFUSED:
		acme_refused(m, n, text);
		break;
	case ACME_UNAVAILABLE:
		n->next_ms = now + pace_unavailable(m->troubles, acme_seed(n));
		m->hold_ms = now + pace_unavailable(m->troubles, 0) / 2;
		break;
	case ACME_LIMITED:
		/* It may be this name's own domain that it has enough of: the others go on. */
		n->next_ms = now + (retry_s ? retry_s * 1000ll : ACME_LIMITED_MS);
		if (m->troubles > 2)
			m->hold_ms = now + pace_unavailable(m->troubles, 0);
		break;
	case ACME_END_COUNT:
		break;
	}
	if (end != ACME_ISSUED) {
		acme_set(&n->error, text);
		LOG_WARN("certificate not issued", "host=%s next_s=%" PRId64 " error=\"%s\"", n->host,
			 (n->next_ms - now) / 1000, text);
		acme_save(n);
	}
	acme_arm(m, 0);
}

/* --- turns ---------------------------------------------------------------------------------------------------- */

static void acme_tell_expiring(struct acme_name *n, int64_t now)
{
	char text[LIMIT_HOST + 128];
	int64_t left = n->not_after_ms - now, all = n->not_after_ms - n->not_before_ms;

	/* One that renews itself is told of when that has failed for half of the time it had. */
	if (!n->cert || n->told_expiring || left > (n->uploaded ? ACME_EXPIRING_MS : all / 6))
		return;
	n->told_expiring = true;
	snprintf(text, sizeof text, "The certificate for %s ends in %" PRId64 " hours%s", n->host, left / 3600000,
		 n->uploaded ? ": upload another, or remove it and one is ordered" : "");
	acme_event(n, "certificate.expiring", text);
}

/* The name whose turn it is; *soon becomes when one is due at the latest. */
static struct acme_name *acme_next(struct control_acme *m, int64_t now, int64_t *soon)
{
	struct acme_name *n, *best = NULL;
	uint32_t best_way = 0, best_hour = 0, quarter = m->control->settings.acme.hourly / 4 + 1;
	int64_t best_due = 0, free_ms;

	for (size_t pos = 0; (n = map_next(m->names, &pos));) {
		int64_t due = acme_due(n);
		struct acme_tenant *t;
		acme_tell_expiring(n, now);
		if (n->order || due == INT64_MAX)
			continue;
		if ((free_ms = pace_window_next(&n->window, LIMIT_ACME_TRIES, now)) > due)
			due = free_ms;
		t = acme_tenant(m, n);
		if (!t)
			continue;
		if ((free_ms = pace_window_next(&t->window, quarter, now)) > due)
			due = free_ms;
		if (due > now) {
			*soon = due < *soon ? due : *soon;
			continue;
		}
		if (t->under_way >= LIMIT_ACME_TENANT)
			continue; /* an end arms the timer */
		if (best && (t->under_way > best_way || (t->under_way == best_way && t->window.count > best_hour) ||
			     (t->under_way == best_way && t->window.count == best_hour && due >= best_due)))
			continue;
		best = n;
		best_way = t->under_way;
		best_hour = t->window.count;
		best_due = due;
	}
	return best;
}

static enum acme_challenge acme_choose(const struct control_acme *m, const struct acme_name *n)
{
	switch ((enum settings_challenge)m->control->settings.acme.challenge) {
	case SETTINGS_CHALLENGE_HTTP_01:
		return ACME_HTTP_01;
	case SETTINGS_CHALLENGE_TLS_ALPN:
		return ACME_TLS_ALPN_01;
	case SETTINGS_CHALLENGE_AUTO:
	case SETTINGS_CHALLENGE_COUNT:
		break;
	}
	return n->challenge ? ACME_TLS_ALPN_01 : ACME_HTTP_01;
}

static void acme_start(struct control_acme *m, struct acme_name *n, int64_t now)
{
	struct acme_tenant *t = acme_tenant(m, n);
	OWN_FREE uint8_t *csr = NULL;
	char names[LIMIT_HOST + 2] = "", replaces[LIMIT_RENEWAL_ID + 1] = "";
	size_t len = 0;

	snprintf(names, sizeof names - 1, "%s", n->host);
	if (!n->key) {
		acme_set(&n->order_url, NULL); /* of a key that is lost */
		n->key = cert_new_key();
	}
	if (n->cert)
		acme_renewal_id(n, replaces);
	csr = n->key ? cert_request(n->key, names, &len) : NULL;
	n->order = csr ? acme_order_new(m->acme, n, n->host, n->order_url ? n->order_url : "", acme_choose(m, n), csr,
					len, replaces)
		       : NULL;
	if (!n->order) {
		n->next_ms = now + 60000;
		return;
	}
	/* One that goes on was counted when it began. */
	if (!n->order_url) {
		pace_window_add(&n->window, now);
		pace_window_add(&m->window, now);
		if (t)
			pace_window_add(&t->window, now);
	}
	m->under_way++;
	if (t)
		t->under_way++;
	acme_save(n);
}

static void acme_on_timer(void *arg)
{
	struct control_acme *m = arg;
	int64_t now = clock_wall_ms(), soon = now + ACME_LOOK_MS, wait;
	struct acme_name *n = NULL;

	if (!m->control->synced || m->control->failed)
		return; /* armed again then */
	acme_info_go(m, now, &soon);
	for (;;) {
		if ((n = acme_next(m, now, &soon)) && m->hold_ms > now) {
			wait = m->hold_ms < now + ACME_LOOK_MS ? m->hold_ms : now + ACME_LOOK_MS;
			soon = wait < soon ? wait : soon;
			break;
		}
		if (n && (wait = pace_window_next(&m->window, m->control->settings.acme.hourly, now))) {
			soon = wait < soon ? wait : soon;
			break;
		}
		if (!n || m->under_way >= LIMIT_ACME_ORDERS)
			break; /* an end arms the timer */
		acme_start(m, n, now);
	}
	acme_arm(m, soon - now);
}

void control_acme_look(struct control *c)
{
	if (c->acme)
		acme_arm(c->acme, 0);
}

void acme_arm(struct control_acme *m, int64_t ms)
{
	loop_timer_start(m->control->loop, &m->timer, (ms > 0 ? ms : 0) * 1000, acme_on_timer, m);
}
