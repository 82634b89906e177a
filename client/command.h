/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands of `longwave`, and what they share: flags, the connection,
 * interruption. */
#ifndef CLIENT_COMMAND_H
#define CLIENT_COMMAND_H

#include "base/jsonout.h"
#include "base/option.h"
#include "client/client.h"

typedef struct command {
    const char *connect, *endpoint; /* the first one that is there counts */
    const char *key, *server_key;   /* files, NULL: none */
    keyfile keys;
    uint64_t timeout_s;
    bool json, verbose;
    const char *argument[2];
    size_t n_argument;
    client *c;
} command;

enum { COMMAND_N_ENTRY = 8 };

void command_init(command *c);
/* The flags that every subcommand has. */
void command_entries(command *c, option_entry out[COMMAND_N_ENTRY]);
/* Parses the flags; `min` arguments are needed.  *done: nothing is left to do
 * (--help). */
status command_parse(command *c, const option_set *set, size_t min, int argc,
                     char **argv, bool *done) MUST_USE;
/* Connects; SIGINT and SIGTERM then cancel what runs, once. */
status command_open(command *c) MUST_USE;
void command_close(command *c);
/* The number of a job as it is typed; ST_ARG. */
status command_job_number(uint64_t *out, const char *text) MUST_USE;
/* Prints a line of JSON and ends `j`.  ST_IO when stdout does not take it. */
status command_print(jsonout *j) MUST_USE;

typedef status command_fn(int argc, char **argv);
command_fn command_add, command_ask, command_watch;
/* Those that have one answer: list, show, rm, jobs, cancel, status, shutdown;
 * argv[0] says which. */
command_fn command_order;
command_fn command_keygen, command_authorize;

#endif
