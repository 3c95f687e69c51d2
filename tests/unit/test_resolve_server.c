/* The name server on loopback: by UDP and TCP, strangers that wait, floods, connections that end at any time. */
#include "agent/resolve/dns.h"
#include "agent/resolve/resolve.h"
#include "agent/sandbox/packets.h"
#include "agent/sandbox/tbf.h"
#include "base/own.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SELF 0x7f000001u

struct server {
	struct loop *loop;
	struct resolve *r;
	int udp, tcp, client;
	struct sockaddr_in at_udp, at_tcp;
	struct loop_timer end;
};

static int bound(int type, struct sockaddr_in *a)
{
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof *a;

	*a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(SELF)};
	cr_assert_eq(bind(fd, (struct sockaddr *)a, sizeof *a), 0);
	if (type == SOCK_STREAM)
		cr_assert_eq(listen(fd, 64), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)a, &len), 0);
	return fd;
}

static void begin(struct server *s)
{
	*s = (struct server){.loop = loop_new()};
	s->r = resolve_new(s->loop, NULL, 0);
	s->udp = bound(SOCK_DGRAM, &s->at_udp);
	s->tcp = bound(SOCK_STREAM, &s->at_tcp);
	s->client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	cr_assert_eq(connect(s->client, (struct sockaddr *)&s->at_udp, sizeof s->at_udp), 0);
	cr_assert_eq(resolve_listen(s->r, s->udp, s->tcp), 0);
}

static void on_end(void *arg)
{
	loop_stop(arg);
}

static void turn(struct server *s, unsigned ms)
{
	loop_timer_start(s->loop, &s->end, ms * 1000, on_end, s->loop);
	loop_run(s->loop);
}

static void end(struct server *s)
{
	resolve_free(s->r);
	turn(s, 1);
	loop_free(s->loop);
	close(s->udp);
	close(s->tcp);
	close(s->client);
}

static void put(struct server *s, uint32_t address, uint32_t flags)
{
	struct resolve_entry e = {.address = address, .slot = 3, .flags = flags, .app = "redis", .type = "web"};

	resolve_message(s->r, RESOLVE_PUT, &e);
}

static size_t query(uint8_t *p, const char *app, const char *zone)
{
	size_t n = DNS_HEADER, k = strlen(app), z = strlen(zone);

	memset(p, 0, DNS_HEADER);
	p[2] = 1;
	p[5] = 1;
	p[n++] = (uint8_t)k;
	memcpy(p + n, app, k);
	n += k;
	p[n++] = (uint8_t)z;
	memcpy(p + n, zone, z);
	n += z;
	memcpy(p + n, "\0\0\1\0\1", 5);
	return n + 5;
}

static int ask(struct server *s, const char *app, const char *zone, uint8_t *answer)
{
	uint8_t p[600];
	size_t n = query(p, app, zone);

	cr_assert_eq(send(s->client, p, n, 0), (ssize_t)n);
	turn(s, 20);
	return (int)recv(s->client, answer, 600, 0);
}

Test(resolve, server_answers)
{
	struct server s;
	uint8_t a[600];
	int n;

	begin(&s);
	put(&s, SELF, RESOLVE_FORWARD);
	put(&s, 0x0a5e0002, RESOLVE_NAMED);
	n = ask(&s, "redis", "internal", a);
	cr_assert_gt(n, 16);
	cr_assert_eq(a[3] & 15, DNS_OK);
	cr_assert_eq(a[7], 1);
	cr_assert_eq(memcmp(a + n - 4, "\x0a\x5e\0\2", 4), 0);
	cr_assert_gt(ask(&s, "other", "internal", a), 0);
	cr_assert_eq(a[3] & 15, DNS_NXDOMAIN);
	cr_assert_gt(ask(&s, "www", "example", a), 0);
	cr_assert_eq(a[3] & 15, DNS_SERVFAIL, "the host has no resolver");
	put(&s, SELF, 0);
	cr_assert_gt(ask(&s, "www", "example", a), 0);
	cr_assert_eq(a[3] & 15, DNS_REFUSED, "no egress");
	cr_assert_eq(send(s.client, "x", 1, 0), 1);
	turn(&s, 10);
	cr_assert_lt(recv(s.client, a, sizeof a, 0), 0, "a scrap");
	end(&s);
}

Test(resolve, server_lets_strangers_wait_a_moment)
{
	struct server s;
	uint8_t a[600];

	begin(&s);
	put(&s, 0x0a5e0002, RESOLVE_NAMED);
	cr_assert_lt(ask(&s, "redis", "internal", a), 0, "not known yet");
	put(&s, SELF, 0);
	cr_assert_gt(recv(s.client, a, sizeof a, 0), 0, "known now");
	resolve_message(s.r, RESOLVE_DEL, &(struct resolve_entry){.address = SELF});
	for (unsigned i = 0; i < 2 * LIMIT_RESOLVE_PARKED; i++)
		cr_assert_lt(ask(&s, "redis", "internal", a), 0);
	turn(&s, LIMIT_RESOLVE_PARK_MS + 400);
	put(&s, SELF, 0);
	cr_assert_lt(recv(s.client, a, sizeof a, 0), 0, "too late");
	cr_assert_gt(ask(&s, "redis", "internal", a), 0);
	end(&s);
}

Test(resolve, server_drops_a_flood)
{
	struct server s;
	uint8_t p[600], a[600];
	size_t n = query(p, "redis", "internal");
	unsigned got = 0;

	begin(&s);
	put(&s, SELF, RESOLVE_NAMED);
	for (unsigned i = 0; i < 30; i++) {
		for (unsigned k = 0; k < 50; k++)
			send(s.client, p, n, 0);
		turn(&s, 1);
		while (recv(s.client, a, sizeof a, 0) > 0)
			got++;
	}
	cr_assert_geq(got, LIMIT_RESOLVE_BURST / 2);
	cr_assert_leq(got, LIMIT_RESOLVE_BURST + LIMIT_RESOLVE_RATE * 5, "%u of 1500", got);
	end(&s);
}

static int dial(struct server *s)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval tv = {1, 0};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	cr_assert_eq(connect(fd, (struct sockaddr *)&s->at_tcp, sizeof s->at_tcp), 0);
	return fd;
}

Test(resolve, server_by_tcp)
{
	struct server s;
	uint8_t p[602], a[600];
	size_t n = query(p + 2, "redis", "internal");
	int fds[2 * LIMIT_RESOLVE_CONNECTIONS_ONE];

	begin(&s);
	put(&s, SELF, RESOLVE_NAMED);
	p[0] = 0;
	p[1] = (uint8_t)n;
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = dial(&s);
	turn(&s, 20);
	/* In pieces, twice on one connection. */
	for (unsigned twice = 0; twice < 2; twice++) {
		for (size_t i = 0; i < n + 2; i++) {
			cr_assert_eq(send(fds[0], p + i, 1, MSG_NOSIGNAL), 1);
			turn(&s, 1);
		}
		turn(&s, 10);
		cr_assert_gt(recv(fds[0], a, sizeof a, 0), 30);
		cr_assert_eq(a[2 + 7], 1);
	}
	cr_assert_eq(recv(fds[ARRAY_LEN(fds) - 1], a, sizeof a, 0), 0, "too many of one address");
	/* One that says nonsense, one that leaves in the middle, one whose instance goes. */
	send(fds[1], "\0\3abc", 5, MSG_NOSIGNAL);
	send(fds[2], p, 5, MSG_NOSIGNAL);
	turn(&s, 10);
	cr_assert_leq(recv(fds[1], a, sizeof a, 0), 0, "closed, with what it did not read");
	close(fds[2]);
	resolve_message(s.r, RESOLVE_DEL, &(struct resolve_entry){.address = SELF});
	send(fds[3], p, n + 2, MSG_NOSIGNAL);
	turn(&s, 10);
	cr_assert_eq(recv(fds[3], a, sizeof a, 0), 0);
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
		if (i != 2)
			close(fds[i]);
	turn(&s, 10);
	end(&s);
}

Test(sandbox, rate_message_has_no_holes)
{
	struct tbf_message m;
	uint64_t rate = 0;

	tbf_set(&m, 7, 5ull << 32);
	cr_assert_eq(sizeof m, 108);
	cr_assert_eq(offsetof(struct tbf_message, options) + m.options.rta_len, sizeof m);
	cr_assert_eq(m.qopt.rate.rate, UINT32_MAX);
	memcpy(&rate, m.rate64_value, sizeof rate);
	cr_assert_eq(rate, 5ull << 32);
	cr_assert_eq(tbf_burst(1), LIMIT_NET_BURST);
	cr_assert_eq(tbf_burst(100 << 20), (100u << 20) / 50, "20 ms");
	cr_assert_eq(tbf_burst(UINT64_MAX), 1u << 30);
	cr_assert_eq(tbf_queue(UINT64_MAX), LIMIT_NET_QUEUE);
	cr_assert_geq(tbf_queue(64 << 20), 3u << 20, "50 ms");
}

static unsigned batch_is_whole(const char *room, size_t n, uint16_t last)
{
	unsigned messages = 0, acknowledged = 0;
	size_t at = 0;

	while (at < n) {
		const struct nlmsghdr *h = (const void *)(room + at);
		cr_assert_geq(h->nlmsg_len, sizeof *h);
		cr_assert_eq(h->nlmsg_seq, ++messages);
		acknowledged += (h->nlmsg_flags & NLM_F_ACK) != 0;
		at += NLMSG_ALIGN(h->nlmsg_len);
		cr_assert(at < n || h->nlmsg_type == last);
	}
	cr_assert_eq(at, n);
	cr_assert_eq(acknowledged, 1, "one answer is read");
	return messages;
}

Test(sandbox, packet_bound_is_one_whole_batch)
{
	static const unsigned messages[PACKETS_FORM_COUNT] = {10, 7, 12};
	_Alignas(struct nlmsghdr) char room[PACKETS_ROOM], bare[PACKETS_ROOM];

	for (enum packets_form form = 0; form < PACKETS_FORM_COUNT; form++) {
		size_t n = packets_batch(room, sizeof room, form, LIMIT_NET_PACKETS_MAX, 3);
		cr_assert_gt(n, 0);
		cr_assert_eq(batch_is_whole(room, n, NFNL_MSG_BATCH_END), messages[form], "%d", form);
		cr_assert_eq(
			batch_is_whole(bare, packets_batch(bare, sizeof bare, form, 20000, -1), NFNL_MSG_BATCH_END),
			messages[form] - 1, "%d without a program", form);
		/* No room: nothing is written past it, and nothing is sent. */
		for (size_t cap = 0; cap < n; cap += 4) {
			memset(room, 0x5a, sizeof room);
			cr_assert_eq(packets_batch(room, cap, form, 20000, 3), 0, "%zu bytes", cap);
			for (size_t i = cap; i < sizeof room; i++)
				cr_assert_eq(room[i], 0x5a, "byte %zu of %zu", i, cap);
		}
	}
	cr_assert_eq(packets_burst(20000), 5000);
	cr_assert_eq(packets_burst(LIMIT_NET_PACKETS_MIN), LIMIT_NET_PACKETS_BURST_MIN);
}

/* The kernel's answer has the form of the rules that were sent, so a batch read back tells its own rate; cut off or
 * bent anywhere it is never read past its end. */
Test(sandbox, packet_bound_is_read_back)
{
	_Alignas(struct nlmsghdr) char room[PACKETS_ROOM], bent[PACKETS_ROOM];
	size_t n = packets_batch(room, sizeof room, PACKETS_MAKE, 777, 3);
	struct packets p = {0};

	cr_assert_eq(packets_answer(room, n, &p), 1, "no end of a dump in it");
	cr_assert_eq(p.rate, 777);
	cr_assert_eq(p.counts, 1);
	cr_assert_eq(p.segments, 1);
	for (size_t cut = 0; cut < n; cut++) {
		char *end = malloc(cut + 1);
		memcpy(end, room, cut);
		packets_answer(end, cut, &p);
		free(end);
	}
	for (size_t at = 0; at < n; at++)
		for (unsigned v = 0; v < 256; v += 17) {
			memcpy(bent, room, n);
			bent[at] = (char)v;
			packets_answer(bent, n, &p);
		}
}

/* An element as the kernel tells it, by hand: counter of 258 packets, of 300 bytes each. */
Test(sandbox, counter_of_a_set_is_read)
{
	_Alignas(struct nlmsghdr) char room[PACKETS_ROOM], bent[PACKETS_ROOM];
	/* Lengths (three are said below) and types of the nested attributes. */
	uint16_t element[] = {0, NFTA_SET_ELEM_LIST_ELEMENTS, 0,  NFTA_LIST_ELEM,
			      0, NFTA_SET_ELEM_EXPR,	      12, NFTA_EXPR_NAME};
	size_t n = packets_counter_question(room, sizeof room, "tulou_x", "set", 5), at = NLMSG_LENGTH(4);
	struct nlmsghdr *h = (void *)room;
	struct nlmsgerr *e = NLMSG_DATA(h);
	uint64_t count = 9;

	cr_assert_gt(n, 0);
	cr_assert_eq(h->nlmsg_len, n);
	for (size_t cap = 0; cap < n; cap += 4)
		cr_assert_eq(packets_counter_question(bent, cap, "tulou_x", "set", 5), 0, "%zu bytes", cap);
	cr_assert_eq(packets_counter_answer(room, n, &count), -EPROTO, "an element without a counter");
	h->nlmsg_type = NLMSG_ERROR;
	e->error = -ENOENT;
	cr_assert_eq(packets_counter_answer(room, n, &count), -ENOENT);
	cr_assert_eq(count, 9);

	h->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM;
	for (unsigned i = 0; i < 3; i++) /* each holds the next, and 36 bytes are behind them */
		element[2 * i] = (uint16_t)(sizeof element + 36 - 4 * i);
	memcpy(room + at, element, sizeof element);
	at += sizeof element;
	memcpy(room + at, "counter", 8);
	at += 8;
	memcpy(room + at, (uint16_t[]){28, NFTA_EXPR_DATA, 12, NFTA_COUNTER_BYTES}, 8);
	memcpy(room + at + 8, (uint64_t[]){htobe64(258 * 300)}, 8);
	memcpy(room + at + 16, (uint16_t[]){12, NFTA_COUNTER_PACKETS}, 4);
	memcpy(room + at + 20, (uint64_t[]){htobe64(258)}, 8);
	n = at + 28;
	h->nlmsg_len = (uint32_t)n;
	cr_assert_eq(packets_counter_answer(room, n, &count), 0);
	cr_assert_eq(count, 258);
	for (size_t cut = 0; cut < n; cut++) {
		char *end = malloc(cut + 1);
		memcpy(end, room, cut);
		packets_counter_answer(end, cut, &count);
		free(end);
	}
	for (size_t i = 0; i < n; i++)
		for (unsigned v = 0; v < 256; v += 17) {
			memcpy(bent, room, n);
			bent[i] = (char)v;
			packets_counter_answer(bent, n, &count);
		}
}
