/* What --check asks after every pass: is the graph valid and each kernel, and is parse(print(x)) x? A failure is our
 * own bug; it is reported as an error, and the runner adds which pass and rewrite came before it. */
#include "ir/program.h"
#include "passes/pass.h"

static bool module_reads_back(PassContext *c) {
  Text t = {0}, why = {0};
  module_print(&t, c->module);
  Module *again = module_parse_with(t.at, c->module, c->diags);
  bool same = again && module_same(c->module, again, &why);
  if (again && !same) diag_error(c->diags, "check", NULL, "the graph's text reads back as another graph: %s", why.at);
  if (again) module_free(again);
  text_free(&t);
  text_free(&why);
  return same;
}

static bool kernel_reads_back(PassContext *c, const Kernel *k) {
  Text t = {0};
  kernel_print(&t, k);
  const char *at = t.at;
  const Kernel *again = kernel_parse(&c->tmp, &at, c->diags);
  const char *differs = again ? kernel_difference(k, again) : NULL;
  if (differs) diag_error(c->diags, "check", NULL, "the text of kernel %s reads back as another: %s", k->name, differs);
  text_free(&t);
  return again && !differs;
}

bool pass_check(PassContext *c) {
  bool ok = module_verify(c->module, c->diags) && module_reads_back(c);
  for (int i = 0; c->program && i < c->program->kernels.len; i++) {
    const Kernel *k = c->program->kernels.at[i];
    ok = kernel_verify(k, c->diags) && kernel_reads_back(c, k) && ok;
    arena_free(&c->tmp);
  }
  return ok;
}
