/* The gradient of attention as a whole, at its last product, y = softmax(scores) v: one node, which works block of rows
 * by block of rows and makes the shares anew, so that no matrix of scores is kept from the forward pass.
 *
 *   scores = scale (q k^T) + bias        the bias has no gradient; masks are biases of -inf, or a frontier
 *
 * Where anything else reads what lies between, or its own gradient will be taken, the ops' own rules apply. */
#include "passes/grad_attention.h"
#include "passes/frontier.h"
#include <math.h>

enum { MOST_BIASES = 4 };

typedef struct Whole {
  Grad *grad;
  Module *m;
  const Graph *graph;
  const int *uses;
  ValueId q, k;                      /* k: [..., D, T] as it is multiplied */
  double scale;
  bool ends;                         /* at a frontier */
  Dim ahead;
  /* low 0: to be added; else what a mask picks where it (does not) hold */
  struct { ValueId mask, low; bool hides; } bias[MOST_BIASES];
  int nbias;
} Whole;

static const Node *inner(const Whole *a, ValueId v) {
  NodeId id = value_of(a->m, v)->def;
  const Node *n = id ? node_of(a->m, id) : NULL;
  return n && n->graph == a->graph && a->uses[v] == 1 ? n : NULL;
}

static bool wanted(const Whole *a, ValueId v) { return (int)v < a->grad->nvalues && a->grad->needed[v]; }

static bool same_type(const Whole *a, ValueId x, ValueId y) {
  return type_eq(&value_of(a->m, x)->type, &value_of(a->m, y)->type);
}

/* One mask or bias off v, which is `scores` of attention. */
static bool take_bias(Whole *a, ValueId *v) {
  ValueId x;
  const Node *n = inner(a, *v);
  Frontier low;
  if (n && !a->ends && frontier_masked(a->m, *v, &x, &a->ahead)) {
    a->ends = true;
    *v = x;
    return true;
  }
  if (!n || a->nbias == MOST_BIASES || a->scale != 1) return false;
  if (n->op == OP_ADD) {
    for (int k = 0; k < 2; k++) {
      if (wanted(a, n->in[k]) || !same_type(a, n->in[1 - k], *v)) continue;
      a->bias[a->nbias++].mask = n->in[k];
      *v = n->in[1 - k];
      return true;
    }
    return false;
  }
  if (n->op != OP_WHERE) return false;
  for (int k = 1; k < 3; k++) {
    if (!frontier_of(a->m, n->in[k], &low) || low.moves || low.near != -INFINITY || !same_type(a, n->in[3 - k], *v))
      continue;
    a->bias[a->nbias].mask = n->in[0];
    a->bias[a->nbias].low = n->in[k];
    a->bias[a->nbias++].hides = k == 1;
    *v = n->in[3 - k];
    return true;
  }
  return false;
}

static bool take_scale(Whole *a, ValueId *v) {
  const Node *n = inner(a, *v);
  Frontier c;
  if (!n || (n->op != OP_MUL && n->op != OP_DIV)) return false;
  for (int k = 1; k >= (n->op == OP_DIV); k--) {
    if (!frontier_of(a->m, n->in[k], &c) || c.moves || !same_type(a, n->in[1 - k], *v)) continue;
    a->scale *= n->op == OP_MUL ? c.near : 1 / c.near;
    *v = n->in[1 - k];
    return isfinite(a->scale);
  }
  return false;
}

static bool same_batch(const Whole *a, ValueId x, ValueId y) {
  const Type *t = &value_of(a->m, x)->type, *u = &value_of(a->m, y)->type;
  bool same = t->rank == u->rank && t->dtype == u->dtype;
  for (int k = 0; same && k < t->rank - 2; k++) same = dim_eq(t->dims[k], u->dims[k]);
  return same;
}

static bool last_is_const(const Whole *a, ValueId v) {
  const Type *t = &value_of(a->m, v)->type;
  return dim_is_const(t->dims[t->rank - 1]);
}

static bool match(Whole *a, GradNode *r) {
  ValueId v = r->in[0];
  DType t = value_of(a->m, v)->type.dtype;
  const Node *softmax = inner(a, v);
  if (t != DT_F32 && t != DT_F64) return false;
  if (!softmax || softmax->op != OP_SOFTMAX || node_int(softmax, "axis", 0) != value_of(a->m, v)->type.rank - 1)
    return false;
  const Attr *ahead = node_dims(softmax, "ahead");
  if ((a->ends = ahead)) a->ahead = ahead->dims[0];
  for (v = softmax->in[0]; take_bias(a, &v); ) continue;
  while (take_scale(a, &v)) continue;
  const Node *scores = inner(a, v);
  if (!scores || scores->op != OP_MATMUL) return false;
  a->q = scores->in[0];
  a->k = scores->in[1];
  const Type *k = &value_of(a->m, a->k)->type;
  return dim_lo(k->dims[k->rank - 1]) > 0 && last_is_const(a, a->q) && last_is_const(a, r->in[1]) &&
      last_is_const(a, v) && same_batch(a, a->q, r->in[1]) && same_batch(a, a->q, r->dy[0]) &&
      k->rank == value_of(a->m, a->q)->type.rank && same_batch(a, v, r->in[0]);
}

/* All biases as one; 0: there is none. */
static ValueId bias_of(Whole *a, Graph *g) {
  ValueId sum = 0;
  for (int k = 0; k < a->nbias; k++) {
    ValueId v = a->bias[k].mask, low = a->bias[k].low;
    if (low) {
      ValueId zero = build_scalar(g, build_dtype(g, low), 0);
      low = build_scalar(g, build_dtype(g, low), -INFINITY);
      v = a->bias[k].hides ? build_where(g, v, low, zero) : build_where(g, v, zero, low);
    }
    sum = sum ? build_add(g, sum, v) : v;
  }
  return sum;
}

/* The keys as rows: what k is the transpose of, where it is one. */
static ValueId rows_of(Whole *a, Graph *g) {
  NodeId id = value_of(a->m, a->k)->def;
  const Node *n = id ? node_of(a->m, id) : NULL;
  const Attr *perm = n && n->op == OP_TRANSPOSE ? node_dims(n, "perm") : NULL;
  bool turns = perm != NULL;
  for (int k = 0; turns && k < perm->n; k++)
    turns = perm->dims[k].k == (k == perm->n - 1 ? k - 1 : k == perm->n - 2 ? k + 1 : k);
  return turns ? n->in[0] : build_swap(g, a->k, -2, -1);
}

bool grad_whole_attention(GradNode *r) {
  Module *m = r->grad->m;
  Graph *g = r->g;
  if (r->grad->again || r->node->graph != g || !grad_wants(r, 0)) return false;
  Arena tmp = {0};
  Whole a = {.grad = r->grad, .m = m, .graph = g, .uses = graph_use_counts(m, &tmp), .scale = 1};
  bool found = match(&a, r);
  arena_free(&tmp);
  if (!found) return false;
  ValueId rows = rows_of(&a, g), bias = bias_of(&a, g), d[3];
  ValueId in[] = {a.q, rows, r->in[1], r->dy[0], bias};
  Attr attr[] = {attr_float("scale", a.scale), attr_dims(m, "ahead", &a.ahead, 1)};
  if (!build_multi(g, OP_ATTENTION_GRAD, in, bias ? 5 : 4, attr, a.ends ? 2 : 1, d, 3)) return false;
  if (wanted(&a, a.q)) grad_add_value(r->grad, g, a.q, d[0]);
  if (wanted(&a, a.k)) {
    bool own = (int)rows >= r->grad->nvalues;                   // a transpose made here
    grad_add_value(r->grad, g, own ? a.k : rows, own ? build_swap(g, d[1], -2, -1) : d[1]);
  }
  grad_add_to(r, 1, d[2]);
  return true;
}
