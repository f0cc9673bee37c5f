/* ggml_internal.h - the tables a ggml backend fills, which ggml keeps out of its public headers.
 *
 * Debian's libggml-dev ships the functions (ggml-backend.h) but not these structs, and they are
 * what GGML_BACKEND_PATH loads.  Written down here for backend API 2 (ggml up to 0.25) and API 3
 * (ggml 0.27).  The two differ in one place, the table of a buffer type; the rest is equal.  Entry
 * names and order are ggml's ABI.  A slot this backend leaves empty is a plain pointer.
 *
 * Nothing here is trusted: pretend_gpu.c asks ggml itself where it finds a buffer type's device
 * (table_api) and returns no backend when the answer is none of the known ones; ggml's loader then
 * compares api_version with its own. */
#ifndef PRETEND_GGML_INTERNAL_H
#define PRETEND_GGML_INTERNAL_H

#include <ggml.h>
#include <ggml-backend.h>

/* Buffer type: words, because the table's length changes with the API.  After the table come the
 * device and the context. */
enum {
    BUFT_GET_NAME = 0,
    BUFT_ALLOC_BUFFER = 1,
    /* API 3 puts alloc_buffer_n here */
    BUFT_GET_ALIGNMENT_API2 = 2,
    BUFT_GET_ALIGNMENT_API3 = 3,
    BUFT_GET_ALLOC_SIZE_API2 = 4,
    BUFT_GET_ALLOC_SIZE_API3 = 5,
    /* API 3 puts get_alloc_size_n here */
    BUFT_IS_HOST_API2 = 5,
    BUFT_IS_HOST_API3 = 7,
    BUFT_DEVICE_API2 = 6,
    BUFT_DEVICE_API3 = 8,
    BUFT_WORDS = 12 /* more than any known API reads */
};

struct ggml_backend_buffer_type {
    void *word[BUFT_WORDS];
};

struct ggml_backend_buffer_i {
    void (*free_buffer)(ggml_backend_buffer_t buffer);
    void *(*get_base)(ggml_backend_buffer_t buffer);
    enum ggml_status (*init_tensor)(ggml_backend_buffer_t buffer, struct ggml_tensor *tensor);
    void (*memset_tensor)(ggml_backend_buffer_t buffer, struct ggml_tensor *tensor, uint8_t value,
                          size_t offset, size_t size);
    void (*set_tensor)(ggml_backend_buffer_t buffer, struct ggml_tensor *tensor, const void *data,
                       size_t offset, size_t size);
    void (*get_tensor)(ggml_backend_buffer_t buffer, const struct ggml_tensor *tensor, void *data,
                       size_t offset, size_t size);
    void *set_tensor_2d;
    void *get_tensor_2d;
    bool (*cpy_tensor)(ggml_backend_buffer_t buffer, const struct ggml_tensor *from,
                       struct ggml_tensor *to);
    void (*clear)(ggml_backend_buffer_t buffer, uint8_t value);
    void *reset;
};

struct ggml_backend_buffer {
    struct ggml_backend_buffer_i iface;
    ggml_backend_buffer_type_t buft;
    void *context;
    size_t size;
    enum ggml_backend_buffer_usage usage;
};

/* A backend is a stream of work on one device. */
struct ggml_backend_i {
    const char *(*get_name)(ggml_backend_t backend);
    void (*free)(ggml_backend_t backend);
    void *async_access[5]; /* set, get, set_2d, get_2d, cpy: empty, so ggml takes the plain ones */
    void (*synchronize)(ggml_backend_t backend);
    void *graph_plan[4];
    enum ggml_status (*graph_compute)(ggml_backend_t backend, struct ggml_cgraph *graph);
    void (*event_record)(ggml_backend_t backend, ggml_backend_event_t event);
    void (*event_wait)(ggml_backend_t backend, ggml_backend_event_t event);
    void *graph_optimize;
};

struct ggml_backend {
    ggml_guid_t guid;
    struct ggml_backend_i iface;
    ggml_backend_dev_t device;
    void *context;
};

struct ggml_backend_event {
    ggml_backend_dev_t device;
    void *context;
};

struct ggml_backend_device_i {
    const char *(*get_name)(ggml_backend_dev_t device);
    const char *(*get_description)(ggml_backend_dev_t device);
    void (*get_memory)(ggml_backend_dev_t device, size_t *free, size_t *total);
    enum ggml_backend_dev_type (*get_type)(ggml_backend_dev_t device);
    void (*get_props)(ggml_backend_dev_t device, struct ggml_backend_dev_props *props);
    ggml_backend_t (*init_backend)(ggml_backend_dev_t device, const char *params);
    ggml_backend_buffer_type_t (*get_buffer_type)(ggml_backend_dev_t device);
    ggml_backend_buffer_type_t (*get_host_buffer_type)(ggml_backend_dev_t device);
    void *buffer_from_host_ptr;
    bool (*supports_op)(ggml_backend_dev_t device, const struct ggml_tensor *op);
    bool (*supports_buft)(ggml_backend_dev_t device, ggml_backend_buffer_type_t buft);
    bool (*offload_op)(ggml_backend_dev_t device, const struct ggml_tensor *op);
    ggml_backend_event_t (*event_new)(ggml_backend_dev_t device);
    void (*event_free)(ggml_backend_dev_t device, ggml_backend_event_t event);
    void (*event_synchronize)(ggml_backend_dev_t device, ggml_backend_event_t event);
};

struct ggml_backend_device {
    struct ggml_backend_device_i iface;
    ggml_backend_reg_t reg;
    void *context;
};

struct ggml_backend_reg_i {
    const char *(*get_name)(ggml_backend_reg_t reg);
    size_t (*get_device_count)(ggml_backend_reg_t reg);
    ggml_backend_dev_t (*get_device)(ggml_backend_reg_t reg, size_t index);
    void *(*get_proc_address)(ggml_backend_reg_t reg, const char *name);
};

struct ggml_backend_reg {
    int api_version;
    struct ggml_backend_reg_i iface;
    void *context;
};

/* Exported by libggml-base, declared only in its internal headers. */
ggml_backend_buffer_t ggml_backend_buffer_init(ggml_backend_buffer_type_t buft,
                                               struct ggml_backend_buffer_i iface, void *context,
                                               size_t size);
void ggml_log_internal(enum ggml_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
