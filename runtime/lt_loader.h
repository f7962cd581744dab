/* From columns to batches: which rows train and which are held out, in which order, and batches made by a second thread
 * while the step runs on the one before. C99 and POSIX threads; needs lt_data and random.c.
 *
 * Everything is a function of (seed, epoch): a resumed run sees the batches it would have seen. */
#ifndef LT_LOADER_H
#define LT_LOADER_H
#include "lt_data.h"
#include "lt_train.h"
#include <pthread.h>

enum { LT_SLOTS = 2 };                                         /* one at the step, one being filled */

typedef struct lt_batch {
  void **column;                     /* [columns]: rows, dense */
  const int64_t *row;                /* [n]: which */
  int64_t n;
} lt_batch;

typedef struct lt_loader {
  const lt_bundle *bundle;
  const char *const *call;
  const char *base_dir;
  lt_data *data;                     /* [columns] */
  int64_t rows;
  int64_t *train, *held, *order;     /* row numbers; order: of the epoch */
  int64_t trains, helds;
  /* the job of the second thread: */
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  const int64_t *job;
  int64_t job_rows, job_batch;
  lt_batch slot[LT_SLOTS];
  int64_t made, taken, room;         /* batches so far; rows a slot has room for */
  int running, stop, bad;            /* bad: `why` says what; the batches before it are good */
  char why[700];
} lt_loader;

/* call[k]: of column k; these texts stay the caller's. Opens what a function of the bundle takes; types, row counts and class ranges must agree.
 * Warns on stderr about values that are not finite. */
int lt_loader_open(lt_loader *l, const lt_bundle *b, const char *const *call, const char *base_dir, char *why,
                   size_t why_len);
/* Holds out the share `hold_out`: the last rows where rows follow each other (text, or no shuffling), else drawn by
 * the seed. Vocabularies are counted again, without them. */
int lt_loader_split(lt_loader *l, int64_t seed, char *why, size_t why_len);
/* order[0 … trains) for this epoch. */
void lt_loader_shuffle(lt_loader *l, int64_t seed, int64_t epoch);
/* Begins to make batches of rows job[0 … n), the last one shorter. */
int lt_loader_start(lt_loader *l, const int64_t *job, int64_t n, int64_t batch, char *why, size_t why_len);
/* The next one, good until the next call. 1: given; 0: there are no more; -1: an error in the data. */
int lt_loader_next(lt_loader *l, lt_batch *b, char *why, size_t why_len);
void lt_loader_stop(lt_loader *l);                             /* ends the job early, or after its end */
void lt_loader_close(lt_loader *l);
#endif
