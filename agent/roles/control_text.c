/* Words for owners, and small texts read: pure functions.  Layer agent, control process. */
#include "agent/roles/control_core.h"

#include "base/own.h"
#include "base/parse.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void control_text_bytes(uint64_t n, char out[32])
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	unsigned u = 0;
	double v = (double)n;

	for (; v >= 1024 && u + 1 < ARRAY_LEN(units); u++)
		v /= 1024;
	if (v < 100 && v * 10 != (double)(uint64_t)v * 10)
		snprintf(out, 32, "%.1f %s", v, units[u]);
	else
		snprintf(out, 32, "%.0f %s", v, units[u]);
}

static void text_code(int code, const char *type, char *out, size_t cap)
{
	if (code == 127)
		snprintf(out, cap, "exited with code 127: its command was not found");
	else if (code == 126)
		snprintf(out, cap, "exited with code 126: its command cannot be executed");
	else if (code == 0)
		snprintf(out, cap, "exited with code 0; a process of type %s is expected to run on", type);
	else
		snprintf(out, cap, "exited with code %d", code);
}

/* Whose bound it was: an owner who raises the wrong one gets nothing. */
static void text_oom(const struct msg_instance *m, char *out, size_t cap)
{
	char limit[32], total[32], peak[32], also[48] = "";

	control_text_bytes(m->memory_limit, limit);
	control_text_bytes(m->memory_total, total);
	control_text_bytes(m->memory_peak, peak);
	if (m->memory_peak)
		snprintf(also, sizeof also, " (peak %s)", peak);
	if (m->oom == MSG_OOM_TENANT)
		snprintf(out, cap,
			 "was killed: the tenant's memory total of %s was reached, below its own limit of %s%s", total,
			 limit, also);
	else if (m->oom == MSG_OOM_HOST)
		snprintf(out, cap, "was killed: the host had no memory left, below its limit of %s%s", limit, also);
	else
		snprintf(out, cap, "was killed: it needed more memory than its limit of %s%s", limit, also);
}

void control_text_exit(const struct msg_instance *m, const char *type, const char *asked, uint64_t grace_ms, char *out,
		       size_t cap)
{
	char text[200] = "";
	const char *sig = m->exit_code > 128 ? sigabbrev_np(m->exit_code - 128) : NULL;

	switch ((enum msg_exit)m->exit) {
	case MSG_EXIT_CODE:
		text_code(m->exit_code, type, text, sizeof text);
		break;
	case MSG_EXIT_SIGNAL:
		snprintf(text, sizeof text, "was ended by signal SIG%s", sig ? sig : "?");
		break;
	case MSG_EXIT_OOM:
		text_oom(m, text, sizeof text);
		break;
	case MSG_EXIT_DEADLINE:
		snprintf(text, sizeof text, "was killed: its time was over");
		break;
	case MSG_EXIT_STOPPED:
		snprintf(text, sizeof text, "stopped as asked");
		break;
	case MSG_EXIT_KILLED:
		snprintf(text, sizeof text, "ignored SIGTERM for %" PRIu64 " s and was killed", grace_ms / 1000);
		break;
	case MSG_EXIT_LAUNCH:
		snprintf(text, sizeof text, "could not be started: %.*s", (int)strnlen(m->text, sizeof m->text),
			 m->text);
		break;
	case MSG_EXIT_LOST:
		snprintf(text, sizeof text, "ended while the node was restarted");
		break;
	case MSG_EXIT_NONE:
	case MSG_EXIT_COUNT:
	default:
		snprintf(text, sizeof text, "ended");
	}
	/* A stop that went as it should needs no more than its reason. */
	if (asked[0] && (m->exit == MSG_EXIT_STOPPED || m->exit == MSG_EXIT_CODE || m->exit == MSG_EXIT_SIGNAL)) {
		snprintf(text, sizeof text, "stopped: %.150s", asked);
	} else if (asked[0]) {
		char both[400];
		snprintf(both, sizeof both, "%s (%s)", text, asked);
		snprintf(out, cap, "%s", both);
		return;
	}
	snprintf(out, cap, "%s", text);
}

void control_text_tail(const char *p, size_t n, const char *source, unsigned lines, const char *prefix, struct buf *out)
{
	struct piece {
		const char *p;
		size_t n;
	} ring[32];
	size_t len = strlen(source);
	unsigned count = 0;

	if (lines > ARRAY_LEN(ring))
		lines = ARRAY_LEN(ring);
	for (const char *end = p + n; p < end;) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t size = (size_t)((nl ? nl : end) - p);
		/* "RFC3339 source text" */
		const char *s = memchr(p, ' ', size);
		size_t rest = s ? size - (size_t)(s + 1 - p) : 0;

		if (s && rest > len && memcmp(s + 1, source, len) == 0 && s[1 + len] == ' ')
			ring[count++ % lines] = (struct piece){s + len + 2, rest - len - 1};
		p = nl ? nl + 1 : end;
	}
	for (unsigned i = count > lines ? count - lines : 0; i < count; i++) {
		const struct piece *line = &ring[i % lines];
		char shown[512];

		utf8_escape(shown, sizeof shown, line->p, line->n);
		buf_printf(out, "%s%s\n", prefix, shown);
	}
}

/* "0100007F:1F90", host byte order per 32-bit word as the kernel prints it (net/ipv4/tcp_ipv4.c: get_tcp4_sock). */
static bool text_address(const char *s, bool v6, char *out, size_t cap)
{
	unsigned words = v6 ? 4 : 1, port;
	uint32_t w[4] = {0};

	for (unsigned i = 0; i < words; i++) {
		char part[9] = "", *end;
		memcpy(part, s + i * 8, 8);
		w[i] = (uint32_t)strtoul(part, &end, 16);
		if (*end)
			return false;
	}
	if (s[words * 8] != ':')
		return false;
	port = (unsigned)strtoul(s + words * 8 + 1, NULL, 16);
	if (!v6)
		snprintf(out, cap, "%u.%u.%u.%u:%u", w[0] & 255, w[0] >> 8 & 255, w[0] >> 16 & 255, w[0] >> 24, port);
	else if (!w[0] && !w[1] && !w[2] && (!w[3] || w[3] == htonl(1)))
		snprintf(out, cap, "[%s]:%u", w[3] ? "::1" : "::", port);
	else
		snprintf(out, cap, "port %u (IPv6)", port);
	return true;
}

/* The local address of the line that begins after p, when it listens; NULL else. */
static const char *text_listener(const char *p, bool v6)
{
	/* "  0: 0100007F:1F90 00000000:0000 0A …": local address, remote address, state 0A = LISTEN */
	size_t width = v6 ? 32 + 5 : 8 + 5;
	const char *colon = strchr(p + 1, ':'), *end = strchr(p + 1, '\n');

	if (!colon || (end && colon > end) || strlen(colon) < 2 + 2 * (width + 1) + 2 ||
	    memcmp(colon + 2 + 2 * (width + 1), "0A", 2) != 0)
		return NULL;
	return colon + 2;
}

unsigned control_text_port(const char *text, bool v6, uint16_t port)
{
	unsigned who = 0;

	for (const char *p = strchr(text, '\n'); p && p[1]; p = strchr(p + 1, '\n')) {
		const char *at = text_listener(p, v6);
		char shown[64];

		if (!at || !text_address(at, v6, shown, sizeof shown))
			continue;
		if (strtoul(at + (v6 ? 33 : 9), NULL, 16) != port)
			continue;
		/* Also ::ffff:127.0.0.1. */
		who |= strncmp(shown, "127.", 4) == 0 || strncmp(shown, "[::1]", 5) == 0 ||
				       (v6 && strncmp(at, "0000000000000000FFFF0000", 24) == 0 &&
					strncmp(at + 30, "7F", 2) == 0)
			       ? 1
			       : 2;
	}
	return who;
}

void control_text_listeners(const char *text, bool v6, struct buf *out)
{
	for (const char *p = strchr(text, '\n'); p && p[1]; p = strchr(p + 1, '\n')) {
		const char *at = text_listener(p, v6);
		char shown[64];

		if (!at || !text_address(at, v6, shown, sizeof shown))
			continue;
		if (out->len)
			buf_adds(out, ", ");
		buf_adds(out, shown);
	}
}

uint64_t control_text_meminfo(const char *text, const char *key)
{
	size_t n = strlen(key);
	uint64_t v = 0;

	for (const char *p = text; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL) {
		if (strncmp(p, key, n) != 0 || p[n] != ':')
			continue;
		p += n + 1;
		p += strspn(p, " ");
		parse_u64(p, strspn(p, "0123456789"), 0, UINT64_MAX >> 10, key, &v, NULL);
		return v << 10;
	}
	return 0;
}

double control_text_pressure(const char *text)
{
	const char *p = strstr(text, "some avg10=");

	return p ? strtod(p + 11, NULL) : 0;
}

uint64_t control_text_waited(const char *text)
{
	const char *p = strstr(text, "some "), *end = p ? strchr(p, '\n') : NULL,
		   *total = p ? strstr(p, " total=") : NULL;

	return total && (!end || total < end) ? strtoull(total + 7, NULL, 10) : 0;
}
