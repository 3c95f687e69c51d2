/* What proc_pid_stat(5) says of a process.  Layer base. */
#ifndef TULOU_BASE_PROC_H
#define TULOU_BASE_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Clock ticks since boot at which pid began (field 22), 0 when there is no such process: tells a pid that is used
 * again.  To be asked after pidfd_open(2), so that what it says belongs to that descriptor. */
uint64_t proc_start_time(pid_t pid);
/* Whether a process is gone or in the middle of it: from then on the kernel takes its namespaces, its groups and its
 * memory away one by one, so what is missing of it says nothing.  Asked after what it is to excuse was looked at. */
bool proc_exiting(pid_t pid);

#endif
