/* Output as lines of JSON.  Layer web, control process. */
#include "web/api/lines.h"

#include "base/utf8.h"
#include "config/limits.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ROOM 16384 /* kept free for lines that must not be dropped */

void lines_init(struct lines *l, const char *key)
{
	*l = (struct lines){.key = key};
	buf_init(&l->queue, LIMIT_API_QUEUE);
}

void lines_done(struct lines *l)
{
	buf_done(&l->queue);
}

void lines_json(struct lines *l, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	if (text && buf_adds(&l->queue, text) == 0)
		buf_add(&l->queue, "\n", 1);
	free(text);
}

/* Well-formed copy of p[0..n) in out; an unfinished character at the end is left for later in l->tail. */
static void lines_clean(struct lines *l, const char *p, size_t n, struct buf *out)
{
	size_t i = 0;

	while (i < n) {
		size_t len = utf8_next(p + i, n - i);
		unsigned char c = (unsigned char)p[i];
		if (len && c) {
			buf_add(out, p + i, len);
			i += len;
			continue;
		}
		if (n - i < 4 && c >= 0xc2 && c < 0xf5 && n - i < (c < 0xe0 ? 2u : c < 0xf0 ? 3u : 4u)) {
			size_t k = 1;
			while (i + k < n && ((unsigned char)p[i + k] & 0xc0) == 0x80)
				k++;
			if (i + k == n) {
				memcpy(l->tail, p + i, n - i);
				l->tail_n = (unsigned)(n - i);
				return;
			}
		}
		buf_adds(out, "\xef\xbf\xbd");
		i++;
	}
}

static void lines_chunk(struct lines *l, const char *p, size_t n)
{
	struct buf in, out;
	json_t *j;

	buf_init(&in, n + sizeof l->tail);
	buf_init(&out, 3 * (n + sizeof l->tail));
	buf_add(&in, l->tail, l->tail_n);
	l->tail_n = 0;
	if (buf_add(&in, p, n) == 0)
		lines_clean(l, in.data, in.len, &out);
	if (out.len) {
		j = json_object();
		json_object_set_new(j, l->key, json_stringn(out.data, out.len));
		lines_json(l, j);
	}
	buf_done(&in);
	buf_done(&out);
}

void lines_text(struct lines *l, const char *p, size_t n)
{
	while (n) {
		size_t part = n > 2048 ? 2048 : n; /* at most six times that in JSON: fits into ROOM */
		if (l->queue.len + ROOM > LIMIT_API_QUEUE - ROOM) {
			l->dropped += n;
			return;
		}
		if (l->dropped) {
			char note[96];
			snprintf(note, sizeof note, "\n[%" PRIu64 " bytes dropped: they came faster than you read]\n",
				 l->dropped);
			l->dropped = 0;
			lines_chunk(l, note, strlen(note));
		}
		lines_chunk(l, p, part);
		p += part;
		n -= part;
	}
}

ssize_t lines_read(struct lines *l, char *p, size_t max)
{
	size_t n = l->queue.len < max ? l->queue.len : max;

	if (n == 0)
		return 0;
	memcpy(p, l->queue.data, n);
	buf_consume(&l->queue, n);
	return (ssize_t)n;
}
