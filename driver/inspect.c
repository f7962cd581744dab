/* `lathe inspect`: what a model is and what compiling it gives: nodes, shapes, work, memory. */
#include "driver/bundle.h"
#include "ir/ops.h"

static int count_steps(const StepList *s) {
  int n = 0;
  for (int i = 0; i < s->len; i++) n += 1 + count_steps(&s->at[i]->then) + count_steps(&s->at[i]->other);
  return n;
}

static const char *const home_name[] = {[HOME_NONE] = "none", [HOME_INPUT] = "input", [HOME_OUTPUT] = "output", [HOME_STATE] = "state", [HOME_WEIGHT] = "weight", [HOME_ARENA] = "arena"};

typedef struct NodeLine { const char *op, *name, *types; } NodeLine;

static int node_lines(Compiled *c, NodeLine **out) {           // taken before the passes rewrite the graph
  Graph *g = c->m->main;
  NodeLine *l = NEW_N(&c->arena, NodeLine, g->nodes.len + 1);
  int n = 0;
  for (int i = 0; i < g->nodes.len; i++) {
    const Node *x = node_of(c->m, g->nodes.at[i]);
    if (x->dead) continue;
    Text t = {0};
    for (int k = 0; k < x->nout; k++)
      if (x->out[k]) text_printf(&t, "%s%s", t.len ? ", " : "", type_text(&value_of(c->m, x->out[k])->type));
    l[n++] = (NodeLine){op_info[x->op].text, x->source.node ? x->source.node : "", arena_strdup(&c->arena, t.at ? t.at : "")};
    text_free(&t);
  }
  *out = l;
  return n;
}

static void print_steps(const StepList *steps, int depth) {
  for (int i = 0; i < steps->len; i++) {
    const Step *s = steps->at[i];
    const Kernel *k = s->kernel;
    if (s->kind == STEP_KERNEL)
      printf("%*s%-*s %16s FLOP%s%s\n", 2 * depth, "", 34 - 2 * depth, k->name, dim_text(k->flops), k->choice ? "  " : "",
             k->choice ? k->choice : "");
    else if (s->kind == STEP_LOOP) printf("%*sloop, %s times\n", 2 * depth, "", dim_text(s->trips));
    else if (s->kind == STEP_STRIPS) printf("%*s%s\n", 2 * depth, "", s->note);
    else printf("%*s%s\n", 2 * depth, "", s->kind == STEP_IF ? "if" : "symbol");
    print_steps(&s->then, depth + 1);
    print_steps(&s->other, depth + 1);
  }
}

static void text_report(Compiled *c, const NodeLine *node, int n) {
  Module *m = c->m;
  const Program *p = c->p;
  printf("%s\n", c->prefix);
  for (int i = 0; i < m->main->inputs.len; i++) printf("  input   %-24s %s\n", value_of(m, m->main->inputs.at[i])->name, type_text(&value_of(m, m->main->inputs.at[i])->type));
  for (int i = 0; i < m->main->outputs.len; i++) printf("  output  %-24s %s\n", value_of(m, m->main->outputs.at[i])->name, type_text(&value_of(m, m->main->outputs.at[i])->type));
  printf("\nnodes (%d)\n", n);
  for (int i = 0; i < n; i++) printf("  %-18s %-28s %s\n", node[i].op, node[i].types, node[i].name);
  printf("\nkernels (%d distinct, %d steps)\n", p->kernels.len, count_steps(&p->steps));
  print_steps(&p->steps, 1);
  printf("\nmemory\n");
  for (int i = 0; i < p->buffers.len; i++) {
    const Buffer *b = &p->buffers.at[i];
    if (b->home != HOME_ARENA) continue;
    printf("  %10s + %-10s steps %3d to %-3d  %s\n", dim_text(b->offset), dim_text(dim_mul(b->elems, DIM(dtype_bytes(b->dtype)))), b->first, b->last, b->name);
  }
  printf("\n  parameters  %lld\n  weights     %lld bytes\n  arena       %s bytes (at most %lld; no plan can be below %lld)\n  work        %s FLOP\n",
         (long long)c->m->parameters, (long long)p->weight_bytes, dim_text(p->arena_bytes), (long long)p->arena_bound, (long long)p->arena_lower,
         dim_text(program_flops(p)));
}

static void json_ports(Compiled *c, const char *what, const ValueList *v) {
  printf("  \"%s\": [", what);
  for (int i = 0; i < v->len; i++) {
    const Value *x = value_of(c->m, v->at[i]);
    printf("%s{\"name\": %s, \"type\": \"%s\"}", i ? ", " : "", json_quoted(&c->arena, x->name), type_text(&x->type));
  }
  printf("],\n");
}

static void json_report(Compiled *c, const NodeLine *node, int n) {
  const Program *p = c->p;
  printf("{\n  \"name\": \"%s\",\n", c->prefix);
  json_ports(c, "inputs", &c->m->main->inputs);
  json_ports(c, "outputs", &c->m->main->outputs);
  printf("  \"parameters\": %lld, \"weights_bytes\": %lld, \"arena_bytes\": \"%s\", \"arena_bound\": %lld, \"arena_lower\": %lld, \"flop\": \"%s\",\n",
         (long long)c->m->parameters, (long long)p->weight_bytes, dim_text(p->arena_bytes), (long long)p->arena_bound, (long long)p->arena_lower,
         dim_text(program_flops(p)));
  printf("  \"nodes\": [");
  for (int i = 0; i < n; i++)
    printf("%s\n    {\"op\": \"%s\", \"name\": %s, \"types\": \"%s\"}", i ? "," : "", node[i].op, json_quoted(&c->arena, node[i].name), node[i].types);
  printf("\n  ],\n  \"kernels\": [");
  for (int i = 0; i < p->kernels.len; i++)
    printf("%s\n    {\"name\": \"%s\", \"flop\": \"%s\", \"choice\": %s}", i ? "," : "", p->kernels.at[i]->name, dim_text(p->kernels.at[i]->flops),
           json_quoted(&c->arena, p->kernels.at[i]->choice ? p->kernels.at[i]->choice : ""));
  printf("\n  ],\n  \"buffers\": [");
  for (int i = 0; i < p->buffers.len; i++) {
    const Buffer *b = &p->buffers.at[i];
    printf("%s\n    {\"name\": %s, \"home\": \"%s\", \"offset\": \"%s\", \"elements\": \"%s\", \"dtype\": \"%s\", \"first\": %d, \"last\": %d}", i ? "," : "",
           json_quoted(&c->arena, b->name), home_name[b->home], dim_text(b->offset), dim_text(b->elems), dtype_info[b->dtype].text, b->first, b->last);
  }
  printf("\n  ]\n}\n");
}

int verb_inspect(Options *o) {
  if (is_language(o->args.at[0]) && !o->checkpoint) return bundle_inspect(o);
  Compiled c, before;
  NodeLine *node;
  if (!model_import(&before, o->args.at[0], o)) return EXIT_FAILED;
  int n = node_lines(&before, &node);
  bool ok = model_compile(&c, o->args.at[0], o);
  if (ok && o->json) json_report(&c, node, n);
  else if (ok) text_report(&c, node, n);
  if (ok) compiled_free(&c);
  compiled_drop(&before);                                      // it said the same as c
  return ok ? EXIT_DONE : EXIT_FAILED;
}
