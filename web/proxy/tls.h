/* What tls.c, tls_setup.c and tls_record.c share.  Layer web, proxy process. */
#ifndef TULOU_WEB_PROXY_TLS_H
#define TULOU_WEB_PROXY_TLS_H

#include "web/proxy/internal.h"
#include "web/proxy/record.h"

#include <openssl/ssl.h>

/* Most that one call reads: what fills a buffer, as records, or one record. */
#define TLS_IN (PBUF_SIZE + RECORD_WIRE)

struct tls_state {
	SSL_CTX *ctx;
	BIO_METHOD *bio;
	EVP_CIPHER *cipher;
	struct record *record;
	struct proxy_ticket_key keys[LIMIT_TLS_TICKET_KEYS]; /* the first seals */
	unsigned key_count;
	/* Scratch of one call. */
	size_t in_r, in_w; /* what came is in[in_r..in_w) */
	size_t len;	   /* of what waits in out */
	uint8_t in[TLS_IN];
	char out[PBUF_SIZE + PBUF_TLS];
	char gather[PBUF_SIZE];
};

/* What came and was not asked for yet: opened, then records as they came.  An idle connection has none. */
struct tls_rest {
	size_t at;    /* what is before was taken */
	size_t plain; /* bytes from at on that were opened */
	size_t len;
	uint8_t data[];
};

struct tls {
	SSL *ssl; /* owned; NULL once the connection was taken over */
	struct proxy *proxy;
	struct conn *conn;	       /* that it belongs to */
	struct tls_rest *rest;	       /* owned; NULL when nothing is left */
	struct record_keys in, out;    /* secrets from our Finished on, keys once the connection was taken over */
	uint8_t in_secret, out_secret; /* lengths of the secrets, 0 = not there */
	bool finished;		       /* our Finished of TLS 1.3 went out */
	bool over, failed;
	bool dry; /* the last read of the socket got less than it asked for */
	bool resumed, h2;
	bool ended;	 /* nothing comes any more; when taken over */
	bool end_said;	 /* close_notify went out; when taken over */
	uint8_t updates; /* times OpenSSL had to answer while reading */
	char name[];	 /* NUL-terminated */
};

/* Sends what was written to out since the last call, or keeps it.  0 or negative errno. */
int tls_push(struct conn *c);

/* The BIO that tls_open() gives OpenSSL; its data is the struct tls.  NULL without memory. */
BIO_METHOD *tls_bio_new(void);
/* OpenSSL tells of each message and record. */
void tls_on_message(int sent, int version, int type, const void *data, size_t n, SSL *ssl, void *arg);

/* tls_setup.c: the name that the client asks for, checked and in lower case; "" when there is none. */
void tls_asked(SSL *ssl, char name[LIMIT_HOST + 1]);
/* Is that the protocol that was agreed on? */
bool tls_chosen(SSL *ssl, const char *protocol);

void tls_rest_free(struct tls *t);
/* Moves at most n bytes of it to out; says how many. */
size_t tls_rest_take(struct tls *t, void *out, size_t n);
/* Keeps these; there must be none.  0 or -ENOMEM. */
int tls_rest_keep(struct tls *t, const uint8_t *plain, size_t plain_len, const uint8_t *raw, size_t raw_len);

/* tls_record.c: tls_read(), tls_send() and tls_end() of a connection that was taken over. */
ssize_t tls_record_read(struct conn *c, void *p, size_t n);
int tls_record_send(struct conn *c, const struct iovec *iov, size_t total);
void tls_record_end(struct conn *c);

#endif
