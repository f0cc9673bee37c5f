/* lives.pml - who began a wake in one life of the manager may end it in the next: no count is left.
 *
 * mirrors src/resource/rm_manager.c: size_lane start_threads dgo_resource_stop join_threads
 * mirrors src/resource/rm_threads.c: rm_lane_spawn rm_lane_join
 * mirrors src/resource/rm_worker.c: rm_lane_wake pick_idle release wake_nobody_idle rest look_again
 *     stand_up
 *
 * One lane with one thread. NORMAL: start makes it; EAGER: the first push does, also while start is
 * still counting lanes from zero. Pushers know nothing of lives: they may stand still between any two
 * steps, across a stop and a start.
 *
 * Leaves out: what a job is, queues (a push is one step, refused where the lane is closed; what
 * waits when a life ends is cancelled), and the keeper; a pusher waits for the lock of who makes a
 * thread, where the source leaves the next look to the keeper. Memory is sequentially consistent, as
 * the source accesses these words.
 *
 * The law, where nothing can move any more in the last life: the thread sleeps, nobody is counted
 * as active, nothing waits.
 *
 * run normal: PUSHERS=2 PUSHES=2 LIVES=2
 * run three: PUSHERS=1 PUSHES=2 LIVES=3
 * run eager: PUSHERS=2 PUSHES=2 LIVES=2 EAGER=1
 *
 * mutant 1 normal: stop does not wait for who is in the middle of a wake
 * mutant 2 normal: a waker is counted after it has taken the sleeper
 * mutant 3 normal: a waker is not counted any more when it tells the sleeper
 * mutant 4 eager: a push may make the lane's thread before its counts are zero
 * mutant 5 eager: stop does not wait for who is in the middle of a wake
 * mutant 6 eager: a push makes a thread without looking at the phase
 * mutant 7 eager: start does not look at what was pushed before a push could make a thread */
#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef EAGER
#define EAGER 0
#endif

mtype = { ON, CLOSING, OFF };
mtype phase = OFF;

bool closed = 1, idle, waking, park, alive, spawn_lock;
bool may_make; /* thread_max */
short at_work;
byte wakers, work, lives;
byte finished;

inline spawn()
{
    atomic { !spawn_lock -> spawn_lock = 1 };
    if
#if MUTANT == 6
    :: !alive && may_make ->
#else
    :: !alive && may_make && phase == ON ->
#endif
        alive = 1;
        at_work++;
        run worker()
    :: else
    fi;
    spawn_lock = 0
}

proctype worker()
{
    bool is_there, is_closed;

    do
    :: atomic {
           is_there = work > 0;
           if
           :: is_there -> work--
           :: else
           fi
       };
       if
       :: is_there
       :: else -> /* rest */
           park = 0;
           idle = 1;
           at_work--;
           atomic { is_there = work > 0; is_closed = closed }; /* with the lock */
           if
           :: is_there && !EAGER -> is_there = at_work < 1
           :: else
           fi;
           if
           :: is_there || is_closed -> /* stand_up */
               atomic { is_there = idle; idle = 0 };
               if
               :: is_there -> at_work++
               :: else -> park; waking = 0
               fi;
               if
               :: is_closed -> at_work--; break
               :: else
               fi
           :: else -> park; waking = 0
           fi
       fi;
       is_there = 0
    od;
    alive = 0
}

inline wake()
{
    do
    :: !idle ->
#if EAGER
        if
        :: work > 0 -> spawn()
        :: else
        fi;
#endif
        break
    :: else ->
#if !EAGER
        if
        :: at_work >= 1 -> break
        :: else
        fi;
        atomic { is_ok = waking; waking = 1 };
        if
        :: is_ok -> break
        :: else
        fi;
#endif
#if MUTANT != 2
        wakers++;
#endif
        atomic { is_ok = idle; idle = 0 };
#if MUTANT == 2
        wakers++;
#endif
        if
        :: is_ok ->
            at_work++;
#if MUTANT == 3
            wakers--;
#endif
            park = 1;
#if MUTANT != 3
            wakers--;
#endif
            break
        :: else ->
            wakers--;
#if !EAGER
            waking = 0;
            if
            :: work == 0 -> break
            :: else
            fi
#endif
        fi
    od;
    is_ok = 0
}

proctype pusher()
{
    byte i;
    bool is_ok;

    do
    :: i == PUSHES -> break
    :: else ->
        i++;
        atomic {
            is_ok = !closed;
            if
            :: is_ok -> work++
            :: else
            fi
        };
        if
        :: is_ok -> wake()
        :: else
        fi
    od;
    finished++
}

inline size_lane()
{
#if MUTANT == 4
    may_make = 1;
#endif
    idle = 0;
    waking = 0;
    at_work = 0;
#if MUTANT != 4
    may_make = 1;
#endif
}

inline start()
{
    may_make = 0; /* open_lanes: with the phase still off */
    at_work = 0;
    closed = 0;
    phase = ON;
    size_lane();
#if !EAGER
    spawn()
#endif
#if EAGER && MUTANT != 7
    wake() /* for what was pushed before */
#endif
}

inline stop()
{
    phase = CLOSING;
    atomic { closed = 1; work = 0 };
    atomic { !spawn_lock -> spawn_lock = 1 };
    if
    :: alive ->
        atomic {
            if
            :: idle -> idle = 0; at_work++
            :: else
            fi
        };
        park = 1;
        !alive
    :: else
    fi;
    spawn_lock = 0;
#if MUTANT != 1 && MUTANT != 5
    wakers == 0;
#endif
    phase = OFF
}

active proctype manager()
{
    bool is_ok;

    do
    :: start();
       lives++;
       if
       :: lives == LIVES -> break
       :: else -> stop()
       fi
    od;
    finished++
}

active proctype law()
{
    timeout;
    assert(finished == PUSHERS + 1);
    assert(wakers == 0 && !spawn_lock);
    assert(at_work == 0);
    assert(work == 0);
    assert(alive == idle)
}

init
{
    byte i;

    atomic {
        do
        :: i == PUSHERS -> break
        :: else -> run pusher(); i++
        od
    }
}
