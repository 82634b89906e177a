/* SPDX-License-Identifier: Apache-2.0 */
/* Text that comes over the wire: strict UTF-8, and what a name may hold. */
#ifndef PROTO_WIRETEXT_H
#define PROTO_WIRETEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* True for well-formed UTF-8 (no overlong form, no surrogate, nothing above
 * U+10FFFF) without NUL.  Empty text is fine. */
bool wiretext_is_utf8(const char *text, size_t len);

/* True when UTF-8 `text` has no control character (C0, DEL, C1).  Newlines
 * are control characters: names and codes are one line. */
bool wiretext_is_printable(const char *text);

/* A copy of a sentence that was made up somewhere, fit for the wire and for a
 * terminal: control characters become spaces, bytes that are no UTF-8 '?'. NULL
 * is "". mem_free(). */
status wiretext_sentence(char **out, const char *text) MUST_USE;

#endif
