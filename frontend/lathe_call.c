/* Calls: the function's row, its arguments by position and by name, defaults, kinds. Builders (lathe_layers.c,
 * lathe_ops.c) find checked values in the order of the row's parameters.
 *
 * The table is functions.def, then the rows of losses.def, scalar.def and ops.def; of rows with the same name the first
 * counts. */
#include "frontend/lathe_build.h"
#include "base/intern.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const FunctionInfo function_info[] = {
#define FUNCTION(name, family, builder, params, doc) {#name, #family, params, builder, doc},
#include "frontend/functions.def"
#undef FUNCTION
#define LOSS(name, target, params, what) {#name, "loss", params, function_loss, what},
#include "frontend/losses.def"
#undef LOSS
#define SCALAR(E, text, arity, ...) {text, "elementwise", "a:value b:value c:value", function_scalar, ""},
#include "ir/scalar.def"
#undef SCALAR
#define OP(E, name, MIN, MAX, NOUT, HOW, ATTRS, ...) {#name, "op", ATTRS, function_op, ""},
#include "ir/ops.def"
#undef OP
};
const int function_count = sizeof function_info / sizeof *function_info;

const FunctionInfo *lang_function(const char *name) {
  for (int k = 0; k < function_count; k++) if (!strcmp(function_info[k].name, name)) return &function_info[k];
  return NULL;
}

bool lang_is_reader(Lang *l, const char *name) { return !lang_function(name) && !net_find(l, name); }

/* ---- the row's parameters: "x:tensor units:int bias:bool=true"; `=` without a value: may be left out ---- */

typedef struct ParamSpec { char name[32], kind[12], dflt[40]; bool optional; } ParamSpec;

static int read_params(const FunctionInfo *f, ParamSpec *out) {
  int n = 0, limit = CALL_MAX;
  if (!strcmp(f->family, "op")) out[n++] = (ParamSpec){.name = "inputs", .kind = "tensors"};
  if (!strcmp(f->family, "elementwise")) limit = scalar_info[op_scalar(op_from_text(f->name))].arity;
  for (const char *s = f->params; *s && n < limit;) {
    ParamSpec *p = &out[n++];
    *p = (ParamSpec){0};
    sscanf(s, "%31[^: ]:%11[^= ]", p->name, p->kind);
    s += strcspn(s, "= ");
    p->optional = *s == '=';
    if (p->optional) sscanf(s, "=%39[^ ]", p->dflt);
    s += strcspn(s, " ");
    s += strspn(s, " ");
  }
  return n;
}

static Val default_of(const ParamSpec *p) {
  if (!*p->dflt) return val_none();
  if (!strcmp(p->kind, "str")) return val_str(intern(p->dflt));
  if (!strcmp(p->kind, "bool")) return val_bool(p->dflt[0] == 't');
  if (!strcmp(p->kind, "float")) return val_float(strtod(p->dflt, NULL));
  return val_int(DIM(strtoll(p->dflt, NULL, 10)));
}

/* ---- messages ---- */

Val call_fail(Call *c, int k, const char *kind, const char *fmt, ...) {
  char text[800];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  lang_error(c->l, kind, k < 0 || !c->where[k].end ? c->e->at : c->where[k], "%s: %s", c->f->name, text);
  return val_error();
}

static void unknown_function(Lang *l, const Term *e) {
  VEC(const char *) names = {0};
  for (int k = 0; k < l->file->nets.len; k++) *vec_push(l->a, &names) = l->file->nets.at[k]->name.text;
  for (int k = 0; k < function_count; k++) *vec_push(l->a, &names) = function_info[k].name;
  lang_error(l, "name", e->at, "there is no function or net '%s'", e->text);
  const char *near = name_nearest(e->text, names.at, names.len);
  if (near) lang_hint(l, "did you mean '%s'?", near);
  else lang_hint(l, "`lathe functions` lists them");
}

/* ---- kinds ---- */

static bool is_kind(const ParamSpec *p, const char *kind) { return !strcmp(p->kind, kind); }

static bool is_rest(const ParamSpec *p) { return is_kind(p, "tensors") || is_kind(p, "sizes"); }

static const char *kind_text(const ParamSpec *p) {
  static const char *const text[][2] = {
    {"tensor", "a tensor"}, {"value", "a tensor or a number"}, {"tensors", "a tensor"},
    {"int", "a whole number"}, {"ints", "a whole number or a list of them"},
    {"dim", "a size"}, {"dims", "a list of sizes"}, {"sizes", "a size"},
    {"float", "a number"}, {"floats", "a list of numbers"},
    {"bool", "true or false"}, {"str", "a text"}, {"dtype", "an element type such as \"f32\""},
    {"pad", "a whole number, a list of them, or \"same\""}};
  for (size_t k = 0; k < sizeof text / sizeof *text; k++) if (is_kind(p, text[k][0])) return text[k][1];
  return "a value that the language has not";
}

/* The value as this kind of parameter takes it; VAL_ERROR: it does not. */
static Val as_kind(Lang *l, const ParamSpec *p, Val v) {
  bool number = val_is_number(&v), list = v.kind == VAL_TUPLE;
  if (is_kind(p, "tensor") || is_kind(p, "tensors"))
    return number || v.kind == VAL_TENSOR ? val_tensor(lang_as_tensor(l, v, DT_NONE)) : val_error();
  if (is_kind(p, "value")) return number || v.kind == VAL_TENSOR || v.kind == VAL_BOOL ? v : val_error();
  if (is_kind(p, "int")) {
    if (v.kind == VAL_BOOL) return val_int(DIM(v.b));
    return v.kind == VAL_INT && dim_is_const(v.i) ? v : val_error();
  }
  if (is_kind(p, "dim") || is_kind(p, "sizes")) return v.kind == VAL_INT ? v : val_error();
  if (is_kind(p, "float"))
    return v.kind == VAL_FLOAT ? v : v.kind == VAL_INT && dim_is_const(v.i) ? val_float((double)v.i.k) : val_error();
  if (is_kind(p, "bool")) return v.kind == VAL_BOOL ? v : val_error();
  if (is_kind(p, "str")) return v.kind == VAL_STR ? v : val_error();
  if (is_kind(p, "dtype")) return v.kind == VAL_STR && dtype_from_text(v.s) ? v : val_error();
  if (is_kind(p, "pad") && v.kind == VAL_STR) return v;
  if (is_kind(p, "pad") || is_kind(p, "ints") || is_kind(p, "dims") || is_kind(p, "floats")) {
    if (!list && !number) return val_error();
    for (int k = 0; list && k < v.n; k++)
      if (v.at[k].kind != VAL_INT && !(is_kind(p, "floats") && v.at[k].kind == VAL_FLOAT)) return val_error();
    return v;
  }
  return val_error();
}

static bool put_argument(Call *c, const ParamSpec *p, int k, const Arg *a) {
  Lang *l = c->l;
  c->where[k] = a->at;
  Val v = lang_expr(l, a->value);
  if (v.kind == VAL_ERROR) return false;
  lang_source(l, c->e->at, c->f->name);
  Val as = as_kind(l, p, v);
  if (as.kind == VAL_ERROR) {
    call_fail(c, k, "type", "'%s' is %s, not %s", p->name, kind_text(p), val_text(l->m, &v));
    return false;
  }
  if (!is_rest(p)) { c->arg[k] = as; return true; }
  Val *all = &c->arg[k];                                          // a list, as long as there are arguments by position
  Val *at = NEW_N(l->a, Val, all->n + 1);
  if (all->n) memcpy(at, all->at, (size_t)all->n * sizeof *at);
  at[all->n] = as;
  *all = (Val){.kind = VAL_TUPLE, .at = at, .n = all->n + 1};
  return true;
}

/* ---- the call ---- */

static void wrong_name(Call *c, const ParamSpec *p, int n, const Arg *a) {
  const char *names[CALL_MAX];
  Text all = {0};
  for (int k = 0; k < n; k++) {
    names[k] = p[k].name;
    text_printf(&all, "%s%s", k ? ", " : "", p[k].name);
  }
  lang_error(c->l, "name", a->at, "%s has no argument '%s'", c->f->name, a->name);
  const char *near = name_nearest(a->name, names, n);
  if (near) lang_hint(c->l, "did you mean '%s'?", near);
  else lang_hint(c->l, "it takes %s", all.at ? all.at : "nothing");
  text_free(&all);
}

static bool put_arguments(Call *c, const ParamSpec *p, int n) {
  bool given[CALL_MAX] = {false}, ok = true;
  int position = 0;
  for (int i = 0; i < c->e->args.len; i++) {
    const Arg *a = &c->e->args.at[i];
    int k = 0;
    if (a->name) {
      if (!strcmp(a->name, "name") && !strcmp(c->f->family, "layer")) {
        Val v = lang_expr(c->l, a->value);
        if (v.kind == VAL_STR) c->given_name = v.s;
        else { lang_error(c->l, "type", a->at, "name is a text"); ok = false; }
        continue;
      }
      while (k < n && strcmp(a->name, p[k].name)) k++;
      if (k == n) { wrong_name(c, p, n, a); ok = false; continue; }
    } else {
      while (position < n && given[position] && !is_rest(&p[position])) position++;
      k = position;
      if (k == n) {
        lang_error(c->l, "name", a->at, "%s takes %d argument%s", c->f->name, n, n == 1 ? "" : "s");
        return false;
      }
    }
    if (given[k] && !is_rest(&p[k])) {
      lang_error(c->l, "name", a->at, "argument '%s' of %s is given twice", p[k].name, c->f->name);
      return false;
    }
    given[k] = true;
    ok &= put_argument(c, &p[k], k, a);
  }
  for (int k = 0; k < n && ok; k++) {
    if (given[k] || p[k].optional || is_rest(&p[k])) continue;
    lang_error(c->l, "name", c->e->at, "argument '%s' of %s is missing", p[k].name, c->f->name);
    lang_hint(c->l, "'%s' is %s", p[k].name, kind_text(&p[k]));
    return false;
  }
  return ok;
}

Val lang_call(Lang *l, const Term *e, const char *assigned) {
  const NetDecl *net = net_find(l, e->text);
  if (net) return lang_call_net(l, net, e);
  const FunctionInfo *f = lang_function(e->text);
  if (!strcmp(e->text, "vocab") || !strcmp(e->text, "classes")) return lang_vocab(l, e);
  if (!f && l->column && !e->fresh && l->m) return lang_reader(l, e);
  if (e->fresh) {
    lang_error(l, "name", e->at, "'new' makes parameters for a net; '%s' is %s", e->text,
               f ? "a function" : "not known");
    return val_error();
  }
  if (!f) { unknown_function(l, e); return val_error(); }
  if (!l->m) { lang_error(l, "name", e->at, "a constant is made of numbers"); return val_error(); }
  ParamSpec params[CALL_MAX];
  int n = read_params(f, params);
  Call *c = NEW(l->a, Call);
  *c = (Call){.l = l, .e = e, .f = f, .assigned = assigned};
  for (int k = 0; k < n; k++) c->arg[k] = default_of(&params[k]);
  if (!put_arguments(c, params, n)) return val_error();
  lang_source(l, e->at, f->name);
  Val v = f->build(c);
  return lang_check(l, e->at) ? v : val_error();
}

/* ---- what builders ask ---- */

int call_axis(Call *c, int k, int rank) {
  int64_t a = call_int(c, k);
  if (a >= -rank && a < rank) return (int)(a < 0 ? a + rank : a);
  call_fail(c, k, "shape", "axis %lld of a tensor of rank %d", (long long)a, rank);
  return -1;
}

bool call_ints(Call *c, int k, int n, int64_t lo, int64_t *out) {
  const Val *v = &c->arg[k];
  bool list = v->kind == VAL_TUPLE;
  if (list && v->n != n) { call_fail(c, k, "shape", "%d numbers where %d are needed", v->n, n); return false; }
  for (int i = 0; i < n; i++) {
    Dim d = list ? v->at[i].i : v->i;
    out[i] = d.k;
    if (dim_is_const(d) && d.k >= lo && d.k < INT32_MAX) continue;
    call_fail(c, k, "shape", "%s where a number from %lld on is needed", dim_text(d), (long long)lo);
    return false;
  }
  return true;
}

bool call_shape(Call *c, int k, Dim *out, int *n) {
  const Val *v = &c->arg[k];
  *n = v->kind == VAL_TUPLE ? v->n : 1;
  if (*n > MAX_RANK) { call_fail(c, k, "shape", "%d sizes; tensors have at most %d", *n, MAX_RANK); return false; }
  for (int i = 0; i < *n; i++) out[i] = v->kind == VAL_TUPLE ? v->at[i].i : v->i;
  return true;
}

bool call_rank(Call *c, int k, int lo, int hi, const char *form) {
  const Type *t = call_type(c, k);
  if (t->rank >= lo && t->rank <= hi) return true;
  call_fail(c, k, "shape", "%s, but it takes %s", type_text(t), form);
  return false;
}
