/* Fuzzes what a front door reads of strangers and of control: paths, networks, the message; and a TXT reply. The first
 * byte says which.  Never crashes, and a list that was accepted can be walked. */
#include "agent/resolve/dns.h"
#include "web/proxy/front.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void message(const uint8_t *p, size_t n)
{
	struct front *f = front_read(p, n);
	static const uint8_t address[16] = {[10] = 0xff, [11] = 0xff, 10, 1, 2, 3};
	volatile unsigned sum = 0;

	if (!f)
		return;
	sum += front_net_has(f->allow, f->m.allow, address) + front_net_has(f->pass, f->m.pass, address);
	for (unsigned i = 0; i < f->m.paths; i++) {
		if (i && f->paths[i].len > f->paths[i - 1].len)
			abort();
		if (!front_path_find(f, f->paths[i].path, f->paths[i].len))
			abort();
	}
	for (unsigned i = 0; i < f->m.users * 32u; i++)
		sum += f->users[i];
	for (unsigned i = 0; i < f->m.text + (unsigned)f->m.header + f->m.value; i++)
		sum += (unsigned char)f->text[i];
	free(f);
}

static void network(const char *text)
{
	struct front_net n, again;
	char shown[FRONT_NET_TEXT];

	if (front_net_parse(text, &n) < 0)
		return;
	front_net_text(&n, shown);
	if (front_net_parse(shown, &again) < 0 || memcmp(&n, &again, sizeof n) != 0)
		abort();
	if (!front_net_has(&n, 1, n.address))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	char text[256];
	bool cut;

	if (n == 0)
		return 0;
	switch (p[0] % 4) {
	case 0:
		message(p + 1, n - 1);
		break;
	case 1:
		dns_txt(p + 1, n - 1, n > 30 ? 30 : n, "tulou-0123456789abcdef", &cut);
		break;
	default:
		n = n - 1 < sizeof text - 1 ? n - 1 : sizeof text - 1;
		memcpy(text, p + 1, n);
		text[n] = '\0';
		if (p[0] % 4 == 2)
			network(text);
		else if (front_path_check(text, "path", NULL) == 0 && front_path_ambiguous(text, strlen(text)))
			abort();
		break;
	}
	return 0;
}
