/* What the steps of a launch share.  Layer agent/sandbox; the program tulou-sandbox.
 *
 * Three processes take part, each running its own steps of the one list in steps.c:
 *
 *   builder  root, initial user namespace; makes mounts and network, then exits
 *   inside   PID 1 of the sandbox; uid 0 of its user namespace; stays (init.c)
 *   program  the app's process from vfork(2) to exec; shares the memory of `inside` until then
 */
#ifndef TULOU_AGENT_SANDBOX_SANDBOX_H
#define TULOU_AGENT_SANDBOX_SANDBOX_H

#include "agent/sandbox/launch.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SANDBOX_UID 1000 /* user and group of the program, inside */

enum sandbox_side { SANDBOX_BUILDER, SANDBOX_INSIDE, SANDBOX_PROGRAM, SANDBOX_SIDE_COUNT };

/* Words between builder and inside, one byte each on `sync`. */
enum sandbox_word {
	SANDBOX_WORD_ROOT = 'R',    /* builder: the root file system is put together; its descriptor comes along */
	SANDBOX_WORD_NETWORK = 'N', /* builder: eth0 is there */
	SANDBOX_WORD_UP = 'U',	    /* inside: eth0 is up */
	SANDBOX_WORD_LINKED = 'L',  /* builder: the host's end carries packets */
	SANDBOX_WORD_DONE = 'D',    /* inside: running, or failed and reported */
};

struct sandbox {
	struct launch spec;
	const char *what; /* more about the failing step than its name, NULL = nothing */
	int sync;	  /* owned: this side's end of the socket pair */
	int pidfd;	  /* builder, owned: PID 1 */
	pid_t pid;	  /* builder: PID 1; inside: the program */
	int proc;	  /* builder, owned: /proc/<pid> of PID 1 */
	int link;	  /* builder, owned: route netlink socket of the host, -1 before */
	int link_made;	  /* builder: the veth pair exists and must go when the launch fails */
	int files;	  /* builder, owned: the bounded tmpfs for /dev, and for all that is private without a layer */
	int layer;	  /* builder, owned: the private layer on disk, a detached mount; -1 = in files */
	int stack, tree, usr; /* builder, owned: detached mounts; -1 when there is none */
	int root;	      /* owned: root of the finished file system */
	char *blob;	      /* inside, owned mapping: argv and environment */
	size_t blob_size;     /* bytes mapped */
	char **argv, **envp;  /* inside: into the mapping */
	char *filter;	      /* inside, owned mapping: the program's seccomp filter */
	size_t filter_size;   /* bytes */
	volatile int error;   /* program: negative errno, written into the shared memory */
	volatile int step;    /* number of the running step */
};

/* One step: 0 or negative errno; s->what may say more. */
typedef int sandbox_step_fn(struct sandbox *s);

/* Runs the steps of one side in order.  Returns 0, or the negative errno of the failed step (s->step says which). */
int sandbox_run(struct sandbox *s, enum sandbox_side side);
/* Tells the supervisor: LAUNCH_REPORT_PID, _EXEC or _FAILED (with the current step's name). */
void sandbox_report(struct sandbox *s, enum launch_report_kind kind, int pid, int error);
/* The steps, for the documentation's test: name and side of the i-th, NULL past the end. */
const char *sandbox_step_name(unsigned i, enum sandbox_side *side);

/* spec.c: reading and checking what the supervisor gave. */
int spec_check(const struct launch *l, const char **field);
sandbox_step_fn spec_read;

/* user.c: who we are. */
sandbox_step_fn user_shed, user_map, user_become_root, user_bound, user_drop;
/* Keeps only these (bits of the first 32) permitted and effective, nothing inheritable. */
int user_capabilities(uint32_t keep);
/* The builder's effective user, all capabilities kept: what it creates then is accounted to that user. */
int user_act_as(uid_t uid);

/* namespace.c: the two processes and the words between them. */
sandbox_step_fn namespace_create, namespace_join_cgroups, namespace_name;
int namespace_say(struct sandbox *s, enum sandbox_word w, int fd);
/* Waits for w; a descriptor that came along is left in *fd (may be NULL).  -EPIPE when the other side is gone. */
int namespace_hear(struct sandbox *s, enum sandbox_word w, int *fd);
sandbox_step_fn namespace_wait_done;

/* root.c: the root file system, by the builder inside the sandbox's mount namespace. */
sandbox_step_fn root_take, root_idmap, root_private, root_assemble, root_hand_over;

/* inner.c: the rest of the file system, by PID 1. */
sandbox_step_fn inner_wait, inner_proc, inner_masks, inner_pivot, inner_socket;

/* net.c: the pair of interfaces. */
sandbox_step_fn net_connect, net_configure, net_carrier, net_wait_carrier;
void net_undo(struct sandbox *s);

/* net_bound.c: what the program may send, in packets. */
sandbox_step_fn net_bound;

/* program.c: what is executed, and how. */
sandbox_step_fn program_read, program_filter, program_start;
sandbox_step_fn program_session, program_limits, program_stdio, program_seccomp, program_exec;
int program_parse(char *blob, size_t n, size_t room, const struct launch *l, char ***argv, char ***envp);

/* init.c: PID 1 for the rest of its life. */
sandbox_step_fn init_prepare;
_Noreturn void init_run(struct sandbox *s);

/* text.c: numbers and strings without stdio, whose pages would stay in every instance. */
/* Appends to out[0..cap) at *at, always NUL-terminated; what does not fit is cut. */
void text_add(char *out, size_t cap, size_t *at, const char *s);
void text_add_u64(char *out, size_t cap, size_t *at, uint64_t v);

/* Creates or opens name below dir and writes text in one write(2); 0 or negative errno. */
int text_write(int dir, const char *path, int flags, mode_t mode, const char *text);

#endif
