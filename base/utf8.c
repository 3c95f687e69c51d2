/* UTF-8 checks and escaping.  Layer base, any process. */
#include "base/utf8.h"

#include <string.h>

size_t utf8_next(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;
	unsigned char lo = 0x80, hi = 0xbf;
	size_t len;

	if (n == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		len = 2;
	else if ((p[0] & 0xf0) == 0xe0)
		len = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		len = 4;
	else
		return 0;
	if (n < len)
		return 0;
	if (p[0] == 0xe0)
		lo = 0xa0; /* overlong */
	else if (p[0] == 0xed)
		hi = 0x9f; /* surrogates */
	else if (p[0] == 0xf0)
		lo = 0x90; /* overlong */
	else if (p[0] == 0xf4)
		hi = 0x8f; /* beyond U+10FFFF */
	if (p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

bool utf8_valid(const char *s, size_t n)
{
	while (n) {
		size_t k = utf8_next(s, n);
		if (k == 0 || *s == 0)
			return false;
		s += k;
		n -= k;
	}
	return true;
}

/* Characters that change how the rest of a line is shown: C1 controls and bidirectional controls. */
static bool utf8_deceives(const char *s, size_t k)
{
	const unsigned char *p = (const unsigned char *)s;

	if (k == 2)
		return p[0] == 0xc2 && p[1] < 0xa0;
	if (k == 3 && p[0] == 0xe2 && p[1] == 0x80)
		return (p[2] >= 0x8e && p[2] <= 0x8f) || (p[2] >= 0xa8 && p[2] <= 0xae);
	if (k == 3 && p[0] == 0xe2 && p[1] == 0x81)
		return p[2] >= 0xa6 && p[2] <= 0xa9;
	return false;
}

size_t utf8_escape(char *out, size_t cap, const char *s, size_t n)
{
	static const char hex[] = "0123456789abcdef";
	size_t o = 0;

	if (cap == 0)
		return 0;
	while (n) {
		size_t k = utf8_next(s, n);
		bool plain = k > 1 ? !utf8_deceives(s, k) : k == 1 && (unsigned char)*s >= 0x20 && *s != 0x7f;

		if (plain) {
			if (o + k >= cap)
				break;
			memcpy(out + o, s, k);
			o += k;
		} else {
			if (k == 0)
				k = 1;
			if (o + 4 * k >= cap)
				break;
			for (size_t i = 0; i < k; i++) {
				out[o++] = '\\';
				out[o++] = 'x';
				out[o++] = hex[(unsigned char)s[i] >> 4];
				out[o++] = hex[s[i] & 15];
			}
		}
		s += k;
		n -= k;
	}
	out[o] = 0;
	return o;
}
