/* Messages between control and the resolver: which address is whose, and which name it answers to.  Layer agent.
 *
 * After a new channel control sends RESOLVE_BEGIN, everything, RESOLVE_END; what was not named between the two is
 * forgotten then, so the resolver answers on with what it knows while control is away. */
#ifndef TULOU_AGENT_RESOLVE_MESSAGES_H
#define TULOU_AGENT_RESOLVE_MESSAGES_H

#include "base/chan.h"
#include "config/limits.h"

#include <stdint.h>

enum resolve_msg_type {
	RESOLVE_BEGIN = 192, /* empty */
	RESOLVE_END,	     /* empty */
	RESOLVE_PUT,	     /* struct resolve_entry: add or change the entry of an address */
	RESOLVE_DEL,	     /* struct resolve_entry: only the address counts */
	RESOLVE_PROVE,	     /* struct resolve_prove: look for a proof of ownership */

	RESOLVE_PROVED = 208, /* resolver -> control: struct resolve_proved */
};

enum resolve_flag {
	RESOLVE_NAMED = 1,   /* found under its app's name: it runs and is well */
	RESOLVE_FORWARD = 2, /* may ask for other names than its tenant's own */
};

struct resolve_entry {
	uint32_t address; /* host byte order */
	uint32_t slot;	  /* its tenant */
	uint32_t flags;	  /* enum resolve_flag */
	char app[LIMIT_APP_NAME + 1];
	char type[LIMIT_TYPE_NAME + 1];
	char pad[2];
};

/* Is there a TXT record of this name that says this? */
struct resolve_prove {
	uint64_t id;
	char name[LIMIT_HOST + 8]; /* "_tulou.shop.example" */
	char token[64];
	char pad[3];
};
enum resolve_proof {
	RESOLVE_PROOF_FOUND,
	RESOLVE_PROOF_NONE,	 /* no such record */
	RESOLVE_PROOF_OTHER,	 /* records with other values */
	RESOLVE_PROOF_NO_ANSWER, /* the host's resolvers did not answer, or failed */
	RESOLVE_PROOF_BUSY,	 /* not looked: too many under way */
	RESOLVE_PROOF_COUNT
};
struct resolve_proved {
	uint64_t id;
	uint32_t proof; /* enum resolve_proof */
	uint32_t pad;
};

extern const struct chan_rule resolve_rules[], resolve_rules_back[]; /* to the resolver, and from it */
extern const size_t resolve_rules_count, resolve_rules_back_count;

#endif
