/* The disk that all instances share: told to the operator before it is full.  Layer agent, control process. */
#include "agent/roles/control_core.h"

/* A limit on each app and tenant bounds what one may take; the sum of all may be more than there is, as with memory. So
 * somebody must hear of it in time: at DISK_HIGH and again at DISK_FULL percent, and once more when it is over. */
#define DISK_HIGH 80
#define DISK_FULL 90
#define DISK_BACK 5 /* percent below the mark before it counts as over: no event at each turn around it */

static unsigned disk_percent(const struct msg_disk *m)
{
	return m->total ? (unsigned)((m->total - m->free) * 100 / m->total) : 0;
}

static unsigned disk_mark(unsigned percent)
{
	return percent >= DISK_FULL ? DISK_FULL : percent >= DISK_HIGH ? DISK_HIGH : 0;
}

void control_on_pool(struct control *c, const struct msg_disk *m)
{
	unsigned percent, mark, was = c->disk_warned;
	char left[32], total[32];

	if (m->free > m->total)
		return;
	c->disk = *m;
	percent = disk_percent(m);
	mark = disk_mark(percent);
	if (mark < was && disk_mark(percent + DISK_BACK) >= was)
		return;
	c->disk_warned = mark;
	control_text_bytes(m->free, left);
	control_text_bytes(m->total, total);
	if (mark > was)
		control_event(
			c, NULL, 0, "node.disk",
			"The disk of the apps is %u %% full: %s of %s are free. Each tenant may hold as much as is "
			"free and no more, and nothing starts when none is: %s",
			percent, left, total,
			c->settings.disk_backend == SETTINGS_DISK_QUOTA ? "make room on it"
									: "raise disk.pool and send SIGHUP");
	else if (mark == 0 && was)
		control_event(c, NULL, 0, "node.disk", "The disk of the apps has room again: %s of %s are free", left,
			      total);
}

json_t *control_pool_json(const struct control *c)
{
	if (!c->disk.total)
		return NULL;
	return json_pack("{s:I,s:I,s:i,s:s}", "total_bytes", (json_int_t)c->disk.total, "free_bytes",
			 (json_int_t)c->disk.free, "percent", (int)disk_percent(&c->disk), "state",
			 c->disk_warned >= DISK_FULL   ? "full"
			 : c->disk_warned >= DISK_HIGH ? "high"
						       : "ok");
}
