/* Hostile archives, made here with libarchive and by hand. */
#include "agent/build/unpack.h"
#include "base/fd.h"
#include "base/own.h"
#include "config/limits.h"

#include <archive.h>
#include <archive_entry.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct item {
	const char *name;
	mode_t type;	  /* AE_IF* */
	const char *link; /* target of a symbolic link; of a hard link when type is 0 */
	size_t size;
	mode_t perm;
};

/* A tar of the items; a descriptor at its beginning. */
static int make_tar(const struct item *items, size_t n, int filter)
{
	int fd = memfd_create("tar", MFD_CLOEXEC);
	struct archive *a = archive_write_new();
	static const char zeros[65536];

	archive_write_set_format_pax_restricted(a);
	if (filter)
		archive_write_add_filter(a, filter);
	cr_assert_eq(archive_write_open_fd(a, fd), ARCHIVE_OK);
	for (size_t i = 0; i < n; i++) {
		struct archive_entry *e = archive_entry_new();

		archive_entry_set_pathname(e, items[i].name);
		archive_entry_set_filetype(e, items[i].type ? items[i].type : AE_IFREG);
		archive_entry_set_perm(e, items[i].perm ? items[i].perm : 0644);
		archive_entry_set_size(e, (la_int64_t)items[i].size);
		archive_entry_set_uid(e, 0);
		if (items[i].link && items[i].type)
			archive_entry_set_symlink(e, items[i].link);
		else if (items[i].link)
			archive_entry_set_hardlink(e, items[i].link);
		cr_assert_geq(archive_write_header(a, e), ARCHIVE_WARN, "%s", archive_error_string(a));
		for (size_t left = items[i].size; left;) {
			size_t k = left < sizeof zeros ? left : sizeof zeros;
			archive_write_data(a, zeros, k);
			left -= k;
		}
		archive_entry_free(e);
	}
	archive_write_close(a);
	archive_write_free(a);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static char dir[64];
static int root = -1;

static void setup(void)
{
	snprintf(dir, sizeof dir, "/tmp/unpack-test-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void teardown(void)
{
	close(root);
	cr_assert_eq(chdir("/"), 0);
	fd_remove_tree(AT_FDCWD, dir);
}

static unsigned entries(void)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static const struct unpack_limits limits = {.bytes = 1 << 20, .entries = 100};

static void refused(const struct item *items, size_t n, const struct unpack_limits *lim, const char *rule)
{
	struct unpack_result done;
	struct err e = {0};
	int fd = make_tar(items, n, 0);

	cr_assert_lt(unpack_stream(fd, root, lim, &done, &e), 0, "%s was taken", items[n - 1].name);
	cr_assert(strstr(e.text, rule), "%s: %s", rule, e.text);
	cr_assert_eq(entries(), 0, "something is left after: %s", rule);
	close(fd);
}

TestSuite(build_unpack, .init = setup, .fini = teardown);

Test(build_unpack, good_ones_in_every_packing)
{
	const struct item items[] = {
		{"./", AE_IFDIR, NULL, 0, 0755},     {"./bin/run", AE_IFREG, NULL, 10, 04777},
		{"./lib", AE_IFDIR, NULL, 0, 01777}, {"./lib/link", AE_IFLNK, "../bin/run", 0, 0},
		{"./lib/hard", 0, "bin/run", 0, 0},  {"./sp ace/\xc3\xa4", AE_IFREG, NULL, 70000, 0600},
	};
	const int filters[] = {0, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_ZSTD, ARCHIVE_FILTER_XZ, ARCHIVE_FILTER_BZIP2};
	struct stat st, hard;

	for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
		struct unpack_result done;
		struct err e = {0};
		int fd = make_tar(items, ARRAY_LEN(items), filters[i]);

		cr_assert_eq(unpack_stream(fd, root, &limits, &done, &e), 0, "%s", e.text);
		cr_assert_eq(done.entries, ARRAY_LEN(items) - 1);
		cr_assert_eq(done.bytes, 70010);
		cr_assert_eq(fstatat(root, "bin/run", &st, 0), 0);
		cr_assert_eq(st.st_mode & 07777, 0755, "setuid and group's write bit are dropped");
		cr_assert_eq(fstatat(root, "lib/hard", &hard, 0), 0);
		cr_assert_eq(hard.st_ino, st.st_ino);
		cr_assert_eq(fstatat(root, "lib", &st, 0), 0);
		cr_assert_eq(st.st_mode & 07777, 0755);
		close(fd);
		fd_remove_tree(root, "bin");
		fd_remove_tree(root, "lib");
		fd_remove_tree(root, "sp ace");
	}
}

Test(build_unpack, names)
{
	char deep[LIMIT_TREE_DEPTH * 2 + 8], longname[LIMIT_PATH_BYTES + 16];
	const struct item absolute[] = {{"ok", AE_IFREG, NULL, 1, 0}, {"/etc/evil", AE_IFREG, NULL, 1, 0}};
	const struct item dotdot[] = {{"ok", AE_IFREG, NULL, 1, 0}, {"a/../../evil", AE_IFREG, NULL, 1, 0}};

	refused(absolute, 2, &limits, "absolute");
	refused(dotdot, 2, &limits, "\"..\"");
	for (unsigned i = 0; i < LIMIT_TREE_DEPTH + 1; i++)
		memcpy(deep + i * 2, "a/", 3);
	refused((const struct item[]){{deep, AE_IFDIR, NULL, 0, 0}}, 1, &limits, "deeper");
	for (size_t i = 0; i < sizeof longname - 1; i++)
		longname[i] = i % 100 == 99 ? '/' : 'n';
	longname[sizeof longname - 1] = 0;
	refused((const struct item[]){{longname, AE_IFREG, NULL, 0, 0}}, 1, &limits, "bytes long");
}

Test(build_unpack, kinds)
{
	refused((const struct item[]){{"dev", AE_IFCHR, NULL, 0, 0}}, 1, &limits, "device");
	refused((const struct item[]){{"dev", AE_IFBLK, NULL, 0, 0}}, 1, &limits, "device");
	refused((const struct item[]){{"pipe", AE_IFIFO, NULL, 0, 0}}, 1, &limits, "FIFO");
}

Test(build_unpack, links)
{
	struct unpack_limits free_links = limits;
	struct unpack_result done;
	struct err e = {0};
	int fd;

	refused((const struct item[]){{"l", AE_IFLNK, "/etc/passwd", 0, 0}}, 1, &limits, "absolute path");
	refused((const struct item[]){{"l", AE_IFLNK, "../x", 0, 0}}, 1, &limits, "out of the tree");
	refused((const struct item[]){{"a/b/l", AE_IFLNK, "../../../x", 0, 0}}, 1, &limits, "out of the tree");
	refused((const struct item[]){{"a/l", AE_IFLNK, "x/../../../y", 0, 0}}, 1, &limits, "out of the tree");
	/* Writing through a link, even one that stays inside, is refused. */
	refused((const struct item[]){{"d", AE_IFDIR, NULL, 0, 0755},
				      {"l", AE_IFLNK, "d", 0, 0},
				      {"l/x", AE_IFREG, NULL, 1, 0}},
		3, &limits, "symlink");
	refused((const struct item[]){{"h", 0, "/etc/passwd", 0, 0}}, 1, &limits, "hard link");
	refused((const struct item[]){{"h", 0, "../../etc/passwd", 0, 0}}, 1, &limits, "hard link");
	refused((const struct item[]){{"h", 0, "later", 0, 0}, {"later", AE_IFREG, NULL, 1, 0}}, 2, &limits,
		"came before");
	refused((const struct item[]){{"l", AE_IFLNK, "x", 0, 0}, {"h", 0, "l", 0, 0}}, 2, &limits, "came before");
	free_links.flags = UNPACK_ABSOLUTE_LINKS;
	refused((const struct item[]){{"l", AE_IFLNK, "/usr/../etc/shadow", 0, 0}}, 1, &free_links, "out of the tree");
	fd = make_tar((const struct item[]){{"l", AE_IFLNK, "/usr/bin/python3", 0, 0}}, 1, 0);
	cr_assert_eq(unpack_stream(fd, root, &free_links, &done, &e), 0, "%s", e.text);
	close(fd);
}

/* The same name twice: the later one counts, and a hard link made meanwhile keeps the earlier content. */
Test(build_unpack, twice)
{
	const struct item items[] = {{"a", AE_IFREG, NULL, 10, 0},
				     {"h", 0, "a", 0, 0},
				     {"a", AE_IFREG, NULL, 20, 0},
				     {"a", AE_IFREG, NULL, 30, 0}};
	struct unpack_result done;
	struct err e = {0};
	struct stat st;
	int fd = make_tar(items, ARRAY_LEN(items), 0);

	cr_assert_eq(unpack_stream(fd, root, &limits, &done, &e), 0, "%s", e.text);
	cr_assert_eq(fstatat(root, "a", &st, 0), 0);
	cr_assert_eq(st.st_size, 30);
	cr_assert_eq(fstatat(root, "h", &st, 0), 0);
	cr_assert_eq(st.st_size, 10);
	close(fd);
}

Test(build_unpack, amounts)
{
	const struct unpack_limits few = {.bytes = 1000, .entries = 2}, big = {.bytes = 4ull << 30, .entries = 10};
	struct unpack_result done;
	struct err e = {0};
	int fd;

	refused((const struct item[]){{"a", AE_IFREG, NULL, 1, 0},
				      {"b", AE_IFREG, NULL, 1, 0},
				      {"c", AE_IFREG, NULL, 1, 0}},
		3, &few, "2 entries");
	refused((const struct item[]){{"a", AE_IFREG, NULL, 600, 0}, {"b", AE_IFREG, NULL, 600, 0}}, 2, &few,
		"holds more than");
	fd = make_tar((const struct item[]){{"bomb", AE_IFREG, NULL, 100u << 20, 0}}, 1, ARCHIVE_FILTER_GZIP);
	cr_assert_lt(unpack_stream(fd, root, &big, &done, &e), 0);
	cr_assert(strstr(e.text, "expands"), "%s", e.text);
	cr_assert_eq(entries(), 0);
	close(fd);
}

Test(build_unpack, not_an_archive)
{
	static const char *const texts[] = {"", "this is not a tar archive, whatever its name says",
					    "\x1f\x8b\x08\x00rubbish"};
	struct unpack_result done;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		int fd = memfd_create("text", MFD_CLOEXEC);
		struct err e = {0};

		fd_write_all(fd, texts[i], strlen(texts[i]));
		lseek(fd, 0, SEEK_SET);
		cr_assert_lt(unpack_stream(fd, root, &limits, &done, &e), 0);
		cr_assert_neq(e.text[0], 0);
		close(fd);
	}
}

Test(build_unpack, cut_off)
{
	const struct item items[] = {{"a", AE_IFREG, NULL, 5000, 0}, {"b", AE_IFREG, NULL, 5000, 0}};
	struct unpack_result done;
	int whole = make_tar(items, 2, ARCHIVE_FILTER_GZIP);
	struct stat st;

	fstat(whole, &st);
	for (off_t n = 1; n < st.st_size - 8; n += 7) { /* the last 8 bytes are gzip's checksum */
		int fd = memfd_create("cut", MFD_CLOEXEC);
		char buf[4096];
		struct err e = {0};

		cr_assert_eq(pread(whole, buf, (size_t)n, 0), n);
		fd_write_all(fd, buf, (size_t)n);
		lseek(fd, 0, SEEK_SET);
		cr_assert_lt(unpack_stream(fd, root, &limits, &done, &e), 0, "%ld of %ld bytes were taken", (long)n,
			     (long)st.st_size);
		cr_assert_eq(entries(), 0);
		close(fd);
	}
	close(whole);
}
