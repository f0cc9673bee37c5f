/* burst.c - from one answer of the engine to the next: work, or a pause. */
#include "dgo_burst.h"

#include "dgo_units.h"

#include <inttypes.h>

enum { REQUESTS_MIN = 3, TOGETHER_MIN = 2, IDLE_LOOKS_MIN = 2 };

static bool counter_moved(const struct dgo_engine_load *before, const struct dgo_engine_load *now,
                          int sign)
{
#define MOVED(id, name)                                                                            \
    (dgo_load_knows(before, DGO_LOAD_##id) && dgo_load_knows(now, DGO_LOAD_##id) &&                \
     (sign > 0 ? now->name > before->name : now->name < before->name))
    return MOVED(REQUESTS, requests) || MOVED(PROMPT_TOKENS, prompt_tokens) ||
           MOVED(GENERATED_TOKENS, generated_tokens);
#undef MOVED
}

static bool works_now(const struct dgo_engine_load *load)
{
    return (dgo_load_knows(load, DGO_LOAD_BUSY) && load->busy > 0) ||
           (dgo_load_knows(load, DGO_LOAD_WAITING) && load->waiting > 0);
}

static void begin(struct dgo_burst *burst, uint64_t at_ns)
{
    burst->active = true;
    burst->told = false;
    burst->idle_looks = 0;
    burst->before = burst->last;
    burst->report = (struct dgo_burst_report){.began_ns = at_ns};
}

static uint64_t since(const struct dgo_engine_load *before, const struct dgo_engine_load *now,
                      enum dgo_engine_load_field field, uint64_t then_count, uint64_t now_count,
                      uint32_t *known)
{
    if (!dgo_load_knows(before, field) || !dgo_load_knows(now, field) || now_count < then_count)
        return 0;
    *known |= UINT32_C(1) << field;
    return now_count - then_count;
}

static void work(struct dgo_burst *burst, const struct dgo_engine_load *load, uint64_t at_ns)
{
    struct dgo_burst_report *report = &burst->report;
    const struct dgo_engine_load *before = &burst->before;
    uint32_t busy = 0;

    report->ended_ns = at_ns;
    burst->idle_looks = 0;
    if (dgo_load_knows(load, DGO_LOAD_BUSY)) {
        busy = load->busy;
        report->known |= UINT32_C(1) << DGO_LOAD_BUSY;
        report->busy_most = busy > report->busy_most ? busy : report->busy_most;
    }
    if (dgo_load_knows(load, DGO_LOAD_SLOTS)) {
        report->known |= UINT32_C(1) << DGO_LOAD_SLOTS;
        report->slots = load->slots;
    }
    report->requests =
        since(before, load, DGO_LOAD_REQUESTS, before->requests, load->requests, &report->known) +
        busy;
    report->prompt_tokens = since(before, load, DGO_LOAD_PROMPT_TOKENS, before->prompt_tokens,
                                  load->prompt_tokens, &report->known);
    report->generated_tokens =
        since(before, load, DGO_LOAD_GENERATED_TOKENS, before->generated_tokens,
              load->generated_tokens, &report->known);
}

static bool is_burst(const struct dgo_burst_report *report)
{
    return report->requests >= REQUESTS_MIN || report->busy_most >= TOGETHER_MIN ||
           report->ended_ns - report->began_ns >= DGO_BURST_LONG_NS;
}

static enum dgo_burst_edge end(struct dgo_burst *burst, struct dgo_burst_report *report)
{
    const bool told = burst->told;

    burst->active = burst->told = false;
    if (!told)
        return DGO_BURST_NONE;
    *report = burst->report;
    return DGO_BURST_ENDED;
}

enum dgo_burst_edge dgo_burst_add(struct dgo_burst *burst, const struct dgo_engine_load *load,
                                  uint64_t at_ns, struct dgo_burst_report *report)
{
    enum dgo_burst_edge edge = DGO_BURST_NONE;

    if (!burst->seen) {
        burst->seen = true;
        burst->last = *load; /* what it did before was not seen */
    }
    if (counter_moved(&burst->last, load, -1)) {
        edge = burst->active ? end(burst, report) : DGO_BURST_NONE;
        burst->last = *load;
        return edge;
    }
    if (works_now(load) || counter_moved(&burst->last, load, 1)) {
        if (!burst->active)
            begin(burst, at_ns);
        work(burst, load, at_ns);
        if (!burst->told && is_burst(&burst->report)) {
            burst->told = true;
            *report = burst->report;
            edge = DGO_BURST_BEGAN;
        }
    } else if (burst->active && ++burst->idle_looks >= IDLE_LOOKS_MIN &&
               at_ns - burst->report.ended_ns >= DGO_BURST_PAUSE_NS) {
        edge = end(burst, report);
    }
    burst->last = *load;
    return edge;
}

static bool knows(const struct dgo_burst_report *report, enum dgo_engine_load_field field)
{
    return report->known >> field & 1;
}

static void add_slots(const struct dgo_burst_report *report, struct dgo_text *text)
{
    if (!knows(report, DGO_LOAD_BUSY) || report->busy_most == 0)
        return;
    dgo_text_addf(text, ", up to %" PRIu32, report->busy_most);
    if (knows(report, DGO_LOAD_SLOTS))
        dgo_text_addf(text, " of %" PRIu32 " slots", report->slots);
    dgo_text_add(text, " busy");
}

void dgo_burst_text(enum dgo_burst_edge edge, const struct dgo_burst_report *report,
                    struct dgo_text *text)
{
    char span[DGO_UNIT_TEXT_MAX];

    dgo_text_addf(text, edge == DGO_BURST_BEGAN ? "burst for %s" : "burst over after %s",
                  dgo_duration_text(report->ended_ns - report->began_ns, span));
    dgo_text_addf(text, ": %" PRIu64 " request%s", report->requests,
                  report->requests == 1 ? "" : "s");
    if (edge == DGO_BURST_ENDED && knows(report, DGO_LOAD_GENERATED_TOKENS))
        dgo_text_addf(text, ", %" PRIu64 " tokens generated", report->generated_tokens);
    if (edge == DGO_BURST_ENDED && knows(report, DGO_LOAD_PROMPT_TOKENS))
        dgo_text_addf(text, ", %" PRIu64 " read", report->prompt_tokens);
    add_slots(report, text);
}
