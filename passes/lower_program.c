/* lower: groups -> kernels and steps.
 *
 * Groups are put in an order in which every group follows those it reads (depth first from the outputs, so that
 * what is needed last is computed last); each becomes a kernel: the naive nest of its root (lower_NAME), a map
 * over its first value, or a generator's tiled nest where one applies (passes/kernels/). */
#include "passes/lower_program.h"
#include "passes/kernels/kernels.h"
#include "passes/lower/functions.h"
#include "passes/strips.h"
#include <string.h>

typedef struct Build {
  Program *p;
  Fusion *f;
  Module *m;
  Arena *arena;
  const Target *target;
  const PassOptions *options;
  bool naive;
  char *state;                     /* per group: 0 new, 1 being visited, 2 done */
  int nstate;
  int *buffer_of;                  /* per value: buffer + 1 of its base */
  StepList *steps;                 /* where steps go */
  bool ok;
} Build;

static int buffer_of_value(Build *s, ValueId base) {
  if (s->buffer_of[base]) return s->buffer_of[base] - 1;
  const Value *v = value_of(s->m, base);
  Buffer *b = vec_push(s->arena, &s->p->buffers);
  *b = (Buffer){.name = v->name, .value = base, .dtype = v->type.dtype, .elems = v->at.size, .home = HOME_ARENA,
                .port = -1, .shares = -1};
  if (v->constant) { b->home = HOME_WEIGHT; b->data = v->constant; }
  for (int k = 0; k < s->m->main->inputs.len; k++)
    if (s->m->main->inputs.at[k] == base) { b->home = HOME_INPUT; b->port = k; }
  for (int k = 0; k < s->m->main->outputs.len; k++)
    if (s->m->main->outputs.at[k] == base) { b->home = HOME_OUTPUT; b->port = k; }
  for (int k = 0; k < s->m->state.len; k++)
    if (s->m->state.at[k].value == base || s->m->state.at[k].next == base) { b->home = HOME_STATE; b->port = k; }
  return (s->buffer_of[base] = s->p->buffers.len) - 1;
}

static int buffer_of_extra(Build *s, const LowerScratch *x) {
  Buffer *b = vec_push(s->arena, &s->p->buffers);
  *b = (Buffer){.name = x->buf->name, .dtype = x->buf->dtype, .elems = x->buf->size,
                .home = x->data ? HOME_WEIGHT : HOME_ARENA, .data = x->data, .port = -1, .shares = -1};
  return s->p->buffers.len - 1;
}

static const char *group_word(const Node *first, const Group *g) {
  return g->softmax ? "attention" : op_info[first->op].text;
}

/* "conv + relu", the source nodes and the shapes, for the comment above the kernel */
static const char *describe(Build *s, const Group *g) {
  Text t = {0};
  const Node *n = group_first(s->m, g);
  text_printf(&t, "%s", group_word(n, g));
  for (int k = 0; k < g->epilogue.len; k++)
    text_printf(&t, " + %s", op_info[node_of(s->m, g->epilogue.at[k])->op].text);
  const char *seen = "";
  for (int k = 0; k < group_chain(g); k++) {
    const Node *e = node_of(s->m, group_node(s->m, g, k));
    if (!e->source.node || !strcmp(e->source.node, seen)) continue;
    seen = e->source.node;
    text_printf(&t, "%s\"%s\"%s%s%s", k == 0 ? "\nfrom " : ", ", seen, e->source.op ? " (" : "",
                e->source.op ? e->source.op : "", e->source.op ? ")" : "");
  }
  text_put(&t, "\n");
  if (g->softmax)                                                // queries and keys; then shares and values
    for (int k = 0; k < 2; k++)
      text_printf(&t, "%s x ", type_text(&value_of(s->m, node_of(s->m, g->scores)->in[k])->type));
  for (int k = 0; k < n->nin && k < 4; k++)
    if (n->in[k]) text_printf(&t, "%s%s", k ? " x " : "", type_text(&value_of(s->m, n->in[k])->type));
  text_printf(&t, " -> %s", type_text(&value_of(s->m, n->out[0])->type));
  const char *r = arena_strdup(s->arena, t.at);
  text_free(&t);
  return r;
}

/* Of every node that is computed in the group. */
static Dim flops_of(Build *s, const Group *g) {
  Dim f = DIM(0);
  for (int k = 0; k < group_nodes(g); k++) {
    const Node *n = node_of(s->m, group_node(s->m, g, k));
    f = dim_add(f, op_info[n->op].flops(s->m, n));
  }
  return f;
}

static const char *kernel_name(Build *s, const Group *g, int number) {
  Text t = {0};
  text_printf(&t, "k%d_%s", number, group_word(group_first(s->m, g), g));
  for (int k = 0; k < g->epilogue.len && k < 2; k++)
    text_printf(&t, "_%s", op_info[node_of(s->m, g->epilogue.at[k])->op].text);
  const char *r = arena_strdup(s->arena, t.at);
  text_free(&t);
  return r;
}

/* The last value of the chain that is stored: the one that may take an operand's place. */
static ValueId last_stored(Build *s, const Group *g) {
  for (int k = g->epilogue.len - 1; k >= 0; k--) {
    ValueId v = node_of(s->m, g->epilogue.at[k])->out[0];
    if (value_is_stored(s->f, v)) return v;
  }
  return value_is_stored(s->f, g->out) ? g->out : 0;
}

static bool touches(Build *s, const Node *n, DClass cls) {
  for (int k = 0; k < n->nin; k++)
    if (n->in[k] && dtype_info[value_of(s->m, n->in[k])->type.dtype].cls == cls) return true;
  for (int k = 0; k < n->nout; k++)
    if (n->out[k] && dtype_info[value_of(s->m, n->out[k])->type.dtype].cls == cls) return true;
  return false;
}

/* Kernels compute with numbers. A string in memory is a pointer, which comparing or converting would take for one. */
static bool refuse_strings(Build *s, const Group *g) {
  for (int k = 0; k < group_nodes(g); k++) {
    const Node *n = node_of(s->m, group_node(s->m, g, k));
    bool strings = touches(s, n, CLASS_STRING);
    if (!strings && !touches(s, n, CLASS_COMPLEX)) continue;
    diag_error(s->m->diags, "unsupported", node_where(s->m, n), "operator %s on %s is not compiled",
               n->source.op ? n->source.op : op_info[n->op].text, strings ? "strings" : "complex numbers");
    return false;
  }
  return true;
}

/* The combination that a tuning asks this kernel to take. */
static int tuned_choice(Build *s, const Group *g, const char **key) {
  if (!s->options->tuning) return 0;
  *key = tuning_key(s->m, g, s->target, s->options->tuning->arena);
  const TuningRow *row = tuning_find(s->options->tuning, *key);
  return row ? row->choice : s->options->tuning->probe;
}

static void add_symbol_step(Build *s, const char *name, int buffer) {
  Step *st = step_new(s->arena, STEP_SYMBOL);
  st->symbol = name;
  st->cond = buffer;
  *vec_push(s->arena, s->steps) = st;
}

static void lower_group(Build *s, int number) {
  const Group *g = &s->f->groups.at[number];
  const char *key = NULL;
  Lower l = {.m = s->m, .target = s->target, .winograd = s->options->winograd, .strassen = s->options->strassen,
             .shared = s->options->part_cycles > 0, .fusion = s->f, .g = g, .group = number, .root = g->root,
             .out = g->out, .choice = tuned_choice(s, g, &key), .choices = 1};
  l.by_rows = strips_may_cut(s->f, number, s->target, s->options);
  if (!refuse_strings(s, g)) { s->ok = false; return; }
  l.last = last_stored(s, g);
  l.b.arena = s->arena;
  Kernel *k = kernel_new(&l.b, s->arena, kernel_name(s, g, s->p->kernels.len));
  k->note = describe(s, g);
  const Node *n = group_first(s->m, g);
  bug_context = k->name;
  bool ok;
  if (!g->root) ok = lower_map(&l, g);
  else if (n->op == OP_PAD) ok = lower_pad_border(&l, n);
  else ok = (!s->naive && kernel_generate(&l, n)) || lower_fn[n->op](&l, n);
  bug_context = "lower";
  if (!ok) {
    diag_error(s->m->diags, "unsupported", node_where(s->m, n), "cannot be compiled: %s",
               l.why ? l.why : "no lowering");
    s->ok = false;
    return;
  }
  Tuning *tuning = s->options->tuning;
  if (key) *vec_push(tuning->arena, &tuning->kernels) = (TunedKernel){s->m, key, number, l.choices};
  k->group = number;
  k->root = g->out;
  k->flops = flops_of(s, g);
  k->target_lanes = s->target->lanes;
  kernel_finish(k);
  Step *st = step_new(s->arena, STEP_KERNEL);
  st->kernel = k;
  int params = 0;
  for (int q = 0; q < k->bufs.len; q++) params += k->bufs.at[q]->role != BUF_LOCAL;
  st->buffer = NEW_N(s->arena, int, params + 1);
  st->elsewhere = NEW_N(s->arena, bool, params + 1);
  for (int q = 0; q < l.bufs.len; q++) {
    st->buffer[l.bufs.at[q].buf->index] = buffer_of_value(s, l.bufs.at[q].base);
    st->elsewhere[l.bufs.at[q].buf->index] = l.bufs.at[q].elsewhere;
  }
  for (int q = 0; q < l.extra.len; q++) {
    st->buffer[l.extra.at[q].buf->index] = buffer_of_extra(s, &l.extra.at[q]);
    st->elsewhere[l.extra.at[q].buf->index] = true;
  }
  ValueId last = last_stored(s, g);
  st->in_place = last ? buffer_of_value(s, value_of(s->m, last)->at.base) : -1;
  *vec_push(s->arena, &s->p->kernels) = k;
  *vec_push(s->arena, s->steps) = st;
  for (int q = 0; q < l.symbols.len; q++) {
    const LowerSymbol *sym = &l.symbols.at[q];
    add_symbol_step(s, sym->name, st->buffer[sym->count->index]);
  }
}

/* ---- order ---- */

static void need_value(Build *s, ValueId v, Graph *within);
static void build_graph(Build *s, Graph *g, StepList *into);

static void need_node_inputs(Build *s, const Node *n, int group, Graph *within) {
  for (int k = 0; k < n->nin; k++) {
    NodeId d = n->in[k] ? value_of(s->m, n->in[k])->def : 0;
    if (!d) continue;
    if (group && node_of(s->m, d)->group == group) {
      const Node *dn = node_of(s->m, d);                        // inlined: its own operands are needed
      if (dn != n && !value_of(s->m, n->in[k])->at.base) need_node_inputs(s, dn, group, within);
      continue;
    }
    need_value(s, n->in[k], within);
  }
}

static void need_group(Build *s, int number, Graph *within) {
  if (s->state[number]) return;                                 // 1 cannot come back: fuse made no cycle
  s->state[number] = 1;
  const Group *g = &s->f->groups.at[number];
  for (int k = 0; k < group_chain(g); k++) need_node_inputs(s, node_of(s->m, group_node(s->m, g, k)), number, within);
  for (int k = 0; k < s->f->order.len; k++)
    if (s->f->order.at[k].group == number) need_group(s, s->f->order.at[k].after, within);
  s->state[number] = 2;
  if (s->ok) lower_group(s, number);
}

static void need_region(Build *s, Graph *r, Graph *within) {    // what a region takes from outside
  for (int k = 0; k < r->nodes.len; k++) {
    const Node *n = node_of(s->m, r->nodes.at[k]);
    for (int i = 0; i < n->nin; i++) {
      NodeId d = n->in[i] ? value_of(s->m, n->in[i])->def : 0;
      if (d && node_of(s->m, d)->graph == within) need_value(s, n->in[i], within);
    }
    for (int q = 0; q < n->nregion; q++) need_region(s, n->region[q], within);
  }
  for (int k = 0; k < r->outputs.len; k++) {
    NodeId d = value_of(s->m, r->outputs.at[k])->def;
    if (d && node_of(s->m, d)->graph == within) need_value(s, r->outputs.at[k], within);
  }
}

static bool uses_symbol(const StepList *steps, const char *name) {
  for (int k = 0; k < steps->len; k++) {
    const Step *st = steps->at[k];
    if (uses_symbol(&st->then, name) || uses_symbol(&st->other, name)) return true;
    for (int q = 0; st->kernel && q < st->kernel->dims.len; q++) if (!strcmp(st->kernel->dims.at[q], name)) return true;
  }
  return false;
}

/* Values before the loop, the loop step, in it the results, then the renewed state. */
static void build_loop(Build *s, Node *n, NodeId id, Graph *within) {
  LoopPlan *plan = fusion_loop_plan(s->f, id);
  Graph *body = n->region[0];
  if (plan->trip) need_value(s, plan->trip, within);
  for (int k = 0; k < plan->before.len; k++) need_value(s, plan->before.at[k], within);
  Step *st = step_new(s->arena, STEP_LOOP);
  st->trips = plan->trips;
  if (plan->cond) st->cond = buffer_of_value(s, plan->cond);
  if (plan->trip) st->trip_buffer = buffer_of_value(s, value_of(s->m, plan->trip)->at.base);
  st->iter_buffer = buffer_of_value(s, plan->iter);
  StepList *keep = s->steps;
  s->steps = &st->then;
  for (int k = 0; k < plan->results.len; k++) need_value(s, plan->results.at[k], body);
  for (int k = 0; k < plan->renew.len; k++) need_value(s, plan->renew.at[k], body);
  s->steps = keep;
  if (uses_symbol(&st->then, dim_text(plan->iteration))) st->symbol = dim_text(plan->iteration);
  *vec_push(s->arena, s->steps) = st;
  for (int k = 0; plan->count && k < node_of(s->m, id)->nout; k++) {
    ValueId out = node_of(s->m, id)->out[k];
    if (!out) continue;
    const Type *t = &value_of(s->m, out)->type;
    const Symbol *sym = t->rank && !dim_is_const(t->dims[0]) ? symbol_find(dim_text(t->dims[0])) : NULL;
    if (sym) add_symbol_step(s, sym->name, buffer_of_value(s, value_of(s->m, plan->count)->at.base));
  }
}

static void need_value(Build *s, ValueId v, Graph *within) {
  NodeId d = value_of(s->m, v)->def;
  if (!d) return;
  Node *n = node_of(s->m, d);
  if (n->graph != within) return;                               // computed outside this region, before it
  if (n->group && !n->nregion) {
    if (n->op == OP_PAD && s->f->groups.at[n->group].root == d) need_node_inputs(s, n, 0, within);
    need_group(s, n->group, within);
    return;
  }
  if (!n->nregion) { need_node_inputs(s, n, 0, within); return; }
  if (n->group < 0) return;                                     // control flow already built
  n->group = -1;
  need_node_inputs(s, n, 0, within);
  for (int r = 0; r < n->nregion; r++) need_region(s, n->region[r], within);
  if (n->op != OP_IF) { build_loop(s, n, d, within); return; }
  Step *st = step_new(s->arena, STEP_IF);
  st->cond = buffer_of_value(s, value_of(s->m, n->in[0])->at.base);
  for (int k = 0; k < n->nout; k++) if (n->out[k]) buffer_of_value(s, n->out[k]);
  build_graph(s, n->region[0], &st->then);
  build_graph(s, n->region[1], &st->other);
  *vec_push(s->arena, s->steps) = st;
}

static void build_graph(Build *s, Graph *g, StepList *into) {
  StepList *keep = s->steps;
  s->steps = into;
  for (int k = 0; k < g->outputs.len; k++) need_value(s, g->outputs.at[k], g);
  s->steps = keep;
}

static bool is_late(const Build *s, ValueId v) {
  for (int k = 0; k < s->f->late.len; k++) if (s->f->late.at[k] == v) return true;
  return false;
}

/* Results for the caller first, then updates from the last parameter to the first, the order in which gradients come,
 * then copies that had to wait. */
static void build_main(Build *s, StepList *into) {
  Graph *g = s->m->main;
  s->steps = into;
  for (int k = 0; k < g->outputs.len; k++)
    if (!graph_state_of_value(s->m, g->outputs.at[k])) need_value(s, g->outputs.at[k], g);
  for (int k = s->m->state.len - 1; k >= 0; k--) {
    ValueId v = s->m->state.at[k].next;
    if (v && !is_late(s, v)) need_value(s, v, g);
  }
  // what one of them copies may need what another overwrites
  for (int k = 0; k < s->f->late.len; k++)
    need_value(s, node_of(s->m, value_of(s->m, s->f->late.at[k])->def)->in[0], g);
  for (int k = 0; k < s->f->late.len; k++) need_value(s, s->f->late.at[k], g);
}

Program *lower_program(Module *m, Fusion *f, const Target *t, const PassOptions *o, Arena *a) {
  Program *p = NEW(a, Program);
  p->m = m;
  Build s = {.p = p, .f = f, .m = m, .arena = a, .target = t, .options = o, .ok = true};
  s.naive = o->naive || (t && t->lanes == 1);
  s.state = NEW_N(a, char, f->groups.len + 1);
  s.buffer_of = NEW_N(a, int, m->values.len + 1);
  for (int k = 0; k < m->main->inputs.len; k++) buffer_of_value(&s, m->main->inputs.at[k]);
  for (int k = 0; k < m->main->outputs.len; k++) buffer_of_value(&s, m->main->outputs.at[k]);
  build_main(&s, &p->steps);
  return s.ok ? p : NULL;
}
