/* wait_claim.pml - a job ends once, its waiters hear of it, its slot is given back once.
 *
 * mirrors src/resource/rm_job.c: rm_job_claim rm_job_run rm_job_end rm_job_release rm_run_entry
 * mirrors src/resource/rm_wait.c: dgo_wait sleep_on let_go dgo_future_forget dgo_cancel
 * mirrors src/resource/rm_slot.c: rm_slot_take rm_slot_give rm_job_find
 * mirrors src/resource/rm_submit.c: fill
 *
 * One slot and the two jobs that live in it one after the other. References to the first
 * outlive it: one is in a queue, others are copies (a batch that was given back). RM_LINKED
 * stands for an inbox or a key table that has to let the slot go.
 *
 * Leaves out: deadlines (to expire is a claim, as to cancel is), timeouts, callbacks on another
 * lane (they keep RM_BUSY longer), groups, and the UI thread's patience. Memory is sequentially
 * consistent; the slot's fields are touched between a claim and the end only, which is checked.
 *
 * The law, where nothing can move any more: every job ended once, everybody who waited has come
 * back, with the end of his job or knowing that it is gone, and the slot was given back once a
 * job.
 *
 * run one: WAITERS=1 REFERENCES=2 INBOX=1 CANCEL_IT=1 FORGET_IT=0
 * run two: WAITERS=2 REFERENCES=1 INBOX=0 CANCEL_IT=0 FORGET_IT=0
 * run forgotten: WAITERS=1 REFERENCES=1 INBOX=0 CANCEL_IT=0 FORGET_IT=1
 * run linked: WAITERS=1 REFERENCES=1 INBOX=1 CANCEL_IT=0 FORGET_IT=1
 *
 * mutant 1 one: a claim does not look at the generation
 * mutant 2 one: a claim reads and writes instead of comparing and swapping
 * mutant 3 one: a waiter announces itself without looking whether the job has ended meanwhile
 * mutant 4 one: the slot is not kept while its end is told
 * mutant 5 one: cancelling does not claim
 * mutant 6 forgotten: letting go frees the slot of a job that still runs
 * mutant 7 forgotten: a job that somebody forgot ends without telling those who wait
 * mutant 8 two: the word that waiters sleep on says "not ended" again in the slot's next job
 * mutant 9 forgotten: a waiter announces itself for a future that was used up meanwhile
 * mutant 10 two: a waiter reads the result before it has taken the future */
#ifndef MUTANT
#define MUTANT 0
#endif

/* The state word: generation << 8 | flags | phase. */
#define FREE 0
#define PENDING 1
#define RUNNING 2
#define ENDED 3
#define PHASE(s) ((s) & 3)
#define HELD 4
#define LINKED 8
#define BUSY 16
#define WAITER 32
#define CANCEL 64
#define TAKEN 128
#define GENERATION(s) ((s) >> 8)
#define WORD(generation) ((generation) << 8)

short state = WORD(1) | PENDING | HELD | (LINKED * INBOX);
byte ended;        /* futex word */
byte result;       /* of the job with this generation */
byte asleep;       /* on `ended`, a bit a process */
byte runs[3], ends[3], given[3];
byte told[3]; /* waiters that came back with the end */
byte come_back;

#define IS_MINE(generation) (GENERATION(state) == generation && PHASE(state) != FREE)

/* The loops of compare-and-swap are one step here: they change the word once or see why not. */
inline claim(generation, is_claimed)
{
#if MUTANT == 2
    seen = state;
    atomic {
        is_claimed = PHASE(seen) == PENDING && GENERATION(seen) == generation;
        if
        :: is_claimed -> state = (seen & ~3) | RUNNING
        :: else
        fi
    };
#else
    atomic {
#if MUTANT == 1
        is_claimed = PHASE(state) == PENDING;
#else
        is_claimed = PHASE(state) == PENDING && GENERATION(state) == generation;
#endif
        if
        :: is_claimed -> state = (state & ~3) | RUNNING
        :: else
        fi
    };
#endif
    seen = 0
}

/* A plain store in the source: the caller is the only one who may still write. */
inline give(generation)
{
    atomic {
        assert(IS_MINE(generation));
        given[generation]++;
        assert(given[generation] == 1);
        state = WORD(generation + 1)
    }
}

inline release(generation, flag)
{
    atomic { state = state & ~(flag); seen = state };
    if
    :: PHASE(seen) == ENDED && !(seen & (HELD | LINKED | BUSY)) -> give(generation)
    :: else
    fi;
    seen = 0
}

inline end(generation)
{
    atomic {
        ends[generation]++;
        assert(ends[generation] == 1);
        seen = state
    };
    if
#if MUTANT == 7
    :: !(seen & (HELD | LINKED)) -> give(generation)
#else
    :: !(seen & (HELD | LINKED | WAITER)) -> give(generation) /* nobody else knows it */
#endif
    :: else ->
        atomic { assert(IS_MINE(generation)); result = generation };
#if MUTANT == 4
        atomic { seen = state; state = (seen & ~3) | ENDED };
#else
        atomic { seen = state; state = (seen & ~3) | ENDED | BUSY };
#endif
#if MUTANT == 8
        atomic { assert(IS_MINE(generation)); ended = 1 };
#else
        atomic { assert(IS_MINE(generation)); ended = generation };
#endif
        if
        :: seen & WAITER -> asleep = 0
        :: else
        fi;
#if MUTANT != 4
        release(generation, BUSY)
#endif
    fi;
    seen = 0
}

inline run_and_end(generation)
{
    atomic {
        runs[generation]++;
        assert(runs[generation] == 1 && IS_MINE(generation))
    };
    end(generation)
}

inline give_if_last(generation, is_ours)
{
    if
#if MUTANT == 6
    :: is_ours && !(seen & (LINKED | BUSY)) -> give(generation)
#else
    :: is_ours && PHASE(seen) == ENDED && !(seen & (LINKED | BUSY)) -> give(generation)
#endif
    :: else
    fi;
    seen = 0
}

/* The future is used up; false: somebody else was first. */
inline let_go(generation, is_ours)
{
    atomic {
        is_ours = GENERATION(state) == generation && (state & HELD) && !(state & TAKEN);
        if
        :: is_ours -> state = state & ~HELD; seen = state
        :: else
        fi
    };
    give_if_last(generation, is_ours)
}

/* A waiter's way: only who has taken it reads the result. */
inline take_and_let_go(generation, is_ours)
{
#if MUTANT == 10
    atomic { assert(IS_MINE(generation)); got = result };
#endif
    atomic {
        is_ours = GENERATION(state) == generation && (state & HELD) && !(state & TAKEN);
        if
        :: is_ours -> state = state | TAKEN
        :: else
        fi
    };
    if
    :: is_ours ->
        atomic { assert(IS_MINE(generation)); got = result };
        atomic { state = state & ~(HELD | TAKEN); seen = state }
    :: else
    fi;
    give_if_last(generation, is_ours)
}

/* Until the job has ended; the futex compares and goes to sleep in one. */
inline sleep_on_end(generation)
{
#if MUTANT != 8
    was = ended;
#endif
    atomic {
#if MUTANT == 3
        announced = 1;
#elif MUTANT == 9
        announced = PHASE(state) != ENDED;
#else
        announced = PHASE(state) != ENDED && GENERATION(state) == generation && (state & HELD);
#endif
        if
        :: announced -> state = state | WAITER
        :: else
        fi
    };
    if
    :: announced ->
        atomic {
            if
            :: ended == was -> asleep = asleep | (1 << _pid)
            :: else
            fi
        };
        !(asleep & (1 << _pid))
    :: else
    fi;
    atomic { was = 0; announced = 0 }
}

proctype waiter(byte generation)
{
    short seen;
    byte was, got;
    bool announced, is_ok;

    do
    :: seen = state;
       if
       :: GENERATION(seen) != generation || !(seen & HELD) -> break
       :: GENERATION(seen) == generation && seen & HELD && PHASE(seen) == ENDED ->
           take_and_let_go(generation, is_ok);
           if
           :: is_ok -> atomic { assert(got == generation); told[generation]++ }
           :: else
           fi;
           break
       :: GENERATION(seen) == generation && seen & HELD && PHASE(seen) == PENDING ->
           claim(generation, is_ok);
           if
           :: is_ok -> is_ok = 0; run_and_end(generation)
           :: else -> sleep_on_end(generation)
           fi
       :: else -> seen = 0; sleep_on_end(generation)
       fi
    od;
    come_back++
}

proctype forgetter(byte generation)
{
    short seen;
    bool is_ours;

    let_go(generation, is_ours);
    come_back++
}

proctype canceller(byte generation)
{
    short seen;
    bool is_claimed;

    seen = state;
    if
    :: GENERATION(seen) != generation || !(seen & HELD)
    :: else ->
#if MUTANT == 5
        is_claimed = PHASE(seen) == PENDING;
#else
        claim(generation, is_claimed);
#endif
        if
        :: is_claimed -> end(generation)
        :: else ->
            atomic {
                if
                :: GENERATION(state) == generation && PHASE(state) != ENDED ->
                    state = state | CANCEL
                :: else
                fi
            }
        fi
    fi;
    come_back++
}

/* A worker with a reference from its queue. */
proctype worker(byte generation)
{
    short seen;
    bool is_claimed;

    claim(generation, is_claimed);
    if
    :: is_claimed -> run_and_end(generation)
    :: else
    fi;
    come_back++
}

/* An inbox that is emptied. */
proctype inbox()
{
    short seen;

    release(1, LINKED);
    come_back++
}

#define ALL (WAITERS + REFERENCES + INBOX + CANCEL_IT + FORGET_IT + 2)

/* The slot's next job, which has a waiter and a worker of its own. */
proctype successor()
{
    given[1];
#if MUTANT == 8
    ended = 0;
#endif
    state = WORD(2) | PENDING | HELD;
    atomic { run waiter(2); run worker(2) }
}

active proctype law()
{
    timeout;
    assert(come_back == ALL);
    assert(ends[1] == 1 && ends[2] == 1 && runs[1] <= 1 && runs[2] == 1);
    assert(given[1] == 1 && given[2] == 1);
    assert(told[2] == 1);
#if !FORGET_IT
    assert(told[1] == 1)
#endif
}

init
{
    byte i;

    atomic {
        do
        :: i == WAITERS -> break
        :: else -> run waiter(1); i++
        od;
        i = 0;
        do
        :: i == REFERENCES -> break
        :: else -> run worker(1); i++
        od;
#if INBOX
        run inbox();
#endif
#if CANCEL_IT
        run canceller(1);
#endif
#if FORGET_IT
        run forgetter(1);
#endif
        run successor()
    }
}
