/* The supervisor: the only process that is root.  Layer agent, supervisor process.
 *
 * It owns the listening sockets, our other processes and (through agent/supervise) the instances, and carries typed
 * messages between them.  It parses no byte that comes from the network, a tenant, or a file that a tenant can write.
 */
#ifndef TULOU_AGENT_ROLES_SUPERVISOR_H
#define TULOU_AGENT_ROLES_SUPERVISOR_H

#include "config/settings.h"

/* Runs the node in the foreground until it is told to stop.
 *   SIGTERM, SIGINT  stop apps and node, remove what we made; a second one does not wait for the apps' grace
 *   SIGQUIT          stop our own processes only; the next start adopts the apps
 *   SIGHUP, SIGUSR2  execute the program again in place (settings re-read, new binary), adopting everything
 * program is the absolute path of tuloud, argv its arguments for that.  Exit code. */
int supervisor_run(const struct settings *s, const char *settings_path, const char *program, char **argv);

#endif
