/* A CLOCK_REALTIME of its own for every simulated node: a test tool, preloaded.
 *
 * All processes that name the same file in $VCLOCK_FILE share one virtual clock; without that
 * variable (a whole machine preloads by /etc/ld.so.preload) it is VCLOCK_DEFAULT_FILE. An oscillator
 * with a constant error and a slow wander, which ptp4l disciplines through the ordinary calls
 * (clock_adjtime, clock_settime) as it would the kernel's. Kernel stamps of packets are carried
 * over to the virtual clock, so that stock linuxptp with software stamps knows no difference.
 * CLOCK_MONOTONIC stays the kernel's: it is the common physical time of the simulation.
 *
 * The file is laid out by vclock.py, which also reads the truth from it. Whoever may not write it
 * may not set the clock. Not covered: timerfd on CLOCK_REALTIME, raw system calls, statically
 * linked programs, and process 1, whose calendar timers would wait on another clock than they read.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000LL
#define NS_PER_US 1000LL
#define TIMEX_PPM 65536.0   /* timex.freq counts 2^-16 ppm */
#define NOMINAL_TICK 10000  /* us per tick at 100 Hz: one more is 100 ppm */
#define PPM_PER_TICK 100.0
#define READ_ATTEMPTS 5
#define VCLOCK_DEFAULT_FILE "/dev/shm/vclock" /* there in every sandbox that systemd builds */
#define STATUS_READ_ONLY 0xff00 /* bits of timex.status that ADJ_STATUS cannot set */

/* Same order as _LAYOUT in vclock.py. */
struct clock_state {
    _Atomic uint32_t sequence; /* odd while somebody writes */
    int32_t status;            /* timex.status */
    int64_t start_mono_ns;     /* when the oscillator began */
    int64_t base_mono_ns;      /* at this monotonic instant ... */
    int64_t base_real_ns;      /* ... the virtual clock showed this */
    double oscillator_ppm;     /* constant error of the oscillator */
    double wander_ppm;         /* amplitude of its slow wander */
    double wander_period_s;
    double adjusted_ppm;       /* what the servo asked for: freq and tick together */
    int64_t freq;              /* timex.freq */
    int64_t tick;              /* timex.tick */
    int64_t max_error_us;
    int64_t estimated_error_us;
    int64_t tai_offset_s;
};

typedef int gettime_call(clockid_t, struct timespec *);
typedef ssize_t recvmsg_call(int, struct msghdr *, int);

static struct clock_state *state;
static int writable;
static gettime_call *kernel_gettime;
static recvmsg_call *kernel_recvmsg;

static void die(const char *what)
{
    fprintf(stderr, "vclock: %s: %s\n", what, strerror(errno));
    _exit(127);
}

/* A process that were silently left on the kernel's clock would falsify the test: so it ends. */
__attribute__((constructor)) static void set_up(void)
{
    if (kernel_gettime)
        return;
    kernel_recvmsg = (recvmsg_call *)dlsym(RTLD_NEXT, "recvmsg");
    kernel_gettime = (gettime_call *)dlsym(RTLD_NEXT, "clock_gettime");
    if (getpid() == 1)
        return;
    const char *path = getenv("VCLOCK_FILE");
    if (!path)
        path = VCLOCK_DEFAULT_FILE;
    int file = open(path, O_RDWR | O_CLOEXEC);
    writable = file >= 0;
    if (!writable)
        file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        die(path);
    int access = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    void *mapped = mmap(NULL, sizeof *state, access, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED)
        die("mmap");
    close(file);
    state = mapped;
}

static int64_t to_ns(const struct timespec *time)
{
    return time->tv_sec * NS_PER_S + time->tv_nsec;
}

static struct timespec to_timespec(int64_t ns)
{
    struct timespec time = {ns / NS_PER_S, ns % NS_PER_S};
    if (time.tv_nsec < 0) {
        time.tv_nsec += NS_PER_S;
        time.tv_sec--;
    }
    return time;
}

static int64_t kernel_ns(clockid_t clock)
{
    struct timespec time;
    kernel_gettime(clock, &time);
    return to_ns(&time);
}

/* Oscillator time minus true time: the integral of its frequency error since it began. */
static double oscillator_error_ns(const struct clock_state *s, int64_t mono_ns)
{
    double elapsed_ns = (double)(mono_ns - s->start_mono_ns);
    double error_ns = s->oscillator_ppm * 1e-6 * elapsed_ns;
    if (s->wander_ppm != 0.0) {
        double radians_per_ns = 2.0 * M_PI / (s->wander_period_s * NS_PER_S);
        error_ns += s->wander_ppm * 1e-6 / radians_per_ns * (1.0 - cos(radians_per_ns * elapsed_ns));
    }
    return error_ns;
}

static int64_t virtual_ns(const struct clock_state *s, int64_t mono_ns)
{
    int64_t elapsed_ns = mono_ns - s->base_mono_ns;
    double gained_ns = oscillator_error_ns(s, mono_ns) - oscillator_error_ns(s, s->base_mono_ns) +
                       s->adjusted_ppm * 1e-6 * (double)elapsed_ns;
    return s->base_real_ns + elapsed_ns + (int64_t)gained_ns;
}

static void snapshot(struct clock_state *copy)
{
    uint32_t before;
    do {
        before = atomic_load(&state->sequence);
        memcpy(copy, state, sizeof *copy);
        atomic_thread_fence(memory_order_acquire);
    } while (before & 1 || atomic_load(&state->sequence) != before);
}

static int64_t virtual_now_ns(void)
{
    struct clock_state copy;
    snapshot(&copy);
    return virtual_ns(&copy, kernel_ns(CLOCK_MONOTONIC));
}

static void lock_state(void)
{
    for (;;) {
        uint32_t even = atomic_load(&state->sequence) & ~1u;
        if (atomic_compare_exchange_weak(&state->sequence, &even, even + 1))
            return;
    }
}

static void unlock_state(void)
{
    atomic_fetch_add(&state->sequence, 1);
}

/* With the lock held: let the clock go on from what it shows now, `step_ns` further. */
static void rebase(int64_t step_ns)
{
    int64_t now_ns = kernel_ns(CLOCK_MONOTONIC);
    int64_t shown_ns = virtual_ns(state, now_ns);
    state->base_mono_ns = now_ns;
    state->base_real_ns = shown_ns + step_ns;
}

/* What the virtual clock showed when the kernel's showed `real_ns`. */
static int64_t from_kernel_ns(int64_t real_ns)
{
    int64_t best_width_ns = INT64_MAX, mono_of_real_ns = 0;
    for (int i = 0; i < READ_ATTEMPTS; i++) {
        int64_t before_ns = kernel_ns(CLOCK_MONOTONIC);
        int64_t now_ns = kernel_ns(CLOCK_REALTIME);
        int64_t width_ns = kernel_ns(CLOCK_MONOTONIC) - before_ns;
        if (width_ns < best_width_ns) {
            best_width_ns = width_ns;
            mono_of_real_ns = before_ns + width_ns / 2 - (now_ns - real_ns);
        }
    }
    struct clock_state copy;
    snapshot(&copy);
    return virtual_ns(&copy, mono_of_real_ns);
}

static int is_virtual(clockid_t clock)
{
    set_up();
    return state && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE ||
                     clock == CLOCK_REALTIME_ALARM || clock == CLOCK_TAI);
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    if (!is_virtual(clock))
        return kernel_gettime(clock, time);
    int64_t tai_ns = clock == CLOCK_TAI ? state->tai_offset_s * NS_PER_S : 0;
    *time = to_timespec(virtual_now_ns() + tai_ns);
    return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / NS_PER_US;
    return 0;
}

time_t time(time_t *where)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where)
        *where = now.tv_sec;
    return now.tv_sec;
}

int clock_settime(clockid_t clock, const struct timespec *time)
{
    if (!is_virtual(clock))
        return (int)syscall(SYS_clock_settime, clock, time);
    if (!writable) {
        errno = EPERM;
        return -1;
    }
    lock_state();
    rebase(0);
    state->base_real_ns = to_ns(time);
    unlock_state();
    return 0;
}

int settimeofday(const struct timeval *time, const struct timezone *zone)
{
    if (!time)
        return (int)syscall(SYS_settimeofday, time, zone);
    struct timespec wish = {time->tv_sec, time->tv_usec * NS_PER_US};
    return clock_settime(CLOCK_REALTIME, &wish);
}

static void adjust(const struct timex *wish)
{
    int64_t unit_ns = wish->modes & ADJ_NANO ? 1 : NS_PER_US;
    int steps = wish->modes & ADJ_SETOFFSET;
    rebase(steps ? wish->time.tv_sec * NS_PER_S + wish->time.tv_usec * unit_ns : 0);
    if (wish->modes & ADJ_TICK)
        state->tick = wish->tick;
    if (wish->modes & ADJ_FREQUENCY)
        state->freq = wish->freq;
    state->adjusted_ppm =
        (double)state->freq / TIMEX_PPM + (double)(state->tick - NOMINAL_TICK) * PPM_PER_TICK;
    if (wish->modes & ADJ_STATUS)
        state->status = wish->status & ~STATUS_READ_ONLY;
    if (wish->modes & ADJ_TAI)
        state->tai_offset_s = wish->constant;
    if (wish->modes & ADJ_MAXERROR)
        state->max_error_us = wish->maxerror;
    if (wish->modes & ADJ_ESTERROR)
        state->estimated_error_us = wish->esterror;
}

int clock_adjtime(clockid_t clock, struct timex *timex)
{
    if (!is_virtual(clock))
        return (int)syscall(SYS_clock_adjtime, clock, timex);
    struct timex probe = {0};
    if (syscall(SYS_clock_adjtime, CLOCK_REALTIME, &probe) < 0)
        return -1; /* what a sandbox forbids stays forbidden */
    if (timex->modes && !writable) {
        errno = EPERM;
        return -1;
    }
    if (timex->modes) {
        lock_state();
        adjust(timex);
        unlock_state();
    }
    struct timespec now = to_timespec(virtual_now_ns());
    timex->offset = 0;
    timex->freq = state->freq;
    timex->maxerror = state->max_error_us;
    timex->esterror = state->estimated_error_us;
    timex->status = state->status | STA_NANO;
    timex->tick = state->tick;
    timex->tai = (int)state->tai_offset_s;
    timex->time.tv_sec = now.tv_sec;
    timex->time.tv_usec = now.tv_nsec;
    return state->status & STA_UNSYNC ? TIME_ERROR : TIME_OK;
}

int adjtimex(struct timex *timex)
{
    return clock_adjtime(CLOCK_REALTIME, timex);
}

int ntp_adjtime(struct timex *timex)
{
    return clock_adjtime(CLOCK_REALTIME, timex);
}

/* Absolute sleeps on the virtual clock: in steps, as its rate may change meanwhile. */
int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left)
{
    if (!is_virtual(clock) || !(flags & TIMER_ABSTIME))
        return syscall(SYS_clock_nanosleep, clock, flags, until, left) ? errno : 0;
    for (;;) {
        int64_t missing_ns = to_ns(until) - virtual_now_ns();
        if (missing_ns <= 0)
            return 0;
        struct timespec wait = to_timespec(missing_ns);
        if (syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &wait, NULL))
            return errno;
    }
}

/* Packets' software stamps (SO_TIMESTAMPING, SO_TIMESTAMPNS) are the kernel's time: translate. */
ssize_t recvmsg(int socket, struct msghdr *message, int flags)
{
    set_up();
    ssize_t size = kernel_recvmsg(socket, message, flags);
    if (size < 0 || !state || !message->msg_controllen)
        return size;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET ||
            (c->cmsg_type != SO_TIMESTAMPING && c->cmsg_type != SO_TIMESTAMPNS))
            continue;
        struct timespec stamp;
        memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
        if (stamp.tv_sec) {
            stamp = to_timespec(from_kernel_ns(to_ns(&stamp)));
            memcpy(CMSG_DATA(c), &stamp, sizeof stamp);
        }
    }
    return size;
}
