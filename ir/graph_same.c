/* Are two modules the same? Live nodes in order, values by their names, constants to the bit, and what passes have
 * written at them (group, storage). For proving that text reads back as what was printed: the text itself would not
 * show a lost digit. Ids may differ: dead nodes are not printed. */
#include "ir/ops.h"

typedef struct Same {
  Module *x, *y;
  const char *what, *where;                                    /* what differs first, and the value or node it is at */
} Same;

static bool no(Same *s, const char *what, const char *where) {
  if (!s->what) s->what = what, s->where = where ? where : "";
  return false;
}

/* Absent, or one name in both. */
static bool same_ref(Same *s, ValueId x, ValueId y) {
  if (!x || !y) return x == y || no(s, "a value that is missing", NULL);
  const char *a = value_of(s->x, x)->name, *b = value_of(s->y, y)->name;
  return a == b || no(s, "the value used", a);
}

static bool same_storage(Same *s, const Value *a, const Value *b) {
  if (!same_ref(s, a->at.base, b->at.base)) return false;
  if (!a->at.base) return true;
  bool same = dim_eq(a->at.offset, b->at.offset) && dim_eq(a->at.size, b->at.size);
  for (int i = 0; same && i < a->type.rank; i++) same = dim_eq(a->at.stride[i], b->at.stride[i]);
  return same || no(s, "the storage", a->name);
}

static bool same_content(Same *s, const Value *a, const Value *b) {
  if (!a->content || !b->content) return true;                 // inference may know less of an input
  int n = a->type.rank ? (int)a->type.dims[0].k : 1;
  for (int i = 0; i < n; i++)
    if (!dim_eq(a->content[i], b->content[i])) return no(s, "the elements known as dims", a->name);
  return true;
}

static bool same_value(Same *s, ValueId x, ValueId y) {
  if (!same_ref(s, x, y) || !x) return x == y || !s->what;
  const Value *a = value_of(s->x, x), *b = value_of(s->y, y);
  if (!type_eq(&a->type, &b->type)) return no(s, "the type", a->name);
  if (!a->constant != !b->constant || (a->constant && !tensor_same(a->constant, b->constant)))
    return no(s, "the constant", a->name);
  return same_storage(s, a, b) && same_content(s, a, b);
}

static bool same_text(const char *a, const char *b) { return !strcmp(a ? a : "", b ? b : ""); }

static bool same_graph(Same *s, const Graph *x, const Graph *y);

static bool same_node(Same *s, const Node *a, const Node *b) {
  const char *where = a->nout && a->out[0] ? value_of(s->x, a->out[0])->name : a->source.node;
  if (a->op != b->op || a->nin != b->nin || a->nout != b->nout || a->nattr != b->nattr || a->nregion != b->nregion)
    return no(s, "the node", where);
  if (a->group != b->group) return no(s, "the group", where);
  if (!same_text(a->source.node, b->source.node) || !same_text(a->source.op, b->source.op) ||
      a->source.line != b->source.line)
    return no(s, "the source", where);
  for (int k = 0; k < a->nattr; k++)
    if (!attr_eq(&a->attr[k], &b->attr[k])) return no(s, a->attr[k].name, where);
  for (int k = 0; k < a->nin; k++)
    if (!same_value(s, a->in[k], b->in[k])) return false;
  for (int k = 0; k < a->nout; k++)
    if (!same_value(s, a->out[k], b->out[k])) return false;
  for (int r = 0; r < a->nregion; r++)
    if (!same_graph(s, a->region[r], b->region[r])) return false;
  return true;
}

static bool same_list(Same *s, const ValueList *x, const ValueList *y) {
  if (x->len != y->len) return no(s, "the number of inputs or outputs", NULL);
  for (int i = 0; i < x->len; i++)
    if (!same_value(s, x->at[i], y->at[i])) return false;
  return true;
}

static bool same_graph(Same *s, const Graph *x, const Graph *y) {
  if (!same_list(s, &x->inputs, &y->inputs)) return false;
  int i = 0, j = 0;
  for (;; i++, j++) {
    while (i < x->nodes.len && node_of(s->x, x->nodes.at[i])->dead) i++;
    while (j < y->nodes.len && node_of(s->y, y->nodes.at[j])->dead) j++;
    if (i >= x->nodes.len || j >= y->nodes.len) break;
    if (!same_node(s, node_of(s->x, x->nodes.at[i]), node_of(s->y, y->nodes.at[j]))) return false;
  }
  if (i < x->nodes.len || j < y->nodes.len) return no(s, "the number of nodes", x->name);
  return same_list(s, &x->outputs, &y->outputs);
}

static bool same_state(Same *s) {
  if (s->x->state.len != s->y->state.len) return no(s, "the number of states", NULL);
  for (int i = 0; i < s->x->state.len; i++) {
    const StateSlot *a = &s->x->state.at[i], *b = &s->y->state.at[i];
    if (a->name != b->name) return no(s, "the state", a->name);
    if (!same_ref(s, a->value, b->value) || !same_ref(s, a->next, b->next)) return false;
  }
  return true;
}

bool module_same(Module *x, Module *y, Text *why) {
  Same s = {x, y, NULL, ""};
  bool same = (same_text(x->name, y->name) && same_text(x->path, y->path)) || no(&s, "the name or the path", x->name);
  same = same && same_graph(&s, x->main, y->main) && same_state(&s);
  if (!same) text_printf(why, "%s%s%s", s.what, *s.where ? " at " : "", s.where);
  return same;
}
