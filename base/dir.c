/* Directories whose entries are named by numbers.  Layer base. */
#include "base/dir.h"

#include "base/own.h"
#include "base/parse.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

int dir_each_number(int dir, void (*fn)(void *arg, uint64_t id, const char *suffix), void *arg)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* a position of its own */
	OWN_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!d) {
		int r = -errno;
		own_close(&fd);
		return r;
	}
	while ((de = readdir(d))) {
		size_t n = strcspn(de->d_name, ".");
		uint64_t id;
		if (parse_u64(de->d_name, n, 1, UINT64_MAX, "", &id, NULL) == 0)
			fn(arg, id, de->d_name + n);
	}
	return 0;
}
