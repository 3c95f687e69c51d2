/* What an earlier supervisor of this node left running: workers with listening sockets, a logger.
 * Layer agent, supervisor.  Found through records in <runtime>/roles/<pid>. */
#ifndef TULOU_AGENT_ROLES_TAKEOVER_H
#define TULOU_AGENT_ROLES_TAKEOVER_H

#include "agent/roles/messages.h"
#include "agent/roles/role.h"

#include <stdint.h>
#include <sys/types.h>

struct takeover_record {
	uint32_t magic;
	uint32_t role, index;
	int32_t pid;
	uint64_t start_time; /* base/proc.h: tells a reused pid */
	uint32_t fd_count;
	int32_t fds[MSG_READY_FDS]; /* numbers inside that process */
};

#define TAKEOVER_MAX (LIMIT_WORKERS * 2 + 6)

struct takeover_process {
	struct takeover_record record;
	int pidfd; /* owned */
};

/* Notes a role process; dir is <runtime>/roles.  0 or negative errno. */
int takeover_note(int dir, enum role_id role, unsigned index, pid_t pid, const int32_t *fds, size_t nfds);
void takeover_forget(int dir, pid_t pid);

/* Finds the processes that still live, drops the records of those that do not.  Returns how many (<= TAKEOVER_MAX). */
unsigned takeover_find(int dir, struct takeover_process *ret);

/* A copy of the process's i-th noted descriptor (owned by the caller), or negative errno. */
int takeover_fd(const struct takeover_process *p, unsigned i);
/* Calls fn with a copy (fn's to close) of each socket that the process has now: for one that was left before it could
 * say where its own are.  proc_pid_fd(5), pidfd_getfd(2) since Linux 5.6. */
void takeover_sockets(const struct takeover_process *p, void (*fn)(void *arg, int fd), void *arg);

#endif
