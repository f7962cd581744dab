/* Shared by layout.c and layout_cost.c. */
#ifndef PASSES_LAYOUT_IMPL_H
#define PASSES_LAYOUT_IMPL_H
#include "passes/cut.h"
#include "passes/storage_impl.h"

/* Where a value lies with either label. What has no choice has the same twice, and no thing of the cut. */
/* thing -1: no choice; known false: not in memory */
typedef struct Sides { bool known; int thing; Storage at[2]; } Sides;

typedef struct Layouts {
  Place p;
  Fusion *f;
  Module *m;
  const Target *target;
  Sides *of;                         /* per value */
  Cut cut;
} Layouts;

/* What labels cost the kernel of a group, in cycles. */
void layout_group_cost(Layouts *s, const Group *g);
/* Cycles for one pass over a value that lies at `at`, in vectors along `axis` (-1: element by element). */
double layout_walk(const Layouts *s, ValueId v, const Storage *at, int axis);
/* the axis whose neighbours are neighbours; -1: none */
int layout_innermost(const Type *t, const Storage *at);

/* Labels cost this; values without a choice are constants in it, and drop out. */
typedef double (*LayoutPairCost)(const Layouts *s, const void *ctx, const Storage *x, const Storage *y);
void layout_add_pair(Layouts *s, ValueId x, ValueId y, LayoutPairCost cost, const void *ctx);
#endif
