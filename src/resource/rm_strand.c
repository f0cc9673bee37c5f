/* rm_strand.c - strands: one function each that never runs twice at a time.
 *
 * The state word holds a ticket and a phase.  Each time a strand is queued it gets a new ticket,
 * and a reference in a queue is good for its ticket only, so a second reference to the same turn
 * (a returned batch) does nothing. */
#include "rm.h"

/* CLOSED: nobody's.  A kick that comes too late finds it closed, or finds its successor whole. */
enum { CLOSED, IDLE, QUEUED, RUNNING, AGAIN /* running, and kicked meanwhile */ };

struct rm_strand {
    _Atomic uint64_t state;      /* ticket << 32 | phase */
    _Atomic uint32_t generation; /* even: free */
    _Atomic uint32_t level;
    uint32_t component;
    _Atomic uint32_t lane; /* of enum dgo_lane */
    dgo_job_fn fn;
    void *arg;
    uint32_t link;           /* in an inbox ... */
    _Atomic bool is_linked;  /* ... where it is now: it must not be used anew */
    _Atomic uint64_t due_ns; /* of the pending delayed kick; 0: none */
    _Atomic bool closing;
    _Atomic uint32_t kickers; /* at work: it must not become another strand meanwhile */
    _Atomic uint32_t ended;   /* futex: counts runs while somebody waits */
    struct rm_thread *_Atomic runner;
};
static struct rm_strand strands[DGO_STRAND_MAX];
static struct dgo_lock table_lock;

static struct rm_strand *find(struct dgo_strand name)
{
    if (name.generation == 0 || name.index >= DGO_STRAND_MAX ||
        atomic_load(&strands[name.index].generation) != name.generation)
        return NULL;
    return &strands[name.index];
}

uint32_t *rm_strand_link(uint32_t tagged_index)
{
    return &strands[tagged_index & ~RM_TAG_STRAND].link;
}

bool rm_strand_linked(uint32_t tagged_index, bool is_linked)
{
    return atomic_exchange(&strands[tagged_index & ~RM_TAG_STRAND].is_linked, is_linked);
}

uint64_t rm_strand_ref(uint32_t tagged_index)
{
    return rm_ref(rm_generation(atomic_load(&strands[tagged_index & ~RM_TAG_STRAND].state)),
                  tagged_index);
}

/* Whether the strand that has the place now belongs to the lane: a link may be its forerunner's. */
bool rm_strand_is_of(uint32_t tagged_index, enum dgo_lane lane)
{
    return atomic_load(&strands[tagged_index & ~RM_TAG_STRAND].lane) == (uint32_t)lane;
}

enum dgo_level rm_strand_level(uint32_t tagged_index)
{
    return (enum dgo_level)atomic_load(&strands[tagged_index & ~RM_TAG_STRAND].level);
}

enum dgo_status dgo_strand_new(dgo_component_id id, enum dgo_lane lane, dgo_job_fn fn, void *arg,
                               struct dgo_strand *name, struct dgo_error *err)
{
    const uint32_t component = id < dgo_component_count() ? id : 0;

    if (!fn || (unsigned)lane >= DGO_LANE_COUNT)
        return dgo_fail(err, DGO_EINVAL, "a strand needs a function and a lane");
    dgo_lock(&table_lock);
    for (uint32_t i = 0; i < DGO_STRAND_MAX; i++) {
        struct rm_strand *strand = &strands[i];
        const uint32_t generation = atomic_load(&strand->generation);
        const uint64_t state = atomic_load(&strand->state);

        /* Kickers first: from then on nobody links it, and who did has been served. */
        if (generation & 1 || (uint32_t)state != CLOSED || atomic_load(&strand->kickers) ||
            atomic_load(&strand->is_linked))
            continue;
        strand->component = component;
        atomic_store(&strand->lane, lane == DGO_LANE_OWN ? rm_component_lane(component) : lane);
        strand->fn = fn;
        strand->arg = arg;
        atomic_store(&strand->due_ns, 0);
        atomic_store(&strand->closing, false);
        atomic_store(&strand->generation, generation + 1);
        atomic_store(&strand->state, rm_ref(rm_generation(state), IDLE));
        *name = (struct dgo_strand){i, generation + 1};
        dgo_unlock(&table_lock);
        return DGO_OK;
    }
    dgo_unlock(&table_lock);
    return dgo_fail(err, DGO_ELIMIT, "%d strands exist already; free one first", DGO_STRAND_MAX);
}

/* Runs it until nobody kicked meanwhile (inline) or once (in a lane); true: it wants another go. */
static bool run(struct rm_thread *self, struct rm_strand *strand)
{
    struct rm_strand *const outer = self->strand;
    struct rm_job *const outer_job = self->job;
    const bool is_timed = ++self->sample % RM_TIMED_OF == 0;
    const uint64_t begun_ns = is_timed ? rm_now_ns() : 0;
    enum dgo_status status = DGO_ECANCELLED;
    uint64_t state;

    self->strand = strand;
    self->job = NULL;
    self->depth++;
    atomic_store(&strand->runner, self);
    if (!atomic_load(&strand->closing))
        status = strand->fn(strand->arg);
    atomic_store(&strand->runner, NULL);
    self->depth--;
    self->job = outer_job;
    self->strand = outer;
    if (is_timed)
        rm_count_run(self, strand->component, rm_now_ns() - begun_ns);
    rm_count(self, strand->component, RM_ACCEPTED);
    rm_count(self, strand->component,
             status == DGO_OK           ? RM_DONE
             : status == DGO_ECANCELLED ? RM_CANCELLED
                                        : RM_FAILED);
    state = atomic_load(&strand->state);
    while (!atomic_compare_exchange_weak(
        &strand->state, &state,
        rm_ref(rm_generation(state), atomic_load(&strand->closing) ? CLOSED : IDLE)))
        ;
    atomic_fetch_add(&strand->ended, 1);
    if (atomic_load(&strand->closing))
        dgo_wake_up(&strand->ended, INT32_MAX);
    return (uint32_t)state == AGAIN;
}

/* Begins the turn that `ref` stands for; false when it is not the strand's turn any more. */
static bool begin(struct rm_strand *strand, uint64_t ref)
{
    uint64_t want = rm_ref(rm_generation(ref), QUEUED);

    return atomic_compare_exchange_strong(&strand->state, &want,
                                          rm_ref(rm_generation(ref), RUNNING));
}

static void kick(struct rm_thread *self, struct rm_strand *strand, enum dgo_level level);

bool rm_strand_run_ref(struct rm_thread *self, uint64_t ref)
{
    struct rm_strand *strand = &strands[(uint32_t)ref & ~RM_TAG_STRAND];

    if (!begin(strand, ref))
        return false;
    if (run(self, strand))
        kick(self, strand, (enum dgo_level)atomic_load(&strand->level));
    return true;
}

/* The turn that waits now, whoever gave it: another kick may have trusted that ours stands in an
 * inbox, which was closed then (push_inbox). */
static uint64_t waiting_turn(struct rm_strand *strand)
{
    return rm_strand_ref((uint32_t)(strand - strands) | RM_TAG_STRAND);
}

static void run_turns(struct rm_thread *self, struct rm_strand *strand)
{
    uint64_t ref = waiting_turn(strand);

    while (begin(strand, ref)) {
        uint64_t state;

        if (!run(self, strand))
            return;
        state = atomic_load(&strand->state);
        if ((uint32_t)state != IDLE)
            return;
        ref = rm_ref(rm_next_generation(rm_generation(state)), 0);
        if (!atomic_compare_exchange_strong(&strand->state, &state,
                                            rm_ref(rm_generation(ref), QUEUED)))
            return; /* somebody else kicked it and looks after it */
    }
}

/* Stop waits for it, where it has not returned yet: counted before the look. */
static void run_in_caller(struct rm_thread *self, struct rm_strand *strand)
{
    const uint32_t epoch = rm_outside_begin();

    if (atomic_load(&rm.phase) == RM_OFF) {
        rm_outside_end(epoch);
        run_turns(self, strand);
        return;
    }
    run_turns(self, strand);
    rm_outside_end(epoch);
}

static uint32_t rank(enum dgo_level level)
{
    static const uint32_t ranks[] = {
        [DGO_LEVEL_LOW] = 0, [DGO_LEVEL_MIDDLE] = 1, [DGO_LEVEL_HIGH] = 2};

    return ranks[level];
}

/* It waits at a lower level than this kick wants: a second reference to the same turn goes to the
 * higher one, and whichever is taken first counts. */
static void raise_level(struct rm_thread *self, struct rm_strand *strand, uint64_t ref,
                        enum dgo_level level)
{
    uint32_t before = atomic_load(&strand->level);

    do
        if (rank(level) <= rank((enum dgo_level)before))
            return;
    while (!atomic_compare_exchange_weak(&strand->level, &before, level));
    rm_lane_raise(&rm.lane[atomic_load(&strand->lane)], self, ref, level);
}

/* Gives it a turn if it has none; true: a new one, which *ref stands for. */
static bool give_turn(struct rm_thread *self, struct rm_strand *strand, enum dgo_level level,
                      uint64_t *ref)
{
    const uint32_t tagged = (uint32_t)(strand - strands) | RM_TAG_STRAND;
    uint64_t state = atomic_load(&strand->state), next;

    do {
        switch ((uint32_t)state) {
        case IDLE:
            next = rm_ref(rm_next_generation(rm_generation(state)), QUEUED);
            break;
        case RUNNING:
            next = rm_ref(rm_generation(state), AGAIN);
            break;
        case QUEUED:
            raise_level(self, strand, rm_ref(rm_generation(state), tagged), level);
            return false;
        default:
            return false; /* it will run once more as it is, or never again */
        }
    } while (!atomic_compare_exchange_weak(&strand->state, &state, next));
    *ref = rm_ref(rm_generation(next), tagged);
    return (uint32_t)next == QUEUED;
}

static void kick(struct rm_thread *self, struct rm_strand *strand, enum dgo_level level)
{
    enum dgo_lane lane = DGO_LANE_COUNT;
    struct rm_dead dead = {0};
    uint64_t ref;

    atomic_fetch_add(&strand->kickers, 1);
    if (give_turn(self, strand, level, &ref)) {
        lane = (enum dgo_lane)atomic_load(&strand->lane);
        atomic_store(&strand->level, level);
        if (atomic_load(&rm.phase) == RM_OFF ||
            (rm_lane_push(&rm.lane[lane], self, ref, level, RM_PLACE_ADD, &dead) != RM_PUSHED &&
             !rm_lane_push_late(&rm.lane[lane], waiting_turn(strand)))) {
            run_in_caller(self, strand); /* a kick is a promise */
            lane = DGO_LANE_COUNT;
        }
    }
    atomic_fetch_sub(&strand->kickers, 1);
    rm_end_dead(self, &dead);
    if (lane != DGO_LANE_COUNT)
        rm_submitted(self, lane);
}

void dgo_strand_kick(struct dgo_strand name, enum dgo_level level)
{
    struct rm_strand *strand = find(name);

    if (strand && (unsigned)level < DGO_LEVEL_COUNT && !atomic_load(&strand->closing))
        kick(rm_thread(), strand, level);
}

/* Whether that is the time it waits for: the kick of an earlier time took a later one's place. */
bool rm_strand_is_due_at(uint32_t index, uint64_t due_ns)
{
    return atomic_load(&strands[index].due_ns) == due_ns;
}

/* Also for a strand that is not the one it was: one run too many is better than one too few. */
void rm_strand_due(uint32_t index, uint64_t due_ns)
{
    struct rm_strand *strand = &strands[index];

    if (atomic_compare_exchange_strong(&strand->due_ns, &due_ns, 0))
        kick(rm_thread(), strand, DGO_LEVEL_MIDDLE);
}

void dgo_strand_kick_after(struct dgo_strand name, uint64_t delay_ns)
{
    struct rm_strand *strand = find(name);
    const uint64_t due_ns = rm_time_after(rm_now_ns(), delay_ns);
    const uint32_t phase = atomic_load(&rm.phase);
    uint64_t before;

    if (!strand || atomic_load(&strand->closing))
        return;
    if (phase == RM_OFF || phase == RM_CLOSING || delay_ns == 0) {
        /* Nobody keeps the time.  A strand that kicks itself again and again ends here. */
        if (delay_ns == 0 || atomic_load(&strand->runner) != rm_thread())
            dgo_strand_kick(name, DGO_LEVEL_MIDDLE);
        return;
    }
    before = atomic_load(&strand->due_ns);
    do
        if (before != 0 && before <= due_ns)
            return; /* the heap has an earlier one */
    while (!atomic_compare_exchange_weak(&strand->due_ns, &before, due_ns));
    if (rm_delay_add(rm_ref(name.generation, name.index | RM_TAG_STRAND), due_ns) != RM_PUSHED) {
        atomic_store(&strand->due_ns, 0); /* no room for waiting: now is the next best time */
        kick(rm_thread(), strand, DGO_LEVEL_MIDDLE);
    }
}

/* Until nobody runs it any more and nobody will. */
static void close_it(struct rm_thread *self, struct rm_strand *strand)
{
    for (;;) {
        uint64_t state = atomic_load(&strand->state);
        const uint32_t seen = atomic_load(&strand->ended);

        if ((uint32_t)state == CLOSED || atomic_load(&strand->runner) == self)
            return; /* inside fn: the end of the run closes it */
        if ((uint32_t)state == IDLE || (uint32_t)state == QUEUED) {
            if (atomic_compare_exchange_strong(&strand->state, &state,
                                               rm_ref(rm_generation(state), CLOSED)))
                return;
            continue;
        }
        if (self->worker)
            rm_worker_block(self->worker);
        if ((uint32_t)atomic_load(&strand->state) >= RUNNING)
            dgo_sleep_on(&strand->ended, seen, UINT64_MAX);
        if (self->worker)
            rm_worker_unblock(self->worker);
    }
}

void dgo_strand_free(struct dgo_strand name)
{
    struct rm_strand *strand = find(name);

    if (!strand)
        return;
    atomic_fetch_add(&strand->kickers, 1); /* the place stays this strand's until we have left it */
    if (find(name) == strand && !atomic_exchange(&strand->closing, true)) {
        atomic_fetch_add(&strand->generation, 1);
        atomic_store(&strand->due_ns, 0);
        close_it(rm_thread(), strand);
    }
    atomic_fetch_sub(&strand->kickers, 1);
}

/* Nobody queues, kicks or frees it here; who runs it is this thread, or nobody. */
static void forget(const struct rm_thread *self, struct rm_strand *strand)
{
    const uint32_t generation = atomic_load(&strand->generation);
    const uint64_t state = atomic_load(&strand->state);
    bool is_whole;

    atomic_store(&strand->due_ns, 0); /* the heap was the parent's */
    atomic_store(&strand->is_linked, false);
    if (atomic_load(&strand->runner) == self)
        return;
    atomic_store(&strand->runner, NULL);
    atomic_store(&strand->kickers, 0);
    is_whole = generation & 1 && (uint32_t)state != CLOSED && !atomic_load(&strand->closing);
    atomic_store(&strand->state, rm_ref(rm_generation(state), is_whole ? IDLE : CLOSED));
    if (!is_whole && generation & 1) /* half made */
        atomic_store(&strand->generation, generation + 1);
}

/* After fork: what ran in other threads will never end here. */
void rm_strands_forget(void)
{
    const struct rm_thread *self = rm_thread();

    atomic_store(&table_lock.word, 0);
    for (uint32_t i = 0; i < DGO_STRAND_MAX; i++)
        forget(self, &strands[i]);
}
