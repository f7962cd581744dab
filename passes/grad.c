/* Reverse-mode differentiation; see grad.h.
 *
 * Values that matter are those reachable both ways: forward from `wrt` and backward from the loss. Their nodes are
 * visited in reverse execution order; when a node's turn comes every user of its outputs has been visited, so the sums
 * of their gradients are complete (Griewank and Walther, Evaluating Derivatives, 2008, chapter 3.2). */
#include "passes/grad.h"
#include "passes/decompose.h"
#include "passes/passes.h"
#include "base/intern.h"
#include <stdarg.h>
#include <string.h>

static const GradFn rules[OP_COUNT] = {
#define GRAD(name)     grad_##name
#define ZERO_GRAD(why) NULL
#define NO_GRAD(why)   NULL
#define SCALAR(E, text, arity, domain, result, f, i, c_operator, vecmath, libm, body, grad) [OP_##E] = grad,
#define OP(E, name, MIN, MAX, NOUT, HOW, ATTRS, FLAGS, FLOPS, grad) [OP_##E] = grad,
#include "ir/scalar.def"
#include "ir/ops.def"
#undef OP
#undef SCALAR
#undef GRAD
#undef ZERO_GRAD
#undef NO_GRAD
};

bool grad_fail(GradNode *r, const char *fmt, ...) {
  char buf[400];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(buf, sizeof buf, fmt, ap);
  va_end(ap);
  diag_error(r->grad->m->diags, "gradient", node_where(r->grad->m, r->node), "%s", buf);
  return false;
}

bool grad_wants(const GradNode *r, int k) {
  return k < r->nin && r->in[k] && (int)r->in[k] < r->grad->nvalues && r->grad->needed[r->in[k]];
}

void grad_add_value(Grad *s, Graph *g, ValueId v, ValueId dx) {
  if (!dx) return;
  Type t = value_of(s->m, v)->type;
  dx = build_cast(g, build_sum_to(g, dx, &t), t.dtype);
  s->of[v] = s->of[v] ? build_add(g, s->of[v], dx) : dx;
}

void grad_add_to(GradNode *r, int k, ValueId dx) {
  if (grad_wants(r, k)) grad_add_value(r->grad, r->g, r->in[k], dx);
}

ValueId grad_output(GradNode *r, int k) {
  Module *m = r->grad->m;
  graph_add_outputs(m, r->id, k + 1);
  r->out = node_of(m, r->id)->out;
  r->nout = node_of(m, r->id)->nout;
  return r->out[k];
}

/* ---- what is needed ---- */

static bool flows(const Grad *s, ValueId v) {
  return v && (int)v < s->nvalues && dtype_is_float(value_of(s->m, v)->type.dtype);
}

/* Marks values that depend on a marked one. A region's nodes may use outer values: its owner depends on them. */
static bool mark_forward(Grad *s, Graph *g, bool *from) {
  bool any = false;
  for (int k = 0; k < g->nodes.len; k++) {
    const Node *n = node_of(s->m, g->nodes.at[k]);
    bool hit = false;
    for (int i = 0; i < n->nin; i++) hit |= n->in[i] && from[n->in[i]];
    for (int i = 0; i < n->nregion; i++) hit |= mark_forward(s, n->region[i], from);
    // what goes in may come from anything that does, by way of iterations
    for (int i = 0; hit && i < n->nregion; i++) {
      Graph *r = n->region[i];
      for (int q = 0; q < r->inputs.len; q++) if (flows(s, r->inputs.at[q])) from[r->inputs.at[q]] = true;
      mark_forward(s, r, from);
    }
    if (op_info[n->op].grad == GRAD_ZERO) continue;
    for (int i = 0; hit && i < n->nout; i++) if (flows(s, n->out[i])) from[n->out[i]] = true;
    any |= hit;
  }
  return any;
}

static void mark_backward(Grad *s, Graph *g, const bool *from) {
  for (int k = g->nodes.len - 1; k >= 0; k--) {
    const Node *n = node_of(s->m, g->nodes.at[k]);
    bool hit = false;
    for (int i = 0; i < n->nout; i++) hit |= n->out[i] && s->needed[n->out[i]];
    if (!hit) continue;
    for (int i = 0; i < n->nin; i++) if (n->in[i] && from[n->in[i]]) s->needed[n->in[i]] = true;
    for (int q = 0; q < n->nregion; q++) {                      // captured values
      Graph *r = n->region[q];
      for (int i = 0; i < r->outputs.len; i++) if (from[r->outputs.at[i]]) s->needed[r->outputs.at[i]] = true;
      mark_backward(s, r, from);
    }
  }
}

/* ---- entry ---- */

static bool visit(Grad *s, NodeId id) {
  Node n = *node_of(s->m, id);
  GradNode r = {s, s->g, id, n.op, .in = n.in, .out = n.out, .nin = n.nin, .nout = n.nout, .node = &n};
  bool wanted = false, arrives = false;
  for (int k = 0; k < n.nin; k++) wanted |= grad_wants(&r, k);
  ValueId *dy = NEW_N(&s->m->perm, ValueId, n.nout + 1);
  for (int k = 0; k < n.nout; k++) {
    dy[k] = n.out[k] && (int)n.out[k] < s->nvalues ? s->of[n.out[k]] : 0;
    arrives |= dy[k] != 0;
  }
  if (!arrives || (!wanted && !n.nregion) || op_info[n.op].grad == GRAD_ZERO) return true;
  r.dy = dy;
  if (!rules[n.op]) return grad_fail(&r, "no gradient flows through it: %s", op_info[n.op].no_grad);
  Source src = n.source;
  src.op = intern_printf("grad %s", op_info[n.op].text);
  graph_set_source(s->m, src);
  return rules[n.op](&r);
}

bool grad_walk(Grad *s, const Graph *g, Graph *into) {
  Graph *outer = s->g;
  int n = g->nodes.len;
  NodeId *forward = NEW_N(&s->m->perm, NodeId, n + 1);          // the list grows in its middle while rules build
  if (n) memcpy(forward, g->nodes.at, sizeof *forward * (size_t)n);
  bool ok = true;
  s->g = into;
  for (int k = n - 1; k >= 0; k--) ok &= node_of(s->m, forward[k])->dead || visit(s, forward[k]);
  s->g = outer;
  return ok;
}

bool grad_build(Graph *g, ValueId loss, const ValueId *wrt, int nwrt, bool again, ValueId *gradient) {
  Module *m = g->module;
  Grad s = {.m = m, .g = g, .nvalues = m->values.len, .again = again};
  s.of = NEW_N(&m->perm, ValueId, s.nvalues);
  s.needed = NEW_N(&m->perm, bool, s.nvalues);
  bool *from = NEW_N(&m->perm, bool, s.nvalues);
  for (int k = 0; k < nwrt; k++) from[wrt[k]] = true;
  mark_forward(&s, g, from);
  s.needed[loss] = from[loss];
  mark_backward(&s, g, from);
  for (int k = 0; k < nwrt; k++) s.needed[wrt[k]] |= wrt[k] == loss;
  Source before = graph_source(m);
  s.of[loss] = build_scalar(g, value_of(m, loss)->type.dtype, 1);
  int errors = m->diags->errors;
  bool ok = grad_walk(&s, g, g);
  graph_set_source(m, before);
  for (int k = 0; k < nwrt; k++) gradient[k] = s.of[wrt[k]] ? s.of[wrt[k]] : build_zeros_like(g, wrt[k]);
  return ok && m->diags->errors == errors;
}

/* ---- the op `gradient` ---- */

/* Does the loss of another gradient depend on n's results? */
static bool is_differentiated(Graph *g, const Node *n) {
  Module *m = g->module;
  Grad s = {.m = m, .g = g, .nvalues = m->values.len};
  bool *from = NEW_N(&m->perm, bool, s.nvalues), found = false;
  for (int k = 0; k < n->nout; k++) from[n->out[k]] = true;
  mark_forward(&s, g, from);
  for (int k = 0; k < g->nodes.len; k++) {
    const Node *other = node_of(m, g->nodes.at[k]);
    found |= other->op == OP_GRADIENT && !other->dead && from[other->in[0]];
  }
  return found;
}

bool decompose_gradient(Graph *g, const Node *n, ValueId *out) {
  return grad_build(g, n->in[0], n->in + 1, n->nin - 1, is_differentiated(g, n), out);
}

int grad_of_inputs(Module *m, ValueId loss, ValueId **wrt) {
  Graph *g = m->main;
  ValueId *in = NEW_N(&m->perm, ValueId, g->inputs.len + 1), *dx = NEW_N(&m->perm, ValueId, g->inputs.len + 1);
  int n = 0;
  for (int i = 0; i < g->inputs.len; i++)
    if (dtype_is_float(value_of(m, g->inputs.at[i])->type.dtype)) in[++n] = g->inputs.at[i];
  in[0] = loss;
  if (!loss || (n && !build_multi(g, OP_GRADIENT, in, n + 1, NULL, 0, dx, n))) return -1;
  *wrt = in + 1;
  for (int k = 0; k < n; k++) {
    graph_rename_value(m, dx[k], intern_printf("d_%s", value_of(m, in[k + 1])->name));
    *vec_push(&m->perm, &g->outputs) = dx[k];
  }
  return n;
}

static bool expand(Module *m, PassContext *c) {
  Graph *g = m->main;
  int errors = m->diags->errors;
  for (int k = 0; k < g->nodes.len; k++) {
    NodeId id = g->nodes.at[k];
    if (node_of(m, id)->op != OP_GRADIENT || node_of(m, id)->dead) continue;
    if (c && !rule_enabled(c, "gradient")) continue;
    decompose_node(g, id);
    k = -1;                                                     // its nodes stand before it: look again
  }
  graph_sweep(m);
  return m->diags->errors == errors;
}

bool grad_resolve(Module *m) { return expand(m, NULL); }

bool pass_grad(PassContext *c) { return expand(c->module, c); }
