/* A client of the api of test_api_fixture.h: asks, and reads what comes. */
#ifndef TULOU_TEST_API_CLIENT_H
#define TULOU_TEST_API_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

struct fix;

struct reply {
	int status;
	char *text; /* owned: head and body */
	char *body; /* points into text; chunked coding removed */
	size_t len; /* of the body */
};
/* A blocking connection, and what goes over it. */
int fix_connect(struct fix *f);
/* "Name: value\r\n"... in headers, or NULL.  body NULL = none. Free with reply_done. */
struct reply fix_request(struct fix *f, const char *method, const char *path, const char *token, const char *headers,
			 const char *body);
void reply_done(struct reply *r);
/* Status only. */
int fix_status(struct fix *f, const char *method, const char *path, const char *token, const char *body);
/* The value of a header in a reply, "" when absent; static buffer. */
const char *reply_header(const struct reply *r, const char *name);
/* Reads from fd until `needle` was seen or 5 s passed. */
bool fix_read_until(int fd, const char *needle, char *out, size_t cap);

#endif
