/* The log: one line per fact on standard error, key=value.  Layer base, any process.
 * Libraries do not log; roles, handlers and main do, each failure once. */
#ifndef TULOU_BASE_LOG_H
#define TULOU_BASE_LOG_H

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_COUNT };

/* Sets the role name that every line carries (borrowed for ever) and the lowest level written. */
void log_init(const char *role, enum log_level lowest);

/* Writes `time level role event: fields`.  fmt gives "key=value key=value"; every byte below 0x20, DEL and every
 * byte that is not valid UTF-8 is written as \xNN, so no value can forge a line or an escape sequence.
 * One write(2) per line; a line is cut at 2 KiB. */
void log_write(enum log_level level, const char *event, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#define LOG_DEBUG(event, ...) log_write(LOG_LEVEL_DEBUG, event, __VA_ARGS__)
#define LOG_INFO(event, ...) log_write(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define LOG_WARN(event, ...) log_write(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define LOG_ERROR(event, ...) log_write(LOG_LEVEL_ERROR, event, __VA_ARGS__)

#endif
