/* Strides of dense storage, and what views make of them. */
#ifndef PASSES_STRIDES_H
#define PASSES_STRIDES_H
#include "ir/graph.h"

/* Axes of a value, outermost in memory first. */
typedef struct AxisOrder { int8_t axis[MAX_RANK]; } AxisOrder;

AxisOrder order_row_major(int rank);
AxisOrder order_channels_last(int rank);                       /* [N, spatial…, C] */
AxisOrder order_of_strides(const Type *t, const Storage *s);
/* Axes of size 1 may be anywhere. */
bool order_is_row_major(const Type *t, const AxisOrder *o);
bool order_same(const Type *t, const AxisOrder *a, const AxisOrder *b);

Storage strides_dense(const Type *t, const AxisOrder *order);  /* base 0, offset 0 */
bool strides_are_row_major(const Type *t, const Storage *s);
/* A reshape, transpose, slice or expand of what lies at x, as strides; false: strides cannot say it. */
bool strides_of_view(Module *m, const Node *view, const Storage *x, Storage *y);
/* Where the view's operand must lie for the view to lie at y; false: strides cannot say it, or y has other elements. */
bool strides_before_view(Module *m, const Node *view, const Storage *y, Storage *x);
#endif
