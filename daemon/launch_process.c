/* SPDX-License-Identifier: Apache-2.0 */
/* What runs between fork and exec, where only async-signal-safe calls are
 * allowed: the daemon has threads.
 *
 * Between daemon and command stands the keeper, a process with one thread.
 * A parent-death signal is sent for every thread of a parent that dies, and
 * mpirun takes a second SIGTERM as the wish to leave at once, without tidying
 * up its shared memory.  The keeper's death is one death. */
#include "daemon/launch_process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CLOSE_ON_EXEC = 4 /* CLOSE_RANGE_CLOEXEC */ };

/* Closes descriptors from `first` on, now or on exec. */
static void
drop_descriptors(unsigned first, unsigned flags)
{
    struct rlimit most;

    if (syscall(SYS_close_range, first, UINT_MAX, flags) == 0 ||
        getrlimit(RLIMIT_NOFILE, &most) != 0)
        return;
    for (rlim_t fd = first; fd < most.rlim_cur; fd++) /* before Linux 5.11 */
        if (flags == CLOSE_ON_EXEC)
            (void)fcntl((int)fd, F_SETFD, FD_CLOEXEC);
        else
            (void)close((int)fd);
}

/* Dies with `signal_number` when the parent does. */
static void
follow(pid_t parent, int signal_number)
{
    (void)prctl(PR_SET_PDEATHSIG, signal_number);
    if (getppid() != parent)
        _exit(127); /* it died before the line above */
}

_Noreturn static void
command(const launch_argv *a, int failed, pid_t keeper)
{
    char *const *argv = launch_argv_list(a);
    int null = open("/dev/null", O_RDONLY);
    sigset_t none;
    int e;

    follow(keeper, SIGTERM);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)dup2(null, STDIN_FILENO);
    (void)dup2(STDERR_FILENO, STDOUT_FILENO);
    drop_descriptors(3, CLOSE_ON_EXEC);
    (void)execvpe(argv[0], argv, launch_argv_environment(a));
    e = errno;
    if (write(failed, &e, sizeof(e)) < 0)
        _exit(126);
    _exit(127);
}

/* Ends as the command has ended. */
_Noreturn static void
end_as(int how)
{
    sigset_t none;

    if (WIFEXITED(how))
        _exit(WEXITSTATUS(how));
    (void)sigemptyset(&none);
    (void)signal(WTERMSIG(how), SIG_DFL);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)kill(getpid(), WTERMSIG(how));
    _exit(128 + WTERMSIG(how));
}

/* All signals are blocked here: what is sent to the group is the command's.
 * No descriptor of the daemon's may live on in here. */
_Noreturn static void
keeper(const launch_argv *a, int failed, pid_t parent)
{
    pid_t me = getpid();
    sigset_t all;
    pid_t pid;
    int how = 0;

    follow(parent, SIGKILL);
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_NAME, "longwave-launch");
    pid = fork();
    if (pid == 0)
        command(a, failed, me);
    drop_descriptors(0, 0);
    if (pid < 0)
        _exit(127);
    while (waitpid(pid, &how, 0) < 0 && errno == EINTR)
        ;
    end_as(how);
}

status
launch_process_start(pid_t *pid, int *exec_fd, const launch_argv *a)
{
    int pipes[2];
    pid_t parent = getpid();
    pid_t child;

    if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK) != 0)
        return status_fail(ST_IO, "no pipe: %s", strerror(errno));
    child = fork();
    if (child == 0)
        keeper(a, pipes[1], parent);
    (void)close(pipes[1]);
    if (child < 0) {
        (void)close(pipes[0]);
        return status_fail(ST_IO, "no process: %s", strerror(errno));
    }
    (void)setpgid(child, child);
    *pid = child;
    *exec_fd = pipes[0];
    return ST_OK;
}
