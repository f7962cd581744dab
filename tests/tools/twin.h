/* A network that trains, twice: compiled to C and loaded, and as modules for the evaluator, expanded but not simplified.
 * Tests give both the same state and the same data. The emitted side runs within guarded and poisoned memory, every
 * call twice. Functions for inference and evaluation are left out: they are networks like any other. */
#ifndef TESTS_TWIN_H
#define TESTS_TWIN_H
#include "ir/bundle.h"
#include "passes/target.h"
#include "runtime/lt_train.h"

typedef struct Twin {
  Arena arena;
  Diags diags;
  Bundle *emitted, *meant;             /* after compile_module; after module_expand(EXPAND_ALL) */
  const lt_bundle *table;              /* of the loaded library */
  void *handle;
  char *state;                         /* the block of table->state_bytes, made by twin_init */
  void *memory;
} Twin;

/* `text` NULL: reads the file. `naive`: without tiles and lanes. False: messages are in t->diags. */
bool twin_open(Twin *t, const char *path, const char *text, const Target *target, bool naive);
void twin_close(Twin *t);

/* The emitted init; false: what is wrong is in t->diags, as for all below. */
bool twin_init(Twin *t, uint64_t seed);
/* The k-th step function of the emitted table; NULL: there are fewer. */
const lt_function *twin_step_at(const Twin *t, int k);

/* One call on t->state with in[k] per port; out[k] are made in `a`. Fails when a byte outside of what it may write is
 * written, or when memory that nobody wrote decides anything. */
bool twin_run(Twin *t, const lt_function *f, const Tensor *const *in, Tensor **out, Arena *a);
/* The evaluator on the state in `before`, for the same ports. next[k]: what the k-th tensor of the bundle's state becomes;
 * NULL: it stays. */
bool twin_mean(Twin *t, const lt_function *f, const char *before, const Tensor *const *in, Tensor **out, Tensor **next,
               Arena *a);
#endif
