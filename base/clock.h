/* Clocks.  Layer base, any process. */
#ifndef TULOU_BASE_CLOCK_H
#define TULOU_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Monotonic time in microseconds; never jumps, not comparable between boots. */
int64_t clock_mono_us(void);

/* Wall time in milliseconds since 1970; may jump. */
int64_t clock_wall_ms(void);

/* Writes wall_ms as RFC 3339 UTC with milliseconds, "2026-01-02T03:04:05.678Z" (24 bytes and a NUL). */
void clock_rfc3339(int64_t wall_ms, char out[25]);

#endif
