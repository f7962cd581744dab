/* All passes of passes.def on one module; and the rows that only call what another file offers. */
#include "passes/pipeline.h"
#include "passes/drop_axes.h"
#include "passes/loops.h"
#include "passes/passes.h"
#include "passes/split_pads.h"
#include <string.h>

Program *compile_module(Module *m, const Target *t, const PassOptions *o, Arena *a) {
  PassContext c;
  pass_begin(&c, m, t, o, a);
  bool ok = passes_run(&c);
  pass_end(&c);
  return ok ? c.program : NULL;
}

bool module_expand(Module *m, Expansion passes) {
  static const char *const name[] = {"dce", "grad", "decompose"};
  Arena arena = {0};
  PassOptions o = {.verify = true};
  PassContext c;
  pass_begin(&c, m, NULL, &o, &arena);
  bool ok = true;
  for (int k = 0; ok && k < (int)passes; k++) ok = pass_run(&c, pass_find(name[k]));
  pass_end(&c);
  arena_free(&arena);
  return ok;
}

bool pass_split_pads(PassContext *c) {
  if (!c->options->naive) split_pads(c->module);
  return true;
}

bool pass_drop_axes(PassContext *c) {
  drop_axes(c->module, &c->tmp);
  return true;
}

bool pass_fuse(PassContext *c) {
  c->fusion = fuse_module(c->module, c->options->naive || (c->target && c->target->lanes == 1), c->arena);
  return c->fusion != NULL;
}

bool pass_state_order(PassContext *c) {
  state_order(c->fusion);
  return true;
}

bool pass_layout(PassContext *c) {
  if (!c->options->naive) layout_choose(c->fusion, c->target);
  return true;
}

bool pass_storage(PassContext *c) {
  int errors = c->diags->errors;
  storage_assign(c->fusion);
  return c->diags->errors == errors;
}

bool pass_lower(PassContext *c) {
  c->program = lower_program(c->module, c->fusion, c->target, c->options, c->arena);
  return c->program != NULL;
}

bool kernel_pass(const char *name, Arena *a, Kernel *k, const Target *t) {
  if (!strcmp(name, "vectorise")) kernel_vectorise(a, k, t);
  else if (!strcmp(name, "unroll")) kernel_unroll(a, k);
  else if (!strcmp(name, "simplify-loops")) kernel_simplify(a, k);
  else return false;
  return true;
}

bool pass_vectorise(PassContext *c) {
  for (int k = 0; !c->options->naive && k < c->program->kernels.len; k++)
    kernel_vectorise(c->arena, c->program->kernels.at[k], c->target);
  return true;
}

bool pass_unroll(PassContext *c) {
  for (int k = 0; k < c->program->kernels.len; k++) kernel_unroll(c->arena, c->program->kernels.at[k]);
  return true;
}

bool pass_simplify_loops(PassContext *c) {
  for (int k = 0; k < c->program->kernels.len; k++) kernel_simplify(c->arena, c->program->kernels.at[k]);
  return true;
}

bool pass_place(PassContext *c) { return place_program(c->program, c->arena); }
