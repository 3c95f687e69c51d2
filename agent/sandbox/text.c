/* Text without stdio.  Layer agent/sandbox. */
#include "agent/sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void text_add(char *out, size_t cap, size_t *at, const char *s)
{
	size_t n = strnlen(s, cap);

	if (*at + n >= cap)
		n = cap - 1 - *at;
	memcpy(out + *at, s, n);
	*at += n;
	out[*at] = 0;
}

void text_add_u64(char *out, size_t cap, size_t *at, uint64_t v)
{
	char digits[21];
	char *p = digits + sizeof digits - 1;

	*p = 0;
	do {
		*--p = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	text_add(out, cap, at, p);
}

int text_write(int dir, const char *path, int flags, mode_t mode, const char *text)
{
	int fd = openat(dir, path, flags | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	size_t n = strlen(text);
	ssize_t w = write(fd, text, n);
	int r = w < 0 ? -errno : (size_t)w == n ? 0 : -EIO;
	close(fd);
	return r;
}
