/* A file system for SQLite that lies on the real one and makes the n-th write, sync or truncation fail.  For tests of
 * the store. */
#ifndef TULOU_TESTS_FAULT_VFS_H
#define TULOU_TESTS_FAULT_VFS_H

#include <stdbool.h>

enum vfs_fault {
	VFS_FAULT_NONE,
	VFS_FAULT_IO,	/* the operation fails with an I/O error */
	VFS_FAULT_FULL, /* writes fail as on a full disk; syncs work */
	VFS_FAULT_TORN, /* half of the write reaches the file, then the power is gone: all that follows fails */
};

/* Makes it SQLite's default for this process; once. */
void vfs_install(void);
/* From now on the at-th operation (1 = the next) that changes a file fails; with `on`, all later ones too. */
void vfs_fail(enum vfs_fault kind, long at, bool on);
/* Operations that changed files since the last vfs_fail. */
long vfs_operations(void);

#endif
