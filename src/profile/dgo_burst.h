/* dgo_burst.h - a burst of requests, told from what an engine says of its work at each look.
 *
 * A burst begins with the first sign of work after a pause (a request being answered or waiting, a
 * counter that grew) and ends with a pause of DGO_BURST_PAUSE_NS in which the engine answered twice
 * that it does nothing.  A lonely short request is none: a burst is three requests, two at once, or
 * ten seconds of work.
 *
 * Pure; one owner at a time. */
#ifndef DGO_BURST_H
#define DGO_BURST_H

#include "dgo_base.h"
#include "dgo_recording.h"
#include "dgo_text.h"

#define DGO_BURST_PAUSE_NS UINT64_C(3000000000)
#define DGO_BURST_LONG_NS  UINT64_C(10000000000)

enum dgo_burst_edge { DGO_BURST_NONE, DGO_BURST_BEGAN, DGO_BURST_ENDED };

/* What it was, as far as the engine tells. */
struct dgo_burst_report {
    uint64_t began_ns, ended_ns; /* ended: the last sign of work so far */
    uint32_t known;              /* 1 << enum dgo_engine_load_field of what follows */
    uint64_t requests;           /* that there were at least, those under way included */
    uint64_t prompt_tokens, generated_tokens; /* llama.cpp counts them when a request ends */
    uint32_t busy_most, slots;
};

/* Zero-initialised it has seen nothing. */
struct dgo_burst {
    bool seen, active, told;
    uint32_t idle_looks;
    struct dgo_engine_load before; /* when there was no work yet */
    struct dgo_engine_load last;
    struct dgo_burst_report report;
};

/* The next answer of the engine, at a time that does not go back; `report` is filled at an edge.
 * BEGAN comes once it is known to be a burst, with what there was until then.  Counters that went
 * back are another engine's: the burst is over. */
enum dgo_burst_edge dgo_burst_add(struct dgo_burst *burst, const struct dgo_engine_load *load,
                                  uint64_t at_ns, struct dgo_burst_report *report);

/* "burst over after 12.3 s: 6 requests, 1200 tokens generated, 40 read, up to 2 of 2 slots busy" */
void dgo_burst_text(enum dgo_burst_edge edge, const struct dgo_burst_report *report,
                    struct dgo_text *text);

#endif
