/* Private ("paranoid") layers: a tenant whose instances share no page of memory with other tenants through the files of
 * /usr and of the stack.  Layer agent, supervisor process.
 *
 *   none --ask--> making (a child) --> ready --open--> one mount per tenant, until its last instance is gone
 *                     '--> failed (told; tried again after PRIVATE_RETRY_MS)
 *
 * The page cache belongs to an inode, and inodes belong to a mounted device.  So one image of ext4 is made per version
 * of /usr and stack, once, and mounted once per tenant, each from a loop device of its own that reads past the cache of
 * the image file: the disk holds one copy, memory as many as there are such tenants.
 *
 *   <data>/private/<version>.img          the image, root-owned; <version>.img.new while it is made
 *   <data>/private/mounts/<slot>/         where a tenant's mount hangs (usr/ and stack/); builders clone from it
 *
 * A running instance has clones of its tenant's mount and needs neither the host's mount nor the image's name. */
#ifndef TULOU_AGENT_SUPERVISE_PRIVATE_H
#define TULOU_AGENT_SUPERVISE_PRIVATE_H

#include "base/err.h"
#include "base/loop.h"

#include <stdint.h>

enum private_state { PRIVATE_NONE, PRIVATE_MAKING, PRIVATE_READY, PRIVATE_FAILED, PRIVATE_STATE_COUNT };

struct private_layers;

/* Unmounts what an earlier supervisor mounted and removes images of other versions.  usr: the folder to copy ("/usr");
 * stack_name: of <data>/stacks.  Nothing is made before it is asked for, but where an image of another
 * version was in use a new one is begun at once.  changed(arg) comes from the loop when MAKING
 * has ended.  0 or negative errno. */
int private_new(struct loop *loop, const char *data, const char *usr, const char *stack_name, void (*changed)(void *),
		void *arg, struct private_layers **ret, struct err *e);
/* Frees; touches no mount.  NULL is fine. */
void private_free(struct private_layers *p);

/* Whether the image is there; begins to make it when it is not. */
enum private_state private_ask(struct private_layers *p);

/* The tenant's own /usr and stack as O_PATH descriptors, owned by the caller; mounted now if they are not.
 * Only when private_ask() does not say MAKING.  0 or negative errno with e. */
int private_open(struct private_layers *p, uint32_t slot, int *usr, int *stack, struct err *e);
/* The tenant's last instance with private layers is gone. */
void private_close(struct private_layers *p, uint32_t slot);
/* Unmounts all: the node goes. */
void private_close_all(struct private_layers *p);

#endif
