/* How long to wait after a crash.  Layer scheduler, control process.  Declared in plan.h. */
#include "scheduler/plan.h"

#include <stdio.h>
#include <string.h>

const struct plan_backoff *plan_backoff_find(const struct plan_backoff *backoffs, int64_t release, const char *type)
{
	for (unsigned i = 0; i < PLAN_BACKOFFS; i++)
		if (backoffs[i].release == release && release && strcmp(backoffs[i].type, type) == 0)
			return &backoffs[i];
	return NULL;
}

/* The row of (release, type), or a free one, or the one whose crash is longest ago. */
static struct plan_backoff *plan_backoff_row(struct plan_backoff *backoffs, int64_t release, const char *type)
{
	struct plan_backoff *free_row = NULL, *oldest = &backoffs[0];

	for (unsigned i = 0; i < PLAN_BACKOFFS; i++) {
		struct plan_backoff *b = &backoffs[i];
		if (b->release == release && strcmp(b->type, type) == 0)
			return b;
		if (b->release == 0 && !free_row)
			free_row = b;
		if (b->retry_ms < oldest->retry_ms)
			oldest = b;
	}
	if (!free_row)
		free_row = oldest;
	*free_row = (struct plan_backoff){.release = release};
	snprintf(free_row->type, sizeof free_row->type, "%s", type);
	return free_row;
}

void plan_exited(struct plan_backoff *backoffs, int64_t release, const char *type, int64_t was_healthy_ms,
		 int64_t now_ms)
{
	struct plan_backoff *b;
	int64_t pause = PLAN_RETRY_MS;

	if (release == 0)
		return;
	b = plan_backoff_row(backoffs, release, type);
	if (was_healthy_ms >= PLAN_STABLE_MS) {
		b->crashes = 0;
		b->looping = false;
	}
	b->crashes++;
	for (unsigned i = 1; i < b->crashes && pause < PLAN_RETRY_MAX_MS; i++)
		pause *= 2;
	if (pause > PLAN_RETRY_MAX_MS)
		pause = PLAN_RETRY_MAX_MS;
	if (b->crashes >= PLAN_LOOP_CRASHES) {
		b->looping = true;
		pause = PLAN_LOOP_MS;
	}
	b->retry_ms = now_ms + pause;
}
