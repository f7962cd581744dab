/* Expressions and statements of the network language -> nodes of the module at work.
 *
 * Arithmetic of numbers happens here; of tensors it becomes nodes, which broadcast as in numpy. Element types meet
 * so: a literal takes the tensor's type, bool and integers become floats beside floats, and `/` of integers is a
 * true division in f32. */
#include "frontend/lathe_build.h"
#include "base/intern.h"
#include <ctype.h>
#include <math.h>
#include <string.h>

/* ---- tensors from values ---- */

ValueId lang_as_tensor(Lang *l, Val v, DType like) {
  if (v.kind == VAL_TENSOR) return v.v;
  if (v.kind == VAL_BOOL) return build_scalar(l->g, DT_BOOL, v.b);
  if (v.kind == VAL_FLOAT) return build_scalar(l->g, like && dtype_is_float(like) ? like : DT_F32, v.f);
  if (v.kind == VAL_INT) return build_dim_value(l->g, like && like != DT_BOOL ? like : DT_I64, v.i);
  return 0;
}

static DType common_type(DType a, DType b) {
  if (a == b) return a;
  if (a == DT_BOOL) return b;
  if (b == DT_BOOL) return a;
  if (dtype_is_float(a) != dtype_is_float(b)) return dtype_is_float(a) ? a : b;
  if (dtype_is_float(a)) return dtype_bytes(a) >= dtype_bytes(b) ? a : b;
  return dtype_bytes(a) < 4 && dtype_bytes(b) < 4 ? DT_I32 : DT_I64;
}

bool lang_operands(Lang *l, Val a, Val b, bool division, ValueId *x, ValueId *y) {
  DType ta = a.kind == VAL_TENSOR ? build_dtype(l->g, a.v) : DT_NONE;
  DType tb = b.kind == VAL_TENSOR ? build_dtype(l->g, b.v) : DT_NONE;
  DType t = ta && tb ? common_type(ta, tb) : ta ? ta : tb;
  if (t == DT_NONE) t = a.kind == VAL_FLOAT || b.kind == VAL_FLOAT ? DT_F32 : DT_I64;
  bool literal = a.kind == VAL_FLOAT || b.kind == VAL_FLOAT;
  if (!dtype_is_float(t) && (literal || division)) t = DT_F32;
  if (t == DT_BOOL && (val_is_number(&a) || val_is_number(&b))) t = DT_I64;
  *x = build_cast(l->g, lang_as_tensor(l, a, t), t);
  *y = build_cast(l->g, lang_as_tensor(l, b, t), t);
  return *x && *y;
}

/* ---- operators ---- */

typedef struct Operator { const char *text; Op op; } Operator;
static const Operator operators[] = {
  {"+", OP_ADD}, {"-", OP_SUB}, {"*", OP_MUL}, {"/", OP_DIV}, {"**", OP_POW}, {"@", OP_MATMUL},
  {"==", OP_EQ}, {"!=", OP_NE}, {"<", OP_LT}, {"<=", OP_LE}, {">", OP_GT}, {">=", OP_GE},
};

static Op operator_op(const char *text) {
  for (size_t k = 0; k < sizeof operators / sizeof *operators; k++)
    if (!strcmp(operators[k].text, text)) return operators[k].op;
  BUG("operator %s", text);
}

/* Whole numbers stay whole, up to 9e15, from where on a double does not hold them all; a quotient does where it comes
 * out even. */
static Val int_arithmetic(Lang *l, Op op, Dim a, Dim b, Span at) {
  Dim q;
  if (dim_is_const(a) && dim_is_const(b) && op != OP_DIV && op != OP_POW) {
    double x = (double)a.k, y = (double)b.k, v = op == OP_ADD ? x + y : op == OP_SUB ? x - y : x * y;
    if (fabs(v) >= 9e15) return val_float(v);
  }
  if (op == OP_ADD) return val_int(dim_add(a, b));
  if (op == OP_SUB) return val_int(dim_sub(a, b));
  if (op == OP_MUL) return val_int(dim_mul(a, b));
  if (op == OP_DIV && !dim_is(b, 0) && dim_divisible(a, b, &q)) return val_int(q);
  if (op == OP_DIV && dim_is(b, 0)) { lang_error(l, "type", at, "division by zero"); return val_error(); }
  if (dim_is_const(a) && dim_is_const(b)) {
    double v = op == OP_POW ? pow((double)a.k, (double)b.k) : (double)a.k / (double)b.k;
    return op == OP_POW && b.k >= 0 && fabs(v) < 9e15 ? val_int(DIM((int64_t)v)) : val_float(v);
  }
  lang_error(l, "shape", at, "%s %s %s is no whole number for every size", dim_text(a), op == OP_DIV ? "/" : "**",
      dim_text(b));
  return val_error();
}

static Val number_arithmetic(Lang *l, Op op, const Val *a, const Val *b, Span at) {
  bool ints = a->kind == VAL_INT && b->kind == VAL_INT;
  if (op >= OP_EQ && op <= OP_GE) {
    if (ints && !(dim_is_const(a->i) && dim_is_const(b->i)) && !dim_eq(a->i, b->i)) {
      lang_error(l, "type", at, "whether %s and %s compare so depends on the sizes at run time", dim_text(a->i),
          dim_text(b->i));
      return val_error();
    }
    double d = ints && dim_eq(a->i, b->i) ? 0 : a->f - b->f;
    bool equal = d == 0, less = d < 0;
    return val_bool(op == OP_EQ ? equal : op == OP_NE ? !equal : op == OP_LT ? less : op == OP_LE ? less || equal :
                    op == OP_GT ? d > 0 : d >= 0);
  }
  if (ints) return int_arithmetic(l, op, a->i, b->i, at);
  bool known = (a->kind == VAL_FLOAT || dim_is_const(a->i)) && (b->kind == VAL_FLOAT || dim_is_const(b->i));
  if (!known) return val_tensor(0);                             // the caller makes tensors of them
  double x = a->f, y = b->f;
  return val_float(op == OP_ADD ? x + y : op == OP_SUB ? x - y : op == OP_MUL ? x * y :
                   op == OP_DIV ? x / y : pow(x, y));
}

static bool is_operand(const Val *v) { return v->kind == VAL_TENSOR || v->kind == VAL_BOOL || val_is_number(v); }

Val lang_binary(Lang *l, const char *text, Val a, Val b, Span at) {
  if (a.kind == VAL_ERROR || b.kind == VAL_ERROR) return val_error();
  Op op = operator_op(text);
  if (val_is_number(&a) && val_is_number(&b) && op != OP_MATMUL) {
    int before = l->failures;
    Val v = number_arithmetic(l, op, &a, &b, at);
    if (v.kind != VAL_ERROR || l->failures > before || !l->m) return v;
  }
  ValueId x, y;
  bool fits = is_operand(&a) && is_operand(&b);
  if (!fits) {
    lang_error(l, "type", at, "'%s' takes tensors and numbers, not %s and %s", text, val_text(l->m, &a),
        val_text(l->m, &b));
    return val_error();
  }
  if (!l->m) { lang_error(l, "type", at, "a constant is made of numbers"); return val_error(); }
  lang_source(l, at, text);
  lang_operands(l, a, b, op == OP_DIV, &x, &y);
  ValueId v = build_op2(l->g, op, x, y);
  return lang_check(l, at) ? val_tensor(v) : val_error();
}

static Val unary(Lang *l, const Term *e) {
  Val a = lang_expr(l, e->a);
  if (a.kind == VAL_INT) return val_int(dim_sub(DIM(0), a.i));
  if (a.kind == VAL_FLOAT) return val_float(-a.f);
  if (a.kind == VAL_ERROR) return a;
  if (a.kind != VAL_TENSOR) {
    lang_error(l, "type", e->at, "'-' takes a tensor or a number, not %s", val_text(l->m, &a));
    return val_error();
  }
  lang_source(l, e->at, "-");
  ValueId v = build_neg(l->g, a.v);
  return lang_check(l, e->at) ? val_tensor(v) : val_error();
}

/* ---- x[…] ---- */

static bool index_number(Lang *l, const Term *e, Dim size, Dim dflt, Dim *out) {
  *out = dflt;
  if (!e) return true;
  Val v = lang_expr(l, e);
  if (v.kind == VAL_ERROR) return false;
  if (v.kind != VAL_INT) {
    lang_error(l, "type", e->at, "an index is a whole number, not %s", val_text(l->m, &v));
    return false;
  }
  *out = dim_is_const(v.i) && v.i.k < 0 ? dim_add(size, v.i) : v.i;
  return true;
}

/* One item at axis `axis` of v; the axis goes when it is a number. */
static ValueId index_axis(Lang *l, ValueId v, const Term *item, int *axis) {
  Dim size = build_dim(l->g, v, *axis), from, to;
  if (item->kind == TERM_SLICE) {
    if (!index_number(l, item->a, size, DIM(0), &from) || !index_number(l, item->b, size, size, &to)) return 0;
    if (dim_lo(from) < 0 || dim_lo(dim_sub(to, from)) < 0 || !dim_known_le(to, size)) {
      lang_error(l, "shape", item->at, "%s:%s leaves an axis of size %s", dim_text(from), dim_text(to), dim_text(size));
      return 0;
    }
    return build_slice(l->g, v, (*axis)++, from, dim_sub(to, from));
  }
  Val i = lang_expr(l, item);
  if (i.kind == VAL_ERROR) return 0;
  if (i.kind == VAL_TENSOR) {
    int rank = build_rank(l->g, i.v), at = *axis;
    *axis += rank;
    return build_gather(l->g, v, at, i.v);
  }
  if (!index_number(l, item, size, DIM(0), &from)) return 0;
  if (dim_lo(from) < 0 || !dim_known_le(dim_add(from, DIM(1)), size)) {
    lang_error(l, "shape", item->at, "index %s leaves an axis of size %s", dim_text(i.i), dim_text(size));
    return 0;
  }
  return build_squeeze(l->g, build_slice(l->g, v, *axis, from, DIM(1)), *axis);
}

static Val index_expr(Lang *l, const Term *e) {
  Val a = lang_expr(l, e->a);
  if (a.kind == VAL_ERROR) return a;
  if (a.kind == VAL_TUPLE && e->items.len == 1) {
    Dim at;
    if (!index_number(l, e->items.at[0], DIM(a.n), DIM(0), &at)) return val_error();
    if (dim_is_const(at) && at.k >= 0 && at.k < a.n) return a.at[at.k];
    lang_error(l, "shape", e->at, "index %s leaves a list of %d", dim_text(at), a.n);
    return val_error();
  }
  if (a.kind != VAL_TENSOR) {
    lang_error(l, "type", e->at, "%s has no elements to choose from", val_text(l->m, &a));
    return val_error();
  }
  const Type t = value_of(l->m, a.v)->type;
  if (e->items.len > t.rank) {
    lang_error(l, "shape", e->at, "%d indices for %s", e->items.len, type_text(&t));
    return val_error();
  }
  ValueId v = a.v;
  int axis = 0;
  for (int k = 0; v && k < e->items.len; k++) {
    lang_source(l, e->at, "index");
    v = index_axis(l, v, e->items.at[k], &axis);
  }
  return lang_check(l, e->at) ? val_tensor(v) : val_error();
}

/* ---- names ---- */

static Val unknown_name(Lang *l, const Term *e) {
  VEC(const char *) names = {0};
  const Bindings *all[] = {&l->frame->vars, &l->frame->dims, &l->lets};
  for (int s = 0; s < 3; s++) for (int k = 0; k < all[s]->len; k++) *vec_push(l->a, &names) = all[s]->at[k].name;
  for (int k = 0; !l->frame->net && k < l->file->data.columns.len; k++)
    *vec_push(l->a, &names) = l->file->data.columns.at[k].name.text;
  lang_error(l, "name", e->at, "there is no '%s' here", e->text);
  const char *near = name_nearest(e->text, names.at, names.len);
  bool call = net_find(l, e->text) != NULL;
  for (int k = 0; k < function_count; k++) call |= !strcmp(function_info[k].name, e->text);
  if (near) lang_hint(l, "did you mean '%s'?", near);
  else if (call) lang_hint(l, "'%s' is called with parentheses: %s(…)", e->text, e->text);
  return val_error();
}

static Val name_expr(Lang *l, const Term *e) {
  const Binding *b = binding_find(&l->frame->vars, e->text);
  if (!b) b = binding_find(&l->frame->dims, e->text);
  if (!b) b = binding_find(&l->lets, e->text);
  if (b) return b->v;
  if (!strcmp(e->text, "N") && l->m) return val_int(l->n);
  Val v;
  if (l->m && !l->frame->net && lang_column(l, e, &v)) return v;
  return unknown_name(l, e);
}

static Val tuple_expr(Lang *l, const Term *e) {
  Val v = {.kind = VAL_TUPLE, .n = e->items.len, .at = NEW_N(l->a, Val, e->items.len)};
  for (int k = 0; k < v.n; k++) {
    v.at[k] = lang_expr(l, e->items.at[k]);
    if (v.at[k].kind == VAL_ERROR) return val_error();
  }
  return v;
}

Val lang_expr(Lang *l, const Term *e) {
  switch (e->kind) {
    case TERM_NUMBER: return e->integral ? val_int(DIM((int64_t)e->number)) : val_float(e->number);
    case TERM_STRING: return val_str(e->text);
    case TERM_BOOL: return val_bool(e->truth);
    case TERM_NAME: return name_expr(l, e);
    case TERM_CALL: return lang_call(l, e, NULL);
    case TERM_UNARY: return unary(l, e);
    case TERM_BINARY: {
      Val a = lang_expr(l, e->a), b = lang_expr(l, e->b);
      return lang_binary(l, e->text, a, b, e->at);
    }
    case TERM_TUPLE: return tuple_expr(l, e);
    case TERM_INDEX: return index_expr(l, e);
    case TERM_SLICE: break;
  }
  BUG("an expression of kind %d", (int)e->kind);
}

/* ---- statements ---- */

static bool is_nameless(const Value *v) { return v->def && v->name[0] == 'v' && isdigit((unsigned char)v->name[1]); }

static void assign(Lang *l, const Statement *s) {
  Frame *f = l->frame;
  bool one = s->names.len == 1;
  bool call = s->value->kind == TERM_CALL;
  Val v = call ? lang_call(l, s->value, one ? s->names.at[0].text : NULL) : lang_expr(l, s->value);
  if (!one && v.kind != VAL_ERROR && (v.kind != VAL_TUPLE || v.n != s->names.len)) {
    lang_error(l, "type", s->at, "%d names take the parts of %s", s->names.len, val_text(l->m, &v));
    v = val_error();
  }
  for (int k = 0; k < s->names.len; k++) {
    Val part = one || v.kind == VAL_ERROR ? v : v.at[k];
    if (part.kind == VAL_TENSOR && is_nameless(value_of(l->m, part.v)))
      graph_rename_value(l->m, part.v, s->names.at[k].text);    // emitted C says it, too
    lang_bind(l, &f->vars, s->names.at[k].text, part, s->names.at[k].at);
  }
}

static void repeat(Lang *l, const Statement *s) {
  Val n = lang_expr(l, s->value);
  if (n.kind == VAL_ERROR) return;
  if (n.kind != VAL_INT || !dim_is_const(n.i) || n.i.k < 0 || n.i.k > 10000) {
    lang_error(l, "type", s->value->at, "repeat takes a number known when compiling, from 0 to 10000, not %s",
        val_text(l->m, &n));
    return;
  }
  for (int64_t k = 0; k < n.i.k && !l->frame->returned; k++) {
    if (s->names.len) lang_bind(l, &l->frame->vars, s->names.at[0].text, val_int(DIM(k)), s->names.at[0].at);
    int before = l->failures;
    lang_statements(l, &s->body);
    if (l->failures > before) return;                          // the same again would be no news
  }
}

static void give_back(Lang *l, const Statement *s) {
  Val v = {.kind = VAL_TUPLE, .n = s->results.len, .at = NEW_N(l->a, Val, s->results.len)};
  for (int k = 0; k < v.n; k++) v.at[k] = lang_expr(l, s->results.at[k]);
  l->frame->result = v;
  l->frame->returned = true;
  l->frame->returned_at = s;
}

void lang_statements(Lang *l, const Statements *all) {
  for (int k = 0; k < all->len; k++) {
    const Statement *s = all->at[k];
    if (l->frame->returned) {
      lang_error(l, "name", s->at, "nothing is reached after return");
      return;
    }
    switch (s->kind) {
      case STATEMENT_ASSIGN: assign(l, s); break;
      case STATEMENT_REPEAT: repeat(l, s); break;
      case STATEMENT_RETURN: give_back(l, s); break;
      case STATEMENT_REPORT: case STATEMENT_MINIMIZE: case STATEMENT_FREEZE: lang_step_statement(l, s); break;
    }
  }
}
