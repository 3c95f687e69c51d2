/* The stored trees that instances see: releases and repositories.  Layer agent, supervisor process.
 *
 *   <data>/releases/<build>/        a release, read-only below an instance; <build>.new while it is written
 *   <data>/repos/<app>/             a bare repository, writable at /repo
 * Both folders are 0700 root: only through a sandbox does a tenant reach its trees.  A tree belongs to uid 1000 of its
 * tenant's range.  All names are numbers, so no path comes from anyone else. */
#ifndef TULOU_AGENT_SUPERVISE_TREE_H
#define TULOU_AGENT_SUPERVISE_TREE_H

#include "agent/roles/messages.h"
#include "base/err.h"

#include <stdint.h>

#define TREE_UID 1000u /* inside the tenant's range: the user that apps run as */

struct tree {
	int releases, repos; /* owned directories */
};

/* Makes and opens the folders below data. */
int tree_init(struct tree *t, const char *data, struct err *e);
void tree_done(struct tree *t);

/* The tree of a launch as an O_PATH descriptor, made when the kind writes it (uid_base: first id of the tenant's
 * range). -1 in *ret for kinds without one.  0, -ENOENT for a release that is not there, -EEXIST for one that is
 * written already. */
int tree_open(struct tree *t, enum msg_kind kind, uint64_t app, uint64_t object, uint32_t uid_base, int *ret,
	      struct err *e);

/* Whether the repository lies in our own folder. */
bool tree_has_repo(const struct tree *t, uint64_t app);

/* After a STORE: ok makes <build>.new the release, otherwise it becomes <build>.gone, to be removed by a
 * child: trees may be large).  0 or negative errno. */
int tree_finish(struct tree *t, uint64_t object, bool ok);

/* Takes a tree out of use by renaming it to <number>.gone; 0 also when there was none.  The child removes the rest. */
int tree_retire(struct tree *t, enum msg_remove_kind kind, uint64_t id);
/* Removes <number>.gone; slow, for the child process. */
int tree_remove_gone(struct tree *t, enum msg_remove_kind kind, uint64_t id);
/* Calls fn for each leftover: <number>.gone, and <number>.new, which it turns into .gone unless busy(arg, number). */
int tree_leftovers(struct tree *t, bool (*busy)(void *arg, uint64_t object),
		   void (*fn)(void *arg, enum msg_remove_kind kind, uint64_t id), void *arg);

/* Calls fn for each whole tree of a kind.  0 or negative errno. */
int tree_each(const struct tree *t, enum msg_remove_kind kind, void (*fn)(void *arg, uint64_t id), void *arg);

#endif
