/* Networks of addresses.  Layer base, any process. */
#include "base/cidr.h"

#include "base/parse.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

static const uint8_t cidr_mapped[12] = {[10] = 0xff, [11] = 0xff};

bool cidr_has(const struct cidr *n, const uint8_t ip[16])
{
	unsigned whole = n->prefix / 8, rest = n->prefix % 8;

	return memcmp(n->ip, ip, whole) == 0 && (rest == 0 || ((n->ip[whole] ^ ip[whole]) >> (8 - rest)) == 0);
}

int cidr_parse(const char *s, const char *field, struct cidr *ret, struct err *e)
{
	const char *slash = strchr(s, '/');
	size_t len = slash ? (size_t)(slash - s) : strlen(s);
	char host[INET6_ADDRSTRLEN];
	struct cidr n = {.prefix = 128};
	uint64_t prefix = 0;
	bool good = len < sizeof host, v4;

	if (good) {
		memcpy(host, s, len);
		host[len] = '\0';
		v4 = inet_pton(AF_INET, host, n.ip + 12) == 1;
		if (v4)
			memcpy(n.ip, cidr_mapped, sizeof cidr_mapped);
		good = v4 || inet_pton(AF_INET6, host, n.ip) == 1;
		if (good && slash) {
			good = parse_u64(slash + 1, strlen(slash + 1), 0, v4 ? 32 : 128, field, &prefix, NULL) == 0;
			n.prefix = (uint8_t)(prefix + (v4 ? 96 : 0));
		}
	}
	for (unsigned i = n.prefix; good && i < 128; i++)
		good = !(n.ip[i / 8] & (0x80 >> i % 8));
	if (!good)
		return err_field(e, EINVAL, field, "%s: \"%.50s\" is not a network like 10.0.0.0/8 or 2001:db8::/32",
				 field, s);
	*ret = n;
	return 0;
}

void cidr_address(const struct sockaddr_storage *a, uint8_t ip[16])
{
	memset(ip, 0, 16);
	if (a->ss_family == AF_INET) {
		memcpy(ip, cidr_mapped, sizeof cidr_mapped);
		memcpy(ip + 12, &((const struct sockaddr_in *)(const void *)a)->sin_addr, 4);
	} else if (a->ss_family == AF_INET6) {
		memcpy(ip, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, 16);
	}
}
