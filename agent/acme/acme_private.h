/* What the files of the conversation share.  Layer agent, control process; private to agent/acme/acme*.c.
 *
 *   acme.c        requests, the account, and where answers go
 *   acme_order.c  an order, from its name to its chain
 *   acme_renewal.c  when the authority wants a certificate replaced */
#ifndef TULOU_AGENT_ACME_ACME_PRIVATE_H
#define TULOU_AGENT_ACME_ACME_PRIVATE_H

#include "agent/acme/acme.h"
#include "agent/acme/jws.h"
#include "base/json.h"

#include <sys/queue.h>

#define ACME_NONCES 8

/* One signed request at a time, of the account or of an order. */
struct acme_call {
	uint64_t ticket; /* 0 = none under way */
	bool asks_nonce; /* it is still without one */
	bool with_jwk;	 /* newAccount */
	unsigned bad_nonces;
	char url[ACME_URL + 1];
	char *payload; /* owned; NULL = POST-as-GET */
};

enum acme_state { ACME_UNKNOWN, ACME_ASKED, ACME_KNOWN, ACME_REGISTERING, ACME_READY };

enum order_state {
	ORDER_ACCOUNT,
	ORDER_NEW,
	ORDER_ORDER,
	ORDER_AUTHZ,
	ORDER_SHOW,
	ORDER_RESPOND,
	ORDER_POLL,
	ORDER_FINALIZE,
	ORDER_WAIT,
	ORDER_DOWNLOAD,
};

struct acme_order {
	TAILQ_ENTRY(acme_order) link;
	void *name;
	enum order_state state;
	enum acme_challenge challenge;
	struct acme_call call;
	uint64_t wait; /* ticket; 0 = none */
	unsigned polls;
	unsigned reads;	     /* of the order object: whatever it says, it ends */
	bool resumed, again; /* begun by an earlier control; a new one was tried already */
	unsigned accounts;   /* times that its account was unknown */
	char host[LIMIT_HOST + 1];
	char replaces[128];
	char url[ACME_URL + 1], authz[ACME_URL + 1], finalize[ACME_URL + 1], certificate[ACME_URL + 1];
	char respond[ACME_URL + 1];
	char *csr; /* owned: base64url */
};

struct acme_renewal {
	TAILQ_ENTRY(acme_renewal) link;
	void *name;
	uint64_t ticket; /* 0 = it waits for the directory */
	char id[LIMIT_RENEWAL_ID + 1];
};

struct acme {
	const struct acme_ops *ops;
	void *arg;
	enum acme_state state;
	char directory[256], email[128], eab_kid[128], eab_key[256];
	char kid[ACME_URL + 1];
	struct jws_key *key;
	char new_nonce[ACME_URL + 1], new_account[ACME_URL + 1], new_order[ACME_URL + 1];
	char renewal_info[ACME_URL + 1]; /* "" = it offers none */
	bool eab_wanted;
	struct acme_call call; /* directory, then newAccount */
	char nonces[ACME_NONCES][LIMIT_FETCH_NONCE + 1];
	unsigned nonce_count;
	uint64_t tickets;
	TAILQ_HEAD(, acme_order) orders;
	TAILQ_HEAD(, acme_renewal) renewals;
};

struct acme_problem {
	char type[48];	  /* without "urn:ietf:params:acme:error:" */
	char detail[300]; /* visible text */
};

/* acme.c */
json_t *acme_json(const struct fetch_answer *a, const char *body); /* NULL = it is none */
void acme_problem_read(json_t *o, struct acme_problem *p);	   /* all "" when it is no problem document */
/* The member is an https URL that fits. */
bool acme_url(json_t *o, const char *key, char out[ACME_URL + 1]);
/* What kind of end a refused request is, and how it is told. */
enum acme_end acme_verdict(const struct fetch_answer *ans, const char *body, struct acme_problem *p, char *text,
			   size_t cap);
void acme_call_clear(struct acme_call *k);
/* Signs and sends; payload is taken, NULL: POST-as-GET.  False when out of memory. */
bool acme_call_post(struct acme *a, struct acme_call *k, const char *url, char *payload);
/* The account is wanted; once it is ready, orders that wait in ORDER_ACCOUNT go on. */
void acme_account_go(struct acme *a);

/* A request that is not signed; its ticket. */
uint64_t acme_get(struct acme *a, const char *url);

/* acme_renewal.c */
void acme_renewals_go(struct acme *a); /* the directory is known, or cannot be had */
bool acme_renewal_answer(struct acme *a, uint64_t ticket, const struct fetch_answer *ans, const char *body);
void acme_renewals_free(struct acme *a);

/* acme_order.c */
void acme_order_go(struct acme *a, struct acme_order *o); /* begins, or goes on */
void acme_order_answer(struct acme *a, struct acme_order *o, const struct fetch_answer *ans, const char *body);
void acme_order_failed(struct acme *a, struct acme_order *o, const struct fetch_answer *ans, const char *body);
void acme_order_end(struct acme *a, struct acme_order *o, enum acme_end end, const char *text, uint32_t retry_s);
void acme_order_drop(struct acme *a, struct acme_order *o); /* without ops->done */

#endif
