/* Choices that were measured. Where a generator has alternatives (the shape of a tile, an algorithm) the cost model
 * orders them and the first is taken, unless a tuning says which one was fastest when it was tried (`lathe --tune
 * FILE`, driver/tune.c). A kernel is known by its key: target, operators, types and strides; so a row serves every
 * model that has such a kernel. */
#ifndef PASSES_TUNING_H
#define PASSES_TUNING_H
#include "base/diag.h"
#include "base/text.h"
#include "passes/fusion.h"
#include "passes/target.h"

typedef struct TuningRow { const char *key; int choice; } TuningRow;        /* choice: 0 is the cost model's own */
/* group: Kernel.group */
typedef struct TunedKernel { const Module *module; const char *key; int group, choices; } TunedKernel;

typedef struct Tuning {
  Arena *arena;
  VEC(TuningRow) rows;
  int probe;                           /* the choice of kernels without a row */
  VEC(TunedKernel) kernels;            /* filled by lower: the program's groups, and how many choices each had */
} Tuning;

const char *tuning_key(Module *m, const Group *g, const Target *target, Arena *a);
const TuningRow *tuning_find(const Tuning *t, const char *key);              /* NULL: not measured */
void tuning_add(Tuning *t, const char *key, int choice);
/* One line a row: the choice, a blank, the key. */
void tuning_print(Text *to, const Tuning *t);
bool tuning_parse(Tuning *t, const char *text, Diags *d);
#endif
