/* Starting tulou-sandbox: its programs as sealed memory, its descriptors in place, one vfork.  Layer agent, supervisor
 * process. */
#ifndef TULOU_AGENT_SUPERVISE_LAUNCH_H
#define TULOU_AGENT_SUPERVISE_LAUNCH_H

#include "agent/sandbox/launch.h"
#include "base/err.h"

#include <stddef.h>
#include <sys/types.h>

#define LAUNCH_STDIO_MAX 8
#define LAUNCH_FDS_MAX (LAUNCH_FD_CGROUP - LAUNCH_FD_SPEC + LAUNCH_CGROUPS_MAX + LAUNCH_STDIO_MAX + 1)

/* What all launches share; every descriptor owned. */
struct launch_programs {
	int sandbox;  /* sealed memfd of tulou-sandbox: no instance can reach the file that the next one starts from */
	int unpack;   /* sealed memfd of tulou-unpack, or of /dev/null when it was not built */
	int null;     /* /dev/null */
	int usr;      /* O_PATH: the host's /usr */
	int segments; /* BPF program, net_segments(); negative = this kernel has none */
	int seccomp[QUOTA_PROFILE_COUNT]; /* sealed memfds: the filters, compiled once */
};
#define LAUNCH_PROGRAMS_NONE                                                                                           \
	{                                                                                                              \
		-1, -1, -1, -1, -1,                                                                                    \
		{                                                                                                      \
			-1, -1                                                                                         \
		}                                                                                                      \
	}
_Static_assert(QUOTA_PROFILE_COUNT == 2, "LAUNCH_PROGRAMS_NONE has one for each profile");

/* Loads the programs from dir and compiles the filter. 0 or negative errno. */
int launch_load(struct launch_programs *p, const char *dir, struct err *e);
void launch_unload(struct launch_programs *p);

/* The descriptors of one launch, borrowed; -1 = none. */
struct launch_fds {
	int status, blob, stack, tree, out, out_read, layer, usr; /* usr: -1 = the host's */
	int cgroups[LAUNCH_CGROUPS_MAX];
	int stdio[LAUNCH_STDIO_MAX];
};

/* Executes tulou-sandbox with spec (whose counts say how many cgroups and stdio there are).  On success *report is our
 * end of the report socket (non-blocking) and *pidfd the builder's, both owned by the caller; returns its pid, which
 * the caller reaps.  The builder leads a session and process group of its own; PID 1 joins that group and becomes our
 * child. */
pid_t launch_spawn(const struct launch_programs *p, const struct launch *spec, const struct launch_fds *fds,
		   int *report, int *pidfd, struct err *e);

#endif
