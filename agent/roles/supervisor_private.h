/* What the supervisor's files share: its state, and what each does for the others.  Layer agent, supervisor process.
 *
 *   supervisor.c         life: start, our own processes, take-over, signals, end
 *   supervisor_relay.c   control's orders to agent/supervise/, and what that tells, back to control and logger
 *   supervisor_front.c   the proxy workers' CPU time and CPUs
 *   supervisor_dirs.c    users, directories */
#ifndef AGENT_ROLES_SUPERVISOR_PRIVATE_H
#define AGENT_ROLES_SUPERVISOR_PRIVATE_H

#include "agent/roles/child.h"
#include "agent/roles/listeners.h"
#include "agent/roles/takeover.h"
#include "agent/supervise/names.h"
#include "agent/supervise/supervise.h"

#include <pwd.h>

/*   starting -> serving --SIGTERM--> stopping (apps) -> ending (own processes) -> gone
 *                  |----SIGQUIT----------------------------^
 *                  '----SIGHUP/SIGUSR2 -> executed again   */
#define SUPERVISOR_DIRS 8

enum supervisor_phase { PHASE_STARTING, PHASE_SERVING, PHASE_STOPPING, PHASE_ENDING, PHASE_COUNT };

struct supervisor {
	struct loop *loop;
	struct settings settings;
	const char *settings_path; /* borrowed, NULL = embedded defaults */
	const char *program;	   /* borrowed */
	char **argv;		   /* borrowed */
	enum supervisor_phase phase;
	bool teardown; /* the apps were stopped too */
	bool again;    /* execute the program again */
	struct supervise *supervise;
	struct listeners listeners;
	struct names names;			   /* no other node of the host has them */
	int roles_dir, stats, access[2], logs_dir; /* owned */
	struct {
		char path[256];
		size_t missing;	 /* as fd_mkdirs_missing() */
	} made[SUPERVISOR_DIRS]; /* what was not there before supervisor_dirs() */
	unsigned made_count;
	uint64_t boot;
	struct child control, logger, resolver, fetcher, workers[LIMIT_WORKERS];
	unsigned worker_base; /* rows of the stats segment that this run's workers write */
	struct takeover_process old[TAKEOVER_MAX];
	struct loop_io old_io[TAKEOVER_MAX];
	bool old_is_worker[TAKEOVER_MAX]; /* a proxy, told to drain or not */
	unsigned old_count;
	struct loop_signal signals[6];
	struct loop_timer deadline;
};

/* One message of control (agent/roles/messages.h): done, or logged when it cannot be.  body and fds are borrowed for
 * the call; a message that does not fit the phase is dropped. */
void supervisor_on_control_msg(struct supervisor *s, uint16_t type, const void *body, int *fds, size_t nfds);

/* The ops by which agent/supervise/ tells what it sees; s is borrowed for as long as they are used. */
struct supervise_ops supervisor_relay_ops(struct supervisor *s);

/* Of those, what concerns the front door: see struct supervise_ops; arg is a struct supervisor. */
uint64_t supervisor_front_us(void *arg);
void supervisor_front_cpus(void *arg, const unsigned short *cpus, unsigned n);

/* Looks a user up.  0; -ENOENT with what makes it in e.  Strings in ret are the C library's, until the next lookup. */
int supervisor_user(const char *name, struct passwd *ret, struct err *e);

/* Makes the data and runtime directories with their owners and modes; fills logs_dir and roles_dir, owned by s.
 * 0 or -errno with the path in e. */
int supervisor_dirs(struct supervisor *s, struct err *e);

/* After a start that failed: removes what supervisor_dirs() made, as far as it is empty. */
void supervisor_undo_dirs(struct supervisor *s);

/* After a teardown: removes what supervisor_dirs() and names_take() made in the runtime directory, and nothing else. */
void supervisor_remove_runtime(struct supervisor *s);

#endif
