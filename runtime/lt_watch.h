/* The health of a training run, read off the state from outside: which tensor is not finite, whose updates vanish or
 * explode. Updates are measured on a sample of at most LT_SAMPLE elements of each parameter, so that watching costs
 * neither time nor memory. C99; needs lt_file.c. */
#ifndef LT_WATCH_H
#define LT_WATCH_H
#include "lt_train.h"

enum { LT_SAMPLE = 1024 };

typedef struct lt_watch {
  const lt_bundle *bundle;
  double *before;                    /* [tensors, LT_SAMPLE] */
  double *ratio;                     /* [tensors]: the last |update| / |weight|; < 0: not measured */
  int *small, *large;                /* [tensors]: in how many measurements in a row */
} lt_watch;

int lt_watch_open(lt_watch *w, const lt_bundle *b);            /* -1: no memory */
void lt_watch_before(lt_watch *w, const void *state);          /* a step comes … */
/* … and was: a warning for each tensor whose updates have vanished or exploded in several measurements, once each. */
void lt_watch_after(lt_watch *w, const void *state, int64_t step, void (*warn)(const char *text));
void lt_watch_close(lt_watch *w);

/* The first tensor that has an element which is not finite: its name; NULL: all are finite. */
const char *lt_watch_broken(const lt_bundle *b, const void *state);
#endif
