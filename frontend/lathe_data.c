/* The data block: columns, what their readers store, and settings.
 *
 * A call in the data block that names no function is a reader, such as idx("images.gz"): it becomes an input of the
 * functions that use the column, one row per example as the file stores it. What stands around it (`/ 255`, a slice)
 * is ordinary arithmetic in those functions. What a row looks like is declared, `image: u8[28, 28] = idx("…") / 255`,
 * or found by LanguageOptions.peek. */
#include "frontend/lathe_build.h"
#include "base/intern.h"
#include <math.h>
#include <string.h>

static const ParamDecl *column_find(Lang *l, const char *name) {
  for (int k = 0; k < l->file->data.columns.len; k++)
    if (!strcmp(l->file->data.columns.at[k].name.text, name)) return &l->file->data.columns.at[k];
  return NULL;
}

/* ---- readers ---- */

/* The call as the trainer passes it to lt_data_open: constants filled in. NULL after an error. */
static const char *reader_text(Lang *l, const Term *e) {
  Text t = {0};
  bool ok = true;
  text_printf(&t, "%s(", e->text);
  for (int k = 0; k < e->args.len; k++) {
    const Arg *a = &e->args.at[k];
    Val v = lang_expr(l, a->value);
    text_printf(&t, "%s%s%s", k ? ", " : "", a->name ? a->name : "", a->name ? "=" : "");
    if (v.kind == VAL_STR) text_quote(&t, v.s);
    else if (v.kind == VAL_BOOL) text_put(&t, v.b ? "true" : "false");
    else if (v.kind == VAL_FLOAT) text_printf(&t, "%.17g", v.f);
    else if (v.kind == VAL_INT && dim_is_const(v.i)) text_printf(&t, "%lld", (long long)v.i.k);
    else {
      if (v.kind != VAL_ERROR)
        lang_error(l, "type", a->at, "a reader takes texts, numbers, true and false, not %s", val_text(l->m, &v));
      ok = false;
    }
  }
  text_put(&t, ")");
  const char *s = ok ? arena_strdup(&l->b->arena, t.at) : NULL;
  text_free(&t);
  return s;
}

/* The declared type of a row. Its sizes are numbers. */
static bool declared_row(Lang *l, const TypeTerm *t, Type *row) {
  Dim dims[MAX_RANK];
  for (int k = 0; k < t->dims.len; k++) if (!lang_dim(l, t->dims.at[k], &dims[k])) return false;
  *row = type_of(t->dtype, t->dims.len, dims);
  bool fits = t->kind == TYPE_TENSOR && type_is_static(row);
  if (fits && row->rank < MAX_RANK) return true;                // an axis for the rows comes before
  if (fits) lang_error(l, "type", t->at, "a row has at most %d dims", MAX_RANK - 1);
  else lang_error(l, "type", t->at, "the type of a column is that of one row, with sizes that are numbers: u8[28, 28]");
  return false;
}

static bool peek_row(Lang *l, const Term *e, const char *call, Type *row, int64_t *classes) {
  if (!l->o->peek) {
    lang_error(l, "type", e->at, "the type of a row is not known without the data");
    lang_hint(l, "say it: NAME: u8[28, 28] = %s", call);
    return false;
  }
  char why[600] = "";
  if (l->o->peek(l->o->peek_ctx, call, row, classes, why, sizeof why)) return true;
  lang_error(l, "io", e->at, "%s", why);
  if (strstr(why, "cannot open"))
    lang_hint(l, "files are looked for beside the text; --data-dir DIR names another folder");
  return false;
}

/* A column of several readers: the first has its name, the others NAME_2 …, unless that is another column's. */
static const char *reader_name(Lang *l, const ParamDecl *d) {
  const char *name = d->name.text;
  int n = 1;
  for (int k = 0; k < l->columns.len; k++) n += l->columns.at[k].decl == d;
  if (n == 1) return name;
  do name = intern_printf("%s_%d", d->name.text, n++); while (column_find(l, name));
  return name;
}

/* The column of this call in the bundle; -1 after an error. */
static int reader_column(Lang *l, const ParamDecl *d, const Term *e) {
  for (int k = 0; k < l->columns.len; k++) if (l->columns.at[k].call == e) return l->columns.at[k].at;
  DataColumn c = {.name = reader_name(l, d), .call = reader_text(l, e)};
  int at = -1;
  bool ok = c.call && (d->type ? declared_row(l, d->type, &c.row) : peek_row(l, e, c.call, &c.row, &c.classes));
  if (ok) {
    at = l->b->column.len;
    *vec_push(&l->b->arena, &l->b->column) = c;
  }
  vec_push(l->a, &l->columns);
  l->columns.at[l->columns.len - 1].call = e;
  l->columns.at[l->columns.len - 1].decl = d;
  l->columns.at[l->columns.len - 1].at = at;
  return at;
}

/* A reader's rows: an input of the function at work, [N, row…]. */
Val lang_reader(Lang *l, const Term *e) {
  int at = reader_column(l, l->column, e);
  if (at < 0) return val_error();
  const DataColumn *c = &l->b->column.at[at];
  Type t = type_of(c->row.dtype, c->row.rank + 1, (Dim[MAX_RANK]){l->n});
  for (int k = 0; k < c->row.rank; k++) t.dims[k + 1] = c->row.dims[k];
  for (int k = 0; k < l->m->main->inputs.len; k++)
    if (value_of(l->m, l->m->main->inputs.at[k])->name == intern(c->name)) return val_tensor(l->m->main->inputs.at[k]);
  lang_free_name(l, c->name);
  return val_tensor(graph_add_input(l->m->main, c->name, t));
}

/* ---- columns ---- */

bool lang_column(Lang *l, const Term *name, Val *out) {
  const ParamDecl *d = column_find(l, name->text);
  if (!d) return false;
  const Binding *known = binding_find(&l->column_values, d->name.text);
  if (known) { *out = known->v; return true; }
  *out = val_error();
  for (const ColumnAtWork *w = l->at_work; w; w = w->outer) {
    if (w->decl != d) continue;
    lang_error(l, "name", name->at, "column '%s' is made from itself", d->name.text);
    return true;
  }
  ColumnAtWork w = {d, l->at_work};
  const ParamDecl *outer = l->column;
  l->at_work = &w;
  l->column = d;
  *out = lang_expr(l, d->value);
  l->column = outer;
  l->at_work = w.outer;
  lang_bind(l, &l->column_values, d->name.text, *out, d->name.at);
  return true;
}

/* The one reader below e; NULL: none. */
static const Term *reader_in(Lang *l, const Term *e) {
  if (!e) return NULL;
  if (e->kind == TERM_CALL && lang_is_reader(l, e->text)) return e;
  if (e->kind == TERM_NAME) {
    const ParamDecl *d = column_find(l, e->text);
    return d && d->value != e ? reader_in(l, d->value) : NULL;
  }
  const Term *found = reader_in(l, e->a);
  if (!found) found = e->kind == TERM_INDEX ? NULL : reader_in(l, e->b);
  for (int k = 0; !found && k < e->args.len; k++) found = reader_in(l, e->args.at[k].value);
  return found;
}

/* vocab(chars): how many different values a column of indices has. */
Val lang_vocab(Lang *l, const Term *e) {
  const Term *arg = e->args.len == 1 ? e->args.at[0].value : NULL;
  const ParamDecl *d = arg && arg->kind == TERM_NAME ? column_find(l, arg->text) : NULL;
  const Term *call = d ? reader_in(l, d->value) : NULL;
  if (!call) {
    lang_error(l, "name", e->at, "%s takes the name of a column of the data block", e->text);
    return val_error();
  }
  int at = reader_column(l, d, call);
  if (at < 0) return val_error();
  if (l->b->column.at[at].classes > 0) return val_int(DIM(l->b->column.at[at].classes));
  lang_error(l, "type", e->at, "how many classes '%s' has is not known", d->name.text);
  lang_hint(l, "a column of words, characters or labels whose type is not declared tells; else `let classes = 10`");
  return val_error();
}

void lang_label_classes(Lang *l, ValueId v, Dim classes) {
  while (v && value_of(l->m, v)->def) {
    const Node *n = node_of(l->m, value_of(l->m, v)->def);
    v = n->op == OP_CAST || n->op == OP_RESHAPE || n->op == OP_SLICE ? n->in[0] : 0;
  }
  for (int k = 0; v && dim_is_const(classes) && k < l->b->column.len; k++) {
    DataColumn *c = &l->b->column.at[k];
    if (!strcmp(c->name, value_of(l->m, v)->name) && c->classes == 0 && dtype_is_int(c->row.dtype))
      c->classes = classes.k;
  }
}

/* ---- settings ---- */

typedef struct SettingInfo { const char *name; double lo, hi; bool whole; } SettingInfo;      /* hi 0: takes nothing */
typedef enum { BATCH, SHUFFLE, HOLD_OUT, EPOCHS, SETTINGS } SettingKind;
static const SettingInfo setting_info[SETTINGS] = {
  [BATCH] = {"batch", 1, 1 << 20, true}, [SHUFFLE] = {"shuffle", 0, 0, false},
  [HOLD_OUT] = {"hold_out", 0, 0.9, false}, [EPOCHS] = {"epochs", 1, 1e9, true}};

static SettingKind setting_find(Lang *l, const Setting *s) {
  const char *names[SETTINGS];
  for (int k = 0; k < SETTINGS; k++) {
    names[k] = setting_info[k].name;
    if (!strcmp(names[k], s->name.text)) return (SettingKind)k;
  }
  lang_error(l, "name", s->name.at, "'%s' is no setting", s->name.text);
  const char *near = name_nearest(s->name.text, names, SETTINGS);
  if (near) lang_hint(l, "did you mean '%s'?", near);
  else lang_hint(l, "settings are: batch 64, shuffle, hold_out 10%%, epochs 5; a column is NAME = …");
  return SETTINGS;
}

/* The number behind a setting; `otherwise` after an error. */
static double setting_number(Lang *l, const Setting *s, const SettingInfo *info, double otherwise) {
  Val v = s->value ? lang_expr(l, s->value) : val_none();
  bool whole = !info->whole || v.f == floor(v.f);
  if (info->hi == 0 && !s->value) return 1;
  if (info->hi == 0) lang_error(l, "type", s->name.at, "'%s' takes no number", info->name);
  else if (val_is_number(&v) && v.f >= info->lo && v.f <= info->hi && whole) return v.f;
  else if (v.kind != VAL_ERROR)
    lang_error(l, "type", s->name.at, "'%s' is followed by a %s from %.12g to %.12g", info->name,
        info->whole ? "whole number" : "number", info->lo, info->hi);
  return otherwise;
}

void lang_settings(Lang *l) {
  double value[SETTINGS] = {[BATCH] = 1};
  const Setting *given[SETTINGS] = {NULL};
  for (int k = 0; k < l->file->data.settings.len; k++) {
    const Setting *s = &l->file->data.settings.at[k];
    SettingKind kind = setting_find(l, s);
    if (kind == SETTINGS) continue;
    if (given[kind]) lang_error(l, "name", s->name.at, "'%s' is set already, in line %d", s->name.text,
        lathe_line(&l->text, given[kind]->name.at.start));
    given[kind] = s;
    value[kind] = setting_number(l, s, &setting_info[kind], value[kind]);
  }
  l->b->batch = l->o->batch > 0 ? l->o->batch : (int64_t)value[BATCH];
  l->b->shuffle = value[SHUFFLE] != 0;
  l->b->hold_out = value[HOLD_OUT];
  l->b->epochs = (int64_t)value[EPOCHS];
}
