/* Between settings.c (the table, the file) and settings_value.c (one value).  Layer config, supervisor. */
#ifndef TULOU_CONFIG_SETTINGS_PRIVATE_H
#define TULOU_CONFIG_SETTINGS_PRIVATE_H

#include "config/settings.h"

#include <jansson.h>
#include <stddef.h>

enum setting_kind {
	SETTING_HOST,	 /* char[LIMIT_HOST + 1] */
	SETTING_PATH,	 /* char[max + 1], absolute */
	SETTING_NAME,	 /* char[max + 1], parse_name */
	SETTING_USER,	 /* char[max + 1], a Unix user name */
	SETTING_LINK,	 /* char[5] */
	SETTING_POOL,	 /* pool_net, pool_prefix */
	SETTING_LISTEN,	 /* addresses and, in `offset2`, their count */
	SETTING_NETS,	 /* networks and, in `offset2`, their count */
	SETTING_WORKERS, /* unsigned or "auto" */
	SETTING_AUTO,	 /* bool: "auto" or "off" */
	SETTING_PROOF,	 /* bool: "required" or "none" */
	SETTING_U32,
	SETTING_BYTES, /* uint64_t */
	SETTING_TIME,  /* uint64_t, milliseconds */
	SETTING_DISK,  /* enum settings_disk */
	SETTING_SIZE,  /* uint64_t, bytes, or "auto" = 0 */
	SETTING_ON,    /* bool: "on" or "off" */
	SETTING_URL,   /* char[max + 1], https:// */
	SETTING_TEXT,  /* char[max + 1], visible ASCII without quotes and spaces */
	SETTING_CHALLENGE,
};

struct setting {
	const char *key;
	enum setting_kind kind;
	size_t offset, offset2;
	uint64_t min, max;
};

/* Reads one value into its field of s: 0, or negative errno with the row's key, or the place in its list, as field. */
int settings_value(json_t *value, const struct setting *row, struct settings *s, struct err *e);

/* "ADDRESS:PORT" or "ADDRESS:PORT proxy".  0 or negative errno with field. */
int settings_address(const char *text, const char *field, struct settings_address *ret, struct err *e);

/* One proxy worker per CPU that we may run on. */
unsigned settings_workers(void);

#endif
