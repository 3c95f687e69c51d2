/* Failing file operations under SQLite. */
#include "tests/fault/vfs.h"

#include <sqlite3.h>
#include <string.h>

struct vfs_file {
	sqlite3_file base;
	sqlite3_file *real; /* in the same allocation, behind this structure */
};

static sqlite3_vfs vfs_own, *vfs_real;
static enum vfs_fault vfs_kind;
static long vfs_at, vfs_count;
static bool vfs_on;

void vfs_fail(enum vfs_fault kind, long at, bool on)
{
	vfs_kind = kind;
	vfs_at = at;
	vfs_on = on;
	vfs_count = 0;
}

long vfs_operations(void)
{
	return vfs_count;
}

static bool vfs_hit(void)
{
	vfs_count++;
	return vfs_kind != VFS_FAULT_NONE &&
	       (vfs_count == vfs_at || (vfs_count > vfs_at && (vfs_on || vfs_kind == VFS_FAULT_TORN)));
}

static sqlite3_file *vfs_real_file(sqlite3_file *f)
{
	return ((struct vfs_file *)(void *)f)->real;
}

static int vfs_close(sqlite3_file *f)
{
	sqlite3_file *r = vfs_real_file(f);
	return r->pMethods ? r->pMethods->xClose(r) : SQLITE_OK;
}

static int vfs_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	return vfs_real_file(f)->pMethods->xRead(vfs_real_file(f), p, n, at);
}

static int vfs_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	sqlite3_file *r = vfs_real_file(f);

	if (vfs_hit()) {
		if (vfs_kind == VFS_FAULT_TORN && vfs_count == vfs_at)
			r->pMethods->xWrite(r, p, n / 2, at);
		return vfs_kind == VFS_FAULT_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE;
	}
	return r->pMethods->xWrite(r, p, n, at);
}

static int vfs_truncate(sqlite3_file *f, sqlite3_int64 n)
{
	return vfs_hit() ? SQLITE_IOERR_TRUNCATE : vfs_real_file(f)->pMethods->xTruncate(vfs_real_file(f), n);
}

static int vfs_sync(sqlite3_file *f, int flags)
{
	/* The real fsync is left out: the tests ask what SQLite does after a failure, not whether the disk keeps its
	 * word. */
	(void)f;
	(void)flags;
	return vfs_kind != VFS_FAULT_FULL && vfs_hit() ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int vfs_size(sqlite3_file *f, sqlite3_int64 *n)
{
	return vfs_real_file(f)->pMethods->xFileSize(vfs_real_file(f), n);
}

static int vfs_lock(sqlite3_file *f, int level)
{
	return vfs_real_file(f)->pMethods->xLock(vfs_real_file(f), level);
}

static int vfs_unlock(sqlite3_file *f, int level)
{
	return vfs_real_file(f)->pMethods->xUnlock(vfs_real_file(f), level);
}

static int vfs_reserved(sqlite3_file *f, int *ret)
{
	return vfs_real_file(f)->pMethods->xCheckReservedLock(vfs_real_file(f), ret);
}

static int vfs_control(sqlite3_file *f, int op, void *arg)
{
	return vfs_real_file(f)->pMethods->xFileControl(vfs_real_file(f), op, arg);
}

static int vfs_sector(sqlite3_file *f)
{
	return vfs_real_file(f)->pMethods->xSectorSize(vfs_real_file(f));
}

static int vfs_device(sqlite3_file *f)
{
	return vfs_real_file(f)->pMethods->xDeviceCharacteristics(vfs_real_file(f));
}

/* Version 1: no shared memory, which is what the store's exclusive mode works without. */
static const sqlite3_io_methods vfs_methods = {
	.iVersion = 1,
	.xClose = vfs_close,
	.xRead = vfs_read,
	.xWrite = vfs_write,
	.xTruncate = vfs_truncate,
	.xSync = vfs_sync,
	.xFileSize = vfs_size,
	.xLock = vfs_lock,
	.xUnlock = vfs_unlock,
	.xCheckReservedLock = vfs_reserved,
	.xFileControl = vfs_control,
	.xSectorSize = vfs_sector,
	.xDeviceCharacteristics = vfs_device,
};

static int vfs_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
	struct vfs_file *own = (struct vfs_file *)(void *)f;
	int rc;

	(void)v;
	own->base.pMethods = NULL;
	own->real = (sqlite3_file *)(void *)(own + 1);
	memset(own->real, 0, (size_t)vfs_real->szOsFile);
	rc = vfs_real->xOpen(vfs_real, name, own->real, flags, out);
	if (rc == SQLITE_OK)
		own->base.pMethods = &vfs_methods;
	return rc;
}

static int vfs_delete(sqlite3_vfs *v, const char *name, int sync)
{
	(void)v;
	return vfs_hit() ? SQLITE_IOERR_DELETE : vfs_real->xDelete(vfs_real, name, sync);
}

void vfs_install(void)
{
	if (vfs_real)
		return;
	vfs_real = sqlite3_vfs_find(NULL);
	vfs_own = *vfs_real;
	vfs_own.zName = "fault";
	vfs_own.szOsFile = (int)sizeof(struct vfs_file) + vfs_real->szOsFile;
	vfs_own.xOpen = vfs_open;
	vfs_own.xDelete = vfs_delete;
	vfs_own.pNext = NULL;
	sqlite3_vfs_register(&vfs_own, 1);
}
