/* engine_end.h - why an engine ended, in words: what its log says, else what the driver and the
 * kernel saw.  Private to app.  The judgement is pure; the witness looks. */
#ifndef ENGINE_END_H
#define ENGINE_END_H

#include "dgo_engine.h"
#include "dgo_launch.h"
#include "dgo_sampler.h"
#include "dgo_text.h"

enum { ENGINE_WORDS_LINES = 6, ENGINE_WORDS_LINE_MAX = 200 };

/* The last lines of its log.  Zero-initialised it has none. */
struct engine_words {
    char line[ENGINE_WORDS_LINES][ENGINE_WORDS_LINE_MAX];
    uint32_t count; /* ever written */
};

/* Escaped; an empty line says nothing and is left out. */
void engine_words_add(struct engine_words *words, const char *line, size_t length);

/* What is remembered from an engine's start for its end.  `sampler` is the caller's, NULL: nobody
 * looks; the rest starts as zero.  Its loop's thread only. */
struct engine_witness {
    struct dgo_sampler *sampler;
    struct engine_words words;
    struct dgo_sample *sample; /* NULL: the driver is not asked */
    uint64_t xid_before[DGO_GPU_MAX];
    uint64_t kernel_kills_before; /* UINT64_MAX: unknown */
};

struct engine_end {
    const struct dgo_exit *exit;
    const struct dgo_report *report;
    const struct dgo_plan *plan;
    const struct engine_words *words;
    /* The newest look at the cards and the number of Xid errors of each when the engine was
     * started; NULL: nobody looks. */
    const struct dgo_sample *look;
    const uint64_t *xid_before;
    uint64_t kernel_kills; /* for want of memory, since it was started; 0 also where unknown */
    uint32_t pid;
    bool was_ready;
};

struct engine_end_verdict {
    bool out_of_vram; /* by its log, or by what the driver saw */
    int32_t device;   /* of the plan, which ran out; -1 unknown */
    struct dgo_error failure;
};

/* What the log says comes first.  Where it says nothing and the engine failed, a card is taken to
 * have run out when, at a look of the last LOOK_OLD_NS,
 *   - the engine was not ready and less was free than it had still to take by its plan, or
 *   - less than half of the margin was free, which a plan never touches.
 * An engine that SIGKILL ended while the kernel killed for want of memory is told to be one of
 * those; that is no matter of the cards.  Xid errors of its cards are named. */
void engine_end_judge(const struct engine_end *end, struct engine_end_verdict *verdict);

/* At each start of the engine, also of one that is taken over; forgets its last words. */
void engine_witness_start(struct engine_witness *witness);
/* Adds to `end` all that the witness knows; borrowed from it. */
void engine_witness_testify(struct engine_witness *witness, struct engine_end *end);
void engine_witness_done(struct engine_witness *witness);

/* Adds a sentence, cut at `max` bytes, with the full stop that it may lack. */
void engine_end_add_sentence(struct dgo_text *text, const char *sentence, size_t max);

#endif
