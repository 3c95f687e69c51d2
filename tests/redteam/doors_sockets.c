/* Families and kinds of sockets.  tests/redteam. */
#include "tests/redteam/probe.h"

#include <errno.h>
#include <linux/if_alg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* socket(args); a kernel without the family is no door. */
static enum verdict kind(const struct door *d)
{
	errno = 0;
	long r = syscall(SYS_socket, d->args[0], d->args[1], d->args[2]);

	if (r < 0 && door_outside() && (errno == EAFNOSUPPORT || errno == EPROTONOSUPPORT || errno == ESOCKTNOSUPPORT))
		return door_say("this kernel has none: %s", strerror(errno)), DOOR_IRRELEVANT;
	return door_result(r, "socket");
}

static enum verdict pair(const struct door *d)
{
	int fd[2];
	errno = 0;
	long r = syscall(SYS_socketpair, d->args[0], d->args[1], d->args[2], fd);

	if (r < 0 && (errno == EAFNOSUPPORT || errno == EOPNOTSUPP))
		return DOOR_CLOSED;
	return door_result(r, "socketpair");
}

/* The way into the page cache of Copy Fail: a cipher over spliced pages. */
static enum verdict alg(const struct door *d)
{
	int fd = socket(AF_ALG, SOCK_SEQPACKET, 0);
	struct sockaddr_alg a = {.salg_family = AF_ALG, .salg_type = "hash", .salg_name = "sha256"};

	(void)d;
	if (fd < 0)
		return door_outside() && errno == EAFNOSUPPORT ? DOOR_IRRELEVANT : door_result(fd, "socket");
	return door_result(bind(fd, (struct sockaddr *)&a, sizeof a), "bind");
}

/* Every family but the four that apps need, every type. */
static enum verdict families(const struct door *d)
{
	char text[300] = "open:";
	size_t at = strlen(text);

	(void)d;
	for (int family = 0; family < 64; family++) {
		if (family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK)
			continue;
		for (int type = 1; type <= 10; type++) {
			int fd = socket(family, type, 0);
			if (fd < 0)
				continue;
			close(fd);
			if (at < sizeof text - 8) {
				text[at++] = ' ';
				text[at++] = (char)('0' + family / 10);
				text[at++] = (char)('0' + family % 10);
				text[at] = '\0';
			}
			break;
		}
	}
	door_say("%s", text);
	return at > strlen("open:") ? DOOR_OPEN : DOOR_CLOSED;
}

#define SOCKET(what, which_rule, family, type, protocol)                                                               \
	{                                                                                                              \
		.name = "socket." what, .rule = (which_rule), .try = kind, .args = { family, type, protocol }          \
	}

const struct door doors_sockets[] = {
	{.name = "socket.families", .rule = RULE_CALLS, .try = families},
	{.name = "socket.alg", .rule = RULE_LAYERS, .try = alg},
	SOCKET("rxrpc", RULE_LAYERS, 33, SOCK_DGRAM, AF_INET),
	SOCKET("xfrm", RULE_LAYERS, AF_NETLINK, SOCK_RAW, 6),
	SOCKET("key", RULE_CALLS, AF_KEY, SOCK_RAW, 2),
	SOCKET("packet", RULE_NETWORK, AF_PACKET, SOCK_RAW, 0x300),
	SOCKET("packet_dgram", RULE_NETWORK, AF_PACKET, SOCK_DGRAM, 0),
	SOCKET("vsock", RULE_CALLS, AF_VSOCK, SOCK_STREAM, 0),
	SOCKET("xdp", RULE_CALLS, 44, SOCK_RAW, 0),
	SOCKET("smc", RULE_CALLS, 43, SOCK_STREAM, 0),
	SOCKET("tipc", RULE_CALLS, AF_TIPC, SOCK_RDM, 0),
	SOCKET("can", RULE_CALLS, AF_CAN, SOCK_RAW, 1),
	SOCKET("bluetooth", RULE_CALLS, AF_BLUETOOTH, SOCK_RAW, 1),
	SOCKET("kcm", RULE_CALLS, 41, SOCK_DGRAM, 0),
	SOCKET("rds", RULE_CALLS, 21, SOCK_SEQPACKET, 0),
	SOCKET("netlink_usersock", RULE_CALLS, AF_NETLINK, SOCK_RAW, 2),
	SOCKET("netlink_diag", RULE_CALLS, AF_NETLINK, SOCK_RAW, 4),
	SOCKET("netlink_nflog", RULE_CALLS, AF_NETLINK, SOCK_RAW, 5),
	SOCKET("netlink_selinux", RULE_CALLS, AF_NETLINK, SOCK_RAW, 7),
	SOCKET("netlink_audit", RULE_CALLS, AF_NETLINK, SOCK_RAW, 9),
	SOCKET("netlink_connector", RULE_CALLS, AF_NETLINK, SOCK_RAW, 11),
	SOCKET("netlink_netfilter", RULE_CALLS, AF_NETLINK, SOCK_RAW, 12),
	SOCKET("netlink_kobject", RULE_CALLS, AF_NETLINK, SOCK_RAW, 15),
	SOCKET("netlink_generic", RULE_CALLS, AF_NETLINK, SOCK_RAW, 16),
	SOCKET("netlink_scsi", RULE_CALLS, AF_NETLINK, SOCK_RAW, 18),
	SOCKET("netlink_rdma", RULE_CALLS, AF_NETLINK, SOCK_RAW, 20),
	SOCKET("netlink_crypto", RULE_CALLS, AF_NETLINK, SOCK_RAW, 21),
	SOCKET("raw_icmp", RULE_NETWORK, AF_INET, SOCK_RAW, 1),
	SOCKET("raw_any", RULE_NETWORK, AF_INET, SOCK_RAW, 255),
	SOCKET("raw_tcp6", RULE_NETWORK, AF_INET6, SOCK_RAW, 6),
	SOCKET("packet_old", RULE_NETWORK, AF_INET, SOCK_PACKET, 0x300),
	SOCKET("ping", RULE_NETWORK, AF_INET, SOCK_DGRAM, 1),
	SOCKET("sctp", RULE_CALLS, AF_INET, SOCK_STREAM, 132),
	SOCKET("sctp_packets", RULE_CALLS, AF_INET, SOCK_SEQPACKET, 132),
	SOCKET("dccp", RULE_CALLS, AF_INET, 6 /* SOCK_DCCP */, 33),
	SOCKET("mptcp", RULE_CALLS, AF_INET, SOCK_STREAM, 262),
	SOCKET("udplite", RULE_CALLS, AF_INET, SOCK_DGRAM, 136),
	SOCKET("l2tp", RULE_CALLS, AF_INET, SOCK_DGRAM, 115),
	/* The kernel reads the low halves only. */
	SOCKET("alg_high_bits", RULE_CALLS, 1l << 32 | AF_ALG, SOCK_SEQPACKET, 0),
	SOCKET("packet_high_bits", RULE_CALLS, 1l << 32 | AF_PACKET, SOCK_RAW, 0),
	SOCKET("raw_high_bits", RULE_CALLS, AF_INET, 1l << 32 | SOCK_RAW, 1),
	SOCKET("netlink_high_bits", RULE_CALLS, AF_NETLINK, SOCK_RAW, 1l << 32 | 12),
	{.name = "socketpair.tipc", .rule = RULE_CALLS, .try = pair, .args = {AF_TIPC, SOCK_RDM, 0}},
	{0},
};
