/* What a training run knows beside the network's state: where it is, how it went. It goes into checkpoints behind
 * the block (as text, numbers in hexadecimal: exact), into log.csv, and into curves.html. C99; needs lt_state.c. */
#ifndef LT_RUN_H
#define LT_RUN_H
#include <stddef.h>
#include <stdint.h>

enum { LT_METRICS = 48, LT_METRIC_NAME = 96, LT_ROW = 4 };     /* LT_ROW: step, epoch, seconds, lr_scale come first */

typedef struct lt_run {
  int64_t epoch, batch, step;        /* of the next batch; step counts batches over all epochs */
  int64_t epochs, steps;             /* the run's length; steps 0: whole epochs */
  int64_t worse;                     /* epochs since the best one */
  int64_t judge, highest;            /* what decides which epoch is best: 1 + a metric; 0: the newest is */
  double best, seconds;              /* best: the lowest value of that metric so far; its negative where highest */
  int metrics, trains;               /* the first `trains` are of the steps, the others of held-out data */
  char name[LT_METRICS][LT_METRIC_NAME];
  double recent[LT_METRICS], whole[LT_METRICS];                /* sums since the last row, the epoch's start */
  int64_t recents, wholes;                                     /* of how many batches */
  double *history;                   /* [rows, LT_ROW + metrics]; NaN: not measured then */
  int64_t rows, room;
} lt_run;

/* A row of history: means of `recent`, which starts anew; `held`: the others' values, or NULL. -1: no memory. */
int lt_run_note(lt_run *r, double lr_scale, const double *held);
char *lt_run_text(const lt_run *r, size_t *n);                 /* malloc'ed; NULL: no memory */
/* From a checkpoint of the same network; r has its metrics' names. */
int lt_run_read(lt_run *r, const char *text, size_t n, char *why, size_t why_len);
int lt_run_csv(const lt_run *r, const char *path, char *why, size_t why_len);
void lt_run_free(lt_run *r);

/* lt_curves.c: a page that needs nothing but a browser. `live`: it reloads itself. */
int lt_run_curves(const lt_run *r, const char *title, int live, const char *path, char *why, size_t why_len);

/* Text that grows; what is added after memory ran out is lost, and `bad` says so. */
typedef struct lt_text { char *at; size_t n, room; int bad; } lt_text;
void lt_text_add(lt_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Replaces the file whole, and frees the text. 0, or -1 and why. */
int lt_text_save(lt_text *t, const char *path, char *why, size_t why_len);
#endif
