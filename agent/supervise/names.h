/* The names of a node on its host: held for as long as its supervisor lives, so that a second node with one of them is
 * refused before it touches the first one's instances.  Layer agent, supervisor process.
 *
 *   setting               what is held                              where it counts
 *   node.runtime          flock(2) of <runtime>/lock                the folder itself, whatever its path
 *   node.data             flock(2) of the folder                    likewise
 *   node.cgroup           flock(2) of the group's directory         the cgroup mount
 *   node.cgroup           abstract socket: the nftables table       the network namespace (unix(7))
 *   network.pool          abstract socket; one that overlaps too    the network namespace
 *   network.link_prefix   abstract socket; the beginning of another the network namespace
 *
 * Anybody may bind an abstract name: what is not root's, by sock_diag(7) (names_diag.h), is warned of and no node's; a
 * node takes a second name beside its own then, for others to see.
 * The kernel gives all of them back when the process ends, however it ends.  Our children have none of them: each
 * closes what it did not open, or is executed, and every descriptor is CLOEXEC. */
#ifndef TULOU_AGENT_SUPERVISE_NAMES_H
#define TULOU_AGENT_SUPERVISE_NAMES_H

#include "base/err.h"
#include "base/loop.h"
#include "config/settings.h"

#include <sys/types.h>

#define NAMES_MAX 8

/* What was not there before names_take(). */
struct names_made {
	char folder[256];
	size_t missing; /* as fd_mkdirs_missing() */
	bool lock;	/* the lock file in it */
	char cgroup[64];
};

struct names {
	struct names_made made[NAMES_MAX];
	unsigned made_count;
	int fds[NAMES_MAX]; /* owned */
	unsigned count;
	struct loop_io io[NAMES_MAX]; /* names_answer() */
};

/* Takes all names of s; those that names_carry() left to this process are kept, or let go when s has others.  Makes the
 * folders and the cgroup that it locks.  mountinfo is proc(5)'s, NULL to read it.
 * 0; -EBUSY with the setting as field and the other's pid in the text (nothing is held then, and nothing is left of
 * what was made); or -errno. */
int names_take(struct names *n, const struct settings *s, const char *mountinfo, struct err *e);

/* After a start that failed: removes what names_take() made, as far as it is empty, and lets all go. */
void names_undo(struct names *n, const char *mountinfo);

/* Lets all go. */
void names_release(struct names *n);

/* Before the program is executed again: the descriptors stay open over it, and their numbers are left to names_take()
 * in the environment. */
void names_carry(const struct names *n);

/* Lets whoever asks for the holder of a name go away again: connections are closed from the loop. */
void names_answer(struct names *n, struct loop *loop);

/* Asks without taking: calls report for each name that another process holds, with the setting, its value, its pid (0
 * when it is in another pid namespace).  Makes nothing.  How many there were. */
unsigned names_look(const struct settings *s, const char *mountinfo,
		    void (*report)(void *arg, const char *field, const char *value, pid_t pid), void *arg);

/* As names_look(), as an error: 0, or -EBUSY with the first one. */
int names_free_for(const struct settings *s, struct err *e);

#endif
