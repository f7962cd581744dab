/* TreeEnsemble, TreeEnsembleRegressor, TreeEnsembleClassifier (ai.onnx.ml) -> gathers, level by level.
 *
 * All trees are one table of nodes; a leaf leads to itself. From the roots [N, T], as many times as the deepest
 * tree has levels:  at = condition(x[feature[at]], split[at]) ? yes[at] : no[at].  Then the leaves' rows of
 * weights [N, T, targets] are summed (or averaged, or their least or greatest taken) over the trees.
 * A test of membership in a set becomes a chain of tests for equality. */
#include "frontend/ml.h"
#include <math.h>

enum { LEQ, LESS, GTE, GREATER, EQUAL, NOT_EQUAL, MEMBER, LEAF };

typedef struct TreeNode { int64_t feature, yes, no; int mode; double split; bool missing; } TreeNode;
typedef VEC(TreeNode) TreeNodes;
typedef struct Weight { int64_t node, target; double value; } Weight;

typedef struct Trees {
  TreeNodes node;
  VEC(int64_t) root;
  VEC(Weight) weight;
  int64_t targets;
  const char *aggregate;                  /* SUM AVERAGE MIN MAX */
} Trees;

/* ---- the longest way from a root to a leaf; -1 when there is a cycle or a reference to nowhere */

static int64_t trees_depth(Import *x, const Trees *t) {
  enum { NEW = -1, OPEN = -2 };                             /* else: the depth below a node */
  int64_t n = t->node.len, deepest = 0, *below = NEW_N(&x->m->perm, int64_t, n + 1),
          *stack = NEW_N(&x->m->perm, int64_t, n + 1);
  for (int64_t k = 0; k < n; k++) {
    below[k] = t->node.at[k].mode == LEAF ? 0 : NEW;
    if (t->node.at[k].yes < 0 || t->node.at[k].yes >= n || t->node.at[k].no < 0 || t->node.at[k].no >= n) return -1;
  }
  for (int r = 0; r < t->root.len; r++) {
    int64_t top = 0, root = t->root.at[r];
    if (root < 0 || root >= n) return -1;
    if (below[root] == NEW) stack[top++] = root, below[root] = OPEN;
    while (top) {
      const TreeNode *k = &t->node.at[stack[top - 1]];
      if (below[k->yes] == OPEN || below[k->no] == OPEN) return -1;
      if (below[k->yes] == NEW) stack[top++] = k->yes, below[k->yes] = OPEN;
      else if (below[k->no] == NEW) stack[top++] = k->no, below[k->no] = OPEN;
      else {
        int64_t yes = below[k->yes], no = below[k->no];
        below[stack[--top]] = 1 + (yes > no ? yes : no);
      }
    }
    deepest = below[root] > deepest ? below[root] : deepest;
  }
  return deepest;
}

/* ---- emission */

enum { FEATURE, YES, NO, MODE, MISSING };

static ValueId node_table(Import *x, const Trees *t, int what) {
  int64_t *v = NEW_N(&x->m->perm, int64_t, t->node.len);
  for (int k = 0; k < t->node.len; k++) {
    const TreeNode *n = &t->node.at[k];
    v[k] = what == FEATURE ? n->feature
        : what == YES      ? n->yes
        : what == NO       ? n->no
        : what == MODE     ? n->mode
                           : n->missing;
  }
  return imp_constant_ints(x, DT_I64, v, t->node.len);
}

static ValueId split_table(Import *x, const Trees *t, DType type) {
  double *v = NEW_N(&x->m->perm, double, t->node.len);
  for (int k = 0; k < t->node.len; k++) v[k] = t->node.at[k].split;
  return calc_floats(x, type, v, t->node.len);
}

/* Does v pass the tests of its nodes? `mode`: the nodes' modes, used when there are several. */
static ValueId branch(Import *x, unsigned modes, ValueId mode, ValueId v, ValueId split) {
  static const Op compare[] = { OP_LE, OP_LT, OP_GE, OP_GT, OP_EQ, OP_NE };
  ValueId result = 0;
  for (int k = 0; k < MEMBER; k++) {
    if (!(modes >> k & 1)) continue;
    ValueId test = calc_op2(x, compare[k], v, split);
    result = result ? calc_where(x, calc_op2c(x, OP_EQ, mode, k), test, result) : test;
  }
  return result;
}

/* The leaf that each row of X [N, F] reaches in each tree: [N, T] */
static ValueId leaves(Import *x, const Trees *t, ValueId v, int64_t depth) {
  ValueId at = imp_constant_ints(x, DT_I64, t->root.at, t->root.len);
  at = calc_expand(x, at, (Dim[]){ calc_dim(x, v, 0), DIM(t->root.len) }, 2);
  unsigned modes = 0;
  bool missing = false;
  for (int k = 0; k < t->node.len; k++) {
    if (t->node.at[k].mode != LEAF) modes |= 1u << t->node.at[k].mode;
    missing |= t->node.at[k].missing;
  }
  bool several = (modes & (modes - 1)) != 0;
  ValueId feature = node_table(x, t, FEATURE), yes = node_table(x, t, YES), no = node_table(x, t, NO);
  ValueId split = split_table(x, t, calc_dtype(x, v)), mode = several ? node_table(x, t, MODE) : 0;
  ValueId tracks = missing ? node_table(x, t, MISSING) : 0;
  for (int64_t d = 0; d < depth; d++) {
    Attr axis = attr_int("axis", 1);
    ValueId f = calc_gather(x, feature, 0, at);
    ValueId value = f ? calc_op(x, OP_GATHER_ELEMENTS, (ValueId[]){ v, f }, 2, &axis, 1) : 0;
    ValueId pass = branch(x, modes, several ? calc_gather(x, mode, 0, at) : 0, value, calc_gather(x, split, 0, at));
    if (missing) {
      ValueId nan_goes = calc_op2c(x, OP_NE, calc_gather(x, tracks, 0, at), 0);
      pass = calc_op2(x, OP_OR, pass, calc_op2(x, OP_AND, calc_op1(x, OP_ISNAN, value), nan_goes));
    }
    at = calc_where(x, pass, calc_gather(x, yes, 0, at), calc_gather(x, no, 0, at));
  }
  return at;
}

/* [N, targets] before base values and post transform; 0 after an error. */
static ValueId tree_scores(Import *x, const Trees *t) {
  ValueId v = x->in[0];
  if (calc_rank(x, v) == 1) v = calc_unsqueeze(x, v, 0);
  if (!dtype_is_float(calc_dtype(x, v)) || calc_is_narrow(calc_dtype(x, v))) v = calc_cast(x, v, DT_F32);
  int64_t depth = trees_depth(x, t), n = t->node.len, c = t->targets;
  Dim features = calc_dim(x, v, 1);
  if (calc_rank(x, v) != 2 || depth < 0 || c < 1 || n * c > INT32_MAX) {
    imp_fail(x, "shape", "its trees are damaged, or the input is no matrix: %s", type_text(imp_type(x, 0)));
    return 0;
  }
  for (int k = 0; k < n; k++)
    if (t->node.at[k].feature < 0 || (dim_is_const(features) && t->node.at[k].feature >= features.k)) {
      imp_fail(x, "shape", "a tree reads feature %lld, the input has %s", (long long)t->node.at[k].feature,
               dim_text(features));
      return 0;
    }
  bool least = !strcmp(t->aggregate, "MIN"), most = !strcmp(t->aggregate, "MAX");
  double nothing = least ? (double)INFINITY : most ? -(double)INFINITY : 0;
  Tensor *w = tensor_new(&x->m->perm, calc_dtype(x, v), 2, (int64_t[]){ n, c });
  for (int64_t k = 0; k < n * c && nothing != 0; k++) tensor_set(w, k, nothing);
  for (int k = 0; k < t->weight.len; k++) {
    const Weight *g = &t->weight.at[k];
    if (g->node < 0 || g->node >= n || g->target < 0 || g->target >= c) {
      imp_fail(x, "shape", "a weight belongs to no node or target");
      return 0;
    }
    double old = tensor_get(w, g->node * c + g->target);
    tensor_set(w, g->node * c + g->target, isinf(old) ? g->value : old + g->value);
  }
  ValueId rows = calc_gather(x, calc_tensor(x, w), 0, leaves(x, t, v, depth));             /* [N, T, targets] */
  if (!rows) return 0;
  Op op = least ? OP_REDUCE_MIN : most ? OP_REDUCE_MAX : OP_REDUCE_SUM;
  ValueId s = imp_reduce(x, op, rows, (int[]){ 1 }, 1, false);
  if (!strcmp(t->aggregate, "AVERAGE")) s = calc_op2c(x, OP_DIV, s, t->root.len);
  if (nothing != 0) s = calc_where(x, calc_op2c(x, OP_EQ, s, nothing), imp_scalar(x, calc_dtype(x, s), 0), s);
  return s;
}

/* ---- versions 1 and 3: nodes named by (tree, node) */

/* A list of numbers from NAME_as_tensor or NAME. */
static int number_list(Import *x, const char *name, const double **v) {
  char tensor[80];
  snprintf(tensor, sizeof tensor, "%s_as_tensor", name);
  const Tensor *t = imp_has(x, tensor) ? imp_tensor(x, tensor) : NULL;
  if (!t) return imp_floats(x, name, v);
  int n = (int)tensor_count(t);
  double *copy = NEW_N(&x->m->perm, double, n + 1);
  for (int k = 0; k < n; k++) copy[k] = tensor_get(t, k);
  *v = copy;
  return n;
}

static int mode_number(const char *s) {
  static const char *const names[] = {"BRANCH_LEQ", "BRANCH_LT",  "BRANCH_GTE",    "BRANCH_GT",
                                      "BRANCH_EQ",  "BRANCH_NEQ", "BRANCH_MEMBER", "LEAF"};
  for (int k = 0; k <= LEAF; k++)
    if (!strcmp(s, names[k])) return k;
  return -1;
}

typedef struct NodeName { int64_t tree, id; } NodeName;

/* Index of (tree, id); files list a tree's nodes in order, so `near` is almost always right. */
static int64_t node_index(const NodeName *name, int n, int64_t tree, int64_t id, int64_t near) {
  if (near >= 0 && near < n && name[near].tree == tree && name[near].id == id) return near;
  for (int k = 0; k < n; k++)
    if (name[k].tree == tree && name[k].id == id) return k;
  return -1;
}

static bool old_nodes(Import *x, Trees *t, NodeName **names) {
  const int64_t *tree, *id, *feature, *yes, *no, *missing;
  const char *const *mode;
  const double *value;
  int n = imp_ints(x, "nodes_nodeids", &id), lost = imp_ints(x, "nodes_missing_value_tracks_true", &missing);
  int nv = number_list(x, "nodes_values", &value);
  if (n < 1 || imp_ints(x, "nodes_treeids", &tree) != n || imp_ints(x, "nodes_featureids", &feature) != n ||
      imp_ints(x, "nodes_truenodeids", &yes) != n || imp_ints(x, "nodes_falsenodeids", &no) != n || nv != n ||
      imp_strs(x, "nodes_modes", &mode) != n)
    return imp_fail(x, "parse", "its lists of nodes differ in length");
  NodeName *name = NEW_N(&x->m->perm, NodeName, n);
  bool *child = NEW_N(&x->m->perm, bool, n);
  int64_t first = 0;
  for (int k = 0; k < n; k++) name[k] = (NodeName){ tree[k], id[k] };
  for (int k = 0; k < n; k++) {
    if (k && tree[k] != tree[k - 1]) first = k;
    TreeNode node = {.feature = feature[k],
                     .split = value[k],
                     .mode = mode_number(mode[k]),
                     .missing = lost == n && missing[k]};
    if (node.mode < 0 || node.mode == MEMBER) return imp_fail(x, "unsupported", "node mode '%s'", mode[k]);
    node.yes = node.no = k;
    if (node.mode == LEAF) node.feature = 0, node.split = 0, node.missing = false;
    else {
      node.yes = node_index(name, n, tree[k], yes[k], first + yes[k]);
      node.no = node_index(name, n, tree[k], no[k], first + no[k]);
      if (node.yes < 0 || node.no < 0)
        return imp_fail(x, "parse", "node %lld of tree %lld leads nowhere", (long long)id[k], (long long)tree[k]);
      child[node.yes] = child[node.no] = true;
    }
    *vec_push(&x->m->perm, &t->node) = node;
  }
  for (int k = 0; k < n; k++)
    if (!child[k]) *vec_push(&x->m->perm, &t->root) = k;
  *names = name;
  return t->root.len > 0 || imp_fail(x, "parse", "its trees have no roots");
}

/* Weights from PREFIX_treeids, _nodeids, _ids, _weights. */
static bool old_weights(Import *x, Trees *t, const NodeName *names, const char *prefix) {
  char name[4][64];
  static const char *const part[] = { "treeids", "nodeids", "ids", "weights" };
  for (int k = 0; k < 4; k++) snprintf(name[k], sizeof name[k], "%s_%s", prefix, part[k]);
  const int64_t *tree, *node, *target;
  const double *value;
  int n = number_list(x, name[3], &value);
  if (imp_ints(x, name[0], &tree) != n || imp_ints(x, name[1], &node) != n || imp_ints(x, name[2], &target) != n)
    return imp_fail(x, "parse", "its lists of weights differ in length");
  int64_t near = 0;
  for (int k = 0; k < n; k++) {
    if (near + 1 < t->node.len && !(names[near].tree == tree[k] && names[near].id == node[k])) near++;
    near = node_index(names, t->node.len, tree[k], node[k], near);
    *vec_push(&x->m->perm, &t->weight) = (Weight){ near, target[k], value[k] };
    if (near < 0) near = 0;
  }
  return true;
}

static ValueId add_base(Import *x, ValueId s) {
  const double *base;
  int n = number_list(x, "base_values", &base);
  return n ? calc_add(x, s, calc_floats(x, calc_dtype(x, s), base, n)) : s;
}

bool import_tree_regressor(Import *x) {
  Trees t = { .targets = imp_int(x, "n_targets", 1), .aggregate = imp_str(x, "aggregate_function", "SUM") };
  NodeName *names;
  if (!calc_needs(x, 1) || !old_nodes(x, &t, &names) || !old_weights(x, &t, names, "target")) return false;
  ValueId s = add_base(x, tree_scores(x, &t));
  return calc_set(x, 0, calc_cast(x, ml_post_transform(x, s, imp_str(x, "post_transform", "NONE")), DT_F32));
}

/* Two classes and weights for only one of them, `id`. Weights that are all positive are probabilities (threshold 0.5),
 * else margins (threshold 0). As in ONNX Runtime, weights of the second class leave the first one's score at 0. */
static bool binary_classifier(Import *x, ValueId s, int64_t id, bool positive, const Tensor *labels, const char *how) {
  ValueId second = calc_op2c(x, OP_GT, s, positive ? 0.5 : 0), scores;
  if (id == 0) scores = ml_two_classes(x, s, how, !positive);
  else scores = ml_post_transform(x, calc_concat2(x, 1, calc_mulc(x, s, 0), s), how);
  calc_set(x, 1, calc_cast(x, scores, DT_F32));
  return calc_set(x, 0, calc_gather(x, calc_tensor(x, labels), 0, calc_cast(x, calc_squeeze(x, second, 1), DT_I64)));
}

bool import_tree_classifier(Import *x) {
  const Tensor *labels = ml_class_labels(x, "classlabels_int64s", "classlabels_strings");
  const char *how = imp_str(x, "post_transform", "NONE");
  Trees t = { .targets = labels ? tensor_count(labels) : 1, .aggregate = "SUM" };
  NodeName *names;
  if (!calc_needs(x, 1)) return false;
  if (!labels) return imp_fail(x, "parse", "its class labels are missing");
  if (!old_nodes(x, &t, &names) || !old_weights(x, &t, names, "class")) return false;
  bool one = t.targets == 2, positive = true;
  for (int k = 0; k < t.weight.len; k++) {
    one &= t.weight.at[k].target == t.weight.at[0].target;
    positive &= t.weight.at[k].value >= 0;
  }
  int64_t id = t.weight.len ? t.weight.at[0].target : 0;
  if (one) {
    for (int k = 0; k < t.weight.len; k++) t.weight.at[k].target = 0;
    t.targets = 1;
  }
  ValueId s = add_base(x, tree_scores(x, &t));
  if (one) return binary_classifier(x, s, id, positive, labels, how);
  calc_set(x, 1, calc_cast(x, ml_post_transform(x, s, how), DT_F32));
  return calc_set(x, 0, ml_best_label(x, s, labels));
}

/* ---- version 5: inner nodes and leaves in separate lists; leaf k is node (inner nodes + k) */

typedef struct NewLists {
  int n, leaves;
  const int64_t *feature, *yes, *no, *yes_leaf, *no_leaf, *missing;
  const Tensor *mode, *split, *member;
} NewLists;

static bool new_lists(Import *x, NewLists *l, Trees *t) {
  const int64_t *target, *root;
  const Tensor *weight = imp_tensor(x, "leaf_weights");
  l->n = imp_ints(x, "nodes_featureids", &l->feature);
  l->leaves = imp_ints(x, "leaf_targetids", &target);
  l->mode = imp_tensor(x, "nodes_modes");
  l->split = imp_tensor(x, "nodes_splits");
  l->member = imp_has(x, "membership_values") ? imp_tensor(x, "membership_values") : NULL;
  int lost = imp_ints(x, "nodes_missing_value_tracks_true", &l->missing), roots = imp_ints(x, "tree_roots", &root);
  if (lost != l->n) l->missing = NULL;
  if (l->n < 1 || imp_ints(x, "nodes_truenodeids", &l->yes) != l->n ||
      imp_ints(x, "nodes_falsenodeids", &l->no) != l->n || imp_ints(x, "nodes_trueleafs", &l->yes_leaf) != l->n ||
      imp_ints(x, "nodes_falseleafs", &l->no_leaf) != l->n || !l->mode || tensor_count(l->mode) != l->n ||
      !l->split || tensor_count(l->split) != l->n || !weight || tensor_count(weight) != l->leaves || roots < 1)
    return imp_fail(x, "parse", "its lists of nodes or leaves differ in length");
  for (int k = 0; k < roots; k++) *vec_push(&x->m->perm, &t->root) = root[k];
  for (int k = 0; k < l->leaves; k++)
    *vec_push(&x->m->perm, &t->weight) = (Weight){l->n + k, target[k], tensor_get(weight, k)};
  return true;
}

/* Node k tests for membership in the next set of l->member (sets end with NaN): k tests for the first member,
 * further nodes at the table's end for the others, each leading to `yes` or on. */
static void member_chain(Import *x, const NewLists *l, Trees *t, int k, int64_t *next) {
  int64_t n = l->member ? tensor_count(l->member) : 0;
  TreeNode node = t->node.at[k];
  int64_t at = k;
  bool first = true;
  node.mode = EQUAL;
  node.split = (double)NAN;                              /* an empty set: never equal */
  t->node.at[k] = node;
  for (; *next < n && !isnan(tensor_get(l->member, *next)); ++*next, first = false) {
    node.split = tensor_get(l->member, *next);
    if (!first) {
      t->node.at[at].no = t->node.len;
      at = t->node.len;
      *vec_push(&x->m->perm, &t->node) = node;
    } else t->node.at[at] = node;
  }
  ++*next;
}

bool import_tree_ensemble(Import *x) {
  static const char *const aggregates[] = { "AVERAGE", "SUM", "MIN", "MAX" };
  static const char *const transforms[] = { "NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT" };
  int64_t how = imp_int(x, "aggregate_function", 1), post = imp_int(x, "post_transform", 0), member = 0;
  if (!calc_needs(x, 1)) return false;
  if (how < 0 || how > 3 || post < 0 || post > 4)
    return imp_fail(x, "unsupported", "aggregate_function %lld, post_transform %lld", (long long)how,
                    (long long)post);
  Trees t = { .targets = imp_int(x, "n_targets", 1), .aggregate = aggregates[how] };
  NewLists l;
  if (!new_lists(x, &l, &t)) return false;
  for (int k = 0; k < l.n + l.leaves; k++) {
    TreeNode node = { .mode = LEAF, .yes = k, .no = k };
    if (k < l.n) {
      node = (TreeNode){.feature = l.feature[k],
                        .yes = l.yes[k] + (l.yes_leaf[k] ? l.n : 0),
                        .no = l.no[k] + (l.no_leaf[k] ? l.n : 0),
                        .mode = (int)tensor_get(l.mode, k),
                        .split = tensor_get(l.split, k),
                        .missing = l.missing && l.missing[k]};
      if (node.mode < 0 || node.mode > MEMBER) return imp_fail(x, "unsupported", "node mode %d", node.mode);
    }
    *vec_push(&x->m->perm, &t.node) = node;
  }
  for (int k = 0; k < l.n; k++)
    if (t.node.at[k].mode == MEMBER) member_chain(x, &l, &t, k, &member);
  ValueId s = ml_post_transform(x, tree_scores(x, &t), transforms[post]);
  return calc_set(x, 0, calc_cast(x, s, imp_dtype(x, 0)));
}
