/* The PROXY protocol, versions 1 and 2: what a balancer says of its client before the first byte of HTTP or TLS.
 * HAProxy's specification (proxy-protocol.txt, 2020/03/05).  Layer web; without state, allocation or I/O.
 *
 * Stricter than the specification allows, because whoever may say this names the client: only what can be read in one
 * way is taken.  Version 1: one space between words, no leading zeros, at most 107 bytes.  Version 2: TLVs must fill
 * the rest of the header exactly; they are skipped, but a CRC32C among them must be right and may be there once. */
#ifndef TULOU_WEB_HTTP_PROXYPROTO_H
#define TULOU_WEB_HTTP_PROXYPROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROXYPROTO_MAX 4096 /* bytes of a header: version 2 with the TLVs of a TLS client, without its certificate */

struct proxyproto {
	bool local;		  /* LOCAL, UNKNOWN or no internet address: the connection's own addresses count */
	uint8_t src[16], dst[16]; /* unless local; IPv4 as ::ffff:a.b.c.d */
	uint16_t src_port, dst_port;
};

/* > 0: bytes of the header; 0: it is not complete yet; -EBADMSG: no header, or a wrong or too long one (*why says
 * what, constant text). */
int proxyproto_parse(const uint8_t *p, size_t n, struct proxyproto *ret, const char **why);

#endif
