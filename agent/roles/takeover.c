/* What an earlier supervisor of this node left running.  Layer agent, supervisor process. */
#include "agent/roles/takeover.h"

#include "base/fd.h"
#include "base/own.h"
#include "base/parse.h"
#include "base/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAKEOVER_MAGIC 0x746b6f31u

uint64_t takeover_start_time(pid_t pid)
{
	OWN_FREE char *text = NULL;
	char path[32], *p;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (fd_read_file(AT_FDCWD, path, 4096, &text, NULL) < 0)
		return 0;
	p = strrchr(text, ')'); /* the name before it may hold anything */
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	return p ? strtoull(p + 1, NULL, 10) : 0;
}

int takeover_note(int dir, enum role_id role, unsigned index, pid_t pid, const int32_t *fds, size_t nfds)
{
	struct takeover_record r = {.magic = TAKEOVER_MAGIC, .role = role, .index = index, .pid = pid};
	char name[16];

	r.start_time = takeover_start_time(pid);
	r.fd_count = (uint32_t)(nfds < MSG_READY_FDS ? nfds : MSG_READY_FDS);
	for (size_t i = 0; i < r.fd_count; i++)
		r.fds[i] = fds[i];
	snprintf(name, sizeof name, "%d", (int)pid);
	return fd_replace_file(dir, name, &r, sizeof r, 0600, false);
}

void takeover_forget(int dir, pid_t pid)
{
	char name[16];

	snprintf(name, sizeof name, "%d", (int)pid);
	unlinkat(dir, name, 0);
}

unsigned takeover_find(int dir, struct takeover_process *ret)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	OWN_DIR DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *de;
	unsigned n = 0;

	if (!d) {
		own_close(&copy);
		return 0;
	}
	while ((de = readdir(d))) {
		OWN_FREE char *text = NULL;
		OWN_FD int pidfd = -1;
		struct takeover_record r;
		size_t len;

		if (de->d_name[0] == '.')
			continue;
		if (n < TAKEOVER_MAX && fd_read_file(dir, de->d_name, sizeof r, &text, &len) == 0 && len == sizeof r) {
			memcpy(&r, text, sizeof r);
			/* The descriptor first, the start time after: a pid reused in between shows as another time. */
			pidfd = r.magic == TAKEOVER_MAGIC && r.pid > 1 ? sys_pidfd_open(r.pid) : -1;
			if (pidfd >= 0 && r.role < ROLE_COUNT && r.fd_count <= MSG_READY_FDS && r.start_time != 0 &&
			    takeover_start_time(r.pid) == r.start_time) {
				ret[n].record = r;
				ret[n++].pidfd = TAKE_FD(pidfd);
				continue;
			}
		}
		unlinkat(dir, de->d_name, 0);
	}
	return n;
}

int takeover_fd(const struct takeover_process *p, unsigned i)
{
	int fd = i < p->record.fd_count ? sys_pidfd_getfd(p->pidfd, p->record.fds[i]) : -1;

	return fd < 0 ? -EBADF : fd;
}
