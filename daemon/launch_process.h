/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the local world's process; private to daemon/launch*.c. */
#ifndef DAEMON_LAUNCH_PROCESS_H
#define DAEMON_LAUNCH_PROCESS_H

#include <sys/types.h>

#include "base/status.h"
#include "daemon/launch_argv.h"

/* *pid leads a process group of its own and ends as the command ends; if the
 * daemon dies, the command gets SIGTERM, once.  *exec_fd: when *pid has ended,
 * an errno can be read there if the command could not be executed.  Does not
 * wait for the exec: it could take a while on a busy machine. */
status launch_process_start(pid_t *pid, int *exec_fd,
                            const launch_argv *a) MUST_USE;

#endif
