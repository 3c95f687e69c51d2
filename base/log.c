/* The log.  Layer base, any process. */
#include "base/log.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *log_role = "tulou";
static enum log_level log_lowest = LOG_LEVEL_INFO;

void log_init(const char *role, enum log_level lowest)
{
	log_role = role;
	log_lowest = lowest;
}

void log_write(enum log_level level, const char *event, const char *fmt, ...)
{
	static const char *const names[LOG_LEVEL_COUNT] = {"debug", "info", "warn", "error"};
	char raw[1536], line[2048];
	struct timespec ts;
	struct tm tm;
	va_list ap;
	size_t n;
	int saved = errno;

	if (level < log_lowest)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ %s %s[%d] %s: ", ts.tv_nsec / 1000000, names[level],
			      log_role, (int)getpid(), event);
	va_start(ap, fmt);
	vsnprintf(raw, sizeof raw, fmt, ap);
	va_end(ap);
	n += utf8_escape(line + n, sizeof line - n - 1, raw, strlen(raw));
	line[n++] = '\n';
	while (write(STDERR_FILENO, line, n) < 0 && errno == EINTR)
		;
	errno = saved;
}
