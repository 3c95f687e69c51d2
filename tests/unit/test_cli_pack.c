/* Packing a folder for a deploy. */
#include "base/fd.h"
#include "base/own.h"
#include "web/cli/pack.h"

#include <archive.h>
#include <archive_entry.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static char dir[64];

static void setup(void)
{
	snprintf(dir, sizeof dir, "/tmp/tulou-pack-XXXXXX");
	cr_assert(mkdtemp(dir));
}

static void teardown(void)
{
	fd_remove_tree(AT_FDCWD, dir);
}

static void file(const char *path, const char *text)
{
	char full[512];
	OWN_FILE FILE *f = NULL;

	snprintf(full, sizeof full, "%s/%s", dir, path);
	for (char *p = full + strlen(dir) + 1; (p = strchr(p, '/')); p++) {
		*p = 0;
		mkdir(full, 0755);
		*p = '/';
	}
	f = fopen(full, "we");
	cr_assert(f);
	fputs(text, f);
}

static void git(const char *const *argv)
{
	OWN_FREE char *out = NULL;
	size_t n = 0;

	cr_assert_eq(cli_pack_command(argv, 65536, &out, &n), 0);
}

/* Names in the archive, in order, joined by blanks. */
static void names(FILE *f, char *out, size_t cap)
{
	struct archive *a = archive_read_new();
	struct archive_entry *entry;

	rewind(f);
	out[0] = 0;
	archive_read_support_format_tar(a);
	archive_read_support_filter_zstd(a);
	cr_assert_eq(archive_read_open_FILE(a, f), ARCHIVE_OK, "%s", archive_error_string(a));
	while (archive_read_next_header(a, &entry) == ARCHIVE_OK) {
		cr_assert_eq(archive_entry_uid(entry), 0);
		snprintf(out + strlen(out), cap - strlen(out), "%s%s", *out ? " " : "", archive_entry_pathname(entry));
	}
	archive_read_free(a);
}

Test(cli, packs_a_plain_folder, .init = setup, .fini = teardown)
{
	struct cli_packed p;
	struct err e = {0};
	char got[512], link[128];

	file("b/c/deep.txt", "x");
	file("b-side.txt", "x");
	file(".git/config", "x");
	file("index.html", "<h1>hi</h1>");
	snprintf(link, sizeof link, "%s/link", dir);
	cr_assert_eq(symlink("index.html", link), 0);
	snprintf(link, sizeof link, "%s/pipe", dir);
	cr_assert_eq(mkfifo(link, 0600), 0);
	cr_assert_eq(cli_pack(dir, &p, &e), 0, "%s", e.text);
	names(p.file, got, sizeof got);
	cr_assert_str_eq(got, "b/ b/c/ b/c/deep.txt b-side.txt index.html link");
	cr_assert_eq(p.files, 3);
	cr_assert_eq(p.skipped, 1);
	fclose(p.file);
}

Test(cli, packs_what_git_would, .init = setup, .fini = teardown)
{
	const char *const init[] = {"git", "-C", dir, "init", "-q", NULL};
	const char *const add[] = {"git", "-C", dir, "add", "app.js", "gone.js", NULL};
	struct cli_packed p;
	struct err e = {0};
	char got[512], path[128];

	git(init);
	file(".gitignore", "node_modules/\n*.log\n");
	file("app.js", "1");
	file("gone.js", "1");
	file("node_modules/x/index.js", "1");
	file("src/new.js", "1");
	file("src-map/a.js", "1");
	file("debug.log", "1");
	git(add);
	snprintf(path, sizeof path, "%s/gone.js", dir);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(cli_pack(dir, &p, &e), 0, "%s", e.text);
	names(p.file, got, sizeof got);
	cr_assert_str_eq(got, ".gitignore app.js src-map/ src-map/a.js src/ src/new.js");
	fclose(p.file);
}

Test(cli, an_empty_folder_is_refused, .init = setup, .fini = teardown)
{
	struct cli_packed p;
	struct err e = {0};

	cr_assert_eq(cli_pack(dir, &p, &e), -ENOENT);
	cr_assert(strstr(e.text, "nothing to deploy"));
	cr_assert_eq(cli_pack_file("/dev/null", &p, &e), -EINVAL);
	cr_assert_eq(cli_pack("/nonexistent", &p, &e), -ENOENT);
}
