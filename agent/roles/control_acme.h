/* What the files of automatic certificates share.  Layer agent, control process; private to
 * agent/roles/control_acme*.c.
 *
 *   control_acme.c       which names, what certificates they have, what must outlive us
 *   control_acme_turn.c  whose turn it is, and what an end means
 *   control_acme_info.c  when its authority wants a certificate renewed
 *   control_acme_show.c  challenges on their way to the proxies and back
 *   control_acme_tell.c  what API and metrics say of it */
#ifndef TULOU_AGENT_ROLES_CONTROL_ACME_H
#define TULOU_AGENT_ROLES_CONTROL_ACME_H

#include "agent/acme/acme.h"
#include "agent/acme/pace.h"
#include "agent/roles/control_core.h"

/* A name that certificates are for.  One with an uploaded certificate is kept too, for what is told of it.
 *
 *   idle --due, its turn--> ordered --end--> idle        (next_ms says when it is due) */
struct acme_name {
	struct control *control;
	int64_t app;
	bool wanted; /* seen in the last reading of its app */
	bool forced; /* asked for by its owner */
	bool uploaded;
	bool told_expiring;
	struct acme_order *order; /* borrowed from acme; NULL = idle */
	char *key, *order_url;	  /* owned; NULL = none */
	char *error;		  /* owned; NULL = none */
	uint32_t challenge, failures;
	int64_t next_ms; /* wall clock */
	struct pace_window window;
	/* the certificate that serves it now; 0 = none of its own */
	int64_t cert;
	int64_t not_before_ms, not_after_ms;
	/* what its authority says of when to renew it (RFC 9773) */
	int64_t info_cert;    /* that was asked about */
	int64_t info_next_ms; /* when it is asked (again) */
	int64_t renew_ms;     /* chosen in the window; 0 = it did not say */
	bool info_asked;      /* under way */
	/* while a challenge is shown */
	bool shown, waiting;
	enum acme_challenge shown_as;
	struct proxy_msg_challenge http;
	uint64_t alpn_id;
	int alpn_fd; /* owned; -1 = none */
	uint32_t alpn_len;
	uint64_t barrier;
	uint32_t pending; /* workers that have not confirmed, bit per worker */
	char host[];
};

/* What a tenant had in this hour. */
struct acme_tenant {
	int64_t id;
	unsigned under_way;
	struct pace_window window;
};

struct control_acme {
	struct control *control;
	struct acme *acme;   /* owned */
	char *account_key;   /* owned: PEM */
	char *alpn_key;	     /* owned: PEM; of challenges over TLS */
	struct map *names;   /* owned: host -> struct acme_name */
	struct map *tenants; /* owned: id -> struct acme_tenant */
	TAILQ_HEAD(, acme_late) late;
	struct loop_timer timer;
	unsigned under_way, infos;
	unsigned troubles; /* times in a row that the authority could not be had */
	int64_t hold_ms;   /* nothing is begun before */
	struct pace_window window;
	uint64_t alpn_next;
	uint64_t ends[ACME_END_COUNT]; /* since control started */
};

/* control_acme_show.c */
void acme_show(void *arg, void *name, struct acme_order *o, enum acme_challenge c, const char *token,
	       const char *authorization, const uint8_t digest[32]);
void acme_unshow(struct acme_name *n);
/* All workers have it, or none is there. */
void acme_confirmed(struct acme_name *n, uint32_t worker_bit);

/* control_acme.c */
void acme_save(struct acme_name *n);
void acme_set(char **at, const char *text); /* "" or NULL: none */
void acme_forget_key(struct acme_name *n);
void acme_name_certs(struct acme_name *n); /* looks in the store for what serves it */
void acme_idle(struct acme_name *n);	   /* its order is over */
uint64_t acme_seed(const struct acme_name *n);
struct acme_tenant *acme_tenant(struct control_acme *m, const struct acme_name *n); /* NULL: out of memory */
/* When it is ordered next, wall clock; INT64_MAX: never.  When nothing has failed it is due by what it has. */
int64_t acme_due(const struct acme_name *n);

/* control_acme_info.c */
bool acme_renewal_id(const struct acme_name *n, char out[LIMIT_RENEWAL_ID + 1]); /* of what serves it; else "" */
void acme_info_forget(struct acme_name *n);					 /* it is gone */
/* Asks for what is due; *soon becomes when one is due at the latest. */
void acme_info_go(struct control_acme *m, int64_t now, int64_t *soon);
void acme_renewal(void *arg, void *name, int64_t from_ms, int64_t to_ms, uint32_t retry_s);

/* control_acme_turn.c */
void acme_arm(struct control_acme *m, int64_t ms); /* look again after ms, or earlier */
void acme_done(void *arg, void *name, enum acme_end end, const char *text, uint32_t retry_s);

#endif
