/* SPDX-License-Identifier: Apache-2.0 */
/* Makes, reads and checks CurveZMQ keys. */
#include "proto/keyfile.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <zmq.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/secret.h"

enum { MAX_FILE = 4096, KEY_BYTES = 32, MAX_LINE = 128 };

/* Decoding alone accepts texts of more than 32 bits a group. */
bool
keyfile_is_key(const char *text)
{
    static const char Z85[] = "0123456789abcdefghijklmnopqrstuvwxyz"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              ".-:+=^!/*?&<>()[]{}@%$#";
    uint8_t key[KEY_BYTES];
    char again[KEYFILE_SIZE];

    return strnlen(text, KEYFILE_SIZE) == KEYFILE_SIZE - 1 &&
           strspn(text, Z85) == KEYFILE_SIZE - 1 &&
           zmq_z85_decode(key, text) != NULL &&
           zmq_z85_encode(again, key, sizeof(key)) != NULL &&
           strcmp(text, again) == 0;
}

status
keyfile_generate(keyfile *out)
{
    keyfile k = {.server_key = "", .public_key = "-"};

    /* One in 85 begins with a dash, and would be taken for a flag where it is
     * an argument. */
    for (int i = 0; i < 64 && k.public_key[0] == '-'; i++)
        if (zmq_curve_keypair(k.public_key, k.secret_key) != 0)
            return status_fail(ST_UNSUPPORTED, "libzmq here has no CURVE: %s",
                               zmq_strerror(zmq_errno()));
    *out = k;
    keyfile_wipe(&k);
    return ST_OK;
}

void
keyfile_wipe(keyfile *k)
{
    if (k)
        secret_wipe(k, sizeof(*k));
}

/* ---------------------------------------------------------------- reading ---
 */

static char *
place_of(keyfile *k, const char *name)
{
    if (strcmp(name, "public") == 0)
        return k->public_key;
    if (strcmp(name, "secret") == 0)
        return k->secret_key;
    return strcmp(name, "server") == 0 ? k->server_key : NULL;
}

/* One line without its end, which may be empty or a comment. */
static bool
take_line(keyfile *k, const char *line)
{
    char name[8], value[KEYFILE_SIZE + 1];
    int end = 0;
    char *to;

    if (line[strspn(line, " \t\r")] == '\0' || line[0] == '#')
        return true;
    if (sscanf(line, "%7[a-z] = %41[^ \t\r] %n", name, value, &end) != 2 ||
        end == 0 || line[end] != '\0')
        return false;
    to = place_of(k, name);
    if (!to || *to || !keyfile_is_key(value))
        return false;
    memcpy(to, value, KEYFILE_SIZE);
    secret_wipe(value, sizeof(value));
    return true;
}

static status
parse(keyfile *k, const char *data, size_t len, const char *path)
{
    const char *at = data;
    const char *end = data + len;

    for (int number = 1; at < end; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((stop ? stop : end) - at);
        char line[MAX_LINE] = "";
        bool good = n < sizeof(line) && !memchr(at, '\0', n);

        if (good) {
            memcpy(line, at, n);
            good = take_line(k, line);
        }
        secret_wipe(line, sizeof(line));
        if (!good)
            return status_fail(ST_ARG, "%s, line %d: not of a key file", path,
                               number);
        at += n + 1;
    }
    if (!*k->public_key)
        return status_fail(ST_ARG, "%s has no public key", path);
    return ST_OK;
}

static status
check_pair(const keyfile *k, const char *path)
{
    char public_key[KEYFILE_SIZE];

    if (!*k->secret_key)
        return status_fail(ST_ARG,
                           "%s has no secret key: a key is needed "
                           "that 'longwave keygen' made",
                           path);
    if (zmq_curve_public(public_key, k->secret_key) != 0)
        return status_fail(ST_UNSUPPORTED, "libzmq here has no CURVE");
    if (strcmp(public_key, k->public_key) != 0)
        return status_fail(
            ST_ARG, "the public key in %s is not that of the secret one", path);
    return ST_OK;
}

status
keyfile_read(keyfile *out, const char *path)
{
    keyfile k = {.server_key = ""};
    char *data = NULL;
    size_t len = 0;
    status st;

    TRY(secret_read(&data, &len, path, MAX_FILE, SECRET_PRIVATE));
    TRY(parse(&k, data, len, path));
    TRY(check_pair(&k, path));
    *out = k;
fail:
    secret_free(data, len);
    keyfile_wipe(&k);
    return st;
}

static status
take_public(char out[KEYFILE_SIZE], const char *data, size_t len,
            const char *path)
{
    keyfile k = {.server_key = ""};
    status st;

    TRY(parse(&k, data, len, path));
    memcpy(out, k.public_key, KEYFILE_SIZE);
fail:
    keyfile_wipe(&k);
    return st;
}

status
keyfile_read_public(char out[KEYFILE_SIZE], const char *path)
{
    char *data = NULL;
    size_t len = 0;
    status st;

    TRY(file_read(&data, &len, path, MAX_FILE));
    TRY(take_public(out, data, len, path));
fail:
    secret_free(data, len);
    return st;
}

/* Who can write this file decides whom we talk to. */
static status
read_server(char out[KEYFILE_SIZE], const char *path)
{
    char *data = NULL;
    size_t len = 0;
    status st;

    TRY(secret_read(&data, &len, path, MAX_FILE, SECRET_TRUSTED));
    TRY(take_public(out, data, len, path));
fail:
    secret_free(data, len);
    return st;
}

status
keyfile_read_client(keyfile *out, const char *path, const char *server)
{
    keyfile k = {.server_key = ""};
    status st;

    TRY(keyfile_read(&k, path));
    if (server)
        TRY(read_server(k.server_key, server));
    if (!*k.server_key)
        TRY(status_fail(ST_ARG,
                        "%s names no server: --server-key FILE tells the "
                        "daemon's public key",
                        path));
    *out = k;
fail:
    keyfile_wipe(&k);
    return st;
}

/* ----------------------------------------------------------------- making ---
 */

static status
create_public(const char *key, const char *path)
{
    char text[MAX_LINE];

    (void)snprintf(text, sizeof(text), "public = %s\n", key);
    return secret_create(path, text, strlen(text));
}

static status
create_secret(const keyfile *k, const char *path)
{
    char text[4 * MAX_LINE];
    status st;

    (void)snprintf(text, sizeof(text),
                   "# Secret: whoever has this file is you.\n"
                   "public = %s\nsecret = %s\n%s%s%s",
                   k->public_key, k->secret_key,
                   *k->server_key ? "server = " : "", k->server_key,
                   *k->server_key ? "\n" : "");
    st = secret_create(path, text, strlen(text));
    secret_wipe(text, sizeof(text));
    return st;
}

/* Something is at `path`, and the key that is there stays what it is; only the
 * file beside it may still be to make. */
static status
complete(const char *path, const char *beside)
{
    keyfile k = {.server_key = ""};
    status st;

    if (file_exists(beside))
        return status_fail(ST_STATE, "%s is there already", path);
    st = keyfile_read(&k, path);
    if (st != ST_OK)
        return status_fail(ST_STATE,
                           "%s is there already and is no key: if it is what "
                           "an interrupted keygen left, remove it",
                           path);
    st = create_public(k.public_key, beside);
    keyfile_wipe(&k);
    return st != ST_OK
               ? st
               : status_fail(ST_STATE,
                             "%s is there already and stays; %s, which was "
                             "missing, is made from it",
                             path, beside);
}

/* Whether it is the public key of this one: another keygen may have completed
 * what this one had half done. */
static bool
is_public_of(const keyfile *k, const char *path)
{
    char key[KEYFILE_SIZE];

    return keyfile_read_public(key, path) == ST_OK &&
           strcmp(key, k->public_key) == 0;
}

/* What is interrupted in between leaves the file that has all. */
status
keyfile_create(const keyfile *k, const char *path)
{
    char *beside = NULL;
    size_t size = strlen(path) + sizeof(".pub");
    status st;

    TRY(mem_new(&beside, size, 1));
    (void)snprintf(beside, size, "%s.pub", path);
    if (file_exists(path))
        TRY(complete(path, beside));
    if (file_exists(beside))
        TRY(status_fail(ST_STATE,
                        "%s is there already, and %s is not: that key's "
                        "secret is elsewhere or was never made; remove it, "
                        "or choose another name",
                        beside, path));
    TRY(create_secret(k, path));
    st = create_public(k->public_key, beside);
    if (st == ST_STATE && is_public_of(k, beside))
        st = ST_OK;
    if (st != ST_OK && file_remove(path) != ST_OK)
        st = status_fail(st, "%s cannot be made, and %s stays", beside, path);
fail:
    mem_free(beside);
    return st;
}
