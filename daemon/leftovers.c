/* SPDX-License-Identifier: Apache-2.0 */
/* Files of a daemon, told from others by their names. */
#include "daemon/leftovers.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

bool
leftovers_is_file(const char *name)
{
    static const char *const kind[] = {"snap", "ids", "in"};
    const char *at = name + strspn(name, "0123456789.");
    int end = 0;

    if (at == name || at[-1] != '.' || name[0] == '.')
        return false;
    for (size_t i = 0; i < sizeof(kind) / sizeof(*kind); i++) {
        size_t n = strlen(kind[i]);

        if (strncmp(at, kind[i], n) != 0)
            continue;
        (void)sscanf(at + n, ".%*[0-9].tmp%n", &end);
        return at[n + (size_t)end] == '\0';
    }
    return false;
}

bool
leftovers_is_spool(const char *name)
{
    return strncmp(name, "input.", 6) == 0 && strlen(name) == 12;
}

static void
drop_file(DIR *list, const char *dir, const char *name)
{
    if (unlinkat(dirfd(list), name, 0) == 0)
        log_info("'%s/%s' was left by an interrupted job: deleted", dir, name);
    else
        log_warn("'%s/%s' cannot be deleted: %s", dir, name, strerror(errno));
}

status
leftovers_sweep(const char *dir, leftovers_ours_fn *ours,
                leftovers_wanted_fn *wanted, void *ctx)
{
    DIR *list = opendir(dir);
    struct dirent *entry;
    size_t n_other = 0;

    if (!list)
        return status_fail(ST_IO, "%s: %s", dir, strerror(errno));
    while ((entry = readdir(list)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        if (!ours(entry->d_name))
            n_other++;
        else if (!wanted(ctx, entry->d_name))
            drop_file(list, dir, entry->d_name);
    }
    (void)closedir(list);
    if (n_other > 0)
        log_warn("'%s' has %zu files of others: they stay", dir, n_other);
    return ST_OK;
}

status
leftovers_there(bool *out, const char *dir)
{
    DIR *list = opendir(dir);
    struct dirent *entry;

    if (!list)
        return status_fail(ST_IO, "%s: %s", dir, strerror(errno));
    *out = false;
    while (!*out && (entry = readdir(list)) != NULL)
        *out = leftovers_is_file(entry->d_name);
    (void)closedir(list);
    return ST_OK;
}
