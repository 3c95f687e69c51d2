/* The chunked transfer coding (RFC 9112, 7.1), strictly.  Layer web, any process. */
#ifndef TULOU_WEB_HTTP_CHUNKED_H
#define TULOU_WEB_HTTP_CHUNKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CHUNKED_LINE_MAX 1024	 /* a size line with its extensions */
#define CHUNKED_TRAILER_MAX 8192 /* all trailer fields together; they are checked, and dropped if nobody keeps them */
#define CHUNKED_PREFIX 18	 /* bytes that chunked_prefix writes at most */

/* Zero-filled = at the start of a body.
 *
 *   SIZE -> EXT -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE
 *                     +-> (size 0) TRAILER -> ... -> END */
struct chunked {
	uint64_t left; /* bytes of the current chunk still to come */
	uint16_t run;  /* bytes of the line, or of the trailer section, so far */
	uint8_t state;
	uint8_t digits; /* of the size so far */
	char *keep; /* borrowed; where trailers are kept as lines "name: value\n": CHUNKED_TRAILER_MAX bytes, the first
		       `run` of them so far; NULL: dropped */
};

/* Decodes buf[0..*n) in place: the data moves to the front and *n becomes its length; *used is how much of the input
 * was read, always all of it unless the body ended.  1: the body ended.  0: more must come.  -EBADMSG: malformed. */
int chunked_decode(struct chunked *c, char *buf, size_t *n, size_t *used);

/* Has a trailer begun?  Its first c->run bytes are in c->keep then. */
bool chunked_in_trailer(const struct chunked *c);

/* Writes the size line of a chunk of n > 0 bytes; returns its length.  After the data follow CRLF; after the last chunk
 * CHUNKED_END. */
size_t chunked_prefix(char out[CHUNKED_PREFIX], size_t n);
#define CHUNKED_END "0\r\n\r\n"

#endif
