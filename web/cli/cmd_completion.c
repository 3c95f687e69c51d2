/* tulou completion: a script for bash, made of the table of commands.  Layer web, program tulou. */
#include "base/own.h"
#include "config/quota.h"
#include "web/cli/cli.h"
#include "web/cli/commands.h"

#include <string.h>

/* Words before the table's.  bash takes '=' for a word of its own (COMP_WORDBREAKS), so that of "plan=sm" the cursor is
 * on "sm" with "=" and "plan" before it. */
static const char script_head[] =
	"# bash completion for tulou; written by `tulou completion bash`\n"
	"_tulou() {\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words= first= key= at=2 i app=()\n"
	"\tfor ((i = 1; i < COMP_CWORD - 1; i++)); do\n"
	"\t\tcase ${COMP_WORDS[i]} in -a | --app) app=(-a \"${COMP_WORDS[i+1]}\") ;; esac\n"
	"\tdone\n"
	"\tif [ \"$cur\" = = ]; then key=$prev cur=; elif [ \"$prev\" = = ]; then key=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
	"\tcase $key in\n"
	"\t'') ;;\n"
	"\tplan) words=\"none $(tulou plans --names 2>/dev/null)\" ;;\n"
	"\tprofile) words='default strict' ;;\n"
	"\tegress) words='none public' ;;\n"
	"\tprivate-layers | sticky) words='yes no' ;;\n"
	"\thold) words='on off' ;;\n"
	"\trollout) words='auto start-first hold' ;;\n"
	"\taccess_log) words='off all' ;;\n"
	"\tio_read | io_write | net_in | net_out | log_rate | app.io_read | app.io_write | app.net_in | app.net_out | "
	"app.log_rate)\n"
	"\t\twords=unlimited ;;\n"
	"\tesac\n"
	"\tcase $prev in\n"
	"\t-a | --app) first=apps at=$COMP_CWORD ;;\n"
	"\t-t | --tenant) first=tenants at=$COMP_CWORD ;;\n"
	"\t--by) key=by words='requests bytes time' ;;\n"
	"\tesac\n"
	"\tif [ -z \"$key$first\" ]; then\n"
	"\tcase \"${COMP_WORDS[1]-} ${COMP_WORDS[2]-}\" in\n";

static const char script_tail[] =
	"\tfi\n"
	"\tif [ -n \"$first\" ] && [ \"$COMP_CWORD\" -eq \"$at\" ]; then\n"
	"\t\tcase $first in\n"
	"\t\ttypes) words=$(tulou scale \"${app[@]}\" 2>/dev/null | awk 'NR > 1 && NF == 2 { print $1 \"=\" }') ;;\n"
	"\t\tversions) words=$(tulou releases \"${app[@]}\" 2>/dev/null | awk '/^v[0-9]/ { print $1 }') ;;\n"
	"\t\t*) words=$(tulou \"$first\" --names 2>/dev/null) ;;\n"
	"\t\tesac\n"
	"\tfi\n"
	/* compgen expands what it is given, and names come from a node. */
	"\twords=${words//[^A-Za-z0-9._=\\/:$' \\n'-]/}\n"
	"\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
	"\tcase ${COMPREPLY[0]-} in *=) compopt -o nospace ;; esac\n"
	"\tif [ \"${COMP_WORDS[1]-}\" = deploy ]; then mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f "
	"-- \"$cur\"); fi\n"
	"}\n"
	"complete -F _tulou tulou\n";

static bool row_is(const struct cli_command *r, const char *name, const char *sub)
{
	return strcmp(r->name, name) == 0 && (sub ? r->sub && strcmp(r->sub, sub) == 0 : !r->sub);
}

static void options_words(const struct cli_option *o)
{
	for (; o && o->name; o++)
		printf(" --%s", o->name);
}

static void numbers_words(const char *before, enum quota_of of)
{
	const struct quota_key *k;

	for (unsigned i = 0; (k = quota_key(i)); i++)
		if (quota_has(k, of))
			printf(" %s%s=", before, k->name);
}

/* The keys of commands that take KEY=VALUE. */
static void keys_words(const struct cli_command *r)
{
	bool plan = strcmp(r->name, "plans") == 0;

	if (row_is(r, "front", "set"))
		printf(" sticky= allow= rate= burst= client-rate= client-burst= concurrent= body= time=");
	else if (row_is(r, "apps", "serving"))
		printf(" concurrency= drain_seconds= rollout= access_log= hold=");
	else if (strcmp(r->name, "apps") == 0)
		numbers_words("", QUOTA_OF_LIMITS);
	else if (plan || strcmp(r->name, "tenants") == 0)
		numbers_words("", QUOTA_OF_TENANT);
	if (plan)
		numbers_words("app.", QUOTA_OF_LIMITS);
	if (plan || row_is(r, "tenants", "set") || row_is(r, "tenants", "create"))
		printf(" profile= private-layers= egress=%s", plan ? "" : " plan=");
}

/* What a command's words say in small letters is written as it is: "[on|off|redirect [SECONDS]]". */
static void args_words(const char *args)
{
	while (*args) {
		size_t n = strspn(args, "abcdefghijklmnopqrstuvwxyz");

		if (n > 0)
			printf(" %.*s", (int)n, args);
		args += n;
		args += strcspn(args, "[]| ");
		args += strspn(args, "[]| ");
	}
}

/* Whose names the first word is one of; NULL: nobody's. */
static const char *first_of(const struct cli_command *r)
{
	static const char *const kinds[][2] = {{"[APP]", "apps"},	{"PLAN", "plans"},    {"TENANT", "tenants"},
					       {"[TENANT]", "tenants"}, {"[TYPE=N", "types"}, {"[VERSION]", "versions"},
					       {"VERSION", "versions"}};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strncmp(r->args, kinds[i][0], strlen(kinds[i][0])) == 0)
			return kinds[i][1];
	return NULL;
}

static void row_case(const struct cli_command *r)
{
	const char *first = first_of(r);

	if (r->sub)
		printf("\t'%s %s') at=3", r->name, r->sub);
	else
		printf("\t'%s '*) ", r->name);
	if (first)
		printf(" first=%s", first);
	printf(" words='");
	args_words(r->args);
	options_words(r->options);
	if (strstr(r->args, "KEY=VALUE") && strcmp(r->name, "config") != 0)
		keys_words(r);
	if (row_is(r, "tokens", "create"))
		printf(" admin deployer reader operator fleet");
	printf("'");
	if (!r->sub) {
		printf("\n\t\t[ \"$COMP_CWORD\" -gt 2 ] || words+='");
		for (const struct cli_command *s = cli_commands; s->name; s++)
			if (s->sub && strcmp(s->name, r->name) == 0)
				printf(" %s", s->sub);
		printf("'");
	}
	printf(" ;;\n");
}

static void command_names(void)
{
	const char *last = "";

	for (const struct cli_command *r = cli_commands; r->name; r++) {
		if (strcmp(r->name, last) != 0)
			printf(" %s", r->name);
		last = r->name;
	}
}

int cli_cmd_completion(struct cli *c)
{
	if (strcmp(c->argv[0], "bash") != 0)
		return cli_fail(CLI_USAGE, "there is completion for bash only: tulou completion bash");
	fputs(script_head, stdout);
	/* The two-word cases first: the first that fits is taken. */
	for (const struct cli_command *r = cli_commands; r->name; r++)
		if (r->sub)
			row_case(r);
	for (const struct cli_command *r = cli_commands; r->name; r++)
		if (!r->sub)
			row_case(r);
	printf("\tesac\n\tif [ \"$COMP_CWORD\" -eq 1 ] || { [ \"$COMP_CWORD\" -eq 2 ] && [ \"$prev\" = help ]; }; "
	       "then\n"
	       "\t\twords='");
	command_names();
	printf("'\n\telse\n\t\twords+='");
	options_words(cli_globals);
	printf("'\n\tfi\n");
	fputs(script_tail, stdout);
	return CLI_OK;
}
