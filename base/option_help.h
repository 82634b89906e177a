/* SPDX-License-Identifier: Apache-2.0 */
/* The text of --help, made from the same table as the parsing. */
#ifndef BASE_OPTION_HELP_H
#define BASE_OPTION_HELP_H

#include "base/option.h"

/* Prints summary, flags with their present values as defaults, and footer on
 * stdout.  Called by option_parse() before it sets anything. */
void option_help_print(const option_set *set);

#endif
