/* The control file of the fake libraries: lines "key value", read again whenever the file is another one.
 *
 * Whole-machine keys:  driver, cuda, order (the slots of the GPUs, by PCI bus), mismatch, error.FUNCTION, hang.FUNCTION
 * Keys of one GPU:     SLOT.name, SLOT.uuid, SLOT.bus, SLOT.total, ... SLOT.error.FUNCTION, SLOT.hang.FUNCTION, SLOT.lost
 * An error is one of NVML's numbers.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOTS 16
#define LINES 512

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static struct { char key[96], value[160]; } lines[LINES];
static int line_count;
static struct stat seen;

static const char *control(void)
{
    const char *path = getenv("FAKE_NVML");
    return path ? path : "fake_nvml.txt";
}

/* To be called with the guard held. */
static void refresh(void)
{
    struct stat now;
    if (stat(control(), &now) != 0) {
        line_count = 0;
        memset(&seen, 0, sizeof seen);
        return;
    }
    if (now.st_ino == seen.st_ino && now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec && now.st_mtim.tv_sec == seen.st_mtim.tv_sec)
        return;
    FILE *file = fopen(control(), "re");
    char line[300];
    if (!file)
        return;
    line_count = 0;
    while (line_count < LINES && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *space = strchr(line, ' ');
        if (!space)
            continue;
        *space = 0;
        snprintf(lines[line_count].key, sizeof lines[0].key, "%.95s", line);
        snprintf(lines[line_count].value, sizeof lines[0].value, "%.159s", space + 1);
        line_count++;
    }
    fclose(file);
    seen = now;
}

/* Copies the value of a key; gives whether there is one. */
static int text_of(const char *key, char *out, size_t size)
{
    int found = 0;
    pthread_mutex_lock(&guard);
    refresh();
    for (int i = 0; i < line_count && !found; i++)
        if (strcmp(lines[i].key, key) == 0) {
            snprintf(out, size, "%s", lines[i].value);
            found = 1;
        }
    pthread_mutex_unlock(&guard);
    return found;
}

static int slot_text(int slot, const char *key, char *out, size_t size)
{
    char whole[160];
    snprintf(whole, sizeof whole, "%d.%s", slot, key);
    return text_of(whole, out, size);
}

static unsigned long long slot_number(int slot, const char *key, unsigned long long otherwise)
{
    char value[160];
    return slot_text(slot, key, value, sizeof value) ? strtoull(value, NULL, 0) : otherwise;
}

static long number_of(const char *key, long otherwise)
{
    char value[160];
    return text_of(key, value, sizeof value) ? strtol(value, NULL, 0) : otherwise;
}

/* Reads the slots that are on the bus, in order; gives how many. */
static int order_of(int *slots)
{
    char value[160], *at, *word;
    int count = 0;
    if (!text_of("order", value, sizeof value))
        return 0;
    for (word = strtok_r(value, " ", &at); word && count < SLOTS; word = strtok_r(NULL, " ", &at))
        slots[count++] = atoi(word);
    return count;
}

/* Goes through what the fake CUDA programs hold: lines "UUID PID BYTES" beside the control file; the dead hold nothing. */
static int held(const char *uuid, unsigned *pids, unsigned long long *bytes, int room)
{
    char path[4096], line[300], who[120];
    int count = 0;
    snprintf(path, sizeof path, "%s.held", control());
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    while (count < room && fgets(line, sizeof line, file))
        if (sscanf(line, "%119s %u %llu", who, &pids[count], &bytes[count]) == 3 && strcmp(who, uuid) == 0 &&
            kill((pid_t)pids[count], 0) == 0)
            count++;
    fclose(file);
    return count;
}
