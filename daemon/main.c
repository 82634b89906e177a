/* SPDX-License-Identifier: Apache-2.0 */
/* longwaved: the coordinator daemon. */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/jsonout.h"
#include "base/log.h"
#include "daemon/service.h"
#include "daemon/settings.h"

/* EX_CONFIG of sysexits.h: it would not be safe to serve like this. */
enum { UNSAFE = 78, BROKEN = 74 /* EX_IOERR */, MAX_FILES = 16384 };

/* Files are ours alone, no document ends up in a core dump, here or in a world
 * that is started from here, and many peers need many descriptors. */
static void
harden(void)
{
    const struct rlimit none = {.rlim_max = 0};
    struct rlimit files;

    (void)umask(077);
    (void)setrlimit(RLIMIT_CORE, &none);
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return;
    files.rlim_cur = files.rlim_max < MAX_FILES ? files.rlim_max : MAX_FILES;
    (void)setrlimit(RLIMIT_NOFILE, &files);
}

/* Scripts wait for this line: from then on the endpoints answer. */
static status
announce(const service *v, const settings *set)
{
    jsonout j;
    status st = ST_OK;

    log_info("serving '%s' to clients at %s and to worlds at %s", set->model,
             service_endpoint(v), service_world_endpoint(v));
    if (!set->json)
        return ST_OK;
    jsonout_init(&j);
    jsonout_object(&j, NULL);
    jsonout_text(&j, "listen", service_endpoint(v));
    jsonout_text(&j, "listen_worlds", service_world_endpoint(v));
    jsonout_text(&j, "data", set->data);
    jsonout_close_object(&j);
    st = jsonout_print(&j, stdout);
    jsonout_fini(&j);
    return st;
}

int
main(int argc, char **argv)
{
    settings set = {0};
    service *v = NULL;
    bool done = false;
    int code = 0;
    status st;

    log_init("longwaved", LOG_LEVEL_INFO);
    harden();
    TRY(settings_parse(&set, argc, argv, &done));
    if (done)
        return 0;
    if (set.verbose)
        log_init("longwaved", LOG_LEVEL_DEBUG);
    TRY(service_new(&v, &set));
    TRY(announce(v, &set));
    TRY(service_run(v));
    code = service_code(v);
fail:
    if (st != ST_OK)
        log_error("%s", status_text());
    service_free(v);
    settings_fini(&set);
    if (file_sync_failed())
        return BROKEN;
    if (st == ST_OK)
        return code;
    return st == ST_DENIED ? UNSAFE : status_exit_code(st);
}
