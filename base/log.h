/* SPDX-License-Identifier: Apache-2.0 */
/* Lines for people, on stderr: "longwaved: warning: sentence".
 *
 * Results never go through here.  Thread-safe; each call is one write.  The
 * name and the level are set once by main(), before any thread starts. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

#include "base/status.h"

typedef enum log_level {
    LOG_LEVEL_ERROR = 0,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO, /* the default */
    LOG_LEVEL_DEBUG /* --verbose */
} log_level;

void log_init(const char *program, log_level level);
bool log_enabled(log_level level);
void log_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_warn(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_info(const char *fmt, ...) PRINTF_LIKE(1, 2);
void log_debug(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
