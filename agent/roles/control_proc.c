/* Figures of the host and of a sandbox's network, from /proc.  Layer agent, control process. */
#include "agent/roles/control_core.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/own.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/statvfs.h>

static char *proc_read(const char *path)
{
	char *text = NULL;

	return fd_read_file(AT_FDCWD, path, 1u << 18, &text, NULL) < 0 ? NULL : text;
}

static void proc_cpu(struct control_host *h)
{
	OWN_FREE char *text = proc_read("/proc/stat");
	unsigned long long v[8] = {0};
	char *p = text && strncmp(text, "cpu ", 4) == 0 ? text + 4 : NULL;

	for (unsigned i = 0; p && i < ARRAY_LEN(v); i++)
		v[i] = strtoull(p, &p, 10);
	h->cpu_all = 0;
	for (unsigned i = 0; i < ARRAY_LEN(v); i++)
		h->cpu_all += v[i];
	h->cpu_busy = h->cpu_all - v[3] - v[4]; /* idle, iowait: proc_stat(5) */
}

void control_proc_host(struct control_host *h, const char *data_dir)
{
	static const char *const pressure[] = {"/proc/pressure/cpu", "/proc/pressure/memory", "/proc/pressure/io"};
	OWN_FREE char *meminfo = proc_read("/proc/meminfo"), *load = proc_read("/proc/loadavg");
	struct statvfs fs;
	cpu_set_t set;
	char *p = load;

	if (meminfo) {
		h->memory = control_text_meminfo(meminfo, "MemTotal");
		h->memory_available = control_text_meminfo(meminfo, "MemAvailable");
	}
	for (unsigned i = 0; p && i < 3; i++)
		h->load[i] = strtod(p, &p);
	for (unsigned i = 0; i < ARRAY_LEN(pressure); i++) {
		OWN_FREE char *text = proc_read(pressure[i]);
		h->pressure[i] = text ? control_text_pressure(text) : 0;
	}
	if (statvfs(data_dir, &fs) == 0) {
		/* What is kept for root is free for nobody here, as df(1) says. */
		h->disk = (uint64_t)fs.f_blocks * fs.f_frsize;
		h->disk_used = h->disk - (uint64_t)fs.f_bavail * fs.f_frsize;
	}
	if (!h->cpus)
		h->cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
	proc_cpu(h);
}

/* Read once a second: the files are small. */
void control_proc_pulse(struct control_pulse *p)
{
	static const char *const pressure[] = {"/proc/pressure/cpu", "/proc/pressure/memory", "/proc/pressure/io"};
	OWN_FREE char *load = proc_read("/proc/loadavg");
	const char *slash = load ? strchr(load, '/') : NULL;
	struct control_host h = {0};

	memset(p, 0, sizeof *p);
	p->at_us = clock_mono_us();
	proc_cpu(&h);
	p->busy = h.cpu_busy;
	p->all = h.cpu_all;
	for (unsigned i = 0; i < ARRAY_LEN(pressure); i++) {
		OWN_FREE char *text = proc_read(pressure[i]);

		p->pressure = p->pressure || (i == 0 && text);
		p->waited_us[i] = text ? control_text_waited(text) : 0;
	}
	/* "0.10 0.20 0.30 3/512 1234": three run or wait, this process is one of them. */
	while (slash && slash > load && slash[-1] >= '0' && slash[-1] <= '9')
		slash--;
	p->runnable = slash ? (unsigned)strtoul(slash, NULL, 10) : 0;
	p->runnable -= p->runnable > 0;
}

/* /proc/<pid>/net shows the process's own network namespace, to everybody (fs/proc/proc_net.c asks for no permission).
 */
void control_proc_listeners(int32_t pid, char *out, size_t cap)
{
	char path[64];
	OWN_FREE char *v4 = NULL, *v6 = NULL;
	OWN_BUF struct buf list = {0};

	out[0] = 0;
	if (pid <= 1)
		return;
	snprintf(path, sizeof path, "/proc/%d/net/tcp", (int)pid);
	v4 = proc_read(path);
	snprintf(path, sizeof path, "/proc/%d/net/tcp6", (int)pid);
	v6 = proc_read(path);
	if (!v4)
		return;
	buf_init(&list, cap - 40);
	control_text_listeners(v4, false, &list);
	if (v6)
		control_text_listeners(v6, true, &list);
	if (list.len)
		snprintf(out, cap, "it listens on %s", list.data);
	else
		snprintf(out, cap, "it does not listen on any port");
}

int control_proc_local_only(int32_t pid, uint16_t port)
{
	char path[64];
	OWN_FREE char *v4 = NULL, *v6 = NULL;

	if (pid <= 1)
		return -1;
	snprintf(path, sizeof path, "/proc/%d/net/tcp", (int)pid);
	v4 = proc_read(path);
	snprintf(path, sizeof path, "/proc/%d/net/tcp6", (int)pid);
	v6 = proc_read(path);
	/* Without IPv6 there is no second file. */
	if (!v4 || (!v6 && access(path, F_OK) == 0))
		return -1;
	return (control_text_port(v4, false, port) | (v6 ? control_text_port(v6, true, port) : 0)) == 1;
}
