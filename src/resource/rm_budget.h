/* rm_budget.h - how many CPUs are ours: what the machine allows, what engines need, what they feel.
 *
 * Reading is apart from deciding: rm_budget_read looks at files under a root that tests replace,
 * rm_budget_step is arithmetic on two structs. */
#ifndef RM_BUDGET_H
#define RM_BUDGET_H

#include "dgo_base.h"

enum {
    RM_BUDGET_TASK_MAX = 512, /* threads of one engine that are looked at */
    RM_DELAY_HIGH_PERMILLE = 20,
    RM_DELAY_LOW_PERMILLE = 5,
    /* Of the time, where an engine needs every CPU, or the quota: ours together cost it 1 %, and an
     * engine whose threads wait for each other twice what NORMAL takes. */
    RM_DUTY_NORMAL_PERMILLE = 5,
    RM_DUTY_TRICKLE_PERMILLE = 5, /* BACKGROUND */
};
#define RM_CALM_NS  UINT64_C(1000000000) /* this long without delay: one more */
#define RM_GROW_NS  UINT64_C(5000000)    /* jobs that wait longer ask for one more */
#define RM_ADAPT_NS UINT64_C(100000000)  /* between two halvings: the average follows first */

/* The limits of this process. */
struct rm_budget_limits {
    uint32_t cpus; /* at least 1 */
    bool quota_known;
    uint32_t quota_permille; /* of one CPU, the tightest of the chain */
    uint64_t throttled;      /* nr_throttled of the own group, 0 where unknown */
    bool cgroup_unread;      /* whether there is a quota could not be read: none is not meant */
};
void rm_budget_read(const char *root, struct rm_budget_limits *limits);

/* One look at an engine's threads.  `task` keeps the delays of the last look. */
struct rm_budget_task {
    int32_t id;
    bool is_runnable;
    bool is_timed; /* the two below are known */
    uint64_t run_ns, delay_ns;
};
struct rm_budget_engine {
    uint32_t pid, threads_told;
    uint32_t task_count;
    uint64_t seen_ns;
    struct rm_budget_task task[RM_BUDGET_TASK_MAX];
};
struct rm_budget_feel {
    bool alive;
    bool is_blind;           /* it lives, but its threads cannot be read: `runnable` is a guess */
    uint32_t runnable;       /* counted, at most what was told; blind: what was told, or one */
    uint32_t delay_permille; /* of the worst thread, since the last look */
};
void rm_budget_feel(const char *root, struct rm_budget_engine *engine, uint64_t now_ns,
                    struct rm_budget_feel *feel);

/* What is decided, from look to look. */
struct rm_budget {
    uint32_t normal_most;        /* threads there are, or asked for by the configuration */
    uint32_t normal, background; /* allowed now */
    uint32_t background_most;
    /* Part of the time that a lane may use: NORMAL's one thread, BACKGROUND's each. */
    uint32_t normal_duty_permille, background_duty_permille;
    uint64_t calm_since_ns; /* 0: not calm */
    uint64_t adapted_ns;    /* the duties were changed last */
    uint64_t throttled;
    uint32_t delay_average_permille;
    uint32_t engine_eighths; /* runnable engine threads, running average */
};
struct rm_budget_input {
    uint64_t now_ns;
    struct rm_budget_limits limits;
    bool protecting;
    uint32_t engine_threads, delay_permille;
    uint64_t queue_wait_ns; /* least wait of late in NORMAL; 0: nothing waits */
};
struct rm_budget_output {
    bool changed;
    char why[128];
};
void rm_budget_init(struct rm_budget *budget, const struct rm_budget_limits *limits,
                    uint32_t normal, uint32_t background);
void rm_budget_step(struct rm_budget *budget, const struct rm_budget_input *input,
                    struct rm_budget_output *output);

#endif
