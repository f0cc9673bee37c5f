/* doze.pml - workers that sleep for a moment by themselves instead of being woken: nobody is
 * forgotten, and a job behind a stuck worker is found.
 *
 * mirrors src/resource/rm_worker.c: doze sleep_ns rest look_again stand_up work run_batch
 *     rm_lane_wake may_run_one_more rm_worker_main
 * mirrors src/resource/rm_threads.c: rm_worker_block rm_worker_share rm_lane_join
 * mirrors src/resource/rm_keeper.c: watch_worker is_anything_on tick rm_keeper_arm
 * mirrors src/resource/rm_lane.c: rm_lane_push rm_lane_close
 * mirrors src/resource/rm_take.c: rm_lane_take rm_lane_return
 *
 * A doze may end at any step; how often one is begun stands for time (0.3 to 1.2 ms each). The
 * keeper's tick stands still where it would change nothing, and never wakes a lane just to be sure
 * (watch_lane does), so nothing depends on that.
 *
 * Leaves out: the inbox, the store buffer and threads of the idle class (lane_wake.pml), how an entry
 * is begun or shared (hand.pml: one step here), making threads, and job times: whether a job is
 * tiny, and whether a worker wakes the next for what it leaves, is free choice.
 *
 * The laws. Where nothing can move any more: every accepted job has ended, and nobody sleeps with a
 * job in the queue or in a stuck worker's hand. Always: when a worker begins to doze, not all others
 * doze; it looks for work between two dozes, and dozes at most once while nobody takes a job (both but
 * in `blocked`, where one too many rests first); who has a job in hand counts as busy. And nobody
 * goes on for ever: under weak fairness all come to rest, so each job is begun at some time.
 *
 * run two: WORKERS=2 ALLOWED=2 JOBS=2
 * run three: WORKERS=3 ALLOWED=3 JOBS=1
 * run stuck: WORKERS=2 ALLOWED=2 JOBS=2 STUCK=1 REFUSED=1
 * run blocked: WORKERS=2 ALLOWED=1 JOBS=2 STUCK=1 REFUSED=1 LENT=1
 * run stop: WORKERS=2 ALLOWED=2 JOBS=1 STOP=1
 *
 * fair two: mutant 1
 * fair stop: mutant 1
 *
 * mutant 1 two: a worker dozes although nothing was taken since it dozed last
 * mutant 2 two: it looks whether one is awake before it counts itself
 * mutant 3 two: after a doze it rests without having looked for work
 * mutant 4 two: a worker that has dozed does not look again after it announced its sleep
 * mutant 5 stuck: a push wakes nobody while one is at work
 * mutant 6 two: it dozes without a time limit
 * mutant 7 stop: it looks whether the end has come before it clears its word
 * mutant 8 stuck: the keeper tries only once to take what a stuck worker has in hand
 * mutant 9 blocked: the keeper goes to sleep while a blocked worker has something in hand
 * mutant 10 stuck: what the keeper puts back wakes nobody
 * mutant 11 two: a worker stops counting as dozing only when it has taken work */
#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef STUCK
#define STUCK 0
#endif
#ifndef REFUSED
#define REFUSED 0 /* times that the lane's lock is not to be had for what is put back */
#endif
#ifndef LENT
#define LENT 0 /* the keeper finds the stuck worker blocked; a worker can be one too many */
#endif
#ifndef STOP
#define STOP 0
#endif
#define BATCH 2
#define BIT(n) (1 << (n))

byte queue, taken;
byte idle_mask, at_work = WORKERS, dozing, blocked;
bool waking, armed = 1, closing, closed, is_stopped;
bool park[WORKERS], is_stuck[WORKERS], lent[WORKERS], has_ended[WORKERS];
byte hand[WORKERS];
byte begun, done, accepted, finished, refused;

/* Only for the laws. */
byte in_doze;             /* asleep in one */
bool has_passed[WORKERS]; /* dozed since it looked for work */
byte fresh;               /* for whom something was taken since it dozed last, a bit each */

#define MAY_RUN_ONE_MORE (at_work < ALLOWED + blocked)

/* rm_lane_wake; which sleeper pick_idle ends up with is free choice. */
inline release(n)
{
    atomic { idle_mask >> (n) & 1 -> idle_mask = idle_mask & ~BIT(n) };
    atomic { at_work++; park[n] = 1 }
}

inline wake()
{
    do
    :: atomic { idle_mask == 0 -> break }
    :: atomic { idle_mask != 0 };
       if
       :: atomic { !MAY_RUN_ONE_MORE -> break }
       :: atomic { MAY_RUN_ONE_MORE }
       fi;
       if
       :: atomic { waking -> break }
       :: atomic { !waking -> waking = 1 }
       fi;
       if
       :: release(0); break
       :: release(1); break
#if WORKERS > 2
       :: release(2); break
#endif
       :: atomic { idle_mask == 0 -> waking = 0 };
          if
          :: atomic { queue == 0 -> break }
          :: atomic { queue > 0 }
          fi
       fi
    od
}

/* ---- a worker ---- */

/* sleep_ns: the end of the manager wakes it; else only the time, which may be over at once. A stop
 * waits for no doze, so time does not pass then. */
inline sleep_for_a_moment()
{
#if !STOP
#if MUTANT == 6
    false
#else
    true
#endif
#else
#if MUTANT == 7
    yes = closing;
    park[me] = 0;
#else
    park[me] = 0;
    yes = closing;
#endif
    if
    :: yes
    :: else ->
        if
        :: park[me]
        :: !closing
        fi
    fi
#endif
}

/* A hint, so it is read in one step with what follows. */
inline note_taken()
{
    seen = taken;
#if !LENT
    is_fresh = fresh >> me & 1;
    fresh = fresh & ~BIT(me)
#endif
}

inline doze()
{
#if MUTANT == 2
    atomic { note_taken(); counted = dozing + 1 };
#else
    atomic { note_taken(); dozing++; counted = dozing };
#endif
    atomic {
        yes = counted < at_work;
#if MUTANT == 2
        dozing++;
#endif
#if MUTANT != 1
        yes = yes && seen != seen_taken;
#endif
        seen_taken = seen;
        seen = 0;
        counted = 0;
        if
        :: yes ->
            assert(in_doze + 1 < WORKERS);
#if !LENT
            assert(is_fresh);
            assert(!has_passed[me]);
            has_passed[me] = 1;
#endif
            in_doze++
        :: else
        fi;
        is_fresh = 0
    };
    if
    :: yes ->
        sleep_for_a_moment();
#if MUTANT == 11
        atomic { in_doze--; is_late = 1; yes = 1 }
#else
        atomic { in_doze--; dozing--; yes = 1 }
#endif
    :: atomic { else -> dozing-- };
        yes = queue > 0
    fi
}

inline look_again()
{
    atomic { is_closed = closed; yes = queue > 0 }
}

/* True in `is_out`: the thread ends. */
inline sleep_until_woken()
{
#if STOP
    park[me] = 0;
    idle_mask = idle_mask | BIT(me);
#else
    atomic { park[me] = 0; idle_mask = idle_mask | BIT(me) };
#endif
    at_work--;
#if MUTANT == 4
    if
    :: has_dozed -> yes = 0
    :: else -> look_again()
    fi;
    has_dozed = 0;
#else
    look_again();
#endif
    if
    :: atomic { (yes && MAY_RUN_ONE_MORE) || is_closed -> yes = 0 };
        if
        :: atomic { idle_mask >> me & 1 -> idle_mask = idle_mask & ~BIT(me) };
            at_work++
        :: atomic { !(idle_mask >> me & 1) };
            park[me];
            waking = 0
        fi;
#if STOP
        if
        :: is_closed -> at_work--; is_out = 1
        :: else
        fi
#endif
    :: atomic { else -> yes = 0 };
        park[me];
        waking = 0
    fi
}

inline rest()
{
    if
    :: true -> yes = 0 /* jobs are not tiny */
    :: doze();
#if MUTANT == 4
       has_dozed = 1
#endif
    fi;
    if
    :: atomic {
#if MUTANT == 3
           yes -> is_over = 1; yes = 0
#else
           yes -> yes = 0
#endif
       }
    :: atomic { !yes }; sleep_until_woken()
    fi
}

/* The job that is begun first waits until the others are done, or for the end. */
inline run_batch()
{
    do
    :: atomic { hand[me] == 0 -> break }
    :: atomic { hand[me] > 0 -> hand[me]--; begun++ };
#if STUCK
       if
       :: atomic { begun == 1 && !was_first -> was_first = 1; is_stuck[me] = 1 };
           /* rm_worker_unblock: two steps, but the budget is the hint here. */
           atomic {
               done == JOBS - 1 || closing ->
               is_stuck[me] = 0;
               blocked = blocked - lent[me];
               lent[me] = 0
           }
       :: else
       fi;
#endif
       atomic { done++; assert(done <= JOBS) }
    od
}

inline work()
{
    atomic {
        has_passed[me] = 0;
        hand[me] = (queue < BATCH -> queue : BATCH);
        queue = queue - hand[me];
        taken = taken + hand[me];
#if !LENT
        fresh = (hand[me] > 0 -> BIT(WORKERS) - 1 : fresh);
#endif
        worked = hand[me] > 0
    };
    if
    :: worked ->
        assert(at_work - dozing > 0 || closing);
#if MUTANT == 11
        if
        :: is_late -> dozing--; is_late = 0
        :: else
        fi;
#endif
        if
        :: queue > 0 -> wake()
        :: true
        fi;
        run_batch()
    :: else
    fi
}

#if STUCK
bool was_first;
#endif

proctype worker(byte me)
{
    byte seen, counted, seen_taken;
    bool is_fresh, yes, is_closed, is_out, worked;
#if MUTANT == 3
    bool is_over;
#endif
#if MUTANT == 4
    bool has_dozed;
#endif
#if MUTANT == 11
    bool is_late;
#endif

    do
    :: is_out -> break
    :: else ->
#if LENT
        /* One too many: after a rest it works, whatever the budget is by then. */
        if
        :: atomic { at_work > ALLOWED + blocked }; rest()
        :: atomic { at_work <= ALLOWED + blocked }
        fi;
#endif
        armed = 1;
#if MUTANT == 3
        if
        :: atomic { is_over -> is_over = 0; worked = 0 } /* the look is left out */
        :: atomic { !is_over }; work()
        fi;
#else
        work();
#endif
        if
        :: atomic { !worked }; rest()
        :: atomic { worked -> worked = 0 }
        fi
    od;
    has_ended[me] = 1
}

/* ---- the keeper ---- */

#if STUCK
#if MUTANT == 8
bool is_tried[WORKERS];
#define MAY_TRY(n) !is_tried[n]
#else
#define MAY_TRY(n) true
#endif

/* rm_worker_block, or rm_worker_share alone. */
inline lend(n)
{
#if MUTANT == 8
    is_tried[n] = 1;
#endif
    blocked = blocked + (LENT && !lent[n]);
    lent[n] = LENT
}

inline watch(n)
{
    if
    :: atomic { hand[n] > 0 && is_stuck[n] -> queue = queue + hand[n]; hand[n] = 0 }
    :: atomic { refused < REFUSED -> refused++ } /* the lane's lock was taken */
    :: hand[n] == 0
    :: !is_stuck[n] /* it went on meanwhile */
    fi;
#if MUTANT != 10
    if
    :: atomic { queue > 0 }; wake()
    :: atomic { queue == 0 }
    fi
#endif
}

#define IN_HAND(n) (is_stuck[n] && hand[n] > 0)
#define IS_TO_WATCH(n) (is_stuck[n] && MAY_TRY(n) && (hand[n] > 0 || (LENT && !lent[n] && queue > 0)))
#if MUTANT == 9
#define IS_ANYTHING_ON (queue > 0 || at_work > blocked)
#else
#define IS_ANYTHING_ON (queue > 0 || at_work > blocked || IN_HAND(0) || IN_HAND(1))
#endif

active proctype keeper()
{
    do
    :: atomic { armed && IS_TO_WATCH(0) -> lend(0) }; watch(0)
    :: atomic { armed && IS_TO_WATCH(1) -> lend(1) }; watch(1)
    /* It looks again after it said so: what comes in between is what comes before. */
    :: atomic { armed && !IS_ANYTHING_ON -> armed = 0 }
    od
}
#endif

/* ---- who submits, who stops ---- */

active proctype producer()
{
    byte i;
    bool yes;

    do
    :: i == JOBS -> break
    :: else ->
        i++;
        atomic {
            yes = !closed;
            queue = queue + yes;
            accepted = accepted + yes
        };
        if
#if MUTANT == 5
        :: yes && at_work == dozing -> wake()
#else
        :: yes -> wake()
#endif
        :: else
        fi
    od;
    finished++
}

#if STOP
/* dgo_resource_stop: lanes are closed, what waits is cancelled, workers are joined. */
active proctype stopper()
{
    byte n;

    closing = 1;
    closed = 1;
    atomic { done = done + queue; queue = 0 };
    do
    :: n == WORKERS -> break
    :: else ->
        atomic {
            at_work = at_work + (idle_mask >> n & 1);
            idle_mask = idle_mask & ~BIT(n)
        };
        park[n] = 1;
        has_ended[n];
        n++
    od;
    is_stopped = 1
}
#endif

active proctype law()
{
    timeout;
    assert(finished == 1);
    assert(done == accepted && queue == 0 && dozing == 0);
#if STOP
    assert(is_stopped)
#else
    assert(accepted == JOBS && at_work == 0 && blocked == 0)
#endif
}

init
{
    byte i;

    atomic {
        do
        :: i == WORKERS -> break
        :: else -> run worker(i); i++
        od
    }
}
