/* fold: what is known while compiling becomes a constant.
 *
 *   op(constants…)                 -> constant       evaluated by the op's own definition (ir/eval.h)
 *   integers known as numbers      -> constant       (shape arithmetic: inference tracks the elements)
 *   integers known as dims         -> dims {…}       so that what computed them can go
 *
 * A result must not be much larger than what it is made of: iota and expand stay, and so does a table that is
 * computed from two vectors. What the evaluator refuses (an index out of range) is left to fail when it runs.
 * A length that depended on data is known afterwards: its symbol is replaced everywhere. */
#include "base/intern.h"
#include "ir/eval.h"
#include "passes/passes.h"
#include "passes/symbols.h"

enum { FREE_BYTES = 1 << 20, EXPAND_BYTES = 256, EVAL_ARENA = 64 << 20 };

static int64_t bytes_of(const Type *t) {
  int64_t n = dim_hi(type_count(t));
  return n > INT64_MAX / 16 ? INT64_MAX : n * dtype_bytes(t->dtype);
}

static bool foldable(Module *m, const Node *n) {
  if (n->op == OP_IOTA || n->op == OP_RANDOM || n->op == OP_DIMS || n->nregion || n->nin == 0) return false;
  if (!op_is_scalar(n->op) && !op_info[n->op].eval) return false;
  int64_t in = 0, out = 0;
  for (int k = 0; k < n->nattr; k++)
    for (int i = 0; n->attr[k].kind == ATTR_DIMS && i < n->attr[k].n; i++)
      if (!dim_is_const(n->attr[k].dims[i])) return false;
  bool finds_lengths = !op_is_scalar(n->op) && op_info[n->op].how == HOW_CALL;
  for (int k = 0; k < n->nin; k++) {
    if (!n->in[k]) continue;
    const Tensor *t = value_of(m, n->in[k])->constant;
    if (!t || !t->data) return false;
    in += (int64_t)tensor_bytes(t);
  }
  for (int k = 0; k < n->nout; k++) {
    const Type *t = &value_of(m, n->out[k])->type;
    if (t->kind != KIND_TENSOR || t->rank < 0 || !t->dtype || t->dtype == DT_STRING) return false;
    int64_t b = bytes_of(t);
    if (b > INT64_MAX / 4 || (!finds_lengths && !type_is_static(t))) return false;
    out += b;
  }
  return out <= (n->op == OP_EXPAND ? EXPAND_BYTES : in > FREE_BYTES / 2 ? 2 * in : FREE_BYTES);
}

/* True when nothing failed; messages of a failure are taken back. */
static bool evaluate(PassContext *c, Eval *e, NodeId id) {
  Diags *d = c->diags;
  int len = d->len, errors = d->errors;
  bool ok = eval_node(e, id);
  d->len = len;
  d->errors = errors;
  return ok;
}

static bool fold_by_value(PassContext *c, Eval *e, NodeId id) {
  Module *m = c->module;
  if (!foldable(m, node_of(m, id)) || !evaluate(c, e, id)) return false;
  const Node n = *node_of(m, id);
  for (int k = 0; k < n.nout; k++)
    if (!eval_value(e, n.out[k])) return false;
  if (!rule_enabled(c, "constant")) return false;
  for (int k = 0; k < n.nout; k++) {
    const Tensor *t = eval_value(e, n.out[k]);
    Tensor *copy = tensor_new(&m->perm, t->dtype, t->rank, t->dims);
    memcpy(copy->data, t->data, tensor_bytes(t));
    const Type was = value_of(m, n.out[k])->type;
    graph_make_constant(m, n.out[k], copy);
    for (int i = 0; i < t->rank; i++) {
      const char *s = dim_bare_symbol(was.dims[i]);
      if (s) module_subst_symbol(m, s, DIM(t->dims[i]));
    }
  }
  graph_remove_node(m, id);
  return true;
}

static bool fold_content(PassContext *c, NodeId id) {
  Module *m = c->module;
  const Node *n = node_of(m, id);
  if (n->nout != 1 || n->nregion) return false;
  ValueId v = n->out[0];
  const Value *x = value_of(m, v);
  const Type type = x->type;
  if (!x->content || type.rank > 1 || !dtype_is_int(type.dtype) || (type.rank && !dim_is_const(type.dims[0])))
    return false;
  int count = type.rank ? (int)type.dims[0].k : 1;
  const Dim *content = x->content;
  bool constant = true;
  for (int i = 0; i < count; i++) constant &= dim_is_const(content[i]);
  if (constant) {
    if (!rule_enabled(c, "known-integers")) return false;
    Tensor *t = tensor_new(&m->perm, type.dtype, type.rank, (int64_t[]){count});
    for (int i = 0; i < count; i++) tensor_set_int(t, i, content[i].k);
    graph_make_constant(m, v, t);
    graph_remove_node(m, id);
    return true;
  }
  if (n->op == OP_DIMS || type.dtype != DT_I64 || !rule_enabled(c, "known-dims")) return false;
  Attr attr[] = {attr_dims(m, "dims", content, count), attr_int("rank", type.rank)};
  Node *to = node_of(m, id);                        // the node itself becomes dims: its output keeps its name
  to->op = OP_DIMS;
  to->in = NULL;
  to->nin = 0;
  to->attr = arena_dup(&m->perm, attr, sizeof attr);
  to->nattr = 2;
  infer_node(m, id);
  return true;
}

static void fold_graph(PassContext *c, Eval *e, Graph *g) {
  for (int i = 0; i < g->nodes.len; i++) {
    NodeId id = g->nodes.at[i];
    const Node *n = node_of(c->module, id);
    if (n->dead) continue;
    c->at = id;
    for (int r = 0; r < n->nregion; r++) fold_graph(c, e, node_of(c->module, id)->region[r]);
    if (fold_content(c, id)) continue;
    fold_by_value(c, e, id);
    if (e->arena.used > EVAL_ARENA) {
      eval_end(e);
      eval_begin(e, c->module);
    }
  }
}

bool pass_fold(PassContext *c) {
  int64_t before = c->rewrites;
  Eval e;
  eval_begin(&e, c->module);
  fold_graph(c, &e, c->module->main);
  eval_end(&e);
  graph_sweep(c->module);
  return c->rewrites == before || infer_module(c->module);       // lengths and elements that are known now
}
