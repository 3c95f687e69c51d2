/* tulou-sandbox: builds one sandbox from a launch order on its descriptors, then is its PID 1.
 * Layer agent/sandbox; a process of its own, started by the supervisor (launch.h says how). */
#include "agent/sandbox/sandbox.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

/* In .bss, not on the stack: one page that both sides and the program's start share. */
static struct sandbox sandbox = {
	.sync = -1,
	.pidfd = -1,
	.proc = -1,
	.link = -1,
	.files = -1,
	.layer = -1,
	.stack = -1,
	.tree = -1,
	.usr = -1,
	.root = -1,
};

int main(void)
{
	struct sandbox *s = &sandbox;
	int r = sandbox_run(s, SANDBOX_BUILDER);

	if (r == 0)
		return 0; /* the kernel closes what is open */
	net_undo(s);
	if (s->pid > 0)
		syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
	if (r != -ECANCELED) /* else PID 1 has said it */
		sandbox_report(s, LAUNCH_REPORT_FAILED, 0, -r);
	return 1;
}
