/* The root skeleton below every instance: what of the host's / is shown besides /usr.  Layer agent, supervisor process.
 *
 *   <data>/stacks/<fingerprint>/   one version: directories, links into /usr, a short list of /etc, /buildpacks
 *   <data>/stack                   link to the current one
 * A version is built beside the others and never changed afterwards, because running instances look through it; when
 * the host's files have changed at the next start, the fingerprint differs and new instances get a new one.  Only files
 * that everybody on the host may read are copied, so no secret of the host can slip in. */
#ifndef TULOU_AGENT_SUPERVISE_STACK_H
#define TULOU_AGENT_SUPERVISE_STACK_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define STACK_NAME 24

/* Builds the version for the host as it is now below data, unless it is there, and makes it current.  resolvers (IPv4,
 * host byte order) go into resolv.conf.  buildpacks come from <program_dir>/../deploy/buildpacks, else
 * /usr/share/tulou/buildpacks.  A descriptor (O_PATH) of its root, or negative errno. */
int stack_build(const char *data, const char *program_dir, const uint32_t *resolvers, unsigned resolver_count,
		char name[STACK_NAME], struct err *e);

/* Removes versions for which keep() is false, and half-built ones. */
void stack_sweep(const char *data, bool (*keep)(void *arg, const char *name), void *arg);

#endif
