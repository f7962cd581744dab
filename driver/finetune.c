/* `lathe train model.onnx`: a text of the network language around the model, made from options; then it goes on like any
 * other. The text names the file by its whole path, so that the copy beside the checkpoints, run/net.lathe, still finds it.
 *
 * --over and --freeze name initializers, or nodes whose initializers are meant, or the beginning of such names. */
#include "codegen/c.h"
#include "driver/bundle.h"
#include "frontend/language.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>

typedef struct Tune {
  Arena *a;
  const Options *o;
  const char *path, *whole;            /* the file as given; its whole path */
  Module *m;
  Diags d;
  Strings over, frozen;                /* parameters */
} Tune;

static bool refuse(Tune *t, const char *kind, const char *fmt, const char *word) {
  diag_error(&t->d, kind, NULL, fmt, word);
  return false;
}

/* ---- parameters ---- */

/* What onnx("…") makes a parameter of (frontend/lathe_onnx.c): float initializers, but scalars and what importers made. */
static bool is_parameter(const Value *v) {
  bool made = v->name && v->name[0] == 'v' && isdigit((unsigned char)v->name[1]);
  return v->name && v->constant && dtype_is_float(v->type.dtype) && v->type.rank && !made;
}

static bool begins(const char *name, const char *with) {
  size_t n = strlen(with);
  return name && !strncmp(name, with, n) && (!name[n] || !isalnum((unsigned char)name[n]));
}

static void add_once(Tune *t, Strings *to, const char *name) {
  for (int k = 0; k < to->len; k++) if (!strcmp(to->at[k], name)) return;
  *vec_push(t->a, to) = name;
}

/* Initializers of the nodes whose name begins so. */
static void add_of_nodes(Tune *t, Strings *to, const char *word) {
  for (int k = 0; k < t->m->main->nodes.len; k++) {
    const Node *n = node_of(t->m, t->m->main->nodes.at[k]);
    for (int i = 0; begins(n->source.node, word) && i < n->nin; i++)
      if (n->in[i] && is_parameter(value_of(t->m, n->in[i]))) add_once(t, to, value_of(t->m, n->in[i])->name);
  }
}

static bool find_parameters(Tune *t, Strings *to, const char *word) {
  int before = to->len;
  for (int k = 1; k < t->m->values.len; k++) {
    const Value *v = value_of(t->m, (ValueId)k);
    if (is_parameter(v) && begins(v->name, word)) add_once(t, to, v->name);
  }
  if (to->len == before) add_of_nodes(t, to, word);
  if (to->len > before) return true;
  refuse(t, "name", "no initializer and no node with weights is called '%s'", word);
  for (int k = 1; k < t->m->values.len; k++) {
    const Value *v = value_of(t->m, (ValueId)k);
    if (is_parameter(v)) diag_note(&t->d, "there is '%s': %s", v->name, type_text(&v->type));
  }
  return false;
}

/* NAME,NAME,… of each use of the option */
static bool find_all(Tune *t, Strings *to, const Strings *lists) {
  bool ok = true;
  for (int k = 0; k < lists->len; k++)
    for (const char *s = lists->at[k]; *s; s += strcspn(s, ","), s += *s == ',')
      ok &= find_parameters(t, to, arena_printf(t->a, "%.*s", (int)strcspn(s, ","), s));
  return ok;
}

/* ---- the text ---- */

static void put_paths(Text *to, const Strings *names) {
  Arena a = {0};
  for (int k = 0; k < names->len; k++) {
    if (k) text_put(to, ", ");
    text_quote(to, arena_printf(&a, "model.%s", names->at[k]));
  }
  arena_free(&a);
}

static void put_type(Text *to, const Type *x, const char *name) {
  text_printf(to, "%s: %s[N", name, dtype_info[x->dtype].text);
  for (int k = 1; k < x->rank; k++) text_printf(to, ", %s", dim_text(x->dims[k]));
  text_put(to, "]");
}

typedef struct Column { const char *name, *term; } Column;

static const char *input_name(const Tune *t, int k) { return value_of(t->m, t->m->main->inputs.at[k])->name; }

static bool has_column(const Column *c, int n, const char *name) {
  for (int i = 0; i < n; i++) if (!strcmp(c[i].name, name)) return true;
  return false;
}

static bool is_input(const Tune *t, const char *name) {
  for (int k = 0; k < t->m->main->inputs.len; k++) if (!strcmp(input_name(t, k), name)) return true;
  return false;
}

/* The data of input k: the column of its name; inputs without one take the columns that name none, in order. The last
 * of the n columns is the target. */
static const char *column_of(const Tune *t, const Column *c, int n, int k) {
  int left = 0;
  if (has_column(c, n - 1, input_name(t, k))) return input_name(t, k);
  for (int i = 0; i < k; i++) left += !has_column(c, n - 1, input_name(t, i));
  for (int i = 0; i < n - 1; i++) if (!is_input(t, c[i].name) && left-- == 0) return c[i].name;
  return c[k].name;
}

/* A net of these inputs whose result is `before` the model's `after`. */
static void put_net(Tune *t, Text *to, const char *name, const char *before, const char *inner, const char *after) {
  const ValueList *in = &t->m->main->inputs;
  text_printf(to, "net %s(", name);
  for (int k = 0; k < in->len; k++) {
    if (k) text_put(to, ", ");
    put_type(to, &value_of(t->m, in->at[k])->type, c_identifier(t->a, value_of(t->m, in->at[k])->name));
  }
  text_printf(to, ") { return %s%s(", before, inner);
  for (int k = 0; k < in->len; k++)
    text_printf(to, "%s%s", k ? ", " : "", c_identifier(t->a, value_of(t->m, in->at[k])->name));
  text_printf(to, ")%s }\n", after);
}

/* "huber(delta=2)" of these arguments */
static void put_loss(Tune *t, Text *to, const char *loss, const char *result, const char *target) {
  const char *open = strchr(loss, '(');
  int n = open ? (int)(open - loss) : (int)strlen(loss);
  const char *more = open ? arena_printf(t->a, ", %.*s", (int)strcspn(open + 1, ")"), open + 1) : "";
  text_printf(to, "%.*s(%s, %s%s)", n, loss, result, target, more);
}

/* Cross entropy is of logits: where the model ends in a softmax, what goes into that is trained. */
static const Node *last_softmax(const Tune *t, ValueId out) {
  const Value *v = value_of(t->m, out);
  const Node *n = v->def ? node_of(t->m, v->def) : NULL;
  return n && n->op == OP_SOFTMAX && !strncmp(t->o->loss, "cross_entropy", 13) ? n : NULL;
}

static void put_nets(Tune *t, Text *to, const char *net, const char **trained) {
  ValueId out = t->m->main->outputs.at[0];
  const Node *softmax = last_softmax(t, out);
  const char *last = softmax ? value_of(t->m, softmax->in[0])->name
                             : t->m->main->outputs.len > 1 ? value_of(t->m, out)->name : NULL;
  text_put(to, "net model = onnx(");
  text_quote(to, t->whole);
  if (last) text_put(to, ", output=");
  if (last) text_quote(to, last);
  text_put(to, ")\n");
  *trained = net;
  if (softmax) {
    *trained = "logits";
    put_net(t, to, "logits", "", "model", "");
    put_net(t, to, net, "softmax(", "logits",
            arena_printf(t->a, ", axis=%lld)", (long long)node_int(softmax, "axis", 1)));
  } else put_net(t, to, net, "", "model", "");
}

static void put_step(Tune *t, Text *to, const Column *c, int n, const char *trained) {
  Text call = {0};
  int inputs = t->m->main->inputs.len;
  text_printf(&call, "%s(", trained);
  for (int k = 0; k < inputs; k++) text_printf(&call, "%s%s", k ? ", " : "", column_of(t, c, n, k));
  text_put(&call, ")");
  const char *target = c[n - 1].name;
  text_put(to, "train step {\n    loss = ");
  put_loss(t, to, t->o->loss, call.at, target);
  if (t->frozen.len) {
    text_put(to, "\n    freeze ");
    put_paths(to, &t->frozen);
  }
  text_put(to, "\n    minimize loss over ");
  if (t->over.len) put_paths(to, &t->over);
  else text_put(to, "model");
  text_printf(to, " with %s\n", t->o->optimizer ? t->o->optimizer : "adam(lr=1e-4)");
  if (!strncmp(t->o->loss, "cross_entropy", 13)) text_printf(to, "    report accuracy(%s, %s)\n", call.at, target);
  text_put(to, "}\n");
  text_free(&call);
}

static bool read_columns(Tune *t, Column *c, int n) {
  for (int k = 0; k < n; k++) {
    const char *s = t->o->data.at[k], *eq = strchr(s, '=');
    if (!eq || eq == s)
      usage_error("--data wants NAME=READER(…), such as 'image=idx(\"images.gz\") / 255', not '%s'", s);
    c[k] = (Column){arena_printf(t->a, "%.*s", (int)(eq - s), s), eq + 1};
    if (has_column(c, k, c[k].name)) usage_error("--data names the column '%s' twice", c[k].name);
  }
  if (n == t->m->main->inputs.len + 1) return true;
  diag_error(&t->d, "usage", NULL,
             "%d columns of data; one for each of its %d input%s and then the target are needed", n,
             t->m->main->inputs.len, t->m->main->inputs.len == 1 ? "" : "s");
  for (int k = 0; k < t->m->main->inputs.len; k++) {
    const Value *v = value_of(t->m, t->m->main->inputs.at[k]);
    diag_note(&t->d, "input '%s': %s", v->name, type_text(&v->type));
  }
  return false;
}

/* Rows are the first axis of every input, and of the output that is trained. */
static bool takes_rows(Tune *t) {
  const Type *y = &value_of(t->m, t->m->main->outputs.at[0])->type;
  for (int k = 0; k < t->m->main->inputs.len; k++) {
    const Value *v = value_of(t->m, t->m->main->inputs.at[k]);
    if (v->type.rank && !dim_is_const(v->type.dims[0]) && y->rank && !dim_is_const(y->dims[0])) continue;
    refuse(t, "shape", "it is made for a batch of one size (%s); training takes batches",
           arena_printf(t->a, "input '%s' is %s", v->name, type_text(&v->type)));
    diag_note(&t->d, "hint: export it with a free first axis");
    return false;
  }
  return true;
}

static const char *share_held_out(const Options *o) {
  char *end;
  double v = o->hold_out ? strtod(o->hold_out, &end) : 10;
  if (o->hold_out && (end == o->hold_out || (*end && strcmp(end, "%")) || !(v >= 0 && v < 100)))
    usage_error("--hold-out wants a percentage such as 10%%, not '%s'", o->hold_out);
  return o->hold_out ? o->hold_out : "10%";
}

static bool text_of(Tune *t, Text *to) {
  Column *c = NEW_N(t->a, Column, t->o->data.len + 1);
  int n = t->o->data.len;
  const char *trained, *held = share_held_out(t->o);
  const char *net = c_identifier(t->a, t->o->net ? t->o->net : emit_prefix(t->a, t->path));
  if (!strcmp(net, "model")) net = "network";
  if (!takes_rows(t) || !read_columns(t, c, n) || !find_all(t, &t->over, &t->o->over) ||
      !find_all(t, &t->frozen, &t->o->freeze)) return false;
  put_nets(t, to, net, &trained);
  text_put(to, "data {\n");
  for (int k = 0; k < n; k++) text_printf(to, "    %s = %s\n", c[k].name, c[k].term);
  text_printf(to, "    batch %.0f shuffle", t->o->batch ? t->o->batch : 32);
  if (strtod(held, NULL) > 0) text_printf(to, " hold_out %s%s", held, strchr(held, '%') ? "" : "%");
  text_put(to, "\n}\n");
  put_step(t, to, c, n, trained);
  return true;
}

bool finetune_text(const Options *o, const char *path, Arena *a, Text *to) {
  if (o->batch && !(o->batch >= 1 && o->batch == floor(o->batch))) usage_error("--batch wants a whole number from 1");
  if (!o->loss || !o->data.len)
    usage_error("to train %s, say --loss cross_entropy (or mse, …), --data 'INPUT=READER(…)' and --data 'TARGET=READER(…)'",
                path);
  Tune t = {.a = a, .o = o, .path = path, .d = {.file = path}};
  t.whole = whole_path(a, path);
  t.m = lathe_onnx_load(path, &t.d);
  bool ok = t.m && text_of(&t, to);
  diags_print(&t.d, stderr);
  diags_free(&t.d);
  if (t.m) module_free(t.m);
  return ok;
}
