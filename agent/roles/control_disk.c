/* A full disk must not take the API away.  Layer agent, control process.
 *
 * Control cannot commit on a full disk, ends, and is started again a second later: without room for the database's log
 * that would go on for as long as the disk is full, and nobody could remove anything through the API.  So control keeps
 * a file of LIMIT_BALLAST bytes in its directory, gives it up when it starts on a full disk, and makes it again when
 * there is room for it. */
#include "agent/roles/control_core.h"
#include "base/log.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DISK_FULL (2ull << 20) /* bytes: with less left a commit may fail */

static uint64_t disk_left(const char *dir)
{
	struct statvfs v;

	return statvfs(dir, &v) < 0 ? UINT64_MAX : (uint64_t)v.f_bavail * v.f_frsize;
}

static void disk_path(const char *dir, char path[256])
{
	snprintf(path, 256, "%s/ballast", dir);
}

void control_disk_start(const char *dir)
{
	char path[256];

	disk_path(dir, path);
	if (disk_left(dir) >= DISK_FULL)
		return;
	if (unlink(path) == 0)
		LOG_WARN("the disk is full, giving up the ballast", "dir=%s bytes=%llu", dir, LIMIT_BALLAST);
	else
		LOG_ERROR("the disk is full", "dir=%s", dir);
}

void control_disk_tick(const char *dir)
{
	char path[256];
	OWN_FD int fd = -1;
	struct stat st;

	disk_path(dir, path);
	/* Not at the first chance: what just became free is needed by who freed it. */
	if (stat(path, &st) == 0 || disk_left(dir) < 4 * LIMIT_BALLAST)
		return;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && posix_fallocate(fd, 0, LIMIT_BALLAST) != 0)
		unlink(path);
}
