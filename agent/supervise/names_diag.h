/* The abstract names that are bound, and by whom, without a connection to any.  Layer agent, supervisor process;
 * private to names.c. */
#ifndef TULOU_AGENT_SUPERVISE_NAMES_DIAG_H
#define TULOU_AGENT_SUPERVISE_NAMES_DIAG_H

#include <stdbool.h>
#include <sys/types.h>

/* Calls fn for each abstract name of this network namespace that begins with `begins`, whether or not somebody listens
 * there, with the user id of whoever made its socket, until fn says false.  Names with a zero byte are left out.
 * sock_diag(7), UNIX_DIAG_UID since Linux 5.3.  0; -EOPNOTSUPP when the kernel does not say owners; or another negative
 * errno. */
int names_diag_each(const char *begins, bool (*fn)(void *arg, const char *name, uid_t uid), void *arg);

#endif
