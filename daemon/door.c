/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and the list of keys: checked at start, watched afterwards. */
#include "daemon/door.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/mem.h"
#include "proto/zap.h"

static const uint64_t LOOK_NS = 1000000000; /* between looks at the list */

struct door {
    zcontext *z;
    zap *zap; /* NULL: no keys */
    keyfile key;
    zsocket_guard guard[2]; /* by domain */
    char *authorized;
    struct stat seen; /* the list that was looked at; zeros: none */
    bool lost;        /* it could not be read */
    uint64_t looked_ns;
};

/* ----------------------------------------------------------------- opening
 * ---
 */

static status
unsafe(status st)
{
    char why[400];

    if (st == ST_OK || st == ST_NOMEM)
        return st;
    (void)snprintf(why, sizeof(why), "%s", status_text());
    return status_fail(ST_DENIED, "%s", why);
}

static status
check_setup(const door_setup *s)
{
    if (s->key && s->allow_local_users)
        return status_fail(ST_ARG,
                           "--key and --allow-local-users exclude each other");
    if (s->key && !s->authorized)
        return status_fail(ST_DENIED, "--key needs --authorized: without a "
                                      "list of keys nobody could come in");
    if (s->authorized && !s->key)
        return status_fail(ST_DENIED, "--authorized needs --key: without a key "
                                      "of its own the daemon has no door");
    return ST_OK;
}

static status
read_list(door *d)
{
    allowlist *list = NULL;
    struct stat now = {.st_ino = 0};
    status st;

    (void)stat(d->authorized, &now);
    TRY(allowlist_read(&list, d->authorized));
    if (*allowlist_fault(list))
        TRY(status_fail(ST_DENIED, "%s, %s", d->authorized,
                        allowlist_fault(list)));
    if (allowlist_count(list) == 0)
        TRY(status_fail(ST_DENIED, "%s has no key: nobody could come in",
                        d->authorized));
    d->seen = now;
    zap_take_list(d->zap, &list);
fail:
    allowlist_free(list);
    return st;
}

/* The worlds that the daemon starts come in with its own key. */
static status
open_keys(door *d, const door_setup *setup)
{
    status st;

    TRY(mem_strdup(&d->authorized, setup->authorized));
    TRY(zap_new(&d->zap, d->z));
    TRY(unsafe(keyfile_read(&d->key, setup->key)));
    zap_trust(d->zap, d->key.public_key, ALLOWLIST_WORLD);
    TRY(unsafe(read_list(d)));
    for (int i = 0; i < 2; i++)
        d->guard[i].key = &d->key;
fail:
    return st;
}

status
door_open(door **out, zcontext *z, const door_setup *setup)
{
    door *d = NULL;
    status st;

    TRY(check_setup(setup));
    TRY(mem_new(&d, 1, sizeof(*d)));
    d->z = z;
    for (int i = 0; i < 2; i++)
        d->guard[i] =
            (zsocket_guard){.domain = (zsocket_domain)i,
                            .allow_local_users = setup->allow_local_users};
    if (setup->key)
        TRY(open_keys(d, setup));
    *out = d;
    return ST_OK;
fail:
    door_close(d);
    return st;
}

void
door_close(door *d)
{
    if (!d)
        return;
    zap_free(d->zap);
    keyfile_wipe(&d->key);
    mem_free(d->authorized);
    mem_free(d);
}

const zsocket_guard *
door_guard(const door *d, zsocket_domain domain)
{
    return &d->guard[domain];
}

status
door_check(const door *d, const char *endpoint)
{
    if (!d->zap || strncmp(endpoint, "tcp://", 6) != 0)
        return ST_OK;
    return zap_check(d->z, endpoint, d->key.public_key);
}

/* ---------------------------------------------------------------- serving ---
 */

unsigned
door_roles(const door *d, const char *user)
{
    if (*user == '\0')
        return ALLOWLIST_CLIENT | ALLOWLIST_WORLD | ALLOWLIST_ADMIN;
    return d->zap ? zap_roles(d->zap, user) : 0;
}

static bool
is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev &&
           a->st_size == b->st_size && a->st_mode == b->st_mode &&
           a->st_uid == b->st_uid && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Until it can be read again, which may have nothing to do with the file:
 * then it is the same one that is tried again. */
static void
say_lost(door *d, const struct stat *now)
{
    allowlist *none = NULL;

    if (!d->lost || !is_same(now, &d->seen))
        log_error("nobody may come in any more: %s", status_text());
    d->lost = true;
    d->seen = *now;
    zap_take_list(d->zap, &none);
}

void
door_tick(door *d, uint64_t now_ns)
{
    struct stat now = {.st_ino = 0};
    allowlist *list = NULL;

    if (!d->zap || now_ns - d->looked_ns < LOOK_NS)
        return;
    d->looked_ns = now_ns;
    (void)stat(d->authorized, &now);
    if (is_same(&now, &d->seen) && !d->lost)
        return;
    if (allowlist_read(&list, d->authorized) != ST_OK) {
        say_lost(d, &now);
        return;
    }
    d->seen = now;
    d->lost = false;
    if (*allowlist_fault(list))
        log_error("%s, %s: lines like that let nobody in", d->authorized,
                  allowlist_fault(list));
    else
        log_info("%s has %zu key%s now", d->authorized, allowlist_count(list),
                 allowlist_count(list) == 1 ? "" : "s");
    zap_take_list(d->zap, &list);
}
