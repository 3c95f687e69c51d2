/* Fuzzes PROXY headers: a result lies inside the buffer, a header that came byte by byte reads as it does whole, and
 * bytes behind it change nothing. */
#include "web/http/proxyproto.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct proxyproto whole = {0}, part = {0};
	const char *why;
	int used, piece = 0;
	uint8_t *copy;

	if (n > PROXYPROTO_MAX + 64)
		return 0;
	used = proxyproto_parse(data, n, &whole, &why);
	if (used > (int)n || used > PROXYPROTO_MAX || (used < 0 && !*why) || (used == 0 && n >= PROXYPROTO_MAX))
		abort();
	for (size_t k = 0; used > 0 && k <= (size_t)used && piece == 0; k++) {
		/* Exactly as long as what came, so that a read behind it is seen. */
		copy = malloc(k ? k : 1);
		memcpy(copy, data, k);
		piece = proxyproto_parse(copy, k, &part, &why);
		free(copy);
	}
	if (used > 0 && (piece != used || memcmp(&whole, &part, sizeof whole) != 0))
		abort();
	return 0;
}
