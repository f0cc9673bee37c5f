/* shutdown.pml - stop in the middle of it: what was accepted ends, then nothing runs, nobody hangs.
 *
 * mirrors src/resource/rm_manager.c: dgo_resource_stop cancel_waiting join_threads
 * mirrors src/resource/rm_manager.c: wait_for_outsiders
 * mirrors src/resource/rm_lane.c: rm_lane_close push_locked push_inbox rm_lane_push_late
 *     rm_lane_seal
 * mirrors src/resource/rm_take.c: rm_lane_take
 * mirrors src/resource/rm_strand.c: kick run_in_caller
 * mirrors src/resource/rm_shard.c: rm_shard_push rm_shards_close
 * mirrors src/resource/rm_worker.c: run_batch look_again rest rm_run_here
 * mirrors src/resource/rm_threads.c: rm_lane_spawn rm_lane_join
 * mirrors src/resource/rm_submit.c: dgo_submit accept_one take_back
 * mirrors src/resource/rm_wait.c: dgo_wait claim_and_run
 * mirrors src/resource/rm_delay.c: rm_delay_add rm_delay_close start
 * mirrors src/resource/rm_ui.c: dgo_resource_ui_drain
 *
 * Leaves out: draining (a wait before the part shown here), the throttle of wakes
 * (lane_wake.pml: here every push wakes somebody), batches of more than one, strands
 * (strand.pml; here, in `late`, only that a turn is taken by the closed UI lane until that is sealed,
 * and then run by its kicker) and callbacks. What happens under a lane's lock is one step.
 *
 * The law: accepted = done + cancelled when stop has returned; after it no job begins or goes
 * on and no thread is alive; stop, submitters and waiters always come back.
 *
 * run lane: SUBMITTERS=2 EACH=1 WORKERS=2
 * run more: SUBMITTERS=1 EACH=3 WORKERS=2
 * run wait: SUBMITTERS=2 EACH=1 WORKERS=1 WAIT=1
 * run ui: SUBMITTERS=2 EACH=1 WORKERS=0 UI=1
 * run late: SUBMITTERS=0 EACH=1 WORKERS=0 UI=1 LATE=2
 * run delay: SUBMITTERS=2 EACH=1 WORKERS=1 DELAY=1
 * run spawn: SUBMITTERS=2 EACH=1 WORKERS=2 SPAWN=1
 *
 * mutant 1 lane: a push looks at the phase at its beginning only, not at the lane under its lock
 * mutant 2 lane: closing a lane leaves its inbox open
 * mutant 3 lane: stop cancels what waits before it closes the lanes
 * mutant 4 lane: a worker's second look does not tell it that the lane is closed
 * mutant 5 lane: a worker ends as soon as the phase says so, with a job in its hand
 * mutant 6 wait: a waiter is counted after it has claimed its job
 * mutant 7 wait: stop does not wait for waiters
 * mutant 8 ui: who drains a lane without being one of its workers is not counted
 * mutant 9 delay: what waits for its time is cleared but may still be added to
 * mutant 10 spawn: a thread may be made in every phase but while closing
 * mutant 11 late: the UI lane is sealed whatever was taken from it since the last look outside
 * mutant 12 late: a kicker that runs its strand itself is not counted
 * mutant 13 late: who began before the phase was off is not waited for after it */
#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef WAIT
#define WAIT 0
#endif
#ifndef UI
#define UI 0
#endif
#ifndef DELAY
#define DELAY 0
#endif
#ifndef SPAWN
#define SPAWN 0
#endif
#ifndef LATE
#define LATE 0
#endif
#define JOBS (SUBMITTERS * EACH + LATE)
#define BIT(n) (1 << (n))

mtype = { NONE, PENDING, RUNNING, ENDED };
mtype = { ON, CLOSING, OFF };

mtype job[JOBS] = NONE;
mtype phase = ON;
bool stopped;

chan ring = [JOBS] of { byte };
chan inbox = [JOBS] of { byte };
chan heap = [JOBS] of { byte };
bool closed, inbox_closed, heap_closed;
bool takes_late = LATE > 0;

byte idle_mask;
bool park[3], alive[3];
bool spawn_lock;
bool keeper_stops, keeper_there = DELAY;
byte outside; /* jobs that others than workers run */

byte accepted, done, cancelled;
byte finished;

inline claim(number, is_claimed)
{
    atomic {
        is_claimed = job[number] == PENDING;
        if
        :: is_claimed -> job[number] = RUNNING
        :: else
        fi
    }
}

inline run_claimed(number)
{
    assert(!stopped);
    atomic { assert(!stopped && job[number] == RUNNING); job[number] = ENDED; done++ }
}

inline cancel(number)
{
    claim(number, is_ok);
    if
    :: is_ok -> atomic { job[number] = ENDED; cancelled++; is_ok = 0 }
    :: else
    fi
}

/* In an atomic: who has the lock. */
inline empty_inbox()
{
    do
    :: inbox?moved -> ring!moved
    :: empty(inbox) -> break
    od;
    moved = 0
}

inline take(number, is_taken)
{
    atomic {
        empty_inbox();
        if
        :: ring?number -> is_taken = 1
        :: empty(ring) -> is_taken = 0
        fi
    }
}

inline push(number, is_pushed)
{
    if
    :: atomic { /* the lock was free */
#if MUTANT == 1
           is_pushed = 1;
#else
           is_pushed = !closed;
#endif
           if
           :: is_pushed -> empty_inbox(); ring!number
           :: else
           fi
       }
    :: atomic { /* it was not */
#if MUTANT == 1 || MUTANT == 2
           is_pushed = 1;
#else
           is_pushed = !inbox_closed;
#endif
           if
           :: is_pushed -> inbox!number
           :: else
           fi
       }
    fi
}

inline spawn()
{
    atomic { is_ok = !spawn_lock; spawn_lock = 1 };
    if
    :: is_ok ->
#if MUTANT == 10
        is_ok = phase != CLOSING;
#else
        is_ok = phase == ON;
#endif
        atomic {
            if
            :: is_ok && !alive[1] -> assert(!stopped); alive[1] = 1; run worker(1)
            :: else
            fi;
            spawn_lock = 0
        }
    :: else
    fi
}

inline wake()
{
    atomic {
        if
        :: idle_mask & 1 -> idle_mask = idle_mask & ~1; woken = 0
        :: idle_mask & 2 -> idle_mask = idle_mask & ~2; woken = 1
        :: idle_mask == 0 -> woken = 2
        fi
    };
    if
    :: woken < 2 -> park[woken] = 1
#if SPAWN
    :: woken == 2 -> spawn()
#else
    :: else
#endif
    fi
}

proctype worker(byte me)
{
    byte number, moved, woken;
    bool is_ok, is_closed;

    do
    :: take(number, is_ok);
       if
       :: is_ok && phase == CLOSING ->
#if MUTANT == 5
           break
#else
           cancel(number)
#endif
       :: is_ok && phase != CLOSING ->
           claim(number, is_ok);
           if
           :: is_ok -> run_claimed(number)
           :: else
           fi
       :: !is_ok -> /* rest */
           atomic { park[me] = 0; idle_mask = idle_mask | BIT(me) };
           atomic {
#if MUTANT != 4
               is_closed = closed;
#endif
               is_ok = nempty(ring) || nempty(inbox)
           };
           if
           :: is_ok || is_closed ->
               atomic { is_ok = idle_mask >> me & 1; idle_mask = idle_mask & ~BIT(me) };
               if
               :: !is_ok -> park[me]
               :: else
               fi
           :: else -> park[me]
           fi;
           if
           :: is_closed -> break
           :: else
           fi
       fi;
       atomic { number = 0; is_ok = 0 }
    od;
    alive[me] = 0
}

/* dgo_submit, and dgo_wait for what it gave. */
proctype submitter(byte first)
{
    byte number = first, moved, woken;
    bool is_ok;

    do
    :: number == first + EACH -> break
    :: else ->
        if
        :: phase == ON ->
            job[number] = PENDING;
#if DELAY
            atomic {
                is_ok = !heap_closed;
                if
                :: is_ok -> heap!number; accepted++
                :: else
                fi
            };
#else
            accepted++; /* counted first here, so that the law can look at any time */
            push(number, is_ok);
            if
            :: !is_ok -> accepted--
            :: else
            fi;
#endif
            if
            :: is_ok ->
#if !DELAY
                wake();
#endif
#if WAIT
#if MUTANT == 6
                claim(number, is_ok);
                if
                :: is_ok -> outside++; run_claimed(number); outside--
                :: else
                fi;
#else
                outside++;
                claim(number, is_ok);
                if
                :: is_ok -> run_claimed(number)
                :: else
                fi;
                outside--;
#endif
#endif
#if WAIT || DELAY
                job[number] == ENDED
#endif
            :: else -> job[number] = NONE
            fi
        :: else
        fi;
        atomic { is_ok = 0; woken = 0; number++ }
    od;
    finished++
}

/* Runs jobs, and stop does not join it. */
proctype ui()
{
    byte number, moved, looks;
    bool is_ok;

    do
    :: looks == 3 -> break
    :: else ->
        looks++;
#if MUTANT != 8
        outside++;
#endif
        take(number, is_ok);
        if
        :: is_ok ->
            claim(number, is_ok);
            if
            :: is_ok -> run_claimed(number)
            :: else
            fi
        :: else
        fi;
#if MUTANT != 8
        outside--;
#endif
        atomic { number = 0; is_ok = 0 }
    od;
    finished++
}

#if LATE
/* A strand of the UI lane; its turn is a job here. */
proctype kicker(byte number)
{
    bool is_ok;

    job[number] = PENDING;
    accepted++;
    atomic { /* rm_lane_push, or rm_lane_push_late */
        is_ok = !closed || takes_late;
        if
        :: is_ok -> ring!number
        :: else
        fi
    };
    if
    :: is_ok
    :: else ->
#if MUTANT != 12
        outside++;
#endif
        if
        :: phase == OFF -> /* in its caller, on its own */
#if MUTANT != 12
            outside--;
#endif
            atomic { job[number] = ENDED; done++ }
        :: else ->
            job[number] = RUNNING;
            run_claimed(number);
#if MUTANT != 12
            outside--
#endif
        fi
    fi;
    finished++
}
#endif

#if DELAY
proctype keeper()
{
    byte number, moved, woken;
    bool is_ok;

    do
    :: heap?number ->
        push(number, is_ok);
        if
        :: is_ok -> wake()
        :: else -> cancel(number)
        fi;
        atomic { number = 0; woken = 0; is_ok = 0 }
    :: keeper_stops -> break
    od;
    keeper_there = 0
}
#endif

inline close_lane()
{
    atomic { closed = 1; empty_inbox() };
    atomic { /* a compare-and-swap of the empty inbox, until it is empty */
        empty_inbox();
        inbox_closed = 1
    }
}

inline cancel_waiting()
{
#if DELAY
    do
    :: heap?number -> cancel(number)
#if MUTANT == 9
    :: empty(heap) -> break
#else
    :: atomic { empty(heap) -> heap_closed = 1; break }
#endif
    od;
#endif
    do
    :: take(number, is_ok);
       if
       :: is_ok -> cancel(number)
       :: else -> break
       fi
    od;
    atomic { number = 0; is_ok = 0 }
}

proctype stopper()
{
    byte number, moved, i;
    bool is_ok;

    phase = CLOSING;
#if MUTANT == 3
    cancel_waiting();
    close_lane();
#else
    close_lane();
    cancel_waiting();
#endif
#if DELAY
    keeper_stops = 1;
    !keeper_there;
#endif
    atomic { !spawn_lock -> spawn_lock = 1 };
    do
    :: i == WORKERS -> break
    :: else ->
        if
        :: alive[i] ->
            idle_mask = idle_mask & ~BIT(i);
            park[i] = 1;
            !alive[i]
        :: else
        fi;
        i++
    od;
    spawn_lock = 0;
#if MUTANT != 3
    cancel_waiting();
#endif
#if LATE
    do
    :: outside == 0;
       cancel_waiting();
       atomic { /* rm_lane_seal */
           if
#if MUTANT == 11
           :: takes_late = 0; break
#else
           :: empty(ring) && outside == 0 -> takes_late = 0; break
           :: nempty(ring) || outside > 0
#endif
           fi
       }
    od;
#if MUTANT == 11
    cancel_waiting();
#endif
#elif MUTANT != 7
    outside == 0;
#endif
    phase = OFF;
#if LATE && MUTANT != 11 && MUTANT != 13
    outside == 0;
#endif
    atomic {
        stopped = 1;
        assert(!alive[0] && !alive[1])
    };
    finished++
}

active proctype law()
{
    timeout;
    assert(finished == SUBMITTERS + 1 + UI + LATE);
    assert(stopped && !alive[0] && !alive[1]);
    assert(accepted == done + cancelled);
    assert(outside == 0 && !spawn_lock)
}

init
{
    byte i;

    atomic {
        do
        :: i == WORKERS - SPAWN -> break
        :: else -> alive[i] = 1; run worker(i); i++
        od;
        i = 0;
        do
        :: i == SUBMITTERS -> break
        :: else -> run submitter(i * EACH); i++
        od;
#if UI
        run ui();
#endif
#if LATE
        run kicker(SUBMITTERS * EACH);
        run kicker(SUBMITTERS * EACH + 1);
#endif
#if DELAY
        run keeper();
#endif
        run stopper()
    }
}
