/* Unpacks a tar stream from a hostile source below one directory.  Layer agent, program tulou-unpack. */
#include "agent/build/unpack.h"

#include "base/fd.h"
#include "base/own.h"
#include "base/utf8.h"
#include "config/limits.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNPACK_DRAIN                                                                                                   \
	(64ull << 20) /* bytes read and dropped behind the archive's end, so that its writer is not broken off */
#define UNPACK_READ 65536

OWN_DEFINE(archive_in, struct archive *, archive_read_free)
OWN_DEFINE(archive_out, struct archive *, archive_write_free)

/* One run. */
struct unpack {
	struct archive *in, *out; /* borrowed from unpack_stream */
	const struct unpack_limits *limits;
	struct unpack_result done;
	int root;
};

/* An entry's name for a message: escaped and cut. */
static const char *unpack_shown(const char *path, char out[200])
{
	utf8_escape(out, 200, path, strlen(path));
	return out;
}

int unpack_check_path(const char *path, const char **ret, struct err *e)
{
	unsigned depth = 0;
	size_t len;

	while (path[0] == '.' && (path[1] == '/' || path[1] == 0))
		path += path[1] ? 2 : 1;
	if (path[0] == '/')
		return err_set(e, EINVAL, "the name is an absolute path");
	len = strlen(path);
	if (len > LIMIT_PATH_BYTES)
		return err_set(e, ENAMETOOLONG, "the name is %zu bytes long, %u are allowed", len, LIMIT_PATH_BYTES);
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && p[0] == '.' && p[1] == '.')
			return err_set(e, EINVAL, "the name contains \"..\"");
		if (n > NAME_MAX)
			return err_set(e, ENAMETOOLONG, "a part of the name is %zu bytes long, %d are allowed", n,
				       NAME_MAX);
		if (n && ++depth > LIMIT_TREE_DEPTH)
			return err_set(e, EINVAL, "it lies deeper than %u directories", LIMIT_TREE_DEPTH);
		p += n;
		while (*p == '/')
			p++;
	}
	*ret = path;
	return 0;
}

int unpack_check_symlink(const char *path, const char *target, unsigned flags, struct err *e)
{
	bool absolute = target[0] == '/';
	int depth = 0;

	if (!target[0])
		return err_set(e, EINVAL, "the link has no target");
	if (strlen(target) > LIMIT_PATH_BYTES)
		return err_set(e, EINVAL, "the link's target is longer than %u bytes", LIMIT_PATH_BYTES);
	if (absolute && !(flags & UNPACK_ABSOLUTE_LINKS))
		return err_set(e, EINVAL, "the link leads to an absolute path");
	for (const char *p = path; *p; p++)
		if (*p == '/' && p[1] && p[1] != '/')
			depth++; /* directories above the link */
	for (const char *p = target; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && p[0] == '.' && p[1] == '.') {
			if (absolute || --depth < 0)
				return err_set(e, EINVAL, "the link leads out of the tree");
		} else if (n && !(n == 1 && p[0] == '.')) {
			depth++;
		}
		p += n;
		while (*p == '/')
			p++;
	}
	return 0;
}

/* The target of a hard link must be a regular file that was unpacked already, reached without any symbolic link. */
static int unpack_check_hardlink(struct unpack *u, const char *target, const char **ret, struct err *e)
{
	const char *clean = NULL;
	OWN_FD int fd = -1;
	struct stat st;

	if (unpack_check_path(target, &clean, e) < 0 || !clean)
		return err_wrap(e, "the hard link's target");
	*ret = clean;
	fd = *clean ? fd_open_beneath(u->root, clean, O_PATH | O_NOFOLLOW, 0, true) : -ENOENT;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "the hard link does not lead to a file that came before it");
	return 0;
}

static int unpack_room(struct unpack *u, uint64_t bytes, struct err *e)
{
	int64_t packed = archive_filter_bytes(u->in, -1);

	if (bytes > u->limits->bytes || u->done.bytes > u->limits->bytes - bytes)
		return err_set(e, EFBIG, "the archive holds more than %" PRIu64 " MiB", u->limits->bytes >> 20);
	if (u->done.bytes + bytes > UNPACK_RATIO_FROM && packed > 0 &&
	    (u->done.bytes + bytes) / (uint64_t)packed > UNPACK_RATIO)
		return err_set(e, EFBIG, "the archive expands to more than %u times its packed size", UNPACK_RATIO);
	return 0;
}

static int unpack_content(struct unpack *u, struct err *e)
{
	uint64_t seen = 0; /* highest offset written: holes of sparse files count too */

	for (;;) {
		const void *p;
		size_t n;
		la_int64_t off;
		int r = archive_read_data_block(u->in, &p, &n, &off);

		if (r == ARCHIVE_EOF)
			break;
		if (r != ARCHIVE_OK)
			return err_set(e, EINVAL, "%s", archive_error_string(u->in));
		if (off < 0 || (uint64_t)off > u->limits->bytes)
			return err_set(e, EFBIG, "the archive holds more than %" PRIu64 " MiB", u->limits->bytes >> 20);
		if ((uint64_t)off + n > seen)
			seen = (uint64_t)off + n;
		if (unpack_room(u, seen, e) < 0)
			return -e->code;
		if (archive_write_data_block(u->out, p, n, off) < ARCHIVE_OK)
			return err_set(e, EIO, "%s", archive_error_string(u->out));
	}
	u->done.bytes += seen;
	return 0;
}

static int unpack_entry(struct unpack *u, struct archive_entry *entry, const char *path, struct err *e)
{
	const char *hard = archive_entry_hardlink(entry), *soft, *target = "";
	mode_t type = archive_entry_filetype(entry);
	char clean[LIMIT_PATH_BYTES + 1];

	if (++u->done.entries > u->limits->entries)
		return err_set(e, EFBIG, "the archive holds more than %" PRIu64 " entries", u->limits->entries);
	if (hard) {
		if (unpack_check_hardlink(u, hard, &target, e) < 0)
			return -e->code;
		snprintf(clean, sizeof clean, "%s", target); /* it points into the entry */
		archive_entry_copy_hardlink(entry, clean);
	} else if (type == AE_IFLNK) {
		soft = archive_entry_symlink(entry);
		if (unpack_check_symlink(path, soft ? soft : "", u->limits->flags, e) < 0)
			return -e->code;
	} else if (type != AE_IFREG && type != AE_IFDIR) {
		return err_set(e, EINVAL, "it is a %s; only directories, files and links are allowed",
			       type == AE_IFIFO	   ? "FIFO"
			       : type == AE_IFSOCK ? "socket"
						   : "device");
	}
	if (!hard && type == AE_IFREG && archive_entry_size_is_set(entry) && archive_entry_size(entry) > 0 &&
	    unpack_room(u, (uint64_t)archive_entry_size(entry), e) < 0)
		return -e->code;
	archive_entry_set_perm(entry, (archive_entry_perm(entry) & 0755) | (type == AE_IFDIR ? 0700 : 0600));
	if (archive_write_header(u->out, entry) < ARCHIVE_OK)
		return err_set(e, EINVAL, "%s", archive_error_string(u->out));
	/* A hard link that brings content again (cpio's manner) would write through to the first file. */
	if (!hard && type == AE_IFREG && unpack_content(u, e) < 0)
		return -e->code;
	if (archive_write_finish_entry(u->out) < ARCHIVE_OK)
		return err_set(e, EIO, "%s", archive_error_string(u->out));
	return 0;
}

static int unpack_all(struct unpack *u, struct err *e)
{
	char shown[200], clean[LIMIT_PATH_BYTES + 1];

	for (;;) {
		struct archive_entry *entry;
		const char *name, *path;
		int r = archive_read_next_header(u->in, &entry);

		if (r == ARCHIVE_EOF)
			break;
		if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
			return err_set(e, EINVAL, "not a readable tar archive: %s", archive_error_string(u->in));
		name = archive_entry_pathname(entry);
		if (!name)
			name = archive_entry_pathname_utf8(entry);
		if (!name)
			return err_set(e, EINVAL, "an entry's name cannot be read");
		if (unpack_check_path(name, &path, e) < 0)
			return err_wrap(e, "%s", unpack_shown(name, shown));
		if (!*path) { /* "./" */
			if (archive_entry_filetype(entry) != AE_IFDIR)
				return err_set(e, EINVAL, "%s: the root of the archive is not a directory",
					       unpack_shown(name, shown));
			continue;
		}
		unpack_shown(path, shown);
		snprintf(clean, sizeof clean, "%s", path); /* it points into the entry */
		archive_entry_copy_pathname(entry, clean);
		if (unpack_entry(u, entry, clean, e) < 0)
			return err_wrap(e, "%s", shown);
	}
	if (!u->done.entries)
		return err_set(e, EINVAL, "the archive is empty");
	return 0;
}

static struct archive *unpack_reader(int in, struct err *e)
{
	OWN(archive_in) struct archive *a = archive_read_new();

	/* ARCHIVE_WARN here means that libarchive would run an outside program: refused. */
	if (!a || archive_read_support_format_tar(a) != ARCHIVE_OK ||
	    archive_read_support_format_empty(a) != ARCHIVE_OK || archive_read_support_filter_gzip(a) != ARCHIVE_OK ||
	    archive_read_support_filter_zstd(a) != ARCHIVE_OK || archive_read_support_filter_xz(a) != ARCHIVE_OK ||
	    archive_read_support_filter_bzip2(a) != ARCHIVE_OK) {
		err_set(e, ENOSYS, "this libarchive lacks tar, gzip, zstd, xz or bzip2");
		return NULL;
	}
	if (archive_read_open_fd(a, in, UNPACK_READ) != ARCHIVE_OK) {
		err_set(e, EINVAL, "not a readable tar archive: %s", archive_error_string(a));
		return NULL;
	}
	return TAKE_PTR(a);
}

static struct archive *unpack_writer(struct err *e)
{
	OWN(archive_out) struct archive *a = archive_write_disk_new();

	/* Our own checks come first; the SECURE flags are the second pair of eyes.  No OWNER, ACL, XATTR or FFLAGS. */
	if (!a || archive_write_disk_set_options(a, ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME |
							    ARCHIVE_EXTRACT_SECURE_SYMLINKS |
							    ARCHIVE_EXTRACT_SECURE_NODOTDOT |
							    ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS) != ARCHIVE_OK) {
		err_set(e, ENOMEM, "cannot write to disk with this libarchive");
		return NULL;
	}
	return TAKE_PTR(a);
}

static void unpack_drain(int in)
{
	static char sink[UNPACK_READ];
	uint64_t n = 0;
	ssize_t r;

	while (n < UNPACK_DRAIN && (r = read(in, sink, sizeof sink)) > 0)
		n += (uint64_t)r;
}

static void unpack_clear(int root)
{
	int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	OWN_DIR DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(d)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			fd_remove_tree(root, entry->d_name);
}

int unpack_stream(int in, int root, const struct unpack_limits *limits, struct unpack_result *ret, struct err *e)
{
	int r = 0;

	if (fchdir(root) < 0)
		return err_errno(e, "cannot enter the target directory");
	{
		OWN(archive_in) struct archive *reader = unpack_reader(in, e);
		OWN(archive_out) struct archive *writer = reader ? unpack_writer(e) : NULL;
		struct unpack u = {.in = reader, .out = writer, .limits = limits, .root = root};

		r = writer ? unpack_all(&u, e) : -e->code;
		if (r == 0 && archive_write_close(writer) != ARCHIVE_OK)
			r = err_set(e, EIO, "%s", archive_error_string(writer));
		if (r == 0)
			*ret = u.done;
	}
	/* Only behind a whole archive: after an error the writer is to notice at once. */
	if (r < 0)
		unpack_clear(root);
	else if (!(limits->flags & UNPACK_STOP_AT_END))
		unpack_drain(in);
	return r;
}
