/* SPDX-License-Identifier: Apache-2.0 */
/* A GPU as a device: opening, buffers, measuring. */
#include "kernels/cuda/host.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { MIB = 1 << 20 };

status
cuda_status(cudaError_t code, const char *what)
{
    if (code == cudaSuccess)
        return ST_OK;
    (void)cudaGetLastError(); /* so that the next call does not show it */
    return status_fail(code == cudaErrorMemoryAllocation ? ST_NOMEM : ST_DEVICE,
                       "%s: %s", what, cudaGetErrorString(code));
}

status
cuda_enter(const kernel_device *dev)
{
    return cuda_status(cudaSetDevice(((const cuda_device *)dev)->ordinal),
                       "the GPU is gone");
}

/* ------------------------------------------------------------- opening --- */

/* The runtime takes no driver for one that is too old. */
static status
say_no_driver(void)
{
    int has = 0, needs = 0;

    (void)cudaGetLastError();
    if (cudaDriverGetVersion(&has) != cudaSuccess || has == 0)
        return status_fail(ST_DEVICE, "there is no GPU here: no driver");
    (void)cudaRuntimeGetVersion(&needs);
    return status_fail(ST_DEVICE,
                       "the driver of the GPU is older than the CUDA runtime "
                       "of this build: it goes up to CUDA %d.%d, and %d.%d is "
                       "needed",
                       has / 1000, has % 1000 / 10, needs / 1000,
                       needs % 1000 / 10);
}

static status
count_devices(int *n)
{
    cudaError_t code = cudaGetDeviceCount(n);

    if (code == cudaErrorInsufficientDriver)
        return say_no_driver();
    if (code == cudaErrorNoDevice || (code == cudaSuccess && *n == 0))
        return status_fail(ST_DEVICE, "there is no GPU here");
    return cuda_status(code, "no GPU can be used");
}

static status
read_limits(cuda_device *dev)
{
    struct cudaDeviceProp p;
    status st = cuda_status(cudaGetDeviceProperties(&p, dev->ordinal),
                            "what the GPU is cannot be read");

    if (st != ST_OK)
        return st;
    (void)snprintf(dev->name, sizeof(dev->name), "%.64s", p.name);
    dev->arch = (uint32_t)(10 * p.major + p.minor);
    dev->n_sm = (uint32_t)p.multiProcessorCount;
    dev->max_shared = p.sharedMemPerBlockOptin;
    if (dev->arch < 80)
        return status_fail(ST_DEVICE,
                           "%s has compute capability %d.%d, and 8.0 is needed",
                           dev->name, p.major, p.minor);
    return ST_OK;
}

static status
choose_compute(kernel_type *out, const kernel_config *cfg)
{
    const char *name = cfg->compute != NULL ? cfg->compute : "auto";

    if (strcmp(name, "auto") == 0 || strcmp(name, "bf16") == 0)
        *out = KERNEL_BF16;
    else if (strcmp(name, "f32") == 0)
        *out = KERNEL_F32;
    else
        return status_fail(ST_ARG,
                           "compute type \"%.20s\" is none of auto, "
                           "f32, bf16",
                           name);
    return ST_OK;
}

static status
device_open(kernel_device **out, const kernel_config *cfg)
{
    cuda_device *dev = NULL;
    int n = 0;
    status st;

    TRY(mem_new(&dev, 1, sizeof(*dev)));
    dev->base.table = &cuda_table;
    TRY(choose_compute(&dev->compute, cfg));
    dev->plain = cfg->plain;
    TRY(count_devices(&n));
    dev->ordinal =
        (int)device_of_rank(cfg->local_rank, cfg->n_local, (uint32_t)n);
    for (uint32_t i = 0; i < cfg->n_local; i++)
        dev->n_share +=
            (int)device_of_rank(i, cfg->n_local, (uint32_t)n) == dev->ordinal;
    dev->n_share += dev->n_share == 0; /* a launcher that does not say */
    TRY(read_limits(dev));
    TRY(cuda_enter(&dev->base));
    TRY(cuda_status(cudaFree(NULL), "the GPU cannot be used"));
    TRY(cuda_map_open(&dev->encode));
    TRY(cuda_blas_open(&dev->blas));
    *out = &dev->base;
    return ST_OK;
fail:
    mem_free(dev);
    return st;
}

static void
device_close(kernel_device *base)
{
    cuda_device *dev = (cuda_device *)base;

    cuda_blas_close(dev->blas);
    mem_free(dev);
}

bool
cuda_device_is_fast(const cuda_device *dev)
{
    return dev->arch == 90 && !dev->plain && dev->encode != NULL &&
           dev->compute == KERNEL_BF16;
}

static void
device_info(const kernel_device *base, kernel_info *out)
{
    const cuda_device *dev = (const cuda_device *)base;
    size_t free = 0, all = 0;

    *out = (kernel_info){.compute = dev->compute,
                         .n_share = dev->n_share,
                         .max_head = CUDA_MAX_HEAD,
                         .max_feature = CUDA_MAX_FEATURE,
                         .any_shape = !cuda_device_is_fast(dev)};
    (void)snprintf(out->device, sizeof(out->device), "cuda");
    (void)snprintf(out->name, sizeof(out->name), "%s, %s", dev->name,
                   dev->compute == KERNEL_F32 ? "fp32" : "bf16");
    if (cuda_enter(base) == ST_OK && cudaMemGetInfo(&free, &all) == cudaSuccess)
        out->memory_free = free;
}

/* ------------------------------------------------------------- buffers --- */

static status
say_no_room(size_t bytes)
{
    size_t free = 0, all = 0;

    (void)cudaGetLastError();
    (void)cudaMemGetInfo(&free, &all);
    return status_fail(ST_NOMEM,
                       "no device memory: %zu MiB asked, %zu of %zu MiB free",
                       bytes / MIB, free / MIB, all / MIB);
}

static status
allocate(char **out, size_t bytes)
{
    void *data = NULL;
    size_t all;
    status st = size_add(&all, bytes, bytes == 0);

    if (st != ST_OK)
        return st;
    if (cudaMalloc(&data, all) != cudaSuccess)
        return say_no_room(bytes);
    if (cudaMemset(data, 0, all) != cudaSuccess ||
        cudaDeviceSynchronize() != cudaSuccess) {
        (void)cudaFree(data);
        return cuda_status(cudaErrorUnknown, "device memory cannot be zeroed");
    }
    *out = data;
    return ST_OK;
}

static status
buf_new(kernel_buf **out, kernel_device *dev, kernel_use use, size_t bytes,
        size_t n_item)
{
    enum { ALIGN = 1024 };
    cuda_buf *buf = NULL;
    size_t all = 0;
    status st;

    TRY(mem_new(&buf, 1, sizeof(*buf)));
    TRY(cuda_enter(dev));
    buf->base =
        (kernel_buf){.dev = dev, .use = use, .bytes = bytes, .n_item = n_item};
    buf->step = bytes;
    if (use == KERNEL_SCRATCH) {
        TRY(size_add(&all, bytes, ALIGN - 1));
        buf->step = all / ALIGN * ALIGN;
    }
    TRY(size_mul(&all, buf->step, n_item));
    if (use == KERNEL_KEEP)
        buf->base.bytes = all;
    TRY(allocate(&buf->data, all));
    *out = &buf->base;
    return ST_OK;
fail:
    mem_free(buf);
    return st;
}

static void
buf_free(kernel_buf *base)
{
    cuda_buf *buf = (cuda_buf *)base;

    if (cuda_enter(base->dev) == ST_OK)
        (void)cudaFree(buf->data);
    mem_free(buf);
}

static void *
buf_host(kernel_buf *buf, size_t offset)
{
    (void)buf;
    (void)offset;
    return NULL;
}

static void *
buf_device(kernel_buf *buf, size_t offset)
{
    return ((cuda_buf *)buf)->data + offset;
}

/* ------------------------------------------------------------- measure --- */

static status
device_measure(kernel_device *base, size_t m, size_t n, size_t k,
               uint32_t n_run, kernel_rate *out)
{
    cuda_device *dev = (cuda_device *)base;
    double flops = 0.0;
    status st;

    TRY(cuda_enter(base));
    TRY(cuda_blas_measure(dev->blas, dev->compute, (size_t[3]){m, n, k}, n_run,
                          &flops));
    *out = (kernel_rate){.flops = flops, .library = flops, .by = "cuBLAS"};
fail:
    return st;
}

/* Milliseconds of one reading of `bytes`. */
static status
time_read(const cuda_device *dev, char *data, size_t bytes,
          const cudaEvent_t ends[2], float *ms)
{
    status st;

    TRY(cuda_status(cudaEventRecord(ends[0], NULL), "measuring"));
    TRY(cuda_status(cuda_read(NULL, data, bytes, dev->n_sm, data + bytes),
                    "measuring"));
    TRY(cuda_status(cudaEventRecord(ends[1], NULL), "measuring"));
    TRY(cuda_status(cudaEventSynchronize(ends[1]), "measuring"));
    TRY(cuda_status(cudaEventElapsedTime(ms, ends[0], ends[1]), "measuring"));
fail:
    return st;
}

static status
device_measure_read(kernel_device *base, size_t bytes, double *rate)
{
    enum { RUNS = 20, ROUND = 1024 };
    const cuda_device *dev = (const cuda_device *)base;
    const kernel_random law = {.key = 3, .spread = 1.0F};
    size_t all = bytes / ROUND * ROUND + ROUND;
    cudaEvent_t ends[2] = {NULL, NULL};
    char *data = NULL;
    float best = 0.0F, ms = 0.0F;
    status st;

    TRY(cuda_enter(base));
    TRY(allocate(&data, all + ROUND));
    TRY(cuda_status(cuda_random(NULL, data, KERNEL_BF16, all / 2, &law),
                    "filling"));
    for (int i = 0; i < 2; i++)
        TRY(cuda_status(cudaEventCreate(&ends[i]), "no event"));
    for (int i = 0; i < RUNS; i++) {
        TRY(time_read(dev, data, all, ends, &ms));
        best = i == 0 || ms < best ? ms : best;
    }
    *rate = (double)all / ((double)best * 1e-3);
fail:
    for (int i = 0; i < 2; i++)
        if (ends[i] != NULL)
            (void)cudaEventDestroy(ends[i]);
    (void)cudaFree(data);
    return st;
}

const device_table cuda_table = {
    .open = device_open,
    .close = device_close,
    .info = device_info,
    .measure = device_measure,
    .measure_read = device_measure_read,
    .buf_new = buf_new,
    .buf_free = buf_free,
    .buf_host = buf_host,
    .buf_device = buf_device,
    .host_new = cuda_pinned_new,
    .host_free = cuda_pinned_free,
    .queue_new = cuda_queue_new,
    .queue_free = cuda_queue_free,
    .copy = cuda_queue_copy,
    .begin = cuda_queue_begin,
    .op = cuda_queue_op,
    .end = cuda_queue_end,
    .ran = cuda_queue_ran,
    .sync = cuda_queue_sync,
    .event_new = cuda_queue_event_new,
    .event_free = cuda_queue_event_free,
    .event_record = cuda_queue_event_record,
    .event_query = cuda_queue_event_query,
    .event_wait = cuda_queue_event_wait,
};
