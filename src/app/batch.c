/* batch.c - a workload analysed: lengths, buckets, padding, packing, arrivals. */
#include "batch.h"

#include "dgo_app.h"

#include <string.h>

struct analysis {
    const struct batch_question *question;
    struct batch_report *report;
    struct dgo_error *err;
};

static enum dgo_status count_lengths(struct batch_report *report, struct dgo_error *err)
{
    const struct dgo_workload *workload = &report->requests->workload;
    enum dgo_status status;

    status = dgo_lengths_make(workload, DGO_LENGTH_PROMPT, &report->arena, &report->prompt, err);
    if (status == DGO_OK && workload->generated_known)
        status = dgo_lengths_make(workload, DGO_LENGTH_GENERATED, &report->arena,
                                  &report->generated, err);
    if (status == DGO_OK && workload->generated_known)
        status = dgo_lengths_make(workload, DGO_LENGTH_TOTAL, &report->arena, &report->total, err);
    return status;
}

static enum dgo_status analyse(void *data)
{
    static const uint32_t batches[BATCH_PADDING_ROWS] = {4, 8, 16, 32};
    const struct analysis *analysis = data;
    struct batch_report *report = analysis->report;
    const uint32_t capacity = analysis->question->capacity_tokens;
    enum dgo_status status = count_lengths(report, analysis->err);

    if (status == DGO_OK)
        status = dgo_buckets_make(&report->prompt, DGO_BUCKET_MAX, report->bucket, analysis->err);
    if (status == DGO_OK)
        status = dgo_pack(&report->prompt,
                          capacity ? capacity : dgo_pack_capacity_default(&report->prompt),
                          &report->packing, analysis->err);
    if (status != DGO_OK)
        return status;
    dgo_histogram_make(&report->prompt, &report->prompt_histogram);
    dgo_histogram_make(&report->generated, &report->generated_histogram);
    for (unsigned i = 0; i < BATCH_PADDING_ROWS; i++)
        dgo_padding_make(&report->requests->workload, &report->prompt, batches[i],
                         &report->padding[i]);
    report->arrivals_known = dgo_arrivals_make(&report->requests->workload, &report->arrivals);
    return DGO_OK;
}

enum dgo_status batch_analyse(const struct requests *requests,
                              const struct batch_question *question, struct batch_report *report,
                              struct dgo_error *err)
{
    enum dgo_status status;

    memset(report, 0, sizeof *report);
    report->requests = requests;
    status = app_run(COMPONENT_BATCH, analyse,
                     &(struct analysis){.question = question, .report = report, .err = err});
    if (status != DGO_OK)
        batch_done(report);
    return status;
}

void batch_done(struct batch_report *report)
{
    dgo_arena_done(&report->arena);
    memset(report, 0, sizeof *report);
}
