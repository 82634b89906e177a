/* SPDX-License-Identifier: Apache-2.0 */
/* The command line and environment of a local world; private to
 * daemon/launch*.c and its test. */
#ifndef DAEMON_LAUNCH_ARGV_H
#define DAEMON_LAUNCH_ARGV_H

#include <stdint.h>

#include "base/status.h"
#include "daemon/launch.h"

typedef struct launch_argv launch_argv;

/* The flags are those of Open MPI 4.1 and 5.  `place`: directory for what
 * mpirun and its ranks share, or NULL for theirs. */
status launch_argv_new(launch_argv **out, const launch_setup *setup,
                       const char *place, uint64_t token) MUST_USE;
void launch_argv_free(launch_argv *a);
/* NULL-terminated; owned by `a`. */
char *const *launch_argv_list(const launch_argv *a);
char *const *launch_argv_environment(const launch_argv *a);

#endif
