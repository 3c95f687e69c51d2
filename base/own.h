/* Ownership: cleanup attributes and the two ways out of them.  Layer base, any process. */
#ifndef TULOU_BASE_OWN_H
#define TULOU_BASE_OWN_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void own_free_p(void *p)
{
	free(*(void **)p);
}

static inline void own_close_p(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void own_closedir_p(DIR **d)
{
	if (*d)
		closedir(*d);
}

static inline void own_fclose_p(FILE **f)
{
	if (*f)
		fclose(*f);
}

/* Owned locals: OWN_FREE char *s = NULL;  OWN_FD int fd = -1; */
#define OWN_FREE __attribute__((cleanup(own_free_p)))
#define OWN_FD __attribute__((cleanup(own_close_p)))
#define OWN_DIR __attribute__((cleanup(own_closedir_p)))
#define OWN_FILE __attribute__((cleanup(own_fclose_p)))

/* Defines own_NAME_p for OWN(NAME): calls FREE on a non-NULL TYPE pointer. */
#define OWN_DEFINE(name, type, free_fn)                                                                                \
	static inline void own_##name##_p(type *p)                                                                     \
	{                                                                                                              \
		if (*p)                                                                                                \
			free_fn(*p);                                                                                   \
	}
#define OWN(name) __attribute__((cleanup(own_##name##_p)))

/* Moves an owned local out: yields its value and leaves the "nothing" value behind. */
#define TAKE_PTR(p)                                                                                                    \
	({                                                                                                             \
		__typeof__(p) take_tmp_ = (p);                                                                         \
		(p) = NULL;                                                                                            \
		take_tmp_;                                                                                             \
	})
#define TAKE_FD(fd)                                                                                                    \
	({                                                                                                             \
		int take_tmp_ = (fd);                                                                                  \
		(fd) = -1;                                                                                             \
		take_tmp_;                                                                                             \
	})

/* Closes *fd if it is open and sets it to -1. */
static inline void own_close(int *fd)
{
	own_close_p(fd);
	*fd = -1;
}

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
