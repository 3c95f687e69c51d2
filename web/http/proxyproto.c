/* The PROXY protocol.  Layer web, proxy process. */
#include "web/http/proxyproto.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define V1_MAX 107   /* with CRLF; 2.1 */
#define V2_HEAD 16   /* signature, version and command, family, length */
#define TLV_CRC 0x03 /* PP2_TYPE_CRC32C */

static const uint8_t v2_signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
static const uint8_t v1_signature[6] = {'P', 'R', 'O', 'X', 'Y', ' '};

static int proxyproto_bad(const char **why, const char *text)
{
	*why = text;
	return -EBADMSG;
}

/* Takes a word that ends in `stop`; NULL when there is none, or it does not fit. */
static const char *v1_word(const char *p, const char *end, char stop, char *out, size_t max)
{
	const char *at = memchr(p, stop, (size_t)(end - p));
	size_t n = at ? (size_t)(at - p) : 0;

	if (!at || n == 0 || n >= max || memchr(p, 0, n))
		return NULL;
	memcpy(out, p, n);
	out[n] = '\0';
	return at + 1;
}

static bool v1_port(const char *s, uint16_t *ret)
{
	unsigned v = 0;
	size_t n = strlen(s);

	if (n > 5 || (s[0] == '0' && n > 1))
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return false;
		v = v * 10 + (unsigned)(*s - '0');
	}
	*ret = (uint16_t)v;
	return v <= 65535;
}

static bool v1_address(int family, const char *s, uint8_t out[16])
{
	if (family == AF_INET6)
		return inet_pton(AF_INET6, s, out) == 1;
	memset(out, 0, 10);
	out[10] = out[11] = 0xff;
	return inet_pton(AF_INET, s, out + 12) == 1;
}

static int v1_parse(const char *p, size_t n, struct proxyproto *ret, const char **why)
{
	const char *end = memmem(p, n < V1_MAX ? n : V1_MAX, "\r\n", 2), *at = p + sizeof v1_signature;
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN], sport[6], dport[6];
	int family = AF_INET, used;

	if (!end)
		return n < V1_MAX ? 0 : proxyproto_bad(why, "a version 1 header is longer than 107 bytes");
	used = (int)(end + 2 - p);
	if (end - at >= 7 && memcmp(at, "UNKNOWN", 7) == 0 && (end - at == 7 || at[7] == ' ')) {
		*ret = (struct proxyproto){.local = true};
		return used;
	}
	if (end - at < 5 || (memcmp(at, "TCP4 ", 5) != 0 && memcmp(at, "TCP6 ", 5) != 0))
		return proxyproto_bad(why, "a version 1 header names neither TCP4 nor TCP6 nor UNKNOWN");
	if (at[3] == '6')
		family = AF_INET6;
	at += 5;
	/* The last word ends at the CR, and nothing may follow it. */
	if (!(at = v1_word(at, end, ' ', src, sizeof src)) || !(at = v1_word(at, end, ' ', dst, sizeof dst)) ||
	    !(at = v1_word(at, end, ' ', sport, sizeof sport)) ||
	    !(at = v1_word(at, end + 1, '\r', dport, sizeof dport)) || at != end + 1)
		return proxyproto_bad(why, "a version 1 header has not two addresses and two ports");
	*ret = (struct proxyproto){.local = false};
	if (!v1_address(family, src, ret->src) || !v1_address(family, dst, ret->dst) ||
	    !v1_port(sport, &ret->src_port) || !v1_port(dport, &ret->dst_port))
		return proxyproto_bad(why, "a version 1 header has a wrong address or port");
	return used;
}

/* CRC-32C (RFC 3720, appendix B.4) with bytes [hole, hole + 4) taken as zero. */
static uint32_t v2_crc(const uint8_t *p, size_t n, size_t hole)
{
	uint32_t c = 0xffffffff;

	for (size_t i = 0; i < n; i++) {
		c ^= i - hole < 4 ? 0 : p[i];
		for (int k = 0; k < 8; k++)
			c = c >> 1 ^ (0x82f63b78 & (0u - (c & 1)));
	}
	return ~c;
}

static bool v2_tlvs(const uint8_t *p, size_t at, size_t n)
{
	size_t crc = 0;

	while (at < n) {
		size_t len;
		if (n - at < 3)
			return false;
		len = (size_t)p[at + 1] << 8 | p[at + 2];
		if (len > n - at - 3)
			return false;
		if (p[at] == TLV_CRC) {
			if (len != 4 || crc)
				return false;
			crc = at + 3;
		}
		at += 3 + len;
	}
	return !crc || v2_crc(p, n, crc) == ((uint32_t)p[crc] << 24 | (uint32_t)p[crc + 1] << 16 |
					     (uint32_t)p[crc + 2] << 8 | (uint32_t)p[crc + 3]);
}

static int v2_parse(const uint8_t *p, size_t n, struct proxyproto *ret, const char **why)
{
	/* Bytes of the addresses by family: none, IPv4, IPv6, unix. */
	static const size_t sizes[] = {0, 12, 36, 216};
	size_t total, size;
	const uint8_t *a = p + V2_HEAD;
	unsigned family, command;

	if (n < V2_HEAD)
		return 0;
	command = p[12] & 15;
	family = p[13] >> 4;
	total = V2_HEAD + ((size_t)p[14] << 8 | p[15]);
	if (p[12] >> 4 != 2 || command > 1)
		return proxyproto_bad(why, "a version 2 header has another version or command");
	if (family > 3 || (p[13] & 15) > 2)
		return proxyproto_bad(why, "a version 2 header has an unknown family or transport");
	if (total > PROXYPROTO_MAX)
		return proxyproto_bad(why, "a version 2 header is longer than 4096 bytes");
	if (n < total)
		return 0;
	size = sizes[family];
	if (total - V2_HEAD < size)
		return proxyproto_bad(why, "a version 2 header is too short for its addresses");
	/* Addresses of LOCAL are discarded, of whatever length (2.2); so is all behind AF_UNSPEC. */
	*ret = (struct proxyproto){.local = command == 0 || family == 0 || family == 3};
	if (!v2_tlvs(p, V2_HEAD + size, total))
		return proxyproto_bad(why, "a version 2 header has malformed TLVs or a wrong checksum");
	if (ret->local)
		return (int)total;
	if ((p[13] & 15) != 1)
		return proxyproto_bad(why, "a version 2 header is not about a stream");
	if (family == 1) {
		ret->src[10] = ret->src[11] = ret->dst[10] = ret->dst[11] = 0xff;
		memcpy(ret->src + 12, a, 4);
		memcpy(ret->dst + 12, a + 4, 4);
	} else {
		memcpy(ret->src, a, 16);
		memcpy(ret->dst, a + 16, 16);
	}
	a += size - 4;
	ret->src_port = (uint16_t)(a[0] << 8 | a[1]);
	ret->dst_port = (uint16_t)(a[2] << 8 | a[3]);
	return (int)total;
}

int proxyproto_parse(const uint8_t *p, size_t n, struct proxyproto *ret, const char **why)
{
	*why = "";
	if (memcmp(p, v2_signature, n < sizeof v2_signature ? n : sizeof v2_signature) == 0)
		return n < sizeof v2_signature ? 0 : v2_parse(p, n, ret, why);
	if (memcmp(p, v1_signature, n < sizeof v1_signature ? n : sizeof v1_signature) == 0)
		return n < sizeof v1_signature ? 0 : v1_parse((const char *)p, n, ret, why);
	return proxyproto_bad(why, "no PROXY header");
}
