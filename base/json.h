/* SPDX-License-Identifier: Apache-2.0 */
/* Reading JSON that comes from outside, with typed and bounded access.
 *
 * The owner of jansson; absent from an engine-only build.  A `json` is
 * borrowed from its document and lives as long as it. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct json_doc json_doc;
typedef struct json json; /* a value inside a document */

/* Parses `len` bytes; duplicate keys are refused, nesting is bounded.
 * ST_ARG: "`what`: line n: reason". */
status json_parse(json_doc **out, const char *text, size_t len,
                  const char *what) MUST_USE;
/* The same of a file; also as file_read(). */
status json_read(json_doc **out, const char *path, size_t limit,
                 const char *what) MUST_USE;
void json_free(json_doc *doc);
const json *json_root(const json_doc *doc);

bool json_is_object(const json *v);
bool json_is_array(const json *v);
bool json_is_string(const json *v);
bool json_is_number(const json *v);
bool json_is_integer(const json *v);
bool json_is_bool(const json *v);
bool json_is_null(const json *v); /* also for NULL: absent */

/* Member of an object; NULL when absent or not an object. */
const json *json_get(const json *object, const char *key);
size_t json_size(const json *v); /* elements or members; 0 for others */
const json *json_at(const json *array, size_t i);
/* Members in file order, until fn returns false. */
typedef bool json_each_fn(void *ctx, const char *key, const json *value);
void json_each(const json *object, json_each_fn *fn, void *ctx);

/* Text of a string (may hold NUL) and its length; "" for others. */
const char *json_text(const json *v, size_t *len); /* len may be NULL */
double json_number(const json *v);                 /* 0 for others */
int64_t json_int(const json *v);                   /* 0 for others */
bool json_bool(const json *v);

#endif
