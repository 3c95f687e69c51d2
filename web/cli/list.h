/* Lists as tables, and single things of an app: one frame for all commands that show one.  Layer web, program tulou. */
#ifndef TULOU_WEB_CLI_LIST_H
#define TULOU_WEB_CLI_LIST_H

#include "web/cli/out.h"

#include <jansson.h>
#include <stddef.h>

struct cli;

struct cli_list {
	const char *const *heads; /* as for cli_table_new() */
	size_t count;
	void (*row)(struct cli_table *t, json_t *item); /* adds one item */
	const char *none;				/* said when there is nothing; NULL: nothing is */
	/* What the answer says beside its items, before and behind the table; NULL = nothing. */
	void (*before)(struct cli *c, json_t *answer);
	void (*after)(struct cli *c, json_t *answer);
};

/* All pages of a list of the node: JSON with --json, the names alone with --names, else the table.  A CLI_ code. */
int cli_list_show(struct cli *c, const char *path, const struct cli_list *l);
/* One answer with "items", as JSON or as the table. */
int cli_list_show_one(struct cli *c, const char *path, const struct cli_list *l);
/* The same below the path of the app that is meant, as "/domains". */
int cli_list_show_app(struct cli *c, const char *rest, const struct cli_list *l);

/* One thing below the path of the app that is meant, as "/latency": JSON with --json, else as print() shows it. */
int cli_show_app(struct cli *c, const char *rest, void (*print)(struct cli *c, json_t *answer));

/* DELETE of what the first argument names in a list of the app: of "domains" /v1/apps/APP/domains/ARGUMENT. */
int cli_list_remove(struct cli *c, const char *list);

#endif
