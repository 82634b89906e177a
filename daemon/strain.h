/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a document's states have left what the model was trained with.
 *
 * A recurrent memory can grow without end beyond the trained length; its
 * answers then look like any others.  Pure. */
#ifndef DAEMON_STRAIN_H
#define DAEMON_STRAIN_H

#include "daemon/catalog.h"

/* A norm over STRAIN_FACTOR times the trained one is worth a word. */
#define STRAIN_FACTOR 2.0f

/* One sentence about the layer that is furthest out, or "" when none is, or
 * nobody knows: `trained` [n_trained] holds the largest norm of each layer's
 * state within the trained length, the document the measured ones. */
void strain_sentence(char out[CLIENT_MAX_WARNING + 1], const document *doc,
                     const float *trained, uint32_t n_trained);

#endif
