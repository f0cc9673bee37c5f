/* bus_swap.pml - a strand of the bus: every event once, in order, none after unsubscribing.
 *
 * mirrors src/bus/bus_strand.c: bus_strand_put put_in_inbox bus_strand_empty_inbox is_due wake
 * mirrors src/bus/bus_queue.c: bus_queue_put bus_queue_swap
 * mirrors src/bus/bus_run.c: bus_run take_next work_through offer call look_at_subscribers
 * mirrors src/bus/bus_subscribe.c: add silence take_out wait_until_not_running
 *     dgo_bus_unsubscribe
 *
 * The kick and the run are those of strand.pml: a kick makes the strand run once more after
 * now, one run at a time, so `kicked` is one bit. A publisher may find the lock taken, or not
 * be allowed to take it, at any time; then it uses the inbox. What happens under the strand's
 * lock is one step.
 *
 * Leaves out: bounds and drop policies, timed batches, critical events (a second queue of the
 * same kind), filters, closing a strand with its last subscriber, rings of handlers that wait
 * for each other, and the relay's free list.
 *
 * The law: the handler gets each publisher's events in their order and, unless it is
 * unsubscribed, all of them; it is not called after unsubscribe returned, and a new
 * subscription in the same place neither gets what is older than itself nor misses what is not;
 * no buffer is filled while it is worked through.
 *
 * run order: PUBLISHERS=2 EVENTS=3
 * run leave: PUBLISHERS=1 EVENTS=3 LEAVE=1
 * run again: PUBLISHERS=1 EVENTS=3 LEAVE=2
 * run inside: PUBLISHERS=1 EVENTS=3 LEAVE=3
 *
 * mutant 1 order: the run notes that nobody waits for it after it gave the lock back, not before
 * mutant 2 order: whoever has the lock puts its event in front of those in the inbox
 * mutant 3 order: the inbox is emptied newest first
 * mutant 4 order: who uses the inbox looks before that whether the strand is scheduled
 * mutant 5 order: the swap does not change the buffer that is filled
 * mutant 6 leave: unsubscribe waits for the handler before it silences the subscription
 * mutant 7 leave: the run looks at the subscription only before it tells whose handler it calls
 * mutant 8 leave: unsubscribe does not wait for the handler
 * mutant 9 again: a new subscription in an old place gets what waited for the old one
 * mutant 10 leave: the run wakes nobody who waits for a handler
 * mutant 11 inside: a handler that takes itself out frees its place at once */
#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef LEAVE
#define LEAVE 0
#endif
#define ALL (PUBLISHERS * EVENTS)
#define NOBODY 255

mtype = { FREE, LIVE, DYING };

/* An event: publisher * 16 + its number from 1; `order` is the strand's. */
typedef buffer {
    byte count;
    byte event[ALL];
    byte order[ALL]
};
buffer buf[2];
byte fill, order;
byte worked = NOBODY; /* the buffer that the run has */
chan inbox = [ALL] of { byte };
bool is_scheduled, kicked;
bool runs; /* a job has the strand */

/* One place for a subscriber, and who has it: 1, 2 ... */
mtype subscriber = LIVE;
byte who = 1, from_order;
bool is_left;
bool running; /* futex: its handler is called */
byte waiters, asleep;

byte inside;       /* whose handler runs */
byte got[3 * 2];   /* by subscription and publisher: the last number */
byte before[3];    /* the newest event that a subscription must not get */
bool returned[3];  /* from unsubscribing it */
byte finished, delivered;

/* In an atomic: with the lock. */
inline put(what)
{
    assert(fill != worked);
    order++;
    buf[fill].event[buf[fill].count] = what;
    buf[fill].order[buf[fill].count] = order;
    buf[fill].count++
}

inline empty_inbox()
{
    do
#if MUTANT == 3
    :: nempty(inbox) ->
        /* The last one first. */
        i = len(inbox);
        do
        :: i > 1 -> inbox?moved; inbox!moved; i--
        :: i == 1 -> inbox?moved; i--; break
        od;
        put(moved)
#else
    :: inbox?moved -> put(moved)
#endif
    :: empty(inbox) -> break
    od;
    moved = 0
}

proctype publisher(byte me)
{
    byte number, moved, i;
    bool wakes;

    do
    :: number == EVENTS -> break
    :: else ->
        number++;
        if
        :: atomic { /* the lock */
#if MUTANT == 2
               put(me * 16 + number);
               empty_inbox();
#else
               empty_inbox();
               put(me * 16 + number);
#endif
               wakes = !is_scheduled;
               is_scheduled = 1
           }
#if MUTANT == 4
        :: wakes = !is_scheduled;
           inbox!me * 16 + number
#else
        :: atomic { inbox!me * 16 + number; wakes = 1 }
#endif
        fi;
        if
        :: wakes -> kicked = 1
        :: else
        fi;
        wakes = 0
    od;
    finished++
}

/* dgo_bus_unsubscribe of the subscription `name`, outside and inside the handler. */
inline silence(name)
{
    atomic {
        if
        :: subscriber == LIVE && who == name -> subscriber = DYING
        :: else
        fi
    }
}

inline wait_until_not_running()
{
    if
    :: running ->
        waiters++;
        do
        :: running ->
            atomic {
                if
                :: running -> asleep = 1
                :: else
                fi
            };
            !asleep
        :: else -> break
        od;
        waiters--
    :: else
    fi
}

inline take_out()
{
    is_mine = 1;
#if MUTANT != 11
    if
    :: running ->
        is_left = 1;
        if
        :: running -> is_mine = 0
        :: else -> atomic { is_mine = is_left; is_left = 0 }
        fi
    :: else
    fi;
#endif
    if
    :: is_mine -> subscriber = FREE
    :: else
    fi;
    is_mine = 0
}

inline unsubscribe(name)
{
#if LEAVE == 3
    silence(name);
    take_out();
    returned[name] = 1
#else
#if MUTANT == 6
    wait_until_not_running();
    silence(name);
#else
    silence(name);
#if MUTANT != 8
    wait_until_not_running();
#endif
#endif
    take_out();
    returned[name] = 1
#endif
}

/* The handler's turn with one event. */
inline call()
{
    if
    :: (subscriber == LIVE || MUTANT == 7) && its_order > from_order ->
        atomic {
            inside = who;
            moved = event / 16;
            assert(!returned[inside] && its_order > before[inside]);
            assert(event % 16 == got[inside * 2 + moved] + 1 || (inside == 2 && !got[4]));
            got[inside * 2 + moved] = event % 16;
            delivered++;
            moved = 0
        };
#if LEAVE == 3
        if
        :: event % 16 == 1 -> unsubscribe(1)
        :: else
        fi;
#endif
        atomic { assert(!returned[inside] || LEAVE == 3); inside = 0 }
    :: else
    fi
}

inline offer()
{
#if MUTANT == 7
    is_live = subscriber == LIVE;
    running = 1;
#else
    running = 1;
    is_live = subscriber == LIVE;
#endif
    if
    :: is_live ->
        call()
    :: else
    fi;
    running = 0;
#if MUTANT != 10
    if
    :: waiters -> asleep = 0
    :: else
    fi;
#endif
    if
    :: is_left ->
        atomic { is_live = is_left; is_left = 0 };
        if
        :: is_live -> subscriber = FREE
        :: else
        fi
    :: else
    fi;
    is_live = 0
}

/* The strand's job: begins when it was kicked. */
proctype runner()
{
    byte moved, i, event, its_order, at, had;
    bool is_live, is_mine;

    do
    :: atomic { kicked -> kicked = 0 };
       do
       :: atomic { /* the lock */
              empty_inbox();
              if
              :: buf[fill].count ->
                  had = fill;
                  worked = had;
#if MUTANT != 5
                  fill = 1 - fill;
#endif
                  is_scheduled = 1
              :: else ->
                  had = NOBODY;
#if MUTANT != 1
                  is_scheduled = 0
#endif
              fi
          };
          if
          :: had == NOBODY ->
#if MUTANT == 1
              is_scheduled = 0;
#endif
              break
          :: else ->
              at = 0;
              do
              :: at == buf[had].count -> break
              :: else ->
                  atomic {
                      event = buf[had].event[at];
                      its_order = buf[had].order[at];
                      buf[had].event[at] = 0;
                      buf[had].order[at] = 0;
                      at++
                  };
                  offer();
                  atomic { event = 0; its_order = 0 }
              od;
              atomic { buf[had].count = 0; worked = NOBODY; at = 0; had = 0 }
          fi
       od;
       had = 0
    od
}

/* dgo_bus_subscribe, once the place is free. */
inline subscribe()
{
    subscriber == FREE;
    atomic { /* the strand's lock */
        assert(inside == 0 && !is_left);
        who = 2;
        empty_inbox();
#if MUTANT != 9
        from_order = order;
#endif
        before[2] = order;
        subscriber = LIVE
    }
}

proctype leaver()
{
    bool is_mine;
    byte moved, i;

#if LEAVE != 3
    unsubscribe(1);
#endif
#if LEAVE != 1
    subscribe();
#endif
    finished++
}

active proctype law()
{
    timeout;
    assert(finished == PUBLISHERS + (LEAVE != 0));
    assert(empty(inbox) && buf[fill].count == 0 && !running && !is_scheduled && !inside);
    assert(order == ALL);
#if LEAVE == 0
    assert(delivered == ALL)
#elif LEAVE == 1
    assert(subscriber == FREE)
#else
    assert(subscriber == LIVE && who == 2);
    assert(got[4] == EVENTS || before[2] == ALL)
#endif
}

init
{
    byte i;

    atomic {
        do
        :: i == PUBLISHERS -> break
        :: else -> run publisher(i); i++
        od;
        run runner();
#if LEAVE
        run leaver()
#endif
    }
}
