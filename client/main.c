/* SPDX-License-Identifier: Apache-2.0 */
/* The `longwave` command: picks the subcommand. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "client/command.h"

static const struct {
    const char *name;
    command_fn *fn;
    const char *usage, *help;
} COMMAND[] = {
    {"add", command_add, "add FILE|- --name NAME", "read a document in"},
    {"ask", command_ask, "ask NAME TEXT|--ids FILE",
     "ask a document a question"},
    {"watch", command_watch, "watch JOB",
     "wait for a job, or fetch its result"},
    {"list", command_order, "list", "show the documents"},
    {"show", command_order, "show NAME", "show one document"},
    {"rm", command_order, "rm NAME", "forget a document"},
    {"jobs", command_order, "jobs", "show the jobs"},
    {"cancel", command_order, "cancel JOB", "cancel a job"},
    {"status", command_order, "status", "show the daemon and its worlds"},
    {"shutdown", command_order, "shutdown", "stop the daemon"},
    {"keygen", command_keygen, "keygen FILE", "make a key"},
    {"authorize", command_authorize, "authorize KEY|FILE.pub",
     "let a key come in"},
};
enum { N_COMMAND = sizeof(COMMAND) / sizeof(*COMMAND) };

static void
print_usage(FILE *out)
{
    fputs("Usage: longwave COMMAND [ARGUMENTS] [FLAGS]\n"
          "Reads long documents through a longwaved and asks them "
          "questions.\n\nCommands:\n",
          out);
    for (int i = 0; i < N_COMMAND; i++)
        fprintf(out, "  %-26s%s\n", COMMAND[i].usage, COMMAND[i].help);
    fputs("\n'longwave COMMAND --help' tells the flags of a command.  The "
          "daemon is found at\n--connect ENDPOINT, at LONGWAVE_ENDPOINT, or "
          "at the socket client.sock in the\nuser's runtime directory.\n",
          out);
}

static status
run(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";

    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 ||
        strcmp(name, "help") == 0) {
        print_usage(stdout);
        return ST_OK;
    }
    if (strcmp(name, "--version") == 0) {
        printf("longwave %s\n", LONGWAVE_VERSION);
        return ST_OK;
    }
    for (int i = 0; i < N_COMMAND; i++)
        if (strcmp(COMMAND[i].name, name) == 0)
            return COMMAND[i].fn(argc - 1, argv + 1);
    if (*name == 0)
        print_usage(stderr);
    return *name == 0     ? status_fail(ST_ARG, "a command is missing")
           : *name == '-' ? status_fail(ST_ARG, "the command comes first: "
                                                "see longwave --help")
                          : status_fail(ST_ARG,
                                        "there is no command '%s': see "
                                        "longwave --help",
                                        name);
}

int
main(int argc, char **argv)
{
    status st;

    log_init("longwave", LOG_LEVEL_INFO);
    st = run(argc, argv);
    if (st == ST_OK && fflush(stdout) != 0)
        st = status_fail(ST_IO, "stdout does not take the result");
    if (st != ST_OK)
        log_error("%s", status_text());
    return status_exit_code(st);
}
