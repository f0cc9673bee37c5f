/* strand.pml - a strand never runs twice at a time, no kick is lost, nothing runs once it is freed.
 *
 * mirrors src/resource/rm_strand.c: dgo_strand_new dgo_strand_kick kick give_turn raise_level
 *     begin run rm_strand_run_ref run_in_caller dgo_strand_free rm_strand_linked rm_strand_ref
 * mirrors src/resource/rm_lane.c: push_inbox empty_inbox rm_lane_raise rm_lane_close
 * mirrors src/resource/rm_manager.c: dgo_resource_stop cancel_waiting
 *
 * One place of the table. A turn is {ticket, QUEUED}; references to it lie in the queue of a
 * lane, some twice (raised, or a batch that was given back). Where a kick finds its lane
 * closed, or stop finds a turn in a closed lane, the turn is run there and then: a kick is a
 * promise.
 *
 * `inbox` is about threads without a shard that never find the lane's lock free, nor does anybody
 * empty the inbox before stop closes it.
 *
 * Leaves out: delayed kicks, levels but for the second reference that raising makes, and what
 * wakes the workers (lane_wake.pml). Memory is sequentially consistent, as every word is
 * accessed in the source; the strand's plain fields change only while it is nobody's.
 *
 * The law, where nothing can move any more: what was true before the last kick was seen by a
 * later run (of a strand that is not freed), and free and stop have returned. At all times: at
 * most one run, on the strand's own lane unless in a caller, and none of a strand whose free
 * has returned.
 *
 * run kicks: KICKERS=2 KICKS=2 WORKERS=2
 * run free: KICKERS=1 KICKS=2 WORKERS=2 FREE_IT=1
 * run self: KICKERS=1 KICKS=2 WORKERS=2 FREE_IT=2
 * run stop: KICKERS=2 KICKS=1 WORKERS=1 STOP_IT=1
 * run reuse: KICKERS=1 KICKS=1 WORKERS=1 FREE_IT=1 REUSE=1
 * run inbox: KICKERS=2 KICKS=2 WORKERS=1 STOP_IT=1 INBOX=1
 *
 * mutant 1 kicks: a kick of a running strand does nothing
 * mutant 2 kicks: a turn begins by a look and a store instead of comparing and swapping
 * mutant 3 kicks: a run that was kicked meanwhile ends as if it was not
 * mutant 4 free: free does not wait for a run
 * mutant 5 free: a run looks whether somebody frees before it tells that it has ended, not after
 * mutant 6 free: free looks at the count of ended runs after it saw the strand running
 * mutant 7 stop: a queued turn that stop finds is laid down
 * mutant 8 stop: a turn that a closed lane refuses is laid down
 * mutant 9 reuse: a place is used anew while it is still linked in an inbox
 * mutant 10 reuse: a place is used anew while somebody still kicks it
 * mutant 11 reuse: an inbox that is emptied does not look whether the strand is still of its lane
 * mutant 12 reuse: a place is used anew while free has not left it
 * mutant 13 reuse: whoever looks for a place looks at the inbox before it looks for kickers
 * mutant 14 inbox: whose inbox was closed runs its own turn only, not one that trusted its link
 * mutant 15 inbox: whose inbox was closed leaves its link */
#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef FREE_IT
#define FREE_IT 0
#endif
#ifndef STOP_IT
#define STOP_IT 0
#endif
#ifndef REUSE
#define REUSE 0
#endif
#ifndef INBOX
#define INBOX 0
#endif
#define LANES (1 + REUSE)
#define NOBODY 255

#define CLOSED 0
#define IDLE 1
#define QUEUED 2
#define RUNNING 3
#define AGAIN 4

/* One word: ticket and phase. */
byte phase = IDLE, ticket;
byte life = 1;  /* which strand has the place: its function, its lane (life - 1) */
byte named = 1; /* the generation in its name; 0: freed */
bool closing;
byte kickers;
byte ended; /* futex word */
bool asleep;
byte runner = NOBODY;

chan queue[LANES] = [6] of { byte };
bool is_linked;
byte in_inbox = NOBODY;  /* of which lane */
bool closed;             /* the lanes */
bool inbox_closed;
bool is_off, is_closing; /* the manager */

byte inside, wanted[3], seen[3];
bool freed[3];
byte finished, joined;

inline give_turn()
{
    atomic {
        turn = 0;
        if
        :: phase == IDLE -> phase = QUEUED; ticket++; mine = ticket; turn = 1
#if MUTANT == 1
        :: phase == RUNNING
#else
        :: phase == RUNNING -> phase = AGAIN
#endif
        :: phase == QUEUED -> mine = ticket; turn = 2 /* may be raised */
        :: else
        fi
    }
}

inline begin(reference, is_begun)
{
#if MUTANT == 2
    is_begun = phase == QUEUED && ticket == reference;
#endif
    atomic {
#if MUTANT != 2
        is_begun = phase == QUEUED && ticket == reference;
#endif
        if
        :: is_begun -> phase = RUNNING
        :: else
        fi
    }
}

/* fn; `lane` NOBODY: in a caller. */
inline call()
{
    atomic {
        inside++;
        assert(inside == 1);
        assert(!freed[life]);
        assert(lane == NOBODY || lane == life - 1);
        which = life
    };
    seen[which] = wanted[which];
#if FREE_IT == 2
    free_it(which);
#endif
    atomic { assert(!freed[which] || FREE_IT == 2); inside--; which = 0 }
}

inline free_it(name)
{
    if
    :: named != name
    :: else ->
#if MUTANT != 12
        kickers++; /* the place stays this strand's until free has left it */
#endif
        atomic { was_closing = closing; closing = 1 };
        if
        :: was_closing
        :: else ->
            named = 0;
            do
            :: atomic { was = phase; had = ticket };
#if MUTANT != 6
               had_ended = ended;
#endif
               if
               :: was == CLOSED || runner == _pid -> break
#if MUTANT == 4
               :: else -> phase = CLOSED; break
#else
               :: was == IDLE || was == QUEUED ->
                   atomic {
                       if
                       :: phase == was && ticket == had -> phase = CLOSED; was = CLOSED
                       :: else
                       fi
                   };
                   if
                   :: was == CLOSED -> break
                   :: else
                   fi
               :: else ->
                   if
                   :: phase >= RUNNING ->
#if MUTANT == 6
                       had_ended = ended;
#endif
                       atomic {
                           if
                           :: ended == had_ended -> asleep = 1
                           :: else
                           fi
                       };
                       !asleep
                   :: else
                   fi
#endif
               fi
            od;
            if
            :: runner != _pid -> freed[name] = 1
            :: else
            fi
        fi;
#if MUTANT != 12
        kickers--
#endif
    fi;
    atomic { was = 0; had = 0; had_ended = 0; was_closing = 0 }
}

/* From RUNNING or AGAIN to rest. */
inline run_turn(is_again)
{
    runner = _pid;
    if
    :: !closing -> call()
    :: else
    fi;
    runner = NOBODY;
#if MUTANT == 5
    is_closing_now = closing;
#endif
    do
    :: was = phase;
       next = (closing -> CLOSED : IDLE);
       atomic {
           if
           :: phase == was -> phase = next; break
           :: else
           fi
       }
    od;
    ended++;
#if FREE_IT == 2
    freed[1] = closing;
#endif
#if MUTANT == 5
    if
    :: is_closing_now -> asleep = 0
    :: else
    fi;
#else
    if
    :: closing -> asleep = 0
    :: else
    fi;
#endif
#if MUTANT == 3
    is_again = 0;
#else
    is_again = was == AGAIN;
#endif
    atomic { was = 0; next = 0 }
}

inline run_in_caller()
{
#if INBOX && MUTANT != 14
    mine = ticket; /* the turn that waits now, whoever gave it */
#endif
    do
    :: begin(mine, is_ok);
       if
       :: !is_ok -> break
       :: else
       fi;
       run_turn(is_ok);
       if
       :: !is_ok -> break
       :: else
       fi;
       atomic { /* a compare-and-swap on what was loaded; whoever changed it looks after it */
           if
           :: phase == IDLE -> phase = QUEUED; ticket++; mine = ticket
           :: else -> break
           fi
       }
    od
}

/* By the lock: into the rings; without it: into the inbox, where a strand stands once. */
inline push(is_pushed)
{
    if
    :: atomic {
           !INBOX || lane != NOBODY -> is_pushed = !closed;
           if
           :: is_pushed -> queue[lane_of]!mine
           :: else
           fi
       }
#if REUSE || INBOX
    :: atomic { is_pushed = is_linked; is_linked = 1 };
       if
       :: is_pushed /* who stands there already makes the reference, later */
       :: else ->
           atomic {
               is_pushed = !inbox_closed;
               if
               :: is_pushed -> assert(in_inbox == NOBODY); in_inbox = lane_of
               :: else
               fi
           };
#if MUTANT != 15
           if
           :: !is_pushed -> is_linked = 0
           :: else
           fi
#endif
       fi
#endif
    fi
}

/* By name, or the end of a run that was kicked meanwhile. */
inline kick()
{
    kickers++;
    give_turn();
    if
    :: turn == 1 ->
        lane_of = (LANES == 1 -> 0 : life - 1);
        if
        :: is_off -> run_in_caller()
        :: else ->
            push(is_ok);
            if
            :: is_ok
#if MUTANT == 8
            :: !is_ok ->
                atomic {
                    if
                    :: phase == QUEUED -> phase = IDLE
                    :: else
                    fi
                }
#else
            :: !is_ok -> run_in_caller()
#endif
            fi
        fi
#if !REUSE
    :: turn == 2 -> /* a second reference to the same turn, maybe too late */
        atomic {
            if
            :: !closed && nfull(queue[0]) -> queue[0]!mine
            :: true
            fi
        }
#endif
    :: else
    fi;
    kickers--;
    atomic { turn = 0; mine = 0; lane_of = 0; is_ok = 0 }
}

#define LOCALS                                                                                     \
    byte mine, turn, lane_of, was, had, next, had_ended, which, i;                                 \
    bool is_ok, was_closing, is_closing_now

proctype kicker(byte lane; byte name)
{
    LOCALS;

    do
    :: i == KICKS -> break
    :: else ->
        i++;
        wanted[name]++;
        if
        :: named == name && !closing -> kick()
        :: else
        fi
    od;
    finished++
}

proctype worker(byte lane)
{
    LOCALS;
    byte reference;

    do
    :: atomic { queue[lane]?reference };
       begin(reference, is_ok);
#if STOP_IT && MUTANT == 7
       if
       :: is_ok && is_closing -> phase = IDLE; is_ok = 0
       :: else
       fi;
#endif
       if
       :: is_ok ->
           run_turn(is_ok);
           if
           :: is_ok -> is_ok = 0; kick()
           :: else
           fi
       :: else
       fi;
       reference = 0
#if STOP_IT
    :: atomic { closed && empty(queue[0]) -> break }
#endif
    od;
    joined++
}

#if FREE_IT == 1
proctype freer(byte lane)
{
    LOCALS;

    free_it(1);
    finished++
}
#endif

#if STOP_IT
proctype stopper(byte lane)
{
    LOCALS;
    byte reference;

    is_closing = 1;
    atomic {
        closed = 1;
        if
        :: in_inbox == 0 -> in_inbox = NOBODY; is_linked = 0; queue[0]!ticket
        :: else
        fi;
        inbox_closed = 1
    };
    do
    :: atomic { queue[0]?reference };
       begin(reference, is_ok);
       if
#if MUTANT == 7
       :: is_ok -> phase = IDLE
#else
       :: is_ok ->
           run_turn(is_ok);
           if
           :: is_ok -> is_ok = 0; kick()
           :: else
           fi
#endif
       :: else
       fi
    :: empty(queue[0]) -> break
    od;
    joined == WORKERS;
    is_off = 1;
    finished++
}
#endif

#if REUSE
/* Who holds the lock of a lane empties its inbox. */
proctype emptier(byte lane)
{
    byte reference;

    do
    :: atomic { in_inbox == lane -> in_inbox = NOBODY };
       is_linked = 0;
       reference = ticket; /* rm_strand_ref: of the turn it has now */
#if MUTANT == 11
       queue[lane]!reference;
#else
       if
       :: lane == life - 1 -> queue[lane]!reference
       :: else
       fi;
#endif
       reference = 0
    od
}

/* dgo_strand_new finds the place, for a strand on the other lane. */
proctype successor(byte lane)
{
    LOCALS;

    named == 0 && phase == CLOSED;
#if MUTANT == 13
    !is_linked;
#endif
#if MUTANT != 10
    kickers == 0; /* from here on nobody links it ... */
#endif
#if MUTANT != 9 && MUTANT != 13
    !is_linked; /* ... and who did has been served */
#endif
    atomic { life = 2; closing = 0; named = 2 };
    phase = IDLE;
    wanted[2]++;
    kick();
    finished++
}
#endif

#define MOVERS (KICKERS + (FREE_IT == 1) + REUSE)

active proctype law()
{
    timeout;
    assert(inside == 0 && kickers == 0);
#if STOP_IT
    assert(is_off && finished == MOVERS + 1);
#else
    assert(finished == MOVERS);
#endif
#if FREE_IT
    assert(phase == CLOSED || REUSE);
#else
    assert(seen[1] == wanted[1]);
#endif
#if REUSE
    assert(seen[2] == wanted[2])
#endif
}

init
{
    byte i;

    atomic {
        do
        :: i == KICKERS -> break
        :: else -> run kicker(NOBODY, 1); i++
        od;
        i = 0;
        do
        :: i == WORKERS -> break
        :: else -> run worker(0); i++
        od;
#if FREE_IT == 1
        run freer(NOBODY);
#endif
#if STOP_IT
        run stopper(NOBODY);
#endif
#if REUSE
        run worker(1);
        run emptier(0);
        run emptier(1);
        run successor(NOBODY)
#endif
    }
}
