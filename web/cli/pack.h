/* Packs a folder for a deploy.  Layer web, program tulou. */
#ifndef TULOU_WEB_CLI_PACK_H
#define TULOU_WEB_CLI_PACK_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct cli_packed {
	FILE *file;    /* owned: a temporary file without a name, or the tar file itself */
	uint64_t size; /* bytes, packed */
	unsigned files;
	unsigned skipped; /* devices, sockets and pipes, which a release cannot hold */
};

/* Packs dir as tar with zstd.  In a git work tree what git knows or would add is packed, so .gitignore counts;
 * elsewhere all but .git.  Owners are left out.  0; -EFBIG past LIMIT_SOURCE_BYTES, -E2BIG past LIMIT_TREE_ENTRIES, or
 * negative errno. */
int cli_pack(const char *dir, struct cli_packed *ret, struct err *e);

/* Opens a tar file as it is.  0 or negative errno. */
int cli_pack_file(const char *path, struct cli_packed *ret, struct err *e);

/* Runs a program found in $PATH without a shell or standard error, and reads its output (at most max bytes, NUL added).
 * 0, -ENOENT when it cannot be run or exits with anything but 0, -EFBIG; *ret is owned. */
int cli_pack_command(const char *const *argv, size_t max, char **ret, size_t *len);

#endif
