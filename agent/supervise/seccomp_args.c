/* Calls that an app needs, but not for everything: rules over their arguments.  Layer agent, supervisor process.
 *
 * ioctl(2) and setsockopt(2) are a thousand calls behind one number, and most of the kernel's newest code is reached by
 * them: line disciplines, subvolumes and deduplication of file systems, upper layers of TCP, ESP in UDP.  So they are
 * lists of what programs use; the rest answers as a kernel built without it.  prctl(2) and madvise(2) are allowed but
 * for a few.  The kernel looks at 32 bits of all these values, so 32 bits are compared. */
#include "agent/supervise/seccomp_args.h"
#include "base/own.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* "Whatever else": libseccomp lets a rule without conditions swallow the others of its call, so this one has a
 * condition that is always true, of a kind that its filters look at last (2.5 sorts by argument downwards, and ">="
 * behind masks).  The unit test notices a version that does otherwise. */
#define OTHERWISE SCMP_A0(SCMP_CMP_GE, 0)

/* An argument's 32 bits equal v where mask has ones. */
static struct scmp_arg_cmp bits(unsigned arg, uint32_t mask, uint32_t v)
{
	return (struct scmp_arg_cmp){.arg = arg, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = v};
}

static struct scmp_arg_cmp is(unsigned arg, uint32_t v)
{
	return bits(arg, 0xffffffffu, v);
}

static int otherwise(scmp_filter_ctx ctx, int nr, uint32_t action)
{
	struct scmp_arg_cmp c = OTHERWISE;

	return seccomp_rule_add_array(ctx, action, nr, 1, &c);
}

/* Numbers as the kernel's headers have them, where libc's names differ between versions. */
static const uint32_t ioctls[] = {
	/* any descriptor */
	FIONREAD, FIONBIO, FIOASYNC, FIOCLEX, FIONCLEX, FIOQSIZE, 2 /* FIGETBSZ */, TIOCOUTQ,
	0x80086601 /* FS_IOC_GETFLAGS */, 0x801c581f /* FS_IOC_FSGETXATTR */, 0x80045200 /* RNDGETENTCNT */,
	/* terminals; not their line disciplines, consoles and serial lines */
	TCGETS, TCSETS, TCSETSW, TCSETSF, TCGETA, TCSETA, TCSETAW, TCSETAF, 0x802c542a /* TCGETS2 */,
	0x402c542b /* TCSETS2 */, 0x402c542c /* TCSETSW2 */, 0x402c542d /* TCSETSF2 */, TCSBRK, TCSBRKP, TCXONC, TCFLSH,
	TIOCEXCL, TIOCNXCL, 0x80045440 /* TIOCGEXCL */, TIOCSCTTY, TIOCNOTTY, TIOCGPGRP, TIOCSPGRP, TIOCGSID,
	TIOCGWINSZ, TIOCSWINSZ, TIOCGETD, TIOCMGET, TIOCPKT, 0x80045438 /* TIOCGPKT */, TIOCGPTN, TIOCSPTLCK,
	0x80045439 /* TIOCGPTLCK */, 0x5441 /* TIOCGPTPEER */, 0x80045432 /* TIOCGDEV */,
	/* interfaces, to look at */
	SIOCATMARK, SIOCINQ, SIOCOUTQ, SIOCGIFNAME, SIOCGIFCONF, SIOCGIFFLAGS, SIOCGIFADDR, SIOCGIFDSTADDR,
	SIOCGIFBRDADDR, SIOCGIFNETMASK, SIOCGIFMETRIC, SIOCGIFMTU, SIOCGIFHWADDR, SIOCGIFINDEX, SIOCGIFCOUNT,
	SIOCGIFTXQLEN, SIOCGIFMAP};

/* The strict profile's: what servers and shells use. */
static const uint32_t ioctls_strict[] = {
	TCGETS,	     TCSETS,	     TCSETSW,	     TCSETSF,	 TIOCGPGRP,	TIOCSPGRP,    TIOCGWINSZ,
	TIOCSWINSZ,  TIOCSCTTY,	     TIOCNOTTY,	     TIOCGPTN,	 TIOCSPTLCK,	TIOCOUTQ,     FIONREAD,
	FIONBIO,     FIOASYNC,	     FIOCLEX,	     FIONCLEX,	 SIOCGIFNAME,	SIOCGIFCONF,  SIOCGIFFLAGS,
	SIOCGIFADDR, SIOCGIFBRDADDR, SIOCGIFNETMASK, SIOCGIFMTU, SIOCGIFHWADDR, SIOCGIFINDEX,
};

/* Refused with an answer that a caller expects. */
static const struct {
	uint32_t command;
	int error;
} ioctls_refused[] = {{TIOCSTI, EPERM}, {TIOCLINUX, EPERM}, {SIOCETHTOOL, EOPNOTSUPP /* psutil asks for a speed */}};

static int add_ioctl(scmp_filter_ctx ctx, const uint32_t *list, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		struct scmp_arg_cmp c = is(1, list[i]);
		r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SYS_ioctl, 1, &c);
		r = r == -EEXIST ? 0 : r; /* two names for one number */
	}
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(ioctls_refused); i++) {
		struct scmp_arg_cmp c = is(1, ioctls_refused[i].command);
		r = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO((uint16_t)ioctls_refused[i].error), SYS_ioctl, 1, &c);
	}
	return r == 0 ? otherwise(ctx, SYS_ioctl, SCMP_ACT_ERRNO(ENOTTY)) : r;
}

/* Options of sockets by level, as blocks of numbers.  Left out: SO_ATTACH_BPF and its kin (50–52); IPSEC and XFRM
 * policies (IP 16 and 17, IPv6 34 and 35); iptables' and multicast routers' (from 64 on; IPv6 64 and 65);
 * TCP_MAXSEG (2: a packet of 64 KiB that is 700 behind all that counts packets), TCP_REPAIR (19) and TCP_ULP (31,
 * kernel TLS and others); UDP_ENCAP (100: ESP and L2TP in UDP); UDP_SEGMENT (103: 128 datagrams in one, which
 * agent/sandbox/packets.h refuses as a control message too). */
#define UDP_SEGMENT_OPTION 103
static const struct {
	uint32_t level, mask, value; /* (option & mask) == value */
} options[] = {
	{SOL_SOCKET, ~31u, 0},	 {SOL_SOCKET, ~15u, 32},  {SOL_SOCKET, ~1u, 48},   {SOL_SOCKET, ~0u, 53},
	{SOL_SOCKET, ~1u, 54},	 {SOL_SOCKET, ~7u, 56},	  {SOL_SOCKET, ~31u, 64},  {IPPROTO_IP, ~15u, 0},
	{IPPROTO_IP, ~1u, 18},	 {IPPROTO_IP, ~3u, 20},	  {IPPROTO_IP, ~7u, 24},   {IPPROTO_IP, ~31u, 32},
	{IPPROTO_TCP, ~1u, 0},	 {IPPROTO_TCP, ~0u, 3},	  {IPPROTO_TCP, ~3u, 4},   {IPPROTO_TCP, ~7u, 8},
	{IPPROTO_TCP, ~1u, 16},	 {IPPROTO_TCP, ~0u, 18},  {IPPROTO_TCP, ~3u, 20},  {IPPROTO_TCP, ~3u, 24},
	{IPPROTO_TCP, ~1u, 28},	 {IPPROTO_TCP, ~0u, 30},  {IPPROTO_TCP, ~31u, 32}, {IPPROTO_UDP, ~1u, 0},
	{IPPROTO_UDP, ~0u, 101}, {IPPROTO_UDP, ~0u, 102}, {IPPROTO_UDP, ~0u, 104}, {IPPROTO_IPV6, ~31u, 0},
	{IPPROTO_IPV6, ~1u, 32}, {IPPROTO_IPV6, ~3u, 36}, {IPPROTO_IPV6, ~7u, 40}, {IPPROTO_IPV6, ~15u, 48},
	{IPPROTO_IPV6, ~1u, 66}, {IPPROTO_IPV6, ~3u, 68}, {IPPROTO_IPV6, ~7u, 72}, {SOL_NETLINK, ~15u, 0},
};

static int add_setsockopt(scmp_filter_ctx ctx)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(options); i++) {
		struct scmp_arg_cmp c[] = {is(1, options[i].level), bits(2, options[i].mask, options[i].value)};
		r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SYS_setsockopt, ARRAY_LEN(c), c);
	}
	return r == 0 ? otherwise(ctx, SYS_setsockopt, SCMP_ACT_ERRNO(ENOPROTOOPT)) : r;
}

/* Who asks whether the kernel has UDP_SEGMENT, as libraries for QUIC do, hears that it has not, and does without. */
static int add_getsockopt(scmp_filter_ctx ctx)
{
	struct scmp_arg_cmp c[] = {is(1, IPPROTO_UDP), is(2, UDP_SEGMENT_OPTION)};
	int r = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(ENOPROTOOPT), SYS_getsockopt, ARRAY_LEN(c), c);

	return r == 0 ? otherwise(ctx, SYS_getsockopt, SCMP_ACT_ALLOW) : r;
}

/* Everything but these values of one argument, which answer EINVAL as from a kernel that lacks them. */
static int add_all_but(scmp_filter_ctx ctx, int nr, unsigned arg, const uint32_t *values, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		struct scmp_arg_cmp c = is(arg, values[i]);
		r = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(EINVAL), nr, 1, &c);
	}
	return r == 0 ? otherwise(ctx, nr, SCMP_ACT_ALLOW) : r;
}

int seccomp_args(scmp_filter_ctx ctx, bool strict)
{
	static const uint32_t processes[] = {
		35, /* PR_SET_MM */
		57, /* PR_SET_IO_FLUSHER */
		62, /* PR_SCHED_CORE: a cookie of one's own idles the sibling threads of a core, which are the
		       neighbours' */
		67, /* PR_SET_MEMORY_MERGE: pages shared with other tenants tell what these hold */
	};
	static const uint32_t advice[] = {
		12,  /* MADV_MERGEABLE: the same */
		100, /* MADV_HWPOISON */
		101, /* MADV_SOFT_OFFLINE */
	};
	int r = strict ? add_ioctl(ctx, ioctls_strict, ARRAY_LEN(ioctls_strict))
		       : add_ioctl(ctx, ioctls, ARRAY_LEN(ioctls));

	if (r == 0)
		r = add_setsockopt(ctx);
	if (r == 0)
		r = add_getsockopt(ctx);
	if (r == 0)
		r = add_all_but(ctx, SYS_prctl, 0, processes, ARRAY_LEN(processes));
	return r == 0 ? add_all_but(ctx, SYS_madvise, 2, advice, ARRAY_LEN(advice)) : r;
}
