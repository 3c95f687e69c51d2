/* The states of an instance and the moves between them.  Layer scheduler, control process.
 *
 *                exec and check passed      leaves the routes        SIGTERM          last process gone
 *      STARTING ----------------------> RUNNING ------------> DRAINING ------> STOPPING ------------> EXITED
 *         |  \____________________________ | _________________________________/^  ^                     ^
 *         |          STOP before it ran    \_____ STOP of one that has no routes __/                     |
 *         \______________________ it ended by itself, from any state ___________________________________/
 *
 *   from \ to   starting running draining stopping exited
 *   starting       .        x        .        x       x
 *   running        .        .        x        x       x
 *   draining       .        .        .        x       x
 *   stopping       .        .        .        .       x
 *   exited         .        .        .        .       .
 */
#ifndef TULOU_SCHEDULER_INSTANCE_H
#define TULOU_SCHEDULER_INSTANCE_H

#include "base/err.h"
#include "store/model.h"

#include <stdbool.h>

/* May an instance go from one state to the other?  Staying is not a move. */
bool instance_may(enum model_instance_state from, enum model_instance_state to);

/* The only place where a state changes: 0, or -EPERM (i unchanged) for a move that the table does not have. */
int instance_state_move(struct model_instance *i, enum model_instance_state to, struct err *e);

#endif
