/* Fuzzes records of TLS 1.3 behind the handshake, as a client sends them.  The first byte says the suite, and whether
 * the rest is taken as it is, or cut into pieces (two bytes of length before each) that are sealed as inner plaintexts,
 * so that what judges them is reached.  Never crashes or reads behind a record; what is delivered lies in it, and is of
 * bounded length; records in a row without data, and key updates, are bounded. */
#include "config/limits.h"
#include "web/proxy/record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static struct record *box;

static void check(int ok)
{
	if (!ok)
		abort();
}

/* One record in a block of exactly its size.  0 when the connection goes on. */
static int hear(struct record_keys *k, const uint8_t *p, size_t size)
{
	struct record_got got = {0};
	uint8_t *copy = malloc(size);
	int e;

	check(copy != NULL);
	memcpy(copy, p, size);
	e = record_open(box, k, copy, size, &got);
	check(e <= 0 && e > -256 && got.kind < RECORD_KIND_COUNT);
	check(k->updates <= LIMIT_TLS_UPDATES && k->quiet <= LIMIT_TLS_QUIET && k->part < RECORD_UPDATE);
	if (e == 0) {
		check(got.content >= copy + RECORD_HEAD && got.len <= RECORD_PLAIN &&
		      got.content + got.len < copy + size - RECORD_TAG);
		check((got.kind == RECORD_IS_DATA) <= (got.len > 0));
		e = got.kind == RECORD_IS_END || got.kind == RECORD_IS_FATAL;
	} else {
		for (size_t i = RECORD_HEAD; i < size - RECORD_TAG; i++)
			check(copy[i] == 0);
	}
	free(copy);
	return e;
}

static void as_it_is(struct record_keys *k, const uint8_t *p, size_t n)
{
	ssize_t size = 0;

	while ((size = record_size(p, n)) > 0 && (size_t)size <= n && hear(k, p, (size_t)size) == 0) {
		p += size;
		n -= (size_t)size;
	}
	check(size <= RECORD_WIRE && size > -256);
}

/* The peer's half of a direction has the same keys; a content of record_seal() is an inner plaintext where its last
 * byte is the type. */
static void sealed(struct record_keys *in, const uint8_t *p, size_t n)
{
	static uint8_t rec[RECORD_WIRE];
	struct record_keys out = *in;
	int e = 0;

	while (n > 2 && e == 0) {
		size_t len = (size_t)(p[0] << 8 | p[1]) % (RECORD_PLAIN + 1);
		uint64_t serial = in->serial;
		p += 2;
		n -= 2;
		len = len < n ? len : n;
		if (len == 0)
			continue;
		memcpy(rec + RECORD_HEAD, p, len);
		check(record_seal(box, &out, p[len - 1], rec, len - 1) == 0);
		check(record_size(rec, len - 1 + RECORD_EXTRA) == (ssize_t)(len - 1 + RECORD_EXTRA));
		e = hear(in, rec, len - 1 + RECORD_EXTRA);
		check(e != -RECORD_BAD_MAC && e != -RECORD_INTERNAL_ERROR);
		/* Theirs moved on: so does ours. */
		if (in->serial != serial) {
			check(record_renew(box, &out, rec) == 0);
			check(memcmp(out.secret, in->secret, sizeof in->secret) == 0 && out.seq == in->seq);
		}
		p += len;
		n -= len;
	}
	record_forget(box, &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct record_keys k = {0};
	enum record_suite suite;

	if (n < 1)
		return 0;
	if (!box)
		check((box = record_new()) != NULL);
	suite = (enum record_suite)(RECORD_AES_128_GCM_SHA256 + p[0] / 2 % 3);
	memset(k.secret, 0x5a, record_secret_len(suite));
	check(record_derive(box, &k, suite, 0) == 0);
	if (p[0] % 2)
		sealed(&k, p + 1, n - 1);
	else
		as_it_is(&k, p + 1, n - 1);
	record_forget(box, &k);
	return 0;
}
