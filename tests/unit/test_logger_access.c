/* The access logs of apps: which lines get there, whole, rotated, and where none may be made. */
#include "agent/roles/logger_private.h"

#include "base/fd.h"
#include "base/own.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[48];
static struct logger lg;
static struct logger_stream st;

static void begin(void)
{
	memcpy(dir, "/tmp/tulou-logger-access-XXXXXX", sizeof "/tmp/tulou-logger-access-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	lg = (struct logger){.dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
			     .access = map_new(),
			     .limits = {.file_bytes = 1000}};
	TAILQ_INIT(&lg.accesses);
	st = (struct logger_stream){.logger = &lg, .fd = -1};
}

static void end(void)
{
	struct logger_file *f;

	while ((f = TAILQ_FIRST(&lg.accesses)))
		logger_access_drop(&lg, f->app);
	cr_assert_eq(lg.access_count, 0u);
	map_free(lg.access);
	close(lg.dir);
	free(st.part);
	cr_assert_eq(fd_remove_tree(AT_FDCWD, dir), 0);
}

static void folder(unsigned app)
{
	char path[100];

	snprintf(path, sizeof path, "%s/%u", dir, app);
	cr_assert_eq(mkdir(path, 0750), 0);
}

static void feed(const char *text)
{
	OWN_FREE char *copy = strdup(text);

	logger_access_feed(&st, copy, strlen(text));
}

/* What the app's log has; "" without one.  Static. */
static const char *log_of(unsigned app, const char *name)
{
	static char text[8192];
	char path[100];
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "%s/%u/access/%s", dir, app, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = 0;
	return text;
}

Test(logger, access_lines_reach_their_app, .init = begin, .fini = end)
{
	folder(7);
	folder(8);
	feed("{\"to\":7,\"time\":\"a\"}\n{\"time\":\"of "
	     "nobody\"}\n{\"to\":8,\"time\":\"b\"}\n{\"to\":7,\"time\":\"c\"}\n");
	cr_assert_str_eq(log_of(7, "current"), "{\"time\":\"a\"}\n{\"time\":\"c\"}\n");
	cr_assert_str_eq(log_of(8, "current"), "{\"time\":\"b\"}\n");
}

Test(logger, access_lines_that_reads_cut, .init = begin, .fini = end)
{
	const char *line = "{\"to\":7,\"path\":\"/whole\"}\n";

	folder(7);
	for (size_t at = 0; at <= strlen(line); at++) { /* cut anywhere, with a line before and one behind */
		char first[100], second[100];

		snprintf(first, sizeof first, "{\"to\":7,\"n\":1}\n%.*s", (int)at, line);
		snprintf(second, sizeof second, "%s{\"to\":7,\"n\":2}\n", line + at);
		feed(first);
		feed(second);
		cr_assert_str_eq(log_of(7, "current"), "{\"n\":1}\n{\"path\":\"/whole\"}\n{\"n\":2}\n", "cut at %zu",
				 at);
		logger_access_drop(&lg, 7);
		cr_assert_eq(unlinkat(lg.dir, "7/access/current", 0), 0);
	}
	for (const char *p = line; *p; p++) /* byte by byte */
		feed((char[]){*p, 0});
	cr_assert_str_eq(log_of(7, "current"), "{\"path\":\"/whole\"}\n");
}

Test(logger, access_lines_that_are_none, .init = begin, .fini = end)
{
	static const char *const bad[] = {"{\"to\":7}\n",
					  "{\"to\":,\"x\":1}\n",
					  "{\"to\":-7,\"x\":1}\n",
					  "{\"to\":0,\"x\":1}\n",
					  "{\"to\":7x,\"x\":1}\n",
					  "{\"to\":99999999999999999999999,\"x\":1}\n",
					  "{\"to\":../7,\"x\":1}\n",
					  " {\"to\":7,\"x\":1}\n",
					  "{\"to\":7\n",
					  "\n",
					  "{\"to\":\n"};
	struct stat s;

	folder(7);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		feed(bad[i]);
	cr_assert_str_eq(log_of(7, "current"), "");
	/* A number alone makes no folder. */
	feed("{\"to\":9,\"x\":1}\n");
	cr_assert_lt(fstatat(lg.dir, "9", &s, 0), 0);
	cr_assert_eq(lg.access_count, 0u);
}

Test(logger, access_folder_is_no_link, .init = begin, .fini = end)
{
	char path[100], outside[60];
	struct stat s;

	snprintf(outside, sizeof outside, "%s/outside", dir);
	cr_assert_eq(mkdir(outside, 0700), 0);
	snprintf(path, sizeof path, "%s/5", dir);
	cr_assert_eq(symlink(outside, path), 0);
	folder(6);
	snprintf(path, sizeof path, "%s/6/access", dir);
	cr_assert_eq(symlink(outside, path), 0);
	feed("{\"to\":5,\"x\":1}\n{\"to\":6,\"x\":1}\n");
	snprintf(path, sizeof path, "%s/access", outside);
	cr_assert_lt(lstat(path, &s), 0);
	snprintf(path, sizeof path, "%s/current", outside);
	cr_assert_lt(lstat(path, &s), 0);
}

Test(logger, access_log_is_rotated, .init = begin, .fini = end)
{
	char line[120];

	folder(7);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(line, sizeof line, "{\"to\":7,\"n\":%u,\"fill\":\"%060u\"}\n", i, i);
		feed(line);
	}
	cr_assert_leq(strlen(log_of(7, "current")), 1000u);
	cr_assert(strstr(log_of(7, "current"), "\"n\":39"), "%s", log_of(7, "current"));
	cr_assert_leq(strlen(log_of(7, "previous")), 1000u);
	cr_assert_gt(strlen(log_of(7, "previous")), 800u);
}

/* More apps than may be open at a time: all lines arrive, and few descriptors are held. */
Test(logger, access_logs_of_many_apps, .init = begin, .fini = end)
{
	char line[100];

	for (unsigned app = 1; app <= 150; app++)
		folder(app);
	for (unsigned round = 0; round < 2; round++)
		for (unsigned app = 1; app <= 150; app++) {
			snprintf(line, sizeof line, "{\"to\":%u,\"r\":%u}\n", app, round);
			feed(line);
			cr_assert_leq(lg.access_count, 64u);
		}
	for (unsigned app = 1; app <= 150; app++)
		cr_assert_str_eq(log_of(app, "current"), "{\"r\":0}\n{\"r\":1}\n", "app %u", app);
}

Test(logger, access_line_without_end, .init = begin, .fini = end)
{
	static char big[LIMIT_LOG_LINE * 2];

	folder(7);
	memset(big, 'x', sizeof big - 1);
	memcpy(big, "{\"to\":7,", 8);
	feed(big);
	feed("y\n{\"to\":7,\"after\":1}\n");
	cr_assert_str_eq(log_of(7, "current"), "{\"after\":1}\n");
}
