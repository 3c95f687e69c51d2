/* Which instance takes the place of which: how often that happened, and why the one before ended.  Layer agent, control
 * process.
 *
 * An instance that fails, or that its owner stops, leaves a note at the moment from which another is wanted; the next
 * one of the same release and type that starts takes it, so that an instance that was merely added has none.  One whose
 * checks fail leaves only when another serves in its place: that one has it at once.  Lost when control ends. */
#include "agent/roles/control_core.h"

#include <stdio.h>
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

/* The one that was started in the place of a sick one; NULL when there is none yet. */
static struct control_instance *successor(const struct control_instance *ci)
{
	struct control_instance *other;

	if (!ci->sick_since_ms)
		return NULL;
	TAILQ_FOREACH(other, &ci->app->instances, link)
	{
		if (other->rec.id > ci->rec.id && !other->before && other->born_ms >= ci->sick_since_ms &&
		    other->rec.release == ci->rec.release && strcmp(other->rec.type, ci->rec.type) == 0)
			return other;
	}
	return NULL;
}

void control_restart_ended(const struct control_instance *ci, bool failed)
{
	struct control_app *ca = ci->app;
	struct control_instance *next = successor(ci);
	bool stopped = ci->rec.state != MODEL_INSTANCE_EXITED;
	unsigned restarts = ci->restarts + failed;
	struct control_ended *n;
	char *reason = NULL;

	if (asprintf(&reason, "%s%s", stopped ? "was stopped: " : "", ci->rec.reason) < 0)
		reason = NULL; /* only the words are missing */
	if (next) {
		next->restarts = restarts;
		next->before = reason;
		return;
	}
	n = calloc(1, sizeof *n);
	if (!n) {
		free(reason);
		return;
	}
	n->release = ci->rec.release;
	n->restarts = restarts;
	memcpy(n->type, ci->rec.type, sizeof n->type);
	n->reason = reason;
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
