/* hand.pml - the asymmetric barrier: of a batch in a worker's hand each entry is begun once, by the
 * worker or by who shares what it has not begun.
 *
 * mirrors src/resource/rm_hand.h: rm_hand_fill rm_hand_settle rm_hand_next rm_hand_close rm_hand_open
 * mirrors src/resource/rm_threads.c: rm_lane_spawn rm_worker_share
 * mirrors src/resource/rm_worker.c: run_batch
 * mirrors src/resource/rm_take.c: rm_lane_return
 *
 * The worker's stores wait in its store buffer (x86; a channel, drained in order by `memory`) and
 * its loads overtake them; membarrier(2), a locked instruction and the end of a thread wait until
 * it is empty. Whoever shares uses locked instructions or stores that need not be in time.
 * A given entry may be begun by anybody at once, so it counts as begun when it is copied.
 *
 * Leaves out: what a lane does with given entries (doze.pml), the tags of an entry, and machines
 * that reorder a thread's stores: all that the worker stores after it saw CLOSED depends on a load
 * of the verdict, and all before it is ordered by the barrier.
 *
 * The law, where nothing can move any more: every entry was begun, once; nobody waits for a verdict.
 *
 * run barrier: SIZE=2 BATCHES=2 CLOSERS=1 ROUNDS=2
 * run long: SIZE=3 BATCHES=2 CLOSERS=1 ROUNDS=2
 * run pair: SIZE=2 BATCHES=2 CLOSERS=2 ROUNDS=2
 * run own: SIZE=3 BATCHES=1 CLOSERS=1 ROUNDS=2 OWN=1
 * run locked: SIZE=2 BATCHES=2 CLOSERS=1 ROUNDS=2 MEMBARRIER=0
 * run anew: SIZE=2 BATCHES=2 CLOSERS=1 ROUNDS=2 ANEW=1
 *
 * mutant 1 barrier: who shares leaves the barrier out
 * mutant 2 barrier: the worker looks whether its hand is closed before it says what it begins
 * mutant 3 barrier: who shares looks how far the worker is before closing the hand
 * mutant 4 barrier: a worker that finds its hand closed does not wait for the verdict
 * mutant 5 barrier: the verdict ends the batch, but not the entry that the worker was about to begin
 * mutant 6 barrier: what the lane had no room for counts as given
 * mutant 7 barrier: the barrier was refused, and who shares goes on
 * mutant 8 locked: without membarrier the worker stores plainly all the same
 * mutant 9 anew: a worker's successor opens a hand that somebody still looks at
 * mutant 10 barrier: the worker opens its hand before it says what it is left with
 * mutant 11 barrier: the batch is announced before its entries are there
 * mutant 12 barrier: a hand whose verdict the worker has not seen is closed again
 * mutant 13 barrier: the verdict is given before the rest is copied */
#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef MEMBARRIER
#define MEMBARRIER 1
#endif
#ifndef OWN
#define OWN 0
#endif
#ifndef ANEW
#define ANEW 0
#endif

#define OPEN 0
#define CLOSED 1
#define SETTLED 2

/* worker->hand: batches << 4 | entries << 2 | begun. */
#define HAND(batch, taken, begun) ((batch) << 4 | (taken) << 2 | (begun))
#define BATCH_OF(hand) ((hand) >> 4)
#define TAKEN(hand) ((hand) >> 2 & 3)
#define BEGUN(hand) ((hand) & 3)
#define LEFT(hand) (TAKEN(hand) - BEGUN(hand))

byte hand, closed, kept;
byte entries; /* which batch lies in worker->batch */
byte begun[BATCHES * SIZE];
byte finished;

/* ---- the worker's store buffer ---- */

mtype = { to_hand, to_closed, to_entries };
chan buffer = [4] of { mtype, byte };
byte closed_waits; /* stores of OPEN to `closed` in it: the worker's loads see them */

#define LOAD_CLOSED (closed_waits -> OPEN : closed)

active proctype memory()
{
    mtype what;
    byte value;

    do
    :: d_step {
           buffer?what, value;
           if
           :: what == to_hand -> hand = value
           :: what == to_closed -> closed = value; closed_waits--
           :: what == to_entries -> entries = value
           fi;
           what = 0;
           value = 0
       }
    od
}

/* ---- who shares ---- */

inline begin(batch, index)
{
    begun[(batch - 1) * SIZE + index]++;
    assert(begun[(batch - 1) * SIZE + index] == 1)
}

/* rm_lane_return: the rest is copied, and begun by others from then on. */
inline give(seen)
{
    d_step {
        assert(entries == BATCH_OF(seen));
        i = BEGUN(seen);
        do
        :: i < TAKEN(seen) -> begin(BATCH_OF(seen), i); i++
        :: else -> break
        od;
        i = 0
    }
}

/* rm_worker_share, rm_hand_close and rm_hand_open; the worker itself needs no barrier. */
inline share(is_own, its_hand)
{
    if
    :: atomic { LEFT(its_hand) == 0 -> is_closed = 0 }
    :: atomic {
           LEFT(its_hand) != 0 ->
#if MUTANT == 3
           seen = hand
#endif
       };
#if MUTANT == 12
       atomic { is_closed = closed != CLOSED; closed = (is_closed -> CLOSED : closed) }
#else
       /* A locked instruction of the worker finds its own buffer empty. */
       atomic {
           !is_own || empty(buffer) ->
           is_closed = closed == OPEN;
           closed = (is_closed -> CLOSED : closed)
       }
#endif
    fi;
    if
    :: !is_closed
    :: else ->
        if
        :: is_own || !MEMBARRIER
#if MUTANT == 1
        :: !is_own && MEMBARRIER
#else
        :: !is_own && MEMBARRIER && empty(buffer) /* membarrier(2) */
#endif
#if MUTANT == 7
        :: !is_own && MEMBARRIER
#else
        :: !is_own && MEMBARRIER -> is_closed = 0; closed = OPEN /* refused by the kernel */
#endif
        fi;
        if
        :: !is_closed
        :: else ->
#if MUTANT != 3
            seen = its_hand;
#endif
            if
            :: LEFT(seen) != 0 -> /* the lane has room */
#if MUTANT == 13
                kept = BEGUN(seen);
                closed = SETTLED;
                give(seen)
#else
                give(seen);
                kept = BEGUN(seen);
                closed = SETTLED
#endif
            :: true -> /* it has none, or nothing is left */
                kept = BEGUN(seen);
#if MUTANT == 6
                closed = (LEFT(seen) != 0 -> SETTLED : OPEN)
#else
                closed = OPEN
#endif
            fi
        fi
    fi;
    atomic { seen = 0; is_closed = 0 }
}

proctype closer()
{
    byte seen, i, round;
    bool is_closed;

    do
    :: round == ROUNDS -> break
    :: else -> round++; share(false, hand)
    od;
    finished++
}

/* ---- the worker ---- */

inline store(what, value)
{
    buffer!what, value
}

inline open_again()
{
    atomic { buffer!to_closed, OPEN; closed_waits++ }
}

/* rm_hand_settle */
inline settle()
{
    atomic {
        LOAD_CLOSED != CLOSED ->
        verdict = LOAD_CLOSED;
        if
        :: verdict == SETTLED ->
            mine = HAND(BATCH_OF(mine), kept, BEGUN(mine));
#if MUTANT != 5
            mine = HAND(BATCH_OF(mine), kept, (BEGUN(mine) > kept -> kept : BEGUN(mine)))
#endif
        :: else
        fi
    };
    if
    :: verdict == SETTLED ->
#if MUTANT == 10
        open_again();
        store(to_hand, mine)
#else
        store(to_hand, mine);
        open_again()
#endif
    :: else
    fi;
    verdict = 0
}

/* rm_hand_next; the entry is `index`, BEGUN(mine) > index: it is to be begun. */
inline next()
{
    atomic {
        index = BEGUN(mine);
        mine = (LEFT(mine) != 0 -> mine + 1 : mine)
    };
#if MUTANT == 2
    is_found_closed = LOAD_CLOSED != OPEN;
    store(to_hand, mine);
#else
    store(to_hand, mine);
#if !MEMBARRIER && MUTANT != 8
    empty(buffer);
#endif
    is_found_closed = LOAD_CLOSED != OPEN;
#endif
    if
#if MUTANT == 4
    :: true
#else
    :: is_found_closed -> settle()
    :: else
#endif
    fi;
    is_found_closed = 0
}

/* rm_lane_spawn: the thread has ended, another one has its place. */
inline come_anew()
{
    empty(buffer);
    atomic {
        mine = HAND(BATCH_OF(mine), 0, 0); /* the batches count on here, to tell them apart */
        hand = mine
    }
#if MUTANT == 9
    ;
    closed = OPEN
#endif
}

proctype worker()
{
    byte mine, index, verdict, batch;
    bool is_found_closed;
#if OWN
    byte seen, i;
    bool is_closed;
#endif

    do
    :: batch == BATCHES -> break
    :: else ->
        atomic { batch++; mine = HAND(batch, SIZE, 0) };
#if MUTANT == 11
        store(to_hand, mine);
        store(to_entries, batch);
#else
        store(to_entries, batch); /* rm_lane_take */
        store(to_hand, mine);     /* rm_hand_fill */
#endif
        do
        :: next();
           if
           :: BEGUN(mine) > index ->
               d_step { begin(batch, index) }
#if OWN
               if
               :: true
               :: share(true, mine) /* the job waits: rm_worker_block */
               fi
#endif
           :: else -> break
           fi
        od;
#if ANEW
        if
        :: batch < BATCHES -> come_anew()
        :: else
        fi
#endif
    od;
    finished++
}

active proctype law()
{
    byte i;

    timeout;
    assert(finished == CLOSERS + 1);
    assert(closed == OPEN && LEFT(hand) == 0);
    do
    :: i == BATCHES * SIZE -> break
    :: else -> assert(begun[i] == 1); i++
    od
}

init
{
    byte i;

    atomic {
        run worker();
        do
        :: i == CLOSERS -> break
        :: else -> run closer(); i++
        od
    }
}
