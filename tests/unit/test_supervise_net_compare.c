/* Two listings of a table: what counts as a difference. */
#include "agent/supervise/net_private.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static int differ(const char *a, const char *b, char *text)
{
	char have[512], want[512];

	snprintf(have, sizeof have, "%s", a);
	snprintf(want, sizeof want, "%s", b);
	return net_listings_differ(have, want, text, 160);
}

Test(net_compare, what_moves_by_itself_is_no_difference)
{
	char text[160] = "";

	cr_assert_eq(differ("table inet a {\n\tset s {\n\t\tflags dynamic\n\t\telements = { 1,\n\t\t\t     2 }\n\t}\n"
			    "\tchain c {\n\t\tcounter packets 5 bytes 12 drop\n\t}\n}\n",
			    "table inet b {\n\tflags dormant\n\tset s {\n\t\tflags dynamic\n\t}\n"
			    "\tchain c {\n\t\tcounter packets 0 bytes 0 drop\n\t}\n}\n",
			    text),
		     0, "%s", text);
}

Test(net_compare, the_order_of_parts_is_none)
{
	char text[160] = "";

	cr_assert_eq(differ("table inet a {\n\tchain b {\n\t\taccept\n\t}\n\tchain a {\n\t\tdrop\n\t}\n}\n",
			    "table inet a {\n\tchain a {\n\t\tdrop\n\t}\n\n\tchain b {\n\t\taccept\n\t}\n}\n", text),
		     0, "%s", text);
	cr_assert_eq(differ("table inet a {\n\tchain b {\n\t\taccept\n\t}\n\tchain a {\n\t\tdrop\n\t}\n}\n",
			    "table inet a {\n\tchain a {\n\t\tdrop\n\t}\n}\n", text),
		     1);
}

Test(net_compare, what_an_operator_changed_is)
{
	char text[160] = "";

	cr_assert_eq(differ("table inet a {\n\tchain c {\n\t\taccept\n\t\tcounter packets 1 bytes 2 drop\n\t}\n}\n",
			    "table inet a {\n\tchain c {\n\t\tcounter packets 1 bytes 2 drop\n\t}\n}\n", text),
		     1);
	cr_assert_not_null(strstr(text, "\"accept\""), "%s", text);
	cr_assert_eq(differ("table inet a {\n\tset s {\n\t\telements = { 1 }\n\t}\n}\n",
			    "table inet a {\n\tset s {\n\t\telements = { 1, 2 }\n\t}\n}\n", text),
		     1, "elements of a set that we write");
	cr_assert_eq(differ("table inet a {\n\tchain c {\n\t}\n}\n", "table inet a {\n}\n", text), 1);
}
