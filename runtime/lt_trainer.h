/* Training a bundle from data to checkpoints. See lt_trainer.c for what is written where. C99 and POSIX. */
#ifndef LT_TRAINER_H
#define LT_TRAINER_H
#include "lt_train.h"

typedef struct lt_options {
  const char *data_dir, *out;        /* where data files are looked for; the run's folder */
  const char *resume;                /* a checkpoint to go on from; NULL: a new run */
  const char *weights;               /* a checkpoint to take tensors from, by name; NULL: none */
  const char *best;                  /* the metric that says which epoch is best, "+accuracy", "last"; NULL: by default */
  const char *const *call;           /* [columns]: readers */
  int64_t epochs, steps, patience, seed, save_steps;           /* -1: not given */
  int64_t threads;                   /* that compute: the result has the same bytes with any number; -1: all cores */
  double lr,
      save_seconds;           /* lr: of the first optimizer (a factor where the bundle does not know it); -1: not given */
  int quiet, html;
} lt_options;

int lt_trainer_run(const lt_bundle *b, const lt_options *o);   /* an exit code */
#endif
