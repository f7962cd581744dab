/* See conv.h. */
#include "passes/conv.h"

static const Type *weights_of(Module *m, const Node *n) {
  return &value_of(m, n->op == OP_CONV_GRAD_WEIGHT ? n->out[0] : n->in[1])->type;
}

bool conv_is_depthwise(Module *m, const Node *n) {
  const Type *w = weights_of(m, n);
  int64_t group = node_int(n, "group", 1);
  if (group == 1 || !dim_is_const(w->dims[0]) || !dim_is_const(w->dims[1])) return false;
  // of a group: outputs, inputs; transposed the other way round
  int64_t first = w->dims[0].k / group, second = w->dims[1].k;
  return n->op == OP_CONV ? second == 1 && first <= 3 : first == 1 && second == 1;
}

bool conv_is_winograd(Module *m, const Node *n) {
  const Type *w = weights_of(m, n);
  const Attr *strides = node_dims(n, "strides"), *dilations = node_dims(n, "dilations");
  bool constant = n->op == OP_CONV && value_of(m, n->in[1])->constant;
  int spatial = w->rank - 2;
  if (spatial < 2 || spatial > 2 + constant || !dim_is(dilations->dims[0], 1) || node_int(n, "exact", 0)) return false;
  if (node_int(n, "group", 1) != 1 && (!constant || dim_is(w->dims[1], 1))) return false;
  bool halves = constant && dim_is(strides->dims[spatial - 1], 2);
  for (int s = spatial - 2; s < spatial; s++)
    if (!dim_is(w->dims[2 + s], 3) || !dim_is(strides->dims[s], 1 + halves) || !dim_is(dilations->dims[s], 1))
      return false;
  Dim planes = value_of(m, n->in[0])->type.dims[2], results = value_of(m, n->out[0])->type.dims[2];
  return spatial == 2 || (dim_is_const(planes) && dim_is_const(results));
}
