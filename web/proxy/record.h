/* Records of TLS 1.3 (RFC 8446, 5): sealed, opened and judged, for connections whose handshake OpenSSL has made.  Layer
 * web, proxy process.  No sockets, no buffers of its own: a record is worked on where it lies.  The cryptography is
 * OpenSSL's (EVP).
 *
 * One direction of one connection is a struct record_keys, some hundred bytes that the caller owns.  The contexts are
 * in struct record, one for a thread: a context is keyed anew when another direction used it last.
 *
 * Lengths are bytes.  What a peer did wrong is told as the alert that it must be told (RFC 8446, 6), negated: the
 * caller sends it and closes.  Nothing of such a record is delivered, and its memory is cleansed. */
#ifndef TULOU_WEB_PROXY_RECORD_H
#define TULOU_WEB_PROXY_RECORD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RECORD_HEAD 5				       /* type, version, length */
#define RECORD_PLAIN 16384			       /* content of one record at most (5.1) */
#define RECORD_TAG 16				       /* of all three suites */
#define RECORD_EXTRA (RECORD_HEAD + 1 + RECORD_TAG)    /* what a record is longer than its content, without padding */
#define RECORD_WIRE (RECORD_HEAD + RECORD_PLAIN + 256) /* a whole one at most (5.2) */
#define RECORD_SECRET 48			       /* a traffic secret at most */
#define RECORD_UPDATE 5				       /* a KeyUpdate (4.6.3) with its head */
#define RECORD_RENEWAL (RECORD_UPDATE + RECORD_EXTRA)  /* the record of one */

/* Content types (5.1); OpenSSL's names for them are in a header about more than records. */
#define RECORD_CHANGE_CIPHER_SPEC 20
#define RECORD_ALERT 21
#define RECORD_HANDSHAKE 22
#define RECORD_DATA 23

/* Alerts (6) that this module speaks of. */
#define RECORD_CLOSE_NOTIFY 0
#define RECORD_UNEXPECTED_MESSAGE 10
#define RECORD_BAD_MAC 20
#define RECORD_OVERFLOW 22
#define RECORD_ILLEGAL_PARAMETER 47
#define RECORD_DECODE_ERROR 50
#define RECORD_INTERNAL_ERROR 80
#define RECORD_USER_CANCELED 90

enum record_suite {
	RECORD_NO_SUITE, /* none that is known here */
	RECORD_AES_128_GCM_SHA256,
	RECORD_AES_256_GCM_SHA384,
	RECORD_CHACHA20_POLY1305_SHA256,
	RECORD_SUITE_COUNT,
};

struct record_keys {
	uint64_t seq;	 /* of the next record; never wraps */
	uint64_t serial; /* of these keys among all of the thread's; 0 = none */
	uint8_t suite;	 /* enum record_suite */
	uint8_t updates; /* KeyUpdates that came: LIMIT_TLS_UPDATES */
	uint8_t quiet;	 /* records in a row without data: LIMIT_TLS_QUIET */
	uint8_t part;	 /* bytes of a KeyUpdate that the records before brought: all of its head, or less */
	uint8_t secret[RECORD_SECRET];
	uint8_t key[32];
	uint8_t iv[12];
};

enum record_kind {
	RECORD_IS_DATA,	   /* content and len: at least a byte */
	RECORD_IS_NOTHING, /* goes on; after a KeyUpdate under the next key */
	RECORD_IS_ASKING,  /* the same, and the peer asks for record_renew() of the other direction */
	RECORD_IS_END,	   /* close_notify: nothing comes after it */
	RECORD_IS_FATAL,   /* the peer gave up */
	RECORD_KIND_COUNT,
};

struct record_got {
	enum record_kind kind;
	uint8_t *content; /* inside the record, now plain */
	size_t len;
};

struct record; /* contexts of one thread */

/* NULL without memory, or without one of the algorithms. */
struct record *record_new(void);
void record_free(struct record *r);

/* The suite of that number (RFC 8446, B.4), and how long its secrets are. */
enum record_suite record_suite_of(unsigned number);
size_t record_secret_len(enum record_suite suite);

/* Fills k for a direction whose traffic secret is in k->secret (7.3), from its record `seq` on.  0 or -EIO. */
int record_derive(struct record *r, struct record_keys *k, enum record_suite suite, uint64_t seq);
/* The keys end: cleanses them, and the contexts that hold them. */
void record_forget(struct record *r, struct record_keys *k);

/* Protects one record (5.2): len bytes of content, at most RECORD_PLAIN, lie at rec + RECORD_HEAD; the record is
 * len + RECORD_EXTRA bytes from rec on.  0, or -EIO; -EKEYEXPIRED: record_renew() first. */
int record_seal(struct record *r, struct record_keys *k, uint8_t type, uint8_t *rec, size_t len);
/* Must these keys be renewed before the next record is sealed? (5.5) */
int record_worn(const struct record_keys *k);
/* Writes a KeyUpdate that asks for none back, RECORD_RENEWAL bytes at rec, and moves to the next keys (4.6.3, 7.2).
 * 0 or -EIO. */
int record_renew(struct record *r, struct record_keys *k, uint8_t *rec);

/* How long the record is that begins at p, of which n bytes are there: 0 when that cannot be said yet, negative when it
 * can be none (5.1, 5.2). */
ssize_t record_size(const uint8_t *p, size_t n);
/* Opens one whole record of record_size() bytes in its place and judges what it says.  0, or a negated alert. */
int record_open(struct record *r, struct record_keys *k, uint8_t *rec, size_t size, struct record_got *ret);

#endif
