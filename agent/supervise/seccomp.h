/* The filter of system calls for what runs in sandboxes.  Layer agent, supervisor process; made once at its start. */
#ifndef TULOU_AGENT_SUPERVISE_SECCOMP_H
#define TULOU_AGENT_SUPERVISE_SECCOMP_H

#include "base/err.h"

/* Builds the filter and returns it as a sealed memfd that holds an array of struct sock_filter (LAUNCH_FD_SECCOMP),
 * owned by the caller; or negative errno with e set.  Takes some 20 ms: compiling it at every start is what makes
 * others slow. */
int seccomp_build(struct err *e);

/* What the filter does, for tests: the i-th call that is allowed whatever its arguments are, NULL past the end. */
const char *seccomp_allowed(unsigned i);
/* The i-th call that is refused with EPERM, NULL past the end.  All others get ENOSYS. */
const char *seccomp_refused(unsigned i);

#endif
