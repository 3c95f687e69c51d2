/* Descriptors: files, sealed memory, passing.  Layer base, any process (also built with musl).
 * Every descriptor made here is CLOEXEC. */
#ifndef TULOU_BASE_FD_H
#define TULOU_BASE_FD_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define FD_PASS_MAX 20 /* descriptors in one message: a proxy gets two and up to sixteen listeners */

/* Writes all of p[0..n) to a blocking descriptor; 0 or negative errno. */
int fd_write_all(int fd, const void *p, size_t n);
/* Reads until end of file into a fresh NUL-terminated block of at most max bytes; *ret is owned by the caller.
 * 0, -EFBIG past max, or negative errno. */
int fd_read_all(int fd, size_t max, char **ret, size_t *len);
/* The same for a path relative to dir (AT_FDCWD allowed), O_NOFOLLOW on the last part. */
int fd_read_file(int dir, const char *path, size_t max, char **ret, size_t *len);
/* Writes a small control file (cgroup, sysctl) in one write(2); 0 or negative errno. */
int fd_write_file(int dir, const char *path, const char *text);
/* Replaces path atomically (temporary file, fsync when durable, rename); 0 or negative errno. */
int fd_replace_file(int dir, const char *path, const void *p, size_t n, mode_t mode, bool durable);

/* Opens path below dir without leaving it (openat2: RESOLVE_BENEATH | NO_MAGICLINKS | NO_SYMLINKS when nolinks).
 * A descriptor or negative errno. */
int fd_open_beneath(int dir, const char *path, int flags, mode_t mode, bool nolinks);
/* Makes every missing directory of an absolute path with mode; 0 or negative errno. */
int fd_mkdirs(const char *path, mode_t mode);
/* What fd_mkdirs() would have to make: the length of the path's part up to the first missing directory, 0 = none. */
size_t fd_mkdirs_missing(const char *path);
/* Removes what was made from there on, as far as it is empty; missing 0: nothing. */
void fd_mkdirs_undo(const char *path, size_t missing);
/* Removes name below dir and everything in it, iteratively and without following links (any depth); 0 or negative
 * errno.  A missing name is success. */
int fd_remove_tree(int dir, const char *name);

/* A sealed (F_SEAL_WRITE|GROW|SHRINK|SEAL) memfd holding p[0..n), read position 0; a descriptor or negative errno. */
int fd_memfd_sealed(const char *name, const void *p, size_t n);
/* A sealed copy of a file, executable by execveat; a descriptor or negative errno. */
int fd_memfd_copy(const char *name, int from);

/* Sets O_NONBLOCK; 0 or negative errno. */
int fd_nonblock(int fd);

/* One SOCK_SEQPACKET message with up to FD_PASS_MAX descriptors.  fd_recv returns the length (0 = end), -EAGAIN, or a
 * negative errno; received descriptors are owned by the caller; truncated data or control is -EBADMSG with all
 * descriptors closed. */
int fd_send(int sock, const void *p, size_t n, const int *fds, size_t nfds);
ssize_t fd_recv(int sock, void *p, size_t cap, int *fds, size_t *nfds);
/* As fd_send of two parts in one message. */
int fd_send2(int sock, const void *a, size_t an, const void *b, size_t bn, const int *fds, size_t nfds);

#endif
