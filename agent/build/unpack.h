/* Unpacks a tar stream from a hostile source below one directory.  Layer agent, program tulou-unpack (inside a
 * sandbox).
 *
 * libarchive reads and writes; the rules are checked here first, by name and before anything is written:
 *   names      relative, no "..", at most LIMIT_PATH_BYTES long and LIMIT_TREE_DEPTH deep
 *   kinds      directories, files, symbolic and hard links; no devices, FIFOs or sockets
 *   links      symbolic: a relative target stays inside; an absolute one only with UNPACK_ABSOLUTE_LINKS (it is
 * resolved inside a sandbox's own root then) and never with ".."; hard: to a regular file unpacked before bits setuid,
 * setgid, sticky and write permission of group and others are dropped; owners are ignored amount     entries, bytes of
 * content, and the ratio of content to packed input */
#ifndef TULOU_AGENT_BUILD_UNPACK_H
#define TULOU_AGENT_BUILD_UNPACK_H

#include "base/err.h"

#include <stdint.h>

#define UNPACK_ABSOLUTE_LINKS 1u
/* Go on at the archive's own end mark instead of waiting for the end of the input: git keeps the writing end of its
 * hooks' descriptors open until the push is over. */
#define UNPACK_STOP_AT_END 2u

/* A file that expands more than this, once more than UNPACK_RATIO_FROM bytes came out, is a bomb: text compresses 3 to
 * 20 times, and zeros more than 1,000 times. */
#define UNPACK_RATIO 250u
#define UNPACK_RATIO_FROM (64ull << 20)

struct unpack_limits {
	uint64_t bytes; /* of content */
	uint64_t entries;
	unsigned flags; /* UNPACK_* */
};

struct unpack_result {
	uint64_t bytes, entries;
};

/* Checks the name of an entry; on success *ret points into path behind leading "./", "" for the root itself.
 * 0 or -EINVAL / -ENAMETOOLONG with the rule in e->text. */
int unpack_check_path(const char *path, const char **ret, struct err *e);

/* Checks the target of a symbolic link named path (as returned by unpack_check_path).  0 or -EINVAL. */
int unpack_check_symlink(const char *path, const char *target, unsigned flags, struct err *e);

/* Unpacks what comes from descriptor `in` (tar; plain, gzip, zstd, xz or bzip2) below directory `root`, which must be
 * empty, and reads the input to its end (unless UNPACK_STOP_AT_END).  The working directory is changed to root.  On
 * failure everything below root is removed again.  0, or a negative errno with e naming entry and rule. */
int unpack_stream(int in, int root, const struct unpack_limits *limits, struct unpack_result *ret, struct err *e);

#endif
