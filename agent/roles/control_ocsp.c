/* What responders say of certificates, for who connects (OCSP stapling).  Layer agent, control process.
 *
 *   due --its turn--> asked --good--> kept, handed to the proxies, due again at half of its time
 *                          |--revoked--> nothing is handed out any more; told; from an authority: ordered anew
 *                          +--else--> what there is is handed out until its end; due after a pause
 *
 * The fetcher asks, reads and checks: its bytes are anybody's.  What it says is kept in the database, so that a new
 * control, and a node that starts again, staple at once.  Turns: of all that are due, one of the tenant with the fewest
 * under way, then that which has been due longest: responders of one tenant that do not answer hold up nobody else. */
#include "agent/roles/control_ocsp.h"

#include "agent/acme/pace.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/own.h"
#include "web/http/cert.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OCSP_ASK_MS 10000
#define OCSP_LOOK_MS 3600000	       /* nothing due: look again, the clock may have been set */
#define OCSP_UNSAID_KEEP_MS 7200000ll  /* an answer without an end is handed out for so long */
#define OCSP_REVOKED_MS 3600000ll      /* until it is asked again: one on hold may come back */
#define OCSP_SWEEP_MS (8 * 86400000ll) /* no certificate that lives is due for so long */

static const uint8_t ocsp_hash_key[16] = {'s', 't', 'a', 'p', 'l', 'e'}; /* no secret: it spreads */

static void ocsp_arm(struct control_ocsp *m, int64_t ms);

static uint64_t ocsp_seed(const struct control_staple *s)
{
	return map_siphash(s->sha256, strlen(s->sha256), ocsp_hash_key);
}

bool control_ocsp_holds(const struct control_staple *s, int64_t now_ms)
{
	return s->rec.state == MODEL_STAPLE_GOOD && s->rec.until_ms > now_ms;
}

static int64_t ocsp_tenant(struct control_staple *s)
{
	struct control_app *ca = s->app && !s->tenant ? control_app_get(s->control, s->app) : NULL;

	if (ca)
		s->tenant = ca->rec.tenant;
	return s->tenant;
}

static void ocsp_event(struct control_staple *s, const char *kind, const char *text)
{
	struct control_app *ca = s->app ? control_app_get(s->control, s->app) : NULL;

	if (s->app && !ca)
		return;
	control_event(s->control, ca, 0, kind, "%s", text);
}

static struct control_staple *ocsp_get(const struct control *c, uint64_t id)
{
	return c->ocsp ? map_get(c->ocsp->all, &id, sizeof id) : NULL;
}

/* --- to the proxies ------------------------------------------------------------------------------------------- */

static void ocsp_tell(struct control *c, struct control_worker *w, const struct proxy_msg_staple *m, int fd)
{
	for (unsigned i = 0; i < LIMIT_WORKERS; i++)
		if ((w ? w == &c->workers[i] : c->synced) && c->workers[i].chan)
			control_routes_send(&c->workers[i], PROXY_STAPLE, m, sizeof *m, &fd, 1);
}

/* One of the past is not handed out. */
static void ocsp_withdraw(struct control *c, struct control_worker *w, uint64_t id)
{
	struct proxy_msg_staple m = {.id = id, .until_ms = 1, .len = 1};
	OWN_FD int fd = fd_memfd_sealed("tulou-staple", "", 1);

	if (fd >= 0)
		ocsp_tell(c, w, &m, fd);
}

void control_ocsp_send(struct control *c, struct control_worker *w, uint64_t id)
{
	struct control_staple *s = ocsp_get(c, id);
	struct proxy_msg_staple m = {.id = id};
	OWN_FREE void *der = NULL;
	OWN_FD int fd = -1;
	size_t n = 0;

	/* A worker that was not told before control died may have one yet. */
	if (s && s->rec.state == MODEL_STAPLE_REVOKED)
		ocsp_withdraw(c, w, id);
	if (!s || !control_ocsp_holds(s, clock_wall_ms()) ||
	    store_staple_response(c->store, s->sha256, &der, &n, NULL) < 0)
		return;
	if (n == 0 || n > LIMIT_STAPLE_BYTES || (fd = fd_memfd_sealed("tulou-staple", der, n)) < 0)
		return;
	m.until_ms = s->rec.until_ms;
	m.len = (uint32_t)n;
	ocsp_tell(c, w, &m, fd);
}

/* --- what was said -------------------------------------------------------------------------------------------- */

/* It is shown: visible text only. */
static void ocsp_error(struct control_staple *s, const char *text)
{
	size_t n = 0;

	for (; *text && n + 1 < sizeof s->rec.error; text++)
		s->rec.error[n++] = *text >= 0x20 && *text < 0x7f ? *text : '?';
	s->rec.error[n] = '\0';
}

static void ocsp_save(struct control_staple *s, const void *der, size_t n)
{
	struct err e = {0};

	if (store_staple_set(s->control->store, s->sha256, &s->rec, der, n, &e) < 0)
		LOG_WARN("staple not kept", "certificate=%" PRIu64 " error=\"%s\"", s->id, e.text);
	control_written(s->control);
}

/* One that demands a staple is not taken by some clients without; it is served all the same, as nothing is won by
 * serving none, but its owner hears of it. */
static void ocsp_missed(struct control_staple *s, int64_t now)
{
	char text[400];

	if (!s->must || s->told || control_ocsp_holds(s, now))
		return;
	s->told = true;
	snprintf(text, sizeof text,
		 "Certificate %" PRIu64 " demands OCSP stapling and there is nothing to staple, so some clients refuse "
		 "it: %s",
		 s->id, s->rec.error);
	ocsp_event(s, "certificate.unstapled", text);
}

static void ocsp_good(struct control_staple *s, const struct fetch_status_answer *a, const void *der, int64_t now)
{
	s->rec.state = MODEL_STAPLE_GOOD;
	s->rec.this_ms = a->this_ms;
	s->rec.next_ms = a->next_ms;
	s->rec.until_ms = a->next_ms ? a->next_ms : now + OCSP_UNSAID_KEEP_MS;
	s->rec.revoked_ms = 0;
	s->rec.due_ms = pace_staple(a->this_ms, a->next_ms, now, ocsp_seed(s));
	s->rec.failures = 0;
	s->rec.error[0] = '\0';
	s->told = false;
	ocsp_save(s, der, a->len);
	control_ocsp_send(s->control, NULL, s->id);
	LOG_DEBUG("staple", "certificate=%" PRIu64 " bytes=%" PRIu32, s->id, a->len);
}

static void ocsp_revoked(struct control_staple *s, const struct fetch_status_answer *a, int64_t now)
{
	bool news = s->rec.state != MODEL_STAPLE_REVOKED;
	char text[200];

	s->rec = (struct model_staple){.state = MODEL_STAPLE_REVOKED,
				       .this_ms = a->this_ms,
				       .next_ms = a->next_ms,
				       .revoked_ms = a->revoked_ms,
				       .due_ms = now + OCSP_REVOKED_MS};
	ocsp_save(s, NULL, 0);
	if (!news)
		return;
	ocsp_withdraw(s->control, NULL, s->id);
	LOG_WARN("certificate revoked", "certificate=%" PRIu64 " app=%" PRId64, s->id, s->app);
	snprintf(text, sizeof text, "Certificate %" PRIu64 " is revoked: clients refuse it; %s", s->id,
		 s->uploaded ? "upload another"
		 : s->app    ? "another is ordered"
			     : "put another in its place");
	ocsp_event(s, "certificate.revoked", text);
	if (s->app && !s->uploaded)
		control_acme_look(s->control);
}

/* What was signed cannot be so large; and sums with it stay within bounds whatever the fetcher says. */
static bool ocsp_sane(const struct fetch_status_answer *a)
{
	const int64_t most = 253402300800000ll; /* the year 10000 */

	return a->this_ms >= 0 && a->this_ms < most && a->next_ms >= 0 && a->next_ms <= most && a->revoked_ms >= -1 &&
	       a->revoked_ms <= most && (a->next_ms == 0 || a->next_ms > a->this_ms);
}

static void ocsp_on_told(void *arg, const struct fetch_status_answer *a, const void *der)
{
	struct control_staple *s = arg;
	struct control_ocsp *m = s->control->ocsp;
	int64_t now = clock_wall_ms();
	enum fetch_cert cert = ocsp_sane(a) ? (enum fetch_cert)a->cert : FETCH_CERT_UNKNOWN;

	s->fetch = 0;
	for (unsigned i = 0; i < LIMIT_OCSP; i++)
		if (m->way[i] == s)
			m->way[i] = NULL;
	m->ends[cert]++;
	if (cert == FETCH_CERT_GOOD) {
		ocsp_good(s, a, der, now);
	} else if (cert == FETCH_CERT_REVOKED) {
		ocsp_revoked(s, a, now);
	} else {
		s->rec.failures++;
		s->rec.due_ms = now + pace_unstapled(s->rec.failures, ocsp_seed(s));
		ocsp_error(s, a->error);
		ocsp_save(s, NULL, 0);
		LOG_INFO("no staple", "certificate=%" PRIu64 " app=%" PRId64 " error=\"%s\"", s->id, s->app,
			 s->rec.error);
		ocsp_missed(s, now);
	}
	ocsp_arm(m, 0);
}

/* --- turns ---------------------------------------------------------------------------------------------------- */

static unsigned ocsp_way(const struct control_ocsp *m, int64_t tenant)
{
	unsigned n = 0;

	for (unsigned i = 0; i < LIMIT_OCSP; i++)
		n += m->way[i] && ocsp_tenant(m->way[i]) == tenant;
	return n;
}

static struct control_staple *ocsp_next(struct control_ocsp *m, int64_t now, int64_t *soon)
{
	struct control_staple *s, *best = NULL;
	unsigned best_way = 0;

	for (size_t pos = 0; (s = map_next(m->all, &pos));) {
		unsigned way;
		if (s->fetch || !s->url)
			continue;
		/* A clock that went back by more than any pause. */
		if (s->rec.due_ms > now + OCSP_SWEEP_MS)
			s->rec.due_ms = now;
		if (s->rec.due_ms > now) {
			*soon = s->rec.due_ms < *soon ? s->rec.due_ms : *soon;
			continue;
		}
		way = ocsp_way(m, ocsp_tenant(s));
		if (way >= LIMIT_OCSP_TENANT)
			continue; /* an end arms the timer */
		if (!best || way < best_way || (way == best_way && s->rec.due_ms < best->rec.due_ms)) {
			best = s;
			best_way = way;
		}
	}
	return best;
}

/* Leaf and issuer of an app's certificate; owned by the caller, NULL when it cannot be read. */
static char *ocsp_pem(struct control_staple *s)
{
	char *text = NULL, *pem = NULL;
	struct cert_ocsp o;

	if (store_cert_text(s->control->store, (int64_t)s->id, &text, NULL) < 0)
		return NULL;
	if (cert_ocsp(text, strlen(text), &o) == 0) {
		pem = TAKE_PTR(o.pem);
		cert_ocsp_done(&o);
	}
	OPENSSL_cleanse(text, strlen(text));
	free(text);
	return pem;
}

/* False when it must wait for a place. */
static bool ocsp_ask(struct control_ocsp *m, struct control_staple *s)
{
	struct fetch_status ask = {.timeout_ms = OCSP_ASK_MS};
	OWN_FREE char *pem = NULL;
	unsigned i = 0;

	while (i < LIMIT_OCSP && m->way[i])
		i++;
	if (i == LIMIT_OCSP)
		return false;
	if (!s->pem && !(pem = ocsp_pem(s))) {
		s->rec.due_ms = clock_wall_ms() + pace_unstapled(++s->rec.failures, ocsp_seed(s));
		ocsp_error(s, "the certificate cannot be read from the database");
		return true;
	}
	ask.flags = s->uploaded ? FETCH_PUBLIC : 0;
	snprintf(ask.url, sizeof ask.url, "%s", s->url);
	s->fetch = control_fetch_status(m->control, &ask, s->pem ? s->pem : pem, ocsp_on_told, s);
	if (!s->fetch)
		abort(); /* nothing can be managed without memory; the next control process can */
	m->way[i] = s;
	return true;
}

static void ocsp_on_timer(void *arg)
{
	struct control_ocsp *m = arg;
	int64_t now = clock_wall_ms(), soon = now + OCSP_LOOK_MS;
	struct control_staple *s;

	if (m->control->failed)
		return;
	while ((s = ocsp_next(m, now, &soon)) && ocsp_ask(m, s))
		;
	ocsp_arm(m, soon - now);
}

static void ocsp_arm(struct control_ocsp *m, int64_t ms)
{
	loop_timer_start(m->control->loop, &m->timer, (ms > 0 ? ms : 0) * 1000, ocsp_on_timer, m);
}

/* --- certificates come and go --------------------------------------------------------------------------------- */

static void ocsp_free(struct control_ocsp *m, struct control_staple *s)
{
	control_fetch_cancel(m->control, s->fetch);
	for (unsigned i = 0; i < LIMIT_OCSP; i++)
		if (m->way[i] == s)
			m->way[i] = NULL;
	map_del(m->all, &s->id, sizeof s->id);
	free(s->url);
	free(s->pem);
	free(s);
}

void control_ocsp_add(struct control *c, uint64_t id, int64_t app, bool uploaded, const char *pem, size_t n)
{
	struct control_staple *s;
	struct cert_ocsp o;

	if (!c->ocsp || ocsp_get(c, id) || cert_ocsp(pem, n, &o) < 0)
		return;
	if ((!o.url[0] && !o.must_staple) || !(s = calloc(1, sizeof *s))) {
		cert_ocsp_done(&o);
		return;
	}
	s->control = c;
	s->id = id;
	s->app = app;
	s->uploaded = uploaded;
	s->must = o.must_staple;
	memcpy(s->sha256, o.sha256, sizeof s->sha256);
	store_staple_get(c->store, s->sha256, &s->rec, NULL);
	if (!o.url[0])
		ocsp_error(s, "it names no responder");
	else if (!o.pem)
		ocsp_error(s, "its issuer is not in the chain: add the intermediate certificate");
	else if ((s->url = strdup(o.url)) && !app)
		s->pem = TAKE_PTR(o.pem);
	cert_ocsp_done(&o);
	if (map_put(c->ocsp->all, &s->id, sizeof s->id, s) < 0) {
		free(s->url);
		free(s->pem);
		free(s);
		return;
	}
	if (!s->url)
		ocsp_missed(s, clock_wall_ms());
	ocsp_arm(c->ocsp, 0);
}

void control_ocsp_del(struct control *c, uint64_t id)
{
	struct control_staple *s = ocsp_get(c, id), *other;
	char sha256[65];

	if (!s)
		return;
	memcpy(sha256, s->sha256, sizeof sha256);
	ocsp_free(c->ocsp, s);
	for (size_t pos = 0; (other = map_next(c->ocsp->all, &pos));)
		if (strcmp(other->sha256, sha256) == 0)
			return; /* two apps have the same one */
	store_staple_del(c->store, sha256, NULL);
	control_written(c);
}

bool control_ocsp_revoked(const struct control *c, uint64_t id)
{
	struct control_staple *s = ocsp_get(c, id);

	return s && s->rec.state == MODEL_STAPLE_REVOKED;
}

void control_ocsp_init(struct control *c)
{
	struct control_ocsp *m;

	if (!c->settings.tls_stapling || c->settings.https_count == 0 || !(m = calloc(1, sizeof *m)))
		return;
	m->control = c;
	if (!(m->all = map_new())) {
		free(m);
		return;
	}
	c->ocsp = m;
	store_staple_sweep(c->store, clock_wall_ms() - OCSP_SWEEP_MS, NULL);
}

void control_ocsp_done(struct control *c)
{
	struct control_ocsp *m = c->ocsp;
	struct control_staple *s;

	if (!m)
		return;
	loop_timer_stop(&m->timer);
	for (size_t pos = 0; (s = map_next(m->all, &pos));)
		ocsp_free(m, s);
	map_free(m->all);
	c->ocsp = NULL;
	free(m);
}
