/* What a person writes, as the API wants it: limits, quotas, formations, config vars.  Layer web, program tulou. */
#ifndef TULOU_WEB_CLI_FIELDS_H
#define TULOU_WEB_CLI_FIELDS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

struct cli;

/* One limit by the name a person uses: "memory" "256MiB" → "memory_bytes": "256MiB"; "cpu" "0.5" → "cpu": 0.5; counts
 * as numbers.  Ranges are the API's to check.  0, or -EINVAL with e->field. */
int cli_fields_limit(json_t *obj, const char *name, const char *value, struct err *e);

/* "KEY=VALUE" words through cli_fields_limit.  Only names in the NULL-terminated list are known. */
int cli_fields_limits(json_t *obj, char **words, int n, const char *const *known, struct err *e);

/* Those of the command's options that are limits. */
int cli_fields_options(struct cli *c, json_t *obj, const char *const *known, struct err *e);

/* "web=2" words into obj. */
int cli_fields_formation(json_t *obj, char **words, int n, struct err *e);

/* "KEY=VALUE" words into obj (null_values: "KEY" words, each with null). */
int cli_fields_config(json_t *obj, char **words, int n, bool null_values, struct err *e);

#endif
