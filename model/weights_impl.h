/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of weights, shared by its files. */
#ifndef MODEL_WEIGHTS_IMPL_H
#define MODEL_WEIGHTS_IMPL_H

#include "model/weights.h"

/* Values converted or made at a time; a row is never longer. */
enum { WEIGHTS_CHUNK = CONFIG_MAX_WIDTH };

struct weights {
    kernel_device *dev;
    kernel_queue *q;
    model_config cfg;
    weights_part part;
    weights_types types;
    kernel_buf *buf[WEIGHTS_N_KIND];   /* NULL: not of this part */
    kernel_buf *scale[WEIGHTS_N_KIND]; /* of KERNEL_I8, else NULL */
    uint16_t *narrow; /* [WEIGHTS_CHUNK] on their way to a narrow type */
};

/* Where numbers of an item are: element `first` of a buffer with rows of
 * `cols`. */
typedef struct weights_place {
    weights_kind kind; /* whose buffer it is */
    kernel_buf *buf;
    size_t first, cols;
} weights_place;

/* The kind whose buffer holds `kind`: a tied head is the table where both are
 * here. */
weights_kind weights_home(const model_config *cfg, const weights_part *part,
                          weights_kind kind);
/* Items of a kind's own buffer; 0: there is none. */
size_t weights_item_count(const model_config *cfg, const weights_part *part,
                          weights_kind kind);

#endif
