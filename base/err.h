/* Errors as values: what failed, which field, why.  Layer base, any process. */
#ifndef TULOU_BASE_ERR_H
#define TULOU_BASE_ERR_H

#include <stddef.h>

/* An error on the caller's stack; nothing in it needs to be freed.
 * Functions return 0 (or a count) on success and a negative errno on failure, and fill *e then and only then.
 * Every function below accepts e == NULL and then only computes its return value. */
struct err {
	int code;	/* positive errno, 0 = no error */
	char field[64]; /* the input field or setting that is at fault, "" when there is none */
	char text[384]; /* one sentence for a person, no trailing newline */
};

/* Sets *e to code (positive errno) and the formatted text; returns -code. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set, and names the input field at fault. */
int err_field(struct err *e, int code, const char *field, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* As err_set with the current errno; ": strerror" is appended to the text. */
int err_errno(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts "context: " before the text of a set error; returns -e->code so that it can end a function. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
