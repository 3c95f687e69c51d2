/* What a person writes, as the API wants it: limits, quotas, formations, config vars.  Layer web, program tulou. */
#ifndef TULOU_WEB_CLI_FIELDS_H
#define TULOU_WEB_CLI_FIELDS_H

#include "base/err.h"
#include "config/quota.h"

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

struct cli;

/* One number by the name a person uses (that of config/quota.h, '-' for '_'): "memory" "256MiB" → "memory_bytes":
 * 268435456; "cpu" "0.5" → "cpu": 0.5; "unlimited" for a rate.  Ranges are the API's to check.  0, or -EINVAL with
 * e->field. */
int cli_fields_limit(json_t *obj, enum quota_of of, const char *name, const char *value, struct err *e);

/* "KEY=VALUE" words through cli_fields_limit. */
int cli_fields_limits(json_t *obj, enum quota_of of, char **words, int n, struct err *e);

/* Those of the command's options that are limits. */
int cli_fields_options(struct cli *c, json_t *obj, enum quota_of of, struct err *e);

/* "none", "public", or destinations separated by commas, as the API's object; a new reference, or NULL with e set. */
json_t *cli_fields_egress(const char *value, struct err *e);

/* What a tenant or a plan is made of: profile=, private-layers=yes|no, egress=, and KEY=VALUE of the quota; of a plan
 * also app.KEY=VALUE for each instance; of a tenant plan=NAME|none. */
enum cli_fields_of { CLI_FIELDS_OF_TENANT, CLI_FIELDS_OF_PLAN };
int cli_fields_policy(json_t *body, char **words, int n, enum cli_fields_of of, struct err *e);

/* "web=2" words into obj. */
int cli_fields_formation(json_t *obj, char **words, int n, struct err *e);

/* "KEY=VALUE" words into obj (null_values: "KEY" words, each with null). */
int cli_fields_config(json_t *obj, char **words, int n, bool null_values, struct err *e);

#endif
