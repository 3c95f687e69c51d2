/* The launch of one instance, step by step.  Layer agent/sandbox.
 *
 * This list is the whole of it.  Each process runs the steps of its side from top to bottom; the order between the
 * sides is what the "wait" and "hand over" steps make it.  A step that fails ends the launch: its name and the errno go
 * to the supervisor, the kernel takes processes, mounts and namespaces back, and net_undo() the host's interface. */
#include "agent/sandbox/sandbox.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct step {
	enum sandbox_side side;
	const char *name; /* completes "could not …" */
	sandbox_step_fn *run;
};

static const struct step steps[] = {
	{SANDBOX_BUILDER, "read the launch order", spec_read},
	{SANDBOX_BUILDER, "shed what was inherited", user_shed},
	{SANDBOX_BUILDER, "open the stack and the release", root_take},
	{SANDBOX_BUILDER, "make the private file system", root_private},
	{SANDBOX_BUILDER, "create the namespaces", namespace_create},

	/* From here on there are two. */
	{SANDBOX_BUILDER, "map the users", user_map},
	{SANDBOX_BUILDER, "map the owners of shared files", root_idmap},
	{SANDBOX_BUILDER, "put the root file system together", root_assemble},
	{SANDBOX_BUILDER, "hand the root file system over", root_hand_over},
	{SANDBOX_BUILDER, "connect the network", net_connect}, /* while PID 1 goes on with /proc */
	{SANDBOX_BUILDER, "wait for the network", net_wait_carrier},
	{SANDBOX_BUILDER, "wait for the program", namespace_wait_done},

	{SANDBOX_INSIDE, "join the control groups", namespace_join_cgroups},
	{SANDBOX_INSIDE, "wait for the root file system", inner_wait},
	{SANDBOX_INSIDE, "become the sandbox's root", user_become_root},
	{SANDBOX_INSIDE, "mount /proc", inner_proc},
	{SANDBOX_INSIDE, "hide the host's parts of /proc", inner_masks},
	{SANDBOX_INSIDE, "enter the root file system", inner_pivot},
	{SANDBOX_INSIDE, "keep the folder of the socket", inner_socket},
	{SANDBOX_INSIDE, "set the host name", namespace_name},
	{SANDBOX_INSIDE, "read the program's arguments", program_read},
	{SANDBOX_INSIDE, "read the system call filter", program_filter},
	{SANDBOX_INSIDE, "configure the network", net_configure},
	{SANDBOX_INSIDE, "bound its packets", net_bound}, /* while the builder waits for the carrier */
	{SANDBOX_INSIDE, "bound the capabilities", user_bound},
	{SANDBOX_INSIDE, "prepare PID 1", init_prepare},
	{SANDBOX_INSIDE, "wait for the network's carrier", net_carrier},
	{SANDBOX_INSIDE, "start the program", program_start},

	{SANDBOX_PROGRAM, "start a session", program_session},
	{SANDBOX_PROGRAM, "set the limits", program_limits},
	{SANDBOX_PROGRAM, "become the app's user", user_drop},
	{SANDBOX_PROGRAM, "connect its descriptors", program_stdio},
	{SANDBOX_PROGRAM, "filter its system calls", program_seccomp},
	{SANDBOX_PROGRAM, "execute", program_exec},
};

int sandbox_run(struct sandbox *s, enum sandbox_side side)
{
	for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		if (steps[i].side != side)
			continue;
		s->step = (int)i;
		s->what = NULL;
		int r = steps[i].run(s);
		if (r < 0)
			return r;
	}
	return 0;
}

const char *sandbox_step_name(unsigned i, enum sandbox_side *side)
{
	if (i >= sizeof steps / sizeof steps[0])
		return NULL;
	*side = steps[i].side;
	return steps[i].name;
}

void sandbox_report(struct sandbox *s, enum launch_report_kind kind, int pid, int error)
{
	struct launch_report r = {.kind = kind, .pid = pid, .error = error};

	if (kind == LAUNCH_REPORT_FAILED) {
		size_t at = 0;
		text_add(r.step, sizeof r.step, &at, steps[s->step].name);
		if (s->what) {
			text_add(r.step, sizeof r.step, &at, ": ");
			text_add(r.step, sizeof r.step, &at, s->what);
		}
	}
	/* A supervisor that is gone must not end the launch: MSG_NOSIGNAL's job, done by write(2) with SIGPIPE blocked.
	 */
	while (write(LAUNCH_FD_REPORT, &r, sizeof r) < 0 && errno == EINTR)
		;
}
