/* Words for owners, and the small texts that control reads. */
#include "agent/roles/control_core.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *exit_text(struct msg_instance m, const char *asked)
{
	static char out[200];

	control_text_exit(&m, "web", asked, 10000, out, sizeof out);
	return out;
}

Test(control, exit_in_plain_words)
{
	cr_assert_str_eq(exit_text((struct msg_instance){.exit = MSG_EXIT_CODE, .exit_code = 1}, ""),
			 "exited with code 1");
	cr_assert(strstr(exit_text((struct msg_instance){.exit = MSG_EXIT_CODE}, ""), "is expected to run on"));
	cr_assert(strstr(exit_text((struct msg_instance){.exit = MSG_EXIT_CODE, .exit_code = 127}, ""), "not found"));
	cr_assert_str_eq(exit_text((struct msg_instance){.exit = MSG_EXIT_SIGNAL, .exit_code = 139}, ""),
			 "was ended by signal SIGSEGV");
	cr_assert_str_eq(
		exit_text(
			(struct msg_instance){.exit = MSG_EXIT_OOM, .memory_limit = 64 << 20, .memory_peak = 64 << 20},
			""),
		"was killed: it needed more memory than its limit of 64 MiB (peak 64 MiB)");
	cr_assert_str_eq(exit_text((struct msg_instance){.exit = MSG_EXIT_OOM,
							 .oom = MSG_OOM_TENANT,
							 .memory_limit = 64 << 20,
							 .memory_peak = 48 << 20,
							 .memory_total = 96 << 20},
				   ""),
			 "was killed: the tenant's memory total of 96 MiB was reached, below its own limit of 64 MiB "
			 "(peak 48 MiB)");
	cr_assert_str_eq(
		exit_text((struct msg_instance){.exit = MSG_EXIT_OOM, .oom = MSG_OOM_HOST, .memory_limit = 64 << 20},
			  ""),
		"was killed: the host had no memory left, below its limit of 64 MiB");
	cr_assert_str_eq(exit_text((struct msg_instance){.exit = MSG_EXIT_STOPPED}, "scaled down"),
			 "stopped: scaled down");
	cr_assert_str_eq(exit_text((struct msg_instance){.exit = MSG_EXIT_KILLED}, "scaled down"),
			 "ignored SIGTERM for 10 s and was killed (scaled down)");
	cr_assert(strstr(exit_text((struct msg_instance){.exit = MSG_EXIT_LAUNCH, .text = "mount /proc: no"}, ""),
			 "mount /proc: no"));
	cr_assert_str_eq(exit_text((struct msg_instance){.exit = 99}, ""), "ended");
}

Test(control, exit_reason_may_be_its_own_input)
{
	char reason[160] = "replaced by a newer release";

	control_text_exit(&(struct msg_instance){.exit = MSG_EXIT_STOPPED}, "web", reason, 1000, reason, sizeof reason);
	cr_assert_str_eq(reason, "stopped: replaced by a newer release");
}

Test(control, tail_takes_one_source_and_escapes)
{
	static const char log[] =
		"cut line\n2026-01-01T00:00:00.000Z web.12 one\n2026-01-01T00:00:00.000Z web.1 other\n"
		"2026-01-01T00:00:00.000Z web.12 two \x1b[31mred\n2026-01-01T00:00:00.000Z web.12 three\nno-space";
	struct buf out;

	buf_init(&out, 4096);
	control_text_tail(log, sizeof log - 1, "web.12", 2, "| ", &out);
	cr_assert_str_eq(out.data, "| two \\x1b[31mred\n| three\n");
	buf_clear(&out);
	control_text_tail("", 0, "web.12", 2, "| ", &out);
	cr_assert_eq(out.len, 0);
	buf_done(&out);
}

Test(control, listeners_of_a_namespace)
{
	static const char v4[] =
		"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
		"   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1\n"
		"   1: 0200600A:1F90 0100600A:D431 01 00000000:00000000 00:00000000 00000000  1000        0 2 1\n";
	static const char v6[] =
		"  sl  local_address                         remote_address                        st\n"
		"   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00\n";
	struct buf out;
	char text[200], want[64];
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	buf_init(&out, 4096);
	control_text_listeners(v4, false, &out);
	control_text_listeners(v6, true, &out);
	cr_assert_str_eq(out.data, "127.0.0.1:3000, [::]:8080");
	cr_assert_eq(control_text_port(v4, false, 3000), 1);
	cr_assert_eq(control_text_port(v4, false, 8080), 0, "a connection does not listen");
	cr_assert_eq(control_text_port(v6, true, 8080), 2);
	cr_assert_eq(control_text_port("head\n   0: 0200600A:1F90 00000000:0000 0A 00000000\n"
				       "   1: 0100007F:1F90 00000000:0000 0A 00000000\n",
				       false, 8080),
		     3);
	cr_assert_eq(control_text_port("head\n   0: 00000000000000000000000001000000:1F90 "
				       "00000000000000000000000000000000:0000 0A 00\n"
				       "   1: 0000000000000000FFFF00000100007F:1F90 "
				       "00000000000000000000000000000000:0000 0A 00\n",
				       true, 8080),
		     1);
	cr_assert_eq(control_text_port("head\n   0: 0000000000000000FFFF00000200600A:1F90 "
				       "00000000000000000000000000000000:0000 0A 00\n",
				       true, 8080),
		     2);
	control_text_listeners("", false, &out);
	control_text_listeners("head\nshort: 0A\n", false, &out);
	control_text_listeners("head\n   0: zzzzzzzz:0BB8 00000000:0000 0A 00000000\n", false, &out);
	cr_assert_str_eq(out.data, "127.0.0.1:3000, [::]:8080");
	buf_done(&out);
	/* The kernel's own. */
	cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	cr_assert_eq(listen(fd, 1), 0);
	getsockname(fd, (struct sockaddr *)&a, &len);
	control_proc_listeners(getpid(), text, sizeof text);
	snprintf(want, sizeof want, "127.0.0.1:%u", ntohs(a.sin_port));
	if (!*text)
		cr_skip_test("this host has more sockets than are looked at");
	cr_assert(strstr(text, want) || strlen(text) > 120, "%s", text);
	close(fd);
}

Test(control, host_figures)
{
	struct control_host h = {0};
	char text[32];

	cr_assert_eq(control_text_meminfo("MemTotal:       1024 kB\nMemAvailable:     16 kB\n", "MemAvailable"), 16384);
	cr_assert_eq(control_text_meminfo("MemTotal:       1024 kB", "MemFree"), 0);
	cr_assert_float_eq(control_text_pressure("some avg10=1.50 avg60=0\nfull avg10=9"), 1.5, 0.001);
	cr_assert_eq(
		control_text_waited("some avg10=0.00 avg60=0.00 avg300=0.00 total=6597038\nfull avg10=0.00 total=7\n"),
		6597038);
	cr_assert_eq(control_text_waited("some avg10=0.00\nfull avg10=0.00 total=7\n"), 0);
	cr_assert_eq(control_text_waited(""), 0);
	control_proc_host(&h, "/");
	cr_assert_gt(h.memory, h.memory_available);
	cr_assert_gt(h.cpus, 0);
	cr_assert_gt(h.disk, 0);
	control_text_bytes(0, text);
	cr_assert_str_eq(text, "0 bytes");
	control_text_bytes(1536, text);
	cr_assert_str_eq(text, "1.5 KiB");
	control_text_bytes(256 << 20, text);
	cr_assert_str_eq(text, "256 MiB");
}

Test(control, quantiles)
{
	float bucket[STATS_BUCKETS] = {0};

	cr_assert_float_eq(control_quantile(bucket, 0.5), 0, 1e-9);
	bucket[3] = 90;	 /* 512 .. 1024 us */
	bucket[10] = 10; /* 65 .. 131 ms */
	cr_assert(control_quantile(bucket, 0.5) > 0.0005 && control_quantile(bucket, 0.5) < 0.001025);
	cr_assert(control_quantile(bucket, 0.99) > 0.065 && control_quantile(bucket, 0.99) < 0.132);
}
