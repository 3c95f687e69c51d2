/* A growing byte buffer with a hard limit.  Layer base, any process. */
#ifndef TULOU_BASE_BUF_H
#define TULOU_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

/* data[0..len) is the content and data[len] is always NUL once anything was appended.  A failed append sets `failed`
 * and changes nothing else, so a run of appends may be checked once at its end. */
struct buf {
	char *data; /* owned; NULL while empty */
	size_t len, cap;
	size_t max; /* bytes allowed; an append beyond it fails with -ENOSPC */
	int failed; /* 0, or the negative errno of the first failed append */
};

/* Makes an empty buffer that may hold at most max bytes. */
void buf_init(struct buf *b, size_t max);
/* Frees the content; the buffer is empty and usable again afterwards. */
void buf_done(struct buf *b);
/* Empties without freeing, and clears `failed`. */
void buf_clear(struct buf *b);

/* Append; 0, -ENOSPC past max, -ENOMEM. */
int buf_add(struct buf *b, const void *p, size_t n);
int buf_adds(struct buf *b, const char *s);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/* Makes room for n more bytes and returns where to write them (then add to len), NULL when that fails. */
char *buf_reserve(struct buf *b, size_t n);

/* Drops n bytes from the front (memmove). */
void buf_consume(struct buf *b, size_t n);

/* Hands the NUL-terminated content to the caller (free), never NULL unless out of memory; the buffer is empty then. */
char *buf_take(struct buf *b);

static inline void own_buf_p(struct buf *b)
{
	buf_done(b);
}
#define OWN_BUF __attribute__((cleanup(own_buf_p)))

#endif
