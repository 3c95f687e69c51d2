/* Which instance takes the place of which: how often that happened, and why the one before ended.  Layer agent, control
 * process.
 *
 * The end of an instance that nobody asked for leaves a note; the next one of the same release and type that starts
 * takes it, so that an instance that was merely added has none.  Lost when control ends. */
#include "agent/roles/control_core.h"

#include <stdlib.h>
#include <string.h>

#define RESTART_NOTES 32 /* of one app: more ends at once than that are not told apart */

struct control_ended {
	TAILQ_ENTRY(control_ended) link;
	int64_t release;
	unsigned restarts;
	char type[LIMIT_TYPE_NAME + 1];
	char *reason; /* owned; NULL when there was no memory for it */
};

static void drop(struct control_app *ca, struct control_ended *n)
{
	TAILQ_REMOVE(&ca->ended, n, link);
	ca->ended_count--;
	free(n->reason);
	free(n);
}

void control_restart_ended(const struct control_instance *ci)
{
	struct control_app *ca = ci->app;
	struct control_ended *n = calloc(1, sizeof *n);

	if (!n)
		return; /* only the note is missing */
	n->release = ci->rec.release;
	n->restarts = ci->restarts + 1;
	memcpy(n->type, ci->rec.type, sizeof n->type);
	n->reason = strdup(ci->rec.reason);
	TAILQ_INSERT_TAIL(&ca->ended, n, link);
	if (++ca->ended_count > RESTART_NOTES)
		drop(ca, TAILQ_FIRST(&ca->ended));
}

void control_restart_started(struct control_instance *ci)
{
	struct control_app *ca = ci->app;
	struct control_ended *n;

	TAILQ_FOREACH(n, &ca->ended, link)
	{
		if (n->release == ci->rec.release && strcmp(n->type, ci->rec.type) == 0) {
			ci->restarts = n->restarts;
			ci->before = n->reason;
			n->reason = NULL;
			drop(ca, n);
			return;
		}
	}
}

void control_restart_forget(struct control_app *ca)
{
	struct control_ended *n;

	while ((n = TAILQ_FIRST(&ca->ended)))
		drop(ca, n);
}
