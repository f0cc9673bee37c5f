/* safetensors.h - the header of a safetensors file, tensor by tensor; private to model.
 *
 * Eight bytes of length, that much JSON, then data.  Only the header is read, nothing of it is
 * kept, and every number is compared with the file's size before it is trusted. */
#ifndef SAFETENSORS_H
#define SAFETENSORS_H

#include "dgo_base.h"

enum {
    SAFETENSORS_HEADER_MAX = 100000000, /* the format's own limit */
    SAFETENSORS_DIM_MAX = 8,
    SAFETENSORS_NAME_MAX = 320,
    SAFETENSORS_TENSOR_MAX = 1 << 20, /* of one file */
};

struct safetensors_tensor {
    char name[SAFETENSORS_NAME_MAX];
    char dtype[16];                    /* "BF16", "F8_E4M3", "I32", ...; as written */
    uint32_t bits;                     /* of one element; 0: a type that we do not know */
    uint32_t dim_count;                /* 0: a scalar */
    uint64_t dim[SAFETENSORS_DIM_MAX]; /* the last is contiguous */
    uint64_t element_count;
    uint64_t size_bytes;
};

typedef enum dgo_status (*safetensors_fn)(const struct safetensors_tensor *tensor, void *data,
                                          struct dgo_error *err);

/* `header` is the JSON text (after the eight bytes), `data_bytes` what the file holds behind it.
 * DGO_EFORMAT names the byte in the file. */
enum dgo_status safetensors_parse(const char *header, size_t length, uint64_t data_bytes,
                                  safetensors_fn each, void *data,
                                  struct dgo_error *err) DGO_MUST_CHECK;

/* The same from an open file of `file_bytes`. */
enum dgo_status safetensors_read(int fd, uint64_t file_bytes, safetensors_fn each, void *data,
                                 struct dgo_error *err) DGO_MUST_CHECK;

#endif
