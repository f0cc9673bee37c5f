/* nvml_event.c - Xid errors, which the driver reports by itself: a set of all cards that is emptied
 * at each look, without waiting, so that no thread is needed for it. */
#include "nvml.h"

enum { EVENTS_MAX = 64 }; /* of one look */

void nvml_watch_card(struct nvml_watch *watch, struct nvml_look *look, struct nvml_card *card)
{
    const struct nvml_api *api = look->api;
    unsigned long long types = 0;

    card->watched = false;
    if (!api->nvmlEventSetCreate || !api->nvmlEventSetWait_v2 || !api->nvmlEventSetFree)
        return;
    if (!NVML_CALL(look, nvmlDeviceGetSupportedEventTypes, &types) || !(types & NVML_EVENT_XID))
        return;
    if (!watch->set && !nvml_ok(look, api->nvmlEventSetCreate(&watch->set))) {
        watch->set = NULL;
        return;
    }
    card->watched = NVML_CALL(look, nvmlDeviceRegisterEvents, NVML_EVENT_XID, watch->set);
}

void nvml_watch_look(struct nvml_watch *watch, const struct nvml_api *api, struct nvml_card *cards,
                     uint32_t count)
{
    for (int i = 0; watch->set && i < EVENTS_MAX; i++) {
        struct nvml_event event = {0};

        if (api->nvmlEventSetWait_v2(watch->set, &event, 0) != NVML_SUCCESS)
            return; /* none waits: NVML_TIMEOUT; a driver that is gone is found by the look */
        for (uint32_t c = 0; c < count; c++) {
            if (event.type != NVML_EVENT_XID || cards[c].handle != event.device)
                continue;
            cards[c].xid_count++;
            cards[c].xid_last = (uint32_t)event.data;
        }
    }
}

void nvml_watch_end(struct nvml_watch *watch, const struct nvml_api *api)
{
    if (watch->set)
        (void)api->nvmlEventSetFree(watch->set);
    watch->set = NULL;
}
