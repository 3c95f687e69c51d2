/* Requests to the API, over libcurl; one at a time.  Layer web, program tulou. */
#ifndef TULOU_WEB_CLI_CALL_H
#define TULOU_WEB_CLI_CALL_H

#include "base/buf.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct cli;

struct cli_answer {
	long status;	       /* HTTP status, 0 when there was no answer */
	struct buf body;       /* of an answer that was not streamed */
	json_t *json;	       /* owned; NULL when the body is empty or not JSON */
	long changed, release; /* the headers Tulou-Changed and Tulou-Release; -1: not there */
};
void cli_answer_done(struct cli_answer *a);
static inline void own_cli_answer_p(struct cli_answer *a)
{
	cli_answer_done(a);
}
#define OWN_ANSWER __attribute__((cleanup(own_cli_answer_p)))

struct cli_request {
	const char *method, *path;
	json_t *body; /* borrowed, or NULL */
	FILE *upload; /* borrowed, sent from its start instead of body */
	uint64_t upload_size;
	const char *accept; /* NULL: JSON */
	long idle_s;	    /* seconds without a byte before it is given up; 0: the default of an answer */
	/* Gets a 2xx answer's body as it comes; a return other than 0 ends the request as done. */
	int (*on_data)(void *arg, const char *p, size_t n);
	void (*on_upload)(void *arg, uint64_t sent, uint64_t total);
	void *arg;
	bool quiet; /* print no error: the caller looks at the status and the code */
};

/* Sends it.  CLI_OK on 2xx; else the error was printed and the exit code is returned. *ret is filled in both cases and
 * owned by the caller. */
int cli_request(struct cli *c, const struct cli_request *r, struct cli_answer *ret);

/* The plain case. */
int cli_call(struct cli *c, const char *method, const char *path, json_t *body, struct cli_answer *ret);

/* All pages of a list as {"items":[…]}, new reference in *ret; `path` may have a query. CLI_OK or an exit code. */
int cli_list(struct cli *c, const char *path, json_t **ret);

/* Builds a path: %s stands for a word that is percent-encoded, %r for raw text.  Cuts what does not fit: names are
 * bounded, and a longer one is refused by the API. */
void cli_path(char *out, size_t cap, const char *fmt, ...);

/* Path below the chosen app: "/v1/apps/NAME" + rest.  CLI_OK, or the printed reason why no app is chosen. */
int cli_app_path(struct cli *c, char *out, size_t cap, const char *rest);

/* A first word is the app, as in `tulou apps info shop`. */
void cli_app_of_word(struct cli *c);

/* The exit code of an HTTP status: 400 is wrong usage, 401, 403 and 429 are refusals, no connection and 502 to 504
 * unreachable; all other errors, as 404 and 409, are failures. */
int cli_status_code(long status);

/* Frees what requests of this process share. */
void cli_call_done(void);

#endif
