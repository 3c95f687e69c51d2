/* The launch order, read and checked.  Layer agent/sandbox, the builder.
 * The supervisor is trusted, but checks cost nothing beside a clone, and a wrong number here would be a hole. */
#include "agent/sandbox/sandbox.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static int name_ok(const char *s, size_t cap)
{
	size_t n = strnlen(s, cap);

	if (n == 0 || n == cap)
		return 0;
	for (size_t i = 0; i < n; i++) {
		char c = s[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
		      c == '.' || c == '_'))
			return 0;
	}
	return 1;
}

int spec_check(const struct launch *l, const char **field)
{
#define CHECK(ok, name)                                                                                                \
	do {                                                                                                           \
		if (!(ok)) {                                                                                           \
			*field = name;                                                                                 \
			return -EINVAL;                                                                                \
		}                                                                                                      \
	} while (0)
	CHECK(l->kind < MSG_KIND_COUNT, "kind");
	CHECK(l->uid_base >= LIMIT_UID_RANGE && l->uid_base % LIMIT_UID_RANGE == 0 && l->uid_base < 0xffff0000u,
	      "uid_base");
	CHECK(l->disk >= LIMIT_DISK_MIN && l->disk <= LIMIT_DISK_MAX, "disk");
	CHECK(l->shm <= LIMIT_DISK_MAX, "shm");
	CHECK(l->inodes >= LIMIT_SANDBOX_INODES_MIN, "inodes");
	CHECK(l->nofile >= LIMIT_SANDBOX_NOFILE_MIN, "nofile");
	CHECK(l->cgroup_count <= LAUNCH_CGROUPS_MAX, "cgroup_count");
	CHECK(!l->cgroup_v2 || l->cgroup_count == 1, "cgroup_v2");
	CHECK(l->stdio_count <= LIMIT_SANDBOX_STDIO, "stdio_count");
	CHECK(l->layer <= 1, "layer");
	CHECK(!l->layer || (l->kind != MSG_KIND_GIT && l->kind != MSG_KIND_STORE), "layer");
	CHECK(l->socket <= (l->kind == MSG_KIND_APP), "socket");
	CHECK(l->segments <= 1, "segments");
	CHECK(l->network <= 1, "network");
	CHECK(!l->network || l->address != 0, "address");
	CHECK(!l->network || (name_ok(l->link, sizeof l->link)), "link");
	CHECK(!l->network || (l->net_packets >= LIMIT_NET_PACKETS_MIN && l->net_packets <= LIMIT_NET_PACKETS_MAX),
	      "net_packets");
	CHECK(name_ok(l->hostname, sizeof l->hostname), "hostname");
	CHECK(memchr(l->node, 0, sizeof l->node), "node");
	CHECK(l->profile < QUOTA_PROFILE_COUNT, "profile");
	CHECK(l->profile == QUOTA_PROFILE_DEFAULT || l->kind == MSG_KIND_APP || l->kind == MSG_KIND_RUN, "profile");
#undef CHECK
	return 0;
}

int spec_read(struct sandbox *s)
{
	ssize_t n = pread(LAUNCH_FD_SPEC, &s->spec, sizeof s->spec, 0);

	if (n < 0)
		return -errno;
	if (n != sizeof s->spec) {
		s->what = "its size is wrong: supervisor and tulou-sandbox are of different versions";
		return -EPROTO;
	}
	return spec_check(&s->spec, &s->what);
}
