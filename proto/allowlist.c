/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of keys: reading, finding, changing one line. */
#include "proto/allowlist.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/secret.h"
#include "proto/wiretext.h"

enum { MAX_FILE = 1 << 20, MAX_ROLES = 32, MAX_LINE = 256 };

typedef struct entry {
    char key[KEYFILE_SIZE];
    unsigned roles;
} entry;

struct allowlist {
    entry *item; /* by key */
    size_t n;
    char fault[160];
};

static const struct {
    const char *name;
    unsigned role;
} ROLE[] = {{"client", ALLOWLIST_CLIENT},
            {"world", ALLOWLIST_WORLD},
            {"admin", ALLOWLIST_ADMIN}};
enum { N_ROLE = sizeof(ROLE) / sizeof(*ROLE) };

static unsigned
role_of(const char *name, size_t len)
{
    for (size_t i = 0; i < N_ROLE; i++)
        if (strlen(ROLE[i].name) == len && !memcmp(ROLE[i].name, name, len))
            return ROLE[i].role;
    return 0;
}

unsigned
allowlist_roles(const char *text)
{
    unsigned roles = 0;

    for (;;) {
        size_t len = strcspn(text, ",");
        unsigned role = role_of(text, len);

        if (!role)
            return 0;
        roles |= role;
        if (text[len] == '\0')
            return roles;
        text += len + 1;
    }
}

/* ---------------------------------------------------------------- reading ---
 */

/* A line's roles and key.  0: a line without; -1: not a line of a list. */
static int
read_line(entry *out, const char *line)
{
    char roles[MAX_ROLES], key[KEYFILE_SIZE + 1];

    if (line[strspn(line, " \t\r")] == '\0' || line[0] == '#')
        return 0;
    if (!wiretext_is_printable(line) ||
        sscanf(line, "%31[a-z,] %41[^ ]", roles, key) != 2)
        return -1;
    out->roles = allowlist_roles(roles);
    if (!out->roles || !keyfile_is_key(key))
        return -1;
    memcpy(out->key, key, KEYFILE_SIZE);
    return 1;
}

/* The next line without its end, cut at `cap` (which makes it no line of a
 * list); NULL after the last. */
static const char *
next_line(const char *at, const char *end, char line[MAX_LINE])
{
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    size_t n = (size_t)((stop ? stop : end) - at);
    size_t keep = n < MAX_LINE ? n : MAX_LINE - 1;

    memcpy(line, at, keep);
    line[keep] = '\0';
    if (keep > 0 && line[keep - 1] == '\r')
        line[keep - 1] = '\0';
    if (n >= MAX_LINE || memchr(at, '\0', n))
        (void)snprintf(line, MAX_LINE, "?");
    return stop ? stop + 1 : end;
}

static int
by_key(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->key, ((const entry *)b)->key);
}

/* Of two lines for one key neither is believed. */
static void
drop_doubles(allowlist *l)
{
    size_t kept = 0;

    qsort(l->item, l->n, sizeof(*l->item), by_key);
    for (size_t i = 0; i < l->n;) {
        size_t same = 1;

        while (i + same < l->n && !by_key(&l->item[i], &l->item[i + same]))
            same++;
        if (same == 1)
            l->item[kept++] = l->item[i];
        else if (!*l->fault)
            (void)snprintf(l->fault, sizeof(l->fault),
                           "the key %s is there %zu times", l->item[i].key,
                           same);
        i += same;
    }
    l->n = kept;
}

status
allowlist_parse(allowlist **out, const char *text, size_t len)
{
    const char *end = text + len;
    allowlist *l = NULL;
    int number = 0;
    status st;

    TRY(mem_new(&l, 1, sizeof(*l)));
    TRY(mem_new(&l->item, ALLOWLIST_MAX, sizeof(*l->item)));
    for (const char *at = text; at < end;) {
        char line[MAX_LINE];
        entry e;
        int kind;

        at = next_line(at, end, line);
        number++;
        kind = read_line(&e, line);
        if (kind > 0 && l->n < ALLOWLIST_MAX)
            l->item[l->n++] = e;
        else if (kind != 0 && !*l->fault)
            (void)snprintf(l->fault, sizeof(l->fault), "line %d: %s", number,
                           kind < 0 ? "not 'ROLES KEY NAME'"
                                    : "more keys than a list can have");
    }
    drop_doubles(l);
    *out = l;
    return ST_OK;
fail:
    allowlist_free(l);
    return st;
}

status
allowlist_read(allowlist **out, const char *path)
{
    char *data = NULL;
    size_t len = 0;
    status st;

    TRY(secret_read(&data, &len, path, MAX_FILE, SECRET_TRUSTED));
    TRY(allowlist_parse(out, data, len));
fail:
    secret_free(data, len);
    return st;
}

void
allowlist_free(allowlist *l)
{
    if (!l)
        return;
    mem_free(l->item);
    mem_free(l);
}

const char *
allowlist_fault(const allowlist *l)
{
    return l->fault;
}

size_t
allowlist_count(const allowlist *l)
{
    return l->n;
}

unsigned
allowlist_find(const allowlist *l, const char *key)
{
    const entry *found;
    entry e = {.roles = 0};

    if (strnlen(key, KEYFILE_SIZE) != KEYFILE_SIZE - 1)
        return 0;
    memcpy(e.key, key, KEYFILE_SIZE);
    found = bsearch(&e, l->item, l->n, sizeof(e), by_key);
    return found ? found->roles : 0;
}

/* --------------------------------------------------------------- changing ---
 */

static status
check_edit(const char *key, unsigned roles, const char *name)
{
    if (!keyfile_is_key(key))
        return status_fail(ST_ARG, "that is not a key: a key has %d characters",
                           KEYFILE_SIZE - 1);
    if (roles &
        ~(unsigned)(ALLOWLIST_CLIENT | ALLOWLIST_WORLD | ALLOWLIST_ADMIN))
        return status_fail(ST_ARG, "there is no such role");
    if (strnlen(name, ALLOWLIST_NAME + 1) > ALLOWLIST_NAME ||
        !wiretext_is_printable(name))
        return status_fail(ST_ARG, "a name has at most %d printable bytes",
                           ALLOWLIST_NAME);
    return ST_OK;
}

/* Copies all lines but the key's; true: there was one. */
static bool
copy_others(char *to, size_t *n, const char *text, size_t len, const char *key)
{
    const char *end = text + len;
    bool found = false;

    for (const char *at = text; at < end;) {
        char line[MAX_LINE];
        entry e;
        const char *next = next_line(at, end, line);

        if (read_line(&e, line) > 0 && strcmp(e.key, key) == 0) {
            found = true;
        } else {
            memcpy(to + *n, at, (size_t)(next - at));
            *n += (size_t)(next - at);
        }
        at = next;
    }
    if (*n > 0 && to[*n - 1] != '\n')
        to[(*n)++] = '\n';
    return found;
}

static size_t
write_line(char line[MAX_LINE], const char *key, unsigned roles,
           const char *name)
{
    char words[MAX_ROLES] = "";
    size_t n = 0;
    int len;

    for (size_t i = 0; i < N_ROLE; i++)
        if (roles & ROLE[i].role)
            n += (size_t)snprintf(words + n, sizeof(words) - n, "%s%s",
                                  n ? "," : "", ROLE[i].name);
    len = snprintf(line, MAX_LINE, "%s %s%s%s\n", words, key, *name ? " " : "",
                   name);
    return len > 0 ? (size_t)len : 0;
}

/* The file is replaced, so it is its directory that is locked: of two edits
 * at once neither is lost. */
static status
lock_directory(int *out, const char *path)
{
    char *copy = NULL;
    int fd;
    status st;

    TRY(mem_strdup(&copy, path));
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX) != 0)
        st = status_fail(ST_IO, "%s cannot be locked: %s", path,
                         strerror(errno));
    *out = fd;
fail:
    mem_free(copy);
    return st;
}

/* Whoever could read the list still can: the daemon may be another user than
 * the one who edits. */
static status
replace(const char *path, const char *text, size_t n)
{
    struct stat old;
    bool known = stat(path, &old) == 0;
    file_writer w = {.fd = -1};
    status st;

    TRY(file_writer_open(&w, path));
    if (known &&
        (fchown(w.fd, old.st_uid, old.st_gid) == 0 || old.st_uid == geteuid()))
        (void)fchmod(w.fd, old.st_mode & 0755);
    TRY(file_writer_add(&w, text, n));
    TRY(file_writer_finish(&w, true));
fail:
    file_writer_close(&w);
    return st;
}

static status
edit(const char *path, const char *key, unsigned roles, const char *name)
{
    char *old = NULL;
    char *text = NULL;
    size_t len = 0;
    size_t n = 0;
    status st;

    st = secret_read(&old, &len, path, MAX_FILE, SECRET_TRUSTED);
    if (st == ST_NOTFOUND && roles)
        st = ST_OK; /* the first key makes the file */
    if (st != ST_OK)
        goto fail;
    TRY(mem_new(&text, len + 1 + MAX_LINE, 1));
    if (!copy_others(text, &n, old ? old : "", len, key) && !roles)
        TRY(status_fail(ST_NOTFOUND, "%s has no such key", path));
    if (roles)
        n += write_line(text + n, key, roles, name);
    TRY(replace(path, text, n));
fail:
    secret_free(old, len);
    mem_free(text);
    return st;
}

status
allowlist_edit(const char *path, const char *key, unsigned roles,
               const char *name)
{
    int lock = -1;
    status st;

    TRY(check_edit(key, roles, name));
    TRY(lock_directory(&lock, path));
    TRY(edit(path, key, roles, name));
fail:
    if (lock >= 0)
        (void)close(lock);
    return st;
}
