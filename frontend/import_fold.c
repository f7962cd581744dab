/* Settles shape arithmetic node by node while a graph is imported: importers of later nodes need shapes, axes and
 * pads as numbers or dims, and exporters compute them with long chains of Shape, Gather, Mul and Concat.
 *
 *   elements known as numbers            -> a constant
 *   elements known as dims (of free N)   -> a `dims` node
 *   small node of constants only         -> evaluated: a constant
 *
 * What is known is inference's business (Value.content, ir/infer_content.c); evaluation is the evaluator's. The
 * replaced node is marked dead at once. Larger constants wait for the fold pass. */
#include "frontend/import_fold.h"
#include "frontend/onnx_loader.h"
#include <string.h>

static bool all_constant(const Dim *d, int n) {
  for (int k = 0; k < n; k++)
    if (!dim_is_const(d[k])) return false;
  return true;
}

static bool settle_content(Import *x, NodeId n, ValueId *out) {
  Module *m = x->m;
  const Value *v = value_of(m, *out);
  if (!v->content || v->type.rank > 1 || node_of(m, n)->nout != 1) return false;
  int count = v->type.rank ? (int)v->type.dims[0].k : 1;
  if (all_constant(v->content, count)) {
    Tensor *t = tensor_new(&m->perm, v->type.dtype, v->type.rank, (int64_t[]){count});
    for (int k = 0; k < count; k++) tensor_set_int(t, k, v->content[k].k);
    graph_make_constant(m, *out, t);
    graph_remove_node(m, n);
    return true;
  }
  if (node_of(m, n)->op == OP_DIMS || v->type.dtype != DT_I64) return true;
  Attr attr[] = {attr_dims(m, "dims", v->content, count), attr_int("rank", v->type.rank)};
  graph_remove_node(m, n);
  *out = graph_op(x->g, OP_DIMS, NULL, 0, attr, 2);
  return true;
}

enum { FOLD_MAX = 4096 };                // elements in and out: shape work, not weights

static bool foldable(Module *m, const Node *n) {
  int64_t work = 0;
  if (!op_info[n->op].eval && !op_is_scalar(n->op)) return false;
  for (int k = 0; k < n->nin; k++) {
    if (!n->in[k]) continue;
    const Tensor *t = value_of(m, n->in[k])->constant;
    if (!t) return false;
    work += tensor_count(t);
  }
  for (int k = 0; k < n->nout; k++) {
    const Type *t = &value_of(m, n->out[k])->type;
    if (t->kind != KIND_TENSOR || t->rank < 0) return false;
    Dim count = type_count(t);
    work += dim_is_const(count) ? count.k : dim_hi(count);
  }
  return work <= FOLD_MAX;
}

/* Evaluates; what the evaluator refuses (an index out of range) stays a node and is reported when it runs. */
static void settle_by_value(Import *x, NodeId id) {
  Loader *l = x->frontend;
  if (!foldable(x->m, node_of(x->m, id))) return;
  int messages = l->d->len, errors = l->d->errors;
  if (!l->eval.m) eval_begin(&l->eval, x->m);
  bool ok = eval_node(&l->eval, id);
  l->d->len = messages, l->d->errors = errors;
  if (!ok) return;
  const Node *n = node_of(x->m, id);
  for (int k = 0; k < n->nout; k++) {
    const Tensor *t = eval_value(&l->eval, n->out[k]);
    if (!t || t->dtype == DT_STRING) return;
  }
  for (int k = 0; k < n->nout; k++) {
    const Tensor *t = eval_value(&l->eval, n->out[k]);
    Tensor *c = tensor_new(&x->m->perm, t->dtype, t->rank, t->dims);
    memcpy(c->data, t->data, tensor_bytes(t));
    graph_make_constant(x->m, n->out[k], c);
  }
  graph_remove_node(x->m, id);
}

void imp_settle(Import *x, NodeId n, ValueId *out) {
  const Node *node = node_of(x->m, n);
  if (node->op == OP_COPY || node->op == OP_RANDOM || node->nregion) return;
  if (!settle_content(x, n, out)) settle_by_value(x, n);
}
