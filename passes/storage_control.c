/* Storage of control flow: what regions read and write is placed so that running them is only running steps.
 *
 * if:    both arms write the outputs' storage.
 * loop:  a carried value has one storage, the loop's output: a copy before the loop starts it, the body reads it as
 *        its input, copies at the end of the body (after everything else, see lower_program.c) renew it. The
 *        condition is carried like that. A scan output is written slice by slice: the slice's offset contains a
 *        symbol, the iteration number. When the number of trips is only known at the end, it is carried, too.
 * scan:  as loop; a scan input's slice is a strided view of the input, at the symbol.
 * Carried values keep their shape; others are refused. */
#include "ir/binds.h"
#include "passes/storage_impl.h"
#include <string.h>

/* A step looks at the first element of the condition's buffer: what is a slice or a view of more is copied. */
static void place_condition(Place *p, Graph *g, NodeId id) {
  ValueId c = node_of(p->m, id)->in[0];
  const Value *v = value_of(p->m, c);
  if (v->constant || (v->def && node_of(p->m, v->def)->group)) return;
  for (int k = 0; k < p->m->main->inputs.len; k++) if (p->m->main->inputs.at[k] == c) return;
  c = insert_copy(p, g, id, c);
  own_storage(p, c);
  node_of(p->m, id)->in[0] = c;
}

/* The results of both arms of an `if` are written where its outputs are. */
static void place_if(Place *p, NodeId id) {
  for (int r = 0; r < node_of(p->m, id)->nregion; r++) {
    Graph *arm = node_of(p->m, id)->region[r];
    for (int k = 0; k < arm->outputs.len; k++) {
      ValueId out = node_of(p->m, id)->out[k], v = arm->outputs.at[k];
      if (!out) continue;
      if (!value_of(p->m, out)->at.base) own_storage(p, out);
      if (!type_same_shape(&value_of(p->m, v)->type, &value_of(p->m, out)->type)) {
        diag_error(p->m->diags, "unsupported", node_where(p->m, node_of(p->m, id)),
                   "its branches give different shapes, %s and %s", type_text(&value_of(p->m, v)->type),
                   type_text(&value_of(p->m, out)->type));
        continue;
      }
      if (!placeable(p, arm, v)) arm->outputs.at[k] = v = insert_copy(p, arm, 0, v);
      value_of(p->m, v)->at = value_of(p->m, out)->at;
    }
  }
}

/* ---- loops ---- */

typedef struct LoopPlace { Place *p; Graph *outer, *body; NodeId id; LoopPlan *plan; } LoopPlace;

static Node *loop_node(LoopPlace *l) { return node_of(l->p->m, l->id); }

static bool refuse(LoopPlace *l, ValueId a, ValueId b) {
  Module *m = l->p->m;
  diag_error(m->diags, "unsupported", node_where(m, loop_node(l)), "a carried value changes its shape: %s, then %s",
             type_text(&value_of(m, a)->type), type_text(&value_of(m, b)->type));
  return false;
}

/* state: storage that exists. first -> state before the loop, after -> state at the end of the body. */
static void carry(LoopPlace *l, ValueId first, ValueId in, ValueId after, ValueId state) {
  Module *m = l->p->m;
  if (!type_same_shape(&value_of(m, first)->type, &value_of(m, state)->type) ||
      !type_same_shape(&value_of(m, after)->type, &value_of(m, state)->type)) {
    refuse(l, first, after);
    return;
  }
  ValueId start = insert_copy(l->p, l->outer, l->id, first);
  value_of(m, start)->at = value_of(m, state)->at;
  *vec_push(l->p->f->arena, &l->plan->before) = start;
  if (in) {
    value_of(m, in)->at = value_of(m, state)->at;
    value_of(m, in)->type = value_of(m, state)->type;
  }
  // What goes back into the state must be computed apart from it: two copies where it is some state itself.
  *vec_push(l->p->f->arena, &l->plan->results) = after;
  const Value *a = value_of(m, after);
  Node *d = a->def ? node_of(m, a->def) : NULL;
  if (!d || d->graph != l->body || !d->group) {
    after = insert_copy(l->p, l->body, 0, after);
    own_storage(l->p, after);
    *vec_push(l->p->f->arena, &l->plan->results) = after;
  }
  ValueId renewed = insert_copy(l->p, l->body, 0, after);
  value_of(m, renewed)->at = value_of(m, state)->at;
  *vec_push(l->p->f->arena, &l->plan->renew) = renewed;
}

/* The slice of a stacked value at this iteration, along axis. */
static Storage slice_at(LoopPlace *l, ValueId stacked, int axis, bool reverse) {
  const Value *v = value_of(l->p->m, stacked);
  Dim at = l->plan->iteration;
  if (reverse) at = dim_sub(dim_sub(v->type.dims[axis], DIM(1)), at);
  Storage s = v->at;
  s.offset = dim_add(s.offset, dim_mul(at, s.stride[axis]));
  for (int k = axis; k < v->type.rank - 1; k++) s.stride[k] = v->at.stride[k + 1];
  return s;
}

static void scan_output(LoopPlace *l, ValueId item, ValueId out, int axis, bool reverse) {
  if (!out) return;
  if (!value_of(l->p->m, out)->at.base) own_storage(l->p, out);
  ValueId c = insert_copy(l->p, l->body, 0, item);
  value_of(l->p->m, c)->at = slice_at(l, out, axis, reverse);
  *vec_push(l->p->f->arena, &l->plan->results) = c;
}

static ValueId scalar_like(LoopPlace *l, ValueId v) {           // a rank-0 value with storage of its own
  Module *m = l->p->m;
  ValueId s = graph_add_value(m, NULL, type_of(value_of(m, v)->type.dtype, 0, NULL));
  own_storage(l->p, s);
  return s;
}

static ValueId as_scalar(LoopPlace *l, ValueId v) {             // a [1] condition or count as rank 0
  Module *m = l->p->m;
  if (value_of(m, v)->type.rank == 0) return v;
  Attr shape = attr_dims(m, "shape", NULL, 0);
  NodeId d = value_of(m, v)->def;
  bool inside = d && node_of(m, d)->graph == l->body;
  if (!inside) graph_insert_before(l->outer, l->id);
  ValueId r = graph_op(inside ? l->body : l->outer, OP_RESHAPE, &v, 1, &shape, 1);
  if (!inside) graph_insert_end(l->outer);
  return r;
}

static void state_output(LoopPlace *l, int k, ValueId first, ValueId in, ValueId after) {
  ValueId state = loop_node(l)->out[k];
  if (!state) state = graph_add_value(l->p->m, NULL, value_of(l->p->m, in)->type);
  if (!value_of(l->p->m, state)->at.base) own_storage(l->p, state);
  carry(l, first, in, after, state);
}

static Dim iteration_symbol(Dim trips) {
  int64_t hi = dim_hi(trips);
  return dim_fresh_symbol("iteration", 0, hi > 0 ? hi - 1 : 0);
}

/* What a loop stacks up has a place in the arena for the most trips there can be: there must be such a number. */
static bool refuse_unbounded(LoopPlace *l, ValueId out, ValueId trip, ValueId cond) {
  Module *m = l->p->m;
  if (dim_hi(value_of(m, out)->type.dims[0]) < INT32_MAX) return false;
  diag_error(m->diags, "unsupported", node_where(m, loop_node(l)),
             "the number of its iterations exists only at run time and "
             "has no bound, so what they collect has no place in memory");
  Text t = {0};
  binds_put(&t, m, (ValueId[]){trip, cond}, 2);
  if (t.len) diag_note(m->diags, "hint: fix it when compiling, with%s", t.at);
  text_free(&t);
  return true;
}

static void place_loop(LoopPlace *l) {
  Module *m = l->p->m;
  int carried = loop_node(l)->nin - 2, scans = loop_node(l)->nout - carried;
  ValueId trip = loop_node(l)->in[0], cond = loop_node(l)->in[1], iter = l->body->inputs.at[0];
  for (int k = 0; k < scans; k++) {
    ValueId out = loop_node(l)->out[carried + k];
    if (out && refuse_unbounded(l, out, trip, cond)) return;
  }
  const Tensor *known = trip ? value_of(m, trip)->constant : NULL;
  l->plan->trips = known ? DIM(tensor_get_int(known, 0)) : trip && value_of(m, trip)->content
      ? value_of(m, trip)->content[0] : DIM(INT32_MAX);
  for (int k = 0; k < scans; k++)                               // the largest stack is a bound, too
    if (loop_node(l)->out[carried + k]) {
      Dim t = value_of(m, loop_node(l)->out[carried + k])->type.dims[0];
      if (dim_hi(t) < dim_hi(l->plan->trips)) l->plan->trips = DIM(dim_hi(t));
    }
  l->plan->iteration = iteration_symbol(l->plan->trips);
  l->plan->iter = iter;
  l->plan->trip = trip ? as_scalar(l, trip) : 0;
  for (int k = 0; k < carried; k++)
    state_output(l, k, loop_node(l)->in[2 + k], l->body->inputs.at[2 + k], l->body->outputs.at[1 + k]);
  for (int k = 0; k < scans; k++)
    scan_output(l, l->body->outputs.at[1 + carried + k], loop_node(l)->out[carried + k], 0, false);
  l->plan->cond = scalar_like(l, l->body->inputs.at[1]);
  if (!cond) cond = graph_scalar(m, DT_BOOL, 1);
  if (!value_of(m, cond)->at.base && value_of(m, cond)->constant) own_storage(l->p, cond);
  carry(l, as_scalar(l, cond), 0, as_scalar(l, l->body->outputs.at[0]), l->plan->cond);
  value_of(m, l->body->inputs.at[1])->at = value_of(m, l->plan->cond)->at;
  for (int k = 0; k < scans; k++) {                             // a length that only running tells
    ValueId out = loop_node(l)->out[carried + k];
    if (!out || dim_is_const(value_of(m, out)->type.dims[0])) continue;
    ValueId zero = graph_scalar(m, DT_I64, 0), one = graph_scalar(m, DT_I64, 1);
    own_storage(l->p, zero);
    own_storage(l->p, one);
    l->plan->count = scalar_like(l, one);
    ValueId both[2] = {iter, one};
    ValueId next = graph_op(l->body, OP_ADD, both, 2, NULL, 0);
    fusion_new_map(l->p->f, value_of(m, next)->def);
    own_storage(l->p, next);
    carry(l, zero, 0, next, l->plan->count);
    break;
  }
}

static int entry(const Attr *a, int k) { return a && k < a->n ? (int)a->dims[k].k : 0; }

static void place_scan(LoopPlace *l) {
  Module *m = l->p->m;
  int slices = (int)node_int(loop_node(l), "scan_inputs", 1), states = loop_node(l)->nin - slices;
  int scans = loop_node(l)->nout - states;
  const Attr *in_axes = node_dims(loop_node(l), "in_axes"), *in_rev = node_dims(loop_node(l), "in_reverse");
  const Attr *out_axes = node_dims(loop_node(l), "out_axes"), *out_rev = node_dims(loop_node(l), "out_reverse");
  l->plan->trips = value_of(m, loop_node(l)->in[states])->type.dims[entry(in_axes, 0)];
  l->plan->iteration = iteration_symbol(l->plan->trips);
  l->plan->iter = scalar_like(l, graph_scalar(m, DT_I64, 0));
  for (int k = 0; k < slices; k++) {
    ValueId x = insert_copy(l->p, l->outer, l->id, loop_node(l)->in[states + k]);
    own_storage(l->p, x);
    *vec_push(l->p->f->arena, &l->plan->before) = x;
    ValueId in = l->body->inputs.at[states + k];
    int axis = entry(in_axes, k);
    Type t = value_of(m, x)->type;                              // the slice's dims, now that they are known
    for (int d = axis; d < t.rank - 1; d++) t.dims[d] = t.dims[d + 1];
    t.rank--;
    value_of(m, in)->type = t;
    value_of(m, in)->at = slice_at(l, x, axis, entry(in_rev, k));
  }
  for (int k = 0; k < states; k++)
    state_output(l, k, loop_node(l)->in[k], l->body->inputs.at[k], l->body->outputs.at[k]);
  for (int k = 0; k < scans; k++)
    scan_output(l, l->body->outputs.at[states + k], loop_node(l)->out[states + k], entry(out_axes, k),
                entry(out_rev, k));
}

LoopPlan *fusion_loop_plan(Fusion *f, NodeId id) {
  for (int k = 0; k < f->loops.len; k++) if (f->loops.at[k]->node == id) return f->loops.at[k];
  LoopPlan *plan = NEW(f->arena, LoopPlan);
  plan->node = id;
  *vec_push(f->arena, &f->loops) = plan;
  return plan;
}

void place_control(Place *p, Graph *g, NodeId id) {
  Node *n = node_of(p->m, id);
  if (n->op == OP_IF) {
    place_condition(p, g, id);
    place_if(p, id);
    return;
  }
  if (n->op != OP_LOOP && n->op != OP_SCAN) return;
  Source keep = graph_source(p->m);
  graph_set_source(p->m, n->source);
  LoopPlace l = {p, g, n->region[0], id, fusion_loop_plan(p->f, id)};
  if (n->op == OP_LOOP) place_loop(&l);
  else place_scan(&l);
  graph_set_source(p->m, keep);
}
