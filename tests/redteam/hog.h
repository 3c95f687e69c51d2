/* Takes all it can of what the kernel counts per user, so that a neighbour can be asked whether it still gets its own.
 */
#ifndef TESTS_REDTEAM_HOG_H
#define TESTS_REDTEAM_HOG_H

/* Holds from now on: inotify instances and watches, POSIX queues, pending signals, locked shared memory, pipe pages.  A
 * line of what it got; static. */
const char *hog_take(void);

#endif
