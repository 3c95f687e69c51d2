/* Descriptors.  Layer base, any process (also built with musl). */
#include "base/fd.h"

#include "base/own.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

int fd_write_all(int fd, const void *p, size_t n)
{
	const char *s = p;

	while (n) {
		ssize_t w = write(fd, s, n);
		if (w < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		s += w;
		n -= (size_t)w;
	}
	return 0;
}

int fd_read_all(int fd, size_t max, char **ret, size_t *len)
{
	OWN_FREE char *p = NULL;
	size_t n = 0, cap = 0;

	for (;;) {
		ssize_t r;
		if (n + 1 >= cap) {
			size_t want = cap ? cap * 2 : 4096;
			char *q;
			if (want > max + 2)
				want = max + 2;
			if (n + 1 >= want)
				return -EFBIG;
			q = realloc(p, want);
			if (!q)
				return -ENOMEM;
			p = q;
			cap = want;
		}
		r = read(fd, p + n, cap - n - 1);
		if (r < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (r == 0)
			break;
		n += (size_t)r;
		if (n > max)
			return -EFBIG;
	}
	p[n] = 0;
	*ret = TAKE_PTR(p);
	if (len)
		*len = n;
	return 0;
}

int fd_read_file(int dir, const char *path, size_t max, char **ret, size_t *len)
{
	OWN_FD int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd_read_all(fd, max, ret, len);
}

int fd_write_file(int dir, const char *path, const char *text)
{
	OWN_FD int fd = openat(dir, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t n = strlen(text);
	ssize_t w;

	if (fd < 0)
		return -errno;
	w = write(fd, text, n);
	if (w < 0)
		return -errno;
	return (size_t)w == n ? 0 : -EIO;
}

int fd_replace_file(int dir, const char *path, const void *p, size_t n, mode_t mode, bool durable)
{
	char tmp[256];
	OWN_FD int fd = -1;
	int r;

	if ((size_t)snprintf(tmp, sizeof tmp, "%s.new", path) >= sizeof tmp)
		return -ENAMETOOLONG;
	unlinkat(dir, tmp, 0);
	fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	r = fchmod(fd, mode) < 0 ? -errno : fd_write_all(fd, p, n);
	if (r == 0 && durable && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(dir, tmp, dir, path) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(dir, tmp, 0);
	return r;
}

int fd_open_beneath(int dir, const char *path, int flags, mode_t mode, bool nolinks)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (nolinks ? RESOLVE_NO_SYMLINKS : 0),
	};
	int fd;

	/* EAGAIN: a rename raced with the walk (openat2(2)); a few tries are the documented answer. */
	for (int i = 0; i < 8; i++) {
		fd = sys_openat2(dir, path, &how);
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return fd < 0 ? -errno : fd;
}

int fd_mkdirs(const char *path, mode_t mode)
{
	char part[4096];
	size_t n = strlen(path);

	if (n >= sizeof part || path[0] != '/')
		return -EINVAL;
	for (size_t i = 1; i <= n; i++) {
		if (path[i] != '/' && path[i] != 0)
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

size_t fd_mkdirs_missing(const char *path)
{
	char part[4096];
	size_t n = strlen(path);
	struct stat st;

	for (size_t i = 1; i <= n && n < sizeof part; i++) {
		if (path[i] != '/' && path[i] != 0)
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		if (stat(part, &st) < 0 && errno == ENOENT)
			return i;
	}
	return 0;
}

void fd_mkdirs_undo(const char *path, size_t missing)
{
	char part[4096];
	size_t n = strlen(path);

	if (!missing || n >= sizeof part)
		return;
	memcpy(part, path, n + 1);
	for (size_t i = n; i >= missing; i--) {
		if (path[i] != '/' && path[i] != 0)
			continue;
		part[i] = 0;
		if (rmdir(part) < 0 && errno != ENOENT)
			return;
	}
}

/* Empties the directory dir by moving every subdirectory found up into `top` under a fresh name, so that neither
 * recursion nor long paths are needed however deep a tenant nested them. */
static int fd_flatten(int top, int dir, unsigned long *serial)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	OWN_DIR DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *de;

	if (!d) {
		int r = -errno;
		if (copy >= 0)
			close(copy);
		return r;
	}
	while ((de = readdir(d))) {
		char fresh[40];
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		if (unlinkat(dir, de->d_name, 0) == 0 || errno == ENOENT)
			continue;
		if (errno != EISDIR && errno != EPERM)
			return -errno;
		if (unlinkat(dir, de->d_name, AT_REMOVEDIR) == 0)
			continue;
		if (errno != ENOTEMPTY && errno != EEXIST)
			return -errno;
		if (dir == top)
			continue; /* handled by the caller's next round */
		/* Whoever made the tree may have guessed these names and put something there: then the next one. */
		int r;
		do {
			snprintf(fresh, sizeof fresh, ".rm%lu", (*serial)++);
			r = renameat(dir, de->d_name, top, fresh) < 0 ? -errno : 0;
		} while (r == -ENOTEMPTY || r == -EEXIST || r == -ENOTDIR);
		if (r < 0)
			return r;
	}
	return 0;
}

int fd_remove_tree(int dir, const char *name)
{
	OWN_FD int top = -1;
	unsigned long serial = 0;

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	top = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (top < 0)
		return -errno;
	for (;;) {
		OWN_DIR DIR *d = NULL;
		struct dirent *de;
		int copy, r, left = 0;

		r = fd_flatten(top, top, &serial);
		if (r < 0)
			return r;
		copy = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		d = copy < 0 ? NULL : fdopendir(copy);
		if (!d) {
			r = -errno;
			if (copy >= 0)
				close(copy);
			return r;
		}
		while ((de = readdir(d))) {
			OWN_FD int sub = -1;
			if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
				continue;
			left = 1;
			sub = openat(top, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (sub < 0)
				continue; /* removed meanwhile, or a file: the next round takes it */
			r = fd_flatten(top, sub, &serial);
			if (r < 0)
				return r;
		}
		if (!left)
			break;
	}
	return unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

static int fd_seal(int fd)
{
	if (lseek(fd, 0, SEEK_SET) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return -errno;
	return 0;
}

int fd_memfd_sealed(const char *name, const void *p, size_t n)
{
	OWN_FD int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return -errno;
	r = fd_write_all(fd, p, n);
	if (r == 0)
		r = fd_seal(fd);
	return r < 0 ? r : TAKE_FD(fd);
}

int fd_memfd_copy(const char *name, int from)
{
	OWN_FD int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stat st;
	off_t off = 0;
	int r;

	if (fd < 0 || fstat(from, &st) < 0)
		return -errno;
	while (off < st.st_size) {
		ssize_t w = sendfile(fd, from, &off, (size_t)(st.st_size - off));
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return w < 0 ? -errno : -EIO;
	}
	if (fchmod(fd, 0555) < 0)
		return -errno;
	r = fd_seal(fd);
	return r < 0 ? r : TAKE_FD(fd);
}

int fd_nonblock(int fd)
{
	int fl = fcntl(fd, F_GETFL);

	return fl < 0 || fcntl(fd, F_SETFL, fl | O_NONBLOCK) < 0 ? -errno : 0;
}

int fd_send2(int sock, const void *a, size_t an, const void *b, size_t bn, const int *fds, size_t nfds)
{
	/* sendmsg(2) does not write through iov_base; the type is what POSIX gives. */
	union {
		const void *in;
		void *out;
	} ua = {.in = a}, ub = {.in = b};
	struct iovec iov[2] = {{ua.out, an}, {ub.out, bn}};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
	} control;
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = bn ? 2 : 1};
	ssize_t w;

	if (nfds > FD_PASS_MAX)
		return -EINVAL;
	if (nfds) {
		struct cmsghdr *c = &control.align; /* CMSG_FIRSTHDR(), without its case of no room */
		memset(&control, 0, sizeof control);
		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
	}
	do
		w = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (w < 0 && errno == EINTR);
	return w < 0 ? -errno : 0;
}

int fd_send(int sock, const void *p, size_t n, const int *fds, size_t nfds)
{
	return fd_send2(sock, p, n, NULL, 0, fds, nfds);
}

ssize_t fd_recv(int sock, void *p, size_t cap, int *fds, size_t *nfds)
{
	struct iovec iov = {p, cap};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
	} control;
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
	size_t n = 0;
	ssize_t r;

	*nfds = 0;
	do
		r = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		size_t k;
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		k = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds + n, CMSG_DATA(c), k * sizeof(int));
		n += k;
	}
	if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		while (n)
			close(fds[--n]);
		return -EBADMSG;
	}
	*nfds = n;
	return r;
}
