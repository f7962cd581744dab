/* Importers of elementwise arithmetic, comparison and logic, and of casts. Operators that are one scalar function
 * share an importer, which finds the function by the operator's name (op_of).
 *
 * Until opset 6 binary operators broadcast only when told to, with B aligned at axis `axis` of A; from 7 on by
 * NumPy's rules, which is also what the canonical ops do. */
#include <ctype.h>
#include <string.h>
#include "frontend/import.h"

/* Operators whose name in lower case is not the function's; Sum and Mean add up. */
static const struct { const char *onnx; Op op; } table[] = {
  {"BitwiseAnd", OP_BITAND}, {"BitwiseNot", OP_BITNOT}, {"BitwiseOr", OP_BITOR}, {"BitwiseXor", OP_BITXOR},
  {"Equal", OP_EQ}, {"Greater", OP_GT}, {"GreaterOrEqual", OP_GE}, {"Less", OP_LT}, {"LessOrEqual", OP_LE},
  {"Mean", OP_ADD}, {"Sum", OP_ADD},
};

static Op op_of(Import *x) {
  for (size_t k = 0; k < sizeof table / sizeof *table; k++)
    if (!strcmp(table[k].onnx, x->op)) return table[k].op;
  char name[32] = "";
  for (size_t k = 0; x->op[k] && k + 1 < sizeof name; k++) name[k] = (char)tolower((unsigned char)x->op[k]);
  Op op = op_from_text(name);
  if (op != OP_NONE && op_is_scalar(op)) return op;
  imp_fail(x, "internal", "is missing in the table of elementwise operators");
  return OP_NONE;
}

bool import_unary(Import *x) {
  imp_set(x, 0, imp_op1(x, op_of(x), x->in[0]));
  return true;
}

/* Input 1 with trailing 1s, so that its axes stand where the attribute says. */
static ValueId aligned(Import *x) {
  if (x->opset >= 7 || !imp_int(x, "broadcast", 0) || !imp_has(x, "axis")) return x->in[1];
  int rank = imp_rank(x, 0), have = imp_rank(x, 1), axis = imp_axis(x, imp_int(x, "axis", 0), rank);
  if (axis < 0) return 0;
  if (axis + have > rank) {
    imp_fail(x, "shape", "B has %d axes, A only %d from axis %d on", have, rank - axis, axis);
    return 0;
  }
  Dim shape[MAX_RANK];
  for (int k = 0; k < rank - axis; k++) shape[k] = k < have ? imp_type(x, 1)->dims[k] : DIM(1);
  return imp_reshape(x, x->in[1], shape, rank - axis);
}

bool import_binary(Import *x) {
  imp_set(x, 0, imp_op2(x, op_of(x), x->in[0], aligned(x)));
  return true;
}

/* Sum, Mean, Max, Min of any number of inputs */
bool import_variadic(Import *x) {
  ValueId v = x->in[0];
  for (int k = 1; k < x->nin; k++) v = imp_op2(x, op_of(x), v, x->in[k]);
  if (!strcmp(x->op, "Mean") && v) v = imp_op2(x, OP_DIV, v, imp_scalar(x, value_of(x->m, v)->type.dtype, x->nin));
  imp_set(x, 0, v);
  return true;
}

bool import_where(Import *x) {
  imp_set(x, 0, imp_op3(x, OP_WHERE, x->in[0], x->in[1], x->in[2]));
  return true;
}

/* From opset 12 on the exponent may have another type; the result has the base's. */
bool import_pow(Import *x) {
  DType base = imp_dtype(x, 0), exponent = imp_dtype(x, 1);
  ValueId a = x->in[0], b = aligned(x);
  if (base == exponent || dtype_is_float(base) || !dtype_is_float(exponent)) {
    imp_set(x, 0, imp_op2(x, OP_POW, a, imp_cast(x, b, base)));
  } else {
    imp_set(x, 0, imp_cast(x, imp_op2(x, OP_POW, imp_cast(x, a, exponent), b), base));
  }
  return true;
}

bool import_mod(Import *x) {
  imp_set(x, 0, imp_op2(x, imp_int(x, "fmod", 0) ? OP_FMOD : OP_MOD, x->in[0], x->in[1]));
  return true;
}

bool import_bit_shift(Import *x) {
  const char *direction = imp_str(x, "direction", "");
  bool left = !strcmp(direction, "LEFT");
  if (!left && strcmp(direction, "RIGHT"))
    return imp_fail(x, "parse", "direction is '%s', should be LEFT or RIGHT", direction);
  imp_set(x, 0, imp_op2(x, left ? OP_SHL : OP_SHR, x->in[0], x->in[1]));
  return true;
}

bool import_is_inf(Import *x) {
  bool pos = imp_int(x, "detect_positive", 1) != 0, neg = imp_int(x, "detect_negative", 1) != 0;
  DType t = imp_dtype(x, 0);
  ValueId v = imp_op1(x, OP_ISINF, x->in[0]), zero = imp_scalar(x, t, 0);
  if (!pos) v = imp_op2(x, OP_AND, v, imp_op2(x, OP_LT, x->in[0], zero));
  if (!neg) v = imp_op2(x, OP_AND, v, imp_op2(x, OP_GT, x->in[0], zero));
  imp_set(x, 0, v);
  return true;
}

/* ---- casts ---- */
static bool cast_to(Import *x, DType to) {
  const char *round = imp_str(x, "round_mode", "up");            // of f8e8m0; others go to the nearest
  Attr attr[] = {attr_dtype("to", to), attr_int("saturate", imp_int(x, "saturate", 1))};
  if (to == DT_F8E8M0 && strcmp(round, "up"))
    return imp_fail(x, "unsupported", "round_mode '%s'; lathe rounds to f8e8m0 only 'up'", round);
  if (to == imp_dtype(x, 0)) {
    imp_set(x, 0, x->in[0]);
    return true;
  }
  imp_set(x, 0, imp_op(x, OP_CAST, x->in, 1, attr, 2));
  return true;
}

static bool type_attribute(Import *x, DType *to) {
  int64_t code = imp_int(x, "to", 0);
  *to = code > 0 && code < 1000 ? dtype_from_onnx((int)code) : DT_NONE;
  return *to != DT_NONE ||
      imp_fail(x, "type", "casts to element type %lld, which lathe does not know", (long long)code);
}

bool import_cast(Import *x) {
  DType to;
  return type_attribute(x, &to) && cast_to(x, to);
}

/* Until opset 5 the type is spelled out. */
bool import_cast_1(Import *x) {
  static const struct { const char *text; DType t; } names[] = {
    {"FLOAT", DT_F32}, {"DOUBLE", DT_F64}, {"FLOAT16", DT_F16}, {"INT8", DT_I8}, {"INT16", DT_I16}, {"INT32", DT_I32},
    {"INT64", DT_I64}, {"UINT8", DT_U8}, {"UINT16", DT_U16}, {"UINT32", DT_U32}, {"UINT64", DT_U64}, {"BOOL", DT_BOOL},
    {"STRING", DT_STRING},
  };
  const char *to = imp_str(x, "to", "");
  for (size_t k = 0; k < sizeof names / sizeof *names; k++)
    if (!strcmp(names[k].text, to)) return cast_to(x, names[k].t);
  return imp_fail(x, "type", "casts to '%s', which lathe does not know", to);
}

bool import_cast_like(Import *x) { return cast_to(x, imp_dtype(x, 1)); }

bool import_bit_cast(Import *x) {
  DType to;
  if (!type_attribute(x, &to)) return false;
  Attr attr = attr_dtype("to", to);
  imp_set(x, 0, to == imp_dtype(x, 0) ? x->in[0] : imp_op(x, OP_BITCAST, x->in, 1, &attr, 1));
  return true;
}
