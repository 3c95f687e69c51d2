/* What the files of stapling share.  Layer agent, control process; private to agent/roles/control_ocsp*.c. */
#ifndef TULOU_AGENT_ROLES_CONTROL_OCSP_H
#define TULOU_AGENT_ROLES_CONTROL_OCSP_H

#include "agent/roles/control_core.h"

/* A certificate that names a responder, or demands a staple. */
struct control_staple {
	struct control *control;
	uint64_t id;	/* as the proxies know it */
	int64_t app;	/* 0 = the node's */
	int64_t tenant; /* of the app; 0 = not known yet, or the node's */
	bool uploaded, must, told;
	char sha256[65];
	char *url; /* owned; NULL = it cannot be asked, and rec.error says why */
	char *pem; /* owned: leaf and issuer of the node's own; those of apps are read from the store for each question
		    */
	struct model_staple rec;
	uint64_t fetch; /* under way; 0 = not */
};

struct control_ocsp {
	struct control *control;
	struct map *all;			/* owned: id -> struct control_staple */
	struct control_staple *way[LIMIT_OCSP]; /* borrowed: those under way */
	struct loop_timer timer;
	uint64_t ends[FETCH_CERT_COUNT]; /* since control started */
};

bool control_ocsp_holds(const struct control_staple *s, int64_t now_ms); /* there is a staple to hand out */

#endif
