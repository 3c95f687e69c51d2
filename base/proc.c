/* What proc_pid_stat(5) says of a process.  Layer base. */
#include "base/proc.h"

#include "base/fd.h"
#include "base/own.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLAG_EXITING 0x4 /* PF_EXITING, include/linux/sched.h: set before do_exit() gives anything up */

/* Field n of proc_pid_stat(5), 3 and up, in text, which is kept in *hold; NULL when there is no such process. */
static const char *stat_field(pid_t pid, int n, char **hold)
{
	char path[32], *p;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (pid <= 0 || fd_read_file(AT_FDCWD, path, 4096, hold, NULL) < 0)
		return NULL;
	p = strrchr(*hold, ')'); /* the command's name may hold anything, so count from its end: field 3 follows */
	for (int field = 2; p && field < n; field++)
		p = strchr(p + 1, ' ');
	return p ? p + 1 : NULL;
}

uint64_t proc_start_time(pid_t pid)
{
	OWN_FREE char *text = NULL;
	const char *p = stat_field(pid, 22, &text);

	return p ? strtoull(p, NULL, 10) : 0;
}

bool proc_exiting(pid_t pid)
{
	OWN_FREE char *text = NULL;
	const char *p = stat_field(pid, 9, &text);

	return !p || (strtoull(p, NULL, 10) & FLAG_EXITING);
}
