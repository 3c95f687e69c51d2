/* /proc, /sys and control groups.  tests/redteam.
 *
 * Facts: SECRET_REVERSED, a word in a neighbour's environment; NS_net, NS_pid…: what the host's own namespaces are
 * called. */
#include "tests/redteam/probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static ssize_t slurp(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n;
}

/* A file that tells of the host has something in it. */
static enum verdict reads(const struct door *d)
{
	char text[4096];
	ssize_t n = slurp(d->text, text, sizeof text);

	if (n < 0 && errno == ENOENT)
		return DOOR_IRRELEVANT;
	if (n < 0 && errno == EAGAIN)
		return door_say("empty, but open"), DOOR_OPEN;
	if (n < 0)
		return door_result(n, d->text);
	door_say("%zd bytes: %.100s", n, text);
	return n > 0 ? DOOR_OPEN : DOOR_CLOSED;
}

static enum verdict folder(const struct door *d)
{
	int n = 0;
	DIR *dir = opendir(d->text);

	if (!dir)
		return door_outside() ? DOOR_IRRELEVANT : door_result(-1, d->text);
	for (struct dirent *e; (e = readdir(dir));)
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	door_say("%d entries", n);
	return n ? DOOR_OPEN : DOOR_CLOSED;
}

static enum verdict follows(const struct door *d)
{
	char to[512];
	ssize_t n = readlink(d->text, to, sizeof to - 1);

	if (n < 0)
		return door_result(n, d->text);
	to[n] = '\0';
	door_say("%s", to);
	return DOOR_OPEN;
}

static enum verdict writes(const struct door *d)
{
	int fd = open(d->text, O_WRONLY | O_CLOEXEC | O_NONBLOCK); /* nothing is written */

	if (fd < 0 && errno == ENOENT)
		return DOOR_IRRELEVANT;
	return door_result(fd, d->text);
}

static enum verdict time_offsets(const struct door *d)
{
	if (door_outside() && unshare(0x80 /* CLONE_NEWTIME */) < 0)
		return DOOR_IRRELEVANT;
	int fd = open(d->text, O_WRONLY | O_CLOEXEC);
	return door_result(fd < 0 ? fd : write(fd, "monotonic 1 0", 13), d->text);
}

struct walk {
	char text[300];
	size_t at, count;
	bool writing;
};

static void walk(struct walk *w, const char *path, int depth)
{
	DIR *dir = opendir(path);

	for (struct dirent *e; dir && (e = readdir(dir));) {
		char name[512];
		struct stat st;
		if (e->d_name[0] == '.' || (depth == 0 && e->d_name[0] >= '0' && e->d_name[0] <= '9') ||
		    snprintf(name, sizeof name, "%s/%s", path, e->d_name) >= (int)sizeof name || lstat(name, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode) && depth < 8) {
			walk(w, name, depth + 1);
		} else if (S_ISREG(st.st_mode)) {
			int fd = open(name, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
			if (fd < 0)
				continue;
			close(fd);
			w->count++;
			if (w->at < sizeof w->text)
				w->at += (size_t)snprintf(w->text + w->at, sizeof w->text - w->at, " %s", name + 6);
		}
	}
	if (dir)
		closedir(dir);
}

/* Whatever can be opened for writing below a folder of /proc, processes' own files aside. */
static enum verdict writable(const struct door *d)
{
	struct walk w = {.writing = true};

	walk(&w, d->text, strcmp(d->text, "/proc") == 0 ? 0 : 1);
	door_say("%zu:%s", w.count, w.text);
	return w.count ? DOOR_OPEN : DOOR_CLOSED;
}

/* Entries of /proc that can be read, have content, and that nobody has judged yet: those of a newer kernel. */
static enum verdict unjudged(const struct door *d)
{
	static const char *const judged[] = {
		/* the process's own namespaces */
		"self", "thread-self", "net", "mounts", "sysvipc", "sys",
		/* what runtimes need to size themselves */
		"cpuinfo", "meminfo", "stat", "uptime", "version", "loadavg", "filesystems",
		/* facts of the kernel and its machine that name no tenant; see the table of README.md */
		"cgroups", "consoles", "crypto", "devices", "dma", "execdomains", "fb", "locks", "misc", "pressure",
		"swaps", "config.gz", "tty", "vmstat", "bootconfig", "version_signature"};
	char text[300] = "", content[64];
	size_t at = 0;
	DIR *dir = opendir("/proc");

	(void)d;
	for (struct dirent *e; dir && (e = readdir(dir));) {
		char name[300];
		struct stat st;
		bool known = e->d_name[0] == '.' || (e->d_name[0] >= '0' && e->d_name[0] <= '9');
		for (size_t i = 0; i < sizeof judged / sizeof judged[0]; i++)
			known |= strcmp(judged[i], e->d_name) == 0;
		snprintf(name, sizeof name, "/proc/%s", e->d_name);
		if (known || stat(name, &st) < 0)
			continue;
		bool open = false;
		if (S_ISDIR(st.st_mode)) {
			DIR *sub = opendir(name);
			for (struct dirent *f; sub && (f = readdir(sub));)
				open |= f->d_name[0] != '.';
			if (sub)
				closedir(sub);
		} else {
			open = slurp(name, content, sizeof content) > 0;
		}
		if (open && at < sizeof text)
			at += (size_t)snprintf(text + at, sizeof text - at, " %s", e->d_name);
	}
	door_say("readable:%s", text);
	return !dir ? DOOR_BROKEN : at ? DOOR_OPEN : DOOR_CLOSED;
}

/* A neighbour's secret in any process's environment or arguments. */
static enum verdict secret(const struct door *d)
{
	/* backwards, or the shells that started this probe would show it themselves */
	const char *reversed = door_fact("SECRET_REVERSED");
	char word[64] = "";
	for (size_t n = reversed ? strlen(reversed) : 0, i = 0; i < n && n < sizeof word; i++)
		word[i] = reversed[n - 1 - i];
	DIR *dir = opendir("/proc");
	static char text[1 << 16];

	if (!*word || !dir)
		return DOOR_BROKEN;
	for (struct dirent *e; (e = readdir(dir));) {
		char name[300];
		if (e->d_name[0] < '0' || e->d_name[0] > '9' || strtol(e->d_name, NULL, 10) == getpid())
			continue;
		snprintf(name, sizeof name, "/proc/%s/%s", e->d_name, d->text);
		ssize_t n = slurp(name, text, sizeof text);
		if (n > 0 && memmem(text, (size_t)n, word, strlen(word))) {
			door_say("in %s", name);
			return DOOR_OPEN;
		}
	}
	return DOOR_CLOSED;
}

/* Processes of another user, PID 1 aside: those of the host or of a neighbour. */
static enum verdict others(const struct door *d)
{
	int n = 0;
	DIR *dir = opendir(d->text);

	for (struct dirent *e; dir && (e = readdir(dir));) {
		char name[300];
		struct stat st;
		if (e->d_name[0] < '0' || e->d_name[0] > '9' || strcmp(e->d_name, "1") == 0)
			continue;
		snprintf(name, sizeof name, "/proc/%s/task", e->d_name); /* ours even when not dumpable */
		if (stat(name, &st) == 0 && st.st_uid != geteuid()) {
			n++;
			door_say("%s is of user %u", name, (unsigned)st.st_uid);
		}
	}
	return n ? DOOR_OPEN : DOOR_CLOSED;
}

static enum verdict namespace(const struct door *d) {
	char path[64], fact[32], here[64];

	snprintf(path, sizeof path, "/proc/self/ns/%s", d->text);
	snprintf(fact, sizeof fact, "NS_%s", d->text);
	ssize_t n = readlink(path, here, sizeof here - 1);
	const char *host = door_fact(fact);
	if (n < 0 || !host) return DOOR_BROKEN;
	here[n] = '\0';
	door_say("%s, the host's is %s", here, host);
	return strstr(here, host) ? DOOR_OPEN : DOOR_CLOSED;
}

static enum verdict cgroup_path(const struct door *d)
{
	char text[4096];

	(void)d;
	if (slurp("/proc/self/cgroup", text, sizeof text) <= 0)
		return DOOR_BROKEN;
	for (char *save = NULL, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *path = strrchr(line, ':');
		if (path && strcmp(path, ":/") != 0) {
			door_say("%s", line);
			return DOOR_OPEN;
		}
	}
	return DOOR_CLOSED;
}

static enum verdict mounted(const struct door *d)
{
	char line[1024], type[64];
	FILE *f = fopen("/proc/self/mounts", "re");

	snprintf(type, sizeof type, " %s ", d->text);
	while (f && fgets(line, sizeof line, f)) {
		if (strstr(line, type)) {
			door_say("%.120s", line);
			return DOOR_OPEN;
		}
	}
	return f ? DOOR_CLOSED : DOOR_BROKEN;
}

/* Numbers of physical pages help to hammer rows. */
static enum verdict page_numbers(const struct door *d)
{
	uint64_t entry = 0;
	static char page[4096];
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	(void)d;
	page[0] = 1;
	if (fd < 0)
		return door_result(fd, "pagemap");
	if (pread(fd, &entry, 8, (off_t)((uintptr_t)page / 4096 * 8)) != 8)
		return DOOR_CLOSED;
	door_say("frame %llx", (unsigned long long)(entry & ((1ull << 55) - 1)));
	return entry & ((1ull << 55) - 1) ? DOOR_OPEN : DOOR_CLOSED;
}

#define PROC(what, function, path, ...)                                                                                \
	{                                                                                                              \
		.name = "proc." what, .rule = RULE_PROC, .try = function, .text = (path), __VA_ARGS__                  \
	}
#define READS(name) PROC("read_" name, reads, "/proc/" name, )
#define NAMESPACE(name) PROC("namespace_" name, namespace, name, )

const struct door doors_proc[] = {
	READS("interrupts"),
	READS("softirqs"),
	READS("keys"),
	READS("key-users"),
	READS("kallsyms"),
	READS("kcore"),
	READS("timer_list"),
	READS("sched_debug"),
	READS("latency_stats"),
	READS("slabinfo"),
	READS("iomem"),
	READS("ioports"),
	READS("cmdline"),
	READS("modules"),
	READS("diskstats"),
	READS("partitions"),
	READS("zoneinfo"),
	READS("buddyinfo"),
	READS("pagetypeinfo"),
	READS("vmallocinfo"),
	READS("kpagecount"),
	READS("kpageflags"),
	READS("kpagecgroup"),
	READS("allocinfo"),
	READS("mtrr"),
	READS("kmsg"),
	READS("config.gz"),
	READS("bootconfig"),
	READS("profile"),
	READS("swaps"),
	READS("pressure/cpu"),
	READS("cgroups"),
	READS("locks"),
	READS("vmstat"),
	READS("schedstat"),
	READS("dynamic_debug/control"),
	PROC("folder_acpi", folder, "/proc/acpi", ),
	PROC("folder_asound", folder, "/proc/asound", ),
	PROC("folder_scsi", folder, "/proc/scsi", ),
	PROC("folder_driver", folder, "/proc/driver", ),
	PROC("folder_irq", folder, "/proc/irq", ),
	PROC("folder_bus", folder, "/proc/bus", ),
	PROC("folder_fs", folder, "/proc/fs", ),
	PROC("unjudged", unjudged, "/proc", .inside_only = "a list to be judged, not a door"),
	PROC("writable", writable, "/proc", ),
	PROC("writable_sys", writable, "/proc/sys", ),
	PROC("sysrq", writes, "/proc/sysrq-trigger", ),
	PROC("core_pattern", writes, "/proc/sys/kernel/core_pattern", ),
	PROC("modprobe", writes, "/proc/sys/kernel/modprobe", ),
	PROC("hostname", writes, "/proc/sys/kernel/hostname", ),
	PROC("randomize", writes, "/proc/sys/kernel/randomize_va_space", ),
	PROC("own_program", writes, "/proc/self/exe", .inside_only = "text that runs is busy for root too"),
	PROC("time_offsets", time_offsets, "/proc/self/timens_offsets", ),
	PROC("init_environment", reads, "/proc/1/environ", ),
	PROC("init_memory", reads, "/proc/1/mem", .inside_only = "nothing is mapped at its beginning"),
	PROC("init_memory_write", writes, "/proc/1/mem", ),
	PROC("init_maps", reads, "/proc/1/maps", ),
	PROC("init_auxv", reads, "/proc/1/auxv", ),
	PROC("init_stack", reads, "/proc/1/stack", ),
	PROC("init_syscall", reads, "/proc/1/syscall", ),
	PROC("init_io", reads, "/proc/1/io", ),
	PROC("init_personality", reads, "/proc/1/personality", ),
	PROC("init_root", follows, "/proc/1/root", ),
	PROC("init_cwd", follows, "/proc/1/cwd", ),
	PROC("init_exe", follows, "/proc/1/exe", ),
	PROC("init_fds", folder, "/proc/1/fd", ),
	PROC("init_fdinfo", folder, "/proc/1/fdinfo", ),
	PROC("init_map_files", folder, "/proc/1/map_files", ),
	PROC("init_namespace", follows, "/proc/1/ns/mnt", ),
	PROC("init_oom_score", writes, "/proc/1/oom_score_adj", ),
	PROC("init_uid_map", writes, "/proc/1/uid_map", ),
	PROC("init_sched", writes, "/proc/1/autogroup", ),
	PROC("secret_environment", secret, "environ", ),
	PROC("secret_arguments", secret, "cmdline", ),
	PROC("others", others, "/proc", ),
	PROC("page_numbers", page_numbers, "", ),
	NAMESPACE("user"),
	NAMESPACE("pid"),
	NAMESPACE("mnt"),
	NAMESPACE("net"),
	NAMESPACE("ipc"),
	NAMESPACE("uts"),
	NAMESPACE("cgroup"),
	{.name = "sys.folder", .rule = RULE_PROC, .try = folder, .text = "/sys"},
	{.name = "sys.mounted", .rule = RULE_PROC, .try = mounted, .text = "sysfs"},
	{.name = "sys.debugfs", .rule = RULE_PROC, .try = folder, .text = "/sys/kernel/debug"},
	{.name = "sys.powercap", .rule = RULE_PROC, .try = folder, .text = "/sys/devices/virtual"},
	{.name = "cgroup.path", .rule = RULE_CGROUPS, .try = cgroup_path},
	{.name = "cgroup.mounted", .rule = RULE_CGROUPS, .try = mounted, .text = "cgroup"},
	{.name = "cgroup.folder", .rule = RULE_CGROUPS, .try = folder, .text = "/sys/fs/cgroup"},
	{.name = "cgroup.release_agent",
	 .rule = RULE_CGROUPS,
	 .try = writes,
	 .text = "/sys/fs/cgroup/memory/release_agent"},
	{.name = "cgroup.procs", .rule = RULE_CGROUPS, .try = writes, .text = "/sys/fs/cgroup/pids/cgroup.procs"},
	{0},
};
