/* Losses and measures of the network language: rows of losses.def as functions. What they compute is loss.h's; here
 * the target is brought into the form that they take, and what does not fit is an error with its line. */
#include "frontend/lathe_build.h"
#include "frontend/loss.h"
#include <string.h>

/* ---- parameters ---- */

/* The value of a parameter by its name in the row; NULL where the row has none or nothing was given. */
static const Val *value_named(const Call *c, const char *name) {
  size_t n = strlen(name);
  int k = 0;
  for (const char *s = c->f->params; *s; k++) {
    if (!strncmp(s, name, n) && s[n] == ':') return call_has(c, k) ? &c->arg[k] : NULL;
    s += strcspn(s, " ");
    s += strspn(s, " ");
  }
  return NULL;
}

static bool read_reduction(Call *c, int k, const char *text, LossReduction *out) {
  for (int r = LOSS_MEAN; r <= LOSS_EACH; r++)
    if (!strcmp(loss_reduction_text[r], text)) { *out = (LossReduction)r; return true; }
  call_fail(c, k, "name", "reduction is \"mean\", \"sum\" or \"none\"");
  return false;
}

static bool read_spec(Call *c, LossSpec *o) {
  const Val *v;
  if ((v = value_named(c, "label_smoothing"))) o->label_smoothing = v->f;
  if ((v = value_named(c, "ignore_index"))) o->ignore_index = v->i.k;
  if ((v = value_named(c, "weight"))) o->weight = v->v;
  if ((v = value_named(c, "pos_weight"))) o->pos_weight = v->v;
  if ((v = value_named(c, "axis"))) o->axis = (int)int64_max(-MAX_RANK - 1, int64_min(v->i.k, MAX_RANK));
  if ((v = value_named(c, "delta"))) o->delta = v->f;
  if ((v = value_named(c, "margin"))) o->margin = v->f;
  if ((v = value_named(c, "input_lengths"))) o->input_lengths = v->v;
  if ((v = value_named(c, "target_lengths"))) o->target_lengths = v->v;
  if ((v = value_named(c, "blank"))) o->blank = v->i.k;
  v = value_named(c, "reduction");
  return !v || read_reduction(c, -1, v->s, &o->reduction);
}

/* ---- the target ---- */

/* A target for each element of x: of x's type, and of its shape but for axes of size 1. Broadcasting [N] against [N,1]
 * would make a table of N * N differences, which nobody wants. */
static ValueId matching_target(Call *c, ValueId x) {
  Graph *g = c->l->g;
  const Type t = *build_type(g, x);
  ValueId y = build_cast(g, lang_as_tensor(c->l, c->arg[1], t.dtype), t.dtype);
  const Type have = *build_type(g, y);
  if (have.rank == 0 || type_same_shape(&have, &t)) return y;
  if (type_same_but_ones(&have, t.dims, t.rank)) return build_reshape_like(g, y, &t);
  call_fail(c, 1, "shape", "the target is %s, the network gives %s", type_text(&have), type_text(&t));
  return 0;
}

/* Labels, or a distribution over the classes. */
static ValueId label_target(Call *c, ValueId x) {
  Graph *g = c->l->g;
  ValueId y = lang_as_tensor(c->l, c->arg[1], DT_I64);
  const Type t = *build_type(g, x), have = *build_type(g, y);
  if (dtype_is_float(have.dtype) && have.rank < t.rank) {
    call_fail(c, 1, "type", "labels are integers, not %s", type_text(&have));
    lang_hint(c->l, "cast(label, \"i64\"), or mse for a target that is measured, not counted");
    return 0;
  }
  if (dtype_is_int(have.dtype) && have.rank == t.rank && dim_is(have.dims[have.rank - 1], 1))
    y = build_squeeze(g, y, -1);
  if (dtype_is_int(have.dtype))
    lang_label_classes(c->l, c->arg[1].v, build_dim(g, x, t.rank > 2 && have.rank == t.rank - 1 ? 1 : -1));
  return dtype_bytes(have.dtype) < 4 ? build_cast(g, y, DT_I64) : y;
}

/* Rows of labels; what the network gives becomes [T, N, C], as the op wants it. */
static ValueId sequence_target(Call *c, ValueId *x) {
  if (!call_rank(c, 0, 3, 3, "log probabilities [N, T, C]")) return 0;
  const Type *t = call_type(c, 0), *u = call_type(c, 1);
  if (!dtype_is_int(u->dtype) || u->rank != 2 || !dim_eq(u->dims[0], t->dims[0])) {
    call_fail(c, 1, "shape", "the target is %s; %s takes integers [%s, S]", type_text(u), type_text(t),
        dim_text(t->dims[0]));
    return 0;
  }
  lang_label_classes(c->l, call_tensor(c, 1), build_dim(c->l->g, *x, 2));
  *x = build_swap(c->l->g, *x, 0, 1);
  return call_tensor(c, 1);
}

Val function_loss(Call *c) {
  const LossInfo *info = loss_find(c->f->name);
  LossSpec o = loss_default();
  ValueId x = call_tensor(c, 0), target = 0;
  switch (info->target) {
    case TARGET_LABELS: target = label_target(c, x); break;
    case TARGET_VALUES: target = matching_target(c, x); break;
    case TARGET_SEQUENCES: target = sequence_target(c, &x); break;
  }
  if (!target || !read_spec(c, &o)) return val_error();
  return val_tensor(info->build(c->l->g, x, target, &o));
}
