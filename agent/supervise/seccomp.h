/* The filters of system calls, one a profile, for what runs in sandboxes.  Layer agent, supervisor process; made once
 * at its start. */
#ifndef TULOU_AGENT_SUPERVISE_SECCOMP_H
#define TULOU_AGENT_SUPERVISE_SECCOMP_H

#include "base/err.h"
#include "config/quota.h"

/* Builds the filter of a profile and returns it as a sealed memfd that holds an array of struct sock_filter
 * (LAUNCH_FD_SECCOMP), owned by the caller; or negative errno with e set.  Takes some 20 ms: compiling it at every
 * start is what makes others slow. */
int seccomp_build(enum quota_profile profile, struct err *e);

/* What the filter does, for tests: the i-th call that is allowed whatever its arguments are, NULL past the end. */
const char *seccomp_allowed(unsigned i);
/* The i-th call that is refused with EPERM, NULL past the end.  All others get ENOSYS. */
const char *seccomp_refused(unsigned i);
/* The i-th of the allowed ones that the strict profile refuses, NULL past the end. */
const char *seccomp_strict_without(unsigned i);

#endif
