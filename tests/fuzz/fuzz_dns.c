/* Fuzzes the name server's parser: never crashes, and what it accepts can be answered within 512 bytes, and the answer
 * is taken for one to that question. */
#include "agent/resolve/dns.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const uint32_t addresses[30] = {1, 2, 3};
	uint8_t out[DNS_UDP];
	struct dns_query q;
	int code = dns_parse(p, n, &q);
	size_t k;

	if (code < 0)
		return 0;
	if (memchr(q.name, 0, sizeof q.name) == NULL || q.question > n)
		abort();
	k = dns_answer(p, &q, (enum dns_rcode)code, q.internal, addresses, code == DNS_OK ? 30 : 0, 1, out, sizeof out);
	if (k > sizeof out || (q.question && !dns_match(out, k, p, q.question)))
		abort();
	return 0;
}
