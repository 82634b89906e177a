/* SPDX-License-Identifier: Apache-2.0 */
/* This process can open no file for a while. */
#ifndef TESTS_DAEMON_SHORTAGE_H
#define TESTS_DAEMON_SHORTAGE_H

#include "tests/expect.h"

#include <sys/resource.h>
#include <unistd.h>

/* Returns the limit that there was. */
static inline rlim_t
shortage_begin(void)
{
    int lowest = dup(STDIN_FILENO);
    struct rlimit limit;
    rlim_t before;

    assert_true(lowest >= 0);
    assert_int_equal(close(lowest), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    before = limit.rlim_cur;
    limit.rlim_cur = (rlim_t)lowest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return before;
}

static inline void
shortage_end(rlim_t before)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = before;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

#endif
