/* soloprintctl: organisations, keys, migrations, diagnosis. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "ctl.h"

enum { ARENA_MOST = 64 << 20 };

struct command {
	const char *name; /* one or two words */
	const char *usage;
	const char *help;
	command_fn run;
};

static int cmd_help(struct ctl *c);

static const struct command commands[] = {
    {"bootstrap", "[--database NAME]",
	"make roles, database and default privileges (as superuser; safe to repeat)",
	cmd_bootstrap},
    {"migrate", "[--status] [--schema DIR]", "bring the schema up to date, or say where it is",
	cmd_migrate},
    {"org create", "NAME [--slug SLUG]", "make an organisation and its owner", cmd_org_create},
    {"org list", "", "list the organisations", cmd_org_list},
    {"key create",
	"--org SLUG --name NAME --capabilities LIST|all [--printers IDS|none] [--cidrs NETS]\n"
	"        [--expires 90d|never] [--kind live|dev] [--rate-limits read=N,write=N,control=N,burst=N]",
	"make an API key; it is printed once", cmd_key_create},
    {"key list", "--org SLUG", "list an organisation's keys", cmd_key_list},
    {"key revoke", "ID --org SLUG", "revoke a key from the next request on", cmd_key_revoke},
    {"key rotate", "ID --org SLUG [--grace 24h]",
	"replace a key; the old one works during the grace time", cmd_key_rotate},
    {"gateway-key create", "PRIVATE_FILE PUBLIC_FILE",
	"make the key pair that seals printers' secrets", cmd_gateway_key},
    {"courier-key create", "PRIVATE_FILE PUBLIC_FILE",
	"make the key pair that seals secrets of webhooks and notification rules", cmd_courier_key},
    {"storage status", "", "where content is, and what waits to be moved or removed",
	cmd_storage_status},
    {"storage verify", "[--digests] [--repair]",
	"compare the rows with what is stored: missing, orphaned and, with --digests, corrupt objects",
	cmd_storage_verify},
    {"storage migrate", "--to s3|local [--no-wait]",
	"bring all content to the S3 service, or back, while serving", cmd_storage_migrate},
    {"doctor", "[--schema DIR] [--sockets PATHS]",
	"check every component; say what is wrong and how to mend it", cmd_doctor},
    {"help", "", "this text", cmd_help},
};

static int
cmd_help(struct ctl *c)
{
	(void)c;
	puts("usage: soloprintctl COMMAND [--db CONNINFO] [--json]\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		printf(
		    "  %s %s\n      %s\n", commands[i].name, commands[i].usage, commands[i].help);
	puts("\nThe database is SOLOPRINT_DB unless --db names another.");
	return 0;
}

/* Words of the command's name that argv begins with; 0 when it is another command. */
static int
words_matched(const char *name, char **argv)
{
	struct str rest = str_from(name);
	int n = 0;

	while (rest.n > 0) {
		struct str word = str_cut(&rest, ' ');

		if (!argv[n] || !str_eq(word, str_from(argv[n])))
			return 0;
		n++;
	}
	return n;
}

static const struct command *
find_command(char **argv, int *words)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		*words = words_matched(commands[i].name, argv);
		if (*words > 0)
			return &commands[i];
	}
	return NULL;
}

static bool
asks_for_help(char **argv)
{
	for (; *argv; argv++) {
		if (str_eq(str_from(*argv), STR("--help")) || str_eq(str_from(*argv), STR("-h")))
			return true;
	}
	return false;
}

int
main(int argc, char **argv)
{
	struct ctl c = {.conninfo = getenv("SOLOPRINT_DB")};
	const struct command *cmd;
	int words, rc;

	log_init("ctl", LOG_WARN);
	if (argc < 2 || (asks_for_help(argv) && !find_command(argv + 1, &words)))
		return cmd_help(&c) + (argc < 2 ? 2 : 0);
	cmd = find_command(argv + 1, &words);
	if (!cmd) {
		fail("there is no command '%s'; `soloprintctl help` lists them", argv[1]);
		return 2;
	}
	if (asks_for_help(argv)) {
		printf("soloprintctl %s %s\n    %s\n", cmd->name, cmd->usage, cmd->help);
		return 0;
	}
	c.arena = arena_new(ARENA_MOST);
	c.argv = argv + 1 + words;
	rc = cmd->run(&c);
	if (rc == 2)
		note("usage: soloprintctl %s %s", cmd->name, cmd->usage);
	arena_free(c.arena);
	return rc;
}
