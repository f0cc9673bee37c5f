/* picture.c - a plan drawn: one bar a GPU, to one scale. */
#include "picture.h"

#include "dgo_app.h"
#include "dgo_svg.h"
#include "dgo_units.h"

#include <inttypes.h>
#include <string.h>

/* Pixels. */
enum {
    WIDTH = 760,
    LEFT = 16,
    BAR_WIDTH = WIDTH - 2 * LEFT,
    BAR_HEIGHT = 26,
    ROW_HEIGHT = 66,
    HEAD_HEIGHT = 84,
    FOOT_HEIGHT = 30,
    LETTER_WIDTH = 7, /* of a label, at most; a part that is narrower than it goes without words */
};

static const struct part {
    const char *title;
    enum dgo_svg_paint paint;
} parts[] = {
    {"in use", DGO_SVG_SERIES_8},  {"weights", DGO_SVG_SERIES_1},  {"cache", DGO_SVG_SERIES_2},
    {"compute", DGO_SVG_SERIES_3}, {"overhead", DGO_SVG_SERIES_4}, {"margin", DGO_SVG_HATCHED},
};
enum { PART_COUNT = sizeof parts / sizeof parts[0] };

struct drawing {
    const struct dgo_machine *machine;
    const struct dgo_model *model;
    const struct dgo_plan *plan;
    struct dgo_text *out;
    struct dgo_svg svg;
    uint64_t scale_bytes; /* of the longest bar */
    bool whole;
};

static const struct dgo_device_estimate *device_of(const struct dgo_plan *plan, uint32_t gpu)
{
    for (uint32_t d = 0; d < plan->estimate.device_count; d++)
        if (plan->estimate.device[d].gpu_index == gpu)
            return &plan->estimate.device[d];
    return NULL;
}

static uint64_t free_bytes(const struct dgo_gpu *gpu)
{
    return dgo_gpu_knows(gpu, DGO_GPU_FREE_BYTES) ? gpu->free_bytes : 0;
}

static uint64_t whole_bytes(const struct dgo_gpu *gpu)
{
    return dgo_gpu_knows(gpu, DGO_GPU_TOTAL_BYTES) ? dgo_max_u64(gpu->total_bytes, free_bytes(gpu))
                                                   : free_bytes(gpu);
}

static void part_bytes(const struct dgo_gpu *gpu, const struct dgo_device_estimate *device,
                       uint64_t bytes[PART_COUNT])
{
    memset(bytes, 0, sizeof(uint64_t[PART_COUNT]));
    bytes[0] = whole_bytes(gpu) - free_bytes(gpu);
    if (!device)
        return;
    bytes[1] = device->weights_bytes;
    bytes[2] = device->context_bytes;
    bytes[3] = device->compute_bytes;
    bytes[4] = device->overhead_bytes;
    bytes[5] = device->margin_bytes;
}

static uint64_t sum_of(const uint64_t bytes[PART_COUNT])
{
    uint64_t sum = 0;

    for (size_t i = 0; i < PART_COUNT; i++)
        sum += bytes[i];
    return sum;
}

static void add_layers(struct dgo_text *text, const struct dgo_device_estimate *device)
{
    if (device->layer_count > 0)
        dgo_text_addf(text, "layers %" PRIu32 "-%" PRIu32 "%s", device->layer_first,
                      device->layer_first + device->layer_count - 1,
                      device->holds_output ? " and output" : "");
    else
        dgo_text_add(text, device->holds_output ? "output layer" : "nothing");
}

/* "CUDA0 - NVIDIA GeForce RTX 3090 - layers 0-20" over the bar, what is spare at its right end. */
static void draw_heading(struct drawing *drawing, uint32_t g, double y, uint64_t used)
{
    const struct dgo_gpu *gpu = &drawing->machine->gpu[g];
    const struct dgo_device_estimate *device = device_of(drawing->plan, g);
    char words[256], size[DGO_UNIT_TEXT_MAX];
    struct dgo_text text = DGO_TEXT(words);

    if (device)
        dgo_text_add(&text, device->name);
    else
        dgo_text_addf(&text, "GPU %" PRIu32, g);
    dgo_text_addf(&text, "%s%.100s - ", gpu->name[0] ? " - " : "", gpu->name);
    if (device)
        add_layers(&text, device);
    else
        dgo_text_addf(&text, "left out%s%.80s", gpu->problem[0] ? ": " : "", gpu->problem);
    dgo_svg_text(&drawing->svg, LEFT, y, DGO_SVG_START, DGO_SVG_STRONG, words);

    dgo_text_clear(&text);
    if (used > whole_bytes(gpu))
        dgo_text_addf(&text, "%s missing", dgo_bytes_text(used - whole_bytes(gpu), size));
    else
        dgo_text_addf(&text, "%s left", dgo_bytes_text(whole_bytes(gpu) - used, size));
    dgo_svg_text(&drawing->svg, WIDTH - LEFT, y, DGO_SVG_END, DGO_SVG_MUTED, words);
}

static void draw_bar(struct drawing *drawing, const uint64_t bytes[PART_COUNT], uint64_t whole,
                     double y)
{
    const double scale = (double)BAR_WIDTH / (double)drawing->scale_bytes;
    uint64_t start = 0;

    for (size_t i = 0; i < PART_COUNT; i++) {
        const double x = LEFT + (double)start * scale, width = (double)bytes[i] * scale;
        char words[96], size[DGO_UNIT_TEXT_MAX];
        struct dgo_text text = DGO_TEXT(words);

        dgo_text_addf(&text, "%s: %s", parts[i].title, dgo_bytes_text(bytes[i], size));
        dgo_svg_rect(&drawing->svg, x, y, width, BAR_HEIGHT, parts[i].paint, words);
        if (width >= LETTER_WIDTH * (double)(strlen(size) + 1) && parts[i].paint != DGO_SVG_HATCHED)
            dgo_svg_text(&drawing->svg, x + width / 2, y + 17, DGO_SVG_MIDDLE, DGO_SVG_ON_PAINT,
                         dgo_bytes_text(bytes[i], size));
        start += bytes[i];
    }
    dgo_svg_rect(&drawing->svg, LEFT, y, (double)whole * scale, BAR_HEIGHT, DGO_SVG_FRAME, NULL);
    if (start > whole)
        dgo_svg_rect(&drawing->svg, LEFT + (double)whole * scale, y - 3,
                     (double)(start - whole) * scale, 3, DGO_SVG_BAD, "does not fit");
}

static void draw_gpu(struct drawing *drawing, uint32_t g, double y)
{
    const struct dgo_gpu *gpu = &drawing->machine->gpu[g];
    uint64_t bytes[PART_COUNT];

    part_bytes(gpu, device_of(drawing->plan, g), bytes);
    dgo_svg_group_begin(&drawing->svg, NULL);
    draw_heading(drawing, g, y, sum_of(bytes));
    draw_bar(drawing, bytes, whole_bytes(gpu), y + 8);
    dgo_svg_group_end(&drawing->svg);
}

static void draw_legend(struct drawing *drawing, double y)
{
    double x = LEFT;

    for (size_t i = 0; i < PART_COUNT; i++) {
        dgo_svg_rect(&drawing->svg, x, y - 10, 12, 12, parts[i].paint, NULL);
        dgo_svg_text(&drawing->svg, x + 17, y, DGO_SVG_START, DGO_SVG_PLAIN, parts[i].title);
        x += 100;
    }
}

static void draw_host(struct drawing *drawing, double y)
{
    const struct dgo_estimate *estimate = &drawing->plan->estimate;
    const uint64_t bytes = estimate->host.weights_bytes + estimate->host.context_bytes +
                           estimate->host.compute_bytes + estimate->host.output_bytes;
    char words[160], size[DGO_UNIT_TEXT_MAX];
    struct dgo_text text = DGO_TEXT(words);

    dgo_text_addf(&text, "host memory: %s", dgo_bytes_text(bytes, size));
    if (estimate->host.layer_count > 0)
        dgo_text_addf(&text, ", layers 0-%" PRIu32 " computed by the CPU",
                      estimate->host.layer_count - 1);
    if (drawing->plan->settings.cpu_moe_layer_count > 0)
        dgo_text_addf(&text, ", experts of the first %" PRIu32 " layers",
                      drawing->plan->settings.cpu_moe_layer_count);
    dgo_svg_text(&drawing->svg, LEFT, y, DGO_SVG_START, DGO_SVG_MUTED, words);
}

static void draw(struct drawing *drawing)
{
    const struct dgo_plan *plan = drawing->plan;
    const uint32_t rows = drawing->machine->gpu_count;
    char title[256], below[256], origin[DGO_ORIGIN_TEXT_MAX];
    struct dgo_text text = DGO_TEXT(title), line = DGO_TEXT(below);

    dgo_text_add(&text, drawing->model->name[0] ? drawing->model->name : "a model");
    if (dgo_origin_text(&drawing->machine->origin, origin)[0])
        dgo_text_addf(&text, " (%s machine)", origin);
    dgo_text_addf(&line,
                  "%" PRIu32 " tokens of context for each of %" PRIu32 " slot%s, %s cache, "
                  "%.1f tokens/s predicted",
                  plan->estimate.ctx_tokens_per_slot, plan->settings.slot_count,
                  plan->settings.slot_count == 1 ? "" : "s",
                  dgo_kv_type_name(plan->settings.key_type),
                  plan->predicted.decode_tokens_per_second);
    if (!plan->estimate.fits)
        dgo_text_add(&line, " - DOES NOT FIT");
    dgo_svg_begin(&drawing->svg, drawing->out, WIDTH,
                  HEAD_HEIGHT + (double)rows * ROW_HEIGHT + FOOT_HEIGHT, title, below);
    dgo_svg_text(&drawing->svg, LEFT, 24, DGO_SVG_START, DGO_SVG_STRONG, title);
    dgo_svg_text(&drawing->svg, LEFT, 42, DGO_SVG_START, DGO_SVG_MUTED, below);
    draw_legend(drawing, 64);
    for (uint32_t g = 0; g < rows; g++)
        draw_gpu(drawing, g, HEAD_HEIGHT + (double)g * ROW_HEIGHT + 12);
    draw_host(drawing, HEAD_HEIGHT + (double)rows * ROW_HEIGHT + 12);
    drawing->whole = dgo_svg_end(&drawing->svg);
}

static enum dgo_status job_draw(void *data)
{
    struct drawing *drawing = data;

    drawing->scale_bytes = 1;
    for (uint32_t g = 0; g < drawing->machine->gpu_count; g++) {
        const struct dgo_gpu *gpu = &drawing->machine->gpu[g];
        uint64_t bytes[PART_COUNT];

        part_bytes(gpu, device_of(drawing->plan, g), bytes);
        drawing->scale_bytes =
            dgo_max_u64(drawing->scale_bytes, dgo_max_u64(whole_bytes(gpu), sum_of(bytes)));
    }
    draw(drawing);
    return DGO_OK;
}

bool picture_plan(const struct dgo_machine *machine, const struct dgo_model *model,
                  const struct dgo_plan *plan, struct dgo_text *out)
{
    struct drawing drawing = {.machine = machine, .model = model, .plan = plan, .out = out};

    return app_run(COMPONENT_VIEW_FORMATTING, job_draw, &drawing) == DGO_OK && drawing.whole;
}
