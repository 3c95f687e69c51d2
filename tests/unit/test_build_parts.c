/* The small parts of a build: blob, manifest, log. */
#include "agent/build/blob.h"
#include "agent/build/build.h"
#include "agent/build/log.h"
#include "agent/build/manifest.h"
#include "base/fd.h"
#include "base/own.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

Test(build, blob_format)
{
	static const char want[] = "/bin/bash\0-c\0run\0A=1\0B=x\0";
	OWN_BLOB struct blob b = {0};
	OWN_FREE char *text = NULL;
	uint32_t head[2];
	size_t len;
	int fd;

	blob_init(&b);
	blob_command(&b, "run", false);
	blob_config(&b, "", "{\"A\":\"1\",\"bad-name\":\"x\",\"0X\":\"y\",\"N\":5}");
	blob_envf(&b, "B", "%c", 'x');
	fd = blob_seal(&b, NULL);
	cr_assert_geq(fd, 0);
	cr_assert_eq(fd_read_all(fd, 1 << 20, &text, &len), 0);
	memcpy(head, text, sizeof head);
	cr_assert_eq(head[0], 3);
	cr_assert_eq(head[1], 2);
	cr_assert_eq(len, sizeof head + sizeof want - 1);
	cr_assert_arr_eq(text + sizeof head, want, sizeof want - 1);
	cr_assert_lt(write(fd, "x", 1), 0, "sealed");
	close(fd);
}

Test(build, blob_limit)
{
	OWN_BLOB struct blob b = {0};
	struct err e = {0};
	char *big = malloc(LIMIT_BLOB);

	memset(big, 'x', LIMIT_BLOB - 1);
	big[LIMIT_BLOB - 1] = 0;
	blob_init(&b);
	blob_arg(&b, "/bin/true");
	blob_env(&b, "A", big);
	cr_assert_eq(blob_seal(&b, &e), -E2BIG);
	cr_assert(strstr(e.text, "192 KiB"), "%s", e.text);
	free(big);
}

Test(build, manifest_good)
{
	static const char text[] = "app.json 28\n{\"env\":{\"A\":\"b\"},\"name\":\"x\"}Procfile 32\nweb: run "
				   "it\nrelease: migrate db\nmeta 25\nbuildpack=node\nprofile=1\n";
	OWN_MANIFEST struct manifest m;
	OWN_FREE char *types = NULL, *app = NULL;
	struct err e = {0};

	manifest_init(&m);
	cr_assert_eq(manifest_parse(text, sizeof text - 1, &m, &e), 0, "%s", e.text);
	cr_assert_str_eq(m.buildpack, "node");
	cr_assert(m.profile);
	types = manifest_types_json(&m);
	cr_assert_str_eq(types, "{\"web\":\"run it\"}");
	app = manifest_app_json(&m);
	cr_assert(strstr(app, "\"release\":\"migrate db\"") && strstr(app, "\"env\":{\"A\":\"b\"}") &&
			  strstr(app, "\"profile\":true"),
		  "%s", app);
}

Test(build, manifest_hostile)
{
	static const char *const texts[] = {
		"Procfile",
		"Procfile 5",
		"Procfile -1\nx",
		"Procfile 99999999999999999999\nx",
		"Procfile 10\nshort",
		"/etc/passwd 1\nx",
		"Procfile 0\nProcfile 0\n",
		"Procfile 9\nno colon\n",
		"app.json 3\n{]}",
		"tulou.yaml 8\nevil: 1\n",
		"\nProcfile 1\nx",
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		OWN_MANIFEST struct manifest m;
		struct err e = {0};

		manifest_init(&m);
		cr_assert_lt(manifest_parse(texts[i], strlen(texts[i]), &m, &e), 0, "taken: %s", texts[i]);
		cr_assert_neq(e.text[0], 0);
	}
}

Test(build, log_keeps_both_ends)
{
	char dir[] = "/tmp/build-log-XXXXXX", path[64], line[64];
	OWN_FREE char *text = NULL;
	struct build_log l;
	size_t len;

	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(build_log_open(&l, dir, 7, NULL), 0);
	for (int i = 0; i < 200000; i++) {
		int n = snprintf(line, sizeof line, "line %07d of a log without end\n", i);
		build_log_write(&l, line, (size_t)n);
	}
	build_log_write(&l, " !     the end\n\n !\n", 19);
	cr_assert_str_eq(l.last, " !     the end");
	build_log_close(&l);
	snprintf(path, sizeof path, "%s/builds/7.log", dir);
	cr_assert_eq(fd_read_file(AT_FDCWD, path, 1 << 24, &text, &len), 0);
	cr_assert_leq(len, LIMIT_BUILD_LOG + 100);
	cr_assert_eq(memcmp(text, "line 0000000", 12), 0);
	cr_assert(strstr(text, "bytes of the log left out here"));
	cr_assert(strstr(text + len - 100, "line 0199999"));
	cr_assert(strstr(text + len - 30, " !     the end"));
	fd_remove_tree(AT_FDCWD, dir);
}

Test(build, exit_texts)
{
	struct msg_instance m = {.exit = MSG_EXIT_OOM, .memory_limit = 1ull << 30};
	char text[200];

	build_exit_text(&m, text, sizeof text);
	cr_assert_str_eq(text, "ran out of memory (limit 1024 MiB)");
	m.oom = MSG_OOM_TENANT;
	m.memory_total = 512 << 20;
	build_exit_text(&m, text, sizeof text);
	cr_assert_str_eq(text, "was killed: the tenant's memory total of 512 MiB was reached");
	m = (struct msg_instance){.exit = MSG_EXIT_SIGNAL, .exit_code = 139};
	build_exit_text(&m, text, sizeof text);
	cr_assert_str_eq(text, "was ended by SIGSEGV");
	m = (struct msg_instance){.exit = MSG_EXIT_CODE};
	build_exit_text(&m, text, sizeof text);
	cr_assert_str_eq(text, "");
}
