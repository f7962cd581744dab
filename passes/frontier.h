/* What a mask of attention hides, as far as the graph tells: the keys ahead of a query. Exporters spell a causal mask
 * in many ways, which all come down to one number up to a frontier and another one beyond it. */
#ifndef PASSES_FRONTIER_H
#define PASSES_FRONTIER_H
#include "ir/graph.h"

/* Element [..., i, j] of a value is `near` where j <= i + ahead, `far` beyond; without a frontier it is `near`
 * everywhere. */
typedef struct Frontier {
  bool moves;
  Dim ahead;
  double near, far;
} Frontier;

bool frontier_of(Module *m, ValueId v, Frontier *f);

/* Are these scores another value x with all that lies ahead of row i + `ahead` masked, and nothing else? The row then
 * sees at least the first column. A number as low as those of masks counts as -infinity: exp(low - max) is 0 for any
 * score. */
bool frontier_masked(Module *m, ValueId scores, ValueId *x, Dim *ahead);
#endif
