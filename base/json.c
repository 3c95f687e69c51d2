/* JSON with limits and field errors.  Layer base, control and CLI. */
#include "base/json.h"

#include "base/own.h"
#include "base/parse.h"
#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define JSON_DEPTH_MAX 32

/* jansson's own limit is 2048 levels; ours is checked before, on the text. */
static bool json_too_deep(const char *s, size_t n)
{
	bool quoted = false;
	int depth = 0;

	for (size_t i = 0; i < n; i++) {
		if (quoted) {
			if (s[i] == '\\')
				i++;
			else if (s[i] == '"')
				quoted = false;
		} else if (s[i] == '"')
			quoted = true;
		else if (s[i] == '{' || s[i] == '[') {
			if (++depth > JSON_DEPTH_MAX)
				return true;
		} else if (s[i] == '}' || s[i] == ']')
			depth--;
	}
	return false;
}

json_t *json_read(const char *text, size_t n, size_t max, struct err *e)
{
	json_error_t je;
	json_t *j;

	if (n > max) {
		err_set(e, EFBIG, "JSON of %zu bytes is over the limit of %zu", n, max);
		return NULL;
	}
	if (json_too_deep(text, n)) {
		err_set(e, EINVAL, "JSON is nested deeper than %d levels", JSON_DEPTH_MAX);
		return NULL;
	}
	j = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);
	if (!j)
		err_set(e, EINVAL, "not JSON: line %d, column %d: %s", je.line, je.column, je.text);
	return j;
}

int json_only(json_t *obj, const char *const *keys, struct err *e)
{
	const char *key;
	json_t *value;

	if (!json_is_object(obj))
		return err_set(e, EINVAL, "expected a JSON object");
	json_object_foreach(obj, key, value)
	{
		const char *const *k = keys;
		while (*k && strcmp(*k, key) != 0)
			k++;
		if (!*k) {
			char safe[80];
			utf8_escape(safe, sizeof safe, key, strlen(key));
			return err_field(e, EINVAL, safe, "%s: unknown field", safe);
		}
	}
	return 0;
}

const char *json_shown(const json_t *v, char out[JSON_SHOWN])
{
	char safe[JSON_SHOWN - 2];

	if (json_is_string(v)) {
		utf8_escape(safe, sizeof safe, json_string_value(v), json_string_length(v));
		snprintf(out, JSON_SHOWN, "\"%s\"", safe);
	} else if (json_is_number(v)) {
		snprintf(out, JSON_SHOWN, "%.15g", json_number_value(v));
	} else {
		snprintf(out, JSON_SHOWN, "%s",
			 json_is_object(v)  ? "an object"
			 : json_is_array(v) ? "an array"
			 : json_is_true(v)  ? "true"
			 : json_is_false(v) ? "false"
					    : "null");
	}
	return out;
}

static int json_missing(const char *key, bool required, struct err *e)
{
	return required ? err_field(e, EINVAL, key, "%s: is required", key) : 0;
}

int json_get_str(json_t *obj, const char *key, bool required, size_t max, const char **ret, struct err *e)
{
	json_t *v = json_object_get(obj, key);
	char is[JSON_SHOWN];

	if (!v)
		return json_missing(key, required, e);
	if (!json_is_string(v))
		return err_field(e, EINVAL, key, "%s: expected a string, not %s", key, json_shown(v, is));
	if (json_string_length(v) > max)
		return err_field(e, ERANGE, key, "%s: %zu bytes are over the limit of %zu", key, json_string_length(v),
				 max);
	if (!utf8_valid(json_string_value(v), json_string_length(v)))
		return err_field(e, EINVAL, key, "%s: must be UTF-8 text without NUL", key);
	*ret = json_string_value(v);
	return 0;
}

int json_not_whole(json_t *v, const char *field, uint64_t min, uint64_t max, struct err *e)
{
	char text[40], is[JSON_SHOWN];

	if (json_is_string(v))
		return parse_not_whole(json_string_value(v), json_string_length(v), min, max, field, e);
	if (!json_is_number(v))
		return err_field(e, EINVAL, field, "%s: expected a whole number, not %s", field, json_shown(v, is));
	snprintf(text, sizeof text, "%.15g", json_number_value(v));
	return parse_not_whole(text, strlen(text), min, max, field, e);
}

int json_get_u64(json_t *obj, const char *key, bool required, uint64_t min, uint64_t max, uint64_t *ret, struct err *e)
{
	json_t *v = json_object_get(obj, key);

	if (!v)
		return json_missing(key, required, e);
	if (!json_is_integer(v))
		return json_not_whole(v, key, min, max, e);
	if (json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) < min || (uint64_t)json_integer_value(v) > max)
		return err_field(e, ERANGE, key, "%s: %" JSON_INTEGER_FORMAT " is outside %" PRIu64 "..%" PRIu64, key,
				 json_integer_value(v), min, max);
	*ret = (uint64_t)json_integer_value(v);
	return 0;
}

int json_get_bool(json_t *obj, const char *key, bool required, bool *ret, struct err *e)
{
	json_t *v = json_object_get(obj, key);
	char is[JSON_SHOWN];

	if (!v)
		return json_missing(key, required, e);
	if (!json_is_boolean(v))
		return err_field(e, EINVAL, key, "%s: expected true or false, not %s", key, json_shown(v, is));
	*ret = json_is_true(v);
	return 0;
}

int json_get_bytes(json_t *obj, const char *key, bool required, uint64_t min, uint64_t max, uint64_t *ret,
		   struct err *e)
{
	char is[PARSE_BYTES_TEXT], low[PARSE_BYTES_TEXT], high[PARSE_BYTES_TEXT];
	json_t *v = json_object_get(obj, key);

	if (v && json_is_string(v))
		return parse_bytes(json_string_value(v), min, max, key, ret, e);
	if (v && json_is_integer(v) && json_integer_value(v) >= 0 &&
	    ((uint64_t)json_integer_value(v) < min || (uint64_t)json_integer_value(v) > max)) {
		parse_bytes_text((uint64_t)json_integer_value(v), is);
		parse_bytes_text(min, low);
		parse_bytes_text(max, high);
		return err_field(e, ERANGE, key, "%s: %s is outside %s to %s", key, is, low, high);
	}
	return json_get_u64(obj, key, required, min, max, ret, e);
}

static int json_get_kind(json_t *obj, const char *key, bool required, json_type kind, const char *word, json_t **ret,
			 struct err *e)
{
	json_t *v = json_object_get(obj, key);
	char is[JSON_SHOWN];

	*ret = NULL;
	if (!v)
		return json_missing(key, required, e);
	if (json_typeof(v) != kind)
		return err_field(e, EINVAL, key, "%s: expected an %s, not %s", key, word, json_shown(v, is));
	*ret = v;
	return 0;
}

int json_get_obj(json_t *obj, const char *key, bool required, json_t **ret, struct err *e)
{
	return json_get_kind(obj, key, required, JSON_OBJECT, "object", ret, e);
}

int json_get_arr(json_t *obj, const char *key, bool required, json_t **ret, struct err *e)
{
	return json_get_kind(obj, key, required, JSON_ARRAY, "array", ret, e);
}
