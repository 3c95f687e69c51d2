/* Processes told from each other, and dying ones from live ones. */
#include "base/proc.h"

#include <criterion/criterion.h>
#include <sys/wait.h>
#include <unistd.h>

Test(proc, start_time_tells_processes)
{
	cr_assert_gt(proc_start_time(getpid()), 0);
	cr_assert_geq(proc_start_time(getpid()), proc_start_time(getppid()));
	cr_assert_eq(proc_start_time(0), 0);
	cr_assert_eq(proc_start_time(-1), 0);
}

Test(proc, a_dying_process_is_told_from_a_live_one)
{
	siginfo_t si;
	pid_t pid;

	cr_assert_not(proc_exiting(getpid()));
	cr_assert(proc_exiting(0), "none");
	pid = fork();
	if (pid == 0)
		_exit(0);
	cr_assert_eq(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT), 0);
	cr_assert(proc_exiting(pid), "dead, not reaped");
	cr_assert_gt(proc_start_time(pid), 0);
	cr_assert_eq(waitid(P_PID, (id_t)pid, &si, WEXITED), 0);
	cr_assert(proc_exiting(pid), "reaped");
}
