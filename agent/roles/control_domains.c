/* Domains of tenants: whose they are.  Layer agent, control process.
 *
 * The resolver looks for the record, since it is there that bytes of the network are read; it tells one word.  Without
 * one the fetcher asks the web server that the name leads to today, at a public address that is not this host's: what
 * this node serves itself proves nothing.  What is asked and not answered (a process was killed) is asked again. */
#include "agent/fetch/messages.h"
#include "agent/resolve/messages.h"
#include "agent/roles/control_core.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

#define DOMAINS_LATE_MS 15000		/* a question without an answer is over: three tries of 1.3 s, twice */
#define DOMAINS_FILE_MS 4000		/* for a web server */
#define DOMAINS_FIRST_MS 60000		/* until the next look, doubled each time … */
#define DOMAINS_LAST_MS 3600000		/* … up to this */
#define DOMAINS_GIVE_UP_MS 1209600000ll /* two weeks: then only when asked to */

static bool domains_shows(const struct control_app *ca, const char *host)
{
	for (const char *p = ca->domains; p && *p; p += strlen(p) + 1)
		if (strcmp(p, host) == 0)
			return true;
	return false;
}

/* The name is proved to be winner's: who had it before serves it no more. */
static void domains_lost(struct control *c, int64_t winner, const char *host)
{
	struct control_app *ca, *next;

	for (ca = TAILQ_FIRST(&c->all); ca; ca = next) {
		next = TAILQ_NEXT(ca, link);
		if (ca->rec.id == winner || ca->deleted || !domains_shows(ca, host))
			continue;
		control_event(c, ca, 0, "domain.lost", "%s is not served any more: another app has proved to own it",
			      host);
		control_app_load(c, ca->rec.id);
	}
}

static struct control_proof *domains_asked(struct control *c, int64_t app, const char *host)
{
	struct control_proof *room = NULL;

	for (unsigned i = 0; i < CONTROL_PROOFS; i++) {
		struct control_proof *p = &c->proofs[i];
		if (p->id && p->app == app && strcmp(p->host, host) == 0)
			return p;
		if (!p->id)
			room = p;
	}
	return room;
}

/* Asks the resolver; false when it cannot be asked now. */
static bool domains_ask(struct control *c, const struct model_domain *d)
{
	struct control_proof *p = domains_asked(c, d->app, d->host);
	struct resolve_prove m = {.id = ++c->proof_next};

	if (p && p->id)
		return true;
	if (!p || !c->resolver)
		return false;
	snprintf(m.name, sizeof m.name, "_tulou.%s", strncmp(d->host, "*.", 2) == 0 ? d->host + 2 : d->host);
	snprintf(m.token, sizeof m.token, "%s", d->token);
	if (chan_send(c->resolver, RESOLVE_PROVE, &m, sizeof m, NULL, 0) < 0)
		return false;
	p->id = m.id;
	p->app = d->app;
	p->since_ms = control_now_ms();
	snprintf(p->host, sizeof p->host, "%s", d->host);
	return true;
}

static const char *domains_text(enum resolve_proof proof)
{
	switch (proof) {
	case RESOLVE_PROOF_NONE:
		return "there is no such TXT record";
	case RESOLVE_PROOF_OTHER:
		return "the TXT record holds another value";
	case RESOLVE_PROOF_NO_ANSWER:
		return "the name servers did not answer";
	case RESOLVE_PROOF_BUSY:
		return "too many names are looked up at the moment";
	case RESOLVE_PROOF_FOUND:
	case RESOLVE_PROOF_COUNT:
		break;
	}
	return "";
}

static void domains_proved(struct control *c, struct model_domain *d, enum model_proof proof)
{
	struct control_app *ca = control_app_get(c, d->app);

	d->proof = proof;
	d->proved_ms = d->checked_ms;
	d->next_ms = 0;
	d->tries = 0;
	d->error[0] = '\0';
	if (store_domain_set(c->store, d, NULL) < 0 || !ca)
		return;
	control_event(c, ca, 0, "domain.proved", "%s is proved to be this app's owner's, and served", d->host);
	domains_lost(c, d->app, d->host);
	control_app_load(c, d->app);
}

/* found: MODEL_PROOF_WANTED when nothing was, and then why. */
static void domains_result(struct control *c, int64_t app, const char *host, enum model_proof found, const char *why)
{
	struct model_domain d;
	int64_t now = clock_wall_ms(), pause = DOMAINS_LAST_MS;

	if (store_domain_get(c->store, app, host, &d, NULL) < 0 || d.proof != MODEL_PROOF_WANTED)
		return;
	d.checked_ms = now;
	control_written(c);
	if (found != MODEL_PROOF_WANTED) {
		domains_proved(c, &d, found);
		return;
	}
	if (d.tries < 6)
		pause = (int64_t)DOMAINS_FIRST_MS << d.tries;
	d.tries++;
	d.next_ms = now - d.created_ms > DOMAINS_GIVE_UP_MS ? 0 : now + pause;
	snprintf(d.error, sizeof d.error, "%s", why);
	store_domain_set(c->store, &d, NULL);
}

/* Is the file the token and nothing else? White space at its end is an editor's. */
static bool domains_file_says(const char *body, size_t n, const char *token)
{
	while (n > 0 && (body[n - 1] == '\n' || body[n - 1] == '\r' || body[n - 1] == ' '))
		n--;
	return n == strlen(token) && memcmp(body, token, n) == 0;
}

static void domains_on_file(void *arg, const struct fetch_answer *a, const char *body)
{
	struct control *c = arg;
	struct control_proof p = {0};
	struct model_domain d;
	char why[160];

	for (unsigned i = 0; i < CONTROL_PROOFS; i++)
		if (c->proofs[i].id && c->proofs[i].fetch == a->id) {
			p = c->proofs[i];
			c->proofs[i] = (struct control_proof){0};
		}
	if (!p.id || store_domain_get(c->store, p.app, p.host, &d, NULL) < 0)
		return;
	if (a->status == 200 && body && domains_file_says(body, a->len, d.token)) {
		domains_result(c, p.app, p.host, MODEL_PROOF_HTTP, "");
		return;
	}
	if (a->status == 200)
		snprintf(why, sizeof why, "%s; its web server says something else",
			 domains_text((enum resolve_proof)p.dns));
	else if (a->status)
		snprintf(why, sizeof why, "%s; its web server answers %u", domains_text((enum resolve_proof)p.dns),
			 a->status);
	else
		snprintf(why, sizeof why, "%s; its web server: %.90s", domains_text((enum resolve_proof)p.dns),
			 a->error);
	domains_result(c, p.app, p.host, MODEL_PROOF_WANTED, why);
}

/* Asks the host's web server; false when there is none to ask. */
static bool domains_file(struct control *c, struct control_proof *p, enum resolve_proof dns)
{
	struct fetch_ask ask = {
		.method = FETCH_GET, .flags = FETCH_PLAIN | FETCH_PUBLIC, .timeout_ms = DOMAINS_FILE_MS};

	if (p->host[0] == '*')
		return false;
	snprintf(ask.url, sizeof ask.url, "http://%s/.well-known/tulou-proof", p->host);
	p->dns = dns;
	p->since_ms = control_now_ms();
	p->fetch = control_fetch(c, &ask, NULL, domains_on_file, c);
	return p->fetch != 0;
}

void control_domains_on_proved(struct control *c, const struct resolve_proved *m)
{
	for (unsigned i = 0; i < CONTROL_PROOFS; i++) {
		struct control_proof p = c->proofs[i];
		enum resolve_proof proof = m->proof < RESOLVE_PROOF_COUNT ? m->proof : RESOLVE_PROOF_NO_ANSWER;
		if (p.id != m->id || !p.id || p.fetch)
			continue;
		if (proof != RESOLVE_PROOF_FOUND && domains_file(c, &c->proofs[i], proof))
			return;
		c->proofs[i] = (struct control_proof){0};
		domains_result(c, p.app, p.host, proof == RESOLVE_PROOF_FOUND ? MODEL_PROOF_DNS : MODEL_PROOF_WANTED,
			       domains_text(proof));
		return;
	}
}

static int domains_due(void *arg, const struct model_domain *d)
{
	return domains_ask(arg, d) ? 0 : 1;
}

void control_domains_tick(struct control *c)
{
	int64_t now = control_now_ms();

	for (unsigned i = 0; i < CONTROL_PROOFS; i++) {
		struct control_proof p = c->proofs[i];
		if (!p.id || now - p.since_ms < DOMAINS_LATE_MS)
			continue;
		control_fetch_cancel(c, p.fetch);
		c->proofs[i] = (struct control_proof){0};
		domains_result(c, p.app, p.host, MODEL_PROOF_WANTED, domains_text(RESOLVE_PROOF_NO_ANSWER));
	}
	if (c->resolver)
		store_domain_due(c->store, clock_wall_ms(), CONTROL_PROOFS, domains_due, c, NULL);
}

static void ops_domain_check(void *ctx, int64_t app, const char *host)
{
	struct control *c = ctx;
	struct model_domain d;

	if (store_domain_get(c->store, app, host, &d, NULL) < 0)
		return;
	if (d.proof != MODEL_PROOF_WANTED) {
		domains_lost(c, app, host);
		return;
	}
	if (domains_ask(c, &d))
		return;
	d.next_ms = clock_wall_ms(); /* with the next tick */
	store_domain_set(c->store, &d, NULL);
	control_written(c);
}

void control_domains_init(struct control *c)
{
	c->ops.domain_check = ops_domain_check;
}
