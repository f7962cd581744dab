/* What the layout of values costs the kernels that read and write them, in cycles. Only differences between layouts
 * count: arithmetic that takes the same time in any is left out.
 *
 * A kernel runs vectors along one axis. A value whose elements are neighbours along it is read and written by vectors,
 * any other element by element. Which axis that is, is fixed by the operator (channels of a convolution, columns of a
 * product), or follows the result (maps), or is there only where operand and result agree (pools). The rates were
 * fitted to kernels timed on Zen 3 with both layouts of each operand. */
#include "passes/conv.h"
#include "passes/layout_impl.h"

/* Cycles an element: of a vector of eight floats from the L2; on its own, strided or not vectorised; a multiply-add of
 * the plain nest; a step of a short loop inside others that is not vectorised. */
static const double BY_VECTOR = 0.2, BY_ELEMENT = 1.5, STRIDED = 2.0, PLAIN = 2.0, SHORT_LOOPS = 6.0;

static double elements(const Type *t) {
  double n = 1;
  for (int k = 0; k < t->rank; k++) n *= (double)dim_likely(t->dims[k]);
  return n;
}

static const Type *type_at(const Layouts *s, ValueId v) { return &value_of(s->m, v)->type; }

static bool is_near(const Type *t, const Storage *at, int axis) {
  return dim_is(at->stride[axis], 1) || dim_is(t->dims[axis], 1);
}

int layout_innermost(const Type *t, const Storage *at) {
  for (int k = t->rank - 1; k >= 0; k--) if (!dim_is(t->dims[k], 1) && dim_is(at->stride[k], 1)) return k;
  return -1;
}

double layout_walk(const Layouts *s, ValueId v, const Storage *at, int axis) {
  const Type *t = type_at(s, v);
  double n = elements(t);
  if (axis >= t->rank || axis < 0) return axis < 0 ? n * BY_ELEMENT : 0;
  if (dim_is(t->dims[axis], 1) || dim_is(at->stride[axis], 0)) return 0;             // one number for the whole vector
  return n * (dim_is(at->stride[axis], 1) ? BY_VECTOR : STRIDED);
}

/* The axis of v that goes with axis `axis` of `like`, which v is broadcast to; rank and more: none. */
static int axis_below(const Type *like, const Type *t, int axis) {
  int k = axis - (like->rank - t->rank);
  return axis < 0 ? -1 : k < 0 ? MAX_RANK : k;
}

/* ---- adding to the cut ---- */

/* The cut counts in sixteenths of a cycle. */
static int64_t whole(double cycles) { return (int64_t)(16 * cycles); }

static void add(Layouts *s, ValueId v, double zero, double one) {
  int thing = s->of[v].thing;
  if (thing < 0) return;
  s->cut.cost[thing][0] += whole(zero);
  s->cut.cost[thing][1] += whole(one);
}

void layout_add_pair(Layouts *s, ValueId x, ValueId y, LayoutPairCost cost, const void *ctx) {
  Sides *a = &s->of[x], *b = &s->of[y];
  if (!a->known || !b->known) return;
  int64_t c[2][2];
  for (int i = 0; i < 4; i++) c[i / 2][i % 2] = whole(cost(s, ctx, &a->at[i / 2], &b->at[i % 2]));
  for (int l = 0; l < 2; l++)
    if (a->thing >= 0 && (b->thing < 0 || b->thing == a->thing))
      s->cut.cost[a->thing][l] += c[l][b->thing == a->thing ? l : 0];
    else if (a->thing < 0 && b->thing >= 0) s->cut.cost[b->thing][l] += c[0][l];
  if (a->thing >= 0 && b->thing >= 0 && a->thing != b->thing)
    cut_pair(s->f->arena, &s->cut, a->thing, b->thing, (const int64_t(*)[2])c);
}

static void add_walk(Layouts *s, ValueId v, int axis) {
  const Sides *x = &s->of[v];
  if (x->known && x->thing >= 0) add(s, v, layout_walk(s, v, &x->at[0], axis), layout_walk(s, v, &x->at[1], axis));
}

/* `far` cycles where v's elements are no neighbours along `axis`. */
static void add_far(Layouts *s, ValueId v, int axis, double far) {
  const Sides *x = &s->of[v];
  const Type *t = type_at(s, v);
  if (x->known && x->thing >= 0 && axis < t->rank)
    add(s, v, is_near(t, &x->at[0], axis) ? 0 : far, is_near(t, &x->at[1], axis) ? 0 : far);
}

/* ---- kernels whose vectors follow a value ---- */

typedef struct Follow { ValueId x, y; } Follow;

static double follow_cost(const Layouts *s, const void *ctx, const Storage *x, const Storage *y) {
  const Follow *f = ctx;
  const Type *like = type_at(s, f->y);
  return layout_walk(s, f->x, x, axis_below(like, type_at(s, f->x), layout_innermost(like, y)));
}

static void add_follow(Layouts *s, ValueId x, ValueId y) {
  if (x == y) { add_walk(s, x, layout_innermost(type_at(s, x), &s->of[x].at[0])); return; }
  layout_add_pair(s, x, y, follow_cost, &(Follow){x, y});
}

/* Pools, resize and the like: lanes are channels where operand and result have them together; columns, where a resize
 * leaves them as they are. */
typedef struct Agree { const Type *x, *y; double work; bool columns; } Agree;

static double agree_cost(const Layouts *s, const void *ctx, const Storage *x, const Storage *y) {
  const Agree *a = ctx;
  int last = a->y->rank - 1;
  bool lanes = (is_near(a->x, x, 1) && is_near(a->y, y, 1)) ||
      (a->columns && is_near(a->x, x, last) && is_near(a->y, y, last));
  return lanes ? a->work * BY_VECTOR * 8 / s->target->lanes : a->work * SHORT_LOOPS;
}

/* ---- kernels with an axis of their own ---- */

static double flops(const Layouts *s, const Node *n) { return (double)dim_likely(op_info[n->op].flops(s->m, n)); }

/* Of what a convolution reads, channels apart: a plain nest if depthwise; no transforms of Winograd; else more lines of
 * cache. */
static void conv_operand(Layouts *s, const Node *n, ValueId x) {
  double work = flops(s, n) / (2.0 * s->target->lanes * s->target->fmas), far = elements(type_at(s, x));
  if (conv_is_depthwise(s->m, n)) far = 0.5 * flops(s, n) * PLAIN;
  else if (n->op != OP_CONV_TRANSPOSE && conv_is_winograd(s->m, n)) far += 0.5 * work;
  add_far(s, x, 1, far);
}

static double rows_cost(const Layouts *s, double n, double row, bool near) {
  double lanes = s->target->lanes, steps = row / lanes + 2;                           // what a row begins and ends with
  return near ? 4 * n / row * (steps * 2 + 8) : n * 3 * STRIDED;
}

/* The innermost axis of an op that is ALONG_AXIS or ALONG_REST, or any other's last. */
static int row_axis(const Node *n, int rank) {
  return op_has(n->op, ALONG_AXIS) ? (int)node_int(n, "axis", 0) : rank - 1;
}

/* By rows where these are contiguous. */
static void row_operand(Layouts *s, const Node *n) {
  const Type *t = type_at(s, n->in[0]);
  const Sides *x = &s->of[n->in[0]];
  double e = elements(t), row = 1, cost[2];
  int last = row_axis(n, t->rank);
  for (int k = (int)node_int(n, "axis", 0); k <= last; k++) row *= (double)dim_likely(t->dims[k]);
  if (!x->known) return;
  for (int l = 0; l < 2; l++) cost[l] = rows_cost(s, e, row, is_near(t, &x->at[l], last));
  add(s, n->in[0], cost[0], cost[1]);
}

/* Vectors run along whichever axis is contiguous, if one is. */
static void any_operand(Layouts *s, ValueId v) {
  const Sides *x = &s->of[v];
  const Type *t = type_at(s, v);
  double e = elements(t) * BY_ELEMENT;
  if (x->known) add(s, v, layout_innermost(t, &x->at[0]) < 0 ? e : 0, layout_innermost(t, &x->at[1]) < 0 ? e : 0);
}

static void call_operand(Layouts *s, ValueId v) {
  const Sides *x = &s->of[v];
  const Type *t = type_at(s, v);
  double e = elements(t) * STRIDED;
  if (x->known) add(s, v, strides_are_row_major(t, &x->at[0]) ? 0 : e, strides_are_row_major(t, &x->at[1]) ? 0 : e);
}

/* What the heavy node reads; `like`: the first value after it that is stored. Returns the axis of its result along
 * which its vectors run, -1: none known. */
static int root_cost(Layouts *s, const Node *n, ValueId like) {
  const Type *y = type_at(s, n->out[0]);
  for (int k = 0; k < n->nin; k++) {
    ValueId v = n->in[k];
    if (!v || !s->of[v].known) continue;
    const Type *t = type_at(s, v);
    if (op_info[n->op].how == HOW_CALL) call_operand(s, v);
    else if (n->op == OP_CONV_GRAD_WEIGHT || (op_has(n->op, CHANNELS_LAST) && k == 0)) conv_operand(s, n, v);
    else if (op_has(n->op, FOLLOWS_LAYOUT) && t->rank == y->rank && t->rank >= 3)
      layout_add_pair(s, v, like, agree_cost,
                      &(Agree){t, y, flops(s, n) + elements(t),
                               n->op == OP_RESIZE && dim_eq(t->dims[t->rank - 1], y->dims[t->rank - 1])});
    else if (op_has(n->op, READS_ONCE)) any_operand(s, v);
    else if (op_has(n->op, ALONG_AXIS | ALONG_REST) && k == 0) row_operand(s, n);
    else if (k == 0 && node_attr(n, "axis") && n->op != OP_GATHER)
      add_far(s, v, (int)node_int(n, "axis", 0), elements(t) * SHORT_LOOPS);
    else add_far(s, v, t->rank - 1, elements(t) * BY_ELEMENT);
  }
  return op_has(n->op, CHANNELS_LAST) ? 1 : row_axis(n, y->rank);
}

/* ---- a group ---- */

/* Does v come from outside the group's kernel? */
static bool is_read(const Layouts *s, ValueId v, int group) {
  NodeId d = v ? value_of(s->m, v)->def : 0;
  return v && s->of[v].known && !(d && node_of(s->m, d)->group == group);
}

void layout_group_cost(Layouts *s, const Group *g) {
  ValueId like = g->out;                                        // a map's loops follow the first value that it stores
  for (int k = 0; k < g->epilogue.len && !s->of[like].known; k++) like = node_of(s->m, g->epilogue.at[k])->out[0];
  int group = group_first(s->m, g)->group, axis = g->root ? root_cost(s, node_of(s->m, g->root), like) : -1;
  bool follows = !g->root || op_has(node_of(s->m, g->root)->op, FOLLOWS_LAYOUT);
  const Type *t = type_at(s, like);
  for (int k = 0; k < group_nodes(g); k++) {
    NodeId id = group_node(s->m, g, k);
    const Node *n = node_of(s->m, id);
    for (int i = 0; i < n->nin; i++) {
      ValueId v = n->in[i];
      if (id == g->root || !is_read(s, v, group) || type_at(s, v)->rank > t->rank) continue;
      if (follows) add_follow(s, v, like);
      else add_walk(s, v, axis_below(t, type_at(s, v), axis));
    }
    if (k >= group_chain(g) || !s->of[n->out[0]].known) continue;
    if (follows) add_follow(s, n->out[0], like);
    else add_walk(s, n->out[0], axis);
  }
}
