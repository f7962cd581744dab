/* `lathe build` and `lathe run`: a standalone program. */
#include "driver/bundle.h"
#include <errno.h>
#include <unistd.h>

static bool emit_with_main(Compiled *c, const Options *o, EmitFiles *files) {
  bool ok = model_emit(c, o, WEIGHTS_LINK, true, files);
  if (ok && !o->shared) add_runtime(&c->arena, files);
  return ok;
}

int verb_build(Options *o) {
  if (!o->output) usage_error("build wants -o PROGRAM");
  if (o->shared && o->is_static) usage_error("--shared and --static exclude each other");
  if (!output_is_file(o->output) || (o->keep && !output_is_folder(o->keep))) return EXIT_FAILED;
  Compiled c;
  EmitFiles files = {0};
  o->want_dims = true;
  if (o->train) return bundle_build(o);
  if (!model_tune(o->args.at[0], o) || !model_compile(&c, o->args.at[0], o)) return EXIT_FAILED;
  bool ok = emit_with_main(&c, o, &files);
  Toolchain t = toolchain_of(o, c.target, &c.arena);
  const char *extra = arena_printf(&c.arena, "-DLT_MODEL=lt_model_%s", c.prefix);
  bool beside = o->weights && !strcmp(o->weights, "bin");       // the program looks for it beside itself
  double since = seconds_now();
  ok = ok &&
      toolchain_program(&t, &files, o->keep, extra, o->output, o->shared,
                        beside ? arena_printf(&c.arena, "%s.bin", c.prefix) : NULL, &c.diags);
  phase_time(o, "cc", since);
  compiled_free(&c);
  return ok ? EXIT_DONE : EXIT_FAILED;
}

int verb_run(Options *o) {
  Compiled c;
  EmitFiles files = {0};
  if (!model_compile_for(&c, o->args.at[0], o, &o->args, 1)) return EXIT_FAILED;
  bool ok = emit_with_main(&c, o, &files);
  Toolchain t = toolchain_of(o, c.target, &c.arena);
  const char *extra = arena_printf(&c.arena, "-DLT_MODEL=lt_model_%s", c.prefix), *exe = NULL;
  double since = seconds_now();
  if (ok) exe = toolchain_cached(&t, &files, c.prefix, extra, false, &c.arena, &c.diags);
  if (!exe) { compiled_free(&c); return EXIT_FAILED; }
  phase_time(o, "cc", since);
  Strings argv = {0};
  *vec_push(&c.arena, &argv) = c.prefix;
  if (o->bench > 0) {
    *vec_push(&c.arena, &argv) = "--bench";
    *vec_push(&c.arena, &argv) = arena_printf(&c.arena, "%.0f", o->bench);
  }
  for (int i = 0; i < o->save.len; i++) {
    *vec_push(&c.arena, &argv) = "-o";
    *vec_push(&c.arena, &argv) = o->save.at[i];
  }
  for (int i = 1; i < o->args.len; i++) *vec_push(&c.arena, &argv) = o->args.at[i];
  *vec_push(&c.arena, &argv) = NULL;
  diags_print(&c.diags, stderr);
  fflush(stdout);
  execv(exe, (char *const *)argv.at);
  fprintf(stderr, "lathe: cannot run %s: %s\n", exe, strerror(errno));
  compiled_drop(&c);
  return EXIT_FAILED;
}
