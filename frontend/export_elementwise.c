/* Elementwise functions that ONNX has under another signature, or not at all. */
#include "frontend/export.h"

static DType dtype_in(const Export *x) { return exp_type(x, 0)->dtype; }

static const char *number(Export *x, double v) { return exp_scalar(x, dtype_in(x), v); }

bool export_fmod(Export *x) {
  bool ok = exp_direct(x, "Mod");
  exp_int(x, "fmod", 1);
  return ok;
}

/* Mod of floats exists with C's sign only. */
bool export_mod(Export *x) {
  if (!dtype_is_float(dtype_in(x))) return exp_direct(x, "Mod");
  const char *b = exp_in(x, 1), *zero = number(x, 0), *r = EXP(x, "Mod", exp_in(x, 0), b);
  exp_int(x, "fmod", 1);
  const char *differ = EXP(x, "Xor", EXP(x, "Less", r, zero), EXP(x, "Less", b, zero));
  const char *rest = EXP(x, "Not", EXP(x, "Equal", r, zero));
  return exp_give(x, 0, EXP(x, "Where", EXP(x, "And", rest, differ), EXP(x, "Add", r, b), r));
}

/* Of narrow integers through i32: Pow takes none of them as base. */
bool export_pow(Export *x) {
  DType t = dtype_in(x);
  if (!dtype_is_int(t) || t == DT_I32 || t == DT_I64) return exp_direct(x, "Pow");
  DType wide = dtype_bytes(t) < 4 ? DT_I32 : DT_I64;
  const char *a = exp_cast(x, exp_in(x, 0), t, wide), *b = exp_cast(x, exp_in(x, 1), exp_type(x, 1)->dtype, wide);
  return exp_give(x, 0, exp_cast(x, EXP(x, "Pow", a, b), wide, t));
}

bool export_neg(Export *x) {
  if (dtype_is_signed(dtype_in(x))) return exp_direct(x, "Neg");
  return exp_give(x, 0, EXP(x, "Sub", number(x, 0), exp_in(x, 0)));
}

bool export_trunc(Export *x) {
  const char *a = exp_in(x, 0);
  return exp_give(x, 0, EXP(x, "Where", EXP(x, "Less", a, number(x, 0)), EXP(x, "Ceil", a), EXP(x, "Floor", a)));
}

/* exp(a) - 1 = tanh(a / 2) (exp(a) + 1), which keeps its digits near 0 */
bool export_expm1(Export *x) {
  const char *a = exp_in(x, 0), *half = EXP(x, "Tanh", EXP(x, "Mul", a, number(x, 0.5)));
  return exp_give(x, 0, EXP(x, "Mul", half, EXP(x, "Add", EXP(x, "Exp", a), number(x, 1))));
}

/* u = 1 + a: a where that is lost in u, else log(u) a / (u - 1), in which the roundings of u cancel (Kahan); log(u) where
 * a is so large that u = a. */
bool export_log1p(Export *x) {
  const char *a = exp_in(x, 0), *one = number(x, 1), *u = EXP(x, "Add", a, one), *log = EXP(x, "Log", u);
  const char *exact = EXP(x, "Mul", log, EXP(x, "Div", a, EXP(x, "Sub", u, one)));
  const char *large = EXP(x, "Where", EXP(x, "Equal", u, a), log, exact);
  return exp_give(x, 0, EXP(x, "Where", EXP(x, "Equal", u, one), a, large));
}

/* atan(a / b), half a turn further where b < 0. Where b is 0, of either sign, a / +0 is infinite and its atan right. */
bool export_atan2(Export *x) {
  const double pi = 3.14159265358979324;
  const char *a = exp_in(x, 0), *b = exp_in(x, 1), *zero = number(x, 0);
  const char *turn = EXP(x, "Where", EXP(x, "Less", a, zero), number(x, -pi), number(x, pi));
  const char *flat = EXP(x, "Equal", b, zero);
  const char *angle = EXP(x, "Atan", EXP(x, "Div", a, EXP(x, "Where", flat, zero, b)));
  const char *whole = EXP(x, "Where", EXP(x, "Less", b, zero), EXP(x, "Add", angle, turn), angle);
  const char *origin = EXP(x, "And", EXP(x, "Equal", a, zero), flat);
  return exp_give(x, 0, EXP(x, "Where", origin, zero, whole));
}

bool export_gelu_tanh(Export *x) {
  bool ok = exp_direct(x, "Gelu");
  exp_str(x, "approximate", "tanh");
  return ok;
}

bool export_silu(Export *x) {
  const char *a = exp_in(x, 0);
  return exp_give(x, 0, EXP(x, "Mul", a, EXP(x, "Sigmoid", a)));
}

bool export_ne(Export *x) { return exp_give(x, 0, EXP(x, "Not", EXP(x, "Equal", exp_in(x, 0), exp_in(x, 1)))); }

bool export_shift(Export *x) {
  if (dtype_is_signed(dtype_in(x)))
    return exp_fail(x, "ONNX shifts unsigned integers only, not %s", dtype_info[dtype_in(x)].text);
  bool ok = exp_direct(x, "BitShift");
  exp_str(x, "direction", x->n->op == OP_SHL ? "LEFT" : "RIGHT");
  return ok;
}
