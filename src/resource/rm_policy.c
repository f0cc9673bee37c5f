/* rm_policy.c - CPU or GPU: the answer for each component, and the leases that GPU runs need.
 *
 * Answers are worked out when a fact changes and stored, so that asking is one load. */
#include "rm.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <inttypes.h>
#include <stdio.h>

static struct dgo_lock lock; /* the ledger and the facts */
static struct dgo_ledger ledger;
static bool ledger_ready;
static _Atomic bool is_streaming;
static _Atomic bool uses_gpu[DGO_COMPONENT_MAX];
static struct dgo_lock refresh_lock; /* only tried for */

static struct dgo_ledger *lock_ledger(void)
{
    dgo_lock(&lock);
    if (!ledger_ready)
        dgo_ledger_init(&ledger);
    ledger_ready = true;
    return &ledger;
}

static uint64_t wall_ns(void)
{
    return dgo_clock_wall_ns(rm.clock ? rm.clock : dgo_clock_system());
}

/* The GPU that could promise most now; false when none was ever looked at.  With the lock. */
static bool roomiest(uint32_t *gpu_index, uint64_t *bytes)
{
    bool found = false;

    for (uint32_t g = 0; g < DGO_LEDGER_GPU_MAX; g++) {
        const uint64_t there = dgo_ledger_promisable_bytes(&ledger, g);

        if (!ledger.gpu[g].known || (found && there <= *bytes))
            continue;
        *gpu_index = g;
        *bytes = there;
        found = true;
    }
    return found;
}

/* True: the GPU implementation.  `why` is the sentence for people. */
static bool decide(uint32_t component, char why[DGO_REASON_MAX])
{
    const struct dgo_component *what = dgo_component_get((dgo_component_id)component);
    struct dgo_text text = {.data = why, .size = DGO_REASON_MAX};
    char need[DGO_UNIT_TEXT_MAX], there_text[DGO_UNIT_TEXT_MAX];
    struct rm_choice choice;
    uint32_t gpu_index = 0;
    uint64_t there = 0;
    bool is_known;

    dgo_text_clear(&text);
    rm_component_choice(component, &choice);
    if (choice.hint == DGO_HINT_CPU || what->vram_bytes == 0) {
        dgo_text_addf(&text,
                      choice.hint == DGO_HINT_CPU ? "cpu by %s"
                                                  : "cpu: it has no GPU implementation (%s)",
                      choice.origin);
        return false;
    }
    if (choice.hint == DGO_HINT_GPU) {
        dgo_text_addf(&text, "gpu by %s", choice.origin);
        return true;
    }
    if (atomic_load(&is_streaming)) {
        dgo_text_add(&text, "cpu: an engine is answering, the GPUs are its own");
        return false;
    }
    lock_ledger();
    is_known = roomiest(&gpu_index, &there);
    dgo_unlock(&lock);
    if (!is_known) {
        dgo_text_add(&text, "cpu: no GPU memory has been seen yet");
        return false;
    }
    dgo_text_addf(&text, "%s: it needs %s and GPU %" PRIu32 " has %s to promise",
                  there >= what->vram_bytes ? "gpu" : "cpu", dgo_bytes_text(what->vram_bytes, need),
                  gpu_index, dgo_bytes_text(there, there_text));
    return there >= what->vram_bytes;
}

/* Whoever is at it already looks at the new facts too, so nobody waits here. */
void rm_policy_refresh(void)
{
    static _Atomic uint32_t wanted;
    uint32_t seen;
    char why[DGO_REASON_MAX];

    atomic_fetch_add(&wanted, 1);
    do {
        if (!dgo_try_lock(&refresh_lock))
            return;
        seen = atomic_load(&wanted);
        for (uint32_t i = 0; i < dgo_component_count(); i++)
            atomic_store_explicit(&uses_gpu[i], decide(i, why), memory_order_relaxed);
        dgo_unlock(&refresh_lock);
    } while (atomic_load(&wanted) != seen);
}

bool dgo_should_use_cpu(dgo_component_id id)
{
    return !atomic_load_explicit(&uses_gpu[id < DGO_COMPONENT_MAX ? id : 0], memory_order_relaxed);
}

bool dgo_should_use_cpu_why(dgo_component_id id, char why[DGO_REASON_MAX])
{
    return !decide(id < dgo_component_count() ? id : 0, why);
}

void dgo_resource_set_streaming(bool streaming)
{
    if (atomic_exchange(&is_streaming, streaming) != streaming)
        rm_policy_refresh();
}

enum dgo_status dgo_resource_set_vram(uint32_t gpu_index, const struct dgo_ledger_gpu *seen,
                                      struct dgo_error *err)
{
    const enum dgo_status status = dgo_ledger_observe(lock_ledger(), gpu_index, seen, err);

    dgo_unlock(&lock);
    if (status == DGO_OK)
        rm_policy_refresh();
    return status;
}

/* ---- the ledger behind its lock ---- */

#define WITH_LEDGER(call)                                                                          \
    do {                                                                                           \
        enum dgo_status ledger_status;                                                             \
                                                                                                   \
        lock_ledger();                                                                             \
        ledger_status = (call);                                                                    \
        dgo_unlock(&lock);                                                                         \
        rm_policy_refresh();                                                                       \
        return ledger_status;                                                                      \
    } while (0)

enum dgo_status dgo_vram_reserve(const struct dgo_ledger_request *request, uint64_t *id,
                                 struct dgo_error *err)
{
    WITH_LEDGER(dgo_ledger_reserve(&ledger, request, wall_ns(), id, err));
}

enum dgo_status dgo_vram_hold(const struct dgo_ledger_request *request, bool is_measured,
                              uint64_t *id, struct dgo_error *err)
{
    WITH_LEDGER(dgo_ledger_hold(&ledger, request, is_measured, wall_ns(), id, err));
}

enum dgo_status dgo_vram_adopt(uint64_t id, uint64_t pid, struct dgo_error *err)
{
    WITH_LEDGER(dgo_ledger_adopt(&ledger, id, pid, err));
}

enum dgo_status dgo_vram_measure(uint64_t id, uint32_t gpu_index, uint64_t bytes,
                                 struct dgo_error *err)
{
    WITH_LEDGER(dgo_ledger_measure(&ledger, id, gpu_index, bytes, err));
}

enum dgo_status dgo_vram_settle(uint64_t id, struct dgo_error *err)
{
    WITH_LEDGER(dgo_ledger_settle(&ledger, id, err));
}

enum dgo_status dgo_vram_release(uint64_t id, struct dgo_error *err)
{
    WITH_LEDGER(dgo_ledger_release(&ledger, id, err));
}

enum dgo_status dgo_vram_reconcile(uint32_t gpu_index, const struct dgo_ledger_usage *usage,
                                   size_t usage_count, struct dgo_error *err)
{
    WITH_LEDGER(dgo_ledger_reconcile(&ledger, gpu_index, usage, usage_count, err));
}

enum dgo_status dgo_vram_load(const struct dgo_ledger_entry *entry, size_t entry_count,
                              struct dgo_error *err)
{
    WITH_LEDGER(dgo_ledger_load(&ledger, entry, entry_count, err));
}

uint32_t dgo_vram_release_owner(uint64_t pid)
{
    const uint32_t count = dgo_ledger_release_owner(lock_ledger(), pid);

    dgo_unlock(&lock);
    rm_policy_refresh();
    return count;
}

uint32_t dgo_vram_expire(void)
{
    const uint32_t count = dgo_ledger_expire(lock_ledger(), wall_ns());

    dgo_unlock(&lock);
    rm_policy_refresh();
    return count;
}

void dgo_vram_snapshot(struct dgo_ledger *out)
{
    *out = *lock_ledger();
    dgo_unlock(&lock);
}

/* ---- running where the policy says ---- */

static bool run_on_gpu(const struct dgo_placed *placed, const struct dgo_component *what,
                       enum dgo_status *status)
{
    struct dgo_ledger_request lease = {.what = what->name};
    uint64_t id;

    if (!placed->gpu || placed->gpu_index >= DGO_LEDGER_GPU_MAX)
        return false;
    lease.bytes[placed->gpu_index] = placed->vram_bytes ? placed->vram_bytes : what->vram_bytes;
    if (dgo_vram_reserve(&lease, &id, NULL) != DGO_OK)
        return false;
    *status = placed->gpu(placed->arg);
    dgo_vram_release(id, NULL);
    return *status == DGO_OK || *status == DGO_ECANCELLED;
}

enum dgo_status dgo_run_placed(const struct dgo_placed *placed, enum dgo_place *ran_on)
{
    struct rm_thread *self = rm_thread();
    const uint32_t component = placed->component < dgo_component_count() ? placed->component : 0;
    enum dgo_status status = DGO_OK;
    bool done = false;

    if (!placed->cpu)
        return DGO_EINVAL; /* it must have that one: the other may not get its lease */
    if (!dgo_should_use_cpu((dgo_component_id)component)) {
        done = run_on_gpu(placed, dgo_component_get((dgo_component_id)component), &status);
        rm_count(self, component, done ? RM_GPU_RUNS : RM_GPU_FALLBACKS);
    }
    if (!done)
        status = dgo_run_on_cpu((dgo_component_id)component, placed->cpu, placed->arg);
    if (ran_on)
        *ran_on = done ? DGO_PLACE_GPU : DGO_PLACE_CPU;
    return status;
}

/* ---- the synchronous call ---- */

enum dgo_status dgo_run_on_cpu(dgo_component_id id, dgo_job_fn fn, void *arg)
{
    struct rm_thread *self = rm_thread();
    const uint32_t component = id < dgo_component_count() ? id : 0;
    const struct dgo_job job = {.component = (dgo_component_id)component, .fn = fn, .arg = arg};
    struct dgo_future future;
    struct dgo_result result;
    enum dgo_status status;

    if (!fn)
        return DGO_EINVAL;
    if (self->is_ui && atomic_load_explicit(&rm.threaded, memory_order_relaxed) &&
        rm_component_lane(component) != DGO_LANE_UI) {
        rm_count(self, component, RM_UI_WAITS);
        if (dgo_submit(&job, &future, NULL) == DGO_OK &&
            dgo_wait(future, DGO_FOREVER, &result, NULL) == DGO_OK)
            return result.status;
    }
    rm_count(self, component, RM_RAN_INLINE);
    if (++self->sample % RM_TIMED_OF == 0) {
        const uint64_t begun_ns = rm_now_ns();

        status = fn(arg);
        rm_count_run(self, component, rm_now_ns() - begun_ns);
        return status;
    }
    return fn(arg);
}

/* A ledger that another thread was just writing is no ledger: the child begins with an empty one.
 */
void rm_policy_forget(void)
{
    ledger_ready = ledger_ready && atomic_load(&lock.word) == 0;
    atomic_store(&lock.word, 0);
    atomic_store(&refresh_lock.word, 0);
}
