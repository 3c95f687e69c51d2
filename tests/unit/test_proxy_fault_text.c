/* The pages' languages: Accept-Language as RFC 9110 says it, and a table without holes. */
#include "web/proxy/fault_text.h"

#include "base/utf8.h"

#include <criterion/criterion.h>
#include <string.h>

static const char *pick(const char *field)
{
	struct fault_choice c = {0};

	fault_text_accept(field, strlen(field), &c);
	return c.text ? c.text->lang : "en";
}

Test(proxy, fault_language_is_the_one_asked_for)
{
	static const struct {
		const char *field, *lang;
	} rows[] = {
		{"", "en"},
		{"de", "de"},
		{"DE-at", "de"},
		{"de-AT,de;q=0.9,en;q=0.8", "de"},
		{"en-US,en;q=0.9,fr;q=0.8", "en"},
		{"fr;q=0.3, ja ;q=0.7", "ja"},
		{"xx, it;q=0.1", "it"},
		{"xx", "en"},
		{"*, nl;q=0.5", "en"},
		{"nl;q=0.5, *;q=0.1", "nl"},
		{"fr;q=0, en;q=0", "en"},
		{"fr;q=0, uk;q=0.001", "uk"},
		{"pt-BR", "pt"},
		{"zh", "zh-Hans"},
		{"zh-CN", "zh-Hans"},
		{"zh-TW,zh;q=0.5", "zh-Hant"},
		{"zh-hant-cn", "zh-Hant"},
		{"zh-Hans-TW", "zh-Hans"},
		{"zh-HK", "zh-Hant"},
		{"de;q=0.5, fr;q=0.5", "de"},
		{"de;q=2, fr;q=0.1", "fr"},
		{"de;q=0.5555, fr;q=0.1", "fr"},
		{"de;q=x, fr;q=0.1", "fr"},
		{"de;level=1, fr;q=0.1", "fr"},
		{",, ;, ;q=1 , ru ", "ru"},
		{"d", "en"},
		{"deu, pl;q=0.2", "pl"},
		{"tr;q=1.000, ko", "tr"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		cr_expect_str_eq(pick(rows[i].field), rows[i].lang, "%s", rows[i].field);
}

Test(proxy, fault_texts_have_no_holes)
{
	const struct fault_text *t;
	size_t n = 0;

	for (; (t = fault_text_row(n)); n++) {
		cr_expect(t->request[0] && t->details[0], "%s", t->lang);
		for (unsigned f = FAULT_NONE + 1; f < FAULT_COUNT; f++) {
			cr_assert(t->what[f], "%s lacks fault %u", t->lang, f);
			cr_expect(t->what[f][0] && strlen(t->what[f]) < 200, "%s %u", t->lang, f);
			cr_expect(!strpbrk(t->what[f], "<>&\"\\\n"), "%s %u", t->lang, f);
			cr_expect(utf8_valid(t->what[f], strlen(t->what[f])), "%s %u", t->lang, f);
		}
		for (unsigned k = 0; k < TODO_COUNT; k++)
			cr_expect(t->todo[k] && t->todo[k][0] && !strpbrk(t->todo[k], "<>&\"\\\n"), "%s todo %u",
				  t->lang, k);
	}
	cr_expect(n >= 14);
}
