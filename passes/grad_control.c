/* Gradients of if, loop and scan.
 *
 * The gradient of a loop is a scan that goes through its iterations from the last to the first. It carries the
 * gradients of the loop's carried values, and one sum for each outer value that the body uses; what the loop stacked up
 * it takes slice by slice, and it stacks up the gradients of the slices the loop took. Its body is what the rules build
 * for the nodes of the loop's body. Of the body's values these nodes use, the loop stacks up what each iteration
 * computed (they are further outputs of it), and the scan takes them in reverse: nothing is computed twice.
 *
 * The gradient of an if is an if with its condition. What one branch computed and the gradient uses becomes an output
 * of the if; the other branch gives zeros for it.
 *
 * Reference: Griewank and Walther, Evaluating Derivatives, 2008, chapter 4. */
#include "passes/grad.h"
#include <string.h>

/* One region and its gradient's. */
typedef struct Back {
  GradNode *r;
  Grad *s;
  Module *m;
  Graph *body, *graph;
  bool *inside;                         /* per value of the forward network: defined in body, or deeper */
  ValueList outer;                      /* those defined outside that the body uses and whose gradient is needed */
  ValueList cross, crossed;             /* values of the body that the gradient uses; what stands for them there */
} Back;

static Type type_at(Back *b, ValueId v) { return value_of(b->m, v)->type; }
static bool is_float(Back *b, ValueId v) {
  const Type *t = &value_of(b->m, v)->type;
  return t->kind == KIND_TENSOR && dtype_is_float(t->dtype);
}

static bool has(const ValueList *l, ValueId v, int *at) {
  for (int k = 0; k < l->len; k++) if (l->at[k] == v) { if (at) *at = k; return true; }
  return false;
}

static void add(Back *b, ValueList *l, ValueId v) {               /* once */
  if (!has(l, v, NULL)) *vec_push(&b->m->perm, l) = v;
}

/* ---- what the body defines and uses ---- */

static void mark_inside(Back *b, const Graph *g) {
  for (int k = 0; k < g->inputs.len; k++) if ((int)g->inputs.at[k] < b->s->nvalues) b->inside[g->inputs.at[k]] = true;
  for (int k = 0; k < g->nodes.len; k++) {
    const Node *n = node_of(b->m, g->nodes.at[k]);
    for (int i = 0; i < n->nout; i++) if ((int)n->out[i] < b->s->nvalues) b->inside[n->out[i]] = true;
    for (int i = 0; i < n->nregion; i++) mark_inside(b, n->region[i]);
  }
}

static void use_outer(Back *b, ValueId v) {
  if (!v || (int)v >= b->s->nvalues || b->inside[v] || !b->s->needed[v] || !is_float(b, v)) return;
  add(b, &b->outer, v);
}

static void collect_outer(Back *b, const Graph *g) {
  for (int k = 0; k < g->nodes.len; k++) {
    const Node *n = node_of(b->m, g->nodes.at[k]);
    for (int i = 0; i < n->nin; i++) use_outer(b, n->in[i]);
    for (int i = 0; i < n->nregion; i++) collect_outer(b, n->region[i]);
  }
  for (int k = 0; k < g->outputs.len; k++) use_outer(b, g->outputs.at[k]);
}

static Back back_new(GradNode *r, Graph *body) {
  Back b = {.r = r, .s = r->grad, .m = r->grad->m, .body = body};
  b.graph = graph_new(b.m, "back", 0);
  b.inside = NEW_N(&b.m->perm, bool, b.s->nvalues);
  mark_inside(&b, body);
  return b;
}

/* Values of the body's own that nodes of g (the gradient) use. Those of regions within it stay within. */
static void collect_cross(Back *b, const Graph *g, const bool *own) {
  for (int k = 0; k < g->nodes.len; k++) {
    const Node *n = node_of(b->m, g->nodes.at[k]);
    for (int i = 0; i < n->nin; i++) if (n->in[i] && own[n->in[i]]) add(b, &b->cross, n->in[i]);
    for (int i = 0; i < n->nregion; i++) collect_cross(b, n->region[i], own);
  }
  for (int k = 0; k < g->outputs.len; k++) if (own[g->outputs.at[k]]) add(b, &b->cross, g->outputs.at[k]);
}

static void find_cross(Back *b) {
  bool *own = NEW_N(&b->m->perm, bool, b->m->values.len);
  for (int k = 0; k < b->body->inputs.len; k++) own[b->body->inputs.at[k]] = true;
  for (int k = 0; k < b->body->nodes.len; k++) {
    const Node *n = node_of(b->m, b->body->nodes.at[k]);
    for (int i = 0; i < n->nout; i++) own[n->out[i]] = true;
  }
  collect_cross(b, b->graph, own);
}

static void replace(Back *b, Graph *g) {
  int at;
  for (int k = 0; k < g->nodes.len; k++) {
    Node *n = node_of(b->m, g->nodes.at[k]);
    for (int i = 0; i < n->nin; i++) if (n->in[i] && has(&b->cross, n->in[i], &at)) n->in[i] = b->crossed.at[at];
    for (int i = 0; i < n->nregion; i++) replace(b, n->region[i]);
  }
  for (int k = 0; k < g->outputs.len; k++)
    if (has(&b->cross, g->outputs.at[k], &at)) g->outputs.at[k] = b->crossed.at[at];
}

/* ---- a region's gradient ---- */

static ValueId gradient_or_zeros(Back *b, ValueId v) {
  return b->s->of[v] ? b->s->of[v] : build_zeros_like(b->graph, v);
}

/* Gradients within a region are sums of their own: the caller puts back what this returns. */
static ValueId *fresh_sums(Back *b) {
  ValueId *keep = b->s->of;
  b->s->of = NEW_N(&b->m->perm, ValueId, b->s->nvalues);
  return keep;
}

static void give(Graph *g, ValueId v) { *vec_push(&g->module->perm, &g->outputs) = v; }

/* ---- if ---- */

/* The forward if gives v of its branch q, and zeros in the other: its new output. */
static void if_output(GradNode *r, NodeId id, int q, ValueId v) {
  Module *m = r->grad->m;
  Graph *other = node_of(m, id)->region[1 - q];
  give(node_of(m, id)->region[q], v);
  give(other, build_zeros_like(other, v));
}

bool grad_if(GradNode *r) {
  Module *m = r->grad->m;
  NodeId id = r->id;
  Source source = graph_source(m);
  Back b[2];
  for (int q = 0; q < 2; q++) b[q] = back_new(r, r->node->region[q]);
  for (int q = 0; q < 2; q++) collect_outer(&b[q], b[q].body);
  ValueList outer = b[0].outer;
  for (int k = 0; k < b[1].outer.len; k++) add(&b[0], &outer, b[1].outer.at[k]);
  bool ok = true;
  for (int q = 0; q < 2; q++) {
    ValueId *keep = fresh_sums(&b[q]);
    for (int k = 0; k < r->nout; k++)
      if (r->dy[k]) grad_add_value(r->grad, b[q].graph, b[q].body->outputs.at[k], r->dy[k]);
    ok &= grad_walk(r->grad, b[q].body, b[q].graph);
    for (int k = 0; k < outer.len; k++) give(b[q].graph, gradient_or_zeros(&b[q], outer.at[k]));
    r->grad->of = keep;
    graph_set_source(m, source);
  }
  if (!ok || !outer.len) return ok;
  int nout = r->nout;
  for (int q = 0; q < 2; q++) {
    find_cross(&b[q]);
    for (int k = 0; k < b[q].cross.len; k++) if_output(r, id, q, b[q].cross.at[k]);
  }
  graph_add_outputs(m, id, nout + b[0].cross.len + b[1].cross.len);
  for (int q = 0; q < 2; q++) {
    for (int k = 0; k < b[q].cross.len; k++) *vec_push(&m->perm, &b[q].crossed) = node_of(m, id)->out[nout++];
    replace(&b[q], b[q].graph);
  }
  NodeId n = graph_new_node(r->g, OP_IF, r->in, 1, outer.len, NULL, 0);
  for (int q = 0; q < 2; q++) graph_attach_region(m, n, b[q].graph);
  if (!infer_node(m, n)) return false;
  for (int k = 0; k < outer.len; k++) grad_add_value(r->grad, r->g, outer.at[k], node_of(m, n)->out[k]);
  return true;
}

/* ---- loop and scan ---- */

enum { AXES, REVERSE };
typedef VEC(int64_t) Numbers;

/* How the inputs and outputs of a loop or scan are grouped, and what the scan that goes back is made of. */
typedef struct Loop {
  Back b;
  int in0, body0, out0;                 /* where the carried values begin: node inputs, body inputs, body outputs */
  int states, slices, scans;
  Dim trips;                            /* of a loop */
  const Attr *in[2], *out[2];           /* axes, reverse; NULL: 0 */
  ValueList first, sliced;              /* of the scan: what carried values start with; what is sliced */
  Numbers in_attr[2], out_attr[2];
  Numbers belongs;                      /* of the scan's stacked outputs: the node's input each is the gradient of */
} Loop;

static int64_t entry(const Attr *a, int k) { return a && k < a->n ? a->dims[k].k : 0; }

/* An input of the scan's body of type t, carried from `first` on. */
static ValueId carried(Loop *l, Type t, ValueId first) {
  *vec_push(&l->b.m->perm, &l->first) = first;
  return graph_add_input(l->b.graph, NULL, t);
}

/* An input that is a slice of `stacked`, in the order opposite to that of the loop. */
static ValueId slice(Loop *l, Type t, ValueId stacked, int64_t axis, bool reverse) {
  Arena *a = &l->b.m->perm;
  *vec_push(a, &l->sliced) = stacked;
  *vec_push(a, &l->in_attr[AXES]) = axis;
  *vec_push(a, &l->in_attr[REVERSE]) = !reverse;
  return graph_add_input(l->b.graph, NULL, t);
}

/* The forward node stacks up the values v, too: its last outputs from now on. */
static void stack_forward(Loop *l, NodeId id, const ValueId *v, int n) {
  Module *m = l->b.m;
  Node *f = node_of(m, id);
  for (int k = 0; k < n; k++) give(l->b.body, v[k]);
  Attr *attr = NEW_N(&m->perm, Attr, f->nattr + 1);
  for (int a = 0; a < f->nattr; a++) {
    attr[a] = f->attr[a];
    if (strcmp(attr[a].name, "out_axes") && strcmp(attr[a].name, "out_reverse")) continue;
    Dim *dims = NEW_N(&m->perm, Dim, attr[a].n + n + 1);
    for (int k = 0; k < attr[a].n + n; k++) dims[k] = k < attr[a].n ? attr[a].dims[k] : DIM(0);
    attr[a].dims = dims;
    attr[a].n += n;
  }
  f->attr = attr;
  graph_add_outputs(m, id, f->nout + n);
}

/* Where the gradient uses values of the body: slices of what the loop takes or gives, or of what it now stacks up. */
static bool bring(Loop *l, NodeId id) {
  Back *b = &l->b;
  find_cross(b);
  ValueList stack = {0};
  for (int k = 0; k < b->cross.len; k++) {
    ValueId v = b->cross.at[k];
    int at;
    if (has(&b->body->inputs, v, &at) && at >= l->body0 + l->states) continue;
    *vec_push(&b->m->perm, &stack) = v;
  }
  int had = node_of(b->m, id)->nout, errors = b->m->diags->errors, at, next = had;
  if (stack.len) stack_forward(l, id, stack.at, stack.len);
  if (b->m->diags->errors != errors) return false;
  for (int k = 0; k < b->cross.len; k++) {
    ValueId v = b->cross.at[k], by;
    if (has(&b->body->inputs, v, &at) && at >= l->body0 + l->states) {
      int q = at - l->body0 - l->states;
      by = slice(l, type_at(b, v), b->r->in[l->in0 + l->states + q], entry(l->in[AXES], q), entry(l->in[REVERSE], q));
    } else {
      by = slice(l, type_at(b, v), node_of(b->m, id)->out[next++], 0, false);
    }
    *vec_push(&b->m->perm, &b->crossed) = by;
  }
  replace(b, b->graph);
  return true;
}

/* The scan itself. One without anything to slice is given numbers, so that it knows how often to run. */
static NodeId scan_back(Loop *l) {
  Back *b = &l->b;
  Module *m = b->m;
  if (!l->sliced.len) slice(l, type_of(DT_I64, 0, NULL), build_iota(b->r->g, DT_I64, &l->trips, 1, 0), 0, false);
  ValueList in = {0};
  for (int k = 0; k < l->first.len; k++) *vec_push(&m->perm, &in) = l->first.at[k];
  for (int k = 0; k < l->sliced.len; k++) *vec_push(&m->perm, &in) = l->sliced.at[k];
  int nin = l->sliced.len, nout = l->belongs.len;
  Attr a[] = {attr_int("scan_inputs", nin), attr_ints(m, "in_axes", l->in_attr[AXES].at, nin),
              attr_ints(m, "in_reverse", l->in_attr[REVERSE].at, nin),
              attr_ints(m, "out_axes", l->out_attr[AXES].at, nout),
              attr_ints(m, "out_reverse", l->out_attr[REVERSE].at, nout)};
  NodeId n = graph_new_node(b->r->g, OP_SCAN, in.at, in.len, l->first.len + nout, a, 5);
  graph_attach_region(m, n, b->graph);
  return infer_node(m, n) ? n : 0;
}

static bool through_time(Loop *l) {
  Back *b = &l->b;
  GradNode *r = b->r;
  Grad *s = b->s;
  Module *m = b->m;
  NodeId id = r->id;
  const ValueId *in = b->body->inputs.at + l->body0, *out = b->body->outputs.at + l->out0;
  collect_outer(b, b->body);
  ValueId *state = NEW_N(&m->perm, ValueId, l->states + 1), *sum = NEW_N(&m->perm, ValueId, b->outer.len + 1);
  for (int k = 0; k < l->states; k++) {
    if (!is_float(b, in[k]) || !(s->needed[in[k]] || r->dy[k])) continue;
    state[k] = carried(l, type_at(b, in[k]), r->dy[k] ? r->dy[k] : build_zeros_like(r->g, r->in[l->in0 + k]));
  }
  for (int k = 0; k < b->outer.len; k++)
    sum[k] = carried(l, type_at(b, b->outer.at[k]), build_zeros_like(r->g, b->outer.at[k]));
  ValueId *keep = fresh_sums(b);
  for (int k = 0; k < l->states; k++) if (state[k]) grad_add_value(s, b->graph, out[k], state[k]);
  for (int k = 0; k < l->scans; k++) {
    ValueId dy = r->dy[l->states + k];
    if (!dy) continue;
    ValueId d = slice(l, type_at(b, out[l->states + k]), dy, entry(l->out[AXES], k), entry(l->out[REVERSE], k));
    grad_add_value(s, b->graph, out[l->states + k], d);
  }
  Source source = graph_source(m);
  bool ok = grad_walk(s, b->body, b->graph);
  graph_set_source(m, source);
  for (int k = 0; k < l->states; k++) if (state[k]) give(b->graph, gradient_or_zeros(b, in[k]));
  for (int k = 0; k < b->outer.len; k++) {
    ValueId d = s->of[b->outer.at[k]];
    give(b->graph, d ? build_add(b->graph, sum[k], d) : sum[k]);
  }
  for (int k = 0; k < l->slices; k++) {
    int q = l->in0 + l->states + k;
    if (!grad_wants(r, q) || !is_float(b, in[l->states + k])) continue;
    give(b->graph, gradient_or_zeros(b, in[l->states + k]));
    *vec_push(&m->perm, &l->out_attr[AXES]) = entry(l->in[AXES], k);
    *vec_push(&m->perm, &l->out_attr[REVERSE]) = !entry(l->in[REVERSE], k);
    *vec_push(&m->perm, &l->belongs) = q;
  }
  s->of = keep;
  if (!ok || !bring(l, id)) return false;
  NodeId n = scan_back(l);
  if (!n) return false;
  int next = 0;
  for (int k = 0; k < l->states; k++) if (state[k]) grad_add_to(r, l->in0 + k, node_of(m, n)->out[next++]);
  for (int k = 0; k < b->outer.len; k++) grad_add_value(s, r->g, b->outer.at[k], node_of(m, n)->out[next++]);
  for (int k = 0; k < l->belongs.len; k++) grad_add_to(r, (int)l->belongs.at[k], node_of(m, n)->out[next++]);
  return true;
}

bool grad_loop(GradNode *r) {
  Loop l = {.b = back_new(r, r->node->region[0]), .in0 = 2, .body0 = 2, .out0 = 1, .states = r->nin - 2};
  l.scans = r->nout - l.states;
  if (!loop_trips(r->grad->m, r->node, &l.trips))
    return grad_fail(r,
                     "no gradient flows through a loop whose number of iterations exists only at run time: it must be "
                     "a constant or a size, and no condition may end the loop");
  return through_time(&l);
}

bool grad_scan(GradNode *r) {
  Loop l = {.b = back_new(r, r->node->region[0]), .slices = (int)node_int(r->node, "scan_inputs", 1)};
  l.states = r->nin - l.slices;
  l.scans = r->nout - l.states;
  l.in[AXES] = node_dims(r->node, "in_axes");
  l.in[REVERSE] = node_dims(r->node, "in_reverse");
  l.out[AXES] = node_dims(r->node, "out_axes");
  l.out[REVERSE] = node_dims(r->node, "out_reverse");
  return through_time(&l);
}
