/* names.c - the words for what a GPU's readings say. */
#include "driver.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <time.h>

const char gpu_asleep_sentence[] =
    "asleep to save power, and left so; any program that uses it wakes it";

#define NAME_OF(names, index, otherwise)                                                           \
    ((size_t)(index) < sizeof(names) / sizeof((names)[0]) ? (names)[index] : (otherwise))

const char *dgo_process_role_name(enum dgo_process_role role)
{
    static const char *const names[] = {"other", "engine", "desktop", "browser", "ours"};

    return NAME_OF(names, role, names[DGO_ROLE_OTHER]);
}

const char *dgo_throttle_name(enum dgo_throttle why)
{
    static const char *const names[] = {"idle",          "clock_setting", "power_cap",
                                        "hardware",      "sync_boost",    "heat",
                                        "hardware_heat", "power_brake",   "display"};

    return NAME_OF(names, why, "unknown");
}

const char *dgo_recovery_name(uint32_t action)
{
    static const char *const names[] = {"none", "reset", "reboot", "drain", "drain_and_reset"};

    return NAME_OF(names, action, "unknown");
}

const char *dgo_origin_text(const struct dgo_origin *origin, char text[DGO_ORIGIN_TEXT_MAX])
{
    const time_t began = (time_t)(origin->recorded_ns / DGO_NS_PER_S);
    struct tm day;

    text[0] = '\0';
    if (origin->simulated)
        dgo_text_copy(text, DGO_ORIGIN_TEXT_MAX, "SIMULATED");
    else if (origin->recorded &&
             (!origin->recorded_ns || !gmtime_r(&began, &day) ||
              strftime(text, DGO_ORIGIN_TEXT_MAX, "recorded %Y-%m-%d %H:%M UTC", &day) == 0))
        dgo_text_copy(text, DGO_ORIGIN_TEXT_MAX, "recorded");
    return text;
}
