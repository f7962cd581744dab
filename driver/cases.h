/* Inputs for a compiled model and one guarded call of it: what verify and bench share. */
#ifndef DRIVER_CASES_H
#define DRIVER_CASES_H
#include "driver/driver.h"
#include "driver/ports.h"
#include "runtime/lt_model.h"

typedef struct Case {
  const char *name;                    /* "set_0", "random" */
  const Tensor **in;                   /* per model input */
  const Tensor **want;                 /* per output; NULL: no reference */
} Case;
typedef VEC(Case) Cases;

/* The folders of a --data argument that hold input_J.pb and output_J.pb: itself, or its set_K, test_data_set_K. */
bool data_sets(Arena *a, const char *dir, Strings *out, Diags *d);
/* Inputs and references of one of them for the compiled module. */
bool case_of_data(Compiled *c, const Ports *p, const char *dir, Case *x);

/* Inputs at a choice of sizes: elements of `like` (a case; NULL: random numbers) from a random place on, again and
 * again, so that they are as plausible as its own. Sizes above the lower bounds shrink until inputs, work and arena are modest. */
typedef enum { SIZES_LOW, SIZES_FEW, SIZES_HIGH, SIZES_RANDOM, SIZES_FULL } Sizes;    /* few: 2 above the lowest; full: high, but modest enough to run only */
Case case_random(Compiled *c, uint64_t seed, Sizes sizes, const Case *like);
/* What the evaluator makes of inputs: copies of the outputs in `a`. false: the module's diags say why. */
bool case_evaluate(Module *m, const Tensor *const *in, const Tensor **out, Arena *a);
Tensor **case_in_double(Arena *a, const Case *x, int n);        /* copies of its n inputs, those in f32 as f64 */

typedef struct Call {                  /* buffers of one call, with guard bytes around each */
  const lt_model *m;
  int64_t *symbols;
  const void **in;
  void **out;
  void *arena;
  size_t arena_bytes, *out_bytes;
  const void *weights;
  const struct lt_pool *pool;          /* who runs it; NULL: this thread */
} Call;

/* After a failed call_make, too. */
void call_free(Call *k);
bool call_make(Call *k, Compiled *c, const Loaded *l, const Case *x);
int call_go(const Call *k);                                     /* the call itself; 0 or an error code of the model */
/* A pool that runs the parts one after the other, the last one first: finds those that need another to have run, and
 * what a call would take with a core for each. */
const struct lt_pool *call_in_turn(int threads);
double call_clock(void);                                        /* CPU seconds; of parts in turn only the longest counts */
/* Poisons arena and outputs with `poison`, runs, checks the guards. false: d says what broke. */
bool call_run(Call *k, Compiled *c, int poison);
Tensor *call_output(Call *k, Compiled *c, int port);
#endif
