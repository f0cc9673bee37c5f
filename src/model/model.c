/* model.c - opens a model: files taken apart, put together, and understood. */
#include "folder.h"
#include "model_internal.h"

#include "dgo_text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The model and the arena that owns what it points to. */
struct box {
    struct dgo_model model; /* first: a pointer to it is a pointer to the box */
    struct dgo_arena arena;
};

static struct dgo_model *new_model(void)
{
    struct box *box = calloc(1, sizeof *box);

    if (!box)
        return NULL;
    box->arena.limit_bytes = GGUF_MEMORY_BYTES_MAX;
    box->model.arena = &box->arena;
    return &box->model;
}

void dgo_model_close(struct dgo_model *model)
{
    if (!model)
        return;
    dgo_arena_done(model->arena);
    free(model);
}

const struct dgo_model_key *dgo_model_find(const struct dgo_model *model, const char *name)
{
    for (uint32_t i = 0; i < model->key_count; i++) {
        if (strcmp(model->key[i].name, name) == 0)
            return &model->key[i];
    }
    return NULL;
}

/* All tensors in one array, in file order; a single file's directory is it already. */
static enum dgo_status join_tensors(struct dgo_model *model, const struct shard_set *set,
                                    struct dgo_error *err)
{
    uint64_t total = 0;

    for (uint32_t s = 0; s < set->count; s++)
        total += set->file[s].tensor_count;
    if (total > DGO_TENSOR_MAX)
        return dgo_fail(err, DGO_ELIMIT, "%" PRIu64 " tensors in all parts, at most %d are taken",
                        total, DGO_TENSOR_MAX);
    model->tensor_count = (uint32_t)total;
    model->tensor = set->file[0].tensor;
    if (set->count == 1)
        return DGO_OK;

    struct gguf_name *names = dgo_arena_take_array(model->arena, total, sizeof *names);
    uint32_t at = 0;

    model->tensor = dgo_arena_take_array(model->arena, total, sizeof *model->tensor);
    if (!names || !model->tensor)
        return dgo_fail(err, DGO_ENOMEM, "out of memory for %" PRIu64 " tensors", total);
    for (uint32_t s = 0; s < set->count; s++) {
        for (uint32_t i = 0; i < set->file[s].tensor_count; i++, at++) {
            model->tensor[at] = set->file[s].tensor[i];
            model->tensor[at].shard = (uint16_t)s;
            names[at] = (struct gguf_name){model->tensor[at].name, s + 1};
        }
    }

    const uint32_t twice = gguf_find_twice(names, at);

    if (twice == 0)
        return DGO_OK;
    return dgo_fail(err, DGO_EFORMAT,
                    "the tensor %s occurs twice, in parts %" PRIu64 " and %" PRIu64
                    "; do all parts come from the same model?",
                    names[twice].text, names[twice - 1].pos, names[twice].pos);
}

/* Copies general.architecture, which begins the name of every key that follows from it. */
static enum dgo_status read_architecture(struct dgo_model *model, bool adapter,
                                         struct dgo_error *err)
{
    const struct dgo_model_key *type = dgo_model_find(model, "general.type");
    const struct dgo_model_key *key = dgo_model_find(model, "general.architecture");
    const bool text = key && key->kind == DGO_VALUE_STRING && !key->is_array && key->text;

    const bool is_adapter = type && type->text && strcmp(type->text, "adapter") == 0;

    if (adapter && !is_adapter)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "byte %d: general.type does not say adapter: no LoRA file",
                        GGUF_KEY_COUNT_POS);
    if (is_adapter && !adapter)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "byte %" PRIu64
                        ": a LoRA adapter, not a model; name the base model and give the adapter "
                        "to the engine with --lora",
                        type->pos);
    if (type && type->text && strcmp(type->text, "imatrix") == 0)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "byte %" PRIu64 ": an importance matrix, not a model", type->pos);
    if (!text || key->length == 0 || key->length >= sizeof model->architecture)
        return dgo_fail(err, DGO_EFORMAT,
                        "byte %" PRIu64 ": the metadata names no architecture "
                        "(general.architecture)",
                        key ? key->pos : GGUF_KEY_COUNT_POS);
    for (uint64_t i = 0; i < key->length; i++) {
        const unsigned char byte = (unsigned char)key->text[i];

        if (byte <= 0x20 || byte >= 0x7f)
            return dgo_fail(err, DGO_EFORMAT,
                            "byte %" PRIu64 ": general.architecture holds the byte 0x%02x",
                            key->pos, byte);
    }
    memcpy(model->architecture, key->text, key->length);
    return DGO_OK;
}

static enum dgo_status understand(struct dgo_model *model, const struct shard_set *set,
                                  bool adapter, struct dgo_error *err)
{
    const struct gguf_file *first = &set->file[0];
    enum dgo_status status;

    model->gguf_version = first->version;
    model->shard_count = set->count;
    model->key_count = first->key_count;
    model->key = first->key;
    for (uint32_t s = 0; s < set->count; s++)
        model->file_bytes += set->file[s].file_bytes;
    if ((status = read_architecture(model, adapter, err)) ||
        (status = join_tensors(model, set, err)))
        return status;
    if (model->tensor_count == 0)
        return dgo_fail(
            err, DGO_EUNSUPPORTED,
            "byte 8: it holds no tensors: a vocabulary or a part of a model, not a model");
    model->verified = true;
    for (uint32_t i = 0; i < model->tensor_count; i++) {
        if (!classify_tensor(model->architecture, &model->tensor[i]))
            model->verified = false;
    }
    return adapter ? DGO_OK : layers_derive(model, err);
}

static enum dgo_status open_any(const char *path, bool adapter, struct dgo_model **model,
                                struct dgo_error *err)
{
    struct dgo_model *opened = new_model();
    char folder[sizeof opened->path];
    struct shard_set set;
    enum dgo_status status;

    if (!opened)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    if (!adapter && folder_is_model(path, folder, sizeof folder)) {
        status = folder_open(folder, opened, err);
        if (status)
            dgo_error_prefix(err, status, "%.300s", folder);
        set.count = 0;
    } else {
        status = shards_open(path, opened->arena, &set, err);
    }
    if (status == DGO_OK && set.count > 0) {
        dgo_text_copy(opened->path, sizeof opened->path, path);
        status = understand(opened, &set, adapter, err);
        if (status) {
            char shown[320];

            dgo_text_copy_escaped(shown, sizeof shown, path, strlen(path));
            dgo_error_prefix(err, status, "%s", shown);
        }
    }
    if (status) {
        dgo_model_close(opened);
        return status;
    }
    *model = opened;
    return DGO_OK;
}

enum dgo_status dgo_model_open(const char *path, struct dgo_model **model, struct dgo_error *err)
{
    return open_any(path, false, model, err);
}

enum dgo_status dgo_model_open_adapter(const char *path, struct dgo_model **adapter,
                                       struct dgo_error *err)
{
    return open_any(path, true, adapter, err);
}

enum dgo_status dgo_model_parse(const void *data, size_t length, uint64_t file_bytes,
                                struct dgo_model **model, struct dgo_error *err)
{
    struct dgo_model *parsed = new_model();
    struct gguf_file file;
    struct dgo_reader in;
    enum dgo_status status;

    if (!parsed)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    dgo_read_memory(&in, data, (size_t)dgo_min_u64(length, file_bytes));
    status = gguf_parse(&in, file_bytes, parsed->arena, &file, err);
    if (status == DGO_OK)
        status = understand(parsed, &(struct shard_set){1, &file}, false, err);
    if (status) {
        dgo_model_close(parsed);
        return status;
    }
    *model = parsed;
    return DGO_OK;
}

uint64_t dgo_model_kv_bytes_per_token(const struct dgo_model *model)
{
    enum { F16_BYTES = 2 };
    uint64_t values = 0;

    for (uint32_t i = 0; i < model->layer_count; i++) {
        const struct dgo_layer *layer = &model->layer[i];

        values += (uint64_t)layer->head_count_kv * (layer->key_length + layer->value_length);
    }
    return values * F16_BYTES;
}

enum dgo_status dgo_model_parse_folder(const char *config, size_t config_length, const char *header,
                                       size_t header_length, uint64_t data_bytes,
                                       struct dgo_model **model, struct dgo_error *err)
{
    struct dgo_model *parsed = new_model();
    enum dgo_status status;

    if (!parsed)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    status = folder_parse(config, config_length, header, header_length, data_bytes, parsed, err);
    if (status) {
        dgo_model_close(parsed);
        return status;
    }
    *model = parsed;
    return DGO_OK;
}

const char *dgo_model_format_name(enum dgo_model_format format)
{
    static const char *const names[DGO_FORMAT_COUNT] = {
        [DGO_FORMAT_GGUF] = "GGUF",
        [DGO_FORMAT_SAFETENSORS] = "safetensors",
        [DGO_FORMAT_EXL3] = "EXL3",
        [DGO_FORMAT_EXL2] = "EXL2",
    };

    return format < DGO_FORMAT_COUNT ? names[format] : "unknown";
}
