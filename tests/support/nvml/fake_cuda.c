/* A stand-in for libcuda.so.1, as much as shows which GPUs a process sees and whether its memory use is seen.
 *
 * It honours CUDA_VISIBLE_DEVICES as the real one does: numbers in the order of the bus, or UUIDs that may be cut short;
 * at the first entry that names nothing the list ends.
 */
#include "script.h"

enum { SUCCESS, INVALID_VALUE, OUT_OF_MEMORY, NOT_INITIALIZED, NO_DEVICE = 100 };

static int visible[SLOTS], visible_count = -1, current = -1;

static int named(const char *word, const int *slots, int found)
{
    char uuid[160];
    if (word[0] >= '0' && word[0] <= '9')
        return atoi(word) < found ? slots[atoi(word)] : -1;
    for (int slot = 0; slot < SLOTS; slot++)
        if (strlen(word) > 4 && slot_text(slot, "uuid", uuid, sizeof uuid) && strncmp(uuid, word, strlen(word)) == 0)
            return slot;
    return -1;
}

int cuInit(unsigned flags)
{
    int slots[SLOTS], found = order_of(slots);
    const char *wanted = getenv("CUDA_VISIBLE_DEVICES");
    char copy[1024], *at, *word;
    if (flags)
        return INVALID_VALUE;
    visible_count = 0;
    if (!wanted) {
        for (; visible_count < found; visible_count++)
            visible[visible_count] = slots[visible_count];
    } else {
        snprintf(copy, sizeof copy, "%s", wanted);
        for (word = strtok_r(copy, ",", &at); word && visible_count < SLOTS; word = strtok_r(NULL, ",", &at)) {
            int slot = named(word, slots, found);
            if (slot < 0)
                break;
            visible[visible_count++] = slot;
        }
    }
    return visible_count ? SUCCESS : NO_DEVICE;
}

int cuDeviceGetCount(int *count)
{
    if (visible_count < 0)
        return NOT_INITIALIZED;
    *count = visible_count;
    return SUCCESS;
}

int cuDeviceGet(int *device, int number)
{
    if (number < 0 || number >= visible_count)
        return INVALID_VALUE;
    *device = number;
    return SUCCESS;
}

int cuDeviceGetUuid_v2(unsigned char *uuid, int device)
{
    char text[160];
    int at = 0;
    if (!slot_text(visible[device], "uuid", text, sizeof text))
        return INVALID_VALUE;
    for (const char *c = text + 4; *c && at < 16; c++)
        if (*c != '-') {
            sscanf(c, "%2hhx", &uuid[at++]);
            c++;
        }
    return SUCCESS;
}

int cuDevicePrimaryCtxRetain(void **context, int device)
{
    current = device;
    *context = &visible[device];
    return SUCCESS;
}

int cuCtxSetCurrent(void *context)
{
    return context ? SUCCESS : INVALID_VALUE;
}

int cuMemAlloc_v2(unsigned long long *pointer, size_t bytes)
{
    char path[4096], uuid[160];
    if (current < 0 || !slot_text(visible[current], "uuid", uuid, sizeof uuid))
        return NOT_INITIALIZED;
    snprintf(path, sizeof path, "%s.held", control());
    FILE *file = fopen(path, "ae");
    if (!file)
        return OUT_OF_MEMORY;
    fprintf(file, "%s %d %zu\n", uuid, (int)getpid(), bytes);
    fclose(file);
    *pointer = 1;
    return SUCCESS;
}
