/* SPDX-License-Identifier: Apache-2.0 */
/* What config.json can say and the layers do not compute yet. */
#ifndef WORKER_BUILT_H
#define WORKER_BUILT_H

#include "model/config.h"

/* ST_UNSUPPORTED with the option's name. */
status built_check(const model_config *cfg) MUST_USE;

#endif
