/* A worker of the front door in the fuzzer's process, for fuzz_worker.c and fuzz_h2.c. */
#ifndef TULOU_TESTS_FUZZ_COMMON_H
#define TULOU_TESTS_FUZZ_COMMON_H

#include "web/proxy/internal.h"

#include <stdio.h>
#include <stdlib.h>

#define MUST(x)                                                                                                        \
	do {                                                                                                           \
		if (!(x)) {                                                                                            \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                        \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Once: a worker that lives as long as the process. */
struct proxy *fuzz_start(void);
/* Turns of the worker's loop. */
void fuzz_run(unsigned turns);
/* An app `name` at <name>.test with one instance that speaks that PROXY_PROTOCOL_.  Returns the instance's listening
 * socket, which is abstract: connected at once, and gone with the process. */
int fuzz_app(uint64_t number, const char *name, uint32_t protocol);
/* A connection to the worker through that listener; *fd is the client's end. */
struct client *fuzz_client(const struct listener *front, int *fd);

#endif
