/* The `tulou` command: what its parts share.  Layer web, a program of its own; talks HTTP to control only.
 *
 * Every command is one row of the table in commands.c, which also drives help, completion and the test of the manual
 * page.  A command's function prints its own errors, once, and returns an exit code. */
#ifndef TULOU_WEB_CLI_CLI_H
#define TULOU_WEB_CLI_CLI_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum cli_exit { CLI_OK, CLI_FAILED, CLI_USAGE, CLI_REFUSED, CLI_UNREACHABLE };

#define CLI_OPTIONS_MAX 12 /* of one command, the global ones aside */

struct cli_option {
	const char *name; /* "follow"; NULL ends a list */
	char letter;	  /* 'f', or 0 */
	const char *arg;  /* "N": takes a value; NULL: a switch */
	const char *help;
};

struct cli;

struct cli_command {
	const char *name;  /* "apps" */
	const char *sub;   /* "create", or NULL for the command without a second word */
	const char *args;  /* "NAME", "[VERSION]", "KEY=VALUE...", "" */
	unsigned min, max; /* words allowed */
	int (*run)(struct cli *c);
	const char *help;		  /* one line, no full stop */
	const struct cli_option *options; /* ends with name NULL; may be NULL */
	bool rest;			  /* everything after the first word is the command's, options included */
};

struct cli {
	const struct cli_command *command;
	int argc;    /* words after the command */
	char **argv; /* borrowed from main */
	bool json, help;
	const char *app, *url, *token;	    /* given on the command line, or NULL */
	const char *value[CLI_OPTIONS_MAX]; /* of command->options: NULL not given, "" for a switch */
	/* Found by cli_account() and cli_app(), owned. */
	char *base;   /* URL without a slash at its end */
	char *bearer; /* token, NULL when there is none */
	char *app_name;
	/* What a field of the API is called on this command line: pairs, the longer first, NULL at the end; a refusal
	 * that names one (400) is wrong usage then.  NULL: as the API says it. */
	const char *const (*words)[2];
	bool colour, colour_err; /* a terminal is there and NO_COLOR is not set */
};

/* The table; its last row has name NULL. */
extern const struct cli_command cli_commands[];
extern const struct cli_option cli_globals[];

/* What main calls. Returns the exit code. */
int cli_main(int argc, char **argv);

/* Reads the command line into *c (zeroed by the caller); words are moved to the front of argv.  0, or -EINVAL with e
 * saying what is wrong and, where one is near, what was perhaps meant. */
int cli_parse(struct cli *c, int argc, char **argv, struct err *e);

/* Value of an option of this command: NULL when not given, "" for a switch that was. */
const char *cli_value(const struct cli *c, const char *name);

/* Prints "tulou: text" to standard error and returns code; with --json a problem object (RFC 9457) without a status on
 * one line, the text as its detail. */
int cli_fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Prints the API's problem object to standard error, on one line; borrows it. */
void cli_fail_json(json_t *problem);

/* Prints usage and options of a command, or the overview when it is NULL. */
void cli_help(FILE *f, const struct cli_command *command);

/* The word of the table (or list) that is nearest to `word`, NULL when none is near. */
const char *cli_nearest(const char *word, const char *const *list, size_t n);

/* Asks on the terminal to type `word`, having said what will be done ("remove the plan small"); CLI_OK when it was, or
 * when --yes was given, else the printed reason's code. */
int cli_confirm(struct cli *c, const char *word, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
