/* attention.h - what CUDA's kernels for fused attention ask for (ggml-cuda, from b10256 on). */
#ifndef PRETEND_ATTENTION_H
#define PRETEND_ATTENTION_H

#include <ggml.h>

/* Bytes of a GGML_OP_FLASH_ATTN_EXT's result with the room behind it. */
size_t pretend_attention_size(const struct ggml_tensor *result);

/* Whether there is a kernel; without one ggml gives the operation to the CPU. */
bool pretend_attention_supported(const struct ggml_tensor *result);

#endif
