/* Networks of addresses, IPv4 and IPv6 in one form.  Layer base, any process.  Pure. */
#ifndef TULOU_BASE_CIDR_H
#define TULOU_BASE_CIDR_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* An IPv4 address a.b.c.d is ::ffff:a.b.c.d, and the prefix of its network counts 96 bits more (RFC 4291, 2.5.5.2). */
struct cidr {
	uint8_t ip[16];
	uint8_t prefix; /* bits, 0..128 */
	uint8_t pad[3];
};

/* "a.b.c.d/len", "v6/len", or an address alone; the bits below the prefix must be zero.  0 or -EINVAL with e naming
 * `field`. */
int cidr_parse(const char *s, const char *field, struct cidr *ret, struct err *e);

/* Does the network hold the address? */
bool cidr_has(const struct cidr *n, const uint8_t ip[16]);

/* The address of an IPv4 or IPv6 socket in that form; all zero for another family. */
struct sockaddr_storage;
void cidr_address(const struct sockaddr_storage *a, uint8_t ip[16]);

#endif
