/* What tulou-sandbox reads: the launch order and the blob, good and hostile. */
#include "agent/sandbox/sandbox.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct launch order(void)
{
	struct launch l = {.kind = MSG_KIND_APP,
			   .uid_base = LIMIT_UID_BASE,
			   .disk = LIMIT_DISK_MIN,
			   .inodes = 1000,
			   .nofile = 100,
			   .port = 5000,
			   .hostname = "shop",
			   .node = "node-1"};
	return l;
}

static const char *refused_field(const struct launch *l)
{
	const char *field = NULL;

	return spec_check(l, &field) == -EINVAL ? field : NULL;
}

Test(sandbox, order_is_checked)
{
	const char *field = NULL;
	struct launch l = order();

	cr_assert_eq(spec_check(&l, &field), 0);
#define REFUSED(member, value, name)                                                                                   \
	do {                                                                                                           \
		l = order();                                                                                           \
		l.member = (value);                                                                                    \
		cr_assert_str_eq(refused_field(&l), name);                                                             \
	} while (0)
	REFUSED(kind, MSG_KIND_COUNT, "kind");
	REFUSED(uid_base, 0, "uid_base"); /* the host's own users */
	REFUSED(uid_base, LIMIT_UID_BASE + 1, "uid_base");
	REFUSED(uid_base, 0xffff0000u, "uid_base"); /* would hold (uid_t)-1 */
	REFUSED(disk, LIMIT_DISK_MIN - 1, "disk");
	REFUSED(disk, LIMIT_DISK_MAX + 1, "disk");
	REFUSED(shm, LIMIT_DISK_MAX + 1, "shm");
	REFUSED(inodes, LIMIT_SANDBOX_INODES_MIN - 1, "inodes");
	REFUSED(nofile, LIMIT_SANDBOX_NOFILE_MIN - 1, "nofile");
	REFUSED(cgroup_count, LAUNCH_CGROUPS_MAX + 1, "cgroup_count");
	REFUSED(cgroup_v2, 1, "cgroup_v2"); /* without the one directory */
	REFUSED(stdio_count, LIMIT_SANDBOX_STDIO + 1, "stdio_count");
	REFUSED(socket, 2, "socket");
	REFUSED(network, 2, "network");
	REFUSED(network, 1, "address"); /* none given */

	l = order();
	memset(l.hostname, 'a', sizeof l.hostname); /* no end */
	cr_assert_str_eq(refused_field(&l), "hostname");
	l = order();
	memcpy(l.hostname, "a\nb", 4);
	cr_assert_str_eq(refused_field(&l), "hostname");
	l = order();
	memset(l.node, 'a', sizeof l.node);
	cr_assert_str_eq(refused_field(&l), "node");
	l = order();
	l.network = 1;
	l.address = 1;
	memcpy(l.link, "../x", 5);
	cr_assert_str_eq(refused_field(&l), "link");
	memcpy(l.link, "tlp1", 5);
	cr_assert_str_eq(refused_field(&l), "net_packets"); /* none given */
}

/* A blob in memory with room behind it, as program_read() makes it. */
struct blob {
	char *p;
	size_t n, room;
	char **argv, **envp;
};

static int parse(struct blob *b, uint32_t argc, uint32_t envc, const void *strings, size_t n)
{
	struct launch l = order();

	l.memory = 1 << 20;
	b->n = 8 + n;
	b->room = b->n + 4096 + 64 * 1024 * 2;
	b->p = calloc(1, b->room);
	memcpy(b->p, &argc, 4);
	memcpy(b->p + 4, &envc, 4);
	memcpy(b->p + 8, strings, n);
	int r = program_parse(b->p, b->n, b->room, &l, &b->argv, &b->envp);
	if (r < 0)
		free(b->p);
	return r;
}

static const char *get(char **envp, const char *name)
{
	for (; *envp; envp++)
		if (strncmp(*envp, name, strlen(name)) == 0 && (*envp)[strlen(name)] == '=')
			return *envp + strlen(name) + 1;
	return NULL;
}

Test(sandbox, blob_gives_arguments_and_environment)
{
	struct blob b;

	cr_assert_eq(parse(&b, 3, 2, "/bin/sh\0-c\0\0HOME=/x\0A==b", 25), 0);
	cr_assert_str_eq(b.argv[0], "/bin/sh");
	cr_assert_str_eq(b.argv[1], "-c");
	cr_assert_str_eq(b.argv[2], "");
	cr_assert_null(b.argv[3]);
	cr_assert_str_eq(get(b.envp, "HOME"), "/x"); /* its owner's word counts */
	cr_assert_str_eq(get(b.envp, "A"), "=b");
	cr_assert_str_eq(get(b.envp, "PORT"), "5000");
	cr_assert_str_eq(get(b.envp, "HOSTNAME"), "shop");
	cr_assert_str_eq(get(b.envp, "TULOU_NODE"), "node-1");
	cr_assert_str_eq(get(b.envp, "TULOU_MEMORY"), "1048576");
	cr_assert_str_eq(get(b.envp, "JAVA_TOOL_OPTIONS"), "-XX:MaxRAM=1048576");
	cr_assert_str_eq(get(b.envp, "GOMEMLIMIT"), "943713");
	cr_assert_null(get(b.envp, "NODE_OPTIONS"), "0 MiB would mean no limit");
	cr_assert_str_eq(get(b.envp, "TMPDIR"), "/tmp");
	cr_assert_not_null(get(b.envp, "PATH"));
	free(b.p);
	cr_assert_eq(parse(&b, 1, 0, "@unpack", 8), 0);
	free(b.p);
}

Test(sandbox, hostile_blobs_are_refused)
{
	struct blob b;

	cr_assert_eq(parse(&b, 0, 0, "", 0), -EINVAL, "no program");
	cr_assert_eq(parse(&b, 1, 0, "/x", 2), -EINVAL, "not terminated");
	cr_assert_eq(parse(&b, 2, 0, "/x", 3), -EINVAL, "fewer strings than said");
	cr_assert_eq(parse(&b, 1, 0, "/x\0y", 5), -EINVAL, "more strings than said");
	cr_assert_eq(parse(&b, 0xffffffffu, 0xffffffffu, "/x", 3), -EINVAL, "counts that wrap");
	cr_assert_eq(parse(&b, LIMIT_SANDBOX_ARGS + 1, 0, "/x", 3), -EINVAL, "too many");
	cr_assert_eq(parse(&b, 1, 1, "/x\0A", 5), -EINVAL, "a variable without a value");
	cr_assert_eq(parse(&b, 1, 1, "/x\0=A", 6), -EINVAL, "a variable without a name");
	cr_assert_eq(parse(&b, 1, 0, "x", 2), -EINVAL, "a relative program");
	cr_assert_eq(parse(&b, 1, 0, "@other", 7), -EINVAL, "an unknown one of ours");
	cr_assert_eq(parse(&b, 1, 0, "", 1), -EINVAL, "an empty program");

	struct launch l = order();
	char small[8 + 3 + 64] = {1, 0, 0, 0, 0, 0, 0, 0, '/', 'x', 0};
	char **a, **e;
	cr_assert_eq(program_parse(small, 11, sizeof small, &l, &a, &e), -ENOSPC, "no room for the pointers");
	cr_assert_eq(program_parse(small, 7, sizeof small, &l, &a, &e), -EINVAL, "no counts");
	cr_assert_eq(program_parse(small, LIMIT_BLOB + 1, sizeof small, &l, &a, &e), -EINVAL, "too large");
}

Test(sandbox, text_is_cut_never_overrun)
{
	char out[8] = "";
	size_t at = 0;

	text_add(out, sizeof out, &at, "abc");
	text_add_u64(out, sizeof out, &at, 0);
	text_add_u64(out, sizeof out, &at, 18446744073709551615u);
	cr_assert_str_eq(out, "abc0184");
	text_add(out, sizeof out, &at, "more");
	cr_assert_str_eq(out, "abc0184");
}

Test(sandbox, every_step_has_a_side_and_a_name)
{
	enum sandbox_side side;
	unsigned n = 0, count[SANDBOX_SIDE_COUNT] = {0};

	for (const char *name; (name = sandbox_step_name(n, &side)); n++) {
		cr_assert_lt(side, SANDBOX_SIDE_COUNT);
		count[side]++;
		cr_assert_leq(strlen(name), 60, "%s leaves no room in a report", name);
	}
	for (int i = 0; i < SANDBOX_SIDE_COUNT; i++)
		cr_assert_gt(count[i], 3);
}
