/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli, RFC 3720): finds what rots or is torn, quickly.
 *
 * No defence against somebody who means it: that is what base/hash.h is for. */
#ifndef BASE_CRC_H
#define BASE_CRC_H

#include <stddef.h>
#include <stdint.h>

/* Of `len` bytes after those that gave `before` (0: none). */
uint32_t crc_add(uint32_t before, const void *data, size_t len);

#endif
