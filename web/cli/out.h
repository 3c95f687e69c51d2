/* Output for people: tables, figures, times, text of others.  Layer web, program tulou.
 * Whatever came from elsewhere is escaped here, so no name, log line or error can move a terminal's cursor. */
#ifndef TULOU_WEB_CLI_OUT_H
#define TULOU_WEB_CLI_OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct cli;
struct cli_table;

/* A table with columns of these headings; a heading that begins with '>' is aligned to the right.  NULL: out of memory,
 * which the other functions accept and then do nothing. */
struct cli_table *cli_table_new(size_t columns, const char *const *heads);
/* Adds a row of as many strings as there are columns. */
void cli_table_add(struct cli_table *t, ...);
/* Prints and frees it; `empty` (NULL: nothing) when it has no row. */
void cli_table_print(struct cli *c, struct cli_table *t, const char *empty);

/* Prints "name:  value" with names padded to one width; value is escaped. */
void cli_pair(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* printf to standard output, with controls in the result escaped but for newlines. */
void cli_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Prints JSON as the API gave it, indented. */
void cli_json(json_t *j);

/* Members of an object; "" and 0 when missing or of another type.  Borrowed. */
const char *cli_str(json_t *obj, const char *key);
double cli_num(json_t *obj, const char *key);

/* "256 MiB", "1.5 GiB"; "-" for a negative number.  Returns out. */
const char *cli_bytes(char out[16], double bytes);
/* Number without needless zeros: "2", "0.25". */
const char *cli_plain(char out[24], double v);
/* "3 min ago" of an RFC 3339 time, now_s being the present; the text itself when it is none. */
const char *cli_ago(char out[32], const char *rfc3339, int64_t now_s);
/* The same for the present. */
const char *cli_since(char out[32], const char *rfc3339);

/* Writes text[0..n), which may be any bytes: complete lines as they are, controls escaped but for newline and tab,
 * colour sequences left out. */
void cli_text(FILE *f, const char *text, size_t n);

/* Begin and end of a colour for a state's word ("running", "failed", …), "" when colours are off. */
const char *cli_colour(bool on, const char *word);
#define CLI_PLAIN(on) ((on) ? "\033[0m" : "")

/* Splits a stream into lines. */
struct cli_lines {
	char *data; /* owned */
	size_t len, cap;
	/* One line without its newline; other than 0 ends the stream. */
	int (*on_line)(void *arg, char *line, size_t n);
	void *arg;
};
#define CLI_LINE_MAX (1u << 20)
/* Takes bytes; returns what on_line returned, or -1 past CLI_LINE_MAX. */
int cli_lines_feed(struct cli_lines *l, const char *p, size_t n);
void cli_lines_done(struct cli_lines *l);

/* Splits a stream of server-sent events (HTML standard, 9.2) into events. */
struct cli_sse {
	struct cli_lines lines;
	char id[64], kind[64];
	char *data; /* owned */
	size_t len;
	int (*on_event)(void *arg, const char *id, const char *kind, const char *data, size_t n);
	void *arg;
};
void cli_sse_init(struct cli_sse *s, int (*on_event)(void *, const char *, const char *, const char *, size_t),
		  void *arg);
int cli_sse_feed(struct cli_sse *s, const char *p, size_t n);
void cli_sse_done(struct cli_sse *s);

#endif
