/* Gradients of lstm, gru and rnn. One op walks back through time and gives the gradients of the gates' sums, dgates
 * [T,D,B,G*H]; what does not depend on the order of steps is built from it here, over all steps at once. Per direction:
 *
 *   dx = dgates W      dW = dgates^T x      db = sum of dgates, for both halves      dR = dgates^T (h before each step)
 *
 * The forward node is asked for what its gates' activations got and for its cells (lstm) or its products (gru). Not
 * recomputing them costs T*D*B*(G+1)*H elements of memory and saves the forward pass, two thirds of the work.
 *
 * "h before each step" is never built: y shifted by one step against dgates, both slices, and for the first step the
 * initial state, where there is one. Backwards with lengths the first steps lie at different t: a mask finds them.
 * Beyond the end of a sequence dgates and y are 0. */
#include "passes/grad.h"

typedef struct Layer {
  GradNode *r;
  Graph *g;
  ValueId in[8];                        /* of the node: x w r b lens h0 c0 p; 0: absent */
  ValueId y, dgates, drec;              /* drec: of the last gate's R product, gru; else 0 */
  Dim T, B, I, H, GH;
  int gates, directions, d;
  bool backwards;
} Layer;

/* Direction d of v, whose axis 1 (of four) it is. */
static ValueId of_direction(Layer *l, ValueId v) { return build_slice(l->g, v, 1, DIM(l->d), DIM(1)); }

/* Steps [from, from + n) of v [T,1,B,W] as rows. */
static ValueId rows(Layer *l, ValueId v, Dim from, Dim n) {
  v = build_slice(l->g, v, 0, from, n);
  return build_reshape(l->g, v, (Dim[]){dim_mul(n, l->B), build_dim(l->g, v, -1)}, 2);
}

static ValueId columns(Layer *l, ValueId v, int first, int gates) {
  return build_slice(l->g, v, -1, dim_mul(DIM(first), l->H), dim_mul(DIM(gates), l->H));
}

/* a^T b for two matrices of as many rows */
static ValueId product(Layer *l, ValueId a, ValueId b) { return build_matmul(l->g, build_swap(l->g, a, 0, 1), b); }

/* sum of a * b over rows: as many columns, a row of them */
static ValueId row_sums(Layer *l, ValueId a, ValueId b) {
  return build_reduce(l->g, OP_REDUCE_SUM, build_mul(l->g, a, b), (int[]){0}, 1, false);
}

/* v [T,1,B,W] at the first step of every sequence: [B,W] */
static ValueId first_step(Layer *l, ValueId v) {
  if (!l->backwards || !l->in[4]) return rows(l, v, l->backwards ? dim_sub(l->T, DIM(1)) : DIM(0), DIM(1));
  Dim W = build_dim(l->g, v, -1);
  ValueId last = build_addc(l->g, l->in[4], -1);                // i32[B]
  ValueId t = build_iota(l->g, DT_I32, (Dim[]){l->T, DIM(1), DIM(1), DIM(1)}, 4, 0);
  ValueId here = build_op2(l->g, OP_EQ, t, build_reshape(l->g, last, (Dim[]){DIM(1), DIM(1), l->B, DIM(1)}, 4));
  ValueId masked = build_where(l->g, here, v, build_scalar(l->g, build_dtype(l->g, v), 0));
  ValueId sum = build_reduce(l->g, OP_REDUCE_SUM, masked, (int[]){0}, 1, false);
  return build_reshape(l->g, sum, (Dim[]){l->B, W}, 2);
}

typedef ValueId (*Combine)(Layer *l, ValueId a, ValueId b);

/* Sum over steps of combine(v at a step, `state` after the step before). first: the initial state [D,B,H], or 0. */
static ValueId with_state_before(Layer *l, ValueId v, ValueId state, ValueId first, Combine combine) {
  ValueId sum = 0;
  Dim most = dim_sub(l->T, DIM(1));
  if (dim_hi(most) > 0) {
    Dim later = l->backwards ? DIM(0) : DIM(1), earlier = l->backwards ? DIM(1) : DIM(0);
    sum = combine(l, rows(l, v, later, most), rows(l, state, earlier, most));
  }
  if (first) {
    ValueId h0 = build_reshape(l->g, build_slice(l->g, first, 0, DIM(l->d), DIM(1)), (Dim[]){l->B, l->H}, 2);
    ValueId more = combine(l, first_step(l, v), h0);
    sum = sum ? build_add(l->g, sum, more) : more;
  }
  return sum;
}

static ValueId zeros(Layer *l, Dim rows_, Dim cols) {
  return build_fill(l->g, build_dtype(l->g, l->dgates), 0, (Dim[]){rows_, cols}, 2);
}

/* dR [1,G*H,H] of this direction */
static ValueId recurrent_weight(Layer *l, ValueId dgates, ValueId drec, ValueId y, ValueId mid) {
  int whole = drec ? 2 : l->gates;
  ValueId dr = with_state_before(l, columns(l, dgates, 0, whole), y, l->in[5], product);
  if (!dr) dr = zeros(l, dim_mul(DIM(whole), l->H), l->H);
  // gru's last gate: of h, or of r * h, which is there whole
  if (drec) {
    ValueId last = mid ? product(l, rows(l, drec, DIM(0), l->T), rows(l, mid, DIM(0), l->T))
                       : with_state_before(l, drec, y, l->in[5], product);
    if (!last) last = zeros(l, l->H, l->H);
    dr = build_concat(l->g, 0, (ValueId[]){dr, last}, 2);
  }
  return build_unsqueeze(l->g, dr, 0);
}

/* dp [1,3*H], peepholes i o f: of c before the step, after it, before it */
static ValueId peepholes(Layer *l, ValueId dgates, ValueId cells) {
  ValueId part[3];
  for (int k = 0; k < 3; k++) {
    ValueId gate = columns(l, dgates, k, 1);
    part[k] = k == 1 ? row_sums(l, rows(l, gate, DIM(0), l->T), rows(l, cells, DIM(0), l->T))
                     : with_state_before(l, gate, cells, l->in[6], row_sums);
    if (!part[k]) part[k] = build_fill(l->g, build_dtype(l->g, cells), 0, &l->H, 1);
  }
  return build_unsqueeze(l->g, build_concat(l->g, 0, part, 3), 0);
}

/* Joins what the directions gave, along axis 0, as the gradient of input k. */
static void join(Layer *l, int k, const ValueId *part) {
  if (grad_wants(l->r, k)) grad_add_to(l->r, k, build_concat(l->g, 0, part, l->directions));
}

static void weights(Layer *l, ValueId extra) {
  ValueId dw[2] = {0}, dr[2] = {0}, db[2] = {0}, dp[2] = {0}, dx = 0;
  ValueId x = build_reshape(l->g, l->in[0], (Dim[]){dim_mul(l->T, l->B), l->I}, 2);
  for (l->d = 0; l->d < l->directions; l->d++) {
    l->backwards = l->d == 1 || node_str(l->r->node, "direction", "")[0] == 'r';
    ValueId dg = of_direction(l, l->dgates), drec = l->drec ? of_direction(l, l->drec) : 0,
        flat = rows(l, dg, DIM(0), l->T);
    if (grad_wants(l->r, 0)) {
      ValueId w = build_reshape(l->g, build_slice(l->g, l->in[1], 0, DIM(l->d), DIM(1)), (Dim[]){l->GH, l->I}, 2);
      ValueId more = build_matmul(l->g, flat, w);
      dx = dx ? build_add(l->g, dx, more) : more;
    }
    if (grad_wants(l->r, 1)) dw[l->d] = build_unsqueeze(l->g, product(l, flat, x), 0);
    if (grad_wants(l->r, 2))
      dr[l->d] = recurrent_weight(l, dg, drec, of_direction(l, l->y), drec && extra ? of_direction(l, extra) : 0);
    if (grad_wants(l->r, 3)) {
      ValueId sum = build_reduce(l->g, OP_REDUCE_SUM, flat, (int[]){0}, 1, false), other = sum;
      if (drec) {
        ValueId last = build_reduce(l->g, OP_REDUCE_SUM, rows(l, drec, DIM(0), l->T), (int[]){0}, 1, false);
        other = build_concat(l->g, 0, (ValueId[]){columns(l, sum, 0, 2), last}, 2);
      }
      db[l->d] = build_unsqueeze(l->g, build_concat(l->g, 0, (ValueId[]){sum, other}, 2), 0);
    }
    if (grad_wants(l->r, 7)) dp[l->d] = peepholes(l, dg, of_direction(l, extra));
  }
  grad_add_to(l->r, 0, build_reshape_like(l->g, dx, build_type(l->g, l->in[0])));
  join(l, 1, dw);
  join(l, 2, dr);
  join(l, 3, db);
  join(l, 7, dp);
}

static Layer layer(GradNode *r, int gates) {
  Layer l = {.r = r, .g = r->g, .gates = gates};
  for (int k = 0; k < r->nin && k < 8; k++) l.in[k] = r->in[k];
  const Type *x = build_type(r->g, r->in[0]), *w = build_type(r->g, r->in[1]);
  l.T = x->dims[0];
  l.B = x->dims[1];
  l.I = x->dims[2];
  l.GH = w->dims[1];
  l.H = build_dim(r->g, r->in[2], 2);
  l.directions = (int)w->dims[0].k;
  l.y = r->out[0];
  return l;
}

/* What the forward node keeps for us: its outputs from `first` on. */
static bool trace(GradNode *r, int first, int n, ValueId *out) {
  Module *m = r->grad->m;
  NodeId id = value_of(m, r->out[0])->def;
  int errors = m->diags->errors;
  graph_add_outputs(m, id, first + n);
  for (int k = 0; k < n; k++) out[k] = node_of(m, id)->out[first + k];
  return m->diags->errors == errors;
}

/* The op back through time: its attributes are the forward node's. */
static bool back(Layer *l, Op op, const ValueId *in, int nin, ValueId *out, int nout) {
  while (nin > 2 && !in[nin - 1]) nin--;
  return build_multi(l->g, op, in, nin, l->r->node->attr, l->r->node->nattr, out, nout);
}

bool grad_lstm(GradNode *r) {
  ValueId kept[2], out[3];
  Layer l = layer(r, 4);
  if (!trace(r, 3, 2, kept)) return false;
  ValueId in[9] = {kept[0], l.in[2], l.in[4], r->dy[0], r->dy[1], kept[1], l.in[6], l.in[7], r->dy[2]};
  if (!back(&l, OP_LSTM_GRAD, in, 9, out, 3)) return false;
  l.dgates = out[0];
  weights(&l, kept[1]);
  grad_add_to(r, 5, out[1]);
  grad_add_to(r, 6, out[2]);
  return true;
}

bool grad_gru(GradNode *r) {
  ValueId kept[2], out[3];
  Layer l = layer(r, 3);
  if (!trace(r, 2, 2, kept)) return false;
  ValueId in[8] = {kept[0], l.in[2], l.in[4], r->dy[0], r->dy[1], kept[1], l.y, l.in[5]};
  if (!back(&l, OP_GRU_GRAD, in, 8, out, 3)) return false;
  l.dgates = out[0];
  l.drec = out[1];
  weights(&l, node_int(r->node, "linear_before_reset", 0) ? 0 : kept[1]);
  grad_add_to(r, 5, out[2]);
  return true;
}

bool grad_rnn(GradNode *r) {
  ValueId kept[1], out[2];
  Layer l = layer(r, 1);
  if (!trace(r, 2, 1, kept)) return false;
  ValueId in[5] = {kept[0], l.in[2], l.in[4], r->dy[0], r->dy[1]};
  if (!back(&l, OP_RNN_GRAD, in, 5, out, 2)) return false;
  l.dgates = out[0];
  weights(&l, 0);
  grad_add_to(r, 5, out[1]);
  return true;
}
