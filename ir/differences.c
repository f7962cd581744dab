/* Finite differences over the evaluator; see differences.h. */
#include "ir/differences.h"
#include <math.h>
#include <string.h>

static bool run(Eval *e, Module *m, Tensor *const *in) {
  eval_begin(e, m);
  bool ok = true;
  for (int i = 0; ok && i < m->main->inputs.len; i++) ok = eval_bind_input(e, i, in[i]);
  return ok && eval_graph(e, m->main);
}

Tensor **eval_freeze(Module *m, Tensor *const *in, Arena *a) {
  Graph *g = m->main;
  Eval e;
  bool ok = run(&e, m, in);
  VEC(Tensor *) all = {0};
  for (int k = 0; k < g->inputs.len; k++) *vec_push(a, &all) = in[k];
  for (int k = 0; ok && k < g->nodes.len; k++) {
    NodeId id = g->nodes.at[k];
    if (node_of(m, id)->op != OP_STOP_GRADIENT || node_of(m, id)->dead) continue;
    ValueId v = node_of(m, id)->out[0];
    const Tensor *t = eval_value(&e, v);
    if (!t) { ok = false; break; }
    Tensor *copy = tensor_new(a, t->dtype, t->rank, t->dims);
    if (tensor_bytes(t)) memcpy(copy->data, t->data, tensor_bytes(t));
    *vec_push(a, &all) = copy;
    graph_replace_uses(m, v, graph_add_input(g, NULL, value_of(m, v)->type));
    graph_remove_node(m, id);
  }
  eval_end(&e);
  graph_sweep(m);
  return ok ? all.at : NULL;
}

static bool number_at(Module *m, Tensor *const *in, double *y) {
  Eval e;
  const Tensor *t = run(&e, m, in) ? eval_value(&e, m->main->outputs.at[0]) : NULL;
  if (t) *y = tensor_get(t, 0);
  eval_end(&e);
  return t != NULL;
}

bool eval_slope(Module *m, Tensor *const *in, int k, int64_t at, double h, double *slope) {
  static const double step[4] = {-2, -1, 1, 2}, weight[4] = {1, -8, 8, -1};     // of 12 h f'
  double x = tensor_get(in[k], at), sum = 0;
  h *= fmax(1, fabs(x));
  bool ok = true;
  for (int s = 0; ok && s < 4; s++) {
    double y = 0;
    tensor_set(in[k], at, x + step[s] * h);
    ok = number_at(m, in, &y);
    sum += weight[s] * y;
  }
  tensor_set(in[k], at, x);
  *slope = sum / (12 * h);
  return ok;
}
