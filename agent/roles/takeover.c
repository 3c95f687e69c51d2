/* What an earlier supervisor of this node left running.  Layer agent, supervisor process. */
#include "agent/roles/takeover.h"

#include "base/fd.h"
#include "base/own.h"
#include "base/parse.h"
#include "base/proc.h"
#include "base/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TAKEOVER_MAGIC 0x746b6f31u

int takeover_note(int dir, enum role_id role, unsigned index, pid_t pid, const int32_t *fds, size_t nfds)
{
	struct takeover_record r = {.magic = TAKEOVER_MAGIC, .role = role, .index = index, .pid = pid};
	char name[16];

	r.start_time = proc_start_time(pid);
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
			    proc_start_time(r.pid) == r.start_time) {
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

void takeover_sockets(const struct takeover_process *p, void (*fn)(void *arg, int fd), void *arg)
{
	char path[32];
	struct dirent *de;

	snprintf(path, sizeof path, "/proc/%d/fd", p->record.pid);
	OWN_DIR DIR *d = opendir(path);

	while (d && (de = readdir(d))) {
		char to[16];
		uint64_t number;
		ssize_t n = readlinkat(dirfd(d), de->d_name, to, sizeof to);
		int fd;

		if (n < 7 || memcmp(to, "socket:", 7) != 0 ||
		    parse_u64(de->d_name, strlen(de->d_name), 0, INT32_MAX, "", &number, NULL) < 0)
			continue;
		fd = sys_pidfd_getfd(p->pidfd, (int)number);
		if (fd >= 0)
			fn(arg, fd);
	}
}
