/* SPDX-License-Identifier: Apache-2.0 */
/* What a device implements: one table of functions behind kernel.h.
 *
 * kernel.c checks arguments, remembers whether a group is open, and calls the
 * table; a backend puts the structs below first in its own.  Views that reach
 * a backend lie inside their buffers and have the types that kernel.h asks. */
#ifndef KERNELS_DEVICE_H
#define KERNELS_DEVICE_H

#include "kernels/kernel_ops.h"

typedef struct device_table device_table;

struct kernel_device {
    const device_table *table;
};

struct kernel_buf {
    kernel_device *dev;
    kernel_use use;
    size_t bytes;  /* of one item for KERNEL_SCRATCH, else of all */
    size_t n_item; /* KERNEL_SCRATCH: cells of the largest group */
};

struct kernel_queue {
    kernel_device *dev;
    kernel_hook *hook; /* or NULL */
    void *hook_ctx;
    const kernel_cell *cells; /* the backend's copy; set by its begin */
    uint32_t n_cell;          /* 0: no group is open */
};

struct kernel_event {
    kernel_device *dev;
};

/* dst = src, or zeros, or random numbers.  Exactly one side may be host
 * memory. */
typedef struct device_copy {
    kernel_buf *dst;
    const kernel_buf *src; /* NULL: host_src, and if that is NULL too, zeros */
    size_t dst_offset, src_offset;
    void *host_dst; /* when dst is NULL */
    const void *host_src;
    size_t bytes;
    bool is_random; /* numbers of `type` */
    kernel_random random;
    kernel_type type;
} device_copy;

typedef enum device_op_kind {
    DEVICE_EMBED = 0,
    DEVICE_LINEAR,
    DEVICE_RMSNORM,
    DEVICE_LAYERNORM,
    DEVICE_ROPE,
    DEVICE_KV_APPEND,
    DEVICE_KV_KEEP,
    DEVICE_ATTENTION,
    DEVICE_SWIGLU,
    DEVICE_GELU,
    DEVICE_DPFP,
    DEVICE_ASSOC_READ,
    DEVICE_ASSOC_WRITE,
    DEVICE_SAMPLE,
    DEVICE_N_OP
} device_op_kind;

/* One operation of a group, with the arguments of its function in kernel.h. */
typedef struct device_op {
    device_op_kind kind;
    union {
        kernel_embed_args embed;
        kernel_linear_args linear;
        kernel_norm_args norm; /* RMSNORM and LAYERNORM */
        kernel_rope_args rope;
        struct {
            kernel_view k_to, v_to, k, v;
            size_t d_kv;
        } kv; /* KV_APPEND and KV_KEEP */
        kernel_attention_args attention;
        struct {
            kernel_view out, gate_up;
            size_t d;
        } swiglu;
        struct {
            kernel_view out, x;
            size_t d;
            bool by_tanh;
        } gelu;
        kernel_dpfp_args dpfp;
        struct {
            kernel_assoc mem;
            kernel_view x, f;
        } read;
        struct {
            kernel_assoc mem;
            kernel_view k, v, b;
        } write;
        kernel_sample_op sample; /* the backend copies its args */
    } u;
} device_op;

struct device_table {
    status (*open)(kernel_device **out, const kernel_config *cfg);
    void (*close)(kernel_device *dev);
    void (*info)(const kernel_device *dev, kernel_info *out);
    status (*measure)(kernel_device *dev, size_t m, size_t n, size_t k,
                      uint32_t n_run, kernel_rate *out);
    status (*measure_read)(kernel_device *dev, size_t bytes, double *rate);

    status (*buf_new)(kernel_buf **out, kernel_device *dev, kernel_use use,
                      size_t bytes, size_t n_item);
    void (*buf_free)(kernel_buf *buf);
    void *(*buf_host)(kernel_buf *buf, size_t offset);
    void *(*buf_device)(kernel_buf *buf, size_t offset); /* NULL: never */
    /* NULL, both: any memory will do */
    status (*host_new)(void **out, kernel_device *dev, size_t bytes);
    void (*host_free)(kernel_device *dev, void *host);

    status (*queue_new)(kernel_queue **out, kernel_device *dev);
    void (*queue_free)(kernel_queue *q);
    status (*copy)(kernel_queue *q, const device_copy *copy);
    status (*begin)(kernel_queue *q, const kernel_cell *cells, uint32_t n_cell);
    status (*op)(kernel_queue *q, const device_op *op);
    status (*end)(kernel_queue *q); /* closes the group on failure too */
    /* kernel_ran(); NULL: 0 names */
    uint32_t (*ran)(const kernel_queue *q, const char *names[], uint32_t max);
    status (*sync)(kernel_queue *q);

    status (*event_new)(kernel_event **out, kernel_device *dev);
    void (*event_free)(kernel_event *ev);
    status (*event_record)(kernel_event *ev, kernel_queue *q);
    status (*event_query)(kernel_event *ev, bool *reached);
    status (*event_wait)(kernel_event *ev);
};

/* Which of a host's n_device > 0 devices a rank takes, by its number among the
 * host's ranks: a device each where there are enough; otherwise neighbours,
 * which hand rows on to each other, share one, and none has more than one rank
 * more than another.  n_local 0 counts as 1. */
static inline uint32_t
device_of_rank(uint32_t local_rank, uint32_t n_local, uint32_t n_device)
{
    if (n_local <= n_device || local_rank >= n_local)
        return local_rank % n_device;
    return (uint32_t)((uint64_t)local_rank * n_device / n_local);
}

#endif
