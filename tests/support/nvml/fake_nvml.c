/* A stand-in for libnvidia-ml.so.1: the functions that nvidia-ml-py calls for us, with the layouts of the real ones.
 *
 * What it answers stands in a control file (script.h). It counts calls, and opens files in nvmlInit and closes them in
 * nvmlShutdown, as the real one does.
 */
#include "script.h"

enum { SUCCESS, UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND = 6, INSUFFICIENT_SIZE,
       TIMEOUT = 10, GPU_IS_LOST = 15, MISMATCH = 18, UNKNOWN = 999 };
#define FILES 3
#define ABSENT 0xFFFFFFFFFFFFFFFFULL

typedef struct device *device_t;
typedef struct event_set { int slot; unsigned long long told; } *event_set_t;

static struct device { int slot; } devices[SLOTS];
static int initialised, files[FILES];
static struct { char name[80]; unsigned count; } calls[64];

unsigned fake_calls(const char *name)
{
    for (int i = 0; i < 64; i++)
        if (strcmp(calls[i].name, name) == 0)
            return calls[i].count;
    return 0;
}

static void count(const char *name)
{
    pthread_mutex_lock(&guard);
    for (int i = 0; i < 64; i++)
        if (!calls[i].name[0] || strcmp(calls[i].name, name) == 0) {
            snprintf(calls[i].name, sizeof calls[i].name, "%s", name);
            calls[i].count++;
            break;
        }
    pthread_mutex_unlock(&guard);
}

/* What happens to every call, before it does anything: it may hang, and may fail. -1: no GPU is asked. */
static int check(const char *name, int slot)
{
    char key[120];
    for (;;) {
        snprintf(key, sizeof key, "hang.%s", name);
        if (!number_of(key, 0) && (slot < 0 || !slot_number(slot, key, 0)))
            break;
        usleep(2000);
    }
    snprintf(key, sizeof key, "error.%s", name);
    int error = (int)number_of(key, 0);
    if (!error && slot >= 0)
        error = (int)slot_number(slot, key, 0);
    if (error)
        return error;
    if (!strcmp(name, "nvmlErrorString"))
        return SUCCESS;
    if (number_of("mismatch", 0))
        return MISMATCH;
    if (strcmp(name, "nvmlInitWithFlags") && !initialised)
        return UNINITIALIZED;
    return slot >= 0 && slot_number(slot, "lost", 0) ? GPU_IS_LOST : SUCCESS;
}

static int enter(const char *name, int slot)
{
    count(name);
    return check(name, slot);
}

#define ENTER(slot) do { int error_ = enter(__func__, slot); if (error_) return error_; } while (0)
#define ENTER_GPU(device) do { if (!(device)) return INVALID_ARGUMENT; ENTER((device)->slot); } while (0)

static int give_text(int slot, const char *key, char *out, unsigned size)
{
    char value[160];
    if (!(slot < 0 ? text_of(key, value, sizeof value) : slot_text(slot, key, value, sizeof value)))
        return NOT_SUPPORTED;
    if (strlen(value) + 1 > size)
        return INSUFFICIENT_SIZE;
    strcpy(out, value);
    return SUCCESS;
}

static int give_number(int slot, const char *key, unsigned *out)
{
    unsigned long long value = slot_number(slot, key, ABSENT);
    *out = (unsigned)value;
    return value == ABSENT ? NOT_SUPPORTED : SUCCESS;
}

static device_t handle(int slot)
{
    devices[slot].slot = slot;
    return &devices[slot];
}

int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    ENTER(-1);
    if (!initialised++)
        for (int i = 0; i < FILES; i++)
            files[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
    return SUCCESS;
}

int nvmlShutdown(void)
{
    ENTER(-1);
    if (!--initialised)
        for (int i = 0; i < FILES; i++)
            close(files[i]);
    return SUCCESS;
}

const char *nvmlErrorString(int error)
{
    (void)error;
    return "an error of the fake library";
}

int nvmlSystemGetDriverVersion(char *out, unsigned size)
{
    ENTER(-1);
    return give_text(-1, "driver", out, size);
}

int nvmlSystemGetCudaDriverVersion(int *out)
{
    ENTER(-1);
    *out = (int)number_of("cuda", 0);
    return SUCCESS;
}

int nvmlSystemGetCudaDriverVersion_v2(int *out)
{
    ENTER(-1);
    *out = (int)number_of("cuda", 0);
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *out)
{
    int slots[SLOTS];
    ENTER(-1);
    *out = (unsigned)order_of(slots);
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t *out)
{
    int slots[SLOTS], found = order_of(slots);
    ENTER(-1);
    if (index >= (unsigned)found)
        return INVALID_ARGUMENT;
    int error = check(__func__, slots[index]);
    if (error)
        return error;
    *out = handle(slots[index]);
    return SUCCESS;
}

static int by_text(const char *name, const char *key, const char *wanted, device_t *out)
{
    char value[160];
    int slots[SLOTS], found = order_of(slots);
    for (int slot = 0; slot < SLOTS; slot++) {
        int on_bus = slot_number(slot, "parent", ABSENT) != ABSENT;
        for (int i = 0; i < found; i++)
            on_bus |= slots[i] == slot;
        if (!on_bus || !slot_text(slot, key, value, sizeof value))
            continue;
        size_t skip = strlen(value) > strlen(wanted) ? strlen(value) - strlen(wanted) : 0;
        if (strcasecmp(strcmp(key, "bus") ? value : value + skip, wanted))
            continue;
        int error = check(name, slot);
        if (error)
            return error;
        *out = handle(slot);
        return SUCCESS;
    }
    return NOT_FOUND;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, device_t *out)
{
    ENTER(-1);
    return by_text(__func__, "uuid", uuid, out);
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, device_t *out)
{
    ENTER(-1);
    return by_text(__func__, "bus", bus, out);
}

int nvmlDeviceGetName(device_t device, char *out, unsigned size)
{
    ENTER_GPU(device);
    return give_text(device->slot, "name", out, size);
}

int nvmlDeviceGetUUID(device_t device, char *out, unsigned size)
{
    ENTER_GPU(device);
    return give_text(device->slot, "uuid", out, size);
}

int nvmlDeviceIsMigDeviceHandle(device_t device, unsigned *out)
{
    ENTER_GPU(device);
    *out = slot_number(device->slot, "parent", ABSENT) != ABSENT;
    return SUCCESS;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device_t device, device_t *out)
{
    ENTER_GPU(device);
    unsigned long long parent = slot_number(device->slot, "parent", ABSENT);
    if (parent == ABSENT)
        return INVALID_ARGUMENT;
    *out = handle((int)parent);
    return SUCCESS;
}

struct pci { char legacy[16]; unsigned domain, bus, device, ids, subsystem; char id[32]; };

int nvmlDeviceGetPciInfo_v3(device_t device, struct pci *out)
{
    ENTER_GPU(device);
    memset(out, 0, sizeof *out);
    return give_text(device->slot, "bus", out->id, sizeof out->id);
}

static int memory(int slot, unsigned long long *total, unsigned long long *free_, unsigned long long *used)
{
    char uuid[160] = "";
    unsigned pids[64];
    unsigned long long bytes[64];
    *total = slot_number(slot, "total", ABSENT);
    if (*total == ABSENT)
        return NOT_SUPPORTED;
    *used = slot_number(slot, "used", 0);
    slot_text(slot, "uuid", uuid, sizeof uuid);
    for (int i = held(uuid, pids, bytes, 64) - 1; i >= 0; i--)
        *used += bytes[i];
    *free_ = *used < *total ? *total - *used : 0;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(device_t device, unsigned long long *out)
{
    ENTER_GPU(device);
    return memory(device->slot, &out[0], &out[1], &out[2]);
}

struct memory_v2 { unsigned version; unsigned long long total, reserved, free, used; };

int nvmlDeviceGetMemoryInfo_v2(device_t device, struct memory_v2 *out)
{
    ENTER_GPU(device);
    if (out->version != 0x02000028)
        return 25;
    out->reserved = 0;
    return memory(device->slot, &out->total, &out->free, &out->used);
}

int nvmlDeviceGetUtilizationRates(device_t device, unsigned *out)
{
    ENTER_GPU(device);
    out[1] = 0;
    return give_number(device->slot, "util", &out[0]);
}

int nvmlDeviceGetTemperature(device_t device, int sensor, unsigned *out)
{
    ENTER_GPU(device);
    return sensor ? INVALID_ARGUMENT : give_number(device->slot, "temperature", out);
}

struct temperature { unsigned version; int sensor, degrees; };

int nvmlDeviceGetTemperatureV(device_t device, struct temperature *out)
{
    ENTER_GPU(device);
    return out->sensor ? INVALID_ARGUMENT : give_number(device->slot, "temperature", (unsigned *)&out->degrees);
}

int nvmlDeviceGetPowerUsage(device_t device, unsigned *out)
{
    ENTER_GPU(device);
    return give_number(device->slot, "power", out);
}

int nvmlDeviceGetEnforcedPowerLimit(device_t device, unsigned *out)
{
    ENTER_GPU(device);
    return give_number(device->slot, "power_limit", out);
}

int nvmlDeviceGetClockInfo(device_t device, int type, unsigned *out)
{
    ENTER_GPU(device);
    return give_number(device->slot, type == 1 ? "sm_clock" : "memory_clock", out);
}

int nvmlDeviceGetTotalEccErrors(device_t device, int type, int counter, unsigned long long *out)
{
    unsigned value;
    (void)counter;
    ENTER_GPU(device);
    int error = give_number(device->slot, type ? "ecc_uncorrected" : "ecc_corrected", &value);
    *out = value;
    return error;
}

int nvmlDeviceGetRemappedRows(device_t device, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failed)
{
    ENTER_GPU(device);
    *corrected = *uncorrected = *failed = 0;
    return give_number(device->slot, "rows_pending", pending);
}

int nvmlDeviceGetRetiredPagesPendingStatus(device_t device, unsigned *pending)
{
    ENTER_GPU(device);
    return give_number(device->slot, "pages_pending", pending);
}

int nvmlDeviceGetCurrentClocksEventReasons(device_t device, unsigned long long *out)
{
    ENTER_GPU(device);
    *out = slot_number(device->slot, "throttle", ABSENT);
    return *out == ABSENT ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(device_t device, unsigned long long *out)
{
    ENTER_GPU(device);
    *out = slot_number(device->slot, "throttle", ABSENT);
    return *out == ABSENT ? NOT_SUPPORTED : SUCCESS;
}

struct process { unsigned pid; unsigned long long memory; unsigned instance, compute; };

static int processes(int slot, unsigned *room, struct process *out)
{
    char value[160] = "", uuid[160] = "", *at, *word;
    unsigned pids[64], found = 0;
    unsigned long long bytes[64];
    if (!slot_text(slot, "processes", value, sizeof value))
        return NOT_SUPPORTED;
    for (word = strtok_r(value, " ", &at); word && found < 32 && strcmp(word, "-"); word = strtok_r(NULL, " ", &at)) {
        bytes[found] = ABSENT;
        sscanf(word, "%u:%llu", &pids[found], &bytes[found]);
        found++;
    }
    slot_text(slot, "uuid", uuid, sizeof uuid);
    found += (unsigned)held(uuid, pids + found, bytes + found, 32);
    if (*room < found) {
        *room = found;
        return INSUFFICIENT_SIZE;
    }
    for (unsigned i = 0; i < found; i++)
        out[i] = (struct process){pids[i], bytes[i], 0xFFFFFFFF, 0xFFFFFFFF};
    *room = found;
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v2(device_t device, unsigned *room, struct process *out)
{
    ENTER_GPU(device);
    return processes(device->slot, room, out);
}

int nvmlDeviceGetComputeRunningProcesses_v3(device_t device, unsigned *room, struct process *out)
{
    ENTER_GPU(device);
    return processes(device->slot, room, out);
}

int nvmlEventSetCreate(event_set_t *out)
{
    ENTER(-1);
    *out = calloc(1, sizeof **out);
    (*out)->slot = -1;
    return SUCCESS;
}

int nvmlDeviceRegisterEvents(device_t device, unsigned long long types, event_set_t set)
{
    ENTER_GPU(device);
    if (slot_number(device->slot, "parent", ABSENT) != ABSENT || types != 8)
        return NOT_SUPPORTED;
    set->slot = device->slot;
    return SUCCESS;
}

struct event { device_t device; unsigned long long type, data; unsigned instance, compute; };

/* "SLOT.xids 3" with "SLOT.xid 79": three events with that number in all. */
int nvmlEventSetWait_v2(event_set_t set, struct event *out, unsigned milliseconds)
{
    ENTER(set->slot);
    if (set->slot < 0 || set->told >= slot_number(set->slot, "xids", 0)) {
        usleep(milliseconds * 1000);
        return TIMEOUT;
    }
    set->told++;
    *out = (struct event){handle(set->slot), 8, slot_number(set->slot, "xid", 0), 0xFFFFFFFF, 0xFFFFFFFF};
    return SUCCESS;
}

int nvmlEventSetFree(event_set_t set)
{
    ENTER(-1);
    free(set);
    return SUCCESS;
}
