/* Directories whose entries are named by numbers. */
#include "base/dir.h"
#include "base/fd.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char seen[400];
static int at = -1;

static void note(void *arg, uint64_t id, const char *suffix)
{
	char name[64];

	(void)arg;
	snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "<%" PRIu64 "|%s>", id, suffix);
	snprintf(name, sizeof name, "%" PRIu64 "%s", id, suffix);
	cr_assert_eq(unlinkat(at, name, AT_REMOVEDIR), 0, "%s", name);
}

Test(base, numbers_of_a_directory)
{
	static const char *const names[] = {
		"7", "12.gone", "3.new.x", "0", "07", "-1", "+1", "x", "5x", ".9", "18446744073709551616"};
	char path[] = "/tmp/tulou-unit-XXXXXX";
	int file;

	cr_assert(mkdtemp(path));
	at = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		cr_assert_eq(mkdirat(at, names[i], 0700), 0);
	for (int again = 0; again < 2; again++) {
		cr_assert_eq(dir_each_number(at, note, NULL), 0);
		cr_assert(strstr(seen, "<7|>") && strstr(seen, "<12|.gone>") && strstr(seen, "<3|.new.x>"), "%s", seen);
		cr_assert_eq(strlen(seen), strlen("<7|><12|.gone><3|.new.x>"), "%s", seen);
	}
	file = openat(at, "file", O_CREAT | O_RDONLY | O_CLOEXEC, 0600);
	cr_assert_eq(dir_each_number(file, note, NULL), -ENOTDIR);
	close(file);
	close(at);
	fd_remove_tree(AT_FDCWD, path);
}
