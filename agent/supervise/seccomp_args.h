/* Calls that an app needs, but not for everything: rules over their arguments.  Layer agent, supervisor process. */
#ifndef TULOU_AGENT_SUPERVISE_SECCOMP_ARGS_H
#define TULOU_AGENT_SUPERVISE_SECCOMP_ARGS_H

#include <seccomp.h>
#include <stdbool.h>

/* Rules for ioctl(2), setsockopt(2), prctl(2) and madvise(2).  0 or libseccomp's negative errno. */
int seccomp_args(scmp_filter_ctx ctx, bool strict);

#endif
