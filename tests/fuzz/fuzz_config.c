/* Fuzzes what tenants and operators write: Procfile, app.json, tulou.yaml, release.yml, settings, JSON bodies. */
#include "base/json.h"
#include "config/appfile.h"
#include "config/settings.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *text = (const char *)data + 1;
	static struct settings s;
	struct appfile a;
	struct err e = {0};
	json_t *j;
	int r = 0;

	if (n < 1 || n > 65536)
		return 0;
	appfile_init(&a);
	switch (data[0] % 6) {
	case 0:
		r = appfile_procfile(text, n - 1, &a, &e);
		break;
	case 1:
		r = appfile_release_yml(text, n - 1, &a, &e);
		break;
	case 2:
		r = appfile_app_json(text, n - 1, &a, &e);
		break;
	case 3:
		r = appfile_tulou_yaml(text, n - 1, &a, &e);
		break;
	case 4:
		settings_default(&s);
		r = settings_parse(text, n - 1, &s, &e);
		break;
	default:
		j = json_read(text, n - 1, 65536, &e);
		r = j ? 0 : -1;
		json_decref(j);
		break;
	}
	if (r < 0 && e.text[0] == 0)
		abort(); /* refused without a word */
	if (a.type_count > LIMIT_TYPES || a.formation_count > LIMIT_TYPES)
		abort();
	appfile_done(&a);
	return 0;
}
