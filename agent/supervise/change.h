/* New limits of what runs already, without a restart.  Layer agent, supervisor process.  supervise_limits(),
 * supervise_throttle() and supervise_tenant() of supervise.h are in change.c. */
#ifndef TULOU_AGENT_SUPERVISE_CHANGE_H
#define TULOU_AGENT_SUPERVISE_CHANGE_H

#include "base/err.h"
#include "config/quota.h"

struct instance;
struct tenant;
struct supervise;

/* Writes the CPU quota and weight that hold now: those of the throttle, else of the limits. */
int change_cpu(struct instance *in);
/* Brings the group's memory to its limit in steps, from the loop. */
void change_memory(struct instance *in);
void change_tenant_memory(struct tenant *t);
/* Tries again what could not be had the last time; usage.c asks with each sample. */
void change_again(struct instance *in);
void change_tenant_again(struct tenant *t);
void change_stop(struct instance *in);
/* The rates that changed while it was being built; it runs now. */
void change_network_late(struct instance *in);
/* All weights and quotas as the limits say: a control that starts knows nothing of what an earlier one lowered. */
void change_unthrottle(struct supervise *s);

/* The limits as they should be in the kernel: with the throttle in them. */
struct quota_limits change_now(const struct instance *in);
/* Writes them again. */
int change_repair(struct instance *in, struct err *e);

#endif
