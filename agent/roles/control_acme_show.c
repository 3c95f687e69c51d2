/* Challenges on their way to the proxies.  Layer agent, control process.
 *
 * The authority is told to look once every worker has confirmed: it asks from several places at once, and each question
 * may reach another worker. */
#include "agent/roles/control_acme.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/own.h"
#include "web/http/cert.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ACME_CHALLENGE_DAYS 7
#define ACME_CHALLENGE_IDS (1ull << 61) /* clear of the store's and of the operator's */

static void acme_show_one(struct control_worker *w, struct acme_name *n)
{
	if (n->shown_as == ACME_HTTP_01) {
		control_routes_send(w, PROXY_CHALLENGE, &n->http, sizeof n->http, NULL, 0);
	} else if (n->alpn_fd >= 0) {
		struct proxy_msg_cert m = {.id = n->alpn_id, .kind = PROXY_CERT_CHALLENGE, .len = n->alpn_len};
		control_routes_send(w, PROXY_CERT, &m, sizeof m, &n->alpn_fd, 1);
	}
}

/* The certificate that says it (RFC 8737, 3), in sealed memory. */
static int acme_alpn(struct control_acme *m, struct acme_name *n, const uint8_t digest[32])
{
	OWN_FREE char *pem = NULL, *both = NULL;
	char names[LIMIT_HOST + 2] = "";
	size_t len;

	if (!m->alpn_key && !(m->alpn_key = cert_new_key()))
		return -ENOMEM;
	snprintf(names, sizeof names - 1, "%s", n->host);
	pem = cert_self_signed(m->alpn_key, names, clock_wall_ms(), ACME_CHALLENGE_DAYS, digest);
	len = pem ? strlen(pem) + strlen(m->alpn_key) : 0;
	both = pem ? malloc(len + 1) : NULL;
	if (!both)
		return -ENOMEM;
	snprintf(both, len + 1, "%s%s", pem, m->alpn_key);
	n->alpn_fd = fd_memfd_sealed("tulou-challenge", both, len);
	OPENSSL_cleanse(both, len);
	n->alpn_len = (uint32_t)len;
	n->alpn_id = ACME_CHALLENGE_IDS | ++m->alpn_next;
	return n->alpn_fd < 0 ? n->alpn_fd : 0;
}

void acme_show(void *arg, void *name, struct acme_order *o, enum acme_challenge c, const char *token,
	       const char *authorization, const uint8_t digest[32])
{
	struct control_acme *m = arg;
	struct control *ctl = m->control;
	struct acme_name *n = name;
	struct proxy_msg_id barrier = {++ctl->barrier};
	uint32_t up = ctl->workers_up;

	(void)o;
	n->shown = n->waiting = true;
	n->shown_as = c;
	memset(&n->http, 0, sizeof n->http);
	snprintf(n->http.host, sizeof n->http.host, "%s", n->host);
	snprintf(n->http.token, sizeof n->http.token, "%s", token);
	snprintf(n->http.answer, sizeof n->http.answer, "%s", authorization);
	if (c == ACME_TLS_ALPN_01 && acme_alpn(m, n, digest) < 0)
		LOG_WARN("challenge not made", "host=%s", n->host); /* the authority will say that it saw none */
	n->barrier = barrier.id;
	n->pending = up | 1u << 31; /* the last bit: none may confirm before all were told */
	for (unsigned i = 0; i < LIMIT_WORKERS; i++)
		if (ctl->workers[i].chan) {
			acme_show_one(&ctl->workers[i], n);
			control_routes_send(&ctl->workers[i], PROXY_BARRIER, &barrier, sizeof barrier, NULL, 0);
		}
	n->pending &= ctl->workers_up | 1u << 31;
	acme_confirmed(n, 1u << 31);
}

void acme_confirmed(struct acme_name *n, uint32_t worker_bit)
{
	if (!n->waiting)
		return;
	n->pending &= ~worker_bit;
	if (n->pending || !n->order)
		return;
	n->waiting = false;
	acme_shown(n->control->acme->acme, n->order);
}

void acme_unshow(struct acme_name *n)
{
	struct control *c = n->control;
	struct proxy_msg_id id = {n->alpn_id};

	if (!n->shown)
		return;
	n->shown = n->waiting = false;
	for (unsigned i = 0; i < LIMIT_WORKERS; i++) {
		if (!c->workers[i].chan)
			continue;
		if (n->shown_as == ACME_HTTP_01)
			control_routes_send(&c->workers[i], PROXY_CHALLENGE_DEL, &n->http, sizeof n->http, NULL, 0);
		else
			control_routes_send(&c->workers[i], PROXY_CERT_DEL, &id, sizeof id, NULL, 0);
	}
	own_close(&n->alpn_fd);
}

void control_acme_sync(struct control_worker *w)
{
	struct control_acme *m = w->control->acme;
	struct acme_name *n;

	for (size_t pos = 0; m && (n = map_next(m->names, &pos));)
		if (n->shown)
			acme_show_one(w, n);
}

void control_acme_barrier(struct control *c, uint64_t barrier, uint32_t worker_bit)
{
	struct acme_name *n;

	if (!c->acme || c->acme->under_way == 0)
		return;
	for (size_t pos = 0; (n = map_next(c->acme->names, &pos));)
		if (n->waiting && n->barrier == barrier) {
			acme_confirmed(n, worker_bit);
			return;
		}
}

void control_acme_worker_lost(struct control *c, uint32_t worker_bit)
{
	struct acme_name *n;

	if (!c->acme || c->acme->under_way == 0)
		return;
	for (size_t pos = 0; (n = map_next(c->acme->names, &pos));)
		if (n->waiting)
			acme_confirmed(n, worker_bit);
}
