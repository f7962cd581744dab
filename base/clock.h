/* Clocks, for reports of how long something took. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H
double seconds_now(void);                               /* from some fixed point in the past */
/* of this thread: what a busy machine takes away does not count */
double cpu_seconds(void);
double process_cpu_seconds(void);                       /* of all threads */
#endif
