/* SPDX-License-Identifier: Apache-2.0 */
/* Whether numbers that came from elsewhere can be computed with.
 *
 * By the bits alone.  States are long, and a rank that looks through one
 * computes nothing meanwhile: it takes about as long as reading the memory. */
#ifndef WORKER_FINITE_H
#define WORKER_FINITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernel.h"

/* No number of `type` (F32, BF16 or F16) among data[len bytes] is infinite or
 * not a number.  What of the last one is missing counts as zero. */
bool finite_all(const uint8_t *data, size_t len, kernel_type type);

#endif
