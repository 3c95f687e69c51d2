/* Who owns an abstract socket that cannot be asked.  Layer agent, supervisor process; private to names.c. */
#ifndef TULOU_AGENT_SUPERVISE_NAMES_DIAG_H
#define TULOU_AGENT_SUPERVISE_NAMES_DIAG_H

#include <sys/types.h>

/* The user id of whoever made the socket that listens on an abstract name of this network namespace, without a
 * connection: a full backlog hides nobody.  sock_diag(7), UNIX_DIAG_UID since Linux 5.3.
 * 0; -ENOENT when none listens there; -EOPNOTSUPP when the kernel does not say it; or another negative errno. */
int names_diag_uid(const char *name, uid_t *ret);

#endif
