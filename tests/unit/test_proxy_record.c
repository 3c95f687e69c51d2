/* Records of TLS 1.3: known answers of RFC 8448, what an independent use of EVP opens and seals, and what is refused.
 */
#include "config/limits.h"
#include "web/proxy/record.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct record *box;
static struct record_keys keys;
static struct record_got got;
static uint8_t rec[RECORD_WIRE + 64];

static void up(void)
{
	box = record_new();
	cr_assert_not_null(box);
}

static void down(void)
{
	record_free(box);
}

TestSuite(record, .init = up, .fini = down);

/* Hexadecimal digits, spaces between them or not. */
static size_t hex(const char *text, uint8_t *out)
{
	size_t n = 0;

	for (unsigned v; *text; text += 2) {
		text += strspn(text, " ");
		cr_assert_eq(sscanf(text, "%2x", &v), 1);
		out[n++] = (uint8_t)v;
	}
	return n;
}

static void same(const uint8_t *p, size_t n, const char *text)
{
	uint8_t want[512];

	cr_assert_eq(hex(text, want), n);
	cr_assert_eq(memcmp(p, want, n), 0, "not %s", text);
}

static void secret(struct record_keys *k, enum record_suite suite, const char *text, uint64_t seq)
{
	memset(k, 0, sizeof *k);
	cr_assert_eq(hex(text, k->secret), record_secret_len(suite));
	cr_assert_eq(record_derive(box, k, suite, seq), 0);
}

/* ---- RFC 8448, 3: Simple 1-RTT Handshake ---- */

#define CLIENT_SECRET "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"
#define SERVER_SECRET "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"
#define CLIENT_RECORD                                                                                                  \
	"17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b 98 19 a8 " \
	"a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4"
#define SERVER_RECORD                                                                                                  \
	"17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa 1b 36 e3 0e fa f9 " \
	"7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2 ab f3 32 54 0d d0 32 e1 67 c2 95 5d"
#define CLIENT_ALERT "17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3"
#define SERVER_ALERT "17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9"

Test(record, keys_of_rfc_8448)
{
	secret(&keys, RECORD_AES_128_GCM_SHA256, CLIENT_SECRET, 0);
	same(keys.key, 16, "17 42 2d da 59 6e d5 d9 ac d8 90 e3 c6 3f 50 51");
	same(keys.iv, 12, "5b 78 92 3d ee 08 57 90 33 e5 23 d9");
	secret(&keys, RECORD_AES_128_GCM_SHA256, SERVER_SECRET, 0);
	same(keys.key, 16, "9f 02 28 3b 6c 9c 07 ef c2 6b b9 f2 ac 92 e3 56");
	same(keys.iv, 12, "cf 78 2b 88 dd 83 54 9a ad f1 e9 84");
}

Test(record, records_of_rfc_8448)
{
	struct record_keys server;
	size_t n;

	/* The client's first, and its close_notify. */
	secret(&keys, RECORD_AES_128_GCM_SHA256, CLIENT_SECRET, 0);
	n = hex(CLIENT_RECORD, rec);
	cr_assert_eq(record_size(rec, n), (ssize_t)n);
	cr_assert_eq(record_open(box, &keys, rec, n, &got), 0);
	cr_assert_eq(got.kind, RECORD_IS_DATA);
	cr_assert_eq(got.len, 50);
	for (unsigned i = 0; i < 50; i++)
		cr_assert_eq(got.content[i], i);
	n = hex(CLIENT_ALERT, rec);
	cr_assert_eq(record_open(box, &keys, rec, n, &got), 0);
	cr_assert_eq(got.kind, RECORD_IS_END);
	/* The server's: a ticket came before, so the sequence begins at 1. */
	secret(&server, RECORD_AES_128_GCM_SHA256, SERVER_SECRET, 1);
	for (unsigned i = 0; i < 50; i++)
		rec[RECORD_HEAD + i] = (uint8_t)i;
	cr_assert_eq(record_seal(box, &server, RECORD_DATA, rec, 50), 0);
	same(rec, 72, SERVER_RECORD);
	rec[RECORD_HEAD] = 1;
	rec[RECORD_HEAD + 1] = RECORD_CLOSE_NOTIFY;
	cr_assert_eq(record_seal(box, &server, RECORD_ALERT, rec, 2), 0);
	same(rec, 24, SERVER_ALERT);
}

/* ---- an independent use of EVP ---- */

static const struct {
	enum record_suite suite;
	unsigned number;
	const EVP_CIPHER *(*cipher)(void);
	const EVP_MD *(*digest)(void);
	size_t key;
} suites[] = {
	{RECORD_AES_128_GCM_SHA256, 0x1301, EVP_aes_128_gcm, EVP_sha256, 16},
	{RECORD_AES_256_GCM_SHA384, 0x1302, EVP_aes_256_gcm, EVP_sha384, 32},
	{RECORD_CHACHA20_POLY1305_SHA256, 0x1303, EVP_chacha20_poly1305, EVP_sha256, 32},
};
#define SUITES (sizeof suites / sizeof *suites)

/* The other end of one direction. */
struct end {
	unsigned suite;
	uint64_t seq;
	uint8_t secret[48], key[32], iv[12];
};

static void expand(const struct end *e, const char *info, size_t info_len, uint8_t *out, size_t n)
{
	uint8_t block[EVP_MAX_MD_SIZE];
	int size = EVP_MD_get_size(suites[e->suite].digest());

	cr_assert_not_null(
		HMAC(suites[e->suite].digest(), e->secret, size, (const uint8_t *)info, info_len, block, NULL));
	memcpy(out, block, n);
}

#define EXPAND(e, info, out, n) expand(e, info "\1", sizeof(info), out, n)

static void end_keys(struct end *e)
{
	if (suites[e->suite].key == 16)
		EXPAND(e, "\0\x10\x09tls13 key\0", e->key, 16);
	else
		EXPAND(e, "\0\x20\x09tls13 key\0", e->key, 32);
	EXPAND(e, "\0\x0c\x08tls13 iv\0", e->iv, 12);
	e->seq = 0;
}

static void end_update(struct end *e)
{
	if (suites[e->suite].suite == RECORD_AES_256_GCM_SHA384)
		EXPAND(e, "\0\x30\x11tls13 traffic upd\0", e->secret, 48);
	else
		EXPAND(e, "\0\x20\x11tls13 traffic upd\0", e->secret, 32);
	end_keys(e);
}

/* Both ends of a direction begin with the same secret. */
static void begin(struct end *e, struct record_keys *k, unsigned suite, uint8_t seed)
{
	memset(e, 0, sizeof *e);
	memset(k, 0, sizeof *k);
	e->suite = suite;
	for (unsigned i = 0; i < sizeof e->secret; i++)
		e->secret[i] = (uint8_t)(seed + i * 7);
	memcpy(k->secret, e->secret, sizeof e->secret);
	end_keys(e);
	cr_assert_eq(record_derive(box, k, suites[suite].suite, 0), 0);
}

static EVP_CIPHER_CTX *end_nonce(struct end *e, int seal)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t nonce[12];

	memcpy(nonce, e->iv, 12);
	for (unsigned i = 0; i < 8; i++)
		nonce[11 - i] ^= (uint8_t)(e->seq >> (8 * i));
	e->seq++;
	cr_assert_eq(EVP_CipherInit_ex(c, suites[e->suite].cipher(), NULL, e->key, nonce, seal), 1);
	return c;
}

/* A record around an inner plaintext of n bytes, whatever it is, at rec; its size. */
static size_t end_seal(struct end *e, const void *inner, size_t n)
{
	EVP_CIPHER_CTX *c = end_nonce(e, 1);
	int k;

	rec[0] = 23;
	rec[1] = rec[2] = 3;
	rec[3] = (uint8_t)((n + 16) >> 8);
	rec[4] = (uint8_t)(n + 16);
	cr_assert_eq(EVP_CipherUpdate(c, NULL, &k, rec, 5), 1);
	cr_assert_eq(EVP_CipherUpdate(c, rec + 5, &k, inner, (int)n), 1);
	cr_assert_eq(EVP_CipherFinal_ex(c, rec + 5 + n, &k), 1);
	cr_assert_eq(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, rec + 5 + n), 1);
	EVP_CIPHER_CTX_free(c);
	return n + 21;
}

/* The inner plaintext of the record at p, or -1. */
static int end_open(struct end *e, const uint8_t *p, uint8_t *out)
{
	EVP_CIPHER_CTX *c = end_nonce(e, 0);
	int n = (p[3] << 8 | p[4]) - 16, k, ok;

	cr_assert_eq(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, 16, (void *)(uintptr_t)(p + 5 + n)), 1);
	cr_assert_eq(EVP_CipherUpdate(c, NULL, &k, p, 5), 1);
	cr_assert_eq(EVP_CipherUpdate(c, out, &k, p + 5, n), 1);
	ok = EVP_CipherFinal_ex(c, out + n, &k);
	EVP_CIPHER_CTX_free(c);
	return ok == 1 ? n : -1;
}

/* What the other end seals is given to record_open(). */
static int hear(struct end *e, struct record_keys *k, const void *inner, size_t n)
{
	size_t size = end_seal(e, inner, n);

	memset(&got, 0, sizeof got);
	cr_assert_eq(record_size(rec, size), (ssize_t)size);
	return record_open(box, k, rec, size, &got);
}
#define HEAR(e, k, text) hear(e, k, text, sizeof(text) - 1)

Test(record, suites)
{
	for (unsigned i = 0; i < SUITES; i++)
		cr_assert_eq(record_suite_of(suites[i].number), suites[i].suite);
	cr_assert_eq(record_suite_of(0x1304), RECORD_NO_SUITE); /* CCM */
	cr_assert_eq(record_suite_of(0xc02b), RECORD_NO_SUITE);
	cr_assert_eq(record_suite_of(0), RECORD_NO_SUITE);
}

/* All suites and sizes, in turns, so that each record finds another's key in the context. */
Test(record, sealed_here_is_opened_there_and_back)
{
	static const size_t sizes[] = {0, 1, 15, 16, 17, 300, 4096, RECORD_PLAIN};
	static uint8_t plain[RECORD_PLAIN + 64], inner[RECORD_PLAIN + 1];
	struct end there[6], here[6];
	struct record_keys out[6], in[6];

	for (unsigned i = 0; i < 6; i++) {
		begin(&there[i], &out[i], i / 2, (uint8_t)(i * 50));
		begin(&here[i], &in[i], i / 2, (uint8_t)(i * 50 + 13));
	}
	for (unsigned round = 0; round < 64; round++)
		for (unsigned i = 0; i < 6; i++) {
			size_t n = sizes[round % 8];
			for (size_t k = 0; k < n; k++)
				inner[k] = rec[RECORD_HEAD + k] = (uint8_t)(k * 31 + round + i);
			cr_assert_eq(record_seal(box, &out[i], RECORD_DATA, rec, n), 0);
			cr_assert_eq(rec[3] << 8 | rec[4], n + 17);
			cr_assert_eq(end_open(&there[i], rec, plain), n + 1);
			cr_assert_eq(plain[n], RECORD_DATA);
			cr_assert_eq(memcmp(plain, inner, n), 0);
			inner[n] = RECORD_DATA;
			cr_assert_eq(hear(&here[i], &in[i], inner, n + 1), 0);
			cr_assert_eq(got.kind, n ? RECORD_IS_DATA : RECORD_IS_NOTHING);
			cr_assert_eq(got.len, n);
			cr_assert_eq(memcmp(got.content, inner, n), 0);
		}
}

Test(record, padding)
{
	static uint8_t inner[RECORD_PLAIN + 1];
	struct end e;

	begin(&e, &keys, 0, 1);
	for (unsigned n = 0; n < 300; n++) {
		memset(inner, 0, sizeof inner);
		memcpy(inner, "a\0b\x17", 4); /* a zero inside is content */
		cr_assert_eq(hear(&e, &keys, inner, 4 + n), 0);
		cr_assert_eq(got.len, 3);
		cr_assert_eq(memcmp(got.content, "a\0b", 3), 0);
	}
	cr_assert_eq(hear(&e, &keys, inner, sizeof inner), 0);
	cr_assert_eq(got.len, 3);
}

Test(record, heads)
{
	static const struct {
		const char *head;
		ssize_t size;
	} rows[] = {
		{"", 0},
		{"17", 0},
		{"17 03 03 00", 0},
		{"17 03 03 00 11", 22},
		{"17 03 03 00 10", -RECORD_DECODE_ERROR},
		{"17 03 03 00 00", -RECORD_DECODE_ERROR},
		{"17 03 03 41 00", RECORD_WIRE},
		{"17 03 03 41 01", -RECORD_OVERFLOW},
		{"17 03 03 ff ff", -RECORD_OVERFLOW},
		{"17 00 00 00 20", 37},				/* the version means nothing */
		{"14 03 03 00 01", -RECORD_UNEXPECTED_MESSAGE}, /* change_cipher_spec */
		{"14", -RECORD_UNEXPECTED_MESSAGE},		/* said at once */
		{"15 03 03 00 02", -RECORD_UNEXPECTED_MESSAGE}, /* an alert without protection */
		{"16 03 03 00 20", -RECORD_UNEXPECTED_MESSAGE},
		{"80 20 01 03 01", -RECORD_UNEXPECTED_MESSAGE},
	};

	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
		cr_assert_eq(record_size(rec, hex(rows[i].head, rec)), rows[i].size, "%s", rows[i].head);
}

/* Any bit of a record counts, and what was opened for nothing is cleansed. */
Test(record, a_flipped_bit)
{
	for (unsigned s = 0; s < SUITES; s++)
		for (unsigned bit = 0; bit < 8 * 40; bit++) {
			struct end e;
			size_t size;
			begin(&e, &keys, s, 1);
			size = end_seal(&e, "nineteen bytes here\x17", 20);
			if (bit / 8 >= size || bit / 8 == 0 || bit / 8 == 3 || bit / 8 == 4)
				continue; /* type and length: in `heads` */
			rec[bit / 8] ^= (uint8_t)(1 << bit % 8);
			cr_assert_eq(record_open(box, &keys, rec, size, &got), -RECORD_BAD_MAC);
			for (unsigned i = RECORD_HEAD; i < size - RECORD_TAG; i++)
				cr_assert_eq(rec[i], 0);
			cr_assert_eq(keys.seq, 0);
		}
}

Test(record, replayed_or_out_of_order)
{
	uint8_t first[64];
	struct end e;
	size_t size;

	begin(&e, &keys, 0, 1);
	size = end_seal(&e, "one\x17", 4);
	memcpy(first, rec, size);
	cr_assert_eq(record_open(box, &keys, rec, size, &got), 0);
	memcpy(rec, first, size);
	cr_assert_eq(record_open(box, &keys, rec, size, &got), -RECORD_BAD_MAC);
	begin(&e, &keys, 0, 1);
	end_seal(&e, "one\x17", 4);
	cr_assert_eq(HEAR(&e, &keys, "two\x17"), -RECORD_BAD_MAC);
	/* Records of the other direction, or of another connection. */
	begin(&e, &keys, 0, 1);
	e.secret[0] ^= 1;
	end_keys(&e);
	cr_assert_eq(HEAR(&e, &keys, "one\x17"), -RECORD_BAD_MAC);
}

Test(record, what_an_inner_plaintext_says)
{
	static const struct {
		const char *inner;
		size_t n;
		int e;
		enum record_kind kind;
	} rows[] = {
#define ROW(text, ...) {text, sizeof(text) - 1, __VA_ARGS__}
		ROW("x\x17", 0, RECORD_IS_DATA), ROW("\x17", 0, RECORD_IS_NOTHING),
		ROW("\x17\0\0", 0, RECORD_IS_NOTHING), ROW("\0", -RECORD_UNEXPECTED_MESSAGE, 0), /* no content type */
		ROW("\0\0\0\0\0", -RECORD_UNEXPECTED_MESSAGE, 0),
		ROW("\x01\x14", -RECORD_UNEXPECTED_MESSAGE, 0), /* change_cipher_spec */
		ROW("x\x18", -RECORD_UNEXPECTED_MESSAGE, 0),	/* heartbeat */
		ROW("x\x01", -RECORD_UNEXPECTED_MESSAGE, 0), ROW("x\xff", -RECORD_UNEXPECTED_MESSAGE, 0),
		/* alerts */
		ROW("\x01\0\x15", 0, RECORD_IS_END), ROW("\x02\0\x15", 0, RECORD_IS_END), /* the level means nothing */
		ROW("\x01\x5a\x15", 0, RECORD_IS_NOTHING),				  /* user_canceled */
		ROW("\x02\x5a\x15", 0, RECORD_IS_NOTHING), ROW("\x02\x14\x15", 0, RECORD_IS_FATAL),
		ROW("\x01\x14\x15", 0, RECORD_IS_FATAL), ROW("\x01\x64\x15", 0, RECORD_IS_FATAL), /* no_renegotiation */
		ROW("\x15", -RECORD_UNEXPECTED_MESSAGE, 0), ROW("\x01\x15", -RECORD_DECODE_ERROR, 0),
		ROW("\x01\0\x01\0\x15", -RECORD_DECODE_ERROR, 0),
		/* handshake */
		ROW("\x18\0\0\x01\0\x16", 0, RECORD_IS_NOTHING), ROW("\x18\0\0\x01\x01\x16", 0, RECORD_IS_ASKING),
		ROW("\x18\0\0\x01\x02\x16", -RECORD_ILLEGAL_PARAMETER, 0),
		ROW("\x18\0\0\x01\xff\x16", -RECORD_ILLEGAL_PARAMETER, 0), ROW("\x16", -RECORD_UNEXPECTED_MESSAGE, 0),
		ROW("\x18\x16", 0, RECORD_IS_NOTHING), /* the rest may come */
		ROW("\x18\0\0\x01\x16", 0, RECORD_IS_NOTHING), ROW("\x18\0\x01\x16", -RECORD_DECODE_ERROR, 0),
		ROW("\x18\0\0\x02\0\0\x16", -RECORD_DECODE_ERROR, 0),
		ROW("\x18\x01\0\x01\0\x16", -RECORD_DECODE_ERROR, 0), ROW("\x18\0\0\0\x16", -RECORD_DECODE_ERROR, 0),
		ROW("\x18\0\0\x01\0\x18\0\0\x01\0\x16", -RECORD_UNEXPECTED_MESSAGE, 0), /* two at once */
		ROW("\x01\0\0\x01\0\x16", -RECORD_UNEXPECTED_MESSAGE, 0),		/* ClientHello */
		ROW("\x14\0\0\x01\0\x16", -RECORD_UNEXPECTED_MESSAGE, 0),		/* Finished */
		ROW("\x0b\0\0\x01\0\x16", -RECORD_UNEXPECTED_MESSAGE, 0),		/* Certificate */
	};

	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct end e;
		begin(&e, &keys, i % SUITES, (uint8_t)i);
		cr_assert_eq(hear(&e, &keys, rows[i].inner, rows[i].n), rows[i].e, "row %u", i);
		if (rows[i].e == 0)
			cr_assert_eq(got.kind, rows[i].kind, "row %u", i);
	}
}

Test(record, too_long)
{
	static uint8_t inner[RECORD_WIRE];
	struct end e;

	memset(inner, 'x', sizeof inner);
	inner[RECORD_PLAIN] = RECORD_DATA;
	begin(&e, &keys, 0, 1);
	cr_assert_eq(hear(&e, &keys, inner, RECORD_PLAIN + 1), 0);
	cr_assert_eq(got.len, RECORD_PLAIN);
	inner[RECORD_PLAIN + 1] = 0; /* padding counts (5.4) */
	cr_assert_eq(hear(&e, &keys, inner, RECORD_PLAIN + 2), -RECORD_OVERFLOW);
	begin(&e, &keys, 0, 1);
	inner[RECORD_PLAIN] = 'x';
	inner[RECORD_PLAIN + 1] = RECORD_DATA;
	cr_assert_eq(hear(&e, &keys, inner, RECORD_PLAIN + 2), -RECORD_OVERFLOW);
	begin(&e, &keys, 0, 1);
	inner[RECORD_PLAIN + 239] = RECORD_DATA;
	cr_assert_eq(hear(&e, &keys, inner, RECORD_PLAIN + 240), -RECORD_OVERFLOW);
}

Test(record, quiet_records_are_bounded)
{
	struct end e;

	begin(&e, &keys, 2, 1);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < LIMIT_TLS_QUIET; i++)
			if (i % 2)
				cr_assert_eq(HEAR(&e, &keys, "\x01\x5a\x15"), 0);
			else
				cr_assert_eq(HEAR(&e, &keys, "\x17"), 0);
		cr_assert_eq(HEAR(&e, &keys, "x\x17"), 0);
	}
	for (unsigned i = 0; i < LIMIT_TLS_QUIET; i++)
		cr_assert_eq(HEAR(&e, &keys, "\x17"), 0);
	cr_assert_eq(HEAR(&e, &keys, "\x17"), -RECORD_UNEXPECTED_MESSAGE);
}

Test(record, key_updates)
{
	uint8_t plain[64], before[48];
	struct record_keys out;
	struct end e, there;

	for (unsigned s = 0; s < SUITES; s++) {
		/* Theirs: the next record is under the next key, and only that. */
		begin(&e, &keys, s, 9);
		for (unsigned i = 0; i < LIMIT_TLS_UPDATES; i++) {
			memcpy(before, keys.secret, sizeof before);
			cr_assert_eq(HEAR(&e, &keys, "\x18\0\0\x01\x01\x16"), 0);
			cr_assert_eq(got.kind, RECORD_IS_ASKING);
			end_update(&e);
			cr_assert_eq(keys.seq, 0);
			cr_assert_neq(memcmp(before, keys.secret, record_secret_len(suites[s].suite)), 0);
			cr_assert_eq(HEAR(&e, &keys, "x\x17"), 0);
			cr_assert_eq(got.kind, RECORD_IS_DATA);
		}
		cr_assert_eq(HEAR(&e, &keys, "\x18\0\0\x01\0\x16"), -RECORD_UNEXPECTED_MESSAGE);
		begin(&e, &keys, s, 9);
		cr_assert_eq(HEAR(&e, &keys, "\x18\0\0\x01\0\x16"), 0);
		cr_assert_eq(got.kind, RECORD_IS_NOTHING);
		cr_assert_eq(HEAR(&e, &keys, "x\x17"), -RECORD_BAD_MAC); /* still the old key */
		/* Ours. */
		begin(&there, &out, s, 77);
		for (unsigned i = 0; i < 3; i++) {
			cr_assert_eq(record_renew(box, &out, rec), 0);
			cr_assert_eq(end_open(&there, rec, plain), 6);
			cr_assert_eq(memcmp(plain, "\x18\0\0\x01\0\x16", 6), 0);
			end_update(&there);
			rec[RECORD_HEAD] = 'x';
			cr_assert_eq(record_seal(box, &out, RECORD_DATA, rec, 1), 0);
			cr_assert_eq(end_open(&there, rec, plain), 2);
			cr_assert_eq(memcmp(plain, "x\x17", 2), 0);
		}
	}
}

/* A KeyUpdate cut behind byte i for each bit i of mask; what the last piece led to. */
static int hear_pieces(struct end *e, const char *message, unsigned mask)
{
	uint8_t inner[16] = {0};
	size_t n = 0;
	int r = 0;

	for (unsigned i = 0; i < 5 && r == 0; i++) {
		inner[n++] = (uint8_t)message[i];
		if (i < 4 && !(mask >> i & 1))
			continue;
		inner[n] = RECORD_HANDSHAKE;
		/* With padding too. */
		r = hear(e, &keys, inner, n + 1 + i % 3);
		memset(inner, 0, sizeof inner);
		n = 0;
		if (r == 0 && i < 4)
			cr_assert_eq(got.kind, RECORD_IS_NOTHING);
	}
	return r;
}

Test(record, key_updates_in_pieces)
{
	struct end e;

	for (unsigned mask = 0; mask < 16; mask++)
		for (unsigned asked = 0; asked < 2; asked++) {
			begin(&e, &keys, mask % SUITES, (uint8_t)mask);
			for (unsigned i = 0; i < 3; i++) {
				cr_assert_eq(hear_pieces(&e, asked ? "\x18\0\0\x01\x01" : "\x18\0\0\x01\0", mask), 0);
				cr_assert_eq(got.kind, asked ? RECORD_IS_ASKING : RECORD_IS_NOTHING);
				cr_assert_eq(keys.updates, i + 1);
				end_update(&e);
				cr_assert_eq(HEAR(&e, &keys, "x\x17"), 0);
				cr_assert_eq(got.kind, RECORD_IS_DATA);
			}
			cr_assert_eq(hear_pieces(&e, "\x18\0\0\x01\x02", mask), -RECORD_ILLEGAL_PARAMETER);
		}
	/* In pieces or not, no more than there may be; the first piece of one too many is refused. */
	begin(&e, &keys, 0, 1);
	for (unsigned i = 0; i < LIMIT_TLS_UPDATES; i++) {
		cr_assert_eq(hear_pieces(&e, "\x18\0\0\x01\0", 15), 0);
		end_update(&e);
	}
	cr_assert_eq(HEAR(&e, &keys, "\x18\x16"), -RECORD_UNEXPECTED_MESSAGE);
}

/* RFC 8446, 5.1: nothing between the pieces, and nothing behind the last one under the same key. */
Test(record, what_may_not_stand_between_pieces)
{
	static const char update[] = "\x18\0\0\x01";
	static const struct {
		const char *inner;
		size_t n;
	} between[] = {
#define BETWEEN(text) {text, sizeof(text) - 1}
		BETWEEN("x\x17"),	 BETWEEN("\x17"), BETWEEN("\x01\0\x15"), BETWEEN("\x01\x5a\x15"),
		BETWEEN("\x02\x14\x15"), BETWEEN("\x16"), BETWEEN("\x01\x14"),	 BETWEEN("\0"),
	};
	static const struct {
		size_t first;
		const char *inner;
		size_t n;
		int e;
	} rest[] = {
#define REST(first, text, e) {first, text, sizeof(text) - 1, e}
		REST(4, "\0\x18\x16", -RECORD_UNEXPECTED_MESSAGE), /* the next one begins too early */
		REST(4, "\0\0\x16", -RECORD_UNEXPECTED_MESSAGE),
		REST(1, "\0\0\x01\0\x18\0\0\x01\0\x16", -RECORD_UNEXPECTED_MESSAGE),
		REST(1, "\x01\x16", -RECORD_DECODE_ERROR),
		REST(1, "\x18\x16", -RECORD_DECODE_ERROR),
		REST(3, "\x02\x16", -RECORD_DECODE_ERROR),
		REST(3, "\0\0\x16", -RECORD_DECODE_ERROR),
	};
	uint8_t inner[8];
	struct end e;

	for (size_t first = 1; first < 5; first++)
		for (unsigned i = 0; i < sizeof between / sizeof *between; i++) {
			begin(&e, &keys, i % SUITES, 3);
			memcpy(inner, update, first);
			inner[first] = RECORD_HANDSHAKE;
			cr_assert_eq(hear(&e, &keys, inner, first + 1), 0);
			cr_assert_eq(hear(&e, &keys, between[i].inner, between[i].n), -RECORD_UNEXPECTED_MESSAGE,
				     "row %u behind %zu", i, first);
		}
	for (unsigned i = 0; i < sizeof rest / sizeof *rest; i++) {
		begin(&e, &keys, i % SUITES, 3);
		memcpy(inner, update, rest[i].first);
		inner[rest[i].first] = RECORD_HANDSHAKE;
		cr_assert_eq(hear(&e, &keys, inner, rest[i].first + 1), 0);
		cr_assert_eq(hear(&e, &keys, rest[i].inner, rest[i].n), rest[i].e, "row %u", i);
	}
}

Test(record, keys_wear_out)
{
	struct record_keys out;
	uint8_t plain[64];
	struct end e;

	begin(&e, &out, 1, 5);
	out.seq = e.seq = LIMIT_TLS_RECORDS - 2;
	cr_assert_not(record_worn(&out));
	cr_assert_eq(record_seal(box, &out, RECORD_DATA, rec, 1), 0);
	cr_assert_eq(end_open(&e, rec, plain), 2);
	cr_assert(record_worn(&out));
	cr_assert_eq(record_seal(box, &out, RECORD_DATA, rec, 1), -EKEYEXPIRED);
	cr_assert_eq(record_renew(box, &out, rec), 0);
	cr_assert_eq(end_open(&e, rec, plain), 6);
	end_update(&e);
	cr_assert_not(record_worn(&out));
	cr_assert_eq(out.seq, 0);
	cr_assert_eq(record_seal(box, &out, RECORD_DATA, rec, 1), 0);
	cr_assert_eq(end_open(&e, rec, plain), 2);
	/* An alert may be said with the last of a key. */
	out.seq = LIMIT_TLS_RECORDS;
	cr_assert_eq(record_seal(box, &out, RECORD_ALERT, rec, 2), 0);
	/* The client's numbers never wrap. */
	begin(&e, &keys, 1, 5);
	keys.seq = e.seq = UINT64_MAX - 1;
	cr_assert_eq(HEAR(&e, &keys, "x\x17"), 0);
	cr_assert_eq(HEAR(&e, &keys, "x\x17"), -RECORD_INTERNAL_ERROR);
	cr_assert_eq(keys.seq, UINT64_MAX);
}

/* Keys at the same address, as those of a connection that took the place of one that is gone. */
Test(record, contexts_do_not_remember)
{
	static const struct record_keys none;
	struct record_keys was;
	struct end e;

	begin(&e, &keys, 0, 1);
	cr_assert_eq(HEAR(&e, &keys, "x\x17"), 0);
	was = keys;
	record_forget(box, &keys);
	cr_assert_eq(memcmp(&keys, &none, sizeof keys), 0);
	begin(&e, &keys, 0, 2);
	cr_assert_neq(keys.serial, was.serial);
	cr_assert_eq(HEAR(&e, &keys, "x\x17"), 0);
	record_forget(box, &keys);
	/* Those of a connection that never had keys. */
	record_forget(box, &keys);
}
