/* The blob of a launch: argv and environment, sealed in memory.  Layer agent, control process.
 * Format: agent/roles/messages.h.  The supervisor hands it on unread. */
#ifndef TULOU_AGENT_BUILD_BLOB_H
#define TULOU_AGENT_BUILD_BLOB_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct blob {
	struct buf args, env; /* NUL-terminated strings */
	uint32_t argc, envc;
};

void blob_init(struct blob *b);
void blob_done(struct blob *b);

/* Appends an argument; a variable; every member of a JSON object text of strings (members whose name could not be a
 * variable's are left out).  prefix is put before each name.  Errors are kept and reported by blob_seal. */
void blob_arg(struct blob *b, const char *arg);
void blob_argf(struct blob *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* argv of a process type's command line: bash, which reads the tree's .profile.d first when it has one (Heroku's
 * custom). */
void blob_command(struct blob *b, const char *command, bool profile);
void blob_env(struct blob *b, const char *key, const char *value);
void blob_envf(struct blob *b, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void blob_config(struct blob *b, const char *prefix, const char *json);

/* A sealed memfd owned by the caller, or negative errno with e set: -E2BIG past LIMIT_BLOB. */
int blob_seal(struct blob *b, struct err *e);

static inline void own_blob_p(struct blob *b)
{
	blob_done(b);
}
#define OWN_BLOB __attribute__((cleanup(own_blob_p)))

#endif
