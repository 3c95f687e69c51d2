/* Packs a folder for a deploy.  Layer web, program tulou. */
#include "web/cli/pack.h"
#include "base/fd.h"
#include "base/own.h"
#include "config/limits.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIST_MAX (64u << 20) /* bytes of a list of LIMIT_TREE_ENTRIES names */

extern char **environ;

int cli_pack_command(const char *const *argv, size_t max, char **ret, size_t *len)
{
	posix_spawn_file_actions_t actions;
	OWN_FREE char *text = NULL;
	OWN_FD int out = -1;
	int pipes[2], status = 0, r;
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC))
		return -errno;
	out = pipes[0];
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	r = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(pipes[1]);
	if (r)
		return -ENOENT;
	r = fd_read_all(out, max, &text, len);
	own_close(&out); /* so that a program with more to say ends */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!r && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
		r = -ENOENT;
	if (!r)
		*ret = TAKE_PTR(text);
	return r;
}

struct pack {
	struct archive *archive; /* owned */
	FILE *file;		 /* borrowed */
	int dir;		 /* of the folder */
	struct cli_packed *ret;
	unsigned entries;
	uint64_t bytes;			 /* unpacked */
	char last[LIMIT_PATH_BYTES + 1]; /* the entry before: says which folders have been written */
};

static int bad_archive(struct pack *p, struct err *e)
{
	return err_set(e, EIO, "packing failed: %s",
		       archive_error_string(p->archive) ? archive_error_string(p->archive) : "unknown reason");
}

static int write_data(struct pack *p, int fd, const char *path, uint64_t size, struct err *e)
{
	char block[65536];

	while (size > 0) {
		ssize_t n = read(fd, block, size < sizeof block ? size : sizeof block);

		if (n < 0)
			return err_errno(e, "%s cannot be read", path);
		if (n == 0)
			return err_set(e, EAGAIN, "%s became shorter while it was packed", path);
		if (archive_write_data(p->archive, block, (size_t)n) != n)
			return bad_archive(p, e);
		size -= (uint64_t)n;
	}
	if (ftello(p->file) > (off_t)LIMIT_SOURCE_BYTES)
		return err_set(e, EFBIG, "the packed folder is larger than %llu MiB", LIMIT_SOURCE_BYTES >> 20);
	return 0;
}

static void own_entry_p(struct archive_entry **entry)
{
	archive_entry_free(*entry);
}

static int write_entry(struct pack *p, const char *path, const struct stat *st, struct err *e)
{
	__attribute__((cleanup(own_entry_p))) struct archive_entry *entry = archive_entry_new();
	char target[4096];
	OWN_FD int fd = -1;
	mode_t type = st->st_mode & S_IFMT;

	if (++p->entries > LIMIT_TREE_ENTRIES)
		return err_set(e, E2BIG, "the folder has more than %u files", LIMIT_TREE_ENTRIES);
	archive_entry_set_pathname(entry, path);
	archive_entry_set_filetype(entry, type);
	archive_entry_set_perm(entry, type == S_IFLNK ? 0777 : type == S_IFDIR || (st->st_mode & 0100) ? 0755 : 0644);
	archive_entry_set_mtime(entry, st->st_mtime, 0);
	archive_entry_set_size(entry, 0);
	if (type == S_IFLNK) {
		ssize_t n = readlinkat(p->dir, path, target, sizeof target - 1);

		if (n < 0)
			return err_errno(e, "%s cannot be read", path);
		target[n] = 0;
		archive_entry_set_symlink(entry, target);
	} else if (type == S_IFREG) {
		fd = openat(p->dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0)
			return err_errno(e, "%s cannot be read", path);
		archive_entry_set_size(entry, st->st_size);
		p->bytes += (uint64_t)st->st_size;
		if (p->bytes > LIMIT_TREE_BYTES)
			return err_set(e, EFBIG, "the folder is larger than %llu MiB", LIMIT_TREE_BYTES >> 20);
		p->ret->files++;
	}
	if (archive_write_header(p->archive, entry) < ARCHIVE_WARN)
		return bad_archive(p, e);
	snprintf(p->last, sizeof p->last, "%s", path);
	return fd >= 0 ? write_data(p, fd, path, (uint64_t)st->st_size, e) : 0;
}

/* The folders above path that the entry before was not in. */
static int write_parents(struct pack *p, const char *path, struct err *e)
{
	char part[LIMIT_PATH_BYTES + 1];
	size_t same = 0;

	while (path[same] && path[same] == p->last[same])
		same++;
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		size_t n = (size_t)(slash - path);
		struct stat st;
		int r;

		/* Written already: the last entry was that folder itself or lay below it. */
		if (n < same || (n == same && (p->last[n] == 0 || p->last[n] == '/')))
			continue;
		memcpy(part, path, n);
		part[n] = 0;
		if (fstatat(p->dir, part, &st, AT_SYMLINK_NOFOLLOW))
			return err_errno(e, "%s cannot be read", part);
		r = write_entry(p, part, &st, e);
		if (r)
			return r;
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int pack_path(struct pack *p, const char *path, unsigned depth, struct err *e);

static int pack_folder(struct pack *p, const char *path, unsigned depth, struct err *e)
{
	char child[LIMIT_PATH_BYTES + 1];
	OWN_FREE char **names = NULL;
	OWN_DIR DIR *d = NULL;
	struct dirent *entry;
	size_t n = 0, cap = 0;
	int fd, r = 0;

	if (depth > LIMIT_TREE_DEPTH)
		return err_set(e, ELOOP, "%s is deeper than %u folders", path, LIMIT_TREE_DEPTH);
	fd = openat(p->dir, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || !(d = fdopendir(fd)))
		return err_errno(e, "%s cannot be read", *path ? path : "the folder");
	while ((entry = readdir(d))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    strcmp(entry->d_name, ".git") == 0)
			continue;
		if (n == cap) {
			char **more = reallocarray(names, cap ? 2 * cap : 64, sizeof *more);

			if (!more)
				break;
			names = more;
			cap = cap ? 2 * cap : 64;
		}
		names[n] = strdup(entry->d_name);
		if (names[n])
			n++;
	}
	if (n) /* an empty folder has no array */
		qsort(names, n, sizeof *names, by_name);
	for (size_t i = 0; i < n; i++) {
		if (!r &&
		    (size_t)snprintf(child, sizeof child, "%s%s%s", path, *path ? "/" : "", names[i]) >= sizeof child)
			r = err_set(e, ENAMETOOLONG, "a path below %s is longer than %u bytes", path, LIMIT_PATH_BYTES);
		if (!r)
			r = pack_path(p, child, depth + 1, e);
		free(names[i]);
	}
	return r;
}

static int pack_path(struct pack *p, const char *path, unsigned depth, struct err *e)
{
	struct stat st;
	int r;

	if (strlen(path) > LIMIT_PATH_BYTES)
		return err_set(e, ENAMETOOLONG, "the path %.60s… is longer than %u bytes", path, LIMIT_PATH_BYTES);
	if (fstatat(p->dir, path, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0
				       : err_errno(e, "%s cannot be read", path); /* git knows it, but it was removed */
	if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode) && !S_ISDIR(st.st_mode)) {
		p->ret->skipped++;
		return 0;
	}
	r = write_parents(p, path, e);
	if (!r)
		r = write_entry(p, path, &st, e);
	if (!r && S_ISDIR(st.st_mode))
		r = pack_folder(p, path, depth, e);
	return r;
}

/* What git would hand over: names end in NUL. */
static int pack_list(struct pack *p, char *list, size_t len, struct err *e)
{
	OWN_FREE char **names = NULL;
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < len; i++)
		n += list[i] == 0;
	names = calloc(n + 1, sizeof *names);
	if (!names)
		return err_set(e, ENOMEM, "out of memory");
	n = 0;
	for (char *s = list, *next; s < list + len; s = next) {
		size_t k = strlen(s);

		next = s + k + 1;
		if (k > 0 && s[k - 1] == '/') /* a repository inside, unknown to this one: it is packed as a folder */
			s[--k] = 0;
		if (k > 0)
			names[n++] = s;
	}
	if (n) /* an empty folder has no array */
		qsort(names, n, sizeof *names, by_name);
	for (size_t i = 0; i < n && !r; i++)
		if (i == 0 || strcmp(names[i], names[i - 1]) != 0)
			r = pack_path(p, names[i], 0, e);
	return r;
}

static void own_archive_p(struct archive **a)
{
	if (*a)
		archive_write_free(*a);
}

int cli_pack(const char *dir, struct cli_packed *ret, struct err *e)
{
	const char *const ls[] = {"git", "-C", dir, "ls-files", "-z", "--cached", "--others", "--exclude-standard",
				  NULL};
	OWN_FILE FILE *file = tmpfile(); /* before the archive, whose end writes to it */
	__attribute__((cleanup(own_archive_p))) struct archive *a = archive_write_new();
	OWN_FREE char *list = NULL;
	OWN_FD int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct pack p = {.archive = a, .file = file, .dir = fd, .ret = ret};
	size_t len = 0;
	int r;

	*ret = (struct cli_packed){0};
	if (fd < 0)
		return err_errno(e, "%s cannot be read", dir);
	if (!a || !file)
		return err_set(e, ENOMEM, "there is no room for a temporary file");
	/* No zeros behind the compressed frame: a reader takes them for the next one. */
	archive_write_set_bytes_in_last_block(a, 1);
	if (archive_write_set_format_pax_restricted(a) || archive_write_add_filter_zstd(a) ||
	    archive_write_open_FILE(a, file))
		return bad_archive(&p, e);
	r = cli_pack_command(ls, LIST_MAX, &list, &len);
	if (r == -EFBIG)
		return err_set(e, E2BIG, "the folder has more than %u files", LIMIT_TREE_ENTRIES);
	r = r ? pack_folder(&p, "", 0, e) : pack_list(&p, list, len, e);
	if (r)
		return r;
	if (p.entries == 0)
		return err_set(e, ENOENT, "%s is empty: there is nothing to deploy", dir);
	if (archive_write_close(a))
		return bad_archive(&p, e);
	if (fflush(file))
		return err_errno(e, "the temporary file cannot be written");
	ret->size = (uint64_t)ftello(file);
	if (ret->size > LIMIT_SOURCE_BYTES)
		return err_set(e, EFBIG, "the packed folder is larger than %llu MiB", LIMIT_SOURCE_BYTES >> 20);
	ret->file = TAKE_PTR(file);
	return 0;
}

int cli_pack_file(const char *path, struct cli_packed *ret, struct err *e)
{
	OWN_FILE FILE *f = fopen(path, "re");
	struct stat st;

	*ret = (struct cli_packed){0};
	if (!f || fstat(fileno(f), &st))
		return err_errno(e, "%s cannot be read", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s is neither a folder nor a file", path);
	if ((uint64_t)st.st_size > LIMIT_SOURCE_BYTES)
		return err_set(e, EFBIG, "%s is larger than %llu MiB", path, LIMIT_SOURCE_BYTES >> 20);
	ret->size = (uint64_t)st.st_size;
	ret->file = TAKE_PTR(f);
	return 0;
}
