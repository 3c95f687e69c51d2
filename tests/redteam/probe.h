/* Doors that a hostile app tries from inside its sandbox.  tests/redteam, a static program.
 *
 * Each door is tried in a child of its own, in a session of its own, with a deadline: a crash, a kill and a hang are
 * results.  The same program runs outside as root, where most doors must open, or they test nothing.  A door never does
 * harm where it opens: wrong magic numbers, names that do not exist, private namespaces (door_aside). */
#ifndef TESTS_REDTEAM_PROBE_H
#define TESTS_REDTEAM_PROBE_H

#include <stdbool.h>
#include <stddef.h>

enum verdict {
	DOOR_CLOSED,	 /* the attempt was refused */
	DOOR_OPEN,	 /* it succeeded, or reached the kernel's code where it must not */
	DOOR_IRRELEVANT, /* this kernel or place has no such door */
	DOOR_BROKEN,	 /* the probe itself failed: never acceptable */
	DOOR_VERDICTS
};

/* Which rule of the threat list a door attacks. */
#define RULE_PATHS "Paths"
#define RULE_DESCRIPTORS "Descriptors"
#define RULE_USERS "Users"
#define RULE_CALLS "System calls"
#define RULE_LAYERS "Shared layers"
#define RULE_PROC "/proc and /sys"
#define RULE_CGROUPS "Cgroups"
#define RULE_DEATH "Death"
#define RULE_RESOURCES "Resources"
#define RULE_NETWORK "Network"

struct door {
	const char *name; /* area.what, one word */
	const char *rule;
	enum verdict (*try)(const struct door *d);
	/* for tables of alike doors; meaning by try() */
	long nr;
	long args[6];
	const char *text;
	const char *inside_only; /* why it cannot be tried outside without harm, or NULL */
};

/* Tables end with a door without a name. */
extern const struct door doors_calls[], doors_sockets[], doors_users[], doors_files[], doors_proc[], doors_resources[],
	doors_net[], doors_strict[];

/* What the door saw; for a person.  printf-like, cut at DOOR_DETAIL, one line. */
#define DOOR_DETAIL 400
void door_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The verdict if the child dies by a signal from here on. */
void door_if_dead(enum verdict v);
/* Runs outside of a sandbox, as the negative control. */
bool door_outside(void);
/* Outside: a private namespace (CLONE_NEW*), mounts made private, so that what opens harms nothing.  Inside: nothing.
 * False when outside and impossible: then the door must not be tried. */
bool door_aside(int flags);
/* OPEN if r >= 0, else CLOSED; says errno. */
enum verdict door_result(long r, const char *what);
/* Variables of the app, and what the harness tells of its surroundings ("HOST", "VICTIM"…); NULL if unknown. */
const char *door_fact(const char *name);

#endif
