/* PROXY headers, both versions, and networks of addresses. */
#include "base/cidr.h"
#include "web/http/proxyproto.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct proxyproto got;
static const char *why;

static int text(const char *s)
{
	return proxyproto_parse((const uint8_t *)s, strlen(s), &got, &why);
}

Test(proxyproto, version_1)
{
	static const uint8_t v4[16] = {[10] = 0xff, 0xff, 192, 0, 2, 1};
	char line[200];

	cr_assert_eq(text("PROXY TCP4 192.0.2.1 198.51.100.2 51000 443\r\nGET / HTTP/1.1\r\n"), 45);
	cr_assert_not(got.local);
	cr_assert_eq(memcmp(got.src, v4, 16), 0);
	cr_assert_eq(got.src_port, 51000);
	cr_assert_eq(got.dst_port, 443);
	cr_assert_gt(text("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n"), 0);
	cr_assert_eq(got.src[0], 0x20);
	cr_assert_eq(text("PROXY UNKNOWN\r\n"), 15);
	cr_assert(got.local);
	cr_assert_eq(text("PROXY UNKNOWN ffff::1 anything at all\r\n"), 39);
	cr_assert_eq(text("PROXY TCP4 192.0.2.1"), 0);
	cr_assert_eq(text("PRO"), 0);
	/* 107 bytes are the most. */
	snprintf(line, sizeof line, "PROXY UNKNOWN %0*d\r\n", 91, 0);
	cr_assert_eq(text(line), 107);
	snprintf(line, sizeof line, "PROXY UNKNOWN %0*d\r\n", 92, 0);
	cr_assert_eq(text(line), -EBADMSG);
	cr_assert(*why);
}

Test(proxyproto, version_1_refusals)
{
	static const char *const rows[] = {
		"GET / HTTP/1.1\r\n",
		"proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n",
		"PROXY\tTCP4 192.0.2.1 198.51.100.2 1 2\r\n",
		"PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n",
		"PROXY UNKNOWNX\r\n",
		"PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n",
		"PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 1 \r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 1 65536\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 1 -2\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 1 +2\r\n",
		"PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n",
		"PROXY TCP4 192.0.2.256 198.51.100.2 1 2\r\n",
		"PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n",
		"PROXY TCP4 ::1 ::1 1 2\r\n",
		"PROXY TCP6 192.0.2.1 ::1 1 2\r\n",
		"PROXY TCP6 fe80::1%lo ::1 1 2\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\r\n",
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		cr_assert_eq(text(rows[i]), -EBADMSG, "%s", rows[i]);
		cr_assert(*why);
	}
	cr_assert_eq(proxyproto_parse((const uint8_t *)"PROXY TCP4 192.0.2.1\0 198.51.100.2 1 2\r\n", 40, &got, &why),
		     -EBADMSG);
}

static size_t v2(uint8_t *out, uint8_t command, uint8_t family, const void *body, size_t n)
{
	memcpy(out, "\r\n\r\n\0\r\nQUIT\n", 12);
	out[12] = command;
	out[13] = family;
	out[14] = (uint8_t)(n >> 8);
	out[15] = (uint8_t)n;
	memcpy(out + 16, body, n);
	return 16 + n;
}

#define V4 "\xc0\0\2\1\xc6\x33\x64\2\xc7\x38\1\xbb"

Test(proxyproto, version_2)
{
	uint8_t b[PROXYPROTO_MAX + 64];
	uint8_t body[PROXYPROTO_MAX + 32] = {0};
	size_t n = v2(b, 0x21, 0x11, V4, 12);

	for (size_t k = 0; k < n; k++)
		cr_assert_eq(proxyproto_parse(b, k, &got, &why), 0);
	cr_assert_eq(proxyproto_parse(b, n + 5, &got, &why), (int)n);
	cr_assert_eq(got.src[12], 192);
	cr_assert_eq(got.src_port, 51000);
	cr_assert_eq(got.dst_port, 443);
	/* LOCAL, whatever it carries. */
	n = v2(b, 0x20, 0x00, "", 0);
	cr_assert_eq(proxyproto_parse(b, n, &got, &why), 16);
	cr_assert(got.local);
	n = v2(b, 0x20, 0x11, V4, 12);
	cr_assert_gt(proxyproto_parse(b, n, &got, &why), 0);
	cr_assert(got.local);
	/* A unix socket's client has no address of the internet. */
	n = v2(b, 0x21, 0x31, body, 216);
	cr_assert_gt(proxyproto_parse(b, n, &got, &why), 0);
	cr_assert(got.local);
	body[0] = 0x20;
	n = v2(b, 0x21, 0x21, body, 36);
	cr_assert_gt(proxyproto_parse(b, n, &got, &why), 0);
	cr_assert_eq(got.src[0], 0x20);
	/* TLVs are skipped. */
	n = v2(b, 0x21, 0x11, V4 "\4\0\3abc\xee\0\0", 21);
	cr_assert_eq(proxyproto_parse(b, n, &got, &why), 37);
	/* The longest. */
	memcpy(body, V4 "\4", 13);
	body[13] = (uint8_t)((PROXYPROTO_MAX - 16 - 15) >> 8);
	body[14] = (uint8_t)(PROXYPROTO_MAX - 16 - 15);
	n = v2(b, 0x21, 0x11, body, PROXYPROTO_MAX - 16);
	cr_assert_eq(proxyproto_parse(b, n, &got, &why), PROXYPROTO_MAX);
	n = v2(b, 0x21, 0x11, body, PROXYPROTO_MAX - 15);
	cr_assert_eq(proxyproto_parse(b, 16, &got, &why), -EBADMSG);
}

Test(proxyproto, version_2_refusals)
{
	static const struct {
		uint8_t command, family;
		const char *body;
		size_t n;
	} rows[] = {
		{0x11, 0x11, V4, 12},	       {0x31, 0x11, V4, 12},
		{0x22, 0x11, V4, 12},	       {0x2f, 0x11, V4, 12},
		{0x21, 0x41, V4, 12},	       {0x21, 0x13, V4, 12},
		{0x21, 0x12, V4, 12},	       {0x21, 0x10, V4, 12},
		{0x21, 0x11, V4, 11},	       {0x21, 0x21, V4, 12},
		{0x21, 0x11, V4 "\4", 13},     {0x21, 0x11, V4 "\4\0", 14},
		{0x21, 0x11, V4 "\4\0\1", 15}, {0x21, 0x11, V4 "\4\xff\xff", 15},
		{0x21, 0x11, V4 "\3\0\0", 15}, {0x21, 0x11, V4 "\3\0\4\0\0\0\0", 19},
	};
	uint8_t b[256];

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t n = v2(b, rows[i].command, rows[i].family, rows[i].body, rows[i].n);
		cr_assert_eq(proxyproto_parse(b, n, &got, &why), -EBADMSG, "%zu", i);
		cr_assert(*why);
	}
}

/* A checksum made by another program (the corpus has the same header). */
Test(proxyproto, version_2_checksum)
{
	uint8_t b[256];
	size_t n = v2(b, 0x21, 0x11, V4 "\3\0\4\0\0\0\0", 19);
	FILE *f = fopen("tests/fuzz/corpus/proxyproto/v2-crc", "re");

	cr_assert_not_null(f);
	cr_assert_eq(fread(b, 1, n, f), n);
	fclose(f);
	cr_assert_eq(proxyproto_parse(b, n, &got, &why), (int)n);
	for (size_t i = 16; i < n; i++) {
		b[i] ^= 1;
		cr_assert_eq(proxyproto_parse(b, n, &got, &why), i == 28 ? (int)n : -EBADMSG, "%zu", i);
		b[i] ^= 1;
	}
}

Test(proxyproto, networks)
{
	static const struct {
		const char *net, *address;
		bool in;
	} rows[] = {
		{"10.0.0.0/8", "10.255.0.1", true},
		{"10.0.0.0/8", "11.0.0.1", false},
		{"0.0.0.0/0", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.128/25", "192.0.2.129", true},
		{"192.0.2.128/25", "192.0.2.1", false},
		{"2001:db8::/32", "2001:db8:1::1", true},
		{"2001:db8::/32", "2001:db9::1", false},
		{"0.0.0.0/0", "::1", false},
		{"::/0", "192.0.2.1", true},
	};
	struct cidr n;
	struct err e;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct cidr one;
		cr_assert_eq(cidr_parse(rows[i].net, "x", &n, &e), 0, "%s", e.text);
		cr_assert_eq(cidr_parse(rows[i].address, "x", &one, &e), 0);
		cr_assert_eq(cidr_has(&n, one.ip), rows[i].in, "%s %s", rows[i].net, rows[i].address);
	}
	cr_assert_eq(cidr_parse("10.0.0.1/8", "x", &n, &e), -EINVAL);
	cr_assert_str_eq(e.field, "x");
	cr_assert_eq(cidr_parse("10.0.0.0/33", "x", &n, &e), -EINVAL);
	cr_assert_eq(cidr_parse("10.0.0.0/", "x", &n, &e), -EINVAL);
	cr_assert_eq(cidr_parse("::1/129", "x", &n, &e), -EINVAL);
	cr_assert_eq(cidr_parse("", "x", &n, &e), -EINVAL);
}
