/* dgo_batch.h - a workload as numbers: how long its requests are, which buckets waste least, how
 * few bins hold it, how it arrives.
 *
 * Pure arithmetic on the caller's values: no I/O, no clock, no threads.  Lengths are tokens, times
 * seconds.  Any thread. */
#ifndef DGO_BATCH_H
#define DGO_BATCH_H

#include "dgo_arena.h"
#include "dgo_base.h"

enum {
    DGO_BUCKET_MAX = 16,              /* buckets that a segmentation is made for */
    DGO_REQUEST_MAX = 1 << 24,        /* of one workload: 256 MiB */
    DGO_REQUEST_TOKENS_MAX = 1 << 30, /* of one prompt or answer; no model is near it */
    DGO_PACK_CAPACITY_MAX = 1 << 24,  /* of one bin */
    DGO_HISTOGRAM_MAX = 64,
};

/* One request.  What its source does not say is not known, which is not zero. */
struct dgo_request {
    uint32_t prompt_tokens;
    uint32_t generated_tokens; /* 0 where workload.generated_known is false */
    double arrival_s;          /* after the first one; 0 where arrivals are not known */
};

/* Requests in the order of their source.  Owned by who made it; dgo_workload_done frees it. */
struct dgo_workload {
    uint32_t count, room;
    struct dgo_request *request;
    bool generated_known; /* of every request */
    bool arrivals_known;  /* of every request */
    bool estimated;       /* some length was guessed from bytes, not counted */
};

/* Adds one; DGO_ENOMEM, DGO_ELIMIT. */
enum dgo_status dgo_workload_add(struct dgo_workload *workload, const struct dgo_request *request,
                                 struct dgo_error *err) DGO_MUST_CHECK;
/* By arrival, so that the first one comes at 0; equal times keep their order. */
void dgo_workload_sort(struct dgo_workload *workload);
void dgo_workload_done(struct dgo_workload *workload);

/* ---- lengths ---------------------------------------------------------------------------- */

enum dgo_length_kind { DGO_LENGTH_PROMPT, DGO_LENGTH_GENERATED, DGO_LENGTH_TOTAL };

/* The distinct lengths, ascending, with how often each occurs, and running sums: what every
 * analysis below reads.  In the arena it was made with. */
struct dgo_lengths {
    uint32_t distinct;
    const uint32_t *length;       /* [distinct] */
    const uint64_t *count_before; /* [distinct + 1]: requests shorter than length[i] */
    const uint64_t *sum_before;   /* [distinct + 1]: tokens of those */
};

/* An empty workload gives distinct 0.  DGO_ENOMEM. */
enum dgo_status dgo_lengths_make(const struct dgo_workload *workload, enum dgo_length_kind kind,
                                 struct dgo_arena *arena, struct dgo_lengths *lengths,
                                 struct dgo_error *err) DGO_MUST_CHECK;

static inline uint64_t dgo_lengths_count(const struct dgo_lengths *lengths)
{
    return lengths->distinct ? lengths->count_before[lengths->distinct] : 0;
}
static inline uint64_t dgo_lengths_sum(const struct dgo_lengths *lengths)
{
    return lengths->distinct ? lengths->sum_before[lengths->distinct] : 0;
}

/* The smallest length that at least `share` (0..1) of the requests do not exceed (nearest rank: a
 * length that occurs, never one between two); 0 without requests. */
uint32_t dgo_lengths_percentile(const struct dgo_lengths *lengths, double share);
/* How many requests are longer than `tokens`. */
uint64_t dgo_lengths_above(const struct dgo_lengths *lengths, uint32_t tokens);

/* Counts by size: bin i holds lengths in (up_to[i - 1], up_to[i]]; the borders are powers of two
 * and the middles between them, from the shortest to the longest. */
struct dgo_histogram {
    uint32_t bins;
    uint32_t up_to[DGO_HISTOGRAM_MAX];
    uint64_t count[DGO_HISTOGRAM_MAX];
};
void dgo_histogram_make(const struct dgo_lengths *lengths, struct dgo_histogram *histogram);

/* ---- buckets ---------------------------------------------------------------------------- */

/* Every request is padded to the upper bound of its bucket. */
struct dgo_buckets {
    uint32_t k;                        /* asked for */
    uint32_t bound_count;              /* min(k, distinct lengths) */
    uint32_t bound[DGO_BUCKET_MAX];    /* upper bounds, ascending; the last is the longest */
    uint64_t requests[DGO_BUCKET_MAX]; /* in each */
    uint64_t waste_tokens; /* sum over requests of (bound - length): the least there is */
};

/* The optimum for each k = 1..k_max (at most DGO_BUCKET_MAX) into buckets[0..k_max - 1].
 * One-dimensional segmentation of the distinct lengths: least[k][j] = min over i of least[k-1][i] +
 * cost(i, j).  cost is concave Monge, so the best i never falls with j, and divide and conquer over
 * j finds all of a row in O(n log n).  DGO_ENOMEM. */
enum dgo_status dgo_buckets_make(const struct dgo_lengths *lengths, uint32_t k_max,
                                 struct dgo_buckets *buckets, struct dgo_error *err) DGO_MUST_CHECK;

/* ---- padding ---------------------------------------------------------------------------- */

/* Tokens computed for nothing when batches of `batch` requests are padded to their longest. */
struct dgo_padding {
    uint32_t batch;
    uint64_t tokens;               /* wanted */
    uint64_t arrival_waste_tokens; /* batches in order of arrival */
    uint64_t sorted_waste_tokens;  /* batches of neighbours in length */
};
void dgo_padding_make(const struct dgo_workload *workload, const struct dgo_lengths *prompts,
                      uint32_t batch, struct dgo_padding *padding);

/* ---- packing ---------------------------------------------------------------------------- */

enum dgo_pack_method { DGO_PACK_NONE, DGO_PACK_FFD, DGO_PACK_BFD, DGO_PACK_SEARCH };
const char *dgo_pack_method_name(enum dgo_pack_method method); /* "ffd", ... */

/* Called for each `times` requests of `length` put into `bin` by the method asked for. */
typedef void (*dgo_place_fn)(uint32_t bin, uint32_t length, uint64_t times, void *data);

struct dgo_packing {
    uint32_t capacity;        /* tokens of a bin */
    uint64_t items, too_long; /* packed; longer than a bin and left out */
    uint64_t tokens;          /* of the packed */
    uint64_t bins;            /* the fewest found */
    uint64_t lower_bound;     /* no packing has fewer: Martello and Toth's L2, raised by search */
    uint64_t ffd_bins, bfd_bins;
    enum dgo_pack_method method; /* that found `bins` */
};

/* First-fit and best-fit decreasing, the L2 bound (Martello and Toth 1990), and for at most
 * DGO_PACK_SEARCH_MAX items, where they differ, a bounded exact search that lowers `bins` or raises
 * the bound.  capacity 1..DGO_PACK_CAPACITY_MAX.  DGO_EINVAL, DGO_ENOMEM. */
enum { DGO_PACK_SEARCH_MAX = 48 };
enum dgo_status dgo_pack(const struct dgo_lengths *lengths, uint32_t capacity,
                         struct dgo_packing *packing, struct dgo_error *err) DGO_MUST_CHECK;

/* One of the two heuristics alone, with every placement told to `place` (may be NULL). */
enum dgo_status dgo_pack_first_fit(const struct dgo_lengths *lengths, uint32_t capacity,
                                   dgo_place_fn place, void *data, uint64_t *bins,
                                   struct dgo_error *err) DGO_MUST_CHECK;
enum dgo_status dgo_pack_best_fit(const struct dgo_lengths *lengths, uint32_t capacity,
                                  dgo_place_fn place, void *data, uint64_t *bins,
                                  struct dgo_error *err) DGO_MUST_CHECK;
uint64_t dgo_pack_lower_bound(const struct dgo_lengths *lengths, uint32_t capacity);

/* A capacity to show where none was asked for: the smallest power of two, at least 2048, that the
 * longest request fits into. */
uint32_t dgo_pack_capacity_default(const struct dgo_lengths *lengths);

/* ---- arrivals --------------------------------------------------------------------------- */

struct dgo_arrivals {
    double span_s; /* first to last */
    double mean_per_s;
    double peak_minute_per_s; /* the busiest 60 s */
    double gap_variation;     /* standard deviation of the gaps over their mean; 1: Poisson */
};
/* The workload must be sorted (dgo_workload_sort) and know its arrivals; false: fewer than two
 * requests, or all at once. */
bool dgo_arrivals_make(const struct dgo_workload *workload, struct dgo_arrivals *arrivals);

#endif
