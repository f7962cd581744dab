/* `lathe inspect NET.lathe`: the state, and for every function its work and its memory: what is alive when, through
 * forward, backward and update. */
#include "driver/bundle.h"
#include "ir/ops.h"

typedef enum { FORWARD, BACKWARD, UPDATE } Phase;
static const char *const phase_name[] = {"forward", "backward", "update"};

static const char *const kind_name[] = {[FUNCTION_INIT] = "init", [FUNCTION_STEP] = "training step",
    [FUNCTION_EVAL] = "evaluation", [FUNCTION_INFER] = "inference"};

static int64_t elements(const Type *t) { return type_count(t).k; }

static int64_t bytes_of(const Buffer *b) { return dim_hi(b->elems) * dtype_bytes(b->dtype); }

/* What writes the state updates; a kernel whose first value a gradient rule made is on the way back. What else was fused
 * into it, such as the mask that a gradient will want, does not count. */
static Phase phase_of(const Program *p, const Step *s) {
  for (int k = 0; k < s->kernel->bufs.len; k++) {
    const Buf *b = s->kernel->bufs.at[k];
    if (b->role != BUF_LOCAL && b->role != BUF_IN && p->buffers.at[s->buffer[b->index]].home == HOME_STATE)
      return UPDATE;
  }
  NodeId def = value_of(p->m, s->kernel->root)->def;
  const char *op = def ? node_of(p->m, def)->source.op : NULL;  // "grad conv"
  return op && !strncmp(op, "grad ", 5) ? BACKWARD : FORWARD;
}

static int64_t live_at(const Program *p, int at) {
  int64_t n = 0;
  for (int k = 0; k < p->buffers.len; k++) {
    const Buffer *b = &p->buffers.at[k];
    if (b->home == HOME_ARENA && b->shares < 0 && b->first <= at && at <= b->last) n += bytes_of(b);
  }
  return n;
}

/* The note's second line: from "conv(x, 32)" (conv), … */
static const char *source_of(Arena *a, const Kernel *k) {
  const char *from = k->note ? strstr(k->note, "\nfrom ") : NULL;
  return from ? arena_printf(a, "%.*s", (int)strcspn(from + 6, "\n"), from + 6) : "";
}

static void print_steps(BundleBuild *x, const Program *p, const StepList *steps, int depth) {
  for (int i = 0; i < steps->len; i++) {
    const Step *s = steps->at[i];
    if (s->kind != STEP_KERNEL) {
      printf("  %4d  %*s%s\n", s->at, 2 * depth, "",
             s->kind == STEP_IF ? "if" : s->kind == STEP_LOOP ? "loop" : s->kind == STEP_STRIPS ? s->note : "symbol");
      print_steps(x, p, &s->then, depth + 1);
      print_steps(x, p, &s->other, depth + 1);
      continue;
    }
    int64_t live = live_at(p, s->at);
    int bar = p->arena_lower > 0 ? (int)(20 * live / p->arena_lower) : 0;
    printf("  %4d  %-8s %12lld  %-20.*s  %*s%-28s %.90s\n", s->at, phase_name[phase_of(p, s)], (long long)live,
           bar < 20 ? bar : 20,
           "####################", 2 * depth, "", s->kernel->name, source_of(&x->arena, s->kernel));
  }
}

static void print_buffers(const Program *p) {
  for (int i = 0; i < p->buffers.len; i++) {
    const Buffer *b = &p->buffers.at[i];
    if (b->home != HOME_ARENA || b->first < 0) continue;
    printf("  %10s + %-12lld steps %3d to %-3d  %s\n", dim_text(b->offset), (long long)bytes_of(b), b->first,
           b->last, b->name);
  }
}

static double work_of(const Program *p) { return (double)dim_hi(program_flops(p)); }

static void print_function(BundleBuild *x, const Function *f, bool all) {
  const Program *p = f->p;
  printf("\n%s: %s, %d kernels, %.4g MFLOP\n", f->name, kind_name[f->kind], p->kernels.len, work_of(p) / 1e6);
  for (int k = 0; k < f->m->main->inputs.len; k++) {
    ValueId v = f->m->main->inputs.at[k];
    if (!graph_state_of_value(f->m, v))
      printf("  input   %-24s %s\n", value_of(f->m, v)->name, type_text(&value_of(f->m, v)->type));
  }
  for (int k = 0; k < f->m->main->outputs.len; k++) {
    ValueId v = f->m->main->outputs.at[k];
    if (!graph_state_of_value(f->m, v))
      printf("  output  %-24s %s\n", value_of(f->m, v)->name, type_text(&value_of(f->m, v)->type));
  }
  printf("  arena   %lld bytes, no plan can be below %lld (%.3f)\n", (long long)p->arena_bound,
         (long long)p->arena_lower,
         p->arena_lower ? (double)p->arena_bound / (double)p->arena_lower : 1.0);
  if (!all) return;
  printf("\n  step  phase     bytes alive                        kernel\n");
  print_steps(x, p, &p->steps, 0);
  printf("\n  arena at    bytes        alive\n");
  print_buffers(p);
}

static void print_state(const Bundle *b) {
  int64_t parameters = 0;
  for (int k = 0; k < b->state.len; k++)
    if (b->state.at[k].role == ROLE_PARAMETER) parameters += elements(&b->state.at[k].type);
  printf("%s: %lld parameters, state of %lld bytes, batches of %lld rows\n\nstate\n", b->name, (long long)parameters,
         (long long)b->state_bytes, (long long)b->batch);
  for (int k = 0; k < b->state.len; k++) {
    const StateTensor *t = &b->state.at[k];
    printf("  %10lld  %-10s %-36s %s\n", (long long)t->offset, state_role_text[t->role], t->name, type_text(&t->type));
  }
}

static void json_function(const Function *f, bool last) {
  const Program *p = f->p;
  printf("    {\"name\": \"%s\", \"kind\": \"%s\", \"kernels\": %d, \"flop\": %.0f, \"arena_bytes\": %lld, \"arena_lower\": %lld}%s\n",
         f->name, kind_name[f->kind], p->kernels.len, work_of(p), (long long)p->arena_bound,
         (long long)p->arena_lower, last ? "" : ",");
}

static void json_report(const Bundle *b) {
  printf("{\n  \"name\": \"%s\", \"state_bytes\": %lld, \"batch\": %lld,\n  \"state\": [\n", b->name,
         (long long)b->state_bytes, (long long)b->batch);
  for (int k = 0; k < b->state.len; k++)
    printf("    {\"name\": \"%s\", \"type\": \"%s\", \"role\": \"%s\", \"offset\": %lld}%s\n", b->state.at[k].name,
           type_text(&b->state.at[k].type),
           state_role_text[b->state.at[k].role], (long long)b->state.at[k].offset, k + 1 < b->state.len ? "," : "");
  printf("  ],\n  \"functions\": [\n");
  for (int k = 0; k < b->fn.len; k++) json_function(&b->fn.at[k], k + 1 == b->fn.len);
  printf("  ]\n}\n");
}

int bundle_inspect(Options *o) {
  BundleBuild x;
  if (!bundle_load(&x, o->args.at[0], o)) return EXIT_FAILED;
  bool ok = bundle_passes(&x, o);
  if (ok && o->json) json_report(x.b);
  else if (ok) {
    print_state(x.b);
    for (int k = 0; k < x.b->fn.len; k++)
      print_function(&x, &x.b->fn.at[k], o->train && x.b->fn.at[k].kind == FUNCTION_STEP);
  }
  bundle_close(&x);
  return ok ? EXIT_DONE : EXIT_FAILED;
}
