/* The writable layer of an instance: made, looked at, bounded anew, given back.  Layer agent, supervisor process. */
#ifndef TULOU_AGENT_SUPERVISE_LAYER_H
#define TULOU_AGENT_SUPERVISE_LAYER_H

#include "agent/supervise/instance.h"

/* The layer of a launch: an O_PATH descriptor owned by the caller, -1 for kinds without one and on the memory backend.
 */
int layer_make(struct instance *in, int *ret, struct err *e);
/* Whether a release may be written: a node whose disk is full keeps what is left for its database. */
int layer_room(const struct supervise *s, struct err *e);
/* Fills disk and inodes of u. */
void layer_sample(struct instance *in, struct msg_usage *u);
/* in->rec.limits has changed: holds the layer to it at once.  0 or negative errno. */
int layer_change(struct instance *in);
/* The instance has ended. */
void layer_drop(struct instance *in);

/* The tree that a GIT launch writes: <data>/repos where it is there already, else bounded on the disk. */
int layer_repo(struct supervise *s, uint64_t app, uint32_t uid_base, int *ret, struct err *e);

/* Calls fn for each repository, wherever it lies. */
void layer_repos(struct supervise *s, void (*fn)(void *arg, uint64_t app), void *arg);

#endif
