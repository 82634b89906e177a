/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the store share; private to daemon/store*.c. */
#ifndef DAEMON_STORE_IMPL_H
#define DAEMON_STORE_IMPL_H

#include "daemon/sql.h"
#include "daemon/store.h"

struct store {
    sql *db;
};

#endif
