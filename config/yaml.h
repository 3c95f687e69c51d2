/* YAML as a JSON tree, without what makes YAML dangerous.  Layer config, supervisor and control. */
#ifndef TULOU_CONFIG_YAML_H
#define TULOU_CONFIG_YAML_H

#include "base/err.h"

#include <jansson.h>
#include <stddef.h>

/* Parses one document of at most max bytes of UTF-8.  Mappings become objects, sequences arrays, an unquoted empty, ~
 * or null becomes null, and every other scalar a string as written: what type it should have is the reader's business,
 * so that no "no" turns into false.  Refused: anchors and aliases, tags, duplicate keys, keys that are not scalars,
 * nesting deeper than 16, more than 4096 nodes, NUL, a second document.  An empty document is an empty object. A new
 * reference, or NULL with e set (line and column in the text). */
json_t *yaml_read(const char *text, size_t n, size_t max, struct err *e);

#endif
