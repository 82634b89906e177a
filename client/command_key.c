/* SPDX-License-Identifier: Apache-2.0 */
/* `longwave keygen` and `longwave authorize`: files only, no daemon. */
#include <stdio.h>
#include <string.h>

#include "client/command.h"
#include "proto/allowlist.h"
#include "proto/keyfile.h"

typedef struct key_command {
    const char *server, *role, *name, *authorized;
    bool json, revoke;
    const char *argument[1];
    size_t n_argument;
} key_command;

static status
parse(key_command *k, const option_set *set, int argc, char **argv, bool *done)
{
    status st =
        option_parse(set, argc, argv, k->argument, &k->n_argument, done);

    if (st != ST_OK || *done)
        return st;
    if (k->n_argument == 0)
        return status_fail(ST_ARG, "an argument is missing; see %s --help",
                           set->program);
    return ST_OK;
}

static status
print_key(const char *key, const char *file, bool json)
{
    jsonout j;

    if (!json) {
        printf("%s\n", key);
        return ST_OK;
    }
    jsonout_init(&j);
    jsonout_object(&j, NULL);
    jsonout_text(&j, "public_key", key);
    jsonout_text(&j, "file", file);
    jsonout_close_object(&j);
    return command_print(&j);
}

status
command_keygen(int argc, char **argv)
{
    key_command k = {.json = false};
    keyfile made = {.server_key = ""};
    bool done = false;
    const option_entry entry[] = {
        {"server-key", OPTION_TEXT, &k.server, "FILE",
         "the daemon's public key, which the new file then names", 0, 0},
        {"json", OPTION_FLAG, &k.json, NULL,
         "print one JSON object on one line", 0, 0},
    };
    const option_set set = {
        .program = "longwave keygen",
        .summary = "Usage: longwave keygen FILE [--server-key FILE.pub]\n"
                   "Makes a key: FILE, which is secret, and FILE.pub, which is "
                   "for 'longwave\nauthorize'.  Prints the public key.",
        .entry = entry,
        .n_entry = sizeof(entry) / sizeof(*entry),
        .max_argument = 1};
    status st;

    TRY(parse(&k, &set, argc, argv, &done));
    if (done)
        return ST_OK;
    TRY(keyfile_generate(&made));
    if (k.server)
        TRY(keyfile_read_public(made.server_key, k.server));
    TRY(keyfile_create(&made, k.argument[0]));
    TRY(print_key(made.public_key, k.argument[0], k.json));
fail:
    keyfile_wipe(&made);
    return st;
}

/* A key, or the file that has it. */
static status
find_key(char out[KEYFILE_SIZE], const char *text)
{
    if (!keyfile_is_key(text))
        return keyfile_read_public(out, text);
    memcpy(out, text, KEYFILE_SIZE);
    return ST_OK;
}

static status
edit(const key_command *k)
{
    unsigned roles = allowlist_roles(k->role);
    char key[KEYFILE_SIZE];
    status st;

    if (!k->authorized)
        return status_fail(ST_ARG, "--authorized FILE is needed: the list of "
                                   "the daemon");
    if (!roles)
        return status_fail(ST_ARG,
                           "'%s' is no role: roles are client, world "
                           "and admin, with commas between",
                           k->role);
    TRY(find_key(key, k->argument[0]));
    TRY(allowlist_edit(k->authorized, key, k->revoke ? 0 : roles, k->name));
    TRY(print_key(key, k->authorized, k->json));
fail:
    return st;
}

status
command_authorize(int argc, char **argv)
{
    key_command k = {.role = "client", .name = ""};
    bool done = false;
    const option_entry entry[] = {
        {"authorized", OPTION_TEXT, &k.authorized, "FILE",
         "the list that the daemon was given with --authorized", 0, 0},
        {"role", OPTION_TEXT, &k.role, "ROLES",
         "client (the default), world, admin, or several with commas", 0, 0},
        {"name", OPTION_TEXT, &k.name, "TEXT", "whose key it is, for people", 0,
         0},
        {"revoke", OPTION_FLAG, &k.revoke, NULL,
         "take the key off the list: it is out within a second", 0, 0},
        {"json", OPTION_FLAG, &k.json, NULL,
         "print one JSON object on one line", 0, 0},
    };
    const option_set set = {
        .program = "longwave authorize",
        .summary = "Usage: longwave authorize KEY|FILE.pub --authorized FILE\n"
                   "Puts a public key on the list of those that may come in.",
        .entry = entry,
        .n_entry = sizeof(entry) / sizeof(*entry),
        .max_argument = 1};
    status st;

    TRY(parse(&k, &set, argc, argv, &done));
    if (!done)
        TRY(edit(&k));
fail:
    return st;
}
