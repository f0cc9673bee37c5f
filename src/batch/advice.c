/* advice.c - how many requests at once, and what that gives: Little's law over probed speeds. */
#include "dgo_advice.h"

#include <math.h>
#include <string.h>

/* Slots that are probed: steps of a third at most, so that the advice is never far off. */
static const uint32_t ladder[] = {1,  2,  3,  4,  5,  6,  8,  10,  12,  16,
                                  20, 24, 32, 40, 48, 64, 96, 128, 192, 256};
enum { LADDER_COUNT = sizeof ladder / sizeof ladder[0] };

/* Slots stop growing where one step of the ladder serves less than this much more. */
#define GAIN_LEAST 1.03

const char *dgo_limit_name(enum dgo_limit limit)
{
    static const char *const names[] = {"arrivals", "memory", "latency", "gain"};

    return names[limit];
}

static uint32_t padded_context(double tokens)
{
    const double padded = ceil(tokens / DGO_ADVICE_STEP) * DGO_ADVICE_STEP;

    return padded < DGO_ADVICE_STEP ? DGO_ADVICE_STEP : (uint32_t)fmin(padded, 1u << 30);
}

uint32_t dgo_advice_context(const struct dgo_lengths *lengths)
{
    return padded_context(dgo_lengths_percentile(lengths, DGO_ADVICE_PERCENTILE) *
                          (1 + DGO_ADVICE_MARGIN));
}

static double mean_of(const struct dgo_lengths *lengths)
{
    const uint64_t count = dgo_lengths_count(lengths);

    return count ? (double)dgo_lengths_sum(lengths) / (double)count : 0;
}

void dgo_mix_make(const struct dgo_lengths *prompt, const struct dgo_lengths *generated,
                  const struct dgo_lengths *total, const struct dgo_arrivals *arrivals,
                  double generated_assumed, double token_latency_s, struct dgo_mix *mix)
{
    const bool known = dgo_lengths_count(generated) > 0;

    *mix = (struct dgo_mix){
        .prompt_tokens = fmax(1, mean_of(prompt)),
        .generated_tokens = fmax(1, known ? mean_of(generated) : generated_assumed),
        .generated_assumed = !known,
        .rate_known = arrivals != NULL,
        .token_latency_s = token_latency_s,
        .context_per_slot =
            known ? dgo_advice_context(total)
                  : padded_context((dgo_lengths_percentile(prompt, DGO_ADVICE_PERCENTILE) +
                                    generated_assumed) *
                                   (1 + DGO_ADVICE_MARGIN)),
    };
    if (arrivals) {
        mix->mean_per_s = arrivals->mean_per_s;
        mix->peak_per_s = arrivals->peak_minute_per_s;
    }
}

/* What was learned, slots ascending. */
struct curve {
    uint32_t count;
    uint32_t slots[LADDER_COUNT];
    struct dgo_probe_answer at[LADDER_COUNT];
};

/* Seconds of the engine that one request takes when `slots` are busy: its prompt alone, its tokens
 * shared with the others. */
static double engine_s(const struct dgo_mix *mix, const struct dgo_probe_answer *at, uint32_t slots)
{
    return at->prompt_s + mix->generated_tokens * at->step_s / slots;
}

/* Time of a step with `busy` slots, which need not be whole. */
static double step_at(const struct curve *curve, double busy)
{
    uint32_t i = 0;

    if (busy <= curve->slots[0])
        return curve->at[0].step_s;
    while (i + 1 < curve->count && curve->slots[i + 1] < busy)
        i++;
    if (i + 1 == curve->count)
        return curve->at[i].step_s;
    const double part = (busy - curve->slots[i]) / (curve->slots[i + 1] - curve->slots[i]);

    return curve->at[i].step_s + part * (curve->at[i + 1].step_s - curve->at[i].step_s);
}

/* Of a mean request while others arrive at `per_s`: prompts of others hold up its tokens, and it
 * decodes beside as many as Little's law says, which depends on how long it takes.  `most` bounds
 * those beside it. */
static double request_s(const struct dgo_mix *mix, const struct curve *curve, double per_s,
                        uint32_t most, double *busy)
{
    const double prompt_s = curve->at[0].prompt_s;
    const double free_share = fmax(0.05, 1 - per_s * prompt_s);
    double seconds = 0;

    *busy = 1;
    for (unsigned round = 0; round < 200; round++) { /* grows to the fixed point, or to `most` */
        seconds = prompt_s + mix->generated_tokens * step_at(curve, *busy) / free_share;
        const double next = fmin(most, fmax(1, per_s * seconds));

        if (fabs(next - *busy) < 1e-6)
            break;
        *busy = next;
    }
    return seconds;
}

static enum dgo_status probe_curve(const struct dgo_mix *mix, dgo_probe_fn probe, void *data,
                                   struct curve *curve, struct dgo_advice *advice,
                                   struct dgo_error *err)
{
    advice->limit = DGO_LIMIT_GAIN;
    for (uint32_t i = 0; i < LADDER_COUNT; i++) {
        struct dgo_probe_answer *at = &curve->at[curve->count];
        const enum dgo_status status = probe(ladder[i], data, at, err);

        if (status != DGO_OK && (status != DGO_ENOFIT || i == 0))
            return status;
        if (status != DGO_OK || !at->fits) {
            advice->limit = DGO_LIMIT_MEMORY;
            break;
        }
        curve->slots[curve->count++] = ladder[i];
    }
    if (curve->count == 0)
        return dgo_fail(err, DGO_ENOFIT, "not one request of %u tokens fits",
                        mix->context_per_slot);
    advice->slots_memory = curve->slots[curve->count - 1];
    return DGO_OK;
}

/* The last rung that is within the target and still gains. */
static uint32_t most_useful(const struct dgo_mix *mix, const struct curve *curve,
                            struct dgo_advice *advice)
{
    uint32_t best = 0;

    if (mix->token_latency_s > 0) {
        advice->latency_missed = curve->at[0].step_s > mix->token_latency_s;
        advice->slots_latency = 1;
        for (uint32_t i = 0; i < curve->count; i++)
            if (curve->at[i].step_s <= mix->token_latency_s)
                advice->slots_latency = curve->slots[i];
    }
    for (uint32_t i = 1; i < curve->count; i++) {
        if (advice->slots_latency && curve->slots[i] > advice->slots_latency) {
            advice->limit = DGO_LIMIT_LATENCY;
            return best;
        }
        if (engine_s(mix, &curve->at[best], curve->slots[best]) <
            engine_s(mix, &curve->at[i], curve->slots[i]) * GAIN_LEAST) {
            advice->limit = DGO_LIMIT_GAIN;
            return best;
        }
        best = i;
    }
    return best;
}

/* The smallest rung with room for what arrives in the busiest minute, if that is fewer. */
static uint32_t enough_for_arrivals(const struct dgo_mix *mix, const struct curve *curve,
                                    uint32_t most, struct dgo_advice *advice)
{
    double busy;

    request_s(mix, curve, mix->peak_per_s, curve->slots[most], &busy);
    for (uint32_t i = 0; i < most; i++) {
        const double load = mix->peak_per_s * engine_s(mix, &curve->at[i], curve->slots[i]);

        if (curve->slots[i] >= ceil(busy * DGO_ADVICE_HEADROOM) && load < DGO_ADVICE_UTILISATION) {
            advice->limit = DGO_LIMIT_ARRIVALS;
            return i;
        }
    }
    return most;
}

enum dgo_status dgo_advise(const struct dgo_mix *mix, dgo_probe_fn probe, void *data,
                           struct dgo_advice *advice, struct dgo_error *err)
{
    struct curve curve = {0};
    struct dgo_advice made = {.context_per_slot = mix->context_per_slot};
    enum dgo_status status = probe_curve(mix, probe, data, &curve, &made, err);
    double busy = 0;

    if (status != DGO_OK)
        return status;
    uint32_t chosen = most_useful(mix, &curve, &made);

    if (mix->rate_known)
        chosen = enough_for_arrivals(mix, &curve, chosen, &made);
    const struct dgo_probe_answer *at = &curve.at[chosen];
    const double own_s = engine_s(mix, at, curve.slots[chosen]);

    made.slots = curve.slots[chosen];
    made.context_tokens = made.slots * mix->context_per_slot;
    made.served_per_s = 1 / own_s;
    made.tokens_per_s = mix->generated_tokens / own_s;
    made.kv_reserved_bytes = at->kv_bytes;
    if (mix->rate_known) {
        made.utilisation = mix->mean_per_s * own_s;
        made.peak_utilisation = mix->peak_per_s * own_s;
        made.overloaded = made.peak_utilisation > DGO_ADVICE_UTILISATION;
    }
    if (mix->rate_known && made.utilisation < 1) {
        made.request_s = request_s(mix, &curve, mix->mean_per_s, made.slots, &busy);
        made.concurrency = mix->mean_per_s * made.request_s;
        made.token_s = (made.request_s - at->prompt_s) / mix->generated_tokens;
    } else { /* all slots are kept busy: an offline run, or a queue that never empties */
        busy = made.slots;
        made.concurrency = busy;
        made.request_s = own_s * made.slots;
        made.token_s = (made.request_s - at->prompt_s) / mix->generated_tokens;
    }
    made.first_token_s = at->prompt_s + made.token_s;
    made.kv_used_bytes =
        (uint64_t)((double)at->kv_bytes *
                   fmin(1, busy * (mix->prompt_tokens + mix->generated_tokens / 2) /
                               made.context_tokens));
    *advice = made;
    return DGO_OK;
}
