/* The states of an instance.  Layer scheduler, control process. */
#include "scheduler/instance.h"

#include <errno.h>

#define TO(s) (1u << MODEL_INSTANCE_##s)

static const unsigned instance_moves[MODEL_INSTANCE_STATE_COUNT] = {
	[MODEL_INSTANCE_STARTING] = TO(RUNNING) | TO(STOPPING) | TO(EXITED),
	[MODEL_INSTANCE_RUNNING] = TO(DRAINING) | TO(STOPPING) | TO(EXITED),
	[MODEL_INSTANCE_DRAINING] = TO(STOPPING) | TO(EXITED),
	[MODEL_INSTANCE_STOPPING] = TO(EXITED),
	[MODEL_INSTANCE_EXITED] = 0,
};

bool instance_may(enum model_instance_state from, enum model_instance_state to)
{
	return from < MODEL_INSTANCE_STATE_COUNT && to < MODEL_INSTANCE_STATE_COUNT &&
	       (instance_moves[from] & (1u << to));
}

int instance_state_move(struct model_instance *i, enum model_instance_state to, struct err *e)
{
	if (!instance_may(i->state, to))
		return err_set(e, EPERM, "instance %lld cannot go from %s to %s", (long long)i->id,
			       model_instance_state_name(i->state), model_instance_state_name(to));
	i->state = to;
	return 0;
}
