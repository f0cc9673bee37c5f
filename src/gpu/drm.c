/* drm.c - cards, links and names below /sys/class/drm. */
#include "drm.h"

#include "dgo_text.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool drm_number(const char *root, const char *folder, const char *file, uint64_t *value)
{
    char path[2 * DRM_PATH_MAX], text[64];
    char *end = NULL;

    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, file) >= sizeof path ||
        !gpu_read_text(root, path, text, sizeof text) || text[0] < '0' || text[0] > '9')
        return false;
    *value = strtoull(text, &end, 0);
    return *end == '\0' || *end == ' ' || *end == '\n';
}

/* ---- names --------------------------------------------------------------------------------- */

/* "1002  Advanced Micro ..." then "\t744c  Navi 31 [Radeon RX 7900 XTX]": what stands in brackets
 * is what people call it. */
static bool find_in_list(FILE *file, uint32_t vendor_id, uint32_t device_id, char *name,
                         size_t size)
{
    char line[512];
    bool ours = false;

    while (fgets(line, sizeof line, file)) {
        const char *open, *close;
        const size_t length = strcspn(line, "\n");

        if (line[0] != '\t') {
            if (ours)
                return false; /* the next vendor */
            ours = strtoul(line, NULL, 16) == vendor_id && strspn(line, "0123456789abcdef") == 4;
            continue;
        }
        if (!ours || line[1] == '\t' || strtoul(line + 1, NULL, 16) != device_id)
            continue;
        open = memchr(line, '[', length);
        close = open ? memchr(open, ']', length - (size_t)(open - line)) : NULL;
        if (close)
            dgo_text_copy_escaped(name, size, open + 1, (size_t)(close - open - 1));
        else
            dgo_text_copy_escaped(name, size, line + 7, length > 7 ? length - 7 : 0);
        return true;
    }
    return false;
}

static void read_name(const char *root, uint32_t vendor_id, struct drm_card *card)
{
    static const char *const lists[] = {"/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"};
    char path[2 * DRM_PATH_MAX], text[DGO_GPU_TEXT_MAX] = "", full[PATH_MAX];
    const char *maker = vendor_id == 0x1002 ? "AMD" : "Intel";

    snprintf(path, sizeof path, "%s/product_name", card->path);
    if (!gpu_read_text(root, path, text, sizeof text) || text[0] == '\0') {
        for (size_t i = 0; i < sizeof lists / sizeof lists[0] && text[0] == '\0'; i++) {
            FILE *file;

            snprintf(full, sizeof full, "%.3000s%s", root, lists[i]);
            file = fopen(full, "re");
            if (!file)
                continue;
            (void)find_in_list(file, vendor_id, card->device_id, text, sizeof text);
            fclose(file);
        }
    }
    if (text[0] == '\0')
        snprintf(text, sizeof text, "GPU %04" PRIx32, card->device_id);
    snprintf(path, sizeof path, "%s%s%s", strncmp(text, maker, strlen(maker)) ? maker : "",
             strncmp(text, maker, strlen(maker)) ? " " : "", text);
    dgo_text_copy_escaped(card->fixed.name, sizeof card->fixed.name, path, strlen(path));
}

/* ---- the list ------------------------------------------------------------------------------ */

/* "PCI_SLOT_NAME=0000:03:00.0" in the card's uevent: the folder itself is a link on real machines.
 */
static bool read_pci_id(const char *root, struct drm_card *card)
{
    static const char key[] = "PCI_SLOT_NAME=";
    char path[2 * DRM_PATH_MAX], text[1024], slot[32];
    const char *at;

    snprintf(path, sizeof path, "%s/uevent", card->path);
    if (!gpu_read_text(root, path, text, sizeof text) || !(at = strstr(text, key)))
        return false;
    at += strlen(key);
    snprintf(slot, sizeof slot, "%.*s", (int)(strcspn(at, "\n") & 31), at);
    return gpu_pci_normalise(slot, card->pci_id);
}

static void find_hwmon(const char *root, struct drm_card *card)
{
    char full[PATH_MAX];
    const struct dirent *entry;
    DIR *dir;

    snprintf(full, sizeof full, "%.3000s%s/hwmon", root, card->path);
    dir = opendir(full);
    if (!dir)
        return;
    while ((entry = readdir(dir)))
        if (strncmp(entry->d_name, "hwmon", 5) == 0)
            snprintf(card->hwmon, sizeof card->hwmon, "%.60s/hwmon/%.24s", card->path,
                     entry->d_name);
    closedir(dir);
}

static bool is_card(const char *name)
{
    return strncmp(name, "card", 4) == 0 && name[4] != '\0' &&
           strspn(name + 4, "0123456789") == strlen(name + 4);
}

static int by_place(const void *a, const void *b)
{
    const struct drm_card *one = a, *other = b;

    return strcmp(one->pci_id, other->pci_id);
}

static bool read_card(const char *root, const char *name, uint32_t vendor_id, struct drm_card *card)
{
    uint64_t vendor = 0, device = 0;

    *card = (struct drm_card){.path = ""};
    snprintf(card->path, sizeof card->path, "/sys/class/drm/%.16s/device", name);
    if (!drm_number(root, card->path, "vendor", &vendor) || vendor != vendor_id ||
        !read_pci_id(root, card))
        return false;
    (void)drm_number(root, card->path, "device", &device);
    card->device_id = (uint32_t)device;
    return true;
}

uint32_t drm_list(const char *root, uint32_t vendor_id, enum dgo_gpu_vendor vendor,
                  struct drm_card *cards, uint32_t most)
{
    char full[PATH_MAX];
    const struct dirent *entry;
    uint32_t count = 0;
    DIR *dir;

    snprintf(full, sizeof full, "%.3000s/sys/class/drm", root);
    dir = opendir(full);
    if (!dir)
        return 0;
    while (count < most && (entry = readdir(dir)))
        if (is_card(entry->d_name) && read_card(root, entry->d_name, vendor_id, &cards[count]))
            count++;
    closedir(dir);
    if (count > 1)
        qsort(cards, count, sizeof cards[0], by_place);
    for (uint32_t i = 0; i < count; i++) {
        cards[i].fixed.vendor = vendor;
        dgo_text_copy(cards[i].fixed.pci_id, sizeof cards[i].fixed.pci_id, cards[i].pci_id);
        read_name(root, vendor_id, &cards[i]);
        find_hwmon(root, &cards[i]);
    }
    return count;
}

/* ---- readings ------------------------------------------------------------------------------ */

/* "16.0 GT/s PCIe" is generation 4. */
static uint32_t generation_of(const char *root, const struct drm_card *card, const char *file)
{
    static const double rates[] = {0, 2.5, 5, 8, 16, 32, 64};
    char path[2 * DRM_PATH_MAX], text[64];
    double rate;

    snprintf(path, sizeof path, "%s/%s", card->path, file);
    if (!gpu_read_text(root, path, text, sizeof text))
        return 0;
    rate = strtod(text, NULL);
    for (uint32_t i = 1; i < sizeof rates / sizeof rates[0]; i++)
        if (rate > rates[i] - 0.1 && rate < rates[i] + 0.1)
            return i;
    return 0;
}

void drm_read_link(const char *root, const struct drm_card *card, struct dgo_gpu *gpu)
{
    const uint32_t now = generation_of(root, card, "current_link_speed");
    const uint32_t most = generation_of(root, card, "max_link_speed");
    uint64_t width = 0;

    if (now)
        GPU_SET(gpu, PCIE_GEN, pcie_gen, now);
    if (most)
        GPU_SET(gpu, PCIE_GEN_MAX, pcie_gen_max, most);
    if (drm_number(root, card->path, "current_link_width", &width) && width >= 1 && width <= 32)
        GPU_SET(gpu, PCIE_WIDTH, pcie_width, (uint32_t)width);
    if (drm_number(root, card->path, "max_link_width", &width) && width >= 1 && width <= 32)
        GPU_SET(gpu, PCIE_WIDTH_MAX, pcie_width_max, (uint32_t)width);
}

bool drm_left_asleep(const char *root, const struct drm_card *card, bool wake, struct dgo_gpu *gpu)
{
    char path[2 * DRM_PATH_MAX], text[16];

    snprintf(path, sizeof path, "%s/power/runtime_status", card->path);
    if (wake || !gpu_read_text(root, path, text, sizeof text) || strcmp(text, "suspended") != 0)
        return false;
    *gpu = card->fixed;
    dgo_text_copy(gpu->problem, sizeof gpu->problem, gpu_asleep_sentence);
    return true;
}
