/* Which addresses a tenant's URL may lead to.  Layer agent, fetcher process. */
#include "agent/fetch/address.h"

#include "base/own.h"

#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

/* RFC 6890 and the registry's later rows; host byte order. */
static const struct {
	uint32_t net;
	unsigned prefix;
} address_closed[] = {
	{0x00000000, 8},  /* this network */
	{0x0a000000, 8},  /* private */
	{0x64400000, 10}, /* shared (RFC 6598) */
	{0x7f000000, 8},  /* loopback */
	{0xa9fe0000, 16}, /* link-local: the metadata services of clouds */
	{0xac100000, 12}, /* private */
	{0xc0000000, 24}, /* protocol assignments */
	{0xc0000200, 24}, /* documentation */
	{0xc0586300, 24}, /* 6to4 relays */
	{0xc0a80000, 16}, /* private */
	{0xc6120000, 15}, /* benchmarks */
	{0xc6336400, 24}, /* documentation */
	{0xcb007100, 24}, /* documentation */
	{0xe0000000, 3},  /* multicast, reserved, broadcast */
};

static bool address_public4(uint32_t a)
{
	for (size_t i = 0; i < ARRAY_LEN(address_closed); i++)
		if ((a ^ address_closed[i].net) >> (32 - address_closed[i].prefix) == 0)
			return false;
	return true;
}

static bool address_public6(const uint8_t a[16])
{
	if ((a[0] & 0xe0) != 0x20) /* 2000::/3 is all that is given out */
		return false;
	if (a[0] == 0x20 && a[1] == 0x02) /* 6to4 */
		return false;
	if (a[0] == 0x20 && a[1] == 0x01 && a[2] < 0x02) /* 2001::/23: Teredo, benchmarks, ORCHID */
		return false;
	if (a[0] == 0x20 && a[1] == 0x01 && a[2] == 0x0d && a[3] == 0xb8) /* documentation */
		return false;
	return !(a[0] == 0x3f && a[1] == 0xff && a[2] < 0x10); /* documentation (RFC 9637) */
}

bool fetch_address_public(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET) {
		struct sockaddr_in in;
		memcpy(&in, a, sizeof in);
		return address_public4(ntohl(in.sin_addr.s_addr));
	}
	if (a->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;
		memcpy(&in6, a, sizeof in6);
		return address_public6(in6.sin6_addr.s6_addr);
	}
	return false;
}

bool fetch_address_ours(const struct sockaddr *a)
{
	OWN_FD int fd = socket(a->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (fd < 0)
		return true;
	if (a->sa_family == AF_INET) {
		memcpy(&in, a, sizeof in);
		in.sin_port = 0;
		return bind(fd, (struct sockaddr *)&in, sizeof in) == 0;
	}
	memcpy(&in6, a, sizeof in6);
	in6.sin6_port = 0;
	return bind(fd, (struct sockaddr *)&in6, sizeof in6) == 0;
}
