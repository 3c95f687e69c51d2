/* The control role: API, database, scheduler, builds.  Layer agent, control process (user tulou, no privileges).
 *
 * Control is a reconciler.  Wanted state is in SQLite, observed state comes from the supervisor; plan_app() between
 * them gives the next actions.  It may be killed at any time: the next one reads the database, asks the supervisor what
 * runs (MSG_SYNC) and goes on. */
#ifndef TULOU_AGENT_ROLES_CONTROL_H
#define TULOU_AGENT_ROLES_CONTROL_H

#include "agent/roles/messages.h"
#include "base/err.h"
#include "base/loop.h"

struct control;

/* Opens the database below <data>/control, starts the API on api_listen_fd (-1: no API, for tests) and asks the
 * supervisor for what runs.  Takes chan_fd and api_listen_fd; stats_fd is only mapped.  0 or negative errno. */
int control_new(struct loop *l, int chan_fd, const struct msg_init_control *init, int api_listen_fd, int stats_fd,
		struct control **ret, struct err *e);
/* Closes everything; instances run on. */
void control_free(struct control *c);

/* control_new, MSG_READY to the supervisor, and the loop, until the supervisor's channel closes or SIGTERM comes.
 * Called after MSG_INIT_CONTROL came and privileges were dropped.  Returns the process's exit code. */
int control_main(struct loop *l, int chan_fd, const struct msg_init_control *init, int api_listen_fd, int stats_fd);

#endif
