/* Programs as text: buffers with their homes, steps in order, then the kernels. */
#include "ir/program.h"

Step *step_new(Arena *a, StepKind kind) {
  Step *s = NEW(a, Step);
  *s = (Step){.kind = kind, .cond = -1, .trip_buffer = -1, .iter_buffer = -1, .in_place = -1};
  return s;
}

bool symbol_is_of_strips(const char *name) {
  return !strcmp(name, TOP_SYMBOL) || !strcmp(name, BOTTOM_SYMBOL) || !strcmp(name, FIRST_SYMBOL);
}

void step_part(const Step *s, int part, int parts, int64_t *first, int64_t *end) {
  int64_t units = (s->count + s->unit - 1) / s->unit;
  *first = units * part / parts * s->unit;
  *end = int64_min(units * (part + 1) / parts * s->unit, s->count);
}

static void print_home(Text *t, const Buffer *b) {
  switch (b->home) {
  case HOME_NONE: text_put(t, "nowhere"); return;
  case HOME_INPUT: text_printf(t, "input %d", b->port); return;
  case HOME_OUTPUT: text_printf(t, "output %d", b->port); return;
  case HOME_STATE: text_printf(t, "state %d", b->port); return;
  case HOME_WEIGHT: text_put(t, "weights + "); break;
  case HOME_ARENA: text_put(t, "arena + "); break;
  }
  dim_print(t, b->offset);
  if (b->home == HOME_ARENA) text_printf(t, ", steps %d..%d", b->first, b->last);
}

static const char *name_of(const Program *p, int buffer) { return buffer < 0 ? "-" : p->buffers.at[buffer].name; }

static void print_steps(Text *t, const Program *p, const StepList *steps, int depth) {
  for (int i = 0; i < steps->len; i++) {
    const Step *s = steps->at[i];
    text_printf(t, "%*s%d: ", 2 * depth, "", s->at);
    switch (s->kind) {
    case STEP_KERNEL:
      text_printf(t, "%s(", s->kernel->name);
      for (int k = 0, n = 0; k < s->kernel->bufs.len; k++)
        if (s->kernel->bufs.at[k]->role != BUF_LOCAL)
          text_printf(t, "%s%s", n++ ? ", " : "", name_of(p, s->buffer[s->kernel->bufs.at[k]->index]));
      text_put(t, ")\n");
      continue;
    case STEP_SYMBOL: text_printf(t, "symbol %s = %s[0]\n", s->symbol, name_of(p, s->cond)); continue;
    case STEP_IF: text_printf(t, "if %s[0] {\n", name_of(p, s->cond)); break;
    case STEP_STRIPS: text_printf(t, "%s {\n", s->note); break;
    case STEP_LOOP:
      text_printf(t, "loop %s, at most ", name_of(p, s->trip_buffer));
      dim_print(t, s->trips);
      text_printf(t, " times, while %s, number to %s", name_of(p, s->cond), name_of(p, s->iter_buffer));
      if (s->symbol) text_printf(t, " and %s", s->symbol);
      text_put(t, " {\n");
      break;
    }
    print_steps(t, p, &s->then, depth + 1);
    if (s->other.len) {
      text_printf(t, "%*s} else {\n", 2 * depth, "");
      print_steps(t, p, &s->other, depth + 1);
    }
    text_printf(t, "%*s}\n", 2 * depth, "");
  }
}

void program_print(Text *t, const Program *p) {
  text_put(t, "program arena ");
  dim_print(t, p->arena_bytes);
  text_printf(t, " bytes, at most %lld, at least %lld; weights %lld bytes\n", (long long)p->arena_bound,
              (long long)p->arena_lower, (long long)p->weight_bytes);
  for (int i = 0; i < p->buffers.len; i++) {
    const Buffer *b = &p->buffers.at[i];
    text_printf(t, "buffer %s: %s[", b->name, dtype_info[b->dtype].text);
    dim_print(t, b->elems);
    text_put(t, "] ");
    print_home(t, b);
    text_put(t, "\n");
  }
  print_steps(t, p, &p->steps, 0);
  for (int i = 0; i < p->kernels.len; i++) {
    text_put(t, "\n");
    kernel_print(t, p->kernels.at[i]);
  }
}

static Dim flops_of(const StepList *l) {
  Dim sum = DIM(0);
  for (int i = 0; i < l->len; i++) {
    const Step *s = l->at[i];
    Dim inner = s->kind == STEP_KERNEL ? s->kernel->flops : dim_max(flops_of(&s->then), flops_of(&s->other));
    sum = dim_add(sum, s->kind == STEP_LOOP ? dim_mul(inner, s->trips) : inner);
  }
  return sum;
}

Dim program_flops(const Program *p) { return flops_of(&p->steps); }
