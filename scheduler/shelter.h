/* Who gets the CPUs that the confined are kept off (scheduler/confine.h).  Layer scheduler; runs in the supervisor
 * process.  Pure: no I/O, no clock, no memory of its own.
 *
 * The others may run on all CPUs, and who wakes while the clear ones are taken is put behind a system call of the
 * confined all the same.  So the front door and tenants that use little stay on the clear CPUs while somebody is
 * confined, as long as they fit.  Beside a busy one they would be worse off there: who uses much does not come in, and
 * when the clear CPUs are full, whoever fills them, all leave for a while. */
#ifndef TULOU_SCHEDULER_SHELTER_H
#define TULOU_SCHEDULER_SHELTER_H

#include <stdbool.h>
#include <stdint.h>

#define SHELTER_FILL 400  /* thousandths of each clear CPU that those who come in may use together */
#define SHELTER_QUIET 100 /* of one CPU: a tenant that uses no more comes in, */
#define SHELTER_LOUD 200  /* and one that uses more leaves */
#define SHELTER_FULL 800  /* of each clear CPU, used by whomever: all leave */
#define SHELTER_LOOK_MS 200
#define SHELTER_PAUSE_MS 2000 /* full: closed for so long, twice as long each time */
#define SHELTER_PAUSE_MAX 5   /* doublings at most */

/* Of the host; the caller keeps it, zeroed at first. */
struct shelter {
	uint64_t idle_us; /* of the clear CPUs, at the last look */
	int64_t at_us;	  /* of it; 0 = none since it opened */
	int64_t full_us;  /* closed because it was full since; 0 = it was not */
	uint32_t taken;	  /* thousandths of a CPU, of those who came in in this round */
	uint8_t pause;	  /* doublings */
	bool open;
};

enum shelter_step { SHELTER_STAY, SHELTER_OPEN, SHELTER_CLOSE };

/* A look: tenants that are confined now, how many CPUs are clear, their idle time together so far; now_us is monotonic.
 * To be called when somebody is confined, and every SHELTER_LOOK_MS from then on until it has closed.  An OPEN or CLOSE
 * has happened to the state: the caller carries it out. */
enum shelter_step shelter_look(struct shelter *s, unsigned confined, unsigned clear, uint64_t idle_us, int64_t now_us);

/* One round says of everybody, those that are in first, whether they are to be in; only while it is open. */
void shelter_round(struct shelter *s);
/* The front door, which uses so many thousandths of a CPU. */
bool shelter_front(struct shelter *s, unsigned clear, uint32_t use);
/* A tenant; in: it is already. */
bool shelter_tenant(struct shelter *s, unsigned clear, uint32_t use, bool in);

#endif
