/* csv_profile.c - the series and their verdicts as CSV. */
#include "picture_profile.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void add_text(struct dgo_text *out, const char *words)
{
    if (!strpbrk(words, ",\"\n")) {
        dgo_text_addf(out, ",%s", words);
        return;
    }
    dgo_text_add(out, ",\"");
    for (; *words; words++) {
        if (*words == '"')
            dgo_text_add(out, "\"");
        dgo_text_add_bytes(out, words, 1);
    }
    dgo_text_add(out, "\"");
}

static void add_number(struct dgo_text *out, bool known, double value)
{
    if (known && isfinite(value))
        dgo_text_addf(out, ",%.12g", value);
    else
        dgo_text_add(out, ",");
}

static void add_trend(struct dgo_text *out, const struct dgo_trend *trend)
{
    add_text(out, dgo_verdict_name(trend->verdict));
    add_text(out, dgo_pattern_name(trend->pattern));
    add_number(out, trend->slope_known, trend->slope_mib_per_hour);
    add_number(out, trend->slope_known, trend->slope_low);
    add_number(out, trend->slope_known, trend->slope_high);
    add_number(out, trend->time_to_full_known, trend->seconds_to_full);
    add_number(out, trend->time_to_full_known, trend->seconds_to_full_low);
    add_number(out, trend->time_to_full_known, trend->seconds_to_full_high);
    add_number(out, trend->per_request_known, trend->mib_per_request);
}

void csv_profile(const struct dgo_profiler *profiler, uint32_t index, struct dgo_text *out)
{
    const struct dgo_series_report *report;

    if (index == UINT32_MAX) {
        dgo_text_add(out, "gpu,pid,name,role,verdict,pattern,slope_mib_per_hour,slope_low,"
                          "slope_high,seconds_to_full,seconds_to_full_low,seconds_to_full_high,"
                          "mib_per_request,samples,first_seconds,last_seconds,least_mib,"
                          "greatest_mib,last_mib,episodes,evidence\n");
        return;
    }
    report = dgo_profiler_report(profiler, index);
    dgo_text_addf(out, "%" PRIu32 ",", report->gpu_index);
    if (report->pid)
        dgo_text_addf(out, "%" PRIu32, report->pid);
    add_text(out, report->name);
    add_text(out, report->role_known ? dgo_process_role_name(report->role) : "");
    add_trend(out, &report->trend);
    dgo_text_addf(out, ",%" PRIu64, report->stats.sample_count);
    add_number(out, true, report->stats.first_s);
    add_number(out, true, report->stats.last_s);
    add_number(out, true, report->stats.least_mib);
    add_number(out, true, report->stats.greatest_mib);
    add_number(out, true, report->stats.last_mib);
    dgo_text_addf(out, ",%" PRIu32, report->episode_count);
    add_text(out, report->trend.evidence);
    dgo_text_add(out, "\n");
}
