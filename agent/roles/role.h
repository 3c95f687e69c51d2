/* The role table: name, user, root directory, allowed system calls; and the step from root into a role.
 * Layer agent.  Each role is tuloud executed again with its channel to the supervisor on descriptor 3. */
#ifndef TULOU_AGENT_ROLES_ROLE_H
#define TULOU_AGENT_ROLES_ROLE_H

#include "base/err.h"
#include "config/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chan_rule;

enum role_id { ROLE_CONTROL, ROLE_LOGGER, ROLE_PROXY, ROLE_RESOLVER, ROLE_FETCHER, ROLE_COUNT };

#define ROLE_CHANNEL_FD 3

/* "control", "logger", "proxy", "resolver", "fetcher". */
const char *role_name(enum role_id r);
/* ROLE_COUNT when there is no such role. */
enum role_id role_parse(const char *name);

/* Name of the user that the role runs as, from the settings. */
const char *role_user(enum role_id r, const struct settings *s);

/* The beginning of every role: signals that are the supervisor's to answer, and the first message of the channel, which
 * must be of this type.  Its body, valid for the life of the process, with its descriptors in fds (FD_PASS_MAX of
 * room); NULL after it has logged why not. */
const void *role_begin(uint16_t type, const struct chan_rule *rules, size_t count, int *fds, size_t *nfds);

/* Gives up everything the role does not need: supplementary groups, ids, capabilities (all sets, securebits locked),
 * core dumps, and system calls outside the role's list (EPERM).  root_dir is entered with chroot(2) when not NULL.
 * Not reversible.  0 or negative errno; on failure the process must exit. */
int role_confine(enum role_id r, const char *user, const char *root_dir, struct err *e);

/* Main functions, called by tuloud after exec; they never return to root.  Exit code. */
int role_main(enum role_id r);
int role_control_main(void);
int role_logger_main(void);
int role_proxy_main(void);
int role_resolver_main(void);
int role_fetcher_main(void);

#endif
