/* fuzz_metrics.c - any bytes as what a running engine says of its work, and as a recording.  The
 * first byte chooses; each reader gets a copy of exactly its length. */
#include "engine_load.h"
#include "prometheus.h"
#include "recording.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void read_samples(const char *text, size_t length)
{
    struct prometheus in = {.text = text, .length = length};
    struct prometheus_sample sample;

    while (prometheus_next(&in, &sample)) {
        const char *value = text;
        size_t value_length = 0;

        must(isfinite(sample.value) && sample.name_length > 0 && in.at <= length);
        if (prometheus_label(&sample, "model_name", &value, &value_length))
            must(value >= sample.labels &&
                 value + value_length <= sample.labels + sample.labels_length);
    }
}

static void read_load(const char *text, size_t length)
{
    static struct load_track track;

    memset(&track, 0, sizeof track);
    for (uint64_t round = 1; round <= 2; round++) {
        load_begin(&track);
        (void)load_read_metrics(&track, text, length);
        (void)load_read_slots(&track, text, length);
        (void)load_read_props(&track, text, length);
        load_end(&track, round * 1000000000);
        must(track.load.kv_permille <= 1000 && track.load.slots <= LOAD_SLOT_MAX);
        must(strnlen(track.load.model, sizeof track.load.model) < sizeof track.load.model);
    }
}

static void read_recording(const char *text, size_t length)
{
    static struct dgo_recording_item item;
    struct dgo_recording *recording = NULL;
    struct dgo_error err = {0};
    uint64_t last_ns = 0;

    if (gpu_recording_of_bytes(text, length, &recording, &err) != DGO_OK) {
        must(err.text[0] != '\0');
        return;
    }
    while (dgo_recording_next(recording, &item, &err) == DGO_OK) {
        must(item.at_ns >= last_ns);
        last_ns = item.at_ns;
        if (item.kind == DGO_RECORDED_SAMPLE)
            must(item.sample->machine.gpu_count <= DGO_GPU_MAX);
    }
    dgo_recording_close(recording);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    char *text = length ? malloc(length) : NULL;

    if (!text)
        return 0;
    memcpy(text, data + 1, length - 1);
    if (data[0] == '{') {
        memcpy(text, data, length);
        read_recording(text, length);
    } else {
        read_samples(text, length - 1);
        read_load(text, length - 1);
    }
    free(text);
    return 0;
}
