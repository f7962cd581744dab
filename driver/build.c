/* `lathe build` and `lathe run`: a standalone program. */
#include "driver/driver.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Emits the module with its main into `dir` and makes dir/NAME. */
static bool make_program(Compiled *c, const Options *o, EmitFiles *files, const char *dir, const char *name) {
  Toolchain t = toolchain_of(o, c->target, &c->arena);
  double since = seconds_now();
  if (!files_write(files, dir, &c->diags)) return false;
  const char *extra = arena_printf(&c->arena, "-DLT_MODEL=lt_model_%s", c->prefix);
  bool ok = toolchain_build(&t, dir, files, name, extra, o->shared, &c->diags);
  phase_time(o, "cc", since);
  return ok;
}

static bool emit_with_main(Compiled *c, const Options *o, EmitFiles *files) {
  bool ok = model_emit(c, o, WEIGHTS_LINK, true, files);
  if (ok && !o->shared) add_runtime(&c->arena, files);
  return ok;
}

static bool copy_file(const char *from, const char *to, Diags *d) {
  char why[300];
  size_t n;
  char *p = file_load(from, &n, why, sizeof why);
  bool ok = p && file_save(p, n, to, why, sizeof why);
  free(p);
  if (ok) ok = chmod(to, 0755) == 0;
  else diag_error(d, "io", NULL, "%s", why);
  return ok;
}

int verb_build(Options *o) {
  if (!o->output) usage_error("build wants -o PROGRAM");
  if (o->shared && o->is_static) usage_error("--shared and --static exclude each other");
  if (!output_is_file(o->output) || (o->keep && !output_is_folder(o->keep))) return EXIT_FAILED;
  Compiled c;
  EmitFiles files = {0};
  o->want_dims = true;
  if (!model_compile(&c, o->args.at[0], o)) return EXIT_FAILED;
  bool ok = emit_with_main(&c, o, &files);
  char tmp[] = "/tmp/lathe-XXXXXX";
  const char *dir = o->keep ? o->keep : mkdtemp(tmp);
  const char *exe = "lathe-program";
  if (ok) ok = make_program(&c, o, &files, dir, exe);
  const char *made = arena_printf(&c.arena, "%s/%s", dir, exe);
  if (ok) ok = copy_file(made, o->output, &c.diags);
  unlink(made);
  if (ok && o->weights && !strcmp(o->weights, "bin")) {        // the program looks for it beside itself
    const char *slash = strrchr(o->output, '/');
    const char *to = arena_printf(&c.arena, "%.*s%s.bin", slash ? (int)(slash - o->output + 1) : 0, o->output, c.prefix);
    ok = copy_file(arena_printf(&c.arena, "%s/%s.bin", dir, c.prefix), to, &c.diags);
  }
  if (!o->keep) files_remove(&files, dir);
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
