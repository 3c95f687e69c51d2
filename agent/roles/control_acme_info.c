/* When its authority wants a certificate renewed (RFC 9773).  Layer agent, control process.
 *
 * A moment in the authority's window is chosen by the name, so that every control chooses the same one and a thousand
 * names are not renewed at once.  It is asked again when the authority says, between a minute and a day; an authority
 * that says nothing, or offers nothing, leaves it at a third of the lifetime. */
#include "agent/roles/control_acme.h"

#include "base/log.h"
#include "base/clock.h"
#include "web/http/cert.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

bool acme_renewal_id(const struct acme_name *n, char out[LIMIT_RENEWAL_ID + 1])
{
	char *text = NULL;
	bool ok;

	out[0] = '\0';
	if (n->uploaded || store_cert_text(n->control->store, n->cert, &text, NULL) < 0)
		return false;
	ok = cert_renewal_id(text, strlen(text), out);
	OPENSSL_cleanse(text, strlen(text));
	free(text);
	if (!ok)
		out[0] = '\0';
	return ok;
}

void acme_info_forget(struct acme_name *n)
{
	struct control_acme *m = n->control->acme;

	if (!n->info_asked)
		return;
	n->info_asked = false;
	m->infos--;
	if (m->acme)
		acme_renewal_drop(m->acme, n);
}

void acme_renewal(void *arg, void *name, int64_t from_ms, int64_t to_ms, uint32_t retry_s)
{
	struct control_acme *m = arg;
	struct acme_name *n = name;

	n->info_asked = false;
	m->infos--;
	n->info_next_ms = pace_info(retry_s, clock_wall_ms());
	if (from_ms)
		n->renew_ms = pace_window_choose(from_ms, to_ms, n->not_before_ms, n->not_after_ms, acme_seed(n));
	LOG_DEBUG("renewal information", "host=%s renew_s=%" PRId64, n->host, n->renew_ms / 1000);
	acme_arm(m, 0);
}

void acme_info_go(struct control_acme *m, int64_t now, int64_t *soon)
{
	struct acme_name *n;

	for (size_t pos = 0; (n = map_next(m->names, &pos));) {
		char id[LIMIT_RENEWAL_ID + 1];
		if (!n->cert || n->uploaded || !n->wanted || n->order || n->info_asked)
			continue;
		if (n->info_cert != n->cert) {
			n->info_cert = n->cert;
			n->info_next_ms = n->renew_ms = 0;
		}
		if (n->info_next_ms > now) {
			*soon = n->info_next_ms < *soon ? n->info_next_ms : *soon;
			continue;
		}
		if (m->infos >= LIMIT_RENEWAL_ASKS)
			return; /* an end arms the timer */
		if (!acme_renewal_id(n, id) || !acme_renewal_ask(m->acme, n, id)) {
			n->info_next_ms = pace_info(0, now);
			continue;
		}
		n->info_asked = true;
		m->infos++;
	}
}
