/* sniff.c - what a file that is no GGUF looks like, so that the sentence can name the next step. */
#include "gguf.h"

#include <string.h>

static const struct {
    uint8_t length;
    const char *bytes, *sentence;
} signatures[] = {
    {9, "version h", "it is a Git LFS pointer; fetch the real file with git lfs pull"},
    {4, "PK\3\4", "it looks like a zip or PyTorch file; convert the model to GGUF"},
    {2, "\x80\x02", "it looks like a Python pickle; convert the model to GGUF"},
    {2, "\x1f\x8b", "it looks gzip-compressed; unpack it first"},
    {4, "\x28\xb5\x2f\xfd", "it looks zstd-compressed; unpack it first"},
    {6,
     "\xfd"
     "7zXZ",
     "it looks xz-compressed; unpack it first"},
    {8, "\x89HDF\r\n\x1a\n", "it looks like an HDF5 (Keras) file; convert the model to GGUF"},
    {4,
     "\x7f"
     "ELF",
     "it is a program, not a model"},
    {4, "lmgg", "it is a model of before GGUF (2023); convert it or download a newer file"},
    {4, "tjgg", "it is a model of before GGUF (2023); convert it or download a newer file"},
    {4, "fmgg", "it is a model of before GGUF (2023); convert it or download a newer file"},
    {1, "{", "it looks like JSON; the model is another file"},
    {1, "<", "it looks like a web page; the download failed, perhaps for want of a login"},
};

static bool all_zero(const unsigned char *head, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (head[i])
            return false;
    }
    return true;
}

/* safetensors: a little-endian length below 100 MB, then the JSON object of that length. */
static bool is_safetensors(const unsigned char *head, size_t length)
{
    return length > 9 && head[8] == '{' && head[4] == 0 && head[5] == 0 && head[6] == 0 &&
           head[7] == 0;
}

const char *gguf_looks_like(const unsigned char *head, size_t length)
{
    if (length == 0)
        return "it is empty";
    if (all_zero(head, length))
        return "it begins with zeros; the download may still be running";
    if (is_safetensors(head, length))
        return "it looks like safetensors; convert the model to GGUF (convert_hf_to_gguf.py)";
    for (size_t i = 0; i < sizeof signatures / sizeof signatures[0]; i++) {
        if (length >= signatures[i].length &&
            memcmp(head, signatures[i].bytes, signatures[i].length) == 0)
            return signatures[i].sentence;
    }
    return "it begins with something else than \"GGUF\"";
}
