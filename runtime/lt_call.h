/* One function of a bundle, ready to be called with batches: which column each input takes, buffers for its
 * outputs. C99. */
#ifndef LT_CALL_H
#define LT_CALL_H
#include "lt_file.h"
#include "lt_pool.h"
#include "lt_train.h"

typedef struct lt_call {
  const lt_function *f;
  int *column;                       /* per input: the column's number */
  int64_t *symbols;
  const void **in;
  void **out;
  lt_tensor *result;                 /* per output */
} lt_call;

int lt_call_open(lt_call *c, const lt_bundle *b, const lt_function *f, char *why, size_t why_len);
/* Whether it takes batches of n rows: its sizes are compiled in, or bounded. */
int lt_call_takes(const lt_call *c, int64_t n);
/* Who computes: the threads of a pool, or this one (pool NULL), with scratch memory that grows as it must. */
typedef struct lt_compute { const lt_pool *pool; void *arena; size_t bytes; } lt_compute;
/* With columns [n, …]. 0, or -1 with why. */
int lt_call_run(lt_call *c, void *state, lt_compute *by, void *const *column, int64_t n, char *why, size_t why_len);
/* Output k is a number of every batch: a loss or a report. */
int lt_call_is_scalar(const lt_call *c, int k);
double lt_call_scalar(const lt_call *c, int k);
void lt_call_close(lt_call *c);
#endif
