/* dgo_units.h - bytes, durations and rates to text and back.
 *
 * Binary units for memory (KiB, MiB, GiB, TiB), decimal for rates (GB/s), as the field does.
 * Printing writes into the caller's buffer and returns it, so it can stand in a printf argument;
 * parsing takes the whole string or fails with a sentence that shows what would be accepted.
 * Any thread. */
#ifndef DGO_UNITS_H
#define DGO_UNITS_H

#include "dgo_base.h"

#define DGO_KIB (UINT64_C(1) << 10)
#define DGO_MIB (UINT64_C(1) << 20)
#define DGO_GIB (UINT64_C(1) << 30)
#define DGO_TIB (UINT64_C(1) << 40)

#define DGO_NS_PER_US UINT64_C(1000)
#define DGO_NS_PER_MS UINT64_C(1000000)
#define DGO_NS_PER_S  UINT64_C(1000000000)

enum { DGO_UNIT_TEXT_MAX = 32 };

/* "0 B", "512 B", "4.00 KiB", "23.54 GiB": two decimals in the largest unit below the value. */
const char *dgo_bytes_text(uint64_t bytes, char text[DGO_UNIT_TEXT_MAX]);

/* "4326.15 MiB": always MiB, the unit engine logs use, so that figures can be compared by eye. */
const char *dgo_mib_text(uint64_t bytes, char text[DGO_UNIT_TEXT_MAX]);

/* "24", "24B", "24 KiB", "1.5GiB", "24g", "24GB" (decimal).  Bytes when no unit is given.
 * Fails with DGO_EINVAL on anything else, on a negative number and above 2^63. */
enum dgo_status dgo_bytes_parse(const char *text, uint64_t *bytes,
                                struct dgo_error *err) DGO_MUST_CHECK;

/* "250 ns", "12.3 us", "4.5 ms", "1.25 s", "3m05s", "2h10m", "3d04h". */
const char *dgo_duration_text(uint64_t ns, char text[DGO_UNIT_TEXT_MAX]);

/* "250ms", "30s", "5m", "2h", "1d", "90" (seconds). */
enum dgo_status dgo_duration_parse(const char *text, uint64_t *ns,
                                   struct dgo_error *err) DGO_MUST_CHECK;

/* "936 GB/s", "63.5 GB/s". */
const char *dgo_rate_text(double bytes_per_second, char text[DGO_UNIT_TEXT_MAX]);

/* "936GB/s", "936" (GB/s), "550MB/s" to bytes per second. */
enum dgo_status dgo_rate_parse(const char *text, double *bytes_per_second,
                               struct dgo_error *err) DGO_MUST_CHECK;

/* A decimal number with nothing around it, within [least, most]. `what` names it in the error. */
enum dgo_status dgo_u64_parse(const char *text, const char *what, uint64_t least, uint64_t most,
                              uint64_t *value, struct dgo_error *err) DGO_MUST_CHECK;

#endif
