/* SPDX-License-Identifier: Apache-2.0 */
/* Typed fields of config.json, and the parts that read them; inside the text
 * library.
 *
 * A get function leaves *out alone when the field is absent or null, so that
 * it holds the default before the call; ST_ARG names the field. */
#ifndef MODEL_CONFIG_READER_H
#define MODEL_CONFIG_READER_H

#include "base/json.h"
#include "model/config.h"

/* The members that were asked for, whose names are the code's and few. */
typedef struct config_seen {
    size_t n;
    struct {
        const json *object;
        const char *name;
    } field[256];
} config_seen;

/* Where a config comes from. */
typedef struct config_reader {
    const char *what;  /* of messages */
    config_seen *seen; /* or NULL */
    const json *top;   /* the wrapper's fields */
    const json *base;  /* the base model's: `top` itself without a wrapper */
    config_given given;
} config_reader;

/* "`what`: `name` must be `expected`", ST_ARG. */
status config_bad(const config_reader *r, const char *name,
                  const char *expected) MUST_USE;
/* "`what`: `name` `value` is not supported", ST_UNSUPPORTED. */
status config_refuse(const config_reader *r, const char *name,
                     const char *value) MUST_USE;

/* A member of an object of the file, as json_get(), and it counts as seen. */
const json *config_field(const config_reader *r, const json *object,
                         const char *name);
/* The members of the file that were not seen; those of the base model's object
 * as "base_model_config.NAME". */
void config_collect_unread(const config_reader *r, config_unread *out);

status config_get_bool(const config_reader *r, const json *object,
                       const char *name, bool *out) MUST_USE;
status config_get_u32(const config_reader *r, const json *object,
                      const char *name, uint32_t *out) MUST_USE;
status config_get_f64(const config_reader *r, const json *object,
                      const char *name, double *out) MUST_USE;
/* *out is borrowed from the document. */
status config_get_text(const config_reader *r, const json *object,
                       const char *name, const char **out) MUST_USE;
/* Refuses `name` unless it is absent, null or `only`. */
status config_only(const config_reader *r, const json *object, const char *name,
                   bool only) MUST_USE;
/* A positive size that must be there. */
status config_need_u32(const config_reader *r, const json *object,
                       const char *name, uint32_t *out) MUST_USE;

/* Whether `kind` names a base model that is read. */
bool config_base_known(const char *kind);
/* The base model's fields, all but the rotation. */
status config_read_base(const config_reader *r, const char *kind,
                        model_config *cfg) MUST_USE;
/* Rotary embedding of cfg's heads; nothing for GPT-2.  After the base. */
status config_read_rope(const config_reader *r, model_config *cfg) MUST_USE;
/* Segments and memory; finds r->base and its kind.  First of the three. */
status config_read_wrapper(config_reader *r, const char **base_kind,
                           model_config *cfg) MUST_USE;
/* What of the wrapper depends on the base.  Last. */
status config_read_layers(const config_reader *r, model_config *cfg) MUST_USE;

#endif
