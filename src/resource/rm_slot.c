/* rm_slot.c - slots of jobs: mapped once, handed out and taken back without a lock.
 *
 * Free slots travel in blocks: the first slot of a block lists the others.  Blocks lie on a stack
 * with a tagged head (the tag defeats reuse between a load and its compare-and-swap), because a
 * thread of the idle class that held a lock here would stop everybody. */
#include "rm.h"

#include <string.h>

struct rm_slots rm_slots;

bool rm_slots_reserve(uint32_t slot_count)
{
    uint32_t capacity = atomic_load(&rm_slots.capacity);

    while (capacity < slot_count && capacity / RM_CHUNK < RM_CHUNK_MAX) {
        struct rm_job *chunk = rm_sys_map(RM_CHUNK * sizeof *chunk);

        if (!chunk)
            break;
        rm_slots.chunk[capacity / RM_CHUNK] = chunk;
        capacity += RM_CHUNK;
        atomic_store(&rm_slots.capacity, capacity);
    }
    return capacity > 0;
}

void rm_slots_forget(void)
{
    const uint32_t used = atomic_load(&rm_slots.fresh);

    for (uint32_t i = 0; i < used; i++) {
        struct rm_job *job = rm_job_at(i);

        atomic_store(&job->state,
                     rm_ref(rm_next_generation(rm_generation(atomic_load(&job->state))), RM_FREE));
    }
    atomic_store(&rm_slots.free, 0);
    atomic_store(&rm_slots.fresh, 0);
}

static void push_block(uint32_t first)
{
    struct rm_job *job = rm_job_at(first);
    uint64_t head = atomic_load_explicit(&rm_slots.free, memory_order_relaxed);

    do
        atomic_store_explicit(&job->block_next, (uint32_t)head, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&rm_slots.free, &head,
                                                  ((head >> 32) + 1) << 32 | (first + 1),
                                                  memory_order_release, memory_order_relaxed));
}

/* Takes a block off the stack into an empty magazine. */
static bool pop_block(struct rm_thread *self)
{
    uint64_t head = atomic_load_explicit(&rm_slots.free, memory_order_acquire);
    struct rm_job *job;

    do {
        if ((uint32_t)head == 0)
            return false;
        job = rm_job_at((uint32_t)head - 1);
    } while (!atomic_compare_exchange_weak_explicit(
        &rm_slots.free, &head,
        ((head >> 32) + 1) << 32 | atomic_load_explicit(&job->block_next, memory_order_relaxed),
        memory_order_acquire, memory_order_acquire));

    for (uint32_t i = 0; i < job->block_count; i++)
        self->magazine[self->magazine_count++] = job->block[i];
    self->magazine[self->magazine_count++] = (uint32_t)head - 1;
    return true;
}

/* Slots that nobody has used yet: their pages are touched for the first time. */
static bool take_fresh(struct rm_thread *self)
{
    uint32_t first = atomic_load_explicit(&rm_slots.fresh, memory_order_relaxed);

    do
        if (first + RM_BLOCK > atomic_load_explicit(&rm_slots.capacity, memory_order_relaxed))
            return false;
    while (!atomic_compare_exchange_weak(&rm_slots.fresh, &first, first + RM_BLOCK));
    for (uint32_t i = RM_BLOCK; i-- > 0;) {
        struct rm_job *job = rm_job_at(first + i);

        if (rm_generation(atomic_load_explicit(&job->state, memory_order_relaxed)) == 0)
            atomic_store_explicit(&job->state, rm_ref(1, RM_FREE), memory_order_relaxed);
        self->magazine[self->magazine_count++] = first + i;
    }
    return true;
}

/* The list of the block that will be fetched, if nobody else does it. */
static void look_ahead(void)
{
    const uint32_t first = (uint32_t)atomic_load_explicit(&rm_slots.free, memory_order_relaxed);

    if (first == 0)
        return;
    dgo_prefetch_to_write(rm_job_at(first - 1));
    __builtin_prefetch(rm_job_at(first - 1)->block);
}

/* Before it is needed, and below what is left: the lines of the new ones come from the core that
 * ran them last while the old ones are used up. */
static void refill(struct rm_thread *self)
{
    uint32_t left[RM_REFILL_AT];
    bool is_there;

    memcpy(left, self->magazine, sizeof left);
    self->magazine_count = 0;
    is_there = pop_block(self) || take_fresh(self);
    for (uint32_t i = 0; is_there && i < self->magazine_count; i++)
        dgo_prefetch_to_write(rm_job_at(self->magazine[i]));
    memcpy(self->magazine + self->magazine_count, left, sizeof left);
    self->magazine_count += RM_REFILL_AT;
}

struct rm_job *rm_slot_take(struct rm_thread *self, uint32_t *index)
{
    if (self->magazine_count == RM_REFILL_AT)
        refill(self);
    else if (self->magazine_count == RM_REFILL_AT + 4)
        look_ahead();
    if (self->magazine_count == 0 && !pop_block(self) && !take_fresh(self))
        return NULL;
    *index = self->magazine[--self->magazine_count];
    return rm_job_at(*index);
}

static void give_block(struct rm_thread *self, uint32_t count)
{
    const uint32_t first = self->magazine[--self->magazine_count];
    struct rm_job *job = rm_job_at(first);

    job->block_count = count - 1;
    for (uint32_t i = 0; i + 1 < count; i++)
        job->block[i] = self->magazine[--self->magazine_count];
    push_block(first);
}

/* The caller owns the slot: nobody else can claim it any more. */
void rm_slot_give(struct rm_thread *self, struct rm_job *job, uint32_t index)
{
    const uint32_t generation =
        rm_generation(atomic_load_explicit(&job->state, memory_order_relaxed));

    atomic_store_explicit(&job->state, rm_ref(rm_next_generation(generation), RM_FREE),
                          memory_order_release);
    if (self->magazine_count == RM_MAGAZINE)
        give_block(self, RM_BLOCK);
    self->magazine[self->magazine_count++] = index;
}

void rm_slots_leave(struct rm_thread *self)
{
    while (self->magazine_count > 0)
        give_block(self, self->magazine_count < RM_BLOCK ? self->magazine_count : RM_BLOCK);
}

struct rm_job *rm_job_find(struct dgo_future future, uint64_t *state)
{
    struct rm_job *job;

    if (future.generation == 0 || future.index >= atomic_load(&rm_slots.capacity))
        return NULL;
    job = rm_job_at(future.index);
    *state = atomic_load_explicit(&job->state, memory_order_acquire);
    if (rm_generation(*state) != future.generation || !(*state & RM_HELD))
        return NULL;
    return job;
}
