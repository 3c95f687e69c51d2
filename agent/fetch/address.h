/* Which addresses a tenant's URL may lead to.  Layer agent, fetcher process; pure but for fetch_address_ours. */
#ifndef TULOU_AGENT_FETCH_ADDRESS_H
#define TULOU_AGENT_FETCH_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* Can anybody on the internet ask this address?  False for every block that IANA's special-purpose registries
 * (RFC 6890) do not call globally reachable, for multicast, and for IPv6 addresses that carry an IPv4 one inside
 * (mapped, 6to4, Teredo, NAT64), which some host on the way may unpack. */
bool fetch_address_public(const struct sockaddr *a);

/* Is it one of this host's own?  Services that listen there may trust the host itself (bind(2) tells). */
bool fetch_address_ours(const struct sockaddr *a);

#endif
