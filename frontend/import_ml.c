/* ai.onnx.ml by tables and arithmetic: Binarizer, ArrayFeatureExtractor, LabelEncoder, Scaler, Normalizer,
 * Imputer, LinearRegressor, LinearClassifier. Trees are in import_tree.c. */
#include "frontend/calc.h"
#include "frontend/ml.h"
#include <math.h>

bool import_binarizer(Import *x) {
  if (!calc_needs(x, 1)) return false;
  ValueId above = calc_op2c(x, OP_GT, x->in[0], imp_float(x, "threshold", 0));
  return calc_set(x, 0, calc_cast(x, above, imp_dtype(x, 0)));
}

/* Y picks from the last axis of X; a vector counts as one row. */
bool import_array_feature_extractor(Import *x) {
  if (!calc_needs(x, 2)) return false;
  Dim n = type_count(imp_type(x, 1));
  ValueId v = x->in[0], at = calc_reshape(x, calc_cast(x, x->in[1], DT_I64), &n, 1);
  if (imp_rank(x, 0) == 1) v = calc_unsqueeze(x, v, 0);
  return calc_set(x, 0, calc_gather(x, v, -1, at));
}

/* ---- LabelEncoder */

static const Tensor *strings_tensor(Import *x, const char *const *s, int n) {
  Tensor *t = tensor_new(&x->m->perm, DT_STRING, 1, (int64_t[]){ n });
  for (int k = 0; k < n; k++) ((const char **)t->data)[k] = s[k];
  return t;
}

/* Attribute stem_tensor, stem_int64s, stem_floats or stem_strings (or what `ints` … call them), as a vector. */
static const Tensor *label_list(Import *x, const char *stem) {
  char name[64];
  const int64_t *i;
  const double *f;
  const char *const *s;
  int n;
  snprintf(name, sizeof name, "%s_tensor", stem);
  if (imp_has(x, name)) return imp_tensor(x, name);
  snprintf(name, sizeof name, "%s_int64s", stem);
  if ((n = imp_ints(x, name, &i))) {
    Tensor *t = tensor_new(&x->m->perm, DT_I64, 1, (int64_t[]){ n });
    for (int k = 0; k < n; k++) tensor_set_int(t, k, i[k]);
    return t;
  }
  snprintf(name, sizeof name, "%s_floats", stem);
  if ((n = imp_floats(x, name, &f))) {
    Tensor *t = tensor_new(&x->m->perm, DT_F32, 1, (int64_t[]){ n });
    for (int k = 0; k < n; k++) tensor_set(t, k, f[k]);
    return t;
  }
  snprintf(name, sizeof name, "%s_strings", stem);
  if ((n = imp_strs(x, name, &s))) return strings_tensor(x, s, n);
  return NULL;
}

static ValueId label_default(Import *x, DType t) {
  if (imp_has(x, "default_tensor")) {
    const Tensor *d = imp_tensor(x, "default_tensor");
    return d && d->dtype == t && tensor_count(d) == 1 ? calc_reshape(x, calc_tensor(x, d), NULL, 0) : 0;
  }
  if (t == DT_STRING) {
    const char *text = imp_str(x, "default_string", "_Unused");
    return calc_reshape(x, calc_tensor(x, strings_tensor(x, &text, 1)), NULL, 0);
  }
  if (dtype_is_float(t)) return imp_scalar(x, t, imp_float(x, "default_float", -0.0));
  return imp_scalar(x, t, (double)imp_int(x, "default_int64", -1));
}

/* x equals keys[k] -> values[k], the last such k; no key: the default. NaN keys match NaN. */
static ValueId label_map(Import *x, const Tensor *keys, const Tensor *values, ValueId dflt) {
  int64_t n = tensor_count(keys);
  if (n != tensor_count(values) || n < 1) {
    imp_fail(x, "shape", "%lld keys, %lld values", (long long)n, (long long)tensor_count(values));
    return 0;
  }
  if (keys->dtype != imp_dtype(x, 0)) {
    imp_fail(x, "type", "keys are %s, the input is %s", dtype_info[keys->dtype].text,
             dtype_info[imp_dtype(x, 0)].text);
    return 0;
  }
  ValueId v = calc_unsqueeze(x, x->in[0], -1), key = calc_reshape(x, calc_tensor(x, keys), (Dim[]){ DIM(n) }, 1);
  ValueId same = calc_op2(x, OP_EQ, v, key);                                               /* [..., n] */
  if (dtype_is_float(keys->dtype))
    same = calc_op2(x, OP_OR, same, calc_op2(x, OP_AND, calc_op1(x, OP_ISNAN, v), calc_op1(x, OP_ISNAN, key)));
  ValueId at = calc_where(x, same, calc_range(x, DT_I64, DIM(n)), imp_scalar(x, DT_I64, -1));
  int last = calc_rank(x, at) - 1;
  at = at ? imp_reduce(x, OP_REDUCE_MAX, at, &last, 1, false) : 0;
  ValueId value = calc_gather(x, calc_reshape(x, calc_tensor(x, values), (Dim[]){DIM(n)}, 1), 0,
                              calc_op2c(x, OP_MAX, at, 0));
  return calc_where(x, calc_op2c(x, OP_LT, at, 0), dflt, value);
}

/* Version 1: classes_strings maps a string to its number and back, by the input's type. */
bool import_label_encoder_1(Import *x) {
  const char *const *s;
  int n = imp_strs(x, "classes_strings", &s);
  if (!calc_needs(x, 1)) return false;
  if (!n) return imp_fail(x, "parse", "attribute 'classes_strings' is missing");
  const Tensor *names = strings_tensor(x, s, n);
  Tensor *numbers = tensor_new(&x->m->perm, DT_I64, 1, (int64_t[]){ n });
  for (int k = 0; k < n; k++) tensor_set_int(numbers, k, k);
  bool from_text = imp_dtype(x, 0) == DT_STRING;
  const Tensor *keys = from_text ? names : numbers, *values = from_text ? numbers : names;
  return calc_set(x, 0, label_map(x, keys, values, label_default(x, values->dtype)));
}

bool import_label_encoder(Import *x) {
  if (!calc_needs(x, 1)) return false;
  const Tensor *keys = label_list(x, "keys"), *values = label_list(x, "values");
  if (!keys || !values) return imp_fail(x, "parse", "its keys or values are missing");
  return calc_set(x, 0, label_map(x, keys, values, label_default(x, values->dtype)));
}

/* ---- features */

static ValueId float_list(Import *x, const char *name) {
  const double *v;
  int n = imp_floats(x, name, &v);
  return n ? calc_floats(x, DT_F32, v, n) : 0;
}

/* (x - offset) * scale, each one number or one per feature */
bool import_scaler(Import *x) {
  if (!calc_needs(x, 1)) return false;
  ValueId v = calc_cast(x, x->in[0], DT_F32), offset = float_list(x, "offset"), scale = float_list(x, "scale");
  if (offset) v = calc_sub(x, v, offset);
  return calc_set(x, 0, scale ? calc_mul(x, v, scale) : v);
}

/* Rows by their largest size, sum of sizes or length. */
bool import_normalizer(Import *x) {
  if (!calc_needs(x, 1)) return false;
  const char *norm = imp_str(x, "norm", "MAX");
  ValueId v = calc_cast(x, x->in[0], DT_F32), by;
  if (!strcmp(norm, "MAX")) by = calc_reduce(x, OP_REDUCE_MAX, v, -1);
  else if (!strcmp(norm, "L1")) by = calc_reduce(x, OP_REDUCE_SUM, calc_op1(x, OP_ABS, v), -1);
  else if (!strcmp(norm, "L2")) by = calc_op1(x, OP_SQRT, calc_reduce(x, OP_REDUCE_SUM, calc_mul(x, v, v), -1));
  else return imp_fail(x, "unsupported", "norm '%s' is not MAX, L1 or L2", norm);
  by = calc_where(x, calc_op2c(x, OP_EQ, by, 0), imp_scalar(x, DT_F32, 1), by);
  return calc_set(x, 0, calc_div(x, v, by));
}

/* replaced_value_* (NaN: where NaN) -> imputed_value_*, one or one per feature */
bool import_imputer(Import *x) {
  if (!calc_needs(x, 1)) return false;
  ValueId v = x->in[0], by, bad;
  if (dtype_is_float(imp_dtype(x, 0))) {
    const double *f;
    int n = imp_floats(x, "imputed_value_floats", &f);
    double replaced = imp_float(x, "replaced_value_float", 0);
    by = n ? calc_floats(x, imp_dtype(x, 0), f, n) : 0;
    bad = isnan(replaced) ? calc_op1(x, OP_ISNAN, v) : calc_op2c(x, OP_EQ, v, replaced);
  } else {
    const int64_t *i;
    int n = imp_ints(x, "imputed_value_int64s", &i);
    by = n ? imp_constant_ints(x, imp_dtype(x, 0), i, n) : 0;
    bad = calc_op2c(x, OP_EQ, v, (double)imp_int(x, "replaced_value_int64", 0));
  }
  if (!by) return imp_fail(x, "parse", "the imputed values are missing");
  return calc_set(x, 0, calc_where(x, bad, by, v));
}

/* ---- scores */

/* Rows of scores [N, C]. PROBIT is the inverse of the normal distribution: Winitzki's approximation of erf^-1. */
ValueId ml_post_transform(Import *x, ValueId s, const char *how) {
  if (!s || !strcmp(how, "NONE")) return s;
  if (!strcmp(how, "LOGISTIC")) return calc_op1(x, OP_SIGMOID, s);
  if (!strcmp(how, "SOFTMAX")) return calc_softmax(x, OP_SOFTMAX, s, -1);
  if (!strcmp(how, "SOFTMAX_ZERO")) {                       /* zeros stay zeros */
    ValueId zero = imp_scalar(x, calc_dtype(x, s), 0);
    ValueId e = calc_op1(x, OP_EXP, calc_sub(x, s, calc_reduce(x, OP_REDUCE_MAX, s, -1)));
    e = calc_where(x, calc_op2c(x, OP_LE, calc_op1(x, OP_ABS, s), 1e-7), zero, e);
    return calc_div(x, e, calc_reduce(x, OP_REDUCE_SUM, e, -1));
  }
  if (!strcmp(how, "PROBIT")) {                             /* sqrt 2 erf^-1(2 p - 1) */
    ValueId p = calc_addc(x, calc_mulc(x, s, 2), -1);
    ValueId l = calc_op1(x, OP_LOG, calc_mul(x, calc_c2op(x, OP_SUB, 1, p), calc_addc(x, p, 1)));
    ValueId a = calc_addc(x, calc_mulc(x, l, 0.5), 2 / (3.14159265358979 * 0.147));
    ValueId root = calc_op1(x, OP_SQRT, calc_sub(x, calc_mul(x, a, a), calc_mulc(x, l, 1 / 0.147)));
    return calc_mulc(x, calc_mul(x, calc_op1(x, OP_SIGN, p), calc_op1(x, OP_SQRT, calc_sub(x, root, a))), sqrt(2));
  }
  imp_fail(x, "unsupported", "post_transform '%s'", how);
  return 0;
}

const Tensor *ml_class_labels(Import *x, const char *ints, const char *strings) {
  const int64_t *i;
  const char *const *s;
  int n = imp_strs(x, strings, &s);
  if (n) return strings_tensor(x, s, n);
  n = imp_ints(x, ints, &i);
  if (!n) return NULL;
  Tensor *t = tensor_new(&x->m->perm, DT_I64, 1, (int64_t[]){ n });
  for (int k = 0; k < n; k++) tensor_set_int(t, k, i[k]);
  return t;
}

/* The label of the best score of each row. */
ValueId ml_best_label(Import *x, ValueId scores, const Tensor *labels) {
  Attr a[] = { attr_int("axis", 1), attr_int("keepdims", 0), attr_int("select_last", 0) };
  ValueId best = calc_op(x, OP_ARGMAX, &scores, 1, a, 3);
  return labels ? calc_gather(x, calc_tensor(x, labels), 0, best) : best;
}

/* x w^T + b for w [C, F] given row by row */
static ValueId linear_scores(Import *x, int rows) {
  const double *w, *b;
  int nw = imp_floats(x, "coefficients", &w), nb = imp_floats(x, "intercepts", &b);
  if (rows < 1 || nw % rows) { imp_fail(x, "shape", "%d coefficients for %d rows", nw, rows); return 0; }
  ValueId v = calc_cast(x, x->in[0], DT_F32),
          m = calc_reshape(x, calc_floats(x, DT_F32, w, nw), (Dim[]){DIM(rows), DIM(nw / rows)}, 2);
  if (calc_rank(x, v) == 1) v = calc_unsqueeze(x, v, 0);
  ValueId y = calc_matmul(x, v, calc_swap_last(x, m));
  return nb ? calc_add(x, y, calc_floats(x, DT_F32, b, nb)) : y;
}

bool import_linear_regressor(Import *x) {
  if (!calc_needs(x, 1)) return false;
  ValueId y = linear_scores(x, (int)imp_int(x, "targets", 1));
  return calc_set(x, 0, ml_post_transform(x, y, imp_str(x, "post_transform", "NONE")));
}

/* s [N, 1] is the score of the second of two classes; the pair as ONNX Runtime gives it: probabilities, or s seen as
 * one (`margin`: as a distance from 0). Only LOGISTIC transforms it. */
ValueId ml_two_classes(Import *x, ValueId s, const char *how, bool margin) {
  if (!strcmp(how, "LOGISTIC")) return calc_op1(x, OP_SIGMOID, calc_concat2(x, 1, calc_op1(x, OP_NEG, s), s));
  return calc_concat2(x, 1, margin ? calc_op1(x, OP_NEG, s) : calc_c2op(x, OP_SUB, 1, s), s);
}

/* One row of coefficients for two classes: the second class' score, compared with 0. */
bool import_linear_classifier(Import *x) {
  if (!calc_needs(x, 1)) return false;
  const double *unused;
  const char *how = imp_str(x, "post_transform", "NONE");
  const Tensor *labels = ml_class_labels(x, "classlabels_ints", "classlabels_strings");
  int rows = imp_floats(x, "intercepts", &unused);
  if (!rows) rows = labels ? (int)tensor_count(labels) : 1;
  ValueId s = linear_scores(x, rows);
  if (rows == 1 && labels && tensor_count(labels) == 2) {
    calc_set(x, 1, ml_two_classes(x, s, how, false));
    ValueId second = calc_squeeze(x, calc_cast(x, calc_op2c(x, OP_GT, s, 0), DT_I64), 1);
    return calc_set(x, 0, calc_gather(x, calc_tensor(x, labels), 0, second));
  }
  calc_set(x, 1, ml_post_transform(x, s, how));
  return calc_set(x, 0, ml_best_label(x, s, labels));
}
