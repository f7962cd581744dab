/* What a trainer prints while it works: a bar that redraws itself on a terminal; elsewhere a plain line now and
 * then. C99. */
#ifndef LT_PROGRESS_H
#define LT_PROGRESS_H
#include "lt_run.h"

double lt_now(void);                                           /* seconds, from some start */
void lt_progress_open(int quiet);                              /* quiet: lines of lt_progress_say alone */
/* After a batch; cheap when it is not time to draw. steps: of the whole run; speed: rows per second; left: seconds. */
void lt_progress_bar(const lt_run *r, int64_t steps_per_epoch, double speed, double left);
/* At an epoch's end: means, values on held-out data (NULL: none), and a remark. */
void lt_progress_epoch(const lt_run *r, const double *held, double speed, const char *remark);
void lt_progress_warn(const char *text);                       /* to stderr, with "warning: " */
void lt_progress_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void lt_progress_clear(void);
#endif
