/* SPDX-License-Identifier: Apache-2.0 */
/* What every test needs: cmocka, and one-line checks of a status. */
#ifndef TESTS_EXPECT_H
#define TESTS_EXPECT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/status.h"

#define EXPECT_ST(call, code)                                                  \
    do {                                                                       \
        status expect_st_ = (call);                                            \
        if (expect_st_ != (code))                                              \
            fail_msg("%s: %s, expected %s (%s)", #call,                        \
                     status_name(expect_st_), status_name(code),               \
                     status_text());                                           \
    } while (0)
#define EXPECT_OK(call) EXPECT_ST(call, ST_OK)

#endif
