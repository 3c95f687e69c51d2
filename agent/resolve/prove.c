/* Proofs of ownership by DNS.  Layer agent, resolver process. */
#include "agent/resolve/prove.h"

#include "agent/resolve/dns.h"
#include "agent/resolve/forward.h"
#include "config/limits.h"

#include <stdlib.h>
#include <string.h>

struct proof {
	struct prover *prover; /* borrowed */
	struct proof *next;    /* of all */
	struct resolve_prove q;
	struct forward *forward; /* borrowed; NULL = none is under way */
	uint8_t query[DNS_QUERY];
	size_t n, question;
};

struct prover {
	struct loop *loop;	     /* borrowed */
	struct forwarder *forwarder; /* owned */
	struct proof *all;
	unsigned count;
	void (*told)(void *arg, const struct resolve_proved *p);
	void *arg;
};

struct prover *prover_new(struct loop *loop, const uint32_t *servers, unsigned count,
			  void (*told)(void *arg, const struct resolve_proved *p), void *arg)
{
	struct prover *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	p->loop = loop;
	p->told = told;
	p->arg = arg;
	p->forwarder = forwarder_new(loop, servers, count);
	if (p->forwarder)
		return p;
	free(p);
	return NULL;
}

static void prove_free(struct proof *pr)
{
	struct proof **at = &pr->prover->all;

	while (*at != pr)
		at = &(*at)->next;
	*at = pr->next;
	pr->prover->count--;
	forward_cancel(pr->forward);
	free(pr);
}

void prover_free(struct prover *p)
{
	if (!p)
		return;
	while (p->all)
		prove_free(p->all);
	forwarder_free(p->forwarder);
	free(p);
}

static void prove_tell(struct prover *p, uint64_t id, enum resolve_proof proof)
{
	struct resolve_proved m = {.id = id, .proof = (uint32_t)proof};

	p->told(p->arg, &m);
}

static void prove_end(struct proof *pr, enum resolve_proof proof)
{
	struct prover *p = pr->prover;
	uint64_t id = pr->q.id;

	prove_free(pr);
	prove_tell(p, id, proof);
}

static void prove_on_reply(void *arg, uint8_t *reply, size_t n);

static void prove_ask(struct proof *pr, bool tcp)
{
	pr->forward = forward_start(pr->prover->forwarder, pr->query, pr->n, pr->question, tcp, prove_on_reply, pr);
	if (!pr->forward)
		prove_end(pr, RESOLVE_PROOF_NO_ANSWER);
}

static void prove_on_reply(void *arg, uint8_t *reply, size_t n)
{
	struct proof *pr = arg;
	bool cut = false;

	pr->forward = NULL;
	if (!reply) {
		prove_end(pr, RESOLVE_PROOF_NO_ANSWER);
		return;
	}
	switch (dns_txt(reply, n, pr->question, pr->q.token, &cut)) {
	case DNS_TXT_FOUND:
		prove_end(pr, RESOLVE_PROOF_FOUND);
		break;
	case DNS_TXT_OTHER:
		if (cut)
			prove_ask(pr, true);
		else
			prove_end(pr, RESOLVE_PROOF_OTHER);
		break;
	case DNS_TXT_NONE:
		if (cut)
			prove_ask(pr, true);
		else
			prove_end(pr, RESOLVE_PROOF_NONE);
		break;
	case DNS_TXT_FAILED:
		prove_end(pr, RESOLVE_PROOF_NO_ANSWER);
		break;
	}
}

void prover_start(struct prover *p, const struct resolve_prove *q)
{
	struct proof *pr = p->count < LIMIT_RESOLVE_PROOFS ? calloc(1, sizeof *pr) : NULL;

	if (!pr) {
		prove_tell(p, q->id, RESOLVE_PROOF_BUSY);
		return;
	}
	pr->prover = p;
	pr->q = *q;
	pr->q.name[sizeof pr->q.name - 1] = '\0';
	pr->q.token[sizeof pr->q.token - 1] = '\0';
	pr->next = p->all;
	p->all = pr;
	p->count++;
	pr->n = dns_ask(pr->q.name, DNS_TXT, pr->query, &pr->question);
	if (pr->n == 0 || pr->q.token[0] == '\0')
		prove_end(pr, RESOLVE_PROOF_NONE);
	else
		prove_ask(pr, false);
}
