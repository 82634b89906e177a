/* SPDX-License-Identifier: Apache-2.0 */
/* Flags and connection of a subcommand. */
#include "client/command.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static volatile sig_atomic_t stop_asked;

static void
ask_to_stop(int signal_number)
{
    (void)signal_number;
    stop_asked = 1;
}

/* A reader of our output that left ends the job as Ctrl-C does. */
static bool
interrupted(void *ctx)
{
    (void)ctx;
    return stop_asked || ferror(stdout);
}

void
command_init(command *c)
{
    *c = (command){.timeout_s = 10};
}

void
command_entries(command *c, option_entry out[COMMAND_N_ENTRY])
{
    const option_entry entry[COMMAND_N_ENTRY] = {
        {"Common flags", OPTION_HEAD, NULL, NULL, NULL, 0, 0},
        {"connect", OPTION_TEXT, &c->connect, "ENDPOINT",
         "daemon to talk to; the default is the socket client.sock in the "
         "user's runtime directory",
         0, 0},
        {"endpoint", OPTION_TEXT, &c->endpoint, "ENDPOINT",
         "the same as --connect, for LONGWAVE_ENDPOINT", 0, 0},
        {"key", OPTION_TEXT, &c->key, "FILE",
         "our key, made by 'longwave keygen'; a tcp endpoint needs it", 0, 0},
        {"server-key", OPTION_TEXT, &c->server_key, "FILE",
         "the daemon's public key, where our key's file does not name it", 0,
         0},
        {"timeout", OPTION_U64, &c->timeout_s, "SECONDS",
         "silence after which the daemon counts as gone", 1, 86400},
        {"json", OPTION_FLAG, &c->json, NULL,
         "print one JSON object on one line", 0, 0},
        {"verbose", OPTION_FLAG, &c->verbose, NULL, "say more on stderr", 0, 0},
    };

    memcpy(out, entry, sizeof(entry));
}

status
command_parse(command *c, const option_set *set, size_t min, int argc,
              char **argv, bool *done)
{
    status st =
        option_parse(set, argc, argv, c->argument, &c->n_argument, done);

    if (st != ST_OK || *done)
        return st;
    log_init("longwave", c->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    if (c->n_argument < min)
        return status_fail(ST_ARG, "an argument is missing; see %s --help",
                           set->program);
    return ST_OK;
}

/* The second signal has its usual effect. */
static void
catch_signals(void)
{
    struct sigaction action = {.sa_handler = ask_to_stop,
                               .sa_flags = (int)SA_RESETHAND};
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGPIPE, &ignore, NULL);
}

status
command_open(command *c)
{
    client_config config = {.endpoint = c->connect ? c->connect : c->endpoint,
                            .timeout_ms = (uint32_t)c->timeout_s * 1000,
                            .interrupted = interrupted};
    status st;

    catch_signals();
    if (c->key) {
        TRY(keyfile_read_client(&c->keys, c->key, c->server_key));
        config.key = &c->keys;
    }
    TRY(client_open(&c->c, &config));
    log_debug("connected to %s", client_endpoint(c->c));
fail:
    return st;
}

void
command_close(command *c)
{
    client_close(c->c);
    keyfile_wipe(&c->keys);
}

status
command_job_number(uint64_t *out, const char *text)
{
    uint64_t id;
    char *end;

    errno = 0;
    id = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || errno || id == 0)
        return status_fail(ST_ARG, "'%s' is not the number of a job", text);
    *out = id;
    return ST_OK;
}

status
command_print(jsonout *j)
{
    status st = jsonout_print(j, stdout);

    jsonout_fini(j);
    return st;
}
