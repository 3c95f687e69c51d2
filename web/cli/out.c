/* Output for people.  Layer web, program tulou. */
#include "web/cli/out.h"
#include "base/own.h"
#include "base/utf8.h"
#include "web/cli/cli.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

struct cli_table {
	size_t columns, rows, cap;
	char **cell; /* owned; rows * columns owned strings, row 0 is the heading */
	bool right[16];
};

/* Columns on a terminal; what the locale does not know counts one each. */
static int width(const char *s)
{
	wchar_t w[1024];
	size_t n = mbstowcs(w, s, 1024);
	int k = n == (size_t)-1 || n == 1024 ? -1 : wcswidth(w, n);

	return k < 0 ? (int)strlen(s) : k;
}

static char *escaped(const char *s)
{
	size_t n = strlen(s), cap = 4 * n + 1;
	char *out = malloc(cap);

	if (out)
		utf8_escape(out, cap, s, n);
	return out;
}

static void table_put(struct cli_table *t, size_t i, const char *s)
{
	t->cell[t->rows * t->columns + i] = escaped(s);
}

struct cli_table *cli_table_new(size_t columns, const char *const *heads)
{
	struct cli_table *t = calloc(1, sizeof *t);

	if (!t || columns > ARRAY_LEN(t->right)) {
		free(t);
		return NULL;
	}
	t->columns = columns;
	t->cap = 64;
	t->cell = calloc(t->cap * columns, sizeof *t->cell);
	if (!t->cell) {
		free(t);
		return NULL;
	}
	for (size_t i = 0; i < columns; i++) {
		t->right[i] = heads[i][0] == '>';
		table_put(t, i, heads[i] + t->right[i]);
	}
	t->rows = 1;
	return t;
}

void cli_table_add(struct cli_table *t, ...)
{
	va_list ap;

	if (!t)
		return;
	if (t->rows == t->cap) {
		char **more = reallocarray(t->cell, 2 * t->cap * t->columns, sizeof *more);

		if (!more)
			return;
		t->cell = more;
		t->cap *= 2;
	}
	va_start(ap, t);
	for (size_t i = 0; i < t->columns; i++)
		table_put(t, i, va_arg(ap, const char *));
	va_end(ap);
	t->rows++;
}

void cli_table_print(struct cli *c, struct cli_table *t, const char *empty)
{
	int wide[16] = {0};

	if (!t)
		return;
	if (t->rows == 1 && empty)
		printf("%s\n", empty);
	for (size_t i = 0; i < t->rows * t->columns; i++)
		if (t->cell[i] && width(t->cell[i]) > wide[i % t->columns])
			wide[i % t->columns] = width(t->cell[i]);
	for (size_t r = 0; r < t->rows && t->rows > 1; r++) {
		for (size_t i = 0; i < t->columns; i++) {
			const char *s = t->cell[r * t->columns + i] ? t->cell[r * t->columns + i] : "";
			int pad = wide[i] - width(s);
			const char *on = r == 0 ? (c->colour ? "\033[1m" : "") : cli_colour(c->colour, s);

			printf("%*s%s%s%s", t->right[i] ? pad : 0, "", on, s, *on ? "\033[0m" : "");
			if (i + 1 < t->columns)
				printf("%*s  ", t->right[i] ? 0 : pad, "");
		}
		putchar('\n');
	}
	for (size_t i = 0; i < t->rows * t->columns; i++)
		free(t->cell[i]);
	free(t->cell);
	free(t);
}

void cli_pair(const char *name, const char *fmt, ...)
{
	char raw[4096];
	OWN_FREE char *text = NULL, *left = escaped(name);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof raw, fmt, ap);
	va_end(ap);
	text = escaped(raw);
	printf("%-12s %s\n", left ? left : "", text ? text : "");
}

void cli_say(const char *fmt, ...)
{
	char raw[8192];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof raw, fmt, ap);
	va_end(ap);
	cli_text(stdout, raw, strlen(raw));
}

void cli_json(json_t *j)
{
	/* jansson escapes C0 itself; on a terminal everything beyond ASCII is written as \u too. */
	json_dumpf(j, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY | (isatty(STDOUT_FILENO) ? JSON_ENSURE_ASCII : 0));
	putchar('\n');
}

const char *cli_str(json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));

	return s ? s : "";
}

double cli_num(json_t *obj, const char *key)
{
	return json_number_value(json_object_get(obj, key));
}

const char *cli_bytes(char out[16], double bytes)
{
	static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	size_t u = 0;

	if (bytes < 0 || !isfinite(bytes)) {
		snprintf(out, 16, "-");
		return out;
	}
	while (bytes >= 1023.95 && u + 1 < ARRAY_LEN(unit)) {
		bytes /= 1024;
		u++;
	}
	if (bytes >= 99.95 || __builtin_fabs(bytes - (double)(long long)(bytes + 0.5)) < 0.05)
		snprintf(out, 16, "%.0f %s", bytes, unit[u]);
	else
		snprintf(out, 16, "%.1f %s", bytes, unit[u]);
	return out;
}

const char *cli_plain(char out[24], double v)
{
	snprintf(out, 24, "%.10g", v);
	return out;
}

const char *cli_ago(char out[32], const char *rfc3339, int64_t now_s)
{
	static const struct {
		int64_t below, per;
		const char *unit;
	} step[] = {{120, 1, "s"}, {7200, 60, "min"}, {172800, 3600, "h"}, {INT64_MAX, 86400, "days"}};
	struct tm tm = {0};
	const char *end = strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t age;

	if (!end) {
		snprintf(out, 32, "%.31s", *rfc3339 ? rfc3339 : "-");
		return out;
	}
	age = now_s - (int64_t)timegm(&tm);
	if (age < 2) {
		snprintf(out, 32, "just now");
		return out;
	}
	for (size_t i = 0; i < ARRAY_LEN(step); i++)
		if (age < step[i].below) {
			snprintf(out, 32, "%lld %s ago", (long long)(age / step[i].per), step[i].unit);
			break;
		}
	return out;
}

const char *cli_since(char out[32], const char *rfc3339)
{
	return cli_ago(out, rfc3339, (int64_t)time(NULL));
}

/* Length of a colour sequence "ESC [ digits ; m" at p, 0 when there is none. */
static size_t colour_at(const char *p, size_t n)
{
	size_t i = 2;

	if (n < 3 || p[0] != '\033' || p[1] != '[')
		return 0;
	while (i < n && ((p[i] >= '0' && p[i] <= '9') || p[i] == ';'))
		i++;
	return i < n && p[i] == 'm' ? i + 1 : 0;
}

void cli_text(FILE *f, const char *text, size_t n)
{
	char out[4100];
	size_t i = 0;

	while (i < n) {
		size_t from = i, skip;

		if (text[i] == '\n' || text[i] == '\t') {
			putc(text[i++], f);
			continue;
		}
		if (text[i] == '\r') { /* a line end of others, or a progress bar that starts over */
			if (i + 1 < n && text[i + 1] != '\n')
				putc('\n', f);
			i++;
			continue;
		}
		skip = colour_at(text + i, n - i);
		if (skip) {
			i += skip;
			continue;
		}
		while (i < n && i - from < 1000 && text[i] != '\n' && text[i] != '\t' && text[i] != '\r' &&
		       !colour_at(text + i, n - i))
			i++;
		/* Not in the middle of a character. */
		while (i < n && i - from > 4 && ((unsigned char)text[i] & 0xc0) == 0x80)
			i--;
		utf8_escape(out, sizeof out, text + from, i - from);
		fputs(out, f);
	}
}

const char *cli_colour(bool on, const char *word)
{
	static const struct {
		const char *word, *colour;
	} table[] = {
		{"running", "\033[32m"},  {"succeeded", "\033[32m"}, {"live", "\033[32m"},     {"starting", "\033[33m"},
		{"pending", "\033[33m"},  {"deploying", "\033[33m"}, {"draining", "\033[33m"}, {"stopping", "\033[33m"},
		{"paused", "\033[33m"},	  {"crashed", "\033[31m"},   {"failed", "\033[31m"},   {"exited", "\033[2m"},
		{"degraded", "\033[31m"}, {"unhealthy", "\033[31m"}, {"retired", "\033[2m"},   {"stopped", "\033[2m"},
		{"empty", "\033[2m"},
	};

	for (size_t i = 0; on && i < ARRAY_LEN(table); i++)
		if (strcmp(table[i].word, word) == 0)
			return table[i].colour;
	return "";
}

int cli_lines_feed(struct cli_lines *l, const char *p, size_t n)
{
	while (n > 0) {
		const char *nl = memchr(p, '\n', n);
		size_t part = nl ? (size_t)(nl - p) : n;
		int r;

		if (l->len + part + 1 > CLI_LINE_MAX)
			return -1;
		if (l->len + part + 1 > l->cap) {
			size_t cap = 2 * (l->len + part + 1);
			char *more = realloc(l->data, cap);

			if (!more)
				return -1;
			l->data = more;
			l->cap = cap;
		}
		memcpy(l->data + l->len, p, part);
		l->len += part;
		if (!nl)
			return 0;
		l->data[l->len] = 0;
		r = l->on_line(l->arg, l->data, l->len);
		l->len = 0;
		if (r)
			return r;
		p += part + 1;
		n -= part + 1;
	}
	return 0;
}

void cli_lines_done(struct cli_lines *l)
{
	free(TAKE_PTR(l->data));
	l->len = l->cap = 0;
}

static int sse_line(void *arg, char *line, size_t n)
{
	struct cli_sse *s = arg;
	char *value = memchr(line, ':', n);
	size_t len;

	if (n > 0 && line[n - 1] == '\r')
		line[--n] = 0;
	if (n == 0) {
		int r = s->data ? s->on_event(s->arg, s->id, s->kind, s->data, s->len) : 0;

		free(TAKE_PTR(s->data));
		s->len = 0;
		s->kind[0] = 0;
		return r;
	}
	if (line[0] == ':')
		return 0; /* a comment keeps the connection warm */
	if (value) {
		*value++ = 0;
		value += *value == ' ';
	} else {
		value = line + n;
	}
	len = (size_t)(line + n - value);
	if (strcmp(line, "id") == 0) {
		snprintf(s->id, sizeof s->id, "%s", value);
	} else if (strcmp(line, "event") == 0) {
		snprintf(s->kind, sizeof s->kind, "%s", value);
	} else if (strcmp(line, "data") == 0) {
		char *more;

		if (s->len + len + 2 > CLI_LINE_MAX)
			return -1;
		more = realloc(s->data, s->len + len + 2);
		if (!more)
			return -1;
		if (s->data)
			more[s->len++] = '\n';
		memcpy(more + s->len, value, len);
		s->len += len;
		more[s->len] = 0;
		s->data = more;
	}
	return 0;
}

void cli_sse_init(struct cli_sse *s, int (*on_event)(void *, const char *, const char *, const char *, size_t),
		  void *arg)
{
	*s = (struct cli_sse){.on_event = on_event, .arg = arg};
	s->lines.on_line = sse_line;
	s->lines.arg = s;
}

int cli_sse_feed(struct cli_sse *s, const char *p, size_t n)
{
	return cli_lines_feed(&s->lines, p, n);
}

void cli_sse_done(struct cli_sse *s)
{
	cli_lines_done(&s->lines);
	free(TAKE_PTR(s->data));
	s->len = 0;
}
