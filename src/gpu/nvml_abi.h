/* nvml_abi.h - the part of NVIDIA's management library that is used here, as its binary interface
 * lays it out (nvml.h of 13.3.29, x86-64 and aarch64); our own, so that no header is needed. */
#ifndef GPU_NVML_ABI_H
#define GPU_NVML_ABI_H

#include <stddef.h>
#include <stdint.h>

enum nvml_return {
    NVML_SUCCESS = 0,
    NVML_UNINITIALIZED = 1,
    NVML_NOT_SUPPORTED = 3,
    NVML_NO_PERMISSION = 4,
    NVML_NOT_FOUND = 6,
    NVML_INSUFFICIENT_SIZE = 7,
    NVML_INSUFFICIENT_POWER = 8,
    NVML_DRIVER_NOT_LOADED = 9,
    NVML_TIMEOUT = 10,
    NVML_IRQ_ISSUE = 11,
    NVML_LIBRARY_NOT_FOUND = 12,
    NVML_GPU_IS_LOST = 15,
    NVML_RESET_REQUIRED = 16,
    NVML_OPERATING_SYSTEM = 17,
    NVML_LIB_RM_VERSION_MISMATCH = 18,
    NVML_GPU_NOT_FOUND = 28,
    NVML_UNKNOWN = 999,
};

enum {
    NVML_CLOCK_GRAPHICS = 0,
    NVML_CLOCK_MEMORY = 2,
    NVML_TEMPERATURE_GPU = 0,
    NVML_P2P_READ = 0,
    NVML_P2P_WRITE = 1,
    NVML_P2P_NVLINK = 2,
    NVML_P2P_STATUS_OK = 0,
    NVML_P2P_STATUS_UNKNOWN = 6,
    NVML_NVLINK_MAX = 36,
    NVML_TEMPERATURE_SLOWDOWN = 1,
    NVML_ECC_CORRECTED = 0,
    NVML_ECC_UNCORRECTED = 1,
    NVML_ECC_SINCE_LOADED = 0,
    NVML_EVENT_XID = 0x8,
    NVML_NAME_MAX = 96,
    NVML_VERSION_MAX = 80,
};

/* Fields of nvmlDeviceGetFieldValues: one call for many readings, each with a code of its own. */
enum {
    NVML_FIELD_RETIRED_PENDING = 31,
    NVML_FIELD_POWER_THROTTLE = 74, /* times that grow while it lasts; their unit is not clear */
    NVML_FIELD_SYNC_BOOST_THROTTLE = 76,
    NVML_FIELD_MEMORY_TEMPERATURE = 82,
    NVML_FIELD_ENERGY = 83,       /* mJ since the driver was loaded */
    NVML_FIELD_NVLINK_SPEED = 90, /* MB/s of one link, each way */
    NVML_FIELD_PCIE_REPLAYS = 94,
    NVML_FIELD_NVLINK_TX = 138, /* KiB, of one link or of all (NVML_SCOPE_ALL) */
    NVML_FIELD_NVLINK_RX = 139,
    NVML_FIELD_REMAPPED_CORRECTED = 142,
    NVML_FIELD_REMAPPED_UNCORRECTED = 143,
    NVML_FIELD_REMAP_PENDING = 144,
    NVML_FIELD_REMAP_FAILED = 145,
    NVML_FIELD_POWER_INSTANT = 186, /* mW; microseconds where PowerUsage takes milliseconds */
    NVML_FIELD_PCIE_TX = 197,       /* bytes; may wrap */
    NVML_FIELD_PCIE_RX = 198,
    /* Bytes of all links: NVML_FI_DEV_NVLINK_COUNT_XMIT_BYTES and _RCV_BYTES of nvml.h, which want
     * the scope of all links (NVIDIA/DCGM, NvmlFieldRequiresNvLinkAggregate of DcgmCMUtils.cpp). */
    NVML_FIELD_NVLINK5_TX = 202,
    NVML_FIELD_NVLINK5_RX = 204,
    NVML_FIELD_RECOVERY_ACTION = 230,
    NVML_FIELD_HEAT_THROTTLE = 269,
    NVML_FIELD_HARDWARE_HEAT_THROTTLE = 270,
    NVML_FIELD_POWER_BRAKE_THROTTLE = 271,
};
#define NVML_SCOPE_ALL UINT32_MAX

/* A version word is the struct's size with its version in the top byte. */
#define NVML_VERSION(type, number) ((unsigned)(sizeof(type) | (unsigned)(number) << 24))

struct nvml_device; /* opaque */
struct nvml_events; /* opaque: a set of events that are waited for */

struct nvml_pci {
    char bus_id_legacy[16];
    unsigned domain, bus, device;
    unsigned pci_device_id, pci_subsystem_id;
    char bus_id[32];
};

struct nvml_memory { /* used includes what the driver reserves */
    unsigned long long total, free, used;
};

struct nvml_memory_v2 { /* used does not */
    unsigned version;
    unsigned long long total, reserved, free, used;
};

struct nvml_utilization {
    unsigned gpu, memory; /* percent of time */
};

struct nvml_temperature {
    unsigned version;
    int sensor;
    int celsius;
};

struct nvml_field_value {
    unsigned field_id, scope_id;
    int64_t timestamp_us, latency_us;
    int value_type; /* enum nvml_value_type */
    int code;       /* enum nvml_return of this field */
    union {
        double f64;
        unsigned u32;
        unsigned long ulong;
        unsigned long long u64;
        signed long long i64;
        int i32;
        unsigned short u16;
    } value;
};

struct nvml_process_sample { /* one process over the last period */
    unsigned pid;
    unsigned long long time_us;
    unsigned sm, memory, encoder, decoder; /* percent */
};

struct nvml_event {
    struct nvml_device *device;
    unsigned long long type, data; /* data: the Xid of an Xid event */
    unsigned gpu_instance, compute_instance;
};

enum nvml_value_type {
    NVML_VALUE_F64,
    NVML_VALUE_U32,
    NVML_VALUE_ULONG,
    NVML_VALUE_U64,
    NVML_VALUE_I64,
    NVML_VALUE_I32,
    NVML_VALUE_U16
};

/* The process entry came in three sizes under one function name; it is read by offset:
 * pid at 0 (u32), used bytes at 8 (u64), and 16, 24 or 32 bytes in all. */
enum {
    NVML_PROCESS_PID_AT = 0,
    NVML_PROCESS_USED_AT = 8,
    NVML_PROCESS_STRIDE_MAX = 32,
};

/* Known size and offset pairs; a compiler that lays them out otherwise must not build this. */
_Static_assert(sizeof(struct nvml_pci) == 68 && offsetof(struct nvml_pci, domain) == 16 &&
                   offsetof(struct nvml_pci, bus) == 20 &&
                   offsetof(struct nvml_pci, device) == 24 &&
                   offsetof(struct nvml_pci, pci_device_id) == 28 &&
                   offsetof(struct nvml_pci, pci_subsystem_id) == 32 &&
                   offsetof(struct nvml_pci, bus_id) == 36,
               "nvmlPciInfo_t");
_Static_assert(sizeof(struct nvml_memory) == 24 && offsetof(struct nvml_memory, free) == 8 &&
                   offsetof(struct nvml_memory, used) == 16,
               "nvmlMemory_t");
_Static_assert(sizeof(struct nvml_memory_v2) == 40 && offsetof(struct nvml_memory_v2, total) == 8 &&
                   offsetof(struct nvml_memory_v2, reserved) == 16 &&
                   offsetof(struct nvml_memory_v2, free) == 24 &&
                   offsetof(struct nvml_memory_v2, used) == 32,
               "nvmlMemory_v2_t");
_Static_assert(NVML_VERSION(struct nvml_memory_v2, 2) == 0x02000028, "nvmlMemory_v2");
_Static_assert(sizeof(struct nvml_utilization) == 8 &&
                   offsetof(struct nvml_utilization, memory) == 4,
               "nvmlUtilization_t");
_Static_assert(sizeof(struct nvml_temperature) == 12 &&
                   offsetof(struct nvml_temperature, sensor) == 4 &&
                   offsetof(struct nvml_temperature, celsius) == 8 &&
                   NVML_VERSION(struct nvml_temperature, 1) == 0x0100000c,
               "nvmlTemperature_v1_t");
_Static_assert(sizeof(struct nvml_process_sample) == 32 &&
                   offsetof(struct nvml_process_sample, time_us) == 8 &&
                   offsetof(struct nvml_process_sample, sm) == 16 &&
                   offsetof(struct nvml_process_sample, decoder) == 28,
               "nvmlProcessUtilizationSample_t");
_Static_assert(sizeof(struct nvml_event) == 32 && offsetof(struct nvml_event, type) == 8 &&
                   offsetof(struct nvml_event, data) == 16 &&
                   offsetof(struct nvml_event, gpu_instance) == 24,
               "nvmlEventData_t");
_Static_assert(sizeof(struct nvml_field_value) == 40 &&
                   offsetof(struct nvml_field_value, scope_id) == 4 &&
                   offsetof(struct nvml_field_value, timestamp_us) == 8 &&
                   offsetof(struct nvml_field_value, latency_us) == 16 &&
                   offsetof(struct nvml_field_value, value_type) == 24 &&
                   offsetof(struct nvml_field_value, code) == 28 &&
                   offsetof(struct nvml_field_value, value) == 32,
               "nvmlFieldValue_t");

#endif
