/* Byte classes and fast scanning.  Layer web, private to web/http. */
#include "web/http/scan.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define V SCAN_VALUE
#define G (SCAN_VALUE | SCAN_TARGET)
#define T (SCAN_VALUE | SCAN_TARGET | SCAN_TOKEN)
#define H (SCAN_VALUE | SCAN_TARGET | SCAN_TOKEN | SCAN_HOST)
#define D (SCAN_VALUE | SCAN_TARGET | SCAN_TOKEN | SCAN_HOST | SCAN_DIGIT)

const uint8_t scan_table[256] = {
	['\t'] = V,	   [' '] = V, ['!'] = T,	   ['"'] = G,  ['#'] = V | SCAN_TOKEN,
	['$'] = T,	   ['%'] = T, ['&'] = T,	   ['\''] = T, ['('] = G,
	[')'] = G,	   ['*'] = T, ['+'] = T,	   [','] = G,  ['-'] = H,
	['.'] = H,	   ['/'] = G, ['0' ... '9'] = D,   [':'] = G,  [';'] = G,
	['<'] = G,	   ['='] = G, ['>'] = G,	   ['?'] = G,  ['@'] = G,
	['A' ... 'Z'] = H, ['['] = G, ['\\'] = G,	   [']'] = G,  ['^'] = T,
	['_'] = H,	   ['`'] = T, ['a' ... 'z'] = H,   ['{'] = G,  ['|'] = T,
	['}'] = G,	   ['~'] = T, [0x80 ... 0xff] = V,
};

const char *scan_while(const char *p, const char *end, unsigned class)
{
	while (p < end && scan_is(*p, class))
		p++;
	return p;
}

const char *scan_value(const char *p, const char *end)
{
#ifdef __SSE2__
	/* min(x, 0x1f) == x finds 0x00..0x1f; HTAB among them is told apart by the loop below, which goes on after it.
	 */
	const __m128i low = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f), tab = _mm_set1_epi8('\t');

	while (end - p >= 16) {
		__m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i bad = _mm_cmpeq_epi8(_mm_min_epu8(x, low), x);
		bad = _mm_andnot_si128(_mm_cmpeq_epi8(x, tab), bad);
		bad = _mm_or_si128(bad, _mm_cmpeq_epi8(x, del));
		int mask = _mm_movemask_epi8(bad);
		if (mask)
			return p + __builtin_ctz((unsigned)mask);
		p += 16;
	}
#endif
	return scan_while(p, end, SCAN_VALUE);
}
