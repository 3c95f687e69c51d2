/* For analysers, which look at one file at a time (tests/lint puts it before each): what the functions of base/err.h
 * give back is negative, so that what is only set on success is not looked for behind a failure. */
#include "base/err.h"

#define err_set(e, code, ...) (err_set((e), (code), __VA_ARGS__), -(code))
#define err_field(e, code, field, ...) (err_field((e), (code), (field), __VA_ARGS__), -(code))
#define err_errno(e, ...) (err_errno((e), __VA_ARGS__), -1)
#define err_wrap(e, ...) (err_wrap((e), __VA_ARGS__), -1)
