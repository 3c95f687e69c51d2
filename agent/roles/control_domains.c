/* Domains of tenants: whose they are.  Layer agent, control process. */
#include "agent/roles/control_core.h"

#include <string.h>

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

static void ops_domain_check(void *ctx, int64_t app, const char *host)
{
	struct control *c = ctx;
	struct model_domain d;

	if (store_domain_get(c->store, app, host, &d, NULL) < 0)
		return;
	if (d.proof != MODEL_PROOF_WANTED)
		domains_lost(c, app, host);
}

void control_domains_init(struct control *c)
{
	c->ops.domain_check = ops_domain_check;
}
