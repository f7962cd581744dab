/* Parameters: what the text's layers own, how they are initialised, and the function `init`.
 *
 * Weights whose text says nothing are initialised by what follows them: Kaiming (normal, fan in; He et al. 2015)
 * where that is relu or a relative, Xavier (uniform; Glorot and Bengio 2010) everywhere else. What follows is known
 * after the functions have been built, so `init` comes last. */
#include "frontend/lathe_build.h"
#include "frontend/optimize.h"
#include "frontend/train_layers.h"
#include "base/intern.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- how a tensor starts ---- */

typedef enum { FILL, NORMAL, UNIFORM } StartKind;
typedef struct Start { StartKind kind; double a; } Start;        /* all a; of deviation a; within [-a, a] */

static bool argument(const char *text, const char *name, double *v) {
  size_t n = strlen(name);
  if (strncmp(text, name, n) || text[n] != '(') return false;
  char *end;
  *v = strtod(text + n + 1, &end);
  return end > text + n + 1 && !strcmp(end, ")");
}

static bool start_of(const char *text, double fan_in, double fan_out, Start *s) {
  static const struct { const char *name; StartKind kind; double gain; bool both; } rows[] = {
    {"kaiming", NORMAL, 2, false}, {"kaiming_uniform", UNIFORM, 6, false}, {"xavier", UNIFORM, 6, true},
    {"auto", UNIFORM, 6, true},    {"xavier_normal", NORMAL, 2, true},     {"lecun", NORMAL, 1, false}};
  double v;
  if (!strcmp(text, "zeros") || !strcmp(text, "ones")) { *s = (Start){FILL, text[0] == 'o'}; return true; }
  if (argument(text, "constant", &v)) { *s = (Start){FILL, v}; return true; }
  if (argument(text, "normal", &v)) { *s = (Start){NORMAL, v}; return true; }
  if (argument(text, "uniform", &v)) { *s = (Start){UNIFORM, v}; return true; }
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
    if (strcmp(rows[k].name, text)) continue;
    double fan = rows[k].both ? fan_in + fan_out : fan_in;
    *s = (Start){rows[k].kind, sqrt(rows[k].gain / (fan > 0 ? fan : 1))};
    return true;
  }
  return false;
}

const char *layer_init(Call *c, int k) {
  const char *text = c->arg[k].kind == VAL_STR ? call_str(c, k) : "auto";
  Start s;
  if (start_of(text, 1, 1, &s)) return text;
  call_fail(c, k, "name",
      "init=\"%s\" is none of kaiming, kaiming_uniform, xavier, xavier_normal, lecun, normal(0.02), "
            "uniform(0.1), constant(0.5), zeros, ones", text);
  return NULL;
}

/* ---- declaring ---- */

static const char *layer_path(Call *c) {
  if (!c->layer) c->layer = lang_fresh_name(c->l, c->f->name, c->given_name ? c->given_name : c->own_name);
  return c->layer;
}

Parameter *lang_parameter(Lang *l, const char *name) {
  for (int k = 0; k < l->params.len; k++) if (l->params.at[k].name == name) return &l->params.at[k];
  return NULL;
}

static bool type_fits(Call *c, const char *name, const Type *t) {
  if (t->rank > STATE_RANK) {
    call_fail(c, -1, "shape", "parameters have at most %d axes, not %d", STATE_RANK, t->rank);
    return false;
  }
  int64_t room = INT64_C(1) << 40;
  for (int i = 0; i < t->rank; i++) {
    bool known = dim_is_const(t->dims[i]) && t->dims[i].k > 0;
    if (known && t->dims[i].k <= room) { room /= t->dims[i].k; continue; }
    call_fail(c, -1, "shape", "its %s would be %s; %s", name, type_text(t), known ? "parameters end at 2^40 elements"
        : "the sizes of parameters are known when compiling");
    return false;
  }
  return true;
}

Parameter *lang_declare(Lang *l, const char *name, Type t, StateRole role, Span at) {
  Parameter *p = lang_parameter(l, name);
  if (p) return p;
  if (l->closed && !l->d->errors) BUG("%s is declared after init was made", name);
  p = vec_push(l->a, &l->params);
  *p = (Parameter){.name = name, .type = t, .role = role, .at = at, .net = intern_n(name, strcspn(name, "."))};
  return p;
}

static ValueId declare(Call *c, const char *leaf, Type t, StateRole role, const char *init, double in, double out) {
  Lang *l = c->l;
  const char *path = layer_path(c), *name = *leaf ? intern_printf("%s.%s", path, leaf) : path;
  if (!l->frame->net) { call_fail(c, -1, "name", "has parameters, so it stands in a net, not in a step"); return 0; }
  if (!type_fits(c, leaf, &t)) return 0;
  if (strlen(name) >= STATE_NAME - 16) { call_fail(c, -1, "name", "the name '%s' is too long", name); return 0; }
  Parameter *p = lang_declare(l, name, t, role, c->e->at);
  if (!p->init) { p->init = init; p->fan_in = in; p->fan_out = out; }
  if (!type_eq(&p->type, &t)) {
    call_fail(c, -1, "shape", "'%s' is %s here, but %s in line %d", name, type_text(&t), type_text(&p->type),
              lathe_line(&l->text, p->at.start));
    lang_hint(l, "a net is one set of parameters; `new %s(…)` makes another", l->frame->net->name.text);
    return 0;
  }
  return graph_state(l->m, name, t);
}

ValueId layer_parameter(Call *c, const char *leaf, Type t, const char *init, double fan_in, double fan_out) {
  return init ? declare(c, leaf, t, ROLE_PARAMETER, init, fan_in, fan_out) : 0;
}

const char *layer_statistic(Call *c, const char *leaf, Type t, const char *init) {
  ValueId v = declare(c, leaf, t, ROLE_STATISTIC, init, 1, 1);
  return v ? intern_printf("%s.%s", layer_path(c), leaf) : NULL;
}

/* ---- what follows ---- */

void follow_begin(Call *c, ValueId v, const char *leaf) {
  Parameter *p = lang_parameter(c->l, intern_printf("%s.%s", layer_path(c), leaf));
  if (!v || !p || strcmp(p->init, "auto")) return;
  vec_push(c->l->a, &c->l->followed);
  c->l->followed.at[c->l->followed.len - 1].v = v;
  c->l->followed.at[c->l->followed.len - 1].param = (int)(p - c->l->params.at);
}

void follow_decide(Lang *l, ValueId v, const char *init) {
  for (int k = 0; k < l->followed.len; k++) {
    Parameter *p = &l->params.at[l->followed.at[k].param];
    if (l->followed.at[k].v == v && !strcmp(p->init, "auto")) p->init = init;
  }
}

void follow_pass(Lang *l, ValueId from, ValueId to) {
  for (int k = 0, n = l->followed.len; k < n; k++) {
    if (l->followed.at[k].v != from || !to) continue;
    int param = l->followed.at[k].param;
    vec_push(l->a, &l->followed);
    l->followed.at[l->followed.len - 1].v = to;
    l->followed.at[l->followed.len - 1].param = param;
  }
}

/* ---- random numbers ---- */

ValueId lang_random_state(Lang *l) {
  Dim two = DIM(2);
  return graph_state(l->m, "random", type_of(DT_I64, 1, &two));
}

ValueId lang_random(Lang *l, const char *kind, const Dim *shape, int rank, double scale, double shift) {
  ValueId in = lang_random_state(l);
  Attr a[] = {attr_dims(l->m, "shape", shape, rank), attr_str("kind", kind), attr_int("seed", 0),
      attr_int("stream", l->stream++),
              attr_float("scale", scale), attr_float("shift", shift)};
  return build_op(l->g, OP_RANDOM, &in, 1, a, 6);
}

ValueId lang_dropout(Lang *l, ValueId x, double p) {
  return l->training && p > 0 ? dropout_train(l->m, x, p, l->stream++) : x;
}

/* ---- init ---- */

/* seed: what random nodes take, step 0 and the caller's seed. */
static ValueId start_value(Lang *l, const Parameter *p, ValueId seed, int stream) {
  Start s = {FILL, 0};
  if (p->value) return graph_add_constant(l->m, NULL, p->value);
  start_of(p->init, p->fan_in, p->fan_out, &s);
  if (s.kind == FILL) return build_fill(l->g, p->type.dtype, s.a, p->type.dims, p->type.rank);
  Attr a[] = {attr_dims(l->m, "shape", p->type.dims, p->type.rank),
      attr_str("kind", s.kind == NORMAL ? "normal" : "uniform"),
              attr_int("seed", 0), attr_int("stream", stream), attr_float("scale", s.kind == NORMAL ? s.a : 2 * s.a),
              attr_float("shift", s.kind == NORMAL ? 0 : -s.a)};
  return build_cast(l->g, build_op(l->g, OP_RANDOM, &seed, 1, a, 6), p->type.dtype);
}

static bool net_before(Lang *l, const char *a, const char *b) {
  if (a == b) return false;
  for (int k = 0; k < l->file->nets.len; k++) {
    if (l->file->nets.at[k]->name.text == b) return false;
    if (l->file->nets.at[k]->name.text == a) return true;
  }
  return false;
}

/* Nets in the order of the text; within a net as its layers were met. */
static int *declaration_order(Lang *l) {
  int *order = NEW_N(l->a, int, l->params.len + 1);
  for (int k = 0; k < l->params.len; k++) {
    int at = k;
    while (at > 0 && net_before(l, l->params.at[k].net,
        l->params.at[order[at - 1]].net)) { order[at] = order[at - 1]; at--; }
    order[at] = k;
  }
  return order;
}

void lang_build_init(Lang *l) {
  Module *m = l->m;
  Dim one = DIM(1);
  ValueId seed = graph_add_input(m->main, "seed", type_of(DT_I64, 1, &one));
  ValueId both = build_concat(m->main, 0, (ValueId[]){graph_ints(m, (int64_t[]){0}, 1), seed}, 2);
  int *order = declaration_order(l);
  for (int role = ROLE_PARAMETER; role <= ROLE_STATISTIC; role++)
    for (int k = 0; k < l->params.len; k++) {
      const Parameter *p = &l->params.at[order[k]];
      if ((int)p->role != role) continue;
      lang_source(l, p->at, p->value ? "initializer" : p->init);
      bundle_add_state(l->b, m, p->name, p->type, p->role, NULL, start_value(l, p, both, order[k]));
      lang_check(l, p->at);
    }
  graph_set_source(m, (Source){0});
  optimize_settings(l->b, m, seed);
  l->closed = true;
}
