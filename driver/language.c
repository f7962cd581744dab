/* The verbs of the network language (.lathe files), and its modules as text. */
#include "driver/bundle.h"
#include "frontend/language.h"
#include <stdlib.h>

bool is_language(const char *path) {
  size_t n = strlen(path);
  return n > 6 && !strcmp(path + n - 6, ".lathe");
}

/* A function after the passes of -p or --stop-after. False: errors were printed, and the module is gone. */
static bool print_passed(Text *t, Function *f, const Options *o) {
  Compiled c = {.m = f->m, .target = options_target(o), .path = f->m->path};
  c.m->diags = &c.diags;
  f->m = NULL;
  if (!model_passes(&c, o)) return false;
  if (c.p) program_print(t, c.p);
  else module_print(t, c.m);
  compiled_free(&c);
  return true;
}

/* A bundle of functions as text: the data, the state, then one module each, as built or after some passes. */
static bool print_bundle(Text *t, const Bundle *b, const Options *o) {
  text_printf(t, "// batch %lld%s", (long long)b->batch, b->shuffle ? " shuffle" : "");
  if (b->hold_out > 0) text_printf(t, " hold_out %g%%", b->hold_out * 100);
  if (b->epochs) text_printf(t, " epochs %lld", (long long)b->epochs);
  text_put(t, "\n");
  for (int k = 0; k < b->column.len; k++) {
    const DataColumn *c = &b->column.at[k];
    text_printf(t, "// column %s: %s = %s", c->name, type_text(&c->row), c->call);
    if (c->classes) text_printf(t, "  // in 0..%lld", (long long)c->classes - 1);
    text_put(t, "\n");
  }
  for (int k = 0; k < b->state.len; k++) {
    const StateTensor *s = &b->state.at[k];
    text_printf(t, "// state %s: %s %s\n", s->name, type_text(&s->type), state_role_text[s->role]);
  }
  static const char *const kinds[] = {"init", "step", "eval", "infer"};
  for (int k = 0; k < b->fn.len; k++) {
    text_printf(t, "\n// %s\n", kinds[b->fn.at[k].kind]);
    if (!o->passes && !o->stop_after) module_print(t, b->fn.at[k].m);
    else if (!print_passed(t, &b->fn.at[k], o)) return false;
  }
  return true;
}

int language_print(const char *path, const Options *o) {
  BundleBuild x;
  if (!bundle_load(&x, path, o)) return EXIT_FAILED;
  Text t = {0};
  bool ok = print_bundle(&t, x.b, o);
  if (ok) fwrite(t.at, 1, t.len, stdout);
  text_free(&t);
  bundle_close(&x);
  return ok ? EXIT_DONE : EXIT_FAILED;
}

/* ---- verbs ---- */

/* lathe fmt FILE…: to standard output, or with -w into the files. */
static int format_file(const char *path, bool write) {
  char why[300];
  size_t size;
  Diags d = {.file = path};
  Text out = {0};
  char *text = file_load(path, &size, why, sizeof why);
  if (!text) diag_error(&d, "io", NULL, "%s", why);
  bool ok = text && lathe_language_format(path, text, size, &out, &d);
  bool same = ok && out.len == size && !memcmp(out.at ? out.at : "", text, size);
  if (ok && write && !same && !text_save(&out, path, why, sizeof why)) diag_error(&d, "io", NULL, "%s", why);
  if (ok && !write) fwrite(out.at ? out.at : "", 1, out.len, stdout);
  ok = d.errors == 0;
  diags_print(&d, stderr);
  text_free(&out);
  free(text);
  diags_free(&d);
  return ok ? EXIT_DONE : EXIT_FAILED;
}

int verb_fmt(Options *o) {
  int code = EXIT_DONE;
  for (int k = 0; k < o->args.len; k++) if (format_file(o->args.at[k], o->write)) code = EXIT_FAILED;
  return code;
}

int verb_functions(Options *o) {
  (void)o;
  Text t = {0};
  lathe_language_reference(&t);
  fwrite(t.at, 1, t.len, stdout);
  text_free(&t);
  return EXIT_DONE;
}
