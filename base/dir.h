/* Directories whose entries are named by numbers.  Layer base, any process. */
#ifndef TULOU_BASE_DIR_H
#define TULOU_BASE_DIR_H

#include <stdint.h>

/* Calls fn for each entry of the open directory `dir` whose name is a number from 1 on, strictly as parse_u64() reads
 * it, alone or with '.' and more behind it: that is suffix, "" when there is none.  Other names are ignored.  fn may
 * remove entries.  Neither moves nor closes dir.  0, or negative errno when it cannot be read. */
int dir_each_number(int dir, void (*fn)(void *arg, uint64_t id, const char *suffix), void *arg);

#endif
