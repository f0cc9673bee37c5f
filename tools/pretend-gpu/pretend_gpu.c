/* pretend_gpu.c - a ggml backend that shows cards which are not there: chosen names and memory,
 * CUDA's rules for allocating, the work done by ggml's own CPU backend.
 *
 * A real, unchanged llama.cpp loads it through GGML_BACKEND_PATH.  Its memory is backed only where
 * something is written, so full-size models without data ("sparse") fit into little RAM.
 * Variables: README.md beside this file.  ggml calls from several threads; what is shared after
 * start-up is the usage books, which lock themselves. */
#include "attention.h"
#include "cards.h"
#include "ggml_internal.h"
#include "usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define EXPORT __attribute__((visibility("default")))
#define MIB    (UINT64_C(1) << 20)

enum {
    CUDA_ALIGNMENT_BYTES = 128,
    CUDA_ROW_PADDING = 512,   /* columns that its matrix kernels may read past a quantized row */
    OFFLOAD_ROWS_MIN = 32,    /* smaller batches are not worth moving their weights to the card */
    COPY_BLOCK_BYTES = 65536, /* granularity of leaving out zeros */
};

struct device {
    struct pretend_card card;
    int number;    /* as the process counts: the 1 of CUDA1 */
    char name[24]; /* "CUDA1" */
    bool context_taken;
    struct ggml_backend_buffer_type buffer_type;
    struct ggml_backend_device ggml;
};

static struct {
    uint32_t count;
    struct device device[PRETEND_CARDS_MAX];
    char name[16];      /* "CUDA" */
    char host_name[32]; /* "CUDA_Host": pinned memory in CUDA, plain memory here */
    struct ggml_backend_buffer_type host_type;
    struct ggml_backend_reg reg;
    struct pretend_usage *usage;
    uint64_t context_bytes;
    int64_t graphs_left; /* until the card fails; negative: it never does */
    int threads;
    bool synchronous;
} self;

static ggml_backend_dev_t device_of_type(ggml_backend_buffer_type_t type)
{
    return type->word[self.reg.api_version >= 3 ? BUFT_DEVICE_API3 : BUFT_DEVICE_API2];
}

static struct device *device_of(ggml_backend_dev_t ggml)
{
    return ggml->context;
}

static uint64_t free_bytes(const struct device *device)
{
    const uint64_t used = pretend_usage_total(self.usage, device->card.index);

    return used < device->card.free_bytes ? device->card.free_bytes - used : 0;
}

/* CUDA gives each process a context on a card at the first look at it. */
static void take_context(struct device *device)
{
    if (!__atomic_exchange_n(&device->context_taken, true, __ATOMIC_ACQ_REL) && self.context_bytes)
        (void)pretend_usage_take(self.usage, device->card.index, self.context_bytes,
                                 device->card.free_bytes, UINT64_MAX);
}

/* ---- buffers ---------------------------------------------------------------------------- */

static void buffer_free(ggml_backend_buffer_t buffer)
{
    munmap(buffer->context, buffer->size);
    pretend_usage_give(self.usage, device_of(device_of_type(buffer->buft))->card.index,
                       buffer->size);
}

static void *buffer_base(ggml_backend_buffer_t buffer)
{
    return buffer->context;
}

static void buffer_memset(ggml_backend_buffer_t buffer, struct ggml_tensor *tensor, uint8_t value,
                          size_t offset, size_t size)
{
    (void)buffer;
    memset((char *)tensor->data + offset, value, size);
}

static bool all_zero(const char *bytes, size_t size)
{
    return size > 0 && bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* Weights are written once into fresh memory, so zeros are there already.  Leaving them out keeps
 * the pages of a sparse model unbacked. */
static void copy_weights(char *to, const char *from, size_t size)
{
    while (size > 0) {
        const size_t block = size < COPY_BLOCK_BYTES ? size : COPY_BLOCK_BYTES;
        if (!all_zero(from, block))
            memcpy(to, from, block);
        to += block;
        from += block;
        size -= block;
    }
}

static void buffer_set(ggml_backend_buffer_t buffer, struct ggml_tensor *tensor, const void *data,
                       size_t offset, size_t size)
{
    char *to = (char *)tensor->data + offset;

    if (buffer->usage == GGML_BACKEND_BUFFER_USAGE_WEIGHTS)
        copy_weights(to, data, size);
    else
        memcpy(to, data, size);
}

static void buffer_get(ggml_backend_buffer_t buffer, const struct ggml_tensor *tensor, void *data,
                       size_t offset, size_t size)
{
    (void)buffer;
    memcpy(data, (const char *)tensor->data + offset, size);
}

/* From card to card, as CUDA; anything else goes through the host. */
static bool buffer_copy(ggml_backend_buffer_t buffer, const struct ggml_tensor *from,
                        struct ggml_tensor *to)
{
    const struct ggml_backend_buffer *source =
        from->view_src ? from->view_src->buffer : from->buffer;

    (void)buffer;
    if (!source || source->iface.free_buffer != buffer_free)
        return false;
    memcpy(to->data, from->data, ggml_nbytes(from));
    return true;
}

static void buffer_clear(ggml_backend_buffer_t buffer, uint8_t value)
{
    if (value == 0 && madvise(buffer->context, buffer->size, MADV_DONTNEED) == 0)
        return; /* reads as zero, and takes no memory */
    memset(buffer->context, value, buffer->size);
}

static const struct ggml_backend_buffer_i buffer_table = {
    .free_buffer = buffer_free,
    .get_base = buffer_base,
    .memset_tensor = buffer_memset,
    .set_tensor = buffer_set,
    .get_tensor = buffer_get,
    .cpy_tensor = buffer_copy,
    .clear = buffer_clear,
};

/* ---- buffer types ----------------------------------------------------------------------- */

static const char *type_name(ggml_backend_buffer_type_t type)
{
    return device_of(device_of_type(type))->name;
}

static void *lazy_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

/* ggml never asks for 0 bytes. */
static ggml_backend_buffer_t type_alloc(ggml_backend_buffer_type_t type, size_t size)
{
    struct device *device = device_of(device_of_type(type));
    const struct pretend_card *card = &device->card;
    void *memory;

    take_context(device);
    if (!pretend_usage_take(self.usage, card->index, size, card->free_bytes, card->limit_bytes)) {
        /* CUDA's own words: what reads engine logs must meet them here */
        ggml_log_internal(GGML_LOG_LEVEL_ERROR,
                          "ggml_backend_cuda_buffer_type_alloc_buffer: allocating %.2f MiB on "
                          "device %d: cudaMalloc failed: out of memory\n",
                          (double)size / (double)MIB, device->number);
        return NULL;
    }
    memory = lazy_memory(size);
    if (!memory) {
        pretend_usage_give(self.usage, card->index, size);
        return NULL;
    }
    return ggml_backend_buffer_init(type, buffer_table, memory, size);
}

static size_t type_alignment(ggml_backend_buffer_type_t type)
{
    (void)type;
    return CUDA_ALIGNMENT_BYTES;
}

static size_t type_tensor_size(ggml_backend_buffer_type_t type, const struct ggml_tensor *tensor)
{
    const int64_t over = tensor->ne[0] % CUDA_ROW_PADDING;

    (void)type;
    if (tensor->op == GGML_OP_FLASH_ATTN_EXT)
        return pretend_attention_size(tensor);
    if (!ggml_is_quantized(tensor->type) || over == 0)
        return ggml_nbytes(tensor);
    return ggml_nbytes(tensor) + ggml_row_size(tensor->type, CUDA_ROW_PADDING - over);
}

static bool type_is_not_host(ggml_backend_buffer_type_t type)
{
    (void)type;
    return false;
}

static const char *host_type_name(ggml_backend_buffer_type_t type)
{
    (void)type;
    return self.host_name;
}

static void host_buffer_free(ggml_backend_buffer_t buffer)
{
    munmap(buffer->context, buffer->size);
}

static ggml_backend_buffer_t host_type_alloc(ggml_backend_buffer_type_t type, size_t size)
{
    void *memory = lazy_memory(size);
    ggml_backend_buffer_t buffer;

    if (!memory)
        return NULL;
    buffer = ggml_backend_cpu_buffer_from_ptr(memory, size);
    if (!buffer) {
        munmap(memory, size);
        return NULL;
    }
    buffer->buft = type;
    buffer->iface.free_buffer = host_buffer_free;
    return buffer;
}

static size_t host_type_alignment(ggml_backend_buffer_type_t type)
{
    (void)type;
    return ggml_backend_buft_get_alignment(ggml_backend_cpu_buffer_type());
}

static size_t host_type_tensor_size(ggml_backend_buffer_type_t type,
                                    const struct ggml_tensor *tensor)
{
    (void)type;
    return ggml_nbytes(tensor);
}

static bool type_is_host(ggml_backend_buffer_type_t type)
{
    (void)type;
    return true;
}

struct type_functions {
    const char *(*name)(ggml_backend_buffer_type_t type);
    ggml_backend_buffer_t (*alloc)(ggml_backend_buffer_type_t type, size_t size);
    size_t (*alignment)(ggml_backend_buffer_type_t type);
    size_t (*tensor_size)(ggml_backend_buffer_type_t type, const struct ggml_tensor *tensor);
    bool (*is_host)(ggml_backend_buffer_type_t type);
};

static void type_init(struct ggml_backend_buffer_type *type, const struct type_functions *functions,
                      struct ggml_backend_device *device)
{
    const bool api3 = self.reg.api_version >= 3;

    type->word[BUFT_GET_NAME] = (void *)functions->name;
    type->word[BUFT_ALLOC_BUFFER] = (void *)functions->alloc;
    type->word[api3 ? BUFT_GET_ALIGNMENT_API3 : BUFT_GET_ALIGNMENT_API2] =
        (void *)functions->alignment;
    type->word[api3 ? BUFT_GET_ALLOC_SIZE_API3 : BUFT_GET_ALLOC_SIZE_API2] =
        (void *)functions->tensor_size;
    type->word[api3 ? BUFT_IS_HOST_API3 : BUFT_IS_HOST_API2] = (void *)functions->is_host;
    type->word[api3 ? BUFT_DEVICE_API3 : BUFT_DEVICE_API2] = device;
}

/* ---- the stream: graphs go to the CPU backend ------------------------------------------- */

static ggml_backend_dev_t cpu_device(void)
{
    return ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
}

static const char *stream_name(ggml_backend_t stream)
{
    return device_of(stream->device)->name;
}

static void stream_free(ggml_backend_t stream)
{
    ggml_backend_free(stream->context);
    free(stream);
}

static void stream_synchronize(ggml_backend_t stream)
{
    (void)stream; /* every graph has ended when graph_compute returns */
}

/* As ggml's CUDA backend ends when a call fails while computing. */
static void fail_as_cuda(const struct device *device)
{
    ggml_log_internal(GGML_LOG_LEVEL_ERROR, "CUDA error: out of memory\n");
    ggml_log_internal(GGML_LOG_LEVEL_ERROR,
                      "  current device: %d, in function alloc at "
                      "pretend_gpu.c\n",
                      device->number);
    ggml_abort("pretend_gpu.c", __LINE__, "CUDA error");
}

static enum ggml_status stream_compute(ggml_backend_t stream, struct ggml_cgraph *graph)
{
    if (self.graphs_left >= 0 && __atomic_fetch_sub(&self.graphs_left, 1, __ATOMIC_ACQ_REL) == 0)
        fail_as_cuda(device_of(stream->device));
    return ggml_backend_graph_compute(stream->context, graph);
}

static void event_nothing(ggml_backend_t stream, ggml_backend_event_t event)
{
    (void)stream;
    (void)event;
}

static ggml_backend_t device_open_stream(ggml_backend_dev_t device, const char *params)
{
    static uint8_t guid[16] = "pretend-gpu";
    ggml_backend_t stream = calloc(1, sizeof(*stream));
    ggml_backend_t cpu = ggml_backend_dev_init(cpu_device(), NULL);
    ggml_backend_set_n_threads_t set_threads;

    (void)params;
    if (!stream || !cpu) {
        free(stream);
        ggml_backend_free(cpu);
        return NULL;
    }
    take_context(device_of(device));
    *stream = (struct ggml_backend){
        .guid = &guid,
        .iface = {.get_name = stream_name,
                  .free = stream_free,
                  .synchronize = stream_synchronize,
                  .graph_compute = stream_compute,
                  .event_record = event_nothing,
                  .event_wait = event_nothing},
        .device = device,
        .context = cpu,
    };
    set_threads = (ggml_backend_set_n_threads_t)ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(cpu_device()), "ggml_backend_set_n_threads");
    if (set_threads)
        set_threads(cpu, self.threads);
    return stream;
}

/* ---- the device ------------------------------------------------------------------------- */

static const char *device_name(ggml_backend_dev_t device)
{
    return device_of(device)->name;
}

static const char *device_description(ggml_backend_dev_t device)
{
    return device_of(device)->card.model;
}

static void device_memory(ggml_backend_dev_t device, size_t *free, size_t *total)
{
    take_context(device_of(device));
    *free = free_bytes(device_of(device));
    *total = device_of(device)->card.total_bytes;
}

static enum ggml_backend_dev_type device_type(ggml_backend_dev_t device)
{
    (void)device;
    return GGML_BACKEND_DEVICE_TYPE_GPU;
}

static void device_props(ggml_backend_dev_t device, struct ggml_backend_dev_props *props)
{
    *props = (struct ggml_backend_dev_props){
        .name = device_name(device),
        .description = device_description(device),
        .type = GGML_BACKEND_DEVICE_TYPE_GPU,
        .device_id = device_of(device)->card.pci_id,
        .caps = {.async = !self.synchronous,
                 .host_buffer = true,
                 .events = !self.synchronous,
                 .mmap_support = true},
    };
    device_memory(device, &props->memory_free, &props->memory_total);
}

static ggml_backend_buffer_type_t device_buffer_type(ggml_backend_dev_t device)
{
    return &device_of(device)->buffer_type;
}

static ggml_backend_buffer_type_t device_host_buffer_type(ggml_backend_dev_t device)
{
    (void)device;
    return &self.host_type;
}

static bool device_supports_op(ggml_backend_dev_t device, const struct ggml_tensor *op)
{
    (void)device;
    if (op->op == GGML_OP_FLASH_ATTN_EXT && !pretend_attention_supported(op))
        return false;
    return ggml_backend_dev_supports_op(cpu_device(), op);
}

static bool device_supports_type(ggml_backend_dev_t device, ggml_backend_buffer_type_t type)
{
    return type == &device_of(device)->buffer_type;
}

/* The rows of a batch, as CUDA counts them when it decides whether to compute with weights that
 * lie in host memory. */
static int64_t batch_rows(const struct ggml_tensor *op)
{
    switch (op->op) {
    case GGML_OP_GET_ROWS:
        return 0;
    case GGML_OP_MUL_MAT:
        return op->ne[1];
    case GGML_OP_MUL_MAT_ID:
    case GGML_OP_ROPE:
    case GGML_OP_ROPE_BACK:
        return op->ne[2];
    default:
        return ggml_nrows(op);
    }
}

static bool device_offloads(ggml_backend_dev_t device, const struct ggml_tensor *op)
{
    (void)device;
    return batch_rows(op) >= OFFLOAD_ROWS_MIN;
}

static ggml_backend_event_t event_new(ggml_backend_dev_t device)
{
    ggml_backend_event_t event = calloc(1, sizeof(*event));

    if (event)
        event->device = device;
    return event;
}

static void event_free(ggml_backend_dev_t device, ggml_backend_event_t event)
{
    (void)device;
    free(event);
}

static void event_synchronize(ggml_backend_dev_t device, ggml_backend_event_t event)
{
    (void)device;
    (void)event;
}

static const struct ggml_backend_device_i device_table = {
    .get_name = device_name,
    .get_description = device_description,
    .get_memory = device_memory,
    .get_type = device_type,
    .get_props = device_props,
    .init_backend = device_open_stream,
    .get_buffer_type = device_buffer_type,
    .get_host_buffer_type = device_host_buffer_type,
    .supports_op = device_supports_op,
    .supports_buft = device_supports_type,
    .offload_op = device_offloads,
    .event_new = event_new,
    .event_free = event_free,
    .event_synchronize = event_synchronize,
};

/* ---- the registry ----------------------------------------------------------------------- */

static const char *reg_name(ggml_backend_reg_t reg)
{
    (void)reg;
    return self.name;
}

static size_t reg_device_count(ggml_backend_reg_t reg)
{
    (void)reg;
    return self.count;
}

static ggml_backend_dev_t reg_device(ggml_backend_reg_t reg, size_t index)
{
    (void)reg;
    return &self.device[index].ggml;
}

static void *reg_function(ggml_backend_reg_t reg, const char *name)
{
    (void)reg;
    (void)name;
    return NULL;
}

/* Which backend API the loaded ggml speaks: a buffer type's device lies behind its table, so where
 * ggml looks for it tells the table's length.  0: none we know. */
static int table_api(void)
{
    struct ggml_backend_buffer_type probe;
    struct ggml_backend_device marks[BUFT_WORDS];
    ptrdiff_t word;

    for (int i = 0; i < BUFT_WORDS; i++)
        probe.word[i] = &marks[i];
    word = ggml_backend_buft_get_device(&probe) - marks;
    return word == BUFT_DEVICE_API2 ? 2 : word == BUFT_DEVICE_API3 ? 3 : 0;
}

static int64_t number_from(const char *variable, int64_t otherwise)
{
    const char *text = getenv(variable);

    return text && text[0] ? strtoll(text, NULL, 10) : otherwise;
}

static void device_start(const struct pretend_card *card, uint32_t number)
{
    static const struct type_functions on_card = {type_name, type_alloc, type_alignment,
                                                  type_tensor_size, type_is_not_host};
    struct device *device = &self.device[number];

    device->card = *card;
    device->number = (int)number;
    snprintf(device->name, sizeof(device->name), "%s%u", card->prefix, number);
    device->ggml = (struct ggml_backend_device){device_table, &self.reg, device};
    type_init(&device->buffer_type, &on_card, &device->ggml);
}

static bool read_cards(struct pretend_card cards[PRETEND_CARDS_MAX], uint32_t *count, char *error,
                       size_t error_size)
{
    const char *text = getenv("PRETEND_GPUS");
    const char *limits = getenv("PRETEND_GPU_LIMIT_MIB");

    if (!text) {
        snprintf(error, error_size, "PRETEND_GPUS is not set");
        return false;
    }
    return pretend_cards_parse(text, cards, count, error, error_size) &&
           (!limits || pretend_limits_parse(limits, cards, *count, error, error_size));
}

static bool start(char *error, size_t error_size)
{
    static const struct type_functions on_host = {
        host_type_name, host_type_alloc, host_type_alignment, host_type_tensor_size, type_is_host};
    struct pretend_card cards[PRETEND_CARDS_MAX];
    uint32_t shown[PRETEND_CARDS_MAX];
    uint32_t count = 0;

    self.reg.api_version = table_api();
    if (!self.reg.api_version) {
        snprintf(error, error_size,
                 "this ggml has a backend interface other than 2 and 3; "
                 "ggml_internal.h must learn it first");
        return false;
    }
    if (!read_cards(cards, &count, error, error_size))
        return false;
    self.usage = pretend_usage_open(getenv("PRETEND_GPU_USAGE"), error, error_size);
    if (!self.usage)
        return false;
    self.context_bytes = (uint64_t)number_from("PRETEND_GPU_CONTEXT_MIB", 0) * MIB;
    self.graphs_left = number_from("PRETEND_GPU_FAIL_AFTER", -1);
    self.threads = (int)number_from("PRETEND_GPU_THREADS", 1);
    self.synchronous = number_from("PRETEND_GPU_SYNC", 0) != 0;
    self.count = pretend_cards_visible(cards, count, getenv("CUDA_VISIBLE_DEVICES"),
                                       getenv("CUDA_DEVICE_ORDER"), shown);
    for (uint32_t i = 0; i < self.count; i++)
        device_start(&cards[shown[i]], i);
    snprintf(self.name, sizeof(self.name), "%s", cards[0].prefix);
    snprintf(self.host_name, sizeof(self.host_name), "%s_Host", cards[0].prefix);
    type_init(&self.host_type, &on_host, &self.device[0].ggml);
    self.reg.iface =
        (struct ggml_backend_reg_i){reg_name, reg_device_count, reg_device, reg_function};
    ggml_log_internal(GGML_LOG_LEVEL_WARN, "pretend-gpu: %u of %u SIMULATED cards are visible\n",
                      self.count, count);
    return true;
}

/* The one symbol that ggml looks for. */
EXPORT ggml_backend_reg_t ggml_backend_init(void);

EXPORT ggml_backend_reg_t ggml_backend_init(void)
{
    static bool started;
    char error[256] = "";

    if (!started && !start(error, sizeof(error))) {
        fprintf(stderr, "pretend-gpu: %s\n", error);
        return NULL;
    }
    started = true;
    return &self.reg;
}
