/* Inference on nodes nobody would write: random types, attributes of every kind, absurd numbers. It must end with
 * a type or a message. What it accepts with small sizes, the evaluator must be able to compute, with the shapes
 * that were inferred. Each case has a number; a failure names it and `cases(op, number, number + 1)` re-runs it. */
#include "ir/eval.h"
#include "base/intern.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state;

static uint64_t random_bits(void) {                   // splitmix64
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}
static int below(int n) { return (int)(random_bits() % (uint64_t)n); }
static bool one_in(int n) { return below(n) == 0; }

static int64_t wild_int(void) {
  static const int64_t v[] = {0,
                              1,
                              -1,
                              2,
                              3,
                              7,
                              64,
                              65,
                              -2,
                              INT32_MAX,
                              INT32_MIN,
                              INT64_MAX,
                              INT64_MIN,
                              INT64_C(1) << 32,
                              INT64_C(1) << 48,
                              -(INT64_C(1) << 48),
                              INT64_MAX - 1,
                              255,
                              1 << 20};
  return v[below(sizeof v / sizeof *v)];
}

static Dim random_dim(bool wild) {
  if (!wild) return DIM(one_in(12) ? 0 : 1 + below(4));
  switch (below(5)) {
    case 0: return DIM(wild_int());
    case 1: return dim_symbol("N", 1, 32);
    case 2: return dim_add(dim_symbol("ANY", 0, INT32_MAX), DIM(wild_int() % 10));
    case 3: return dim_mul(dim_symbol("N", 1, 32), dim_floordiv(dim_symbol("ANY", 0, INT32_MAX), DIM(2)));
    default: return DIM(1 + below(5));
  }
}

static Type random_type(bool wild) {
  static const DType usual[] = {DT_F32, DT_F32, DT_F32, DT_I64, DT_BOOL, DT_I32};
  Type t = {.dtype = one_in(8) ? (DType)(1 + below(DT_COUNT - 1)) : usual[below(6)],
            .rank = wild && one_in(6) ? below(13) : below(5)};
  for (int i = 0; i < t.rank; i++) t.dims[i] = random_dim(wild && one_in(2));
  if (wild && one_in(30)) t.kind = one_in(2) ? KIND_SEQUENCE : KIND_OPTIONAL;
  return t;
}

static const char *random_word(void) {
  static const char *const v[] = {"constant",
                                  "reflect",
                                  "edge",
                                  "wrap",
                                  "none",
                                  "add",
                                  "mul",
                                  "max",
                                  "min",
                                  "nearest",
                                  "linear",
                                  "cubic",
                                  "half_pixel",
                                  "asymmetric",
                                  "align_corners",
                                  "floor",
                                  "ceil",
                                  "zeros",
                                  "border",
                                  "reflection",
                                  "forward",
                                  "reverse",
                                  "bidirectional",
                                  "Tanh",
                                  "Sigmoid",
                                  "Relu",
                                  "uniform",
                                  "normal",
                                  "",
                                  "%s%n",
                                  "round_prefer_floor",
                                  "tf_crop_and_resize"};
  return v[below(sizeof v / sizeof *v)];
}

/* A word the attribute takes: tried from the list until inference stops complaining is too slow, so by name. */
static const char *word_for(const char *name) {
  static const char *const fit[][5] = {{"mode", "constant", "reflect", "edge", "linear"},
                                       {"mode", "nearest", "cubic", "wrap", "linear"},
                                       {"reduction", "none", "add", "max", "mul"},
                                       {"direction", "forward", "reverse", "bidirectional", "forward"},
                                       {"coord", "asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"},
                                       {"nearest", "floor", "ceil", "round_prefer_floor", "round_prefer_ceil"},
                                       {"padding", "zeros", "border", "reflection", "zeros"},
                                       {"kind", "uniform", "normal", "uniform", "normal"}};
  for (int tries = 0; tries < 40; tries++) {
    int k = below(sizeof fit / sizeof *fit);
    if (!strcmp(fit[k][0], name)) return fit[k][1 + below(4)];
  }
  return random_word();
}

static int64_t number_for(const char *name, bool wild) {
  if (wild && one_in(3)) return wild_int();
  if (!strcmp(name, "hidden") || !strcmp(name, "group") || !strcmp(name, "p")) return 1 + below(3);
  return below(3);
}

static Attr random_attr(Module *m, const char *spec, size_t len, int rank, bool wild) {
  char name[64], kind[16];
  size_t colon = strcspn(spec, ":");
  snprintf(name, sizeof name, "%.*s", (int)colon, spec);
  snprintf(kind, sizeof kind, "%.*s", (int)(len - colon - 1 - (spec[len - 1] == '=')), spec + colon + 1);
  AttrKind k = ATTR_INT;
  while (strcmp(attr_kind_text(k), kind)) k++;
  if (wild && one_in(10)) k = (AttrKind)below(ATTR_STRS + 1);
  int spatial = rank > 2 ? rank - 2 : 1, n = one_in(2) ? rank : spatial;
  if (!strcmp(name, "pads")) n = 2 * spatial;
  if (strstr("kernel strides dilations output_padding", name)) n = spatial;
  if (strstr("starts steps shape before after perm scales", name)) n = rank;
  if (!strcmp(name, "k")) n = 1;
  if (wild && one_in(5)) n = below(40);
  Dim d[40];
  double f[40];
  const char *s[40];
  for (int i = 0; i < n; i++) {
    bool one = !strcmp(name, "steps") || !strcmp(name, "strides") || !strcmp(name, "dilations") ||
        !strcmp(name, "kernel");
    d[i] = wild && one_in(3) ? random_dim(true) : DIM(one ? 1 + below(2) : below(3));
    if (!strcmp(name, "perm")) d[i] = DIM(i);
    if (!strcmp(name, "axes")) d[i] = DIM(i);
    f[i] = wild && one_in(3) ? (double)wild_int() * 1e300 : 0.5 + below(3);
    s[i] = random_word();
  }
  if (wild && n && one_in(9)) f[below(n)] = NAN;
  switch (k) {
    case ATTR_INT: return attr_int(name, number_for(name, wild));
    case ATTR_FLOAT: return attr_float(name, wild && one_in(3) ? (one_in(2) ? NAN : -1e300) : below(3) * 0.25);
    case ATTR_STR: return attr_str(name, wild && one_in(3) ? random_word() : word_for(name));
    case ATTR_DTYPE: return attr_dtype(name, wild && one_in(3) ? (DType)wild_int() : (DType)(1 + below(DT_COUNT - 1)));
    case ATTR_DIMS: return attr_dims(m, name, d, strcmp(name, "axes") || !n ? n : below(n + 1));
    case ATTR_FLOATS: return attr_floats(m, name, f, !strcmp(name, "scales") || wild ? n : 0);
    case ATTR_STRS: return attr_strs(m, name, s, wild ? n : 0);
    case ATTR_TENSOR: break;
  }
  return attr_tensor(name, tensor_scalar(&m->perm, DT_F32, 1));
}

static const Tensor *random_tensor(Arena *a, const Type *t) {
  int64_t dims[MAX_RANK];
  for (int i = 0; i < t->rank; i++) dims[i] = t->dims[i].k;
  Tensor *x = tensor_new(a, t->dtype, t->rank, dims);
  for (int64_t i = 0; i < tensor_count(x); i++) {
    if (dtype_is_int(t->dtype) || t->dtype == DT_BOOL) tensor_set_int(x, i, below(2));
    else if (dtype_is_float(t->dtype)) tensor_set(x, i, below(9) - 4);
  }
  return x;
}

static bool small(const Type *t) {
  if (t->kind != KIND_TENSOR || t->rank < 0 || !type_is_static(t)) return false;
  int64_t n = 1;
  for (int i = 0; i < t->rank; i++) {
    if (t->dims[i].k < 0 || t->dims[i].k > 4096) return false;
    n *= t->dims[i].k;
    if (n > 4096) return false;
  }
  return true;
}

static Type input_type(Module *m, const ValueId *in, int k, Op op, bool wild) {
  Type t = random_type(wild);
  if (k == 0 || !in[0]) return t;
  const Type *first = &value_of(m, in[0])->type;
  if (!one_in(4)) t.dtype = first->dtype;
  if (one_in(2)) t = *first;
  if (strstr(op_info[op].text, "gather") || (strstr(op_info[op].text, "scatter") && k == 1))
    t.dtype = one_in(2) ? DT_I64 : DT_I32;
  if (!strcmp(op_info[op].text, "conv") && k == 1 && !wild && first->rank > 2) {
    t = *first;
    for (int i = 2; i < t.rank; i++) t.dims[i] = DIM(1 + below(2));
  }
  return t;
}

static int accepted, computed;

static void one_case(Op op, bool wild) {
  const OpInfo *info = &op_info[op];
  Diags diags = {0};
  Module *m = module_new("random", &diags);
  ValueId in[100] = {0};
  Attr attr[32];
  int nattr = 0, most = info->max_in < 0 ? info->min_in + 3 : info->max_in;
  int nin = info->min_in + (most > info->min_in ? below(most - info->min_in + 1) : 0);
  if (op_is_scalar(op)) nin = scalar_info[op_scalar(op)].arity;
  if (wild && one_in(10)) nin = below(one_in(5) ? 100 : 6);
  for (int k = 0; k < nin; k++) {
    if (k >= info->min_in && one_in(4)) continue;
    if (k && in[0] && one_in(8)) in[k] = in[0];
    else in[k] = graph_add_input(m->main, NULL, input_type(m, in, k, op, wild));
  }
  int rank = in[0] ? value_of(m, in[0])->type.rank : below(4);
  for (const char *s = info->attrs; s && *s;) {
    size_t len = strcspn(s, " ");
    bool optional = s[len - 1] == '=';
    if (!(optional && one_in(2)) && !(wild && one_in(20))) attr[nattr++] = random_attr(m, s, len, rank, wild);
    s += len + (s[len] == ' ');
  }
  int nout = info->nout > 0 ? info->nout : 1 + below(3);
  NodeId n = graph_add_node(m->main, op, in, nin, nout, attr, nattr);
  bool ok = !diags.errors, run = ok && info->how != HOW_CONTROL;
  accepted += ok;
  const Node *node = node_of(m, n);
  for (int k = 0; k < nin; k++) run = run && (!in[k] || small(&value_of(m, in[k])->type));
  for (int k = 0; k < nout; k++)
    run = run && (small(&value_of(m, node->out[k])->type) || (info->how == HOW_CALL && !wild));
  if (run) {
    Eval e;
    eval_begin(&e, m);
    for (int k = 0; k < m->main->inputs.len; k++) {
      ValueId v = m->main->inputs.at[k];
      eval_set_value(&e, v, random_tensor(&e.arena, &value_of(m, v)->type));
    }
    bool done = eval_node(&e, n);
    computed += done;
    for (int k = 0; done && k < nout; k++) {
      const Tensor *y = eval_value(&e, node->out[k]);
      const Type *t = &value_of(m, node->out[k])->type;
      cr_expect(y && y->dtype == t->dtype && y->rank == t->rank, "%s: inferred %s", info->text, type_text(t));
    }
    const char *why = diags.len ? diags.at[diags.len - 1].text : "";
    cr_expect(done || !strstr(why, "inferred"), "%s: %s", info->text, why);
    eval_end(&e);
  }
  module_free(m);
  diags_free(&diags);
}

static void cases(Op op, int from, int to, bool wild) {
  for (int i = from; i < to; i++) {
    state = (uint64_t)op << 32 | (uint64_t)i << 1 | wild;
    one_case(op, wild);
  }
}

Test(infer_random, absurd) {
  for (Op op = OP_NONE + 1; op < OP_COUNT; op++) {
    cases(op, 0, op_is_scalar(op) ? 30 : 200, true);
    symbols_reset();
  }
}

Test(infer_random, accepted_is_computed) {
  for (Op op = OP_NONE + 1; op < OP_COUNT; op++) {
    int before = accepted, ran = computed, n = op_is_scalar(op) ? 30 : 200;
    cases(op, 0, n, false);
    if (getenv("VERBOSE"))
      fprintf(stderr, "%-18s %3d accepted, %3d computed of %d\n", op_info[op].text, accepted - before,
              computed - ran, n);
    symbols_reset();
  }
  cr_expect_gt(computed, 1000);
}
