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
	uint64_t start_time; /* field 22 of /proc/<pid>/stat: tells a reused pid */
	uint32_t fd_count;
	int32_t fds[MSG_READY_FDS]; /* numbers inside that process */
};

#define TAKEOVER_MAX (LIMIT_WORKERS * 2 + 6)

struct takeover_process {
	struct takeover_record record;
	int pidfd; /* owned */
};

/* Clock ticks since boot at which pid began, 0 when there is no such process. */
uint64_t takeover_start_time(pid_t pid);

/* Notes a role process; dir is <runtime>/roles.  0 or negative errno. */
int takeover_note(int dir, enum role_id role, unsigned index, pid_t pid, const int32_t *fds, size_t nfds);
void takeover_forget(int dir, pid_t pid);

/* Finds the processes that still live, drops the records of those that do not.  Returns how many (<= TAKEOVER_MAX). */
unsigned takeover_find(int dir, struct takeover_process *ret);

/* A copy of the process's i-th noted descriptor (owned by the caller), or negative errno. */
int takeover_fd(const struct takeover_process *p, unsigned i);

#endif
