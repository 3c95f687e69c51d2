/* What a finished build says about itself: a few small files in one stream.  Layer agent, control process.
 *
 * The driver (deploy/buildpacks/driver) writes for each file the line "NAME SIZE\n" and then SIZE bytes.  It runs
 * beside the tenant's code, so every byte is a tenant's. */
#ifndef TULOU_AGENT_BUILD_MANIFEST_H
#define TULOU_AGENT_BUILD_MANIFEST_H

#include "base/err.h"
#include "config/appfile.h"

#include <stdbool.h>
#include <stddef.h>

struct manifest {
	struct appfile app; /* owned: manifest_done */
	char buildpack[32]; /* "" when it was not said */
	bool profile;	    /* the tree has .profile.d scripts to be read before a command */
};

void manifest_init(struct manifest *m);
void manifest_done(struct manifest *m);

/* Reads a whole manifest into *m, which is empty.  0, or -EINVAL and what appfile_* return. */
int manifest_parse(const char *p, size_t n, struct manifest *m, struct err *e);

/* The types as the JSON object text that a release stores, without "release"; owned by the caller (free). NULL when out
 * of memory. */
char *manifest_types_json(const struct manifest *m);
/* What matters at run time,
 * {"health_path","health_every_ms","health_failures","listen","protocol","profile","env","release","rollout"}; owned by
 * the caller (free).
 */
char *manifest_app_json(const struct manifest *m);

static inline void own_manifest_p(struct manifest *m)
{
	manifest_done(m);
}
#define OWN_MANIFEST __attribute__((cleanup(own_manifest_p)))

#endif
