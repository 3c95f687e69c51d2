/* Looking for the proof that a domain is whose it is said to be: a TXT record that holds a token.
 * Layer agent, resolver process: bytes of the network are read here, and control is told one word. */
#ifndef TULOU_AGENT_RESOLVE_PROVE_H
#define TULOU_AGENT_RESOLVE_PROVE_H

#include "agent/resolve/messages.h"
#include "base/loop.h"

struct prover;

/* told is called from the loop, once for each question. NULL when out of memory. */
struct prover *prover_new(struct loop *loop, const uint32_t *servers, unsigned count,
			  void (*told)(void *arg, const struct resolve_proved *p), void *arg);
void prover_free(struct prover *p);
/* Begins to look; one that is not begun (too many under way) is told as RESOLVE_PROOF_BUSY at once. */
void prover_start(struct prover *p, const struct resolve_prove *q);

#endif
