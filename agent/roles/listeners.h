/* The listening sockets of the front door and of the API: taken over, inherited or made.  Layer agent, supervisor.
 * Listening sockets move between processes by descriptor; SO_REUSEPORT is not used, because closing one of its sockets
 * drops the connections in that socket's queue. */
#ifndef TULOU_AGENT_ROLES_LISTENERS_H
#define TULOU_AGENT_ROLES_LISTENERS_H

#include "base/err.h"
#include "config/settings.h"

struct listeners {
	int http[LIMIT_LISTEN]; /* owned; as many as could be had, in front */
	unsigned http_count;
	int https[LIMIT_LISTEN];
	unsigned https_count;
	int api;		  /* owned: unix socket <runtime>/gate/control.sock */
	int names_udp, names_tcp; /* owned: the name server's; -1 = none */
};

/* Offers a descriptor from an earlier supervisor's worker or from systemd (sd_listen_fds(3)): taken when it is a
 * listening socket of one of the settings' addresses that is still missing, closed otherwise. */
void listeners_offer(struct listeners *l, const struct settings *s, int fd);

/* Makes what is missing.  An address that this host does not have (EADDRNOTAVAIL, EAFNOSUPPORT) is left out with a
 * warning as long as one remains; any other failure, such as a port in use, is an error that names the address. */
int listeners_open(struct listeners *l, const struct settings *s, struct err *e);

/* Does this listening socket's address say proxy? */
bool listeners_proxied(int fd, const struct settings_address *wanted, unsigned n);

/* The name server's sockets on port 53 of address (host byte order), which need not exist yet.  Sockets that l has
 * already, from an earlier supervisor, are kept when they are there.  0 or negative errno with e set. */
int listeners_open_names(struct listeners *l, uint32_t address, struct err *e);
/* The API's socket in <runtime>/gate, replaced atomically, connectable by group gid; gate is a descriptor of that
 * directory. */
int listeners_open_api(struct listeners *l, const struct settings *s, unsigned gid, struct err *e);

void listeners_init(struct listeners *l);
void listeners_close(struct listeners *l);

#endif
