/* lane_wake.pml - no wake-up of a lane is lost, and nobody waits for a waker that was put aside.
 *
 * mirrors src/resource/rm_worker.c: rm_lane_has_work may_run_one_more release pick_idle
 *     rm_lane_wake look_again stand_up rest gather work rm_worker_main
 * mirrors src/resource/rm_threads.c: rm_worker_block rm_worker_unblock
 * mirrors src/resource/rm_lane.c: rm_lane_push push_locked push_inbox empty_inbox
 * mirrors src/resource/rm_take.c: rm_lane_take
 * mirrors src/resource/rm_shard.c: rm_shard_push rm_shards_have_work rm_shards_move
 *
 * A shard is an inbox of one thread: published by one locked instruction, emptied with the lock. So
 * `inbox` stands for both, and a push that takes the lock for one with a key or without room.
 *
 * Leaves out: what a job is (numbers of jobs stand for them; wait_claim.pml has their life),
 * levels, keys and bounds, spinning (it only makes sleep rarer), closing (shutdown.pml), spare
 * threads that leave, and the keeper's tick: nothing may depend on it. Whether a worker that
 * leaves work behind wakes the next is a guess of job times in the source and free choice here.
 * Memory is sequentially consistent, as the source accesses all words but ring_count and the
 * lock; for these two, TSO=1 adds the pusher's store buffer (x86).
 *
 * The law, where nothing can move any more: every pushed job was done, once.
 *
 * run two: WORKERS=2 ALLOWED=2 PRODUCERS=2 EACH=1
 * run deep: WORKERS=2 ALLOWED=2 PRODUCERS=1 EACH=3
 * run one: WORKERS=1 ALLOWED=1 PRODUCERS=2 EACH=2 TSO=1
 * run budget: WORKERS=2 ALLOWED=1 PRODUCERS=2 EACH=1 BATCH=1
 * run nested: WORKERS=2 ALLOWED=1 PRODUCERS=1 EACH=2 BATCH=1 NESTED=1 TSO=1
 * run stall: WORKERS=1 ALLOWED=1 PRODUCERS=1 EACH=1 STALL=1
 *
 * mutant 1 one: the worker does not look again after it announced its sleep
 * mutant 2 one: it announces its sleep after it looked again
 * mutant 3 one: a woken worker clears `waking` after its next second look, not before it works
 * mutant 4 one: a push to the inbox leaves the wake to whoever holds the lock
 * mutant 5 one: a waker that found no sleeper clears `waking` and does not look again
 * mutant 6 one: a worker that is woken while it stands up leaves `waking` set
 * mutant 7 one: the pusher looks for sleepers before it pushes
 * mutant 8 budget: a worker is counted as active until after its second look
 * mutant 9 nested: a worker that blocks looks for work before it counts as blocked
 * mutant 10 stall: a thread of the idle class wakes by itself
 * mutant 11 nested: a worker that blocks looks for work without the lock
 * mutant 12 one: a waker that found no sleeper looks again without the lock */
#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef BATCH
#define BATCH 2
#endif
#ifndef NESTED
#define NESTED 0
#endif
#ifndef TSO
#define TSO 0
#endif
#ifndef STALL
#define STALL 0
#endif
#define JOBS (PRODUCERS * EACH + STALL)
#define NOBODY 255
#define BIT(n) (1 << (n))

bool lock;
byte ring, inbox;       /* jobs behind the lock, and in front of it */
byte idle_mask;         /* who announced its sleep */
bool waking;            /* a wake is on its way */
byte at_work = WORKERS; /* lane->active */
byte blocked;           /* at work, but in a job that waits */
bool park[WORKERS];     /* futex words: go */
byte done, begun;
bool asked; /* of the keeper: to wake the lane */

/* The lock is given back by a plain store.  On TSO that and the new length of the ring stay for a
 * while in the pusher's store buffer; its loads overtake them, its locked instructions do not. */
byte stored, storer;
#define IS_DRAINED (!TSO || !stored || storer != _pid)

/* Each atomic has one access that others can tell apart; taking the lock joins what follows it,
 * giving it back what precedes it. */
inline take_lock_and_inbox()
{
    atomic { !lock -> lock = 1; moved = inbox; inbox = 0 }
}

/* Two loads, and between them somebody may move jobs from the inbox to the ring. */
inline has_work(yes)
{
    yes = ring != 0;
    atomic {
        if
        :: !yes -> yes = inbox != 0
        :: else
        fi
    }
}

/* With the lock nobody can be in the middle of it, and what others have stored is there. */
inline has_work_locked(yes)
{
    atomic { !lock -> lock = 1; yes = ring != 0 };
    atomic { yes = yes || inbox; lock = 0 }
}

/* The lock was free, or it was not (or the thread must not hold it). */
inline push(is_locked)
{
    if
    :: take_lock_and_inbox();
#if TSO
       atomic { stored = moved + 1; storer = _pid; moved = 0; is_locked = 1 }
#else
       atomic { ring = ring + moved + 1; moved = 0; is_locked = 1; lock = 0 }
#endif
    :: atomic { IS_DRAINED -> inbox++; is_locked = 0 }
    fi
}

inline may_run_one_more(yes)
{
#if NESTED
    was_at_work = at_work;
    atomic { yes = was_at_work < ALLOWED + blocked; was_at_work = 0 }
#else
    yes = at_work < ALLOWED
#endif
}

/* Whichever sleeper the loop in the source ends up with; nobody: the mask was empty in the end. */
inline pick_idle()
{
    atomic {
        IS_DRAINED;
        if
        :: idle_mask & 1 -> picked = 0
        :: idle_mask & 2 -> picked = 1
        :: !idle_mask -> picked = NOBODY
        fi;
        if
        :: picked != NOBODY -> idle_mask = idle_mask & ~BIT(picked)
        :: else
        fi
    }
}

inline wake()
{
    do
    :: idle_mask == 0 -> break
    :: else ->
        may_run_one_more(yes);
        if
        :: !yes -> break
        :: else
        fi;
#if TSO
        if
        :: waking -> break
        :: else
        fi;
#endif
        atomic { IS_DRAINED -> yes = waking; waking = 1 };
        if
        :: yes -> break
        :: else
        fi;
        pick_idle();
        if
        :: picked != NOBODY -> at_work++; park[picked] = 1; break
        :: else ->
            waking = 0;
#if MUTANT == 5
            break
#else
            /* Others may have trusted the flag meanwhile. */
#if MUTANT == 12
            has_work(yes);
#else
            has_work_locked(yes);
#endif
            if
            :: !yes -> break
            :: else
            fi
#endif
        fi
    od;
    atomic { yes = 0; picked = 0 }
}

inline sleep_until_woken()
{
#if MUTANT == 3
    waking = 0;
#endif
    park[me];
#if MUTANT != 3
    waking = 0
#endif
}

inline stand_up()
{
    atomic { yes = idle_mask >> me & 1; idle_mask = idle_mask & ~BIT(me) };
    if
    :: yes -> at_work++
    :: else ->
        park[me];
#if MUTANT != 6
        waking = 0
#endif
    fi
}

inline announce()
{
    atomic { park[me] = 0; idle_mask = idle_mask | BIT(me) }
}

inline rest()
{
#if MUTANT != 2
    announce();
#endif
#if MUTANT != 8
    at_work--;
#endif
#if MUTANT == 1
    yes = 0;
#else
    has_work_locked(yes);
    if
    :: yes -> may_run_one_more(yes)
    :: else
    fi;
#endif
#if MUTANT == 2
    announce();
#endif
#if MUTANT == 8
    at_work--;
#endif
    if
    :: yes -> stand_up()
    :: else -> sleep_until_woken()
    fi
}

#if NESTED
/* The job that is begun first waits until all others are done. */
inline wait_for_the_others()
{
#if MUTANT == 9
    has_work_locked(yes);
    blocked++;
#elif MUTANT == 11
    blocked++;
    has_work(yes);
#else
    blocked++;
    has_work_locked(yes);
#endif
    if
    :: yes -> wake()
    :: else
    fi;
    done == JOBS - 1;
    blocked--
}
#endif

inline run_batch()
{
#if NESTED
    do
    :: batch == 0 -> break
    :: else ->
        atomic { begun++; is_first = begun == 1 };
        if
        :: is_first -> is_first = 0; wait_for_the_others()
        :: else
        fi;
        atomic { batch--; done++ }
    od
#else
    atomic { done = done + batch; batch = 0 }
#endif
    assert(done <= JOBS)
}

inline work()
{
    has_work(yes);
    if
    :: yes ->
        take_lock_and_inbox();
        atomic {
            batch = (ring + moved < BATCH -> ring + moved : BATCH);
            ring = ring + moved - batch;
            moved = 0;
            lock = 0;
            worked = batch > 0
        };
        if
        :: worked -> wake() /* for what is left, or not: a guess */
        :: true
        fi;
        run_batch()
    :: else
    fi
}

proctype worker(byte me)
{
    byte batch, moved, picked;
    bool yes, worked, is_over;
#if NESTED
    byte was_at_work;
    bool is_first;
#endif

    do
    :: atomic {
           /* After a rest it works, whatever the budget is by then. */
           is_over = !is_over && at_work > ALLOWED + blocked;
           worked = 0;
           yes = 0
       };
       if
       :: !is_over -> work()
       :: else
       fi;
       if
       :: !worked -> rest()
       :: else
       fi
    od
}

byte finished;

proctype producer()
{
    byte moved, picked, i;
    bool yes;
#if NESTED
    byte was_at_work;
#endif

    do
    :: i == EACH -> break
    :: else ->
        i++;
#if MUTANT == 7
        wake();
        push(yes)
#else
        push(yes);
#if MUTANT == 4
        if
        :: yes -> wake()
        :: else -> yes = 0
        fi
#else
        wake()
#endif
#endif
    od;
    finished++
}

#if STALL
/* In front of each of its steps the scheduler may put a thread of the idle class aside for good. */
inline may_stall()
{
    if
    :: true
    :: false
    :: stalled = 1; false
    fi
}

bool stalled, its_job;

proctype idle_class_producer()
{
#if MUTANT == 10
    bool yes;
#endif

    may_stall();
    atomic { inbox++; its_job = 1 };
    may_stall();
#if MUTANT == 10
    if
    :: idle_mask == 0
    :: else ->
        atomic { yes = waking; waking = 1 };
        may_stall();
        if
        :: yes
        :: else ->
            atomic { yes = idle_mask & 1; idle_mask = 0 };
            may_stall();
            if
            :: yes -> at_work++; may_stall(); park[0] = 1
            :: else -> waking = 0
            fi
        fi
    fi
#else
    asked = 1 /* rm_keeper_poke: the keeper's class is the ordinary one */
#endif
}

proctype keeper()
{
    byte picked;
    bool yes;

    do
    :: atomic { asked -> asked = 0 };
       wake()
    od
}
#endif

#if TSO
active proctype memory()
{
    do
    :: atomic { stored -> ring = ring + stored; stored = 0; storer = 0; lock = 0 }
    od
}
#endif

active proctype law()
{
    timeout;
    assert(finished == PRODUCERS);
    assert(!lock);
#if STALL
    assert(done >= PRODUCERS * EACH);
    assert(done == JOBS || stalled)
#else
    assert(done == JOBS && ring + inbox == 0)
#endif
}

init
{
    byte i;

    atomic {
        do
        :: i == WORKERS -> break
        :: else -> run worker(i); i++
        od;
        i = 0;
        do
        :: i == PRODUCERS -> break
        :: else -> run producer(); i++
        od;
#if STALL
        run idle_class_producer();
        run keeper()
#endif
    }
}
