/* SPDX-License-Identifier: Apache-2.0 */
/* Flags of the programs: one table gives parsing, environment, --help.
 *
 * `--name VALUE`, `--name=VALUE`, and `LONGWAVE_NAME` in the environment
 * (upper case, '-' as '_').  The flag wins: a variable beside it is not even
 * read, and an empty one counts as unset.  Values are checked here, once:
 * type, range, unknown flags, missing values, left-over arguments. */
#ifndef BASE_OPTION_H
#define BASE_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef enum option_kind {
    OPTION_FLAG, /* bool *: no value; --no-NAME clears it */
    OPTION_U64,  /* uint64_t *: min .. max */
    OPTION_F64,  /* double *: min .. max, finite */
    OPTION_TEXT, /* const char **: points into argv or environ */
    OPTION_LIST, /* option_list *: given several times; one from environ */
    OPTION_HEAD  /* only a heading in --help: name is its text */
} option_kind;

typedef struct option_list {
    const char *item[16];
    size_t n;
} option_list;

typedef struct option_entry {
    const char *name; /* without "--" */
    option_kind kind;
    void *value;          /* holds the default on entry; not for OPTION_HEAD */
    const char *argument; /* name of the value in --help, NULL for flags */
    const char *help;
    double min, max; /* for numbers; both 0: any */
} option_entry;

typedef struct option_set {
    const char *program;
    const char *summary; /* lines before the flags in --help */
    const char *footer;  /* lines after, or NULL */
    const option_entry *entry;
    size_t n_entry;
    size_t max_argument; /* positional arguments allowed */
} option_set;

/* Reads argv[1 ..] and the environment into the values of the table, which are
 * undefined after a failure.  Positional arguments are left in
 * argument[0 .. *n_argument), which may be NULL when none are allowed.  "--"
 * ends flags; a separate value that begins with "--" is refused (--name=VALUE
 * takes it).  *done is set when --help or --version was asked for and printed
 * on stdout (then the program exits 0).  At most 64 entries.  ST_ARG with one
 * sentence; ST_IO when stdout does not take the text. */
status option_parse(const option_set *set, int argc, char **argv,
                    const char **argument, size_t *n_argument,
                    bool *done) MUST_USE;

#endif
