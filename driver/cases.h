/* Inputs for a compiled model and one guarded call of it: what verify and bench share. */
#ifndef DRIVER_CASES_H
#define DRIVER_CASES_H
#include "driver/driver.h"
#include "runtime/lt_model.h"

typedef struct Case {
  const char *name;                    /* "set_0", "random" */
  const Tensor **in;                   /* per model input */
  const Tensor **want;                 /* per output; NULL: no reference */
} Case;
typedef VEC(Case) Cases;

bool cases_of_data(Compiled *c, const char *dir, Cases *out);
/* Random inputs; symbols at their upper bound (bounded to 64 MiB of inputs), or lower when `small`. */
Case case_random(Compiled *c, uint64_t seed, bool small);

typedef struct Call {                  /* buffers of one call, with guard bytes around each */
  const lt_model *m;
  int64_t *symbols;
  const void **in;
  void **out;
  void *arena;
  size_t arena_bytes, *out_bytes;
  const void *weights;
} Call;

bool call_make(Call *k, Compiled *c, const Loaded *l, const Case *x);
/* Poisons arena and outputs with `poison`, runs, checks the guards. false: d says what broke. */
bool call_run(Call *k, Compiled *c, int poison);
Tensor *call_output(Call *k, Compiled *c, int port);
#endif
